"""The facts of a compiled program as plain data: kernels, regions and buffers, with where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compiler.kernel import Kernel
from ..compiler.measure import contraction_flops, flops, traffic
from ..compiler.plan import CallPlan, Plan, RegionPlan
from ..graph.node import Node
from ..layers import PHASES
from .names import Names


@dataclass
class KernelFact:
    """Calls of one kernel with equal sizes.

    Attributes:
        number: the kernel's position among the distinct ones, which `Explanation.llvm` takes; -1 for a host call.
        kernel: the loop IR with the numbers of the first such call; None for a host call.
        label: the primitives fused into it, in order.
        calls: how often a step calls it so, in every iteration of a loop.
        flops: floating-point operations of one call; `contraction_flops` of those are a matrix product's.
        read, written: distinct bytes of one call.
        phases, layers, lines: where the nodes that it computes were recorded.
        regions: numbers of the regions that call it.
        places: (layer, phase) -> how many of the calls belong there first of all.
    """

    number: int
    kernel: Kernel | None
    label: str
    calls: int = 0
    flops: int = 0
    contraction_flops: int = 0
    read: int = 0
    written: int = 0
    phases: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """ "map", "reduce", "contract", "scatter", "pack" or "host"."""
        return "host" if self.kernel is None else self.kernel.kind

    @property
    def intensity(self) -> float:
        """Floating-point operations for each byte moved."""
        return self.flops / max(self.read + self.written, 1)


@dataclass
class BufferFact:
    """Memory of a program.

    Attributes:
        number: as kernels name it.
        kind: "leaf" (an input or state), "output", or "arena" (an intermediate).
        name: what it holds.
        offset: where in the arena, else -1.
        first, last: the first and last time slot that touches it (-1: none does). Every call is a slot; tasks that
            threads share begin together.
        first_region, last_region: the same in regions.
        written: numbers of the kernels that write it.
        reuses: numbers of the buffers whose memory it takes over.
    """

    number: int
    kind: str
    name: str
    dtype: Any
    shape: tuple[int, ...]
    bytes: int
    offset: int
    index: int
    first: int = -1
    last: int = -1
    first_region: int = -1
    last_region: int = -1
    written: list[int] = field(default_factory=list)
    reuses: list[int] = field(default_factory=list)


@dataclass
class Update:
    """State that a step replaces: `name`, the kernel that writes it, and whether it is copied there at the end."""

    name: str
    buffer: BufferFact
    kernel: int
    region: int
    copied: bool


def calls_of(plan: Plan) -> Iterator[tuple[int, int, CallPlan]]:
    """Region, time slot and call, in the order of execution; the call that stands for a loop, then those inside.

    Tasks of a region that threads share begin at the same slot; a loop is one.
    """
    for region, slot, call, _ in _walk(plan.regions, 0, 1):
        yield region, slot, call


def _walk(regions: Sequence[RegionPlan], slot: int, times: int) -> Iterator[tuple[int, int, CallPlan, int]]:
    for number, region in enumerate(regions):
        if region.loop is not None:
            yield number, slot, region.tasks[0].calls[0], times
            for _, _, call, inside in _walk(region.loop.regions, slot, times * region.loop.times):
                yield number, slot, call, inside
            slot += 1
            continue
        longest = 0
        for task in region.tasks:
            for place, call in enumerate(task.calls):
                yield number, slot + place, call, times
            if not region.parallel:
                slot += len(task.calls)
            longest = max(longest, len(task.calls))
        slot += longest if region.parallel else 0


def kernel_facts(plan: Plan, nodes: dict[int, Node], names: Names) -> list[KernelFact]:
    """The kernels in the order of their first calls."""
    found: dict[Any, KernelFact] = {}
    for region, _, call, times in _walk(plan.regions, 0, 1):
        if call.kernel < 0 and call.host is None:
            continue  # a loop
        kernel = None if call.kernel < 0 else plan.kernels[call.kernel].with_arguments(call.arguments)
        length = kernel.extra[0] if kernel is not None and kernel.kind in ("contract", "reduce") else 0
        key = (call.kernel, call.label, kernel and (kernel.sizes, [a.strides for a in kernel.accesses], length))
        fact = found.get(repr(key))
        if fact is None:
            fact = found[repr(key)] = KernelFact(call.kernel, kernel, call.label)
            if kernel is not None:
                fact.flops, fact.contraction_flops = flops(kernel), contraction_flops(kernel)
                fact.read, fact.written = traffic(kernel)
        fact.calls += times
        if region not in fact.regions:
            fact.regions.append(region)
        made = [nodes[serial] for serial in call.origin if serial in nodes]
        first = next((node for node in made if names.layer(node)), made[0] if made else None)
        place = (names.layer(first), names.phase(first)) if first is not None else ("", "")
        fact.places[place] = fact.places.get(place, 0) + times
        for node in made:
            for kept, value in (
                (fact.phases, names.phase(node)), (fact.layers, names.layer(node)), (fact.lines, node.location),
            ):  # fmt: skip
                if value and value not in kept:
                    kept.append(value)
    for fact in found.values():
        fact.phases.sort(key=PHASES.index)
    return list(found.values())


def buffer_facts(
    plan: Plan, nodes: dict[int, Node], node_names: dict[int, str], leaves: Sequence[str]
) -> list[BufferFact]:
    """All buffers, with their lives and what they share."""
    facts = {
        b.number: BufferFact(b.number, b.kind, "", b.dtype, b.shape, b.bytes, b.offset, b.index) for b in plan.buffers
    }
    writers: dict[int, CallPlan] = {}
    for region, slot, call in calls_of(plan):
        for number in (*call.reads, *call.writes):
            fact = facts.get(number)
            if fact is None:
                continue
            if fact.first < 0:
                fact.first, fact.first_region = slot, region
            fact.last, fact.last_region = slot, region
        for number in call.writes:
            writers.setdefault(number, call)
            if number in facts and call.kernel not in facts[number].written:
                facts[number].written.append(call.kernel)
    for plan_buffer in plan.buffers:
        fact = facts[plan_buffer.number]
        if fact.kind == "leaf":
            fact.name = leaves[fact.index] if fact.index < len(leaves) else f"input {fact.index}"
        elif plan_buffer.origin in nodes:
            node = nodes[plan_buffer.origin]
            place = node_names.get(node.serial, "inside a loop:")
            fact.name = f"{place} {node.op.name}"
        else:
            fact.name = _copy_name(fact, writers.get(fact.number), facts)
    placed = [fact for fact in facts.values() if fact.offset >= 0]
    lives = np.array([(f.offset, f.offset + f.bytes, f.last) for f in placed], np.int64).reshape(-1, 3)
    for fact in placed:
        overlaps = (lives[:, 1] > fact.offset) & (lives[:, 0] < fact.offset + fact.bytes)
        fact.reuses = [placed[n].number for n in np.flatnonzero(overlaps & (lives[:, 2] < fact.first))]
    return list(facts.values())


def _copy_name(fact: BufferFact, call: CallPlan | None, facts: dict[int, BufferFact]) -> str:
    """The name of a buffer that holds no node's value in its own layout."""
    if call is None:
        return "(unused)"
    if call.kernel < 0:
        return f"in the {call.label}" if call.host is None else f"for {call.label}"
    if call.label == "pack":
        source = next((facts[n].name for n in call.reads if n in facts), "")
        return f"panels of {source}" if source else "panels"
    if len(call.writes) > 1:
        return f"partial sums of k{call.kernel}"
    return f"copy by k{call.kernel}"


def updates(plan: Plan, buffers: Sequence[BufferFact]) -> list[Update]:
    """What `Plan.in_place` does: outputs written over the inputs that they replace."""
    by_leaf = {b.index: b for b in buffers if b.kind == "leaf"}
    last = {number: (region, call) for region, _, call in calls_of(plan) for number in call.writes}
    result = []
    for _, leaf in sorted(plan.in_place.items()):
        buffer = by_leaf.get(leaf)
        if buffer is None:
            continue
        region, call = last.get(buffer.number, (-1, None))
        copied = call is not None and call.label == "copy" and not call.origin
        result.append(Update(buffer.name, buffer, call.kernel if call else -1, region, copied))
    return result
