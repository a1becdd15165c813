"""Random streams: the device's generator, and that no two streams of a run are the same."""

from collections import Counter
from hashlib import sha256
from unittest import mock

import numpy as np
import pytest
from conftest import blobs, pick
from test_hidden_traffic import NETWORKS, SMALL

from minizo import InputError, Objective, fit, kernels, optim, quantizers, rng
from minizo.data.dataset import Dataset
from minizo.estimators import ESTIMATORS

STREAMS = [
    rng.at(7, "noise", 3, 1),
    rng.at(2**32 - 1, "augment", 2**32 - 1, 0, 5, 1),
    rng.at(0, "test"),
]


def numpy_words(stream, count):
    """The first 64-bit words of the stream by `numpy.random.Philox`."""
    key, place = stream.philox()
    # NumPy counts before it makes a block, so its first is block 1, as ours is
    counter = sum(word << (64 * (i + 1)) for i, word in enumerate(place))
    return np.random.Philox(key=key[0] + (key[1] << 64), counter=counter).random_raw(count)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [1, 4, 7, 8, 1001])
@pytest.mark.parametrize("stream", STREAMS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_device_numbers_are_those_of_philox(dtype, stream, size, cupy):
    """Bit for bit what NumPy's own Philox 4x64-10 gives, as odd integers over 2^24 or 2^53."""
    found = stream.uniform(cupy.full((size,), cupy.nan, dtype))
    words = numpy_words(stream, size + 3)
    if dtype == "float32":
        expected = ((words.view(np.int32) >> 7) | 1) * np.float32(2.0**-24)
    else:
        expected = ((words.view(np.int64) >> 10) | 1) * 2.0**-53
    assert found.dtype == dtype
    np.testing.assert_array_equal(cupy.asnumpy(found), expected[:size])
    other = stream.child(1).uniform(cupy.empty((size,), dtype))
    assert not np.array_equal(cupy.asnumpy(other), expected[:size])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_device_normal_numbers_are_box_and_mullers(dtype, cupy):
    """Neighbours are sqrt(-2 ln |a|) (cos pi b, sin pi b) of the uniform numbers a, b."""
    stream, size = rng.at(1, "noise", 0, 0), 1001
    uniform = cupy.asnumpy(stream.uniform(cupy.empty((size + 7,), dtype))).astype(float)
    a, b = uniform[::2], np.pi * uniform[1::2]
    r = np.sqrt(-2.0 * np.log(np.abs(a)))
    expected = np.stack([r * np.cos(b), r * np.sin(b)], axis=-1).reshape(-1)[:size]
    found = cupy.asnumpy(stream.normal(cupy.empty((size,), dtype)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6 if dtype == "float32" else 1e-13)


@pytest.mark.gpu
@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_device_numbers_need_no_order_of_storage(law, cupy):
    """A slice of a larger array gets the same numbers, and nothing beside it is touched."""
    stream = rng.at(3, "noise", 1, 2)
    whole = getattr(stream, law)(cupy.empty((5, 9), "float32"))
    frame = cupy.zeros((7, 20), "float32")
    getattr(stream, law)(frame[1:6, 4:13])
    np.testing.assert_array_equal(cupy.asnumpy(frame[1:6, 4:13]), cupy.asnumpy(whole))
    assert int(cupy.count_nonzero(frame)) == 45


def test_every_stream_has_a_place_of_its_own():
    """(seed, purpose, path) -> (key, place) is one to one, also where paths differ in zeros."""
    edges = (0, 1, 2**31, 2**32 - 1)
    streams = [rng.at(seed, purpose) for seed in edges for purpose in ("init", "noise", "augment")]
    for _ in range(3):
        streams += [stream.child(i) for stream in streams for i in edges]
        streams = list(dict.fromkeys(streams))
    places = {stream.philox() for stream in streams}
    assert len(places) == len(streams) > 1000
    for key, place in places:
        assert len(key) == 2 and len(place) == 3
        assert all(0 <= word < 2**64 for word in (*key, *place))


def test_the_places_of_a_run_are_told_apart_where_32_bits_are_not_enough():
    """150,000 streams: all places differ; a hash of 32 bits, the control, has collisions."""
    places = [
        rng.at(0, "noise", step, block).philox() for step in range(1200) for block in range(125)
    ]
    assert len(set(places)) == 150_000
    hashes = {sha256(repr(place).encode()).digest()[:4] for place in places}
    assert len(hashes) < 150_000


@pytest.mark.parametrize("path", [(2**32,), (-1,), (1, 2, 3, 4, 5, 6, 7)])
def test_a_path_that_has_no_place_is_refused(path):
    with pytest.raises(InputError, match="at most 6 numbers from 0 to 2|whole numbers from 0 to"):
        rng.at(0, "noise", *path).philox()


def drawn(network, estimator, quantizer):
    """How often the steps of a run draw from each stream, as SeedSequence tells streams apart."""
    x, labels = blobs(30, 3, 24, 1)
    x, found = x.reshape(-1, *network.input_shape), Counter()
    host = rng.Stream.host

    def noted(stream):
        words = list(stream.words())
        while words and words[-1] == 0:  # zeros at the end change nothing for SeedSequence
            words.pop()
        found[tuple(words)] += 1
        return host(stream)

    data, rule = Dataset("toy", x, labels, x, labels, classes=3), optim.Adam(0.01)
    objective = Objective(network, quantizer)
    start, state = objective.network.init(0, like=x), network.init_state(x)
    with mock.patch.object(rng.Stream, "host", noted):
        fit(objective, data, estimator, rule, steps=5, batch=10, start=start, state=state)
    return found


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_stream_is_drawn_from_twice(estimator, network):
    """Every estimator in both networks, over two epochs."""
    found = drawn(NETWORKS[network], pick(ESTIMATORS[estimator], SMALL), quantizers.MidRise("tanh"))
    assert len(found) >= 2
    assert max(found.values()) == 1, found.most_common(3)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("estimator", ["ste", "spsa", "fogzo", "binaryconnect"])
def test_no_stream_is_drawn_from_twice_by_a_quantizer(estimator, network):
    """With a quantiser that draws, too."""
    rule, q = pick(ESTIMATORS[estimator], SMALL), quantizers.QUANTIZERS["stochastic"]()
    assert max(drawn(NETWORKS[network], rule, q).values()) == 1


def test_streams_drawn_from_twice_are_noticed():
    """Negative control: two blocks that share a path."""
    stream = rng.Stream.words
    with mock.patch.object(rng.Stream, "words", lambda self: stream(self)[:3]):
        found = drawn(NETWORKS["mlp"], ESTIMATORS["spsa"](n=200), quantizers.MidRise())
    assert max(found.values()) > 1


@pytest.mark.gpu
def test_kernels_are_made_once(cupy):
    assert kernels.kernel(cupy, "uniform") is kernels.kernel(cupy, "uniform")
