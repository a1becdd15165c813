"""Networks for images: perceptrons, convolutional and residual networks."""

from math import prod

from ..errors import require
from ..layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Residual,
    ZeroPad,
)
from ..network import Network
from ..settings import truth, whole, wholes
from .activations import activation_layer

SHORTCUTS = ("conv", "pad")


def _image(shape):
    # the shape of one image
    image = wholes("input_shape", shape)
    require(len(image) == 3, "input_shape", image, "it must be (C, H, W)")
    return image


def _sizes(channels, number=None):
    # channels of so many convolutions
    channels = wholes("channels", channels)
    right = channels and number in (None, len(channels))
    require(right, "channels", channels, f"it must hold {number or 'at least one'} of them")
    return channels


def mlp(*widths, activation="relu", input_shape=None):
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


def lenet(channels=(16, 32), classes=10, activation="relu", input_shape=(1, 28, 28)):
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
    channels, image = _sizes(channels, 2), _image(input_shape)
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


def _block(inputs, outputs, stride, shortcut, activation, before):
    # twice (before,) conv, norm, with the activation between, beside the shortcut
    body = {}
    for i, (channels, step) in enumerate(((inputs, stride), (outputs, 1)), 1):
        if before is not None:
            body[f"before{i}"] = before
        body[f"conv{i}"] = Conv2d(channels, outputs, 3, step, padding=1)
        body[f"bn{i}"] = BatchNorm2d(outputs)
        if i == 1:
            body["act"] = activation
    if inputs == outputs and stride == 1:
        return Residual(body)
    if shortcut == "pad":
        return Residual(body, {"pad": ZeroPad(inputs, outputs, stride)})
    way = {"conv": Conv2d(inputs, outputs, 1, stride), "bn": BatchNorm2d(outputs)}
    return Residual(body, way)


def resnet(
    depth=20,
    classes=10,
    *,
    width=16,
    activation="relu",
    before=None,
    shortcut="conv",
    final_norm=False,
    input_shape=(3, 32, 32),
):
    """The residual network for CIFAR of 6n + 2 layers: 20, 32, 44, 56, 110.

    A 3x3 convolution, three stages of n blocks with ``width``, 2 ``width`` and 4 ``width``
    channels, of which the second and the third halve the image, global average, linear.

    Parameters
    ----------
    depth : int
        6n + 2.
    classes : int
    width : int
        Channels of the first stage.
    activation : name of `ACTIVATIONS`, quantizer or layer
        After the first norm of a block, and after the sum.
    before : name of `ACTIVATIONS`, quantizer or layer, optional
        Put in front of every convolution of the blocks, such as ``models.binary()``, while
        ``activation`` may stay a real one: the sums along the shortcuts are then not quantised.
    shortcut : {"conv", "pad"}
        Where the shape changes: a 1x1 convolution with batch norm, or `ZeroPad`, which has no
        parameters (the "option A" of the first paper).
    final_norm : bool
        A `BatchNorm1d` in front of the linear layer, as in binarised networks.
    input_shape : tuple of int
        (C, H, W).

    Returns
    -------
    Network

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 4.2.

    Examples
    --------
    >>> resnet(20).d, resnet(20, shortcut="pad").d
    (272474, 269722)
    """
    depth, width = whole("depth", depth), whole("width", width)
    right = depth >= 8 and depth % 6 == 2
    require(right, "depth", depth, "it must be 6n + 2: 8, 14, 20, 32, 44, 56, 110")
    require(shortcut in SHORTCUTS, "shortcut", shortcut, f"choose from {SHORTCUTS}")
    final_norm, image = truth("final_norm", final_norm), _image(input_shape)
    act = activation_layer(activation)
    before = None if before is None else activation_layer(before)
    layers = {
        "conv1": Conv2d(image[0], width, 3, padding=1),
        "bn1": BatchNorm2d(width),
        "act1": act,
    }
    channels, number = width, 0
    for stage in range(3):
        for first in [True] + [False] * ((depth - 2) // 6 - 1):
            number += 1
            outputs, stride = width * 2**stage, 2 if first and stage else 1
            block = _block(channels, outputs, stride, shortcut, act, before)
            layers |= {f"block{number}": block, f"block{number}_act": act}
            channels = outputs
    layers["pool"] = GlobalAvgPool()
    if final_norm:
        layers["bn"] = BatchNorm1d(channels)
    layers["fc"] = Linear(channels, classes)
    return Network(layers, image)


def small_resnet(classes=10, input_shape=(3, 32, 32), **options):
    """`resnet` of depth 8 and width 8: a twelfth of ResNet-20's work, for a laptop without a GPU.

    >>> round(small_resnet().macs / resnet(20).macs, 2)
    0.08
    """
    return resnet(8, classes, width=8, input_shape=input_shape, **options)


def small(channels=(16, 32, 64), classes=10, activation="relu", input_shape=(3, 32, 32)):
    """Three times 3x3 convolution, pool, batch norm, activation; then linear, batch norm.

    What a laptop without a GPU trains on CIFAR-10 in minutes, with binary weights to more than
    60 %: a fifteenth of ResNet-20's work, and most of its weights where images are small already.

    Parameters
    ----------
    channels : sequence of int
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
    >>> small().d, round(small().macs / resnet(20).macs, 3)
    (33956, 0.069)
    """
    channels, image = _sizes(channels), _image(input_shape)
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


def perceptron(hidden=(10,), classes=10, activation="relu", input_shape=(1, 28, 28)):
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
    hidden, image = wholes("hidden", hidden), _image(input_shape)
    return mlp(prod(image), *hidden, classes, activation=activation, input_shape=image)
