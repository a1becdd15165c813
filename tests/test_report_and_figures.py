"""Tables and pictures: what stands in them is what was measured."""

import math

import pytest

from minizo import InputError, figures, report
from minizo.commands.running import results_table
from minizo.data import synthetic_digits

RECORDS = {
    "step": [0, 10, 20],
    "macs": [0, 100, 200],
    "train_loss": [2.0, 1.0, 0.5],
}
HIGHER = RECORDS | {"train_loss": [2.0, 1.4, 0.7]}


def test_table_is_aligned():
    lines = report.table(["name", "x"], [["a", 1], ["longer", 22]]).splitlines()
    assert lines == ["name     x", "------  --", "a        1", "longer  22"]


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (999_999, "1.00 M"), (21e9, "21.0 G")],
)
def test_engineering(value, text):
    assert report.engineering(value) == text


def test_training_figure_shows_the_mean_of_the_seeds():
    figure = figures.training([("STE", RECORDS), ("STE", HIGHER), ("SPSA", RECORDS)], "toy data")
    left, right = figure.axes
    assert figure.get_suptitle() == "toy data"
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["STE", "SPSA"]
    assert left.get_lines()[0].get_ydata().tolist() == [2.0, 1.2, 0.6]
    assert right.get_lines()[0].get_xdata().tolist() == [100, 200]  # no 0 on a log axis
    assert left.get_xlabel() and right.get_xlabel() and left.get_ylabel()


def test_styles_are_told_apart_without_colour():
    """Colour, and also marker and line style together, differ from curve to curve."""
    assert len({style["color"] for style in figures.STYLES}) == len(figures.STYLES)
    grey = {(style["marker"], style["linestyle"]) for style in figures.STYLES}
    assert len(grey) == len(figures.STYLES)


def test_figures_are_written_whole_or_not_at_all(tmp_path):
    figure = figures.training([("STE", RECORDS)], "toy")
    figures.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot write"):
        figures.save(figure, tmp_path / "absent" / "a.png")


def test_results_table_counts_diverged_seeds():
    row = {"train_loss": 0.5, "test_accuracy": 0.9, "forwards": 1200, "backwards": 0,
           "macs": 2e9, "seconds": 1.0, "evaluation_seconds": 3.0}  # fmt: skip
    ste = row | {"label": "STE"}
    results = [ste, ste | {"error": "x"}, {"label": "SPSA", "error": "x"}]
    text = results_table(results, synthetic_digits(10, 10))
    assert "STE (1 of 2 diverged)" in text and "90.00 %" in text and "2.00 G" in text
    assert text.splitlines()[-2].split()[:2] == ["SPSA", "diverged"]
    assert text.splitlines()[-1] == (
        "seconds: of a run's training alone; its evaluation took 3.0 s more, 75 % of the time"
    )
    assert "seconds:" not in results_table(results[2:], synthetic_digits(10, 10))


def test_the_axis_of_losses_is_logarithmic_unless_one_is_0():
    """A loss of 0 has no place on a logarithmic axis, and is at the bottom of a linear one."""
    flat = RECORDS | {"train_loss": [0.0] * len(RECORDS["train_loss"])}
    for records, scale in ((RECORDS, "log"), (flat, "linear")):
        for axes in figures.training([("STE", records)], "toy").axes:
            assert axes.get_yscale() == scale
    assert axes.get_ylim()[0] == 0.0 < axes.get_ylim()[1]


def test_spread_of_numbers_without_end_or_very_large():
    assert report.spread([math.inf, 2.0], 2) == "inf"
    assert report.spread([1e300, 3e300], 2) == "2e+300 +- 1.41e+300"
