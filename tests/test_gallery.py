"""The gallery: what smoothing a slope implies, and every panel of the picture."""

import csv
from math import pi, sqrt

import numpy as np
import pytest

from minizo import figures, gallery
from minizo.quantizers import QUANTIZERS
from minizo.surrogates import SURROGATES


def test_implied_smoothing_finds_the_table_of_laws():
    """Law and eps of the unit surrogates, and of EDE and RBNN at three stages, to 0.1 %."""
    for name in ("hardtanh", "tanh", "approxsign"):
        s = SURROGATES[name]
        found = gallery.implied(s.derivative)
        assert (found.law, found.eps) == (s.law, pytest.approx(s.epsbar, rel=1e-3))
    for name in ("ede", "rbnn", "rbnn-activation"):
        for progress in (0.0, 0.5, 1.0):
            s = SURROGATES[name].at(progress)
            found = gallery.implied(s.derivative)
            assert (found.law, found.eps) == (s.law, pytest.approx(s.epsbar, rel=1e-3))


def test_slopes_that_imply_no_smoothing():
    """Unbounded or negative ones; and one that is a smoothing by a law of its own."""
    assert gallery.implied(SURROGATES["identity"].derivative).why == "the slope never ends"
    negative = "none: the slope is negative in places"
    assert str(gallery.implied(SURROGATES["swish"].derivative)) == negative
    assert str(gallery.implied(SURROGATES["fda"].at(1.0).derivative)) == negative
    triangle_in_box = gallery.implied(lambda x: (x < 1.0) * (1.5 - x))
    assert triangle_in_box.law == "its own law"
    assert triangle_in_box.eps == pytest.approx(sqrt(0.25), rel=1e-3)


@pytest.fixture(scope="module")
def shown():
    return gallery.gallery()


def test_everything_is_shown(shown):
    """Every surrogate and every quantiser of the command."""
    assert {f"sign, {name}" for name in SURROGATES} <= set(shown)
    kinds = {type(entry.quantizer) for entry in gallery.ENTRIES}
    assert set(QUANTIZERS.values()) <= kinds
    for stages in shown.values():
        for stage in stages:
            assert stage.x.shape == stage.forward.shape == stage.slope.shape == (160,)
            assert np.all(np.isfinite(stage.forward)) and np.all(np.isfinite(stage.slope))


def test_panels_show_what_the_equations_say(shown):
    x = shown["bnn"][0].x
    np.testing.assert_array_equal(shown["bnn"][0].forward, np.sign(x))
    np.testing.assert_allclose(shown["sign, tanh"][0].slope, 1 - np.tanh(x) ** 2)
    m = np.tanh(2.0)
    np.testing.assert_allclose(shown["dorefa, 1 bit"][0].slope, (1 - np.tanh(x) ** 2) / m)
    assert shown["dorefa, 1 bit"][0].smoothing.eps == pytest.approx(pi / sqrt(12), rel=1e-3)
    assert not shown["rbnn, detached"][0].slope.any()
    a = np.abs(x).mean()
    np.testing.assert_allclose(shown["xnor, exact"][0].slope, a * (np.abs(x) <= 1) + 1 / 160)
    assert [stage.progress for stage in shown["irnet"]] == [0.0, 0.5, 1.0]
    assert len(shown["lsq"]) == 1 and shown["lsq"][0].smoothing.eps == pytest.approx(0.5 / sqrt(3))


def test_the_command(tmp_path, capsys):
    """A picture, and a CSV with a line a point; the committed one has the same names."""
    picture, curves = tmp_path / "g.png", tmp_path / "g.csv"
    assert gallery.main(["--picture", str(picture), "--csv", str(curves)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    out = capsys.readouterr().out
    assert "sign, tanh" in out and "logistic, eps 0.907" in out
    with open(curves, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 160 * sum(len(entry.stages) for entry in gallery.ENTRIES)
    assert set(rows[0]) == {"name", "progress", "x", "forward", "pseudo_gradient"}


def test_the_command_makes_its_folders(command, tmp_path, monkeypatch):
    """Without flags it writes into the current folder, with them into folders that it makes."""
    monkeypatch.setattr(gallery, "ENTRIES", gallery.ENTRIES[:1])
    assert command(gallery.main)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.csv", "gallery.png"]
    assert command(gallery.main, "--picture", "new/a/g.png", "--csv", "new/g.csv")[0] == 0
    assert (tmp_path / "new" / "a" / "g.png").exists() and (tmp_path / "new" / "g.csv").exists()


def test_the_picture_of_a_few(shown):
    few = {name: shown[name] for name in ("sign, ede", "quest")}
    figure = figures.gallery(few, "a title")
    assert len(figure.axes) == 12
    assert figure.axes[0].get_title() == "sign, ede"
