"""The simulated card itself: what it counts, and that what is wrong on a card is wrong on it."""

import numpy as np
import pytest

from minizo import backend

pytestmark = pytest.mark.gpu


def test_it_counts_launches_copies_and_waits(card, cupy):
    x = cupy.asarray(np.ones(8))
    with card.counted() as found:
        y = x * 2.0 + 1.0
    assert (found["launch"], found["sync"], found["h2d"], found["d2h"]) == (2, 0, 0, 0)
    with card.counted() as found:
        y = y + cupy.asarray(np.ones(8))
        assert float(y.sum()) == 32.0
    assert found["h2d"] == 1 and found["d2h"] == 1 and found["sync"] >= 1


def test_products_take_the_path_that_cupy_chooses(card, cupy):
    """Two contiguous matrices are one product; a stack of transposed ones goes by pointers."""
    a = cupy.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)))
    with card.counted() as found:
        own = cupy.matmul(a, cupy.matrix_transpose(a))
    assert any("gemm" in name for name in found.kernels)
    np.testing.assert_allclose(cupy.asnumpy(own), cupy.asnumpy(a) @ cupy.asnumpy(a).mT, rtol=1e-14)


def test_libraries_do_not_mix(cupy):
    with pytest.raises(TypeError):
        cupy.ones(3) + np.ones(3)
    with pytest.raises(TypeError):
        np.asarray(cupy.ones(3))


def test_memory_that_nobody_wrote_is_seen(card, cupy):
    backend.release(cupy)
    assert float(abs(cupy.empty(1000, "float32")).min()) > 1e38


def test_a_kernel_that_no_card_would_compile_is_refused(card, cupy):
    """g++ knows std::lcm, NVRTC does not; and a mistake is found by both."""
    good = cupy.ElementwiseKernel("T x", "T y", "y = x + 1;", "fine")
    assert float(good(cupy.ones(1))[0]) == 2.0
    for body in ("y = x + ;", "y = x + __builtin_bswap64(1);"):
        wrong = cupy.ElementwiseKernel("T x", "T y", body, "wrong")
        with pytest.raises(cupy.cuda.compiler.CompileException):
            wrong(cupy.ones(1))


def test_memory_ends_where_it_is_told_to(card, cupy):
    backend.release(cupy)
    card.limit(2**20)
    try:
        with pytest.raises(MemoryError):
            cupy.zeros(2**20)
        cupy.zeros(2**10)
    finally:
        card.limit(None)
    cupy.zeros(2**20)


def test_reductions_run_with_their_barriers(cupy):
    """Sums and maxima over either axis of a matrix larger than a block of threads."""
    host = np.random.default_rng(1).normal(size=(37, 1100))
    x = cupy.asarray(host)
    for axis in (0, 1, None):
        np.testing.assert_allclose(cupy.asnumpy(x.sum(axis)), host.sum(axis), rtol=1e-11)
        np.testing.assert_array_equal(cupy.asnumpy(x.argmax(axis)), host.argmax(axis))
