"""Rows of the elementwise primitives."""

from __future__ import annotations

import numpy as np
from scipy import special

from chainrule.dtypes import BY_NAME, bool_, converted, float32, float64, int8, int32, int64, uint8
from chainrule.errors import DTypeError, IndexOutOfRangeError, ShapeError

from .table import SPECIAL, bools, case, distinct, floats, integers, row, wrong


def precise(function):
    """`function` computed in long double and rounded to the operands' dtype."""

    def reference(*operands):
        dtype = operands[0].dtype
        if dtype.kind != "f":
            return np.asarray(function(*operands)).astype(dtype)
        return np.asarray(function(*(operand.astype(np.longdouble) for operand in operands))).astype(dtype)

    return reference


def exact(function):
    """`function` in the operands' own dtype."""

    def reference(*operands):
        return np.asarray(function(*operands))

    return reference


def unary(name, reference, low=-2.0, high=2.0, kinds="f", smooth=True, loose=1.0, values=None):
    """A row for one operand: usual, rank 0, empty and special operands, integers where accepted."""
    make = values or (lambda *shape, **settings: floats(*shape, low=low, high=high, **settings))
    cases = []
    if "f" in kinds:
        cases += [
            case(make(3, 4), smooth=smooth),
            case(make(5, 7, dtype="float32", seed=1)),
            case(make(), smooth=smooth, tag="rank 0"),
            case(make(0, 3), smooth=smooth, tag="empty"),
            case(SPECIAL.astype("float32"), tag="special"),
            case(SPECIAL, tag="special"),
        ]
    if "i" in kinds:
        extremes = np.array([-128, 127, 0, -1], "int8")
        cases += [case(integers(3, 4)), case(integers(7, dtype="int32")), case(extremes, tag="extremes")]
    if "u" in kinds:
        cases += [case(integers(6, low=0, dtype="uint8")), case(np.array([0, 2**64 - 1], "uint64"), tag="extremes")]
    if "b" in kinds:
        cases += [case(bools(3, 4)), case(np.array(True)), case(np.zeros((0, 2), bool), tag="empty")]
    refused = np.array([1, 2]) if "i" not in kinds else np.array([True])
    bad = [] if set("ib") <= set(kinds) else [wrong(refused, message="operands", error=DTypeError)]
    row(name, reference, cases, bad, loose=loose)


def no_kink(*shape, dtype="float64", seed=0):
    """Numbers whose fractions are in [0.2, 0.8), away from the steps of floor, ceil, round and trunc's kinks."""
    whole = integers(*shape, low=-4, high=4, seed=seed)
    part = floats(*shape, low=0.1, high=0.4, seed=seed + 1)
    return np.asarray(whole + part).astype(dtype)


unary("neg", exact(np.negative), kinds="iuf")
unary("abs", exact(np.absolute), kinds="iuf", values=distinct)
unary("relu", exact(lambda x: np.where(x <= 0, np.zeros((), x.dtype), x)), kinds="iuf", values=distinct)
unary("sign", exact(np.sign), kinds="iuf", values=distinct)
unary("square", exact(np.square), kinds="iuf")
unary("reciprocal", precise(lambda x: 1 / x), low=0.3)
unary("floor", exact(lambda x: np.floor(x).astype(x.dtype)), kinds="iuf", values=no_kink)
unary("ceil", exact(lambda x: np.ceil(x).astype(x.dtype)), kinds="iuf", values=no_kink)
unary("trunc", exact(lambda x: np.trunc(x).astype(x.dtype)), kinds="iuf", values=no_kink)
unary("round", exact(lambda x: np.round(x).astype(x.dtype)), kinds="iuf", values=no_kink)
unary("exp", precise(np.exp))
unary("expm1", precise(np.expm1))
unary("elu", exact(lambda x: np.where(x <= 0, np.expm1(x), x).astype(x.dtype)), loose=2.0, values=distinct)
unary("log", precise(np.log), low=0.1)
unary("log1p", precise(np.log1p), low=-0.8)
unary("sqrt", precise(np.sqrt), low=0.1)
unary("rsqrt", precise(lambda x: 1 / np.sqrt(x)), low=0.3, loose=2.0)
unary("sin", precise(np.sin), low=-7.0, high=7.0)
unary("cos", precise(np.cos), low=-7.0, high=7.0)
unary("tan", precise(np.tan), low=-1.2, high=1.2, loose=4.0)
unary("asin", precise(np.arcsin), low=-0.8, high=0.8)
unary("acos", precise(np.arccos), low=-0.8, high=0.8)
unary("atan", precise(np.arctan), low=-4.0, high=4.0)
unary("sinh", precise(np.sinh))
unary("cosh", precise(np.cosh))
unary("tanh", precise(np.tanh))
unary("asinh", precise(np.arcsinh), low=-4.0, high=4.0)
unary("acosh", precise(np.arccosh), low=1.3, high=4.0)
unary("atanh", precise(np.arctanh), low=-0.8, high=0.8)
unary("erf", exact(lambda x: special.erf(x.astype("float64")).astype(x.dtype)), loose=4.0)
unary("sigmoid", exact(lambda x: special.expit(x.astype("float64")).astype(x.dtype)), low=-5.0, high=5.0, loose=4.0)
unary("isfinite", exact(np.isfinite), kinds="iuf", smooth=False)
unary("isnan", exact(np.isnan), kinds="iuf", smooth=False)
unary("isinf", exact(np.isinf), kinds="iuf", smooth=False)
unary("logical_not", exact(np.logical_not), kinds="b", smooth=False)
unary("bitwise_not", exact(np.bitwise_not), kinds="biu", smooth=False)

row(
    "cast",
    lambda dtype, x: converted(x, dtype),
    [
        case(floats(3, 4), attributes=(float32,), tag="narrower"),
        case(floats(3, 4), attributes=(float64,), smooth=True),
        case(floats(3, 4, dtype="float32"), attributes=(float64,)),
        case(floats(9, low=-9, high=9), attributes=(int32,)),
        case(floats(9, low=-9, high=9), attributes=(bool_,)),
        case(SPECIAL, attributes=(bool_,), tag="special"),
        case(integers(3, 4), attributes=(float32,)),
        case(integers(5, low=-1000, high=1000), attributes=(int8,), tag="wraps"),
        case(integers(5, low=-3, high=3), attributes=(uint8,), tag="wraps"),
        case(integers(5, low=-1, high=2), attributes=(bool_,)),
        case(bools(4), attributes=(float32,)),
        case(bools(4), attributes=(int64,)),
        case(np.zeros((0, 2)), attributes=(int32,), tag="empty"),
        *(case(integers(3, low=0), attributes=(dtype,), tag=dtype.name) for dtype in BY_NAME.values()),
    ],
)

row(
    "check_index",
    lambda size, what, x: x,
    [
        case(np.array([[0, 4], [-5, 2]]), attributes=(5, "class labels")),
        case(np.array(3, "int32"), attributes=(5, "class labels"), tag="rank 0"),
        case(np.zeros(0, "int64"), attributes=(5, "class labels"), tag="empty"),
    ],
    [
        wrong([0, 5], attributes=(5, "class labels"), message="index 5 is out of range", error=IndexOutOfRangeError),
        wrong(
            [-6], attributes=(5, "labels"), message="index -6 is out of range for labels", error=IndexOutOfRangeError
        ),
        wrong([0.5], attributes=(5, "class labels"), message="integer", error=DTypeError),
    ],
)


def binary(name, reference, kinds="f", smooth=True, loose=1.0, left=None, right=None, pairs=SPECIAL):
    """A row for two operands, ties among them; every pair of special values."""
    left = left or (lambda *shape, **settings: floats(*shape, **settings))
    right = right or (lambda *shape, **settings: floats(*shape, **settings))
    cases = []
    if "f" in kinds:
        a, b = (part.ravel() for part in np.meshgrid(pairs, pairs))
        cases += [
            case(left(3, 4), right(3, 4, seed=5), smooth=smooth),
            case(left(5, 7, dtype="float32", seed=1), right(5, 7, dtype="float32", seed=2)),
            case(left(), right(seed=3), smooth=smooth, tag="rank 0"),
            case(left(3, 0), right(3, 0), smooth=smooth, tag="empty"),
            case(a.astype("float32"), b.astype("float32"), tag="special"),
            case(a, b, tag="special"),
        ]
    if "i" in kinds:
        extremes = np.array([-128, 127, 0, -1, 1, 5], "int8")
        a, b = (part.ravel() for part in np.meshgrid(extremes, extremes))
        cases += [case(integers(40), integers(40, seed=1)), case(a, b, tag="extremes")]
        cases += [case(integers(9, dtype="int32"), integers(9, dtype="int32", seed=1))]
    if "u" in kinds:
        whole = np.array([0, 1, 2, 255, 7], "uint8")
        a, b = (part.ravel() for part in np.meshgrid(whole, whole))
        cases += [case(a, b, tag="extremes"), case(a.astype("uint64"), b.astype("uint64"))]
    if "b" in kinds:
        cases += [
            case(bools(3, 4), bools(3, 4, seed=1)),
            case(np.array([False, False, True, True]), np.array([0, 1] * 2) > 0),
        ]
    good = cases[0].operands[0]
    bad = [
        wrong(good, good[:2], message="extents", error=ShapeError),
        wrong(good, good[0], message="differ", error=ShapeError),
    ]
    if good.dtype.kind == "f":
        bad.append(wrong(good, good.astype("float32"), message="different dtypes", error=DTypeError))
    if "b" not in kinds:
        bad.append(wrong(bools(2), bools(2), message="operands", error=DTypeError))
    row(name, reference, cases, bad, loose=loose)


def positive(*shape, **settings):
    """Numbers in [0.3, 2)."""
    return floats(*shape, low=0.3, **settings)


def apart(*shape, **settings):
    """Numbers whose distance from multiples of 1 is kept: for quotients by 1 to 1.3 without kinks."""
    return no_kink(*shape, **settings)


def unit(*shape, dtype="float64", seed=0):
    """Ones, nearly: divisors that keep quotients away from whole numbers."""
    return floats(*shape, low=1.0, high=1.02, dtype=dtype, seed=seed)


def integer_power(a, b):
    """Powers by Python's integers, wrapped; negative exponents truncate the quotient."""
    if a.dtype.kind in "fc":
        return precise(np.power)(a, b)
    bits = a.dtype.itemsize * 8

    def power(x, n):
        if n < 0:
            return {1: 1, -1: -1 if n % 2 else 1}.get(x, 0)
        value = pow(x, n, 2**bits)
        return value - 2**bits if a.dtype.kind == "i" and value >= 2 ** (bits - 1) else value

    return np.array([power(int(x), int(n)) for x, n in zip(a.ravel(), b.ravel())], a.dtype).reshape(a.shape)


def wrapped(function):
    """`function` with NumPy's warnings about integer division left out."""

    def reference(a, b):
        with np.errstate(all="ignore"):
            return function(a, b)

    return reference


def floor_quotient(a, b):
    """The Array API's floor division: that of Python, but a / b with infinities."""
    quotient = np.floor_divide(a, b)
    return np.where(np.isinf(a) | np.isinf(b), a / b, quotient) if a.dtype.kind == "f" else quotient


moderate = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -0.5, 2.5, -2.5, 7.25, 100.0, -3.0])
binary("add", exact(np.add), kinds="iuf")
binary("sub", exact(np.subtract), kinds="iuf")
binary("mul", exact(np.multiply), kinds="iuf")
binary("div", exact(np.divide), right=positive)
binary("pow", integer_power, kinds="iuf", left=positive, loose=10.0, pairs=moderate)
binary("maximum", exact(np.maximum), kinds="iuf", left=distinct)
binary("minimum", exact(np.minimum), kinds="iuf", left=distinct)
binary("remainder", wrapped(np.remainder), kinds="iuf", left=apart, right=unit, pairs=moderate)
binary("floor_divide", wrapped(floor_quotient), kinds="iuf", left=apart, right=unit, pairs=moderate)
binary("atan2", precise(np.arctan2), left=positive)
for name, function in (("and", np.bitwise_and), ("or", np.bitwise_or), ("xor", np.bitwise_xor)):
    binary(f"bitwise_{name}", exact(function), kinds="biu", smooth=False)
for name, function in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
    binary(f"logical_{name}", exact(function), kinds="b", smooth=False)
for name, function in (("eq", np.equal), ("ne", np.not_equal)):
    binary(name, exact(function), kinds="biuf", smooth=False)
for name, function in (("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal)):
    binary(name, exact(function), kinds="iuf", smooth=False)
for name, function in (("shift_left", np.left_shift), ("shift_right", np.right_shift)):
    binary(name, exact(function), kinds="iu", smooth=False)

row(
    "where",
    exact(np.where),
    [
        case(bools(3, 4), floats(3, 4), floats(3, 4, seed=1), smooth=True),
        case(bools(3, 4), floats(3, 4, dtype="float32"), floats(3, 4, dtype="float32", seed=1)),
        case(bools(16, seed=2), SPECIAL, SPECIAL[::-1], tag="special"),
        case(np.array(True), np.array(1.0), np.array(2.0), smooth=True, tag="rank 0"),
        case(bools(0, 2), floats(0, 2), floats(0, 2), smooth=True, tag="empty"),
        case(bools(5), integers(5), integers(5, seed=1)),
        case(bools(5), bools(5, seed=1), bools(5, seed=2)),
    ],
    [
        wrong(bools(3), floats(3), floats(2), message="extents"),
        wrong(bools(1), floats(3), floats(3), message="extents"),
        wrong(bools(3), floats(3), floats(3, dtype="float32"), message="dtypes", error=DTypeError),
        wrong(floats(3), floats(3), floats(3), message="condition must be bool", error=DTypeError),
    ],
)
