"""Why values go through memory: for each pair of kernels of which one reads what the other has written, the reason.

The reasons are read off the finished plan: the loops, the strides and the order of its kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..compiler.grouping import MAXIMUM_ITEMS
from ..compiler.kernel import Kernel
from ..compiler.plan import CallPlan, Plan
from .facts import BufferFact

#: kinds of kernels that take in what feeds them and what follows them, point by point
_POINTWISE = ("map", "reduce")
_OWN_ORDER = {
    "contract": "a product reads each element many times",
    "pack": "copied into panels for a product",
    "scatter": "added to at indices",
    "csr": "a sparse product reads rows at indices",
    "attention": "attention reads each element many times",
    "attention_grad": "attention reads each element many times",
}


@dataclass
class Link:
    """A value that one call hands to another through memory.

    Attributes:
        buffer: where it lies.
        producer, consumer: numbers of the kernels; -1 for an operation on the host.
        reason: why the two are not one kernel.
        chained: whether they are one task, so that the value is read chunk by chunk while it is in cache.
    """

    buffer: BufferFact
    producer: int
    consumer: int
    reason: str
    chained: bool


def links(plan: Plan, buffers: Sequence[BufferFact]) -> list[Link]:
    """All values that lie in the arena, once for each kernel that reads them, in the order of execution."""
    arena = {b.number: b for b in buffers if b.offset >= 0}
    calls: list[tuple[int, CallPlan]] = []
    task_number = 0
    for region in plan.regions:
        for task in region.tasks:
            task_number += 1
            calls += [(task_number, call) for call in task.calls]
    order = _needs([call for _, call in calls])
    writers: dict[int, list[int]] = {}
    found: list[Link] = []
    seen: set[tuple[int, int, int]] = set()
    for number, (home, call) in enumerate(calls):
        for read in call.reads:
            for before in writers.get(read, ()) if read in arena else ():
                other_home, other = calls[before]
                key = (read, other.kernel, call.kernel)
                if key in seen or other is call:
                    continue
                seen.add(key)
                reason = _reason(plan, other, call, read, _between(order, before, number))
                found.append(Link(arena[read], other.kernel, call.kernel, reason, home == other_home))
        for written in call.writes:
            writers.setdefault(written, []).append(number)
    return found


def _needs(calls: Sequence[CallPlan]) -> list[int]:
    """For each call the bit set of all calls that it needs, directly or not."""
    writers: dict[int, list[int]] = {}
    result: list[int] = []
    for number, call in enumerate(calls):
        bits = 0
        for read in call.reads:
            for before in writers.get(read, ()):
                if before != number:
                    bits |= result[before] | 1 << before
        for written in call.writes:
            writers.setdefault(written, []).append(number)
        result.append(bits)
    return result


def _between(needs: list[int], low: int, high: int) -> bool:
    """Whether a third call needs `low` and is needed by `high`."""
    bits = needs[high] & ~((1 << (low + 1)) - 1)
    while bits:
        third = bits.bit_length() - 1
        if needs[third] >> low & 1:
            return True
        bits &= ~(1 << third)
    return False


def _reason(plan: Plan, producer: CallPlan, consumer: CallPlan, buffer: int, between: bool) -> str:
    for call in (consumer, producer):
        if call.kernel < 0:
            return f"{call.label} runs on the host" if call.host is not None else "a loop is a program of its own"
    first = plan.kernels[producer.kernel].with_arguments(producer.arguments)
    second = plan.kernels[consumer.kernel].with_arguments(consumer.arguments)
    operands = [n for n, a in enumerate(second.accesses) if a.buffer == buffer]
    if second.kind not in _POINTWISE and (second.kind != "contract" or any(n < 2 for n in operands)):
        return _OWN_ORDER.get(second.kind, f"{second.kind} reads its operands in an order of its own")
    if first.kind not in (*_POINTWISE, "contract"):
        return "complete only when all is added" if first.kind == "scatter" else f"{first.kind} only stores"
    taken = {i[1] for body in (second.body, second.inner) for i in body.code if i[0] == "take"}
    if taken & set(operands):
        return "read at indices"
    if first.kind == "reduce" and any(_repeats(second, n) for n in operands):
        return "a complete reduction is needed for each of many elements"
    if not first.baked and first.kind == "contract":
        return "uncompiled products share one function, which only stores"
    if any(_repeats(second, n) for n in operands):
        return "each element is read several times"
    stored = [first.accesses[a].strides for body in (first.body, first.inner) for _, a in body.stores
              if first.accesses[a].buffer == buffer]  # fmt: skip
    loaded = [second.accesses[n].strides for n in operands]
    if first.sizes != second.sizes:
        return "other loops than the writer's"
    if not set(stored) & set(loaded):
        return "read in another order than written"
    if between:
        return "a third kernel lies between the two"
    count = max(len(call.origin) for call in (producer, consumer))
    if count >= MAXIMUM_ITEMS // 2:
        return f"a kernel holds at most {MAXIMUM_ITEMS} operations"
    return "kept for a later kernel, and not worth computing twice"


def _repeats(kernel: Kernel, number: int) -> bool:
    """Whether an operand stands still along a loop."""
    strides = kernel.accesses[number].strides
    return any(not stride and size > 1 for size, stride in zip(kernel.sizes, strides))
