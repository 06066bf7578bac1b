"""What may stand where a tensor is expected, and how it becomes nodes of one dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import DType, bfloat16, converted
from .errors import DTypeError, PlaceholderError, ShapeError
from .graph.node import Node
from .ops.base import message
from .recording import broadcast, broadcast_shapes, cast, constant, full, promoted
from .tensor import Tensor, node_of


def to_node(value: Any, name: str = "asarray") -> Node:
    """The node of a tensor, or a constant made from a NumPy array, number or nested list."""
    if isinstance(value, Tensor):
        return node_of(value)
    return constant(to_array(value, name))


def to_array(value: Any, name: str = "asarray", dtype: DType | None = None) -> np.ndarray:
    """A new array of ours from `value`: NumPy arrays keep their dtype, Python floats give float32, ints int64."""
    try:
        direct = None if dtype is None or dtype.is_half else dtype.numpy
        array = np.array(_bits_of_bfloat16(value), dtype=direct, order="C", copy=True)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, PlaceholderError):
            raise
        raise ShapeError(message(name, f"no array can be made of this: {error}", ())) from None
    if array.dtype.kind not in "biuf" and array.dtype != bfloat16.numpy:
        raise DTypeError(message(name, f"elements of type {array.dtype} are not numbers that tensors hold", ()))
    if dtype is not None and array.dtype != dtype.numpy:
        return converted(array, dtype)
    if dtype is None and array.dtype == np.float64:
        first = value
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        if type(first) in (float, int, bool) or isinstance(first, (list, tuple)):
            array = array.astype(np.float32)
    return array


def _bits_of_bfloat16(value: Any) -> Any:
    """`value`, or if it is a bfloat16 array of another package's (they go by that name) one of ours over its memory."""
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.name == "bfloat16":
        return np.asarray(value).view(np.uint16).view(bfloat16.numpy)
    return value


def nodes_of(name: str, values: tuple, weak: bool = True) -> list[Node] | None:
    """Nodes of `values` with one dtype and shape; Python scalars take those of the others. None if one is no array."""
    nodes: list[Any] = []
    scalars = []
    for position, value in enumerate(values):
        if isinstance(value, Tensor):
            nodes.append(node_of(value))
        elif type(value) in (float, int, bool):
            scalars.append(position)
            nodes.append(None)
        elif isinstance(value, (np.ndarray, np.generic)):
            nodes.append(constant(to_array(value, name)))
        elif isinstance(value, (float, int)):
            scalars.append(position)
            nodes.append(None)
        else:
            return None
    strong = [n for n in nodes if n is not None]
    if not strong:
        nodes = [constant(to_array(v, name)) for v in values]
        strong, scalars = nodes, []
    dtype = promoted(name, strong)
    shape = strong[0].shape
    for node in strong:
        if node.shape != shape:
            shape = broadcast_shapes(name, strong)
            break
    for position in range(len(nodes)):
        node = nodes[position]
        if node is None:
            try:
                nodes[position] = full(values[position], shape, dtype, name)
            except DTypeError as error:
                first, *rest = str(error).splitlines()
                types = ", ".join(f"{n.dtype.name}{list(n.shape)}" for n in strong)
                raise DTypeError("\n".join([f"{first}; operands {types}", *rest])) from None
        else:
            nodes[position] = broadcast(cast(node, dtype), shape)
    return nodes
