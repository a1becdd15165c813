"""What the tests of hypernetworks share: networks, problems, Mamba by hand."""

from math import exp, log1p

import numpy as np

from minizo import rng
from minizo.hypernets import LSTM, MLP, Mamba

# (hypernetwork, shape of its input); each row is tested in every way below
NETS = [
    (MLP((1, 6, 1)), (5, 1)),
    (MLP((1, 5, 4, 1)), (3, 4, 1)),
    (MLP((3, 5, 2), start="orthogonal"), (6, 3)),
    (LSTM(1, 3), (4, 2, 1)),
    (LSTM(2, 4), (2, 3, 6, 2)),
    (LSTM(3, 2), (5, 3)),
    (Mamba(1, 6, 4, 8, chunk=3), (1, 13, 1)),
    (Mamba(1, 4, 3, 5), (6, 2, 1)),
    (Mamba(3, 4, 5, 4, chunk=2), (2, 9, 3)),
    (Mamba(1, 3, 1, 1, chunk=50), (7, 1)),
    (Mamba(17, 1, 2, 2), (4, 17)),
]


def problem(net, shape, seed=0, dtype=np.float64):
    """(parameters away from their start, input, upstream gradient of the output)."""
    generator = np.random.default_rng(seed)
    params = net.init(rng.at(seed, "test", 1), np.empty(0, dtype))
    for name, value in params.items():
        params[name] = (value + 0.2 * generator.normal(size=value.shape)).astype(dtype)
    x = generator.normal(size=shape).astype(dtype)
    dy = generator.normal(size=net.forward(params, x)[0].shape).astype(dtype)
    return params, x, dy


def differentiate(net, params, x, dy):
    """(y, dx, grads): what every hypernetwork gives, whatever else it has."""
    y, *_, cache = net.forward(params, x)
    dx, *_, grads = net.backward(params, cache, dy)
    return y, dx, grads


# Mamba -----------------------------------------------------------------------------------------


def mamba_by_hand(params, x):
    """One row (L, D), written from the equations as nested loops over time, channels and states."""
    length, width = x.shape
    channels, kernel = params["wc"].shape
    states, rank = params["Alog"].shape[1], params["Wdt"].shape[1]
    silu = lambda value: value / (1.0 + exp(-value))  # noqa: E731
    h = np.zeros((channels, states))
    out = np.zeros((length, width))
    projected = [[float(row @ x[t]) for row in params["Win"]] for t in range(length)]
    for t in range(length):
        u = np.empty(channels)
        for e in range(channels):
            v = params["bc"][e]
            for k in range(kernel):
                if t - (kernel - 1) + k >= 0:
                    v += params["wc"][e, k] * projected[t - (kernel - 1) + k][e]
            u[e] = silu(v)
        q = params["Wx"] @ u
        rho, b, c = q[:rank], q[rank : rank + states], q[rank + states :]
        for e in range(channels):
            s = float(params["Wdt"][e] @ rho) + params["bdt"][e]
            dt = log1p(exp(s))
            y = params["Dsk"][e] * u[e]
            for n in range(states):
                decay = exp(-dt * exp(params["Alog"][e, n]))
                h[e, n] = decay * h[e, n] + dt * u[e] * b[n]
                y += h[e, n] * c[n]
            out[t] += params["Wout"][:, e] * y * silu(projected[t][channels + e])
    return out
