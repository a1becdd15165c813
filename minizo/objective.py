"""F(theta) = L(Q(theta); batch): the loss that is trained, and the gradients one can ask of it."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .contracts import check_part
from .layers.base import rows, unrolled
from .losses import SoftmaxCrossEntropy
from .quantized import QuantizedNetwork
from .types import Array, Arrays, Loss


class Batch(NamedTuple):
    """Examples, and the random arrays that the loss on them depends on.

    x : ndarray (N, *input_shape)
    labels : int ndarray (N,), or (N, T) where every place of a sequence has one
        Where S seeds train at once (`minizo.fit_many`), x and labels are (S, 1, N, ...).
    noise : dict of str to ndarray, optional
        From `Objective.noise`, such as the masks of dropout. They are part of the batch, so that
        F(theta; batch) is a function: two evaluations differ by their theta alone.
    """

    x: Array
    labels: Array
    noise: Arrays | None = None


class Gradient(NamedTuple):
    """What one forward and one backward give.

    loss : ndarray of shape () or (P,)
    gradient : ndarray like theta, or dict of str to ndarray of shape (..., *shape)
    statistics : dict of str to ndarray of shape (..., C)
        What the forward saw of the batch, for `Network.next_state`; empty for a network without
        running statistics.
    """

    loss: Array
    gradient: Any
    statistics: Arrays


@dataclass(frozen=True, eq=False)
class Objective(QuantizedNetwork):
    """The loss of a network whose weights are quantised.

    Parameters
    ----------
    network, quantizer, quantized, scales, exceptions
        As for `minizo.quantized.QuantizedNetwork`.
    loss : loss
        From `minizo.losses`.

    Notes
    -----
    All methods take theta of shape (d,) or (P, d). A forward is one evaluation of the network on
    one batch for one theta, a backward one back-propagation.

    F is the loss in training, with what a quantiser adds to it (`Quantizer.penalty`): batch
    normalisation uses the statistics of the batch, for each member of a population its own.
    `outputs` is the network in use: it takes the running statistics.
    """

    loss: Loss = field(default_factory=SoftmaxCrossEntropy)

    def __post_init__(self):
        check_part("loss", self.loss)
        super().__post_init__()

    def training_params(self, theta: Array, batch: Batch) -> Arrays:
        """What the network is given in training: the quantised weights, and the batch's noise."""
        weights = self.quantize(theta, batch.noise)
        return weights if batch.noise is None else {**weights, **batch.noise}

    def evaluate(self, theta: Array, batch: Batch) -> Array:
        """F(theta), the loss in training: () for (d,), or (..., P) for (..., P, d).

        Batch normalisation takes the batch's statistics, dropout its masks. Cost: 1 forward for
        each theta.
        """
        params = self.training_params(theta, batch)
        loss = self.loss_of(self.network.predict(params, batch.x), batch.labels)[0]
        return loss + self.penalty(params)[0] if self._penalised else loss

    def loss_of(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """The loss (...) of the network's outputs, and the cache that the loss's backward takes.

        Of a sequence every place counts as an example: outputs (..., N, T, K) and labels (..., N,
        T) become (..., N*T, K) and (..., N*T).
        """
        axes = len(self.network.output_shape)
        return self.loss.forward(rows(outputs, axes), rows(labels, axes - 1, kept=0))

    def statistics(self, theta: Array, batch: Batch) -> Arrays:
        """What a forward at theta sees of the batch, for `Network.next_state`.

        Returns
        -------
        dict of str to ndarray of shape (..., C)
            Cost: 1 forward; empty, and free, for a network without running statistics.
        """
        if not self.network.running:
            return {}
        _, caches = self.network.forward(self.training_params(theta, batch), batch.x)
        return self.network.statistics(caches)

    def weight_gradient(self, theta: Array, batch: Batch) -> Gradient:
        """The exact gradient at the quantised weights, dL/dw at w = Q(theta).

        Returns
        -------
        Gradient
            Its ``gradient`` by name. Cost: 1 forward, 1 backward.
        """
        params = self.training_params(theta, batch)
        outputs, caches = self.network.forward(params, batch.x)
        loss, cache = self.loss_of(outputs, batch.labels)
        dy = unrolled(self.loss.backward(cache), outputs, len(self.network.output_shape))
        gradient = self.network.backward(params, caches, dy)
        if self._penalised:
            more, own = self.penalty(params)
            loss = loss + more
            gradient = {**gradient, **{name: gradient[name] + dw for name, dw in own.items()}}
        return Gradient(loss, gradient, self.network.statistics(caches))

    def ste_gradient(self, theta: Array, batch: Batch) -> Gradient:
        """The straight-through gradient g = J(theta)^T dL/dw, w = Q(theta).

        J is what the backward rule of the quantiser says; mostly it is diagonal, the derivative of
        its surrogate at theta.

        Returns
        -------
        Gradient
            Its ``gradient`` like theta. Cost: 1 forward, 1 backward.
        """
        found = self.weight_gradient(theta, batch)
        # g = J(theta)^T dL/dw
        g = self.straight_through(theta, found.gradient, batch.noise)
        return found._replace(gradient=g)

    def footprint(self, batch: Batch) -> int:
        """Numbers in the largest array that `evaluate` makes of one theta: of d, or of outputs."""
        examples = batch.labels.shape[-len(self.network.output_shape)]
        return max(self.network.d, examples * self.network.widest)

    def cost(self, forwards: int, backwards: int, examples: int) -> int:
        """Multiply-accumulates of so many forwards and backwards on batches of ``examples``."""
        net = self.network
        return examples * (forwards * net.macs + backwards * net.backward_macs)
