"""The elementary functions, written once in the scalar vocabulary of the backends.

Each is called with a `ScalarBuilder` and the operands' values. Results are within 4 units in the last place of the
exact value, in float32 for every input, and exp, expm1, log, log1p, tanh, sigmoid, erf, sin and cos within 2 there;
special values are those of C99. The files are loaded when code is first generated, not with the package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .division import floor_divide, remainder, sign
    from .exponential import cosh, erf, exp, expm1, sigmoid, sinh, tanh
    from .logarithm import acosh, asinh, atanh, log, log1p
    from .power import pow, reciprocal, rsqrt, square
    from .trigonometric import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "exp", "expm1", "floor_divide",
    "log", "log1p", "pow", "reciprocal", "remainder", "rsqrt", "sigmoid", "sign", "sin", "sinh", "square", "tan",
    "tanh",
]  # fmt: skip

_FILES = {
    "division": ("floor_divide", "remainder", "sign"),
    "exponential": ("cosh", "erf", "exp", "expm1", "sigmoid", "sinh", "tanh"),
    "logarithm": ("acosh", "asinh", "atanh", "log", "log1p"),
    "power": ("pow", "reciprocal", "rsqrt", "square"),
    "trigonometric": ("acos", "asin", "atan", "atan2", "cos", "sin", "tan"),
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
