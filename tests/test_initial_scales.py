"""Where a run starts: the factor of the initial weights, and that of the quantiser's scale."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minizo import STE, InputError, Network, Objective, fit, mnist, models, optim, quantizers
from minizo.commands import parts
from minizo.commands.cases import build_network
from minizo.commands.settings import DEFAULTS
from minizo.commands.sources import of_folder, settled
from minizo.export import __main__ as exporting
from minizo.layers import Layer, Linear

SCALED = ("sign", "midrise", "midtread", "stochastic")


# Initial weights ---------------------------------------------------------------------------------

NETWORKS = {
    "mlp": lambda: models.mlp(12, 5, 3),
    "lenet": models.lenet,
    "resnet": lambda: models.resnet(8, width=2),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_multiplied_and_nothing_else(name, dtype):
    """By a power of two bit for bit; biases, gamma and beta stay; 1 changes no bit."""
    plain = NETWORKS[name]()
    scaled, like = replace(plain, init_scale=4.0), np.empty(0, dtype)
    ours, theirs = (net.views(net.init(3, like=like)) for net in (scaled, plain))
    for parameter, value in theirs.items():
        factor = 4.0 if parameter.endswith(".weight") else 1.0
        np.testing.assert_array_equal(ours[parameter], dtype(factor) * value)
        assert ours[parameter].dtype == dtype
    assert any(np.any(ours[p] != theirs[p]) for p in theirs)
    assert any(not p.endswith(".weight") for p in theirs)


def test_values_that_are_given_are_taken_as_they_are():
    plain = models.mlp(12, 5, 3)
    values = plain.views(plain.init(1))
    theta = replace(plain, init_scale=4.0).init(2, values=values)
    np.testing.assert_array_equal(theta, plain.init(1))


def test_a_vector_called_weight_is_none():
    """Two axes or more are weights; the scale of a normalisation of one's own is not."""

    class Gain(Layer):
        shapes = {"weight": (3,)}

        def init(self, stream, like):
            return {"weight": np.ones(3, like.dtype)}

        def forward(self, params, x, reduce=None):
            return params["weight"][..., None, :] * x, x

        def backward(self, params, cache, dy, wanted=True, reduce=None):
            return dy, {}

    net = Network({"fc": Linear(2, 3), "gain": Gain()}, (2,), init_scale=3.0)
    found = net.views(net.init())
    np.testing.assert_array_equal(found["gain.weight"], 1.0)
    assert not np.array_equal(found["fc.weight"], replace(net, init_scale=1.0).init()[:6])


def test_what_a_quantiser_learns_fits_the_scaled_weights():
    """A companion sees the multiplied weights; copies of a network keep the factor."""
    net = Network({"fc": Linear(12, 3)}, (12,), init_scale=4.0)
    seen = []

    class Noting(quantizers.LSQ):
        def init(self, w, stream):
            seen.append(w)
            return super().init(w, stream)

    objective = Objective(net, Noting())
    theta = objective.network.init(5)
    assert objective.network.init_scale == 4.0 and len(objective.network.companions) == 1
    np.testing.assert_array_equal(seen[0].reshape(-1), theta[: 12 * 3])
    np.testing.assert_array_equal(seen[0].reshape(-1), net.init(5)[: 12 * 3])
    late = Network({"fc": Linear(12, 3), "late": Late()}, (12,), init_scale=4.0)
    assert late.at(0.5) is not late and late.at(0.5).init_scale == 4.0


class Late(Layer):
    """Passes on what it is fed, and is another at another point of the run."""

    def at(self, progress):
        """Another one."""
        return Late()

    def forward(self, params, x, reduce=None):
        """x."""
        return x, None

    def backward(self, params, cache, dy, wanted=True, reduce=None):
        """dy."""
        return dy, {}


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "2", None, True])
def test_a_wrong_factor(value):
    with pytest.raises(InputError, match="Network.init_scale is .*, but it must be"):
        Network({"fc": Linear(2, 2)}, (2,), init_scale=value)


def test_runs_are_told_apart(toy, toy_net, tmp_path):
    """The settings say it, and a checkpoint of another factor is refused."""
    options = {"steps": 3, "batch": 20, "path": tmp_path / "run.npz"}
    rule = STE(), optim.SGD(0.1)
    run = fit(Objective(toy_net, quantizers.Sign()), toy, *rule, **options)
    assert run.settings["init_scale"] == 1.0
    other = Objective(replace(toy_net, init_scale=2.0), quantizers.Sign())
    with pytest.raises(InputError, match="init_scale"):
        fit(other, toy, *rule, resume=True, **options)


def test_the_flag(call, command):
    """It reaches the network, is stored, resumed and exported, and --resume refuses another."""
    shas = {}
    for scale in ("1", "2.5"):
        code, out, err = call("--estimator", "ste", "--init-scale", scale, "--json", "--out", scale)
        assert code == 0, err
        shas[scale] = json.loads(out)["theta_sha256"]
    assert shas["1"] != shas["2.5"] and of_folder("2.5").init_scale == (2.5,)
    code, out, err = command(mnist.main, "--resume", "2.5", "--json", "--quiet")
    assert code == 0 and json.loads(out)["theta_sha256"] == shas["2.5"], err
    code, _, err = command(mnist.main, "--resume", "2.5", "--init-scale", 3)
    assert code == 2 and "--init-scale 3.0 differs from the run in 2.5, which was started" in err
    assert command(exporting.main, "2.5", "--json")[0] == 0
    code, _, err = call("--init-scale", 0)
    assert code == 2 and "--init-scale is 0.0, but it must be finite and above 0" in err


def test_a_network_of_ones_own(toy, tmp_path, monkeypatch):
    """The flag multiplies what the file says; a function that gives no network is refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scaled_nets.py").write_text(
        "import minizo\nfrom minizo.layers import Linear, Flatten\n"
        "def net(input_shape, classes, activation):\n"
        "    layers = {'flat': Flatten(), 'fc': Linear(12, 3)}\n"
        "    return minizo.Network(layers, input_shape, init_scale=3.0)\n"
        "def none(input_shape, classes, activation):\n    return 'nothing'\n"
    )
    given = {"model": "scaled_nets.py:net"}
    for flag, wanted in ({}, 3.0), ({"init_scale": "2"}, 6.0):
        settings = settled(DEFAULTS, given | flag)
        assert build_network(settings, toy, *settings.init_scale).init_scale == wanted
    with pytest.raises(InputError, match="--model .*:none gives a str, but it must give a minizo"):
        build_network(settled(DEFAULTS, {"model": "scaled_nets.py:none"}), toy)


# The quantiser's scale ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCALED)
def test_alpha_is_multiplied(name):
    """alpha(4) = 4 alpha(1) bit for bit, so Q and its smoothing are those of w / 4 times 4."""
    kind = quantizers.QUANTIZERS[name]
    w = np.random.default_rng(3).normal(size=(2, 40)).astype(np.float32)
    one, four = kind("hardtanh"), kind("hardtanh", alpha_scale=4.0)
    alpha = one.scale(w)
    np.testing.assert_array_equal(four.scale(w), 4.0 * alpha)
    assert four.scale(w).dtype == np.float32 and one.epsbar == four.epsbar
    np.testing.assert_array_equal(four.quantize(w, 4.0 * alpha), 4.0 * one.quantize(w / 4.0, alpha))
    assert not np.array_equal(four.quantize(w, 4.0 * alpha), one.quantize(w, alpha))
    assert "alpha_scale=4.0" in repr(four)


def test_the_perturbation_follows_alpha(toy_problem):
    """eps = alpha epsbar: twice the scale, twice the eps, of quantised weights alone."""
    objective, theta, _ = toy_problem
    wide = Objective(objective.network, quantizers.MidRise(bits=2, alpha_scale=2.0))
    one, other = objective.matched_eps(theta), wide.calibrate(theta).matched_eps(theta)
    weights = objective.network.slices["fc1.weight"]
    np.testing.assert_array_equal(other[weights], 2.0 * one[weights])


@pytest.mark.parametrize("name", sorted(set(quantizers.QUANTIZERS) - {*SCALED, "quantnet"}))
def test_quantisers_with_another_scale_do_not_take_it(name):
    """Levels +-1, learned or live: a factor of the initial scale would say nothing there."""
    assert "alpha_scale" not in parts.takes(parts.Part("quantizer", name))
    with pytest.raises(TypeError):
        quantizers.QUANTIZERS[name](alpha_scale=2.0)
    with pytest.raises(InputError, match=r"it has no setting 'alpha_scale', so alpha_scale=2 has"):
        parts.read("quantizer", f"{name}:alpha-scale=2")


@pytest.mark.parametrize("text", ["sign", "midrise:bits=1", "midrise:bits=2", "midtread:bits=3"])
def test_activations_take_it_too(text):
    """The fixed scale of an activation is multiplied, with two levels and with more."""
    join = "," if ":" in text else ":"
    one, other = (
        parts.build(parts.read("activation", words)).scale
        for words in (text, f"{text}{join}alpha_scale=1.5")
    )
    assert other == 1.5 * one


@pytest.mark.parametrize("value", [0.0, -2.0, float("inf"), "1", None])
def test_a_wrong_alpha_scale(value):
    with pytest.raises(InputError, match="MidRise.alpha_scale is .*, but it must be"):
        quantizers.MidRise(alpha_scale=value)


def test_a_scaled_quantiser_on_the_command_line(call, command):
    """Compared with the default; the label says what differs; exported weights predict alike."""
    kinds = ("midrise", "midrise:alpha_scale=1.5")
    code, out, err = call(
        "--estimator", "ste", "--quantizer", *kinds, "--json", "--out", "run"
    )  # fmt: skip
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0, err
    assert [row["label"] for row in rows] == ["STE, alpha_scale 1", "STE, alpha_scale 1.5"]
    assert len({row["theta_sha256"] for row in rows}) == 2
    code, out, err = command(exporting.main, "run", "--json")
    assert code == 0 and len(out.splitlines()) == 2, err
