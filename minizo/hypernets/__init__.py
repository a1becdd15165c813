"""Hypernetworks: the learned parts of MetaQuant and FSG, with hand-written backwards."""

from .lstm import LSTM
from .mamba import Mamba
from .mlp import MLP

__all__ = ["LSTM", "MLP", "Mamba"]


def __dir__():
    return __all__
