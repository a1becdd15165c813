"""The doors of the training loop: `fit`, one run, and `fit_many`, several that share their passes.

Both make a `minizo.recipe.Recipe` of what they are given, look at it (`minizo.inputs.prepare`), and
hand it, as a `minizo.group.Group`, to `minizo.train.train`.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import parallel
from .data.dataset import Dataset
from .errors import require
from .estimators.base import Estimator
from .group import Group, groups
from .inputs import check_call, prepare
from .memory import in_parts, told
from .objective import Objective
from .parallel import Pool
from .recipe import Recipe
from .records import Diverged, Run
from .settings import whole
from .train import train
from .types import Array, Arrays, FilePath, Optimizer


@told
def fit(
    objective: Objective,
    data: Dataset,
    estimator: Estimator,
    optimizer: Optimizer,
    *,
    steps: int,
    batch: int = 100,
    seed: int = 0,
    pool: Pool | None = None,
    record_every: int | None = None,
    loss_examples: int | None = None,
    augment: Callable | None = None,
    start: Array | None = None,
    state: Arrays | None = None,
    path: FilePath | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: Callable | None = None,
    watch: dict[str, Callable] | None = None,
    rng: str = "device",
) -> Run:
    """Train a quantised network: theta <- optimizer(theta, G(theta)), G the estimator's gradient.

    A rule that owns the update (`minizo.estimators.Estimator`) makes that step in its own way.

    Parameters
    ----------
    objective : Objective
        Its quantiser scales are set from the initial weights where they are not set yet.
    data : Dataset
        Decides the library, the device and the dtype of the run.
    estimator, optimizer
        From `minizo.estimators` and `minizo.optim`.
    steps, batch : int
        Number of steps, and of examples in each.
    seed : int
        Same seed, same bits, on the same machine and library versions, whatever the pool.
    pool : Pool, optional
        Where blocks of directions are evaluated; by default in the caller.
    record_every : int, optional
        Steps between records; by default 20 records a run.
    loss_examples : int, optional
        The training loss of the records is that of the first so many training examples; by default
        of all.
    augment : callable, optional
        ``augment(x, stream)`` -> images like x (N, C, H, W), such as `minizo.data.CropFlip`.
        Applied to the batches of training steps, not in evaluation.
    start : ndarray (d,), optional
        Latent parameters to start from, in the library and dtype of the data, such as
        ``run.theta`` of a run in full precision; by default those that the network draws from
        ``seed``. The quantiser scales fit them.
    state : dict of str to ndarray, optional
        Running statistics to start from, taken as they are. They must be those of the network with
        its *quantised* weights: ``run.state`` of a run that goes on with the same quantiser. Those
        of a run in full precision are not: leave them out. By default they are those of the first
        batch, which the quantised network sees in training.
    path : path, optional
        Where the checkpoint goes.
    checkpoint_every : int, optional
        Steps between checkpoints. With a ``path``, the end of the run is always one.
    resume : bool
        Go on from the checkpoint at ``path``, if there is one.
    progress : callable, optional
        Called after every step as ``progress(steps_done, loss)``, with the training loss of the
        latest record.
    watch : dict of str to callable, optional
        More columns of the records: ``function(objective, state)`` -> float for each record, with
        the `TrainState` of that moment.
    rng : {"device", "host"}
        On a GPU: whether random numbers are made there, or are NumPy's, with which a run can be
        compared with one on the CPU. Elsewhere it changes nothing.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For values out of range, data that do not fit the network (sizes, labels beyond its outputs,
        an empty set), a ``path`` that cannot be written, or a checkpoint that is damaged or was
        made with other settings or data.
    Diverged
        When a loss or a parameter is NaN or infinite. This is looked for where a record or a
        checkpoint is due, so that a GPU is not stopped at every step; the sentence names the exact
        step, and the checkpoint is still the last good one.

    Notes
    -----
    Cost: that of ``steps`` estimates, and two evaluations of the data sets a record. Neither these
    nor the one forward of the first running statistics are counted in the records.
    """
    recipe = prepare(
        Recipe(
            objective, data, estimator, optimizer, steps, batch, seed, record_every, loss_examples,
            augment, start, state, watch, rng,
        )
    )  # fmt: skip
    checkpoint_every = check_call(pool, progress, path, checkpoint_every, resume)

    def tell(records, step):
        if progress is not None:
            progress(step, records[0]["train_loss"][-1])

    (outcome,) = train(Group((recipe,)), pool, path, checkpoint_every, resume, tell)
    if isinstance(outcome, Diverged):
        raise outcome
    return outcome


@told
def fit_many(
    objective: Objective,
    data: Dataset,
    estimator: Estimator,
    pairs: Sequence[tuple[Optimizer, int]],
    *,
    start: Array | list[Array] | None = None,
    state: Arrays | list[Arrays] | None = None,
    watch: dict[str, Callable] | list[dict[str, Callable]] | None = None,
    workers: int = 1,
    path: FilePath | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: Callable | None = None,
    **options: Any,
) -> list[Run | Diverged]:
    """Train with each of several pairs of an optimiser and a seed, as `fit` would.

        theta_s <- optimizer_s(theta_s, G(theta_s; batch_s)),    s = 1, ..., S

    Parameters
    ----------
    objective, data, estimator
        As in `fit`. Runs of an estimator that is not ``rowwise``, as those with a learned gradient
        are not, are trained each for itself.
    pairs : sequence of (optimizer, seed)
        Optimisers from `minizo.optim`, such as one for each learning rate, of one kind or several.
        Neighbours with the same optimiser are updated together.
    start, state, watch
        As in `fit`, for all runs, or a list with one for each.
    workers : int
        Threads; each trains groups of its own. The result does not depend on it.
    path, checkpoint_every, resume
        As in `fit`. Of several runs every group has a checkpoint of its own, with the numbers of
        its first and last run in its name: ``seeds.npz`` becomes ``seeds-0-15.npz``.
    progress : callable, optional
        Called as ``progress(runs)`` after every step of so many runs, by whichever thread took it.
    **options
        As in `fit`: ``steps``, ``batch``, ``record_every``, ``loss_examples``, ``augment`` and
        ``rng``.

    Returns
    -------
    list of Run or Diverged
        In the order of ``pairs``. A run that diverges ends as the error that `fit` would raise, and
        the others go on. ``seconds`` in the records is a row's equal share of the time of those
        that were trained with it.

    Raises
    ------
    InputError
        As in `fit`.

    Notes
    -----
    Cost: that of the runs, with fewer calls; memory: `minizo.group.rows_at_once` runs a worker.

    Examples
    --------
    >>> from minizo import STE, Objective, data, models, optim, quantizers
    >>> digits = data.synthetic_digits(300, 100)
    >>> objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise())
    >>> pairs = [(optim.Adam(lr), seed) for lr in (0.003, 0.01) for seed in range(4)]
    >>> runs = fit_many(objective, digits, STE(), pairs, steps=20)
    >>> len(runs), runs[7].settings["seed"], runs[7].settings["optimizer"][:12]
    (8, 3, 'Adam(lr=0.01')
    """
    pairs = check_pairs(pairs)
    for name in options:
        remedy = f"choose from {', '.join(OPTIONS)}"
        require(name in OPTIONS, "an option of fit_many", name, remedy)
    require("steps" in options, "steps", None, "say how many")
    workers = whole("workers", workers)
    checkpoint_every = check_call(None, progress, path, checkpoint_every, resume)
    owns = for_each(len(pairs), start=start, state=state, watch=watch)
    recipes = [
        prepare(Recipe(objective, data, estimator, rule, seed=seed, **own, **options))
        for (rule, seed), own in zip(pairs, owns, strict=True)
    ]
    lead = recipes[0]

    def train_rows(first, last):
        group, own = Group(tuple(recipes[first : last + 1])), path
        if path is not None and len(pairs) > 1:
            own = Path(path).with_stem(f"{Path(path).stem}-{first}-{last}")

        def tell(records, step):
            if progress is not None:
                progress(group.count)

        return train(group, None, own, checkpoint_every, resume, tell)

    def train_group(rows):
        def some(part):
            return train_rows(rows.start + part.start, rows.start + part.stop - 1)

        key = (lead.objective.network.d, lead.batch)
        found = in_parts(some, rows.stop - rows.start, "runs", data.x_train, key=key)
        return itertools.chain.from_iterable(found)

    rules = (estimator, *(rule for rule, _ in pairs))
    parts = groups(len(pairs), lead.objective.network, data, rules, lead.batch)
    with parallel.one_blas_thread():
        if workers == 1:
            found = list(map(train_group, parts))
        else:
            with ThreadPoolExecutor(workers, thread_name_prefix="minizo") as executor:
                found = list(executor.map(train_group, parts))
    return list(itertools.chain.from_iterable(found))


OPTIONS = ("steps", "batch", "record_every", "loss_examples", "augment", "rng")


def check_pairs(pairs):
    """``pairs`` as a tuple of (optimizer, seed), at least one; or an `InputError`."""
    remedy = "it must be a list of (optimizer, seed), such as [(Adam(0.01), s) for s in range(3)]"
    require(isinstance(pairs, Iterable), "pairs", pairs, remedy)
    pairs = tuple(pairs)
    for pair in pairs:
        require(isinstance(pair, tuple | list) and len(pair) == 2, "a pair", pair, remedy)
    require(len(pairs) > 0, "pairs", pairs, "at least one is needed")
    return pairs


def for_each(count, **given):
    """Values that are for all of so many runs, or lists with one for each, as a dict a run."""
    for name, value in given.items():
        given[name] = value if isinstance(value, list | tuple) else [value] * count
        remedy = f"give one for all runs, or a list of {count}"
        require(len(given[name]) == count, f"{name}'s length", len(given[name]), remedy)
    return [dict(zip(given, own, strict=True)) for own in zip(*given.values(), strict=True)]
