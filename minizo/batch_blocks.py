"""A large batch in blocks of examples, which walk through the layers of a network side by side.

How many there are is decided by the work alone, never by the workers: it defines the sums. A
population, many runs, and a device have enough to do at once, and stay whole.
"""

from math import prod

from . import backend

BLOCKS = 4  # into which a batch is cut at most
BLOCK_MACS = 100_000_000  # in the smallest block, multiply-accumulates: some milliseconds
BLOCK_EXAMPLES = 2  # in the smallest block, examples


def even_slices(n, count):
    """Slices that cut n examples into ``count`` blocks of about the same size.

    >>> even_slices(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return [slice(n * k // count, n * (k + 1) // count) for k in range(count)]


def block_count(network, params, x):
    """Into how many blocks the examples x (N, ...) are cut."""
    examples = x.shape[0]
    most = min(BLOCKS, examples * network.macs // BLOCK_MACS, examples // BLOCK_EXAMPLES)
    if most < 2 or not (network.cuts and backend.is_numpy(backend.namespace(x))):
        return 1
    # of one theta only
    known = network.stack.shapes.items()
    return most if all(params[name].size == prod(shape) for name, shape in known) else 1


def cut(network, params, x):
    """(params, x) of every block: random arrays are cut with the examples, all else is shared."""
    count = block_count(network, params, x)
    if count == 1:
        return [(params, x)]
    random = [name for name in network.random if name in params]
    return [
        ({**params, **{name: params[name][part, ...] for name in random}}, x[part, ...])
        for part in even_slices(x.shape[0], count)
    ]


def joined(outputs, axes):
    """Outputs of all blocks as one array; each example has so many axes."""
    return outputs[0] if len(outputs) == 1 else backend.concat(outputs, -1 - axes)
