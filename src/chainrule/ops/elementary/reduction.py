"""Reduction of angles: x = n pi/2 + r with |r| <= pi/4 (a little more), for every finite x.

Below a limit n pi/2 is taken off in parts of pi/2 (Cody and Waite); above it the bits of 2/pi that
matter are multiplied by the mantissa in integers (Payne and Hanek).
"""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from ...dtypes import float32, float64, int32, int64, uint32, uint64
from .common import DOUBLE, SINGLE, Format, negated_product_sum, two_product, two_sum

#: the first 1280 bits of 2/pi after the point
TWO_OVER_PI_BITS = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea09d1921c"
    "fe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b1ff897ffde05980f"
    "ef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d08"
    "56033046fc7b6babf0cfbc209af4361d",
    16,
)
TWO_OVER_PI = 0.6366197723675814
#: pi/2 rounded, and the rest
PI_HALF, PI_HALF_REST = 1.5707963267948966, 6.123233995736766e-17
#: pi/2 in parts: of 24 bits for float32 with fma (the first residual is exact), of 33 for float64
PARTS_SINGLE = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
PARTS_DOUBLE = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
LIMIT_SINGLE, LIMIT_DOUBLE = 2.0**15, 2.0**20


def quarter_turns(b: ScalarBuilder, x: Value, form: Format) -> tuple[Value, Value]:
    """(n, r) of x >= 0: n modulo 4 in the low two bits of an unsigned integer; r is NaN for infinity and NaN."""
    return _single(b, x) if form is SINGLE else _double(b, x)


def _nearest(b: ScalarBuilder, x: Value, form: Format, integer) -> tuple[Value, Value]:
    """round(x * 2/pi) as an integer (low bits) and as a float."""
    magic = b.const(form.magic, x.dtype)
    shifted = b.fma(x, b.const(TWO_OVER_PI, x.dtype), magic)
    return b.bitcast(shifted, integer), b.sub(shifted, magic)


def _single(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    if b.has_fma:
        near, n = _nearest(b, x, SINGLE, uint32)
        r = x
        for part in PARTS_SINGLE:
            r = negated_product_sum(b, n, part, r)
    else:  # the products are exact in float64
        wide = b.cast(x, float64)
        bits, n = _nearest(b, wide, DOUBLE, uint64)
        rest = negated_product_sum(b, n, PARTS_DOUBLE[0], wide)
        r = b.cast(negated_product_sum(b, n, PARTS_DOUBLE[1], rest), float32)
        near = b.cast(bits, uint32)
    far = b.ge(x, b.const(LIMIT_SINGLE, float32))
    return b.rarely(far, lambda: _finite(b, x, _far_single(b, x)), (near, r))


def _finite(b: ScalarBuilder, x: Value, reduced: tuple[Value, Value]) -> tuple[Value, Value]:
    """The reduced angle of x, or NaN where x is infinite: in the rare code, since it is never near."""
    n, r = reduced
    return n, b.select(b.lt(x, b.const(math.inf, x.dtype)), r, b.const(math.nan, x.dtype))


def window_words(count: int, leading_zeros: int, bits: int) -> list[int]:
    """The first `count` words of `bits` bits of 2/pi with zeros in front, most significant first."""
    total = count * bits
    shifted = TWO_OVER_PI_BITS >> (1280 + leading_zeros - total)
    return [(shifted >> (total - bits * (i + 1))) & ((1 << bits) - 1) for i in range(count)]


def _far_single(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """Payne and Hanek's reduction of float32 x >= 2**15 (anything for smaller x)."""

    def c(value: int) -> Value:
        return b.const(value, uint64)

    bits = b.bitcast(x, uint32)
    # x = m * 2**k; the window into 2/pi starts at the bit that m turns into a weight of 2 turns / 4
    start = b.sub(b.lshr(bits, b.const(23, uint32)), b.const(150 - 8, uint32))
    mantissa = b.or_(b.and_(bits, b.const((1 << 23) - 1, uint32)), b.const(1 << 23, uint32))
    words = window_words(7, 10, 32)
    # bits 5 and 6 of the start choose the words
    five = b.ne(b.and_(start, b.const(32, uint32)), b.const(0, uint32))
    six = b.ne(b.and_(start, b.const(64, uint32)), b.const(0, uint32))

    def pair(i: int) -> Value:
        joined = [c(words[j] << 32 | words[j + 1]) for j in range(i, i + 4)]
        return b.select(six, b.select(five, joined[3], joined[2]), b.select(five, joined[1], joined[0]))

    first, second = pair(0), pair(2)
    shift = b.cast(b.and_(start, b.const(31, uint32)), uint64)
    high, low = b.funnel(first, second, shift), b.lshr(b.shl(second, shift), c(32))
    m = b.cast(mantissa, uint64)
    turns = b.add(b.mul(m, high), b.lshr(b.mul(m, low), c(32)))
    n = b.lshr(b.add(turns, c(1 << 61)), c(62))
    fraction = b.cast(b.bitcast(b.shl(turns, c(2)), int64), float64)
    r = b.cast(b.mul(fraction, b.const(PI_HALF * 2.0**-64, float64)), float32)
    return b.cast(n, uint32), r


def _double(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    near, n = _nearest(b, x, DOUBLE, uint64)
    first, second, third, last = PARTS_DOUBLE
    rest = negated_product_sum(b, n, first, x)
    rest, low = two_sum(b, rest, b.mul(n, b.const(-second, float64)))
    rest, lower = two_sum(b, rest, b.mul(n, b.const(-third, float64)))
    r = b.add(rest, b.add(low, negated_product_sum(b, n, last, lower)))
    far = b.ge(x, b.const(LIMIT_DOUBLE, float64))
    return b.rarely(far, lambda: _finite(b, x, _far_double(b, x)), (near, r))


def _far_double(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """Payne and Hanek's reduction of float64 x >= 2**20: 192 bits of 2/pi times 53 of the mantissa."""

    def c(value: int) -> Value:
        return b.const(value, uint64)

    bits = b.bitcast(x, uint64)
    start = b.sub(b.lshr(bits, c(52)), c(1075 - 32))
    mantissa = b.or_(b.and_(bits, c((1 << 52) - 1)), c(1 << 52))
    words = [c(word) for word in window_words(19, 34, 64)]
    for step in (8, 4, 2, 1):  # a barrel shifter over words
        taken = b.ne(b.and_(start, c(64 * step)), c(0))
        count = 3 + step  # 4 words are left at the end
        words = [b.select(taken, words[i + step], words[i]) for i in range(count)]
    shift = b.and_(start, c(63))
    mask, half = c((1 << 32) - 1), c(32)
    limbs: list[Value] = []  # of the window, least significant first
    for i in (2, 1, 0):
        word = b.funnel(words[i], words[i + 1], shift)
        limbs += [b.and_(word, mask), b.lshr(word, half)]
    m_low, m_high = b.and_(mantissa, mask), b.lshr(mantissa, half)
    carry = b.lshr(b.mul(m_low, limbs[0]), half)
    limbs_out: list[Value] = []
    for k in range(1, 5):
        t = b.add(b.mul(m_low, limbs[k]), carry)
        u = b.add(b.mul(m_high, limbs[k - 1]), b.and_(t, mask))
        limbs_out.append(b.and_(u, mask))
        carry = b.add(b.lshr(t, half), b.lshr(u, half))
    top = b.add(b.add(b.mul(m_low, limbs[5]), b.mul(m_high, limbs[4])), carry)
    turns = b.or_(b.shl(top, half), limbs_out[3])
    lower = b.or_(b.shl(limbs_out[2], half), limbs_out[1])
    n = b.lshr(b.add(turns, c(1 << 61)), c(62))
    # the signed fraction of a quarter turn as sign and magnitude, the magnitude in 52 and 63 bits
    high = b.funnel(turns, lower, c(2))
    sign = b.bitcast(b.ashr(b.bitcast(high, int64), b.const(63, int64)), uint64)
    high, low = b.xor(high, sign), b.xor(b.shl(lower, c(2)), sign)
    head = b.and_(high, c(~((1 << 11) - 1) & ((1 << 63) - 1)))
    tail = b.lshr(b.shl(high, c(53)), c(1))
    tail = b.or_(tail, b.lshr(low, c(12)))
    first = b.cast(b.bitcast(head, int64), float64)
    second = b.cast(b.bitcast(tail, int64), float64)
    # times pi/2, rounded once
    factor = b.const(PI_HALF * 2.0**-64, float64)
    product, rest = two_product(b, first, factor)
    rest = b.fma(first, b.const(PI_HALF_REST * 2.0**-64, float64), rest)
    rest = b.fma(second, b.const(PI_HALF * 2.0**-116, float64), rest)
    signed = b.xor(b.bitcast(b.add(product, rest), uint64), b.and_(sign, c(1 << 63)))
    return n, b.bitcast(signed, float64)


INTEGERS = {"float32": (uint32, int32), "float64": (uint64, int64)}
