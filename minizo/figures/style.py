"""What all pictures share: styles that everybody can tell apart, and writing a file."""

import io

from ..files import write_atomically

# Okabe and Ito's colours, then three of Tol's, told apart by readers of every colour vision; with a
# marker and a line style of its own, a curve is also told apart in grey.
STYLES = tuple(
    dict(color=color, marker=marker, linestyle=line)
    for color, marker, line in (
        ("#0072B2", "o", "-"),
        ("#E69F00", "v", "--"),
        ("#D55E00", "^", "--"),
        ("#56B4E9", "s", "-."),
        ("#009E73", "D", "-"),
        ("#CC79A7", "P", ":"),
        ("#000000", "X", "-."),
        ("#882255", "<", "-"),
        ("#999933", ">", "--"),
        ("#777777", "h", ":"),
    )
)


def endless(items):
    """The items, again and again."""
    while True:
        yield from items


def save(figure, path):
    """Write ``figure`` to ``path`` as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))
