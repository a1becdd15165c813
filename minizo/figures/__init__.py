"""Every picture of the package, drawn from records; one file a subject. Only here is matplotlib."""

from .estimators import microscope
from .runs import by_label, training
from .style import STYLES, save
from .timings import scaling

__all__ = ["STYLES", "by_label", "microscope", "save", "scaling", "training"]
