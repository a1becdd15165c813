"""PyTorch's autograd as an independent oracle for the hand-written steps."""

import numpy as np
import pytest

from minizo import STE, Step, optim
from minizo.bench import rivals, step, timing

pytestmark = pytest.mark.torch


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def test_ste_training_equals_pytorch(torch):
    """20 steps of the 2-bit 784-10-10 with Adam, float64: the same losses to 1e-9."""
    objective, theta, batch = step.problem(np.float64)
    theirs = rivals.ste_step(torch, objective, theta, batch)
    rule = optim.Adam(0.01, schedule="constant")
    state = rule.init(theta)
    for _ in range(20):
        estimate, _ = STE().estimate(objective, theta, batch, (), Step())
        assert abs(float(theirs().detach()) - estimate.loss) < 1e-9
        theta, state = rule.update(estimate.grad, state, theta)


def test_rivals_compute_the_same_loss(torch):
    """The loss that PyTorch's loop and vmap differentiate is F, for several theta at once."""
    objective, theta, batch = step.problem(np.float64)
    loss, flat, _ = rivals.spsa_parts(torch, objective, theta, batch, np.ones_like(theta))
    stack = np.stack([theta, 1.5 * theta, theta - 0.01])
    ours = objective.evaluate(stack, batch)
    np.testing.assert_allclose(torch.func.vmap(loss)(torch.tensor(stack)), ours, rtol=1e-10)
    np.testing.assert_allclose(loss(flat), ours[0], rtol=1e-10)


def test_rival_spsa_points_the_same_way(torch):
    """Cosine with the STE gradient at n = 400 beyond 6 sigma of a random direction's, 6/sqrt(d)."""
    torch.manual_seed(0)
    objective, theta, batch = step.problem()
    eps = objective.matched_eps(theta)
    _, g, _ = objective.ste_gradient(theta, batch)
    for work in (
        rivals.spsa_loop(torch, objective, theta, batch, eps, 400),
        rivals.spsa_vmap(torch, objective, theta, batch, eps, 400, 50),
    ):
        theirs = work().numpy()
        cosine = theirs @ g / np.linalg.norm(theirs) / np.linalg.norm(g)
        assert cosine > 6 / np.sqrt(len(g)), cosine


def test_timing_takes_turns():
    """A candidate that works twice as long is measured as about twice as long."""
    calls = []
    seconds = timing.in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, 0)
    assert calls == ["a", "a", "b", "b"] + ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}
