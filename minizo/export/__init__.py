"""Trained networks as small files, and predictions from them with whole numbers.

    python -m minizo.export RUN            every network of a run folder, checked on its test set

    export.save("net.npz", run)            run: what `minizo.fit` gave
    net = export.load("net.npz")
    net.predict(images)                    classes; net.outputs(images) the numbers behind them
    net.weights["fc1.weight"]              the quantised weights as the network was trained with

A run has two sets of weights: the *latent* ones, real numbers that the optimiser moves, and the
*quantised* ones, which the network computes with (`Trained.latent`, `Trained.weights`). Only the
second are needed to use the network, and only they are exported: 1 bit a weight for binary, 2 for
ternary and 2-bit, b for b-bit ones. Biases and batch normalisation are folded into thresholds of
whole numbers where an activation quantiser follows, into one product and one sum a channel
elsewhere (`minizo.export.fold` says how, and how far predictions can differ).

The file
--------
An ``.npz`` archive (ZIP, deflated) of two members, written whole or not at all; nothing in it is
pickled, and the same network gives the same bytes.

``header.json``, UTF-8, has

    format        "minizo export"
    version       1
    dtype         "float32" or "float64", of real numbers
    input_shape   [C, H, W] of one image
    steps         what is done to a batch of images, one after the other
    sha256        hexadecimal SHA-256 of the header without this entry, as JSON without spaces and
                  in the same order, followed by the bytes of ``data.npy``'s array

``data.npy`` is a uint8 array: the numbers of all arrays that the steps name, in that order.

    {"packed": [b, low, gap], "shape": [...]}   whole numbers low + gap u, u of b bits each, in C
                                                order, lowest bit first; the last byte is filled up
                                                with zeros
    {"float": 32 or 64, "shape": [...]}         floating-point numbers, little endian

A step is {"op": its name, ...}; what is left out has its default:

    Pixels       q = 255 x; bytes are taken as they are
    Product      name; weight: k (F, m) or (F, C, kh, kw); step: s, 1, a number or one for each of
                 the F outputs, the weight is s k; stride [1, 1] and padding [0, 0] of a
                 convolution; levels: the weight is levels[k]; bound: the largest result, where
                 inputs are whole numbers; binary: inputs and k are all +-1
                 y_f = sum_j k_fj q_j, or sum_j levels[k_fj] q_j
    Thresholds   t (K, C); falling (C,); low; gap; close (`minizo.export.fold`)
                 y = low + gap i,  i = #{k : q_c >= t_kc}, K - i where falling_c is 1
    Affine       a, b of shape () or (C,):  x = a_c q + b_c, from here on real numbers
    Apply        layer: MaxPool2d (size 2, stride), Flatten, ReLU or HardTanh
    Encode       layer: a QuantizedActivation; step: s:  q = Q(x) / s, whole numbers again

A floating-point weight (of a layer that was not quantised) is a Product with a "float" weight.
"""

from .file import load, save
from .steps import Exported
from .trained import Trained, read_run

__all__ = ["Exported", "Trained", "load", "read_run", "save"]
