"""Without data and a network: one notice a command, however many processes and sweeps it has."""

import sys

import pytest

from minizo import STE, cifar, data, mnist, optim, sweep, text
from minizo.data import digits, shapes
from minizo.reproduce import command as shared
from minizo.reproduce import transformers_tasks as tasks

CASES = [
    sweep.Case(STE(), optim.Adam(0.02), seed, steps=3, batch=5 + seed, widths=(5,))
    for seed in (0, 1)
]


@pytest.mark.parametrize("main", [mnist.main, cifar.main, text.main])
def test_one_notice(main, places, command, monkeypatch):
    few = digits.synthetic_digits(100, 50), shapes.synthetic_shapes(100, 50)
    monkeypatch.setattr(data, "synthetic_digits", lambda **options: few[0])
    monkeypatch.setattr(data, "synthetic_shapes", lambda **options: few[1])
    flags = ["--estimator", "ste", "--steps", 1, "--batch", 5, "--seed", 0, 1, "--quiet"]
    code, _, err = command(main, *flags, "--out", "run")
    assert code == 0 and err.count("\n") == err.count("continuing with") == 1


def drawn():
    """What a worker loads, said aloud on both streams, as `minizo.data` does."""
    print("no data: continuing with drawn ones")
    print("no data: continuing with drawn ones", file=sys.stderr, flush=True)
    return digits.synthetic_digits(50, 20)


def test_workers_say_nothing_again(tmp_path, capfd):
    found = sweep.run(CASES, drawn, tmp_path, workers=2, quiet=True)
    assert [record["seed"] for record in found] == [0, 1]
    out, err = capfd.readouterr()
    assert out.count("continuing") == err.count("continuing") == 1


def test_several_sweeps_of_a_command_load_once(tmp_path, capfd):
    flags = ["--folder", str(tmp_path), "--workers", "1", "--quiet"]
    arguments = shared.parser("zoo", "", "3").parse_args(flags)
    run, _ = shared.places(arguments, "zoo")
    for case in CASES:
        assert len(run([case], drawn)) == 1
    assert capfd.readouterr().err.count("continuing") == 1


def test_transformers_load_once(places, capfd):
    """The forecast of the time they take, and every sweep, have the same data."""
    tasks.shakespeare.cache_clear()
    found = [tasks.TASKS["llama"].load() for _ in range(3)]
    tasks.shakespeare.cache_clear()  # other tests may have the real one
    assert found[0] is found[2] and capfd.readouterr().err.count("continuing with") == 1
