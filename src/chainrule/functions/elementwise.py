"""Elementwise functions with the Array API's names, broadcasting and promotion, and a few of PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..conversion import nodes_of, to_node
from ..dtypes import bool_, complex_dtype
from ..errors import DTypeError
from ..graph.node import Node
from ..operators import binary, power, record
from ..ops.base import emit, mode, primitive
from ..recording import LIMITS, broadcast, broadcast_shapes, cast, full, promoted, reject
from ..tensor import Tensor, node_of


def _unary(name: str, doc: str, integers: str = "reject") -> Callable[[Any], Tensor]:
    """A function over the unary primitive `name`; `integers`: 'reject', 'same' (identity) or 'record'."""
    op = primitive(name)

    def function(x: Any, /) -> Tensor:
        node = node_of(x) if isinstance(x, Tensor) else to_node(x, name)
        kind = node.dtype.kind
        if kind == "f":
            return Tensor(
                Node(op, (node,), node.shape, node.dtype, None, node.requires_grad and mode.grad_enabled, mode.where)
            )
        if integers == "same" and kind in "iu":
            return Tensor(node)
        return Tensor(emit(name, node))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


exp = _unary("exp", "e to the power x.")
expm1 = _unary("expm1", "exp(x) - 1, accurate for small x.")
log = _unary("log", "Natural logarithm.")
log1p = _unary("log1p", "log(1 + x), accurate for small x.")
sqrt = _unary("sqrt", "Square root; NaN for negative real numbers.")
rsqrt = _unary("rsqrt", "1 / sqrt(x).")
sin = _unary("sin", "Sine of x in radians.")
cos = _unary("cos", "Cosine of x in radians.")
tan = _unary("tan", "Tangent of x in radians.")
asin = _unary("asin", "Inverse sine in radians.")
acos = _unary("acos", "Inverse cosine in radians.")
atan = _unary("atan", "Inverse tangent in radians.")
sinh = _unary("sinh", "Hyperbolic sine.")
cosh = _unary("cosh", "Hyperbolic cosine.")
tanh = _unary("tanh", "Hyperbolic tangent.")
asinh = _unary("asinh", "Inverse hyperbolic sine.")
acosh = _unary("acosh", "Inverse hyperbolic cosine.")
atanh = _unary("atanh", "Inverse hyperbolic tangent.")
erf = _unary("erf", "Error function: 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.")
sigmoid = _unary("sigmoid", "Logistic function 1 / (1 + exp(-x)).")
floor = _unary("floor", "The greatest whole number that is not above x.", "same")
ceil = _unary("ceil", "The least whole number that is not below x.", "same")
round = _unary("round", "The nearest whole number; halves go to the even one.", "same")
trunc = _unary("trunc", "x without its fractional part.", "same")
square = _unary("square", "x times x.", "record")
reciprocal = _unary("reciprocal", "1 / x.")
exponential_linear = _unary("elu", "x where x > 0, else exp(x) - 1; what `chainrule.functional.elu` computes.")
rectified = _unary("relu", "0 where x <= 0, else x; what `chainrule.functional.relu` computes.", "record")
abs = _unary("abs", "Absolute value, real for complex x; its derivative at 0 is taken as 0.", "record")
negative = _unary("neg", "-x.", "record")
sign = _unary("sign", "-1, 0 or 1 by the sign of x, of complex numbers x / |x|; NaN stays.", "record")


def positive(x: Any, /) -> Tensor:
    """+x: the value itself."""
    return Tensor(to_node(x, "positive"))


def _plain(name: str, doc: str) -> Callable[[Any], Tensor]:
    def function(x: Any, /) -> Tensor:
        return Tensor(emit(name, to_node(x, name)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


bitwise_invert = _plain("bitwise_not", "Each bit flipped (for bool: not x).")
logical_not = _plain("logical_not", "Not x, for bool.")


def _question(name: str, doc: str, for_integers: bool) -> Callable[[Any], Tensor]:
    def function(x: Any, /) -> Tensor:
        node = to_node(x, name)
        if node.dtype.kind not in "fc":
            return Tensor(full(for_integers, node.shape, bool_))
        return Tensor(emit(name, node))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


isfinite = _question("isfinite", "Whether x is neither infinite nor NaN.", True)
isnan = _question("isnan", "Whether x is NaN.", False)
isinf = _question("isinf", "Whether x is an infinity.", False)


def _binary(name: str, doc: str, public: str | None = None) -> Callable[[Any, Any], Tensor]:
    forward = binary(name)[0]

    def function(x1: Any, x2: Any, /) -> Tensor:
        if isinstance(x1, Tensor):
            result = forward(x1, x2)
            if result is not NotImplemented:
                return result
        result = record(name, (x1, x2))
        return record(name, (_array(x1, name), _array(x2, name))) if result is None else result  # type: ignore[return-value]

    function.__name__ = function.__qualname__ = public or name
    function.__doc__ = doc
    return function


def _array(x: Any, name: str) -> Any:
    return x if isinstance(x, (Tensor, float, int)) else Tensor(to_node(x, name))


add = _binary("add", "x1 + x2.")
subtract = _binary("sub", "x1 - x2.", "subtract")
multiply = _binary("mul", "x1 * x2.", "multiply")
divide = _binary("div", "x1 / x2, for floating dtypes.", "divide")
floor_divide = _binary(
    "floor_divide",
    "x1 / x2 rounded towards minus infinity; with infinities x1 / x2 itself, as the standard prefers to Python's NaN.",
)
remainder = _binary("remainder", "x1 - floor(x1 / x2) * x2, with the sign of x2.")
maximum = _binary("maximum", "The greater of both; NaN if one is NaN.")
minimum = _binary("minimum", "The lesser of both; NaN if one is NaN.")
atan2 = _binary("atan2", "Angle of the point (x2, x1) in radians, from -pi to pi.")
bitwise_and = _binary("bitwise_and", "Bits set in both.")
bitwise_or = _binary("bitwise_or", "Bits set in either.")
bitwise_xor = _binary("bitwise_xor", "Bits set in one of both.")
bitwise_left_shift = _binary("shift_left", "Bits of x1 moved up by x2 places.", "bitwise_left_shift")
bitwise_right_shift = _binary("shift_right", "Bits of x1 moved down by x2 places.", "bitwise_right_shift")
logical_and = _binary("logical_and", "x1 and x2, for bool.")
logical_or = _binary("logical_or", "x1 or x2, for bool.")
logical_xor = _binary("logical_xor", "Exactly one of x1 and x2, for bool.")
equal = _binary("eq", "x1 == x2.", "equal")
not_equal = _binary("ne", "x1 != x2.", "not_equal")
less = _binary("lt", "x1 < x2.", "less")
less_equal = _binary("le", "x1 <= x2.", "less_equal")
greater = _binary("gt", "x1 > x2.", "greater")
greater_equal = _binary("ge", "x1 >= x2.", "greater_equal")


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power x2.

    The exponents -1, 1/2, 1, 2, 3 and 4, given as Python numbers, are recorded as products, roots and reciprocals.
    """
    if isinstance(x1, Tensor):
        result = power(x1, x2)
        if result is not NotImplemented:
            return result
    return record("pow", (_array(x1, "pow"), _array(x2, "pow")))  # type: ignore[return-value]


_WHERE = primitive("where")


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """x1 where `condition` (bool) holds, else x2; all three broadcast."""
    mask = to_node(condition, "where")
    if mask.dtype is not bool_:
        reject("where", "the condition is not bool", (mask,), "compare it, as in x != 0", DTypeError)
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        a, b = node_of(x1), node_of(x2)
        if a.dtype is b.dtype and mask.shape == a.shape == b.shape:
            requires_grad = (a.requires_grad or b.requires_grad) and mode.grad_enabled
            return Tensor(Node(_WHERE, (mask, a, b), a.shape, a.dtype, None, requires_grad, mode.where))
    weak = [isinstance(v, (float, int, complex)) for v in (x1, x2)]
    if all(weak):
        kinds = (bool, int, float, complex)
        kind = kinds[max(kinds.index(type(v)) for v in (x1, x2))]
        values: list[Any] = [to_node(kind(v), "where") for v in (x1, x2)]
    else:
        values = [None if w else to_node(v, "where") for v, w in zip((x1, x2), weak)]
    strong = [v for v in values if v is not None]
    dtype = promoted("where", strong)
    if dtype.kind == "f" and any(w and isinstance(v, complex) for w, v in zip(weak, (x1, x2))):
        dtype = complex_dtype(dtype)
    shape = broadcast_shapes("where", [mask, *strong])
    parts = [
        full(v, shape, dtype, "where") if n is None else broadcast(cast(n, dtype), shape)
        for v, n in zip((x1, x2), values)
    ]
    return Tensor(emit("where", broadcast(mask, shape), *parts))


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; None leaves that side open. The derivative is 1 from bound to bound, 0 outside.

    Whole numbers beyond the range of an integer dtype bound nothing on their side.
    """
    result = Tensor(to_node(x, "clip"))
    low, high = LIMITS.get(result.dtype, (None, None))
    if min is not None and not (type(min) is int and low is not None and min <= low):
        result = _limited(result, min, "lt")
    if max is not None and not (type(max) is int and high is not None and max >= high):
        result = _limited(result, max, "gt")
    return result


def _limited(x: Tensor, bound: Any, relation: str) -> Tensor:
    """`bound` where x stands in `relation` to it, else x."""
    nodes = nodes_of("clip", (x, bound)) or nodes_of("clip", (x, _array(bound, "clip")))
    assert nodes is not None
    return Tensor(emit("where", emit(relation, *nodes), nodes[1], nodes[0]))


clamp = clip


def signbit(x: Any, /) -> Tensor:
    """Whether the sign bit is set: x < 0, or x is minus zero or a NaN with that bit."""
    return Tensor(emit("signbit", to_node(x, "signbit")))


def _pair(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Both operands with one floating dtype and shape."""
    nodes = nodes_of(name, (x1, x2)) or nodes_of(name, (_array(x1, name), _array(x2, name)))
    assert nodes is not None
    if nodes[0].dtype.kind != "f":
        reject(name, "needs floating operands", nodes, "convert with .astype(chainrule.float32)", DTypeError)
    return Tensor(nodes[0]), Tensor(nodes[1])


def copysign(x1: Any, x2: Any, /) -> Tensor:
    """The magnitude of x1 with the sign of x2."""
    a, b = _pair("copysign", x1, x2)
    return Tensor(emit("copysign", node_of(a), node_of(b)))


def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """The number next to x1 in the direction of x2, for float32 and float64."""
    a, b = _pair("nextafter", x1, x2)
    return Tensor(emit("nextafter", node_of(a), node_of(b)))


def hypot(x1: Any, x2: Any, /) -> Tensor:
    """sqrt(x1^2 + x2^2), without overflow in between."""
    first, second = _pair("hypot", x1, x2)
    a, b = abs(first), abs(second)
    high, low = maximum(a, b), minimum(a, b)
    safe = where((high > 0) & isfinite(high), high, 1.0)
    return where(isfinite(high), high * sqrt(1.0 + square(low / safe)), high)


def logaddexp(x1: Any, x2: Any, /) -> Tensor:
    """log(exp(x1) + exp(x2)), without overflow in between."""
    a, b = _pair("logaddexp", x1, x2)
    high = maximum(a, b)
    shift = where(isfinite(high), high, 0.0).detach()
    return log(exp(a - shift) + exp(b - shift)) + shift


def log2(x: Any, /) -> Tensor:
    """Logarithm to base 2."""
    return _scaled(log(x), 1.4426950408889634)


def log10(x: Any, /) -> Tensor:
    """Logarithm to base 10."""
    return _scaled(log(x), 0.4342944819032518)


def _scaled(x: Tensor, factor: float) -> Tensor:
    """x times a real number: of complex numbers each part, as 0 times infinity would be NaN."""
    if x.dtype.kind != "c":
        return x * factor
    node = node_of(x)
    parts = [Tensor(emit(part, node)) * factor for part in ("real", "imag")]
    return Tensor(emit("complex", *map(node_of, parts)))
