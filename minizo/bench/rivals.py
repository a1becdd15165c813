"""The same steps in PyTorch, written as its users would. Only imported by the benchmark.

Each function returns a callable that does one step and the value that it must agree on with ours.
"""

import numpy as np


def torch_or_none():
    """PyTorch, or ``None`` where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def quantize(torch, w, alpha):
    """2-bit mid-rise staircase."""
    return (torch.clamp(torch.floor(w / alpha), -2.0, 1.0) + 0.5) * alpha


def parameters(torch, objective, theta):
    """(weights and biases as leaves, scales), from ours."""
    views = objective.network.views(theta)
    scales = {name: float(scale[0]) for name, scale in objective.scales.items()}
    return {name: torch.tensor(np.array(v)) for name, v in views.items()}, scales


def ste_step(torch, objective, theta, batch, lr=0.01, **adam):
    """One step of straight-through training with `torch.optim.Adam`."""
    params, scales = parameters(torch, objective, theta)
    for value in params.values():
        value.requires_grad_(True)
    optimizer = torch.optim.Adam(params.values(), lr=lr, **adam)
    x = torch.tensor(batch.x.reshape(len(batch.labels), -1))
    labels = torch.tensor(batch.labels)

    def quantized(name):
        w = params[name]
        return w + (quantize(torch, w, scales[name]) - w).detach()

    def step():
        optimizer.zero_grad()
        h = torch.relu(torch.nn.functional.linear(x, quantized("fc1.weight"), params["fc1.bias"]))
        z = torch.nn.functional.linear(h, quantized("fc2.weight"), params["fc2.bias"])
        loss = torch.nn.functional.cross_entropy(z, labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def spsa_parts(torch, objective, theta, batch, eps):
    """(loss of one flat theta, theta, eps) in PyTorch, for `torch.func.vmap` and loops."""
    _, scales = parameters(torch, objective, theta)
    shapes, slices = objective.network.shapes, objective.network.slices
    x = torch.tensor(batch.x.reshape(len(batch.labels), -1))
    labels = torch.tensor(batch.labels)

    def loss(flat):
        p = {name: flat[slices[name]].reshape(shape) for name, shape in shapes.items()}
        for name, alpha in scales.items():
            p[name] = quantize(torch, p[name], alpha)
        h = torch.relu(torch.nn.functional.linear(x, p["fc1.weight"], p["fc1.bias"]))
        z = torch.nn.functional.linear(h, p["fc2.weight"], p["fc2.bias"])
        return torch.nn.functional.cross_entropy(z, labels)

    return loss, torch.tensor(theta), torch.tensor(eps)


def spsa_loop(torch, objective, theta, batch, eps, n):
    """n-SPSA with a Python loop over the directions."""
    loss, theta, eps = spsa_parts(torch, objective, theta, batch, eps)

    @torch.no_grad()
    def step():
        total = torch.zeros_like(theta)
        for _ in range(n):
            u = (2.0 * torch.rand_like(theta) - 1.0) * 3.0**0.5
            total += (loss(theta + eps * u) - loss(theta - eps * u)) * u
        return total / (2.0 * n * eps)

    return step


def spsa_vmap(torch, objective, theta, batch, eps, n, chunk):
    """n-SPSA with the loss vectorised over all perturbed parameters, ``chunk`` at a time."""
    loss, theta, eps = spsa_parts(torch, objective, theta, batch, eps)
    many = torch.func.vmap(loss, chunk_size=chunk)

    @torch.no_grad()
    def step():
        u = (2.0 * torch.rand(n, theta.numel()) - 1.0) * 3.0**0.5
        difference = many(theta + eps * u) - many(theta - eps * u)
        return difference @ u / (2.0 * n * eps)

    return step


def spsa_chunks(torch, objective, theta, batch, eps, n, chunk):
    """n-SPSA with ``chunk`` directions drawn, evaluated by `torch.func.vmap` and added at a time.

    Faster than `spsa_vmap` with the same chunk for a large n, and the only one of the two whose
    memory does not grow with n.
    """
    loss, theta, eps = spsa_parts(torch, objective, theta, batch, eps)
    many = torch.func.vmap(loss)

    @torch.no_grad()
    def step():
        total = torch.zeros_like(theta)
        for start in range(0, n, chunk):
            u = (2.0 * torch.rand(min(chunk, n - start), theta.numel()) - 1.0) * 3.0**0.5
            total += (many(theta + eps * u) - many(theta - eps * u)) @ u
        return total / (2.0 * n * eps)

    return step
