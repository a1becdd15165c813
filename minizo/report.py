"""Tables for people: aligned plain text."""

import math
from statistics import fmean, stdev


def table(headers, rows):
    """Aligned columns: the first to the left, the others to the right.

    >>> print(table(["method", "loss"], [["STE", "0.41"], ["n-SPSA", "1.2"]]))
    method  loss
    ------  ----
    STE     0.41
    n-SPSA   1.2
    """
    cells = [[str(cell) for cell in row] for row in [headers, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    lines = []
    for first, *rest in cells:
        padded = [
            first.ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)),
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def spread(values, digits):
    """Mean, and standard deviation over several seeds: ``0.412 +- 0.018``.

    >>> spread([0.40, 0.42], 3), spread([0.4], 3), spread([1.0, math.inf], 3)
    ('0.410 +- 0.014', '0.400', 'inf')
    """

    def shown(value):
        return f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"

    mean, several = fmean(values), len(values) > 1 and all(map(math.isfinite, values))
    return f"{shown(mean)} +- {shown(stdev(values))}" if several else shown(mean)


def perplexity(loss):
    """exp(loss), infinite where that is no number any more.

    >>> perplexity(0.0), perplexity(1000.0)
    (1.0, inf)
    """
    return math.exp(loss) if loss < 700.0 else math.inf


def engineering(value):
    """Three digits and a prefix.

    >>> engineering(952_800_000), engineering(24_000), engineering(7)
    ('953 M', '24.0 k', '7')
    """
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        scaled = value / 10**power
        if scaled >= 0.9995:
            return f"{scaled:#.3g}".rstrip(".") + f" {prefix}"
    return f"{value:.0f}"
