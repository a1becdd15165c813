"""What the drawn data sets share: balanced labels, and images that do not depend on the threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..settings import whole

CHUNK = 500  # images drawn from one random stream; changing it changes what every seed means


def draw_sets(draw, shape, n_train, n_test, seed, classes=10):
    """Training and test images and labels, from different random streams.

    Parameters
    ----------
    draw : callable
        ``draw(labels, rng)`` -> uint8 images (n, *shape), rng a `numpy.random.Generator`.
    shape : tuple of int
        Of one image.
    n_train, n_test, seed : int
    classes : int, default 10
        Number of classes, a divisor of `CHUNK`.

    Returns
    -------
    x_train, y_train, x_test, y_test : ndarray of uint8
        The first images of a set do not depend on how many are drawn. Labels are shuffled, and
        every `CHUNK` successive ones hold as many of each class.

    Raises
    ------
    InputError
        For a number out of range.
    """
    n_train, n_test = whole("n_train", n_train), whole("n_test", n_test)
    seed = whole("seed", seed, "[0, inf)")
    train = _draw_set(draw, shape, n_train, (seed, 0), classes)
    return (*train, *_draw_set(draw, shape, n_test, (seed, 1), classes))


def _draw_set(draw, shape, n, key, classes):
    # images (n, *shape) and labels (n,); chunk i has the stream of (*key, i)
    images = np.empty((n, *shape), np.uint8)
    labels = np.empty(n, np.uint8)

    def fill(chunk):
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
        rng = np.random.Generator(np.random.SFC64([*key, chunk]))
        # A full chunk is always drawn, so a shorter set is a prefix of a longer one.
        own = rng.permutation(np.repeat(np.arange(classes), CHUNK // classes))
        images[start:stop] = draw(own, rng)[: stop - start]
        labels[start:stop] = own[: stop - start]

    # Each chunk has its own stream and its own place, so the bits do not depend on the threads.
    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(-(-n // CHUNK))))
    return images, labels
