"""The CUDA runtime and driver that CuPy sees, and counts of what they are asked.

Cython modules call each other through ``__pyx_capi__``, a dict of C function pointers that an
importing module reads when it is imported. Here the two modules that wrap libcudart and libcuda are
imported alone, their pointers are replaced by others of the same signatures, and only then is the
rest of CuPy imported.
"""

import contextlib
import ctypes
import hashlib
import importlib
import os
import re
import subprocess
import threading
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("FAKEGPU_CACHE", Path.home() / ".cache" / "minizo-fakegpu"))
KINDS = ("launch", "h2d", "d2h", "d2d", "memset", "sync", "malloc", "free", "event")
MEMORY = 80 * 2**30

os.environ.setdefault(
    "CUPY_ACCELERATORS", ""
)  # CUB's kernels are compiled already: not ours to run
os.environ.setdefault("CUPY_CACHE_DIR", str(CACHE / "cupy"))


def build(source, target, *flags):
    """Compile C++ to a shared library; several processes may build the same one at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
    command = ["g++", "-std=c++17", "-shared", "-fPIC", "-w", *flags, "-x", "c++", "-", "-o", part]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"g++ does not compile this:\n{done.stderr[:4000]}")
    os.replace(part, target)


def _driver():
    source = (HERE / "driver.cpp").read_text()
    target = CACHE / f"driver-{hashlib.sha256(source.encode()).hexdigest()[:12]}.so"
    if not target.exists():
        build(source, target, "-O2")
    library = ctypes.PyDLL(str(target))
    for name in ("fk_count", "fk_events", "fk_function"):
        getattr(library, name).restype = ctypes.c_longlong
    library.fk_event_name.restype = ctypes.c_char_p
    library.fk_event_name.argtypes = library.fk_event_kind.argtypes = [ctypes.c_longlong]
    library.fk_function.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.fk_limit.argtypes = [ctypes.c_longlong]
    library.fk_is_device.argtypes = [ctypes.c_ssize_t]
    library.fk_on_memory_error.argtypes = [ctypes.py_object, ctypes.py_object]
    return library


DRIVER = _driver()


def note(name):
    """Count the launch of a kernel called ``name``; whether it is to be computed, too."""
    DRIVER.fk_launched(name.encode())
    return not DRIVER.fk_is_dry()


# Other functions for CuPy's Cython modules -------------------------------------------------------

_new, _name_of = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetName
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_kept = []  # what C holds on to
_TYPES = {
    "intptr_t": ctypes.c_ssize_t,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "size_t": ctypes.c_size_t,
    "PyObject *": ctypes.py_object,
}


def _types(signature):
    # "intptr_t (size_t, int __pyx_skip_dispatch)" -> result, arguments
    result, _, given = signature.decode().partition("(")
    names = [re.sub(r" ?__pyx_\w+$", "", part).strip() for part in given.rstrip(")").split(",")]
    return _TYPES[result.strip()], [_TYPES.get(name, ctypes.c_void_p) for name in names]


def _replace(module, name, target):
    """Put ``target``, the name of a function of `driver.cpp` or a Python function, in its place."""
    signature = _name_of(module.__pyx_capi__[name])
    result, arguments = _types(signature)
    if isinstance(target, str):
        function = getattr(DRIVER, target)
        address = ctypes.cast(function, ctypes.c_void_p).value
        own = ctypes.PyDLL(DRIVER._name)[target]  # not shared: it has types of its own
        own.restype, own.argtypes = result, arguments
        # Python callers give what the signature has before __pyx_skip_dispatch
        public = lambda *values: own(*values, *(0,) * (len(arguments) - len(values)))  # noqa: E731
    else:
        count = target.__code__.co_argcount
        function = ctypes.PYFUNCTYPE(result, *arguments)(lambda *values: target(*values[:count]))
        address, public = ctypes.cast(function, ctypes.c_void_p).value, target
    _kept.extend([signature, function])
    module.__pyx_capi__[name] = _new(address, signature, None)
    if hasattr(module, name):
        setattr(module, name, public)


RUNTIME = {
    "malloc": "fk_malloc", "free": "fk_free", "hostAlloc": "fk_host_alloc",
    "freeHost": "fk_free_host", "memcpy": "fk_memcpy", "memcpyAsync": "fk_memcpy_async",
    "memset": "fk_memset", "memsetAsync": "fk_memset_async", "getDevice": "fk_zero",
    "getDeviceCount": "fk_one", "setDevice": "fk_none_i", "runtimeGetVersion": "fk_version",
    "driverGetVersion": "fk_version", "deviceGetAttribute": "fk_attribute",
    "deviceSynchronize": "fk_device_sync", "streamSynchronize": "fk_stream_sync",
    "streamCreate": "fk_handle", "streamCreateWithFlags": "fk_handle_u",
    "streamDestroy": "fk_none_p", "streamIsCapturing": "fk_zero_p", "streamQuery": "fk_none_p",
    "eventCreate": "fk_handle", "eventCreateWithFlags": "fk_handle_u", "eventDestroy": "fk_none_p",
    "eventRecord": "fk_event_record", "eventSynchronize": "fk_event_sync",
    "eventQuery": "fk_none_p", "pointerGetMemoryType": "fk_memory_type",
    "memGetInfo": lambda: (MEMORY, MEMORY),
}  # fmt: skip
_modules = {}  # handle -> library
_functions = {}  # (handle, name) -> function


def _load(image):
    handle = len(_modules) + 1
    _modules[handle] = ctypes.CDLL(bytes(image).decode())
    return handle


def _function(module, name):
    if (module, name) not in _functions:
        run = ctypes.cast(getattr(_modules[module], f"fk_run_{name}"), ctypes.c_void_p)
        _functions[module, name] = DRIVER.fk_function(name.encode(), run.value)
    return _functions[module, name]


LOADING = {
    "moduleLoadData": _load,
    "moduleGetFunction": _function,
    "moduleUnload": "fk_none_p",
    "launchKernel": "fk_launch",
    "ctxGetCurrent": "fk_context",
}


def replace_runtime():
    """Replace what CuPy asks of libcudart and libcuda."""
    runtime = importlib.import_module("cupy_backends.cuda.api.runtime")
    for name, target in RUNTIME.items():
        _replace(runtime, name, target)
    ensure = _name_of(runtime.__pyx_capi__["_ensure_context"])  # void: no types to read
    _kept.append(ensure)
    nothing = ctypes.cast(DRIVER.fk_none, ctypes.c_void_p).value
    runtime.__pyx_capi__["_ensure_context"] = _new(nothing, ensure, None)
    runtime.getDeviceProperties = lambda device: {
        "name": b"simulated card", "major": 9, "minor": 0, "multiProcessorCount": 132,
        "totalGlobalMem": MEMORY,
    }  # fmt: skip
    no_memory = runtime.CUDARuntimeError.__new__(runtime.CUDARuntimeError, 2)
    no_memory.status, no_memory.infos = 2, []
    no_memory.args = ("cudaErrorMemoryAllocation: out of memory",)
    DRIVER.fk_on_memory_error(runtime.CUDARuntimeError, no_memory)
    _kept.append(no_memory)
    driver = importlib.import_module("cupy_backends.cuda.api.driver")
    for name, target in LOADING.items():
        _replace(driver, name, target)


# What was asked ----------------------------------------------------------------------------------


class Counts(dict):
    """Number of each of `KINDS`; ``kernels``, a Counter of launches by name."""

    kernels = Counter()


def counts():
    """`Counts` of everything so far, or since `counted` began; without ``kernels``."""
    return Counts({kind: DRIVER.fk_count(i) for i, kind in enumerate(KINDS)})


@contextlib.contextmanager
def counted():
    """A `Counts` of what the device is asked inside; filled when the block ends."""
    found = Counts()
    DRIVER.fk_reset()
    DRIVER.fk_log(1)
    try:
        yield found
    finally:
        found.update(counts())
        events = range(DRIVER.fk_events())
        launches = (i for i in events if DRIVER.fk_event_kind(i) == KINDS.index("launch"))
        found.kernels = Counter(DRIVER.fk_event_name(i).decode() for i in launches)
        DRIVER.fk_log(0)
