"""The real CuPy on a card that is not there.

After `install`, everything that CuPy does itself runs as it is: its Python and Cython, its dtype
and casting rules, its checks of ``out=`` and of shapes, its orders of storage, `matmul`'s choice of
a path, its reductions, its memory pool, and the CUDA C++ that it writes. What would reach the
CUDA runtime, the driver or cuBLAS ends here: memory is the host's (`driver.cpp`), kernels are
compiled by g++ (`kernels`) and run on the host, products are NumPy's (`cublas`). Whatever the
device is asked to do is counted. Each kernel is also compiled by NVIDIA's own compiler, for a card
of compute capability 9.0; that needs no driver.

    python -m pytest --fakegpu -m gpu                       # the tests that are marked gpu
    PYTHONPATH=tests python -m fakegpu minizo.mnist --backend cupy --steps 10   # a command

    with fakegpu.counted() as n: step()
    n["launch"], n["sync"], n["h2d"], n["d2h"], n.kernels.most_common()

It catches missing functions and keywords, mixtures of NumPy and CuPy, dtypes that change, a wrong
``out=``, kernels that do not compile or compute something else, hidden copies and waits, unwritten
memory (which holds 0x7f bytes, 3.4e38 in float32), and the ways out of too little memory.

It does not catch races (all is done at once and in order), what cuBLAS and the card's fused or
flushed arithmetic round differently, real times, several devices, or errors of a card. Sorting,
eigenvalues and singular values are NumPy's; CUB's reductions are off; there are no complex numbers.
"""

import importlib.util
import shutil
import sys

NEEDED = {  # module -> the wheel that brings it
    "cupy": "cupy-cuda12x",
    "nvidia.cuda_runtime": "nvidia-cuda-runtime-cu12",
    "nvidia.cuda_nvrtc": "nvidia-cuda-nvrtc-cu12",
}


def missing():
    """What the simulated card lacks on this machine, in words; ``None`` where it can be used."""
    if sys.platform != "linux":
        return f"the simulated card runs on Linux, and this is {sys.platform}"
    absent = [wheel for module, wheel in NEEDED.items() if not _found(module)]
    if absent:
        return f"the simulated card needs {', '.join(absent)}: pip install -e '.[fakegpu]'"
    if shutil.which("g++") is None:
        return "the simulated card needs g++"
    return None


def _found(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there
        return False


def install():
    """Put the simulated card under CuPy, which must not have been imported yet."""
    if "fakegpu.card" in sys.modules:
        return
    if "cupy" in sys.modules:
        raise RuntimeError("CuPy was imported before fakegpu.install()")
    from . import card, cublas

    card.replace_runtime()
    cublas.replace()
    from . import kernels, standins  # these import CuPy

    kernels.replace()
    standins.replace()


def counted():
    """A context: a `card.Counts` of what the device is asked inside, filled when it ends."""
    from .card import counted

    return counted()


def counts():
    """A `card.Counts` of what the device has been asked so far."""
    from .card import counts

    return counts()


def limit(nbytes):
    """Let the card have ``nbytes`` of memory; ``None`` for no end."""
    from .card import DRIVER

    DRIVER.fk_limit(-1 if nbytes is None else nbytes)


def dry(on=True):
    """Order everything and compute nothing: the counts of large networks."""
    from .card import DRIVER

    DRIVER.fk_dry(int(on))
