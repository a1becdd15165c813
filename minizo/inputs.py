"""What `minizo.fit` is given, looked at before anything is trained."""

from dataclasses import replace

from . import backend
from .contracts import check_part
from .errors import InputError, require
from .layers.stack import shapes_through
from .recipe import Recipe
from .records import COLUMNS, finite
from .rng import SEEDS, SOURCES
from .settings import whole


def prepare(
    objective,
    data,
    estimator,
    optimizer,
    *,
    steps,
    batch=100,
    seed=0,
    record_every=None,
    loss_examples=None,
    augment=None,
    start=None,
    state=None,
    watch=None,
    rng="device",
):
    """The `Recipe` of a run, from what `minizo.fit` is given; or an `InputError`.

    The quantiser scales are set from the first latent parameters where they are not set yet.
    """
    check_parts(objective, estimator, optimizer)
    steps, batch, record_every, loss_examples = check_numbers(
        data, steps, batch, record_every, loss_examples, rng
    )
    seed, watch = check_seed(seed), {} if watch is None else watch
    check_batch(objective.network, batch)
    check_data(objective.network, data)
    check_start(objective.network, data, start, state)
    for name in watch:
        require(name not in COLUMNS, "watch", name, "this column is recorded already; rename it")
    recipe = Recipe(
        objective, data, estimator, optimizer, steps, batch, seed, record_every, loss_examples,
        augment, start, state, watch, rng,
    )  # fmt: skip
    return replace(recipe, objective=objective.calibrate(recipe.first_theta()))


def check_parts(objective, estimator, optimizer):
    """Raise an `InputError` where what a run is made of is a class, a name, or lacks a method."""
    if isinstance(objective, type) or not hasattr(objective, "network"):
        shown = objective.__name__ if isinstance(objective, type) else type(objective).__name__
        raise InputError(
            f"objective is {shown}, but it must be an Objective: Objective(network, quantizer)"
        )
    check_part("estimator", estimator)
    check_part("optimizer", optimizer)


def check_numbers(data, steps, batch, record_every=None, loss_examples=None, rng="device"):
    """(steps, batch, record_every, loss_examples) as Python numbers, or an `InputError`.

    Without ``record_every`` there are 20 records a run.
    """
    n = data.y_train.shape[0]
    steps, batch = whole("steps", steps), whole("batch", batch)
    require(batch <= n, "batch", batch, f"there are only {n} examples")
    if loss_examples is not None:
        loss_examples = whole("loss_examples", loss_examples)
        require(loss_examples <= n, "loss_examples", loss_examples, f"there are only {n} examples")
    every = max(1, steps // 20) if record_every is None else whole("record_every", record_every)
    require(rng in SOURCES, "rng", rng, f"choose from {SOURCES}")
    return steps, batch, every, loss_examples


def check_seed(seed):
    """``seed`` as a Python number, or an `InputError`."""
    return whole("seed", seed, SEEDS)


def check_data(network, data):
    """Raise an `InputError` where ``data`` do not fit ``network``: sizes, labels, an empty set."""
    for part in ("train", "test"):
        n = getattr(data, f"y_{part}").shape[0]
        require(n > 0, f"the number of images in x_{part}", n, "at least one is needed")
    shape = tuple(data.x_train.shape[1:])
    # the same numbers in another shape are as good where the network flattens them first
    same = shapes_through(network.layers, shape)[1:] == network.shapes_between[1:]
    remedy = f"the network is built for {network.input_shape}"
    require(same, "the shape of an image", shape, remedy)
    outputs = network.output_shape
    remedy = "a loss needs (K,), one output a class: put a Flatten or a pooling layer at the end"
    require(len(outputs) == 1, "the shape of the network's output", outputs, remedy)
    for part in ("train", "test"):
        labels = getattr(data, f"y_{part}")
        most = int(backend.namespace(labels).max(labels))
        remedy = f"the network has {outputs[0]} outputs: build it with {data.classes}, one a class"
        require(most < outputs[0], f"a label of y_{part}", most, remedy)


def check_batch(network, batch):
    """Raise an `InputError` for a batch that leaves a layer nothing to normalise."""
    least = network.least_batch
    remedy = (
        f"this network's batch normalisation over one value a channel would give a constant: use "
        f"at least {least}"
    )
    require(batch >= least, "batch", batch, remedy)


def check_start(network, data, start, state):
    """Raise an `InputError` for latent parameters or statistics of another network or dtype."""
    if start is not None:
        backend.namespace(start, data.x_train)
        found, d = tuple(start.shape), network.d
        require(found == (d,), "start's shape", found, f"this network has {d} parameters")
        remedy = f"the images have {data.x_train.dtype}: convert one of them with astype"
        require(start.dtype == data.x_train.dtype, "start's dtype", str(start.dtype), remedy)
        for name, value in network.views(start).items():
            remedy = f"{name} holds a NaN or infinity; start from weights that are finite"
            require(finite(value).all(), "start", "not finite", remedy)
    if state is not None:
        known = ", ".join(network.running) or "none"
        same = set(state) == set(network.running)
        require(same, "state", sorted(state), f"this network has the statistics {known}")
        for name, fresh in network.init_state(data.x_train).items():
            found, wanted = ((tuple(a.shape), str(a.dtype)) for a in (state[name], fresh))
            remedy = f"this network has {wanted[0]} in the images' {wanted[1]}"
            require(found == wanted, f"the shape and dtype of state {name}", found, remedy)
            remedy = f"{name} holds a NaN or infinity; leave it out for those of the first batch"
            require(finite(state[name]).all(), "state", "not finite", remedy)


def check_gradient(rule, grad, theta):
    """Raise an `InputError` for a gradient that is not an array like theta."""
    found = tuple(getattr(grad, "shape", ())), str(getattr(grad, "dtype", type(grad).__name__))
    wanted = tuple(theta.shape), str(theta.dtype)
    remedy = f"theta has {wanted}: make it of arrays like theta"
    require(found == wanted, f"the shape and dtype of the gradient of {rule.label}", found, remedy)
