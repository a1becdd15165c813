"""``python -m minizo.export RUN``: a run's networks as small files, checked and timed."""

import json
import sys
import time
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from .. import backend, parallel, report
from ..commands import Parser, guarded
from ..commands.cases import build_network, load_data
from ..commands.sources import of_folder
from ..errors import InputError
from ..files import make_folder
from .file import load, require_exportable, save
from .steps import Exported
from .trained import read_run

DESCRIPTION = """\
Export every network of the run folder RUN: packed quantised weights, and, where all layers allow
it, biases and batch normalisation as thresholds of whole numbers; a language model with its
vocabulary. Each file is read back, and its predictions on all test images, or for every token of
the validation part, are compared with those of the network as it was trained."""

EPILOG = """\
Exit codes: 0, 1 if a prediction differs, 2 for bad input."""

HEADERS = ("network", "data", "bits a weight", "bytes", "float32", "ratio", "equal predictions",
           "logits differ by", "ms float", "ms whole")  # fmt: skip
BATCH, OUTPUTS, ROUNDS = 1000, 2**23, 5  # examples, and numbers that a network gives, at once


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = Parser(prog="python -m minizo.export", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("run", metavar="RUN", help="folder that a training command printed")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where the files go (default: the folder export in RUN)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a network, no more"
    )
    return guarded(lambda: command(parser.parse_args(argv)))


def command(arguments):
    """Export, compare, print; returns the exit code."""
    settings = of_folder(arguments.run)
    data = load_data(settings, progress=not arguments.json)
    found = read_run(arguments.run, build_network(settings, data, *settings.init_scale))
    for path in sorted(Path(arguments.run).glob("*.npz")):
        if path.stem not in found:
            print(f"minizo: {path} did not come to its end; it is left out", file=sys.stderr)
    folder = Path(arguments.out or Path(arguments.run) / "export")
    if (folder / "settings.json").exists():
        raise InputError(
            f"--out {folder} is a run folder, whose checkpoints the exports would replace; name "
            "another one"
        )
    for trained in found.values():
        require_exportable(trained.network)
    make_folder(folder, "--out")
    rows = [compare(name, trained, data, folder) for name, trained in found.items()]
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(show(rows))
        print(f"\nfiles: {folder}")
    return 0 if all(row["equal"] == asked(row) for row in rows) else 1


def as_bytes(images):
    """Images of bytes / 255 as the bytes they were made of; ``None`` if they are others."""
    x = backend.to_numpy(images)
    if x.size and not (0.0 <= x.min() and x.max() <= 1.0):
        return None
    found = np.rint(255 * x).astype(np.uint8)
    return found if np.array_equal(np.divide(found, 255, dtype=x.dtype), x) else None


def compare(name, trained, data, folder):
    """Export one network to ``folder/name.npz``, read it back, and measure: a flat record."""
    x, images = data.x_test, None if data.tokens else as_bytes(data.x_test)
    path = folder / f"{name}.npz"
    save(path, trained, pixels=images is not None, text=data if data.tokens else None)
    exported = load(path)
    whole = isinstance(exported, Exported)
    inputs = images if whole and images is not None else x
    batch = max(1, min(BATCH, OUTPUTS // prod(trained.network.output_shape)))
    equal, largest, difference = 0, 0.0, 0.0
    with parallel.one_blas_thread():
        for start in range(0, x.shape[0], batch):
            theirs = trained.outputs(x[start : start + batch])
            ours = exported.outputs(inputs[start : start + batch])
            equal += int(np.sum(ours.argmax(axis=-1) == theirs.argmax(axis=-1)))
            largest = max(largest, float(np.max(np.abs(theirs))))
            difference = max(difference, float(np.max(np.abs(ours - theirs))))
        float_ms = milliseconds(lambda: trained.outputs(x[:batch]), x[:batch])
        whole_ms = None
        if whole:
            whole_ms = milliseconds(lambda: exported.outputs(inputs[:batch]), x[:batch])
    size, float_size = path.stat().st_size, float_bytes(trained)
    thresholds, close = exported.thresholds if whole else (0, 0)
    return {
        "network": name,
        "data": data.name,
        "file": str(path),
        "bits": exported.bits,
        "bytes": size,
        "float_bytes": float_size,
        "ratio": float_size / size,
        "tokens" if data.tokens else "images": data.y_test.size,
        "equal": equal,
        "largest_difference": difference,
        "largest_output": largest,
        "thresholds": thresholds,
        "close": close,
        "float_ms": float_ms,
        "whole_ms": whole_ms,
    }


def asked(row):
    """How many predictions were compared."""
    return row.get("tokens", row.get("images"))


def float_bytes(trained):
    """Size of a plain .npz with the same parameters and running statistics in float32."""
    file = BytesIO()
    arrays = {**trained.weights, **trained.running}
    np.savez(file, **{name: value.astype(np.float32) for name, value in arrays.items()})
    return len(file.getvalue())


def milliseconds(function, images):
    """Processor time for 1,000 images, the least of `ROUNDS` calls: other programs do not count."""
    function()
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return 1e6 * min(times) / images.shape[0]


def show(rows):
    """The records as a table, and what its columns mean."""
    table = [
        [
            row["network"], row["data"], f"{row['bits']:.3g}", f"{row['bytes']:,}",
            f"{row['float_bytes']:,}", f"{row['ratio']:.1f}",
            f"{row['equal']:,} of {asked(row):,}", f"{row['largest_difference']:.1e}",
            f"{row['float_ms']:.1f}", f"{row['whole_ms'] or 0:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    used = len(HEADERS) - (rows[0]["whole_ms"] is None)
    lines = [report.table(HEADERS[:used], [line[:used] for line in table]), ""]
    for row in rows:
        if row["thresholds"]:
            lines.append(
                f"{row['network']}: {row['thresholds']:,} thresholds of whole numbers, at "
                f"{row['close']:,} of which rounding in training could have decided otherwise"
            )
    text = "tokens" in rows[0]
    examples = "sequences" if text else "images"
    lines.append("float32: bytes of the same numbers as a plain .npz")
    if text:
        lines.append(
            "equal predictions: the likeliest next token at every place of the validation part"
        )
    lines.append(
        f"ms: processor time for 1,000 {examples}, one thread, the least of {ROUNDS}; float takes "
        f"real {examples}, whole the bytes they were made of, where they were"
        if rows[0]["whole_ms"] is not None
        else f"ms: processor time for 1,000 {examples}, one thread, the least of {ROUNDS}, of the "
        "trained network; the layers and weights in the file are the same"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
