"""The transformers that are compared, and their data: a LLaMA, and vision transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from .. import data, models, sweep
from ..objective import Objective
from ..optim import AdamW
from ..settings import Count

WIDTH, LAYERS, HEADS = 32, 2, 2
CONTEXT, BATCH = 32, 16  # characters of a sequence; sequences, or images, of a step
EXAMPLES, HELD_OUT = 10_000, 1_000  # images of training; images or sequences of the held-out part


@dataclass(frozen=True)
class Task:
    """A network and its data.

    title : str, as tables call it;  load : what gives the data;  network : what makes the network
    of the data, a width and a number of layers;  rates : tuple of float, the grid of the tuning.
    """

    title: str
    load: Callable
    network: Callable
    rates: tuple


def fewer(found):
    """A data set with at most `EXAMPLES` training images, and `HELD_OUT` held-out examples."""
    train, test = found.y_train.shape[0], found.y_test.shape[0]
    return found.head(train if found.tokens else min(train, EXAMPLES), min(test, HELD_OUT))


@cache  # the forecast, the sweeps and the cosines take the same, and tell once what is drawn
def shakespeare():
    """Tiny Shakespeare by characters, or the language that the package draws."""
    return fewer(data.text("tinyshakespeare", context=CONTEXT, notice=data.to_stderr))


@cache
def images(name):
    """MNIST or CIFAR-10, or what the package draws in their place."""
    return fewer(data.load(name))


def llama(found, width, layers):
    """The LLaMA."""
    context = found.x_train.shape[1]
    return models.llama(found.classes, width=width, layers=layers, heads=HEADS, context=context)


def vit(found, width, layers):
    """The vision transformer: 16 patches and a class token."""
    shape = tuple(found.x_train.shape[1:])
    patch = shape[-1] // 4
    return models.vit(
        shape, found.classes, patch=patch, width=width, layers=layers, heads=HEADS, hidden=2 * width
    )


TASKS = {
    "llama": Task("LLaMA, Tiny Shakespeare", shakespeare, llama, (0.003, 0.01, 0.03)),
    "vit-mnist": Task("ViT, MNIST", partial(images, "mnist"), vit, (0.001, 0.003, 0.01)),
    "vit-cifar": Task("ViT, CIFAR-10", partial(images, "cifar10"), vit, (0.001, 0.003, 0.01)),
}


@dataclass(frozen=True)
class Case(sweep.Case):
    """A run of one of the tasks, the weights of its blocks quantised.

    Parameters
    ----------
    task : str
        Of `TASKS`.
    width, layers : int
        Of the network.
    watch : callable, optional
        ``watch()`` gives what `minizo.fit` is to watch.
    """

    task: str = "llama"
    width: Count = WIDTH
    layers: Count = LAYERS
    watch: Any = None

    def network(self, data):
        """The transformer."""
        return TASKS[self.task].network(data, self.width, self.layers)

    def objective(self, data):
        """Its loss, with the inner weights of all blocks quantised."""
        network = self.network(data)
        return Objective(network, self.quantizer, models.chosen(network, "layers.*"))

    def options(self, data, path):
        """How many training examples the recorded loss is of, and what is watched."""
        own = {"loss_examples": min(HELD_OUT, data.y_train.shape[0])}
        return own if self.watch is None else {**own, "watch": self.watch()}


def adamw(rate):
    """The optimiser: a warm-up of 7 %, a linear fall to a tenth, gradients clipped to norm 1."""
    return AdamW(rate, warmup=0.07, floor=0.1, clip=1.0)
