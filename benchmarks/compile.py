"""``python -m benchmarks compile``: compile times of whole steps, and of residual networks of growing depth."""

from __future__ import annotations

import argparse

from .compile_time import compile_seconds
from .measure import table
from .workloads import WORKLOADS

#: largest aims in seconds: cold, from disk
AIMS = {"mnist-mlp": (0.5, 0.05), "resnet20": (1.5, 0.1)}
#: images of a batch of deep networks: the system takes longer to give the memory of many than we do to compile
IMAGES = 4


def main(arguments: list[str]) -> None:
    """Print compile times by workload and by depth."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compile", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated names (default: all)")
    parser.add_argument("--depths", default="", help="layers of residual networks, 6 n + 2 each: 20,56,110")
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes of each kind (default: 3)")
    options = parser.parse_args(arguments)
    depths = [int(depth) for depth in options.depths.split(",") if depth]
    if depths:
        _depths(depths, options.repeats)
        return
    rows = []
    for name in (n for n in options.workloads.split(",") if n):
        times = compile_seconds(name, options.repeats)
        aims = [f"{1e3 * aim:.0f} ms" for aim in AIMS.get(name, ())] or ["", ""]
        row = [f"{1e3 * times[f'{kind}_compile_s']:.0f} ms" for kind in ("cold", "warm")]
        rows.append([name, row[0], aims[0], row[1], aims[1], f"{1e3 * times['trace_s']:.0f} ms"])
    table("compilation beyond tracing", ["workload", "cold", "aim", "from disk", "aim", "traced"], rows)


def _depths(depths: list[int], repeats: int) -> None:
    rows = []
    for depth in depths:
        times = compile_seconds(f"resnet-{depth}", repeats, IMAGES)
        figures = [times[key] for key in ("cold_compile_s", "warm_compile_s", "trace_s")]
        cells = [f"{1e3 * t:.0f} ms" for t in figures]
        rows.append([str(depth), *cells, *(f"{1e3 * t / depth:.1f} ms" for t in figures)])
    columns = ["layers", "cold", "from disk", "traced", "cold a layer", "from disk a layer", "traced a layer"]
    table("residual networks: compilation beyond tracing", columns, rows)
