"""Quantised weights: the map theta -> Q(theta), by name, and its backward.

Quantisation is a map on theta, so no layer knows that its weights are quantised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

from . import backend
from .contracts import check_backward, check_learned, check_part
from .errors import InputError, require
from .laws import Law
from .network import Network
from .norms import rms
from .quantizers.base import Quantizer, advances, deployed, penalises
from .rng import Stream
from .types import Array, Arrays, Scale


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """A network of which some weights are quantised before it computes with them.

    Parameters
    ----------
    network : Network
    quantizer : quantizer
        From `minizo.quantizers`.
    quantized : tuple of str, optional
        Parameters that are quantised; by default every one called ``*.weight``. With ``()`` the
        network trains in full precision.
    scales : dict of str to ndarray of shape (..., 1) or (..., F, 1), optional
        The quantiser's alpha of each quantised tensor, or filter. Set by `calibrate` and constant
        from then on; without them nothing can be quantised.
    exceptions : dict of str to quantizer, optional
        Quantised parameters with a quantiser of their own instead of ``quantizer``, such as another
        bit width (`minizo.models.bit_widths`).

    Notes
    -----
    All methods take theta of shape (d,) or (..., d).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import models, quantizers
    >>> net = QuantizedNetwork(models.mlp(4, 3, 2), quantizers.Sign(), ("fc1.weight",))
    >>> theta = net.network.init(0)
    >>> weights = net.calibrate(theta).quantize(theta)
    >>> len(np.unique(weights["fc1.weight"])), len(np.unique(weights["fc2.weight"]))
    (2, 6)
    """

    network: Network
    quantizer: Quantizer
    quantized: tuple = None
    scales: Mapping = field(default=None, kw_only=True)  # type: ignore[arg-type]
    exceptions: Mapping = field(default_factory=dict, kw_only=True)

    def __post_init__(self):
        if isinstance(self.network, type) or not hasattr(self.network, "shapes"):
            shown = getattr(self.network, "__name__", repr(self.network))
            raise InputError(f"network is {shown}, but it must be a Network (minizo.models)")
        check_part("quantizer", self.quantizer)
        names = self.network.layer_shapes
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

    def quantizer_of(self, name: str) -> Quantizer:
        """The quantiser of a parameter: its own exception, or ``quantizer``."""
        return self.exceptions.get(name, self.quantizer)

    @property
    def quantizers(self) -> tuple[Quantizer, ...]:
        """Every quantiser that is in use: ``quantizer``, and those of ``exceptions``."""
        return (self.quantizer, *self.exceptions.values())

    @property
    def law(self) -> Law:
        """The law of the noise that turns the quantisers into their surrogates.

        Raises
        ------
        InputError
            If they imply different ones.
        """
        law, *others = dict.fromkeys(quantizer.law for quantizer in self.quantizers)
        remedy = "name one, such as law='uniform'"
        names = [own.name for own in (law, *others)]
        require(not others, "law is 'matched' and the quantisers' laws", names, remedy)
        return law

    def calibrate(self, theta: Array) -> Self:
        """The same with the scales that fit ``theta``; itself where it has them already."""
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

    def cut(self, theta: Array, name: str) -> Array:
        """A quantised tensor as its quantiser sees it: (..., d) -> (..., m), or (..., F, n)."""
        part = theta[..., self.network.slices[name]]
        if not self.quantizer_of(name).by_filter:
            return part
        return backend.namespace(theta).reshape(part, (*part.shape[:-1], *self._rows(name)))

    def beside(self, name: str, views: Arrays, noise: Arrays | None = None) -> Scale:
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

    def quantize(self, theta: Array, noise: Arrays | None = None) -> Arrays:
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

    def refresh(self, theta: Array) -> Array:
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
    def kept(self) -> tuple[str, ...]:
        """Names of the entries of theta that only `refresh` changes."""
        return tuple(f"{n}.{part}" for n in self.quantized for part in self.quantizer_of(n).kept)

    def _need_scales(self):
        if self.scales is None and self.quantized:
            raise InputError(
                "this objective has no quantiser scales yet: use objective.calibrate(theta0)"
            )

    @cached_property
    def scheduled(self) -> bool:
        """Whether anything depends on the part of the run that is over."""
        return any(map(advances, self.quantizers)) or self.network.scheduled

    def at(self, progress: float) -> Self:
        """The same when the part ``progress`` in [0, 1] of a run is over.

        Quantisers and layers with a schedule are advanced (their ``at``); where there are none it
        is the object itself.
        """
        if not self.scheduled:
            return self
        return replace(
            self,
            network=self.network.at(progress),
            quantizer=self.quantizer.at(progress),
            exceptions={name: own.at(progress) for name, own in self.exceptions.items()},
        )

    def noise(self, stream: Stream, examples: int, like: Array) -> Arrays | None:
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

    def outputs(self, theta: Array, x: Array, state: Arrays | None = None) -> Array:
        """Outputs of the quantised network in use, (..., N, *output_shape). Cost: 1 forward.

        Parameters
        ----------
        theta : ndarray of shape (..., d)
        x : ndarray of shape (N, *input_shape)
        state : dict of str to ndarray, optional
            Running statistics, such as ``run.state``; needed where the network has any.
        """
        return self.network.predict(self.weights_in_use(theta, state), x)

    def weights_in_use(self, theta: Array, state: Arrays | None = None) -> Arrays:
        """The quantised weights together with the running statistics ``state``, by name."""
        missing = [name for name in self.network.running if name not in (state or {})]
        if missing:
            raise InputError(
                f"state has no {missing[0]}, but this network has running statistics: pass those "
                "of the run, run.state"
            )
        return self.in_use().quantize(theta) | (state or {})

    def in_use(self) -> Self:
        """The same with quantisers that give the weights in use, where those of training are soft.

        It is the object itself where they are not.
        """
        if not any(getattr(quantizer, "soft", False) for quantizer in self.quantizers):
            return self
        used = {name: deployed(own) for name, own in self.exceptions.items()}
        return replace(self, quantizer=deployed(self.quantizer), exceptions=used)

    @cached_property
    def _penalised(self):
        return tuple(name for name in self.quantized if penalises(self.quantizer_of(name)))

    def penalty(self, weights: Arrays) -> tuple[Array, Arrays]:
        """What the quantisers add to the loss for the quantised weights, and its gradient.

        Parameters
        ----------
        weights : dict of str to ndarray of shape (..., *shape)

        Returns
        -------
        R : ndarray (...), or the number 0 where no quantiser adds anything
        gradient : dict of str to ndarray
            dR/dw of those weights that have one.
        """
        value, gradient = 0.0, {}
        for name in self._penalised:
            w, quantizer = weights[name], self.quantizer_of(name)
            xp, shape = backend.namespace(w), self.network.layer_shapes[name]
            # (..., *shape) -> (..., m) or (..., F, n), and back
            rows = xp.reshape(w, (*w.shape[: w.ndim - len(shape)], *self._rows(name)))
            own, dw = quantizer.penalty(rows, self.scales[name])
            value, gradient[name] = value + own, xp.reshape(dw, w.shape)
        return value, gradient

    def straight_through(
        self, theta: Array, gradient: Arrays, noise: Arrays | None = None
    ) -> Array:
        """J(theta)^T dL/dw, like theta: what the quantisers' backward rules make of dL/dw.

        Parameters
        ----------
        theta : ndarray (..., d)
        gradient : dict of str to ndarray of shape (..., *shape)
            dL/dw at w = Q(theta), by name.
        noise : dict of str to ndarray, optional
            Of the batch.
        """
        xp, grads = backend.namespace(theta), dict(gradient)
        views = self.network.views(theta) if self.network.companions else {}
        for name in self.quantized:
            x, dw, quantizer = self.cut(theta, name), grads[name], self.quantizer_of(name)
            scale = self.beside(name, views, noise)
            # (..., *shape) -> (..., m) or (..., F, n), and back
            answer = quantizer.backward(x, scale, xp.reshape(dw, x.shape))
            dx, own = check_backward(quantizer, answer, x, scale, self._learned[name])
            grads[name] = xp.reshape(dx, dw.shape)
            grads |= {f"{name}.{part}": value for part, value in own.items()}
        return self.network.flatten(grads)

    def matched_eps(self, theta: Array) -> Array:
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


def same_companions(ours, theirs):
    """Whether two networks have the same quantisers beside the same weights.

    Where in a run a quantiser stands makes no difference to what it learns.
    """
    alike = (ours[name].at(0.0) == theirs[name].at(0.0) for name in ours if name in theirs)
    return set(ours) == set(theirs) and all(alike)
