"""The transformers of ours in PyTorch, as functions. Only imported by the benchmark and its test.

PyTorch's own fused parts are used wherever there are some: scaled_dot_product_attention, rms_norm,
layer_norm, gelu, silu, embedding.
"""

import numpy as np

from .rivals import quantize


def loss_of(torch, objective, theta, batch, straight=True):
    """(loss(params) -> tensor, params as leaves): F of the objective, 2-bit mid-rise weights.

    With ``straight`` the quantised weights have the identity's slope; without, none, and attention
    is written out, since `torch.func.vmap` knows no batched form of the fused one.
    """
    functional, network = torch.nn.functional, objective.network
    alphas = {name: float(scale[0]) for name, scale in objective.scales.items()}
    leaves = {n: torch.tensor(np.ascontiguousarray(v)) for n, v in network.views(theta).items()}
    x, labels = torch.tensor(np.array(batch.x)), torch.tensor(np.array(batch.labels))
    logits = llama if "embedding.weight" in leaves and x.ndim == 2 else vit

    def loss(params):
        def weight(name):
            w = params[name]
            if name not in alphas:
                return w
            q = quantize(torch, w, alphas[name])
            return w + (q - w).detach() if straight else q

        outputs = logits(torch, network, params, weight, x, fused=straight)
        return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())

    return loss, leaves


def _heads(qkv, heads, size, keys):
    # (N, T, (H + 2K) D) -> three of (N, H or K, T, D)
    n, length, _ = qkv.shape
    parts = qkv.split([heads * size, keys * size, keys * size], dim=-1)
    return [part.reshape(n, length, -1, size).transpose(1, 2) for part in parts]


def _attended(torch, layer, qkv, fused):
    q, k, v = _heads(qkv, layer.heads, layer.size, layer.keys)
    if layer.rotary is not None:
        half = layer.size // 2
        turns = layer.rotary ** (-torch.arange(half, dtype=q.dtype) / half)
        angles = torch.arange(q.shape[-2], dtype=q.dtype)[:, None] * turns
        cosine, sine = angles.cos(), angles.sin()

        def turned(z):
            a, b = z[..., :half], z[..., half:]
            return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1)

        q, k = turned(q), turned(k)
    if fused:
        o = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=layer.causal, enable_gqa=layer.shared > 1
        )
    else:
        scores = q @ k.transpose(-1, -2) / layer.size**0.5
        if layer.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        o = scores.softmax(dim=-1) @ v
    return o.transpose(1, 2).flatten(-2)


def llama(torch, network, params, weight, x, fused=True):
    """Logits (N, T, V) of `minizo.models.llama`."""
    functional = torch.nn.functional
    h = functional.embedding(x, weight("embedding.weight"))

    def norm(h, name):
        scale = params[f"{name}.scale"]
        return functional.rms_norm(h, scale.shape, scale, 1e-5)

    for index, block in network.layers["layers"].layers.items():
        name = f"layers.{index}"
        qkv = functional.linear(
            norm(h, f"{name}.attention.norm"), weight(f"{name}.attention.qkv.weight")
        )
        o = _attended(torch, block.layers["attention"].body["heads"], qkv, fused)
        h = h + functional.linear(o, weight(f"{name}.attention.out.weight"))
        y = norm(h, f"{name}.mlp.norm")
        up = functional.linear(y, weight(f"{name}.mlp.gated.up.weight"))
        gate = functional.silu(functional.linear(y, weight(f"{name}.mlp.gated.gate.fc.weight")))
        h = h + functional.linear(up * gate, weight(f"{name}.mlp.down.weight"))
    return functional.linear(norm(h, "norm"), weight("head.weight"))


def vit(torch, network, params, weight, x, fused=True):
    """Logits (N, K) of `minizo.models.vit` with a class token."""
    functional, size = torch.nn.functional, network.layers["patches"].size

    def linear(h, name):
        return functional.linear(h, weight(f"{name}.weight"), params[f"{name}.bias"])

    def norm(h, name):
        scale = params[f"{name}.scale"]
        return functional.layer_norm(h, scale.shape, scale, params[f"{name}.shift"])

    patches = functional.unfold(x, size, stride=size).transpose(1, 2)
    h = linear(patches, "embedding")
    token = params["token.token"].expand(h.shape[0], 1, h.shape[-1])
    h = torch.cat([token, h], dim=1) + params["positions.table"]
    for index, block in network.layers["layers"].layers.items():
        name = f"layers.{index}"
        qkv = linear(norm(h, f"{name}.attention.norm"), f"{name}.attention.qkv")
        o = _attended(torch, block.layers["attention"].body["heads"], qkv, fused)
        h = h + linear(o, f"{name}.attention.out")
        y = linear(norm(h, f"{name}.mlp.norm"), f"{name}.mlp.up")
        h = h + linear(functional.gelu(y, approximate="tanh"), f"{name}.mlp.down")
    return linear(norm(h, "norm")[:, 0], "head")


def ste_step(torch, objective, theta, batch, lr=0.01):
    """One step of straight-through training with `torch.optim.Adam`, as a callable."""
    loss_at, leaves = loss_of(torch, objective, theta, batch)
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    optimizer = torch.optim.Adam(leaves.values(), lr=lr)

    def step():
        optimizer.zero_grad()
        loss = loss_at(leaves)
        loss.backward()
        optimizer.step()
        return loss

    return step


def spsa_vmap(torch, objective, theta, batch, eps, n, chunk):
    """n-SPSA by `torch.func.vmap` over perturbed parameters, ``chunk`` directions at a time."""
    loss_at, leaves = loss_of(torch, objective, theta, batch, straight=False)
    sizes = {
        name: torch.tensor(np.ascontiguousarray(v))
        for name, v in objective.network.views(eps).items()
    }
    many = torch.func.vmap(loss_at)

    @torch.no_grad()
    def step():
        total = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        for start in range(0, n, chunk):
            count = min(chunk, n - start)
            u = {k: (2.0 * torch.rand(count, *v.shape) - 1.0) * 3.0**0.5 for k, v in leaves.items()}
            above = many({k: v + sizes[k] * u[k] for k, v in leaves.items()})
            below = many({k: v - sizes[k] * u[k] for k, v in leaves.items()})
            for name in total:
                total[name] += torch.tensordot(above - below, u[name], dims=1)
        return {name: value / (2.0 * n * sizes[name]) for name, value in total.items()}

    return step
