"""Tuning: a plan is run on memory of its own with several tiles and chunks; the fastest are kept, also on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..alignment import aligned_empty
from ..backends.cpu import toolchain
from ..compiler import cache
from ..compiler.kernel import Kernel
from ..compiler.plan import CallPlan, Plan, RegionPlan
from ..compiler.program import Program, address
from ..compiler.variants import kernel_variants, rebuilt, region_variants, tile_of, walk_regions
from ..threads import get_num_threads
from .clock import LOG_HEAD, LOG_WORDS, new_log
from .recorder import Counted, TimedInstance

#: how often all variants are gone through, and runs of each at a time; the best of all its runs counts
PASSES, RUNS = 3, 3
#: a variant has to be faster than what the scheduler chose by this share
GAIN = 0.03
#: chunks that one run may list
_ROOM = 1 << 16


class _Watch:
    """Stands in for a profile's recorder: the records of one program's calls."""

    def __init__(self) -> None:
        self.log = new_log(_ROOM)
        self.calls: dict[int, tuple[CallPlan, Counted]] = {}

    def counted(self, plan: Plan, call: CallPlan) -> Counted:
        return self.calls.setdefault(id(call), (call, Counted()))[1]


class _Bench:
    """Memory for runs of a plan: leaves and results that no user sees."""

    def __init__(self, plan: Plan):
        rng = np.random.default_rng(0)
        self.leaves: dict[int, np.ndarray] = {}
        for b in plan.buffers:
            if b.kind == "leaf" and b.index not in self.leaves:
                array = aligned_empty(b.shape, b.dtype.numpy)
                floating = b.dtype.kind == "f" and array.dtype.kind == "f"
                array[...] = rng.uniform(0.25, 1.0, b.shape) if floating else np.zeros((), array.dtype)
                self.leaves[b.index] = array
        self.outputs = [
            self.leaves[plan.in_place[n]] if n in plan.in_place else aligned_empty(shape, dtype.numpy)
            for n, (shape, dtype) in enumerate(plan.outputs)
        ]

    def time(self, plan: Plan, deadline: float) -> tuple[dict[int, float], dict[int, float]] | None:
        """Ticks of each call (by id) over all threads, and from start to end of each region (by id); None if late."""
        program = Program(plan)
        watch: Any = _Watch()
        instance = TimedInstance(program, watch)
        for b in plan.buffers:
            if b.kind == "leaf":
                instance.table[b.number] = address(self.leaves[b.index])
            elif b.kind == "output":
                instance.table[b.number] = address(self.outputs[b.index])
        instance.set_scalars([value for value, _ in plan.scalars], program.floating)
        leaves = [self.leaves.get(n, np.zeros(0)) for n in range(plan.num_leaves)]
        by_record = {address(r): n for n, (_, counted) in watch.calls.items() for r in counted.records}
        home = {id(c): id(r) for r in walk_regions(plan.regions) for task in r.tasks for c in task.calls}
        calls: dict[int, float] = {}
        regions: dict[int, float] = {}
        for run in range(RUNS + 1):
            if time.perf_counter() > deadline:
                return None if run < 2 else (calls, regions)
            watch.log[0] = 0
            program.execute(instance, leaves, self.outputs, 1)
            if not run:  # warms up
                continue
            spans: dict[int, tuple[int, int]] = {}
            busy: dict[int, int] = {}
            written = min(int(watch.log[0]), _ROOM)
            entries = watch.log[LOG_HEAD : LOG_HEAD + LOG_WORDS * written].reshape(-1, LOG_WORDS)
            for record, start, stop, _ in entries.tolist():
                call = by_record[record]
                busy[call] = busy.get(call, 0) + stop - start
                low, high = spans.get(home[call], (start, stop))
                spans[home[call]] = min(low, start), max(high, stop)
            for call, ticks in busy.items():
                calls[call] = min(calls.get(call, ticks), ticks)
            for region, (low, high) in spans.items():
                regions[region] = min(regions.get(region, high - low), high - low)
        return calls, regions


def tuned(program: Program, seconds: float) -> Program:
    """`program` with the fastest tiles and chunks that were found within `seconds`; the results have the same bits.

    Kernels that were tuned before, by any process on this kind of host, are looked up in the cache folder and cost
    nothing.
    """
    deadline = time.perf_counter() + seconds
    plan = program.plan
    bench: list[_Bench] = []

    def measure(variant: Plan) -> tuple[dict[int, float], dict[int, float]] | None:
        if time.perf_counter() > deadline:
            return None
        if not bench:
            bench.append(_Bench(plan))
        return bench[0].time(variant, deadline)

    plan = _tuned_kernels(plan, measure)
    plan = _tuned_regions(plan, measure)
    return program if plan is program.plan else Program(plan, program.advances)


_UNKNOWN = float("inf")
_Measure = Callable[[Plan], "tuple[dict[int, float], dict[int, float]] | None"]


def _tuned_kernels(plan: Plan, measure: _Measure) -> Plan:
    """The plan with the best tile for each contraction."""
    registers = toolchain.host().num_vector_registers
    sites: dict[str, list[Kernel]] = {}  # calls that are alike -> variants
    site_of: dict[int, str] = {}
    for region in walk_regions(plan.regions):
        for call in (call for task in region.tasks for call in task.calls if call.kernel >= 0):
            kernel = plan.kernels[call.kernel]
            if kernel.kind != "contract":
                continue
            sized = kernel.with_arguments(call.arguments)
            site = f"{plan.keys[call.kernel]} {sized.sizes}"
            if site not in sites:
                found = kernel_variants(sized, registers)
                if len(found) < 2:
                    continue
                sites[site] = [kernel, *found[1:]]
            site_of[id(call)] = site
    chosen: dict[str, Kernel] = {}
    for site, variants in sites.items():
        stored = _read(site)
        if stored is not None:
            chosen[site] = next((k for k in variants if tile_of(k) == stored), variants[0])
    open_sites = [site for site in sites if site not in chosen]
    times = {site: [_UNKNOWN] * len(sites[site]) for site in open_sites}
    for number in _rounds(times):

        def variant(call: CallPlan, number: int = number) -> Kernel | None:
            site = site_of.get(id(call), "")
            if site in times:
                return sites[site][min(number, len(sites[site]) - 1)]
            return chosen.get(site)

        made, origin = rebuilt(plan, variant, lambda region: region)
        found_times = measure(made)
        if found_times is None:
            break
        sums: dict[str, float] = {}
        for new, ticks in found_times[0].items():
            site = site_of.get(id(origin[new]), "")
            sums[site] = sums.get(site, 0.0) + ticks
        for site in open_sites:
            if number < len(sites[site]) and site in sums:
                times[site][number] = min(times[site][number], sums[site])
    for site in open_sites:
        chosen[site] = sites[site][_best(times[site])]
        if _UNKNOWN not in times[site]:
            _write(site, tile_of(chosen[site]))
    if all(kernel is sites[site][0] for site, kernel in chosen.items()):
        return plan
    return rebuilt(plan, lambda call: chosen.get(site_of.get(id(call), "")), lambda region: region)[0]


def _tuned_regions(plan: Plan, measure: _Measure) -> Plan:
    """The plan with the best chunks for each region that threads share."""
    variants = {id(r): found for r in plan.regions if len(found := region_variants(r)) > 1}
    names = {id(r): _region_name(plan, r) for r in plan.regions if id(r) in variants}
    chosen: dict[int, RegionPlan] = {}
    for number, found in variants.items():
        stored = _read(names[number])
        if stored is not None:
            chosen[number] = next((r for r in found if _chunks(r) == stored), found[0])
    times = {number: [_UNKNOWN] * len(found) for number, found in variants.items() if number not in chosen}
    for attempt in _rounds(times):

        def variant(region: RegionPlan, attempt: int = attempt) -> RegionPlan:
            if id(region) in times:
                found = variants[id(region)]
                return found[min(attempt, len(found) - 1)]
            return chosen.get(id(region), region)

        made, _ = rebuilt(plan, lambda call: None, variant)
        found_times = measure(made)
        if found_times is None:
            break
        for old, new in zip(plan.regions, made.regions):
            if id(old) in times and attempt < len(variants[id(old)]) and id(new) in found_times[1]:
                seen = times[id(old)]
                seen[attempt] = min(seen[attempt], found_times[1][id(new)])
    for number, seen in times.items():
        chosen[number] = variants[number][_best(seen)]
        if _UNKNOWN not in seen:
            _write(names[number], _chunks(chosen[number]))
    if all(region is variants[number][0] for number, region in chosen.items()):
        return plan
    return rebuilt(plan, lambda call: None, lambda region: chosen.get(id(region), region))[0]


def _rounds(times: Mapping[Any, Sequence[float]]) -> list[int]:
    """Numbers of the variants that all undecided places try at the same time, round by round."""
    return list(range(max(map(len, times.values()), default=0))) * PASSES


def _best(times: Sequence[float]) -> int:
    """The fastest, or the first if none is faster by enough."""
    best = min(range(len(times)), key=lambda n: times[n])
    return best if times[best] < (1 - GAIN) * times[0] else 0


def _region_name(plan: Plan, region: RegionPlan) -> str:
    """Identifies a region in every process: its kernels, their sizes, and the number of threads."""
    parts = [f"threads {get_num_threads()}"]
    for task in region.tasks:
        parts.append(f"task {task.extent}")
        for call in task.calls:
            sizes = plan.kernels[call.kernel].with_arguments(call.arguments).sizes
            parts.append(f"{plan.keys[call.kernel]} {sizes}")
    return "; ".join(parts)


def _chunks(region: RegionPlan) -> list[int]:
    return [int(region.parallel), *(task.chunk for task in region.tasks)]


# --- the store: one small file for each decision ------------------------------------------------------------------


def _path(name: str) -> Path | None:
    place = cache.folder()
    if place is None:
        return None
    return place / f"tuned-{hashlib.sha256((cache.fingerprint() + name).encode()).hexdigest()[:40]}.json"


def _read(name: str) -> Any:
    """What was decided before, or None."""
    path = _path(name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write(name: str, value: Any) -> None:
    """Keep a decision, if the folder can be written."""
    path = _path(name)
    if path is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            json.dump(value, file)
        os.replace(temporary, path)
