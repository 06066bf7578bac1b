"""Accuracy of the compiled elementary functions: every float32 number against NumPy's and SciPy's float64 functions.

With ``--slow`` all 2**32 inputs are tried; always a stride of them, which meets every exponent and both signs.
"""

import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule.ops.elementary.common import estrin, polynomial

from .harness import run

nan, inf = np.nan, np.inf
#: greatest error in units of the last place, float32; what was measured stands in docs/elementary.md
LIMITS = {"exp": 2, "log": 2, "tanh": 2, "sigmoid": 2, "erf": 2, "sin": 2, "cos": 2, "expm1": 2, "log1p": 2}
STRIDE, BLOCK = 4099, 2**20


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


REFERENCE = {"sigmoid": sigmoid, "erf": scipy.special.erf}


def native(name):
    """The function `name` of one array, as one compiled kernel."""
    function = getattr(cr, name, None) or getattr(cr.functional, name)
    compiled = cr.compile(lambda x: function(x))
    return lambda x: compiled(cr.asarray(x)).numpy()


def ulps(got, want):
    """Distance of float32 `got` from float64 `want`; inf where NaN, an infinity or a sign is wrong.

    The unit is the distance of float32 numbers at `want`; infinity counts as 2**128, the number after the greatest.
    """
    exponent = (want.view(np.int64) & 0x7FF0000000000000).view(np.float64)
    unit = np.clip(exponent, 2.0**-126, 2.0**127) * 2.0**-23
    top = 2.0**128
    error = np.abs(np.clip(got.astype(np.float64), -top, top) - np.clip(want, -top, top)) / unit
    both_nan = np.isnan(got) & np.isnan(want)
    wrong = (np.isnan(error) | (np.signbit(got) != np.signbit(want))) & ~both_nan
    return np.where(wrong, inf, np.where(both_nan, 0.0, error))


def inputs(start, step, count=BLOCK):
    """`count` float32 numbers whose bits are `start`, `start` + `step`, ... modulo 2**32."""
    bits = (start + step * np.arange(count, dtype=np.uint64)) & np.uint64(0xFFFFFFFF)
    return bits.astype(np.uint32).view(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_within_the_limit_on_every_float32(name, request):
    function, reference = native(name), REFERENCE.get(name) or getattr(np, name)
    step = 1 if request.config.getoption("--slow", default=False) else STRIDE
    with np.errstate(all="ignore"):
        for start in range(0, 2**32, BLOCK * step):
            x = inputs(start, step)
            got = function(x)
            error = ulps(got, reference(x.astype(np.float64)))
            worst = int(np.argmax(error))
            assert error[worst] <= LIMITS[name], f"{error[worst]} ulp: {name}({x[worst]!r}) = {got[worst]!r}"


#: the inputs at which the formulas change, and the ends of the ranges: all numbers around them are tried
CORNERS = {
    "exp": [-103.9721, -87.33655, 88.72284, 0.34657359],
    "log": [1.0, 0.70710677, 1.4142135, 1.1754944e-38],
    "tanh": [0.65, -0.65, 9.010913, 9.25],
    "sigmoid": [0.0, -87.33655, -88.72284, -103.97208, 16.63554],
    "erf": [0.92, -0.92, 3.8325069, 4.0],
    "sin": [32768.0, 0.7853982, 3.1415927, 1.9468792e9],
    "cos": [32768.0, 0.7853982, 1.5707964, 2.794678e26],
    "expm1": [0.34657359, -0.34657359, -17.328680, 88.72284],
    "log1p": [0.41421357, -0.29289323, -1.0, 1.1754944e-38],
}


@pytest.mark.parametrize("name", LIMITS)
def test_within_the_limit_around_corners(name):
    around = np.arange(-2048, 2048)
    bits = np.array(CORNERS[name], np.float32).view(np.int32)[:, None] + around
    x = bits.astype(np.int32).view(np.float32).ravel()
    with np.errstate(all="ignore"):
        want = (REFERENCE.get(name) or getattr(np, name))(x.astype(np.float64))
    error = ulps(native(name)(x), want)
    worst = int(np.argmax(error))
    assert error[worst] <= LIMITS[name], (x[worst], error[worst])


SMALLEST = 1.401298464324817e-45
SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (nan, nan), (89.0, inf), (-104.0, 0.0), (SMALLEST, 1.0)],
    "log": [(0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf), (-inf, nan), (-SMALLEST, nan), (nan, nan)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (nan, nan), (SMALLEST, SMALLEST)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1.0), (-inf, 0.0), (nan, nan), (-103.0, SMALLEST), (SMALLEST, 0.5)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (nan, nan), (SMALLEST, SMALLEST)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (nan, nan), (SMALLEST, SMALLEST)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan), (nan, nan), (SMALLEST, 1.0)],
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_of_compiled_kernels(name):
    """In whole vectors and in the masked rest: 16 of each number and one more."""
    function = native(name)
    for x, want in SPECIAL[name]:
        got = function(np.full(17, x, np.float32))
        expected = np.full(17, want, np.float32)
        assert np.array_equal(got, expected, equal_nan=True), (x, got)
        assert np.isnan(want) or np.array_equal(np.signbit(got), np.signbit(expected)), (x, got)


@pytest.mark.parametrize("name", LIMITS)
def test_an_element_does_not_depend_on_its_neighbours(name):
    """Alone, in a vector, or next to angles that take the slow reduction: the same bits."""
    x = np.concatenate([inputs(0x3D000000, 40961, 600), np.float32([1e9, -3e38, inf, 0.0, 1e-40])])
    function = native(name)
    whole = function(x)
    single = np.concatenate([function(x[i : i + 1]) for i in range(0, len(x), 11)])
    shifted = function(np.concatenate([x[-5:], x]))[5:]
    for got, want in ((single, whole[::11]), (shifted, whole)):
        assert got[~np.isnan(got)].tobytes() == want[~np.isnan(want)].tobytes()


@pytest.mark.parametrize("count", range(1, 12))
def test_estrin_is_the_polynomial(count):
    """On whole numbers, where nothing rounds."""
    coefficients = tuple(float(c) for c in range(3, 3 + count))
    x = np.arange(-3.0, 4.0)
    want = np.polyval(coefficients[::-1], x)
    for evaluate in (estrin, polynomial):
        got = run(lambda b, x, evaluate=evaluate: b.add(evaluate(b, x, coefficients), b.const(0.0, x.dtype)), x)
        assert np.array_equal(got, want)
