"""``python -m minizo.bench NAME``: run a benchmark, print its table, keep its record."""

import json
import sys

from ..commands import Parser, guarded
from ..commands.completion import offer
from ..errors import InputError, choose
from ..files import make_place, write_text
from . import cnn, hypernets, scaling, spsa, step, steps, sweep, text

# Each has run(rounds, ...) -> record, show(record) -> text, and QUICK, arguments of a short run;
# some have picture(record) -> figure.
BENCHMARKS = {
    "step": step,
    "steps": steps,
    "cnn": cnn,
    "spsa": spsa,
    "scaling": scaling,
    "hypernets": hypernets,
    "sweep": sweep,
    "text": text,
}


def main(argv=None):
    """Run the command; returns its exit code."""
    parser = Parser(
        prog="python -m minizo.bench",
        description="Time minizo beside PyTorch, in one run on one machine; ratios are what "
        "counts. Without PyTorch the comparison is left out.",
    )
    name = parser.add_argument(
        "name",
        metavar="NAME",
        help="step: one training step of an MLP; cnn: of the LeNet and ResNet-20; spsa: one n-SPSA "
        "gradient with n = d; scaling: how its cost grows with n and d; hypernets: the selective "
        "scan, and steps with learned gradients; sweep: 32 seeds trained together and one by one; "
        "steps: of three networks by four methods, beside what they must cost at least; text: of a "
        "LLaMA and a vision transformer",
    )
    offer(name, BENCHMARKS)
    parser.add_argument(
        "--rounds",
        type=int,
        help="measurements of each (default: step 30, cnn, steps and text 10, spsa and hypernets "
        "5, scaling 3, sweep 1)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--json", action="store_true", help="print the record, not the table")
    parser.add_argument("--out", metavar="FILE", help="also write the record to this file")
    parser.add_argument("--picture", metavar="FILE", help="scaling, steps: also draw it, as PNG")

    def command():
        arguments = parser.parse_args(argv)
        rounds, bench = arguments.rounds, choose("benchmark", arguments.name, BENCHMARKS)
        if rounds is not None and rounds < 1:
            raise InputError(f"--rounds is {rounds}, but it must be at least 1")
        if arguments.picture and not hasattr(bench, "picture"):
            raise InputError(
                f"--picture: {arguments.name} draws nothing; only scaling and steps do"
            )
        for flag in ("out", "picture"):
            if getattr(arguments, flag):
                make_place(getattr(arguments, flag), f"--{flag}")
        options = dict(bench.QUICK) if arguments.quick else {}
        if rounds is not None:
            options["rounds"] = rounds
        record = bench.run(**options)
        if arguments.out:
            write_text(arguments.out, json.dumps(record, indent=1) + "\n")
        if arguments.picture:
            from ..figures import save

            save(bench.picture(record), arguments.picture)
        print(json.dumps(record) if arguments.json else bench.show(record))
        return 0

    return guarded(command)


if __name__ == "__main__":
    sys.exit(main())
