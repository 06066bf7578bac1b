"""Rows of the primitives between real and complex numbers, and complex operands for the rows of the others."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import bool_, complex64, complex128, float32
from chainrule.errors import DTypeError

from . import (  # the rows that this file adds to
    table_attention,  # noqa: F401
    table_beyond,  # noqa: F401
    table_convolution,  # noqa: F401
    table_elementwise,  # noqa: F401
    table_linalg,  # noqa: F401
    table_sparse,  # noqa: F401
    table_structure,  # noqa: F401
)
from .table import Case, bools, case, floats, integers, row, rows_by_name, wrong

PARTS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan])


def complexes(*shape: int, low: float = -2.0, high: float = 2.0, dtype: str = "complex128", seed: int = 0):
    """Numbers in a square of the complex plane."""
    parts = floats(2, *shape, low=low, high=high, seed=seed + 100)
    return np.asarray(parts[0] + 1j * parts[1]).astype(dtype)


def special(dtype: str = "complex128") -> np.ndarray:
    """Every pair of special parts."""
    result = np.empty((PARTS.size, PARTS.size), dtype)
    result.real, result.imag = PARTS[:, None], PARTS[None, :]
    return result


def four(attributes: tuple = (), smooth: bool = True, **where: float) -> list[Case]:
    """The usual operands of a function of one complex number."""
    return [
        case(complexes(3, 4, **where), attributes=attributes, smooth=smooth, tag="complex"),
        case(complexes(5, 7, dtype="complex64", seed=1, **where), attributes=attributes, tag="complex"),
        case(complexes(**where), attributes=attributes, smooth=smooth, tag="complex rank 0"),
        case(complexes(0, 3), attributes=attributes, smooth=smooth, tag="complex empty"),
    ]


def more(name: str, *cases: Case) -> None:
    """Add cases to the row of a primitive that takes real numbers too."""
    rows_by_name()[name].cases.extend(cases)


def refused(name: str, *operands, attributes: tuple = (), message: str = "not defined for complex numbers") -> None:
    """Add a refusal of complex operands to a row."""
    rows_by_name()[name].wrong.append(wrong(*operands, attributes=attributes, message=message, error=DTypeError))


# -- parts and pairs --------------------------------------------------------------------------------------------------

for name, function in (("real", np.real), ("imag", np.imag), ("conj", np.conjugate)):
    row(
        name,
        lambda x, function=function: np.asarray(function(x)),
        [*four(), case(special(), tag="special"), case(special("complex64"), tag="special")],
        [wrong(floats(3), message="needs complex operands", error=DTypeError)],
    )


def pair(a, b):
    """The complex numbers of these parts, each part put in its place: inf + nan i has no other meaning."""
    result = np.zeros(a.shape, "complex64" if a.dtype == "float32" else "complex128")
    result.real, result.imag = a, b
    return result


row(
    "complex",
    pair,
    [
        case(floats(3, 4), floats(3, 4, seed=1), smooth=True),
        case(floats(5, dtype="float32"), floats(5, dtype="float32", seed=1)),
        case(floats(), floats(seed=1), smooth=True, tag="rank 0"),
        case(floats(0, 2), floats(0, 2), smooth=True, tag="empty"),
        case(*(np.array(part) for part in (special().real, special().imag)), tag="special"),
    ],
    [
        wrong(floats(3), floats(2), message="extents 3 and 2 of axis 0 differ"),
        wrong(floats(3), floats(3, dtype="float32"), message="different dtypes", error=DTypeError),
        wrong(integers(3), integers(3), message="needs floating operands", error=DTypeError),
        wrong(floats(3, dtype="float16"), floats(3, dtype="float16"), message="needs float32 or float64",
              error=DTypeError),
        wrong(complexes(3), complexes(3), message="not defined for complex numbers", error=DTypeError),
    ],
)  # fmt: skip

# -- functions of one number ------------------------------------------------------------------------------------------

for name in (
    "neg abs square reciprocal exp expm1 log log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh"
    " atanh sign alias"
).split():
    more(name, *four())
more("round", *four(smooth=False))
more("stop_gradient", *four(smooth=False))
for name in ("isfinite", "isnan", "isinf"):
    more(name, *four(smooth=False), case(special(), tag="complex special"))
for name in ("neg", "alias"):
    more(name, case(special(), tag="complex special"))
for name in ("floor", "ceil", "trunc", "relu", "erf"):
    refused(name, complexes(3))

# -- casts ------------------------------------------------------------------------------------------------------------

more(
    "cast",
    case(floats(3, 4), attributes=(complex128,), smooth=True, tag="complex"),
    case(floats(3, 4, dtype="float32"), attributes=(complex64,), tag="complex"),
    case(complexes(3, 4), attributes=(complex64,), tag="complex narrower"),
    case(complexes(3, 4), attributes=(complex128,), smooth=True, tag="complex same"),
    case(np.array([0j, -0.0 + 0j, 1j, complex(0, np.nan)]), attributes=(bool_,), tag="complex"),
    case(bools(4), attributes=(complex64,), tag="complex"),
)
refused("cast", complexes(3), attributes=(float32,), message="complex numbers do not become float32 ones")

# -- two and three operands -------------------------------------------------------------------------------------------

for name in ("add", "sub", "mul", "div"):
    more(
        name,
        case(complexes(3, 4), complexes(3, 4, seed=5), smooth=True, tag="complex"),
        case(complexes(9, dtype="complex64"), complexes(9, dtype="complex64", seed=5), tag="complex"),
        case(complexes(), complexes(seed=1), smooth=True, tag="complex rank 0"),
        case(complexes(0, 2), complexes(0, 2), smooth=True, tag="complex empty"),
    )
more(
    "pow",
    case(complexes(3, 4), complexes(3, 4, seed=5), smooth=True, tag="complex"),
    case(complexes(9, dtype="complex64", low=0.3), complexes(9, dtype="complex64", seed=5), tag="complex"),
    case(np.array([0j, 0j, 0j, 2j, 2j]), np.array([0j, 1 + 0j, 2 + 0j, 3 + 0j, -2 + 0j]), tag="complex whole"),
)
for name in ("eq", "ne"):
    pairs = np.array([1 + 2j, 1 - 2j, -0.0 + 0j, complex(np.nan, 1), complex(np.inf, 1)])
    more(name, case(pairs, np.array([1 + 2j, 1 + 2j, 0j, complex(np.nan, 1), complex(np.inf, 1)]), tag="complex"))
for name in ("lt", "le", "gt", "ge", "maximum", "minimum", "remainder", "floor_divide", "atan2"):
    refused(name, complexes(3), complexes(3))
more(
    "where",
    case(bools(3, 4), complexes(3, 4), complexes(3, 4, seed=1), smooth=True, tag="complex"),
    case(bools(5), complexes(5, dtype="complex64"), complexes(5, dtype="complex64", seed=1), tag="complex"),
)

# -- movement ---------------------------------------------------------------------------------------------------------

more("reshape", case(complexes(3, 4), attributes=((2, 6),), smooth=True, tag="complex"))
more("permute", case(complexes(2, 3, 4), attributes=((2, 0, 1),), smooth=True, tag="complex"))
more("broadcast", case(complexes(3, 1), attributes=((2, 3, 4), (1, 2)), smooth=True, tag="complex"))
more("slice", case(complexes(5, 6), attributes=((1, 0), (4, 6), (1, 2)), smooth=True, tag="complex"))
more("flip", case(complexes(3, 4), attributes=((0, 1),), smooth=True, tag="complex"))
more("concat", case(complexes(2, 3), complexes(1, 3, seed=1), attributes=(0,), smooth=True, tag="complex"))
more("windows", case(complexes(2, 7), attributes=((3,), (2,), (1,)), smooth=True, tag="complex"))
more(
    "pad",
    case(complexes(2, 3), np.array(0.5j), attributes=((1, 0), (2, 1), (0, 2)), smooth=True, tag="complex"),
)
more("barrier", case(complexes(3), complexes(3, seed=1), smooth=True, tag="complex"))

# -- reductions, products, indexing -----------------------------------------------------------------------------------

for name in ("sum", "prod"):
    more(
        name,
        case(complexes(3, 4), attributes=((0,),), smooth=True, tag="complex"),
        case(complexes(2, 3, 4), attributes=((0, 2),), smooth=True, tag="complex"),
        case(complexes(20, 30, dtype="complex64", low=0.4, high=0.9), attributes=((1,),), tag="complex"),
        case(complexes(0, 3), attributes=((0,),), smooth=True, tag="complex empty"),
    )
more("prod", case(np.array([[0j, 2j, 3.0], [0j, 0j, 5j]]), attributes=((1,),), smooth=True, tag="complex zeros"))
for name in ("max", "min"):
    refused(name, complexes(3), attributes=((0,),), message="complex numbers have no order")
for name in ("argmax", "argmin", "sort", "argsort"):
    refused(name, complexes(3), attributes=(0,), message="complex numbers have no order")
refused("max_at", complexes(3), np.array(1), attributes=((0,),), message="complex numbers have no order")
refused("scatter_extreme", complexes(3), np.array([1]), complexes(1), attributes=(0, "max"),
        message="complex numbers have no order")  # fmt: skip
refused("attention", *[complexes(2, 3)] * 3, attributes=(False, 2), message="complex numbers have no order")
MATRICES = ((0, 1), (1, 2), (0, 2))
more(
    "contract",
    case(complexes(3, 4), complexes(4, 5, seed=1), attributes=MATRICES, smooth=True, tag="complex"),
    case(complexes(4), complexes(4, seed=1), attributes=((0,), (0,), ()), smooth=True, tag="complex dot"),
    case(complexes(2, 3, 4), complexes(2, 4, 5, seed=1), attributes=((3, 0, 1), (3, 1, 2), (3, 0, 2)), smooth=True,
         tag="complex"),
    case(complexes(3, 4, dtype="complex64"), complexes(4, 5, dtype="complex64", seed=1), attributes=MATRICES,
         tag="complex"),
)  # fmt: skip
INDICES = np.array([[0, 2, -1], [2, 2, -4]])
more("take", case(complexes(2, 4, 3), INDICES, attributes=(1,), smooth=True, tag="complex"))
more("take_along", case(complexes(2, 4), np.array([[0], [-1]]), attributes=(1,), smooth=True, tag="complex"))
more(
    "scatter_add",
    case(complexes(4, 3), np.array([1, 3, 1]), complexes(3, 3, seed=1), attributes=(0,), smooth=True, tag="complex"),
)
more(
    "scatter_add_along",
    case(complexes(4), np.array([1, 3, 1]), complexes(3, seed=1), attributes=(0,), smooth=True, tag="complex"),
)
FORM = ((1,), (1,), (1,), (1,), 1)
more("convolution", case(complexes(2, 3, 6), complexes(4, 3, 3, seed=1), attributes=FORM, smooth=True, tag="complex"))
