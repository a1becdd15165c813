"""``python -m minizo.bench``: it measures what it says, with and without PyTorch."""

import json

import numpy as np
import pytest

from minizo import FSG, SPSA, STE, Estimate
from minizo.bench import __main__ as bench
from minizo.bench import (
    cnn,
    hypernets,
    rival_scan,
    rivals,
    scaling,
    spsa,
    step,
    steps,
    sweep,
    text,
    timing,
)
from minizo.data import synthetic_digits


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Measurements that are there, and soon over."""
    monkeypatch.setattr(timing, "LEAST", 0.002)
    monkeypatch.setattr(timing, "SETTLE", 0.0)


TINY_SPSA = {
    "rounds": 2, "n": 70, "hidden": 1, "memory": (3, 70), "screen": 10, "chunks": (4, 8)
}  # fmt: skip
TINY_SCALING = {"rounds": 2, "directions": (1, 3, 70), "hidden": (1, 2), "fixed": 3}


def test_bench_without_pytorch(monkeypatch, capsys):
    """Both tables, the floor, and a sentence in place of the comparison."""
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    assert bench.main(["step", "--rounds", "2"]) == 0
    out = capsys.readouterr().out
    assert "One STE step" in out and "n = 100" in out and "floor" in out
    assert out.count("PyTorch is not installed") == 2


def test_bench_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    path = tmp_path / "record.json"
    assert bench.main(["step", "--rounds", "2", "--json", "--out", str(path)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads(path.read_text())
    assert len(record["ste"]["minizo"]) == 2 and "cores" in record["machine"]["cpu"]


def test_comparison_names_the_best_rival():
    """The ratio is against the faster of PyTorch's ways, not the slower."""
    record = {
        "n": 1,
        "machine": {"cpu": "x"},
        "ste": {"minizo": [1.0], "PyTorch eager": [4.0], "PyTorch eager, fused": [2.0]},
        "spsa": {"minizo": [1.0], "floor": [0.1]},
    }
    assert "minizo / best of PyTorch (PyTorch eager, fused): 0.50" in step.show(record)


def test_bad_input(capsys):
    assert bench.main(["stepp"]) == 2
    assert "unknown name 'stepp'; did you mean 'step'?" in capsys.readouterr().err
    assert bench.main(["step", "--rounds", "0"]) == 2
    assert "--rounds is 0" in capsys.readouterr().err
    assert bench.main(["spsa", "--picture", "x.png"]) == 2
    assert "only scaling and steps do" in capsys.readouterr().err


def test_measurements_take_turns():
    """A B A B after a warm-up of each; without one, nothing is run that is not counted."""
    order = []
    work = {name: lambda name=name: order.append(name) for name in "AB"}
    seconds = timing.in_turn(work, rounds=2, least=0.0)
    assert "".join(order) == "AABB" + "ABAB"
    assert [len(values) for values in seconds.values()] == [2, 2]
    order.clear()
    timing.in_turn(work, rounds=1, least=9.0, warm_up=False)
    assert "".join(order) == "AB"


# spsa


def test_spsa_without_pytorch(monkeypatch, tmp_path, capsys):
    """Times, floor, memory, and the record in the file; d = 795 hidden + 10."""
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    monkeypatch.setattr(spsa, "QUICK", TINY_SPSA)
    path = tmp_path / "record.json"
    assert bench.main(["spsa", "--quick", "--out", str(path)]) == 0
    out, record = capsys.readouterr().out, json.loads(path.read_text())
    assert record["n"] == 70 and record["d"] == 805
    assert all(len(seconds) == 2 for seconds in record["seconds"].values())
    assert all(mib is None or 0 <= mib < 256 for mib in record["memory"].values())
    assert "PyTorch is not installed" in out and "n = 70, d = 805" in out
    assert "minizo / matrix products (minizo, 1 worker)" in out
    assert "peak extra memory, n = 3:" in out


@pytest.mark.torch
def test_spsa_beside_pytorch():
    """The best chunk and all at once, with 1 thread and with all; the loop's time is scaled."""
    pytest.importorskip("torch")
    record = spsa.run(**(TINY_SPSA | {"memory": ()}))
    names = " ".join(record["seconds"])
    assert "torch.func.vmap 70 at a time, 1 thread" in names and "PyTorch loop, 1 thread" in names
    sizes = {name.split()[0] for name in record["screen"]}
    assert sizes == {"4", "8", "10"} and "torch" in record["machine"]
    out = spsa.show(record)
    assert "timed with 10 directions, times 7;" in out and "minizo / best of PyTorch" in out


@pytest.mark.torch
def test_ways_of_pytorch_agree():
    """The same seed, the same gradient: loop, vmap and vmap chunk by chunk, a short last chunk."""
    torch = pytest.importorskip("torch")
    objective, theta, batch = step.problem(hidden=2)
    given = (torch, objective, theta, batch, SPSA().init(objective, theta).eps, 7)
    ways = [
        rivals.spsa_loop(*given),
        rivals.spsa_vmap(*given, None),
        rivals.spsa_chunks(*given, 3),
        rivals.spsa_chunks(*given, 7),
    ]
    found = []
    for work in ways:
        torch.manual_seed(0)
        found.append(work().numpy())
    size = np.max(np.abs(found[0]))
    assert size > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-4 * size)


def test_spsa_ratios():
    """Ours with all workers to the fastest rival; the floor with as many threads as workers."""
    seconds = {
        "minizo, 1 worker": [4.0],
        "the matrix products alone, 1 thread": [2.0],
        "minizo, 2 workers": [3.0],
        "the matrix products alone, 2 threads": [1.0],
        "torch.func.vmap 8 at a time, 1 thread": [6.0],
        "PyTorch loop, 2 threads": [30.0],
    }
    sizes = {"n": 10, "d": 5, "screened_with": 5, "screen": {}, "memory": {"10": 1.5, "20": None}}
    out = spsa.show({"machine": {"cpu": "x"}, "seconds": seconds, **sizes})
    assert "(minizo, 2 workers / torch.func.vmap 8 at a time, 1 thread): 0.50 " in out
    assert "products (minizo, 1 worker): 2.00 " in out
    assert "products (minizo, 2 workers): 3.00 " in out
    assert "n = 10: 2 MiB" in out and "n = 20: not measured" in out


@pytest.mark.skipif(spsa.resident("VmRSS") is None, reason="needs /proc")
def test_memory_is_measured():
    """A wider network needs more; a process inherits nothing from the peak of this one."""
    ballast = np.ones(2**24)  # 128 MiB
    narrow, wide = (spsa.measured_alone(2, hidden, 1) for hidden in (1, 1000))
    assert 0 <= narrow < 30 and narrow + 3 * 795_000 * 4 / 2**20 < wide < 100
    del ballast


# scaling


def test_scaling(monkeypatch, tmp_path, capsys):
    """Every size with every number of workers; tables, record and picture."""
    monkeypatch.setattr(scaling, "QUICK", TINY_SCALING | {"workers": (1, 2)})
    monkeypatch.setattr(scaling, "ONCE", 70)
    record, picture = tmp_path / "record.json", tmp_path / "scaling.png"
    flags = ["--quick", "--out", str(record), "--picture", str(picture)]
    assert bench.main(["scaling", *flags]) == 0
    out, record = capsys.readouterr().out, json.loads(record.read_text())
    sizes = [(p["axis"], p["n"], p["d"]) for p in record["points"]]
    assert sizes == [
        ("n", 1, 7960), ("n", 3, 7960), ("n", 70, 7960), ("d", 3, 805), ("d", 3, 1600)
    ]  # fmt: skip
    assert [len(p["floor"]["2"]) for p in record["points"]] == [2, 2, 1, 2, 2]
    assert "us a direction" in out and out.count("7,960") == 6
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_scaling_picture():
    """A line a number of workers, and the ideal one through the last point of the first."""

    def point(axis, n, d, one, two):
        return {"axis": axis, "n": n, "d": d, "seconds": {"1": [one], "2": [two]}}

    points = [point("n", 1, 5, 2, 3), point("n", 10, 5, 8, 4), point("d", 9, 7, 1, 1)]
    left, right = scaling.picture({"workers": [1, 2], "points": points}).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[2, 8], [3, 4], [0.8, 8]]
    assert [line.get_label() for line in right.lines] == [
        "1 worker", "2 workers", "proportional to d"
    ]  # fmt: skip
    assert left.get_xscale() == left.get_yscale() == "log"


# text


def test_text_beside_pytorch():
    """One small network: every candidate timed, both memories, the ratios with their bars."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    record = text.run(rounds=1, names=("small",), n=2)
    found = record["networks"]["small"]
    assert set(found["seconds"]) == {"minizo, STE", "minizo, FOGZO n=1", "PyTorch eager, STE"}
    assert all(seconds > 0 for values in found["seconds"].values() for seconds in values)
    shown = text.show(record)
    for words in ("FOGZO n=1 / STE", "minizo / PyTorch eager", "minizo / vmap", "peak memory"):
        assert words in shown


def test_text_without_pytorch(monkeypatch):
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    monkeypatch.setattr(text, "measured_alone", lambda side, name: None)
    shown = text.show(text.run(rounds=1, names=("small",), n=2))
    assert "PyTorch is not installed" in shown and "not measured here" in shown


# cnn


def test_cnn_without_pytorch(monkeypatch, tmp_path, capsys):
    """Times with one thread and with all, and the memory; a sentence in the comparison's place."""
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    monkeypatch.setattr(cnn, "QUICK", {"rounds": 1, "names": ("lenet",)})
    path = tmp_path / "record.json"
    assert bench.main(["cnn", "--quick", "--out", str(path)]) == 0
    out, record = capsys.readouterr().out, json.loads(path.read_text())
    assert list(record["networks"]) == ["lenet"]
    found = record["networks"]["lenet"]
    assert all(len(seconds) == 1 for seconds in found["seconds"].values())
    assert found["memory"]["minizo"] is None or 0 < found["memory"]["minizo"] < 200
    assert "PyTorch is not installed" in out and "the LeNet, batch 100" in out


@pytest.mark.torch
def test_cnn_beside_pytorch():
    pytest.importorskip("torch")
    record = cnn.run(rounds=1, names=("lenet",))
    names = record["networks"]["lenet"]["seconds"]
    assert {"minizo, 1 thread", "PyTorch eager, 1 thread"} <= set(names)
    assert {"minizo, 8 threads", "PyTorch eager, channels_last, 8 threads"} <= set(names)
    assert "minizo / best of PyTorch" in cnn.show(record)


def test_cnn_ratios():
    """The bar is against plain eager PyTorch; its other order of storage is shown, too."""
    seconds = {
        "minizo, 1 thread": [4.0],
        "minizo, 2 threads": [3.0],
        "PyTorch eager, 1 thread": [8.0],
        "PyTorch eager, 2 threads": [6.0],
        "PyTorch eager, channels_last, 2 threads": [2.0],
    }
    memory = {"minizo": 30.0, "PyTorch": 20.0}
    networks = {"lenet": {"seconds": seconds, "memory": memory}}
    out = cnn.show({"machine": {"cpu": "x"}, "networks": networks})
    assert "(minizo, 2 threads / PyTorch eager, 2 threads): 0.50 (wanted: at most 1.0)" in out
    assert "best of PyTorch (PyTorch eager, channels_last, 2 threads): 1.50" in out
    assert "minizo 30 MiB, PyTorch 20 MiB, ratio 1.50 (wanted: at most 1.5)" in out


# hypernets


def test_scans_of_the_benchmark_agree():
    """What is timed side by side computes the same numbers, PyTorch's too where it is installed."""
    x, dy = hypernets.problem(70, 5, 3, np.float64)
    reference = hypernets.in_chunks(x, dy)
    others = [hypernets.by_steps(x, dy), rival_scan.loop(x, dy)]
    torch = rivals.torch_or_none()
    if torch is not None:
        others += [rival_scan.torch_chunks(torch, x, dy, chunk)() for chunk in (16, 64, 100)]
    for y, dx in others:
        for ours, theirs in zip((reference[0], *reference[1]), (y, *dx), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    y, dx = hypernets.last_read(x, dy)
    dy[: len(dy) - len(y)] = 0.0
    same, reference = hypernets.in_chunks(x, dy)
    np.testing.assert_allclose(y, same[-len(y) :], rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(dx[:4], reference[:4], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    assert len(y) == 11 and not reference.C[:-11].any()


def test_bench_hypernets(monkeypatch):
    """Both tables and the memory, on a tiny problem without PyTorch."""
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    steps = {"STE": STE(), "FSG": FSG(expand=2, states=2, kernel=2, units=2, length=2)}
    record = hypernets.run(rounds=1, length=60, steps=steps, resnet=hypernets.mlp)
    loops = {"minizo, step by step", "a NumPy loop"}
    ours = {"minizo, chunked", "minizo, chunked, forward", "minizo, a sixth read"}
    assert set(record["scan"]) == loops | ours
    assert set(record["resnet"]) == {"STE", "FSG", "its scans alone"}
    assert min(record["resnet"]["its scans alone"]) > 0.0
    text = hypernets.show(json.loads(json.dumps(record)))
    assert "length 60" in text and "600" in text and "FSG" in text and "/ STE" in text
    assert "STE steps (wanted: at most 3)" in text
    del record["resnet"]  # what --quick leaves out
    assert "ResNet-20" not in hypernets.show(record)
    parts = record["profile"]["parts"]
    assert "scan, backward" in text and all(seconds >= 0.0 for seconds in parts.values())
    assert parts["scan, forward"] > 0.0 and parts["rest of Mamba, backward"] > 0.0


# sweep


def test_bench_sweep(monkeypatch):
    """Both ways, on drawn digits: their losses agree, and the record is shown."""
    monkeypatch.setattr(sweep.data, "mnist", lambda: synthetic_digits(200, 50))
    record = sweep.run(runs=3, steps=4, dtype="float64")
    assert record["gap"] < 1e-8
    assert {"one by one", "together, 1 thread"} <= set(record["seconds"])
    text = sweep.show(json.loads(json.dumps(record)))
    assert "3 runs of 4 steps" in text and "float64" in text and "/ one by one" in text


# steps


def test_bench_steps(monkeypatch, tmp_path, capsys):
    """A cell for every method and library, "not measured" where it was not, and a picture."""
    monkeypatch.setattr(rivals, "torch_or_none", lambda: None)
    monkeypatch.setattr(steps, "QUICK", steps.QUICK | {"rounds": 1})
    monkeypatch.setattr(steps, "METHODS", {"STE": STE(), "n-SPSA n=1": SPSA(n=1)})
    monkeypatch.setattr(steps, "SIDE", 64)
    monkeypatch.setattr(steps, "NUMBERS", 2**12)
    record, image = tmp_path / "record.json", tmp_path / "picture.png"
    assert bench.main(["steps", "--quick", "--out", str(record), "--picture", str(image)]) == 0
    out, found = capsys.readouterr().out, json.loads(record.read_text())
    assert image.read_bytes()[:4] == b"\x89PNG"
    assert [cell["library"] for cell in found["cells"]] == [*steps.LIBRARIES, *steps.LIBRARIES[:2]]
    assert out.count("not measured") == sum(cell["seconds"] is None for cell in found["cells"]) >= 2
    assert "load before" in out and "GB/s in a copy" in out
    assert min(steps.floors(found, found["cells"][0])) > 0


def test_costs_of_a_step():
    """STE on 784-10-10: forward and backward products, and the numbers that must be moved."""
    objective, _, batch = steps.problem("784-10-10, batch 100")
    macs, nbytes = steps.cost(objective, batch, Estimate(None, None, 1, 1, macs=5))
    assert macs == 100 * (7940 + 7840 + 2 * 100) + 5
    # flatten gives out 784, then 10, 10, 10; two passes over them forward, two backward
    assert nbytes == 4 * (7 * 7960 + 100 * (784 + 4 * (784 + 30)))


@pytest.mark.torch
def test_steps_beside_pytorch():
    pytest.importorskip("torch")
    record = steps.run(rounds=1, networks=("784-10-10, batch 100",), compiled=False)
    seconds = {(c["method"], c["library"]): c["seconds"] for c in record["cells"]}
    assert len(seconds["STE", "PyTorch eager"]) == 1
    assert seconds["STE", "PyTorch compiled"] is None
