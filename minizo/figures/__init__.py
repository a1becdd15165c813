"""Every picture of the package, drawn from records; one file a subject. Only here is matplotlib."""

from .claims import claim
from .comparison import comparison
from .course import course
from .estimators import microscope
from .flips import flips
from .gallery import gallery
from .learned import generated, learned_curves
from .looks import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, STYLES, png, save, style, styles
from .runs import by_label, training
from .timings import scaling
from .zoo import zoo

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "ORANGE",
    "PINK",
    "RED",
    "SKY",
    "STYLES",
    "by_label",
    "claim",
    "comparison",
    "course",
    "flips",
    "gallery",
    "generated",
    "learned_curves",
    "microscope",
    "png",
    "save",
    "scaling",
    "style",
    "styles",
    "training",
    "zoo",
]


def __dir__():
    return __all__
