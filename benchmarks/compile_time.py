"""Cold and warm compilation of a step, each in a fresh process: ``python -m benchmarks.compile_time NAME [ROWS]``.

The first call of a compiled step traces, compiles (or loads) and runs. Tracing is what the first call of an equal
second step costs in the same process, where its program is already in memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

from .measure import users_environment


def first_call(name: str, rows: int | None = None) -> dict[str, float]:
    """Seconds of a compiled step's first call, of an equal second step's first call, and of a later call.

    `rows`: of a batch, if not the workload's.
    """
    # llvmlite is a dependency whose import is counted separately
    start = time.perf_counter()
    import llvmlite.binding  # noqa: F401

    llvm = time.perf_counter() - start
    import chainrule as cr

    from .sides import ours
    from .workloads import find

    workload = find(name)
    data = [t[: rows or workload.batch] for t in ours.tensors(workload)]
    for t in data:
        t.numpy()  # slices are evaluated before the clock starts
    steps = [cr.compile(ours.build(workload)) for _ in range(2)]
    seconds = []
    for step in (steps[0], steps[1], steps[1], steps[1]):
        start = time.perf_counter()
        float(step(*data))
        seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "traced_s": seconds[1], "later_s": min(seconds[2:]), "llvmlite_s": llvm}


def _fresh(name: str, folder: str, rows: int | None) -> dict[str, float]:
    environment = users_environment(CHAINRULE_CACHE=folder)
    command = [sys.executable, "-m", "benchmarks.compile_time", name, *([str(rows)] if rows else [])]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def compile_seconds(name: str, repeats: int = 3, rows: int | None = None) -> dict[str, float]:
    """Medians over fresh processes: compilation with an empty cache and with a full one, beyond tracing."""
    cold, warm, traces = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for kind in (cold, warm):
                times = _fresh(name, folder, rows)
                kind.append(times["first_s"] - times["traced_s"])
                traces.append(times["traced_s"] - times["later_s"])
    middle = repeats // 2
    return {
        "cold_compile_s": round(sorted(cold)[middle], 4),
        "warm_compile_s": round(sorted(warm)[middle], 4),
        "trace_s": round(sorted(traces)[len(traces) // 2], 4),
    }


if __name__ == "__main__":
    print(json.dumps(first_call(sys.argv[1], *map(int, sys.argv[2:]))))
