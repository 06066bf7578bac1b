"""The facts of a compiled program as plain data: kernels, regions and buffers, with where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..compiler.kernel import Kernel
from ..compiler.measure import contraction_flops, flops, traffic
from ..compiler.plan import CallPlan, Plan
from ..graph.node import Node
from .names import PHASES, Names


@dataclass
class KernelFact:
    """Calls of one kernel with equal sizes.

    Attributes:
        number: the kernel's position among the distinct ones, which `Explanation.llvm` takes; -1 for a host call.
        kernel: the loop IR with the numbers of the first such call; None for a host call.
        label: the primitives fused into it, in order.
        calls: how often a step calls it so.
        flops: floating-point operations of one call; `contraction_flops` of those are a matrix product's.
        read, written: distinct bytes of one call.
        phases, layers, lines: where the nodes that it computes were recorded.
        regions: numbers of the regions that call it.
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
        first, last: the first and last time slot that touches it (-1: none does). A region that threads share is one
            slot, in a serial one every task is one.
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
    """Region, time slot and call, in the order of execution."""
    slot = 0
    for number, region in enumerate(plan.regions):
        for task in region.tasks:
            for call in task.calls:
                yield number, slot, call
            if not region.parallel:
                slot += 1
        slot += region.parallel


def kernel_facts(plan: Plan, nodes: dict[int, Node], names: Names) -> list[KernelFact]:
    """The kernels in the order of their first calls."""
    found: dict[Any, KernelFact] = {}
    for region, _, call in calls_of(plan):
        kernel = None if call.kernel < 0 else plan.kernels[call.kernel].with_arguments(call.arguments)
        length = kernel.extra[0] if kernel is not None and kernel.kind in ("contract", "reduce") else 0
        key = (call.kernel, call.label, kernel and (kernel.sizes, [a.strides for a in kernel.accesses], length))
        fact = found.get(repr(key))
        if fact is None:
            fact = found[repr(key)] = KernelFact(call.kernel, kernel, call.label)
            if kernel is not None:
                fact.flops, fact.contraction_flops = flops(kernel), contraction_flops(kernel)
                fact.read, fact.written = traffic(kernel)
        fact.calls += 1
        if region not in fact.regions:
            fact.regions.append(region)
        for node in (nodes[serial] for serial in call.origin if serial in nodes):
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
            fact.name = f"{node_names[node.serial]} {node.op.name}"
        else:
            fact.name = _copy_name(fact, writers.get(fact.number), facts)
    placed = [fact for fact in facts.values() if fact.offset >= 0]
    for fact in placed:
        for other in placed:
            apart = other.offset + other.bytes <= fact.offset or fact.offset + fact.bytes <= other.offset
            if other.last < fact.first and not apart:
                fact.reuses.append(other.number)
    return list(facts.values())


def _copy_name(fact: BufferFact, call: CallPlan | None, facts: dict[int, BufferFact]) -> str:
    """The name of a buffer that holds no node's value in its own layout."""
    if call is None:
        return "(unused)"
    if call.label == "pack":
        source = next((facts[n].name for n in call.reads if n in facts), "")
        return f"panels of {source}" if source else "panels"
    if len(call.writes) > 1:
        return f"partial sums of k{call.kernel}"
    return f"copy by k{call.kernel}"


def updates(plan: Plan, buffers: Sequence[BufferFact]) -> list[Update]:
    """What `Plan.in_place` does: outputs written over the inputs that they replace."""
    by_leaf = {b.index: b for b in buffers if b.kind == "leaf"}
    result = []
    for _, leaf in sorted(plan.in_place.items()):
        buffer = by_leaf.get(leaf)
        if buffer is None:
            continue
        last = [(region, call) for region, _, call in calls_of(plan) if buffer.number in call.writes]
        region, call = last[-1] if last else (-1, None)
        copied = call is not None and call.label == "copy" and not call.origin
        result.append(Update(buffer.name, buffer, call.kernel if call else -1, region, copied))
    return result
