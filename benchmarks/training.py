"""``python -m benchmarks training``: whole training steps beside PyTorch and JAX.

Every side runs in a process of its own; blocks of steps of all sides alternate; medians decide. Mini-batch workloads
gather their rows inside the measurement. First losses are checked against a float64 reference.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from pathlib import Path

from .compile_time import compile_seconds
from .measure import CHECKED, PeakSide, Side, Timing, available_cores, interleave, microseconds, table
from .reference import first_losses
from .workloads import VARIANTS, WORKLOADS, Workload

PEERS = {"torch": "torch_side", "jax": "jax_side"}


def _sides(workload: Workload, peers: list[str], threads: int, expected) -> list[Side]:
    counts = {"torch": sorted({1, threads}), "jax": [threads]}
    sides = [Side("ours", workload, threads, expected)]
    return sides + [Side(PEERS[peer], workload, n, expected) for peer in peers for n in counts[peer]]


def _result(workload: Workload, timings: list[Timing], threads: int) -> dict:
    """The last timing is the peak's: microseconds of 1e9 operations."""
    *timings, peak = timings
    ours = timings[0]
    peers = sorted((t for t in timings if not t.name.startswith("chainrule")), key=lambda t: t.median)
    gflops = workload.flops() / ours.median / 1e3
    best = peers[0] if peers else None
    return {
        "workload": workload.name,
        "threads": threads,
        "chainrule_us": round(ours.median, 3),
        "chainrule_best_us": round(ours.best, 3),
        "best_peer": best.name if best else None,
        "best_peer_us": round(best.median, 3) if best else None,
        "ratio": round(best.median / ours.median, 3) if best else None,
        "aim": workload.aim,
        "peak_aim": workload.peak_aim,
        "gflops": round(gflops, 2),
        "peak_gflops": round(1e6 / peak.median, 1),
        "peak_share": round(gflops * peak.median / 1e6, 4),
        "best_peak_gflops": round(1e6 / peak.best, 1),
        "best_peak_share": round(workload.flops() / ours.best / 1e3 * peak.best / 1e6, 4),
        "medians_us": {t.name: round(t.median, 3) for t in timings},
        "bests_us": {t.name: round(t.best, 3) for t in timings},
    }


def _report(result: dict) -> None:
    rows = [
        [name, microseconds(median), microseconds(result["bests_us"][name]), f"{median / result['chainrule_us']:.2f}"]
        for name, median in result["medians_us"].items()
    ]
    table(f"{result['workload']}, {result['threads']} threads", ["", "median", "best", "ratio"], rows)
    share = f"{result['gflops']:.1f} of {result['peak_gflops']:.0f} GFLOP/s, {100 * result['peak_share']:.1f} %"
    best = f"bests {100 * result['best_peak_share']:.1f} % of {result['best_peak_gflops']:.0f}"
    aim = f"; aim {100 * result['peak_aim']:.0f} %" if result["peak_aim"] else ""
    print(f"  matrix products and convolutions {share} of the peak in turn ({best}){aim}")
    for name, slow in result["left_out_us"].items():
        print(f"  not timed further: {name}, {microseconds(slow)}")
    if result["ratio"]:
        print(f"  {result['ratio']:.2f} times the best peer ({result['best_peer']}); aim {result['aim']:.2f}")


def measure(workload: Workload, peers: list[str], threads: int, rounds: int) -> dict:
    """Time one workload on all sides; prints its table and returns the JSON object."""
    expected = first_losses(workload, CHECKED)
    sides = _sides(workload, peers, threads, expected)
    try:
        result = _result(workload, interleave([*sides, PeakSide(threads)], rounds), threads)
        result["left_out_us"] = {name: round(t, 3) for side in sides for name, t in side.left_out.items()}
        result["losses_checked"] = expected is not None
    finally:
        for side in sides:
            side.close()
    _report(result)
    return result


def main(arguments: list[str]) -> None:
    """Parse the command line, run the workloads, print the summary, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks training", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated names (default: all)")
    parser.add_argument("--peers", default="torch,jax", help="comma-separated peers, or an empty string for none")
    parser.add_argument("--variants", action="store_true", help="time each workload's variants too")
    parser.add_argument("--threads", type=int, default=available_cores(), help="threads of our side (default: cores)")
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each candidate (default: 15)")
    parser.add_argument("--no-compile-time", action="store_true", help="leave out cold and warm compilation")
    parser.add_argument("--json", type=Path, help="write the results to this file as a list of JSON objects")
    options = parser.parse_args(arguments)
    names = [name for name in options.workloads.split(",") if name]
    peers = [name for name in options.peers.split(",") if name]
    for kind, given, known in (("workload", names, WORKLOADS), ("peer", peers, PEERS)):
        for name in given:
            if name not in known:
                parser.error(f"there is no {kind} {name!r}; there are {', '.join(known)}")
    for peer in peers:
        if importlib.util.find_spec(peer) is None:
            parser.error(f"{peer} is not installed: pip install '.[bench]', or choose other --peers")
    # a cache of the benchmark's own keeps earlier runs out of the compile times
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
        results = []
        for name in names:
            for workload in [WORKLOADS[name], *(VARIANTS[name] if options.variants else [])]:
                result = measure(workload, peers, options.threads, options.rounds)
                if workload is WORKLOADS[name] and not options.no_compile_time:
                    result.update(compile_seconds(name))
                    print(
                        f"  compiled cold in {result['cold_compile_s']:.3f} s, loaded from disk in"
                        f" {result['warm_compile_s']:.3f} s, beyond tracing ({result['trace_s']:.3f} s)"
                    )
                results.append(result)
                if options.json:
                    options.json.write_text(json.dumps(results, indent=2) + "\n")
    columns = ["workload", "chainrule", "best peer", "", "ratio", "aim", "% of peak"]
    rows = [
        [
            r["workload"],
            microseconds(r["chainrule_us"]),
            microseconds(r["best_peer_us"]) if r["best_peer_us"] else "-",
            r["best_peer"] or "-",
            f"{r['ratio']:.2f}" if r["ratio"] else "-",
            f"{r['aim']:.2f}",
            f"{100 * r['peak_share']:.1f}",
        ]
        for r in results
    ]
    table("summary (medians)", columns, rows)
