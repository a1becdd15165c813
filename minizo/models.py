"""The networks that the papers train."""

from .errors import choose, require
from .layers import Flatten, HardTanh, Linear, ReLU
from .network import Network

ACTIVATIONS = {"relu": ReLU, "hardtanh": HardTanh}


def mlp(*widths, activation="relu", input_shape=None):
    """A multi-layer perceptron with biases: Flatten, then Linear and activation in turn.

    Parameters
    ----------
    *widths : int
        ``mlp(784, 10, 10)`` is the 2-layer network of the FOGZO paper: 784 inputs, one hidden
        layer of 10, 10 outputs, d = 784*10 + 10 + 10*10 + 10 = 7960.
    activation : {"relu", "hardtanh"}
        Between the layers, not after the last.
    input_shape : tuple of int, optional
        Shape of one example; (1, 28, 28) for 784 inputs, else (1, 1, widths[0]).

    Returns
    -------
    Network

    Examples
    --------
    >>> mlp(784, 10, 10).d
    7960
    """
    require(len(widths) >= 2, "widths", widths, "an MLP needs at least inputs and outputs")
    act = choose("activation", activation, ACTIVATIONS)
    if input_shape is None:
        input_shape = (1, 28, 28) if widths[0] == 784 else (1, 1, widths[0])
    layers = {"flatten": Flatten()}
    last = len(widths) - 1
    for i in range(1, len(widths)):
        layers[f"fc{i}"] = Linear(widths[i - 1], widths[i])
        if i < last:
            layers[f"act{i}"] = act()
    return Network(layers, tuple(input_shape))
