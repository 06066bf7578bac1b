"""The text of a graph: one line for each node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..dtypes import widened
from .node import Node, topological

_SHOWN_ELEMENTS = 4


def format_graph(outputs: Sequence[Node], stop_at_values: bool = True) -> str:
    """A typed listing of everything that `outputs` depend on, in recorded order.

    Each line is ``%3 : float32[8, 4] = add %1, %2  # file.py:12``; numbers count from 0 in this
    listing. With `stop_at_values`, nodes that have a value are shown as constants.
    """
    order = sorted(topological(outputs, stop_at_values), key=lambda node: node.serial)
    names = {node: f"%{i}" for i, node in enumerate(order)}
    rows = []
    for node in order:
        text = f"{names[node]} : {node.dtype.name}{list(node.shape)} = {_operation(node, names, stop_at_values)}"
        rows.append((text, _place(node)))
    width = min(max((len(text) for text, _ in rows), default=0), 88)
    lines = [f"{text:<{width}}  # {place}" for text, place in rows]
    lines.append("return " + ", ".join(names[node] for node in outputs))
    return "\n".join(lines)


def _operation(node: Node, names: dict[Node, str], stop_at_values: bool) -> str:
    if node.value is not None and (stop_at_values or not node.inputs):
        if node.value.size <= _SHOWN_ELEMENTS:
            return f"constant {widened(node.value).tolist()}"
        return "constant"
    op = node.op
    shown = [f"{name}={_attribute(getattr(op, name))}" for name in op.attributes]
    if op.name in ("full", "iota", "cast"):  # their result's type says the rest
        shown = [text for text in shown if not text.startswith(("shape=", "dtype="))]
    operands = [names[operand] for operand in node.inputs]
    return f"{op.name} " + ", ".join(operands + shown) if operands or shown else op.name


def _attribute(value: object) -> str:
    return value.name if hasattr(value, "name") else str(value)


def _place(node: Node) -> str:
    return Path(node.location).name
