"""Exercises of notebook 10, *Write your own estimator*."""

import math

import numpy as np

from ..estimators import STE, Estimate, Step
from ..models import mlp
from ..norms import unit
from ..quantizers import MidRise
from ..testing import CheckFailed, check_estimator
from ..testing.problems import Problem, problem, rows
from .exercise import judged
from .judging import Unwritten, Wrong, ask, need, same, unlike

FAR = 2.0  # a look so far ahead that the loss is not always lower there


def paired_error(ours, theirs):
    """Return the standard error of the mean of the differences, seed by seed.

    ``ours`` and ``theirs``, (n,), are the final losses of two methods with the same n seeds.
    """
    return np.std(ours - theirs, ddof=1) / np.sqrt(len(ours))


@judged(
    "10.1",
    "The error of a paired difference",
    "a line",
    paired_error,
    "Subtract first. The spread of n numbers, and that of their mean, differ by sqrt(n).",
)
def _paired_error(answer):
    random = np.random.default_rng(101)
    for n in (12, 5):
        theirs = 0.55 + 0.05 * random.standard_normal(n)
        ours = theirs + 0.02 * random.standard_normal(n)
        got, wanted = ask(answer, ours, theirs), paired_error(ours, theirs)
        need(np.ndim(got) == 0, f"one number is asked for, and this has the shape {np.shape(got)}")
        apart = math.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / n)
        need(
            not math.isclose(got, apart),
            "this is the error of the difference of two groups that share no seeds: take the "
            "differences first",
        )
        need(
            not math.isclose(got, np.std(ours - theirs) / math.sqrt(n)),
            "the deviations are from the seeds' own mean, which takes one of them: divide by n - 1",
        )
        need(
            not math.isclose(got, wanted * math.sqrt(n)),
            "this is the spread of the seeds; that of their mean is smaller by sqrt(n)",
        )
        same("the standard error", got, wanted)
    return "What a lucky start does for both methods is gone from it."


def wrong_sign(mean, sd, n):
    """Return the probability that the mean difference of n seeds has the wrong sign.

    The differences are normal, with the true mean ``mean`` and the standard deviation ``sd``.
    """
    return 0.5 * math.erfc(abs(mean) * math.sqrt(n / 2) / sd)


@judged(
    "10.2",
    "Three seeds may lie",
    "a line",
    wrong_sign,
    "The mean of n seeds has the standard deviation sd / sqrt(n).",
    "P(Z < -x) = erfc(x / sqrt(2)) / 2, and math.erfc is there.",
)
def _wrong_sign(answer):
    for mean, sd, n in ((0.05, 0.06, 3), (-0.05, 0.06, 12), (0.01, 0.1, 5)):
        got, wanted = ask(answer, mean, sd, n), wrong_sign(mean, sd, n)
        what = f"the probability for a mean of {mean}, sd {sd} and {n} seeds"
        need(not math.isclose(got, 1 - wanted, rel_tol=1e-6), f"{what} is that of the right sign")
        alone = wrong_sign(mean, sd, 1)
        need(not math.isclose(got, alone, rel_tol=1e-6), f"{what} is that of one seed alone")
        need(not math.isclose(got, 2 * wanted, rel_tol=1e-6), f"{what} counts both tails")
        same(what, got, wanted, 1e-4)
    return (
        "A gap of .05 with a spread of .06, as in section 4: three seeds are wrong one time in 13."
    )


def seeds_needed(effect, sd):
    """Return how many seeds tell a true difference ``effect`` from 0 in four of five comparisons.

    ``sd`` is that of the differences, and all is normal: the 95 % interval is 1.960 standard errors
    to either side, and a mean exceeds its true value minus 0.842 standard errors in 80 % of cases.
    """
    return math.ceil(((1.960 + 0.842) * sd / effect) ** 2)


@judged(
    "10.3",
    "How many seeds?",
    "ten minutes",
    seeds_needed,
    "The interval leaves out 0 if the mean is more than 1.960 standard errors from it.",
    "effect = (1.960 + 0.842) sd / sqrt(n)",
)
def _seeds_needed(answer):
    for effect, sd in ((0.05, 0.06), (0.02, 0.06), (0.01, 0.1)):
        got, wanted = ask(answer, effect, sd), seeds_needed(effect, sd)
        what = f"the number of seeds for an effect of {effect} and sd {sd}"
        even = math.ceil((1.960 * sd / effect) ** 2)
        need(got != even, f"{got} seeds find it in one of two comparisons, and not in four of five")
        need(float(got) == int(got), f"{what} is {got:.4g}, which is not whole")
        same(what, got, wanted)
    return "Half the effect asks for four times the seeds: 12 see .05, and for .01 take 283."


def luck(k, sd, seeds):
    """Return by how much the best of k settings looks better than it is, on average.

    All k are equally good in truth. Each is judged by the mean of so many tuning seeds, whose
    losses are normal with the standard deviation ``sd``, and the one of the least mean is taken.
    A simulation will do: two digits are asked for.
    """
    draws = np.random.default_rng(0).standard_normal((100_000, k))
    return np.max(draws, axis=1).mean() * sd / np.sqrt(seeds)


@judged(
    "10.4",
    "The luckiest of many",
    "ten minutes",
    luck,
    "Draw (100_000, k) normal numbers: each row is one tuning.",
    "The mean of the rows' extremes, in units of sd / sqrt(seeds).",
)
def _luck(answer):
    # E max of k standard normal numbers
    for k, most in ((2, 0.5642), (6, 1.2672), (18, 1.8200)):
        got, wanted = float(ask(answer, k, 0.06, 3)), most * 0.06 / math.sqrt(3)
        what = f"the luck of the best of {k}"
        need(
            got >= 0 or abs(got / wanted + 1) > 0.03,
            f"{what} is below 0: say by how much it seems *better*",
        )
        same(f"{what}, sd .06 and one seed,", float(ask(answer, k, 0.06, 1)), most * 0.06, 0.03)
        same(f"{what}, sd .06 and three seeds,", got, wanted, 0.03)
    return "On other seeds this luck is gone: that is why `compare` reports other seeds."


def steps_within(network, forwards, backwards, steps):
    """Return how many whole steps cost as much as ``steps`` of the STE, at most.

    A step of the rule has so many forwards and backwards, a step of the STE one of each. A pass
    costs ``network.macs`` multiply-accumulates forwards and ``network.backward_macs`` backwards.
    """
    own = forwards * network.macs + backwards * network.backward_macs
    return steps * (network.macs + network.backward_macs) // own


@judged(
    "10.5",
    "Equal compute",
    "a line",
    steps_within,
    "Compute of 200 steps of the STE, divided by that of one step of the rule.",
)
def _steps_within(answer):
    for network in (mlp(784, 10, 10), mlp(20, 50, 3)):
        for forwards, backwards in ((2, 2), (20, 0), (21, 1)):
            got = ask(answer, network, forwards, backwards, 200)
            what = f"the number of steps for {forwards} forwards and {backwards} backwards"
            passes = 400 // (forwards + backwards)
            wanted = steps_within(network, forwards, backwards, 200)
            need(
                got != passes or passes == wanted,
                f"{what} counts a backward pass like a forward; it costs "
                f"{network.backward_macs / network.macs:.2f} times as much here",
            )
            need(float(got) == int(got), f"{what} is {got:.6g}, which is not whole")
            same(what, got, wanted)
    return "Two looks of AheadSTE halve its steps, and n-SPSA with n = 10 has 20 of 200 left."


class AheadMomentum(STE):
    """Write the rule AheadMomentum, which looks ahead along an average of past gradients.

        m <- mu m + (1 - mu) g(theta),    G = g(theta - h m / ||m||)

    with the attributes h = 0.03 and mu = 0.9. Its state is m, which begins as 0; ``init(objective,
    theta)`` returns it, and ``estimate`` returns the new one beside the `Estimate`.
    """

    h, mu = 0.03, 0.9
    rowwise = True

    def init(self, objective, theta):
        return 0.0 * theta

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        m = self.mu * state + (1 - self.mu) * g
        ahead = objective.ste_gradient(theta - self.h * unit(m), batch).gradient
        return Estimate(ahead, loss, forwards=2, backwards=2, statistics=seen), m


@judged(
    "10.6",
    "A rule with a memory",
    "ten minutes",
    AheadMomentum,
    "Begin with AheadSTE of section 1; its init returns (), and yours an array like theta.",
    "The state that comes in is m before this step; unit(m) is m / ||m||, row by row.",
)
def _ahead_momentum(answer):
    objective, thetas, batches = walk()
    grads = estimates(answer, objective, thetas, batches)
    wanted = estimates(AheadMomentum, objective, thetas, batches)
    same("your G in the first step", grads[0], wanted[0])
    forgetful = [
        estimates(AheadMomentum, objective, [x], [b])[0]
        for x, b in zip(thetas, batches, strict=True)
    ]
    unlike(
        grads[1],
        forgetful[1],
        "the second step looks ahead along its own g: nothing of the first is in the state",
        1e-9,
    )
    for number, (got, right) in enumerate(zip(grads, wanted, strict=True), 1):
        same(f"your G in step {number}", got, right)
    contract(answer)
    return "It keeps its contract, too. Put it into the comparison, with Momentum in the grid."


class AheadIfLower(STE):
    """Write the rule AheadIfLower, which looks ahead only if the loss is lower there.

        G = g(theta - h g/||g||)    if F(theta - h g/||g||) < F(theta),    and g(theta) if not

    with the attribute h = 0.03. State its cost as it is, and let it work on rows: the loss has the
    shape (..., ) of theta (..., d), and each row decides for itself.
    """

    h = 0.03
    rowwise = True

    def estimate(self, objective, theta, batch, state, step):
        loss, g, seen = objective.ste_gradient(theta, batch)
        there, ahead, _ = objective.ste_gradient(theta - self.h * unit(g), batch)
        grad = np.where((there < loss)[..., None], ahead, g)
        return Estimate(grad, loss, forwards=2, backwards=2, statistics=seen), state


@judged(
    "10.7",
    "Look before you leap",
    "an hour",
    AheadIfLower,
    "objective.ste_gradient returns the loss as well as the gradient.",
    "Choose with np.where, as several rows are asked at once: (loss_ahead < loss)[..., None].",
    "Both evaluations take place whatever is chosen: what do they cost?",
)
def _ahead_if_lower(answer):
    written(answer)
    objective, thetas, batches = walk(12)

    def far(of=answer):
        rule = of()
        object.__setattr__(rule, "h", FAR)
        return rule

    grads = estimates(far, objective, thetas, batches)
    wanted = estimates(lambda: far(AheadIfLower), objective, thetas, batches)
    plain = [objective.ste_gradient(*pair).gradient for pair in zip(thetas, batches, strict=True)]
    moved, looked = (
        [not np.allclose(*pair) for pair in zip(found, plain, strict=True)]
        for found in (wanted, grads)
    )
    need(
        looked == moved,
        f"with h = {FAR:g} your rule looks ahead in {sum(looked)} of 12 steps, and the loss is "
        f"lower there in {sum(moved)}",
    )
    same("your G", np.stack(grads), np.stack(wanted))
    contract(answer)
    pairs = zip(thetas, batches, strict=True)
    several = rows([Problem(objective, theta, [batch]) for theta, batch in pairs])
    (own,) = estimates(far, several.objective, [several.theta], several.batches)
    (right,) = estimates(
        lambda: far(AheadIfLower), several.objective, [several.theta], several.batches
    )
    need(
        np.allclose(own, right),
        "G is right of one run, but of several rows each is to decide alone",
    )
    cost = far().estimate(objective, thetas[0], batches[0], (), Step())[0]
    need(
        cost.forwards == 2,
        f"it keeps its contract, but takes {cost.forwards} forwards: the gradient ahead comes with "
        "the loss there, so two are enough",
    )
    return "The loss ahead comes with the gradient: it costs no more than AheadSTE."


# What the two rules are asked


def walk(steps=3):
    """An objective, and so many thetas and batches."""
    objective, theta, batches = problem(MidRise("hardtanh"), seed=103)
    random = np.random.default_rng(104)
    thetas = [theta + 0.3 * random.standard_normal(theta.shape) for _ in range(steps)]
    return objective, thetas, [batches[i % len(batches)] for i in range(steps)]


def written(answer):
    """A rule of the reader's class."""
    rule = ask(answer)
    if not hasattr(rule, "estimate"):
        raise Unwritten
    return rule


def estimates(answer, objective, thetas, batches):
    """G at each theta in turn, with the rule's state handed on."""
    rule = written(answer)
    state, found = ask(rule.init, objective, thetas[0]), []
    for theta, batch in zip(thetas, batches, strict=True):
        pair = ask(rule.estimate, objective, theta, batch, state, Step())
        need(
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Estimate),
            "estimate is to return two things, an Estimate and the state",
        )
        found.append(pair[0].grad)
        state = pair[1]
    return found


def contract(answer):
    """`minizo.testing.check_estimator`, with its first complaint as the verdict."""
    try:
        check_estimator(ask(answer))
    except CheckFailed as error:
        first = next(line for line in str(error).splitlines() if line.strip())
        raise Wrong(f"G is right, and check_estimator says: {first.strip().rstrip('.')}") from None
