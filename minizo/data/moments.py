"""Mean and deviation behind the name of a data set: ``"cifar100:mean=.5,std=.25/.25/.5"``."""

import os
import re

from ..errors import InputError

KEYS = ("mean", "std")
# name : or , then mean= or std=, to the end
_SPLIT = re.compile(r"(?P<name>.+?)[:,](?P<given>(?:mean|std)=.*)", re.S)


def split(name):
    """Return the name without its moments, and these: one number, or one for each channel.

    A folder of that very name is one.

    Raises
    ------
    InputError
        If what stands behind the name cannot be read.

    Examples
    --------
    >>> split("cifar100:coarse,mean=.5,std=.25/.25/.5")
    ('cifar100:coarse', {'mean': 0.5, 'std': (0.25, 0.25, 0.5)})
    >>> split("mnist")
    ('mnist', {})
    """
    found = None if os.path.exists(name) else _SPLIT.fullmatch(os.fspath(name))
    if found is None:
        return name, {}
    moments = {}
    for item in found["given"].split(","):
        key, _, value = item.partition("=")
        try:
            numbers = tuple(map(float, value.split("/")))
        except ValueError:
            numbers = ()
        if key not in KEYS or key in moments or not numbers:
            raise InputError(
                f"data set {str(name)!r} ends in {item!r}, but what follows a name is mean=M and "
                "std=S, once each: a number, or one for each channel, as in cifar100:mean=.5,"
                "std=.25/.25/.5"
            )
        moments[key] = numbers if len(numbers) > 1 else numbers[0]
    return found["name"], moments
