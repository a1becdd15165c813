"""Training on real MNIST is a test: the defaults reach the losses that the README states."""

from statistics import fmean

import pytest

from minizo import FOGZO, SPSA, STE, Objective, fit_many, models, optim, quantizers

# (estimator, largest training loss, smallest): means of 3 seeds of the defaults of minizo.mnist
CLAIMS = [
    (STE(), 0.58, 0.0),
    (FOGZO(n=1, beta_schedule="linear"), 0.62, 0.0),
    (FOGZO(n=10, beta_schedule="linear"), 0.56, 0.0),
    (SPSA(n=10), 2.0, 1.0),
]


@pytest.mark.slow
@pytest.mark.parametrize("estimator, most, least", CLAIMS, ids=lambda x: getattr(x, "label", None))
def test_training_loss_on_mnist(mnist, estimator, most, least):
    """1,200 steps of 100 with Adam 0.01 on the 2-bit 784-10-10; n-SPSA n = 10 stays above 1."""
    objective = Objective(models.mlp(784, 10, 10), quantizers.MidRise(bits=2))
    pairs = [(optim.Adam(0.01), seed) for seed in range(3)]
    runs = fit_many(objective, mnist, estimator, pairs, steps=1200, record_every=1200)
    losses = [run.final("train_loss") for run in runs]
    assert least < fmean(losses) <= most, losses
