"""Networks of ours as PyTorch modules. Only imported by the benchmark and the oracle test.

Every layer becomes the module that a PyTorch user would take, under its own name, so that both
sides compute the same function of the same parameters.
"""

import numpy as np

from .. import layers

NAMES = {"scale": "weight", "shift": "bias", "mean": "running_mean", "var": "running_var"}


def their_name(name):
    """PyTorch's name of a parameter or running statistic of ours.

    >>> their_name("block1.bn1.scale"), their_name("conv1.weight")
    ('block1.bn1.weight', 'conv1.weight')
    """
    layer, _, part = name.rpartition(".")
    return f"{layer}.{NAMES.get(part, part)}"


def build(torch, objective, theta, binary=True):
    """A ``torch.nn.Module`` with the parameters theta that computes the objective's outputs.

    With ``binary`` the quantised weights are alpha sign(w), with the identity's slope; else w.
    """
    nn, network = torch.nn, objective.network
    scales = objective.scales if binary else {}
    alphas = {name: float(scale[0]) for name, scale in scales.items()}

    def straight_through(w, alpha):
        if alpha is None:
            return w
        q = alpha * (2.0 * (w >= 0).to(w.dtype) - 1.0)
        return w + (q - w).detach()

    class Conv(nn.Conv2d):
        alpha = None

        def forward(self, x):
            return self._conv_forward(x, straight_through(self.weight, self.alpha), self.bias)

    class Linear(nn.Linear):
        alpha = None

        def forward(self, x):
            return nn.functional.linear(x, straight_through(self.weight, self.alpha), self.bias)

    class Residual(nn.Sequential):
        def forward(self, x):
            y = x
            for name, child in self.named_children():
                y = y if name == "shortcut" else child(y)
            return y + self.shortcut(x)

    class ZeroPad(nn.Module):
        def __init__(self, layer):
            super().__init__()
            new = layer.outputs - layer.inputs
            self.stride, self.sides = layer.stride, (0, 0, 0, 0, new // 2, new - new // 2)

        def forward(self, x):
            return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], self.sides)

    def stack(named, prefix, kind=nn.Sequential):
        whole = kind()
        for name, layer in named.items():
            whole.add_module(name, module(layer, f"{prefix}{name}."))
        return whole

    def module(layer, prefix):
        match layer:
            case layers.Conv2d():
                sizes = (layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)
                made = Conv(*sizes, bias=layer.bias)
                made.alpha = alphas.get(f"{prefix}weight")
                return made
            case layers.Linear():
                made = Linear(layer.inputs, layer.outputs, bias=layer.bias)
                made.alpha = alphas.get(f"{prefix}weight")
                return made
            case layers.BatchNorm2d():
                return nn.BatchNorm2d(layer.channels, layer.eps, layer.momentum)
            case layers.BatchNorm1d():
                return nn.BatchNorm1d(layer.channels, layer.eps, layer.momentum)
            case layers.ReLU():
                return nn.ReLU()
            case layers.MaxPool2d():
                return nn.MaxPool2d(layer.size, layer.stride, layer.padding)
            case layers.GlobalAvgPool():
                return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            case layers.Flatten():
                return nn.Flatten()
            case layers.ZeroPad():
                return ZeroPad(layer)
            case layers.Residual():
                whole = stack(layer.body, prefix, Residual)
                shortcut = f"{prefix}shortcut."
                whole.add_module("shortcut", stack(layer.shortcut, shortcut))
                return whole
        raise TypeError(f"{type(layer).__name__} has no counterpart here")

    whole = stack(network.layers, "")
    views = network.views(theta)
    given = {their_name(n): torch.tensor(np.ascontiguousarray(v)) for n, v in views.items()}
    whole.to(next(iter(given.values())).dtype).load_state_dict(given, strict=False)
    return whole


def ste_step(torch, objective, theta, batch, lr=0.01, channels_last=False, compiled=False):
    """One step of straight-through training with `torch.optim.Adam`, as a callable.

    ``channels_last`` is PyTorch's name for the order of storage that our layers use; ``compiled``
    hands the network to `torch.compile`.
    """
    order = torch.channels_last if channels_last else torch.contiguous_format
    whole = build(torch, objective, theta).to(memory_format=order)
    optimizer = torch.optim.Adam(whole.parameters(), lr=lr)
    called = torch.compile(whole) if compiled else whole
    x, labels = torch.tensor(batch.x).to(memory_format=order), torch.tensor(batch.labels)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(called(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step
