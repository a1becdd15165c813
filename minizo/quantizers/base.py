"""The base of all quantisers, and full precision.

A quantiser has a forward map and a backward rule, as a layer has:

    quantize(x, scale) -> w               piecewise constant (or nearly): its true derivative is 0
    backward(x, scale, dw) -> dx, grads   what training uses instead of that derivative

The default rule is diagonal, dx = Q_smooth'(x) dw (`Quantizer.derivative`). A quantiser whose
statistics, rotations or steps enter the gradient replaces `Quantizer.backward`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from .. import backend, laws
from ..errors import InputError, choose, resolve
from ..laws import Law
from ..norms import rms
from ..rng import Stream
from ..settings import Positive, Settings, Share, plain
from ..surrogates import SURROGATES, Surrogate
from ..types import Array, Arrays, Scale, Shape, Shapes


def mean_abs(w):
    """Return the mean absolute value over the last axis, kept: (..., m) -> (..., 1)."""
    xp = backend.namespace(w)
    return xp.mean(xp.abs(w), axis=-1, keepdims=True)


def sign(x):
    """Return +1 where x >= 0, else -1, in the dtype of x."""
    xp = backend.namespace(x)
    return 2.0 * xp.astype(x >= 0.0, x.dtype) - 1.0


def total(x):
    """Return the sum over the last axis, kept: (..., m) -> (..., 1)."""
    return backend.namespace(x).sum(x, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Quantizer(Settings):
    """The contract of a quantiser, with the defaults of one without state or learned parameters.

    Parameters
    ----------
    surrogate : str or Surrogate
        Whose derivative stands in for the quantiser's zero one: identity, hardtanh, tanh,
        approxsign, swish, ede, rbnn, rbnn-activation, reste, fda.
    progress : float
        Part of the run that is over, set by `at`; only scheduled quantisers use it.

    Attributes
    ----------
    by_filter : bool
        What one row of x holds. False: a whole tensor, x of shape (..., m). True: one filter (the
        weights of one output), x of shape (..., F, n). Means and maxima are taken over a row.
    random : tuple of str
        Names of the random arrays that `noise` draws for each batch.
    kept : tuple of str
        Names in `shapes` that only `refresh` changes, once an epoch, and no gradient.
    least : dict of str to float
        Names in `shapes` that must stay positive, with the least value that training allows.
    pointwise : bool
        Whether every number is quantised independently, as activations require.
    live : bool
        Whether the scale is that of x itself at every use, so that activations can be quantised row
        by row: those of a token, or of an example.
    diagonal : bool
        Whether `backward` is the diagonal rule.
    soft : bool
        Whether the weights of training only come near their levels: those in use are then the ones
        of the end of a run, ``at(1.0)``.
    levels : int or None
        Number of levels in a row, if it is fixed.
    epsbar : float or None
        Standard deviation of the noise that turns Q into its surrogate, in units of `scale`. None
        if no noise of a single size does.
    default_eps : float
        Then zeroth-order estimators that are given no eps take this, in units of the root mean
        square of the initial weights of a row: a quarter, near the 0.29 of 2-bit staircases.

    Raises
    ------
    InputError
        If the surrogate is unknown or a parameter out of range.

    Notes
    -----
    The argument ``scale`` (``alpha`` where it is an array) is

    - the result of `scale` for the initial weights, an array that broadcasts against x; or,
    - for a quantiser with `shapes` or `random`, a dict with that array (``"alpha"``) and with
      theirs, by name. Learned parameters of the quantiser are further entries of theta, so
      estimators and optimisers treat them as any other parameter.

    Examples
    --------
    A quantiser of one's own, with the straight-through backward of the identity:


    >>> import numpy as np
    >>> class Halves(Quantizer):
    ...     def quantize(self, x, scale):
    ...         return scale * np.floor(2.0 * x / scale + 0.5) / 2.0
    >>> Halves().quantize(np.array([0.2, 0.3, -1.4]), 1.0)
    array([ 0. ,  0.5, -1.5])
    >>> Halves().backward(np.zeros(2), 1.0, np.array([3.0, -4.0]))
    (array([ 3., -4.]), {})
    """

    surrogate: str = "identity"
    progress: Share = field(default=0.0, kw_only=True, repr=False)

    by_filter = False
    random = ()
    kept = ()
    least = {}
    pointwise = True
    live = False
    diagonal = True
    soft = False
    levels = None
    epsbar = None
    default_eps = 0.25
    quantize: ClassVar[Callable[..., Array]]

    def __post_init__(self):
        super().__post_init__()
        if isinstance(plain(self.surrogate), int | float):
            name, value = type(self).__name__, plain(self.surrogate)
            bits = (
                f"; if bits are meant, write {name}(bits={value})" if hasattr(self, "bits") else ""
            )
            raise InputError(f"{name}.surrogate is {value!r}, but it must be a surrogate{bits}")
        resolve("surrogate", self.surrogate, SURROGATES, Surrogate)

    @property
    def curve(self) -> Surrogate:
        """The `minizo.surrogates.Surrogate` at this point of the run."""
        return self._start.at(self.progress)

    @property
    def _start(self):
        return resolve("surrogate", self.surrogate, SURROGATES, Surrogate)

    @property
    def law(self) -> Law:
        """The `minizo.laws.Law` that the surrogate implies (uniform where it implies none)."""
        return laws.LAWS[self.curve.law]

    @property
    def scheduled(self) -> bool:
        """Whether anything depends on the part of the run that is over."""
        return self._start.schedule is not None

    def at(self, progress: float) -> Self:
        """Return this quantiser at the point ``progress`` in [0, 1] of a run.

        It returns itself if nothing is scheduled.
        """
        return replace(self, progress=progress) if self.scheduled else self

    def squash(self, x: Array) -> Array:
        """Return A(x), to which the staircase is applied: x itself, except for DoReFa."""
        return x

    def shapes(self, shape: Shape) -> Shapes:
        """Return the shapes of what is learned or kept for a tensor, by name.

        Parameters
        ----------
        shape : tuple of int
            Of x without population axes: (m,), or (F, n).
        """
        return {}

    def init(self, w: Array, stream: Stream) -> Arrays:
        """Return initial values of `shapes` for the initial weights w: NumPy arrays by name."""
        return {}

    def noise(self, stream: Stream, shape: Shape, like: Array) -> Arrays:
        """Draw the `random` arrays for one batch, by name, on the device of ``like``."""
        return {}

    def refresh(self, x: Array, scale: Scale) -> Arrays:
        """Return new values of `kept` at the beginning of an epoch, by name."""
        return {}

    def penalty(self, w: Array, alpha: Array) -> tuple[Array, Array]:
        """Return what is added to the loss in training for weights w = Q(x), and its gradient.

        Parameters
        ----------
        w : ndarray (..., m) or (..., F, n)
        alpha : ndarray that broadcasts against w

        Returns
        -------
        R : ndarray (...)
            One number for each set of weights.
        dw : ndarray like w
            dR/dw. A quantiser that adds nothing, as most, does not define it.
        """
        xp = backend.namespace(w)
        return xp.sum(0.0 * w, axis=(-2, -1) if self.by_filter else -1), xp.zeros_like(w)

    def scale(self, w: Array) -> Array:
        """Return the unit of length of the initial weights, constant from then on: 1 here.

        (..., m) -> (..., 1).
        """
        return backend.namespace(w).ones_like(w[..., :1])

    def derivative(self, x: Array, scale: Scale) -> Array | None:
        """Return the diagonal of the backward rule; ``None`` stands for all ones."""
        return None

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx for dw, and the gradients of what is learned.

        Parameters
        ----------
        x : ndarray (..., m) or (..., F, n)
        scale
            As for ``quantize``.
        dw : ndarray like x
            dL/dw at w = Q(x).

        Returns
        -------
        dx : ndarray like x
            Possibly dw itself.
        grads : dict of str to ndarray
            One for each of `shapes`.
        """
        # dx = Q_smooth'(x) dw
        slope = self.derivative(x, scale)
        return (dw if slope is None else slope * dw), {}


PER = {"filter": True, "layer": False}


@dataclass(frozen=True)
class PerRow(Quantizer):
    """Base of quantisers whose scale, and what else they take from the weights, is of a layer or a
    filter.

    Parameters
    ----------
    per : {"layer", "filter"}
        Weights that share it: the whole tensor, or the n weights of one output.

    Examples
    --------
    >>> from minizo.quantizers import MidRise
    >>> import numpy as np
    >>> w = np.array([[1.0, -1.0], [3.0, 3.0]])  # two filters of two weights
    >>> MidRise(per="filter").scale(w).round(2)
    array([[1.  ],
           [2.99]])
    """

    per: str = field(default="layer", kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        choose("per", self.per, PER)

    @property
    def by_filter(self) -> bool:
        """Whether a row of x is one filter."""
        return PER[self.per]


@dataclass(frozen=True)
class InitialScale(PerRow):
    """Base of quantisers whose scale is a multiple of the RMS of the initial weights.

    Parameters
    ----------
    per
        As in `PerRow`.
    alpha_scale : float
        Factor above 0 of the scale: alpha = alpha_scale c RMS(w) for the initial weights w.

    Attributes
    ----------
    rms_factor : float
        c, which each quantiser chooses.

    Examples
    --------
    >>> import numpy as np
    >>> class Halved(InitialScale):
    ...     rms_factor = 0.5
    >>> Halved(alpha_scale=3.0).scale(np.array([2.0, -2.0]))
    array([3.])
    """

    alpha_scale: Positive = field(default=1.0, kw_only=True)
    rms_factor: ClassVar[float]

    def scale(self, w: Array) -> Array:
        """Return alpha for the initial weights ``w``: (..., m) -> (..., 1)."""
        # alpha = alpha_scale c RMS(w)
        return self.alpha_scale * self.rms_factor * rms(w)


@dataclass(frozen=True)
class FullPrecision(Quantizer):
    """Q(x) = x: no quantisation, the control of every comparison.

    It implies no noise, and the loss is smooth: a zeroth-order estimator that is given no eps takes
    0.001 RMS(w), small for a small bias, and large enough for differences far above rounding.

    Examples
    --------
    >>> import numpy as np
    >>> q, x = FullPrecision(), np.array([0.3, -1.2])
    >>> q.quantize(x, 1.0) is x, q.backward(x, 1.0, np.ones(2))
    (True, (array([1., 1.]), {}))
    """

    surrogate: str = field(default="identity", repr=False)  # it has no effect
    default_eps = 1e-3

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return x itself."""
        return x

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return x itself."""
        return x


def penalises(quantizer):
    """Whether ``quantizer.penalty`` is its class's own."""
    return getattr(type(quantizer), "penalty", Quantizer.penalty) is not Quantizer.penalty


def deployed(quantizer):
    """``quantizer`` itself, or that of the end of a run where its weights are soft until then."""
    return quantizer.at(1.0) if getattr(quantizer, "soft", False) else quantizer


def advances(quantizer):
    """Whether ``quantizer.at`` may give another one: of its schedule, or by its class's own way."""
    return getattr(type(quantizer), "at", None) is not Quantizer.at or quantizer.scheduled
