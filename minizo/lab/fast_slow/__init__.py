"""FSG's theorem 1, which is false as printed.

theorem          what it says, what is wrong with it, and the bound that holds, with its proof
counterexamples  a 2-cycle, and a run with momentum, within all its assumptions
problems         random problems for the bound that holds
experiment       C-7: all of it in numbers, with controls
"""

from .experiment import run

__all__ = ["run"]
