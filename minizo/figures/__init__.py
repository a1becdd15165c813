"""Every picture of the package, drawn from records; one file a subject. Only here is matplotlib."""

from .claims import claim
from .estimators import microscope
from .flips import flips
from .gallery import gallery
from .learned import generated, learned_curves
from .runs import by_label, training
from .style import STYLES, save
from .timings import scaling
from .zoo import zoo

__all__ = [
    "STYLES",
    "by_label",
    "claim",
    "flips",
    "gallery",
    "generated",
    "learned_curves",
    "microscope",
    "save",
    "scaling",
    "training",
    "zoo",
]
