"""Fixtures that many tests share: small data, small objectives, and the array libraries."""

import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from zlib import crc32

import fakegpu
import numpy as np
import pytest

from minizo import Batch, InputError, Objective, backend, models, parallel, quantizers
from minizo.data import download, load
from minizo.data.dataset import Dataset
from minizo.data.idx import write_idx
from minizo.mnist import main as train_on_mnist

collect_ignore = ["fakegpu"]  # its modules want the simulated card to be in place


def pytest_addoption(parser):
    """``--fakegpu``."""
    parser.addoption(
        "--fakegpu", action="store_true", help="run the tests marked gpu on a simulated card"
    )


def pytest_configure(config):
    """Put the simulated card under CuPy before any test imports it."""
    if config.getoption("--fakegpu") and fakegpu.missing() is None:
        fakegpu.install()


@pytest.fixture(scope="module", autouse=True)
def one_core(request):
    """Keep to one core: tests run in as many processes as there are.

    Modules that test how the limit is set and lifted say ``OWN_BLAS = True``.
    """
    own = getattr(request.module, "OWN_BLAS", False)
    with nullcontext() if own else parallel.one_blas_thread():
        yield


@pytest.fixture(scope="session")
def cupy(request):
    """CuPy where there is a usable card, real or simulated; skipped elsewhere."""
    try:
        return backend.get("cupy")
    except InputError:
        wanted = request.config.getoption("--fakegpu")
        pytest.skip(wanted and fakegpu.missing() or "needs CuPy and a usable GPU, or --fakegpu")


@pytest.fixture
def torch():
    """PyTorch, on one thread; skipped where it is not installed."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)  # small work, and the machine may be busy
    return torch


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Neither $MINIZO_DATA nor a cache nor a network, until a test provides them."""

    def no_download(mirrors, file, digest, folder, progress):
        raise download.Unavailable("the test has no network")

    monkeypatch.delenv("MINIZO_DATA", raising=False)
    monkeypatch.setattr(download, "cache_folder", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(download, "_download", no_download)
    return tmp_path


@pytest.fixture
def on_strict():
    """What puts host data on the fake device of array-api-strict; skipped where that is missing."""
    strict = pytest.importorskip("array_api_strict")
    return lambda x: strict.asarray(np.asarray(x), device=strict.Device("device1"))


@pytest.fixture(scope="session")
def card(request, cupy):
    """The simulated card, which counts and which has as much memory as it is told."""
    if not request.config.getoption("--fakegpu"):
        pytest.skip("needs the simulated card: --fakegpu")
    return fakegpu


def pick(cls, values):
    """An object of the dataclass ``cls`` from those of the named values that it takes."""
    known = {name for name, field in cls.__dataclass_fields__.items() if field.init}
    return cls(**{name: value for name, value in values.items() if name in known})


def blobs(n, classes, inputs, seed, dtype=np.float32):
    """A learnable toy task: one random centre a class, noise around it, images 1 x 1 x inputs."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, inputs))
    labels = np.arange(n) % classes
    x = centres[labels] + 0.5 * rng.normal(size=(n, inputs))
    return x.reshape(n, 1, 1, inputs).astype(dtype), labels


@pytest.fixture(scope="session")
def points():
    """90 points of 4 numbers in 3 classes, in float64: the smallest thing that is learnt."""
    train, test = blobs(60, 3, 4, 1, np.float64), blobs(30, 3, 4, 2, np.float64)
    return Dataset("points", *train, *test, classes=3)


@pytest.fixture(scope="session")
def objective():
    """The loss of a 2-bit 4-5-3 network, for `points`."""
    return Objective(models.mlp(4, 5, 3, input_shape=(1, 1, 4)), quantizers.MidRise())


def write_corners(folder, size):
    """Write a data set as IDX files: 300 + 100 images whose bright corner is the label, 0 to 3."""
    rng, half = np.random.default_rng(0), size // 2
    for part, n in (("train", 300), ("t10k", 100)):
        labels = np.arange(n, dtype=np.uint8) % 4
        images = rng.integers(0, 100, (n, size, size), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[half * (label // 2) :, half * (label % 2) :][:half, :half] += 150
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture(scope="session")
def corners(tmp_path_factory):
    """The data set of `write_corners`, 8 x 8 pixels, in a folder called corners."""
    return write_corners(tmp_path_factory.mktemp("corners", numbered=False), 8)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: command(main, *flags) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # folders of own files are appended
    modules = dict(sys.modules)

    def run(main, *flags):
        try:
            code = main([str(flag) for flag in flags])
        except SystemExit as stop:  # argparse
            code = stop.code
        out = capsys.readouterr()
        return code, out.out, out.err

    yield run
    for name in sys.modules.keys() - modules.keys():  # own files of this test
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def call(corners, command):
    """call(*flags) -> (exit code, stdout, stderr) of a short `python -m minizo.mnist`."""

    def run(*flags, data=corners, steps=20, batch=30):
        own = ("--data", data, "--steps", steps, "--batch", batch, "--quiet")
        return command(train_on_mnist, *own, *flags)

    return run


def kill_once_there(process, path, seconds=60):
    """`kill -9` a running process as soon as the file at ``path`` exists."""
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(autouse=True)
def own_numbers(request):
    """A module's RNG starts anew for every test: the same numbers whichever tests ran before."""
    if hasattr(request.module, "RNG"):
        fresh = np.random.default_rng(crc32(request.node.name.encode()))
        request.module.RNG.bit_generator.state = fresh.bit_generator.state


@pytest.fixture
def toy():
    """400 training and 100 test examples of 12 features in 3 classes."""
    return Dataset("toy blobs", *blobs(400, 3, 12, 1), *blobs(100, 3, 12, 2), classes=3)


@pytest.fixture
def toy_net():
    """A 12-5-3 multi-layer perceptron."""
    return models.mlp(12, 5, 3)


@pytest.fixture
def toy_problem(toy_net):
    """(calibrated 2-bit objective, theta, batch) in float64."""
    theta = toy_net.init(3, like=np.empty(0))
    x, labels = blobs(30, 3, 12, 5, np.float64)
    objective = Objective(toy_net, quantizers.MidRise(bits=2)).calibrate(theta)
    return objective, theta, Batch(x, labels)


@pytest.fixture(scope="session")
def mnist():
    """Real MNIST; tests that need it are skipped where ``MINIZO_DATA`` does not lead to it."""
    folder = os.environ.get("MINIZO_DATA")
    if not folder or not (Path(folder) / "mnist").is_dir():
        pytest.skip("needs real MNIST: set MINIZO_DATA to the folder that holds mnist/")
    return load("mnist", progress=False)
