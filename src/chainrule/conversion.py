"""What may stand where a tensor is expected, and how it becomes nodes of one dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from .alignment import aligned_empty
from .dtypes import ALL, DType, bfloat16, complex_dtype, converted
from .errors import DTypeError, PlaceholderError, ShapeError
from .graph.node import Node
from .ops.base import message
from .recording import broadcast, broadcast_shapes, cast, constant, full, promoted
from .tensor import Tensor, node_of

_HELD = {dtype.numpy for dtype in ALL}


def to_node(value: Any, name: str = "asarray") -> Node:
    """The node of a tensor, or a constant made from a NumPy array, number or nested list."""
    if isinstance(value, Tensor):
        return node_of(value)
    return constant(to_array(value, name))


def to_array(value: Any, name: str = "asarray", dtype: DType | None = None) -> np.ndarray:
    """A new array of ours from `value`: NumPy arrays keep their dtype, Python floats give float32, ints int64.

    Python complex numbers give complex64. Complex values do not become real ones: DTypeError names `real`.
    """
    try:
        direct = None if dtype is None or dtype.is_half or _is_complex(value) else dtype.numpy
        array = _copied(_bits_of_bfloat16(value), direct)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, PlaceholderError):
            raise
        if "complex" in str(error):
            _refuse_complex(name, dtype)
        kind = DTypeError if isinstance(error, OverflowError) else ShapeError
        raise kind(message(name, f"no array can be made of this: {error}", ())) from None
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in _HELD:
        raise DTypeError(message(name, f"elements of type {array.dtype} are not numbers that tensors hold", ()))
    if dtype is not None and array.dtype != dtype.numpy:
        if array.dtype.kind == "c" and dtype.kind not in "bc":
            _refuse_complex(name, dtype)
        return converted(array, dtype)
    if dtype is None and (array.dtype == np.float64 or array.dtype == np.complex128):
        first = value
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        if type(first) in (float, int, bool, complex) or isinstance(first, (list, tuple)):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.complex64)
    return array


def _copied(value: Any, dtype: np.dtype | None) -> np.ndarray:
    """`value` as a row-major array of its own; a large one begins at a cache line, so that vectors cross none."""
    if type(value) is np.ndarray and value.dtype in _HELD and dtype in (None, value.dtype):
        array = aligned_empty(value.shape, value.dtype)
        array[...] = value
        return array
    return np.array(value, dtype=dtype, order="C", copy=True)


def _is_complex(value: Any) -> bool:
    """Whether `value`, or the first number in nested lists, is complex: NumPy would drop its imaginary part."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, complex) or (isinstance(value, np.ndarray) and value.dtype.kind == "c")


def _refuse_complex(name: str, dtype: DType | None):
    wanted = "real" if dtype is None else dtype.name
    help = "take the real part first, as in real(x), or the absolute value"
    raise DTypeError(message(name, f"complex numbers do not become {wanted} ones", (), help))


def _bits_of_bfloat16(value: Any) -> Any:
    """`value`, or if it is a bfloat16 array of another package's (they go by that name) one of ours over its memory."""
    # a dtype's name is slow to ask for
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype not in _HELD and value.dtype.name == "bfloat16":
        return np.asarray(value).view(np.uint16).view(bfloat16.numpy)
    return value


def nodes_of(name: str, values: tuple, weak: bool = True) -> list[Node] | None:
    """Nodes of `values` with one dtype and shape; Python scalars take those of the others. None if one is no array."""
    nodes: list[Any] = []
    scalars = []
    for position, value in enumerate(values):
        if isinstance(value, Tensor):
            nodes.append(node_of(value))
        elif type(value) in (float, int, bool, complex):
            scalars.append(position)
            nodes.append(None)
        elif isinstance(value, (np.ndarray, np.generic)):
            nodes.append(constant(to_array(value, name)))
        elif isinstance(value, (float, int, complex)):
            scalars.append(position)
            nodes.append(None)
        else:
            return None
    strong = [n for n in nodes if n is not None]
    if not strong:
        nodes = [constant(to_array(v, name)) for v in values]
        strong, scalars = nodes, []
    dtype = promoted(name, strong)
    if scalars and dtype.kind == "f" and any(isinstance(values[i], complex) for i in scalars):
        dtype = complex_dtype(dtype)  # as wide as the tensors
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
