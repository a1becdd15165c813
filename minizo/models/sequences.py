"""Networks for sequences: a language model after LLaMA, one of LSTMs, and a classifier of images.

The two transformers are the same stack: a residual block with attention, a residual block with a
two-layer network, and so on, each with its norm in front ("pre-norm").
"""

from ..errors import require
from ..layers import (
    GELU,
    LSTM,
    Attention,
    ClassToken,
    Dropout,
    Embedding,
    FirstToken,
    Gated,
    LayerNorm,
    Linear,
    MeanToken,
    Patches,
    Positions,
    Residual,
    RMSNorm,
    SiLU,
    Stack,
)
from ..network import Network
from ..settings import real, truth, whole, wholes
from ..types import Shape
from .activations import Activation, input_layer

POOLS = ("token", "mean")
HEAD = {"head.weight": "embedding.weight"}  # of a language model, tied


def _sizes(width, layers, heads, shared=1):
    # as Python's whole numbers, and the numbers of one head
    width, layers, heads = whole("width", width), whole("layers", layers), whole("heads", heads)
    shared = whole("shared", shared)
    right = width % heads == 0
    require(right, "width", width, f"it must be a multiple of the {heads} heads")
    return width, layers, heads, shared, width // heads


def _quantized(inputs, bits):
    # name -> {name: the layer that quantises activations}, or nothing where none does
    layer = input_layer(inputs, bits)
    return lambda name: {} if layer is None else {name: layer}


def llama(
    vocabulary: int,
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
    context: int = 64,
    shared: int = 1,
    hidden: int | None = None,
    inputs: Activation | None = None,
    input_bits: int | None = None,
    tied: bool = False,
) -> Network:
    """A language model after LLaMA: what comes after each token of a sequence.

    Embedding; ``layers`` times attention (causal, rotary positions) and SwiGLU, each a residual
    block with an RMSNorm in front; RMSNorm, and a linear head without biases.

    Parameters
    ----------
    vocabulary : int
        V, the number of different tokens.
    width : int
        C, the length of the vector at each position.
    layers : int
        Number of blocks (attention and SwiGLU).
    heads : int
        Heads of each attention, which divide the width.
    context : int
        T, the tokens of a sequence in training; there are no weights that depend on it.
    shared : int
        How many heads have one key and one value in common (grouped-query attention).
    hidden : int, optional
        Width of SwiGLU; by default 8 C / 3, rounded up to a multiple of 8.
    inputs : str, quantizer or layer, optional
        What quantises the activations that every inner linear layer takes: absmax (each token by
        its largest number, BitNet), quest, lsq, midtread, midrise, sign; by default nothing does.
        Four a block: ``attention.inputs``, ``attention.mixed``, ``mlp.inputs``, ``mlp.hidden``.
    input_bits : int, optional
        Bits of ``inputs``, by default those of the quantiser (absmax 8, lsq 2, the others 2);
        without ``inputs``, of absmax.
    tied : bool
        Whether the head's weight is the embedding's (`HEAD`), and not one of its own.

    Returns
    -------
    Network
        Of (T,) tokens, whose output is (T, V). Its inner weights are called
        ``layers.1.attention.qkv.weight``, ``layers.1.attention.out.weight``,
        ``layers.1.mlp.gated.up.weight``, ``layers.1.mlp.gated.gate.fc.weight`` and
        ``layers.1.mlp.down.weight``; the others ``embedding.weight`` and ``head.weight``.

    Notes
    -----
    Queries, keys and values are one product, and so one quantised tensor. Start: variance
    1 / inputs, but 1 / (2 layers inputs) where a residual block ends (as in GPT-2, so that the sum
    of all blocks keeps its size), and 0.1 / C for the head, so that the first loss is about log V.

    References
    ----------
    H. Touvron et al., "LLaMA: open and efficient foundation language models", 2023, section 2.2.

    Examples
    --------
    >>> network = llama(65)
    >>> network.d, network.output_shape, network.macs
    (108992, (64, 65), 7737344)
    """
    width, layers, heads, shared, size = _sizes(width, layers, heads, shared)
    hidden = -(-width * 8 // 24) * 8 if hidden is None else whole("hidden", hidden)
    attention = Attention(heads, size, shared)
    quantized = _quantized(inputs, input_bits)

    def block():
        return Stack({
            "attention": Residual({
                "norm": RMSNorm(width),
                **quantized("inputs"),
                "qkv": Linear(width, attention.inputs, bias=False, variance=1.0),
                "heads": attention,
                **quantized("mixed"),
                "out": Linear(width, width, bias=False, variance=0.5 / layers),
            }),
            "mlp": Residual({
                "norm": RMSNorm(width),
                **quantized("inputs"),
                "gated": Gated(
                    {"up": Linear(width, hidden, bias=False, variance=1.0)},
                    {"fc": Linear(width, hidden, bias=False, variance=1.0), "act": SiLU()},
                ),
                **quantized("hidden"),
                "down": Linear(hidden, width, bias=False, variance=0.5 / layers),
            }),
        })  # fmt: skip

    return Network(
        {
            "embedding": Embedding(vocabulary, width),
            "layers": Stack({str(i): block() for i in range(1, layers + 1)}),
            "norm": RMSNorm(width),
            "head": Linear(width, vocabulary, bias=False, variance=0.1),
        },
        (whole("context", context),),
        tied=HEAD if truth("tied", tied) else {},
    )


def lstm_lm(
    vocabulary: int,
    *,
    width: int = 128,
    layers: int = 1,
    context: int = 64,
    dropout: float = 0.0,
    tied: bool = False,
) -> Network:
    """A language model of LSTM layers: embedding, LSTMs, and a linear head.

    Parameters
    ----------
    vocabulary : int
        V, the number of different tokens.
    width : int
        Numbers of the embedding and of every LSTM.
    layers : int
        How many LSTMs, one on top of the other.
    context : int
        T, the tokens of a sequence in training; the state does not outlast it.
    dropout : float
        Rate in [0, 1) behind the embedding and every LSTM, in training; 0 for none.
    tied : bool
        Whether the head's weight is the embedding's, as for `llama`.

    Returns
    -------
    Network
        Of (T,) tokens, whose output is (T, V). Its weights are called ``embedding.weight``,
        ``layers.1.lstm.input.weight``, ``layers.1.lstm.recurrent.weight`` and ``head.weight``.

    References
    ----------
    W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization", 2014, section
    3.2 (where dropout is).

    Examples
    --------
    >>> network = lstm_lm(65)
    >>> network.d, network.output_shape
    (148289, (64, 65))
    """
    width, layers, context = (
        whole("width", width),
        whole("layers", layers),
        whole("context", context),
    )
    rate = real("dropout", dropout, "[0, 1)")
    drop = {"drop": Dropout(rate)} if rate else {}
    blocks = {str(i): Stack({"lstm": LSTM(width, width), **drop}) for i in range(1, layers + 1)}
    return Network(
        {
            "embedding": Embedding(vocabulary, width),
            **drop,
            "layers": Stack(blocks),
            "head": Linear(width, vocabulary, variance=0.1),
        },
        (context,),
        tied=HEAD if truth("tied", tied) else {},
    )


def vit(
    input_shape: Shape = (1, 28, 28),
    classes: int = 10,
    *,
    patch: int = 4,
    width: int = 64,
    layers: int = 4,
    heads: int = 4,
    hidden: int | None = None,
    pool: str = "token",
    inputs: Activation | None = None,
    input_bits: int | None = None,
) -> Network:
    """A vision transformer: patches of an image as a sequence, and one vector of it classified.

    Patches, linear, class token and learned positions; ``layers`` times attention and a two-layer
    network with GELU, each a residual block with a LayerNorm in front; LayerNorm, linear.

    Parameters
    ----------
    input_shape : tuple of int
        (C, H, W).
    classes : int
    patch : int
        Pixels of a patch's side, which divides H and W.
    width : int
        Numbers of a place.
    layers : int
        How many times attention and a two-layer network.
    heads : int
        Heads of each attention, which divide the width.
    hidden : int, optional
        Width inside the two-layer networks; by default 4 ``width``.
    pool : {"token", "mean"}
        What is classified: a class token, or the mean of all places.
    inputs, input_bits : optional
        What quantises the activations that every inner linear layer takes, as for `llama`.

    Returns
    -------
    Network
        Its inner weights are called ``layers.1.attention.qkv.weight``,
        ``layers.1.attention.out.weight``, ``layers.1.mlp.up.weight`` and
        ``layers.1.mlp.down.weight``; the others ``embedding.weight`` and ``head.weight``.

    References
    ----------
    A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, equations 1 to 4.

    Examples
    --------
    >>> network = vit()
    >>> network.d, network.output_shape, network.macs
    (205066, (10,), 11161216)
    """
    image = wholes("input_shape", input_shape)
    width, layers, heads, _, size = _sizes(width, layers, heads)
    hidden = 4 * width if hidden is None else whole("hidden", hidden)
    require(pool in POOLS, "pool", pool, f"choose from {POOLS}")
    cut = Patches(whole("patch", patch))
    places, numbers = cut.output_shape(image)
    quantized = _quantized(inputs, input_bits)

    def block():
        return Stack({
            "attention": Residual({
                "norm": LayerNorm((width,)),
                **quantized("inputs"),
                "qkv": Linear(width, 3 * width, variance=1.0),
                "heads": Attention(heads, size, causal=False, rotary=None),
                **quantized("mixed"),
                "out": Linear(width, width, variance=0.5 / layers),
            }),
            "mlp": Residual({
                "norm": LayerNorm((width,)),
                **quantized("inputs"),
                "up": Linear(width, hidden),
                "act": GELU(),
                **quantized("hidden"),
                "down": Linear(hidden, width, variance=0.5 / layers),
            }),
        })  # fmt: skip

    token = {"token": ClassToken(width)} if pool == "token" else {}
    return Network(
        {
            "patches": cut,
            "embedding": Linear(numbers, width, variance=1.0),
            **token,
            "positions": Positions(places + len(token), width),
            "layers": Stack({str(i): block() for i in range(1, layers + 1)}),
            "norm": LayerNorm((width,)),
            "pool": FirstToken() if pool == "token" else MeanToken(),
            "head": Linear(width, classes, variance=0.1),
        },
        image,
    )
