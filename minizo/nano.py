"""The whole idea in one file: a 2-bit network learns digits, by hand (``python -m minizo.nano``).

A quantised weight moves in steps, so the loss F(theta) = L(Q(theta)) is flat almost everywhere, and
its gradient is zero. Three rules put a vector G in its place: `ste`, `spsa` and `fogzo`. The
package is these lines with more layers, quantisers, rules and optimisers, faster, and on a GPU.
"""

import argparse
import time

import numpy as np

INPUTS, HIDDEN, CLASSES = 784, 10, 10
SHAPES = (HIDDEN, INPUTS), (HIDDEN,), (CLASSES, HIDDEN), (CLASSES,)  # W1, b1, W2, b2: all of theta
ENDS = np.cumsum([np.prod(shape) for shape in SHAPES])
D = int(ENDS[-1])  # 7,960 numbers
LAYER = np.repeat((0, 0, 1, 1), np.diff(ENDS, prepend=0))  # of each number
IS_WEIGHT = np.repeat((True, False, True, False), np.diff(ENDS, prepend=0))  # or a bias
INIT, DATA, NOISE, SIGN = range(4)  # uses of random numbers: each has streams of its own


def stream(seed, purpose, *path):
    """The random generator of one purpose at one place of a run."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, purpose, *path))))


def uniform(random, shape):
    """Return numbers on (-1, 1), symmetric and never 0: odd integers over 2^53."""
    count = int(np.prod(shape))
    k = random.integers(0, 2**64, count, np.uint64).view(np.int64) >> 10 | 1
    return (k * 2.0**-53).reshape(shape)


# The network: ten hidden units with ReLU


def parts(theta):
    """Return W1, b1, W2, b2 of theta (..., D)."""
    pieces = np.split(theta, ENDS[:-1], axis=-1)
    return [p.reshape(*p.shape[:-1], *s) for p, s in zip(pieces, SHAPES, strict=True)]


def initial(seed):
    """Return theta: He's normal weights (streams 1 and 3 are the package's), biases of 0."""
    W1 = stream(seed, INIT, 1).standard_normal(SHAPES[0]) * np.sqrt(2 / INPUTS)
    W2 = stream(seed, INIT, 3).standard_normal(SHAPES[2]) * np.sqrt(2 / HIDDEN)
    return np.concatenate([W1.ravel(), np.zeros(HIDDEN), W2.ravel(), np.zeros(CLASSES)])


def forward(w, x):
    """Return the hidden units h (..., N, 10) and the logits z (..., N, 10) of images x (N, 784)."""
    W1, b1, W2, b2 = parts(w)
    h = np.maximum(x @ W1.swapaxes(-1, -2) + b1[..., None, :], 0)
    return h, h @ W2.swapaxes(-1, -2) + b2[..., None, :]


def loss(z, y):
    """L = mean_n [log sum_k exp z_nk - z_n,y(n)], softmax with cross-entropy."""
    z = z - z.max(-1, keepdims=True)
    return (np.log(np.exp(z).sum(-1)) - z[..., np.arange(len(y)), y]).mean(-1)


def backward(w, x, y):
    """Return L and dL/dw (D,): each line undoes one of `forward`, from the last to the first."""
    _, _, W2, _ = parts(w)
    h, z = forward(w, x)
    p = np.exp(z - z.max(-1, keepdims=True))
    dz = (p / p.sum(-1, keepdims=True) - np.eye(CLASSES)[y]) / len(y)
    dW2, db2 = dz.T @ h, dz.sum(0)
    da = dz @ W2 * (h > 0)
    dW1, db1 = da.T @ x, da.sum(0)
    return loss(z, y), np.concatenate([dW1.ravel(), db1, dW2.ravel(), db2])


def scales(theta):
    """Return alpha (D,): 0.9957 RMS of the layer's weights, the best step for Gaussian ones."""
    rms = [np.sqrt(np.mean(theta[IS_WEIGHT & (LAYER == layer)] ** 2)) for layer in (0, 1)]
    return 0.9957 * np.array(rms)[LAYER]


def Q(theta, alpha):
    """Q(x) = alpha (clip(floor(x/alpha), -2, 1) + 1/2) for weights; biases stay as they are."""
    return np.where(IS_WEIGHT, alpha * (np.clip(np.floor(theta / alpha), -2, 1) + 0.5), theta)


def F(theta, alpha, x, y):
    """F(theta) = L(Q(theta)), for one theta (D,) or many, (P, D)."""
    return loss(forward(Q(theta, alpha), x)[1], y)


# Three stand-ins for the gradient of F


def ste(theta, alpha, x, y, **_):
    """G = dL/dw at w = Q(theta): the backward goes straight through Q, as if it were x."""
    return backward(Q(theta, alpha), x, y)[1]


def two_point(theta, alpha, x, y, v):
    """G = 1/n sum_i [F(theta + eps v_i) - F(theta - eps v_i)] / (2 eps) v_i, v of shape (n, D).

    eps = alpha / (2 sqrt 3): with uniform noise of this size, E Q(x + eps u) is x between the ends.
    """
    eps = alpha / np.sqrt(12)
    difference = F(theta + eps * v, alpha, x, y) - F(theta - eps * v, alpha, x, y)
    return difference @ v / (2 * len(v) * eps)


def spsa(theta, alpha, x, y, n, seed, step, **_):
    """n-SPSA: random directions u, independent uniform numbers of variance 1; no backward."""
    u = np.sqrt(3) * uniform(stream(seed, NOISE, step, 0), (n, D))
    return two_point(theta, alpha, x, y, u)


def fogzo(theta, alpha, x, y, n, seed, step, progress, beta=0.999):
    """FOGZO: v_i = sqrt(beta) s_i g/||g|| + sqrt(1 - beta) u_i, g of the STE; beta falls from 1."""
    beta = beta + (1 - progress) * (1 - beta)
    g = ste(theta, alpha, x, y)
    u = np.sqrt(3) * uniform(stream(seed, NOISE, step, 0), (n, D))
    s = np.sign(uniform(stream(seed, SIGN, step, 0), (n, 1)))
    v = np.sqrt(beta) * s * g / np.linalg.norm(g) + np.sqrt(1 - beta) * u
    return two_point(theta, alpha, x, y, v)


def train(rule, data, steps=1200, batch=100, lr=0.01, n=10, seed=0):
    """Return theta and alpha after so many steps of Adam, with a rate that falls linearly to 0."""
    theta, images = initial(seed), data.x_train.reshape(-1, INPUTS)
    alpha, m, v, per_epoch = scales(theta), np.zeros(D), np.zeros(D), len(images) // batch
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            order = stream(seed, DATA, epoch).permutation(len(images))
        chosen, progress = order[place * batch : (place + 1) * batch], step / steps
        x, y = images[chosen], data.y_train[chosen]
        G = rule(theta, alpha, x, y, n=n, seed=seed, step=step, progress=progress)
        m, v = 0.9 * m + 0.1 * G, 0.999 * v + 0.001 * G**2
        mhat, vhat = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
        theta = theta - lr * (1 - progress) * mhat / (np.sqrt(vhat) + 1e-8)
    return theta, alpha


def main(argv=None, steps=1200):
    """Train with each rule, and print what came of it."""
    argparse.ArgumentParser(prog="minizo nano", description=__doc__).parse_args(argv)
    from .data import load  # MNIST, or digits that the package draws itself

    data = load("mnist").astype("float64")
    x, y = data.x_test.reshape(-1, INPUTS), data.y_test
    print(f"{data.name}: 784-10-10, weights of 2 bits, {steps} steps of 100, one rate, one seed")
    print("rule             test loss  accuracy  seconds")
    for name, rule in (("STE", ste), ("n-SPSA, n = 10", spsa), ("FOGZO, n = 10", fogzo)):
        began = time.perf_counter()
        theta, alpha = train(rule, data, steps)
        z, seconds = forward(Q(theta, alpha), x)[1], time.perf_counter() - began
        accuracy = np.mean(z.argmax(-1) == y)
        print(f"{name:<15}  {loss(z, y):9.3f}  {accuracy:8.1%}  {seconds:7.1f}", flush=True)


if __name__ == "__main__":
    main()
