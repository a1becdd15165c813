"""Networks whose layers stay as they are, with packed weights.

A transformer's activations are real numbers, and so are those behind a residual sum: there is
nothing to fold. What is saved is the weights: codes that reproduce each of them bit for bit
(`minizo.export.pack.exactly`). The same layers compute with them, so outputs are those of training,
bit for bit, on the same machine and with the same examples in one call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..data import Vocabulary
from ..data.checks import tokens
from ..data.tokens import LEVELS, Text
from ..errors import InputError, require
from ..network import Network
from ..sampling import TEMPERATURE, write
from ..types import Array, Arrays
from .pack import Codes, exactly
from .trained import Trained


@dataclass(frozen=True, eq=False)
class ExportedLayers:
    """A network of the layers that were trained, on NumPy.

    Parameters
    ----------
    network : Network
    params : dict of str to Codes or ndarray
        Of every parameter and running statistic, whole numbers or floats.
    dtype : str
        Of real numbers, as in training.
    text : Vocabulary, optional
        What the tokens stand for that the network reads.

    Raises
    ------
    InputError
        If names, shapes or dtypes are not those of the network, or the text's tokens are others.

    Examples
    --------
    >>> from minizo import STE, Objective, data, export, fit, models, optim, quantizers
    >>> text = data.synthetic_text(context=8, n_train=100, n_test=10)
    >>> llama = models.llama(text.classes, width=8, layers=1, heads=2, context=8)
    >>> inner = models.chosen(llama, "layers.*")
    >>> objective = Objective(llama, quantizers.MidRise(bits=2), quantized=inner)
    >>> run = fit(objective, text, STE(), optim.Adam(0.01), steps=5, batch=20)
    >>> net = ExportedLayers.of(export.Trained.of(run), text)
    >>> net.params["layers.1.mlp.down.weight"].bits, net.weights["head.weight"].shape
    (2, (27, 8))
    >>> bool(np.all(net.outputs(text.x_test) == llama.predict(run.weights, text.x_test)))
    True
    >>> net.write("ab", length=6)
    'abxzbqiu'
    """

    network: Network
    params: Mapping
    dtype: str
    text: Vocabulary | None = None

    def __post_init__(self):
        net, found = self.network, self._arrays
        state = net.init_state(np.empty(0, self.dtype))
        known = net.layer_shapes | {name: value.shape for name, value in state.items()}
        for name in known | found:
            shape = found[name].shape if name in found else None
            require(shape == known.get(name), f"the shape of {name}", shape,
                    f"the network has {known.get(name)}")  # fmt: skip
            remedy = f"it must be {self.dtype}"
            require(found[name].dtype == self.dtype, f"the dtype of {name}", found[name].dtype,
                    remedy)  # fmt: skip
        if self.text is not None:
            remedy = "this network takes no tokens: leave it out"
            require(self.codes is not None, "text", self.text, remedy)
            right = isinstance(self.text, Vocabulary) and self.text.level in LEVELS
            require(right, "text", self.text, "it must be a minizo.data.Text, or its Vocabulary")
            words, size = self.text.vocabulary, self.codes
            right = isinstance(words, tuple) and all(isinstance(word, str) for word in words)
            right = right and 0 < len(set(words)) == len(words) <= size
            remedy = f"the network knows {size} tokens: give the text that it was trained on"
            require(right, "the number of different tokens", len(set(words)), remedy)

    @classmethod
    def of(cls, trained: Trained, text: Text | Vocabulary | None = None) -> Self:
        """From a `Trained` network and, where it reads tokens, its `minizo.data.Text`."""
        known = {**trained.weights, **trained.running}
        few = {name: exactly(known[name]) for name in trained.quantized}
        params = {n: value if few.get(n) is None else few[n] for n, value in known.items()}
        own = trained.network
        network = Network(own.layers, own.input_shape, tied=own.tied)
        if isinstance(text, Vocabulary):  # without the sequences of a Text
            text = Vocabulary(text.name, tuple(text.vocabulary), text.level)
        return cls(network, params, str(next(iter(known.values())).dtype), text)

    @cached_property
    def _arrays(self):
        return {
            name: own.value.astype(self.dtype) if isinstance(own, Codes) else own
            for name, own in self.params.items()
        }

    @property
    def codes(self) -> int | None:
        """How many tokens the network knows; ``None`` where it does not read any."""
        return self.network.places[0].layer.codes

    @property
    def weights(self) -> Arrays:
        """All parameters by name, as the network was trained with them."""
        return {name: self._arrays[name] for name in self.network.layer_shapes}

    @property
    def bits(self) -> float:
        """Mean number of bits a weight, including those that are not quantised."""
        sizes = [
            (own.k.size, own.bits) if isinstance(own, Codes) else (own.size, 8 * own.itemsize)
            for name, own in self.params.items()
            if self.network.is_weight(name)
        ]
        return sum(n * bits for n, bits in sizes) / max(1, sum(n for n, _ in sizes))

    def outputs(self, x: Array) -> np.ndarray:
        """Outputs (N, *output_shape), as in training.

        Parameters
        ----------
        x : ndarray
            Images (N, *input_shape) as in training, or tokens (N, T).
        """
        if self.codes is not None:
            return self.network.predict(self._arrays, tokens("x", x, self.codes))
        right = tuple(x.shape[1:]) == self.network.input_shape
        remedy = f"this network takes (N, {self.network.input_shape})"
        require(right, "x's shape", x.shape, remedy)
        remedy = "this network takes images as it was trained with"
        require(x.dtype.kind == "f", "x's dtype", str(x.dtype), remedy)
        return self.network.predict(self._arrays, x.astype(self.dtype, copy=False))

    def predict(self, x: Array) -> np.ndarray:
        """The class of the largest output, int (N,); of tokens the likeliest next, (N, T)."""
        return np.argmax(self.outputs(x), axis=-1)

    def write(
        self, begin: str, length: int = 300, temperature: float = TEMPERATURE, seed: int = 0
    ) -> str:
        """Continue a text, as `minizo.sampling.write`.

        Raises
        ------
        InputError
            If the file has no vocabulary, and as there.
        """
        if self.text is None:
            raise InputError(
                "this network has no vocabulary to write with; export it with text=, the text that "
                "it was trained on"
            )
        return write(self.network, self._arrays, self.text, begin, length, temperature, seed)
