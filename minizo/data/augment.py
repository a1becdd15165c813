"""Random changes to training images that leave their labels right."""

from dataclasses import dataclass

from .. import backend
from ..rng import Stream
from ..settings import Natural, Settings
from ..types import Array


@dataclass(frozen=True)
class CropFlip(Settings):
    """A random window of the padded image, and its mirror image half of the time.

        y[n, c, i, j] = x[n, c, i + a_n - pad, j' + b_n - pad],
        j' = j or W - 1 - j with probability 1/2 each,  a_n, b_n uniform on {0, ..., 2 pad},

    and x = 0 outside.

    Parameters
    ----------
    pad : int
        Pixels on every side.
    flip : bool
        Whether images are mirrored, left to right.

    Notes
    -----
    Of normalised images 0 is the mean colour. Called as ``augment(x, stream)``: the same stream,
    the same images; nothing is kept between calls. It works where x lives.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 4.2 (after C.-Y. Lee et al., "Deeply-supervised nets", AISTATS 2015).

    Examples
    --------
    >>> import numpy as np
    >>> from minizo.rng import at
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> CropFlip(pad=1)(x, at(0, "augment", 1))[0, 0]
    array([[0., 2., 1.],
           [0., 5., 4.],
           [0., 8., 7.]])
    """

    pad: Natural = 4
    flip: bool = True

    def __call__(self, x: Array, stream: Stream) -> Array:
        """Changed copies of the images x (N, C, H, W).

        Parameters
        ----------
        x : ndarray of shape (N, C, H, W)
        stream : minizo.rng.Stream

        Returns
        -------
        ndarray of shape (N, C, H, W)
            Stored with the channels of a pixel side by side, as convolutions like it.
        """
        xp = backend.namespace(x)
        n, channels, height, width = x.shape
        rows, columns = height + 2 * self.pad, width + 2 * self.pad
        padded = backend.empty((n, rows, columns, channels), x)
        padded[...] = 0.0
        inner = slice(self.pad, self.pad + height), slice(self.pad, self.pad + width)
        padded[:, inner[0], inner[1], :] = xp.moveaxis(x, 1, -1)

        # u in (-1, 1): a = min(floor((u + 1)/2 (2 pad + 1)), 2 pad); u + 1 may round up to 2
        u = stream.uniform(backend.empty((3, n), x))
        corners = xp.floor((u[:2, :] + 1.0) * (self.pad + 0.5))
        corners = xp.astype(xp.clip(corners, 0.0, 2.0 * self.pad), xp.int64)
        mirrored = (u[2, :] > 0.0) if self.flip else (u[2, :] > 1.0)

        def count(size):
            return xp.astype(backend.arange(size, x), xp.int64)

        # (N,), (H,) -> (N, H), and (N, W): which rows and columns of the padded image
        i = corners[0, :][:, None] + count(height)
        j = count(width)
        j = corners[1, :][:, None] + xp.where(mirrored[:, None], width - 1 - j, j)
        # (N, H, W): which pixels of all
        pixel = (count(n)[:, None] * rows + i)[:, :, None] * columns + j[:, None, :]
        # (N, rows, columns, C) -> (N*rows*columns, C) -> (N*H*W, C) -> (N, H, W, C) -> (N, C, H, W)
        taken = xp.take(xp.reshape(padded, (-1, channels)), xp.reshape(pixel, (-1,)), axis=0)
        return xp.moveaxis(xp.reshape(taken, (n, height, width, channels)), -1, 1)


AUGMENTATIONS = {"none": None, "crop": CropFlip(flip=False), "crop-flip": CropFlip()}
