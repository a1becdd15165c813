"""Small data sets in the formats of CIFAR-10 and CIFAR-100, as Python 2 and NumPy 1 wrote them."""

import gzip
import io
import lzma
import struct
import tarfile

import numpy as np

from minizo.data.cifar import NAMES, UNPACKED

PACKING = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def string(value):
    """The instruction for a Python 2 string."""
    short = len(value) < 256
    return (b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value))) + value


def integer(value):
    """The shortest instruction for a number."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 2**16:
        return b"M" + struct.pack("<H", value)
    return b"J" + struct.pack("<i", value)


def array(values, kind=b"u1", fortran=b"\x89"):
    """The instructions for a two-dimensional array."""
    rows, columns = values.shape
    empty = b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b\x87R"
    minus = integer(-1)
    dtype = (
        b"cnumpy\ndtype\nq\x06" + string(kind) + integer(0) + integer(1) + b"\x87R"
        b"(" + integer(3) + string(b"|") + b"NNN" + minus + minus + integer(0) + b"tb"
    )
    shape = integer(rows) + integer(columns) + b"\x86"
    state = b"(" + integer(1) + shape + dtype + fortran + string(values.tobytes()) + b"t"
    return empty + state + b"b"


def listing(parts):
    """The instructions for a list."""
    return b"]q\x07(" + b"".join(parts) + b"e"


def pickle_of(**entries):
    """A whole pickle: a dict whose values are given as instructions."""
    body = b"".join(string(name.encode()) + value for name, value in entries.items())
    return b"\x80\x02}q\x01(" + body + b"u."


def batch(images, labels, name=b"a batch"):
    """A batch of images (N, 3, 32, 32) uint8 with labels (N,)."""
    rows = images.reshape(len(images), -1)
    numbers, files = listing(map(integer, map(int, labels))), listing([string(b"x.png")] * 2)
    entries = {"batch_label": string(name), "labels": numbers, "data": array(rows)}
    return pickle_of(**entries, filenames=files)


def draw(n, seed=0, classes=10):
    """n images, each with one bright stripe whose place is the label, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 80, (n, 3, 32, 32), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label % 3, 3 * label : 3 * label + 3, :] += 150
    return images, labels


def contents(n=20, test=20, classes=10):
    """Name -> bytes of the six batches: n training images each, and the test images."""
    sizes = {name: n for name in NAMES} | {NAMES[-1]: test}
    return {name: batch(*draw(sizes[name], i, classes)) for i, name in enumerate(NAMES)}


def hundred(images, fine, name=b"training batch 1 of 1", coarse=None):
    """A file of CIFAR-100; the superclass of a class is its fifth, unless ``coarse`` are given."""
    coarse = np.asarray(fine) // 5 if coarse is None else coarse
    lists = {"fine_labels": fine, "coarse_labels": coarse}
    numbers = {entry: listing(map(integer, map(int, own))) for entry, own in lists.items()}
    rows = array(images.reshape(len(images), -1))
    files = listing([string(b"x.png")] * 2)
    return pickle_of(filenames=files, batch_label=string(name), **numbers, data=rows)


def contents100(n=200, test=100):
    """Name -> bytes of train, test and meta; n training images and the test images."""
    files = {}
    for name, part, size in ("train", b"training", n), ("test", b"testing", test):
        images, _ = draw(size, len(part))
        files[name] = hundred(images, np.arange(size) * 11 % 100, part + b" batch 1 of 1")
    names = {"fine": 100, "coarse": 20}
    lists = {
        f"{kind}_label_names": listing(
            [string(b"%s %d" % (kind.encode(), i)) for i in range(count)]
        )
        for kind, count in names.items()
    }
    return files | {"meta": pickle_of(**lists)}


def write_folder(folder, batches, suffix=""):
    """The batches as files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in batches.items():
        (folder / f"{name}{suffix}").write_bytes(PACKING[suffix](data))
    return folder


def archive(batches, mode="w:gz", inner=UNPACKED):
    """The batches as the bytes of a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, data in batches.items():
            member = tarfile.TarInfo(f"{inner}/{name}")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
