"""Uniform and normal numbers, coins, whole numbers and permutations: the draws that others are made of."""

from __future__ import annotations

import math
from typing import Any

from ..conversion import to_node
from ..dtypes import DType, as_dtype, bfloat16, default_float, float16, float32, float64, int64, uint32, uint64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import broadcast, broadcast_shapes, cast, full, reject, reshape, shape_tuple
from ..tensor import Tensor
from .keys import Generator, source


def floating(name: str, dtype: Any) -> DType:
    """The floating dtype of a draw."""
    found = default_float if dtype is None else as_dtype(dtype)
    if found.kind != "f":
        raise DTypeError(message(name, f"a floating dtype is needed, not {found.name}", ()))
    return found


def row_of(node: Node, row: int) -> Node:
    """Entry `row` of the first axis."""
    rank = len(node.shape)
    starts, stops = (row,) + (0,) * (rank - 1), (row + 1, *node.shape[1:])
    return reshape(emit("slice", node, attributes=(starts, stops, (1,) * rank)), node.shape[1:])


def unit(key: Node, shape: tuple[int, ...], dtype: DType) -> Node:
    """Uniform numbers in [0, 1): as many random bits as the dtype has digits (24 for float32, 53 for float64)."""
    if dtype is float64:
        words = emit("random_bits", key, attributes=((2, *shape),))
        high = cast(emit("shift_right", row_of(words, 0), full(5, shape, uint32)), float64)
        low = cast(emit("shift_right", row_of(words, 1), full(6, shape, uint32)), float64)
        both = emit("add", emit("mul", high, full(2.0**26, shape, float64)), low)
        return emit("mul", both, full(2.0**-53, shape, float64))
    bits = emit("random_bits", key, attributes=(shape,))
    digits = {float16: 11, bfloat16: 8}.get(dtype, 24)  # with more, numbers near 1 would round to it
    whole = cast(emit("shift_right", bits, full(32 - digits, shape, uint32)), dtype)
    return emit("mul", whole, full(2.0**-digits, shape, dtype))


def _finish(node: Node, requires_grad: bool) -> Tensor:
    result = Tensor(node)
    return result.requires_grad_() if requires_grad else result


def _shape(name: str, shape: tuple) -> tuple[int, ...]:
    return shape_tuple(name, shape[0] if len(shape) == 1 else shape)


def parameters(name: str, shape: Any, dtype: DType, *values: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of a draw (by default that of its parameters) and the parameters as nodes of it."""
    nodes = [None if isinstance(v, (int, float)) else cast(to_node(v, name), dtype) for v in values]
    present = [n for n in nodes if n is not None]
    if shape is None:
        extents = broadcast_shapes(name, present) if present else ()
    else:
        extents = shape_tuple(name, shape)
        for node in present:
            if broadcast_shapes(name, [node, full(0.0, extents, float32)]) != extents:
                reject(name, f"a parameter does not broadcast to shape {extents}", (node,))
    return extents, [
        full(float(v), extents, dtype) if n is None else broadcast(n, extents) for v, n in zip(values, nodes)
    ]


def uniform(
    low: Any = 0.0, high: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers spread evenly over [low, high); the shape is that of `low` and `high` unless given."""
    wanted = floating("uniform", dtype)
    extents, (lower, upper) = parameters("uniform", shape, wanted, low, high)
    drawn = unit(source("uniform", generator, key), extents, wanted)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if low == 0 and high == 1:
            return Tensor(drawn)
        return Tensor(emit("add", emit("mul", drawn, full(float(high - low), extents, wanted)), lower))
    return Tensor(emit("add", emit("mul", drawn, emit("sub", upper, lower)), lower))


def standard_normal(key: Node, shape: tuple[int, ...], dtype: DType) -> Node:
    """Normal numbers by Box and Muller's transformation: sqrt(-2 log(1 - u)) cos(2 pi v)."""
    if dtype.is_half:
        return cast(standard_normal(key, shape, float32), dtype)
    pair = unit(key, (2, *shape), dtype)
    positive = emit("sub", full(1.0, shape, dtype), row_of(pair, 0))
    radius = emit("sqrt", emit("mul", emit("log", positive), full(-2.0, shape, dtype)))
    angle = emit("mul", row_of(pair, 1), full(2.0 * math.pi, shape, dtype))
    return emit("mul", radius, emit("cos", angle))


def normal(
    mean: Any = 0.0, std: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Normally distributed numbers; gradients flow to `mean` and `std` if they are tensors."""
    wanted = floating("normal", dtype)
    extents, (centre, spread) = parameters("normal", shape, wanted, mean, std)
    drawn = standard_normal(source("normal", generator, key), extents, wanted)
    if isinstance(mean, (int, float)) and isinstance(std, (int, float)) and mean == 0 and std == 1:
        return Tensor(drawn)
    return Tensor(emit("add", emit("mul", drawn, spread), centre))


def bernoulli(
    p: Any = 0.5, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """True with probability `p`; as 0 and 1 if another dtype than bool is given."""
    wanted = p.dtype if isinstance(p, Tensor) and p.dtype.kind == "f" and not p.dtype.is_half else default_float
    extents, (chance,) = parameters("bernoulli", shape, wanted, p)
    hit = emit("lt", unit(source("bernoulli", generator, key), extents, wanted), chance)
    if dtype is None:
        return Tensor(hit)
    result = cast(hit, as_dtype(dtype))
    if isinstance(p, Tensor) and result.dtype.kind == "f":
        result = emit("opaque_draw", result, cast(chance, result.dtype), attributes=("bernoulli", "p"))
    return Tensor(result)


def words64(key: Node, shape: tuple[int, ...]) -> Node:
    """64 random bits an element."""
    words = cast(emit("random_bits", key, attributes=((2, *shape),)), uint64)
    high = emit("shift_left", row_of(words, 0), full(32, shape, uint64))
    return emit("bitwise_or", high, row_of(words, 1))


def randint(
    low: int, high: int | None = None, shape: Any = (), *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Whole numbers from `low` up to but without `high` (from 0 up to `low` if that is left out); int64 by default."""
    if high is None:
        low, high = 0, low
    low, high = low.__index__(), high.__index__()
    if not low < high:
        raise ConfigError(message("randint", f"there is no number from {low} up to but without {high}", ()))
    extents = shape_tuple("randint", shape)
    wanted = int64 if dtype is None else as_dtype(dtype)
    words = words64(source("randint", generator, key), extents)
    offset = cast(emit("remainder", words, full(high - low, extents, uint64)), int64)
    return Tensor(cast(emit("add", offset, full(low, extents, int64)), wanted))


def permutation(x: Any, *, axis: int = 0, generator: Generator | None = None, key: Any = None) -> Tensor:
    """The numbers 0 to x - 1 in random order; for a tensor, its slices along `axis` in random order."""
    bits = source("permutation", generator, key)
    if hasattr(x, "__index__") and not (isinstance(x, Tensor) and x.ndim):
        order = emit("argsort", words64(bits, (x.__index__(),)), attributes=(0,))
        return Tensor(order)
    node = to_node(x, "permutation")
    order = emit("argsort", words64(bits, (node.shape[axis],)), attributes=(0,))
    return Tensor(emit("take", node, order, attributes=(axis % len(node.shape),)))


def randperm(n: int, *, generator: Generator | None = None, key: Any = None) -> Tensor:
    """`permutation` of whole numbers under PyTorch's name."""
    return permutation(n, generator=generator, key=key)


def rand(
    *shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Uniform numbers in [0, 1); the shape is one tuple or several numbers."""
    wanted = floating("rand", dtype)
    return _finish(unit(source("rand", generator, key), _shape("rand", shape), wanted), requires_grad)


def randn(
    *shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Standard normal numbers; the shape is one tuple or several numbers."""
    wanted = floating("randn", dtype)
    return _finish(standard_normal(source("randn", generator, key), _shape("randn", shape), wanted), requires_grad)


def rand_like(x: Tensor, *, dtype: Any = None, generator: Generator | None = None, key: Any = None) -> Tensor:
    """Uniform numbers in [0, 1) in the shape and dtype of `x`."""
    return rand(x.shape, dtype=x.dtype if dtype is None else dtype, generator=generator, key=key)


def randn_like(x: Tensor, *, dtype: Any = None, generator: Generator | None = None, key: Any = None) -> Tensor:
    """Standard normal numbers in the shape and dtype of `x`."""
    return randn(x.shape, dtype=x.dtype if dtype is None else dtype, generator=generator, key=key)
