"""``python -m benchmarks matmul``: matrix products on one thread, in % of the measured peak.

Each shape in the three transpositions that training needs: the forward product ``x @ w``, the weights' gradient
``x.T @ g`` and the inputs' gradient ``g @ w.T``. Two products with the same right operand, written over results that
exist already, make a step, and sixteen steps a call, so that the cost of the call is shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

SHAPES = ((128, 784, 512), (128, 512, 512))
PRODUCTS, STEPS = 2, 16


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
            ours = [cr.asarray(a) for a in lefts]
            right_ours = cr.asarray(right)
            results = [np.zeros(product(a, right).shape, np.float32) for a in lefts]
            cells = [cr.asarray(r) for r in results]

            def step(b, *many, product=product, cells=cells):
                for cell, a in zip(cells, many):
                    cell[...] = product(a, b)

            compiled = cr.compile(step)

            def numpy_steps(r=right, o=lefts, out=results, kind=kind):
                for _ in range(STEPS):
                    for a, result in zip(o, out):
                        np.matmul(a.T if kind == "x.T @ g" else a, r.T if kind == "g @ w.T" else r, out=result)

            calls = {"chainrule": lambda f=compiled, r=right_ours, o=ours: f.repeat(STEPS, r, *o), "numpy": numpy_steps}
            outputs = {"chainrule": lambda c=cells: [t.numpy() for t in c], "numpy": lambda r=results: r}
            if torch is not None:
                tensors = [torch.from_numpy(a) for a in lefts]
                right_torch = torch.from_numpy(right)
                given = [torch.empty(r.shape) for r in results]

                def torch_steps(r=right_torch, o=tensors, out=given, kind=kind):
                    for _ in range(STEPS):
                        for a, result in zip(o, out):
                            torch.matmul(a.T if kind == "x.T @ g" else a, r.T if kind == "g @ w.T" else r, out=result)

                calls["torch"] = torch_steps
                outputs["torch"] = lambda g=given: [t.numpy() for t in g]
            for call in calls.values():
                call()
            for result in outputs.values():
                for got, want in zip(result(), outputs["numpy"]()):
                    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(options.rounds):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call()
                    seconds[name].append((time.perf_counter() - start) / (PRODUCTS * STEPS))
            flops = 2 * m * k * n
            for name, times in seconds.items():
                shares = [100 * flops / t / peak / 1e9 for t in (statistics.median(times), min(times))]
                rows.append([f"{m}x{k}x{n}", kind, name, f"{shares[0]:.1f}", f"{shares[1]:.1f}"])
    table(f"one thread, % of {peak:.0f} GFLOP/s", ["shape", "product", "", "median", "best"], rows)
