"""`Function`: builds the LLVM IR text of one kernel: arguments, loops, loads and stores of a vector of elements.

Integers known while emitting are Python ints, others are SSA names (strings); `add` and `mul` fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...compiler.kernel import SCALARS, STATUS, ArgumentLayout, Body, Kernel
from ...dtypes import DType, bool_, float64, int64
from ..base import Value
from .scalar import LLVMScalarBuilder
from .scalar import element_type as llvm_type
from .toolchain import Target

Int = int | str


def memory_type(dtype: DType) -> str:
    """LLVM type of one element in memory (bool is a byte)."""
    return "i8" if dtype.kind == "b" else llvm_type(dtype)


class Loop:
    """An open loop: its index, the carried values inside, and after closing their final values."""

    def __init__(self, index: str, values: list[str]):
        self.index = index
        self.values = values
        self.next: list[str] = list(values)


class Function:
    """The text of one native kernel ``void name(ptrs, args, lo, hi)`` under construction."""

    def __init__(self, name: str, kernel: Kernel, target: Target):
        self.name = name
        self.kernel = kernel
        self.layout = ArgumentLayout(kernel.accesses, len(kernel.sizes))
        self.target = target
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.block = "start"
        self._count = 0
        self._arguments: dict[int, str] = {}
        self._bases: dict[int, str] = {}
        self._tables: dict[int, str] = {}
        self._builders: dict[int, LLVMScalarBuilder] = {}

    # --- text -------------------------------------------------------------------------------------

    def fresh(self, prefix: str = "t") -> str:
        self._count += 1
        return f"%{prefix}{self._count}"

    def let(self, expression: str, prefix: str = "t") -> str:
        """Append ``name = expression`` and return the name."""
        name = self.fresh(prefix)
        self.lines.append(f"  {name} = {expression}")
        return name

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def builder(self, width: int) -> LLVMScalarBuilder:
        """The scalar builder for vectors of `width` lanes, writing into this function."""
        found = self._builders.get(width)
        if found is None:
            target = self.target
            found = LLVMScalarBuilder(
                self.lines, width, target.has_fma, f"w{width}_", _has_rounding(target), True, self._entered
            )
            found.declarations = self.declarations
            self._builders[width] = found
        return found

    def _entered(self, block: str) -> None:
        """The scalar builder opened a block."""
        self.block = block

    def text(self) -> str:
        head = f"define void @{self.name}(ptr %ptrs, ptr %args, i64 %lo, i64 %hi) nounwind {{\nentry:"
        return "\n".join([head, *self.entry, "  br label %start", "start:", *self.lines, "  ret void", "}"])

    # --- integers and arguments -------------------------------------------------------------------

    def add(self, a: Int, b: Int) -> Int:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        return self.let(f"add i64 {a}, {b}")

    def sub(self, a: Int, b: Int) -> Int:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.let(f"sub i64 {a}, {b}")

    def mul(self, a: Int, b: Int) -> Int:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 0 or b == 0:
            return 0
        if a == 1:
            return b
        if b == 1:
            return a
        return self.let(f"mul i64 {a}, {b}")

    def minimum(self, a: Int, b: Int) -> Int:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        less = self.let(f"icmp slt i64 {a}, {b}")
        return self.let(f"select i1 {less}, i64 {a}, i64 {b}")

    def maximum(self, a: Int, b: Int) -> Int:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        more = self.let(f"icmp sgt i64 {a}, {b}")
        return self.let(f"select i1 {more}, i64 {a}, i64 {b}")

    def argument(self, position: int) -> str:
        """Argument word `position`, loaded once on entry."""
        name = self._arguments.get(position)
        if name is None:
            name = self._arguments[position] = f"%a{position}"
            self.entry.append(f"  %ap{position} = getelementptr i64, ptr %args, i64 {position}")
            self.entry.append(f"  {name} = load i64, ptr %ap{position}")
        return name

    def extra(self, number: int) -> str:
        return self.argument(self.layout.extra + number)

    def size(self, axis: int) -> Int:
        if self.kernel.baked and axis > 0:
            return self.kernel.sizes[axis]
        return self.argument(self.layout.sizes[axis])

    def stride(self, access: int, axis: int) -> Int:
        stride = self.kernel.accesses[access].strides[axis]
        if self.kernel.baked or (axis == self.kernel.vector and stride in (0, 1)):
            return stride
        return self.argument(self.layout.strides[access][axis])

    def table_pointer(self, entry: int) -> str:
        """The pointer in entry `entry` of the program's table, loaded once on entry."""
        name = self._tables.get(entry)
        if name is None:
            name = self._tables[entry] = f"%table{entry}"
            self.entry.append(f"  {name}_p = getelementptr ptr, ptr %ptrs, i64 {entry}")
            self.entry.append(f"  {name} = load ptr, ptr {name}_p")
        return name

    def base(self, access: int) -> str:
        """Pointer to the first element of operand `access` (buffer plus offset), computed on entry."""
        name = self._bases.get(access)
        if name is None:
            buffer = self.argument(self.layout.buffer[access])
            offset = self.argument(self.layout.offset[access])
            name = self._bases[access] = f"%base{access}"
            self.entry.append(f"  {name}_p = getelementptr ptr, ptr %ptrs, i64 {buffer}")
            self.entry.append(f"  {name}_b = load ptr, ptr {name}_p")
            kind = memory_type(self.kernel.accesses[access].dtype)
            self.entry.append(f"  {name} = getelementptr {kind}, ptr {name}_b, i64 {offset}")
        return name

    def advance(self, pointer: str, dtype: DType, elements: Int) -> str:
        """`pointer` moved by a number of elements."""
        if elements == 0:
            return pointer
        return self.let(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {elements}", "p")

    # --- control flow -----------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Int, stop: Int, step: Int = 1, carried: Sequence[tuple[str, str]] = ()) -> Iterator[Loop]:
        """A counted loop, tested at the top; `carried` lists (type, initial value) of loop-carried values.

        Inside, set ``loop.next`` to the values for the next turn; afterwards ``loop.values`` are final.
        """
        self._count += 1
        tag = f"L{self._count}"
        before = self.block
        self.line(f"br label %{tag}.head")
        self.label(f"{tag}.head")
        place = len(self.lines)
        loop = Loop(f"%{tag}.i", [f"%{tag}.c{n}" for n in range(len(carried))])
        self.line(f"%{tag}.t = icmp slt i64 {loop.index}, {stop}")
        self.line(f"br i1 %{tag}.t, label %{tag}.body, label %{tag}.exit")
        self.label(f"{tag}.body")
        yield loop
        following = self.let(f"add nsw i64 {loop.index}, {step}")
        phis = [f"  {loop.index} = phi i64 [ {start}, %{before} ], [ {following}, %{self.block} ]"]
        for (kind, initial), value, turned in zip(carried, loop.values, loop.next):
            phis.append(f"  {value} = phi {kind} [ {initial}, %{before} ], [ {turned}, %{self.block} ]")
        self.line(f"br label %{tag}.head")
        self.lines[place:place] = phis
        self.label(f"{tag}.exit")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Code that runs only if the i1 `condition` holds."""
        self._count += 1
        tag = f"B{self._count}"
        self.line(f"br i1 {condition}, label %{tag}.then, label %{tag}.end")
        self.label(f"{tag}.then")
        yield
        self.line(f"br label %{tag}.end")
        self.label(f"{tag}.end")

    # --- vectors ----------------------------------------------------------------------------------

    def lanes(self, width: int, kind: str = "i64") -> str:
        """The constant vector 0, 1, 2, ..."""
        inside = ", ".join(f"{kind} {n}" for n in range(width))
        return f"<{inside}>"

    def splat(self, scalar: str, kind: str, width: int) -> str:
        """A vector of `width` copies of `scalar` (the scalar itself for width 1)."""
        if width == 1:
            return scalar
        vector = f"<{width} x {kind}>"
        first = self.let(f"insertelement {vector} poison, {kind} {scalar}, i64 0")
        return self.let(f"shufflevector {vector} {first}, {vector} poison, <{width} x i32> zeroinitializer")

    def mask(self, count: Int, width: int) -> str:
        """The i1 vector whose first `count` lanes (1 <= count < width) are on."""
        if isinstance(count, int):
            return "<" + ", ".join(f"i1 {'true' if n < count else 'false'}" for n in range(width)) + ">"
        narrow = self.let(f"trunc i64 {count} to i32")
        all_lanes = self.splat(narrow, "i32", width)
        return self.let(f"icmp ult <{width} x i32> {self.lanes(width, 'i32')}, {all_lanes}")

    def _vector_pointers(self, pointer: str, kind: str, stride: Int, width: int) -> str:
        steps = self.lanes(width)
        if stride != 1:
            steps = self.let(f"mul <{width} x i64> {steps}, {self._splat_int(stride, width)}")
        return self.let(f"getelementptr {kind}, ptr {pointer}, <{width} x i64> {steps}", "p")

    def _splat_int(self, value: Int, width: int) -> str:
        if isinstance(value, int):
            return "<" + ", ".join(f"i64 {value}" for _ in range(width)) + ">"
        return self.splat(value, "i64", width)

    def load(self, pointer: str, dtype: DType, stride: Int, width: int, mask: str | None = None) -> Value:
        """`width` elements from `pointer`, `stride` elements apart; lanes that `mask` turns off are 0."""
        kind = memory_type(dtype)
        align = dtype.itemsize
        if width == 1 or stride == 0:
            raw = self.let(f"load {kind}, ptr {pointer}, align {align}")
            if dtype.kind == "b":
                raw = self.let(f"icmp ne i8 {raw}, 0")
            return Value(self.splat(raw, llvm_type(dtype), width), dtype)
        vector = f"<{width} x {kind}>"
        if stride == 1 and mask is None:
            raw = self.let(f"load {vector}, ptr {pointer}, align {align}")
        elif stride == 1:
            suffix = _suffix(dtype, width)
            self.declarations.add(
                f"declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32 immarg, <{width} x i1>, {vector})"
            )
            raw = self.let(
                f"call {vector} @llvm.masked.load.{suffix}.p0(ptr {pointer}, i32 {align}, "
                f"<{width} x i1> {mask}, {vector} zeroinitializer)"
            )
        else:
            raw = self.gather(self._vector_pointers(pointer, kind, stride, width), dtype, width, mask)
        if dtype.kind == "b":
            raw = self.let(f"icmp ne {vector} {raw}, zeroinitializer")
        return Value(raw, dtype)

    def gather(self, pointers: str, dtype: DType, width: int, mask: str | None) -> str:
        """The raw elements at a vector of pointers."""
        kind = memory_type(dtype)
        vector, suffix = f"<{width} x {kind}>", _suffix(dtype, width)
        mask = mask or "<" + ", ".join("i1 true" for _ in range(width)) + ">"
        self.declarations.add(
            f"declare {vector} @llvm.masked.gather.{suffix}.v{width}p0"
            f"(<{width} x ptr>, i32 immarg, <{width} x i1>, {vector})"
        )
        return self.let(
            f"call {vector} @llvm.masked.gather.{suffix}.v{width}p0(<{width} x ptr> {pointers}, "
            f"i32 {dtype.itemsize}, <{width} x i1> {mask}, {vector} zeroinitializer)"
        )

    def store(self, value: Value, pointer: str, stride: Int, width: int, mask: str | None = None) -> None:
        """Write `width` elements to `pointer`, `stride` elements apart."""
        dtype, raw = value.dtype, value.ref
        kind = memory_type(dtype)
        vector = f"<{width} x {kind}>" if width > 1 else kind
        if dtype.kind == "b":
            raw = self.let(f"zext {f'<{width} x i1>' if width > 1 else 'i1'} {raw} to {vector}")
        align = dtype.itemsize
        if width == 1 or (stride == 1 and mask is None):
            self.line(f"store {vector} {raw}, ptr {pointer}, align {align}")
            return
        suffix = _suffix(dtype, width)
        if stride == 1:
            self.declarations.add(
                f"declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32 immarg, <{width} x i1>)"
            )
            self.line(
                f"call void @llvm.masked.store.{suffix}.p0({vector} {raw}, ptr {pointer}, "
                f"i32 {align}, <{width} x i1> {mask})"
            )
            return
        pointers = self._vector_pointers(pointer, kind, stride, width)
        mask = mask or "<" + ", ".join("i1 true" for _ in range(width)) + ">"
        self.declarations.add(
            f"declare void @llvm.masked.scatter.{suffix}.v{width}p0({vector}, <{width} x ptr>, "
            f"i32 immarg, <{width} x i1>)"
        )
        self.line(
            f"call void @llvm.masked.scatter.{suffix}.v{width}p0({vector} {raw}, <{width} x ptr> {pointers}, "
            f"i32 {align}, <{width} x i1> {mask})"
        )


def _has_rounding(target: Target) -> bool:
    """Whether the target rounds to whole numbers in one instruction (x86: SSE4.1, or any AVX)."""
    return target.architecture != "x86_64" or target.vector_bits > 128 or "+sse4.1" in target.features


def _suffix(dtype: DType, width: int) -> str:
    bits = dtype.itemsize * 8
    return f"v{width}{'f' if dtype.kind == 'f' else 'i'}{bits}"


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


class BodyCode:
    """Emits a body at points of the space; lane-invariant instructions once, outside the vector loop."""

    def __init__(self, function: Function, body: Body, vector: int, anchor: Value | None = None):
        self.function = function
        self.body = body
        self.vector = vector
        self.invariant = invariant(function, body, vector)
        self.rows: dict[int, str] = {}
        self.outside: dict[int, Value] = {}

    def hoist(self, point: Point) -> None:
        """Evaluate at `point` (outside the vector loop) what is the same in all lanes."""
        self.outside = {}
        for number, instruction in enumerate(self.body.code):
            if self.invariant[number]:
                self.outside[number] = self._emit(instruction, point, self.outside)
        self.rows = {}
        for number, instruction in enumerate(self.body.code):
            if instruction[0] == "take" and self.invariant[instruction[2]]:
                self.rows[number] = self._row_offset(instruction, point)

    def run(self, point: Point, anchor: Value | None = None) -> dict[int, Value]:
        """Emit the rest at `point` and the stores; returns all values."""
        values = dict(self.outside)
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
            stride = self.function.stride(access, self.vector)
            self.function.store(values[value], point.pointer(access), stride, point.width, point.mask)
        return values

    def _emit(self, instruction: tuple, point: Point, values: dict[int, Value]) -> Value:
        f, width = self.function, point.width
        builder = f.builder(width)
        kind = instruction[0]
        if kind == "op":
            return instruction[1].scalar(builder, *(values[i] for i in instruction[2]))
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
            if dtype is not float64:
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
        if dtype is bool_:
            raw = f.let(f"icmp ne <{width} x i8> {raw}, zeroinitializer")
        return Value(raw, dtype)
