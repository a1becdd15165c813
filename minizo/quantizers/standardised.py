"""Signs of standardised filters: IR-Net, and RBNN with its rotations.

Both first standardise the n weights of a filter, and their gradient passes through the mean and the
deviation:

    z = (x - mean x) / s,   s^2 = sum (x - mean x)^2 / (n - 1)
    dx = (dz - mean(dz) - z sum(dz z) / (n - 1)) / s

A filter whose weights are all equal has z = 0 and s = 1.
"""

from dataclasses import dataclass
from math import isqrt, pi

import numpy as np

from .. import backend
from ..errors import require
from ..norms import rescaled
from ..rng import Stream
from ..types import Array, Arrays, Scale, Shape, Shapes
from .base import Quantizer, mean_abs, sign, total


def standardise(x):
    """Return (z, s): (..., n) -> (..., n), (..., 1)."""
    xp = backend.namespace(x)
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    # the mean of equal numbers may round to another number: then 0 is what is meant
    equal = xp.all(x - x[..., :1] == 0.0, axis=-1, keepdims=True)
    centred = xp.where(equal, xp.zeros_like(centred), centred)
    # s^2 = sum (x - mean x)^2 / (n - 1)
    y, p = rescaled(centred)
    s = p * xp.sqrt(total(y * y) / max(1, x.shape[-1] - 1))
    s = xp.where(s > 0.0, s, xp.ones_like(s))
    return centred / s, s


def standardise_backward(dz, z, s):
    """Return dx for dz: (..., n) -> (..., n)."""
    xp = backend.namespace(dz)
    # dx = (dz - mean(dz) - z sum(dz z) / (n - 1)) / s
    along = total(dz * z) / max(1, z.shape[-1] - 1)
    return (dz - xp.mean(dz, axis=-1, keepdims=True) - z * along) / s


@dataclass(frozen=True)
class Standardised(Quantizer):
    """Base of `IRNet` and `RBNN`, which quantise filters of at least two weights."""

    by_filter = True
    pointwise = False
    diagonal = False
    levels = 2

    def scale(self, w: Array) -> Array:
        """Return 1; refuse a filter of one weight: (..., n) -> (..., 1)."""
        remedy = (
            f"{type(self).__name__} standardises a filter, and one weight alone always becomes 0: "
            "leave this tensor out of what is quantised, or use another quantiser"
        )
        require(w.shape[-1] > 1, "the number of weights of a filter", w.shape[-1], remedy)
        return super().scale(w)


@dataclass(frozen=True)
class IRNet(Standardised):
    """Q(x) = 2^round(log2 mean|z|) sign(z), z the standardised filter; sign(0) = +1.

        dz = a dw s'(z),  a = 2^round(log2 mean|z|) held;  dx through the standardisation

    Multiplication by the power of two is a bit shift. The surrogate is EDE, s(z) = k tanh(t z),
    whose t grows over the run.

    Notes
    -----
    Noise on x does not become noise of a single size on z, which is divided by the deviation of the
    noisy filter, so none is implied.

    References
    ----------
    H. Qin, R. Gong, X. Liu, M. Shen, Z. Wei, F. Yu, J. Song, "Forward and backward information
    retention for accurate binary neural networks", CVPR 2020, equations 5 to 8 (Libra parameter
    binarisation) and 11 to 13 (EDE).

    Examples
    --------
    >>> import numpy as np
    >>> q, x = IRNet(), np.array([[0.1, 0.3, 0.8]])  # one filter, whose mean is 0.4
    >>> q.quantize(x, 1.0)
    array([[-1., -1.,  1.]])
    >>> q.backward(x, 1.0, np.array([[1.0, 0.0, 0.0]]))[0].round(3)  # adds up to 0
    array([[ 0.883, -1.236,  0.353]])
    """

    surrogate: str = "ede"

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        z, _ = standardise(x)
        return _shift(z) * sign(z)

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return a s(z)."""
        z, _ = standardise(x)
        return _shift(z) * self.curve.value(z)

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx through the surrogate and the standardisation; see `Quantizer`."""
        z, s = standardise(x)
        # dz = a dw s'(z)
        dz = _shift(z) * dw * self.curve.derivative(z)
        return standardise_backward(dz, z, s), {}


def _shift(z):
    # 2^round(log2 mean|z|), 1 for a filter without spread
    xp = backend.namespace(z)
    m = mean_abs(z)
    return 2.0 ** xp.round(xp.log2(xp.where(m > 0.0, m, xp.ones_like(m))))


@dataclass(frozen=True)
class RBNN(Standardised):
    """Q(x) = g sign(z + |sin h| (Rot(z) - z)),  Rot(z) = R1^T Z R2,  Z the filter z as (a, b).

    z is the standardised filter of n = a b weights, a the largest divisor up to sqrt(n). R1 and R2
    are orthogonal, one pair a tensor, updated at the beginning of every epoch so that rotated
    weights lie near their signs; the angle h (from pi/2: all the way) and the gain g (from mean|x|)
    of each filter are learned.

        dy = g dw s'(y),  y = z + |sin h| (Rot(z) - z)
        dz = (1 - |sin h|) dy + |sin h| R1 dY R2^T;   dx through the standardisation
        dh = sum(dy (Rot(z) - z)) sign(sin h) cos h;  dg = sum(dw sign(y))

    Parameters
    ----------
    surrogate : str
    detach_rotation : bool
        As in the authors' code, treat the rotated weights as constant: dz = (1 - |sin h|) dy. At
        h = pi/2 there is then no gradient at all: neither the latent weights nor the angle
        (cos h = 0) can move. Under SGD only weight decay starts a run; Adam, which divides by the
        size of a gradient, starts from the rounding error of pi/2.

    Notes
    -----
    The authors also standardise activations; this does not. Cost in addition to the network's:
    (a + b) multiply-accumulates a weight and use, which are not counted, and six SVDs of a x a and
    b x b matrices an epoch. Noise on x is not noise of a single size on y, so none is implied; the
    rotations are not perturbed.

    References
    ----------
    M. Lin, R. Ji, Z. Xu, B. Zhang, Y. Wang, Y. Wu, F. Huang, C.-W. Lin, "Rotated binary neural
    network", NeurIPS 2020, equations 4 to 12 (rotation, its alternating update, surrogate).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo import rng
    >>> q, x = RBNN(), np.array([[0.1, 0.3, 0.8, -0.4]])
    >>> scale = {"alpha": q.scale(x)} | q.init(x, rng.at(0, "beside", 0))
    >>> {name: value.shape for name, value in scale.items()}
    {'alpha': (1, 1), 'R1': (2, 2), 'R2': (2, 2), 'angle': (1, 1), 'gain': (1, 1)}
    >>> np.abs(q.quantize(x, scale)).round(3)  # the gain, mean|x| at the start
    array([[0.4, 0.4, 0.4, 0.4]])
    """

    surrogate: str = "rbnn"
    detach_rotation: bool = False
    kept = ("R1", "R2")

    ROUNDS = 3  # of the alternating update of the rotations

    def shapes(self, shape: Shape) -> Shapes:
        """Return the shapes of R1 (a, a), R2 (b, b), angle (F, 1) and gain (F, 1)."""
        filters, n = shape
        a, b = sides(n)
        return {"R1": (a, a), "R2": (b, b), "angle": (filters, 1), "gain": (filters, 1)}

    def init(self, w: Array, stream: Stream) -> Arrays:
        """Draw rotations from the Haar measure; return them, angles pi/2 and gains mean|w|."""
        shapes = self.shapes(w.shape)
        rotations = {
            name: _haar(stream.child(i).normal(np.empty(shapes[name])))
            for i, name in enumerate(self.kept)
        }
        return rotations | {"angle": np.full((w.shape[0], 1), pi / 2), "gain": mean_abs(w)}

    def refresh(self, x: Array, scale: Scale) -> Arrays:
        """Return R1 and R2 after three rounds that never lower sum_f <B_f, R1^T Z_f R2>."""
        xp = backend.namespace(x)
        r1, r2 = scale["R1"], scale["R2"]
        z, _ = standardise(x)
        z = _cut(z, r1, r2)  # (..., F, a, b)
        turn = xp.matrix_transpose
        for _ in range(self.ROUNDS):
            b = sign(_rotate(z, r1, r2))
            # sum_f B_f R2^T Z_f^T = U S V^T,  R1 = V U^T
            u, _, vt = xp.linalg.svd(xp.sum(b @ turn(r2)[..., None, :, :] @ turn(z), axis=-3))
            r1 = turn(u @ vt)
            # sum_f Z_f^T R1 B_f = U S V^T,  R2 = U V^T
            u, _, vt = xp.linalg.svd(xp.sum(turn(z) @ r1[..., None, :, :] @ b, axis=-3))
            r2 = u @ vt
        return {"R1": r1, "R2": r2}

    def _turned(self, x, scale):
        # z, s, |sin h|, Rot(z) - z, y
        xp = backend.namespace(x)
        z, s = standardise(x)
        rotated = _rotate(_cut(z, scale["R1"], scale["R2"]), scale["R1"], scale["R2"])
        moved = xp.reshape(rotated, z.shape) - z  # (..., F, a, b) -> (..., F, n)
        share = xp.abs(xp.sin(scale["angle"]))
        return z, s, share, moved, z + share * moved

    def quantize(self, x: Array, scale: Scale) -> Array:
        """Return Q(x); see `Quantizer`."""
        *_, y = self._turned(x, scale)
        return scale["gain"] * sign(y)

    def smooth(self, x: Array, scale: Scale) -> Array:
        """Return g s(y)."""
        *_, y = self._turned(x, scale)
        return scale["gain"] * self.curve.value(y)

    def backward(self, x: Array, scale: Scale, dw: Array) -> tuple[Array, Arrays]:
        """Return dx and the gradients of angle and gain; those of the rotations are 0."""
        xp = backend.namespace(x)
        r1, r2, h = scale["R1"], scale["R2"], scale["angle"]
        z, s, share, moved, y = self._turned(x, scale)
        # dy = g dw s'(y)
        dy = scale["gain"] * dw * self.curve.derivative(y)
        dz = (1.0 - share) * dy
        if not self.detach_rotation:
            # Rot^T(dy) = R1 dY R2^T
            back = _rotate(_cut(dy, r1, r2), xp.matrix_transpose(r1), xp.matrix_transpose(r2))
            dz = dz + share * xp.reshape(back, dy.shape)
        grads = {
            "R1": xp.zeros_like(r1),
            "R2": xp.zeros_like(r2),
            # d|sin h|/dh = sign(sin h) cos h
            "angle": total(dy * moved) * xp.sign(xp.sin(h)) * xp.cos(h),
            "gain": total(dw * sign(y)),
        }
        return standardise_backward(dz, z, s), grads


def sides(n):
    """Return (a, b) with a b = n, a the largest divisor of n up to sqrt(n).

    >>> sides(144), sides(10), sides(7)
    ((12, 12), (2, 5), (1, 7))
    """
    a = next(k for k in range(isqrt(n), 0, -1) if n % k == 0)
    return a, n // a


def _haar(gauss):
    # Q of G = Q R with a positive diagonal of R is distributed by the Haar measure
    q, r = np.linalg.qr(gauss)
    return q * np.where(np.diag(r) < 0.0, -1.0, 1.0)


def _cut(z, r1, r2):
    # (..., F, n) -> (..., F, a, b)
    return backend.namespace(z).reshape(z, (*z.shape[:-1], r1.shape[-1], r2.shape[-1]))


def _rotate(z, r1, r2):
    # R1^T Z R2: (..., F, a, b), (..., a, a), (..., b, b) -> (..., F, a, b)
    turn = backend.namespace(z).matrix_transpose
    return turn(r1)[..., None, :, :] @ z @ r2[..., None, :, :]
