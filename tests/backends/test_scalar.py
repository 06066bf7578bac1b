"""The scalar vocabulary: meaning, corner cases, equal bits at every width, no calls in machine code."""

import platform

import numpy as np
import pytest

from chainrule.backends.base import ScalarBuilder, Value
from chainrule.backends.cpu.scalar import LLVMScalarBuilder, literal_text
from chainrule.backends.cpu.toolchain import host
from chainrule.dtypes import (
    ALL,
    as_dtype,
    bfloat16,
    bool_,
    converted,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint64,
    widened,
)
from chainrule.errors import DTypeError

from .harness import Kernel, assembly, run

FLOATS = (float32, float64)
#: the dtypes that the vocabulary calculates in; float16 and bfloat16 are converted
NATIVE = tuple(d for d in ALL if d.kind != "c")
CALCULATED = tuple(d for d in NATIVE if not d.is_half)
INTEGERS = tuple(d for d in NATIVE if d.kind in "iu")
WIDTHS = (1, 4, 8, 16)
on_x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="compiles for x86")


def samples(dtype, n=512, seed=0):
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, n).astype(bool)
    if dtype.kind == "f":
        tiny = 2.0**-133 if dtype.name == "bfloat16" else np.finfo(dtype.numpy).smallest_subnormal
        special = [0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 1.5, 2.5, -2.5, tiny, -tiny, 1e9, 2.0**23 + 1]
        x = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 8, n)
        x[: len(special)] = special
        return converted(rng.permutation(x), dtype)
    info = np.iinfo(dtype.numpy)
    x = rng.integers(info.min, info.max, n, dtype=dtype.numpy, endpoint=True)
    x[: n // 2] = rng.integers(max(info.min, -9), 9, n // 2)
    x[:3] = info.min, info.max, 0
    return rng.permutation(x)


def same_bits(a, b):
    assert a.dtype == b.dtype
    a, b = widened(a), widened(b)
    if a.dtype.kind == "f":
        a, b = np.where(np.isnan(a), np.nan, a).astype(a.dtype), np.where(np.isnan(b), np.nan, b).astype(b.dtype)
    return a.tobytes() == b.tobytes()


BINARY = {
    "add": (np.add, "fiu"),
    "sub": (np.subtract, "fiu"),
    "mul": (np.multiply, "fiu"),
    "div": (np.divide, "f"),
    "and_": (np.bitwise_and, "iub"),
    "or_": (np.bitwise_or, "iub"),
    "xor": (np.bitwise_xor, "iub"),
    "eq": (np.equal, "fiub"),
    "ne": (np.not_equal, "fiub"),
    "lt": (np.less, "fiu"),
    "le": (np.less_equal, "fiu"),
    "gt": (np.greater, "fiu"),
    "ge": (np.greater_equal, "fiu"),
    "copysign": (np.copysign, "f"),
}
UNARY = {
    "neg": (np.negative, "fiu"),
    "abs": (np.abs, "fiu"),
    "sqrt": (np.sqrt, "f"),
    "floor": (np.floor, "f"),
    "ceil": (np.ceil, "f"),
    "trunc": (np.trunc, "f"),
    "round_even": (np.rint, "f"),
    "not_": (np.invert, "iub"),
}


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", BINARY)
def test_binary_operations_agree_with_numpy(name):
    reference, kinds = BINARY[name]
    for dtype in CALCULATED:
        if dtype.kind in kinds:
            x, y = samples(dtype), samples(dtype, seed=1)
            y[::5] = x[::5]
            for width in (1, 16):
                assert same_bits(run(getattr(LLVMScalarBuilder, name), x, y, width=width), reference(x, y)), dtype


@pytest.mark.parametrize("options", [{}, {"rounding": False}], ids=["instructions", "expanded"])
@pytest.mark.parametrize("name", UNARY)
def test_unary_operations_agree_with_numpy(name, options):
    reference, kinds = UNARY[name]
    for dtype in CALCULATED:
        if dtype.kind in kinds:
            x = samples(dtype)
            for width in (1, 8):
                got = run(getattr(LLVMScalarBuilder, name), x, width=width, **options)
                assert same_bits(got, reference(x)), dtype


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_minimum_and_maximum_keep_nan_and_order_zeros(dtype):
    x, y = samples(dtype), samples(dtype, seed=1)
    x[:4], y[:4] = [0.0, -0.0, np.nan, 1.0], [-0.0, 0.0, 1.0, np.nan]
    low, high = run(LLVMScalarBuilder.minimum, x, y), run(LLVMScalarBuilder.maximum, x, y)
    assert same_bits(low[4:], np.minimum(x, y)[4:]) and same_bits(high[4:], np.maximum(x, y)[4:])
    assert np.signbit(low[:2]).all() and not np.signbit(high[:2]).any()
    assert np.isnan(low[2:4]).all() and np.isnan(high[2:4]).all()


@pytest.mark.parametrize("dtype", INTEGERS + (bool_,), ids=str)
def test_minimum_and_maximum_of_integers(dtype):
    x, y = samples(dtype), samples(dtype, seed=1)
    assert same_bits(run(LLVMScalarBuilder.minimum, x, y), np.minimum(x, y))
    assert same_bits(run(LLVMScalarBuilder.maximum, x, y), np.maximum(x, y))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_fma_rounds_once_or_twice_as_it_says(dtype):
    one = dtype.numpy.type(1)
    x = np.full(16, one + np.spacing(one))
    assert (run(LLVMScalarBuilder.fma, x, x, -x * x) != 0).all() == ("fma" in assembly_of_fma(dtype))
    assert (run(LLVMScalarBuilder.fma, x, x, -x * x, fma=False) == 0).all()


def assembly_of_fma(dtype):
    return assembly(LLVMScalarBuilder.fma, dtype, dtype, dtype, width=4).replace("fmla", "fma").replace("fmadd", "fma")


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_division_is_defined_everywhere(dtype):
    x, y = samples(dtype), samples(dtype, seed=1)
    info = np.iinfo(dtype.numpy)
    x[:2], y[:2] = [info.min, 5], [-1 if info.min else 1, 0]
    quotient, rest = run(LLVMScalarBuilder.idiv, x, y), run(LLVMScalarBuilder.irem, x, y)
    for a, b, q, r in zip(x.tolist(), y.tolist(), quotient, rest):
        if b == 0:
            assert q == 0 and r == 0
        else:
            want = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            assert q == np.array(want % (1 << 8 * dtype.itemsize), np.uint64).astype(dtype.numpy)
            assert r == a - want * b


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts_by_any_count(dtype):
    bits = 8 * dtype.itemsize
    x = samples(dtype)
    count = np.resize(np.array([0, 1, bits - 1, bits, bits + 1, 100, 3]), x.size).astype(dtype.numpy)
    if dtype.kind == "i":
        count[::11] = -1
    for width in (1, 16):
        left = run(LLVMScalarBuilder.shl, x, count, width=width)
        right = run(LLVMScalarBuilder.lshr, x, count, width=width)
        arithmetic = run(LLVMScalarBuilder.ashr, x, count, width=width)
        for a, c, l_, r, s in zip(x.tolist(), count.tolist(), left, right, arithmetic):
            unsigned = a % (1 << bits)
            signed = unsigned - (1 << bits) if unsigned >> (bits - 1) else unsigned
            over = not 0 <= c < bits
            wanted = (0, 0, -1 if signed < 0 else 0) if over else (unsigned << c, unsigned >> c, signed >> c)
            got = [int(v) % (1 << bits) for v in (l_, r, s)]
            assert got == [w % (1 << bits) for w in wanted]


def test_shift_by_a_constant_and_by_a_known_small_count():
    x = samples(int32)
    assert same_bits(run(lambda b, v: b.shl(v, b.const(33, int32)), x), np.zeros_like(x))
    assert same_bits(run(lambda b, v: b.ashr(v, b.const(99, int32)), x), x >> 31)
    assert same_bits(run(lambda b, v: b.lshr(v, b.const(0, int32)), x), x)
    small = run(lambda b, v: b.shl(v, b.and_(v, b.const(7, int32))), x)
    assert same_bits(small, x << (x & 7))


def test_funnel_takes_the_upper_half():
    x, y = samples(uint64), samples(uint64, seed=1)
    count = np.arange(x.size).astype(np.uint64)
    got = run(LLVMScalarBuilder.funnel, x, y, count)
    for a, c, n, g in zip(x.tolist(), y.tolist(), count.tolist(), got.tolist()):
        assert g == ((a << 64 | c) << (n % 64)) >> 64 & (2**64 - 1)


@pytest.mark.parametrize("source", NATIVE, ids=str)
@pytest.mark.parametrize("target", NATIVE, ids=str)
def test_casts(source, target):
    x = samples(source)
    got = run(lambda b, v: b.cast(v, target), x)
    if float16 in (source, target) and host().has_half:
        assert same_bits(run(lambda b, v: b.cast(v, target), x, half=True), got)
    if target is bfloat16 and host().has_bfloat16_products:
        for width in (8, 16):
            assert same_bits(run(lambda b, v: b.cast(v, target), x, width=width, short=True, branches=True), got)
    if source.kind == "f" and target.kind in "iu":
        info = np.iinfo(target.numpy)
        for a, g in zip(widened(x), got.tolist()):
            if np.isfinite(a):
                want = min(max(int(a), info.min), info.max)
            else:
                want = 0 if np.isnan(a) else info.max if a > 0 else info.min
            assert g == want
    else:
        assert same_bits(got, converted(x, target))


def test_bitcast_and_select():
    x = samples(float32)
    assert same_bits(run(lambda b, v: b.bitcast(v, int32), x), x.view(np.int32))
    assert same_bits(run(lambda b, v: b.bitcast(b.bitcast(v, int32), float32), x), x)
    c = samples(bool_)
    assert same_bits(run(LLVMScalarBuilder.select, c, x, x[::-1].copy()), np.where(c, x, x[::-1]))


@pytest.mark.parametrize("dtype", NATIVE, ids=str)
def test_constants_are_exact(dtype):
    values = samples(dtype, 64)
    for value in values[:20]:
        number = widened(value.reshape(1)).item()
        got = run(lambda b, x, v=number: b.const(v, dtype), values)
        assert same_bits(got, np.full(values.size, value))


def test_literals_round_to_their_dtype():
    assert literal_text(0.1, float32) == "0x3FB99999A0000000"
    assert literal_text(0.1, float64) == "0x3FB999999999999A"
    assert literal_text(1e300, float32) == literal_text(float("inf"), float32) == "0x7FF0000000000000"
    assert literal_text(255, int8) == "-1" and literal_text(-1, uint8) == "-1"


@pytest.mark.parametrize("branches", [False, True])
def test_rarely_selects_per_element(branches):
    def function(b, x):
        zero = b.const(0.0, float32)
        first, second = b.rarely(b.lt(x, zero), lambda: (b.neg(x), b.mul(x, x)), (x, zero))
        return b.add(first, second)

    x = samples(float32)
    x[64:256] = np.abs(x[64:256])
    want = np.where(x < 0, np.abs(x), x) + np.where(x < 0, x * x, np.float32(0))
    for width in WIDTHS:
        assert same_bits(run(function, x, width=width, branches=branches), want)


def test_splat_fills_every_lane():
    for width in (1, 8):
        lines = []
        builder = LLVMScalarBuilder(lines, width)
        value = builder.splat("%s", float32)
        assert value.dtype is float32 and (value.ref == "%s") == (width == 1)


def test_wrong_dtypes_are_refused():
    b = LLVMScalarBuilder([], 4)
    x, n, t = Value("%x", float32), Value("%n", int32), Value("%t", bool_)
    for call in (
        lambda: b.div(n, n),
        lambda: b.and_(x, x),
        lambda: b.add(x, n),
        lambda: b.shl(x, x),
        lambda: b.idiv(x, x),
        lambda: b.sqrt(n),
        lambda: b.select(t, x, n),
        lambda: b.bitcast(x, float64),
    ):
        with pytest.raises(DTypeError):
            call()


def test_vocabulary_is_complete():
    assert not LLVMScalarBuilder.__abstractmethods__ and ScalarBuilder.__abstractmethods__


@on_x86
@pytest.mark.parametrize("cpu", ["x86-64", "haswell", "skylake-avx512"])
def test_no_calls_in_machine_code(cpu):
    old = cpu == "x86-64"
    options = {"fma": not old, "rounding": not old, "half": not old}
    for width in (1, 16) if old else (16,):
        for name, (_, kinds) in {**BINARY, **UNARY, "minimum": (None, "fiu"), "fma": (None, "f")}.items():
            for dtype in CALCULATED:
                if dtype.kind in kinds:
                    count = 3 if name == "fma" else 1 if name in UNARY else 2
                    text = assembly(getattr(LLVMScalarBuilder, name), *[dtype] * count, width=width, cpu=cpu, **options)
                    assert "call" not in text, (name, dtype)
        for source in NATIVE:
            for target in NATIVE:
                text = assembly(lambda b, x, d=target: b.cast(x, d), source, width=width, cpu=cpu, **options)
                assert "call" not in text, (source, target)


def test_kernel_of_each_width_agrees():
    x = samples(float64, 1024)
    results = [Kernel(lambda b, v: b.cast(b.round_even(v), int64), as_dtype("float64"), width=w)(x) for w in WIDTHS]
    assert all(same_bits(results[0], r) for r in results[1:])
