"""The selective scan by other means: a plain NumPy loop, and our chunks written in PyTorch."""

from math import ceil, sqrt

import numpy as np


def loop(x, dy):
    """Forward and backward, one step of time after the other, as one would write it in NumPy.

    Every number of the result equals `minizo.hypernets.scan`'s; names as there.
    """
    u, dt, A, B, C = x
    h = np.zeros(A.shape, u.dtype)
    states, y = [h], np.empty_like(u)
    for t in range(len(u)):
        h = np.exp(dt[t, :, None] * A) * h + (dt[t] * u[t])[:, None] * B[t]
        states.append(h)
        y[t] = h @ C[t]
    du, ddt, db, dc, da = (np.zeros_like(v) for v in (u, dt, B, C, A))
    mu = np.zeros_like(h)
    for t in reversed(range(len(u))):
        lam = dy[t, :, None] * C[t] + mu
        mu = np.exp(dt[t, :, None] * A) * lam
        w = mu * states[t]
        taken = lam @ B[t]
        du[t], ddt[t] = dt[t] * taken, np.sum(w * A, axis=1) + u[t] * taken
        db[t], dc[t] = (dt[t] * u[t]) @ lam, dy[t] @ states[t + 1]
        da += w * dt[t, :, None]
    return y, (du, ddt, da, db, dc)


def torch_chunks(torch, x, dy, chunk):
    """A callable that does `minizo.hypernets.chunked` with PyTorch's kernels, forward and backward.

    The same three passes over the same blocks, in place where PyTorch can, without autograd.
    """
    u, dt, a_, b_, c_, dy = (torch.tensor(v) for v in (*x, dy))
    a_ = a_.T.contiguous()
    (length, channels), states = u.shape, b_.shape[1]
    blocks = max(1, round(sqrt(chunk) / 2.0))
    steps = ceil(chunk / blocks)

    def grid(v):
        padded = torch.zeros((steps * blocks, v.shape[1]), dtype=v.dtype)
        padded[: len(v)] = v
        return padded.reshape(blocks, steps, -1).permute(1, 0, 2).contiguous()

    def line(v, count):
        return v.permute(1, 0, 2).reshape(steps * blocks, -1)[:count]

    def found(time, h):
        part = [grid(v[time]) for v in (u, dt, b_, c_)]
        u_, dt_, b, _ = part
        a = torch.exp_(dt_[..., None, :] * a_)
        states_ = (dt_ * u_)[..., None, :] * b[..., None]
        end = states_[0].clone()
        for s in range(1, steps):
            end.mul_(a[s]).add_(states_[s])
        decay = torch.exp_(dt_.sum(0)[..., None, :] * a_)
        start = torch.empty((blocks + 1, states, channels), dtype=u.dtype)
        start[0] = h
        for k in range(blocks):
            torch.addcmul(end[k], decay[k], start[k], out=start[k + 1])
        before = start[:-1]
        for s in range(steps):
            states_[s].addcmul_(a[s], before)
            before = states_[s]
        return part, a, states_, start, decay

    def work():
        times = [slice(t, min(t + chunk, length)) for t in range(0, length, chunk)]
        y, du, ddt = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
        db, dc, da = torch.empty_like(b_), torch.empty_like(c_), torch.zeros_like(a_)
        kept, h = [], torch.zeros((states, channels), dtype=u.dtype)
        for time in times:
            kept.append(h)
            part, _, states_, start, _ = found(time, h)
            y[time] = line(torch.matmul(part[3][..., None, :], states_)[..., 0, :], len(u[time]))
            h = start[-1].clone()
        mu = torch.zeros_like(h)
        for time, h in zip(reversed(times), reversed(kept), strict=True):
            (u_, dt_, b, c), a, states_, start, decay = found(time, h)
            g = grid(dy[time])
            lam = g[..., None, :] * c[..., None]
            m = torch.zeros_like(lam[0])
            for s in reversed(range(steps)):
                m.add_(lam[s]).mul_(a[s])
            reach = torch.empty_like(start)
            reach[-1] = mu
            for k in reversed(range(blocks)):
                torch.addcmul(m[k], decay[k], reach[k + 1], out=reach[k])
            after = reach[1:]
            for s in reversed(range(steps)):
                lam[s].add_(after)
                after = torch.mul(a[s], lam[s], out=m)
                torch.mul(m, states_[s - 1] if s else start[:-1], out=a[s])
            mu = reach[0].clone()
            taken = torch.matmul(b[..., None, :], lam)[..., 0, :]
            own = [torch.matmul(lam, (dt_ * u_)[..., None])[..., 0]]
            own.append(torch.matmul(states_, g[..., None])[..., 0])
            da.add_(torch.mul(a, dt_[..., None, :], out=lam).sum((0, 1)))
            own += [dt_ * taken, a.mul_(a_).sum(-2) + u_ * taken]
            for whole, value in zip((db, dc, du, ddt), own, strict=True):
                whole[time] = line(value, len(u[time]))
        return y, (du, ddt, da.T, db, dc)

    return work
