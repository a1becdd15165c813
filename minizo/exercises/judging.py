"""What a judge of answers asks with, and says: numbers compared, and the difference put into words.

    ask(answer, *arguments)              call the reader's function; what it does wrong is said
    same(what, got, wanted)              the same numbers, or what is odd about them
    moments(what, draws, mean, variance) the mean and variance of draws, at six standard errors
    unlike(got, mistake, sentence)       not what a known mistake gives
    need(condition, sentence)            anything else

Each raises `Wrong`, with a sentence that begins with ``what``, where something is wrong.

>>> same("your slope", np.array([2.0, 4.0]), np.array([1.0, 2.0]))
Traceback (most recent call last):
minizo.exercises.judging.Wrong: your slope is twice what it should be
"""

import inspect
import traceback

import numpy as np

SIGMAS = 6
WORDS = {2.0: "twice", 0.5: "half of", 3.0: "three times", 4.0: "four times", 0.25: "a quarter of"}


class Wrong(Exception):
    """An answer is wrong; the message says how."""


class Unwritten(Exception):
    """There is no answer yet."""


def need(condition, sentence):
    """Raise `Wrong` with ``sentence`` unless ``condition``.

    >>> need(1 > 2, "one is not above two")
    Traceback (most recent call last):
    minizo.exercises.judging.Wrong: one is not above two
    """
    if not condition:
        raise Wrong(sentence)


def close(got, other, rtol=1e-5):
    """Whether these are the same numbers, in the same shape.

    >>> close([1.0, 2.0], np.array([1.0, 2.0])), close(1.0, [1.0, 1.0])
    (True, False)
    """
    got, other = np.asarray(got), np.asarray(other)
    return got.shape == other.shape and np.allclose(got, other, rtol=rtol)


def unlike(got, mistake, sentence, rtol=1e-5):
    """Raise `Wrong` with ``sentence`` if ``got`` is what a known mistake gives.

    >>> unlike(2.0, 2.0, "this is twice the slope")
    Traceback (most recent call last):
    minizo.exercises.judging.Wrong: this is twice the slope
    """
    need(not close(got, mistake, rtol), sentence)


def taken(answer, worked, signature):
    """``answer``, if it is of the kind of the worked one: a function, a class, or a value."""
    if answer is None or answer is ...:
        raise Unwritten
    if signature is None:
        need(not inspect.isroutine(answer), "a value is asked for, and this is a function")
        return value(answer, worked())
    kind = "class" if inspect.isclass(worked) else "function"
    right = inspect.isclass(answer) if kind == "class" else callable(answer)
    this = "a function" if inspect.isroutine(answer) else f"{answer!r:.40}"
    need(right, f"a {kind} is asked for, {signature.removeprefix('class ')}, and this is {this}")
    return answer


def value(answer, like):
    """An answer as a name in lower case, a number, or several, as the worked one is.

    >>> value(" Logistic ", "uniform"), value(np.array(2), 1.0), value([1, 2], (3.0, 4.0))
    ('logistic', 2.0, (1.0, 2.0))
    >>> value("2", 1.0)
    Traceback (most recent call last):
    minizo.exercises.judging.Wrong: a number is asked for, and this is '2'
    """
    if isinstance(like, str):
        name = getattr(answer, "name", answer)
        need(isinstance(name, str), f"a name is asked for, and this is {answer!r:.40}")
        return name.strip().lower()
    shape = np.shape(like)
    what = "a number" if shape == () else f"{shape[0]} numbers"
    sentence = f"{what} is asked for" if shape == () else f"{what} are asked for"
    sentence += f", and this is {answer!r:.40}"
    try:
        numbers = np.asarray(answer)
    except ValueError:
        raise Wrong(sentence) from None
    need(numbers.dtype.kind in "biuf" and numbers.shape == shape, sentence)
    need(np.isfinite(numbers).all(), f"this is {answer!r:.40}, and the answer is finite")
    return numbers.astype(float).item() if shape == () else tuple(numbers.astype(float).tolist())


def is_pair(got):
    """Whether two things came back, in whatever holds them.

    >>> is_pair((1, 2)), is_pair(np.zeros((2, 5))), is_pair(3.0)
    (True, True, False)
    """
    if isinstance(got, np.ndarray):
        return got.shape[:1] == (2,)
    return isinstance(got, tuple | list) and len(got) == 2


def ask(answer, *arguments, **named):
    """Call a reader's function on copies that cannot be written to; tell in words why it stops.

    >>> def careless(x):
    ...     x += 1
    ...     return x
    >>> ask(careless, np.zeros(3))
    Traceback (most recent call last):
    minizo.exercises.judging.Wrong: your function changes its argument in place: take a copy first
    """
    arguments = [_sealed(argument) for argument in arguments]
    named = {name: _sealed(argument) for name, argument in named.items()}
    try:
        result = answer(*arguments, **named)
    except Exception as error:
        raise Wrong(_stopped(error)) from error
    if result is None or result is ...:
        raise Unwritten
    for part in result if isinstance(result, tuple | list) else [result]:
        if isinstance(part, np.ndarray | np.generic | int | float | complex | str):
            kind = np.asarray(part).dtype.kind
            need(kind in "biufO", f"your function returns {part!r:.40}, where numbers are wanted")
            lost = part is result and kind == "f" and np.size(part) and np.isnan(part).all()
            need(not lost, "your function returns NaN, which is no number: 0/0, or inf - inf")
    return result


def _sealed(argument):
    if not isinstance(argument, np.ndarray):
        return argument
    copy = argument.copy()
    copy.flags.writeable = False
    return copy


def _stopped(error):
    # why the reader's function stopped, with the line of it
    if isinstance(error, ValueError) and "read-only" in str(error):
        return "your function changes its argument in place: take a copy first"
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is `ask`
    where = f" (line {frames[0].lineno}: {frames[0].line})" if frames and frames[0].line else ""
    says = f"your function stops with {type(error).__name__}: {error}"
    return says.rstrip(".") + where


def same(what, got, wanted, tolerance=1e-6, at=None):
    """Compare numbers, and say what is odd about those that differ: sign, factor, shape, places.

    Parameters
    ----------
    what : str
        The name of the numbers in the sentence: ``"your gradient"``.
    got, wanted : array_like
        What the reader has, and what is right.
    tolerance : float
        Relative to the largest of ``wanted``.
    at : array_like, optional
        Of the same shape: where each number belongs to, to name the first that differs.
    """
    wanted = np.asarray(wanted)
    got = _numbers(what, got)
    turned = got.T.shape == wanted.shape and _near(got.T, wanted, 1e-6)
    if turned and (got.shape != wanted.shape or not _near(got, wanted, tolerance)):
        raise Wrong(f"{what} is transposed")
    need(
        got.shape == wanted.shape,
        f"{what} has the shape {got.shape}, and should have {wanted.shape}",
    )
    if not np.issubdtype(wanted.dtype, np.number):
        got, wanted = got.astype(float), wanted.astype(float)
    need(np.isfinite(got).all() or not np.isfinite(wanted).all(), f"{what} is not finite")
    if not _near(got, wanted, tolerance):
        raise Wrong(_oddity(what, got, wanted, tolerance, at))


def _numbers(what, got):
    try:
        got = np.asarray(got)
        need(got.dtype.kind not in "cUS", f"{what} is {got!r:.40}, and should be real numbers")
        return got if got.dtype != object else got.astype(float)
    except (TypeError, ValueError):
        raise Wrong(f"{what} is a {type(got).__name__}, and should be numbers") from None


def _near(got, wanted, tolerance):
    scale = np.max(np.abs(wanted), initial=0.0) or 1.0
    return bool(np.all(np.abs(got - wanted) <= tolerance * scale))


def _oddity(what, got, wanted, tolerance, at):
    loose = max(tolerance, 1e-4)
    if np.max(np.abs(got)) == 0:
        return f"{what} is 0" + (" everywhere" if got.ndim else "")
    if _near(got, -wanted, loose):
        return f"{what} has the wrong sign"
    factor = float(np.sum(got * wanted) / np.sum(wanted * wanted)) if np.any(wanted) else 0.0
    known = got.ndim or any(abs(abs(factor) / number - 1) < 1e-3 for number in WORDS)
    if factor and known and _near(got / factor, wanted, loose):
        return f"{what} is {times(factor)} what it should be"
    shift = float(np.mean(got - wanted))
    if got.ndim and _near(got - shift, wanted, loose):
        return f"{what} is off by {shift:.3g} everywhere"
    if not got.ndim:
        return f"{what} is {float(got):.4g}: too {'large' if got > wanted else 'small'}"
    wrong = np.abs(got - wanted) > tolerance * (np.max(np.abs(wanted)) or 1.0)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"at {list(first)}" if at is None else f"at x = {np.asarray(at)[first]:.4g}"
    count = f"{int(wrong.sum())} of {wrong.size} numbers"
    return (
        f"{what} differs in {count}: {place} it is {float(got[first]):.4g}, "
        f"and should be {float(wanted[first]):.4g}"
    )


def times(factor, within=0.02):
    """A factor in words; a measured one has words ``within`` its error.

    >>> times(2.0), times(-0.5), times(7.96)
    ('twice', 'minus half of', '7.96 times')
    """
    factor = float(factor)
    size = abs(factor)
    near = [word for number, word in WORDS.items() if abs(size / number - 1) < within]
    words = near[0] if near else f"{size:.3g} times"
    return "minus " * (factor < 0) + words


def moments(what, draws, mean, variance=None, sigmas=SIGMAS):
    """Compare the mean and the variance of independent draws with what they should be.

    Parameters
    ----------
    what : str
        ``"your estimate"``.
    draws : array_like, shape (N,)
        Independent draws.
    mean : float
    variance : float, optional
        Not looked at if ``None``.
    sigmas : float
        Standard errors that are chance.

    Examples
    --------
    >>> draws = 3 + np.sqrt(2) * np.random.default_rng(0).standard_normal(10_000)
    >>> moments("your estimate", draws, 3.0, 1.0)
    Traceback (most recent call last):
    minizo.exercises.judging.Wrong: your estimate has the right mean and twice the variance
    """
    draws = _numbers(what, draws).astype(float)
    need(np.isfinite(draws).all(), f"{what} is not finite")
    centred = draws - draws.mean()
    spread = float(np.mean(centred**2))
    error = np.sqrt(spread / len(draws)) + 1e-12 * abs(mean)
    right_mean = abs(draws.mean() - mean) <= sigmas * error
    right_variance = True
    if variance is not None:
        wobble = np.sqrt((np.mean(centred**4) - spread**2) / len(draws)) + 1e-12 * variance
        right_variance = abs(spread - variance) <= sigmas * wobble
    if right_mean and right_variance:
        return
    if right_mean:
        raise Wrong(f"{what} has the right mean and {_measured(spread, variance)} the variance")
    says = f"{what} has {_measured(draws.mean(), mean)} the mean"
    if abs(draws.mean()) <= sigmas * error:
        says = f"{what} has the mean 0"
    elif mean == 0:
        says = f"{what} has the mean {draws.mean():.3g}, which should be 0"
    known = bool(variance is not None and right_variance)
    raise Wrong(says + " and the right variance" * known)


def _measured(got, wanted):
    # "twice", as in "twice the mean"
    return times(got / wanted if wanted else np.inf, within=0.15).removesuffix(" of")
