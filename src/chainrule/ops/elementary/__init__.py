"""The elementary functions, written once in the scalar vocabulary of the backends.

Each is called with a `ScalarBuilder` and the operands' values. Results are within 4 units in the last place of the
exact value, in float32 for every input, and exp, expm1, log, log1p, tanh, sigmoid, erf, sin and cos within 2 there;
special values are those of C99. The special functions (gamma, Bessel, inverse error function) are computed in double
precision for float32 too; their errors stand in `docs/special.md`. The files are loaded when code is first generated,
not with the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bessel import bessel_j0, bessel_j1, bessel_y0, bessel_y1
    from .division import floor_divide, remainder, sign
    from .exponential import cosh, erf, exp, expm1, sigmoid, sinh, tanh
    from .gamma_family import betaln, digamma, gamma, lgamma, poisson_weight, polygamma
    from .logarithm import acosh, asinh, atanh, log, log1p
    from .logistic import entr, logit, sinc, softplus
    from .modified import bessel_i0, bessel_i0e, bessel_i1, bessel_i1e, bessel_k0, bessel_k0e, bessel_k1, bessel_k1e
    from .normal import erfc, erfcinv, erfcx, erfcx_derivative, erfinv, log_ndtr, ndtr, ndtri
    from .power import pow, reciprocal, rsqrt, square
    from .trigonometric import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e",
    "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1", "betaln",
    "cos", "cosh", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfcx_derivative", "erfinv", "exp", "expm1",
    "floor_divide", "gamma", "lgamma", "log", "log1p", "log_ndtr", "logit", "ndtr", "ndtri", "poisson_weight",
    "polygamma", "pow", "reciprocal", "remainder", "rsqrt", "sigmoid", "sign", "sin", "sinc", "sinh", "softplus",
    "square", "tan", "tanh",
]  # fmt: skip

_FILES = {
    "division": ("floor_divide", "remainder", "sign"),
    "exponential": ("cosh", "erf", "exp", "expm1", "sigmoid", "sinh", "tanh"),
    "logarithm": ("acosh", "asinh", "atanh", "log", "log1p"),
    "power": ("pow", "reciprocal", "rsqrt", "square"),
    "trigonometric": ("acos", "asin", "atan", "atan2", "cos", "sin", "tan"),
    "bessel": ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1"),
    "gamma_family": ("betaln", "digamma", "gamma", "lgamma", "poisson_weight", "polygamma"),
    "logistic": ("entr", "logit", "sinc", "softplus"),
    "modified": tuple(f"bessel_{kind}{order}{e}" for kind in "ik" for order in "01" for e in ("", "e")),
    "normal": ("erfc", "erfcinv", "erfcx", "erfcx_derivative", "erfinv", "log_ndtr", "ndtr", "ndtri"),
}


def load() -> None:
    """Load all files now, so that no function's first use has to."""
    for file in _FILES:
        importlib.import_module(f".{file}", __name__)


def __getattr__(name: str) -> Any:
    for file, functions in _FILES.items():
        if name in functions:
            value = globals()[name] = getattr(importlib.import_module(f".{file}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
