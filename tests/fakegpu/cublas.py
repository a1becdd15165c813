"""cuBLAS by NumPy: the calls that CuPy makes for products of real matrices."""

import ctypes
import sys
import types

import numpy as np

from .card import DRIVER, note

CONSTANTS = """
CUBLAS_COMPUTE_32F_PEDANTIC CUBLAS_COMPUTE_32F_FAST_TF32 CUBLAS_COMPUTE_32F
CUBLAS_COMPUTE_64F_PEDANTIC CUBLAS_COMPUTE_64F CUBLAS_GEMM_DEFAULT CUBLAS_GEMM_DEFAULT_TENSOR_OP
CUBLAS_TENSOR_OP_MATH CUBLAS_DEFAULT_MATH CUBLAS_FILL_MODE_UPPER CUBLAS_FILL_MODE_LOWER
CUBLAS_POINTER_MODE_DEVICE CUBLAS_POINTER_MODE_HOST CUBLAS_OP_N CUBLAS_OP_T CUBLAS_OP_C
""".split()
TYPES = {0: np.float32, 1: np.float64, 2: np.float16}  # cudaDataType


def _array(pointer, dtype, shape, strides):
    # a view of the device's memory; strides in numbers
    assert DRIVER.fk_is_device(pointer), "a product of memory that is not on the device"
    size = dtype.itemsize
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    flat = np.frombuffer((ctypes.c_char * (last * size)).from_address(pointer), dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, [s * size for s in strides])


def _gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, dtype, count=1, steps=(0, 0, 0)):
    # columns are neighbours: element (i, j) of a matrix is at i + j ld
    dtype = np.dtype(dtype)
    left = _array(a, dtype, (count, m, k), (steps[0], *((lda, 1) if ta else (1, lda))))
    right = _array(b, dtype, (count, k, n), (steps[1], *((ldb, 1) if tb else (1, ldb))))
    _array(c, dtype, (count, m, n), (steps[2], 1, ldc))[...] = left @ right


def _gemm_ex(handle, ta, tb, m, n, k, one, a, ka, lda, b, kb, ldb, zero, c, kc, ldc, kind, how):
    if note(f"cublas gemmEx {m}x{n}x{k}"):
        _gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, TYPES[kc])


def _strided(handle, ta, tb, m, n, k, one, a, ka, lda, sa, b, kb, ldb, sb, zero, c, kc, ldc, sc,
             count, kind, how):  # fmt: skip
    if note(f"cublas gemmStridedBatchedEx {m}x{n}x{k} x{count}"):
        _gemm(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, TYPES[kc], count, (sa, sb, sc))


def _batched(dtype):
    def product(handle, ta, tb, m, n, k, one, a, lda, b, ldb, zero, c, ldc, count):
        if note(f"cublas gemmBatched {m}x{n}x{k} x{count}"):
            pointers = (_array(p, np.dtype(np.int64), (count,), (1,)).tolist() for p in (a, b, c))
            for own in zip(*pointers, strict=True):
                left, right, out = own
                _gemm(ta, tb, m, n, k, left, lda, right, ldb, out, ldc, dtype)

    return product


def _geam(dtype):
    def transposed(handle, ta, tb, m, n, alpha, a, lda, beta, b, ldb, c, ldc):
        if note(f"cublas geam {m}x{n}"):
            own = _array(a, np.dtype(dtype), (m, n), (lda, 1) if ta else (1, lda))
            _array(c, np.dtype(dtype), (m, n), (1, ldc))[...] = own

    return transposed


FUNCTIONS = {
    "create": lambda: 1, "destroy": lambda handle: None, "setMathMode": lambda *given: None,
    "getPointerMode": lambda *given: 0, "setPointerMode": lambda *given: None,
    "gemmEx": _gemm_ex, "gemmStridedBatchedEx": _strided,
    "sgemmBatched": _batched(np.float32), "dgemmBatched": _batched(np.float64),
    "sgeam": _geam(np.float32), "dgeam": _geam(np.float64),
}  # fmt: skip


def replace():
    """Replace CuPy's wrapper of libcublas."""
    module = types.ModuleType("cupy_backends.cuda.libs.cublas")
    vars(module).update({name: number for number, name in enumerate(CONSTANTS)}, **FUNCTIONS)
    sys.modules[module.__name__] = module
    import cupy_backends.cuda.libs

    cupy_backends.cuda.libs.cublas = module
