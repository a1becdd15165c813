"""Loss and accuracy over a whole data set."""

from . import backend
from .memory import in_parts, told

EVALUATION_BATCH = 5000
EVALUATION_NUMBERS = 2**22  # in the widest layer's output: 16 MiB in float32


@told
def evaluate(objective, theta, x, labels, state=None):
    """Mean loss and accuracy over a whole data set, with running statistics ``state``.

    In batches of `EVALUATION_BATCH` examples, fewer where a layer's output is wide.

    Returns
    -------
    loss, accuracy : float
    """
    most = max(1, min(EVALUATION_BATCH, EVALUATION_NUMBERS // objective.network.widest))
    loss, right = totals(objective, theta, x, labels, state, most)
    return float(loss) / labels.shape[0], float(right) / labels.shape[0]


def totals(objective, theta, x, labels, state, most):
    """Sum of the losses and number of right answers over a whole data set: (...) for (..., d).

    In batches of at most ``most`` examples, which all of the thetas share.
    """
    xp = backend.namespace(theta)
    weights = objective.weights_in_use(theta, state)

    def sums(part):
        outputs = objective.network.predict(weights, x[part, ...])
        loss = outputs.shape[-2] * objective.loss.forward(outputs, labels[part])[0]
        hits = xp.astype(xp.argmax(outputs, axis=-1) == labels[part], theta.dtype)
        return loss, xp.sum(hits, axis=-1)

    key = (theta.shape, x.shape)
    parts = in_parts(sums, labels.shape[0], "examples to evaluate", theta, most, key)
    loss = right = 0.0
    for own_loss, own_right in parts:
        loss, right = loss + own_loss, right + own_right
    return loss, right
