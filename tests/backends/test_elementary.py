"""Accuracy, special values and equal bits of the elementary functions."""

import platform

import numpy as np
import pytest
import scipy.special

from chainrule.backends.cpu.toolchain import assembly as toolchain_assembly
from chainrule.backends.cpu.toolchain import describe, host
from chainrule.dtypes import as_dtype, bool_, float32, float64, int32, int64, uint8
from chainrule.errors import DTypeError
from chainrule.ops import elementary

from .harness import Kernel, assembly, kernel_text, run

LIMIT = 4.0
LONG = np.longdouble
#: long double has 64 bits of mantissa only here; elsewhere it cannot judge float64
has_long_double = np.finfo(LONG).nmant > 60
nan, inf = np.nan, np.inf


def sigmoid(x):
    return np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-np.abs(x)))


REFERENCE = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": scipy.special.erf,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "reciprocal": np.reciprocal,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": sigmoid,
    "sin": np.sin,
    "sinh": np.sinh,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}
BINARY = ("pow", "atan2", "remainder", "floor_divide")


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def ulps(got, want):
    """Distance of `got` from the reference in units of the last place; inf where the kind or sign differs."""
    dtype = got.dtype.type
    info = np.finfo(dtype)
    rounded = np.asarray(want).astype(dtype)
    same = (got == rounded) & (np.signbit(got) == np.signbit(rounded)) | (np.isnan(got) & np.isnan(rounded))
    unit = np.maximum(np.spacing(np.minimum(np.abs(rounded), info.max)), info.smallest_subnormal).astype(LONG)
    # where the rounded reference is infinite, the distance is to the number after the greatest one
    target = np.where(np.isinf(rounded), np.sign(rounded) * np.minimum(np.abs(want), LONG(2) ** info.maxexp), want)
    value = np.where(np.isinf(got), np.sign(got) * LONG(2) ** info.maxexp, got.astype(LONG))
    error = np.abs(value - target) / unit
    exact_special = np.isnan(rounded) | np.isinf(want) | (want == 0)
    error = np.where(same & (np.isinf(rounded) | exact_special), 0, error)
    wrong = (exact_special & ~same) | np.isnan(error) | (np.signbit(got) != np.signbit(rounded)) & ~np.isnan(got)
    return np.where(wrong, inf, error).astype(float)


def check(got, want, *operands, limit=LIMIT):
    error = ulps(got, want)
    worst = int(np.argmax(error))
    assert error[worst] <= limit, (
        f"{error[worst]} ulp at {[o[worst] for o in operands]}: {got[worst]}, not {want[worst]}"
    )


def all_of_float32(step, start=0):
    return np.arange(start, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)


def samples64(n=20000, seed=0):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(n) * scale for scale in (1e-6, 0.01, 0.3, 1, 3, 20, 300, 1e6)]
    parts += [1 + rng.standard_normal(n) * 1e-3, np.array([0.0, -0.0, inf, -inf, nan, 1, -1, 5e-324, -5e-324])]
    return np.concatenate([*parts, rng.integers(0, 2**64, 4 * n, dtype=np.uint64).view(np.float64)])


@pytest.mark.parametrize("options", [{}, {"fma": False, "rounding": False}], ids=["fma", "no-fma"])
@pytest.mark.parametrize("name", REFERENCE)
def test_float32_within_limit_on_a_stride_of_all_inputs(name, options):
    x = all_of_float32(1021 if not options else 8191)
    check(run(getattr(elementary, name), x, **options), REFERENCE[name](x.astype(np.float64)), x)


def distance_kernel(function):
    """Error in ulp of the float32 `function`, judged by its float64 form (itself tested below)."""

    def error(b, x):
        got = function(b, x)
        want = function(b, b.cast(x, float64))
        rounded = b.cast(want, float32)
        bits = b.bitcast(want, int64)
        exponent = b.and_(b.lshr(bits, b.const(52, int64)), b.const(2047, int64))
        exponent = b.minimum(b.maximum(exponent, b.const(1023 - 126, int64)), b.const(1023 + 127, int64))
        inverse = b.bitcast(b.shl(b.sub(b.const(2046 + 23, int64), exponent), b.const(52, int64)), float64)
        distance = b.mul(b.abs(b.sub(b.cast(got, float64), want)), inverse)
        same = b.eq(b.bitcast(got, int32), b.bitcast(rounded, int32))
        both_nan = b.and_(b.ne(got, got), b.ne(want, want))
        plain = b.lt(b.abs(got), b.const(inf, float32))
        same_sign = b.ge(b.xor(b.bitcast(got, int32), b.bitcast(rounded, int32)), b.const(0, int32))
        judged = b.and_(b.and_(plain, b.eq(want, want)), same_sign)
        fallback = b.select(b.or_(same, both_nan), b.const(0.0, float64), b.const(1e9, float64))
        return b.cast(b.select(judged, distance, fallback), float32)

    return error


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCE)
def test_float32_within_limit_on_all_inputs(name, request):
    step = 1 if request.config.getoption("--slow", default=False) else 64
    kernel = Kernel(distance_kernel(getattr(elementary, name)), float32, branches=True)
    block = 2**22
    for start in range(0, 2**32, block * step):
        x = np.arange(start, start + block * step, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        error = kernel(x)
        worst = int(np.argmax(error))
        assert error[worst] <= LIMIT, (x[worst], error[worst])


@pytest.mark.skipif(not has_long_double, reason="needs 64 bits of mantissa")
@pytest.mark.parametrize("options", [{}, {"fma": False, "rounding": False}], ids=["fma", "no-fma"])
@pytest.mark.parametrize("name", REFERENCE)
def test_float64_within_limit_on_samples(name, options):
    x = samples64(20000 if not options else 2000)
    # SciPy has erf in double only, itself good to about 3 ulp here
    reference = REFERENCE[name](x if name == "erf" else x.astype(LONG))
    check(run(getattr(elementary, name), x, **options), reference, x)


@pytest.mark.parametrize("name", [*REFERENCE, *BINARY])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_same_bits_at_every_width_and_with_branches(name, dtype):
    x = samples64(300).astype(dtype.numpy)
    operands = (x, np.roll(x, 7)) if name in BINARY else (x,)
    function = getattr(elementary, name)
    results = [run(function, *operands, width=width) for width in (1, 4, 8, 16)]
    assert_same_bits([*results, run(function, *operands, width=8, branches=True)])


def assert_same_bits(results):
    for result in results[1:]:
        number = ~np.isnan(results[0])
        assert (np.isnan(result) == ~number).all() and result[number].tobytes() == results[0][number].tobytes()


@pytest.mark.skipif(host().tables not in ("avx2", "avx512"), reason="runs AVX2")
@pytest.mark.parametrize("name", ["exp", "sinh", "cosh"])  # the latter use instructions that scale
def test_by_tables_in_registers(name):
    """Within the limit, and the same bits at every width and with every instruction that this host has."""
    x = np.concatenate([all_of_float32(8191), samples64(300).astype(np.float32)])
    x = x[: len(x) // 16 * 16]
    ways = [{"tables": "avx2"}, *([{"tables": "avx512", "scaling": True}] if host().tables == "avx512" else [])]
    function = getattr(elementary, name)
    results = [run(function, x, width=width, **options) for options in ways for width in (1, 4, 8, 16)]
    check(results[0], REFERENCE[name](x.astype(np.float64)), x)
    assert_same_bits(results)


@pytest.mark.parametrize(
    ("triple", "cpu", "kind", "instruction"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64", "", ""),
        ("x86_64-unknown-linux-gnu", "bdver2", "", ""),  # fused multiply-add, but not AVX2
        ("x86_64-unknown-linux-gnu", "haswell", "avx2", "vperm"),
        ("x86_64-unknown-linux-gnu", "knl", "avx512", "vperm"),  # AVX-512 without its instructions for ranges
        ("x86_64-unknown-linux-gnu", "skylake-avx512", "avx512", "vperm"),
        ("arm64-apple-macosx", "apple-m1", "neon", "tbl"),
    ],
)
@pytest.mark.parametrize("width", [1, 4, 16])
def test_instructions_that_look_up(triple, cpu, kind, instruction, width):
    target = describe(triple, cpu, "")
    assert target.tables == kind and target.has_ranges == (cpu == "skylake-avx512")
    if kind:
        text, _ = kernel_text(elementary.exp, [float32], width, tables=kind, scaling=target.has_ranges)
        assert instruction in toolchain_assembly(text, triple=triple, cpu=cpu)


SPECIAL = {
    "exp": [(0.0, 1), (-0.0, 1), (inf, inf), (-inf, 0.0), (nan, nan), (1e9, inf), (-1e9, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1), (nan, nan), (1e9, inf), (-1e9, -1)],
    "log": [(0.0, -inf), (-0.0, -inf), (1, 0.0), (inf, inf), (-inf, nan), (-1, nan), (nan, nan)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -inf), (inf, inf), (-2, nan), (-inf, nan), (nan, nan)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan)],
    "cos": [(0.0, 1), (-0.0, 1), (inf, nan), (-inf, nan), (nan, nan)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.5, nan), (-1.5, nan), (inf, nan), (nan, nan)],
    "acos": [(1, 0.0), (1.5, nan), (-1.5, nan), (inf, nan), (nan, nan)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (inf, np.pi / 2), (-inf, -np.pi / 2), (nan, nan)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
    "cosh": [(0.0, 1), (inf, inf), (-inf, inf), (nan, nan)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (nan, nan)],
    "acosh": [(1, 0.0), (0.5, nan), (-1, nan), (inf, inf), (-inf, nan), (nan, nan)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1, inf), (-1, -inf), (1.5, nan), (inf, nan), (nan, nan)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1), (-inf, -1), (nan, nan)],
    "sigmoid": [(0.0, 0.5), (inf, 1), (-inf, 0.0), (nan, nan), (-1e9, 0.0)],
    "rsqrt": [(0.0, inf), (-0.0, -inf), (inf, 0.0), (-1, nan), (nan, nan), (4, 0.5)],
    "sign": [(0.0, 0.0), (-0.0, 0.0), (inf, 1), (-inf, -1), (nan, nan), (-1e-30, -1)],
    "reciprocal": [(0.0, inf), (-0.0, -inf), (inf, 0.0), (-inf, -0.0), (nan, nan)],
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_special_values(name, dtype):
    x, want = (np.array(column, dtype.numpy) for column in zip(*SPECIAL[name]))
    check(run(getattr(elementary, name), x), want, x, limit=0)


@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_subnormal_numbers_are_kept(name, dtype):
    tiny = np.finfo(dtype.numpy)
    x = np.array([tiny.smallest_subnormal * k for k in (1, 2, 3, 5, 1001)] + [tiny.tiny, -tiny.tiny], dtype.numpy)
    assert (run(getattr(elementary, name), x) == x).all()


POW_NUMBERS = [0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 7, 2.5, -2.5, 1e-3, 1e30, -1e30, inf, -inf, nan]


@pytest.mark.parametrize("name", ["pow", "atan2", "remainder", "floor_divide"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_special_pairs_agree_with_numpy(name, dtype):
    numbers = [v for v in POW_NUMBERS if name in ("pow", "atan2") or abs(v) != 1e30]
    x, y = (a.ravel() for a in np.meshgrid(np.array(numbers, dtype.numpy), np.array(numbers, dtype.numpy)))
    reference = {"pow": np.power, "atan2": np.arctan2}.get(name)
    # NumPy's own float32 angles and powers are off by more than one unit
    want = reference(x.astype(LONG), y.astype(LONG)) if reference else getattr(np, name)(x, y)
    if name == "floor_divide":  # the Array API's choice, which differs from Python's and NumPy's
        want = np.where(np.isinf(x) | np.isinf(y), x / y, want)
    check(run(getattr(elementary, name), x, y), want, x, y, limit=1)


@pytest.mark.parametrize("options", [{}, {"fma": False, "rounding": False}], ids=["fma", "no-fma"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_pow_over_its_range(dtype, options):
    if dtype is float64 and not has_long_double:
        pytest.skip("needs 64 bits of mantissa")
    rng, n = np.random.default_rng(0), 50000
    top = 87 if dtype is float32 else 700
    x = np.concatenate([np.exp(rng.uniform(-top, top, n)), 1 + rng.standard_normal(n) * 1e-3, rng.uniform(0, 5, n)])
    y = np.concatenate([rng.standard_normal(n), rng.standard_normal(n) * top * 400, rng.uniform(-50, 50, n)])
    x, y = np.abs(x).astype(dtype.numpy), y.astype(dtype.numpy)
    check(run(elementary.pow, x, y, **options), np.power(x.astype(LONG), y.astype(LONG)), x, y, limit=2)
    subnormal = np.abs(rng.integers(1, 2**20, 1000) * np.finfo(dtype.numpy).smallest_subnormal).astype(dtype.numpy)
    half = np.full(1000, 0.5, dtype.numpy)
    check(run(elementary.pow, subnormal, half), np.sqrt(subnormal.astype(LONG)), subnormal, limit=2)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_whole_powers_are_exact_where_representable(dtype):
    digits = np.finfo(dtype.numpy).nmant + 1
    base, exponent = [], []
    for b in range(1, 1000):
        for p in range(1, 30):
            odd = (b**p) // (b**p & -(b**p))
            if odd.bit_length() <= digits and (b**p).bit_length() < 120:
                base.append(b)
                exponent.append(p)
    got = run(elementary.pow, np.array(base, dtype.numpy), np.array(exponent, dtype.numpy))
    assert all(int(g) == b**p for g, b, p in zip(got, base, exponent))
    minus = run(elementary.pow, -np.array(base, dtype.numpy), np.array(exponent, dtype.numpy))
    assert (minus == np.where(np.array(exponent) % 2, -got, got)).all()


def test_integer_powers():
    x = np.array([2, 3, -2, 0, 0, 7, -1, -1, 1, 2, 10], np.int64)
    y = np.array([10, 4, 3, 0, 5, 1, -3, -2, -5, -1, 18], np.int64)
    want = [1024, 81, -8, 1, 0, 7, -1, 1, 1, 0, 10**18]
    assert run(elementary.pow, x, y).tolist() == want
    assert run(elementary.pow, np.array([3, 2], np.uint8), np.array([5, 9], np.uint8)).tolist() == [243, 0]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_atan2_over_its_range(dtype):
    rng, n = np.random.default_rng(0), 50000
    top = 80 if dtype is float32 else 700
    for scale in (1, top):
        x, y = ((np.exp(rng.uniform(-scale, scale, n)) * rng.choice([-1, 1], n)).astype(dtype.numpy) for _ in range(2))
        if dtype is float32 or has_long_double:
            check(run(elementary.atan2, y, x), np.arctan2(y.astype(LONG), x.astype(LONG)), y, x)


@pytest.mark.parametrize("options", [{}, {"fma": False, "rounding": False}], ids=["fma", "no-fma"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_remainder_is_exact(dtype, options):
    rng, n = np.random.default_rng(0), 50000
    x = (np.exp(rng.uniform(-25, 25, n)) * rng.choice([-1, 1], n)).astype(dtype.numpy)
    y = (np.exp(rng.uniform(-10, 25, n)) * rng.choice([-1, 1], n)).astype(dtype.numpy)
    got, want = run(elementary.remainder, x, y, **options), np.remainder(x, y)
    assert got.tobytes() == want.tobytes()
    small = np.abs(x / y) < 2.0**22
    quotient = run(elementary.floor_divide, x, y, **options)
    assert (quotient == np.floor_divide(x, y))[small].all()


@pytest.mark.parametrize("name", ["int8", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integer_remainder_and_floor_divide(name):
    dtype = np.dtype(name)
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    x = rng.integers(info.min, info.max, 500, dtype, endpoint=True)
    y = rng.integers(max(-9, info.min), 9, 500).astype(dtype)
    x[0], y[0] = info.min, info.max if info.min == 0 else -1
    assert (run(elementary.remainder, x, y) == np.remainder(x, y)).all()
    assert (run(elementary.floor_divide, x, y) == np.floor_divide(x, y)).all()
    assert (run(elementary.sign, x) == np.sign(x)).all()
    assert (run(elementary.square, x) == np.square(x)).all()


def test_far_angles_of_float64():
    x = np.array([1e22, 2.0**1000, 1.7976931348623157e308, 6381956970095103 * 2.0**797, -1e200])
    want = [-0.8522008497671888, -0.1594363511047532, 0.004961954789184062, 1.0, 0.7012112403683]
    got = run(elementary.sin, x)
    assert np.allclose(got[[0, 2]], [want[0], want[2]], rtol=1e-15)
    # the float64 number nearest to a multiple of pi/2
    assert abs(run(elementary.cos, x[3:4])[0]) == pytest.approx(4.687165924254624e-19, rel=1e-14)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match="int32"):
        run(elementary.exp, np.zeros(4, np.int32))


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="compiles for x86")
@pytest.mark.parametrize("cpu", ["x86-64", "haswell", "skylake-avx512"])
def test_no_library_calls(cpu):
    old = cpu == "x86-64"
    for name in (*REFERENCE, *BINARY, "sign"):
        for dtype in (float32, float64):
            count = 2 if name in BINARY else 1
            options = {"fma": not old, "rounding": not old, "branches": name in ("sin", "cos", "tan")}
            text = assembly(getattr(elementary, name), *[dtype] * count, width=8, cpu=cpu, **options)
            assert "call" not in text, (name, dtype)


def test_bool_and_small_integers_do_not_reach_here():
    assert as_dtype("bool") is bool_ and run(elementary.sign, np.array([0, 3], np.uint8)).tolist() == [0, 1]
    assert run(lambda b, x: b.cast(x, uint8), np.array([300.0], np.float32)).tolist() == [255]
