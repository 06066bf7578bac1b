"""Bytes that a training step allocates: Chainrule's compiled step beside PyTorch's.

Ours is the plan's: its arena and the outputs that take over no storage of the state. PyTorch's is the largest sum of
what its allocator for the CPU has handed out during a step and not yet got back, as its profiler records it; memory
that libraries below it take for themselves is not seen, so that the figure is a lower bound. On both sides the batch,
the parameters and the optimiser's slots exist before.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from .measure import available_cores, table
from .workloads import find


def our_bytes(name: str, threads: int) -> int:
    """Arena and new outputs of the workload's compiled step."""
    import chainrule as cr

    from .sides import ours

    cr.set_num_threads(threads)
    workload = find(name)
    batch = [t[: workload.batch] for t in ours.tensors(workload)]
    explanation = cr.explain(cr.compile(ours.build(workload)), *batch)
    plan = explanation.plan
    outputs = sum(b.bytes for b in plan.buffers if b.kind == "output" and b.index not in plan.in_place)
    return plan.arena_bytes + outputs


def torch_bytes(name: str, threads: int, compiled: bool) -> tuple[int, int]:
    """The largest sum in use during a step, and all bytes handed out in it; the least over forms and layouts."""
    import torch

    from .sides import torch_side
    from .sides.torch_networks import FORMS

    torch.set_num_threads(threads)
    workload = find(name)
    batch = [t[: workload.batch] for t in torch_side.tensors(workload)]
    found = []
    for form in FORMS.get(workload.network, (None,)):
        for layout in torch_side.LAYOUTS if workload.images else (None,):
            step = torch_side.build(workload, fused=True, compiled=compiled, form=form, layout=layout)
            own = [t.to(memory_format=torch_side.LAYOUTS[layout]) if layout and t.ndim == 4 else t for t in batch]
            for _ in range(3):
                step(*own)  # a loss that is not kept: the graph of the step before is gone
            found.append(_recorded(torch, step, own))
    return min(found)


def _recorded(torch, step, batch) -> tuple[int, int]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step(*batch)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    used = most = total = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        used += event.nbytes()
        most, total = max(most, used), total + max(0, event.nbytes())
    return most, total


def report(names: list[str]) -> None:
    """Print the table; each figure is found in a process of its own."""
    threads = available_cores()
    rows = []

    def apart(function, *arguments):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()

    for name in names:
        ours = apart(our_bytes, name, threads)
        rows.append([name, "chainrule", f"{ours / 2**20:.1f} MiB", "", ""])
        if importlib.util.find_spec("torch") is None:
            continue
        for compiled in (False, True):
            most, total = apart(torch_bytes, name, threads, compiled)
            label = f"torch {'compile' if compiled else 'eager'}"
            rows.append([name, label, f"{most / 2**20:.1f} MiB", f"{total / 2**20:.1f} MiB", f"{ours / most:.2f}"])
    columns = ["workload", "", "most in use", "handed out in all", "ours / theirs"]
    table(f"bytes allocated for a step, {threads} threads", columns, rows)
