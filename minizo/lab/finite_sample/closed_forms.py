"""Population gradients of the two-layer network, and the network itself on samples.

    y(Z) = v^T 1{Z w > 0},   Z (m, n) of N(0, 1),   loss 1/2 (y - y*)^2,   y* from v*, w*, |w*| = 1
    g_mu = Z^T (mu'(Z w) * v) (y - y*)      the coarse gradient of w: mu' in place of 0

The closed forms are the lemmas of Yin et al., checked by `minizo.lab.finite_sample.lemmas`. With
theta the angle between w and w*, u = w / |w| and J = I + 1 1^T. Vectors are real arrays (m,), (n,).

References
----------
P. Yin, J. Lyu, S. Zhang, S. Osher, Y. Qi, J. Xin, "Understanding straight-through estimator in
training activation quantized neural nets", ICLR 2019, lemmas 1 to 8 and theorem 1.
"""

from math import pi, sqrt
from typing import NamedTuple

from ... import backend
from ...errors import require


class Network(NamedTuple):
    """The weights of both layers and of the teacher.

    v, v_true : ndarray (m,);  w, w_true : ndarray (n,), w_true of length 1
    """

    v: object
    w: object
    v_true: object
    w_true: object


def _norm(x):
    xp = backend.namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=-1))


def angle(w, w_true):
    """theta of two vectors (..., n), accurate near 0 and pi as well.

    theta = 2 atan2(|u - u*|, |u + u*|)
    """
    xp = backend.namespace(w)
    u, target = w / _norm(w)[..., None], w_true / _norm(w_true)[..., None]
    return 2.0 * xp.atan2(_norm(u - target), _norm(u + target))


def loss(net):
    """f(v, w) = 1/8 [v^T J v - 2 v^T K v* + v*^T J v*],  K = (1 - 2 theta / pi) I + 1 1^T.

    E 1/2 (y - y*)^2, a number ().
    """
    xp = backend.namespace(net.v)
    v, true = net.v, net.v_true
    shrink = 1.0 - 2.0 * angle(net.w, net.w_true) / pi

    def form(a, b, diagonal):
        # a^T (diagonal I + 1 1^T) b
        return diagonal * xp.sum(a * b) + xp.sum(a) * xp.sum(b)

    return (form(v, v, 1.0) - 2.0 * form(v, true, shrink) + form(true, true, 1.0)) / 8.0


def gradient_v(net):
    """df/dv = 1/4 (J v - K v*): (m,)."""
    xp = backend.namespace(net.v)
    shrink = 1.0 - 2.0 * angle(net.w, net.w_true) / pi
    return (net.v + xp.sum(net.v) - shrink * net.v_true - xp.sum(net.v_true)) / 4.0


def gradient_w(net):
    """df/dw = -(v^T v*) / (2 pi |w|) P w* / |P w*|,  P the projection orthogonal to w: (n,).

    Raises
    ------
    InputError
        Where w and w* are parallel: f has a kink there.
    """
    xp = backend.namespace(net.w)
    length = _norm(net.w)
    u = net.w / length
    across = net.w_true - xp.sum(u * net.w_true) * u
    size = _norm(across)
    apart = bool(size > 8.0 * xp.finfo(size.dtype).eps)
    require(apart, "|P w*|", float(size), "w and w* must not be parallel: f has a kink there")
    return -xp.sum(net.v * net.v_true) / (2.0 * pi * length) * across / size


def coarse_identity(net):
    """E g_id = (|v|^2 u - (v^T v*) w*) / sqrt(2 pi): (n,)."""
    xp = backend.namespace(net.v)
    u = net.w / _norm(net.w)
    return (xp.sum(net.v**2) * u - xp.sum(net.v * net.v_true) * net.w_true) / sqrt(2.0 * pi)


def coarse_relu(net):
    """E g_relu = [h u - (v^T v*) (u + w*)] / (2 sqrt(2 pi)): (n,).

    h = |v|^2 + (1^T v)^2 - (1^T v) (1^T v*) + v^T v*. The lemma has cos(theta / 2) (u + w*) /
    |u + w*|; as |u + w*| = 2 cos(theta / 2), that is (u + w*) / 2, which has a value at theta = pi.
    """
    xp = backend.namespace(net.v)
    u = net.w / _norm(net.w)
    along, sum_v, sum_true = xp.sum(net.v * net.v_true), xp.sum(net.v), xp.sum(net.v_true)
    h = xp.sum(net.v**2) + sum_v**2 - sum_v * sum_true + along
    return (h * u - along * (u + net.w_true)) / (2.0 * sqrt(2.0 * pi))


def spurious_v(v_true):
    """v = J^-1 (1 1^T - I) v*: with theta = pi, the spurious minimum: (m,).

    J^-1 = I - 1 1^T / (m + 1)
    """
    xp = backend.namespace(v_true)
    total = xp.sum(v_true)
    x = total - v_true
    return x - xp.sum(x) / (v_true.shape[0] + 1.0)


def spurious_identity_norm(v_true):
    """|E g_id| = 2 (m - 1) (1^T v*)^2 / (sqrt(2 pi) (m + 1)^2) at the spurious minimum: ()."""
    xp = backend.namespace(v_true)
    m = v_true.shape[0]
    return 2.0 * (m - 1) * xp.sum(v_true) ** 2 / (sqrt(2.0 * pi) * (m + 1) ** 2)


def saddle_angle(v_true):
    """The angle of the saddle points, where df/dv = 0 and v^T v* = 0; None if there are none.

    v = J^-1 K v* has v^T v* = (1 - 2 theta / pi) |v*|^2 + (1^T v*)^2 [1 - (1 - 2 theta / pi + m) /
    (m + 1)], which is 0 at theta = pi / 2 (m + 1) |v*|^2 / ((m + 1) |v*|^2 - (1^T v*)^2): below pi
    where (1^T v*)^2 < (m + 1) / 2 |v*|^2.
    """
    xp = backend.namespace(v_true)
    weighted = (v_true.shape[0] + 1.0) * float(xp.sum(v_true**2))
    total = float(xp.sum(v_true)) ** 2
    if not total < 0.5 * weighted:
        return None
    return 0.5 * pi * weighted / (weighted - total)


def sample_gradients(net, z):
    """What S samples say: the loss, df/dv, and the two coarse gradients, one row a sample.

    Parameters
    ----------
    net : Network
    z : ndarray (S, m, n)

    Returns
    -------
    tuple of ndarray (S,), (S, m), (S, n), (S, n)
        Loss, gradient of v, g_id, g_relu. Cost: 3 S m n multiply-accumulates.
    """
    xp = backend.namespace(z)
    # (S, m, n) @ (n,) -> (S, m)
    step = xp.astype(xp.matmul(z, net.w) > 0.0, z.dtype)
    target = xp.astype(xp.matmul(z, net.w_true) > 0.0, z.dtype)
    error = xp.matmul(step, net.v) - xp.matmul(target, net.v_true)
    # g = Z^T (mu'(Z w) * v) (y - y*) : (S, 1, m) @ (S, m, n) -> (S, 1, n)
    identity = xp.matmul((error[:, None] * net.v)[:, None, :], z)[:, 0, :]
    relu = xp.matmul((error[:, None] * net.v * step)[:, None, :], z)[:, 0, :]
    return 0.5 * error**2, error[:, None] * step, identity, relu
