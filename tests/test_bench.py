"""``python -m minizo.bench``: it measures what it says, with and without PyTorch."""

import json

import pytest

from minizo.bench import __main__ as bench
from minizo.bench import rivals, step


def test_bench_without_pytorch(monkeypatch, capsys):
    """Both tables, the floor, and a sentence in the place of the comparison."""
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
    with pytest.raises(SystemExit) as stop:
        bench.main(["stepp"])
    assert stop.value.code == 2
    assert bench.main(["step", "--rounds", "0"]) == 2
    assert "--rounds is 0" in capsys.readouterr().err
