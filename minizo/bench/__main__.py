"""``python -m minizo.bench NAME``: run a benchmark, print its table, keep its record."""

import argparse
import json
import sys

from .. import cli
from ..files import write_text
from . import step

BENCHMARKS = {"step": step}


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m minizo.bench",
        description="Time minizo beside PyTorch, in one run on one machine; ratios are what "
        "counts. Without PyTorch the comparison is left out.",
    )
    parser.add_argument("name", choices=sorted(BENCHMARKS), help="step: one training step")
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each (default: 30)")
    parser.add_argument("--json", action="store_true", help="print the record, not the table")
    parser.add_argument("--out", metavar="FILE", help="also write the record to this file")
    arguments = parser.parse_args(argv)

    def command():
        if arguments.rounds < 1:
            raise cli.InputError(f"--rounds is {arguments.rounds}, but it must be at least 1")
        bench = BENCHMARKS[arguments.name]
        record = bench.run(rounds=arguments.rounds)
        if arguments.out:
            write_text(arguments.out, json.dumps(record, indent=1) + "\n")
        print(json.dumps(record) if arguments.json else bench.show(record))
        return 0

    return cli.guarded(command)


if __name__ == "__main__":
    sys.exit(main())
