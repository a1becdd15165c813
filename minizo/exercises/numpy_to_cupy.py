"""Exercises of notebook 9, *From NumPy to CuPy*."""

from unittest import mock

import numpy as np

from .. import backend
from .exercise import judged
from .judging import ask, need, same, unlike


def wider():
    """Widen the network of section 2 from 10 to 1,000 hidden units: ``models.mlp(784, 1000, 10)``.

    By which factor does the number of ``operations`` of a step grow, and by which its
    multiply-accumulates, ``net.macs``? Answer as a pair.
    """
    return 1.0, 100.0


@judged(
    "9.1",
    "A wider network",
    "a line",
    wider,
    "Count the operations of both. Does any of them know how wide its arrays are?",
    "784 * 1000 + 1000 * 10 against 784 * 10 + 10 * 10.",
)
def _wider(answer):
    need(np.size(answer) == 2, "two numbers are asked for: operations, then multiply-accumulates")
    operations, macs = answer
    need(
        operations < 2,
        "an operation on a longer array is one operation still: the number depends on the layers "
        "alone",
    )
    same("the first factor", operations, 1.0, 1e-2)
    same("the second factor", macs, 100.0, 1e-2)
    return "A hundred times the work for the same launches: this is what a card is for."


def least_time(operations, launch, macs, speed, traffic, bandwidth):
    """Return a floor of the time of a step on a card, in seconds.

    So many operations are ordered in ``launch`` seconds each, while the card works at those ordered
    before; it makes ``speed`` multiply-accumulates and moves ``bandwidth`` bytes a second, both at
    the same time, and has ``macs`` and ``traffic`` of them to do.
    """
    return max(operations * launch, macs / speed, traffic / bandwidth)


@judged(
    "9.2",
    "A floor for a card",
    "a line",
    least_time,
    "Three things go on at the same time. When is the last of them done?",
)
def _least_time(answer):
    for case in (
        (200, 5e-6, 2e6, 1e13, 1e6, 1e12),
        (200, 5e-6, 1e12, 1e13, 1e6, 1e12),
        (200, 5e-6, 1e9, 1e13, 1e10, 1e12),
    ):
        got, wanted = ask(answer, *case), least_time(*case)
        parts = np.array([case[0] * case[1], case[2] / case[3], case[4] / case[5]])
        unlike(
            got, parts.sum(), "you add up what goes on at the same time: the longest decides", 1e-9
        )
        same("the floor", got, wanted)
    return (
        "A network like 784-10-10 waits for its orders, and a larger one for its products or data."
    )


def rows_to_fill(operations, launch, macs, speed):
    """Return how many runs, as rows of one array, keep a card as long at work as the host orders.

    A step of one run has so many ``operations``, ordered in ``launch`` seconds each, and ``macs``
    multiply-accumulates, of which the card makes ``speed`` a second. (Not a whole number.)
    """
    return operations * launch * speed / macs


@judged(
    "9.3",
    "How many rows fill a card?",
    "a line",
    rows_to_fill,
    "S rows take as many operations as one, and S times the multiply-accumulates.",
)
def _rows_to_fill(answer):
    for case in ((160, 5e-6, 2.4e6, 1e13), (1000, 1e-5, 1e9, 2e12)):
        got, wanted = ask(answer, *case), rows_to_fill(*case)
        unlike(got, 1 / wanted, "this is how busy one run keeps the card: turn it over")
        same("the number of rows", got, wanted)
    return "Some thousands for 784-10-10 on a fast card, and only then do more rows take more time."


def unit_rows(g, xp):
    """Return the rows of ``g``, (S, d), divided by their norms; rows of zeros stay zeros.

    ``xp`` is the library of g. Never look at a number of the device: no ``if``, no ``float``.
    """
    norm = xp.sqrt(xp.sum(g * g, axis=-1, keepdims=True))
    return g / xp.where(norm > 0.0, norm, xp.ones_like(norm))


@judged(
    "9.4",
    "Without a look",
    "ten minutes",
    unit_rows,
    "`careful` of section 2 does it for one row: what has to change are axis and keepdims.",
    "where(norm > 0, norm, 1): an array decides for each row, and nobody looks.",
)
def _unit_rows(answer):
    g = np.random.default_rng(91).standard_normal((4, 6))
    g[2] = 0.0
    wanted = unit_rows(g, np)
    with np.errstate(all="ignore"):
        got = ask(answer, g, np)
    need(np.shape(got) == g.shape, f"your rows have the shape {np.shape(got)}, and g has {g.shape}")
    need(np.all(np.isfinite(got[2])), "the row of zeros is divided by 0")
    whole = g / np.sqrt(np.sum(g * g))
    unlike(got, whole, "all rows are divided by one norm, that of the whole array")
    same("your rows", got, wanted)
    try:
        import array_api_strict as strict
    except ImportError:
        return "(The strict library is not here, so only the numbers were looked at.)"
    there, looks = strict.asarray(g, device=strict.Device("device1")), []
    kind = type(there)
    own = {name: getattr(kind, name) for name in ("__bool__", "__float__", "__int__", "__index__")}

    def noted(name):
        return lambda self: looks.append(name) or own[name](self)

    with mock.patch.multiple(kind, **{name: noted(name) for name in own}):
        try:
            got = answer(there, strict)
        except Exception as error:
            got = error
    need(not looks, f"the numbers are right, but the host looks at one ({', '.join(set(looks))})")
    says = f"{type(got).__name__}: {got}".replace("\n", " ").rstrip(".")
    need(
        not isinstance(got, Exception),
        f"the numbers are right on NumPy, but the strict library says {says}",
    )
    same("your rows on the other device", backend.to_numpy(got), wanted)
    return "No number has come back to the host: its queue can be full all the time."


def least_normal():
    """Give the least float32 above 0 that is not made zero where subnormals are flushed."""
    return 2.0**-126


@judged(
    "9.5",
    "What is flushed",
    "a line",
    least_normal,
    "A float32 has 8 bits for its exponent. The cell on subnormals asks np.finfo for it.",
)
def _least_normal(answer):
    need(answer > 2.0**-140, "this is a subnormal number, with few digits left: it is flushed")
    unlike(answer, 2.0**-23, "this is the distance of 1 from its neighbour, `eps`")
    same("the number", answer, 2.0**-126, 1e-3)
    return (
        "np.finfo(np.float32).tiny: a latent weight may well go through 0, but hardly stays there."
    )


def adam_bytes(d, itemsize):
    """Return how many bytes a step of Adam reads and writes, if it is *one* kernel.

    It has d parameters of ``itemsize`` bytes, their gradient and two moments, and gives the new
    parameters and moments. Each number is read or written once.
    """
    return 7 * d * itemsize


@judged(
    "9.6",
    "Adam as one kernel",
    "a line",
    adam_bytes,
    "Which arrays go in, and which come out? m, v and theta do both.",
)
def _adam_bytes(answer):
    for d, itemsize in ((7960, 4), (10**6, 8)):
        got = ask(answer, d, itemsize)
        for count, why in (
            (4, "what is read is there, and what is written is missing"),
            (3, "what is written is there, and what is read is missing"),
            (8, "the gradient is not written"),
            (7 / itemsize, "these are numbers: each has itemsize bytes"),
        ):
            unlike(got, count * d * itemsize, why)
        same(f"the bytes for d = {d:,} and itemsize {itemsize}", got, adam_bytes(d, itemsize))
    return "As array operations, of which each reads and writes, Adam moves several times as much."


def compensated(x):
    """Return the float32 sum of ``x``, (n,) float32, that hardly depends on the order.

    Add one number after the other in float32, and keep in a second number what each addition has
    rounded away, which is taken off the next one (Kahan).
    """
    total = lost = np.float32(0)
    for number in x:
        number = number - lost
        new = total + number
        lost = (new - total) - number
        total = new
    return total


@judged(
    "9.7",
    "A sum in any order",
    "ten minutes",
    compensated,
    "new = total + number is rounded; (new - total) - number is what was added too much.",
    "Subtract it from the next number before that is added.",
)
def _compensated(answer):
    random = np.random.default_rng(92)
    for n in (2000, 5000):
        x = random.uniform(0, 1, n).astype(np.float32)
        exact = float(np.sum(x, dtype=np.float64))
        unit = float(np.spacing(np.float32(exact)))
        for order in (x, x[::-1]):
            got = ask(answer, order)
            need(np.ndim(got) == 0, f"one number is asked for, and yours has shape {np.shape(got)}")
            off = abs(float(got) - exact) / unit
            need(
                np.asarray(got).dtype == np.float32,
                f"your sum is {np.asarray(got).dtype}, and float32 is asked for throughout",
            )
            need(
                off <= 1.5,
                f"your sum of {n:,} numbers is off by {off:.0f} units of its last place; what was "
                "rounded away is lost",
            )
    return "So two orders could agree in float32, too, at four operations for one."
