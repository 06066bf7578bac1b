"""`Plan`: everything about a compiled graph but its memory and machine code; plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph.node import Node
from ..ops.control import with_bodies
from . import repeat as _repeat  # noqa: F401 (lowers loops)
from .canonical import Canonical
from .kernel import Kernel, Tiles
from .lowering import Lowering
from .schedule import Schedule


@dataclass(slots=True)
class BufferPlan:
    number: int
    kind: str  # "leaf", "output", "arena"
    dtype: Any
    shape: tuple[int, ...]
    index: int
    offset: int
    bytes: int
    origin: int = 0  # serial of the node whose value it holds, 0 for a copy in another layout


@dataclass(slots=True)
class CallPlan:
    """One call: position of its kernel in `Plan.kernels`, its argument words, or a host operation.

    `reads` and `writes` are buffer numbers, `origin` the serials of the nodes that it computes.
    """

    kernel: int
    arguments: list[int]
    label: str
    host: tuple | None = None
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    origin: tuple[int, ...] = ()


@dataclass(slots=True)
class TaskPlan:
    calls: list[CallPlan]
    extent: int
    chunk: int


@dataclass(slots=True)
class RegionPlan:
    """Tasks that follow the regions before; for a loop, `tasks` is one call without a kernel, which names it."""

    parallel: bool
    tasks: list[TaskPlan]
    loop: LoopPlan | None = None

    @property
    def hosted(self) -> bool:
        """Whether an operation on the host is among its calls."""
        if self.loop is not None:
            return any(region.hosted for region in self.loop.regions)
        return self.tasks[0].calls[0].host is not None


@dataclass(slots=True)
class LoopPlan:
    """`count` times `regions`, under the condition `when`; `starts` and `moves` set table entries, see `repeat`.

    `apart`: each chunk of the only region goes through all iterations by itself.
    """

    count: int
    regions: list[RegionPlan]
    starts: list[tuple[int, int, int]]
    moves: list[tuple[int, int, int]]
    polls: bool = False  # Ctrl-C may end it: no state is written before or inside
    when: tuple[int, int] | None = None
    apart: bool = False

    @property
    def times(self) -> int:
        """Iterations, counted as one where a condition decides."""
        return self.count if self.when is None else 1


@dataclass(slots=True)
class Plan:
    """A scheduled graph: distinct kernels, regions of tasks, buffers, arena size, lifted scalars and index checks."""

    kernels: list[Kernel] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    regions: list[RegionPlan] = field(default_factory=list)
    buffers: list[BufferPlan] = field(default_factory=list)
    arena_bytes: int = 0
    total_bytes: int = 0
    scalars: list[tuple[Any, Any]] = field(default_factory=list)
    checks: list[tuple[str, str]] = field(default_factory=list)
    outputs: list[tuple[tuple[int, ...], Any]] = field(default_factory=list)
    in_place: dict[int, int] = field(default_factory=dict)
    num_leaves: int = 0
    serials: tuple[int, ...] = ()  # of the nodes that it was made from, in their order, and of the bodies of loops
    largest: tuple[str, ...] = ()  # of a large program, what an error about its memory says


def make_plan(
    order: Sequence[Node],
    outputs: Sequence[Node],
    tiles: Tiles,
    threads: int,
    in_place: dict[int, int] | None = None,
    baked: bool = True,
) -> Plan:
    """Compile nodes in topological `order` down to a plan.

    Args:
        order: all nodes that `outputs` need; nodes with a value and placeholders are the leaves, in this order.
        tiles: the backend's contraction tiles.
        threads: threads to divide work for.
        in_place: output number -> leaf number whose storage the output takes over.
        baked: specialise kernels to sizes and strides; otherwise they are generic.
    """
    graph = Canonical(order, outputs, pairs=tiles.pairs)
    lowering = Lowering(graph, tiles, baked)
    schedule = Schedule(lowering, in_place or {}, threads)
    plan = Plan(
        arena_bytes=schedule.arena.bytes, total_bytes=schedule.arena.total, scalars=graph.scalars,
        checks=lowering.checks, in_place=schedule.in_place, num_leaves=len(graph.leaves),
        serials=tuple([node.serial for node in with_bodies(order)]),
        outputs=[(item.shape, item.dtype) for item in graph.outputs],
    )  # fmt: skip
    plan.regions = _region_plans(schedule, plan, {})
    offsets = _offsets(schedule)
    for b in schedule.buffers:
        if b.kind != "none":
            offset = offsets.get(b.number, -1)
            plan.buffers.append(BufferPlan(b.number, b.kind, b.dtype, b.shape, b.index, offset, b.bytes, b.origin))
    return plan


def _region_plans(schedule: Schedule, plan: Plan, known: dict[str, int], polls: bool = True) -> list[RegionPlan]:
    """The regions of a schedule; adds its kernels to the plan (`known`: by key)."""
    state = {b.number for b in schedule.buffers if b.kind == "leaf"}
    regions = []
    for region in schedule.regions:
        tasks, loop = [], None
        polls = polls and not any(step.writes & state for step in region.steps())
        for task in region.tasks:
            calls = []
            for step in task.steps:
                touched = (tuple(sorted(step.reads)), tuple(sorted(step.writes)), step.origin)
                if step.kernel is None:
                    calls.append(CallPlan(-1, [], step.label, step.host, *touched))
                    if step.loop is not None:
                        inside = _region_plans(step.loop.schedule, plan, known, polls)
                        moves = step.loop.starts, step.loop.moves
                        loop = LoopPlan(step.loop.count, inside, *moves, polls, step.loop.when, step.loop.apart)
                        plan.total_bytes += step.loop.schedule.arena.total
                    continue
                if task.rows and step.rows < 2:
                    step.kernel.scale = 1
                key = kernel_key(step.kernel)
                if key not in known:
                    known[key] = len(plan.kernels)
                    plan.kernels.append(step.kernel)
                    plan.keys.append(key)
                calls.append(CallPlan(known[key], step.kernel.arguments(), step.label, None, *touched))
            tasks.append(TaskPlan(calls, task.extent, task.chunk))
        regions.append(RegionPlan(region.parallel, tasks, loop))
    return regions


def _offsets(schedule: Schedule) -> dict[int, int]:
    """Where in the arena buffers lie, also those that loops use inside."""
    found = dict(schedule.arena.offsets)
    for step in schedule.steps:
        if step.loop is not None:
            base = found[step.loop.workspace.number]
            found |= {number: base + offset for number, offset in _offsets(step.loop.schedule).items()}
    return found


def kernel_key(kernel: Kernel) -> str:
    """Text that identifies the code of a kernel across processes."""
    return hashlib.sha256(repr(kernel.key()).encode()).hexdigest()[:40]
