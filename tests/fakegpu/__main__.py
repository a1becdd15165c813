"""Run a module on the simulated card: ``python -m fakegpu minizo.mnist --backend cupy``."""

import runpy
import sys

import fakegpu

problem = fakegpu.missing()
if problem is not None:
    sys.exit(problem)
fakegpu.install()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
