"""From a trained network to instructions on whole numbers.

The layers are walked through from the inputs to the outputs. On the way, a `Flow` says what the
array between two layers holds: whole numbers q that stand for

    x = f(s q),   s a step for each channel, f what is still to be done, number by number:
                  bias, batch normalisation with its running statistics, ReLU, hardtanh.

A weight layer needs f to be nothing and s to be one number: then sum_j w_j x_j = s s_w sum_j k_j
q_j is a product of whole numbers. An activation quantiser Q meets q in Q(f(s q)), for each channel
a staircase of whole numbers, which is K comparisons with thresholds (`minizo.export.staircase`):
batch normalisation and sign become q >= t, or q < t where the normalisation's scale is negative. A
maximum is taken before f, with the numbers of falling channels negated. Everything else asks for
real numbers, and then s and f are computed.

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
along a shortcut, or behind real weights), and two outputs that are equal up to rounding.
"""

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from ..errors import InputError
from ..layers import (
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    HardTanh,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    QuantizedActivation,
    ReLU,
    Residual,
    Stack,
    ZeroPad,
)
from .codes import codes, grid
from .instructions import Affine, Apply, MaxPool, Negate, Pixels, Product, Sum, Thresholds
from .staircase import jumps, whole_jumps

LARGEST = 2**31 - 1  # of a whole number: thresholds are stored in 32 bits


@dataclass(frozen=True)
class Bias(Layer):
    """y = x + b."""

    def forward(self, params, x):
        """y (N, F) or (N, F, H, W)."""
        b = params["bias"]
        return x + b.reshape(-1, *(1,) * (x.ndim - 2)), None


@dataclass(frozen=True)
class Flow:
    """What an array between two layers holds.

    Attributes
    ----------
    shape : tuple of int
        Of one example.
    whole : bool
        Whole numbers, or real ones (which may still wait for ``step`` and ``then``).
    bound : int
        No whole number is larger.
    error : float
        How far, in units of q, the trained network may be from the whole numbers.
    binary : bool
        Whether they are +-1.
    step : float64 ndarray of shape () or (C,)
        s.
    then : tuple of (layer, params)
        f.
    """

    shape: tuple
    whole: bool
    bound: int = 0
    error: float = 0.0
    binary: bool = False
    step: Any = np.float64(1.0)
    then: tuple = ()

    @property
    def plain(self):
        """Whether x = s q with one s."""
        return self.step.ndim == 0 and not self.then

    def values(self, q, dtype):
        """f(s q) as the trained network computes it: float64 (n, C) -> (n, C)."""
        x = (q * self.step).astype(dtype)
        # (n, C) -> (n, C, 1, 1) for images, and back
        x = x.reshape(*x.shape, *(1,) * (len(self.shape) - 1))
        for layer, params in self.then:
            x = layer.forward(params, x)[0]
        return x.reshape(x.shape[:2])


class Fold:
    """The instructions so far.

    Attributes
    ----------
    program : list of instruction
    dtype : floating-point type of the network
    quantized : set of str
    thresholds, close : int
        Comparisons of whole numbers, and how many of them have a q within the error.
    """

    def __init__(self, dtype, quantized):
        self.program, self.dtype, self.quantized = [], np.dtype(dtype), set(quantized)
        self.thresholds = self.close = 0

    def real(self, flow):
        """The real numbers themselves: s and f are computed, normalisation as one product."""
        a, b = flow.step, np.array(0.0)
        for layer, params in flow.then:
            if isinstance(layer, Bias):
                b = b + params["bias"].astype(np.float64)
            elif isinstance(layer, BatchNorm1d | BatchNorm2d):
                own = {name: value.astype(np.float64) for name, value in params.items()}
                # scale (a x + b - mean) / sqrt(var + eps) + shift
                factor = own["scale"] / np.sqrt(own["var"] + layer.eps)
                a, b = a * factor, (b - own["mean"]) * factor + own["shift"]
            else:
                self._affine(a, b, flow.whole)
                self.program.append(Apply(layer, params))
                flow = replace(flow, whole=False)
                a, b = np.array(1.0), np.array(0.0)
        self._affine(a, b, flow.whole)
        return Flow(flow.shape, whole=False)

    def _affine(self, a, b, needed):
        if needed or np.any(a != 1.0) or np.any(b != 0.0):
            self.program.append(Affine(a.astype(self.dtype), b.astype(self.dtype)))

    def through(self, layers, params, prefix, flow):
        """The flow after all of ``layers``, whose names begin with ``prefix``."""
        for name, layer in layers.items():
            own = {
                part.removeprefix(f"{prefix}{name}."): value
                for part, value in params.items()
                if part.startswith(f"{prefix}{name}.")
            }
            flow = fold(layer, own, f"{prefix}{name}", flow, self)
        return flow

    def branch(self, layers, params, prefix, flow):
        """The instructions of a side branch that ends in real numbers."""
        ours, self.program = self.program, []
        self.real(self.through(layers, params, prefix, flow))
        ours, self.program = self.program, ours
        return ours


@singledispatch
def fold(layer, own, name, flow, out):
    """Append what ``layer`` does to ``out``; returns the flow behind it.

    Parameters
    ----------
    layer : Layer
    own : dict of str to ndarray
        Its weights in use and running statistics.
    name : str
    flow : Flow
    out : Fold
    """
    raise InputError(
        f"layer {name!r} is a {type(layer).__name__}, which cannot be exported; register it with "
        "minizo.export.fold.fold"
    )


@fold.register(Linear)
@fold.register(Conv2d)
def _product(layer, own, name, flow, out):
    flow = flow if flow.plain else out.real(flow)
    key, weight = f"{name}.weight", own["weight"]
    shape = layer.output_shape(flow.shape)
    found = codes(weight) if key in out.quantized else None
    bound = 0
    if flow.whole and found is not None and found.levels is None:
        # (F, ...) -> (F, m)
        sizes = np.abs(found.k.astype(np.int64)).reshape(weight.shape[0], -1).sum(axis=1)
        bound = flow.bound * int(sizes.max())
    if not 0 < bound <= LARGEST and flow.whole:
        flow = out.real(flow)
    whole = flow.whole
    binary = whole and flow.binary and bool(np.all(np.abs(found.k) == 1))
    bare = replace(layer, bias=False)
    if found is None:
        out.program.append(Product(key, bare, weight, np.array(1.0)))
        step = np.array(1.0)
    else:
        k, step, levels = found
        out.program.append(Product(key, bare, k, step, bound if whole else 0, binary, levels))
    m = (weight[0].size + 12) * np.finfo(out.dtype).eps / 2
    then = ((Bias(), {"bias": own["bias"]}),) if layer.bias else ()
    return Flow(
        shape, whole, bound if whole else 0, m / (1 - m) * bound, step=flow.step * step, then=then
    )


@fold.register(BatchNorm1d)
@fold.register(BatchNorm2d)
@fold.register(ReLU)
@fold.register(HardTanh)
def _later(layer, own, name, flow, out):
    return replace(flow, then=(*flow.then, (layer, own)), binary=False)


@fold.register
def _activation(layer: QuantizedActivation, own, name, flow, out):
    try:
        thresholds, levels = jumps(lambda x: layer.forward(own, x)[0], out.dtype)
    except InputError as error:
        raise InputError(f"layer {name!r}: {error}") from None
    falling = None
    if flow.whole:
        thresholds, falling = _whole_thresholds(flow, thresholds, out)
    else:
        flow = out.real(flow)
    step = grid(levels)
    if step is None:
        out.program.append(Thresholds(thresholds, falling, levels))
        return Flow(flow.shape, whole=False)
    k = np.rint(levels / step).astype(np.int16)
    out.program.append(Thresholds(thresholds, falling, k))
    binary = k.tolist() == [-1, 1]
    return Flow(flow.shape, True, int(np.abs(k).max()), binary=binary, step=np.array(step))


def _whole_thresholds(flow, thresholds, out):
    channels, low, high = flow.shape[0], -flow.bound, flow.bound

    def value(q):
        return flow.values(q, out.dtype)

    def beyond(q):
        # (K, C): how many real thresholds f(s q) has reached, for every t
        return np.sum(value(q)[:, None] >= thresholds[:, None], axis=1)

    t, falling = whole_jumps(value, channels, low, high, thresholds)
    # would another e on either side of t decide otherwise?
    inside = (t > low) & (t <= high)
    e = flow.error
    close = (beyond(t - e) != beyond(1.0 * t)) | (beyond(t - 1 + e) != beyond(t - 1.0))
    out.thresholds += int(inside.sum())
    out.close += int(np.sum(close & inside))
    return t, falling


@fold.register
def _max_pool(layer: MaxPool2d, own, name, flow, out):
    shape = layer.output_shape(flow.shape)
    if flow.then and not flow.whole:
        flow = out.real(flow)
    elif flow.then:
        # max f(s q) = f(s max q) where f rises, f(s min q) = f(-s max(-q)) where it falls
        ends = flow.values(flow.bound * np.array([[-1.0], [1.0]]) * np.ones(shape[0]), out.dtype)
        sign = np.where(ends[0] > ends[1], -1, 1)
        if np.any(sign < 0):
            out.program.append(Negate(sign))
            flow = replace(flow, step=flow.step * sign)
    out.program.append(MaxPool(layer.size, layer.stride))
    return replace(flow, shape=shape)


@fold.register
def _flatten(layer: Flatten, own, name, flow, out):
    flow = flow if flow.plain else out.real(flow)
    out.program.append(Apply(layer, {}))
    return replace(flow, shape=layer.output_shape(flow.shape))


@fold.register(AvgPool2d)
@fold.register(GlobalAvgPool)
@fold.register(LayerNorm)
@fold.register(ZeroPad)
def _as_it_is(layer, own, name, flow, out):
    flow = out.real(flow)
    out.program.append(Apply(layer, own))
    return replace(flow, shape=layer.output_shape(flow.shape))


@fold.register
def _dropout(layer: Dropout, own, name, flow, out):
    return flow  # nothing is dropped in use


@fold.register
def _stack(layer: Stack, own, name, flow, out):
    return out.through(layer.layers, _named(own, name), f"{name}.", flow)


@fold.register
def _residual(layer: Residual, own, name, flow, out):
    # what both ways share is computed once
    flow = flow if flow.plain else out.real(flow)
    own = _named(own, name)
    body = out.branch(layer.body, own, f"{name}.", flow)
    shortcut = out.branch(layer.shortcut, own, f"{name}.shortcut.", flow)
    out.program.append(Sum(body, shortcut))
    return Flow(layer.output_shape(flow.shape), whole=False)


def _named(own, name):
    return {f"{name}.{part}": value for part, value in own.items()}


def instructions(network, weights, quantized, pixels=None):
    """The network in use as instructions.

    Parameters
    ----------
    network : Network
    weights : dict of str to ndarray
        The weights in use and the running statistics, NumPy (`Objective.weights_in_use`).
    quantized : iterable of str
        Names of the weights that are quantised.
    pixels : int, optional
        255 for images that were bytes in [0, 1]: the first product is then one of whole numbers.
        By default its inputs are real numbers.

    Returns
    -------
    Fold
        Its program ends in real outputs.

    Raises
    ------
    InputError
        For a layer that it does not know, or an activation of more than 256 levels.
    """
    dtype = next(iter(weights.values())).dtype
    out = Fold(dtype, quantized)
    flow = Flow(network.input_shape, whole=False)
    if pixels is not None:
        out.program.append(Pixels(pixels))
        flow = Flow(network.input_shape, True, pixels, step=np.array(1.0 / pixels))
    out.real(out.through(network.layers, weights, "", flow))
    return out
