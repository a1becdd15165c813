"""F(theta) = L(Q(theta); batch): the loss that is trained, and the gradients one can ask of it.

Quantisation is a map on theta, so no layer knows that its weights are quantised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from . import backend
from .errors import InputError, require
from .losses import SoftmaxCrossEntropy
from .network import Network


class Batch(NamedTuple):
    """x : ndarray (N, *input_shape);  labels : int ndarray (N,)."""

    x: object
    labels: object


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a network whose weights are quantised.

    Parameters
    ----------
    network : Network
    quantizer : quantizer
        From `minizo.quantizers`.
    quantized : tuple of str, optional
        Parameters that are quantised; by default every one called ``*.weight``.
    loss : loss
        From `minizo.losses`.
    scales : dict of str to ndarray of shape (..., 1), optional
        The quantiser's alpha of each quantised tensor. Set by `calibrate` and constant from then
        on; an objective without them cannot be evaluated.

    Notes
    -----
    All methods take theta of shape (d,) or (P, d). A forward is one evaluation of the network on
    one batch for one theta, a backward one back-propagation.
    """

    network: Network
    quantizer: object
    quantized: tuple = None
    loss: object = field(default_factory=SoftmaxCrossEntropy)
    scales: Mapping = None

    def __post_init__(self):
        names = self.network.shapes
        if self.quantized is None:
            weights = tuple(name for name in names if name.endswith(".weight"))
            object.__setattr__(self, "quantized", weights)
        for name in self.quantized:
            known = f"it must be a parameter of the network: {', '.join(names)}"
            require(name in names, "quantized", name, known)

    def calibrate(self, theta):
        """This objective with the scales that fit ``theta``; itself where it has them already."""
        if self.scales is not None:
            return self
        slices = self.network.slices
        scales = {name: self.quantizer.scale(theta[..., slices[name]]) for name in self.quantized}
        for name, scale in scales.items():
            smallest = float(backend.namespace(scale).min(scale))
            if not 0.0 < smallest < float("inf"):
                raise InputError(
                    f"the scale of {name} is {smallest}; start from weights that are finite and "
                    "not all zero"
                )
        return replace(self, scales=scales)

    def quantize(self, theta, overwrite=False):
        """The weights that the network computes with: name -> (..., *shape).

        With ``overwrite`` they are written over theta, which must be the caller's own buffer.
        """
        if self.scales is None:
            raise InputError(
                "this objective has no quantiser scales yet: use objective.calibrate(theta0)"
            )
        xp = backend.namespace(theta)
        weights = self.network.views(theta)
        for name in self.quantized:
            part = theta[..., self.network.slices[name]]  # (..., m)
            q = self.quantizer.quantize(part, self.scales[name], overwrite)
            weights[name] = xp.reshape(q, weights[name].shape)
        return weights

    def outputs(self, theta, x):
        """Outputs of the quantised network, (..., N, K). Cost: 1 forward."""
        return self.network.predict(self.quantize(theta), x)

    def evaluate(self, theta, batch, overwrite=False):
        """F(theta): () or (P,). Cost: 1 forward for each of the P.

        With ``overwrite`` theta is used as scratch space and lost, which saves a copy of it.
        """
        outputs = self.network.predict(self.quantize(theta, overwrite), batch.x)
        return self.loss.forward(outputs, batch.labels)[0]

    def weight_gradient(self, theta, batch):
        """Loss and dL/dw at w = Q(theta), the exact gradient at the quantised weights.

        Returns
        -------
        loss : ndarray of shape () or (P,)
        gradient : dict of str to ndarray of shape (..., *shape)
            Cost: 1 forward, 1 backward.
        """
        params = self.quantize(theta)
        outputs, caches = self.network.forward(params, batch.x)
        loss, cache = self.loss.forward(outputs, batch.labels)
        return loss, self.network.backward(params, caches, self.loss.backward(cache))

    def ste_gradient(self, theta, batch):
        """Loss and straight-through gradient g = J(theta)^T dL/dw, w = Q(theta).

        J is diagonal: the derivative of the quantiser's surrogate at theta.

        Returns
        -------
        loss : ndarray of shape () or (P,)
        gradient : ndarray like theta
            Cost: 1 forward, 1 backward.
        """
        loss, named = self.weight_gradient(theta, batch)
        gradient = self.network.flatten(named)
        for name in self.quantized:
            part = self.network.slices[name]
            slope = self.quantizer.derivative(theta[..., part], self.scales[name])
            if slope is not None:  # all ones
                gradient[..., part] *= slope
        return loss, gradient

    def matched_eps(self, theta):
        """Perturbation sizes that the surrogate implies: (d,), eps = alpha epsbar by tensor.

        A parameter that is not quantised takes the size of the weights of its own layer.

        Raises
        ------
        InputError
            If the quantiser implies no noise, or a layer has no quantised parameter.
        """
        if self.quantizer.epsbar is None:
            kind = "full-precision weights" if self.quantizer.levels is None else "fitted levels"
            raise InputError(
                f"eps is None, but {kind} imply no perturbation size: give eps a number such as "
                "1e-3"
            )
        eps = backend.empty((self.network.d,), theta)
        for name, part in self.network.slices.items():
            layer = name.rpartition(".")[0]
            source = name if name in self.quantized else f"{layer}.weight"
            if source not in self.scales:
                raise InputError(
                    f"eps is None, but nothing in layer {layer!r} is quantised and implies a "
                    "perturbation size: give eps a number such as 1e-3"
                )
            eps[part] = self.quantizer.epsbar * self.scales[source]
        return eps

    def workspace(self, batch):
        """Numbers that `evaluate` holds at once for one theta and ``batch``, beside theta.

        The outputs of the widest layer, of its neighbour, and two temporaries of that size.
        """
        return 4 * batch.labels.shape[0] * self.network.widest

    def cost(self, forwards, backwards, examples):
        """Multiply-accumulates of so many forwards and backwards on batches of ``examples``."""
        net = self.network
        return examples * (forwards * net.macs + backwards * net.backward_macs)
