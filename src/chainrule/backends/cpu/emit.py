"""`Function`: builds the LLVM IR text of one kernel: arguments, loops, loads and stores of a vector of elements.

Integers known while emitting are Python ints, others are SSA names (strings); `add` and `mul` fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...compiler.kernel import LANES, LINE, ArgumentLayout, Kernel
from ...dtypes import DType
from ..base import Value
from . import half
from .scalar import LLVMScalarBuilder
from .scalar import element_type as llvm_type
from .toolchain import Target

Int = int | str
Values = Callable[[], list[str]]


def memory_type(dtype: DType) -> str:
    """LLVM type of one element in memory (bool is a byte, float16 and bfloat16 are the bits)."""
    return "i8" if dtype.kind == "b" else "i16" if dtype.is_half else llvm_type(dtype)


class Loop:
    """An open loop: its index, the carried values inside, and after closing their final values."""

    def __init__(self, index: str, values: list[str]):
        self.index = index
        self.values = values
        self.next: Sequence[Int] = list(values)


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
        self.past: set[int] = set()  # accesses whose whole vectors are being written past the caches
        self.first_extra = 0  # where the numbers of the kernel begin: of those in step, that which is being emitted
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
                self.lines, width, target.has_fma, f"w{width}_", _has_rounding(target), True, self._entered,
                target.has_half, target.has_bfloat16_products, target.has_ranges, target.tables,
            )  # fmt: skip
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
        return self.argument(self.layout.extra + self.first_extra + number)

    def size(self, axis: int) -> Int:
        if self.kernel.baked and axis > 0:
            return self.kernel.sizes[axis]
        return self.argument(self.layout.sizes[axis])

    def stride(self, access: int, axis: int) -> Int:
        stride = self.kernel.accesses[access].strides[axis]
        known = self.kernel.baked and not (stride and axis == self.kernel.free_axis)
        if known or (axis == self.kernel.vector and stride in (0, 1)):
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
        if name is None and access in self.kernel.scratch:
            name = self._bases[access] = f"%base{access}"
            row = -(-self.kernel.sizes[-1] // LANES) * LANES
            kind = memory_type(self.kernel.accesses[access].dtype)
            self.entry.append(f"  {name} = alloca [{row} x {kind}], align {LINE}")
        elif name is None:
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

    def prefetch(self, pointer: str, write: bool = False, near: bool = True) -> None:
        """Ask for a cache line that will be read, or written, soon; any address will do.

        Not `near`: into the second-level cache only, which costs nothing where it is there already.
        """
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
        self.line(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 {int(write)}, i32 {3 if near else 2}, i32 1)")

    def rows_ahead(self, access: int) -> str:
        """Elements from a place in an operand to that as many rows behind as this call works on."""
        rows, name = "%rows_ahead", f"%ahead{access}"
        scale = self.argument(self.layout.scale)
        if not any(line.startswith(f"  {rows} =") for line in self.entry):
            self.entry += [f"  {rows}_1 = sub i64 %hi, %lo", f"  {rows} = mul i64 {rows}_1, {scale}"]
        if not any(line.startswith(f"  {name} =") for line in self.entry):
            self.entry.append(f"  {name} = mul i64 {rows}, {self.stride(access, 0)}")
        return name

    # --- past the caches --------------------------------------------------------------------------

    def may_go_past(self) -> set[int]:
        """The results that the kernel writes past the caches, if this target can."""
        return set(self.kernel.past) if self.target.architecture == "x86_64" else set()

    def begin_lines(self, accesses: Sequence[int]) -> str:
        """Whether this call's parts of operands begin with cache lines: an i1, found on entry."""
        together = ""
        for access in accesses:
            begin = self.kernel.accesses[access].dtype.itemsize * int(self.kernel.vector == 0)
            base, scale = self.base(access), self.argument(self.layout.scale)
            name = f"%line{access}"
            self.entry += [
                f"  {name}_n = ptrtoint ptr {base} to i64", f"  {name}_m = mul i64 %lo, {scale}",
                f"  {name}_o = mul i64 {name}_m, {begin}", f"  {name}_s = add i64 {name}_n, {name}_o",
                f"  {name}_r = and i64 {name}_s, {LINE - 1}",
            ]  # fmt: skip
            if together:
                self.entry.append(f"  {name}_t = or i64 {together}, {name}_r")
            together = f"{name}_t" if together else f"{name}_r"
        self.entry.append(f"  %lines = icmp eq i64 {together}, 0")
        return "%lines"

    def both_ways(self, emit: Callable[[], None]) -> None:
        """The code of `emit`, and where there are results that may go past the caches, the same that lets them."""
        past = self.may_go_past()
        if not past:
            emit()
            return
        aligned = self.begin_lines(sorted(past))
        with self.when(aligned):
            self.past = past
            emit()
            self.past = set()
            self.fence()
        with self.when(self.let(f"xor i1 {aligned}, true")):
            emit()

    def fence(self) -> None:
        """Let what went past the caches be seen by others in order."""
        self.declarations.add("declare void @llvm.x86.sse.sfence()")
        self.line("call void @llvm.x86.sse.sfence()")

    # --- control flow -----------------------------------------------------------------------------

    @contextmanager
    def loop(self, start: Int, stop: Int, step: Int = 1, carried: Sequence[tuple[str, Int]] = ()) -> Iterator[Loop]:
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

    def either(self, condition: str, kind: str, first: Values, second: Values) -> list[str]:
        """The values, of type `kind`, that the code of `first` gives if the i1 `condition` holds, else of `second`."""
        self._count += 1
        tag = f"B{self._count}"
        self.line(f"br i1 {condition}, label %{tag}.first, label %{tag}.second")
        made = []
        for name, values in (("first", first), ("second", second)):
            self.label(f"{tag}.{name}")
            made.append((values(), self.block))
            self.line(f"br label %{tag}.end")
        self.label(f"{tag}.end")
        (left, after_left), (right, after_right) = made
        return [self.let(f"phi {kind} [ {a}, %{after_left} ], [ {b}, %{after_right} ]") for a, b in zip(left, right)]

    def side_by_side(self, parts: Sequence[Callable[[], Any]]) -> list[Any]:
        """Emit `parts`, which do the same in different places, line by line in turn; their results.

        A processor holds a limited number of operations that wait for others: fewer wait if those around them come
        from other chains. Parts that branch follow one another.
        """
        start, block = len(self.lines), self.block
        texts, results = [], []
        for part in parts:
            place = len(self.lines)
            results.append(part())
            texts.append(self.lines[place:])
        if self.block == block and len({len(text) for text in texts}) == 1:
            self.lines[start:] = [line for together in zip(*texts) for line in together]
        return results

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
            raw = self.from_memory(raw, dtype, 1)
            return Value(self.splat(raw, llvm_type(dtype), width), dtype)
        if stride == 1:
            raw = self.load_raw(pointer, dtype, width, mask)
        elif mask is None and self.interleaved(stride, dtype, width):
            raw = self._load_interleaved(pointer, dtype, int(stride), width)
        else:
            raw = self.gather(self._vector_pointers(pointer, kind, stride, width), dtype, width, mask)
        return Value(self.from_memory(raw, dtype, width), dtype)

    def interleaved(self, stride: Int, dtype: DType, width: int) -> bool:
        """Whether elements a few places apart are better read by whole vectors and shuffles than one by one."""
        return (
            isinstance(stride, int) and 2 <= stride <= 4 and width == 16
            and dtype.itemsize == 4 and self.target.vector_bits >= 256
        )  # fmt: skip

    def load_rows(self, pointer: str, dtype: DType, length: int, width: int) -> list[Value]:
        """`width` rows of `length` elements each, one behind the other: for every place in a row a vector."""
        parts = [self.load_raw(self.advance(pointer, dtype, part * width), dtype, width) for part in range(length)]
        found = []
        for place in range(length):
            wanted = [divmod(row * length + place, width) for row in range(width)]
            found.append(Value(self._picked(parts, dtype, wanted, width), dtype))
        return found

    def store_rows(self, values: Sequence[Value], pointer: str, width: int) -> None:
        """Write `width` rows one behind the other, given a vector for every place in a row."""
        dtype, length = values[0].dtype, len(values)
        parts = [value.ref for value in values]
        for part in range(length):
            wanted = [divmod(part * width + lane, length)[::-1] for lane in range(width)]
            raw = self._picked(parts, dtype, wanted, width)
            self.store_raw(raw, self.advance(pointer, dtype, part * width), dtype, width)

    def _picked(self, parts: Sequence[str], dtype: DType, wanted: Sequence[tuple[int, int]], width: int) -> str:
        """A vector whose lanes are (part, lane) of several vectors."""
        vector = f"<{width} x {memory_type(dtype)}>"
        result = "poison"
        for number, part in enumerate(parts):
            lanes = (f"i32 {width + lane if source == number else n}" for n, (source, lane) in enumerate(wanted))
            result = self.let(f"shufflevector {vector} {result}, {vector} {part}, <{width} x i32> <{', '.join(lanes)}>")
        return result

    def _load_interleaved(self, pointer: str, dtype: DType, stride: int, width: int) -> str:
        """Every `stride`-th of the elements that as many vectors hold; nothing behind the last one is touched."""
        vector = f"<{width} x {memory_type(dtype)}>"
        result = "poison"
        for part in range(stride):
            used = [n for n in range(width) if n * stride // width == part]
            last = (width - 1) * stride - part * width + 1  # elements up to the last one wanted
            mask = self.mask(last, width) if last < width else None
            raw = self.load_raw(self.advance(pointer, dtype, part * width), dtype, width, mask)
            picked = ", ".join(f"i32 {width + n * stride % width if n in used else n}" for n in range(width))
            result = self.let(f"shufflevector {vector} {result}, {vector} {raw}, <{width} x i32> <{picked}>")
        return result

    def _store_interleaved(self, raw: str, pointer: str, dtype: DType, stride: int, width: int) -> None:
        """Write elements `stride` places apart and nothing between them."""
        kind = memory_type(dtype)
        vector, suffix = f"<{width} x {kind}>", _suffix(dtype, width)
        self.declarations.add(f"declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32 immarg, <{width} x i1>)")
        for part in range(stride):
            places = [part * width + n for n in range(width)]
            picked = ", ".join(f"i32 {place // stride}" for place in places)
            on = ", ".join(f"i1 {'false' if place % stride else 'true'}" for place in places)
            spread = self.let(f"shufflevector {vector} {raw}, {vector} poison, <{width} x i32> <{picked}>")
            here = self.advance(pointer, dtype, part * width)
            self.line(
                f"call void @llvm.masked.store.{suffix}.p0({vector} {spread}, ptr {here}, "
                f"i32 {dtype.itemsize}, <{width} x i1> <{on}>)"
            )

    def load_raw(self, pointer: str, dtype: DType, width: int, mask: str | None = None) -> str:
        """`width` elements side by side, as they lie in memory; lanes that `mask` turns off are 0."""
        vector, align = f"<{width} x {memory_type(dtype)}>", dtype.itemsize
        if mask is None:
            return self.let(f"load {vector}, ptr {pointer}, align {align}")
        if mask == self.mask(1, width):
            single = self.let(f"load {memory_type(dtype)}, ptr {pointer}, align {align}")
            return self.let(f"insertelement {vector} zeroinitializer, {memory_type(dtype)} {single}, i64 0")
        pieces = self._pieces(mask, width) if self.target.vector_bits < 256 or dtype.itemsize < 4 else []
        if pieces:
            return self._load_pieces(pointer, dtype, width, pieces)
        suffix = _suffix(dtype, width)
        self.declarations.add(
            f"declare {vector} @llvm.masked.load.{suffix}.p0(ptr, i32 immarg, <{width} x i1>, {vector})"
        )
        return self.let(
            f"call {vector} @llvm.masked.load.{suffix}.p0(ptr {pointer}, i32 {align}, "
            f"<{width} x i1> {mask}, {vector} zeroinitializer)"
        )

    def _load_pieces(self, pointer: str, dtype: DType, width: int, pieces: list[tuple[int, int]]) -> str:
        """Elements of which only the first are read, where LLVM would read them one by one."""
        kind, result = memory_type(dtype), "zeroinitializer"
        vector = f"<{width} x {kind}>"
        for first, size in pieces:
            part = self.load_raw(self.advance(pointer, dtype, first), dtype, size)
            spread = ", ".join(f"i32 {n - first if first <= n < first + size else size}" for n in range(width))
            part = self.let(
                f"shufflevector <{size} x {kind}> {part}, <{size} x {kind}> poison, <{width} x i32> <{spread}>"
            )
            order = ", ".join(f"i32 {width + n if first <= n < first + size else n}" for n in range(width))
            result = self.let(f"shufflevector {vector} {result}, {vector} {part}, <{width} x i32> <{order}>")
        return result

    def from_memory(self, raw: str, dtype: DType, width: int) -> str:
        """Elements as they lie in memory, as values in a register."""
        if dtype.is_half:
            return half.from_memory(self.builder(width), raw, dtype).ref
        if dtype.kind != "b":
            return raw
        vector, zero = (f"<{width} x i8>", "zeroinitializer") if width > 1 else ("i8", "0")
        return self.let(f"icmp ne {vector} {raw}, {zero}")

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

    def store(
        self, value: Value, pointer: str, stride: Int, width: int, mask: str | None = None, past: bool = False
    ) -> None:
        """Write `width` elements to `pointer`, `stride` elements apart; `past` the caches if they are whole lines."""
        dtype, raw = value.dtype, value.ref
        kind = memory_type(dtype)
        vector = f"<{width} x {kind}>" if width > 1 else kind
        if dtype.kind == "b":
            raw = self.let(f"zext {f'<{width} x i1>' if width > 1 else 'i1'} {raw} to {vector}")
        elif dtype.is_half:
            raw = half.to_memory(self.builder(width), value)
        align = dtype.itemsize
        if past and width > 1 and mask is None:
            self.declarations.add("!0 = !{i32 1}")
            self.line(f"store {vector} {raw}, ptr {pointer}, align {LINE}, !nontemporal !0")
            return
        if width == 1 or (stride == 1 and mask is None):
            self.line(f"store {vector} {raw}, ptr {pointer}, align {align}")
            return
        if stride == 1:
            self.store_raw(raw, pointer, dtype, width, mask)
            return
        if mask is None and self.target.vector_bits >= 512 and self.interleaved(stride, dtype, width):
            self._store_interleaved(raw, pointer, dtype, int(stride), width)
            return
        suffix = _suffix(dtype, width)
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

    def store_raw(self, raw: str, pointer: str, dtype: DType, width: int, mask: str | None = None) -> None:
        """Write `width` elements, given as they lie in memory, side by side."""
        vector, align = f"<{width} x {memory_type(dtype)}>", dtype.itemsize
        if mask is None:
            self.line(f"store {vector} {raw}, ptr {pointer}, align {align}")
            return
        if mask == self.mask(1, width):
            # LLVM (22.1, without IR passes) would store the element as wide as it was before it was truncated
            single = self.let(f"extractelement {vector} {raw}, i64 0")
            self.line(f"store {memory_type(dtype)} {single}, ptr {pointer}, align {align}")
            return
        pieces, kind = self._pieces(mask, width), memory_type(dtype)
        for first, size in pieces:
            places = ", ".join(f"i32 {n}" for n in range(first, first + size))
            part = self.let(f"shufflevector {vector} {raw}, {vector} poison, <{size} x i32> <{places}>")
            self.line(f"store <{size} x {kind}> {part}, ptr {self.advance(pointer, dtype, first)}, align {align}")
        if pieces:
            return
        suffix = _suffix(dtype, width)
        self.declarations.add(f"declare void @llvm.masked.store.{suffix}.p0({vector}, ptr, i32 immarg, <{width} x i1>)")
        self.line(
            f"call void @llvm.masked.store.{suffix}.p0({vector} {raw}, ptr {pointer}, "
            f"i32 {align}, <{width} x i1> {mask})"
        )

    def _pieces(self, mask: str, width: int) -> list[tuple[int, int]]:
        """(first lane, lanes) of parts of 8, 4, 2 and 1 lanes that `mask` turns on, if these are known to be the first.

        None where masks have registers of their own. Where they are vectors, a store with one takes a dozen cycles on
        some hosts, and what it wrote is late to be read; or there are none, and LLVM goes element by element.
        """
        count = mask.count("true")
        if self.target.vector_bits >= 512 or mask != self.mask(count, width):
            return []
        found, done = [], 0
        while done < count:
            size = 1 << (count - done).bit_length() - 1
            found.append((done, size))
            done += size
        return found


def always_masked(f: Function) -> bool:
    """Whether every vector of a kernel is masked, whole ones too: one copy of the code instead of two.

    A generic kernel is wanted at once, and on targets with mask registers a mask costs next to nothing.
    """
    return not f.kernel.baked and f.target.vector_bits >= 512


def whole_vectors(f: Function, begin: Int, end: Int, width: int) -> Int:
    """The end of the part of begin..end that whole vectors of `width`, a power of two, cover."""
    span = f.sub(end, begin)
    if isinstance(span, int):
        return f.add(begin, span // width * width)
    return f.add(begin, f.let(f"and i64 {span}, {-width}"))


def _has_rounding(target: Target) -> bool:
    """Whether the target rounds to whole numbers in one instruction (x86: SSE4.1, or any AVX)."""
    return target.architecture != "x86_64" or target.vector_bits > 128 or "+sse4.1" in target.features


def _suffix(dtype: DType, width: int) -> str:
    bits = dtype.itemsize * 8
    return f"v{width}{'f' if dtype.kind == 'f' and not dtype.is_half else 'i'}{bits}"
