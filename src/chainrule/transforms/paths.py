"""The nodes that a derivative has to visit."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..graph.node import Node


def dependents(outputs: Iterable[Node], sources: Collection[Node], gradients: bool) -> dict[Node, None]:
    """`sources`, and the nodes that depend on them and that `outputs` depend on, in recorded order.

    With `gradients`, only through nodes that require gradients. Linear in the nodes recorded since the
    first source: operands have smaller serial numbers than results, so nothing older can depend on one.
    """
    if not sources:
        return {}
    oldest = min(source.serial for source in sources)
    stack = [output for output in outputs if output.serial >= oldest]
    seen = set(stack)
    while stack:
        for operand in stack.pop().inputs:
            if operand.serial >= oldest and operand not in seen and (operand.requires_grad or not gradients):
                seen.add(operand)
                stack.append(operand)
    starts = set(sources)
    found: dict[Node, None] = {}
    for node in sorted(seen, key=_serial):
        if node in starts:
            found[node] = None
        elif node.requires_grad or not gradients:
            for operand in node.inputs:
                if operand in found:
                    found[node] = None
                    break
    return found


def between(outputs: Iterable[Node], wrt: Collection[Node]) -> dict[Node, None]:
    """The nodes on paths from `wrt` to `outputs` through nodes that require gradients, in recorded order."""
    return dependents(outputs, wrt, gradients=True)


def _serial(node: Node) -> int:
    return node.serial
