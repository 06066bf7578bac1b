"""``python -m benchmarks bfloat16``: a training step under autocast and a matrix product, beside float32.

One thread. The step is that of `training`: bfloat16 in products and attention, float32 in parameters and optimiser.
Both precisions run in turn on the same batch; medians are compared with medians, bests with bests.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager

from .kernels import in_turn
from .measure import microseconds, table

#: aim of both quotients
AIM = 1.6


def _steps(workload) -> dict[str, Callable[[int], None]]:
    """``run(steps)`` of a workload's training step, by precision."""
    import chainrule as cr

    from .sides import ours

    batch = ours.checked_columns(workload, ours.tensors(workload), 1)

    def runner(precision: AbstractContextManager | None) -> Callable[[int], None]:
        step = cr.compile(ours.build(workload, precision))

        def run(steps: int) -> None:
            for _ in range(steps):
                step(*batch)

        return run

    return {"float32": runner(None), "bfloat16": runner(cr.autocast("bfloat16"))}


def _products(size: int) -> dict[str, Callable[[int], None]]:
    """``run(steps)`` of a product of square matrices, by the dtype of operands and result."""
    import numpy as np

    import chainrule as cr

    generator = np.random.default_rng(0)
    left, right = (cr.asarray(generator.standard_normal((size, size), dtype=np.float32)) for _ in range(2))

    def runner(dtype) -> Callable[[int], None]:
        operands = left.astype(dtype), right.astype(dtype)
        product = cr.compile(cr.matmul)

        def run(steps: int) -> None:
            for _ in range(steps):
                product(*operands)

        return run

    return {dtype.name: runner(dtype) for dtype in (cr.float32, cr.bfloat16)}


def main(arguments: list[str]) -> None:
    """Time the steps and the product, and print the quotients."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks bfloat16", description=__doc__)
    parser.add_argument("--workloads", default="char-gpt", help="comma-separated names (default: char-gpt)")
    parser.add_argument("--size", type=int, default=1024, help="of the square matrices (default: 1024)")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    import chainrule as cr

    from .workloads import find

    cr.set_num_threads(1)
    rows = []
    for name in (name for name in options.workloads.split(",") if name):
        rows.append([name, *_row(_steps(find(name)), options.rounds)])
    rows.append([f"product of {options.size}x{options.size}", *_row(_products(options.size), options.rounds)])
    columns = ["step or kernel", "float32", "bfloat16", "quotient", "of bests", "aim"]
    table("bfloat16 beside float32, one thread, medians", columns, rows)


def _row(sides: dict[str, Callable[[int], None]], rounds: int) -> list[str]:
    blocks = in_turn(sides, rounds)
    cells = []
    for summary in (statistics.median, min):
        single, half = (1e6 * summary(blocks[name]) for name in ("float32", "bfloat16"))
        cells += [microseconds(single), microseconds(half), f"{single / half:.2f}"]
    return [*cells[:3], cells[5], str(AIM)]
