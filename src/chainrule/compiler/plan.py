"""`Plan`: everything about a compiled graph but its memory and machine code; plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph.node import Node
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
    parallel: bool
    tasks: list[TaskPlan]


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
    graph = Canonical(order, outputs)
    lowering = Lowering(graph, tiles, baked)
    schedule = Schedule(lowering, in_place or {}, threads)
    plan = Plan(
        arena_bytes=schedule.arena_bytes, total_bytes=schedule.total_bytes, scalars=graph.scalars,
        checks=lowering.checks, in_place=schedule.in_place, num_leaves=len(graph.leaves),
        outputs=[(item.shape, item.dtype) for item in graph.outputs],
    )  # fmt: skip
    known: dict[str, int] = {}
    for region in schedule.regions:
        tasks = []
        for task in region.tasks:
            calls = []
            for step in task.steps:
                touched = (tuple(sorted(step.reads)), tuple(sorted(step.writes)), step.origin)
                if step.kernel is None:
                    calls.append(CallPlan(-1, [], step.label, step.host, *touched))
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
        plan.regions.append(RegionPlan(region.parallel, tasks))
    for b in schedule.buffers:
        if b.kind != "none":
            offset = schedule.offsets.get(b.number, -1)
            plan.buffers.append(BufferPlan(b.number, b.kind, b.dtype, b.shape, b.index, offset, b.bytes, b.origin))
    return plan


def kernel_key(kernel: Kernel) -> str:
    """Text that identifies the code of a kernel across processes."""
    return hashlib.sha256(repr(kernel.key()).encode()).hexdigest()[:40]
