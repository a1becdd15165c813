"""Trained networks as small files, and predictions from them, with whole numbers where they can.

    python -m minizo.export RUN            every network of a run folder, checked on its test set

    export.save("net.npz", run)            run: what `minizo.fit` gave
    net = export.load("net.npz")
    net.predict(images)                    classes; net.outputs(images) the numbers behind them
    net.weights["fc1.weight"]              the quantised weights as the network was trained with

    export.save("llama.npz", run, text=data)         a language model and its vocabulary
    export.load("llama.npz").write("ROMEO:", 300)    300 characters, without the training text

A run has two sets of weights: the *latent* ones, real numbers that the optimiser moves, and the
*quantised* ones, which the network computes with (`Trained.latent`, `Trained.weights`). Only the
second are needed to use the network, and only they are exported: 1 bit a weight for binary, 2 for
ternary and 2-bit, b for b-bit ones. What comes back depends on the layers:

    `Exported`        perceptrons and convolutional networks. Biases and batch normalisation are
                      folded into thresholds of whole numbers where an activation quantiser follows,
                      into one product and one sum a channel elsewhere (`minizo.export.fold` says
                      how, and how far predictions can differ).
    `ExportedLayers`  all others of minizo's own layers: transformers, LSTMs, residual networks. The
                      layers stay as they are, and outputs are those of training to the last bit
                      (`minizo.export.layers`). A weight that few bits cannot give back so, such as
                      one that was transformed after it was quantised, stays floating-point.

The file
--------
An ``.npz`` archive (ZIP, deflated) of two members, written whole or not at all; nothing in it is
pickled, and the same network gives the same bytes.

``header.json``, UTF-8, has

    format        "minizo export"
    version       1, or 2 with layers in place of steps
    dtype         "float32" or "float64", of real numbers
    input_shape   of one example: [C, H, W] of an image, [T] of a sequence of tokens
    steps         version 1: what is done to a batch of images, one after the other
    layers        version 2: {"named": {name: layer, ...}}, in the order of the data
    tied          version 2: {"named": {name: name, ...}}, parameters that are others
    params        version 2: {"named": {name: array or Codes, ...}}, parameters and running
                  statistics, by the names that `minizo.Network` gives them
    text          version 2: null or a Vocabulary
    sha256        hexadecimal SHA-256 of the header without this entry, as JSON without spaces and
                  in the same order, followed by the bytes of ``data.npy``'s array

``data.npy`` is a uint8 array: the numbers of all arrays that the header names, in that order.

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
    Apply        layer: MaxPool2d (size 2, stride, padding 0), Flatten, ReLU or HardTanh
    Encode       layer: a QuantizedActivation; step: s:  q = Q(x) / s, whole numbers again

A floating-point weight (of a layer that was not quantised) is a Product with a "float" weight.

A layer is {"op": the name of a class of `minizo.layers`, ...} with its settings, where those that
are made of layers have {"named": ...} again, and QuantizedActivation a quantizer, {"op": the name
of a class of `minizo.quantizers`, ...} without its surrogate, which only training needs. No other
classes are built. The rest of version 2:

    Codes         k, step, levels: a weight, s k or levels[k], as in Product
    Vocabulary    name; vocabulary: what token 0, 1, ... is called; level "characters" or "words"
"""

from .file import load, save
from .layers import ExportedLayers
from .steps import Exported
from .trained import Trained, read_run

__all__ = ["Exported", "ExportedLayers", "Trained", "load", "read_run", "save"]


def __dir__():
    return __all__
