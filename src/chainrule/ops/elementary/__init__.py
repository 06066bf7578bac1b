"""The elementary functions, written once in the scalar vocabulary of the backends.

Each is called with a `ScalarBuilder` and the operands' values. Results are within 4 units in the
last place of the exact value, in float32 for every input; special values are those of C99.
"""

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
