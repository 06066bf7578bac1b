"""The largest or smallest element of rows of real numbers, by comparing integers.

NaN wins and -0 is below 0, which takes a vector unit several dependent instructions for each element. The bits of a
number, with those of the magnitude turned over if it is negative, order like the number, as integers, which takes
one; AVX-512 has an instruction that compares so. Whether there was a NaN is found out beside it. Which element is
largest does not depend on an order.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...compiler.kernel import LANES
from ...dtypes import DType, float32
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int, always_masked, llvm_type, whole_vectors

#: vectors that are compared with one another, and instructions of an element up to which that pays
TOGETHER, LIGHT = 4, 4


def extreme_lanes(f: Function, inner: Point, outer: Point, dtype: DType) -> None:
    """A "max" or "min" along the vector axis: 16 lanes, which meet at the end."""
    kernel = f.kernel
    value, axis = kernel.static[4], kernel.vector
    keys = keys_for(f, dtype, kernel.static[0])
    code = BodyCode(f, kernel.inner, axis)
    code.hoist(inner)
    end = f.extra(0)

    def added(best: str, odd: str, index: Int, count: Int | None) -> list[str]:
        here = inner.moved(axis, index, kernel.inner)
        if count is not None:
            here.mask = f.mask(count, LANES)
        given = code.run(here)[value].ref
        return keys.added_some((best, odd), given, here.mask)

    def several(best: str, odd: str, index: Int) -> list[str]:
        places = (inner.moved(axis, f.add(index, n * LANES), kernel.inner) for n in range(TOGETHER))
        return keys.added((best, odd), [code.run(place)[value].ref for place in places])

    masked = always_masked(f)
    full = end if masked else whole_vectors(f, 0, end, LANES)
    best, odd = keys.worst(LANES), "zeroinitializer"
    begin: Int = 0
    if kernel.baked and len(kernel.inner.code) <= LIGHT:
        begin = whole_vectors(f, 0, end, TOGETHER * LANES)
        with f.loop(0, begin, TOGETHER * LANES, [(keys.vector, best), (keys.flags, odd)]) as loop:
            loop.next = several(loop.values[0], loop.values[1], loop.index)
        best, odd = loop.values
    with f.loop(begin, full, LANES, [(keys.vector, best), (keys.flags, odd)]) as loop:
        count = f.minimum(f.sub(end, loop.index), LANES) if masked else None
        loop.next = added(loop.values[0], loop.values[1], loop.index, count)
    best, odd = loop.values
    if not masked:
        before = f.block
        rest = f.sub(end, full)
        with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
            more = added(best, odd, full, rest)
            inside = f.block
        best = f.let(f"phi {keys.vector} [ {best}, %{before} ], [ {more[0]}, %{inside} ]")
        odd = f.let(f"phi {keys.flags} [ {odd}, %{before} ], [ {more[1]}, %{inside} ]")
    BodyCode(f, kernel.body, axis).run(outer, Value(keys.result(best, odd), dtype))


def keys_for(f: Function, dtype: DType, name: str) -> _Keys:
    """What a "max" or "min" of numbers of a dtype compares."""
    return (_Ranges if f.target.has_ranges and dtype is float32 else _Keys)(f, dtype, name)


class _Keys:
    """Integers that order like the numbers of a dtype."""

    def __init__(self, f: Function, dtype: DType, name: str):
        self.f = f
        self.bits = dtype.itemsize * 8
        self.real, self.name = llvm_type(dtype), "smax" if name == "max" else "smin"
        self.reals, self.vector = f"<{LANES} x {self.real}>", f"<{LANES} x i{self.bits}>"
        self.flags = f"<{LANES} x i1>"

    def _number(self, value: int, width: int) -> str:
        if width == 1:
            return str(value)
        return "<" + ", ".join(f"i{self.bits} {value}" for _ in range(width)) + ">"

    def worst(self, width: int) -> str:
        """What loses against every number: the key of an infinity."""
        infinity = 0x7F800000 if self.bits == 32 else 0x7FF << 52
        return self._number(infinity if self.name == "smin" else -infinity - 1, width)

    def _turned(self, raw: str, width: int) -> str:
        """Bits as a key, or a key as bits."""
        f, kind = self.f, f"<{width} x i{self.bits}>" if width > 1 else f"i{self.bits}"
        sign = f.let(f"ashr {kind} {raw}, {self._number(self.bits - 1, width)}")
        magnitude = f.let(f"and {kind} {sign}, {self._number((1 << (self.bits - 1)) - 1, width)}")
        return f.let(f"xor {kind} {raw}, {magnitude}")

    def _number_of(self, key: str) -> str:
        return self.f.let(f"bitcast i{self.bits} {self._turned(key, 1)} to {self.real}")

    def of(self, reals: str, width: int) -> str:
        return self._turned(self.f.let(f"bitcast {self.reals} {reals} to {self.vector}"), width)

    def better(self, a: str, b: str, width: int) -> str:
        kind, suffix = (self.vector, f"v{width}i{self.bits}") if width > 1 else (f"i{self.bits}", f"i{self.bits}")
        self.f.declarations.add(f"declare {kind} @llvm.{self.name}.{suffix}({kind}, {kind})")
        return self.f.let(f"call {kind} @llvm.{self.name}.{suffix}({kind} {a}, {kind} {b})")

    def added(self, state: Sequence[str], given: Sequence[str]) -> list[str]:
        """The best so far, and where NaN was, with whole vectors, each compared with another for the NaN of both."""
        f, (best, odd) = self.f, state
        for a, b in zip(given[::2], given[1::2] if len(given) > 1 else given):
            odd = f.let(f"or {self.flags} {odd}, {f.let(f'fcmp uno {self.reals} {a}, {b}')}")
        found = [self.of(a, LANES) for a in given]
        while len(found) > 1:
            found = [self.better(a, b, LANES) for a, b in zip(found[::2], found[1::2])]
        return [self.better(best, found[0], LANES), odd]

    def added_some(self, state: Sequence[str], given: str, mask: str | None) -> list[str]:
        """The same with one vector, whose lanes that `mask` turns off do not count."""
        f, (best, odd) = self.f, state
        nan = f.let(f"fcmp uno {self.reals} {given}, {given}")
        key = self.of(given, LANES)
        if mask is not None:
            nan = f.let(f"and {self.flags} {nan}, {mask}")
            key = f.let(f"select {self.flags} {mask}, {self.vector} {key}, {self.vector} {best}")
        return [self.better(best, key, LANES), f.let(f"or {self.flags} {odd}, {nan}")]

    def result(self, best: str, odd: str) -> str:
        """The number of the best of all lanes, or NaN if one of them met a NaN."""
        f, half = self.f, LANES // 2
        while half:
            picked = ", ".join(f"i32 {half + n if n < half else n}" for n in range(LANES))
            upper = f.let(f"shufflevector {self.vector} {best}, {self.vector} poison, <{LANES} x i32> <{picked}>")
            best = self.better(best, upper, LANES)
            half //= 2
        real = self._number_of(f.let(f"extractelement {self.vector} {best}, i64 0"))
        some = f.let(f"icmp ne i{LANES} {f.let(f'bitcast {self.flags} {odd} to i{LANES}')}, 0")
        return f.let(f"select i1 {some}, {self.real} 0x7FF8000000000000, {self.real} {real}")


class _Ranges(_Keys):
    """The numbers themselves, for AVX512DQ's comparison, which takes -0 for less than 0 and prefers numbers to NaN."""

    def __init__(self, f: Function, dtype: DType, name: str):
        super().__init__(f, dtype, name)
        self.vector = self.reals

    def worst(self, width: int) -> str:
        return f"splat ({self.real} {'0x7FF0000000000000' if self.name == 'smin' else '0xFFF0000000000000'})"

    def of(self, reals: str, width: int) -> str:
        return reals

    def better(self, a: str, b: str, width: int) -> str:
        f, kind, full = self.f, self.reals, "@llvm.x86.avx512.mask.range.ps.512"
        f.declarations.add(f"declare {kind} {full}({kind}, {kind}, i32 immarg, {kind}, i16, i32 immarg)")
        code = 4 if self.name == "smin" else 5  # with the sign of the number that is taken
        return f.let(f"call {kind} {full}({kind} {a}, {kind} {b}, i32 {code}, {kind} zeroinitializer, i16 -1, i32 4)")

    def _number_of(self, key: str) -> str:
        return key
