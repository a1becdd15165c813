"""matplotlib, imported when the first picture is drawn: no ``--help`` has to wait for it."""


def blank(width, height):
    """An empty `matplotlib.figure.Figure` of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def ticker(kind, *args, **options):
    """A locator or formatter of `matplotlib.ticker`, by its name there."""
    import matplotlib.ticker

    return getattr(matplotlib.ticker, kind)(*args, **options)
