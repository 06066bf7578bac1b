"""``python -m benchmarks uncompiled``: code without ``compile``.

Training steps beside PyTorch eager; the cost of recording an operation; the first use of an operation in a fresh
process with an empty cache; the first use of a new shape.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time

from .measure import available_cores, microseconds, table, users_environment
from .workloads import WORKLOADS

#: largest aims: uncompiled step over PyTorch eager
AIMS = {"iris": 3.0, "mnist-mlp": 1.0}
#: operations whose first use is timed, as functions of two float32 tensors (4, 6)
OPERATIONS = {
    "a + b": lambda cr, a, b: a + b,
    "a * b + 1": lambda cr, a, b: a * b + 1.0,
    "exp": lambda cr, a, b: cr.exp(a),
    "tanh": lambda cr, a, b: cr.tanh(a),
    "sum of an axis": lambda cr, a, b: cr.sum(a, axis=1),
    "max of an axis": lambda cr, a, b: cr.max(a, axis=0),
    "where": lambda cr, a, b: cr.where(a > b, a, b),
    "a @ b.T": lambda cr, a, b: a @ b.T,
    "concat": lambda cr, a, b: cr.concat([a, b], axis=0),
    "a[1:, ::2]": lambda cr, a, b: a[1:, ::2],
    "take": lambda cr, a, b: cr.take(a, cr.asarray([2, 0]), axis=0),
    "softmax": lambda cr, a, b: cr.nn.functional.softmax(a, dim=1),
}


def first_uses() -> dict[str, dict[str, float]]:
    """Seconds of the first, of a later use of each operation, and of its first use with another shape."""
    import numpy as np

    import chainrule as cr
    import chainrule.nn  # its import is no part of an operation's first use

    def pair(*shape):
        return [cr.asarray(np.linspace(-1, 1, 24 if shape == (4, 6) else 63, dtype=np.float32).reshape(shape))] * 2

    def seconds(operation, operands):
        start = time.perf_counter()
        operation(cr, *operands).numpy()
        return time.perf_counter() - start

    small, other = pair(4, 6), pair(7, 9)
    (small[0] - small[1]).numpy()  # starts the engine: llvmlite is imported, the host is looked at
    found = {}
    for name, operation in OPERATIONS.items():
        first = seconds(operation, small)
        later = min(seconds(operation, small) for _ in range(5))
        found[name] = {"first": first, "later": later, "new_shape": seconds(operation, other)}
    return found


def _first_uses_in_fresh_process() -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        environment = users_environment(CHAINRULE_CACHE=folder)
        command = [sys.executable, "-m", "benchmarks.uncompiled"]
        return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def recording_seconds(count: int = 2000, repeats: int = 15) -> float:
    """Seconds that recording ``x + y`` takes, evaluation left out."""
    import chainrule as cr

    x, y = cr.ones((8,)), cr.ones((8,))
    (x + y).numpy()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(count):
            x + y  # recorded, never read
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def _blocks(step, data, seconds: float = 0.05):
    """A function that times one block of `step` and returns seconds per step."""
    step(*data).item()
    start = time.perf_counter()
    step(*data).item()
    count = max(3, round(seconds / (time.perf_counter() - start)))

    def block() -> float:
        start = time.perf_counter()
        for _ in range(count):
            loss = step(*data)
        loss.item()
        return (time.perf_counter() - start) / count

    return block


def _steps(threads: int, rounds: int) -> list[list[str]]:
    """Uncompiled steps beside PyTorch eager on one and on all threads (the faster counts)."""
    import chainrule as cr

    from .sides import ours

    has_torch = importlib.util.find_spec("torch") is not None
    if has_torch:
        import torch

        from .sides import torch_side
    cr.set_num_threads(threads)
    rows = []
    for name, aim in AIMS.items():
        workload = WORKLOADS[name]
        data = [t[: workload.batch] for t in ours.tensors(workload)]
        blocks = {"chainrule": _blocks(ours.build(workload), data)}
        times: dict[str, list[float]] = {"chainrule": []}
        if has_torch:
            data = [t[: workload.batch] for t in torch_side.tensors(workload)]
            for count in sorted({1, threads}):
                torch.set_num_threads(count)
                blocks[f"torch {count}t"] = _blocks(torch_side.build(workload), data)
                times[f"torch {count}t"] = []
        for _ in range(rounds):
            for label, block in blocks.items():
                if label != "chainrule":
                    torch.set_num_threads(int(label.split()[1][:-1]))
                times[label].append(block() * 1e6)
                time.sleep(0.01)
        medians = {label: statistics.median(t) for label, t in times.items()}
        peer = min((m for label, m in medians.items() if label != "chainrule"), default=None)
        quotient = f"{medians['chainrule'] / peer:.2f}" if peer else "-"
        row = [name, microseconds(medians["chainrule"]), microseconds(peer) if peer else "-", quotient, f"{aim:g}"]
        rows.append(row)
    return rows


def main(arguments: list[str]) -> None:
    """Run the four measurements and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks uncompiled", description=__doc__)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    columns = ["workload", "chainrule", "torch eager", "quotient", "at most"]
    table("uncompiled step", columns, _steps(options.threads, options.rounds))
    print(f"\nrecording: {microseconds(recording_seconds() * 1e6)} an operation (aim: 5 us)")
    rows = [
        [name, *(microseconds(times[key] * 1e6) for key in ("first", "later", "new_shape"))]
        for name, times in _first_uses_in_fresh_process().items()
    ]
    table("first use of an operation (aim: 5 ms)", ["operation", "first", "later", "first with a new shape"], rows)


if __name__ == "__main__":
    print(json.dumps(first_uses()))
