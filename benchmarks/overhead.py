"""``python -m benchmarks overhead``: what surrounds the work.

A call of a compiled step beyond its work; compilation cold and warm; a new batch size; the time of the import.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from .compile_time import compile_seconds
from .measure import microseconds, table, users_environment
from .workloads import WORKLOADS


def call_microseconds(threads: int | None = None, repeats: int = 15, count: int = 1000) -> tuple[float, float]:
    """Median time of a call of the compiled `iris` step, and of the same step inside `repeat`."""
    import chainrule as cr

    from .sides import ours

    if threads:
        cr.set_num_threads(threads)
    workload = WORKLOADS["iris"]
    data = ours.tensors(workload)
    step = cr.compile(ours.build(workload))
    float(step(*data))
    float(step.repeat(count, *data)[-1])
    calls, inside = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            loss = step(*data)
        float(loss)
        calls.append(time.perf_counter() - start)
        start = time.perf_counter()
        float(step.repeat(count, *data)[-1])
        inside.append(time.perf_counter() - start)
    return statistics.median(calls) / count * 1e6, statistics.median(inside) / count * 1e6


def new_batch_sizes(name: str = "mnist-mlp", sizes=(149, 97, 64, 200, 33)) -> list[tuple[int, float, float]]:
    """(batch, first call, later call) in seconds of a step that was compiled for another batch size."""
    import chainrule as cr

    from .sides import ours

    workload = WORKLOADS[name]
    data = ours.tensors(workload)
    step = cr.compile(ours.build(workload))

    def seconds(size: int) -> float:
        rows = [t[:size] for t in data]
        for t in rows:
            t.numpy()  # slices are evaluated before the clock starts
        start = time.perf_counter()
        float(step(*rows))
        return time.perf_counter() - start

    seconds(workload.batch)
    return [(size, seconds(size), min(seconds(size) for _ in range(5))) for size in sizes]


def import_seconds(repeats: int = 11) -> tuple[float, float]:
    """Median seconds of ``import numpy``, and of ``import chainrule`` after it, in fresh processes."""
    program = (
        "import time; a = time.perf_counter(); import numpy; b = time.perf_counter(); "
        "import chainrule; print(b - a, time.perf_counter() - b)"
    )
    pairs = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", program], env=users_environment(), check=True, capture_output=True, text=True
        )
        pairs.append([float(number) for number in done.stdout.split()])
    numpy, ours = zip(*pairs)
    return statistics.median(numpy), statistics.median(ours)


def main(arguments: list[str]) -> None:
    """Run the measurements and print them beside their aims."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks overhead", description=__doc__)
    parser.parse_args(arguments)
    numpy, ours = import_seconds()
    call, inside = call_microseconds()
    times, deep = compile_seconds("mnist-mlp"), compile_seconds("resnet20")
    rows = [
        ["import chainrule above import numpy", f"{ours * 1e3:.1f} ms", "40 ms", f"numpy itself {numpy * 1e3:.1f} ms"],
        ["call of a compiled step", f"{call - inside:.1f} us", "20 us", f"beyond its work ({inside:.1f} us)"],
        ["mnist-mlp compiled cold", f"{times['cold_compile_s'] * 1e3:.0f} ms", "500 ms", "beyond tracing"],
        ["mnist-mlp loaded from disk", f"{times['warm_compile_s'] * 1e3:.0f} ms", "50 ms", "beyond tracing"],
        ["mnist-mlp traced", f"{times['trace_s'] * 1e3:.0f} ms", "", ""],
        ["resnet20 compiled cold", f"{deep['cold_compile_s'] * 1e3:.0f} ms", "1500 ms", "beyond tracing"],
        ["resnet20 loaded from disk", f"{deep['warm_compile_s'] * 1e3:.0f} ms", "100 ms", "beyond tracing"],
        ["resnet20 traced", f"{deep['trace_s'] * 1e3:.0f} ms", "", ""],
    ]
    for size, first, later in new_batch_sizes():
        note = f"then {microseconds(later * 1e6)} a step"
        rows.append([f"new batch size {size}", f"{(first - later) * 1e3:.1f} ms", "20 ms", note])
    table("overheads", ["", "measured", "aim", ""], rows)
