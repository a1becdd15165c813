"""What `minizo.fit` is given, looked at before anything is trained."""

from collections.abc import Mapping
from dataclasses import replace

from . import backend
from .contracts import check_part
from .errors import InputError, require
from .layers.stack import shapes_through
from .parallel import Pool
from .records import COLUMNS, finite
from .rng import SEEDS, SOURCES
from .settings import whole


def prepare(recipe):
    """The recipe that is run, with Python numbers and quantiser scales; or an `InputError`.

    The scales are set from the first latent parameters where they are not set yet.
    """
    network, data = check_parts(recipe).network, recipe.data
    recipe = check_numbers(recipe)
    check_batch(network, recipe.batch)
    check_data(network, data)
    check_start(network, data, recipe.start, recipe.state)
    check_callable("augment", recipe.augment)
    remedy = "it changes images, and these are tokens: leave it out"
    require(recipe.augment is None or not data.tokens, "augment", recipe.augment, remedy)
    remedy = "it must be a dict of name to function"
    require(isinstance(recipe.watch, Mapping), "watch", recipe.watch, remedy)
    for name, function in recipe.watch.items():
        require(name not in COLUMNS, "watch", name, "this column is recorded already; rename it")
        check_callable(f"watch[{name!r}]", function)
    return replace(recipe, objective=recipe.objective.calibrate(recipe.first_theta()))


def check_parts(recipe):
    """The objective; an `InputError` where a part is a class, a name, or lacks a method."""
    objective = recipe.objective
    if isinstance(objective, type) or not hasattr(objective, "network"):
        shown = objective.__name__ if isinstance(objective, type) else type(objective).__name__
        raise InputError(
            f"objective is {shown}, but it must be an Objective: Objective(network, quantizer)"
        )
    data = recipe.data
    if not hasattr(data, "x_train"):
        kind = getattr(data, "__name__", f"a {type(data).__name__}")
        raise InputError(
            f"data is {repr(data) if isinstance(data, str) else kind}, but it must be a Dataset, "
            "such as minizo.data.load('mnist') or minizo.data.Dataset('mine', x, y, x, y)"
        )
    check_part("estimator", recipe.estimator)
    check_part("optimizer", recipe.optimizer)
    return objective


def check_numbers(recipe):
    """The recipe with Python numbers, or an `InputError`.

    Without ``record_every`` there are 20 records a run.
    """
    n = recipe.data.y_train.shape[0]
    steps, batch = whole("steps", recipe.steps), whole("batch", recipe.batch)
    require(batch <= n, "batch", batch, f"there are only {n} examples")
    every, examples = recipe.record_every, recipe.loss_examples
    every = max(1, steps // 20) if every is None else whole("record_every", every)
    if examples is not None:
        examples = whole("loss_examples", examples)
        require(examples <= n, "loss_examples", examples, f"there are only {n} examples")
    require(recipe.rng in SOURCES, "rng", recipe.rng, f"choose from {SOURCES}")
    seed = whole("seed", recipe.seed, SEEDS)
    return replace(
        recipe, steps=steps, batch=batch, seed=seed, record_every=every, loss_examples=examples,
        watch=recipe.watch or {},
    )  # fmt: skip


def check_data(network, data):
    """Raise an `InputError` where ``data`` do not fit ``network``: sizes, labels, an empty set."""
    for part in ("train", "test"):
        n = getattr(data, f"y_{part}").shape[0]
        what = "sequences" if data.tokens else "images"
        require(n > 0, f"the number of {what} in x_{part}", n, "at least one is needed")
    shape = tuple(data.x_train.shape[1:])
    # the same numbers in another shape are as good where the network flattens them first
    same = shapes_through(network.layers, shape)[1:] == network.shapes_between[1:]
    remedy = f"the network is built for {network.input_shape}"
    what = "a sequence" if data.tokens else "an image"
    require(same, f"the shape of {what}", shape, remedy)
    check_tokens(network, data)
    *places, outputs = network.output_shape
    remedy = "a loss needs (K,), one output a class: put a Flatten or a pooling layer at the end"
    if data.tokens:
        remedy = "a loss needs (T, K), outputs at every place: take out what makes them one vector"
    right = tuple(places) == tuple(data.y_train.shape[1:])
    require(right, "the shape of the network's output", network.output_shape, remedy)
    for part in ("train", "test"):
        labels = getattr(data, f"y_{part}")
        most = int(backend.namespace(labels).max(labels))
        remedy = f"the network has {outputs} outputs: build it with {data.classes}, one a class"
        require(most < outputs, f"a label of y_{part}", most, remedy)


def check_tokens(network, data):
    """Raise an `InputError` for tokens without an `Embedding` that knows them, or the reverse."""
    lowest = network.places[0].layer
    codes = getattr(lowest, "codes", None)
    if codes is None:
        remedy = "they are tokens: put an Embedding in front"
        require(not data.tokens, "the lowest layer", type(lowest).__name__, remedy)
        return
    remedy = f"the lowest layer is {type(lowest).__name__}, which takes tokens"
    require(data.tokens, "the dtype of x_train", str(data.x_train.dtype), remedy)
    remedy = f"the network knows {codes} tokens: build it with {data.classes}"
    require(data.classes <= codes, "the number of different tokens", data.classes, remedy)


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
        remedy = f"the data have {data.like.dtype}: convert one of them with astype"
        require(start.dtype == data.like.dtype, "start's dtype", str(start.dtype), remedy)
        for name, value in network.views(start).items():
            remedy = f"{name} holds a NaN or infinity; start from weights that are finite"
            require(finite(value).all(), "start", "not finite", remedy)
    if state is not None:
        known = ", ".join(network.running) or "none"
        same = set(state) == set(network.running)
        require(same, "state", sorted(state), f"this network has the statistics {known}")
        for name, fresh in network.init_state(data.like).items():
            found, wanted = ((tuple(a.shape), str(a.dtype)) for a in (state[name], fresh))
            remedy = f"this network has {wanted[0]} in the data's {wanted[1]}"
            require(found == wanted, f"the shape and dtype of state {name}", found, remedy)
            remedy = f"{name} holds a NaN or infinity; leave it out for those of the first batch"
            require(finite(state[name]).all(), "state", "not finite", remedy)


def check_call(pool, progress, path, checkpoint_every, resume):
    """``checkpoint_every`` as a Python number; or an `InputError` for how a run is carried out."""
    remedy = "it must be a Pool, which `with minizo.threads(2) as pool:` gives"
    require(pool is None or isinstance(pool, Pool), "pool", pool, remedy)
    check_callable("progress", progress)
    remedy = "there is no path: give that of the checkpoint"
    require(path is not None or not resume, "resume", resume, remedy)
    return None if checkpoint_every is None else whole("checkpoint_every", checkpoint_every)


def check_callable(argument, value):
    """Raise an `InputError` for what is neither None nor a function."""
    require(value is None or callable(value), argument, value, "it must be a function, or None")
