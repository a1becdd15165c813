"""Networks for images without shortcuts: perceptrons and small convolutional networks."""

from math import prod

from ..errors import require
from ..layers import BatchNorm1d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d
from ..network import Network
from ..settings import wholes
from ..types import Shape
from .activations import Activation, activation_layer


def image_shape(shape):
    """The shape of one image, (C, H, W), checked."""
    image = wholes("input_shape", shape)
    require(len(image) == 3, "input_shape", image, "it must be (C, H, W)")
    return image


def _sizes(channels, number=None):
    # channels of so many convolutions
    channels = wholes("channels", channels)
    right = channels and number in (None, len(channels))
    require(right, "channels", channels, f"it must hold {number or 'at least one'} of them")
    return channels


def mlp(*widths: int, activation: Activation = "relu", input_shape: Shape | None = None) -> Network:
    """A multi-layer perceptron with biases: Flatten, then Linear and activation in turn.

    Parameters
    ----------
    *widths : int
        ``mlp(784, 10, 10)`` is the 2-layer network of the FOGZO paper: 784 inputs, one hidden
        layer of 10, 10 outputs, d = 784*10 + 10 + 10*10 + 10 = 7960.
    activation : name of `ACTIVATIONS`, quantizer or layer
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
    widths = wholes("widths", widths)
    require(len(widths) >= 2, "widths", widths, "an MLP needs at least inputs and outputs")
    act = activation_layer(activation)
    if input_shape is None:
        input_shape = (1, 28, 28) if widths[0] == 784 else (1, 1, widths[0])
    layers = {"flatten": Flatten()}
    last = len(widths) - 1
    for i in range(1, len(widths)):
        layers[f"fc{i}"] = Linear(widths[i - 1], widths[i])
        if i < last:
            layers[f"act{i}"] = act
    return Network(layers, input_shape)


def lenet(
    channels: tuple[int, int] = (16, 32),
    classes: int = 10,
    activation: Activation = "relu",
    input_shape: Shape = (1, 28, 28),
) -> Network:
    """5x5 convolution, pool, batch norm, activation; the same again; linear, batch norm.

    Parameters
    ----------
    channels : (int, int)
        Of the two convolutions, whose padding keeps the size of the image.
    classes : int
    activation : name of `ACTIVATIONS`, quantizer or layer
        With ``"sign"`` the second convolution and the linear layer see binary numbers.
    input_shape : tuple of int
        (C, H, W).

    Returns
    -------
    Network

    Notes
    -----
    The last batch norm scales the outputs: with binary weights they would be large whole numbers.
    (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998, is where the shape comes from.)

    Examples
    --------
    >>> lenet().d
    28996
    """
    channels, image = _sizes(channels, 2), image_shape(input_shape)
    first, second = channels
    act = activation_layer(activation)
    layers = {
        "conv1": Conv2d(image[0], first, 5, padding=2),
        "pool1": MaxPool2d(),
        "bn1": BatchNorm2d(first),
        "act1": act,
        "conv2": Conv2d(first, second, 5, padding=2),
        "pool2": MaxPool2d(),
        "bn2": BatchNorm2d(second),
        "act2": act,
        "flatten": Flatten(),
        "fc": Linear(second * (image[1] // 4) * (image[2] // 4), classes, bias=False),
        "bn3": BatchNorm1d(classes),
    }
    return Network(layers, image)


def small(
    channels: tuple[int, ...] = (16, 32, 64),
    classes: int = 10,
    activation: Activation = "relu",
    input_shape: Shape = (3, 32, 32),
) -> Network:
    """Three times 3x3 convolution, pool, batch norm, activation; then linear, batch norm.

    What a laptop without a GPU trains on CIFAR-10 in minutes, with binary weights to more than
    60 %: a fifteenth of ResNet-20's work, and most of its weights where images are small already.

    Parameters
    ----------
    channels : tuple of int
        One number a convolution; each halves the image.
    classes : int
    activation : name of `ACTIVATIONS`, quantizer or layer
    input_shape : tuple of int
        (C, H, W).

    Returns
    -------
    Network

    References
    ----------
    After K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015 (3x3 filters and pooling throughout).

    Examples
    --------
    >>> from minizo.models import resnet
    >>> small().d, round(small().macs / resnet(20).macs, 3)
    (33956, 0.069)
    """
    channels, image = _sizes(channels), image_shape(input_shape)
    act = activation_layer(activation)
    layers, (inputs, *size) = {}, image
    for i, outputs in enumerate(channels, 1):
        layers |= {
            f"conv{i}": Conv2d(inputs, outputs, 3, padding=1),
            f"pool{i}": MaxPool2d(),
            f"bn{i}": BatchNorm2d(outputs),
            f"act{i}": act,
        }
        inputs, size = outputs, [pixels // 2 for pixels in size]
    layers |= {
        "flatten": Flatten(),
        "fc": Linear(inputs * prod(size), classes, bias=False),
        "bn": BatchNorm1d(classes),
    }
    return Network(layers, image)


def perceptron(
    hidden: tuple[int, ...] = (10,),
    classes: int = 10,
    activation: Activation = "relu",
    input_shape: Shape = (1, 28, 28),
) -> Network:
    """`mlp` for images: its inputs are their pixels, its outputs the classes.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; empty for a linear network.
    classes : int
    activation : name of `ACTIVATIONS`, quantizer or layer
    input_shape : tuple of int
        (C, H, W).

    Examples
    --------
    >>> perceptron((64, 32)).d
    52650
    """
    hidden, image = wholes("hidden", hidden), image_shape(input_shape)
    return mlp(prod(image), *hidden, classes, activation=activation, input_shape=image)
