"""``python -m benchmarks contention``: steps while another process keeps one core busy.

The median step under contention is compared with the idle step on one thread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os

from .measure import CHECKED, Side, available_cores, interleave, microseconds, table
from .reference import first_losses
from .training import PEERS
from .workloads import WORKLOADS

ALL = {"chainrule": "ours", **PEERS}


def spin(core: int) -> None:
    """Keep one core busy for ever."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    while True:
        pass


def main(arguments: list[str]) -> None:
    """Time each workload idle on one thread and contended on all cores, and print the quotients."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks contention", description=__doc__)
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated names (default: all)")
    parser.add_argument("--peers", default="", help="torch, jax or both (default: none)")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args(arguments)
    systems = ["chainrule", *(name for name in options.peers.split(",") if name)]
    threads = available_cores()
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in options.workloads.split(","):
        expected = first_losses(WORKLOADS[name], CHECKED)
        for system in systems:
            idle_side = Side(ALL[system], WORKLOADS[name], 1, expected)
            idle = min(interleave([idle_side], options.rounds), key=lambda t: t.median)
            idle_side.close()
            side = Side(ALL[system], WORKLOADS[name], threads, expected)
            # the first core, which the scheduler cannot keep free for us
            spinner = context.Process(target=spin, args=(sorted(os.sched_getaffinity(0))[0],), daemon=True)
            spinner.start()
            try:
                contended = min(interleave([side], options.rounds), key=lambda t: t.median)
            finally:
                spinner.terminate()
                spinner.join()
                side.close()
            row = [microseconds(t) for t in (idle.median, contended.median, max(contended.blocks))]
            rows.append([name, system, *row, f"{contended.median / idle.median:.2f}"])
    columns = ["workload", "", "idle, 1 thread", f"contended, {threads} threads", "worst block", "quotient"]
    table("another process spins on one core (aim of the quotient: 1.5)", columns, rows)
