"""Coloured shapes that the package draws itself, for when CIFAR is out of reach.

The class of an image is its shape; everything else varies: place, size, turn, colours, a second
thing that half hides behind it, light, and grain. A shape is the set of points whose distance to
its centre is at most the radius of its outline in their direction phi,

    inside(row, col) = clip((outline(phi) - distance) / SOFT + 1/2, 0, 1),

minus, for two of them, a hole. Outlines are tables over phi, computed once from corners.

In 100 classes the hue of the shape belongs to the class, too: class k is the shape k // 10 in one
of ten hues, k % 10 tenths of the way round the circle of colours, and the ground keeps away from
it. Five neighbouring hues of a shape, k // 5, make one of 20 superclasses.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from ..errors import require
from . import cifar, cifar_100
from .cifar import SIDE
from .dataset import Dataset, from_bytes
from .drawn import draw_sets

ANGLES = 360  # entries of an outline
SOFT = 1.0  # pixels over which an edge fades
SIZE = (7.0, 12.0)  # radius of a shape in pixels, from and to
STRAY = 4.0  # standard deviation of its centre, pixels, cut at two
CONTRAST = 0.28  # least distance of the shape's colour to the ground's, in the unit cube
LIGHT, GRAIN = 0.12, 0.08  # a slope of brightness across the image; noise of a pixel
HOLE = 0.55  # inner radius of a ring and a frame, of the outer one
HUES, SPREAD = 10, 0.25  # hues of a shape in 100 classes; how far one strays, of their distance
VIVID, BRIGHT = (0.6, 1.0), (0.6, 1.0)  # saturation and value of such a colour, from and to

# (name, corners as (angle in turns, radius), hole); between corners the outline is a straight line
_TURN = np.arange(10) / 10
_SHAPES = [
    ("disc", [(i / 60, 1.0) for i in range(60)], 0.0),
    ("ring", [(i / 60, 1.0) for i in range(60)], HOLE),
    ("triangle", [(i / 3, 1.15) for i in range(3)], 0.0),
    ("square", [(i / 4 + 0.125, 1.1) for i in range(4)], 0.0),
    ("frame", [(i / 4 + 0.125, 1.1) for i in range(4)], HOLE),
    ("star", [(t, (1.2, 0.5)[i % 2]) for i, t in enumerate(_TURN)], 0.0),
    ("cross", [(i / 4 + t, r) for i in range(4) for t, r in
               ((-0.05, 1.1), (0.05, 1.1), (0.125, 0.48))], 0.0),
    ("bar", [(t, 1.2) for t in (-0.045, 0.045, 0.455, 0.545)], 0.0),
    ("half disc", [(i / 60, 1.1) for i in range(31)] + [(0.75, 0.05)], 0.0),
    ("propeller", [(i / 3 + t, r) for i in range(3) for t, r in
                   ((-0.06, 1.15), (0.06, 1.15), (1 / 6, 0.25))], 0.0),
]  # fmt: skip
NAMES = tuple(name for name, _, _ in _SHAPES)


def synthetic_shapes(
    n_train: int = 50000,
    n_test: int = 10000,
    seed: int = 0,
    dtype: DTypeLike = "float32",
    classes: int = 10,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Dataset:
    """Draw a data set of coloured shapes, 3 x 32 x 32 like CIFAR-10 and CIFAR-100.

    Parameters
    ----------
    n_train, n_test : int, default 50000 and 10000
        How many images to draw; those of a smaller set are the first ones of a larger.
    seed : int, default 0
        Same seed, same bits.
    dtype : str or dtype, default "float32"
        Type of the images.
    classes : {10, 20, 100}, default 10
        The shapes; the shapes in ten hues each, or these by their superclasses.
    mean, std : float or sequence of float, optional
        Images are normalised, (x - mean) / std, by one number or one a channel. Default: those of
        CIFAR-10 (`minizo.data.cifar.MEAN` and ``STD``), or with more classes those of CIFAR-100.

    Returns
    -------
    Dataset
        Its labels are shuffled and balanced: every 500 successive images hold 50 of each shape, or
        as many of each other class.

    Raises
    ------
    InputError
        For an argument out of range.

    Examples
    --------
    >>> synthetic_shapes(100, 50)
    Dataset('synthetic shapes (seed 0)': 100 + 50 images of shape (3, 32, 32), float32, 10 classes)
    """
    remedy = "there are 10 shapes, 100 with their hues, and 20 superclasses of these"
    require(classes in (10, 20, 100), "classes", classes, remedy)
    like, name, drawing, drawn = cifar, f"seed {seed}", draw, 10
    if classes != 10:
        like, name, drawing, drawn = cifar_100, f"{classes} classes, {name}", draw_in_hues, 100
    x_train, y_train, x_test, y_test = draw_sets(
        drawing, (3, SIDE, SIDE), n_train, n_test, seed, drawn
    )
    mean, std = like.MEAN if mean is None else mean, like.STD if std is None else std
    y_train, y_test = (y // (drawn // classes) for y in (y_train, y_test))
    name = f"synthetic shapes ({name})"
    return from_bytes(name, x_train, y_train, x_test, y_test, dtype, mean, std, classes)


def draw_in_hues(labels, rng):
    """Draw one image for each label 0 .. 99: shape k // 10 in the hue k % 10; as `draw`."""
    return draw(labels // HUES, rng, labels % HUES)


def draw(labels, rng, hues=None):
    """Draw one image for each label.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Shapes 0 .. 9, in the order of `NAMES`.
    rng : numpy.random.Generator
        The random stream.
    hues : ndarray of shape (n,), optional
        Hues 0 .. 9 of the shapes, which otherwise have any colour.

    Returns
    -------
    ndarray of shape (n, 3, 32, 32)
        Images, uint8: red, green, blue.

    Examples
    --------
    >>> draw(np.array([3, 1, 4]), np.random.default_rng(0)).shape
    (3, 3, 32, 32)
    """
    n = len(labels)

    def uniform(low, high, *shape):
        return low + (high - low) * rng.random((n, *shape), np.float32)

    def normal(*shape):
        return np.clip(rng.standard_normal((n, *shape), np.float32), -2, 2)

    # Colours: the ground's and the shape's are random, but never too close to be told apart.
    ground, ink, other = uniform(0, 1, 3), uniform(0, 1, 3), uniform(0, 1, 3)
    apart = ink - ground
    gap = np.sqrt((apart * apart).sum(1, keepdims=True)) + 1e-6
    ink = ground + apart * np.maximum(1, CONTRAST / gap)
    if hues is not None:  # of the two, the ground moves
        turn = (hues + uniform(-SPREAD, SPREAD)) / HUES
        ink = _colour(turn.astype(np.float32), uniform(*VIVID), uniform(*BRIGHT))
        apart = ink - ground
        gap = np.sqrt((apart * apart).sum(1, keepdims=True)) + 1e-6
        ground = ink - apart * np.maximum(1, CONTRAST / gap)

    # A blob of a third colour first, then the shape over it.
    distance, _ = _polar(8 * normal(2))
    blob = _inside(uniform(3, 9), distance)
    distance, phi = _polar(STRAY * normal(2))
    direction = ((phi + uniform(0, 1)[:, None, None]) * ANGLES).astype(int) % ANGLES
    outline = OUTLINES[labels[:, None, None], direction]
    outer = uniform(*SIZE)
    # a hole is the shape itself, smaller; where there is none, a radius below 0 keeps it empty
    hole = np.where(HOLES[labels] > 0, HOLES[labels] * outer, -9).astype(np.float32)
    shape = _inside(outer, distance, outline) * (1 - _inside(hole, distance, outline))
    # (n, 3) -> (n, 3, 1, 1), and (n, 32, 32) -> (n, 1, 32, 32)
    image = ground[:, :, None, None] + blob[:, None] * (other - ground)[:, :, None, None]
    image += shape[:, None] * (ink[:, :, None, None] - image)

    # Light falls from one side, and the film has grain.
    slope = LIGHT / SIDE * normal(2)
    y, x = _pixels()
    light = slope[:, 0, None, None] * y + slope[:, 1, None, None] * x
    image += light[:, None] + GRAIN * normal(3, SIDE, SIDE)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _colour(hue, saturation, value):
    # red, green and blue (n, 3) of hues in turns, with saturation and value, each (n,):
    # value (1 - saturation (1 - p_c)),  p_c = clip(|6 (hue - t_c mod 1) - 3| - 1, 0, 1),
    # t_c = 0, 1/3, 2/3 the hues of red, green and blue
    turns = (hue[:, None] - np.array([0, 1 / 3, 2 / 3], np.float32)) % 1
    p = np.clip(np.abs(6 * turns - 3) - 1, 0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - p))


def _pixels():
    # rows (32, 1) and columns (1, 32), measured from the middle
    line = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    return line[:, None], line[None, :]


def _polar(centre):
    """Distance of every pixel to ``centre`` (n, 2), and its direction in turns: (n, 32, 32)."""
    y, x = _pixels()
    y, x = y - centre[:, 0, None, None], x - centre[:, 1, None, None]
    return np.sqrt(x * x + y * y), np.arctan2(y, x) / np.float32(2 * np.pi)


def _inside(radius, distance, outline=1.0):
    """How much of every pixel is covered, in [0, 1]: (n, 32, 32)."""
    # clip((outline(phi) - distance) / SOFT + 1/2, 0, 1)
    return np.clip((radius[:, None, None] * outline - distance) / SOFT + 0.5, 0, 1)


def _outline(corners):
    """Radius in every direction (ANGLES,) of the polygon with these corners around (0, 0)."""
    corners = sorted((angle % 1.0, radius) for angle, radius in corners)
    angle, radius = np.array(corners).T
    angle, radius = np.append(angle, angle[0] + 1), np.append(radius, radius[0])
    phi = (np.arange(ANGLES) + 0.5) / ANGLES
    phi = np.where(phi < angle[0], phi + 1, phi)
    i = np.searchsorted(angle, phi, side="right") - 1
    a, b = 2 * np.pi * (phi - angle[i]), 2 * np.pi * (angle[i + 1] - phi)
    # the line between two corners at radii r, s and angles a, b on both sides of phi:
    # r s sin(a + b) / (r sin a + s sin b)
    r, s = radius[i], radius[i + 1]
    return r * s * np.sin(a + b) / (r * np.sin(a) + s * np.sin(b))


OUTLINES = np.array([_outline(corners) for _, corners, _ in _SHAPES], np.float32)
HOLES = np.array([hole for _, _, hole in _SHAPES], np.float32)
