"""Handwritten-looking digits that the package draws itself, for when MNIST is out of reach.

A digit is a few pen strokes: smooth curves through control points.  Every image moves the control
points a little, bends, turns, slants and shifts the figure, and draws it with a soft round brush

    image(row, col) = 1 - exp(-sum_k ink_k * gy_k(row) * gx_k(col)),

where k runs over points along the strokes.  A Gaussian brush is separable, so the sum over k is the
matrix product of a (28, K) and a (K, 28) matrix, and hundreds of images are one batched product.
"""

import numpy as np
from numpy.typing import DTypeLike

from .dataset import Dataset, from_bytes
from .drawn import draw_sets

SIZE = 28  # pixels a side, like MNIST
WIDE, TALL = 18, 18.5  # what the unit square of a glyph becomes, in pixels
POINTS = 56  # brush dabs per image (K above); neighbours lie about one pixel apart

# What makes the writing vary, as standard deviations.  Tuned until a person reads it with ease, a
# small network about as well as it reads MNIST, and a linear classifier clearly worse.
JITTER, BEND, MESS = 0.034, 0.042, 0.35  # of the unit square; how much writers differ in it
WIDTH, HEIGHT = 0.14, 0.08  # of the logarithm of the size
SLANT_MEAN, SLANT, TURN = 0.12, 0.18, 0.16  # radians, to the right
SHIFT, MARGIN = 1.8, 0.9  # pixels; ink keeps the margin to the border
RADIUS, THICKNESS = 0.68, 0.22  # pixels; of the logarithm of the radius
INK, DARKNESS, PRESSURE, GRAIN = 6.0, 0.25, 0.25, 0.15  # optical density; the others are relative

# How people write: each digit has one or two ways.  A stroke is a list of points (x, y) of the unit
# square, y downwards; strokes that name the same point stay joined there, with a sharp corner.
# A stroke that ends where it began is a closed loop.
# fmt: off
_LOOP9 = [(.74, .16), (.50, .00), (.25, .13), (.23, .38), (.45, .50), (.68, .38), (.74, .16)]
GLYPHS = [
    (0, [[(.55, .00), (.24, .22), (.19, .72), (.46, 1.0), (.77, .76), (.82, .26), (.55, .00)]]),
    (1, [[(.50, .00), (.50, .50), (.50, 1.0)]]),
    (1, [[(.30, .22), (.54, .00)], [(.54, .00), (.53, .50), (.52, 1.0)],
         [(.28, 1.0), (.52, 1.0), (.76, 1.0)]]),
    (2, [[(.20, .22), (.34, .03), (.60, .00), (.77, .18), (.70, .44), (.46, .72), (.18, 1.0)],
         [(.18, 1.0), (.50, .99), (.84, .97)]]),
    (2, [[(.20, .22), (.36, .03), (.62, .01), (.75, .22), (.64, .50), (.42, .80), (.20, .97),
          (.12, .85), (.28, .78), (.54, .92), (.86, .96)]]),
    (3, [[(.22, .12), (.44, .00), (.70, .07), (.72, .31), (.44, .46)],
         [(.44, .46), (.74, .55), (.80, .80), (.52, 1.0), (.18, .89)]]),
    (3, [[(.20, .03), (.48, .02), (.76, .00)], [(.76, .00), (.60, .20), (.43, .40)],
         [(.43, .40), (.74, .50), (.80, .78), (.52, 1.0), (.18, .90)]]),
    (4, [[(.26, .02), (.22, .28), (.17, .56)], [(.17, .56), (.50, .57), (.88, .53)],
         [(.72, .00), (.69, .34), (.67, .67), (.65, 1.0)]]),
    (4, [[(.64, .00), (.40, .32), (.13, .64)], [(.13, .64), (.50, .65), (.88, .63)],
         [(.64, .00), (.63, .33), (.62, .67), (.61, 1.0)]]),
    (5, [[(.80, .00), (.55, .01), (.31, .03)], [(.31, .03), (.28, .23), (.25, .44)],
         [(.25, .44), (.53, .36), (.78, .52), (.78, .80), (.50, 1.0), (.18, .90)]]),
    (6, [[(.66, .00), (.42, .18), (.26, .46), (.24, .78), (.44, .99), (.70, .92), (.78, .70),
          (.60, .54), (.38, .60), (.24, .78)]]),
    (7, [[(.17, .06), (.82, .02)], [(.82, .02), (.66, .33), (.52, .66), (.43, 1.0)]]),
    (7, [[(.17, .06), (.82, .02)], [(.82, .02), (.66, .33), (.52, .66), (.43, 1.0)],
         [(.34, .52), (.56, .50), (.78, .47)]]),
    (8, [[(.72, .15), (.50, .00), (.30, .15), (.39, .37), (.62, .58), (.75, .80), (.51, 1.0),
          (.26, .82), (.38, .59), (.61, .38), (.72, .15)]]),
    (9, [_LOOP9, [(.74, .16), (.72, .45), (.69, .72), (.65, 1.0)]]),
    (9, [_LOOP9, [(.74, .16), (.77, .50), (.69, .82), (.46, 1.0), (.24, .92)]]),
]
# fmt: on


def synthetic_digits(
    n_train: int = 60000,
    n_test: int = 10000,
    seed: int = 0,
    dtype: DTypeLike = "float32",
    mean: float | None = None,
    std: float | None = None,
) -> Dataset:
    """Draw a data set of digits, 28 x 28 like MNIST.

    Parameters
    ----------
    n_train, n_test : int, default 60000 and 10000
        Number of training and test images.
    seed : int, default 0
        The same seed gives the same images (on another kind of processor, which rounds otherwise,
        a few pixels may differ by one grey level).  Training and test images come from different
        random streams, and the first images of a set do not depend on how many are drawn.
    dtype : str or dtype, default "float32"
        Type of the images.
    mean, std : float, optional
        Images are normalised, (x - mean) / std, and not left in [0, 1].

    Returns
    -------
    Dataset
        Its labels are shuffled and balanced: every 500 successive images hold 50 of each digit.

    Examples
    --------
    >>> synthetic_digits(100, 50)
    Dataset('synthetic digits (seed 0)': 100 + 50 images of shape (1, 28, 28), float32, 10 classes)
    """
    drawn = draw_sets(draw, (SIZE, SIZE), n_train, n_test, seed)
    return from_bytes(f"synthetic digits (seed {seed})", *drawn, dtype, mean, std)


def draw(labels, rng):
    """Draw one image for each label.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Digits 0 .. 9.
    rng : numpy.random.Generator
        The random stream; every image has its own handwriting.

    Returns
    -------
    ndarray of shape (n, 28, 28)
        Images, uint8: 0 is paper, 255 is ink.

    Examples
    --------
    >>> draw(np.array([3, 1, 4]), np.random.default_rng(0)).shape
    (3, 28, 28)
    """
    n = len(labels)
    turns = np.float32(2 * np.pi)

    def normal(*shape):
        # Cut at two deviations: a rare wild sample would not look like writing.
        return np.clip(rng.standard_normal((n, *shape), np.float32), -2, 2)

    def uniform(*shape):
        return rng.random((n, *shape), np.float32)

    # Hand: a way to write the digit, a tidy or a messy writer, shaky control points, and a slow
    # wave that bends the whole figure.
    variant = FIRST[labels] + (uniform() * WAYS[labels]).astype(int)
    mess = np.exp(MESS * normal(1, 1))
    controls = CONTROLS[variant] + JITTER * mess * normal(*CONTROLS.shape[1:])
    points = BASIS[variant] @ controls  # (n, K, M) @ (n, M, 2) -> (n, K, 2)
    wave = np.sin(turns * (0.8 * points[..., ::-1] + uniform(1, 2)))
    points += BEND * mess * normal(1, 2) * wave

    # Pose: size, slant and turn about the middle of the ink, as MNIST is centred.
    points -= points.mean(axis=1, keepdims=True)
    x, y = points[..., 0], points[..., 1]
    x *= WIDE * np.exp(WIDTH * normal(1))
    y *= TALL * np.exp(HEIGHT * normal(1))
    x -= (SLANT_MEAN + SLANT * normal(1)) * y
    angle = TURN * normal(1)
    x[:], y[:] = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    # Place: shrink what would not fit, then shift as far as the pen's width allows.
    radius = RADIUS * np.exp(THICKNESS * normal(1))
    margin = MARGIN + 2 * radius
    room = SIZE - 1 - 2 * margin
    low, high = points.min(axis=1), points.max(axis=1)
    fit = np.minimum(1, room / (high - low).max(axis=1, keepdims=True))
    middle = (SIZE - 1) / 2 + SHIFT * normal(2)
    middle = np.clip(middle, margin - fit * low, margin + room - fit * high)
    points = points * fit[:, None] + middle[:, None]

    # Ink: dark or pale, with a pressure that rises and falls along the way.
    radius = radius[:, None]
    along = np.linspace(0, turns, POINTS, dtype=np.float32)[:, None]
    pressure = 1 + PRESSURE * normal(1, 1) * np.sin(along + turns * uniform(1, 1))
    # Dabs overlap; dividing by how many meet at a point makes INK the darkness of a line.
    spacing = TALL * LENGTH[variant, None, None] / POINTS
    overlap = np.sqrt(turns) * radius / spacing  # the area under a Gaussian, in spacings
    ink = INK * np.exp(DARKNESS * normal(1, 1)) * pressure / overlap

    pixel = np.arange(SIZE, dtype=np.float32)
    brush = (points[..., None] - pixel) / radius[..., None]  # (n, K, 2, 28), in brush radii
    brush *= brush
    brush *= -0.5
    np.exp(brush, out=brush)
    gx, gy = brush[:, :, 0], ink * brush[:, :, 1]
    density = gy.swapaxes(1, 2) @ gx  # (n, 28, K) @ (n, K, 28) -> (n, 28, 28)
    density *= 1 + GRAIN * normal(SIZE, SIZE)  # of the paper; where there is no ink, none shows
    return np.rint(255 * (1 - np.exp(-density))).astype(np.uint8)


def _glyph(strokes):
    """Control points (M, 2), the spline matrix (K, M) and the length of the strokes.

    Catmull-Rom curves run through their control points and are linear in them: a matrix, computed
    once from the template, times jittered control points gives K points along jittered strokes.
    """
    names = list(dict.fromkeys(p for stroke in strokes for p in stroke))
    controls = np.array(names)
    t = np.linspace(0, 1, 100, endpoint=False)
    curve = (
        np.stack(
            [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2],
            axis=1,
        )
        / 2
    )
    rows, steps = [], []
    for stroke in strokes:
        knots = np.eye(len(names))[[names.index(p) for p in stroke]]
        if stroke[0] == stroke[-1]:
            ends = knots[-2], knots[1]
        else:  # straight on beyond both ends
            ends = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
        knots = np.stack([ends[0], *knots, ends[1]])
        weights = np.concatenate([curve @ knots[i : i + 4] for i in range(len(knots) - 3)])
        rows.append(weights)
        steps.append(np.linalg.norm(np.gradient(weights @ controls, axis=0), axis=1))
    length = np.cumsum(np.concatenate(steps))
    at = np.searchsorted(length, (np.arange(POINTS) + 0.5) / POINTS * length[-1])
    return controls, np.concatenate(rows)[at], length[-1]


def _tables():
    """The glyphs as arrays, so that drawing needs no loop over digits.

    The control points are padded with zeros to the largest number of them.
    """
    most = max(len({p for stroke in strokes for p in stroke}) for _, strokes in GLYPHS)
    controls = np.zeros((len(GLYPHS), most, 2), np.float32)
    lengths = np.zeros(len(GLYPHS), np.float32)
    basis = np.zeros((len(GLYPHS), POINTS, most), np.float32)
    for i, (_, strokes) in enumerate(GLYPHS):
        c, b, lengths[i] = _glyph(strokes)
        controls[i, : len(c)], basis[i, :, : len(c)] = c, b
    digits = [digit for digit, _ in GLYPHS]
    first = np.array([digits.index(d) for d in range(10)])
    return controls, basis, lengths, first, np.bincount(digits)


CONTROLS, BASIS, LENGTH, FIRST, WAYS = _tables()
