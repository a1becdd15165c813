"""PyTorch's autograd as an independent oracle for the hand-written steps."""

import numpy as np
import pytest

from minizo import STE, Objective, Step, models, optim, quantizers
from minizo.bench import cnn, rivals, step, text, timing, torch_networks, torch_transformers
from minizo.objective import Batch

pytestmark = pytest.mark.torch


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


def convnet(name, examples=10):
    """(objective with binary weights, theta, batch) in float64, every parameter off its start."""
    objective, theta, batch = cnn.problem(name, np.float64)
    rng = np.random.default_rng(3)
    theta = theta + 0.02 * rng.normal(size=theta.shape)
    x = rng.normal(size=(examples, *batch.x.shape[1:]))
    return objective, theta, Batch(x, batch.labels[:examples])


@pytest.mark.parametrize("name", cnn.NETWORKS)
def test_convnets_equal_pytorch(torch, name):
    """Loss, every gradient, running statistics after a step, outputs in use, to 1e-9."""
    objective, theta, batch = convnet(name)
    theirs = torch_networks.build(torch, objective, theta)
    loss = torch.nn.functional.cross_entropy(
        theirs(torch.tensor(batch.x)), torch.tensor(batch.labels)
    )
    loss.backward()
    found = objective.ste_gradient(theta, batch)
    assert abs(float(loss.detach()) - found.loss) < 1e-10
    gradients = objective.network.views(found.gradient)
    leaves = dict(theirs.named_parameters())
    assert len(leaves) == len(gradients)
    for key, gradient in gradients.items():
        expected = leaves[torch_networks.their_name(key)].grad.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * abs(expected).max())
    net = objective.network
    state = net.next_state(net.init_state(theta), found.statistics)
    buffers = dict(theirs.named_buffers())
    for key, value in state.items():
        expected = buffers[torch_networks.their_name(key)].numpy()
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)
    theirs.eval()
    expected = theirs(torch.tensor(batch.x)).detach().numpy()
    np.testing.assert_allclose(
        objective.outputs(theta, batch.x, state), expected, rtol=0, atol=1e-9 * abs(expected).max()
    )


@pytest.mark.parametrize("name", ["small", "vit"])
def test_transformers_equal_pytorch(torch, name):
    """The loss and every gradient of a whole LLaMA and a whole ViT, float64, to 1e-9."""
    objective, theta, batch = text.problem(name, np.float64)
    theta = theta + 0.02 * np.random.default_rng(3).normal(size=theta.shape)
    batch = Batch(batch.x[:3], batch.labels[:3])
    loss_at, leaves = torch_transformers.loss_of(torch, objective, theta, batch)
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    loss = loss_at(leaves)
    loss.backward()
    found = objective.ste_gradient(theta, batch)
    assert abs(float(loss.detach()) - found.loss) < 1e-10
    for key, gradient in objective.network.views(found.gradient).items():
        expected = leaves[key].grad.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9 * abs(expected).max())


def test_vmap_over_a_transformer_is_the_population(torch):
    """Losses of several theta at once, to 1e-10: both sides of the n-SPSA timing."""
    objective, theta, batch = text.problem("small", np.float64)
    batch = Batch(batch.x[:2], batch.labels[:2])
    loss_at, _ = torch_transformers.loss_of(torch, objective, theta, batch, straight=False)
    stack = np.stack([theta, 1.1 * theta, theta - 0.01])
    many = {k: torch.tensor(np.array(v)) for k, v in objective.network.views(stack).items()}
    theirs = torch.func.vmap(loss_at)(many).numpy()
    np.testing.assert_allclose(theirs, objective.evaluate(stack, batch), rtol=1e-10)


def test_option_a_equals_pytorch(torch):
    """The shortcut without parameters, and convolutions with a bias: the same outputs."""
    net = models.resnet(8, width=4, shortcut="pad", input_shape=(3, 16, 16))
    theta = net.init(0, like=np.empty(0))
    objective = Objective(net, quantizers.FullPrecision()).calibrate(theta)
    x = np.random.default_rng(1).normal(size=(4, 3, 16, 16))
    ours, _ = net.forward(objective.quantize(theta), x)
    theirs = torch_networks.build(torch, objective, theta, binary=False)
    np.testing.assert_allclose(ours, theirs(torch.tensor(x)).detach().numpy(), atol=1e-10)


@pytest.mark.parametrize("channels_last", [False, True])
def test_convnet_training_equals_pytorch(torch, channels_last):
    """Three steps of the LeNet with Adam in float64: the same losses to 1e-8."""
    objective, theta, batch = cnn.problem("lenet", np.float64)
    theirs = torch_networks.ste_step(torch, objective, theta, batch, channels_last=channels_last)
    rule = optim.Adam(0.01, schedule="constant")
    state = rule.init(theta)
    for _ in range(3):
        estimate, _ = STE().estimate(objective, theta, batch, (), Step())
        assert abs(float(theirs().detach()) - estimate.loss) < 1e-8
        theta, state = rule.update(estimate.grad, state, theta)
