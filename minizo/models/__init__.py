"""The networks that the papers train.

images       perceptrons, LeNet, a small convolutional network
residual     residual networks for CIFAR and ImageNet
sequences    a LLaMA, LSTMs, a vision transformer
activations  what stands between layers, by name
selection    which weights are quantised, by place or name
"""

from functools import partial

from .activations import ACTIVATION_DEFAULTS, ACTIVATIONS, INPUTS, activation_layer, binary
from .images import lenet, mlp, perceptron, small
from .residual import resnet, resnet18, resnet50, small_resnet
from .selection import QUANTIZED, bit_widths, chosen, weights
from .sequences import llama, lstm_lm, vit

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_DEFAULTS",
    "GIVEN",
    "INPUTS",
    "MODELS",
    "QUANTIZED",
    "activation_layer",
    "binary",
    "bit_widths",
    "chosen",
    "lenet",
    "llama",
    "lstm_lm",
    "mlp",
    "perceptron",
    "resnet",
    "resnet18",
    "resnet50",
    "small",
    "small_resnet",
    "vit",
    "weights",
]


def __dir__():
    return __all__


# What commands call them. Each takes those of the keywords that `GIVEN` names, from the data and
# from the activation chosen, which it needs, and settings of its own.
GIVEN = ("input_shape", "classes", "activation", "vocabulary", "context")
MODELS = {
    "mlp": perceptron,
    "lenet": lenet,
    "small": small,
    "small-resnet": partial(resnet, 8, width=8),
    **{f"resnet{depth}": partial(resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vit": vit,
    "llama": llama,
    "lstm": lstm_lm,
}
