"""``python -m minizo.learn``: the course is whole, and its notebooks come beside the reader."""

import sys
from pathlib import Path

import pytest

from minizo import course, exercises, figures, learn

NOTEBOOKS = sorted(Path(learn.folder()).glob("*.ipynb"))


def test_every_notebook_is_a_lesson():
    assert [path.stem for path in NOTEBOOKS] == [lesson.file for lesson in course.LESSONS.values()]
    assert list(exercises.MODULES) == [str(number) for number in course.LESSONS]
    for number, lesson in course.LESSONS.items():
        assert lesson.file.startswith(f"{number:02}_")
        assert all(needed < number for needed in lesson.needs)
        assert lesson.kind in figures.course.__globals__["KINDS"]


def test_the_notebooks_are_copied_and_kept(command, tmp_path, capsys):
    code, out, _ = command(learn.main, tmp_path / "course", "--no-open")
    assert code == 0 and f"{len(NOTEBOOKS)} notebooks copied to {tmp_path / 'course'}" in out
    for path in NOTEBOOKS:
        assert (tmp_path / "course" / path.name).read_bytes() == path.read_bytes()
    mine = tmp_path / "course" / NOTEBOOKS[0].name
    mine.write_text("my answers")
    (tmp_path / "course" / NOTEBOOKS[1].name).unlink()
    code, out, _ = command(learn.main, tmp_path / "course", "--no-open")
    assert code == 0 and "1 notebooks copied" in out and f"{len(NOTEBOOKS) - 1} were there" in out
    assert mine.read_text() == "my answers"


def test_jupyterlab_is_opened_where_there_is_one(command, tmp_path, monkeypatch):
    started = []

    class Done:
        returncode = 0

    monkeypatch.setattr(learn, "find_spec", lambda name: object())
    monkeypatch.setattr(learn, "run", lambda line, check: started.append(line) or Done())
    code, _, err = command(learn.main, tmp_path / "a")
    assert code == 0 and "JupyterLab starts" in err
    assert started == [[sys.executable, "-m", "jupyterlab", str(tmp_path / "a")]]
    monkeypatch.setattr(learn, "find_spec", lambda name: None)
    code, out, err = command(learn.main, tmp_path / "b")
    assert code == 0 and "pip install jupyter" in out and len(started) == 1


def test_a_folder_that_cannot_be_made(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = command(learn.main, tmp_path / "file", "--no-open")
    assert code == 2 and "cannot be made" in err
    code, out, err = command(learn.main, "", "--no-open")
    assert (code, out) == (2, "") and "FOLDER is ''" in err


@pytest.mark.parametrize("here", [None, 0, 5, 11])
def test_the_map_has_every_lesson_apart(here):
    """Boxes do not touch, and every arrow leads to the right."""
    figure = figures.course(here)
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text()]
    assert len(texts) == len(course.LESSONS)
    places = {text.get_position() for text in texts}
    assert len(places) == len(texts)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in texts]
    frames = [patch.get_window_extent() for patch in axes.patches]
    for text in boxes:  # each stands in its frame
        assert any(f.x0 < text.x0 and text.x1 < f.x1 and f.y0 < text.y0 < f.y1 for f in frames)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_map_is_shown_by_a_notebook_without_matplotlib():
    """IPython asks an object for its PNG where it knows no better way."""
    assert figures.course(1)._repr_png_().startswith(b"\x89PNG")
