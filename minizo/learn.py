"""``python -m minizo.learn``: the course, what builds on what, and its notebooks beside you."""

import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import run

from . import exercises, report
from .commands import Parser, guarded
from .commands.shell import notice
from .course import LESSONS
from .errors import require
from .files import make_folder, write_atomically

DESCRIPTION = """\
Print the course, notebook by notebook, with what each builds on; copy the notebooks into a folder
of yours, where you may write in them; and open them in JupyterLab, if that is installed. Notebooks
that are there already stay as you left them."""


def folder():
    """The folder with the notebooks: in the package where it is installed, or in the clone."""
    inside = Path(__file__).parent / "notebooks"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "notebooks"


def table():
    """The lessons as text: the question of each, what it builds on, how many exercises it has.

    >>> print(table().splitlines()[3])
     1  What does each estimator see on a loss made of steps?                         0          8
    """
    rows = []
    for number, lesson in LESSONS.items():
        needs = ", ".join(map(str, lesson.needs)) or "-"
        count = len(exercises.of_notebook(str(number)))
        rows.append([f"{number:2}  {lesson.question}", needs, count])
    return report.table(["notebook", "builds on", "exercises"], rows)


def copy(target):
    """Copy the notebooks into ``target``; those that are there already stay as they are.

    Returns (copied, kept): how many.
    """
    target, copied, kept = make_folder(target), 0, 0
    for path in sorted(folder().glob("*.ipynb")):
        if (target / path.name).exists():
            kept += 1
            continue
        content = path.read_bytes()
        write_atomically(target / path.name, lambda file, content=content: file.write(content))
        copied += 1
    return copied, kept


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = Parser(prog="python -m minizo.learn", description=DESCRIPTION)
    parser.add_argument("folder", nargs="?", default="minizo-course", metavar="FOLDER",
                        help="where the notebooks go (default: minizo-course)")  # fmt: skip
    parser.add_argument("--no-open", action="store_true", help="do not start JupyterLab")
    return guarded(lambda: learn(parser.parse_args(argv)))


def learn(args):
    """Print the course, copy its notebooks, and open them where JupyterLab is installed."""
    remedy = "name one, such as minizo-course"
    require(args.folder.strip() != "", "FOLDER", args.folder, remedy)
    copied, kept = copy(args.folder)
    print(table())
    print(f"\n{copied} notebooks copied to {args.folder}" + f", {kept} were there" * (kept > 0))
    if find_spec("jupyterlab") is None:
        print("To open them: pip install jupyter, then jupyter lab " + args.folder)
    elif not args.no_open:
        notice("JupyterLab starts; Ctrl-C twice ends it")
        return run([sys.executable, "-m", "jupyterlab", args.folder], check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
