"""Tables of 16 float32 numbers that stay in vector registers: looking one up goes nowhere near memory.

There are instructions for 16 indices at once (AVX-512), for 8 and half of the table (AVX2), and for single bytes of the
whole (NEON).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...dtypes import float32, int32
from ..base import Value

if TYPE_CHECKING:
    from .scalar import LLVMScalarBuilder

SIZE = 16
#: indices that the instruction of each kind of target takes
LANES = {"avx512": 16, "avx2": 8, "neon": 4}


def look_up(b: LLVMScalarBuilder, table: Sequence[str], index: Value) -> Value:
    """The numbers of `table`, LLVM's constants, that the lowest four bits of `index` name."""
    one = {"avx512": _avx512, "avx2": _avx2, "neon": _neon}[b.tables]
    lanes, width, ref = LANES[b.tables], b.width, index.ref
    if width == 1:
        ref, width = b.emit(f"insertelement <{lanes} x i32> poison, i32 {ref}, i64 0", int32).ref, lanes
    found = ""
    for first in range(0, width, lanes):
        part = one(b, table, _picked(b, "i32", ref, width, range(first, first + lanes)))
        part = _picked(b, "float", part, lanes, range(-first, width - first))
        found = _joined(b, found, part, width, first) if found else part
    if b.width == 1:
        return b.emit(f"extractelement <{lanes} x float> {found}, i64 0", float32)
    return Value(found, float32)


def _picked(b: LLVMScalarBuilder, element: str, ref: str, width: int, lanes: range) -> str:
    """The vector of those of the `width` lanes of another; of those that it has not, anything."""
    if lanes == range(width):
        return ref
    vector, order = f"<{width} x {element}>", ", ".join(f"i32 {n if 0 <= n < width else 'poison'}" for n in lanes)
    return b.emit(f"shufflevector {vector} {ref}, {vector} poison, <{len(lanes)} x i32> <{order}>", float32).ref


def _joined(b: LLVMScalarBuilder, before: str, behind: str, width: int, first: int) -> str:
    """The lanes of `before` up to `first`, then those of `behind`."""
    vector, order = f"<{width} x float>", ", ".join(f"i32 {n if n < first else width + n}" for n in range(width))
    return b.emit(f"shufflevector {vector} {before}, {vector} {behind}, <{width} x i32> <{order}>", float32).ref


def _avx512(b: LLVMScalarBuilder, table: Sequence[str], index: str) -> str:
    vector, name = "<16 x float>", "@llvm.x86.avx512.permvar.sf.512"
    b.declarations.add(f"declare {vector} {name}({vector}, <16 x i32>)")
    return b.emit(f"call {vector} {name}({vector} <{', '.join(table)}>, <16 x i32> {index})", float32).ref


def _avx2(b: LLVMScalarBuilder, table: Sequence[str], index: str) -> str:
    vector, name = "<8 x float>", "@llvm.x86.avx2.permps"
    b.declarations.add(f"declare {vector} {name}({vector}, <8 x i32>)")
    low, high = (
        b.emit(f"call {vector} {name}({vector} <{', '.join(half)}>, <8 x i32> {index})", float32).ref
        for half in (table[:8], table[8:])
    )
    sign = b.emit(f"shl <8 x i32> {index}, splat (i32 28)", int32).ref
    upper = b.emit(f"icmp slt <8 x i32> {sign}, zeroinitializer", int32).ref
    return b.emit(f"select <8 x i1> {upper}, {vector} {high}, {vector} {low}", float32).ref


def _neon(b: LLVMScalarBuilder, table: Sequence[str], index: str) -> str:
    vector, name = "<16 x i8>", "@llvm.aarch64.neon.tbl4.v16i8"
    b.declarations.add(f"declare {vector} {name}({', '.join([vector] * 5)})")
    number = b.emit(f"and <4 x i32> {index}, splat (i32 {SIZE - 1})", int32).ref
    # byte n of element i is byte 4 i + n of the table
    places = b.emit(f"mul <4 x i32> {number}, splat (i32 {0x04040404})", int32).ref
    places = b.emit(f"add <4 x i32> {places}, splat (i32 {0x03020100})", int32).ref
    parts = [f"<4 x float> <{', '.join(table[n : n + 4])}>" for n in range(0, SIZE, 4)]
    given = [b.emit(f"bitcast {part} to {vector}", float32).ref for part in parts]
    given.append(b.emit(f"bitcast <4 x i32> {places} to {vector}", int32).ref)
    found = b.emit(f"call {vector} {name}({', '.join(f'{vector} {one}' for one in given)})", float32).ref
    return b.emit(f"bitcast {vector} {found} to <4 x float>", float32).ref
