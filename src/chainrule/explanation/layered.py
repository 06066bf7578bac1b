"""Large programs layer by layer: one row for each module, or for each container of modules if there are many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..graph.node import Node
from .text import count, cut, num_bytes, shorten, size, table, tally

if TYPE_CHECKING:
    from . import Explanation
    from .facts import KernelFact


def containers(e: Explanation, names: Iterable[str], limit: int) -> dict[str, str]:
    """For each layer ("Linear blocks.0.first") its name, or that of a module around it, such that few remain."""
    known = list(dict.fromkeys(names))
    labels = {name.partition(" ")[2]: name for name in e.layers.values()}
    deepest = max((name.count(".") for name in known), default=0) + 1
    found: dict[str, str] = {}
    for depth in range(deepest, 0, -1):
        for name in known:
            path = ".".join(name.partition(" ")[2].split(".")[:depth])
            found[name] = labels.get(path, path) if path else name
        if len(set(found.values())) <= limit:
            break
    return found


def _alike(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows with neighbours that differ in their name only counted together."""
    result = []
    for _, group in groupby(rows, key=lambda row: row[1:]):
        found = list(group)
        name = found[0][0] if len(found) == 1 else f"{found[0][0]} to {found[-1][0]}: {len(found)}, of each"
        result.append((name, *found[0][1:]))
    return result


def graph_by_layer(e: Explanation, nodes: Sequence[Node], limit: int) -> list[str]:
    """One row for each layer: its nodes, the bytes of their values, and the primitives."""
    names = containers(e, (e.layers[node.serial] for node in nodes), limit)
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(names[e.layers[node.serial]], []).append(node)
    rows = [
        (
            name or "(no layer)",
            str(len(found)),
            size(sum(map(num_bytes, found))),
            shorten(tally(node.op.name for node in found), 56),
        )
        for name, found in groups.items()
    ]
    return cut(table(_alike(rows), ("layer", "nodes", "values", "primitives"), "<>><", (46, 0, 0, 0)), limit, "layer")


def kernels_by_layer(e: Explanation, limit: int) -> list[str]:
    """One row for each layer and phase: kernels, calls, work and traffic. A call counts for its first layer."""
    names = containers(e, (layer for fact in e.kernels for layer, _ in fact.places), limit)
    groups: dict[tuple[str, str], list[tuple[KernelFact, int]]] = {}
    for fact in e.kernels:
        for (layer, phase), calls in fact.places.items():
            groups.setdefault((names[layer], phase), []).append((fact, calls))
    rows = []
    for (name, phase), found in groups.items():
        work = sum(calls * fact.flops for fact, calls in found)
        rows.append(
            (
                name or "(no layer)",
                phase,
                str(len({fact.number for fact, _ in found})),
                str(sum(calls for _, calls in found)),
                count(work),
                f"{100 * work / max(e.flops, 1):.1f}",
                size(sum(calls * fact.read for fact, calls in found)),
                size(sum(calls * fact.written for fact, calls in found)),
            )
        )
    header = ("layer", "phase", "kernels", "calls", "flop", "%", "read", "written")
    return cut(table(_alike(rows), header, "<<>>>>>>", (46, 0, 0, 0, 0, 0, 0, 0)), 2 * limit, "row")
