"""Where training begins: the parameters of a file, given to a network by shape and order.

A file of PyTorch calls its parameters by names of its own, and so does every author. What is the
same in all of them is the order of the layers and the shapes. `load` finds, for every parameter of
a network, the tensor that

    has its *role*   weight, bias, scale, shift, mean or variance,
    has its shape,
    and stands behind a matrix of the same shape: a norm belongs to the product in front of it;

and of several such tensors the first goes to the first, the second to the second. So it does not
matter whether a block names its shortcut before or after its body.
"""

import math
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from . import backend, checkpoint, export, report, torch_files
from .data.dataset import Dataset
from .errors import InputError
from .network import Network
from .objective import Objective
from .quantizers import FullPrecision
from .records import Run, evaluate
from .types import Array, Arrays, FilePath

FOLDED = export.Exported
ROLES = {"running_mean": "mean", "running_var": "var", "gamma": "scale", "beta": "shift"}
COUNTERS = ("num_batches_tracked",)  # of PyTorch's norms, which no layer here has
NORMS = ("scale", "shift", "mean", "var")  # what may be missing: it is drawn as in a new network


class Start(NamedTuple):
    """Parameters to begin with, and where they come from.

    values : dict of str to ndarray, of the layers, by the names of the network;
    running : dict of str to ndarray, running statistics, or ``None`` where they are not known;
    origins : dict of str to str, name in the network -> name in the file, ``""`` for new ones;
        empty where there is no file.
    """

    values: Arrays
    running: Arrays | None
    origins: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> Self:
        """The latent parameters of a `minizo.Run`; running statistics fit its quantiser alone."""
        return cls(run.objective.network.views(run.theta), None, {})

    def state(self, like: Array) -> Arrays | None:
        """The running statistics in the library and dtype of ``like``, or ``None``."""
        if self.running is None:
            return None
        dtype = backend.numpy_dtype(like)
        return {n: backend.asarray(np.asarray(v, dtype), like) for n, v in self.running.items()}

    def table(self) -> str:
        """Which layer of the network is which of the file, as text."""
        layers = {}
        for name, origin in self.origins.items():
            shown = origin.rpartition(".")[0] if origin else "(new)"
            layers.setdefault(name.rpartition(".")[0], (shown, []))[1].append(name)
        shapes = {n: v.shape for n, v in (self.values | (self.running or {})).items()}
        rows = [
            [layer, origin, " x ".join(map(str, shapes[names[0]]))]
            for layer, (origin, names) in layers.items()
        ]
        return report.table(["layer", "in the file", "shape"], rows)


def load(place: FilePath, network: Network) -> Start:
    """The `Start` that a file holds for a network.

    Parameters
    ----------
    place : str or path-like
        A file of ``torch.save``; a checkpoint of a run, or the folder of a run with one; an export
        whose layers are stored as they are.
    network : Network

    Returns
    -------
    Start
        float32 arrays, or float64 where the file has them. A norm that the file has not is new:
        scale 1, shift 0; then there are no running statistics.

    Raises
    ------
    InputError
        If the file cannot be read, or holds another network: the sentence names the first
        parameter that is not there, or the tensor that has no place.

    Examples
    --------
    >>> import tempfile
    >>> from minizo import STE, Objective, data, fit, models, optim, quantizers
    >>> digits = data.synthetic_digits(100, 50)
    >>> net = models.mlp(784, 10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit(Objective(net, quantizers.FullPrecision()), digits, STE(), optim.SGD(0.1),
    ...               steps=3, path=f"{folder}/full.npz")
    ...     start = load(folder, net)
    >>> print(start.table())
    layer  in the file     shape
    -----  -----------  --------
    fc1            fc1  10 x 784
    >>> bool((start.values["fc1.weight"].reshape(-1) == run.theta[:7840]).all())
    True
    """
    place = Path(place)
    found = dict(_arrays(place))
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise InputError(f"{place}: {name} holds NaN or infinite numbers; give another file")
    state = network.init_state(np.empty(0, np.float32))
    wanted = network.layer_shapes | {name: value.shape for name, value in state.items()}
    origins = _matched(place, wanted, {name: value.shape for name, value in found.items()})
    fresh = network.views(network.init(0)) | state
    arrays = {n: found[own] if own else fresh[n] for n, own in origins.items()}
    new = any(not origins[name] for name in state)
    running = None if new else {name: arrays[name] for name in state}
    return Start({name: arrays[name] for name in network.layer_shapes}, running, origins)


def _arrays(place):
    # name -> ndarray of real numbers, in their order
    if place.is_dir():
        inside = sorted(place.glob("*.npz"))
        if len(inside) != 1:
            listed = ": " + ", ".join(path.name for path in inside[:8]) if inside else ""
            raise InputError(
                f"{place}: is a folder with {len(inside) or 'no'} checkpoints{listed}; name one "
                "file, such as FOLDER/ste.npz"
            )
        place = inside[0]
    if place.suffix == ".npz":
        return _own(place)
    return {
        name: value
        for name, value in torch_files.read(place).items()
        if name.rpartition(".")[2] not in COUNTERS
    }


def _own(path):
    # of a checkpoint, or of an export
    try:
        header, arrays = checkpoint.load(path)
    except InputError as problem:
        try:
            found = export.load(path)
        except InputError:
            raise problem from None
        if isinstance(found, FOLDED):
            raise InputError(
                f"{path}: is an export whose norms are folded into thresholds; start from the "
                "checkpoint that it was made of"
            ) from None
        return found.weights
    if len(header["runs"]) != 1:
        raise InputError(
            f"{path}: holds {len(header['runs'])} runs that were trained together; start from a "
            "run with one seed"
        )
    named = {
        name.removeprefix(part): value
        for part in ("latent.", "state.running.")
        for name, value in arrays.items()
        if name.startswith(part)
    }
    # without what a quantiser learned beside a weight, as fc1.weight.step
    return {name: v for name, v in named.items() if name.rpartition(".")[0] not in named}


# Which tensor is which -------------------------------------------------------------------------


def _keyed(shapes):
    # (role, shape, shape of the last matrix, how many layers behind it) -> names, in order
    heads = {name.rpartition(".")[0] for name, shape in shapes.items() if len(shape) > 1}
    layers = {}
    for name in shapes:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    keyed, matrix, behind = {}, (), 0
    for layer, names in layers.items():
        if layer in heads:
            matrix, behind = next(shapes[n] for n in names if len(shapes[n]) > 1), 0
        else:
            behind += 1
        for name in names:
            last = name.rpartition(".")[2]
            role = ROLES.get(last, last)
            if layer not in heads:
                role = {"weight": "scale", "bias": "shift"}.get(role, role)
            keyed.setdefault((role, shapes[name], matrix, behind), []).append(name)
    return keyed


def _matched(place, wanted, found):
    # name in the network -> name in the file, "" where there is none
    ours, theirs = _keyed(_together(wanted)), _keyed(found)
    origins, left = {}, dict.fromkeys(found)
    for key, names in ours.items():
        there = theirs.get(key, [])
        for i, name in enumerate(names):
            if i < len(there):
                origins[name] = there[i]
                left.pop(there[i])
            elif key[0] in NORMS and not there:
                origins[name] = ""
            else:
                have = f"{len(there)} of the {len(names)}" if there else "none"
                raise InputError(
                    f"{place}: holds another network: of tensors like {name} {key[1]} it has "
                    f"{have} that are wanted; choose the model that it was saved from"
                )
    if left:
        first = next(iter(left))
        raise InputError(
            f"{place}: holds another network: {first} {found[first]} and {len(left) - 1} more of "
            "its tensors have no place in it; choose the model that it was saved from"
        )
    return {name: origins[name] for name in _together(wanted)}


def _together(shapes):
    # running statistics beside the parameters of their layer
    layers = dict.fromkeys(name.rpartition(".")[0] for name in shapes)
    grouped = {layer: [] for layer in layers}
    for name in shapes:
        grouped[name.rpartition(".")[0]].append(name)
    return {name: shapes[name] for names in grouped.values() for name in names}


def accuracy(begin: Start, network: Network, images: Dataset) -> float:
    """Share of test images that a `Start` has right in full precision; NaN without its statistics.

    >>> from minizo import data, models
    >>> net, digits = models.mlp(784, 10), data.synthetic_digits(10, 50)
    >>> accuracy(Start(net.views(net.init(0)), {}, {}), net, digits) < 0.5
    True
    """
    if begin.running is None and network.running:
        return math.nan
    theta, state = network.init(0, images.like, begin.values), begin.state(images.like)
    full = Objective(network, FullPrecision()).calibrate(theta)
    return float(evaluate(full, theta, images.x_test, images.y_test, state)[1])
