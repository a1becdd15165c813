"""Hypernetworks: the learned parts of MetaQuant and FSG, each with its hand-written backward."""

from .lstm import LSTM
from .mamba import Mamba
from .mlp import MLP

__all__ = ["LSTM", "MLP", "Mamba"]
