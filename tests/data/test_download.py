"""Downloads, with servers on this machine in place of the real mirrors."""

import hashlib
import io
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from minizo import data
from minizo.data import download
from minizo.data.cifar import ARCHIVE, CIFAR100
from minizo.data.download import SOURCES, Unavailable, fetch
from minizo.data.idx import NAMES

FILES = {f"{name}.gz": f"content of {name}".encode() * 99 for name in NAMES}
FIRST = next(iter(FILES))


@pytest.fixture
def server():
    """A web server: ``server.pages[path]`` is what it sends, ``server.asked`` what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            # `promise` lets a test announce more than is sent.
            self.send_header("Content-Length", str(len(body or b"") + promise.get(self.path, 0)))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    asked, pages, promise = [], {}, {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.pages, server.promise = asked, pages, promise
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no proxy between us and the servers on this machine."""
    monkeypatch.setattr(download, "cache_folder", lambda name: tmp_path / "cache" / name)
    for name in "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def mirrors(monkeypatch):
    """Call it with the mirrors that "mnist" shall have."""

    def use(*urls):
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()}
        monkeypatch.setitem(SOURCES, "mnist", (list(urls), digests))

    return use


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kept(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_second_mirror_helps_out(server, cache, mirrors, capfd):
    mirrors(server.url + "gone/", server.url + "good/")
    server.pages.update({f"/good/{name}": body for name, body in FILES.items()})
    assert fetch("mnist", progress=False) == cache
    assert {name: (cache / name).read_bytes() for name in kept(cache)} == FILES
    # The mirror that worked is asked first from then on.
    first, *rest = FILES
    assert server.asked == [f"/gone/{first}", f"/good/{first}", *(f"/good/{n}" for n in rest)]
    assert capfd.readouterr() == ("", "")

    server.asked.clear()
    assert fetch("mnist") == cache and server.asked == []  # now from the cache
    assert len(SOURCES["mnist"][0]) == 2  # the table is as it was


def test_wrong_content_is_refused(server, cache, mirrors):
    mirrors(server.url)
    server.pages.update({f"/{name}": body + b"!" for name, body in FILES.items()})
    with pytest.raises(Unavailable, match=f"{FIRST}: 127.0.0.1: wrong SHA-256"):
        fetch("mnist", progress=False)
    assert kept(cache) == []
    assert len(server.asked) == 1  # the other files are not tried


def test_a_connection_that_breaks_leaves_nothing(server, cache, mirrors):
    mirrors(server.url)
    server.pages.update({f"/{name}": body for name, body in FILES.items()})
    server.promise[f"/{FIRST}"] = 1000
    with pytest.raises(Unavailable, match=FIRST):
        fetch("mnist", progress=False)
    assert kept(cache) == []


def test_a_damaged_cached_file_is_fetched_again(server, cache, mirrors):
    mirrors(server.url)
    server.pages.update({f"/{name}": body for name, body in FILES.items()})
    fetch("mnist", progress=False)
    server.asked.clear()
    (cache / FIRST).write_bytes(b"damaged")
    fetch("mnist", progress=False)
    assert (cache / FIRST).read_bytes() == FILES[FIRST] and server.asked == [f"/{FIRST}"]


def test_no_network_is_known_at_once(cache, mirrors, capfd):
    mirrors(*[f"http://127.0.0.1:{closed_port()}/"] * 2)
    start = time.perf_counter()
    with pytest.raises(Unavailable) as caught:
        fetch("mnist")
    assert time.perf_counter() - start < 5
    assert str(caught.value) == f"{FIRST}: 127.0.0.1: no connection, 127.0.0.1: no connection"
    assert kept(cache) == [] and capfd.readouterr() == ("", "")


def test_a_name_that_nobody_knows(cache, mirrors):
    mirrors("http://no-such-host.invalid/")  # a name reserved for this purpose
    with pytest.raises(Unavailable, match="no-such-host.invalid: (name not found|no answer)"):
        fetch("mnist")


def test_a_server_that_never_answers(cache, mirrors, monkeypatch):
    monkeypatch.setattr(download, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirrors(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(Unavailable, match="127.0.0.1: no answer in time"):
            fetch("mnist")
    assert kept(cache) == []


def test_a_slow_look_up_of_the_name_is_not_awaited(cache, mirrors, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.1)
    release = threading.Event()

    def stuck(*arguments, **options):
        release.wait(10)
        raise OSError("too late")

    monkeypatch.setattr(download.socket, "create_connection", stuck)
    mirrors("http://127.0.0.1/")
    start = time.perf_counter()
    with pytest.raises(Unavailable, match="no answer in time"):
        fetch("mnist")
    release.set()
    assert time.perf_counter() - start < 3


def test_a_cache_that_cannot_be_written(server, cache, mirrors):
    mirrors(server.url)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(Unavailable) as caught:
        fetch("mnist")
    assert "\n" not in str(caught.value)


def test_without_pooch(cache, mirrors, monkeypatch):
    mirrors("http://127.0.0.1/")
    monkeypatch.setitem(sys.modules, "pooch", None)  # the import fails
    with pytest.raises(Unavailable, match="the package pooch is not installed"):
        fetch("mnist")
    # A complete cache needs no pooch.
    cache.mkdir(parents=True)
    for name, body in FILES.items():
        (cache / name).write_bytes(body)
    assert fetch("mnist") == cache


def test_progress_goes_to_stderr(server, cache, mirrors, monkeypatch, capfd):
    pytest.importorskip("tqdm")
    mirrors(server.url + "gone/", server.url)
    server.pages.update({f"/{name}": body for name, body in FILES.items()})
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch("mnist", progress=True)
    drawn = terminal.getvalue()
    assert all(name in drawn for name in FILES) and drawn.count("100%") == len(FILES)
    assert drawn.count("\n") == len(FILES)  # the mirror that failed drew no bar
    assert capfd.readouterr().out == ""


def test_progress_without_tqdm(server, cache, mirrors, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    mirrors(server.url)
    server.pages.update({f"/{name}": body for name, body in FILES.items()})
    assert fetch("mnist", progress=True) == cache and capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the fallback knows Linux's place only")
@pytest.mark.parametrize("home", [None, "", "elsewhere"])
def test_the_cache_is_in_the_same_place_without_pooch(home, monkeypatch, tmp_path):
    pytest.importorskip("pooch")
    if home is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", home and str(tmp_path / home))
    with_pooch = download.cache_folder("mnist")
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert download.cache_folder("mnist") == with_pooch
    assert with_pooch.parts[-2:] == ("minizo", "mnist") and isinstance(with_pooch, Path)


@pytest.mark.skipif(sys.platform != "linux", reason="homes are found in another way elsewhere")
@pytest.mark.parametrize("with_pooch", [True, False])
def test_no_home_folder(with_pooch, monkeypatch, tmp_path):
    """Neither HOME nor an entry in passwd, as in containers: said, and no folder called ~ made."""
    pwd = pytest.importorskip("pwd")
    monkeypatch.chdir(tmp_path)
    for name in "HOME", "XDG_CACHE_HOME", "MINIZO_DATA":
        monkeypatch.delenv(name, raising=False)

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    if not with_pooch:
        monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(Unavailable, match="no home folder to keep it in: set XDG_CACHE_HOME or"):
        fetch("mnist")
    lines = []
    drawn = data.synthetic_digits(10, 10)
    monkeypatch.setattr(data, "synthetic_digits", lambda dtype: drawn)
    assert data.mnist(notice=lines.append) is drawn
    assert len(lines) == 1 and "no home folder" in lines[0] and list(tmp_path.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # control
    assert download.cache_folder("mnist") == tmp_path / "minizo" / "mnist"


def test_what_is_downloaded_has_the_mode_that_the_umask_asks_for(server, cache, mirrors):
    mirrors(server.url)
    server.pages.update({f"/{name}": body for name, body in FILES.items()})
    before = os.umask(0o027)
    try:
        fetch("mnist", progress=False)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o640}


def test_the_table_is_well_formed():
    for name, (mirrors, files) in SOURCES.items():
        assert all(m.startswith("http") and m.endswith("/") for m in mirrors) and mirrors
        idx = [f"{file}.gz" for file in NAMES]
        other = {
            "cifar10": [ARCHIVE],
            "cifar100": [CIFAR100.archive],
            "tinyshakespeare": ["input.txt"],
        }
        assert list(files) == other.get(name, idx)
        assert all(len(digest) == 64 and int(digest, 16) for digest in files.values())
