"""Exported networks whose layers stay as they are: outputs are those of training, bit by bit."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from exported import pictures, rewritten, trained
from strategies import generator

from minizo import InputError, Objective, data, export, models
from minizo import quantizers as q
from minizo.export.pack import codes, exactly
from minizo.layers import AvgPool2d, Flatten, Linear, QuantizedActivation, ReLU
from minizo.network import Network
from minizo.sampling import write

LLAMA = {"width": 16, "layers": 2, "heads": 4, "context": 12}
VIT = {"patch": 4, "width": 16, "layers": 1, "heads": 2}
IMAGE = (1, 8, 8)
NETWORKS = {
    "llama": lambda: models.llama(27, **LLAMA),
    "llama, grouped heads": lambda: models.llama(27, shared=2, **LLAMA),
    "llama, one key": lambda: models.llama(27, shared=4, hidden=24, **LLAMA),
    "llama, 4-bit tokens": lambda: models.llama(27, inputs="absmax", input_bits=4, **LLAMA),
    "llama, 8-bit quest": lambda: models.llama(27, inputs="quest", input_bits=8, **LLAMA),
    "llama, learned steps": lambda: models.llama(27, inputs=q.LSQ("tanh", bits=3), **LLAMA),
    "lstm": lambda: models.lstm_lm(27, width=16, layers=2, context=12, dropout=0.2),
    "vit": lambda: models.vit(IMAGE, 4, **VIT),
    "vit, mean": lambda: models.vit(IMAGE, 4, pool="mean", inputs="midtread", **VIT),
    "resnet": lambda: models.resnet(8, 4, width=4, input_shape=IMAGE),
    "resnet, binary": lambda: models.resnet(
        8, 4, width=4, before="sign", shortcut="pad", final_norm=True, input_shape=IMAGE
    ),
    "average pool": lambda: Network(
        {"pool": AvgPool2d(), "flatten": Flatten(), "fc": Linear(16, 4, bias=False)}, IMAGE
    ),
    "mlp, learned steps": lambda: models.mlp(
        64, 9, 4, activation=QuantizedActivation(q.LSQ(bits=2)), input_shape=IMAGE
    ),
}
WEIGHTS = {  # quantiser: bits a weight in the file
    "midrise": (q.MidRise(bits=2), 2),
    "midtread": (q.MidTread(bits=3), 3),
    "8 bits": (q.MidTread(bits=8), 8),
    "by filter": (q.MidRise(bits=4, per="filter"), 4),
    "lsq": (q.LSQ(bits=2), 2),
    "sign": (q.Sign(), 1),
    "xnor": (q.Xnor(), 1),
    "irnet": (q.IRNet(), 1),
    "quest": (q.QuEST(bits=3), 3),
    "quest, transformed": (q.QuEST(bits=2, block=16), 32),
    "dorefa": (q.DoReFa(bits=3), 3),
    "ternary": (q.Ternary(), 2),
    "absmean": (q.AbsMean(), 2),
    "none": (q.FullPrecision(), 32),
}


def inner(network):
    """The weights of its blocks, or all."""
    return models.chosen(network, "layers.*" if "layers" in network.layers else "all")


def examples(network, n=40, seed=3):
    """Inputs that it takes."""
    if network.places[0].layer.codes is None:
        return pictures(n, network.input_shape, seed)[1]
    return generator(seed).integers(0, 27, (n, *network.input_shape))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("build", NETWORKS)
def test_outputs_are_those_of_training_bit_by_bit(build, weights, tmp_path):
    """From the file alone; quantised weights in the bits of their quantiser, the others floats."""
    (quantizer, bits), network = WEIGHTS[weights], NETWORKS[build]()
    run = trained(network, quantizer, quantized=inner(network))
    saved = export.save(tmp_path / "net.npz", run)
    net, x = export.load(tmp_path / "net.npz"), examples(network)
    assert type(net) is export.ExportedLayers and net.text is None
    wanted = run.outputs(x)
    assert net.outputs(x).tobytes() == saved.outputs(x).tobytes() == wanted.tobytes()
    np.testing.assert_array_equal(net.predict(x), wanted.argmax(axis=-1))
    assert set(net.weights) == set(run.weights)
    for name, weight in run.weights.items():
        assert net.weights[name].tobytes() == weight.tobytes()
        found = getattr(net.params[name], "bits", 32)
        # of small filters that share a step, more bits take less space than a step each
        spare = 32 * len(weight) if quantizer.by_filter else 0
        few = found * weight.size <= bits * weight.size + spare
        assert few if name in run.quantized else found == 32
    export.save(tmp_path / "again.npz", run)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()


@pytest.mark.parametrize("build", [models.resnet18, models.resnet50])
def test_deep_residual_networks(build, tmp_path):
    """With a padded maximum and bottlenecks: outputs bit by bit, binary weights in one bit."""
    run = trained(build(4, "imagenet", width=2, input_shape=(1, 24, 24)), q.Sign())
    export.save(tmp_path / "net.npz", run)
    net, x = export.load(tmp_path / "net.npz"), examples(run.network, 8)
    assert net.network.layers["pool1"].padding == 1
    assert net.outputs(x).tobytes() == run.outputs(x).tobytes()
    assert {net.params[name].bits for name in run.quantized} == {1}


def test_the_comparison_notices_one_level(tmp_path):
    """Negative control: one weight a level higher."""
    run = trained(models.llama(27, **LLAMA), q.MidRise())
    net, x = export.save(tmp_path / "net.npz", run), examples(run.network)
    net.params["layers.2.mlp.down.weight"].k[0, 0] *= -1
    other = export.ExportedLayers(net.network, net.params, net.dtype)
    assert np.any(other.outputs(x) != run.outputs(x))


def test_float64_and_bit_widths_by_name(tmp_path):
    network = models.llama(27, **LLAMA)
    names = models.chosen(network, "layers.*, head.*")
    own = models.bit_widths(network, q.LSQ(), {"*.down.*": 4, "head.*": 8}, names)
    objective = Objective(network, q.LSQ(), names, exceptions=own)
    theta = objective.network.init(0, like=np.empty(0))
    objective = objective.calibrate(theta)
    run = export.Trained(objective.network, {}, objective.quantize(theta), names, {})
    run = run._replace(weights={n: run.weights[n] for n in network.shapes})
    export.save(tmp_path / "net.npz", run)
    net, x = export.load(tmp_path / "net.npz"), examples(network)
    assert net.outputs(x).dtype == np.float64
    assert net.outputs(x).tobytes() == run.outputs(x).tobytes()
    bits = {name: net.params[name].bits for name in names}
    assert 4 < bits.pop("head.weight") <= 8  # few weights: not every level is there
    assert all(n == (4 if ".down." in name else 2) for name, n in bits.items())


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_size_of_the_file(bits, tmp_path):
    """b bits a weight of the blocks, 32 for other numbers, and 40 bytes a name and 900 beside."""
    network = models.llama(65, width=64, layers=2, context=16)
    run = trained(network, q.MidRise(bits=bits), quantized=inner(network))
    net = export.save(tmp_path / "net.npz", run)
    few = sum(run.weights[name].size for name in run.quantized)
    rest = network.d - few
    size = (tmp_path / "net.npz").stat().st_size
    assert few * bits / 8 + 3 * rest < size < few * bits / 8 + 4 * rest + 40 * len(net.params) + 900
    weights = few + 2 * 65 * 64
    assert net.bits == pytest.approx((few * bits + 32 * 2 * 65 * 64) / weights)


def test_codes_that_round_are_left_for_a_table():
    """DoReFa's levels are no exact multiples of a step: their table is exact."""
    w = q.DoReFa(bits=3).quantize(generator(3).normal(size=(40, 30)).astype(np.float32), 1.0)
    assert codes(w).levels is None and codes(w).value.astype(w.dtype).tobytes() != w.tobytes()
    assert exactly(w).levels.size == 8 and exactly(w).bits == 3
    assert exactly(w).value.astype(w.dtype).tobytes() == w.tobytes()
    uneven = np.array([[-107.0, 0.0, 100.0] * 9]) / 321.0  # 8 bits with a step, 2 with a table
    assert codes(uneven).bits == 8 and exactly(uneven).bits == 2
    signed = np.array([[0.0, -0.0], [1.0, 1.0]])  # a step has no -0
    assert exactly(signed) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [np.s_[0, 0], np.s_[0], np.s_[...]])
def test_weights_of_a_run_that_diverged_come_back_as_they_are(where, bad, tmp_path):
    run = trained(models.llama(27, **LLAMA), q.MidRise())
    name = "layers.2.mlp.down.weight"
    weight = run.weights[name].copy()
    weight[where] = bad
    export.save(tmp_path / "net.npz", run._replace(weights={**run.weights, name: weight}))
    assert export.load(tmp_path / "net.npz").weights[name].tobytes() == weight.tobytes()
    assert codes(weight) is None


# Texts ------------------------------------------------------------------------------------------


@pytest.fixture
def verse(tmp_path):
    path = tmp_path / "verse.txt"
    path.write_text("Thou art more lovely and more temperate:\nRough winds do shake é\n" * 20)
    return path


@pytest.mark.parametrize("options", [{}, {"level": "words", "words": 9}])
def test_a_language_model_writes_from_its_file(options, verse, tmp_path):
    text = data.read_text(verse, context=12, **options)
    network = models.llama(text.classes, **LLAMA)
    run = trained(network, q.Sign(), quantized=inner(network))
    export.save(tmp_path / "net.npz", run, text=text)
    net = export.load(tmp_path / "net.npz")
    assert (net.text.name, net.text.vocabulary, net.text.level) == (
        "verse.txt", text.vocabulary, text.level,
    )  # fmt: skip
    wanted = write(run.network, run.weights, text, "more lovely", 30, 1.3, 7)
    assert net.write("more lovely", 30, 1.3, 7) == wanted
    assert write(net.network, net.weights, net.text, "more lovely", 30, 1.3, 7) == wanted
    again = export.save(tmp_path / "again.npz", run, text=net.text)
    assert again.text.vocabulary == text.vocabulary
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()
    x = text.x_test[:, :5]  # other lengths than in training
    assert net.outputs(x).tobytes() == run.outputs(x).tobytes()


def test_what_does_not_fit_is_refused(verse, tmp_path):
    text, path = data.read_text(verse, context=12), tmp_path / "net.npz"
    llama = trained(models.llama(9, **LLAMA), q.Sign())
    with pytest.raises(InputError, match="different tokens is .* knows 9 tokens: give the text"):
        export.save(path, llama, text=text)
    with pytest.raises(InputError, match=r"text is 'verse', .* minizo\.data\.Text"):
        export.save(path, llama, text="verse")
    vit = trained(NETWORKS["vit"](), q.Sign())
    mlp = trained(models.mlp(64, 4, input_shape=IMAGE), q.Sign())
    for run in (vit, mlp):
        with pytest.raises(InputError, match="takes no tokens: leave it out"):
            export.save(path, run, text=text)
    assert not path.exists()
    net = export.save(path, llama)
    with pytest.raises(InputError, match="no vocabulary to write with; export it with text="):
        net.write("a")
    for x, sentence in ((np.full((1, 3), 9), "a token of x is 9"), (np.zeros(3), "shape of x")):
        with pytest.raises(InputError, match=sentence):
            net.outputs(x)
    net, (images, x) = export.save(path, vit), pictures(2, IMAGE)
    with pytest.raises(InputError, match="x's dtype is 'uint8', but this network takes images"):
        net.outputs(images)
    with pytest.raises(InputError, match="x's shape is"):
        net.outputs(x[0])


def test_layers_of_ones_own_are_named(tmp_path):
    """Also those that are called as minizo's, deep inside of others; and no file is left."""

    @dataclass(frozen=True)
    class Gelu(ReLU):
        pass

    Same = type("ReLU", (ReLU,), {})
    Own = dataclass(frozen=True)(type("Own", (q.Sign,), {}))
    for layer, sentence in (
        (Gelu(), "layer 'block1.act' is of Gelu, which cannot be exported"),
        (Same(), "layer 'block1.act' is of ReLU, which cannot be exported"),
        (QuantizedActivation(Own()), "layer 'block1.act' quantises with Own, which cannot"),
    ):
        network = models.resnet(8, 4, width=4, activation=ReLU(), input_shape=IMAGE)
        network.layers["block1"].body["act"] = layer
        network = Network(network.layers, IMAGE)
        with pytest.raises(InputError, match=sentence):
            export.save(tmp_path / "net.npz", trained(network, q.Sign()))
    assert not list(tmp_path.iterdir())


# Files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """(path, trained) of a llama that knows a text and quantises its activations."""
    path = tmp_path_factory.mktemp("export") / "net.npz"
    text = data.synthetic_text(context=8, n_train=5, n_test=2)
    network = models.llama(27, width=8, layers=1, heads=2, context=8, inputs="midtread")
    run = trained(network, q.Sign(), quantized=inner(network))
    export.save(path, run, text=text)
    return path, run


def test_a_flipped_bit_or_a_missing_end_is_noticed(file, tmp_path):
    """It is refused with a sentence, or nothing changed."""
    path, run = file
    good, bad, x = path.read_bytes(), tmp_path / "bad.npz", examples(run.network, 3)
    wanted, refused = run.outputs(x).tobytes(), 0
    for place in range(0, len(good), 5):
        bad.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        try:
            assert export.load(bad).outputs(x).tobytes() == wanted
        except InputError as error:
            assert str(bad) in str(error)
            refused += 1
    assert refused > 0.9 * len(range(0, len(good), 5))
    for length in range(0, len(good), 50):
        bad.write_bytes(good[:length])
        with pytest.raises(InputError, match="is damaged or not an export of minizo"):
            export.load(bad)


def block(header):
    """The attention's part of the first block."""
    inside = header["layers"]["named"]["layers"]["layers"]["named"]["1"]["layers"]["named"]
    return inside["attention"]["body"]["named"]


def params(header):
    return header["params"]["named"]


DOWN = "layers.1.mlp.down.weight"
FORGED = {
    "nothing": (lambda h: None, None),
    "no text": (lambda h: h.update(text=None), None),
    "a step": (lambda h: block(h).update(norm={"op": "Pixels"}), "Pixels, which has no"),
    "no layer": (lambda h: block(h).update(norm={"op": "system"}), r"\('system'\)"),
    "a base": (lambda h: block(h)["inputs"].update(quantizer={"op": "Quantizer"}), "'Quantizer'"),
    "no quantiser": (lambda h: block(h)["inputs"].update(quantizer=3), "no attribute"),
    "a list": (lambda h: h.update(layers=[{"op": "ReLU"}]), "not a valid export"),
    "other sizes": (lambda h: block(h)["qkv"].update(outputs=23), "layer 'layers'"),
    "no size": (lambda h: block(h)["qkv"].update(outputs="24"), "Linear.outputs is '24'"),
    "a setting": (lambda h: block(h)["norm"].update(path="x"), "unexpected keyword"),
    "a parameter less": (lambda h: params(h).popitem(), "data are left over"),
    "another name": (lambda h: params(h).update(x=params(h).popitem()[1]), "weight is None"),
    "one more": (lambda h: params(h).update(x={"float": 32, "shape": [0]}), "the shape of x"),
    "a wrong shape": (lambda h: params(h)[DOWN]["k"].update(shape=[24, 8]), "shape of layers.1"),
    "a wrong step": (lambda h: params(h)[DOWN].update(step=[1.0, 2.0]), "not a valid export"),
    "a step of NaN": (lambda h: params(h)[DOWN].update(step=float("nan")), "step is nan"),
    "no step": (lambda h: params(h)[DOWN].update(step=None), "not a valid export"),
    "levels": (lambda h: params(h)[DOWN].update(levels=[1.0]), "not a valid export"),
    "no array": (lambda h: params(h).update({DOWN: 3}), "not a valid export"),
    "another dtype": (lambda h: h.update(dtype="float64"), "the dtype of"),
    "no dtype": (lambda h: h.update(dtype="object"), "its dtype is 'object'"),
    "a longer array": (lambda h: params(h)[DOWN]["k"].update(shape=[8, 10**30]), "not a valid"),
    "words more": (lambda h: h["text"]["vocabulary"].append("é"), "different tokens is 28"),
    "numbers": (lambda h: h["text"].update(vocabulary=[1] * 27), "different tokens"),
    "one word twice": (lambda h: h["text"]["vocabulary"].append("a"), "different tokens is 27"),
    "no words": (lambda h: h["text"].update(vocabulary=[]), "different tokens is 0"),
    "a string": (lambda h: h["text"].update(vocabulary="abc"), "different tokens is 3"),
    "a level": (lambda h: h["text"].update(level="sounds"), "its Vocabulary"),
    "a layer for a text": (lambda h: h.update(text={"op": "ReLU"}), "its Vocabulary"),
    "an image": (lambda h: h.update(input_shape=[1, 8, 8]), "layer 'embedding'"),
    "tied to nothing": (lambda h: h["tied"]["named"].update(x="y"), "tied is 'x', but y must be"),
    "tied to a number": (lambda h: h["tied"]["named"].update(x=3), "tied is 'x', but 3 must be"),
    "tied shapes": (lambda h: h["tied"]["named"].update({DOWN: "head.weight"}), "tied is 'layers."),
    "no params": (lambda h: h.pop("params"), "not a valid export"),
    "version 1": (lambda h: h.update(version=1), "not a valid export"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_sound_archive_with_other_contents_is_refused(file, name, tmp_path):
    (path, run), (change, sentence) = file, FORGED[name]
    rewritten(path, tmp_path / "new.npz", change, True)
    if sentence is None:
        x = examples(run.network, 3)
        assert export.load(tmp_path / "new.npz").outputs(x).tobytes() == run.outputs(x).tobytes()
        return
    with pytest.raises(InputError, match=sentence) as caught:
        export.load(tmp_path / "new.npz")
    assert "new.npz is not a valid export of minizo" in str(caught.value)


def test_the_file_is_what_its_description_says(file):
    """Read by the description alone: NumPy's loader, JSON, bits."""
    path, run = file
    with np.load(path, allow_pickle=False) as archive:
        header, content = json.loads(archive["header.json"]), archive["data"].tobytes()
    assert header["version"] == 2 and header["input_shape"] == [8]
    assert list(header["layers"]["named"]) == ["embedding", "layers", "norm", "head"]
    assert block(header)["inputs"]["quantizer"]["op"] == "MidTread"
    assert "surrogate" not in block(header)["inputs"]["quantizer"]
    start = 0
    for name, own in params(header).items():
        if "float" in own:
            found = np.frombuffer(content, "<f4", np.prod(own["shape"]), start)
            start += found.nbytes
        else:
            bits, low, gap = own["k"]["packed"]
            assert (bits, low, gap) == (1, -1, 2)
            count = int(np.prod(own["k"]["shape"]))
            taken = np.frombuffer(content, np.uint8, -(-count // 8), start)
            start += taken.size
            k = low + gap * np.unpackbits(taken, count=count, bitorder="little").astype(float)
            found = (own["step"] * k).astype("f4")
        assert found.tobytes() == run.weights[name].tobytes()
    assert start == len(content)
