"""Where training begins: the parameters of a file, given to a network by shape and order.

A file of PyTorch calls its parameters by names of its own, and so does every author. What is the
same in all of them is the order of the layers and the shapes. `load` finds, for every parameter of
a network, the tensor that

    has its *role*   weight, bias, scale, shift, mean or variance,
    has its shape,
    stands behind a matrix of the same shape: a norm belongs to the product in front of it;

    and stands equally far behind that matrix, counted in layers;

and of several such tensors the first goes to the first, the second to the second. So it does not
matter whether a block names its shortcut before or after its body. Nothing else is looked at: two
layers of the same shapes that are swapped in a file, or the layers of another network with the
same shapes in the same order, cannot be noticed. `Start.table` shows who became who.
"""

import math
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from . import backend, checkpoint, export, models, report, torch_files
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


def load(place: FilePath, network: Network, argument: str | None = None) -> Start:
    """The `Start` that a file holds for a network.

    Parameters
    ----------
    place : str or path-like
        A file of ``torch.save``; a checkpoint of a run, or the folder of a run with one; an export
        whose layers are stored as they are.
    network : Network
    argument : str, optional
        What errors begin with, such as ``"--start"``.

    Returns
    -------
    Start
        float32 arrays, or float64 where the file has them; the smaller float16 and bfloat16 become
        float32. A norm that the file has not is new:
        scale 1, shift 0; then there are no running statistics.

    Raises
    ------
    InputError
        If the file cannot be read, holds numbers that are not real, or another network: the
        sentence names the first parameter that is not there, or the tensor that has no place.

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
    try:
        return _load(Path(place), network)
    except InputError as error:
        if argument is None:
            raise
        raise InputError(f"{argument} {error}") from None


def _load(place, network):
    found = {name: _real(place, name, value) for name, value in _arrays(place).items()}
    state = network.init_state(np.empty(0, np.float32))
    wanted = network.layer_shapes | {name: value.shape for name, value in state.items()}
    shapes = {name: value.shape for name, value in found.items()}
    try:
        origins = _matched(wanted, shapes)
    except _OtherError as other:
        remedy = _remedy(network, wanted, shapes)
        raise InputError(f"{place}: holds another network: {other}; {remedy}") from None
    fresh = network.views(network.init(0)) | state
    arrays = {n: found[own] if own else fresh[n] for n, own in origins.items()}
    new = any(not origins[name] for name in state)
    running = None if new else {name: arrays[name] for name in state}
    return Start({name: arrays[name] for name in network.layer_shapes}, running, origins)


def _real(place, name, value):
    # float32, or float64
    if value.dtype.kind != "f":
        raise InputError(
            f"{place}: {name} holds {value.dtype} numbers, and weights are real; give a file of "
            "float16, float32 or float64"
        )
    if not np.isfinite(value).all():
        raise InputError(f"{place}: {name} holds NaN or infinite numbers; give another file")
    return value.astype(np.float32 if value.itemsize <= 4 else np.float64, copy=False)


def _arrays(place):
    # name -> ndarray, in their order
    if place.is_dir():
        inside = sorted(place.glob("*.npz"))
        if len(inside) != 1:
            inside = inside or sorted(p for end in ("pth", "pt") for p in place.glob(f"*.{end}"))
            listed = ", ".join(path.name for path in inside[:8])
            listed += ", ..." if len(inside) > 8 else ""
            remedy = f"name one of them, such as {inside[0]}" if inside else "name a file"
            raise InputError(
                f"{place}: is a folder with "
                f"{f'{len(inside)} files of weights: {listed}' if inside else 'no checkpoints'}; "
                f"{remedy}"
            )
        place = inside[0]
    if not place.exists():
        raise InputError(f"{place}: there is no such file; check the name")
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
    except InputError:
        try:
            found = export.load(path)
        except InputError:
            raise InputError(
                f"{path}: is damaged or not a checkpoint, nor an export, of minizo; give another "
                "file, or copy it again"
            ) from None
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


class _OtherError(Exception):
    """A file holds another network."""


def _matched(wanted, found):
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
                raise _OtherError(f"of tensors like {name} {key[1]} it has {have} that are wanted")
    if left:
        first, more = next(iter(left)), len(left) - 1
        them = f"{first} {found[first]}" + (f" and {more} more of its tensors" if more else "")
        raise _OtherError(f"{them} {'have' if more else 'has'} no place in it")
    return {name: origins[name] for name in _together(wanted)}


def _fits(wanted, found):
    try:
        return bool(_matched(wanted, found))
    except _OtherError:
        return False


def _remedy(network, wanted, found):
    # what to do about another network: by its head, and by how many 3x3 kernels it has
    ours, theirs = (
        [(n.rpartition(".")[0], s[0]) for n, s in shapes.items() if len(s) == 2][-1:]
        for shapes in (network.layer_shapes, found)
    )
    if not (ours and theirs):
        return "choose the model that it was saved from"
    (head, classes), (_, other) = *ours, *theirs
    heads = f"its head has {other} classes, the data {classes}"
    changed = {
        name: (other, *shape[1:]) if name.rpartition(".")[0] == head else shape
        for name, shape in wanted.items()
    }
    if other != classes and _fits(changed, found):
        return f"{heads}: choose data of {other} classes, or another file"
    depth = 1 + sum(shape[2:] == (3, 3) for shape in found.values())
    if f"resnet{depth}" in models.MODELS and len(network.input_shape) == 3:
        model = models.resnet(depth, other, input_shape=network.input_shape)
        state = model.init_state(np.empty(0, np.float32))
        shapes = model.layer_shapes | {name: value.shape for name, value in state.items()}
        if _fits(shapes, found):
            also = f" ({heads})" if other != classes else ""
            return f"it is a ResNet-{depth}, choose --model resnet{depth}{also}"
    return "choose the model that it was saved from"


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
