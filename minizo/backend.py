"""Which array library computes: the only file that knows about CuPy.

Everything else in the package is written once, in the array-API functions that NumPy, CuPy and
array-api-strict share, and finds its namespace with `namespace`. What the libraries do not share
(where an array lives, writing a result into an existing buffer, copying to the host) is here.
"""

import hashlib
import sys
import threading
from collections.abc import Callable, Iterable
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from .errors import InputError, require
from .types import Array, Shape

__all__ = [
    "NAMES",
    "arange",
    "asarray",
    "concat",
    "device_name",
    "empty",
    "get",
    "has_rows",
    "into",
    "is_cupy",
    "is_numpy",
    "memory_used",
    "namespace",
    "numpy_dtype",
    "release",
    "scratch",
    "sha256",
    "stack",
    "synchronize",
    "to_numpy",
    "windows",
    "zeros",
]


def __dir__():
    return __all__


NAMES = ("numpy", "cupy", "auto")


def get(name: str = "numpy") -> ModuleType:
    """The array namespace called ``name``.

    Parameters
    ----------
    name : {"numpy", "cupy", "auto"}
        ``"auto"`` is CuPy where a GPU is usable and NumPy elsewhere.

    Returns
    -------
    module
        ``numpy`` or ``cupy``.

    Raises
    ------
    InputError
        For an unknown name, or for ``"cupy"`` where CuPy or a usable GPU is missing.
    """
    require(name in NAMES, "backend", name, f"it must be one of {', '.join(NAMES)}")
    if name == "numpy":
        return np
    cupy, problem = _cupy()
    if problem is None:
        return cupy
    if name == "auto":
        return np
    raise InputError(f"backend 'cupy' cannot be used: {problem}")


def _cupy():
    # `import cupy` succeeds without a driver, and then everything but is_available() raises.
    try:
        import cupy
    except ImportError:
        return None, (
            "CuPy is not installed; install it with `pip install minizo[cuda12]` or "
            "`pip install minizo[cuda13]`, after the CUDA version that `nvidia-smi` shows, "
            "or use --backend numpy"
        )
    if not cupy.is_available():
        return None, (
            f"CuPy {cupy.__version__} is installed but finds no usable NVIDIA GPU; check that "
            "`nvidia-smi` lists one and that its driver is recent enough, or use --backend numpy"
        )
    return cupy, None


def namespace(*arrays: Array) -> ModuleType:
    """The namespace that ``arrays`` belong to; arrays of different libraries are refused.

    >>> namespace(np.zeros(3)).__name__
    'numpy'
    """
    first = arrays[0]
    # the common case is kept cheap: this runs in every layer
    xp = np if type(first) is np.ndarray else _namespace_of(first)
    for other in arrays[1:]:
        if type(other) is not type(first):
            raise InputError(
                f"arrays of {type(first).__module__} and {type(other).__module__} are mixed; "
                "convert one of them (nothing is copied between devices behind your back)"
            )
    return xp


def _namespace_of(x):
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    cupy = sys.modules.get("cupy")  # whose arrays do not have the method
    if cupy is not None and isinstance(x, cupy.ndarray):
        return cupy
    raise InputError(f"expected an array, got {type(x).__name__}; convert it with numpy.asarray")


def is_numpy(xp: ModuleType) -> bool:
    """Whether ``xp`` computes on the host, where several threads can share the work."""
    return xp is np


def is_cupy(xp: ModuleType) -> bool:
    """Whether ``xp`` is CuPy."""
    return xp.__name__.partition(".")[0] == "cupy"


def empty(shape: Shape, like: Array, dtype: Any = None) -> Array:
    """Uninitialised array of ``shape`` where ``like`` lives, of its dtype unless one is given."""
    xp = namespace(like)
    dtype = like.dtype if dtype is None else dtype
    if xp is np or is_cupy(xp):
        return xp.empty(shape, dtype=dtype)
    return xp.empty(shape, dtype=dtype, device=like.device)


def zeros(shape: Shape, like: Array) -> Array:
    """Zeros of ``shape`` where ``like`` lives, of its dtype."""
    xp = namespace(like)
    if xp is np or is_cupy(xp):
        return xp.zeros(shape, dtype=like.dtype)
    return xp.zeros(shape, dtype=like.dtype, device=like.device)


_scratch = threading.local()


def scratch(name: str, shape: Shape, like: Array) -> Array:
    """An uninitialised buffer to be filled, used and forgotten before the same name is asked again.

    On the host it is the same memory each time, one buffer a thread and name: fresh memory for
    every block of a large population costs more in page faults than the arithmetic done in it.
    CuPy's memory pool does this by itself.
    """
    if namespace(like) is not np:
        return empty(shape, like)
    buffer = getattr(_scratch, name, None)
    size = prod(shape)
    if buffer is None or buffer.size < size or buffer.dtype != like.dtype:
        buffer = np.empty(size, dtype=like.dtype)
        setattr(_scratch, name, buffer)
    return buffer[:size].reshape(shape)


def windows(x: Array, width: int, step: int) -> Array:
    """Neighbouring pixels side by side: (..., W, C) -> (..., W', width * C), a view if possible.

    The c-th number of pixel ``w * step + j`` is entry ``j * C + c`` of window w. To be read only:
    windows overlap.
    """
    xp = namespace(x)
    *lead, pixels, channels = x.shape
    count = (pixels - width) // step + 1
    if xp is np or is_cupy(xp):
        if x.strides[-2] == channels * x.strides[-1]:
            *outer, pixel, channel = x.strides
            shape, strides = (*lead, count, width * channels), (*outer, step * pixel, channel)
            return xp.lib.stride_tricks.as_strided(x, shape=shape, strides=strides)
    end = (count - 1) * step + 1
    return xp.concat([x[..., j : j + end : step, :] for j in range(width)], axis=-1)


def has_rows(x: Array) -> bool:
    """Whether the numbers of a row of ``x`` lie side by side, and not those of a column.

    >>> has_rows(np.zeros((2, 3))), has_rows(np.zeros((2, 3)).T)
    (True, False)
    """
    strides = getattr(x, "strides", None)  # which the array API does not know
    return strides is None or abs(strides[-1]) == x.dtype.itemsize


def asarray(values: Any, like: Array, dtype: Any = None) -> Array:
    """``values`` (host data) as an array where ``like`` lives.

    On a GPU this is a copy from the host: call it outside the training step.
    """
    xp = namespace(like)
    if xp is np or is_cupy(xp):
        return xp.asarray(values, dtype=dtype)
    return xp.asarray(values, dtype=dtype, device=like.device)


def numpy_dtype(x: Array) -> np.dtype:
    """NumPy's name for the dtype of ``x``, whatever library it belongs to."""
    if type(x) is np.ndarray:
        return x.dtype
    return np.dtype(str(x.dtype).rpartition(".")[2])


def arange(n: int, like: Array) -> Array:
    """0, 1, ..., n - 1 where ``like`` lives, in its dtype."""
    xp = namespace(like)
    if xp is np or is_cupy(xp):
        return xp.arange(n, dtype=like.dtype)
    return xp.arange(n, dtype=like.dtype, device=like.device)


def concat(arrays: Iterable[Array], axis: int = 0) -> Array:
    """Join any number of arrays along ``axis``; on a GPU without a copy from the host.

    CuPy's own ``concat`` of more than 8 arrays copies a list of their addresses to the device.

    >>> concat([np.zeros(2), np.ones(1)])
    array([0., 0., 1.])
    """
    arrays = list(arrays)
    xp, first = namespace(*arrays), arrays[0]
    if not is_cupy(xp):
        return xp.concat(arrays, axis=axis)
    axis %= first.ndim
    sizes = [x.shape[axis] for x in arrays]
    out = xp.empty((*first.shape[:axis], sum(sizes), *first.shape[axis + 1 :]), first.dtype)
    stop = 0
    for x, size in zip(arrays, sizes, strict=True):
        start, stop = stop, stop + size
        out[(slice(None),) * axis + (slice(start, stop),)] = x
    return out


def stack(arrays: Iterable[Array], axis: int = 0) -> Array:
    """Join any number of arrays along a new axis, as `concat` does.

    >>> stack([np.zeros(2), np.ones(2)], axis=-1)
    array([[0., 1.],
           [0., 1.]])
    """
    arrays = list(arrays)
    xp = namespace(*arrays)
    if not is_cupy(xp):
        return xp.stack(arrays, axis=axis)
    return concat([xp.expand_dims(x, axis) for x in arrays], axis)


def to_numpy(x: Any) -> np.ndarray:
    """``x`` as a NumPy array; on a GPU this waits for it and copies to the host."""
    if isinstance(x, np.ndarray | np.generic | float | int):
        return np.asarray(x)  # of an ndarray: itself
    xp = namespace(x)
    if is_cupy(xp):
        return xp.asnumpy(x)
    return np.from_dlpack(x.to_device(xp.Device("CPU_DEVICE")))


def into(out: Array, function: Callable, *args: Any) -> Array:
    """``out[...] = function(*args)``, without a temporary where the library can.

    Large populations live in buffers that are written again and again; a fresh array for every
    elementwise step would cost more in page faults than in arithmetic. The truth of a comparison
    becomes 0 or 1 in the dtype of ``out``.

    >>> x = np.array([0.5, -0.5])
    >>> into(x, np.floor, x)
    array([ 0., -1.])
    """
    if type(out) is np.ndarray or is_cupy(namespace(out)):  # the common case is kept cheap
        return function(*args, out=out)
    out[...] = namespace(out).astype(function(*args), out.dtype)
    return out


def synchronize(xp: ModuleType) -> None:
    """Wait until the device has finished, so that a clock read next is honest."""
    if is_cupy(xp):
        xp.cuda.get_current_stream().synchronize()


def release(xp: ModuleType) -> None:
    """Give back the memory that CuPy's pool keeps for later."""
    if is_cupy(xp):
        xp.get_default_memory_pool().free_all_blocks()


def memory_used(xp: ModuleType) -> int | None:
    """Bytes taken so far: what CuPy's pool holds, or the most that this process has held.

    ``None`` where the host does not tell.
    """
    if is_cupy(xp):
        return xp.get_default_memory_pool().total_bytes()
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device_name(xp: ModuleType) -> str:
    """What tables call the device: ``"cpu"``, or the GPU's own name."""
    if not is_cupy(xp):
        return "cpu"
    properties = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)
    return properties["name"].decode()


def sha256(x: Array) -> str:
    """Hexadecimal SHA-256 of the array's bytes in C order, little endian.

    >>> sha256(np.zeros(2, dtype=np.float32))[:8]
    'af5570f5'
    """
    host = np.ascontiguousarray(to_numpy(x))
    host = host.astype(host.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(host.data).hexdigest()
