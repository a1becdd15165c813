"""A sequence in pieces of time, through a block around a selective scan and back.

What a block computes stands in `minizo.hypernets.mamba`. Here is in which order, and on what:

- A long sequence is taken in pieces, so that memory grows with its length by D numbers a step and
  N E a piece: the backward finds again from x what it needs of a piece.
- A piece is given as its windows, one row a step, of what a causal convolution sees: x_{t-(K-1)} to
  x_t, and a 1 for the constant.
- Where only the last outputs are wanted (``last``), nothing is read from the states before. The
  scan there is `minizo.hypernets.advance`: it jumps over a stretch of time, and the walk towards
  the start ends where nothing further back reaches the outputs.

A block is four functions, of which a forward takes the first two:

    enter(x, windows, read) -> piece                             what drives the scan
    leave(piece, h) -> (out, h, starts)                          the scan and what follows it
    leave_back(piece, starts, dout, dh) -> (dx, du, scan, dh)    its backward
    enter_back(piece, du, scan) -> dwindows                      the backward of `enter`

``read`` says whether outputs are wanted; ``piece.selected`` is a `minizo.hypernets.scan.Selected`,
and so are the derivatives ``scan``; h is a state, (rows, N, E); ``starts`` is what
`minizo.hypernets.chunked` keeps; du is what reaches the scan's input u beside the scan, and dx what
reaches x beside the windows.
"""

from dataclasses import dataclass

from .. import backend
from . import advance, chunked
from .base import with_one

PIECE = 2  # chunks of the scan in a piece


@dataclass(frozen=True)
class Pieces:
    """How sequences (rows, L, D) are cut.

    Parameters
    ----------
    kernel : int
        K, steps of a window.
    numbers : int
        N E, in a state of the scan.
    chunk : int or None
        Steps of time that the scan takes at once; a piece is `PIECE` of them.
    """

    kernel: int
    numbers: int
    chunk: int | None

    def cut(self, x, first):
        """Return (rows, pieces before the step ``first``, pieces from there on), in order of time.

        Examples
        --------
        >>> import numpy as np
        >>> Pieces(1, 1, chunk=2).cut(np.empty((1, 9, 1)), 6)[0][1:]
        ([slice(0, 4, None), slice(4, 6, None)], [slice(6, 8, None), slice(8, 9, None)])
        """
        tokens = PIECE * chunked.chunk_size(self.chunk, self.numbers, x)
        cuts = []
        for rows, times in chunked.tiles(*x.shape[:2], tokens):
            early = [slice(t.start, min(t.stop, first)) for t in times if t.start < first]
            late = [slice(max(t.start, first), t.stop) for t in times if t.stop > first]
            cuts.append((rows, early, late))
        return cuts

    def forward(self, x, last, enter, leave):
        """Return the last outputs (rows, last, D), and what `backward` needs beside x."""
        first = x.shape[1] - last  # the first step that is read
        out, kept = backend.empty((x.shape[0], last, x.shape[2]), x), []
        for rows, early, late in self.cut(x, first):
            h = behind = None
            jumped, starts = [], []
            for time in reversed(early):
                selected = enter(*self._seen(x, rows, time), False).selected
                jumped.append((time, behind))
                share, behind = advance.forward(selected, behind, self.chunk)
                h = share if h is None else h + share
                if not advance.alive(selected.A, behind).any():
                    break  # everything before is forgotten, to the last bit
            for time in late:
                piece = enter(*self._seen(x, rows, time), True)
                part, h, start = leave(piece, h)
                out[rows, _from(first, time), :] = part
                starts.append(start)
            kept.append((jumped, starts))
        return out, kept

    def backward(self, x, kept, dout, enter, leave_back, enter_back):
        """Return dx (rows, L, D), from the last piece that is read to the first.

        What was jumped over follows, from the first piece to the last.
        """
        first = x.shape[1] - dout.shape[1]
        dx = backend.namespace(x).zeros_like(x)
        for (rows, _, late), (jumped, starts) in zip(
            reversed(self.cut(x, first)), reversed(kept), strict=True
        ):
            dh = before = None
            for time, start in zip(reversed(late), reversed(starts), strict=True):
                piece = enter(*self._seen(x, rows, time), True)
                here = dout[rows, _from(first, time), :]
                beside, du, scan, dh = leave_back(piece, start, here, dh)
                target = dx[rows, time, :]
                target += beside  # of a view: CuPy copies what is added to an index once more
                spread(dx, rows, time, enter_back(piece, du, scan))
            for time, behind in reversed(jumped):
                piece = enter(*self._seen(x, rows, time), False)
                scan, before = advance.backward(piece.selected, dh, behind, before, self.chunk)
                spread(dx, rows, time, enter_back(piece, 0.0, scan))
        return dx

    def _seen(self, x, rows, time):
        # a piece of x, and its windows
        return x[rows, time, :], windows(x, rows, time, self.kernel)


def _from(first, time):
    # a piece of time, counted from the first step that is read
    return slice(time.start - first, time.stop - first)


def windows(x, rows, time, kernel):
    """Return x_{t-(K-1)}, ..., x_t and 1 for every t of a piece: (rows, T, K D + 1).

    Before the start x is 0.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[2.0], [3.0], [4.0]]])
    >>> windows(x, slice(0, 1), slice(0, 2), 3)
    array([[[0., 0., 2., 1.],
            [0., 2., 3., 1.]]])
    """
    xp = backend.namespace(x)
    first = time.start - kernel + 1
    known = x[rows, max(0, first) : time.stop, :]
    if first < 0:
        missing = backend.empty((known.shape[0], -first, known.shape[2]), x)
        known = xp.concat([xp.zeros_like(missing), known], axis=1)
    length = time.stop - time.start
    return with_one(xp.concat([known[:, k : k + length, :] for k in range(kernel)], axis=2))


def spread(dx, rows, time, dwindows):
    """Add to dx what reaches it through the `windows` of a piece, their 1 left out.

    A piece has used the K - 1 steps before it, which therefore get a part too.

    Examples
    --------
    >>> import numpy as np
    >>> dx = np.zeros((1, 3, 1))
    >>> spread(dx, slice(0, 1), slice(1, 3), np.ones((1, 2, 2)))  # K = 2
    >>> dx[0, :, 0]
    array([1., 2., 1.])
    """
    width = dx.shape[2]
    kernel = dwindows.shape[2] // width
    for k in range(kernel):
        first = time.start - kernel + 1 + k
        skipped = max(0, -first)  # windows that reach before the start
        to = slice(first + skipped, first + time.stop - time.start)
        if to.start < to.stop:
            dx[rows, to, :] += dwindows[:, skipped:, k * width : (k + 1) * width]
