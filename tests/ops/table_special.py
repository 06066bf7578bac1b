"""Rows of the special functions; references are SciPy's, in float64, with the limits that it leaves out."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from chainrule.errors import DTypeError, ShapeError

from .table import bools, case, floats, row, wrong
from .table_elementwise import binary, unary

inf, nan = np.inf, np.nan


def reference(function, **limits):
    """`function` in float64, rounded to the operands' dtype; `limits` gives other values at 0, -0, inf or -inf."""

    def computed(x):
        wide = x.astype("float64")
        value = np.asarray(function(wide))
        for name, limit in limits.items():
            zero, negative = wide == 0, np.signbit(wide)
            at = {
                "zero": zero & ~negative,
                "minus_zero": zero & negative,
                "inf": wide == inf,
                "minus_inf": wide == -inf,
            }
            value = np.where(at[name], limit, value)
        return value.astype(x.dtype)

    return computed


def bounded(function):
    """A decaying function: 0 for huge arguments of the domain, where SciPy gives NaN."""

    def computed(x):
        wide = x.astype("float64")
        value = np.asarray(function(np.where(np.abs(wide) > 1e8, 1.0, wide)))
        return np.where(np.abs(wide) > 1e8, function(np.sign(wide)) * 0.0, value).astype(x.dtype)

    return computed


unary("gamma", reference(special.gamma), low=0.3, high=4.0, loose=2.0)
unary("lgamma", reference(special.gammaln, minus_inf=inf), low=0.3, high=4.0)
unary("digamma", reference(special.psi, zero=-inf, minus_zero=inf), low=0.3, high=4.0, loose=2.0)
unary("erfc", reference(special.erfc))
unary("erfcx", reference(special.erfcx), loose=2.0)
unary("erfinv", reference(special.erfinv), low=-0.9, high=0.9)
unary("erfcinv", reference(special.erfcinv), low=0.1, high=1.9)
unary("ndtr", reference(special.ndtr))
unary("log_ndtr", reference(special.log_ndtr))
unary("ndtri", reference(special.ndtri), low=0.1, high=0.9)
unary("sinc", lambda x: reference(np.sinc, inf=0.0, minus_inf=0.0)(np.where(np.abs(x) > 1e8, inf, x).astype(x.dtype)))
unary("logit", reference(special.logit), low=0.1, high=0.9)
unary("softplus", reference(lambda x: np.logaddexp(0.0, x)), low=-5.0, high=5.0)
unary("entr", reference(special.entr), low=0.1)
for name in ("j0", "j1"):
    unary(f"bessel_{name}", bounded(getattr(special, name)), low=-7.0, high=12.0)
for name in ("y0", "y1", "k0", "k1", "k0e", "k1e"):
    unary(f"bessel_{name}", bounded(getattr(special, name)), low=0.3, high=12.0, loose=4.0)
for name in ("i0", "i1"):
    unary(
        f"bessel_{name}", reference(getattr(special, name), inf=inf, minus_inf=inf if name == "i0" else -inf), low=0.2
    )
for name in ("i0e", "i1e"):
    unary(f"bessel_{name}", reference(getattr(special, name)), low=0.2, high=9.0)

row(
    "polygamma",
    lambda n, x: special.polygamma(n, x.astype("float64")).astype(x.dtype),
    [
        case(floats(3, 4, low=0.5, high=5.0), attributes=(1,), smooth=True),
        case(floats(3, 4, low=0.5, high=12.0), attributes=(4,), smooth=True),
        case(floats(5, 7, low=0.2, high=30.0, dtype="float32"), attributes=(2,)),
        case(floats(7, low=-3.9, high=-3.1), attributes=(3,), tag="negative"),
        case(np.array(1.5), attributes=(1,), smooth=True, tag="rank 0"),
        case(np.array([0.0, -1.0, -2.0, inf, nan]), attributes=(1,), tag="special"),
        case(np.array([0.0, -1.0, -2.0, inf, nan], "float32"), attributes=(2,), tag="special"),
        case(np.zeros((0, 2)), attributes=(1,), smooth=True, tag="empty"),
    ],
    [wrong(np.array([1, 2]), attributes=(1,), message="operands", error=DTypeError)],
    loose=4.0,
)


def erfcx_derivative(n, x):
    """By the recurrence of the Hermite-like factors, in long double; good for small n and x."""
    wide = x.astype(np.longdouble)
    values = [special.erfcx(x.astype("float64")).astype(np.longdouble)]
    before = np.longdouble(2.0) / np.sqrt(np.longdouble(np.pi))
    for k in range(1, n + 1):
        values.append((before - 2 * wide * values[-1]) / (2 * k))
        before = values[-2]
    return (values[n] * (-2.0) ** n * special.factorial(n)).astype(x.dtype)


row(
    "erfcx_derivative",
    erfcx_derivative,
    [
        case(floats(3, 4), attributes=(1,), smooth=True),
        case(floats(3, 4, low=-1.0, high=3.0), attributes=(2,), smooth=True),
        case(floats(5, 7, dtype="float32"), attributes=(1,)),
        case(np.array(0.5), attributes=(1,), smooth=True, tag="rank 0"),
        case(np.zeros((0, 2)), attributes=(1,), smooth=True, tag="empty"),
    ],
    [wrong(np.array([1, 2]), attributes=(1,), message="operands", error=DTypeError)],
    loose=20.0,
)


def apart_from_two_poles(*shape, **settings):
    return floats(*shape, low=0.3, high=14.0, **settings)


parameters = np.array([0.5, 1.0, 2.5, 7.25, 8.0, 100.0, 1e4, 1e-6, nan])
binary(
    "betaln",
    lambda a, b: special.betaln(a.astype("float64"), b.astype("float64")).astype(a.dtype),
    left=apart_from_two_poles,
    right=apart_from_two_poles,
    pairs=parameters,
    loose=20.0,
)


def in_two(function):
    """`function` of two float64 arrays, rounded to the operands' dtype."""
    return lambda a, x: np.asarray(function(a.astype("float64"), x.astype("float64"))).astype(a.dtype)


def weight(a, x):
    """x**a exp(-x) / gamma(a + 1), at the ends by its limits."""
    with np.errstate(all="ignore"):
        value = np.exp(special.xlogy(a, x) - x - special.gammaln(a + 1.0))
    value = np.where(np.isinf(a) != np.isinf(x), 0.0, value)
    return np.where((a < 0) | (x < 0) | np.isnan(a) | np.isnan(x) | (np.isinf(a) & np.isinf(x)), nan, value)


def positive(*shape, **settings):
    return floats(*shape, low=0.4, high=4.0, **settings)


limits = np.array([0.0, 1.0, inf, nan, -1.0, -inf, 0.25, 2.5, 30.0])
finite = np.array([0.0, 1.0, nan, -1.0, 0.25, 2.5, 30.0])
binary("poisson_weight", in_two(weight), left=positive, right=positive, pairs=finite, loose=10.0)
binary("gammainc", in_two(special.gammainc), left=positive, right=positive, pairs=limits, loose=4.0)
binary("gammaincc", in_two(special.gammaincc), left=positive, right=positive, pairs=limits, loose=4.0)

ends = np.array([0.0, 0.25, 1.0, 0.9999, -1.0, 2.0, nan])
grid = np.meshgrid(np.array([0.3, 1.0, 40.0, nan]), np.array([0.2, 1.0, 7.0]), ends)
row(
    "betainc",
    lambda a, b, x: special.betainc(*(v.astype("float64") for v in (a, b, x))).astype(a.dtype),
    [
        case(positive(3, 4), positive(3, 4, seed=1), floats(3, 4, low=0.1, high=0.9, seed=2), smooth=True),
        case(np.array(0.4), np.array(2.0), np.array(0.3), smooth=True, tag="rank 0"),
        case(
            positive(5, 7, dtype="float32"),
            positive(5, 7, dtype="float32", seed=1),
            floats(5, 7, low=0.0, high=1.0, dtype="float32", seed=2),
        ),
        case(np.zeros((3, 0)), np.zeros((3, 0)), np.zeros((3, 0)), smooth=True, tag="empty"),
        case(*(part.ravel() for part in grid), tag="special"),
    ],
    [
        wrong(np.ones(3), np.ones(3), np.ones(2), message="extents 3 and 2", error=ShapeError),
        wrong(np.ones(3), np.ones(3), np.ones(3, "float32"), message="different dtypes", error=DTypeError),
        wrong(bools(3), bools(3), bools(3), message="operands", error=DTypeError),
    ],
    loose=10.0,
)

# draws: what was drawn is an operand; derivatives are tested in tests/test_distributions.py
drawn = (floats(3, 4, low=1.0, high=4.0), floats(3, 4, low=0.5, high=5.0, seed=1))
for name, attributes, reference_of in (
    ("gamma_draw", (), lambda a, z: z),
    ("vonmises_draw", (), lambda a, z: z),
    ("opaque_draw", ("poisson", "lam"), lambda draw, parameter, z, a: z),
):
    row(
        name,
        reference_of,
        [
            case(*drawn, attributes=attributes),
            case(*(part.astype("float32") for part in drawn), attributes=attributes),
            case(np.array(2.0), np.array(1.5), attributes=attributes, tag="rank 0"),
        ],
        [wrong(drawn[0], drawn[1][:2], attributes=attributes, message="extents 3 and 2")],
    )

chances = floats(40, low=0.0, high=1.0)
rates = floats(40, low=0.01, high=10.0, seed=1)
row(
    "poisson_quantile",
    lambda u, rate, start: stats.poisson.ppf(u, rate),
    [case(chances, rates, np.exp(-rates)), case(np.array(0.5), np.array(2.0), np.exp(-2.0), tag="rank 0")],
    [wrong(chances, rates[:3], rates, message="extents 40 and 3")],
)
trials = np.floor(floats(40, low=1.0, high=20.0, seed=2))
odds = floats(40, low=0.01, high=0.5, seed=3)
row(
    "binomial_quantile",
    lambda u, n, odds, start: stats.binom.ppf(u, n, odds / (1.0 + odds)),
    [case(chances, trials, odds, (1.0 + odds) ** -trials)],
    [wrong(chances, trials.astype("float32"), odds, odds, message="different dtypes", error=DTypeError)],
)
