"""Other ways to run a plan: register tiles of contractions, chunks of regions. None changes a bit of any result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from .kernel import Kernel, Tiling, has_windows, summed_extents
from .plan import CallPlan, Plan, RegionPlan, TaskPlan, kernel_key
from .tiling import WIDTHS, _cycles, split_panels

#: variants of a kernel that are worth timing, its own included
MOST = 8
#: how many times the chunks of a region that threads share; 0: one thread runs it
CHUNK_FACTORS = (1.0, 0.5, 2.0, 4.0, 0.0)


def kernel_variants(kernel: Kernel, registers: int) -> list[Kernel]:
    """`kernel` first, then the same contraction with other tiles and panels, the likeliest by estimate first."""
    static: Any = kernel.static
    if not isinstance(static, Tiling) or 0 in kernel.sizes or static.pairs or static.block or static.blocks == "dealt":
        return [kernel]
    if has_windows(kernel):  # other tiles need other numbers of terms at once
        return [kernel]
    own, vectors = (tuple(static.tile), tuple(static.panels)), sum(static.panels)
    extents = kernel.sizes[:-1]
    sizes = [range(1, extent + 1) if size > 1 else (1,) for size, extent in zip(static.tile, extents)]
    along = bool(kernel.accesses[0].strides[len(kernel.sizes) - 1])
    terms = 1
    for extent in summed_extents(kernel):
        terms *= extent
    found: dict[tuple, float] = {}
    for width in WIDTHS:
        panels = split_panels(vectors, width)
        widest = max(panels)
        if static.pieces is not None and widest > max(static.panels):  # there is no room for sums that wait
            continue
        limit = min((registers - widest - 1) // widest, 28)
        for tile in product(*(tuple(n for n in axis if n <= limit) for axis in sizes)):
            rows = 1
            for size in tile:
                rows *= size
            if rows <= limit and (tile, panels) not in found:
                found[tile, panels] = _cycles(tile, extents, panels, terms, along)
    found.pop(own, None)
    best = sorted(found, key=lambda pair: (found[pair], pair))[: MOST - 1]
    return [kernel, *(_with_tile(kernel, *pair) for pair in best)]


def _with_tile(kernel: Kernel, tile: tuple[int, ...], panels: tuple[int, ...]) -> Kernel:
    static: Any = kernel.static
    return replace(kernel, static=static._replace(tile=tile, panels=panels))


def tile_of(kernel: Kernel) -> list[list[int]]:
    """What distinguishes the variants of a kernel, for a file."""
    static: Any = kernel.static
    tile, panels = (static.tile, static.panels) if isinstance(static, Tiling) else (static[2:3], static[3:4])
    return [list(tile), list(panels)]


def region_variants(region: RegionPlan) -> list[RegionPlan]:
    """`region` first, then with other chunks and, if threads share it, on one thread."""
    if region.loop is not None or region.hosted or not region.parallel:
        return [region]
    found = []
    for factor in CHUNK_FACTORS:
        tasks = []
        for task in region.tasks:
            chunk = task.chunk if factor == 0 else max(1, min(task.extent, round(task.chunk / factor)))
            if len(task.calls) > 1:  # longer chunks of a chain would leave the cache
                chunk = min(chunk, task.chunk)
            tasks.append(TaskPlan(task.calls, task.extent, chunk))
        made = RegionPlan(factor != 0, tasks)
        if made not in found:
            found.append(made)
    return found


def walk_regions(regions: Sequence[RegionPlan]) -> Iterator[RegionPlan]:
    """All regions, those inside of loops too."""
    for region in regions:
        yield region
        if region.loop is not None:
            yield from walk_regions(region.loop.regions)


def rebuilt(
    plan: Plan, kernel: Callable[[CallPlan], Kernel | None], region: Callable[[RegionPlan], RegionPlan]
) -> tuple[Plan, dict[int, CallPlan]]:
    """A plan with other kernels (None: the same) and regions; for each of its calls, by id, the one it stands for."""
    made = replace(plan, kernels=[], keys=[], regions=[])
    known: dict[str, int] = {}
    origin: dict[int, CallPlan] = {}

    def call_of(call: CallPlan) -> CallPlan:
        number = -1
        if call.kernel >= 0:
            chosen = kernel(call) or plan.kernels[call.kernel]
            key = plan.keys[call.kernel] if chosen is plan.kernels[call.kernel] else kernel_key(chosen)
            number = known.setdefault(key, len(made.kernels))
            if number == len(made.kernels):
                made.kernels.append(chosen)
                made.keys.append(key)
        new = replace(call, kernel=number)
        origin[id(new)] = call
        return new

    def region_of(old: RegionPlan) -> RegionPlan:
        other = region(old)
        tasks = [TaskPlan([call_of(call) for call in task.calls], task.extent, task.chunk) for task in other.tasks]
        loop = None
        if old.loop is not None:
            inside = [region_of(inner) for inner in old.loop.regions]
            loop = replace(old.loop, regions=inside)
        return RegionPlan(other.parallel, tasks, loop)

    made.regions = [region_of(old) for old in plan.regions]
    return made, origin
