"""The sections of an explanation as lines of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph.node import Node
from .kernels import loops_text, method_text
from .names import PHASES
from .text import ROWS, WIDTH, count, cut, plural, runs, shorten, size, table, tally, type_text, wrapped

if TYPE_CHECKING:
    from . import Explanation
    from .facts import KernelFact

_LETTERS = "ijklmnopqrstuvwxyzabcdefgh"
#: columns of the picture of buffer lives
_PICTURE = 32
_LEGEND = (
    "v: the axis in vector lanes; r: a reduced axis; threads divide the first axis. flop, read and written are of one "
    "call; read and written count distinct bytes."
)


def title(text: str) -> list[str]:
    """The heading of a section."""
    return ["", f"-- {text} ".ljust(WIDTH, "-")]


def summary(e: Explanation) -> list[str]:
    """The first lines: the type, and the totals."""
    arguments = ", ".join(f"{n}: {type_text(d, s)}" for n, d, s in e.arguments)
    results = ", ".join(type_text(d, s) for d, s in e.results)
    called = zip(PHASES, ("forward", "of the reverse sweep", "of the optimiser"))
    parts = [f"{len(e.phases[phase])} {name}" for phase, name in called if e.phases[phase]]
    calls = sum(k.calls for k in e.kernels)
    distinct = len({k.number for k in e.kernels if k.number >= 0})
    threads, regions = plural(e.threads, "thread"), plural(len(e.plan.regions), "region")
    intermediates = plural(len(e.arena), "intermediate")
    matrix = sum(k.calls * k.contraction_flops for k in e.kernels)
    share = f" ({100 * matrix / e.flops:.0f} % in matrix products)" if e.flops and matrix else ""
    moved = e.bytes_read + e.bytes_written
    return [
        *wrapped([*f"{e.name}({arguments}) -> {results or 'nothing'}".split(" ")], 0, " "),
        "",
        f"  graph    {plural(len(e.nodes), 'node')}: {', '.join(parts) or 'inputs only'}",
        f"  program  {plural(calls, 'kernel call')} ({distinct} distinct) in {regions} for {threads}",
        f"  work     {count(e.flops)} flop{share}, {size(moved)} moved, {e.flops / max(moved, 1):.2g} flop a byte",
        f"  memory   arena {size(e.arena_bytes)} for {intermediates} of {size(e.intermediate_bytes)} together;"
        f" a buffer for every node would take {size(e.unfused_bytes)}",
    ]


def state(e: Explanation, limit: int | None) -> list[str]:
    """Arguments, cells, hyperparameters and flags."""
    lines = title("inputs and state")
    in_place = {update.buffer.index: update for update in e.updates}
    rows = []
    for number, (kind, name, node) in enumerate(e.inputs):
        if kind == "lifted" or (kind == "constant" and len(e.inputs) > ROWS):
            continue
        role = {"arg": "argument", "cell": "state", "constant": "constant"}[kind]
        if kind == "cell":
            update = in_place.get(number)
            role = "read" if update is None else "copied back" if update.copied else "updated in place"
            role = f"state, {role}"
        rows.append((e.node_names[node.serial], name, type_text(node.dtype, node.shape), size(_bytes(node)), role))
    rows.sort(key=lambda row: int(row[0][1:]))
    lines += cut(table(rows, ("", "", "", "", ""), "<<<><", (0, 44, 30)), limit, "input")
    if not rows and not e.written:
        lines.append("none")
    for what in dict.fromkeys(what for *_, what in e.written):
        found = [name for name, _, _, other in e.written if other == what]
        more = len(found) - ROWS
        lines += [f"{what}:", *wrapped(found if limit is None or more <= 0 else [*found[:ROWS], f"and {more} more"])]
    for what, pairs in (
        ("hyperparameters, read anew at each call", e.lifted),
        ("guards, a change of which makes another program", e.guards),
    ):
        if pairs:
            lines.append(f"{what}:")
            lines += wrapped(_assignments(pairs, limit))
    if e.plan.checks:
        lines.append("index checks at run time:")
        checks = [f"  {what}" + (f" ({_file(line)})" if e.has_places else "") for what, line in e.plan.checks]
        lines += cut(list(dict.fromkeys(checks)), limit, "check")
    return lines


def _assignments(pairs: Sequence[tuple[str, Any]], limit: int | None) -> list[str]:
    """``name = value`` for each; names that differ in numbers only are counted together unless all are wanted."""
    groups: dict[tuple, list[str]] = {}
    for name, value in dict.fromkeys(pairs):
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        alike = name if limit is None else re.sub(r"\b\d+\b", "#", name)
        groups.setdefault((alike, shown), []).append(name)
    words = []
    for (_, shown), names in groups.items():
        several = f" and {len(names) - 1} more" if len(names) > 1 else ""
        words.append(f"{names[0]}{several} = {shown}")
    return words


def graph(e: Explanation, phase: str, limit: int | None) -> list[str]:
    """The nodes of one phase, a line each, with type, operation, layer and source line."""
    nodes = e.phases[phase]
    head = "gradient graph: the reverse sweep" if phase == "reverse" else f"graph: {phase}"
    lines = title(f"{head}, {plural(len(nodes), 'node')}")
    if not nodes:
        lines.append({"reverse": "nothing is differentiated", "optimiser": "nothing"}.get(phase, "nothing is computed"))
        return lines
    lines += wrapped(tally(node.op.name for node in nodes).split(", "), 0)
    shown = [node for node in nodes if node.op.name != "full"]
    places = [_file(node.location) for node in shown]
    with_places = e.has_places and len(set(places)) > 1
    rows = []
    for node, place in zip(shown, places):
        kind = type_text(node.dtype, node.shape)
        rows.append(
            (
                e.node_names[node.serial],
                kind,
                operation(node, e.node_names),
                e.layers[node.serial],
                place if with_places else "",
            )
        )
    lines += cut(table(rows, ("",) * 5, "<<<<<", (0, 26, 46, 20, 18)), limit, "node")
    if e.has_places and not with_places and places and phase == "forward":
        lines.append(f"recorded by {places[0]}")
    return lines


def operation(node: Node, names: dict[int, str]) -> str:
    """``contract %3, %5 ij,jk->ik``: primitive, operands and attributes."""
    words = []
    for operand in node.inputs:
        if operand.op.name == "full" and operand.value is None:
            words.append(f"{operand.op.value:g}" if isinstance(operand.op.value, float) else str(operand.op.value))
        else:
            words.append(names.get(operand.serial, "?"))
    op = node.op
    if op.name == "contract":
        label = _labels(op)
        return f"contract {', '.join(words)}  {label}"
    shown = []
    for name in op.attributes:
        value = getattr(op, name)
        if name in ("shape", "dtype"):
            continue
        shown.append(f"{name}={_attribute(value)}")
    return f"{op.name} {', '.join([*words, *shown])}".rstrip()


def _labels(op: Any) -> str:
    """The labels of a contraction in the manner of einsum."""
    known: dict[int, str] = {}
    parts = []
    for labels in (op.a_labels, op.b_labels, op.out_labels):
        for label in labels:
            known.setdefault(label, _LETTERS[len(known) % 26])
        parts.append("".join(known[label] for label in labels))
    return f"{parts[0]},{parts[1]}->{parts[2]}"


def _attribute(value: object) -> str:
    if isinstance(value, tuple):
        return f"({' '.join(map(str, value))})"
    return shorten(str(getattr(value, "name", value)), 24)


def _file(location: str) -> str:
    return Path(location).name


def _bytes(node: Node) -> int:
    total = node.dtype.itemsize
    for extent in node.shape:
        total *= extent
    return int(total)


def kernels(e: Explanation, limit: int | None) -> list[str]:
    """The table of kernels: loops, work, traffic, and what they come from."""
    lines = title(f"kernels, {plural(len({k.number for k in e.kernels if k.number >= 0}), 'distinct function')}")
    if not e.kernels:
        return [*lines, "none"]
    lines += wrapped(_LEGEND.split(" "), 0, " ")
    rows, notes = [], []
    with_places = e.has_places and len({line for fact in e.kernels for line in fact.lines}) > 1
    for fact in e.kernels:
        kernel = fact.kernel
        times = f"x{fact.calls}" if fact.calls > 1 else ""
        loops = loops_text(kernel) if kernel is not None else ""
        shown = 2 if len(fact.layers) == 2 or len(", ".join(fact.layers[:2])) < 18 else 1
        of = ", ".join(fact.layers[:shown]) + (f" +{len(fact.layers) - shown}" if len(fact.layers) > shown else "")
        phase = "/".join(fact.phases)
        rows.append(
            (
                f"k{fact.number}" if kernel else "host",
                times,
                fact.kind,
                loops,
                count(fact.flops),
                size(fact.read),
                size(fact.written),
                f"{fact.intensity:.2g}",
                phase,
                of,
            )
        )
        chain = _chain(fact)
        lines_of = list(dict.fromkeys(map(_file, fact.lines)))
        about = [] if chain in (fact.kind, "") else [chain]
        if with_places and lines_of:
            more = f" and {len(lines_of) - 3} more" if len(lines_of) > 3 else ""
            about.append(f"from {', '.join(lines_of[:3])}{more}")
        notes.append([part for part in ("  ".join(about), kernel and method_text(kernel)) if part])
    listed = table(
        rows,
        ("", "", "kind", "loops", "flop", "read", "written", "flop/B", "phase", "of"),
        "<<<<>>>><<",
        (0, 0, 0, 30, 0, 0, 0, 0, 17, 22),
    )
    blocks = [[row, *(f"       {line}" for part in n for line in _fit(part))] for row, n in zip(listed[1:], notes)]
    lines.append(listed[0])
    if limit is not None and len(blocks) > limit + 2:
        head, tail = limit * 3 // 4, limit - limit * 3 // 4
        hidden = plural(len(blocks) - limit, "kernel")
        blocks = [*blocks[:head], [f"… {hidden} not shown"], *blocks[len(blocks) - tail :]]
    return lines + [line for block in blocks for line in block]


def _chain(fact: KernelFact) -> str:
    """What is fused, in order; a long chain as how often each primitive occurs before and after the main one."""
    words = fact.label.replace("bmm", "contract").split("+")
    chain = runs(words, " + ")
    if len(chain) <= 84:
        return chain
    main = "contract" if fact.kind == "contract" else ""
    if fact.kernel is not None and fact.kind == "reduce":
        main = fact.kernel.static[0]
    if main not in words:
        return tally(words)
    place = words.index(main)
    parts = [tally(words[:place]), main, tally(words[place + 1 :])]
    return ", then ".join(part for part in parts if part)


def _fit(text: str) -> list[str]:
    return [line.strip() for line in wrapped(text.split(" "), 8, " ")]


def regions(e: Explanation, limit: int | None) -> list[str]:
    """Which kernels run together, and how their rows are divided."""
    lines = title(f"regions, which run one after another: {len(e.plan.regions)}")
    if any(region.parallel for region in e.plan.regions):
        lines.append(
            f"shared: up to {plural(e.threads, 'thread')} claim chunks of rows of all its tasks; "
            "a > b: b follows a on every chunk while it is in cache"
        )
    rows = []
    for number, region in enumerate(e.plan.regions):
        merged: dict[tuple, int] = {}
        for task in region.tasks:
            words = [f"k{call.kernel}" if call.kernel >= 0 else f"host {call.label}" for call in task.calls]
            key = (runs(words, " > "), task.extent, -(-task.extent // max(task.chunk, 1)), task.chunk)
            merged[key] = merged.get(key, 0) + 1
        first = (f"r{number}", "shared" if region.parallel else "serial")
        for (chain, extent, chunks, chunk), times in merged.items():
            divided = f"{plural(extent, 'row')} in {plural(chunks, 'chunk')} of {chunk}" if chunks > 1 else ""
            rows.append((*first, shorten(chain, 70) + (f"  x{times}" if times > 1 else ""), divided))
            first = ("", "")
    return lines + cut(table(rows, ("",) * 4, "<<<<"), limit, "task")


def memory(e: Explanation, limit: int | None) -> list[str]:
    """The memory plan: the arena, and what is updated in place."""
    lines = title("memory plan")
    saved = f" ({100 * e.arena_bytes / e.intermediate_bytes:.0f} %)" if e.intermediate_bytes else ""
    together = f"{e.intermediate_bytes:,} bytes{saved}"
    lines.append(f"arena {e.arena_bytes:,} bytes; the sum of all intermediates is {together}")
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
        for (kind, length, how), names in groups.items():
            shown = names if limit is None else names[:3]
            more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
            times = f"{len(names)} x {length:,}" if len(names) > 1 else f"{length:,}"
            lines += wrapped(f"{', '.join(shown)}{more}: {kind}, {times} bytes, {how}".split(" "), 2, " ")
    return lines


def _picture(first: int, last: int, slots: int) -> str:
    """A line that shows when a buffer is in use."""
    width = min(slots, _PICTURE)
    low, high = first * width // slots, last * width // slots
    return "." * low + "#" * (high - low + 1) + "." * (width - high - 1)


def full_text(e: Explanation, limit: int | None = ROWS, only: Sequence[str] = ()) -> str:
    """All sections, or the named ones."""
    parts = {
        "summary": lambda: summary(e),
        "state": lambda: state(e, limit),
        "graph": lambda: graph(e, "forward", limit),
        "gradient": lambda: graph(e, "reverse", limit),
        "optimiser": lambda: graph(e, "optimiser", limit) if e.phases["optimiser"] else [],
        "kernels": lambda: kernels(e, limit),
        "regions": lambda: regions(e, limit),
        "memory": lambda: memory(e, limit),
    }
    lines: list[str] = []
    for name, make in parts.items():
        if not only or name in only:
            lines += make()
    return "\n".join(line.rstrip() for line in lines).lstrip("\n")


SECTIONS = ("summary", "state", "graph", "gradient", "optimiser", "kernels", "regions", "memory")
