"""float16 and bfloat16 in scalar code: in memory 16 bits, in a register the same number as float32.

A register that holds a float16 or bfloat16 value holds a float32 that the type can represent. So comparing, selecting
and taking the greater need no conversion; arithmetic runs in float32, and its result is rounded (`rounded`) before it
counts as a value of the type. Rounding is to nearest, ties to even; subnormal numbers are kept, a NaN stays one.

Everything is written in the integer vocabulary of the builder, which every target has. Where the target converts
float16 in one instruction (`has_half`) that is used: the bits are the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...dtypes import DType, bfloat16, bool_, float16, float32, float64, int32, uint16, uint32
from ..base import Value

if TYPE_CHECKING:
    from .scalar import LLVMScalarBuilder

#: float16: the smallest normal number, 2**16 above the largest one, and half, whose neighbours are 2**-24 apart
SMALLEST_NORMAL, TOO_LARGE, HALF = 2.0**-14, 2.0**16, 0.5
#: what the exponent of a float32 exceeds that of the same float16 by
REBIAS = 127 - 15
#: widths of vectors of float32 that become bfloat16 in one instruction where the target has it
SHORT = (8, 16)
#: the processor's class of subnormal numbers
SUBNORMAL = 0x20


def rounded(b: LLVMScalarBuilder, a: Value, dtype: DType) -> Value:
    """The float32 or float64 `a` as a value of `dtype`, rounded once."""
    if a.dtype is float64:
        a = _rounded_to_odd(b, a)
    if dtype is bfloat16:
        if b.has_short and b.width in SHORT:
            tiny, usual = _subnormal(b, a), _short(b, a)
            (bits,) = b.rarely(tiny, lambda: (_upper(b, _nearest(b, b.bitcast(a, uint32), 16)),), (usual,))
            return from_memory(b, bits.ref, bfloat16)
        bits = _nearest(b, b.bitcast(a, uint32), 16)
        quiet = b.select(b.ne(a, a), b.const(math.nan, float32), b.bitcast(bits, float32))
        return Value(quiet.ref, bfloat16)
    if b.has_half:
        narrow = b.emit(f"fptrunc {b.llvm_type(float32)} {a.ref} to {_half_type(b)}", float16)
        return b.emit(f"fpext {_half_type(b)} {narrow.ref} to {b.llvm_type(float32)}", float16)
    size = b.abs(a)
    normal = b.bitcast(_nearest(b, b.bitcast(size, uint32), 13), float32)
    infinity = b.const(math.inf, float32)
    normal = b.select(b.ge(normal, b.const(TOO_LARGE, float32)), infinity, normal)
    half = b.const(HALF, float32)
    small = b.sub(b.add(size, half), half)
    size = b.select(b.lt(size, b.const(SMALLEST_NORMAL, float32)), small, normal)
    return Value(b.select(b.ne(a, a), a, b.copysign(size, a)).ref, float16)


def multiply_pairs(b: LLVMScalarBuilder, x: Value, y: Value, total: Value) -> Value:
    """`total` plus both products of the pairs of bfloat16 that every lane of x and y holds in the bits of a float32.

    The processor treats subnormal numbers as 0 here.
    """
    vector, pairs = b.llvm_type(float32), f"<{2 * b.width} x bfloat>"
    name = f"@llvm.x86.avx512bf16.dpbf16ps.{32 * b.width}"
    b.declarations.add(f"declare {vector} {name}({vector}, {pairs}, {pairs})")
    left, right = (b.emit(f"bitcast {vector} {value.ref} to {pairs}", bfloat16).ref for value in (x, y))
    return b.emit(f"call {vector} {name}({vector} {total.ref}, {pairs} {left}, {pairs} {right})", float32)


def multiply_pairs_apart(b: LLVMScalarBuilder, x: Value, y: Value, total: Value) -> Value:
    """The same by ordinary multiply-adds, the first element of a pair before the second."""

    def first(value: Value) -> Value:
        return b.bitcast(b.shl(b.bitcast(value, uint32), b.const(16, uint32)), float32)

    def second(value: Value) -> Value:
        return b.bitcast(b.and_(b.bitcast(value, uint32), b.const(0xFFFF0000, uint32)), float32)

    return b.fma(second(x), second(y), b.fma(first(x), first(y), total))


def narrowed(b: LLVMScalarBuilder, low: Value, high: Value) -> Value:
    """Two vectors of float32, rounded to bfloat16, as one in whose lanes lie the elements of `low`, then of `high`.

    The processor's own instruction takes subnormal numbers for 0.
    """
    vector = b.llvm_type(float32)
    if b.has_short and b.width == max(SHORT):
        kind, name = f"<{2 * b.width} x bfloat>", f"@llvm.x86.avx512bf16.cvtne2ps2bf16.{32 * b.width}"
        b.declarations.add(f"declare {kind} {name}({vector}, {vector})")
        both = b.emit(f"call {kind} {name}({vector} {high.ref}, {vector} {low.ref})", bfloat16)
        return b.emit(f"bitcast {kind} {both.ref} to {vector}", float32)
    words = b.llvm_type(uint16)
    parts = [to_memory(b, rounded(b, value, bfloat16)) for value in (low, high)]
    order = ", ".join(f"i32 {lane}" for lane in range(2 * b.width))
    both = b.emit(f"shufflevector {words} {parts[0]}, {words} {parts[1]}, <{2 * b.width} x i32> <{order}>", uint16)
    return b.emit(f"bitcast <{2 * b.width} x i16> {both.ref} to {vector}", float32)


def paired(b: LLVMScalarBuilder, x: Value, y: Value) -> list[Value]:
    """The pairs of the bfloat16 elements of x and y at the same place, in two vectors."""
    vector, words, count = b.llvm_type(float32), f"<{2 * b.width} x i16>", 2 * b.width
    left, right = (b.emit(f"bitcast {vector} {value.ref} to {words}", uint16).ref for value in (x, y))
    found = []
    for first in (0, b.width):
        order = ", ".join(f"i32 {first + lane // 2 + lane % 2 * count}" for lane in range(count))
        mixed = b.emit(f"shufflevector {words} {left}, {words} {right}, <{count} x i32> <{order}>", uint16)
        found.append(b.emit(f"bitcast {words} {mixed.ref} to {vector}", float32))
    return found


def _short(b: LLVMScalarBuilder, a: Value) -> Value:
    """The bits of the float32 `a` as a bfloat16 by the processor's own instruction, which takes subnormals for 0."""
    source, result = b.llvm_type(float32), f"<{b.width} x bfloat>"
    name = f"@llvm.x86.avx512bf16.cvtneps2bf16.{32 * b.width}"
    b.declarations.add(f"declare {result} {name}({source})")
    short = b.emit(f"call {result} {name}({source} {a.ref})", bfloat16)
    return b.emit(f"bitcast {result} {short.ref} to {b.llvm_type(uint16)}", uint16)


def _subnormal(b: LLVMScalarBuilder, a: Value) -> Value:
    """Whether the float32 `a` is a subnormal number."""
    kind, answer = b.llvm_type(float32), b.llvm_type(bool_)
    name = f"@llvm.x86.avx512.fpclass.ps.{32 * b.width}"
    b.declarations.add(f"declare {answer} {name}({kind}, i32 immarg)")
    return b.emit(f"call {answer} {name}({kind} {a.ref}, i32 {SUBNORMAL})", bool_)


def _nearest(b: LLVMScalarBuilder, bits: Value, dropped: int) -> Value:
    """The bits of a float32 with the last `dropped` ones rounded away, to nearest, ties to even."""
    last = b.and_(b.lshr(bits, b.const(dropped, uint32)), b.const(1, uint32))
    up = b.add(b.add(bits, b.const((1 << dropped - 1) - 1, uint32)), last)
    return b.and_(up, b.const((1 << 32) - (1 << dropped), uint32))


def _upper(b: LLVMScalarBuilder, bits: Value) -> Value:
    """The upper 16 of 32 bits."""
    return b.cast(b.lshr(bits, b.const(16, uint32)), uint16)


def _rounded_to_odd(b: LLVMScalarBuilder, a: Value) -> Value:
    """A float32 next to the float64 `a`: of two, the one with an odd last bit, so that rounding again rounds right."""
    near = b.cast(a, float32)
    back = b.cast(near, float64)
    bits = b.bitcast(near, uint32)
    bits = b.select(b.gt(b.abs(back), b.abs(a)), b.sub(bits, b.const(1, uint32)), bits)
    inexact = b.or_(b.lt(back, a), b.gt(back, a))
    return b.bitcast(b.select(inexact, b.or_(bits, b.const(1, uint32)), bits), float32)


def from_number(b: LLVMScalarBuilder, a: Value, dtype: DType) -> Value:
    """The number `a` of any other dtype as a value of `dtype`; integers of 64 bits go by way of float64."""
    if a.dtype.is_half:
        a = Value(a.ref, float32)
    elif a.dtype.kind != "f":
        a = b.cast(a, float64 if a.dtype.itemsize > 2 else float32)
    return rounded(b, a, dtype)


def to_memory(b: LLVMScalarBuilder, a: Value) -> str:
    """The bits, as uint16, of a value of float16 or bfloat16."""
    wide = Value(a.ref, float32)
    if a.dtype is bfloat16:
        return _upper(b, b.bitcast(wide, uint32)).ref
    if b.has_half:
        narrow = b.emit(f"fptrunc {b.llvm_type(float32)} {a.ref} to {_half_type(b)}", float16)
        return b.emit(f"bitcast {_half_type(b)} {narrow.ref} to {b.llvm_type(uint16)}", uint16).ref
    size, half = b.abs(wide), b.const(HALF, float32)
    bits = b.bitcast(size, int32)
    normal = b.sub(b.ashr(bits, b.const(13, int32)), b.const(REBIAS << 10, int32))
    small = b.sub(b.bitcast(b.add(size, half), int32), b.bitcast(half, int32))
    result = b.select(b.lt(size, b.const(SMALLEST_NORMAL, float32)), small, normal)
    result = b.select(b.eq(size, b.const(math.inf, float32)), b.const(0x7C00, int32), result)
    result = b.select(b.ne(wide, wide), b.const(0x7E00, int32), result)
    sign = b.and_(b.lshr(b.bitcast(wide, uint32), b.const(16, uint32)), b.const(0x8000, uint32))
    return b.cast(b.or_(b.cast(result, uint32), sign), uint16).ref


def from_memory(b: LLVMScalarBuilder, raw: str, dtype: DType) -> Value:
    """The value of float16 or bfloat16 whose bits are the uint16 `raw`."""
    if dtype is float16 and b.has_half:
        narrow = b.emit(f"bitcast {b.llvm_type(uint16)} {raw} to {_half_type(b)}", float16)
        return b.emit(f"fpext {_half_type(b)} {narrow.ref} to {b.llvm_type(float32)}", float16)
    bits = b.cast(Value(raw, uint16), uint32)
    if dtype is bfloat16:
        return Value(b.bitcast(b.shl(bits, b.const(16, uint32)), float32).ref, bfloat16)
    size = b.shl(b.and_(bits, b.const(0x7FFF, uint32)), b.const(13, uint32))
    scaled = b.mul(b.bitcast(size, float32), b.const(2.0**REBIAS, float32))  # exact, subnormal ones too
    special = b.bitcast(b.or_(size, b.const(0x7F800000, uint32)), float32)
    size = b.select(b.ge(b.and_(bits, b.const(0x7FFF, uint32)), b.const(0x7C00, uint32)), special, scaled)
    sign = b.shl(b.and_(bits, b.const(0x8000, uint32)), b.const(16, uint32))
    return Value(b.bitcast(b.or_(b.bitcast(size, uint32), sign), float32).ref, float16)


def _half_type(b: LLVMScalarBuilder) -> str:
    return "half" if b.width == 1 else f"<{b.width} x half>"
