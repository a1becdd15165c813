"""What all quantisers share, and the one that does nothing.

A quantiser has a forward map and a backward rule, as a layer has:

    quantize(x, scale) -> w               piecewise constant (or nearly): its true derivative is 0
    backward(x, scale, dw) -> dx, grads   what training uses instead of that derivative

By default the rule is a diagonal one, dx = Q_smooth'(x) dw (`Quantizer.derivative`). Quantisers
whose statistics, rotations or steps take part in the gradient have a `Quantizer.backward` of their
own.
"""

from dataclasses import dataclass, field, replace

from .. import backend, laws
from ..errors import InputError, resolve
from ..settings import Settings, Share, plain
from ..surrogates import SURROGATES, Surrogate


def mean_abs(w):
    """Mean absolute value over the last axis, kept: (..., m) -> (..., 1)."""
    xp = backend.namespace(w)
    return xp.mean(xp.abs(w), axis=-1, keepdims=True)


def sign(x):
    """+1 where x >= 0, else -1, in the dtype of x."""
    xp = backend.namespace(x)
    return 2.0 * xp.astype(x >= 0.0, x.dtype) - 1.0


def total(x):
    """Sum over the last axis, kept: (..., m) -> (..., 1)."""
    return backend.namespace(x).sum(x, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Quantizer(Settings):
    """The contract, with the answers of a quantiser without state and with a diagonal backward.

    Parameters
    ----------
    surrogate : str or Surrogate
        Whose derivative stands in for the quantiser's zero one: identity, hardtanh, tanh,
        approxsign, swish, ede, rbnn, rbnn-activation, reste, fda.
    progress : float
        Part of the run that is over, set by `at`; only scheduled quantisers look at it.

    Attributes
    ----------
    by_filter : bool
        What one row of x is. False: a whole tensor, x of shape (..., m). True: one filter (the
        weights of one output), x of shape (..., F, n). Means and maxima are taken over a row.
    random : tuple of str
        Names of the random arrays that `noise` draws; they belong to the batch.
    kept : tuple of str
        Those of `shapes` that no gradient changes, only `refresh`, once an epoch.
    least : dict of str to float
        Those of `shapes` that must stay positive, and the value that training keeps them at or
        above.
    pointwise : bool
        Whether a number is quantised without a look at the others, so that activations can be.
    diagonal : bool
        Whether `backward` is the diagonal rule.
    levels : int or None
        Number of levels in a row, where it is fixed.
    epsbar : float or None
        Standard deviation of the noise that turns Q into its surrogate, in units of `scale`; None
        where no noise of one size does. A zeroth-order estimator must then be told its eps.

    Raises
    ------
    InputError
        For an unknown surrogate, or a parameter out of range.

    Notes
    -----
    The argument ``scale`` (``alpha`` where it is an array) is

    - what `scale` made of the initial weights, an array that broadcasts against x; or,
    - for a quantiser with `shapes` or `random`, a dict of that array (``"alpha"``) and of those, by
      name. What it learns is a few more entries of theta, so estimators and optimisers treat it as
      any parameter.
    """

    surrogate: str = "identity"
    progress: Share = field(default=0.0, kw_only=True, repr=False)

    by_filter = False
    random = ()
    kept = ()
    least = {}
    pointwise = True
    diagonal = True
    levels = None
    epsbar = None

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
    def curve(self):
        """The `minizo.surrogates.Surrogate` at this point of the run."""
        return self._start.at(self.progress)

    @property
    def _start(self):
        return resolve("surrogate", self.surrogate, SURROGATES, Surrogate)

    @property
    def law(self):
        """The `minizo.laws.Law` that the surrogate implies (uniform where it implies none)."""
        return laws.LAWS[self.curve.law]

    @property
    def scheduled(self):
        """Whether anything depends on the part of the run that is over."""
        return self._start.schedule is not None

    def at(self, progress):
        """This quantiser when the part ``progress`` in [0, 1] of a run is over.

        Itself, where nothing is scheduled.
        """
        return replace(self, progress=progress) if self.scheduled else self

    def squash(self, x):
        """A(x), what the staircase is applied to: x itself, but for DoReFa."""
        return x

    def shapes(self, shape):
        """Shapes of what is learned or kept beside a tensor, by name.

        Parameters
        ----------
        shape : tuple of int
            Of x without population axes: (m,), or (F, n).
        """
        return {}

    def init(self, w, stream):
        """Initial values of `shapes` beside the initial weights w: NumPy arrays by name."""
        return {}

    def noise(self, stream, shape, like):
        """The `random` arrays for one batch, by name, where ``like`` lives."""
        return {}

    def refresh(self, x, scale):
        """New values of `kept` at the beginning of an epoch, by name."""
        return {}

    def scale(self, w):
        """The unit of length of the initial weights, constant from then on: 1 here.

        (..., m) -> (..., 1).
        """
        return backend.namespace(w).ones_like(w[..., :1])

    def derivative(self, x, scale):
        """The diagonal of the backward rule; ``None`` stands for all ones."""
        return None

    def backward(self, x, scale, dw):
        """dx for dw, and the gradients of what is learned.

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


@dataclass(frozen=True)
class FullPrecision(Quantizer):
    """Q(x) = x: no quantisation, the control that every comparison needs.

    It implies no noise, so a zeroth-order estimator must be told its eps.
    """

    surrogate: str = field(default="identity", repr=False)  # it has no effect

    def quantize(self, x, scale):
        """x itself."""
        return x

    def smooth(self, x, scale):
        """x itself."""
        return x
