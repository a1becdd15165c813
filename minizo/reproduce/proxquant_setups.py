"""What `minizo.reproduce.proxquant` compares: methods with their variants, and on which network.

On images all weights are binary, with one scale a layer. On a text, as in the paper, every row of a
matrix has levels of its own, and binary weights stand beside ternary ones. A method's results are
compared with those of BinaryConnect with as many levels.
"""

from dataclasses import dataclass, replace

from .. import BinaryConnect, ProxConnect, ProxQuant
from ..optim import Adam
from ..quantizers import Sign, Ternary
from . import zoo
from .proxquant_report import ERROR, LOSS, PERPLEXITY

FREEZE = 2 / 3
BINARY, TERNARY = Sign(per="filter"), Ternary(per="filter")  # of a text: a row has its own levels


def strength(optimizer, pull, steps, freeze=FREEZE):
    """lam whose homotopy adds up to ``pull``: sum over t < freeze steps of eta_t lam t = pull.

    So one grid of pulls suits all learning rates and lengths. With L1, a pull of p moves a weight
    by up to p alpha in all; with L2 it leaves e^-p of the distance to a level.
    """
    total = sum(optimizer.rate(t / steps) * t for t in range(round(freeze * steps)))
    return pull / total


@dataclass(frozen=True)
class Method:
    """Variants of one method, by name; each makes its rule from (optimizer, steps).

    Parameters
    ----------
    name : str
    variants : dict
    quantizer : quantizer
    against : str
        The method to which differences are taken.
    pulled : bool
        Whether its flips are counted with every variant, and not with the best alone.
    """

    name: str
    variants: dict
    quantizer: object = Sign()
    against: str = "BinaryConnect"
    pulled: bool = False


def proxquant(power, pulls, clip=1.0):
    """Variants of ProxQuant, as in the authors' code with clipped latent weights."""
    return {
        f"pull {pull:g}": lambda optimizer, steps, pull=pull: ProxQuant(
            power, strength(optimizer, pull, steps), clip=clip, freeze=FREEZE
        )
        for pull in pulls
    }


def binaryconnect(clip=1.0):
    """Variants of BinaryConnect: clipped or not, frozen or not."""
    return {
        "": lambda optimizer, steps: BinaryConnect(),
        "frozen": lambda optimizer, steps: BinaryConnect(freeze=FREEZE),
        "clipped": lambda optimizer, steps: BinaryConnect(clip=clip),
        "clipped, frozen": lambda optimizer, steps: BinaryConnect(clip=clip, freeze=FREEZE),
    }


PULLS = (1, 3, 10, 30)
METHODS = (
    Method("BinaryConnect", binaryconnect()),
    Method("ProxQuant L1", proxquant("l1", PULLS), pulled=True),
    Method("ProxQuant L2", proxquant("l2", PULLS)),
    Method("ProxConnect L1 (lazy)", {
        f"to {most}": lambda optimizer, steps, most=most: ProxConnect("l1", most / steps)
        for most in (30, 100, 300, 1000)
    }),
)  # fmt: skip

# Ternary levels lie some 1.4 mean|x| from 0, so weights are clipped further out. The paper's
# ternary regulariser is the squared distance, which two rounds of fitting and moving approximate.
FAR, WEAK = 2.0, (0.3, 1, 3, 10)
TEXT_METHODS = (
    Method("BinaryConnect", binaryconnect(), BINARY),
    Method("ProxQuant L1", proxquant("l1", WEAK), BINARY, pulled=True),
    Method("BinaryConnect, ternary", binaryconnect(FAR), TERNARY, "BinaryConnect, ternary"),
    Method("ProxQuant L2, ternary", proxquant("l2", WEAK, FAR), TERNARY,
           "BinaryConnect, ternary"),
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What is run on one network.

    Parameters
    ----------
    name : str
        As titles call it, with places for its sizes.
    stem : str
        Of the files' names.
    steps, batch : int
        Of a run.
    rates : tuple of float
        Learning rates of the grid.
    methods : tuple of Method
        With the variants of the grid.
    records : int
        Of the runs whose flips are counted; of the others only the end is looked at.
    tuned : int
        Tuning seeds, with which the grid is run. The best settings run with the reported seeds.
    warm : optimizer
        Trains the full-precision start.
    measures : tuple of Measure
        How good a network is: the first is compared.
    examples : int, optional
        How many training examples the training loss is of; by default all.
    levels : str
        What titles call the weights.
    of_text : bool
        Whether it learns a text, and not images.
    published : str
        What the paper reports, if it trains such a network.
    better : tuple of str
        Methods that the paper finds better than what they are compared with.
    """

    name: str
    stem: str
    steps: int
    batch: int
    rates: tuple
    methods: tuple
    records: int
    tuned: int = 1
    warm: object = Adam(0.003)
    measures: tuple = (ERROR,)
    examples: int | None = None
    levels: str = "binary"
    of_text: bool = False
    published: str = ""
    better: tuple = ()


def only(methods, part):
    """The methods with a part of their variants, a slice."""
    return tuple(replace(m, variants=dict(list(m.variants.items())[part])) for m in methods)


PUBLISHED = """\
The paper trains one LSTM of 300 units on Penn Treebank by words. It reports that ProxQuant is
better than BinaryConnect where weights are binary, and on par with the straight-through gradient
where they have more bits and levels of a row (perplexities 116.7, 94.3, 87.3 of the latter with 1,
2, 3 bits, unscaled). It has no ternary LSTM. Unlike there, binary weights have a scale a row here,
Adam stands in place of SGD from 20 down, steps of 80 epochs, and every window begins with an empty
state."""

# The convolutional networks meet MNIST at half its resolution: see `zoo.small_mnist`.
SETUPS = {
    "mlp": Setup("784-{hidden}-10", "proxquant", 2000, 100, (0.001, 0.003, 0.01, 0.03), METHODS,
                 records=40, tuned=3),
    "lenet": Setup("LeNet of {} and {} channels".format(*zoo.CHANNELS), "proxquant_lenet", 600, 50,
                   (0.01, 0.03), METHODS, records=10),
    "small-resnet": Setup("ResNet-8 of 8, 16 and 32 channels", "proxquant_resnet", 300, 50,
                          (0.01, 0.03), only(METHODS, slice(1, 3)), records=5),
    "lstm": Setup("LSTM of {width} units", "proxquant_lstm", 1000, 16, (0.003, 0.01, 0.03),
                  TEXT_METHODS, records=10, tuned=2, warm=Adam(0.02), examples=500,
                  measures=(LOSS, PERPLEXITY), levels="binary and ternary", of_text=True,
                  published=PUBLISHED, better=("ProxQuant L1",)),
}  # fmt: skip
