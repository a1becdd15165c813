"""Residual networks: those for CIFAR of 20 to 110 layers, ResNet-18 and ResNet-50.

All are a first convolution (the *stem*), stages of blocks, global average and a linear layer. A
stage has twice the channels of the one before, on half the image; a block is a few convolutions
with norms beside a shortcut, and an activation after the sum. (K. He, X. Zhang, S. Ren, J. Sun,
"Deep residual learning for image recognition", CVPR 2016.)
"""

from math import prod
from typing import Any, NamedTuple

from ..errors import require
from ..layers import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Residual,
    ZeroPad,
)
from ..network import Network
from ..settings import truth, whole
from ..types import Shape
from .activations import Activation, activation_layer
from .images import image_shape

SHORTCUTS = ("conv", "pad")
STEMS = ("cifar", "imagenet")
SIZES = {"cifar": (3, 32, 32), "imagenet": (3, 224, 224)}
EXPANSION = 4  # channels out of a bottleneck, for each inside


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


def _residual(
    numbers, kind, classes, *, stem, width, activation, before, input_shape, shortcut="conv",
    final_norm=False,
):  # fmt: skip
    # the network with stages of so many blocks of a kind
    require(stem in STEMS, "stem", stem, f"choose from {STEMS}")
    require(shortcut in SHORTCUTS, "shortcut", shortcut, f"choose from {SHORTCUTS}")
    width, final_norm = whole("width", width), truth("final_norm", final_norm)
    image = image_shape(SIZES[stem] if input_shape is None else input_shape)
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
    channels, number = width, 0
    for stage, count in enumerate(numbers):
        for i in range(count):
            number += 1
            parts = kind(width * 2**stage, 2 if stage and i == 0 else 1)
            layers[f"block{number}"] = _block(channels, parts, shortcut, act, before)
            layers[f"block{number}_act"] = act
            channels = parts[-1].outputs
    layers["pool"] = GlobalAvgPool()
    if final_norm:
        layers["bn"] = BatchNorm1d(channels)
    layers["fc"] = Linear(channels, classes)
    return Network(layers, image)


def resnet(
    depth: int = 20,
    classes: int = 10,
    *,
    width: int = 16,
    activation: Activation = "relu",
    before: Activation | None = None,
    shortcut: str = "conv",
    final_norm: bool = False,
    input_shape: Shape = (3, 32, 32),
) -> Network:
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
    depth = whole("depth", depth)
    right = depth >= 8 and depth % 6 == 2
    require(right, "depth", depth, "it must be 6n + 2: 8, 14, 20, 32, 44, 56, 110")
    return _residual(
        [(depth - 2) // 6] * 3, _basic, classes, stem="cifar", width=width, activation=activation,
        before=before, input_shape=input_shape, shortcut=shortcut, final_norm=final_norm,
    )  # fmt: skip


def small_resnet(classes: int = 10, input_shape: Shape = (3, 32, 32), **options: Any) -> Network:
    """`resnet` of depth 8 and width 8: a twelfth of ResNet-20's work, for a laptop without a GPU.

    >>> round(small_resnet().macs / resnet(20).macs, 2)
    0.08
    """
    return resnet(8, classes, width=8, input_shape=input_shape, **options)


def resnet18(
    classes: int = 10,
    stem: str = "cifar",
    *,
    width: int = 64,
    activation: Activation = "relu",
    before: Activation | None = None,
    input_shape: Shape | None = None,
) -> Network:
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
    return _residual(
        (2, 2, 2, 2), _basic, classes, stem=stem, width=width, activation=activation,
        before=before, input_shape=input_shape,
    )  # fmt: skip


def resnet50(
    classes: int = 10,
    stem: str = "cifar",
    *,
    width: int = 64,
    activation: Activation = "relu",
    before: Activation | None = None,
    input_shape: Shape | None = None,
) -> Network:
    """ResNet-50: stages of 3, 4, 6 and 3 bottlenecks, 1x1, 3x3 and 1x1 convolutions.

    The last convolution of a bottleneck has four times as many channels as the others, 256 to 2048
    in all.

    Parameters
    ----------
    classes, stem, activation, before, input_shape
        As in `resnet18`.
    width : int
        Channels of the first two convolutions of a bottleneck in the first stage; the other stages
        have 2, 4 and 8 times as many.

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
    return _residual(
        (3, 4, 6, 3), _bottleneck, classes, stem=stem, width=width, activation=activation,
        before=before, input_shape=input_shape,
    )  # fmt: skip
