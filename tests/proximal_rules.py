"""What the tests of the proximal rules share."""

from minizo import (
    Objective,
    backend,
    fit,
    models,
    optim,
    quantizers,
)

STEPS = 20


def run(toy, rule, optimizer=None, quantizer=None, **options):
    options = {"steps": STEPS, "batch": 50, "seed": 1, **options}
    objective = Objective(models.mlp(12, 5, 3), quantizer or quantizers.Sign())
    return fit(objective, toy, rule, optimizer or optim.Adam(0.02), **options)


def digest(result):
    return backend.sha256(result.theta)
