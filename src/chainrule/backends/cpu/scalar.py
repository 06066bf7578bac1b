"""`LLVMScalarBuilder`: the scalar vocabulary as LLVM IR text, on vectors of any width.

The text is for LLVM's opaque pointers and needs no IR pass. There are no fast-math flags: every
operation rounds by itself, so an element's bits depend neither on the vector width nor on its
neighbours. Every intrinsic used has instructions of its own on the targets it is used for: no call
into a mathematical library is left in the machine code.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from ...dtypes import DType, bool_, float32, rounded_number
from ...errors import DTypeError
from ..base import ScalarBuilder, Value
from . import half, tables

_ELEMENT = {"float16": "float", "bfloat16": "float", "float32": "float", "float64": "double", "bool": "i1"}
_ARITHMETIC = frozenset(("fadd", "fsub", "fmul", "fdiv"))


def element_type(dtype: DType) -> str:
    """LLVM's name of one element of `dtype` in a register: bool is i1, float16 and bfloat16 are float."""
    return _ELEMENT.get(dtype.name) or f"i{8 * dtype.itemsize}"


def literal_text(value: bool | int | float, dtype: DType) -> str:
    """`value` as an LLVM constant of one element, exact: floats as hexadecimal bit patterns."""
    if dtype.kind == "f":
        number = float(value)
        if number != number:
            return "0x7FF8000000000000"
        if dtype.is_half:
            number = rounded_number(number, dtype)
        elif dtype is float32:  # LLVM writes a float as the double of the same value
            try:
                number = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                number = math.copysign(math.inf, number)
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    if dtype.kind == "b":
        return "true" if value else "false"
    bits = 8 * dtype.itemsize
    wrapped = int(value) & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


class LLVMScalarBuilder(ScalarBuilder):
    """Appends LLVM IR to `lines` for vectors ``<width x T>``, or scalars if `width` is 1.

    `fma` says that the target has fused multiply-add, `rounding` that it has instructions to round
    to whole numbers (x86: SSE4.1), `half` that it has instructions that convert float16 (x86: F16C);
    without them the operations are expanded, since LLVM would call a library; `short` that it has one that makes
    float32 bfloat16 (x86: AVX512-BF16), `scaling` that there are some for a * 2**n and for bounds of a magnitude
    (AVX512DQ), `tables` which kind it has for tables in registers, if any. `prefix` starts the names of all values:
    builders of one function need different ones, or one builder shared. ``declarations`` collects the declare lines
    that the module needs.

    With `branches`, code for rare cases (large angles) is jumped over where no element needs it. The
    code then consists of several basic blocks: ``block`` is the label of the last one once there is
    more than one, for the phi instructions of the caller, else None; `on_block` is called with each
    new label.
    """

    def __init__(
        self,
        lines: list[str],
        width: int,
        fma: bool = True,
        prefix: str = "v",
        rounding: bool = True,
        branches: bool = False,
        on_block: Callable[[str], None] | None = None,
        half: bool = False,
        short: bool = False,
        scaling: bool = False,
        tables: str = "",
    ):
        self.lines = lines
        self.width = width
        self.has_fma = fma
        self.has_rounding = rounding
        self.has_half = half
        self.has_short = short
        self.has_scaling = scaling
        self.tables, self.has_tables = tables, tables != ""
        self.prefix = prefix
        self.branches = branches
        self.on_block = on_block
        self.block: str | None = None
        self.declarations: set[str] = set()
        self._count = 0
        self._types: dict[DType, str] = {}

    # text

    def llvm_type(self, dtype: DType) -> str:
        """LLVM's name of a value of `dtype`: ``<16 x float>``, or ``float`` at width 1."""
        name = self._types.get(dtype)
        if name is None:
            element = element_type(dtype)
            name = self._types[dtype] = element if self.width == 1 else f"<{self.width} x {element}>"
        return name

    def suffix(self, dtype: DType) -> str:
        """The mangled type in the names of intrinsics: ``v16f32``, or ``f32`` at width 1."""
        bits = 1 if dtype is bool_ else 32 if dtype.is_half else 8 * dtype.itemsize
        element = ("f" if dtype.kind == "f" else "i") + str(bits)
        return element if self.width == 1 else f"v{self.width}{element}"

    def emit(self, text: str, dtype: DType) -> Value:
        """Append ``name = text`` with a fresh name."""
        ref = f"%{self.prefix}{self._count}"
        self._count += 1
        self.lines.append(f"  {ref} = {text}")
        return Value(ref, dtype)

    def intrinsic(self, name: str, arguments: tuple[Value, ...], flag: str = "") -> Value:
        """Call ``llvm.<name>`` on values of one dtype; `flag` is a trailing i1 constant."""
        dtype = arguments[0].dtype
        llvm = self.llvm_type(dtype)
        full = f"@llvm.{name}.{self.suffix(dtype)}"
        types = ", ".join([llvm] * len(arguments) + (["i1"] if flag else []))
        self.declarations.add(f"declare {llvm} {full}({types})")
        given = ", ".join([f"{llvm} {a.ref}" for a in arguments] + ([f"i1 {flag}"] if flag else []))
        return self.emit(f"call {llvm} {full}({given})", dtype)

    def const(self, value: bool | int | float, dtype: DType) -> Value:
        text = literal_text(value, dtype)
        if self.width > 1:
            text = f"splat ({element_type(dtype)} {text})"
        return Value(text, dtype, value)

    def splat(self, ref: str, dtype: DType) -> Value:
        """The scalar register `ref` in every lane."""
        if self.width == 1:
            return Value(ref, dtype)
        llvm, element = self.llvm_type(dtype), element_type(dtype)
        first = self.emit(f"insertelement {llvm} poison, {element} {ref}, i32 0", dtype)
        return self.emit(
            f"shufflevector {llvm} {first.ref}, {llvm} poison, <{self.width} x i32> zeroinitializer", dtype
        )

    def _binary(self, instruction: str, a: Value, b: Value) -> Value:
        if a.dtype is not b.dtype:
            raise DTypeError(f"{instruction}: operands are {a.dtype.name} and {b.dtype.name}")
        if a.dtype.is_half and instruction in _ARITHMETIC:
            raise DTypeError(f"{instruction}: arithmetic on {a.dtype.name} runs in float32")
        return self.emit(f"{instruction} {self.llvm_type(a.dtype)} {a.ref}, {b.ref}", a.dtype)

    def _float(self, name: str, a: Value) -> None:
        if a.dtype.kind != "f":
            raise DTypeError(f"{name} is for floating-point values, not {a.dtype.name}")

    # arithmetic

    def add(self, a: Value, b: Value) -> Value:
        return self._binary("fadd" if a.dtype.kind == "f" else "add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._binary("fsub" if a.dtype.kind == "f" else "sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._binary("fmul" if a.dtype.kind == "f" else "mul", a, b)

    def div(self, a: Value, b: Value) -> Value:
        self._float("div", a)
        return self._binary("fdiv", a, b)

    def neg(self, a: Value) -> Value:
        if a.dtype.kind == "f":
            return self.emit(f"fneg {self.llvm_type(a.dtype)} {a.ref}", a.dtype)
        return self.sub(self.const(0, a.dtype), a)

    def abs(self, a: Value) -> Value:
        if a.dtype.kind == "f":
            return self.intrinsic("fabs", (a,))
        return self.intrinsic("abs", (a,), "false") if a.dtype.kind == "i" else a

    def sqrt(self, a: Value) -> Value:
        self._float("sqrt", a)
        return self.intrinsic("sqrt", (a,))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        self._float("fma", a)
        if self.has_fma:
            return self.intrinsic("fma", (a, b, c))
        return self.add(self.mul(a, b), c)

    def scales(self, dtype: DType) -> bool:
        return self.has_scaling and dtype is float32 and self.width == 16

    def scale(self, a: Value, n: Value) -> Value:
        vector = self.llvm_type(a.dtype)
        full = "@llvm.x86.avx512.mask.scalef.ps.512"
        self.declarations.add(f"declare {vector} {full}({vector}, {vector}, {vector}, i16, i32 immarg)")
        given = f"{vector} {a.ref}, {vector} {n.ref}, {vector} zeroinitializer, i16 -1, i32 4"
        return self.emit(f"call {vector} {full}({given})", a.dtype)

    def within(self, a: Value, limit: float) -> Value:
        vector, bound = self.llvm_type(a.dtype), self.const(limit, a.dtype)
        full = "@llvm.x86.avx512.mask.range.ps.512"
        self.declarations.add(f"declare {vector} {full}({vector}, {vector}, i32 immarg, {vector}, i16, i32 immarg)")
        # 2: the lesser magnitude, with the sign of the first; of a number and NaN, the number
        given = f"{vector} {a.ref}, {vector} {bound.ref}, i32 2, {vector} zeroinitializer, i16 -1, i32 4"
        return self.emit(f"call {vector} {full}({given})", a.dtype)

    def look_up(self, table: Sequence[float], index: Value) -> Value:
        return tables.look_up(self, [f"float {literal_text(number, float32)}" for number in table], index)

    def minimum(self, a: Value, b: Value) -> Value:
        kind = a.dtype.kind
        if kind == "b":
            return self.and_(a, b)
        return self.intrinsic({"f": "minimum", "i": "smin", "u": "umin"}[kind], (a, b))

    def maximum(self, a: Value, b: Value) -> Value:
        kind = a.dtype.kind
        if kind == "b":
            return self.or_(a, b)
        return self.intrinsic({"f": "maximum", "i": "smax", "u": "umax"}[kind], (a, b))

    # rounding to whole numbers

    def floor(self, a: Value) -> Value:
        return self._whole("floor", a)

    def ceil(self, a: Value) -> Value:
        return self._whole("ceil", a)

    def trunc(self, a: Value) -> Value:
        return self._whole("trunc", a)

    def round_even(self, a: Value) -> Value:
        return self._whole("roundeven", a)

    def _whole(self, name: str, a: Value) -> Value:
        self._float(name, a)
        if self.has_rounding:
            return self.intrinsic(name, (a,))
        # |a| + 2^p - 2^p drops the fraction of |a| < 2^p, to nearest even; larger numbers are whole.
        dtype, magnitude = a.dtype, self.abs(a)
        big = self.const(2.0**23 if dtype is float32 else 2.0**52, dtype)
        whole = self.sub(self.add(magnitude, big), big)
        one, zero = self.const(1.0, dtype), self.const(0.0, dtype)
        if name == "trunc":
            whole = self.sub(whole, self.select(self.gt(whole, magnitude), one, zero))
        else:
            whole = self.copysign(whole, a)
            if name == "floor":
                whole = self.sub(whole, self.select(self.gt(whole, a), one, zero))
            elif name == "ceil":
                whole = self.add(whole, self.select(self.lt(whole, a), one, zero))
        return self.select(self.lt(magnitude, big), self.copysign(whole, a), a)

    def copysign(self, a: Value, b: Value) -> Value:
        self._float("copysign", a)
        return self.intrinsic("copysign", (a, b))

    # integers

    def _guarded(self, instruction: str, a: Value, b: Value) -> Value:
        """Quotient or remainder with divisors 0 and -1, which LLVM leaves undefined, replaced by 1."""
        dtype = a.dtype
        bad = self.eq(b, self.const(0, dtype))
        if dtype.kind == "i":
            bad = self.or_(bad, self.eq(b, self.const(-1, dtype)))
        sign = "s" if dtype.kind == "i" else "u"
        return self._binary(sign + instruction, a, self.select(bad, self.const(1, dtype), b))

    def _integer(self, name: str, a: Value) -> None:
        if a.dtype.kind not in "iu":
            raise DTypeError(f"{name} is for integers, not {a.dtype.name}")

    def idiv(self, a: Value, b: Value) -> Value:
        self._integer("idiv", a)
        zero = self.const(0, a.dtype)
        quotient = self._guarded("div", a, b)
        if a.dtype.kind == "i":
            quotient = self.select(self.eq(b, self.const(-1, a.dtype)), self.sub(zero, a), quotient)
        return self.select(self.eq(b, zero), zero, quotient)

    def irem(self, a: Value, b: Value) -> Value:
        self._integer("irem", a)
        return self._guarded("rem", a, b)  # any integer modulo the 1 that replaces 0 and -1 is 0

    def _shift(self, instruction: str, a: Value, count: Value) -> Value:
        self._integer(instruction, a)
        bits = 8 * a.dtype.itemsize
        if count.below is not None and count.below <= bits:
            return self._binary(instruction, a, count)
        if count.literal is not None:
            if 0 <= count.literal < bits:
                return self._binary(instruction, a, count)
            if instruction != "ashr":
                return self.const(0, a.dtype)
            return self._binary(instruction, a, self.const(bits - 1, a.dtype))
        llvm = self.llvm_type(a.dtype)
        limit = self.const(bits, a.dtype)
        inside = self.emit(f"icmp ult {llvm} {count.ref}, {limit.ref}", bool_)
        if instruction == "ashr":
            return self._binary(instruction, a, self.select(inside, count, self.const(bits - 1, a.dtype)))
        # an over-long shift is poison, but the select does not take it
        return self.select(inside, self._binary(instruction, a, count), self.const(0, a.dtype))

    def shl(self, a: Value, count: Value) -> Value:
        return self._shift("shl", a, count)

    def lshr(self, a: Value, count: Value) -> Value:
        return self._shift("lshr", a, count)

    def ashr(self, a: Value, count: Value) -> Value:
        return self._shift("ashr", a, count)

    def funnel(self, high: Value, low: Value, count: Value) -> Value:
        self._integer("funnel", high)
        return self.intrinsic("fshl", (high, low, count))

    def _bits(self, instruction: str, a: Value, b: Value) -> Value:
        if a.dtype.kind == "f":
            raise DTypeError(f"{instruction} is for integers and bool, not {a.dtype.name}")
        return self._binary(instruction, a, b)

    def and_(self, a: Value, b: Value) -> Value:
        result = self._bits("and", a, b)
        bounds = [bound for bound in (_below(a), _below(b)) if bound is not None]
        result.below = min(bounds, default=None)
        return result

    def or_(self, a: Value, b: Value) -> Value:
        return self._bits("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        result = self._bits("xor", a, b)
        bounds = _below(a), _below(b)
        if bounds[0] is not None and bounds[1] is not None:
            result.below = max(bounds[0], bounds[1])
        return result

    def not_(self, a: Value) -> Value:
        return self._bits("xor", a, self.const(True if a.dtype is bool_ else -1, a.dtype))

    # comparisons

    def _compare(self, relation: str, a: Value, b: Value) -> Value:
        kind = a.dtype.kind
        if kind == "f":
            text = "fcmp " + ("une" if relation == "ne" else "o" + relation)
        elif relation in ("eq", "ne"):
            text = "icmp " + relation
        else:
            text = "icmp " + ("s" if kind == "i" else "u") + relation
        return Value(self._binary(text, a, b).ref, bool_)

    def eq(self, a: Value, b: Value) -> Value:
        return self._compare("eq", a, b)

    def ne(self, a: Value, b: Value) -> Value:
        return self._compare("ne", a, b)

    def lt(self, a: Value, b: Value) -> Value:
        return self._compare("lt", a, b)

    def le(self, a: Value, b: Value) -> Value:
        return self._compare("le", a, b)

    def gt(self, a: Value, b: Value) -> Value:
        return self._compare("gt", a, b)

    def ge(self, a: Value, b: Value) -> Value:
        return self._compare("ge", a, b)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        if a.dtype is not b.dtype:
            raise DTypeError(f"select: operands are {a.dtype.name} and {b.dtype.name}")
        llvm = self.llvm_type(a.dtype)
        return self.emit(f"select {self.llvm_type(bool_)} {condition.ref}, {llvm} {a.ref}, {llvm} {b.ref}", a.dtype)

    def rarely(self, condition: Value, compute: Callable[[], tuple[Value, ...]], usual: tuple[Value, ...]):
        if not self.branches:
            return super().rarely(condition, compute, usual)
        # the caller's block has a name that is not known here: begin one that has
        name = f"{self.prefix}{self._count}"
        self._count += 1
        if self.width == 1:
            any_ref = condition.ref
        else:
            self.declarations.add(f"declare i1 @llvm.vector.reduce.or.v{self.width}i1(<{self.width} x i1>)")
            any_ref = f"%{name}.any"
            call = f"call i1 @llvm.vector.reduce.or.v{self.width}i1({self.llvm_type(bool_)} {condition.ref})"
            self.lines.append(f"  {any_ref} = {call}")
        self.lines.append(f"  br label %{name}.test")
        self._begin(f"{name}.test")
        self.lines.append(f"  br i1 {any_ref}, label %{name}.rare, label %{name}.join")
        self._begin(f"{name}.rare")
        computed = compute()
        merged = [self.select(condition, a, b) for a, b in zip(computed, usual, strict=True)]
        last = self.block  # `compute` may itself have branched
        self.lines.append(f"  br label %{name}.join")
        self._begin(f"{name}.join")
        return tuple(
            self.emit(f"phi {self.llvm_type(b.dtype)} [ {b.ref}, %{name}.test ], [ {a.ref}, %{last} ]", b.dtype)
            for a, b in zip(merged, usual, strict=True)
        )

    def _begin(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label
        if self.on_block is not None:
            self.on_block(label)

    # conversions

    def _convert(self, instruction: str, a: Value, dtype: DType) -> Value:
        return self.emit(f"{instruction} {self.llvm_type(a.dtype)} {a.ref} to {self.llvm_type(dtype)}", dtype)

    def cast(self, a: Value, dtype: DType) -> Value:
        source = a.dtype
        if source is dtype:
            return a
        if dtype is bool_:
            return self.ne(a, self.const(0, source))
        if dtype.is_half:
            return half.from_number(self, a, dtype)
        if source.is_half:
            return self.cast(Value(a.ref, float32), dtype)
        if source is bool_:
            return self._convert("uitofp" if dtype.kind == "f" else "zext", a, dtype)
        if source.kind == "f":
            if dtype.kind == "f":
                return self._convert("fpext" if dtype.itemsize > source.itemsize else "fptrunc", a, dtype)
            return self._saturate(a, dtype)
        if dtype.kind == "f":
            return self._convert("sitofp" if source.kind == "i" else "uitofp", a, dtype)
        if dtype.itemsize == source.itemsize:
            return Value(a.ref, dtype, a.literal)
        if dtype.itemsize < source.itemsize:
            return self._convert("trunc", a, dtype)
        result = self._convert("sext" if source.kind == "i" else "zext", a, dtype)
        result.below = _below(a) if source.kind == "u" else None
        return result

    def _saturate(self, a: Value, dtype: DType) -> Value:
        name = "fptosi" if dtype.kind == "i" else "fptoui"
        source, target = self.llvm_type(a.dtype), self.llvm_type(dtype)
        full = f"@llvm.{name}.sat.{self.suffix(dtype)}.{self.suffix(a.dtype)}"
        self.declarations.add(f"declare {target} {full}({source})")
        return self.emit(f"call {target} {full}({source} {a.ref})", dtype)

    def bitcast(self, a: Value, dtype: DType) -> Value:
        if a.dtype.itemsize != dtype.itemsize or bool_ in (a.dtype, dtype) or a.dtype.is_half or dtype.is_half:
            raise DTypeError(f"the bits of {a.dtype.name} cannot be read as {dtype.name}")
        if a.dtype is dtype:
            return a
        if a.dtype.kind != "f" and dtype.kind != "f":
            return Value(a.ref, dtype, a.literal)
        return self._convert("bitcast", a, dtype)


def _below(a: Value) -> int | None:
    """A power of two above the unsigned integer `a`, if one is known."""
    if a.literal is not None and a.literal >= 0 and a.dtype is not bool_:
        return 1 << int(a.literal).bit_length()
    return a.below
