"""What all pictures share: looks that everybody can tell apart, and writing a file."""

import io
import textwrap
from collections.abc import Iterable
from itertools import cycle

from ..files import write_atomically
from ..types import Figure, FilePath

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
BLUE, ORANGE, RED, SKY, GREEN, PINK, BLACK = (style["color"] for style in STYLES[:7])

# For pictures of a notebook. They are at most 9 inches wide, and a page of 700 pixels shows them at
# three quarters or more of their size, so that 12 points of text are still 9.
NOTEBOOK: dict = {
    "figure.dpi": 96,
    "figure.figsize": (7.5, 4.2),
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
}

# A method has its own style in every picture: the beginning of a label -> its place in STYLES.
METHODS = {
    "STE": 0,
    "n-SPSA": 1,
    "FOGZO": 2,
    "normalised STE": 3,
    "BinaryConnect": 4,
    "ProxQuant": 5,
    "ProxConnect": 6,
    "FSG": 7,
    "FCGrad": 8,
}
MARKERS = "o^sDv<>PXhp*"


def style() -> None:
    """Let the pictures that follow look like those of the notebooks: their setup, in one line.

    >>> import matplotlib.pyplot as plt
    >>> with plt.rc_context():
    ...     style()
    ...     plt.rcParams["legend.frameon"]
    False
    """
    import matplotlib.pyplot as plt

    plt.rcParams.update(NOTEBOOK)


def styles(labels: Iterable[str]) -> dict[str, dict]:
    """A style for each label: the colour of its method, told apart by shade, marker and line.

    The first variant of a method has the method's own style; what is no method of `METHODS` takes
    the styles that are left.

    >>> found = styles(["STE", "FOGZO n=1", "FOGZO n=10", "mine"])
    >>> [found[label]["marker"] for label in found]
    ['o', '^', 's', 'h']
    """
    labels = list(dict.fromkeys(labels))
    methods = [
        next((m for m in METHODS if f"{label},".startswith((f"{m} ", f"{m},"))), label)
        for label in labels
    ]
    taken = {METHODS[method] for method in methods if method in METHODS}
    # first what belongs to no method, then what belongs to none of the picture's
    places = sorted(set(range(len(STYLES))) - taken, key=lambda p: p in METHODS.values())
    free = cycle(places or [0])
    own = {m: METHODS[m] if m in METHODS else next(free) for m in dict.fromkeys(methods)}
    found = {}
    for index, (label, method) in enumerate(zip(labels, methods, strict=True)):
        style, variant = STYLES[own[method]], methods[:index].count(method)
        if variant:
            marker = MARKERS[(MARKERS.index(style["marker"]) + variant) % len(MARKERS)]
            line = ("-", "--", "-.", ":")[variant % 4]
            style = dict(color=_lighter(style["color"], variant), marker=marker, linestyle=line)
        found[label] = style
    return found


def _lighter(color, steps):
    # towards white, and for odd steps towards black
    shares = (0.0, -0.35, 0.4, -0.6, 0.65, -0.18, 0.2)
    share = shares[steps % len(shares)]
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [p + share * (255 - p) if share > 0 else p * (1 + share) for p in parts]
    return "#" + "".join(f"{round(part):02X}" for part in mixed)


def heading(title, width=95):
    """``title`` in lines that fit over a picture of 10 inches.

    >>> print(heading("a name that is too long, 3 steps", 20))
    a name that is too
    long, 3 steps
    """
    return "\n".join(textwrap.fill(line, width) for line in title.split("\n"))


def png(figure: Figure, dpi: float = 150) -> bytes:
    """``figure`` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def save(figure: Figure, path: FilePath) -> None:
    """Write ``figure`` to ``path`` as PNG, whole or not at all."""
    image = png(figure)
    write_atomically(path, lambda file: file.write(image))
