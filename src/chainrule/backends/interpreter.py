"""The interpreter: graphs evaluated by NumPy, one node at a time; what other backends are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import PlaceholderError, SingularMatrixError
from ..graph.node import Node, topological
from ..ops.base import mode


def run(
    nodes: Sequence[Node],
    bindings: Mapping[Node, np.ndarray] | None = None,
    keep: dict[Node, np.ndarray] | None = None,
    watch: Callable[[Node, np.ndarray], None] | None = None,
) -> list[np.ndarray]:
    """The values of `nodes`, C-contiguous, read-only, of the nodes' exact dtypes and shapes.

    Args:
        nodes: what to evaluate; nothing is stored in them.
        bindings: arrays that stand for placeholders.
        keep: if given, receives the values of the intermediate nodes that require gradients.
        watch: if given, is called with every node that is computed and its value.

    Raises:
        PlaceholderError: a placeholder is neither bound nor has a value.
        IndexOutOfRangeError: an index lies outside its axis.
    """
    known: dict[Node, np.ndarray] = {}
    for node, array in (bindings or {}).items():
        known[node] = finish(array, node)
    order = topological(nodes)
    uses: dict[Node, int] = dict.fromkeys(nodes, 1)
    for node in order:
        if node.value is None:
            for operand in node.inputs:
                uses[operand] = uses.get(operand, 0) + 1
    joint: dict[tuple, list[np.ndarray]] = {}  # all results of loops
    before = mode.where
    try:
        with np.errstate(all="ignore"):
            for node in order:
                if node.value is not None:
                    known[node] = node.value
                    continue
                if node not in known:
                    mode.where = node.where  # for the messages of errors
                    known[node] = finish(_compute(node, known, joint), node)
                    if keep is not None and node.requires_grad:
                        keep[node] = known[node]
                    if watch is not None:
                        watch(node, known[node])
                for operand in node.inputs:
                    uses[operand] -= 1
                    if not uses[operand]:
                        known.pop(operand, None)
    finally:
        mode.where = before
    return [known[node] for node in nodes]


def _compute(node: Node, known: Mapping[Node, np.ndarray], joint: dict[tuple, list[np.ndarray]]) -> np.ndarray:
    if node.op.name == "placeholder":
        raise PlaceholderError(
            f"a value was asked of a placeholder of type {node.dtype.name}{list(node.shape)}\n"
            f"recorded at {node.location}"
        )
    if node.op.joint:
        key = (node.op.joined, node.inputs)
        if key not in joint:
            joint[key] = node.op.numpy_all(*[known[operand] for operand in node.inputs])
        return joint[key][node.op.index]
    try:
        return node.op.evaluate(node.dtype, [known[operand] for operand in node.inputs])
    except np.linalg.LinAlgError as error:
        raise SingularMatrixError(f"{node.op.name}: {error}\nrecorded at {node.location}") from None


def finish(array: np.ndarray, node: Node) -> np.ndarray:
    """`array` as a value of `node`: checked, C-contiguous and read-only."""
    array = np.asarray(array)
    if array.dtype != node.dtype.numpy or array.shape != node.shape:
        raise AssertionError(f"{node!r} has a value of type {array.dtype.name}{list(array.shape)}")
    if not array.flags.c_contiguous:
        array = np.array(array, order="C", copy=True)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array
