"""``x.at[index].set(v)`` and its relatives: a new tensor in which the part that an index names is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..assignment import assigned, value_node
from ..conversion import to_node
from ..dtypes import bool_, int64
from ..errors import ConfigError
from ..graph.node import Node
from ..indexing import expand_key, getitem, select
from ..ops.base import emit, message
from ..recording import broadcast, cast, constant, full, reject, reshape, size_of
from ..tensor import Tensor, node_of, placeholder_below
from .elementwise import divide, maximum, minimum, multiply, negative, pow, where
from .scattering import add_rows, extreme_rows, row_products, set_rows

_ALL = slice(None)
MODES = (None, "promise_in_bounds", "clip", "drop", "fill")


class At:
    """What `x.at` gives; index it to name a part."""

    __slots__ = ("_x",)

    def __init__(self, x: Tensor):
        self._x = x

    def __getitem__(self, key: Any) -> Part:
        return Part(self._x, key)


class Part:
    """A part of a tensor. Its methods give a new tensor in which that part is changed; the old one stays as it is.

    Values broadcast to the part and are converted to the tensor's dtype. Where integer arrays name a place several
    times, `set` keeps the last value, and the others take all of them into account. Gradients flow to the tensor and
    to the values.

    `mode` says what integer indices out of range mean: None and "promise_in_bounds" raise IndexOutOfRangeError, "clip"
    takes the nearest element, "drop" leaves such updates out; for `get` "fill" puts `fill_value` there.
    """

    __slots__ = ("_key", "_x")

    def __init__(self, x: Tensor, key: Any):
        self._x = x
        self._key = key

    def get(self, *, mode: str | None = None, fill_value: Any = None) -> Tensor:
        """The part itself; ``mode="fill"`` puts `fill_value` (NaN, or 0 of whole numbers) for what is out of range."""
        _check_mode("at.get", mode)
        if mode in (None, "promise_in_bounds"):
            return getitem(self._x, self._key)
        node = node_of(self._x)
        target = _Target("at.get", node, self._key, mode)
        if fill_value is None:
            fill_value = float("nan") if node.dtype.kind in "fc" else False if node.dtype is bool_ else 0
        return Tensor(target.taken(fill_value))

    def set(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The part replaced by `values`."""
        return self._changed("at.set", values, mode, lambda old, new: new, set_rows)

    def add(self, values: Any, *, mode: str | None = None) -> Tensor:
        """`values` added to the part."""
        return self._changed("at.add", values, mode, lambda old, new: old + new, add_rows)

    def subtract(self, values: Any, *, mode: str | None = None) -> Tensor:
        """`values` taken from the part."""

        def rows(x: Node, places: Node, updates: Node) -> Node:
            return add_rows(x, places, to_node(negative(Tensor(updates))))

        return self._changed("at.subtract", values, mode, lambda old, new: old - new, rows)

    sub = subtract

    def multiply(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The part multiplied by `values`."""
        return self._by_product("at.multiply", values, mode, multiply)

    mul = multiply

    def divide(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The part divided by `values`; floating dtypes."""
        return self._by_product("at.divide", values, mode, divide)

    div = divide

    def power(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The part to the power `values`."""
        return self._by_product("at.power", values, mode, pow)

    def min(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The lesser of the part and `values`."""
        return self._changed("at.min", values, mode, minimum, lambda x, p, u: extreme_rows(x, p, u, "min"))

    def max(self, values: Any, *, mode: str | None = None) -> Tensor:
        """The greater of the part and `values`."""
        return self._changed("at.max", values, mode, maximum, lambda x, p, u: extreme_rows(x, p, u, "max"))

    def apply(self, function: Callable[[Tensor], Any], *, mode: str | None = None) -> Tensor:
        """The part replaced by ``function(part)``; once, also where a place is named several times."""
        target = _Target("at.apply", node_of(self._x), self._key, _check_mode("at.apply", mode))
        found = function(Tensor(target.taken(False if target.node.dtype is bool_ else 0)))
        return target.changed(found, lambda old, new: new, set_rows)

    def _changed(self, name: str, values: Any, mode: str | None, plain: Callable, rows: Callable) -> Tensor:
        return _Target(name, node_of(self._x), self._key, _check_mode(name, mode)).changed(values, plain, rows)

    def _by_product(self, name: str, values: Any, mode: str | None, operation: Callable) -> Tensor:
        def rows(x: Node, places: Node, updates: Node) -> Node:
            return to_node(operation(Tensor(x), Tensor(row_products(x, places, updates))))

        return self._changed(name, values, mode, operation, rows)


def _check_mode(name: str, mode: str | None) -> str | None:
    if mode not in MODES:
        problem = f"mode is None, 'promise_in_bounds', 'clip', 'drop' or 'fill', not {mode!r}"
        raise ConfigError(message(name, problem, ()))
    return mode


class _Target:
    """The part of `node` that a key names: a window, a mask, or places that may repeat."""

    def __init__(self, name: str, node: Node, key: Any, mode: str | None):
        self.name = name
        self.node = node
        self.parts = expand_key(key, node)
        self.indices = [p for p in self.parts if isinstance(p, Node)]
        self.dropping = mode in ("drop", "fill")
        if mode not in (None, "promise_in_bounds"):
            self.parts = [self._normal(i, p, mode) for i, p in enumerate(self.parts)]
            self.indices = [p for p in self.parts if isinstance(p, Node)]
        numbers = [p for p in self.indices if p.dtype is not bool_]
        self.padded = self.dropping and bool(numbers)

    def _axis(self, position: int) -> int:
        """The axis of the operand that the part at `position` stands for."""
        axis = 0
        for part in self.parts[:position]:
            if part is not None and part is not Ellipsis:
                axis += len(part.shape) if isinstance(part, Node) and part.dtype is bool_ else 1
        return axis

    def _normal(self, position: int, part: Any, mode: str | None) -> Any:
        """An integer part as a node of indices that are in range, or one past the end if they are to be dropped."""
        if (
            part is None
            or part is Ellipsis
            or isinstance(part, slice)
            or (isinstance(part, Node) and part.dtype is bool_)
        ):
            return part
        extent = self.node.shape[self._axis(position)]
        index = cast(part, int64) if isinstance(part, Node) else constant(np.array(part, np.int64))
        value = Tensor(index)
        value = where(value < 0, value + extent, value)
        if mode == "clip":
            return to_node(where(value < 0, 0, where(value >= extent, max(extent - 1, 0), value)))
        return to_node(where((value < 0) | (value >= extent), extent, value))

    def taken(self, fill_value: Any) -> Node:
        """The part, `fill_value` for what is dropped."""
        if not self.padded:
            return select(self.node, self.parts)
        flat, places = self._rows(self._places(), fill_value)
        return reshape(emit("take", flat, places, attributes=(0,)), self._places().shape)

    def _rows(self, places: Node, fill_value: Any) -> tuple[Node, Node]:
        """The operand as a vector, with one element more if some are dropped, and the places in it."""
        flat = reshape(self.node, (size_of(self.node.shape),))
        if self.padded:
            flat = emit("pad", flat, full(fill_value, (), flat.dtype), attributes=((0,), (1,), (0,)))
        return flat, reshape(places, (size_of(places.shape),))

    def _places(self) -> Node:
        """The number, in row-major order, of each element of the part."""
        shape = self.node.shape
        count = size_of(shape)
        if all(p.value is not None for p in self.indices) and not self.padded:
            key = tuple(np.asarray(p.value) if isinstance(p, Node) else p for p in self.parts)
            try:
                return constant(np.arange(count, dtype=np.int64).reshape(shape)[key])
            except IndexError:
                pass  # the selection below has the house form for it
        numbers = reshape(emit("iota", attributes=((count,), 0, int64)), shape) if count else full(0, shape, int64)
        if self.padded:
            high = [0] * len(shape)
            for position, part in enumerate(self.parts):
                if isinstance(part, Node) and part.dtype is not bool_:
                    high[self._axis(position)] = 1
            none = (0,) * len(shape)
            numbers = emit("pad", numbers, full(count, (), int64), attributes=(none, tuple(high), none))
        return select(numbers, self.parts)

    def changed(self, values: Any, plain: Callable, rows: Callable) -> Tensor:
        """The operand with the part changed: by `plain`(old, new) where no place repeats, else by `rows`."""
        node = self.node
        update = value_node(values, node)
        masks = [p for p in self.indices if p.dtype is bool_ and p.shape]
        if len(masks) == 1 and len(self.indices) == 1 and self._only(masks[0]) and size_of(update.shape) == 1:
            return self._masked(masks[0], update, plain)
        if masks and any(m.value is None and placeholder_below(m) is not None for m in masks):
            problem = "a mask that is a placeholder takes one value, and full slices beside it"
            reject(self.name, problem, (node, *masks), "use where(mask, value, x)", ConfigError)
        if not self.indices:
            old = select(node, self.parts)
            new = plain(Tensor(old), Tensor(self._fitted(update, old.shape)))
            return Tensor(assigned(node, self.parts, value_node(new, node)))
        if self._leads():
            return Tensor(self._by_rows(update, rows))
        places = self._places()
        update = self._fitted(update, places.shape)
        flat, numbers = self._rows(places, False if node.dtype is bool_ else 0)
        result = rows(flat, numbers, reshape(update, numbers.shape))
        if self.padded:
            result = emit("slice", result, attributes=((0,), (size_of(node.shape),), (1,)))
        return Tensor(reshape(result, node.shape))

    def _only(self, mask: Node) -> bool:
        return all(p is mask or p is Ellipsis or (isinstance(p, slice) and p == _ALL) for p in self.parts)

    def _leads(self) -> bool:
        """Whether one array of integers names whole rows along the first axis."""
        first = self.parts[0]
        rest = all(p is Ellipsis or (isinstance(p, slice) and p == _ALL) for p in self.parts[1:])
        return isinstance(first, Node) and first.dtype is not bool_ and rest and not self.padded

    def _by_rows(self, update: Node, rows: Callable) -> Node:
        node = self.node
        index = cast(self.parts[0], int64)
        update = self._fitted(update, (*index.shape, *node.shape[1:]))
        numbers = emit("check_index", index, attributes=(node.shape[0], "axis 0"))
        negative_ones = emit("lt", numbers, full(0, numbers.shape, int64))
        from_front = emit("add", numbers, full(node.shape[0], numbers.shape, int64))
        numbers = emit("where", negative_ones, from_front, numbers)
        if index.value is not None:
            numbers = constant(np.where(index.value < 0, index.value + node.shape[0], index.value))
        count = size_of(index.shape)
        return rows(node, reshape(numbers, (count,)), reshape(update, (count, *node.shape[1:])))

    def _fitted(self, update: Node, shape: tuple[int, ...]) -> Node:
        """`update` broadcast to `shape`; ShapeError if it does not fit."""
        extra = len(update.shape) - len(shape)
        if extra > 0 and all(e == 1 for e in update.shape[:extra]):
            update = reshape(update, update.shape[extra:])
        if len(update.shape) > len(shape) or any(a not in (1, b) for a, b in zip(update.shape[::-1], shape[::-1])):
            problem = f"a value of shape {update.shape} does not fit the part of shape {shape}"
            reject(self.name, problem, (self.node, update))
        return broadcast(update, shape)

    def _masked(self, mask: Node, update: Node, plain: Callable) -> Tensor:
        node = self.node
        first = self._axis(next(i for i, p in enumerate(self.parts) if p is mask))
        for offset, extent in enumerate(mask.shape):
            if extent != node.shape[first + offset]:
                problem = f"axis {offset} of the mask has {extent} elements, axis {first + offset} has "
                reject(self.name, f"{problem}{node.shape[first + offset]}", (node, mask))
        axes = tuple(range(first, first + len(mask.shape)))
        spread = mask if mask.shape == node.shape else emit("broadcast", mask, attributes=(node.shape, axes))
        old, held = Tensor(node), Tensor(spread)
        # where the mask does not hold the operation sees the value itself, so that no NaN comes from elsewhere
        new = Tensor(broadcast(reshape(update, ()), node.shape))
        return where(held, plain(where(held, old, new), new), old)
