"""F(theta) = L(Q(theta); batch): the loss that is trained, and the gradients one can ask of it.

Quantisation is a map on theta, so no layer knows that its weights are quantised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from . import backend
from .contracts import check_backward, check_learned, check_part
from .errors import InputError, require
from .layers.base import rows, unrolled
from .losses import SoftmaxCrossEntropy
from .network import Network
from .norms import rms
from .quantizers.base import advances


class Batch(NamedTuple):
    """Examples, and the random arrays that the loss on them depends on.

    x : ndarray (N, *input_shape)
    labels : int ndarray (N,), or (N, T) where every place of a sequence has one
        Where S seeds train at once (`minizo.fit_many`), x and labels are (S, 1, N, ...).
    noise : dict of str to ndarray, optional
        From `Objective.noise`, such as the masks of dropout. They are part of the batch, so that
        F(theta; batch) is a function: two evaluations differ by their theta alone.
    """

    x: object
    labels: object
    noise: Mapping | None = None


class Gradient(NamedTuple):
    """What one forward and one backward give.

    loss : ndarray of shape () or (P,)
    gradient : ndarray like theta, or dict of str to ndarray of shape (..., *shape)
    statistics : dict of str to ndarray of shape (..., C)
        What the forward saw of the batch, for `Network.next_state`; empty for a network without
        running statistics.
    """

    loss: object
    gradient: object
    statistics: Mapping


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a network whose weights are quantised.

    Parameters
    ----------
    network : Network
    quantizer : quantizer
        From `minizo.quantizers`.
    quantized : tuple of str, optional
        Parameters that are quantised; by default every one called ``*.weight``. With ``()`` the
        network trains in full precision.
    loss : loss
        From `minizo.losses`.
    scales : dict of str to ndarray of shape (..., 1) or (..., F, 1), optional
        The quantiser's alpha of each quantised tensor, or filter. Set by `calibrate` and constant
        from then on; an objective without them cannot be evaluated.
    exceptions : dict of str to quantizer, optional
        Quantised parameters with a quantiser of their own instead of ``quantizer``, such as another
        bit width (`minizo.models.bit_widths`).

    Notes
    -----
    All methods take theta of shape (d,) or (P, d). A forward is one evaluation of the network on
    one batch for one theta, a backward one back-propagation.

    F is the loss in training: batch normalisation uses the statistics of the batch, for each member
    of a population its own. `outputs` is the network in use: it takes the running statistics.
    """

    network: Network
    quantizer: object
    quantized: tuple = None
    loss: object = field(default_factory=SoftmaxCrossEntropy)
    scales: Mapping = None
    exceptions: Mapping = field(default_factory=dict)

    def __post_init__(self):
        if isinstance(self.network, type) or not hasattr(self.network, "shapes"):
            shown = getattr(self.network, "__name__", repr(self.network))
            raise InputError(f"network is {shown}, but it must be a Network (minizo.models)")
        check_part("quantizer", self.quantizer)
        check_part("loss", self.loss)
        names = self.network.stack.shapes
        if self.quantized is None:
            weights = tuple(name for name in names if name.endswith(".weight"))
            object.__setattr__(self, "quantized", weights)
        several = not isinstance(self.quantized, str)
        remedy = "it must be a tuple of names; minizo.models.chosen(network, pattern) makes one"
        require(several, "quantized", self.quantized, remedy)
        object.__setattr__(self, "quantized", tuple(self.quantized))
        once = len(set(self.quantized)) == len(self.quantized)
        require(once, "quantized", self.quantized, "each name must be there once")
        for name in self.quantized:
            known = f"it must be a parameter of the network: {', '.join(names)}"
            require(name in names, "quantized", name, known)
        for name, quantizer in self.exceptions.items():
            known = f"only what is quantised can have one: {', '.join(self.quantized)}"
            require(name in self.quantized, "a name in exceptions", name, known)
            check_part("quantizer", quantizer)
        companions = {}
        for name in self.quantized:
            quantizer = self.quantizer_of(name)
            learned = check_learned(quantizer, quantizer.shapes(self._rows(name)))
            companions |= {name: quantizer} if learned else {}
        # those of the network may be left over from another quantiser
        if not same_companions(companions, self.network.companions):
            object.__setattr__(self, "network", replace(self.network, companions=companions))

    def quantizer_of(self, name):
        """The quantiser of a parameter: its own exception, or ``quantizer``."""
        return self.exceptions.get(name, self.quantizer)

    @property
    def quantizers(self):
        """Every quantiser that is in use: ``quantizer``, and those of ``exceptions``."""
        return (self.quantizer, *self.exceptions.values())

    def calibrate(self, theta):
        """This objective with the scales that fit ``theta``; itself where it has them already."""
        if self.scales is not None:
            return self
        scales = {n: self.quantizer_of(n).scale(self.cut(theta, n)) for n in self.quantized}
        for name, scale in scales.items():
            smallest = float(backend.namespace(scale).min(scale))
            if not 0.0 < smallest < float("inf"):
                raise InputError(
                    f"the scale of {name} is {smallest}; start from weights that are finite and "
                    "not all zero"
                )
        return replace(self, scales=scales)

    def _rows(self, name):
        return self.network.rows(name, self.quantizer_of(name))

    @cached_property
    def _learned(self):
        # tensor -> the names of what its quantiser learns
        return {n: tuple(self.quantizer_of(n).shapes(self._rows(n))) for n in self.quantized}

    @cached_property
    def _given(self):
        # tensor -> what its quantiser may be given beside the scale: (its own name, the network's)
        return {
            name: [(part, f"{name}.{part}") for part in (*learned, *self.quantizer_of(name).random)]
            for name, learned in self._learned.items()
        }

    def cut(self, theta, name):
        """A quantised tensor as its quantiser sees it: (..., d) -> (..., m), or (..., F, n)."""
        part = theta[..., self.network.slices[name]]
        if not self.quantizer_of(name).by_filter:
            return part
        return backend.namespace(theta).reshape(part, (*part.shape[:-1], *self._rows(name)))

    def beside(self, name, views, noise=None):
        """What the quantiser is given beside a tensor, its argument ``scale``: see `Quantizer`.

        Parameters
        ----------
        name : str
        views : dict of str to ndarray
            Of theta, by name.
        noise : dict of str to ndarray, optional
            Of a batch.
        """
        given = self._given[name]
        if not given:
            return self.scales[name]
        source = views if noise is None else {**views, **noise}
        own = {part: source[full] for part, full in given if full in source}
        return {"alpha": self.scales[name], **own}

    def quantize(self, theta, noise=None):
        """The weights that the network computes with: name -> (..., *shape).

        Parameters
        ----------
        theta : ndarray (..., d)
        noise : dict of str to ndarray, optional
            Of a batch: random numbers for a stochastic quantiser, which without them gives its
            weights in use.
        """
        self._need_scales()
        xp = backend.namespace(theta)
        views = self.network.views(theta)
        weights = dict(views)
        for name in self.quantized:
            x, scale = self.cut(theta, name), self.beside(name, views, noise)
            q = self.quantizer_of(name).quantize(x, scale)
            weights[name] = xp.reshape(q, weights[name].shape)
        return weights

    def refresh(self, theta):
        """theta with what the quantiser keeps made anew; theta itself where it keeps nothing.

        The training loop does this at the beginning of every epoch.
        """
        if not self.kept:
            return theta
        views = self.network.views(theta)
        new = backend.namespace(theta).asarray(theta, copy=True)
        for name in self.quantized:
            x, scale = self.cut(theta, name), self.beside(name, views, None)
            kept = self.quantizer_of(name).refresh(x, scale)
            for part, value in kept.items():
                target = new[..., self.network.slices[f"{name}.{part}"]]
                target[...] = backend.namespace(theta).reshape(value, target.shape)
        return new

    @property
    def kept(self):
        """Names of the entries of theta that only `refresh` changes."""
        return tuple(f"{n}.{part}" for n in self.quantized for part in self.quantizer_of(n).kept)

    def _need_scales(self):
        if self.scales is None and self.quantized:
            raise InputError(
                "this objective has no quantiser scales yet: use objective.calibrate(theta0)"
            )

    @cached_property
    def scheduled(self):
        """Whether anything depends on the part of the run that is over."""
        return any(map(advances, self.quantizers)) or self.network.scheduled

    def at(self, progress):
        """This objective when the part ``progress`` in [0, 1] of a run is over.

        Quantisers and layers with a schedule are advanced (their ``at``); where there are none it
        is the objective itself.
        """
        if not self.scheduled:
            return self
        return replace(
            self,
            network=self.network.at(progress),
            quantizer=self.quantizer.at(progress),
            exceptions={name: own.at(progress) for name, own in self.exceptions.items()},
        )

    def noise(self, stream, examples, like):
        """Random arrays for `Batch`: name -> array where ``like`` lives, or ``None`` if none are.

        Parameters
        ----------
        stream : minizo.rng.Stream
        examples : int
            N.
        """
        noise = self.network.noise(stream, examples, like)
        stream = stream.child(len(self.network.layers))
        for i, name in enumerate(self.quantized):
            if self.quantizer_of(name).random:
                own = self.quantizer_of(name).noise(stream.child(i), self._rows(name), like)
                noise |= {f"{name}.{part}": value for part, value in own.items()}
        return noise or None

    def training_params(self, theta, batch):
        """What the network is given in training: the quantised weights, and the batch's noise."""
        weights = self.quantize(theta, batch.noise)
        return weights if batch.noise is None else {**weights, **batch.noise}

    def outputs(self, theta, x, state=None):
        """Outputs of the quantised network in use, (..., N, *output_shape). Cost: 1 forward.

        Parameters
        ----------
        theta : ndarray of shape (..., d)
        x : ndarray of shape (N, *input_shape)
        state : dict of str to ndarray, optional
            Running statistics, such as ``run.state``; needed where the network has any.
        """
        return self.network.predict(self.weights_in_use(theta, state), x)

    def weights_in_use(self, theta, state=None):
        """The quantised weights together with the running statistics ``state``, by name."""
        missing = [name for name in self.network.running if name not in (state or {})]
        if missing:
            raise InputError(
                f"state has no {missing[0]}, but this network has running statistics: pass those "
                "of the run, run.state"
            )
        return self.quantize(theta) | (state or {})

    def evaluate(self, theta, batch):
        """F(theta), the loss in training: () for (d,), or (..., P) for (..., P, d).

        Batch normalisation takes the batch's statistics, dropout its masks. Cost: 1 forward for
        each theta.
        """
        params = self.training_params(theta, batch)
        return self.loss_of(self.network.predict(params, batch.x), batch.labels)[0]

    def loss_of(self, outputs, labels):
        """The loss (...) of the network's outputs, and the cache that the loss's backward takes.

        Of a sequence every place counts as an example: outputs (..., N, T, K) and labels (..., N,
        T) become (..., N*T, K) and (..., N*T).
        """
        axes = len(self.network.output_shape)
        return self.loss.forward(rows(outputs, axes), rows(labels, axes - 1, kept=0))

    def statistics(self, theta, batch):
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

    def weight_gradient(self, theta, batch):
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
        return Gradient(loss, gradient, self.network.statistics(caches))

    def ste_gradient(self, theta, batch):
        """The straight-through gradient g = J(theta)^T dL/dw, w = Q(theta).

        J is what the backward rule of the quantiser says; mostly it is diagonal, the derivative of
        its surrogate at theta.

        Returns
        -------
        Gradient
            Its ``gradient`` like theta. Cost: 1 forward, 1 backward.
        """
        found = self.weight_gradient(theta, batch)
        xp, grads = backend.namespace(theta), dict(found.gradient)
        views = self.network.views(theta) if self.network.companions else {}
        for name in self.quantized:
            x, dw = self.cut(theta, name), grads[name]
            scale = self.beside(name, views, batch.noise)
            # (..., *shape) -> (..., m) or (..., F, n), and back
            quantizer = self.quantizer_of(name)
            answer = quantizer.backward(x, scale, xp.reshape(dw, x.shape))
            dx, own = check_backward(quantizer, answer, x, scale, self._learned[name])
            grads[name] = xp.reshape(dx, dw.shape)
            grads |= {f"{name}.{part}": value for part, value in own.items()}
        return found._replace(gradient=self.network.flatten(grads))

    def matched_eps(self, theta):
        """Perturbation sizes that the surrogates imply: like theta.

            eps = alpha epsbar,   where a quantiser has an epsbar
            eps = c RMS(w),       where it has none; c = `Quantizer.default_eps`

        each for a quantised tensor, or filter, w of ``theta``. A parameter that is not quantised
        takes the size of the quantised weights of its own layer (the mean over filters); where that
        has none, of the nearest layer below that has some, or else of the lowest. What the
        quantiser learns takes that of its tensor.

        Raises
        ------
        InputError
            If nothing is quantised.
        """
        xp, quantized = backend.namespace(theta), set(self.scales or {})
        source = next((name for name in self.network.slices if name in quantized), None)
        if source is None:
            raise InputError(
                "eps is None, but nothing is quantised and implies a perturbation size: give eps "
                "a number such as 1e-3"
            )
        eps = backend.empty(theta.shape, theta)
        for name, part in self.network.slices.items():
            owner = name.rpartition(".")[0]
            near = (name, owner, f"{owner}.weight")
            source = next((s for s in near if s in quantized), source)
            size, by_filter = self._eps_of(theta, source), self.quantizer_of(source).by_filter
            target = eps[..., part]
            if by_filter and name == source:  # (..., F, 1) -> (..., F*n)
                rows = (*target.shape[:-1], *self._rows(name))
                size = xp.reshape(xp.broadcast_to(size, rows), target.shape)
            elif by_filter:  # (..., F, 1) -> (..., 1)
                size = xp.mean(size, axis=-2)
            target[...] = size
        return eps

    def _eps_of(self, theta, name):
        # of a quantised tensor: (..., 1), or (..., F, 1)
        quantizer = self.quantizer_of(name)
        if quantizer.epsbar is None:
            return quantizer.default_eps * rms(self.cut(theta, name))
        return quantizer.epsbar * self.scales[name]

    def footprint(self, batch):
        """Numbers in the largest array that `evaluate` makes of one theta: of d, or of outputs."""
        examples = batch.labels.shape[-len(self.network.output_shape)]
        return max(self.network.d, examples * self.network.widest)

    def cost(self, forwards, backwards, examples):
        """Multiply-accumulates of so many forwards and backwards on batches of ``examples``."""
        net = self.network
        return examples * (forwards * net.macs + backwards * net.backward_macs)


def same_companions(ours, theirs):
    """Whether two networks have the same quantisers beside the same weights.

    Where in a run a quantiser stands makes no difference to what it learns.
    """
    alike = (ours[name].at(0.0) == theirs[name].at(0.0) for name in ours if name in theirs)
    return set(ours) == set(theirs) and all(alike)
