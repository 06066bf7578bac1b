"""``python -m benchmarks memory``: bytes allocated for a step; memory in use over many uncompiled steps and shapes."""

from __future__ import annotations

import argparse
import gc

from .measure import resident_bytes, table
from .step_memory import report
from .workloads import WORKLOADS


def main(arguments: list[str]) -> None:
    """Print the steps' bytes, then run both loops and print the memory in use at ten points of each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--workloads", default="resnet20,char-gpt", help="whose steps (default: resnet20,char-gpt)")
    parser.add_argument("--steps", type=int, default=200_000, help="uncompiled steps of iris (default: 200,000)")
    parser.add_argument("--shapes", type=int, default=10_000, help="calls with random shapes (default: 10,000)")
    options = parser.parse_args(arguments)
    report([name for name in options.workloads.split(",") if name])
    import numpy as np

    import chainrule as cr

    from .sides import ours

    workload = WORKLOADS["iris"]
    step, data = ours.build(workload), ours.tensors(workload)
    generator = np.random.default_rng(0)

    def random_shapes(_):
        rows, inner, columns = (int(n) for n in generator.integers(1, 300, 3))
        a = cr.asarray(generator.standard_normal((rows, inner), dtype=np.float32))
        b = cr.asarray(generator.standard_normal((inner, columns), dtype=np.float32))
        float(cr.tanh(a @ b + 1.0).sum())

    for title, count, call in (
        ("uncompiled training steps", options.steps, lambda _: step(*data)),
        ("calls with random shapes", options.shapes, random_shapes),
    ):
        if not count:
            continue
        tenth = max(1, count // 10)
        rows = []
        for number in range(count + 1):
            if number % tenth == 0:
                gc.collect()
                rows.append([f"{number:,}", f"{resident_bytes() / 2**20:.1f} MiB"])
            if number < count:
                call(number)
        table(title, ["done", "in use"], rows)
        grown = float(rows[-1][1].split()[0]) - float(rows[len(rows) // 2][1].split()[0])
        print(f"  growth over the second half: {grown:+.1f} MiB")
