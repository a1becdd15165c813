"""Networks for images: perceptrons, convolutional and residual networks."""

from math import prod
from typing import NamedTuple

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
STEMS = ("cifar", "imagenet")
SIZES = {"cifar": (3, 32, 32), "imagenet": (3, 224, 224)}
EXPANSION = 4  # channels out of a bottleneck, for each inside


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


class _Part(NamedTuple):
    # one convolution of a block, followed by a norm; its padding keeps the size of the image
    outputs: int
    kernel: int
    stride: int = 1


def _basic(width, stride):
    return _Part(width, 3, stride), _Part(width, 3)


def _bottleneck(width, stride):
    # the stride stands in the middle, where the paper has it in the first convolution
    return _Part(width, 1), _Part(width, 3, stride), _Part(EXPANSION * width, 1)


def _block(inputs, parts, shortcut, activation, before):
    # (before,) conv, norm for every part, with the activation between, beside the shortcut
    body, channels = {}, inputs
    for i, part in enumerate(parts, 1):
        if before is not None:
            body[f"before{i}"] = before
        padding = part.kernel // 2
        body[f"conv{i}"] = Conv2d(channels, part.outputs, part.kernel, part.stride, padding)
        body[f"bn{i}"] = BatchNorm2d(part.outputs)
        if i < len(parts):
            body["act" if len(parts) == 2 else f"act{i}"] = activation
        channels = part.outputs
    stride = prod(part.stride for part in parts)
    if inputs == channels and stride == 1:
        return Residual(body)
    if shortcut == "pad":
        return Residual(body, {"pad": ZeroPad(inputs, channels, stride)})
    way = {"conv": Conv2d(inputs, channels, 1, stride), "bn": BatchNorm2d(channels)}
    return Residual(body, way)


def _stages(inputs, width, numbers, kind, shortcut, activation, before):
    # stages of so many blocks: each has twice the channels of the one before, on half the image
    layers, channels = {}, inputs
    for stage, count in enumerate(numbers):
        for i in range(count):
            parts = kind(width * 2**stage, 2 if stage and i == 0 else 1)
            block, number = _block(channels, parts, shortcut, activation, before), len(layers) // 2
            layers |= {f"block{number + 1}": block, f"block{number + 1}_act": activation}
            channels = parts[-1].outputs
    return layers, channels


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
    numbers = [(depth - 2) // 6] * 3
    blocks, channels = _stages(width, width, numbers, _basic, shortcut, act, before)
    layers |= blocks
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


def _imagenet(numbers, kind, classes, stem, width, activation, before, input_shape):
    # a residual network of four stages
    require(stem in STEMS, "stem", stem, f"choose from {STEMS}")
    width = whole("width", width)
    image = _image(SIZES[stem] if input_shape is None else input_shape)
    act = activation_layer(activation)
    before = None if before is None else activation_layer(before)
    kernel, stride = (3, 1) if stem == "cifar" else (7, 2)
    layers = {
        "conv1": Conv2d(image[0], width, kernel, stride, padding=kernel // 2),
        "bn1": BatchNorm2d(width),
        "act1": act,
    }
    if stem == "imagenet":
        layers["pool1"] = MaxPool2d(3, stride=2, padding=1)
    blocks, channels = _stages(width, width, numbers, kind, "conv", act, before)
    layers |= blocks | {"pool": GlobalAvgPool(), "fc": Linear(channels, classes)}
    return Network(layers, image)


def resnet18(
    classes=10, stem="cifar", *, width=64, activation="relu", before=None, input_shape=None
):
    """ResNet-18: four stages of two blocks of two 3x3 convolutions, 64 to 512 channels.

    The second, third and fourth stage halve the image; where the shape changes, the shortcut is a
    1x1 convolution with batch norm. After them, global average and a linear layer.

    Parameters
    ----------
    classes : int
    stem : {"cifar", "imagenet"}
        What comes first: a 3x3 convolution, for small images; or a 7x7 convolution of stride 2
        and a 3x3 maximum of stride 2, which together keep every fourth row and column.
    width : int
        Channels of the first stage; the others have 2, 4 and 8 times as many.
    activation : name of `ACTIVATIONS`, quantizer or layer
        Between the convolutions of a block, and after the sum.
    before : name of `ACTIVATIONS`, quantizer or layer, optional
        Put in front of every convolution of the blocks, as in `resnet`.
    input_shape : tuple of int, optional
        (C, H, W), by default (3, 32, 32) or, with the stem of ImageNet, (3, 224, 224).

    Returns
    -------
    Network

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 3.3 and table 1. The stem for CIFAR is what binarised networks are compared on; the
    paper has it in its CIFAR networks only (`resnet`).

    Examples
    --------
    >>> resnet18(1000, "imagenet").d, resnet18().d
    (11689512, 11173962)
    """
    return _imagenet((2, 2, 2, 2), _basic, classes, stem, width, activation, before, input_shape)


def resnet50(
    classes=10, stem="cifar", *, width=64, activation="relu", before=None, input_shape=None
):
    """ResNet-50: stages of 3, 4, 6 and 3 bottlenecks, 1x1, 3x3 and 1x1 convolutions.

    The last convolution of a bottleneck has four times as many channels as the others, 256 to 2048
    in all. Else as `resnet18`.

    Parameters
    ----------
    classes : int
    stem : {"cifar", "imagenet"}
        What comes first: a 3x3 convolution, for small images; or a 7x7 convolution of stride 2
        and a 3x3 maximum of stride 2, which together keep every fourth row and column.
    width : int
        Channels of the first two convolutions of a bottleneck in the first stage; the other stages
        have 2, 4 and 8 times as many.
    activation : name of `ACTIVATIONS`, quantizer or layer
        Between the convolutions of a bottleneck, and after the sum.
    before : name of `ACTIVATIONS`, quantizer or layer, optional
        Put in front of every convolution of the blocks, as in `resnet`.
    input_shape : tuple of int, optional
        (C, H, W), by default (3, 32, 32) or, with the stem of ImageNet, (3, 224, 224).

    Returns
    -------
    Network

    Notes
    -----
    The 3x3 convolution of a bottleneck halves the image, as in most released code ("version 1.5");
    in the paper the first 1x1 convolution does.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 4.1, figure 5 and table 1.

    Examples
    --------
    >>> resnet50(1000, "imagenet").d, resnet50().d
    (25557032, 23520842)
    """
    return _imagenet(
        (3, 4, 6, 3), _bottleneck, classes, stem, width, activation, before, input_shape
    )


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
