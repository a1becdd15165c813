"""A comparison as text: what it found, what it cost, and what should make its reader careful."""

import math
import textwrap

from .. import report
from .results import Comparison
from .statistics import CONFIDENCE, FEW, FEWEST, POWER

SAME = 1e-4  # of a loss: what rounding may grow to in a run

EQUALLY = {
    "steps": "At equal steps",
    "compute": "At equal compute (multiply-accumulates)",
    "time": "At equal time (training seconds on this machine)",
}


def text(comparison: Comparison) -> str:
    """The whole report: for each table results, costs, tuning and warnings."""
    head = [comparison.settings["title"], ""] if "title" in comparison.settings else []
    parts = ["\n".join(table_text(comparison, table)) for table in comparison.tables]
    return "\n".join([*head, "\n\n".join(parts), "", *notes(comparison)])


def table_text(comparison, table):
    """One table as lines."""
    lines = [f"{EQUALLY[table.equal]}, {_count(len(comparison.seeds), 'seed')}", ""]
    lines += [report.table(headers(table), [result_cells(table, row) for row in table.rows]), ""]
    lines += [report.table(cost_headers(table), [cost_cells(row) for row in table.rows]), ""]
    if table.equal == "time":
        lines += [pace_text(table), ""]
    if any(len(row.tuning) > 1 for row in table.rows):
        lines += [tuning_text(comparison, table), ""]
    said = [f"! {line}" for line in warnings(table)]
    return lines + said if said else lines[:-1]


def headers(table):
    """Headers of the results."""
    return [table.measure.name, "setting", "mean", "sd", "se", "median", "worst", "diverged",
            f"minus {table.reference}", f"{100 * CONFIDENCE:.0f} % interval", "could show",
            "verdict"]  # fmt: skip


def result_cells(table, row):
    """The line of a case in the results."""
    s, seeds = row.loss, len(row.outcomes)
    if s is None:
        lost = f"{seeds} of {seeds}"
        return [row.label, row.chosen.words, *["-"] * 5, lost, *["-"] * 3, "diverged"]
    lost = f"{s.diverged} of {seeds}" if s.diverged else "0"
    cells = [row.label, row.chosen.words, _three(s.mean), _three(s.deviation), _three(s.error),
             _three(s.median), _three(s.largest), lost]  # fmt: skip
    return [*cells, *difference_cells(row.difference)]


def difference_cells(gap):
    """Mean, interval, smallest difference that could have been shown, and verdict."""
    if gap is None:
        return ["", "", "", "reference"]
    if not gap.values:
        return ["-", "-", "-", "no common seed"]
    within = "-" if gap.interval is None else " .. ".join(_three(x, "+") for x in gap.interval)
    return [_three(gap.mean, "+"), within, _three(gap.smallest), gap.verdict]


COSTS = ["cost of a run", "steps", "forwards", "backwards", "multiply-acc.", "seconds",
         "+ evaluation"]  # fmt: skip
BESIDE = {"test_accuracy": ["test accuracy", "minus reference, points"],
          "test_loss": ["perplexity", "ratio to reference"]}  # fmt: skip


def cost_headers(table):
    """Headers of the costs, and of what is told beside the measure."""
    return [*COSTS, *BESIDE[table.measure.beside]]


def cost_cells(row):
    """The line of a case in the costs, with its test accuracy or its perplexity."""
    if row.loss is None:
        return [row.label, f"{row.steps:,}", *["-"] * 7]
    seconds, evaluation = row.mean("seconds"), row.mean("evaluation_seconds")
    share = evaluation / (seconds + evaluation) if seconds + evaluation else 0.0
    return [
        row.label, f"{row.steps:,}", f"{row.mean('forwards'):,.0f}",
        f"{row.mean('backwards'):,.0f}", report.engineering(row.mean("macs")), f"{seconds:.2f}",
        f"{evaluation:.2f} ({100 * share:.0f} %)", *beside_cells(row),
    ]  # fmt: skip


def beside_cells(row):
    """Test accuracy and its difference in points; or perplexity and its ratio.

        exp(mean_s (a_s - b_s)) = (prod_s exp(a_s) / exp(b_s))^(1/S)

    for losses a_s and b_s of S seeds: the geometric mean of the ratios of their perplexities.
    """
    values = [value for value in row.ends(row.measure.beside) if value is not None]
    gap = row.difference_beside
    if row.measure.beside == "test_accuracy":
        found = report.spread([100.0 * value for value in values], 2) + " %"
        return [found, "" if gap is None else gap.in_words(unit=0.01)]
    found = report.spread(list(map(report.perplexity, values)), 2) if values else "-"
    if gap is None or not gap.values:
        return [found, "" if gap is None else "-"]
    ratio, *ends = (f"{report.perplexity(x):.3f}" for x in (gap.mean, *(gap.interval or ())))
    return [found, f"{ratio} ({' .. '.join(ends)})" if ends else ratio]


def pace_text(table):
    """By which seconds the lengths at equal time were set."""
    paces = ", ".join(f"{row.label} {1e3 * row.pace:.3g} ms" for row in table.rows)
    return "\n".join(textwrap.wrap(f"A step, trained alone, by which time was set: {paces}.", 100))


def tuning_text(comparison, table):
    """Mean training loss over the tuning seeds for every candidate, the chosen one marked."""
    words = list(dict.fromkeys(c.words for row in table.rows for c, _ in row.tuning))
    lines = []
    for row in table.rows:
        found = {candidate.words: loss for candidate, loss in row.tuning}
        cells = []
        for name in words:
            mark = "*" if name == row.chosen.words else " "
            shown = "not tuned" if found.get(name) is None else _three(found[name])
            cells.append("" if name not in found else f"{shown}{mark}")
        lines.append([row.label, *cells])
    first, last = comparison.tuning_seeds[0], comparison.tuning_seeds[-1]
    which = f"seed {first}" if first == last else f"seeds {first} .. {last}"
    what = "tuning" if table.measure.column == "train_loss" else "tuning, training loss"
    return report.table([f"{what} ({which}), * chosen", *(f"{w} " for w in words)], lines)


def warnings(table):
    """Sentences about what should make the reader careful."""
    found = []
    if len(table.rows[0].outcomes) < FEW:
        found.append(f"fewer than {FEW} seeds: intervals, and what could be shown, are uncertain")
    for row in table.rows:
        losses = [loss for _, loss in row.tuning]
        if len(losses) > 1 and min(losses) == math.inf:
            found.append(f"{row.label}: every setting diverged in the tuning; the first was taken")
        for edge in row.edges:
            found.append(f"{row.label}: {edge}; what lies beyond it may be better: widen the grid")
        if row.loss is None:
            found.append(f"{row.label}: every seed diverged at {row.chosen.words}")
            continue
        if row.loss.diverged:
            found.append(
                f"{row.label}: {row.loss.diverged} of {len(row.outcomes)} seeds diverged and are "
                "left out of its differences, which favours it"
            )
        found += _of_budget(table, row)
        if row.difference is not None and row.difference.values:
            if row.difference.interval is None:
                found.append(f"{row.label}: {row.difference.verdict}; give at least {FEWEST} seeds")
            if max(map(abs, row.difference.values)) <= SAME * row.loss.mean:
                found.append(
                    f"{row.label}: equal to {table.reference} in every seed, up to rounding: is it "
                    "the same rule?"
                )
    return found


def _of_budget(table, row):
    # more than the budget by a twentieth, or less by that and a step
    if table.equal != "compute":
        return []
    spent, slack = row.mean("macs"), row.budget / 20.0
    if row.budget - slack - spent / row.steps <= spent <= row.budget + slack:
        return []
    return [
        f"{row.label}: a run took {spent / row.budget:,.1f} times the multiply-accumulates of the "
        "budget: its steps do not cost what the first ones did, or one step costs more"
    ]


def notes(comparison):
    """How to read the numbers, as lines."""
    tuned = any(len(row.tuning) > 1 for table in comparison.tables for row in table.rows)
    chosen = (
        "Settings are chosen by training loss on other seeds than the reported ones."
        if tuned
        else "Each case has one setting: nothing was tuned."
    )
    measure = comparison.tables[0].measure
    held_out = "" if measure.column == "train_loss" else f"Cases are judged by {measure.name}. "
    how = "studentised bootstrap" if len(comparison.seeds) >= FEW else "Student's t"
    return textwrap.wrap(
        f"{chosen} {held_out}Differences are taken seed by seed (same batches, and the same start "
        f"where the networks are the same); intervals: {how} over seeds, not corrected for their "
        "number. Could show: a true difference of this size would have been told from 0 in "
        f"{100 * POWER:.0f} of 100 such comparisons. A lower loss is better. Seconds: of training "
        "alone, a run's share of what was trained together; evaluation took those beside it.",
        100,
    )


def _three(value, sign=""):
    if value is None:
        return "-"
    if value == math.inf:
        return "diverged"
    return f"{value:{sign}.3f}" if abs(value) < 1e4 else f"{value:{sign}.2g}"


def _count(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"
