"""Every picture of the package, drawn from records; one file a subject. Only here is matplotlib."""

from .claims import claim
from .comparison import comparison
from .estimators import microscope
from .flips import flips
from .gallery import gallery
from .learned import generated, learned_curves
from .runs import by_label, training
from .style import STYLES, png, save, styles
from .timings import scaling
from .zoo import zoo

__all__ = [
    "STYLES",
    "by_label",
    "claim",
    "comparison",
    "flips",
    "gallery",
    "generated",
    "learned_curves",
    "microscope",
    "png",
    "save",
    "scaling",
    "styles",
    "training",
    "zoo",
]


def __dir__():
    return __all__
