"""``python -m minizo.export RUN``: a run's networks as small files, checked and timed."""

import json
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np

from .. import backend, parallel, report
from ..commands import Parser, guarded
from ..commands.cases import build_network, load_data
from ..commands.settings import of_folder
from ..errors import InputError
from ..files import make_folder
from .file import load, save
from .fold import require_exportable
from .trained import read_run

DESCRIPTION = """\
Export every network of the run folder RUN: packed quantised weights, and biases and batch
normalisation as thresholds of whole numbers. Each file is read back, and its predictions on all
test images are compared with those of the network as it was trained."""

EPILOG = """\
Exit codes: 0, 1 if a prediction differs, 2 for bad input."""

HEADERS = ("network", "data", "bits a weight", "bytes", "float32", "ratio", "equal predictions",
           "logits differ by", "ms float", "ms whole")  # fmt: skip
BATCH, ROUNDS = 1000, 5


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
    return 0 if all(row["equal"] == row["images"] for row in rows) else 1


def as_bytes(images):
    """Images of bytes / 255 as the bytes they were made of; ``None`` if they are others."""
    x = backend.to_numpy(images)
    if x.size and not (0.0 <= x.min() and x.max() <= 1.0):
        return None
    found = np.rint(255 * x).astype(np.uint8)
    return found if np.array_equal(np.divide(found, 255, dtype=x.dtype), x) else None


def compare(name, trained, data, folder):
    """Export one network to ``folder/name.npz``, read it back, and measure: a flat record."""
    x, images = data.x_test, as_bytes(data.x_test)
    path = folder / f"{name}.npz"
    save(path, trained, pixels=images is not None)
    exported = load(path)
    inputs = x if images is None else images
    with parallel.one_blas_thread():
        theirs = np.concatenate(
            [trained.outputs(x[start : start + BATCH]) for start in range(0, x.shape[0], BATCH)]
        )
        ours = exported.outputs(inputs)
        float_ms = milliseconds(lambda: trained.outputs(x[:BATCH]), x[:BATCH])
        whole_ms = milliseconds(lambda: exported.outputs(inputs[:BATCH]), x[:BATCH])
    size, float_size = path.stat().st_size, float_bytes(trained)
    thresholds, close = exported.thresholds
    return {
        "network": name,
        "data": data.name,
        "file": str(path),
        "bits": exported.bits,
        "bytes": size,
        "float_bytes": float_size,
        "ratio": float_size / size,
        "images": x.shape[0],
        "equal": int(np.sum(ours.argmax(axis=-1) == theirs.argmax(axis=-1))),
        "largest_difference": float(np.max(np.abs(ours - theirs))),
        "largest_output": float(np.max(np.abs(theirs))),
        "thresholds": thresholds,
        "close": close,
        "float_ms": float_ms,
        "whole_ms": whole_ms,
    }


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
            f"{row['equal']:,} of {row['images']:,}", f"{row['largest_difference']:.1e}",
            f"{row['float_ms']:.1f}", f"{row['whole_ms']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    lines = [report.table(HEADERS, table), ""]
    for row in rows:
        if row["thresholds"]:
            lines.append(
                f"{row['network']}: {row['thresholds']:,} thresholds of whole numbers, at "
                f"{row['close']:,} of which rounding in training could have decided otherwise"
            )
    lines += [
        "float32: bytes of the same numbers as a plain .npz",
        f"ms: processor time for 1,000 images, one thread, the least of {ROUNDS}; float takes real "
        "images, whole the bytes they were made of, where they were",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
