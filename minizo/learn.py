"""``python -m minizo.learn``: the course, what builds on what, and its notebooks beside you."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from subprocess import run

from . import exercises, report
from .commands import Parser, guarded
from .commands.shell import notice
from .errors import require
from .files import make_folder, write_atomically

DESCRIPTION = """\
Print the course, notebook by notebook, with what each builds on; copy the notebooks into a folder
of yours, where you may write in them; and open them in JupyterLab, if that is installed. Notebooks
that are there already stay as you left them."""


@dataclass(frozen=True)
class Lesson:
    """A notebook of the course.

    Parameters
    ----------
    file : str
        Its name, without .ipynb.
    title, question : str
        A few words, and what it answers.
    kind : {"basis", "method", "theory", "practice"}
    needs : tuple of int
        The notebooks that it builds on.
    row : int
        Place in its column of the map, from above.
    """

    file: str
    title: str
    question: str
    kind: str
    needs: tuple = ()
    row: int = 0


LESSONS = {
    0: Lesson("00_backpropagation_by_hand", "Backpropagation by hand",
              "What does a framework do when it differentiates?", "basis", (), 3),
    1: Lesson("01_ste_spsa_fogzo", "STE, n-SPSA, FOGZO",
              "What does each estimator see on a loss made of steps?", "basis", (0,), 3),
    2: Lesson("02_compute_796x", "796 times less?",
              'Where does "796 times less computation" come from, and does it hold?',
              "practice", (1,), 5),
    3: Lesson("03_quantisers_and_surrogates", "Quantisers and surrogates",
              "What do the hand-designed quantisers and surrogates have in common?",
              "method", (1,), 1),
    4: Lesson("04_binary_cnn", "A binary CNN",
              "How does a convolutional network with binary weights learn?", "method", (1,), 0),
    5: Lesson("05_learned_gradients", "Learned gradients",
              "What does a network that generates gradients learn?", "method", (4,), 0),
    6: Lesson("06_proxquant", "ProxQuant",
              "Why do BinaryConnect's signs never rest, and ProxQuant's do?", "method", (3,), 1),
    7: Lesson("07_finite_sample_ste", "How many samples?",
              "How many samples does a straight-through estimator need?", "theory", (1,), 3),
    8: Lesson("08_smoothing_and_bias", "Smoothing and bias",
              "What does a random perturbation smooth?", "theory", (1,), 2),
    9: Lesson("09_numpy_to_cupy", "From NumPy to CuPy",
              "How does one source run on both, and when does a GPU pay?", "practice", (1,), 6),
    10: Lesson("10_write_your_own_estimator", "Write your own rule",
               "Is my own rule better than the STE, and how sure am I?", "practice", (1,), 4),
    11: Lesson("11_attention_in_two_bits", "Attention in two bits",
               "How is a transformer made by hand, and what do two bits cost it?",
               "method", (3,), 2),
}  # fmt: skip


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
