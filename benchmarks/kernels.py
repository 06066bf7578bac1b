"""``python -m benchmarks kernels``: single kernels on one thread, in % of what this machine can attain.

Attainable is the lower of the measured peak of fused multiply-adds times the share of vector lanes that the shape can
use, and the measured bandwidth times the operations a byte. Bandwidth is that of operands of the same size, so of the
memory that they live in. Memory-bound kernels count the bytes that they have to read and write and are compared with
a copy of the same size, which may go past the caches; softmax, whose exponentials may take longer than its bytes, with
the longer of that copy and as many exponentials alone. Both are timed in turn with the kernel, best blocks are compared
with best ones and medians with medians. Images, results of convolutions and their gradients have their
channels last, as between the layers of a program, written by `permute` around the public function; the group "images"
has them in the user's layout, NCHW, with the conversions inside. Each
kernel is a compiled function whose result is written over one that exists already, many of them to one native call.
Results are compared with PyTorch's where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from functools import lru_cache
from typing import Any

#: seconds of one timed call, its least, and the rounds that a slow kernel is given
BLOCK, ROUNDS, FEW = 0.004, 40, 3


def _prepared(case: Any) -> tuple[Any, Any]:
    """``run(steps)`` of our side, and the last results."""
    import numpy as np

    import chainrule as cr

    given = [cr.asarray(a) for a in case.operands()]
    arguments, state = given[: len(given) - case.state], given[len(given) - case.state :]
    if case.state:
        cells = state
    else:
        first = case.function(*given)
        # results of the right shape, never views of operands
        cells = [cr.asarray(np.zeros(r.shape, np.float32)) for r in (first if isinstance(first, tuple) else (first,))]

    def step(*operands):
        results = case.function(*operands, *state)
        for cell, result in zip(cells, results if isinstance(results, tuple) else (results,)):
            cell[...] = result

    compiled = cr.compile(step)
    return lambda steps: compiled.repeat(steps, *arguments), lambda: [cell.numpy() for cell in cells]


def _prepared_torch(case: Any, torch: Any, shapes: list[tuple[int, ...]]) -> tuple[Any, Any]:
    """The same of PyTorch's side; `shapes` are those of our results."""
    given = [torch.from_numpy(a) for a in case.operands()]
    out = torch.zeros(shapes[0])
    last = [None]

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0] = case.torch(torch, out, *given)

    def results() -> list[Any]:
        many = last[0] if isinstance(last[0], tuple) else (last[0],)
        return [t.numpy() for t in many]

    return run, results


def _check(case: Any, ours: list[Any], theirs: list[Any]) -> None:
    """Raises SystemExit unless both sides computed the same, to 1e-4 of the largest number."""
    import numpy as np

    for got, want in zip(ours, theirs, strict=True):
        scale = float(np.abs(want).max(initial=0.0))
        error = float(np.abs(got.astype(np.float64) - want).max(initial=0.0))
        if got.shape != want.shape or not error <= 1e-4 * scale:
            raise SystemExit(f"{case.group}, {case.name}: wrong by {error} of at most {scale}")


def in_turn(sides: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each side, a figure a round, in turn: of the processor, which other processes do not lengthen.

    There is one thread in each, so that on a quiet machine this is the time that passes. An untimed block goes before
    each timed one: operands lie where the side's own steps leave them, not where those of another did.
    """
    steps = {}
    for name, run in sides.items():
        start = time.process_time()
        run(1)
        taken = time.process_time() - start
        count = max(1, min(1000, round(BLOCK / max(taken, 1e-6))))
        start = time.process_time()
        run(count)
        steps[name] = max(1, min(20000, round(BLOCK * count / max(time.process_time() - start, 1e-6))))
        if taken > 0.5:
            rounds = min(rounds, FEW)
    result: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            run(steps[name])
            start = time.process_time()
            run(steps[name])
            result[name].append((time.process_time() - start) / steps[name])
    return result


@lru_cache
def _alone(name: str) -> Any:
    """``run(steps)`` of an elementary function alone, operand and result in the second-level cache."""
    from .kernel_cases import elementary

    return _prepared(next(case for case in elementary() if case.name == name))[0]


def measure(case: Any, machine: Any, torch: Any, compare: bool, rounds: int) -> dict[str, Any]:
    """Times and rates of one kernel."""
    from .kernel_cases import BLOCK as ELEMENTS

    run, results = _prepared(case)
    run(1)
    values = results()
    sides = {"chainrule": run}
    if torch is not None:
        other, expected = _prepared_torch(case, torch, [v.shape for v in values])
        other(1)
        _check(case, values, expected())
        if compare:
            sides["torch"] = other
    operands = sum(a.nbytes for a in case.operands())
    written = sum(v.nbytes for v in values)
    footprint = operands + (0 if case.state else written)
    read, written = case.moved or (operands, written)
    memory_bound = case.group != "elementary" and not case.flops
    if memory_bound:
        # at most all of the table that is gathered from, or what is gathered
        copied, ways = machine.copies(min(footprint, read + written))
        sides |= {f"copy {number}": way for number, way in enumerate(ways)}
        sides |= {"alone": _alone(case.takes)} if case.takes else {}
    seconds = in_turn(sides, rounds)
    best, middle = min(seconds["chainrule"]), statistics.median(seconds["chainrule"])
    row: dict[str, Any] = {"group": case.group, "kernel": case.name, "us": 1e6 * best, "median_us": 1e6 * middle}
    if case.group == "elementary":
        row |= {"rate": values[0].size / best / 1e9, "unit": "elements/ns"}
    elif case.flops:
        least = machine.seconds(case.flops, case.lanes, read, written, footprint)
        row |= {"rate": case.flops / best / 1e9, "unit": "GFLOP/s", "attainable": case.flops / least / 1e9}
    else:
        row |= {"rate": (read + written) / best / 1e9, "unit": "GB/s"}
        limits = []
        for summary in (min, statistics.median):
            limit = (read + written) * min(summary(seconds[f"copy {n}"]) for n in range(len(ways))) / copied
            if case.takes:
                limit = max(limit, summary(seconds["alone"]) * values[0].size / ELEMENTS)
            limits.append(limit)
        row |= {"attainable": (read + written) / limits[0] / 1e9, "median_percent": 100 * limits[1] / middle}
    if "attainable" in row:
        row["percent"] = 100 * row["rate"] / row["attainable"]
        row.setdefault("median_percent", row["percent"] * best / middle)
    if "torch" in seconds:
        row["torch_us"] = 1e6 * min(seconds["torch"])
    return row


def _summary(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Median and minimum of the percentages, by group and of all."""
    lines = []
    for group in [*dict.fromkeys(row["group"] for row in rows), "all"]:
        judged = [row for row in rows if "percent" in row and group in ("all", row["group"])]
        if judged:
            worst = min(judged, key=lambda row: row["percent"])
            middle = statistics.median(row["percent"] for row in judged)
            over = sum(row["percent"] >= 70 for row in judged)
            lines.append([group, str(len(judged)), f"{middle:.1f}", f"{worst['percent']:.1f}", f"{over}",
                          worst["kernel"]])  # fmt: skip
        slow = [row for row in rows if row["unit"] == "elements/ns" and group == row["group"]]
        if slow:
            worst = min(slow, key=lambda row: row["rate"])
            middle = statistics.median(row["rate"] for row in slow)
            lines.append([group, str(len(slow)), f"{middle:.1f} el/ns", f"{worst['rate']:.1f} el/ns", "",
                          worst["kernel"]])  # fmt: skip
    return lines


def main(arguments: list[str]) -> None:
    """Measure the kernels that ``--only`` names, or all, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=__doc__)
    parser.add_argument("--only", default="", help="groups or parts of names, separated by commas")
    parser.add_argument("--compare", choices=("torch",), help="time PyTorch's kernels beside ours")
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--list", action="store_true", help="print the names of the kernels and stop")
    options = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # BLAS libraries read these when they are loaded
    import chainrule as cr

    from .kernel_cases import GROUPS
    from .measure import table
    from .roofline import Machine

    wanted = [part for part in options.only.split(",") if part]
    cases = [case for make in GROUPS.values() for case in make()]
    if wanted:
        cases = [c for c in cases if c.group in wanted or any(part in c.name for part in wanted if part not in GROUPS)]
    if options.list:
        print("\n".join(f"{case.group:<12} {case.name}" for case in cases))
        return
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        if options.compare:
            raise SystemExit("--compare torch: PyTorch is not installed") from None
        torch = None
    cr.set_num_threads(1)
    machine = Machine()
    rows: list[dict[str, Any]] = []
    for case in cases:
        try:
            rows.append(measure(case, machine, torch, bool(options.compare), options.rounds))
        except cr.errors.ChainruleError as error:  # one kernel that fails does not lose the others
            print(f"{case.group}, {case.name}: {type(error).__name__}: {str(error).splitlines()[0]}")
    columns = ["kernel", "time", "rate", "attainable", "%", "% (median)"] + (["torch", "ratio"] * bool(options.compare))
    for group in dict.fromkeys(row["group"] for row in rows):
        lines = [_line(row, bool(options.compare)) for row in rows if row["group"] == group]
        table(f"{group}, one thread, peak {machine.peak:.0f} GFLOP/s", columns, lines)
    table("summary, % of attainable", ["group", "kernels", "median", "least", "over 70", "least one"], _summary(rows))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"peak_gflops": machine.peak, "kernels": rows}, file, indent=1)


def _line(row: dict[str, Any], compare: bool) -> list[str]:
    from .measure import microseconds

    cells = [row["kernel"], microseconds(row["us"]), f"{row['rate']:.1f} {row['unit']}"]
    if "percent" in row:
        cells += [f"{row['attainable']:.0f}", f"{row['percent']:.1f}", f"{row['median_percent']:.1f}"]
    else:
        cells += ["", "", ""]
    if compare:
        cells += [microseconds(row["torch_us"]), f"{row['torch_us'] / row['us']:.2f}"]
    return cells


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
