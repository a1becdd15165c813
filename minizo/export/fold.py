"""From a trained network to steps on whole numbers.

The layers are walked through from the inputs to the outputs. On the way, a `Flow` says what the
array between two layers holds: whole numbers q that stand for

    x = f(s q),   s a step, or one a channel;  f what is still to be done: bias, normalisation.

A weight layer needs f to be nothing and s to be one number: then sum_j w_j x_j = s s_w sum_j k_j
q_j is a product of whole numbers. An activation quantiser Q meets q in Q(f(s q)), for each channel
a staircase of whole numbers, which is K comparisons with thresholds: batch normalisation and sign
become q >= t, or q < t where the normalisation's scale is negative. The thresholds are found by
bisection of the very code that the network was trained with, ties and rounding included.
Everything else asks for real numbers, and then s and f are computed.

How far the result is the trained network
-----------------------------------------
Let u be half the eps of the network's dtype and n the terms of one product. The trained network
computes sum_j w_j x_j in floating point, which differs from s s_w sum_j k_j q_j by at most
s s_w e, e = gamma_(n+12) max sum_j |k_j q_j|, gamma_m = m u / (1 - m u), in whatever order it adds
up (N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd ed., 2002, section 3.1; the
12 are the roundings of pixels, levels, weights and steps). After that it does to the sum exactly
what the thresholds were found with, and all of it is monotone. So it can decide otherwise at q only
if q + e or q - e lies beyond a jump. Thresholds for which such a q exists at all are counted:
``close``. For an image that does not hit one of these q, all whole numbers of the exported network
are those of the trained one; the outputs, and real numbers on the way, differ by rounding alone.

Two cases are not whole numbers and have no such proof: decisions on real numbers (the sign of a sum
behind a ReLU, or behind real weights), and two outputs that are equal up to rounding.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    HardTanh,
    Layer,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
)
from ..quantizers import BNN, DoReFaActivation, MidRise, MidTread, Sign
from .pack import Codes, codes, grid
from .steps import Affine, Apply, Encode, Exported, Pixels, Product, Thresholds

LARGEST = 2**30  # of a whole number: thresholds and products are kept in 32 bits
STAIRCASES = (Sign, BNN, MidRise, MidTread, DoReFaActivation)  # of activations


@dataclass(frozen=True)
class Bias(Layer):
    """y = x + b."""

    def forward(self, params, x):
        """y (N, F) or (N, F, H, W)."""
        b = params["bias"]
        # (F,) -> (F, 1, 1) for images
        return x + b.reshape(-1, *(1,) * (x.ndim - 2)), None


@dataclass(frozen=True)
class Flow:
    """What an array between two layers holds.

    Attributes
    ----------
    shape : tuple of int
        Of one example.
    bound : int
        No whole number is larger; 0 stands for real numbers.
    error : float
        How far, in units of q, the trained network may be from the whole numbers.
    binary : bool
        Whether they are +-1.
    step : float, or ndarray (C,)
        s.
    waiting : tuple of (layer, params)
        f.
    """

    shape: tuple
    bound: int = 0
    error: float = 0.0
    binary: bool = False
    step: Any = 1.0
    waiting: tuple = ()

    @property
    def plain(self):
        """Whether x = s q with one s."""
        return np.ndim(self.step) == 0 and not self.waiting

    def values(self, q, dtype):
        """f(s q) as the trained network computes it, (n, C), for q float64 (n, C)."""
        x = (q * self.step).astype(dtype)
        # (n, C) -> (n, C, 1, 1) for images, and back
        x = x.reshape(*x.shape, *(1,) * (len(self.shape) - 1))
        for layer, params in self.waiting:
            x = layer.forward(params, x)[0]
        return x.reshape(x.shape[:2])


class Fold:
    """The steps so far, and what they are made from."""

    def __init__(self, dtype, quantized):
        self.steps, self.dtype, self.quantized = [], np.dtype(dtype), set(quantized)

    def real(self, flow):
        """Compute s and f: behind it are the real numbers themselves."""
        a, b = np.array(flow.step, dtype=np.float64), np.array(0.0)
        for layer, params in flow.waiting:
            own = {name: value.astype(np.float64) for name, value in params.items()}
            if isinstance(layer, Bias):
                b = b + own["bias"]
            else:
                # scale (a x + b - mean) / sqrt(var + eps) + shift
                factor = own["scale"] / np.sqrt(own["var"] + layer.eps)
                a, b = a * factor, (b - own["mean"]) * factor + own["shift"]
        if flow.bound or np.any(a != 1.0) or np.any(b != 0.0):
            self.steps.append(Affine(a.astype(self.dtype), b.astype(self.dtype)))
        return Flow(flow.shape)


def folds(network):
    """Whether every layer has a rule here and weights of its own, and takes images or vectors.

    >>> from minizo import models
    >>> folds(models.lenet()), folds(models.small_resnet()), folds(models.llama(65))
    (True, False, False)
    """
    known = all(len(shape) in (1, 3) for shape in network.shapes_between) and not network.tied
    return known and all(
        type(layer) in RULES
        and (type(layer) is not QuantizedActivation or type(layer.quantizer) in STAIRCASES)
        for layer in network.layers.values()
    )


def fold(network, weights, quantized, pixels=True):
    """The network in use as an `Exported` one.

    Parameters
    ----------
    network : Network
        One that `folds`.
    weights : dict of str to ndarray
        The weights in use and the running statistics, NumPy, of one dtype.
    quantized : iterable of str
        Names of the weights that are quantised.
    pixels : bool
        Whether the images were bytes and lie in [0, 1]: then the first product is one of whole
        numbers. Otherwise its inputs are real numbers.
    """
    dtype = next(iter(weights.values())).dtype
    out = Fold(dtype, quantized)
    flow = Flow(network.input_shape)
    if pixels:
        out.steps.append(Pixels())
        flow = Flow(network.input_shape, bound=255, step=1.0 / 255.0)
    for name, layer in network.layers.items():
        rule = RULES[type(layer)]
        known = (*layer.shapes, *layer.running)
        flow = rule(layer, {part: weights[f"{name}.{part}"] for part in known}, name, flow, out)
    out.real(flow)
    return Exported(tuple(out.steps), tuple(network.input_shape), out.dtype.name)


# A rule takes (layer, its weights and statistics, its name, the flow, the fold), appends steps to
# the fold, and gives the flow behind the layer.


def _product(layer, own, name, flow, out):
    flow = flow if flow.plain else out.real(flow)
    key, weight, bound = f"{name}.weight", own["weight"], 0
    found = codes(weight) if key in out.quantized else None
    if flow.bound and found is not None and found.levels is None:
        # (F, ...) -> (F, m)
        sizes = np.abs(found.k.astype(np.int64)).reshape(weight.shape[0], -1).sum(axis=1)
        bound = flow.bound * int(sizes.max())
        bound = bound if bound <= LARGEST else 0
    if not bound:
        flow = out.real(flow)
    found = Codes(weight) if found is None else found
    k, step, levels = found.k, found.step, found.levels
    binary = bound > 0 and flow.binary and bool(np.all(np.abs(k) == 1))
    stride, padding = (layer.stride, layer.padding) if weight.ndim == 4 else ((1, 1), (0, 0))
    out.steps.append(Product(key, k, stride, padding, step, bound, binary, levels))
    mu = (weight[0].size + 12) * np.finfo(out.dtype).eps / 2
    # gamma_m = m u / (1 - m u)
    error = mu / (1 - mu) * bound
    waiting = ((Bias(), {"bias": own["bias"]}),) if layer.bias else ()
    shape = layer.output_shape(flow.shape)
    return Flow(shape, bound, error, step=flow.step * step, waiting=waiting)


def _norm(layer, own, name, flow, out):
    return replace(flow, waiting=(*flow.waiting, (layer, own)), binary=False)


def _quantized_activation(layer, own, name, flow, out):
    # without its surrogate
    bits = {"bits": layer.quantizer.bits} if hasattr(layer.quantizer, "bits") else {}
    quantizer = type(layer.quantizer)(**bits)
    layer = QuantizedActivation(quantizer, layer.scale)
    # one number between every two thresholds
    jumps = layer.scale * np.array(quantizer.thresholds())
    between = [jumps[:1] - layer.scale, (jumps[1:] + jumps[:-1]) / 2, jumps[-1:] + layer.scale]
    levels = layer.forward({}, np.concatenate(between).astype(out.dtype))[0]
    step = grid(levels)
    k = np.rint(levels / step).astype(int)
    bound = int(np.abs(k).max())
    if flow.bound:
        t, falling, close = whole_thresholds(
            lambda q: np.searchsorted(levels, layer.forward({}, flow.values(q, out.dtype))[0]),
            k.size - 1, flow.shape[0], flow.bound, flow.error,
        )  # fmt: skip
        out.steps.append(Thresholds(t, falling, int(k[0]), int(k[1] - k[0]), close))
    else:
        out.real(flow)
        out.steps.append(Encode(layer, step, bound))
    return Flow(flow.shape, bound, binary=k.tolist() == [-1, 1], step=step)


def whole_thresholds(index, steps, channels, bound, error):
    """Where a monotone staircase of whole numbers jumps, channel by channel.

        rising:   index_c(q) >= k         <=>  q >= t_kc,   k = 1 .. K
        falling:  K - index_c(q) >= k     <=>  q >= t_kc

    Parameters
    ----------
    index : callable
        Float64 (n, C) -> int (n, C) from 0 to K; elementwise, in every channel monotone.
    steps, channels : int
        K and C.
    bound : int
        |q| is no larger.
    error : float
        Of q, for ``close``.

    Returns
    -------
    t : int64 ndarray (K, C)
        From -bound to bound + 1, which is never reached.
    falling : int64 ndarray (C,), 0 or 1
    close : int
        How many t would be another if q were off by ``error``.

    Notes
    -----
    Bisection: log2(2 bound) calls of (K, C) numbers.
    """
    ends = index(np.array([[-bound], [bound]]) * np.ones(channels))
    falling = ends[0] > ends[1]
    k = np.arange(1, steps + 1)[:, None]

    def risen(q):
        # (K, C)
        return np.where(falling, steps - index(q), index(q))

    # t lies in first .. last
    first = np.full((steps, channels), -bound)
    last = np.full((steps, channels), bound + 1)
    while np.any(first < last):
        middle = (first + last) // 2
        reached = risen(1.0 * middle) >= k
        first, last = (
            np.where((first < last) & ~reached, middle + 1, first),
            np.where((first < last) & reached, middle, last),
        )
    t = 1.0 * last
    close = (risen(t - error) != risen(t)) | (risen(t - 1 + error) != risen(t - 1))
    inside = (last > -bound) & (last <= bound)
    return last, falling.astype(np.int64), int(np.sum(close & inside))


def _max_pool(layer, own, name, flow, out):
    flow = out.real(flow) if flow.waiting else flow
    return _as_it_is(layer, own, name, flow, out)


def _flatten(layer, own, name, flow, out):
    flow = flow if flow.plain else out.real(flow)
    return _as_it_is(layer, own, name, flow, out)


def _as_it_is(layer, own, name, flow, out):
    out.steps.append(Apply(layer))
    return replace(flow, shape=layer.output_shape(flow.shape))


def _real_activation(layer, own, name, flow, out):
    return _as_it_is(layer, own, name, out.real(flow), out)


def _dropout(layer, own, name, flow, out):
    return flow  # nothing is dropped in use


RULES = {
    Linear: _product,
    Conv2d: _product,
    BatchNorm1d: _norm,
    BatchNorm2d: _norm,
    MaxPool2d: _max_pool,
    Flatten: _flatten,
    ReLU: _real_activation,
    HardTanh: _real_activation,
    QuantizedActivation: _quantized_activation,
    Dropout: _dropout,
}
