"""The bodies of a kernel: items as instructions on elements, and the accesses that they need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..dtypes import DType, int64
from ..ops.base import primitive
from .canonical import Item
from .kernel import Access, Body
from .views import contiguous

if TYPE_CHECKING:
    from .lowering import Lowering


class Bodies:
    """Collects the accesses, extra arguments and code of one kernel, over the axes of `shape`."""

    def __init__(self, lowering: Lowering, shape: tuple[int, ...], extra: list[int]):
        self.lowering = lowering
        self.shape = shape
        self.extra = extra
        self.accesses: list[Access] = []
        self._places: dict[tuple, int] = {}

    def access(self, buffer: int, dtype: DType, offset: int, strides: tuple[int, ...]) -> int:
        key = (buffer, offset, strides)
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = len(self.accesses)
            self.accesses.append(Access(buffer, dtype, offset, strides))
        return found

    def argument(self, *words: int) -> int:
        """Append extra argument words; returns the position of the first."""
        self.extra.extend(words)
        return len(self.extra) - len(words)

    def body(
        self, items: list[Item], anchor: Item | None, axes: list[int], stored: set[int]
    ) -> tuple[Body, dict[int, int]]:
        """Code of `items`; iteration axis ``axes[i]`` is axis i of their shape. Returns the body and value numbers."""
        body = Body()
        values: dict[int, int] = {}
        consts: dict[tuple, int] = {}
        code = body.code

        def push(*instruction) -> int:
            code.append(instruction)
            return len(code) - 1

        def spread(strides: tuple[int, ...]) -> tuple[int, ...]:
            wide = [0] * len(self.shape)
            for axis, stride in zip(axes, strides):
                wide[axis] = stride
            return tuple(wide)

        def place(view_offset: int, base: Item, strides: tuple[int, ...]) -> int:
            return self.access(self.lowering.buffer(base).number, base.dtype, view_offset, spread(strides))

        def operand(item: Item) -> int:
            found = values.get(item.index)
            if found is not None:
                return found
            view = self.lowering.views[item]
            return read(item, view.offset, view.base, view.strides)

        def read(item: Item, offset: int, base: Item, strides: tuple[int, ...]) -> int:
            key: tuple
            if item.kind == "full":
                key = ("full", item.value, math.copysign(1, item.value), item.dtype.name)
                if key not in consts:
                    consts[key] = push("const", item.value, item.dtype)
            elif item.kind == "scalar":
                key = ("scalar", item.number)
                if key not in consts:
                    consts[key] = push("scalar", self.argument(item.number), item.dtype)
            else:
                key = (base.index, offset, strides)
                if key not in consts:
                    if base.kind == "iota":
                        index = push("index", self.access(0, int64, offset, spread(strides)))
                        cast = primitive("cast", (base.dtype,))
                        consts[key] = index if base.dtype is int64 else push("op", cast, (index,), base.dtype)
                    else:
                        consts[key] = push("load", place(offset, base, strides))
            return consts[key]

        if anchor is not None:
            values[anchor.index] = push("anchor")
        for item in items:
            kind = item.kind
            if kind == "copy":
                values[item.index] = operand(item.inputs[0])
            elif kind == "check_index":
                op: object = item.op
                number = self.lowering.check(op.what, item)  # type: ignore[attr-defined]
                extra = self.argument(number, op.size)  # type: ignore[attr-defined]
                values[item.index] = push("check", operand(item.inputs[0]), extra)
            elif kind in ("take", "take_along"):
                values[item.index] = self._take(item, operand, read, place, push)
            elif kind == "random_bits":
                key_view = self.lowering.views[item.inputs[0]]
                key = place(key_view.offset, key_view.base, (0,) * len(axes))
                index = push("index", self.access(0, int64, 0, spread(contiguous(item.shape))))
                values[item.index] = push("random", item.op, key, index)
            else:
                ids = tuple(operand(i) for i in item.inputs)
                values[item.index] = push("op", item.op, ids, item.dtype)
        for item in [*([anchor] if anchor is not None else []), *items]:
            if item.index in stored:
                own = self.lowering.views[item]
                where = self.access(self.lowering.buffer(item).number, item.dtype, own.offset, spread(own.strides))
                body.stores.append((values[item.index], where))
        return body, values

    def _take(self, item: Item, operand, read, place, push) -> int:
        x, indices = item.inputs
        axis = item.op.axis  # type: ignore[union-attr]
        view = self.lowering.views[x]
        size = x.shape[axis]
        number = self.lowering.check(f"axis {axis}", item)
        extra = self.argument(number, size, view.strides[axis])
        if item.kind == "take":
            rank = len(indices.shape)
            strides = view.strides[:axis] + (0,) * rank + view.strides[axis + 1 :]
            index_view = self.lowering.views[indices]
            behind = (0,) * (len(x.shape) - axis - 1)
            index = read(indices, index_view.offset, index_view.base, (0,) * axis + index_view.strides + behind)
        else:
            strides = view.strides[:axis] + (0,) + view.strides[axis + 1 :]
            index = operand(indices)
        return push("take", place(view.offset, view.base, strides), index, extra)


def shift_accesses(body: Body, by: int) -> None:
    """Renumber the accesses of a body after `by` operands were put in front."""
    moved: list[tuple] = []
    for instruction in body.code:
        if instruction[0] in ("load", "index"):
            moved.append((instruction[0], instruction[1] + by))
        elif instruction[0] == "take":
            moved.append(("take", instruction[1] + by, *instruction[2:]))
        elif instruction[0] == "random":
            moved.append(("random", instruction[1], instruction[2] + by, instruction[3]))
        else:
            moved.append(instruction)
    body.code[:] = moved
    body.stores[:] = [(value, access + by) for value, access in body.stores]
