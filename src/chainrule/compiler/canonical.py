"""From recorded nodes to canonical items: shared subexpressions, bit-exact simplification, contractions in one form.

An `Item` is a node of the compiler's own graph. Nodes that compute the same become one item. Rewrites never change
a bit of any result: x * 1, x - 0 and double negation go, x + 0 stays (it turns -0 into 0).
A contraction becomes one batched matrix product ("bmm") of reshaped and permuted operands.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..dtypes import DType, float32
from ..graph.node import Node, topological
from ..ops.base import Primitive, primitive
from .attention import RESULTS, canonical_attention, narrow_result
from .images import canonical_convolution, in_pairs
from .regions import Chosen, Repeated, gather
from .strides import contiguous, reshape_strides

#: numbers that are part of a program's structure; every other one is an argument of the program
STRUCTURAL = frozenset((-1, 0, 1, 2, 0.5))

#: reductions that may go over some axes before others
SPLIT_REDUCTIONS = frozenset(("sum", "prod", "max", "min", "any", "all"))

#: kinds that add or multiply up: those of float16 and bfloat16 do so in float32 and round once, at the end
ACCUMULATED = frozenset(
    ("sum", "prod", "scatter_add", "scatter_add_along", "fold", "csr_matmul",
     "convolution", "convolution_input_grad", "convolution_weight_grad")
)  # fmt: skip

#: kinds that have no contiguous buffer of the program's own
UNBUFFERED = frozenset(
    ("leaf", "full", "scalar", "iota", "reshape", "permute", "broadcast", "slice", "flip", "windows")
)

#: kinds whose operands must be buffers in row-major order
WHOLE = frozenset(("csr_matmul", "scatter_add", "scatter_add_along", "host", "loop", "part"))

CONVOLUTIONS = frozenset(("convolution", "convolution_input_grad", "convolution_weight_grad"))

#: slices of one array from which on, together, they are as large as it: queries, keys and values are three
SLICED = 4

#: kinds through which the results of attention stay narrow
SPREAD = frozenset(("reshape", "permute", "slice", "concat"))

#: kinds that only say where the elements of their operand lie
MOVEMENTS = frozenset(("reshape", "permute", "broadcast", "slice", "flip", "windows"))


_births = itertools.count()


class Item:
    """One value of the compiler's graph.

    `kind` is the primitive's name, or "leaf" (`number`: which input of the program), "full" with a structural
    `value`, "scalar" (`number`: which lifted scalar), "bmm", or "host" for what NumPy computes, such as
    every operation on complex numbers.
    """

    __slots__ = (
        "born", "dtype", "index", "inputs", "kind", "late", "node", "number", "op", "own", "shape", "users", "value",
    )  # fmt: skip

    def __init__(self, kind: str, op: Primitive | None, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType):
        self.born: float = next(_births)
        self.kind = kind
        self.late = False  # whether it is a copy that belongs to late users (recompute.py)
        self.own = False  # whether it belongs to the one that uses it (at_use.py), or widens what sums read
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


def _is_row_major(item: Item) -> bool:
    """Whether an unbuffered item is a leaf in row-major order."""
    return item.kind == "leaf" and item.number >= 0


class Canonical:
    """The items of a graph; leaves and lifted scalars are numbered in the order of the given nodes."""

    def __init__(
        self,
        order: Sequence[Node],
        outputs: Iterable[Node],
        bound: Mapping[Node, Item | None] | None = None,
        pairs: bool = False,
    ):
        """`bound`: what the placeholders of a loop's region are: a number of the graph around it, or None for a leaf
        whose elements need not lie one behind the other. `pairs`: whether pairs of bfloat16 are multiplied natively."""
        self._bound = bound or {}
        self._pairs = pairs
        self._loops = gather(order)
        self.items: list[Item] = []
        self.leaves: list[Node] = []
        self.scalars: list[tuple[Any, DType]] = []
        self._known: dict[Any, Item] = {}
        self._of: dict[int, Item] = {}
        self._line: Node | None = None
        self._results: set[int] = set()
        self._expanded: list[Node] = []
        self._whole: Node | None = None
        # Leaves and scalars in the given order, which callers know; the rest as it was recorded, which keeps what
        # belongs together close in time: a walk from the results would do one thing for all blocks or layers first.
        sources = [node for node in order if not node.inputs or node.value is not None]
        for node in sources + sorted(set(order).difference(sources), key=_serial):
            self._of[id(node)] = self._convert(node)
        self.outputs = [self._own(self._of[id(node)]) for node in outputs]
        self.relist(self._needed())

    def _convert(self, node: Node) -> Item:
        self._line = self._whole or node
        op = node.op
        name = op.name
        if op.joint and node.value is None:
            return self._result(self._loops[node], node)
        expand = getattr(op, "expand", None)
        expanded = expand(*node.inputs) if expand is not None and node.value is None else None
        if expanded is not None:
            return self._expand(expanded, node)
        if node.value is not None or name in ("placeholder", "constant"):
            known = self._bound.get(node)
            if known is not None:
                return self._same(known, node.shape)
            item = Item("leaf", None, (), node.shape, node.dtype)
            item.number = -1 if node in self._bound else len(self.leaves)
            item.node = node
            self.leaves.append(node)
            return item
        if name == "full" and node.dtype.kind != "c":
            return self._full(op.value, op.shape, op.dtype, self._whole is None and is_lifted(op))
        inputs = tuple(self._of[id(operand)] for operand in node.inputs)
        if name in ("alias", "stop_gradient", "checkpoint", "checkpoint_name"):
            return inputs[0]
        if name in ("custom_vjp", "custom_jvp"):
            return inputs[op.index]
        if node.dtype.is_half and name in ACCUMULATED:
            wide = tuple(self._cast(x, float32) if x.dtype.is_half else x for x in inputs)
            return self._cast(self._operation(name, op, wide, node.shape, float32), node.dtype)
        if name in RESULTS:
            return canonical_attention(self, op, tuple(map(self._in_memory, inputs)), node.shape, Item)
        return self._operation(name, op, inputs, node.shape, node.dtype)

    def _operation(self, name: str, op: Any, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType) -> Item:
        """What is left of a node that is no leaf."""
        if op.host or dtype.kind == "c" or any(x.dtype.kind == "c" for x in inputs):
            return self.apply("host", op, inputs, shape, dtype)
        precision = getattr(op, "precision", None)
        if precision is not None:
            inputs = tuple(self._low(x, precision) for x in inputs)
        if name == "contract":
            return self._contract(op, inputs, dtype)
        if precision is not None and not (self._pairs and in_pairs(name, op, inputs)):
            # the operation itself runs in float32, on operands that are rounded
            inputs = tuple(self._cast(x, dtype) for x in inputs)
        if name in CONVOLUTIONS:
            a, b = (self._in_memory(x) for x in inputs)
            return canonical_convolution(self, name, op, (a, b), shape, dtype)
        if name in SPLIT_REDUCTIONS:
            return self._reduce(name, op.axes, inputs[0])
        return self.apply(name, op, inputs, shape, dtype)

    def _cast(self, x: Item, dtype: DType) -> Item:
        return self.apply("cast", primitive("cast", (dtype,)), (x,), x.shape, dtype)

    def _low(self, x: Item, dtype: DType) -> Item:
        """`x` in `dtype`, converted below the movements: by the kernel that computes it, and once for all its uses."""
        if x.dtype is dtype:
            return x
        if x.kind in MOVEMENTS and math.prod(x.inputs[0].shape) <= SLICED * math.prod(x.shape):
            assert x.op is not None
            return self.apply(x.kind, x.op, (self._low(x.inputs[0], dtype),), x.shape, dtype)
        low = self._cast(x, dtype)
        if low.inputs == (x,):
            low.born = x.born + 0.5  # right behind it, so that whatever kernel computes it writes both
        return low

    def narrow(self, x: Item) -> Item:
        """`x`, or if it only rounds another item, that one rounded where it is computed."""
        return self._low(x.inputs[0], x.dtype) if x.kind == "cast" and x.dtype.is_half else x

    def _expand(self, root: Node, whole: Node) -> Item:
        """The items of the ordinary nodes that a primitive stands for."""
        inside = [node for node in topological([root]) if id(node) not in self._of]
        self._expanded += inside  # `_of` knows nodes by their identity: they have to stay
        around, self._whole = self._whole, self._whole or whole  # what the user has recorded
        for node in inside:
            if node.value is not None:
                raise AssertionError(f"{whole.op.name}.expand made a constant, which is no operand of the program")
            self._of[id(node)] = self._convert(node)
        self._whole, self._line = around, whole
        return self._of[id(root)]

    def _same(self, x: Item, shape: tuple[int, ...]) -> Item:
        """A number of this or another graph in `shape`."""
        if x.kind == "full":
            return self._full(x.value, shape, x.dtype, False)
        same = Item("scalar", None, (), shape, x.dtype)
        same.number, same.node = x.number, x.node
        return same

    def _result(self, loop: Repeated | Chosen, node: Node) -> Item:
        """One result of a loop or choice: a buffer that it fills, or a part of one."""
        item = self._known.get(("loop", id(loop)))
        if item is None:
            inputs = tuple(self._of[id(operand)] for operand in node.inputs)
            item = self._known["loop", id(loop)] = Item("loop", None, inputs, (), node.dtype)
            item.value, item.node = loop, node
        place = loop.place(node.op.index, node.op.joined)
        key = ("part", id(loop), place.buffer)
        part = self._known.get(key)
        if part is None:
            shape = place.shape
            part = self._known[key] = Item("part", None, (item,), shape, node.dtype)
            part.value, part.node = place.buffer, node
        if place.start is None:
            return part
        stops = (place.start + place.rows, *part.shape[1:])
        starts = (place.start,) + (0,) * (len(stops) - 1)
        shape = (place.rows, *part.shape[1:])
        rows = self.movement("slice", (starts, stops, (1,) * len(stops)), part, shape)
        return self.reshape(rows, node.shape)

    def _reduce(self, name: str, axes: tuple[int, ...], x: Item) -> Item:
        """A reduction over axes that do not follow one another goes over the last of them that do first.

        Sums of images over (batch, rows, columns) are so sums of each image first, which follow it in the cache.
        """
        first = len(axes) - 1
        while first > 0 and axes[first - 1] == axes[first] - 1:
            first -= 1
        if axes:
            last = axes[first:]
            shape = tuple(extent for axis, extent in enumerate(x.shape) if axis not in last)
            x = self.apply(name, primitive(name, (last,)), (x,), shape, x.dtype)
            return self._reduce(name, axes[:first], x) if first else x
        return self.apply(name, primitive(name, (axes,)), (x,), x.shape, x.dtype)

    def number(self, value: Any, shape: tuple[int, ...], dtype: DType) -> Item:
        """A structural number in every place."""
        return self._full(value, shape, dtype, False)

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

    def apply(self, name: str, op: Primitive, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType) -> Item:
        """The item of an operation on items, one for all that are the same, or a simpler one that is as good."""
        if dtype.kind == "c" and name in MOVEMENTS:
            name = "host"  # parts of a loop's results: NumPy moves them too
        if name in WHOLE:
            # What a scatter adds to is copied in any case, from wherever it lies.
            first = inputs[:1] if name.startswith("scatter_add") else ()
            rest = (self._copy(i) if i.kind in UNBUFFERED and not _is_row_major(i) else i for i in inputs[len(first) :])
            inputs = (*first, *rest)
        elif name in ("take", "take_along", "random_bits"):
            inputs = (self._in_memory(inputs[0]), *inputs[1:])
        simpler = self._simplify(name, op, inputs, shape, dtype) or self._flattened(name, op, inputs, shape, dtype)
        if simpler is not None:
            return simpler
        key = (op.key, tuple(id(i) for i in inputs))
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = Item(name, op, inputs, shape, dtype)
            item.node = self._line
        return item

    def _flattened(self, name: str, op: Primitive, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType):
        """An elementwise operation on a reshaped product in the product's own shape: it can join its epilogue then."""
        if op is None or op.family != "elementwise":
            return None
        for x in inputs:
            source = x.inputs[0] if x.kind == "reshape" else None
            if source is None or len(source.shape) >= len(shape) or source.op is None:
                continue
            if source.kind == "bmm" or source.op.family == "elementwise":
                found = [self._reshaped(y, source.shape) for y in inputs]
                flat = [y for y in found if y is not None]
                if len(flat) == len(inputs):
                    return self.reshape(self.apply(name, op, tuple(flat), source.shape, dtype), shape)
        return None

    def _reshaped(self, x: Item, shape: tuple[int, ...]) -> Item | None:
        """`x` in another shape if that needs no copy."""
        if x.kind == "broadcast":
            source = x.inputs[0]
            if source.kind in MOVEMENTS:
                return None
            strides = [0] * len(x.shape)
            for extent, stride, axis in zip(source.shape, contiguous(source.shape), x.op.axes):  # type: ignore[union-attr]
                strides[axis] = stride if extent != 1 else 0
            if reshape_strides(x.shape, tuple(strides), shape) is None:
                return None
        elif x.kind in MOVEMENTS and x.kind != "reshape":
            return None
        return self.reshape(x, shape)

    def shared(self, key: tuple, make: Callable[[], Item]) -> Item:
        """The item that is known by `key`, made now if there is none."""
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = make()
            item.node = self._line
        return item

    def movement(self, name: str, attributes: tuple, x: Item, shape: tuple[int, ...]) -> Item:
        """A movement primitive applied to an item."""
        return self.apply(name, primitive(name, attributes), (x,), shape, x.dtype)

    def reshape(self, x: Item, shape: tuple[int, ...]) -> Item:
        return self.movement("reshape", (shape,), x, shape)

    def permute(self, x: Item, axes: tuple[int, ...]) -> Item:
        return self.movement("permute", (axes,), x, tuple(x.shape[a] for a in axes))

    def _copy(self, x: Item) -> Item:
        """An item with the elements of `x` in a buffer of its own."""
        if x.dtype.kind == "c":
            copy = Item("host", primitive("alias"), (x,), x.shape, x.dtype)
        else:
            copy = Item("copy", None, (x,), x.shape, x.dtype)
        copy.node = self._line
        return copy

    def stored(self, x: Item) -> Item:
        """`x`, or one copy for all its uses if where its elements lie is not the program's choice."""
        if x.kind not in UNBUFFERED:
            return x
        copy = self._known.get(("stored", id(x)))
        if copy is None:
            copy = self._known["stored", id(x)] = self._copy(x)
        return copy

    def _in_memory(self, x: Item) -> Item:
        """`x`, or a copy of it if it is a number or a count that lies in no buffer."""
        base = x
        while base.kind in MOVEMENTS:
            base = base.inputs[0]
        return self.stored(x) if base.kind in ("full", "scalar", "iota") else x

    def _own(self, x: Item) -> Item:
        """`x` as a result of the program: a buffer that nothing else is."""
        first = id(x) not in self._results
        self._results.add(id(x))
        if first and x.kind not in UNBUFFERED:
            return x
        return self._copy(x)

    def _simplify(self, name: str, op: Any, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType):
        x = inputs[0] if inputs else None
        if name in SPREAD:
            results = [narrow_result(y) for y in inputs]
            narrow = tuple(y for y in results if y is not None)
            if narrow and len(narrow) == len(inputs):
                wide = self._cast(self.apply(name, op, narrow, shape, narrow[0].dtype), dtype)
                wide.own = True  # a sum widens what it reads
                return wide
        if name in MOVEMENTS:
            assert x is not None
            if x.kind == "full":
                return self._full(x.value, shape, dtype, False)
            if x.kind == "scalar":
                return self._same(x, shape)
            if name in ("reshape", "broadcast") and shape == x.shape:
                return x
            if name == "reshape" and x.kind == "reshape":
                return self.apply(name, op, x.inputs, shape, dtype)
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
        if name == "cast" and x is not None and x.kind == "cast" and dtype.is_half and x.inputs[0].dtype is dtype:
            return x.inputs[0]
        if name == "neg" and x is not None and x.kind == "neg":
            return x.inputs[0]
        if name in ("mul", "div", "sub") and inputs[1].kind == "full" and inputs[1].value == (name != "sub"):
            return x
        if name == "mul" and x is not None and x.kind == "full" and x.value == 1:
            return inputs[1]
        return None

    def _contract(self, op: Any, inputs: tuple[Item, ...], dtype: DType) -> Item:
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
        item = self._cast(self._product(a, b, op), dtype)
        order = batch + rows + columns
        wide = self.reshape(item, tuple(extents[x] for x in order))
        return self.permute(wide, tuple(order.index(x) for x in out))

    def _product(self, a: Item, b: Item, op: Any) -> Item:
        """The matrix product of (batch,) m, k and (batch,) k, n; that of float16 and bfloat16 is float32."""
        a, b = self._in_memory(a), self._in_memory(b)
        dtype = float32 if a.dtype.is_half else a.dtype
        if a.shape[-1] == 0:
            return self._full(0, (*a.shape[:-1], b.shape[-1]), dtype, False)
        key = ("bmm", id(a), id(b))
        item = self._known.get(key)
        if item is None:
            item = self._known[key] = Item("bmm", op, (a, b), (*a.shape[:-1], b.shape[-1]), dtype)
            item.node = self._line
        return item

    def relist(self, items: Iterable[Item]) -> None:
        """Number `items`, operands first, and note who uses what."""
        self.items = list(items)
        for number, item in enumerate(self.items):
            item.index = number
            item.users = []
            for operand in item.inputs:
                operand.users.append(item)

    def _needed(self) -> list[Item]:
        """The items that the outputs need, as they were made."""
        needed = {id(item): item for item in self.outputs}
        stack = list(self.outputs)
        while stack:
            for operand in stack.pop().inputs:
                if id(operand) not in needed:
                    needed[id(operand)] = operand
                    stack.append(operand)
        return sorted(needed.values(), key=lambda item: item.born)


def _serial(node: Node) -> int:
    return node.serial
