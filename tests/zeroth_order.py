"""What the tests of n-SPSA and FOGZO share: names of laws, sample sizes, unit vectors."""

import numpy as np

from minizo.laws import LAWS

NAMES = sorted(LAWS)
MANY = 200_000


def unit(x):
    """x / ||x||."""
    return x / np.linalg.norm(x)
