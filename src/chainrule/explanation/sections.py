"""The sections of an explanation as lines of text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph.node import Node
from ..layers import PHASES
from .kernels import chain_text, loops_text, method_text
from .layered import graph_by_layer, kernels_by_layer
from .storage import fusion, memory
from .text import (
    ROWS,
    count,
    cut,
    num_bytes,
    plural,
    runs,
    shorten,
    size,
    table,
    tally,
    title,
    type_text,
    wrapped,
)

if TYPE_CHECKING:
    from . import Explanation

#: times the limit of a list from which on a program is shown layer by layer
LARGE = 2
_LETTERS = "ijklmnopqrstuvwxyzabcdefgh"
_LEGEND = (
    "v: the axis in vector lanes; r: a reduced axis; threads divide the first axis. flop, read and written are of one "
    "call; read and written count distinct bytes."
)


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
        rows.append((e.node_names[node.serial], name, type_text(node.dtype, node.shape), size(num_bytes(node)), role))
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
    if limit is not None and len(shown) > LARGE * limit:
        return lines + graph_by_layer(e, shown, limit)
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


def kernels(e: Explanation, limit: int | None) -> list[str]:
    """The table of kernels: loops, work, traffic, and what they come from."""
    lines = title(f"kernels, {plural(len({k.number for k in e.kernels if k.number >= 0}), 'distinct function')}")
    if not e.kernels:
        return [*lines, "none"]
    lines += wrapped(_LEGEND.split(" "), 0, " ")
    rows, notes = [], []
    with_places = e.has_places and len({line for fact in e.kernels for line in fact.lines}) > 1
    facts = e.kernels
    if limit is not None and len(facts) > LARGE * limit:
        lines += kernels_by_layer(e, limit)
        facts = sorted(facts, key=lambda fact: -fact.calls * fact.flops)[: limit // 4]
        lines += ["", f"the {len(facts)} with the most operations, of {len(e.kernels)}:"]
    for fact in facts:
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
        chain = chain_text(fact)
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
            if region.loop is not None:
                calls = [call for inner in region.loop.regions for t in inner.tasks for call in t.calls]
                words = [f"{task.calls[0].label}: {', '.join(f'k{c.kernel}' for c in calls if c.kernel >= 0)}"]
            key = (runs(words, " > "), task.extent, -(-task.extent // max(task.chunk, 1)), task.chunk)
            merged[key] = merged.get(key, 0) + 1
        first = (f"r{number}", "shared" if region.parallel else "serial")
        for (chain, extent, chunks, chunk), times in merged.items():
            divided = f"{plural(extent, 'row')} in {plural(chunks, 'chunk')} of {chunk}" if chunks > 1 else ""
            rows.append((*first, shorten(chain, 70) + (f"  x{times}" if times > 1 else ""), divided))
            first = ("", "")
    return lines + cut(table(rows, ("",) * 4, "<<<<"), limit, "task")


def full_text(e: Explanation, limit: int | None = ROWS, only: Sequence[str] = ()) -> str:
    """All sections, or the named ones."""
    parts = {
        "summary": lambda: summary(e),
        "state": lambda: state(e, limit),
        "graph": lambda: graph(e, "forward", limit),
        "gradient": lambda: graph(e, "reverse", limit),
        "optimiser": lambda: graph(e, "optimiser", limit) if e.phases["optimiser"] else [],
        "kernels": lambda: kernels(e, limit),
        "fusion": lambda: fusion(e, limit),
        "regions": lambda: regions(e, limit),
        "memory": lambda: memory(e, limit),
    }
    lines: list[str] = []
    for name, make in parts.items():
        if not only or name in only:
            lines += make()
    return "\n".join(line.rstrip() for line in lines).lstrip("\n")


SECTIONS = ("summary", "state", "graph", "gradient", "optimiser", "kernels", "fusion", "regions", "memory")
