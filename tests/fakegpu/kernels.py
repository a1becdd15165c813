"""Kernels by g++ from CuPy's CUDA C++, each of which NVRTC must compile for a real card, too."""

import hashlib
import re
import threading

import cupy
from cupy.cuda import compiler, function

from .card import CACHE, HERE, build

ARCHITECTURE = "90"
# one lock: the same kernel is not built twice by the threads of a process
_lock = threading.Lock()
_names = re.compile(
    r'extern "C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\('
)


def by_nvrtc(source, options=()):
    """Compile with NVIDIA's compiler; its own error where the source is wrong."""
    compiler.compile_using_nvrtc(source, (*options, "-ftz=true"), ARCHITECTURE)


def by_gxx(source, options, target):
    """Compile for the host, with an entry for each kernel that runs a whole grid."""
    # complex numbers bring headers that want nvcc; no kernel here has any
    source = source.replace("#include <cupy/complex.cuh>", "template <class T> struct complex;")
    # a loop over all elements without barriers runs as one thread
    serial = int("CUPY_FOR" in source and "__syncthreads" not in source)
    entries = "".join(f"FK_ENTRY({name}, {serial})\n" for name in _names.findall(source))
    text = f'#include "shim.h"\n{source}\n#include "grid.h"\n{entries}'
    includes = [option for option in options if option.startswith("-I")]
    # no contraction and no flush to zero: IEEE, as NumPy's loops
    build(text, target, "-O1", "-ffp-contract=off", f"-I{HERE}", *includes)


HEADERS = "".join((HERE / name).read_text() for name in ("shim.h", "grid.h"))


def _compile(source, options=(), *, arch=None, extra_source=None, backend="nvrtc", **more):
    text = "\0".join([source, *options, HEADERS, cupy.__version__, ARCHITECTURE])
    target = CACHE / "kernels" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.so"
    with _lock:
        if not target.exists():
            by_nvrtc(source, options)
            by_gxx(source, options, target)
    module = function.Module()
    module.load(str(target).encode())
    module._set_mapping({})
    return module


def replace():
    """Let CuPy compile its kernels here."""
    compiler._compile_module_with_cache = _compile
