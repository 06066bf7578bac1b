"""Memory of a program, known before it runs: what it needs, what is there, and what a backward pass keeps."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import config
from .errors import MemoryLimitError
from .graph.node import Node
from .layers import Layers
from .ops.base import Credit, misuse
from .ops.control import with_bodies

if TYPE_CHECKING:
    from .compiler.plan import BufferPlan, CallPlan, Plan

#: programs below this never ask how much memory the machine has
WORTH_ASKING = 64 << 20
#: share of the arena from which on checkpoints are recommended
WORTH_SAVING = 0.05
#: tensors that an error names
NAMED = 5

_limit: int | None = None


class _Suspended(threading.local):
    """Whether this thread only looks at programs, and may make ones that are too large to run."""

    now = False


_suspended = _Suspended()


@contextmanager
def unenforced() -> Iterator[None]:
    """Make programs of any size inside; they are checked when they run."""
    before, _suspended.now = _suspended.now, True
    try:
        yield
    finally:
        _suspended.now = before


def set_memory_limit(num_bytes: int | None) -> None:
    """Refuse programs whose intermediate values and results need more than `num_bytes`; None: what the machine has.

    The variable ``CHAINRULE_MEMORY`` sets the limit at start-up. A program is checked when it is made, before it runs,
    and again when it needs a large arena anew; it raises `MemoryLimitError`.

    Raises:
        ConfigError: not a positive whole number.

    Example:
        >>> import chainrule as cr
        >>> cr.set_memory_limit(8 << 30)
        >>> cr.get_memory_limit()
        8589934592
        >>> cr.set_memory_limit(None)
    """
    global _limit
    if num_bytes is not None and (isinstance(num_bytes, bool) or not isinstance(num_bytes, int) or num_bytes < 1):
        raise misuse(f"set_memory_limit: a positive whole number of bytes is needed, not {num_bytes!r}")
    _limit = num_bytes


def get_memory_limit() -> int | None:
    """The limit in bytes that `set_memory_limit` or ``CHAINRULE_MEMORY`` has set, or None."""
    return _limit if _limit is not None else config.memory_bytes()


def available_bytes() -> int | None:
    """Memory that this process can still get, as far as the system says; None if it does not."""
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found += [1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    for most, used, stat, name in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        try:
            limit = int(_text(most))
            reclaimed = [int(line.split()[1]) for line in _text(stat).splitlines() if line.split()[0] == name]
            found.append(max(limit - int(_text(used)) + sum(reclaimed), 0))
            break
        except (OSError, ValueError, IndexError):
            continue
    if not found and hasattr(os, "sysconf"):
        try:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, ValueError):
            return None
    return min(found) if found else None


def _text(name: str) -> str:
    with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as file:
        return file.read().strip()


def needed_bytes(plan: Plan) -> int:
    """What a run of a program allocates: its arena and its new results."""
    return plan.arena_bytes + sum(b.bytes for b in plan.buffers if b.kind == "output")


def describe(plan: Plan, order: Sequence[Node], trail: Sequence[Credit]) -> None:
    """Note in the plan of a large program what an error would say about it."""
    limit = get_memory_limit()
    if needed_bytes(plan) < (WORTH_ASKING if limit is None else min(limit, WORTH_ASKING)):
        return
    nodes = {node.serial: node for node in with_bodies(order)}
    layers = Layers(trail, nodes.values())
    lines = _largest(plan, nodes, layers)
    kept = retained(plan, layers, nodes)
    if kept.saved:
        lines.append(
            f"help: {text_size(kept.bytes)} of it are kept for the backward pass; cr.checkpoint around "
            f"{kept.segments} parts of the model would save about {text_size(kept.saved)}"
        )
    else:
        lines.append("help: a smaller batch, or cr.checkpoint around parts of the model")
    plan.largest = tuple(lines)


def _largest(plan: Plan, nodes: dict[int, Node], layers: Layers) -> list[str]:
    """A line for each of the largest tensors."""
    calls = [call for region in plan.regions for task in region.tasks for call in task.calls]
    made = {number: call.origin for call in reversed(calls) for number in call.writes}
    large = [b for b in plan.buffers if b.kind in ("arena", "output")]
    large.sort(key=lambda b: (-b.bytes, not b.origin, b.number))
    lines = []
    for buffer in large[:NAMED]:
        what = f"  {text_size(buffer.bytes)}  {buffer.dtype.name}{list(buffer.shape)}"
        serials = (buffer.origin, *made.get(buffer.number, ()))
        node = next((nodes[serial] for serial in serials if serial in nodes), None)
        if node is not None:
            layer = layers.layer(node)
            name = node.op.name if buffer.origin in nodes else f"copy for {node.op.name}"
            what += f"  {name}{f' of {layer}' if layer else ''}, recorded at {node.location}"
        lines.append(what)
    return lines


def require(plan: Plan) -> None:
    """Raise MemoryLimitError if a program needs more than there is, or than the limit that is set."""
    limit, needed = get_memory_limit(), needed_bytes(plan)
    if _suspended.now:
        return
    if limit is None:
        if needed < WORTH_ASKING:
            return
        there = available_bytes()
        if there is None or needed <= there:
            return
        reason = f"{text_size(there)} are available"
    elif needed <= limit:
        return
    else:
        reason = f"the limit is {text_size(limit)}"
    results = needed - plan.arena_bytes
    parts = f"{text_size(plan.arena_bytes)} for intermediate values and {text_size(results)} for results"
    head = f"memory: the program needs {text_size(needed)} ({parts}), {reason}"
    largest = plan.largest or _largest(plan, {}, Layers((), ()))
    raise MemoryLimitError("\n".join([head, "the largest tensors:", *largest]))


def text_size(number: int) -> str:
    """Bytes with a binary prefix."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 1 << shift:
            return f"{number / (1 << shift):.3g} {unit}" if number < 1000 << shift else f"{number >> shift} {unit}"
    return f"{number} B"


# --- what is kept for the backward pass ---------------------------------------------------------------------------


@dataclass
class Retained:
    """Values that the forward pass computes and the backward pass reads, and what `checkpoint` would save.

    Attributes:
        bytes: of all of them.
        buffers: (plan's buffer, layer), the largest first.
        layers: (layer, bytes), the largest first.
        segments: parts of the model to checkpoint, 0 if that saves nothing.
        saved: about how many bytes that saves: what lies inside the parts, but for the largest part's.
    """

    bytes: int = 0
    buffers: list[tuple[BufferPlan, str]] = field(default_factory=list)
    layers: list[tuple[str, int]] = field(default_factory=list)
    segments: int = 0
    saved: int = 0


def retained(plan: Plan, layers: Layers, nodes: dict[int, Node]) -> Retained:
    """Find the values in the arena that are kept from the forward pass for the backward pass."""

    def phases(call: CallPlan) -> set[str]:
        return {layers.phase(nodes[serial]) for serial in call.origin if serial in nodes}

    arena = {b.number: b for b in plan.buffers if b.kind == "arena"}
    writer: dict[int, str] = {}
    order: list[str] = []
    kept: dict[int, str] = {}
    readers: dict[int, list[str]] = {}
    for call in (call for region in plan.regions for task in region.tasks for call in task.calls):
        found = phases(call)
        named = [name for s in call.origin if s in nodes and (name := layers.layer(nodes[s]))]
        layer = named[0] if named else ""
        if "forward" in found:  # and perhaps the beginning of the reverse sweep, in the same kernel
            order += [name for name in dict.fromkeys(named) if name not in order]
            for number in call.reads:
                readers.setdefault(number, []).append(layer)
            for number in call.writes:
                own = arena.get(number)
                if own is not None and own.origin in nodes:
                    layer_of = layers.layer(nodes[own.origin]) or layer
                    writer.setdefault(number, layer_of)
        elif "reverse" in found:
            kept.update({number: writer[number] for number in call.reads if number in writer})
    result = Retained(sum(arena[n].bytes for n in kept))
    result.buffers = sorted(((arena[n], name) for n, name in kept.items()), key=lambda pair: -pair[0].bytes)
    sums: dict[str, int] = {}
    for buffer, name in result.buffers:
        sums[name] = sums.get(name, 0) + buffer.bytes
    result.layers = sorted(sums.items(), key=lambda pair: -pair[1])
    _estimate(result, order, kept, readers, arena)
    if result.saved < plan.arena_bytes * WORTH_SAVING:
        result.saved = result.segments = 0
    return result


def _estimate(result: Retained, order: list[str], kept: dict[int, str], readers: dict[int, list[str]], arena: Any):
    """Divide the layers, in the order of the forward pass, into parts of about equal bytes; find the best number."""
    place = {name: n for n, name in enumerate(order)}
    for segments in range(2, min(len(order), 2 * math.isqrt(len(order)) + 2) + 1):
        part = {name: n * segments // len(order) for name, n in place.items()}
        inside, across = [0] * segments, 0
        for number, name in kept.items():
            home = part.get(name, 0)
            if any(part.get(reader, home) > home for reader in readers.get(number, ())):
                across += arena[number].bytes
            else:
                inside[home] += arena[number].bytes
        saved = result.bytes - across - max(inside)
        if saved > result.saved:
            result.segments, result.saved = segments, saved


__all__ = ["available_bytes", "get_memory_limit", "needed_bytes", "require", "retained", "set_memory_limit"]
