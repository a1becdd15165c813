"""matplotlib, imported when the first picture is drawn: no ``--help`` has to wait for it."""

from functools import cache

from .looks import png


@cache
def _picture():
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that notebooks show, also before they know matplotlib."""

        def _repr_png_(self):
            return png(self, self.dpi)

    return Picture


def blank(width, height):
    """An empty `matplotlib.figure.Figure` of so many inches."""
    return _picture()(figsize=(width, height), layout="constrained")


def ticker(kind, *args, **options):
    """A locator or formatter of `matplotlib.ticker`, by its name there."""
    import matplotlib.ticker

    return getattr(matplotlib.ticker, kind)(*args, **options)
