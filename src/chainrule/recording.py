"""Recording helpers of the array front end: constants, scalars, broadcasting and promotion on nodes.

Primitives neither broadcast nor promote. The functions here insert the explicit `broadcast`, `cast`
and `full` nodes that the Array API's rules ask for, and raise the errors of those rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops as _ops  # noqa: F401 (registers every primitive)
from .dtypes import ALL, BY_NAME, DType, as_dtype, float32, promote
from .errors import AxisError, ConfigError, DTypeError, ShapeError
from .graph.node import Node
from .ops.base import REGISTRY, Primitive, emit, message, mode, primitive
from .ops.rules import full as full_node

Shape = tuple[int, ...]

#: axes that an array of NumPy can have
MAXIMUM_AXES = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
_CONSTANT = primitive("constant")
#: least and greatest number of each integer dtype
LIMITS = {d: (int(np.iinfo(d.numpy).min), int(np.iinfo(d.numpy).max)) for d in ALL if d.kind in "iu"}
_FULL = REGISTRY["full"]


def reject(name: str, problem: str, operands: Sequence[Node] = (), help: str = "", kind: type = ShapeError):
    """Raise `kind` in the house form: operation, problem, operand types, the user's line, the cure."""
    raise kind(message(name, problem, tuple(operands), help))


def constant(array: np.ndarray, requires_grad: bool = False) -> Node:
    """A node holding `array`, which has to be ours alone (not shared with the user); it becomes read-only."""
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return Node(_CONSTANT, (), array.shape, as_dtype(array.dtype), array, requires_grad, mode.where)


def scalar_value(value: Any, dtype: DType, name: str = "full") -> bool | int | float | complex:
    """The Python scalar `value` as the kind of number that `dtype` holds; DTypeError where it does not fit."""
    kind = dtype.kind
    if kind in "fc":
        if type(value) is float and kind == "f":
            return value
        if type(value) is bool:
            help = "write 1.0 or 0.0, or use where(...)"
            reject(name, f"a bool does not mix with {dtype.name}", (), help, DTypeError)
        if kind == "c":
            return complex(value)
        if isinstance(value, (complex, np.complexfloating)):
            help = "take .real of it, or convert the tensor with .astype(chainrule.complex64)"
            reject(name, f"the complex number {value!r} does not mix with {dtype.name}", (), help, DTypeError)
        return float(value)
    if kind == "b":
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        reject(name, f"the number {value!r} does not mix with bool", (), "convert with .astype(...)", DTypeError)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        wanted = "bool" if isinstance(value, bool) else "complex64" if isinstance(value, complex) else "float32"
        help = f"convert the tensor with .astype(chainrule.{wanted})"
        reject(name, f"the {type(value).__name__} {value!r} does not mix with {dtype.name}", (), help, DTypeError)
    low, high = LIMITS[dtype]
    if not low <= value <= high:
        problem = f"{value} does not fit {dtype.name}, whose range is {low} to {high}"
        reject(name, problem, (), "convert with .astype(...)", DTypeError)
    return int(value)


def full(value: Any, shape: Shape, dtype: DType, name: str = "full") -> Node:
    """A node of `shape` and `dtype` filled with the Python scalar `value` (the weak operand of an operation)."""
    if dtype.kind != "f" or type(value) is not float:
        value = scalar_value(value, dtype, name)
        if dtype.kind == "c":
            return full_node(value, shape, dtype)
    op: Any = _FULL.__new__(_FULL)  # what Primitive.__init__ does, without its loop: this is on the hot path
    op.value = value
    op.shape = shape
    op.dtype = dtype
    op.key = ("full", value, shape, dtype)
    return Node(op, (), shape, dtype, None, False, mode.where)


def size_of(shape: Shape) -> int:
    """Number of elements of `shape`."""
    size = 1
    for extent in shape:
        size *= extent
    return size


def cast(node: Node, dtype: DType) -> Node:
    """`node` converted to `dtype`, or `node` itself."""
    return node if node.dtype is dtype else emit("cast", node, attributes=(dtype,))


def product(name: str, a: Node, b: Node, attributes: tuple) -> Node:
    """Record a contraction: of float32 operands in the precision of `autocast`, if one is set."""
    if mode.precision is not None and a.dtype is float32:
        attributes = (*attributes, mode.precision)
    return emit(name, a, b, attributes=attributes)


def record_unary(op: Primitive, node: Node, shape: Shape) -> Node:
    """Record `op`, whose result has `shape` and the operand's dtype, without checking again what the caller knows."""
    return Node(op, (node,), shape, node.dtype, None, node.requires_grad and mode.grad_enabled, mode.where)


def reshape(node: Node, shape: Shape) -> Node:
    """`node` with `shape` (same number of elements), or `node` itself."""
    return node if node.shape == shape else record_unary(primitive("reshape", (shape,)), node, shape)


def permute(node: Node, axes: Shape) -> Node:
    """`node` with its axes in the order `axes`, or `node` itself."""
    if axes == tuple(range(len(axes))):
        return node
    shape = node.shape
    return record_unary(primitive("permute", (axes,)), node, tuple([shape[a] for a in axes]))


def broadcast(node: Node, shape: Shape) -> Node:
    """`node` broadcast to `shape`, aligned at the last axis; the caller has checked that it fits."""
    if node.shape == shape:
        return node
    axes = tuple(range(len(shape) - len(node.shape), len(shape)))
    return record_unary(primitive("broadcast", (shape, axes)), node, shape)


def slice_node(node: Node, starts: Shape, stops: Shape, steps: Shape, shape: Shape) -> Node:
    """The part of `node` from `starts` to `stops` by `steps` (all in range), which has `shape`."""
    return record_unary(primitive("slice", (starts, stops, steps)), node, shape)


_common_shapes: dict[tuple[Shape, Shape], Shape] = {}


def common_shape(name: str, a: Node, b: Node) -> Shape:
    """`broadcast_shapes` of two operands, remembered."""
    key = (a.shape, b.shape)
    found = _common_shapes.get(key)
    if found is None:
        if len(_common_shapes) >= 4096:
            _common_shapes.clear()
        found = _common_shapes[key] = broadcast_shapes(name, (a, b))
    return found


def broadcast_shapes(name: str, operands: Sequence[Node]) -> Shape:
    """The common shape of `operands` by NumPy's rules; ShapeError with both extents and their axes."""
    rank = max(len(n.shape) for n in operands)
    result = [1] * rank
    for node in operands:
        offset = rank - len(node.shape)
        for axis, extent in enumerate(node.shape):
            have = result[offset + axis]
            if extent == have or extent == 1:
                continue
            if have != 1:
                position = offset + axis - rank
                problem = f"shapes do not broadcast: axis {position} has {have} and {extent} elements"
                help = ""
                if len(operands) == 2 and len(operands[0].shape) != len(operands[1].shape):
                    help = "shapes align at the last axis; add an axis with x[:, None] or unsqueeze"
                reject(name, problem, operands, help)
            result[offset + axis] = extent
    return tuple(result)


def promoted(name: str, operands: Sequence[Node]) -> DType:
    """The common dtype of `operands` by the Array API's table; DTypeError with the cure."""
    dtype = operands[0].dtype
    for node in operands[1:]:
        if node.dtype is not dtype:
            try:
                dtype = promote(dtype, node.dtype)
            except DTypeError as error:
                problem, _, help = str(error).partition("; ")
                reject(name, problem, operands, help, DTypeError)
    return dtype


def unify(name: str, operands: Sequence[Node]) -> list[Node]:
    """`operands` brought to one dtype and one shape."""
    dtype = promoted(name, operands)
    shape = broadcast_shapes(name, operands)
    return [broadcast(cast(n, dtype), shape) for n in operands]


def normal_axis(name: str, axis: Any, rank: int, node: Node | None = None) -> int:
    """`axis` counted from the front; ShapeError if it is out of range."""
    try:
        number = axis.__index__()
    except AttributeError:
        reject(name, f"an axis is a whole number, not {axis!r}", (node,) if node else (), "", DTypeError)
    if not -rank <= number < rank:
        problem = f"axis {number} is out of range for {rank} axes"
        reject(name, problem, (node,) if node else (), "", AxisError)
    return number % rank


def normal_axes(name: str, axis: Any, rank: int, node: Node | None = None) -> Shape:
    """`axis` (None for all, a number, or several) as a sorted tuple of axes counted from the front."""
    if axis is None:
        return tuple(range(rank))
    if isinstance(axis, (tuple, list)):
        axes = tuple(sorted(normal_axis(name, a, rank, node) for a in axis))
        if len(set(axes)) != len(axes):
            reject(name, f"an axis is named twice in {tuple(axis)}", (node,) if node else ())
        return axes
    return (normal_axis(name, axis, rank, node),)


def shape_tuple(name: str, shape: Any) -> Shape:
    """`shape` (a number or a sequence of numbers) as a tuple of non-negative integers."""
    if hasattr(shape, "__index__"):
        shape = (shape,)
    try:
        result = tuple(extent.__index__() for extent in shape)
    except (TypeError, AttributeError):
        reject(name, f"a shape is whole numbers, not {shape!r}", (), "", DTypeError)
    for extent in result:
        if extent < 0:
            reject(name, f"extents are not negative: {result}")
    if len(result) > MAXIMUM_AXES:
        reject(name, f"a shape has at most {MAXIMUM_AXES} axes, not {len(result)}")
    return result


def check_device(name: str, device: Any) -> None:
    """Raise ConfigError unless `device` is None or the one there is."""
    if device is not None and str(device) != "cpu":
        raise ConfigError(message(name, f"device {str(device)!r} is not available; there is 'cpu'", ()))


def is_dtype_like(value: Any) -> bool:
    """Whether `value` names a dtype (used by `.to`)."""
    return (
        isinstance(value, (DType, np.dtype))
        or value in (float, int, bool, complex)
        or (isinstance(value, str) and value in BY_NAME)
    )
