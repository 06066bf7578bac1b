"""``python -m benchmarks matmul``: matrix products on one thread, in % of the measured peak.

Each shape in the three transpositions that training needs: the forward product ``x @ w``, the weights' gradient
``x.T @ g`` and the inputs' gradient ``g @ w.T``. Eight products with the same right operand make a call, so that the
cost of the call is shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

SHAPES = ((128, 784, 512), (128, 512, 512))
PRODUCTS = 8


def _operands(m: int, k: int, n: int, kind: str):
    """Left operands and the right one, as stored, with the product written for arrays with ``.T``."""
    import numpy as np

    generator = np.random.default_rng(0)

    def make(*shape):
        return generator.standard_normal(shape, dtype=np.float32)

    if kind == "x @ w":
        return [make(m, k) for _ in range(PRODUCTS)], make(k, n), lambda a, b: a @ b
    if kind == "x.T @ g":
        return [make(m, k) for _ in range(PRODUCTS)], make(m, n), lambda a, b: a.T @ b
    return [make(m, n) for _ in range(PRODUCTS)], make(k, n), lambda a, b: a @ b.T


def main(arguments: list[str]) -> None:
    """Time the products in turn on every side and print medians and bests."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks matmul", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args(arguments)
    # BLAS libraries read these when they are loaded
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import numpy as np

    import chainrule as cr

    from .measure import table
    from .peak import fma_gflops

    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        torch = None
    cr.set_num_threads(1)
    peak = fma_gflops(1)
    rows = []
    for m, k, n in SHAPES:
        for kind in ("x @ w", "x.T @ g", "g @ w.T"):
            lefts, right, product = _operands(m, k, n, kind)
            compiled = cr.compile(lambda b, *many, product=product: tuple(product(a, b) for a in many))
            ours = [cr.asarray(a) for a in lefts]
            right_ours = cr.asarray(right)
            calls = {
                "chainrule": lambda f=compiled, r=right_ours, o=ours: [t.numpy() for t in f(r, *o)],
                "numpy": lambda p=product, r=right, o=lefts: [p(a, r) for a in o],
            }
            if torch is not None:
                tensors = [torch.from_numpy(a) for a in lefts]
                right_torch = torch.from_numpy(right)
                calls["torch"] = lambda p=product, r=right_torch, o=tensors: [p(a, r) for a in o]
            expected = calls["numpy"]()
            for got, want in zip(calls["chainrule"](), expected):
                np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(options.rounds):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call()
                    seconds[name].append((time.perf_counter() - start) / PRODUCTS)
            flops = 2 * m * k * n
            for name, times in seconds.items():
                shares = [100 * flops / t / peak / 1e9 for t in (statistics.median(times), min(times))]
                rows.append([f"{m}x{k}x{n}", kind, name, f"{shares[0]:.1f}", f"{shares[1]:.1f}"])
    table(f"one thread, % of {peak:.0f} GFLOP/s", ["shape", "product", "", "median", "best"], rows)
