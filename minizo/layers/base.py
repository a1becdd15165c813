"""What all layers share: the answers of one that has no parameters and no state."""

from .. import backend
from ..settings import Settings


class Layer(Settings):
    """A layer without parameters, running statistics or randomness; shapes stay as they are.

    Attributes
    ----------
    shapes : dict of str to tuple
        Names and shapes of the parameters.
    running : tuple of str
        Names of the running statistics.
    random : tuple of str
        Names of the random arrays that `noise` draws.
    least : dict of str to float
        Parameters that training keeps at this value or above.
    cuts : bool
        Whether a batch may be cut into blocks of examples, because each example goes its own way or
        what is needed of all comes from ``reduce``. A layer of your own is not cut until it says
        so.

    Examples
    --------
    A layer of your own says what it does with examples, and with what has come back:

    >>> import numpy as np
    >>> class Double(Layer):
    ...     def forward(self, params, x, reduce=None):
    ...         return 2.0 * x, None
    ...     def backward(self, params, cache, dy, wanted=True, reduce=None):
    ...         return 2.0 * dy, {}
    >>> Double().forward({}, np.ones((1, 2)))[0]
    array([[2., 2.]])
    """

    cuts = False
    shapes = {}
    least = {}
    running = ()
    random = ()

    def init(self, stream, like):
        """Initial parameters in the dtype of ``like``, NumPy arrays by name."""
        return {}

    def init_state(self, like):
        """Running statistics before the first batch, by name, where ``like`` lives."""
        return {}

    def statistics(self, cache):
        """What the batch of this ``cache`` says about the running statistics, by name."""
        return {}

    def next_state(self, state, statistics):
        """Running statistics after a batch with these ``statistics``."""
        return {}

    def noise(self, stream, shape, examples, like):
        """Random arrays for one batch, by name.

        Parameters
        ----------
        stream : minizo.rng.Stream
        shape : tuple of int
            Of one example that comes in.
        examples : int
            N.
        like : ndarray
            Whose library, device and dtype they have.
        """
        return {}

    def fed(self, shape):
        """This layer where the examples that come in have this shape: itself."""
        return self

    def least_batch(self, shape):
        """How many examples of this shape a batch needs in training: 1."""
        return 1

    def at(self, progress):
        """This layer when the part ``progress`` in [0, 1] of a run is over: itself."""
        return self

    def output_shape(self, shape):
        """Shape of one example that goes out: unchanged."""
        return shape

    def macs(self, shape):
        """Multiply-accumulates of one forward, per example: 0, only matrix products are counted."""
        return 0

    def backward_macs(self, shape, wanted=True):
        """Multiply-accumulates of one backward: as many again for the gradients, and for dx."""
        return self.macs(shape) * (2 if wanted else 1)


def zeros(shape, like):
    """Images of zeros (..., C, H, W), stored with the channels of a pixel side by side."""
    *lead, channels, height, width = shape
    # (..., H, W, C) -> (..., C, H, W)
    stored = backend.zeros((*lead, height, width, channels), like)
    return backend.namespace(like).moveaxis(stored, -1, -3)
