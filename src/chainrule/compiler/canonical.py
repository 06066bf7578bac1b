"""From recorded nodes to canonical items: shared subexpressions, bit-exact simplification, contractions in one form.

An `Item` is a node of the compiler's own graph. Nodes that compute the same become one item. Rewrites never change
a bit of any result: x * 1, x - 0 and double negation go, x + 0 stays (it turns -0 into 0).
A contraction becomes one batched matrix product ("bmm") of reshaped and permuted operands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..dtypes import DType
from ..graph.node import Node
from ..ops.base import Primitive, primitive

#: numbers that are part of a program's structure; every other one is an argument of the program
STRUCTURAL = frozenset((-1, 0, 1, 2, 0.5))

#: kinds that have no contiguous buffer of the program's own
UNBUFFERED = frozenset(("leaf", "full", "scalar", "iota", "reshape", "permute", "broadcast", "slice", "flip"))

#: kinds that only say where the elements of their operand lie
MOVEMENTS = frozenset(("reshape", "permute", "broadcast", "slice", "flip"))


class Item:
    """One value of the compiler's graph.

    `kind` is the primitive's name, or "leaf" (`number`: which input of the program), "full" with a structural
    `value`, "scalar" (`number`: which lifted scalar) or "bmm".
    """

    __slots__ = ("dtype", "index", "inputs", "kind", "node", "number", "op", "shape", "users", "value")

    def __init__(self, kind: str, op: Primitive | None, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType):
        self.kind = kind
        self.op = op
        self.inputs = inputs
        self.shape = shape
        self.dtype = dtype
        self.number = -1
        self.value: Any = None
        self.users: list[Item] = []
        self.index = -1
        self.node: Node | None = None

    def __repr__(self) -> str:
        return f"<{self.index}: {self.kind} {self.dtype.name}{list(self.shape)}>"


def is_lifted(op: Any) -> bool:
    """Whether a `full` primitive's number is an argument of the program rather than part of its structure."""
    value = op.value
    if isinstance(value, bool):
        return False
    return value not in STRUCTURAL or (value == 0 and math.copysign(1.0, value) < 0)


class Canonical:
    """The items of a graph; leaves and lifted scalars are numbered in the order of the given nodes."""

    def __init__(self, order: Sequence[Node], outputs: Iterable[Node]):
        self.items: list[Item] = []
        self.leaves: list[Node] = []
        self.scalars: list[tuple[Any, DType]] = []
        self._known: dict[Any, Item] = {}
        self._of: dict[int, Item] = {}
        self._line: Node | None = None
        self._results: set[int] = set()
        for node in order:
            self._of[id(node)] = self._convert(node)
        self.outputs = [self._own(self._of[id(node)]) for node in outputs]
        self._finish()

    def _convert(self, node: Node) -> Item:
        self._line = node
        op = node.op
        name = op.name
        if node.value is not None or name in ("placeholder", "constant"):
            item = Item("leaf", None, (), node.shape, node.dtype)
            item.number = len(self.leaves)
            item.node = node
            self.leaves.append(node)
            return item
        if name == "full":
            return self._full(op.value, op.shape, op.dtype, is_lifted(op))
        inputs = tuple(self._of[id(operand)] for operand in node.inputs)
        if name in ("alias", "stop_gradient"):
            return inputs[0]
        if name == "contract":
            return self._contract(op, inputs)
        return self._apply(name, op, inputs, node.shape, node.dtype)

    def _full(self, value: Any, shape: tuple[int, ...], dtype: DType, lifted: bool) -> Item:
        if lifted:
            item = Item("scalar", None, (), shape, dtype)
            item.number = len(self.scalars)
            item.node = self._line
            self.scalars.append((value, dtype))
            return item
        key = ("full", value, math.copysign(1, value), shape, dtype.name)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Item("full", None, (), shape, dtype)
            known.value = value
            known.node = self._line
        return known

    def _apply(self, name: str, op: Primitive, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType) -> Item:
        if name in ("scatter_add", "scatter_add_along", "sort", "argsort"):
            inputs = tuple(self._copy(i) if i.kind in UNBUFFERED - {"leaf"} else i for i in inputs)
        elif name in ("take", "take_along", "random_bits"):
            inputs = (self._in_memory(inputs[0]), *inputs[1:])
        simpler = self._simplify(name, op, inputs, shape, dtype)
        if simpler is not None:
            return simpler
        key = (op.key, tuple(id(i) for i in inputs))
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = Item(name, op, inputs, shape, dtype)
            item.node = self._line
        return item

    def movement(self, name: str, attributes: tuple, x: Item, shape: tuple[int, ...]) -> Item:
        """A movement primitive applied to an item."""
        return self._apply(name, primitive(name, attributes), (x,), shape, x.dtype)

    def reshape(self, x: Item, shape: tuple[int, ...]) -> Item:
        return self.movement("reshape", (shape,), x, shape)

    def permute(self, x: Item, axes: tuple[int, ...]) -> Item:
        return self.movement("permute", (axes,), x, tuple(x.shape[a] for a in axes))

    def _copy(self, x: Item) -> Item:
        """An item with the elements of `x` in a buffer of its own."""
        copy = Item("copy", None, (x,), x.shape, x.dtype)
        copy.node = self._line
        return copy

    def _in_memory(self, x: Item) -> Item:
        """`x`, or a copy of it if it is a number or a count that lies in no buffer."""
        base = x
        while base.kind in MOVEMENTS:
            base = base.inputs[0]
        return self._copy(x) if base.kind in ("full", "scalar", "iota") else x

    def _own(self, x: Item) -> Item:
        """`x` as a result of the program: a buffer that nothing else is."""
        first = id(x) not in self._results
        self._results.add(id(x))
        if first and x.kind not in UNBUFFERED:
            return x
        return self._copy(x)

    def _simplify(self, name: str, op: Any, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType):
        x = inputs[0] if inputs else None
        if name in ("reshape", "permute", "broadcast", "slice", "flip"):
            assert x is not None
            if x.kind == "full":
                return self._full(x.value, shape, dtype, False)
            if x.kind == "scalar":
                same = Item("scalar", None, (), shape, dtype)
                same.number, same.node = x.number, x.node
                return same
            if name in ("reshape", "broadcast") and shape == x.shape:
                return x
            if name == "reshape" and x.kind == "reshape":
                return self._apply(name, op, x.inputs, shape, dtype)
            if name == "permute":
                if op.axes == tuple(range(len(shape))):
                    return x
                if x.kind == "permute":
                    inner: Any = x.op
                    return self.permute(x.inputs[0], tuple(inner.axes[a] for a in op.axes))
                rank = len(shape)
                if x.kind == "bmm" and op.axes == (*range(rank - 2), rank - 1, rank - 2):
                    a, b = x.inputs  # the transposed product, so that what follows can join its epilogue
                    return self._product(self.permute(b, op.axes), self.permute(a, op.axes), x.op)
            if name == "slice" and shape == x.shape:
                return x
            return None
        if name == "cast" and x is not None and x.dtype is dtype:
            return x
        if name == "neg" and x is not None and x.kind == "neg":
            return x.inputs[0]
        if name in ("mul", "div", "sub") and inputs[1].kind == "full" and inputs[1].value == (name != "sub"):
            return x
        if name == "mul" and x is not None and x.kind == "full" and x.value == 1:
            return inputs[1]
        return None

    def _contract(self, op: Any, inputs: tuple[Item, ...]) -> Item:
        a, b = inputs
        la, lb, out = op.a_labels, op.b_labels, op.out_labels
        extents = dict(zip(la, a.shape)) | dict(zip(lb, b.shape))
        batch = [n for n in out if n in la and n in lb]
        rows = [n for n in out if n not in lb]
        columns = [n for n in out if n not in la]
        inner = [n for n in la if n in lb and n not in out]
        if list(out) == batch + columns + rows and columns and rows:
            a, b, la, lb, rows, columns = b, a, lb, la, columns, rows

        def count(labels: list[int]) -> int:
            return math.prod(extents[n] for n in labels)

        def arranged(x: Item, labels: Sequence[int], wanted: list[int], shape: tuple[int, ...]) -> Item:
            return self.reshape(self.permute(x, tuple(labels.index(n) for n in wanted)), shape)

        lead = (count(batch),) if batch else ()
        m, n, k = count(rows), count(columns), count(inner)
        a = arranged(a, la, batch + rows + inner, (*lead, m, k))
        b = arranged(b, lb, batch + inner + columns, (*lead, k, n))
        item = self._product(a, b, op)
        order = batch + rows + columns
        wide = self.reshape(item, tuple(extents[x] for x in order))
        return self.permute(wide, tuple(order.index(x) for x in out))

    def _product(self, a: Item, b: Item, op: Any) -> Item:
        """The matrix product of (batch,) m, k and (batch,) k, n."""
        a, b = self._in_memory(a), self._in_memory(b)
        if a.shape[-1] == 0:
            return self._full(0, (*a.shape[:-1], b.shape[-1]), a.dtype, False)
        key = ("bmm", id(a), id(b))
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = Item("bmm", op, (a, b), (*a.shape[:-1], b.shape[-1]), a.dtype)
            item.node = self._line
        return item

    def _finish(self) -> None:
        """List the items that the outputs need, operands first, and who uses what."""
        seen: set[int] = set()
        stack = [(item, False) for item in reversed(self.outputs)]
        while stack:
            item, expanded = stack.pop()
            if expanded:
                item.index = len(self.items)
                self.items.append(item)
                for operand in item.inputs:
                    operand.users.append(item)
            elif id(item) not in seen:
                seen.add(id(item))
                stack.append((item, True))
                stack.extend((operand, False) for operand in reversed(item.inputs) if id(operand) not in seen)
