"""Code of a kernel's bodies: what happens at one point of the iteration space, for a vector of points."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from ...compiler.kernel import SCALARS, STATUS, Body, Kernel
from ...dtypes import DType, float32, float64, int64
from ..base import Value
from .emit import LINE, Function, Int, llvm_type, memory_type
from .scalar import LLVMScalarBuilder

#: lines of a row that are asked for before it is read; the rest of a longer one follows by itself
MOST_LINES = 8


class Point:
    """Where a body is evaluated: pointers of all accesses, flat indices, and the lanes in use."""

    def __init__(self, function: Function, pointers: dict[int, str], indices: dict[int, Int], width: int):
        self.function = function
        self.pointers = pointers
        self.indices = indices
        self.width = width
        self.mask: str | None = None

    @classmethod
    def start(cls, function: Function, body: Body, width: int) -> Point:
        """The origin of the iteration space."""
        indices: dict[int, Int] = {a: function.argument(function.layout.offset[a]) for a in _index_accesses(body)}
        return cls(function, {}, indices, width)

    def moved(self, axis: int, index: Int, body: Body) -> Point:
        """This point, moved by `index` along `axis`."""
        f = self.function
        pointers = dict(self.pointers)
        indexed = _index_accesses(body)
        for number in _pointer_accesses(body):
            stride = f.stride(number, axis)
            base = pointers.get(number) or f.base(number)
            step = f.mul(stride, index)
            pointers[number] = f.advance(base, f.kernel.accesses[number].dtype, step)
        indices = {a: f.add(self.indices[a], f.mul(f.stride(a, axis), index)) for a in indexed}
        return Point(f, pointers, indices, self.width)

    def pointer(self, access: int) -> str:
        return self.pointers.get(access) or self.function.base(access)


def _index_accesses(body: Body) -> set[int]:
    return {i[1] for i in body.code if i[0] == "index"}


def _pointer_accesses(body: Body) -> set[int]:
    used = {i[1] for i in body.code if i[0] in ("load", "take")}
    return used | {access for _, access in body.stores}


def invariant(function: Function, body: Body, vector: int) -> list[bool]:
    """For every instruction, whether its value is the same in all lanes (does not move along `vector`)."""
    kernel = function.kernel
    result: list[bool] = []
    for instruction in body.code:
        kind = instruction[0]
        if kind in ("scalar", "const"):
            same = True
        elif kind in ("load", "index"):
            same = kernel.accesses[instruction[1]].strides[vector] == 0
        elif kind == "take":
            same = False
        elif kind == "op":
            same = all(result[i] for i in instruction[2])
        else:
            same = False
        result.append(same)
    return result


def steady(kernel: Kernel, body: Body, first: int) -> list[int]:
    """The instructions whose values are known to stay the same along the axes from `first` on."""
    found: set[int] = set()
    for number, instruction in enumerate(body.code):
        kind = instruction[0]
        if kind == "load":  # generic code knows no strides
            same = kernel.baked and not any(kernel.accesses[instruction[1]].strides[first:])
        else:
            same = kind in ("scalar", "const") or (kind == "op" and found.issuperset(instruction[2]))
        if same:
            found.add(number)
    return sorted(found)


class BodyCode:
    """Emits a body at points of the space; lane-invariant instructions once, outside the vector loop."""

    def __init__(self, function: Function, body: Body, vector: int, anchor: Value | None = None):
        self.function = function
        self.body = body
        self.vector = vector
        self.invariant = invariant(function, body, vector)
        self.rows: dict[int, str] = {}
        self.outside: dict[int, Value] = {}

    def hoist(self, point: Point, known: Mapping[int, Value] = MappingProxyType({})) -> None:
        """Evaluate at `point` (outside the vector loop) what is the same in all lanes and not among the `known`."""
        self.outside = dict(known)
        for number, instruction in enumerate(self.body.code):
            if self.invariant[number] and number not in known:
                self.outside[number] = self._emit(instruction, point, self.outside)
        self.rows = {}
        for number, instruction in enumerate(self.body.code):
            if instruction[0] == "take" and self.invariant[instruction[2]]:
                self.rows[number] = self._row_offset(instruction, point)

    def at(self, point: Point, numbers: Sequence[int]) -> dict[int, Value]:
        """The values of some instructions at `point`, in order, which need no others."""
        values: dict[int, Value] = {}
        for number in numbers:
            values[number] = self._emit(self.body.code[number], point, values)
        return values

    def run(
        self,
        point: Point,
        anchor: Value | None = None,
        given: Mapping[int, Value] = MappingProxyType({}),
        skip: Collection[int] = (),
    ) -> dict[int, Value]:
        """Emit the rest at `point`, but for values that are `given`, and the stores, but for accesses in `skip`.

        Returns all values.
        """
        values = {**self.outside, **given}
        for number, instruction in enumerate(self.body.code):
            if number in values:
                continue
            if instruction[0] == "anchor":
                assert anchor is not None
                values[number] = anchor
            elif number in self.rows:
                values[number] = self._load_row(number, instruction, point)
            else:
                values[number] = self._emit(instruction, point, values)
        for value, access in self.body.stores:
            if access in skip:
                continue
            stride = self.function.stride(access, self.vector)
            past = access in self.function.past
            self.function.store(values[value], point.pointer(access), stride, point.width, point.mask, past)
        return values

    def _emit(self, instruction: tuple, point: Point, values: dict[int, Value]) -> Value:
        f, width = self.function, point.width
        builder = f.builder(width)
        kind = instruction[0]
        if kind == "op":
            return _computed(builder, instruction, [values[i] for i in instruction[2]])
        if kind == "load":
            access = instruction[1]
            dtype = f.kernel.accesses[access].dtype
            return f.load(point.pointer(access), dtype, f.stride(access, self.vector), width, point.mask)
        if kind == "scalar":
            return self._scalar(instruction[1], instruction[2], width)
        if kind == "const":
            return builder.const(instruction[1], instruction[2])
        if kind == "index":
            return self._index(instruction[1], point)
        if kind == "random":
            return self._random(instruction, point, values)
        if kind == "check":
            return self._check(values[instruction[1]], instruction[2], point)
        assert kind == "take"
        return self._take(instruction, point, values)

    def _scalar(self, slot: int, dtype: DType, width: int) -> Value:
        f = self.function
        table = f.table_pointer(SCALARS)
        pointer = f.let(f"getelementptr i64, ptr {table}, i64 {f.extra(slot)}", "p")
        if dtype.kind == "f":
            raw = f.let(f"load double, ptr {pointer}")
            if dtype.is_half:
                raw = f.builder(1).cast(Value(raw, float64), dtype).ref
            elif dtype is not float64:
                raw = f.let(f"fptrunc double {raw} to {llvm_type(dtype)}")
        else:
            raw = f.let(f"load i64, ptr {pointer}")
            if dtype.itemsize < 8:
                raw = f.let(f"trunc i64 {raw} to {llvm_type(dtype)}")
        return Value(f.splat(raw, llvm_type(dtype), width), dtype)

    def _index(self, access: int, point: Point) -> Value:
        f, width = self.function, point.width
        start = point.indices[access]
        stride = f.stride(access, self.vector)
        name = f._splat_int(start, width) if width > 1 else f.let(f"add i64 {start}, 0")
        if width > 1 and stride != 0:
            steps = f.lanes(width)
            if stride != 1:
                steps = f.let(f"mul <{width} x i64> {steps}, {f._splat_int(stride, width)}")
            name = f.let(f"add <{width} x i64> {name}, {steps}")
        return Value(name, int64)

    def _random(self, instruction: tuple, point: Point, values: dict[int, Value]) -> Value:
        f = self.function
        _, primitive, key_access, index = instruction
        dtype = f.kernel.accesses[key_access].dtype
        base = f.base(key_access)
        seed = f.load(base, dtype, 0, point.width)
        counter = f.load(f.advance(base, dtype, 1), dtype, 0, point.width)
        return primitive.scalar_at(f.builder(point.width), seed, counter, values[index])

    # --- indices ----------------------------------------------------------------------------------

    def _report(self, bad: str, index: str, check: Int, size: Int) -> None:
        """Write the first index that is out of range into the program's status words."""
        f = self.function
        with f.when(bad):
            status = f.table_pointer(STATUS)
            for word, value in enumerate((f.add(check, 1), index, size)):
                pointer = f.let(f"getelementptr i64, ptr {status}, i64 {word}", "p")
                f.line(f"store i64 {value}, ptr {pointer}")

    def _wrap(self, index: str, size: Int, width: int) -> str:
        f = self.function
        kind = f"<{width} x i64>" if width > 1 else "i64"
        length = f._splat_int(size, width) if width > 1 else size
        zero = "zeroinitializer" if width > 1 else "0"
        flag = f"<{width} x i1>" if width > 1 else "i1"
        negative = f.let(f"icmp slt {kind} {index}, {zero}")
        shifted = f.let(f"add {kind} {index}, {length}")
        return f.let(f"select {flag} {negative}, {kind} {shifted}, {kind} {index}")

    def _safe(self, value: Value, size: Int, check: Int, point: Point) -> str:
        """`value` as indices from the front; those out of range are reported and replaced by 0."""
        f, width = self.function, point.width
        index = f.builder(width).cast(value, int64).ref
        kind = f"<{width} x i64>" if width > 1 else "i64"
        length = f._splat_int(size, width) if width > 1 else size
        # Unsigned indices do not count from the end; beyond 2**63 they stand for rejected negative labels.
        wrapped = index if value.dtype.kind == "u" else self._wrap(index, size, width)
        bad = f.let(f"icmp uge {kind} {wrapped}, {length}")
        if width == 1:
            self._report(bad, index, check, size)
            return f.let(f"select i1 {bad}, i64 0, i64 {wrapped}")
        live = bad if point.mask is None else f.let(f"and <{width} x i1> {bad}, {point.mask}")
        bits = f.let(f"bitcast <{width} x i1> {live} to i{width}")
        some = f.let(f"icmp ne i{width} {bits}, 0")
        f.declarations.add(f"declare i{width} @llvm.cttz.i{width}(i{width}, i1 immarg)")
        lane = f.let(f"call i{width} @llvm.cttz.i{width}(i{width} {bits}, i1 false)")
        lane = f.let(f"and i{width} {lane}, {width - 1}")
        first = f.let(f"extractelement {kind} {index}, i{width} {lane}")
        self._report(some, first, check, size)
        return f.let(f"select <{width} x i1> {bad}, {kind} zeroinitializer, {kind} {wrapped}")

    def _check(self, value: Value, number: int, point: Point) -> Value:
        f = self.function
        self._safe(value, f.extra(number + 1), f.extra(number), point)
        return value

    def _row_offset(self, instruction: tuple, point: Point) -> str:
        """Elements to move by for a take whose index is the same in all lanes."""
        f = self.function
        _, _, index, number = instruction
        single = Point(f, point.pointers, point.indices, 1)
        one = BodyCode(f, self.body, self.vector)
        scalars: dict[int, Value] = {}
        for position in self._needed(index):
            scalars[position] = one._emit(self.body.code[position], single, scalars)
        place = self._safe(scalars[index], f.extra(number + 1), f.extra(number), single)
        return str(f.mul(place, f.extra(number + 2)))

    def _needed(self, value: int) -> list[int]:
        wanted, stack = set(), [value]
        while stack:
            position = stack.pop()
            if position not in wanted:
                wanted.add(position)
                instruction = self.body.code[position]
                stack += instruction[2] if instruction[0] == "op" else []
                stack += [instruction[1]] if instruction[0] == "check" else []
                stack += [instruction[2]] if instruction[0] == "take" else []
        return sorted(wanted)

    def fetch_ahead(self, point: Point, axis: int, index: Int) -> None:
        """Ask for the rows that takes will read at `index` along `axis`, which nothing else tells the cache."""
        f = self.function
        size = f.size(self.vector)
        for _, access, place, number in (i for i in self.body.code if i[0] == "take" and self.invariant[i[2]]):
            source = self.body.code[place]
            if source[0] == "check":
                source = self.body.code[source[1]]
            if source[0] != "load" or not isinstance(size, int) or f.stride(access, self.vector) != 1:
                continue
            there = point.moved(axis, index, self.body)
            row = f.load(there.pointer(source[1]), f.kernel.accesses[source[1]].dtype, 0, 1)
            start = f.mul(f.builder(1).cast(row, int64).ref, f.extra(number + 2))
            dtype = f.kernel.accesses[access].dtype
            line = LINE // dtype.itemsize
            for first in range(0, min(size, MOST_LINES * line), line):
                f.prefetch(f.advance(there.pointer(access), dtype, f.add(start, first)))

    def fetch_next(self, point: Point) -> None:
        """Ask for what the next call will touch where this one is now: operands that the kernel fetches ahead."""
        f = self.function
        loaded = {i[1] for i in self.body.code if i[0] == "load"}
        for access in (n for n in f.kernel.ahead if n not in f.past):
            dtype = f.kernel.accesses[access].dtype
            there = f.advance(point.pointer(access), dtype, f.rows_ahead(access))
            for first in range(0, point.width, LINE // dtype.itemsize):
                f.prefetch(f.advance(there, dtype, first), access not in loaded)

    def _load_row(self, number: int, instruction: tuple, point: Point) -> Value:
        f = self.function
        access = instruction[1]
        dtype = f.kernel.accesses[access].dtype
        pointer = f.advance(point.pointer(access), dtype, self.rows[number])
        return f.load(pointer, dtype, f.stride(access, self.vector), point.width, point.mask)

    def _take(self, instruction: tuple, point: Point, values: dict[int, Value]) -> Value:
        f, width = self.function, point.width
        _, access, index, number = instruction
        dtype = f.kernel.accesses[access].dtype
        place = self._safe(values[index], f.extra(number + 1), f.extra(number), point)
        kind = memory_type(dtype)
        pointer = point.pointer(access)
        if width == 1:
            step = f.mul(place, f.extra(number + 2))
            return f.load(f.advance(pointer, dtype, step), dtype, 0, 1)
        steps = f.let(f"mul <{width} x i64> {place}, {f._splat_int(f.extra(number + 2), width)}")
        stride = f.stride(access, self.vector)
        if stride != 0:
            lanes = f.lanes(width)
            if stride != 1:
                lanes = f.let(f"mul <{width} x i64> {lanes}, {f._splat_int(stride, width)}")
            steps = f.let(f"add <{width} x i64> {steps}, {lanes}")
        pointers = f.let(f"getelementptr {kind}, ptr {pointer}, <{width} x i64> {steps}", "p")
        raw = f.gather(pointers, dtype, width, point.mask)
        return Value(f.from_memory(raw, dtype, width), dtype)


def _computed(builder: LLVMScalarBuilder, instruction: tuple, operands: list[Value]) -> Value:
    """An elementwise primitive on `operands`; float16 and bfloat16 are computed in float32, the result is rounded."""
    operands = [Value(v.ref, float32, v.literal) if v.dtype.is_half else v for v in operands]
    result = instruction[1].scalar(builder, *operands)
    return builder.cast(result, instruction[3]) if instruction[3].is_half else result
