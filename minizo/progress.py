"""The progress bar of everything that takes long."""


def progress_bar(total, quiet=False, **options):
    """A progress bar over ``total`` units, on standard error.

    It is shown on a terminal, and silent where standard error goes to a file or with ``quiet``;
    ``options`` are tqdm's.
    """
    from tqdm import tqdm  # which is slow to import, and which a library call may not need

    return tqdm(total=total, disable=True if quiet else None, **options)
