"""Attention and its relatives against other forms of the same: naive sums, properties, PyTorch."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minizo import InputError, rng
from minizo.layers import (
    GELU,
    LSTM,
    Attention,
    ClassToken,
    Embedding,
    Gated,
    LayerNorm,
    Linear,
    Patches,
    Positions,
    RMSNorm,
    SiLU,
    attention,
)
from minizo.layers.attention import rotated
from minizo.special import erf, sigmoid, softplus

SHAPES = {
    "heads": st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 2), (3, 3)]),
    "half": st.integers(1, 3),
    "length": st.integers(1, 9),
    "causal": st.booleans(),
    "turned": st.booleans(),
    "block": st.sampled_from([1, 2, 3, 128]),
    "seed": st.integers(0, 2**32 - 1),
}


def naive(layer, x):
    """Attention written as its sums: one example, one head, one place at a time."""
    (n, length, _), h, k, d = x.shape, layer.heads, layer.keys, layer.size
    y = np.zeros((n, length, h * d))

    def turn(vector, t):
        # as complex numbers (x_j + i x_{j + D/2}) e^{i t base^(-2j/D)}
        if layer.rotary is None:
            return vector
        pairs = vector[: d // 2] + 1j * vector[d // 2 :]
        pairs = pairs * np.exp(1j * t * layer.rotary ** (-2.0 * np.arange(d // 2) / d))
        return np.concatenate([pairs.real, pairs.imag])

    for example, head, t in np.ndindex(n, h, length):
        key = head // layer.shared
        q = turn(x[example, t, head * d : (head + 1) * d], t)
        seen = range(t + 1) if layer.causal else range(length)
        keys = [x[example, s, (h + key) * d : (h + key + 1) * d] for s in seen]
        values = [x[example, s, (h + k + key) * d : (h + k + key + 1) * d] for s in seen]
        scores = [q @ turn(own, s) / math.sqrt(d) for s, own in zip(seen, keys, strict=True)]
        weights = np.exp(scores) / np.exp(scores).sum()
        y[example, t, head * d : (head + 1) * d] = weights @ np.array(values)
    return y


def of(heads, half, causal, turned):
    h, shared = heads
    return Attention(h, 2 * half, shared, causal, 10_000.0 if turned else None)


@given(**SHAPES)
@settings(max_examples=60, deadline=None)
def test_attention_is_its_naive_form(heads, half, length, causal, turned, block, seed):
    """Output within 1e-12, and the same gradient in one block of queries as in several."""
    layer, gen = of(heads, half, causal, turned), np.random.default_rng(seed)
    x = gen.normal(size=(2, length, layer.inputs))
    with pytest.MonkeyPatch.context() as patch:
        whole, cache = layer.forward({}, x)
        dy = gen.normal(size=whole.shape)
        dx, _ = layer.backward({}, cache, dy)
        patch.setattr(attention, "BLOCK", block)
        y, cache = layer.forward({}, x)
        np.testing.assert_allclose(y, naive(layer, x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.backward({}, cache, dy)[0], dx, rtol=1e-10, atol=1e-12)


@given(**SHAPES)
@settings(max_examples=40, deadline=None)
def test_what_comes_later_changes_nothing_before(heads, half, length, causal, turned, block, seed):
    """Behind a mask, outputs up to t are bit for bit the same; without one they change."""
    layer, gen = of(heads, half, causal, turned), np.random.default_rng(seed)
    x = gen.normal(size=(1, length + 1, layer.inputs))
    other, t = x.copy(), gen.integers(1, length + 1)
    other[:, t:, :] = gen.normal(size=other[:, t:, :].shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", block)
        one, two = (layer.forward({}, z)[0][:, :t] for z in (x, other))
    assert np.array_equal(one, two) == causal


@given(
    half=st.integers(1, 8),
    length=st.integers(1, 12),
    shift=st.integers(0, 50),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_rotary_products_know_the_distance_alone(half, length, shift, seed):
    """q_t . k_s is the same where both are moved by ``shift`` places; turning back is exact."""
    x = np.random.default_rng(seed).normal(size=(2, length, 2 * half))
    here = rotated(x, 10_000.0)
    later = np.concatenate([np.zeros((2, shift, 2 * half)), x], axis=1)
    there = rotated(later, 10_000.0)[:, shift:]
    np.testing.assert_allclose(here[0] @ here[1].T, there[0] @ there[1].T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(rotated(here, 10_000.0, -1.0), x, rtol=1e-12, atol=1e-12)
    if shift:  # the control: moved alone, it is another product
        assert not np.allclose(here[0] @ here[1].T, there[0] @ here[1].T, rtol=1e-3)


def test_scores_that_overflow_an_exponential():
    """Scores of 1e4 in float32 give the value of the largest, and a finite gradient."""
    layer = Attention(1, 1, causal=False, rotary=None)
    x = np.array([[[100.0, 100.0, 1.0], [100.0, -100.0, 2.0]]], dtype=np.float32)
    y, cache = layer.forward({}, x)
    np.testing.assert_array_equal(y, [[[1.0], [1.0]]])
    assert np.isfinite(layer.backward({}, cache, y)[0]).all()


@given(
    vocabulary=st.integers(1, 6),
    lead=st.lists(st.integers(1, 3), max_size=2),
    own=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_embedding_is_a_lookup(vocabulary, lead, own, seed):
    """Row by row, and its gradient by `numpy.add.at`; batches shared or each member's own."""
    gen, layer = np.random.default_rng(seed), Embedding(vocabulary, 3)
    table = gen.normal(size=(*lead, vocabulary, 3))
    tokens = gen.integers(vocabulary, size=(*(lead if own else ()), 4, 5))
    y, cache = layer.forward({"weight": table}, tokens)
    dy = gen.normal(size=(*lead, 4, 5, 3))
    dx, grads = layer.backward({"weight": table}, cache, dy)
    assert dx is None
    for index in np.ndindex(*lead):
        mine = tokens[index] if own else tokens
        np.testing.assert_array_equal(y[index], table[index][mine])
        expected = np.zeros((vocabulary, 3))
        np.add.at(expected, mine, dy[index])
        np.testing.assert_allclose(grads["weight"][index], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-15), ("float32", 3e-7)])
def test_erf_is_that_of_the_standard_library(dtype, bound):
    x = np.concatenate([np.linspace(-7.0, 7.0, 20_001), [-0.0, 1e-300, 30.0, -np.inf, np.inf]])
    x = x.astype(dtype)
    assert np.abs(erf(x) - np.vectorize(math.erf)(x.astype(float))).max() < bound
    assert erf(x).dtype == dtype


def test_patches_are_pixels_in_reading_order():
    """Every patch is the slice of the image that it should be, channel by channel."""
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 6))
    y, _ = Patches(2).forward({}, image)
    for row, column in np.ndindex(2, 3):
        own = image[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(y[:, 3 * row + column], own.reshape(2, -1))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Attention(3, 2, shared=2), "Attention.shared is 2, but it must divide the 3"),
        (lambda: Attention(1, 3), "Attention.size is 3, but rotary positions turn pairs"),
        (lambda: Attention(2, 2).output_shape((5, 8)), r"shape \(5, 8\); it takes \(T, 12\)"),
        (lambda: Embedding(5, 2).output_shape((3, 5)), r"takes sequences \(T,\) of tokens"),
        (lambda: Positions(4, 2).output_shape((5, 2)), "the length of a sequence is 5, but"),
        (lambda: Positions(4, 2).output_shape((3, 3)), r"it takes sequences \(T, 2\)"),
        (lambda: ClassToken(2).output_shape((2,)), r"ClassToken\(width=2\) is fed .*\(2,\)"),
        (lambda: Patches(3).output_shape((1, 6, 4)), "H and W are multiples of 3"),
        (lambda: RMSNorm(3).output_shape((2, 4)), r"RMSNorm\(3\) is fed examples of shape"),
        (lambda: LayerNorm((3,)).output_shape((2, 4)), r"LayerNorm\(\(3,\)\) is fed"),
        (lambda: GELU("erf"), "GELU.form is 'erf', but it is tanh or exact"),
        (lambda: Gated({"gate": SiLU()}, {}), "none of its layers may be called gate"),
        (
            lambda: Gated({"up": Linear(2, 3)}, {"up": Linear(2, 4)}).output_shape((2,)),
            r"the body gives examples of shape \(3,\), the gate \(4,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


# PyTorch -----------------------------------------------------------------------------------------


def both(layer, params, x, dy):
    """(y, dx, gradients) of ours."""
    y, cache = layer.forward(params, x)
    return y, *layer.backward(params, cache, dy)


@pytest.mark.torch
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads, shared", [(4, 1), (4, 2), (4, 4)])
def test_attention_is_pytorchs(heads, shared, causal):
    """Output and gradient of scaled_dot_product_attention, float64, 1e-12."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer, gen = Attention(heads, 6, shared, causal, None), np.random.default_rng(0)
    x = gen.normal(size=(3, 7, layer.inputs))
    dy = gen.normal(size=(3, 7, heads * 6))
    theirs = torch.tensor(x, requires_grad=True)
    parts = theirs.split([heads * 6, layer.keys * 6, layer.keys * 6], dim=-1)
    q, k, v = (part.unflatten(-1, (-1, 6)).transpose(1, 2) for part in parts)
    o = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=causal, enable_gqa=shared > 1
    )
    o = o.transpose(1, 2).flatten(-2)
    o.backward(torch.tensor(dy))
    y, dx, _ = both(layer, {}, x, dy)
    np.testing.assert_allclose(y, o.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["gelu", "gelu exact", "silu", "rms", "layer", "linear"])
def test_other_layers_are_pytorchs(name):
    """Activations, norms and the linear map of sequences (3, 5, 6): float64, 1e-12."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    functional, gen = torch.nn.functional, np.random.default_rng(1)
    x, dy = gen.normal(size=(2, 3, 5, 6))
    a, b, w = gen.normal(size=6), gen.normal(size=6), gen.normal(size=(6, 6))
    layer, params, theirs = {
        "gelu": (GELU(), {}, lambda z: functional.gelu(z, approximate="tanh")),
        "gelu exact": (GELU("exact"), {}, functional.gelu),
        "silu": (SiLU(), {}, functional.silu),
        "rms": (RMSNorm(6), {"scale": a}, lambda z, s: functional.rms_norm(z, (6,), s, 1e-5)),
        "layer": (LayerNorm((6,)), {"scale": a, "shift": b},
                  lambda z, s, t: functional.layer_norm(z, (6,), s, t)),
        "linear": (Linear(6, 6), {"weight": w, "bias": b}, functional.linear),
    }[name]  # fmt: skip
    given = [torch.tensor(value, requires_grad=True) for value in (x, *params.values())]
    expected = theirs(*given)
    expected.backward(torch.tensor(dy))
    y, dx, grads = both(layer.fed((5, 6)), params, x, dy)
    np.testing.assert_allclose(y, expected.detach(), rtol=1e-12, atol=1e-12)
    for ours, own in zip((dx, *(grads[part] for part in params)), given, strict=True):
        np.testing.assert_allclose(ours, own.grad, rtol=1e-12, atol=1e-12)


def test_sigmoid_at_its_ends():
    np.testing.assert_array_equal(sigmoid(np.array([-800.0, 0.0, 800.0])), [0.0, 0.5, 1.0])


def test_softplus_is_log_of_1_and_e_x():
    """Against NumPy's log(e^0 + e^x), from where e^x vanishes to where it overflows: 1e-15."""
    x = np.linspace(-800.0, 800.0, 3201)
    np.testing.assert_allclose(softplus(x), np.logaddexp(0.0, x), rtol=1e-15)
    # its derivative, as Mamba takes it
    np.testing.assert_allclose(-np.expm1(-softplus(x)), sigmoid(x), rtol=1e-14)


@pytest.mark.parametrize("layer", [GELU(), GELU("exact"), SiLU()], ids=str)
def test_activations_predict_what_they_give_in_training(layer):
    x = rng.at(5, "test").normal(np.empty((4, 9), np.float32)) * 4.0
    np.testing.assert_array_equal(layer.predict({}, x), layer.forward({}, x)[0])


def test_attention_keeps_probabilities_of_one_block_alone(monkeypatch):
    layer, x = Attention(2, 4), rng.at(6, "test").normal(np.empty((3, 8, 24)))
    assert layer.backward_macs((8, 24)) == 2 * layer.macs((8, 24))
    squares = [e.shape for e, _ in layer.forward({}, x)[1][4]]
    assert squares == [(3, 2, 1, 8, 8)]
    monkeypatch.setattr(attention, "BLOCK", 4)
    assert layer.backward_macs((8, 24)) == 5 * layer.macs((8, 24)) // 2
    assert [e for e, _ in layer.forward({}, x)[1][4]] == [None, None]


# Starts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, name, deviation",
    [
        (Embedding(200, 100), "weight", 0.02),
        (Positions(200, 100), "table", 0.02),
        (Linear(400, 50, variance=0.5), "weight", math.sqrt(0.5 / 400)),
        (LSTM(80, 60), "input.weight", 1 / math.sqrt(60)),
        (LSTM(80, 60), "recurrent.weight", 1 / math.sqrt(60)),
    ],
)
def test_starts_have_their_deviation(layer, name, deviation):
    """Mean and standard deviation of some 20,000 numbers within 6 standard errors."""
    found = layer.init(rng.at(3, "init"), np.empty(0))[name]
    error = deviation / math.sqrt(found.size)
    assert abs(found.mean()) < 6 * error
    assert abs(found.std() - deviation) < 6 * error / math.sqrt(2)


def test_an_lstm_begins_with_a_memory_that_lasts():
    bias = LSTM(3, 2).init(rng.at(0, "init"), np.empty(0))["bias"]
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])


def test_a_later_score_of_infinity_spoils_nothing_before():
    layer, x = Attention(1, 1, rotary=None), np.ones((1, 2, 3))
    x[0, 1, 1] = np.inf
    with np.errstate(invalid="ignore"):
        y, _ = layer.forward({}, x)
    assert y[0, 0, 0] == 1.0 and np.isnan(y[0, 1, 0])
