"""Random numbers that depend only on seed, draw and position: Philox4x32-10, never on threads, batches or compilation.

A generator is a state (seed, counter), uint64[2]; each draw takes the state as its key and adds 1 to the counter.
Inside `vmap` the key is folded with the lane, inside `scan` with the iteration, so that these draw different numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .conversion import to_node
from .dtypes import DType, as_dtype, bfloat16, default_float, float16, float32, float64, int64, uint32, uint64
from .errors import ConfigError, DTypeError
from .graph.node import Node
from .ops.base import emit, message
from .recording import broadcast, broadcast_shapes, cast, constant, full, reject, reshape, shape_tuple
from .tensor import Tensor, bump, node_of, state

__all__ = [
    "Generator", "bernoulli", "default_generator", "manual_seed", "normal", "permutation", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "uniform",
]  # fmt: skip

_TICK = np.array([0, 1], np.uint64)


class Generator:
    """A stream of random numbers.

    Args: seed: a whole number; the same seed gives the same numbers. Attributes: `state`, the tensor (seed, counter).
    """

    def __init__(self, seed: int = 0):
        self.state = Tensor(constant(_initial(seed)))
        self.state._trace = None  # state, even if the generator is made inside a traced function

    def manual_seed(self, seed: int) -> Generator:
        """Start again with `seed`; returns the generator."""
        self.state._rebind(constant(_initial(seed)))
        return self

    def initial_seed(self) -> int:
        """The seed."""
        return int(self.state.numpy()[0])

    def get_state(self) -> Tensor:
        """The state, to be given to `set_state`."""
        return self.state.detach()

    def set_state(self, value: Any) -> None:
        """Continue from a state that `get_state` gave."""
        node = to_node(value, "set_state")
        if node.shape != (2,) or node.dtype is not uint64:
            reject("set_state", "a state is uint64[2] (seed, counter)", (node,))
        self.state._rebind(node)

    def key(self) -> Node:
        """The key of the next draw; moves the state on by one draw."""
        cell = self.state
        trace = state.trace
        outer = trace if trace is None else trace.root  # a draw in a loop is one draw, folded with the iteration
        state.trace = outer
        try:
            key = node_of(cell)
            if key.value is not None and outer is None:
                cell._node = constant(key.value + _TICK)
                bump()
            else:
                cell._rebind(emit("add", key, constant(_TICK.copy())))
        finally:
            state.trace = trace
        for number in (*state.lanes, *state.iterations):
            key = _folded(key, number)
        return key


def _initial(seed: int) -> np.ndarray:
    try:
        number = seed.__index__()
    except AttributeError:
        raise ConfigError(message("manual_seed", f"a seed is a whole number, not {seed!r}", ())) from None
    return np.array([number % (1 << 64), 0], np.uint64)


def _folded(key: Node, number: Node) -> Node:
    """A key for lane `number` (uint64 scalar) of what is drawn with `key`: four words drawn at a key moved by it."""
    pair = emit("broadcast", number, attributes=((2,), ()))
    odd = constant(np.array([0x9E3779B97F4A7C15, 0], np.uint64))
    one = full(1, (2,), uint64)
    moved = emit("bitwise_xor", key, emit("mul", emit("add", pair, one), odd))
    words = cast(emit("random_bits", moved, attributes=((2, 2),)), uint64)
    low = emit("slice", words, attributes=((0, 0), (2, 1), (1, 1)))
    high = emit("slice", words, attributes=((0, 1), (2, 2), (1, 1)))
    joined = emit("bitwise_or", emit("shift_left", high, full(32, (2, 1), uint64)), low)
    return reshape(joined, (2,))


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(seed)


def _key(generator: Generator | None) -> Node:
    return (default_generator if generator is None else generator).key()


def _floating(name: str, dtype: Any) -> DType:
    found = default_float if dtype is None else as_dtype(dtype)
    if found.kind != "f":
        raise DTypeError(message(name, f"a floating dtype is needed, not {found.name}", ()))
    return found


def _row(node: Node, row: int) -> Node:
    """Entry `row` of the first axis."""
    rank = len(node.shape)
    starts, stops = (row,) + (0,) * (rank - 1), (row + 1, *node.shape[1:])
    return reshape(emit("slice", node, attributes=(starts, stops, (1,) * rank)), node.shape[1:])


def _unit(key: Node, shape: tuple[int, ...], dtype: DType) -> Node:
    """Uniform numbers in [0, 1): as many random bits as the dtype has digits (24 for float32, 53 for float64)."""
    if dtype is float64:
        words = emit("random_bits", key, attributes=((2, *shape),))
        high = cast(emit("shift_right", _row(words, 0), full(5, shape, uint32)), float64)
        low = cast(emit("shift_right", _row(words, 1), full(6, shape, uint32)), float64)
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


def _parameters(name: str, shape: Any, dtype: DType, *values: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of a draw (by default that of its parameters) and the parameters as numbers or nodes of it."""
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
    low: Any = 0.0, high: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Numbers spread evenly over [low, high); the shape is that of `low` and `high` unless given."""
    wanted = _floating("uniform", dtype)
    extents, (lower, upper) = _parameters("uniform", shape, wanted, low, high)
    unit = _unit(_key(generator), extents, wanted)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if low == 0 and high == 1:
            return Tensor(unit)
        return Tensor(emit("add", emit("mul", unit, full(float(high - low), extents, wanted)), lower))
    return Tensor(emit("add", emit("mul", unit, emit("sub", upper, lower)), lower))


def _standard_normal(key: Node, shape: tuple[int, ...], dtype: DType) -> Node:
    """Normal numbers by Box and Muller's transformation: sqrt(-2 log(1 - u)) cos(2 pi v)."""
    if dtype.is_half:
        return cast(_standard_normal(key, shape, float32), dtype)
    pair = _unit(key, (2, *shape), dtype)
    positive = emit("sub", full(1.0, shape, dtype), _row(pair, 0))
    radius = emit("sqrt", emit("mul", emit("log", positive), full(-2.0, shape, dtype)))
    angle = emit("mul", _row(pair, 1), full(2.0 * math.pi, shape, dtype))
    return emit("mul", radius, emit("cos", angle))


def normal(
    mean: Any = 0.0, std: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Normally distributed numbers; gradients flow to `mean` and `std` if they are tensors."""
    wanted = _floating("normal", dtype)
    extents, (centre, spread) = _parameters("normal", shape, wanted, mean, std)
    drawn = _standard_normal(_key(generator), extents, wanted)
    if isinstance(mean, (int, float)) and isinstance(std, (int, float)) and mean == 0 and std == 1:
        return Tensor(drawn)
    return Tensor(emit("add", emit("mul", drawn, spread), centre))


def bernoulli(p: Any = 0.5, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """True with probability `p`; as 0 and 1 if another dtype than bool is given."""
    wanted = p.dtype if isinstance(p, Tensor) and p.dtype.kind == "f" and not p.dtype.is_half else default_float
    extents, (chance,) = _parameters("bernoulli", shape, wanted, p)
    hit = emit("lt", _unit(_key(generator), extents, wanted), chance)
    return Tensor(hit if dtype is None else cast(hit, as_dtype(dtype)))


def _words64(key: Node, shape: tuple[int, ...]) -> Node:
    """64 random bits an element."""
    words = cast(emit("random_bits", key, attributes=((2, *shape),)), uint64)
    high = emit("shift_left", _row(words, 0), full(32, shape, uint64))
    return emit("bitwise_or", high, _row(words, 1))


def randint(
    low: int, high: int | None = None, shape: Any = (), *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Whole numbers from `low` up to but without `high` (from 0 up to `low` if that is left out); int64 by default."""
    if high is None:
        low, high = 0, low
    low, high = low.__index__(), high.__index__()
    if not low < high:
        raise ConfigError(message("randint", f"there is no number from {low} up to but without {high}", ()))
    extents = shape_tuple("randint", shape)
    wanted = int64 if dtype is None else as_dtype(dtype)
    words = _words64(_key(generator), extents)
    offset = cast(emit("remainder", words, full(high - low, extents, uint64)), int64)
    return Tensor(cast(emit("add", offset, full(low, extents, int64)), wanted))


def permutation(x: Any, *, axis: int = 0, generator: Generator | None = None) -> Tensor:
    """The numbers 0 to x - 1 in random order; for a tensor, its slices along `axis` in random order."""
    key = _key(generator)
    if hasattr(x, "__index__") and not (isinstance(x, Tensor) and x.ndim):
        order = emit("argsort", _words64(key, (x.__index__(),)), attributes=(0,))
        return Tensor(order)
    node = to_node(x, "permutation")
    order = emit("argsort", _words64(key, (node.shape[axis],)), attributes=(0,))
    return Tensor(emit("take", node, order, attributes=(axis % len(node.shape),)))


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """`permutation` of whole numbers under PyTorch's name."""
    return permutation(n, generator=generator)


def rand(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Uniform numbers in [0, 1); the shape is one tuple or several numbers."""
    wanted = _floating("rand", dtype)
    return _finish(_unit(_key(generator), _shape("rand", shape), wanted), requires_grad)


def randn(*shape: Any, dtype: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers; the shape is one tuple or several numbers."""
    wanted = _floating("randn", dtype)
    return _finish(_standard_normal(_key(generator), _shape("randn", shape), wanted), requires_grad)


def rand_like(x: Tensor, *, dtype: Any = None) -> Tensor:
    """Uniform numbers in [0, 1) in the shape and dtype of `x`."""
    return rand(x.shape, dtype=x.dtype if dtype is None else dtype)


def randn_like(x: Tensor, *, dtype: Any = None) -> Tensor:
    """Standard normal numbers in the shape and dtype of `x`."""
    return randn(x.shape, dtype=x.dtype if dtype is None else dtype)
