"""The sections about memory: what goes through it, where it lies, and what is kept for the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text import cut, plural, size, table, title, type_text, wrapped

if TYPE_CHECKING:
    from . import Explanation
    from .fusion import Link

#: columns of the picture of buffer lives
_PICTURE = 32


def fusion(e: Explanation, limit: int | None) -> list[str]:
    """How many values never reach memory, and why the others do."""
    made = [node for nodes in e.phases.values() for node in nodes if node.op.name != "full"]
    passed = sum(b.bytes for b in e.arena)
    calls = plural(sum(k.calls for k in e.kernels), "kernel call")
    lines = title("fusion: what goes through memory, and why")
    lines.append(
        f"{plural(len(made), 'node')} in {calls}; values of {size(e.unfused_bytes)}, of which "
        f"{size(passed)} go from one kernel to another through memory"
    )
    groups: dict[str, list[Link]] = {}
    for link in e.links:
        groups.setdefault(link.reason, []).append(link)
    rows = []
    for reason, found in groups.items():
        distinct = {link.buffer.number: link.buffer.bytes for link in found}
        chained = sum(link.chained for link in found)
        pairs = list(
            dict.fromkeys(f"{_name(link.producer, reason)} > {_name(link.consumer, reason)}" for link in found)
        )
        shown = pairs if limit is None else pairs[:3]
        more = f" +{len(pairs) - len(shown)}" if len(pairs) > len(shown) else ""
        cached = f"{chained} in cache" if chained else ""
        rows.append((sum(distinct.values()), (reason, str(len(found)), size(sum(distinct.values())), cached,
                                              ", ".join(shown) + more)))  # fmt: skip
    rows.sort(key=lambda row: -row[0])
    header = ("reason", "times", "bytes", "", "kernels")
    lines += cut(table([row for _, row in rows], header, "<>><<", (58, 0, 0, 0, 56)), limit, "reason")
    if any(link.chained for link in e.links):
        lines.append("in cache: the reader follows the writer chunk by chunk (a > b in the regions)")
    return lines if rows else lines[:3]


def _name(kernel: int, reason: str) -> str:
    return f"k{kernel}" if kernel >= 0 else "loop" if "loop" in reason else "host"


def memory(e: Explanation, limit: int | None) -> list[str]:
    """The memory plan: the arena, and what is updated in place."""
    lines = title("memory plan")
    saved = f" ({100 * e.arena_bytes / e.intermediate_bytes:.0f} %)" if e.intermediate_bytes else ""
    together = f"{e.intermediate_bytes:,} bytes{saved}"
    lines.append(f"arena {e.arena_bytes:,} bytes; the sum of all intermediates is {together}")
    reusing = [b for b in e.arena if b.reuses]
    if reusing:
        most = size(sum(b.bytes for b in reusing))
        lines.append(f"{plural(len(reusing), 'intermediate')}, {most}, in memory that others have used before")
    if e.arena:
        slots = 1 + max(b.last for b in e.buffers)
        picture = f"picture: {plural(slots, 'time slot')}, # in use"
        lines.append(f"life: regions from the first write to the last read; {picture}")
        rows = []
        hidden = 0 if limit is None else max(len(e.arena) - limit, 0)
        largest = sorted(e.arena, key=lambda b: -b.bytes)[: len(e.arena) - hidden]
        for b in sorted(largest, key=lambda b: (b.first, b.offset)):
            life = f"r{b.first_region}" if b.first_region == b.last_region else f"r{b.first_region}-r{b.last_region}"
            over = ", ".join(f"b{n}" for n in b.reuses[:3]) + (f" +{len(b.reuses) - 3}" if len(b.reuses) > 3 else "")
            rows.append(
                (
                    f"b{b.number}",
                    b.name,
                    type_text(b.dtype, b.shape),
                    f"{b.bytes:,}",
                    f"{b.offset:,}",
                    life,
                    _picture(b.first, b.last, slots),
                    over,
                )
            )
        header = ("", "holds", "type", "bytes", "offset", "life", "", "takes over")
        lines += table(rows, header, "<<<>><<<", (0, 24, 22))
        if hidden:
            lines.append(f"… {plural(hidden, 'smaller buffer')} not shown")
    lines += kept(e, limit)
    outputs = [b for b in e.buffers if b.kind == "output"]
    if outputs:
        lines.append("new arrays: " + f"{plural(len(outputs), 'result')}, {size(sum(b.bytes for b in outputs))}")
        lines += cut([f"  {b.name}  {type_text(b.dtype, b.shape)}" for b in outputs], limit, "result")
    if e.updates:
        total = sum(u.buffer.bytes for u in e.updates)
        cells = f"{plural(len(e.updates), 'cell')}, {size(total)}"
        copied = any(u.copied for u in e.updates)
        lines.append(f"updated: {cells}" if copied else f"updated in place: {cells}, none of which needs a second copy")
        groups: dict[tuple, list[str]] = {}
        for u in e.updates:
            how = "nothing" if u.region < 0 else f"k{u.kernel} in r{u.region}"
            how = f"copied back by {how}" if u.copied else f"in place by {how}"
            groups.setdefault((type_text(u.buffer.dtype, u.buffer.shape), u.buffer.bytes, how), []).append(u.name)
        ordered = sorted(groups.items(), key=lambda group: -group[0][1] * len(group[1]))
        most_shown = ordered if limit is None or len(ordered) <= limit else ordered[: limit // 2]
        for (kind, length, how), names in most_shown:
            shown = names if limit is None else names[:3]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            times = f"{len(names)} x {length:,}" if len(names) > 1 else f"{length:,}"
            lines += wrapped(f"{', '.join(shown)}{more}: {kind}, {times} bytes, {how}".split(" "), 2, " ")
        if len(most_shown) < len(ordered):
            lines.append(f"… {plural(sum(len(n) for _, n in ordered[len(most_shown) :]), 'smaller cell')} not shown")
    return lines


def kept(e: Explanation, limit: int | None) -> list[str]:
    """What the forward pass keeps for the backward pass, and what checkpoints would save."""
    found = e.retained
    if not found.bytes:
        return []
    share = f"{100 * found.bytes / max(e.arena_bytes, 1):.0f} % of the arena"
    lines = [f"kept from the forward pass for the backward pass: {plural(len(found.buffers), 'value')}, "
             f"{size(found.bytes)} ({share})"]  # fmt: skip
    shown = found.layers if limit is None else found.layers[:8]
    more = [f"and {len(found.layers) - len(shown)} more"] if len(found.layers) > len(shown) else []
    lines += wrapped([*(f"{name or '(no layer)'} {size(number)}" for name, number in shown), *more])
    if found.saved:
        lines.append(f"cr.checkpoint around {found.segments} parts of the model would save about {size(found.saved)}")
    else:
        lines.append("cr.checkpoint would save next to nothing")
    return lines


def _picture(first: int, last: int, slots: int) -> str:
    """A line that shows when a buffer is in use."""
    width = min(slots, _PICTURE)
    low, high = first * width // slots, last * width // slots
    return "." * low + "#" * (high - low + 1) + "." * (width - high - 1)
