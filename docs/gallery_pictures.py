"""The curve of a quantiser, and a short run of an estimator, by the package's own code."""

from functools import cache

from gallery_records import kin
from matplotlib.figure import Figure

from minizo import Objective, data, estimators, figures, fit, models, optim, quantizers
from minizo import gallery as curves
from minizo.errors import InputError
from minizo.reproduce import zoo

STAGES = ((0, "start"), (1, "middle"), (4, "end"))  # styles of a run's beginning, middle and end
STEPS, SHOWN = 40, 8  # of the run that an estimator's page shows, and weights of it


def axes_of(height=3.9):
    """Return a figure and two panels, one above the other, in letters that a phone shows."""
    figure = Figure(figsize=(4.4, height), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    return figure, panels


def entries(cls):
    """Return the entries of `minizo.gallery` that show a quantiser."""
    return [entry for entry in curves.ENTRIES if type(entry.quantizer) in kin(cls)]


def draw_curve(entry):
    """Return the forward map and the backward rule of an entry, as PNG, and the noise implied."""
    figure, (above, below) = axes_of()
    stages = [curves.look(entry, at) for at in entry.stages]
    for stage, (style, name) in zip(stages, STAGES, strict=False):
        color = figures.STYLES[style]["color"]
        above.plot(stage.x, stage.forward, ".", color=color, markersize=3)
        below.plot(
            stage.x, stage.slope, color=color, label=f"{name} of a run",
            linestyle=figures.STYLES[style]["linestyle"],
        )  # fmt: skip
    below.margins(y=0.12)
    below.set_ylim(bottom=min(0.0, below.get_ylim()[0]))
    above.set_ylabel("Q(x)")
    below.set_ylabel("dx / dw")
    below.set_xlabel("x")
    if len(stages) > 1:
        below.legend(fontsize=8, frameon=False)
    said = dict.fromkeys(str(stage.smoothing) for stage in stages)
    return figures.png(figure), "; ".join(said)


@cache
def problem():
    """Return drawn digits of 7x7 pixels: a small problem on which every rule takes a second."""
    digits = data.synthetic_digits(400, 100)
    small = [zoo.halved(zoo.halved(x)) for x in (digits.x_train, digits.x_test)]
    return data.Dataset(
        "drawn digits, 7x7", small[0], digits.y_train, small[1], digits.y_test, classes=10
    )


@cache
def trained(cls):
    """Return a short run of an estimator with its defaults, and its quantiser.

    The quantiser is the first of sign and DoReFa that the rule takes.
    """
    network = models.mlp(49, 5, 10, input_shape=(1, 7, 7))
    watch = {f"w{k}": lambda objective, state, k=k: float(state.theta[..., 24 + 7 * k].item())
             for k in range(SHOWN)}  # fmt: skip
    for quantizer in (quantizers.Sign(), quantizers.DoReFa()):
        try:
            rule = optim.Adam(0.03)
            objective = Objective(network, quantizer)
            run = fit(objective, problem(), cls(), rule, steps=STEPS, batch=50, record_every=2,
                      watch=watch)  # fmt: skip
        except InputError as error:
            refused = error
        else:
            return run, quantizer
    raise refused


def draw_run(cls):
    """Return what a short run of an estimator looks like, as PNG."""
    run, _ = trained(cls)
    reference, _ = trained(estimators.STE)
    figure, (above, below) = axes_of(4.4)
    steps = run.records["step"]
    if cls is not estimators.STE:
        above.plot(reference.records["step"], reference.records["train_loss"], ":", color="#777777",
                   label="STE")  # fmt: skip
    above.plot(
        steps, run.records["train_loss"], color=figures.STYLES[0]["color"], label=cls().label
    )
    for k in range(SHOWN):
        style = figures.STYLES[k]
        below.plot(steps, run.records[f"w{k}"], color=style["color"], linewidth=1.2)
    below.axhline(0.0, color="black", linewidth=0.8)
    above.set_ylabel("training loss")
    below.set_ylabel("latent weights")
    below.set_xlabel("step")
    above.legend(fontsize=8, frameon=False)
    return figures.png(figure)
