"""``python -m tests.compiler.representative FILE``: results of a representative set of programs, as an npz file.

Run once for each set of instructions (``CHAINRULE_TARGET``), to be compared.
"""

from __future__ import annotations

import sys

import numpy as np

import chainrule as cr
from chainrule.backends.cpu import toolchain

F = cr.functional
ELEMENTARY = "exp expm1 log log1p tanh sin cos tan atan sinh erf sigmoid sqrt floor round"


def array(*shape: int, dtype=np.float32, seed: int = 0) -> cr.Tensor:
    return cr.asarray(np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype))


def maps() -> dict:
    """Elementary functions over their ranges, whole vectors and rests, both floating dtypes."""
    results = {}
    for dtype in (np.float32, np.float64):
        x = np.concatenate([np.linspace(-9, 9, 1001), np.geomspace(1e-30, 1e30, 502), [0.0, -0.0, 1e9, np.inf, -1e-40]])
        x = cr.asarray(x.astype(dtype))
        for name in ELEMENTARY.split():
            function = getattr(cr, name, None) or getattr(F, name)
            results[f"{name} {x.dtype.name}"] = cr.compile(lambda x, f=function: f(x))(x)
        results[f"fused {x.dtype.name}"] = cr.compile(lambda x: cr.where(x > 0, F.gelu(x) * 0.5 + x, cr.abs(x) ** x))(x)
    return results


def reductions() -> dict:
    results = {}
    for shape, dtypes in (((3, 5), (np.float32,)), ((37, 70), (np.float32, np.float64)), ((1000, 33), (np.float32,))):
        for dtype in dtypes:
            x, name = array(*shape, dtype=dtype), f"{shape} {np.dtype(dtype).name}"

            def reduce(x):
                sums = [cr.sum(x, axis=0), cr.sum(x, axis=1), cr.sum(x), cr.sum(x.T, axis=1), cr.mean(x * x)]
                return [*sums, cr.max(x, axis=1), cr.argmax(x, axis=0), F.softmax(x, 1), F.log_softmax(x, 0)]

            results |= {f"{i} {name}": value for i, value in enumerate(cr.compile(reduce)(x))}
    for dtype in (np.float32, np.float64):  # long rows, whose walks are in step
        x, name = array(19, 333, dtype=dtype), f"of long rows, {np.dtype(dtype).name}"
        results[f"softmax {name}"] = cr.compile(lambda x: F.softmax(x, 1))(x)
        results[f"layer norm {name}"] = cr.compile(lambda x: F.layer_norm(x, (333,)))(x)
    return results


def products() -> dict:
    results = {}
    for m, k, n in ((1, 17, 33), (37, 41, 53), (20, 600, 10), (1, 512, 7), (65, 10, 40)):
        for dtype in (np.float32, np.float64) if m == 37 else (np.float32,):
            a, b, name = array(m, k, dtype=dtype), array(k, n, dtype=dtype), f"{m}x{k}x{n} {np.dtype(dtype).name}"
            results[f"NN {name}"] = cr.compile(lambda a, b: a @ b)(a, b)
            results[f"NT {name}"] = cr.compile(lambda a, b: a @ b.T)(a, cr.asarray(b.numpy().T.copy()))
            results[f"TN {name}"] = cr.compile(lambda a, b: a.T @ b + 1.0)(cr.asarray(a.numpy().T.copy()), b)
            results[f"uncompiled {name}"] = a @ b
    return results


def convolutions() -> dict:
    """Forward and both gradients; nothing where the package has no convolution."""
    if not hasattr(F, "conv2d"):
        return {}
    results = {}
    cases = (((2, 1, 9, 9), (8, 1, 3, 3), 1, 1, 1), ((2, 16, 8, 8), (20, 16, 3, 3), 2, 1, 1))
    cases += (((2, 16, 7, 7), (16, 1, 3, 3), 1, 1, 16), ((2, 5, 6, 6), (33, 5, 1, 1), 1, 0, 1))
    cases += (((4, 18, 9, 8), (20, 18, 3, 3), 1, 1, 1),)
    for shape, kernel, stride, padding, groups in cases:

        def gradients(x, w, stride=stride, padding=padding, groups=groups):
            y, pull = cr.vjp(lambda x, w: F.conv2d(x, w, None, stride, padding, 1, groups), x, w)
            return [y, *pull(y)]

        values = cr.compile(gradients)(array(*shape), array(*kernel))
        results |= {f"{i} {shape} {kernel}": value for i, value in enumerate(values)}
    return results


def attentions() -> dict:
    """Forward and all gradients, exponentials kept and not."""
    results = {}
    for m, n, e, causal, dtype in (
        (64, 64, 32, True, np.float32), (67, 45, 20, False, np.float32), (70, 530, 7, True, np.float32),
        (530, 529, 5, False, np.float32), (35, 37, 20, True, np.float64),
    ):  # fmt: skip

        def gradients(q, k, v, causal=causal):
            y, pull = cr.vjp(lambda *x: F.scaled_dot_product_attention(*x, is_causal=causal), q, k, v)
            return [y, *pull(y)]

        operands = [array(3, length, e, dtype=dtype, seed=i) for i, length in enumerate((m, n, n))]
        values = cr.compile(gradients)(*operands)
        results |= {f"{i} {m}x{n}x{e} {causal}": value for i, value in enumerate(values)}
    return results


def training() -> dict:
    """Parameters and losses of three steps of a small network with Adam."""
    cr.manual_seed(0)
    model = cr.nn.Sequential(
        cr.nn.Linear(21, 40), cr.nn.Tanh(), cr.nn.Linear(40, 24), cr.nn.GELU(), cr.nn.Linear(24, 5)
    )
    optimizer = cr.optim.Adam(model.parameters(), lr=1e-2)
    x, labels = array(50, 21), cr.asarray(np.arange(50) % 5)

    def step(x, labels):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step)
    results = {f"loss {i}": compiled(x, labels) for i in range(3)}
    return results | {f"parameter {i}": p for i, p in enumerate(model.parameters())}


GROUPS = {
    "map": maps, "reduce": reductions, "product": products, "convolution": convolutions, "attention": attentions,
    "training": training,
}  # fmt: skip


def main(path: str) -> None:
    target = toolchain.host()
    values = {f"{group}/{name}": np.asarray(v) for group, make in GROUPS.items() for name, v in make().items()}
    np.savez(path, **values, target=np.array([target.vector_bits, target.has_fma]))


if __name__ == "__main__":
    main(sys.argv[1])
