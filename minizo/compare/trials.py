"""The runs of a comparison: made once, kept in a folder, found there again.

Runs that differ in optimiser and seed alone are trained together (`minizo.fit_many`). Each such
list leaves one JSON file of records when it has ended, and checkpoints until then, so that a
comparison which is stopped goes on with the same bits.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

from ..files import write_text
from ..fitting import fit_many
from ..inputs import prepare
from ..recipe import Recipe
from ..records import COLUMNS, Diverged


class Trials:
    """What trains the runs of a comparison.

    Parameters
    ----------
    data : Dataset
    options : dict
        Of `minizo.fit_many`: ``batch``, ``loss_examples``, ``augment``, ``rng``.
    records : int
        Records a run.
    folder : Path or None
        Where they are kept; ``None`` keeps nothing.
    workers : int
        Threads; the results do not depend on it.
    tick : callable
        Called as ``tick(group, runs)`` after every step of so many runs of a group of a case.
    """

    def __init__(self, data, options, records, folder, workers, tick):
        self.data, self.options, self.records = data, options, records
        self.folder, self.workers, self.tick = folder, workers, tick

    def outcomes(self, name, group, candidates, seeds, steps):
        """What becomes of every candidate with every seed.

        Parameters
        ----------
        name : str
            Of the file.
        group : int
            For ``tick``.
        candidates : list of Candidate
            With the same estimator and objective.
        seeds : sequence of int
        steps : int

        Returns
        -------
        list of list of dict
            Of each candidate, of each seed: ``records`` by column, or the ``error`` with which it
            diverged.
        """
        lead = candidates[0]
        pairs = [(candidate.optimizer, seed) for candidate in candidates for seed in seeds]
        options = self.options | {"record_every": max(1, steps // self.records)}
        place = None if self.folder is None else self.folder / f"{name}.json"
        made = None if place is None else made_of(lead, self.data, pairs, steps, options)
        found = None if place is None else read(place, made, len(pairs))
        if found is None:
            path = None if place is None else place.with_suffix(".npz")
            ends = fit_many(
                lead.objective, self.data, lead.estimator, pairs, steps=steps,
                workers=self.workers, path=path, resume=path is not None,
                checkpoint_every=max(1, steps // 10), progress=partial(self.tick, group), **options,
            )  # fmt: skip
            found = [
                {"error": str(end)} if isinstance(end, Diverged) else {"records": end.records}
                for end in ends
            ]
            if place is not None:
                write_text(place, json.dumps({"made_of": made, "runs": found}) + "\n")
                for checkpoint in place.parent.glob(f"{place.stem}*.npz"):
                    checkpoint.unlink()
        count = len(seeds)
        return [found[i : i + count] for i in range(0, len(found), count)]


def made_of(candidate, data, pairs, steps, options):
    """SHA-256 over everything that determines the runs of some (optimizer, seed) pairs."""
    words = [
        prepare(
            Recipe(candidate.objective, data, candidate.estimator, optimizer, steps, seed=seed,
                   **options)
        ).settings()
        for optimizer, seed in pairs
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def read(path, made, count):
    """The runs in the file at ``path`` if it is whole and ``made`` of the same; else ``None``."""
    try:
        kept = json.loads(Path(path).read_text())
        whole = kept["made_of"] == made and len(kept["runs"]) == count
        ended = all(
            "error" in run or all(run["records"][c] for c in COLUMNS) for run in kept["runs"]
        )
        return kept["runs"] if whole and ended else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
