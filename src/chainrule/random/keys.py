"""Generators, and keys that are given by hand: what the draws take their bits from."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import uint64
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, constant, full, reject, reshape
from ..tensor import Tensor, bump, node_of, state

_TICK = np.array([0, 1], np.uint64)
#: what `split` moves a key by, so that its keys are not those of `fold_in`
_SPLIT = np.array([0xD1B54A32D192ED03, 0x5851F42D4C957F2D], np.uint64)


class Generator:
    """A stream of random numbers, with a method for each draw of `chainrule.random` under NumPy's name.

    Args: seed: a whole number; the same seed gives the same numbers. Attributes: `state`, the tensor (seed, counter).

    Example:
        >>> rng = cr.random.Generator(7)
        >>> rng.normal(size=(2, 3)).shape
        (2, 3)
    """

    def __init__(self, seed: int = 0):
        self.state = Tensor(constant(_initial("manual_seed", seed)))
        self.state._trace = None  # state, even if the generator is made inside a traced function

    def manual_seed(self, seed: int) -> Generator:
        """Start again with `seed`; returns the generator."""
        self.state._rebind(constant(_initial("manual_seed", seed)))
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
            key = folded(key, number)
        return key


def _initial(name: str, seed: int) -> np.ndarray:
    try:
        number = seed.__index__()
    except AttributeError:
        raise ConfigError(message(name, f"a seed is a whole number, not {seed!r}", ())) from None
    return np.array([number % (1 << 64), 0], np.uint64)


def _joined(words: Node) -> Node:
    """Pairs of 32-bit words along the last axis as 64-bit numbers, that axis dropped."""
    shape = words.shape
    wide = cast(words, uint64)
    ones, rank = (1,) * len(shape), len(shape)
    low = emit("slice", wide, attributes=((0,) * rank, (*shape[:-1], 1), ones))
    high = emit("slice", wide, attributes=((*(0,) * (rank - 1), 1), shape, ones))
    joined = emit("bitwise_or", emit("shift_left", high, full(32, high.shape, uint64)), low)
    return reshape(joined, shape[:-1])


def folded(key: Node, number: Node) -> Node:
    """A key for lane `number` (uint64 scalar) of what is drawn with `key`: four words drawn at a key moved by it."""
    pair = emit("broadcast", number, attributes=((2,), ()))
    odd = constant(np.array([0x9E3779B97F4A7C15, 0], np.uint64))
    one = full(1, (2,), uint64)
    moved = emit("bitwise_xor", key, emit("mul", emit("add", pair, one), odd))
    return _joined(emit("random_bits", moved, attributes=((2, 2),)))


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator.manual_seed(seed)


def key(seed: int) -> Tensor:
    """A key made from a whole number: uint64[2], to be given to draws as ``key=``, to `split` and to `fold_in`.

    The same key gives the same numbers, always: in a loop, in `vmap` and compiled. Use each key for one draw.

    Example:
        >>> k = cr.random.key(0)
        >>> a, b = cr.random.split(k)
        >>> bool((cr.random.normal(shape=(3,), key=a) == cr.random.normal(shape=(3,), key=a)).all())
        True
        >>> bool((cr.random.normal(shape=(3,), key=a) == cr.random.normal(shape=(3,), key=b)).any())
        False
    """
    return Tensor(constant(_initial("key", seed)))


def key_node(name: str, value: Any) -> Node:
    """The node of a key given by the user; ShapeError or DTypeError unless it is uint64[2]."""
    node = to_node(value, name)
    if node.dtype is not uint64 or node.shape != (2,):
        kind = ShapeError if node.dtype is uint64 else DTypeError
        help = "make one with chainrule.random.key(seed); map over an array of keys with vmap"
        reject(name, "a key is uint64[2]", (node,), help, kind)
    return node


def split(key: Any, num: int = 2) -> Tensor:
    """`num` new keys that belong to `key`: uint64[num, 2], to be unpacked or mapped over with `vmap`."""
    count = num.__index__()
    if count < 1:
        raise ConfigError(message("split", f"at least one key is asked for, not {count}", ()))
    moved = emit("bitwise_xor", key_node("split", key), constant(_SPLIT.copy()))
    return Tensor(_joined(emit("random_bits", moved, attributes=((count, 2, 2),))))


def fold_in(key: Any, data: Any) -> Tensor:
    """The new key number `data` (a whole number or an integer scalar tensor) that belongs to `key`.

    Example:
        >>> k = cr.random.key(0)
        >>> bool((cr.random.fold_in(k, 3) == cr.random.fold_in(k, 3)).all())
        True
    """
    if isinstance(data, Tensor):
        number = node_of(data)
        if number.dtype.kind not in "iu" or number.shape != ():
            reject("fold_in", "the number is an integer scalar", (number,), "", DTypeError)
        number = cast(number, uint64)
    else:
        number = constant(np.array(_initial("fold_in", data)[0]))
    return Tensor(folded(key_node("fold_in", key), number))


def source(name: str, generator: Generator | None, key: Any) -> Node:
    """The key of a draw: `key` if it is given, else the next one of `generator` or of the default generator."""
    if key is None:
        return (default_generator if generator is None else generator).key()
    if generator is not None:
        raise ConfigError(message(name, "both a generator and a key are given", (), "give one of them"))
    return key_node(name, key)
