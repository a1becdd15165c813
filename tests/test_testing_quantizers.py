"""What authors run on a quantiser of their own: all pass, and every planted fault is found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from test_testing import failure

from minizo import quantizers as q
from minizo.quantizers import QUANTIZERS
from minizo.testing import CheckFailed, check_quantizer

SURROGATES = ("hardtanh", "tanh", "approxsign", "swish", "ede", "rbnn", "reste", "fda")
QUANTIZER_ROWS = [
    *(kind() for kind in QUANTIZERS.values()),
    *(q.MidTread(surrogate, bits=3) for surrogate in SURROGATES),
    q.MidRise("tanh", bits=8), q.LSQ("tanh", bits=3, signed=False), q.DoReFaActivation(bits=8),
    q.Stochastic("hardtanh", in_use="sign"), q.Xnor(rule="exact"), q.Xnor(rule="paper"),
    q.Xnor(per="layer"), q.RBNN(detach_rotation=True), q.QuEST("tanh", bits=3),
    q.MultiBit("tanh", bits=3), q.AbsMax(bits=4), q.QuEST(bits=3, block=8, trust=1.3),
    q.MidRise("tanh", per="filter"), q.LSQ("tanh", per="filter"), q.Sign(per="filter"),
    q.QuEST(per="filter", block=16), q.TWN(per="filter"), q.DoReFa(per="filter"),
    q.FDA(amplitude=0.5), q.QuantNet(per="filter", expand=0.1),
    q.DoReFa("tanh", bits=3), q.ReSTE().at(1.0),
]  # fmt: skip


# whose quantize is smooth in what it learns
LEARNED = q.FDA | q.RBNN | q.QuantNet


@pytest.mark.parametrize("quantizer", QUANTIZER_ROWS, ids=str)
def test_quantizers_pass(quantizer):
    """And are judged wherever they say what they are."""
    results = {f.name: f.passed for f in check_quantizer(quantizer).checks}
    always = ("contract", "pure", "quiet", "deterministic", "pickle", "population", "linear")
    assert all(results[name] for name in always)
    assert results["levels"] is (None if quantizer.levels is None else True)
    assert results["surrogate"] is (True if quantizer.pointwise else None)
    alone = quantizer.pointwise and not quantizer.by_filter
    judged = alone and not quantizer.random and quantizer.epsbar is not None
    assert results["noise"] is (True if judged else None)
    assert results["learned"] is (True if isinstance(quantizer, LEARNED) else None)


# Planted faults of a quantiser -------------------------------------------------------------------


@dataclass(frozen=True)
class Planted(q.MidRise):
    """Mid-rise, but with what it is told in the place of its own."""

    surrogate: str = "tanh"
    forward: Callable = None
    back: Callable = None
    count: int = 4
    size: float = None

    @property
    def levels(self):
        return self.count

    @property
    def epsbar(self):
        return super().epsbar if self.size is None else self.size

    def quantize(self, x, alpha):
        w = super().quantize(x, alpha)
        return w if self.forward is None else self.forward(w, x, alpha)

    def backward(self, x, alpha, dw):
        dx, _ = super().backward(x, alpha, dw)
        return (dx if self.back is None else self.back(dx, x, dw)), {}


CALLS = []


def in_place(w, x, alpha):
    x *= 0.5
    return w


def prints(w, x, alpha):
    print(alpha)
    return w


def numpy_random(w, x, alpha):
    return w + 0.0 * np.random.random()


def remembers(w, x, alpha):
    CALLS.append(1)
    return w + 1e-9 * len(CALLS)


def double(w, x, alpha):
    return w.astype(np.float64)


def first_axis(w, x, alpha):
    return w + 1e-6 * x.mean(axis=0)


def three_levels(w, x, alpha):
    return np.minimum(w, 0.5 * alpha)


def continuous(w, x, alpha):
    return w + 1e-3 * x


def larger(dx, x, dw):
    return 1.01 * dx


def clipped(dx, x, dw):
    return dx.clip(-0.5, 0.5)


def nan(dx, x, dw):
    return dx * np.nan


def of_all(dx, x, dw):
    return dx + 1e-6 * dw.sum()


FAULTS = [
    (Planted(forward=in_place), "pure", r"Planted.quantize changes .* in place: x\[0\] is"),
    (Planted(forward=prints), "quiet", "Planted prints"),
    (Planted(forward=numpy_random), "quiet", "Planted draws from NumPy's global random state"),
    (Planted(forward=remembers), "deterministic", r"two answers .* its answer.w\[0\] is"),
    (Planted(forward=double), "contract", r"Planted.quantize is \(96,\) float64, but x is"),
    (Planted(forward=lambda *a: a[0]), "pickle", "Planted cannot be pickled"),
    (Planted(forward=first_axis), "population", r"of x \(3, 96\), member \(0,\) is not .* \(w\["),
    (Planted(forward=three_levels), "levels", "Planted.levels is 4, but quantize gives 3 values"),
    (Planted(forward=continuous), "levels", r"levels is 4, but quantize gives \d{5} values"),
    (Planted(count=3), "levels", "Planted.levels is 3, but quantize gives 4 values in a row"),
    (Planted(back=larger), "surrogate", "is not the derivative of smooth: at x = .* it is"),
    (Planted(back=clipped), "linear", r"backward is not linear in dw: for 3 u - v, dx\["),
    (Planted(back=nan), "contract", "Planted.backward gives a NaN or an infinity"),
    (Planted(back=of_all), "population", r"Planted mixes the members .* \(dx\[.*keepdims=True"),
    (Planted(size=0.5), "noise", "the mean of Q.* is not smooth.x.: at x = .*, or set epsbar to N"),
    (q.Sign, "contract", "quantizer is the class Sign, but it must be an object"),
]


@pytest.mark.parametrize("quantizer, name, pattern", FAULTS)
def test_a_fault_of_a_quantizer_is_found(quantizer, name, pattern):
    CALLS.clear()
    failed, _ = failure(check_quantizer, quantizer, match=pattern)
    assert name in failed


def test_the_quantizer_of_the_planted_faults_passes():
    """Negative control."""
    check_quantizer(Planted())


class WrongGain(q.RBNN):
    def backward(self, x, scale, dw):
        dx, grads = super().backward(x, scale, dw)
        return dx, grads | {"gain": 1.01 * grads["gain"]}


class NoAngle(q.RBNN):
    def backward(self, x, scale, dw):
        dx, grads = super().backward(x, scale, dw)
        return dx, {name: value for name, value in grads.items() if name != "angle"}


class OtherShapes(q.LSQ):
    def shapes(self, shape):
        return {"step": (2,)}


class OtherNoise(q.Stochastic):
    def noise(self, stream, shape, like):
        return {"dice": super().noise(stream, shape, like)["coins"]}


class NoScale(q.Sign):
    def scale(self, w):
        return 0.0 * super().scale(w)


class OneScale(q.Sign):
    def scale(self, w):
        return super().scale(w)[..., 0]


class WholeTensor(q.Xnor):
    """The scale of all filters together, and of all members of a population."""

    def quantize(self, x, scale):
        return np.copysign(np.mean(np.abs(x)), x)


@pytest.mark.parametrize(
    "quantizer, name, pattern",
    [
        (WrongGain(), "learned", "the gradient of gain of WrongGain.backward is wrong by 1 %: at"),
        (NoAngle(), "contract", r"gives gradients of .*, but shapes has .*angle"),
        (OtherShapes(), "contract", r"OtherShapes.init gives .'step': \(1,\)., but shapes says"),
        (OtherNoise(), "contract", r"noise gives \['dice'\], but random says \['coins'\]"),
        (NoScale(), "contract", r"NoScale.scale gives \[0.\], but it must be finite and above 0"),
        (OneScale(), "contract", r"OneScale.scale is \(\) float64, but one number a row of x is"),
        (WholeTensor(), "population", r"member \(0,\) is not what it is alone \(w\[0, 0\] is"),
    ],
)
def test_a_fault_of_what_a_quantizer_holds_is_found(quantizer, name, pattern):
    failed, _ = failure(check_quantizer, quantizer, match=pattern)
    assert failed == {name}


def turned(w, x, alpha):
    return -w


@pytest.mark.parametrize(
    "quantizer, sentence",
    [
        (Planted(), "Q rises with x; Q(Q(x)) is Q(x)"),
        (Planted(forward=turned), "Q falls somewhere as x rises; Q(Q(x)) is not Q(x)"),
        (q.Xnor(), "looks at a whole row: order and Q(Q(x)) are not looked at"),
    ],
)
def test_order_is_said_and_not_judged(quantizer, sentence):
    try:
        findings = check_quantizer(quantizer)
    except CheckFailed as failed:  # of the noise, whose mean is turned, too
        findings = failed.findings
    assert {f.name: f for f in findings.checks}["order"] == ("order", None, sentence)
