"""Special functions under SciPy's names, with PyTorch's where they differ: all differentiable, all compiled.

Operands are tensors, NumPy arrays or Python numbers of floating type, and broadcast; errors and ranges stand in
`docs/special.md`. Float32 results are computed in double precision and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from . import functions as fn
from .conversion import nodes_of, to_node
from .dtypes import float64
from .errors import ConfigError, DTypeError
from .functions import erf, expm1, log1p, logsumexp, sigmoid
from .ops.base import emit, message
from .recording import reject
from .tensor import Tensor

__all__ = [
    "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "beta", "betainc", "betaln", "binom", "comb", "digamma", "entr",
    "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp2", "expit", "expm1", "factorial", "gamma", "gammainc",
    "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "j0", "j1", "k0", "k0e", "k1", "k1e", "kl_div", "lgamma",
    "log1p", "log_expit", "log_ndtr", "log_softmax", "logit", "logsumexp", "modified_bessel_i0", "modified_bessel_i1",
    "modified_bessel_k0", "modified_bessel_k1", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "rel_entr",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "sinc", "softmax", "softplus", "xlog1py", "xlogy", "y0",
    "y1", "zeta",
]  # fmt: skip


def _number(x: Any) -> Any:
    """Whole Python numbers as floats."""
    return float(x) if isinstance(x, int) and not isinstance(x, bool) else x


def _unary(public: str, name: str, doc: str) -> Callable[[Any], Tensor]:
    """A function over the unary primitive `name`."""

    def function(x: Any, /) -> Tensor:
        return Tensor(emit(name, to_node(_number(x), public)))

    function.__name__ = function.__qualname__ = public
    function.__doc__ = doc
    return function


def _several(public: str, doc: str, *arguments: str) -> Callable[..., Tensor]:
    """A function over the primitive of its name with several operands, promoted and broadcast."""

    def function(*operands: Any) -> Tensor:
        if len(operands) != len(arguments):
            problem = f"takes {len(arguments)} operands ({', '.join(arguments)}), not {len(operands)}"
            raise ConfigError(message(public, problem, ()))
        return Tensor(emit(public, *_nodes(public, operands)))

    function.__name__ = function.__qualname__ = public
    function.__doc__ = doc
    return function


def _nodes(name: str, operands: tuple) -> list:
    nodes = nodes_of(name, tuple(map(_number, operands)))
    return [to_node(x, name) for x in operands] if nodes is None else nodes


def _tensors(name: str, *operands: Any) -> list[Tensor]:
    """The operands as tensors of one floating dtype and shape."""
    nodes = _nodes(name, operands)
    if nodes[0].dtype.kind != "f":
        reject(name, "needs floating operands", nodes, "convert with .astype(...)", DTypeError)
    return [Tensor(node) for node in nodes]


gamma = _unary(
    "gamma",
    "gamma",
    """The gamma function: the integral of t^(x - 1) exp(-t) over t > 0, (x - 1)! of whole numbers.

    NaN at negative whole numbers, infinite at 0. Derivative gamma(x) digamma(x).

    Example:
        >>> cr.special.gamma(cr.asarray([0.5, 5.0, -1.5])).tolist()
        [1.7724..., 24.0, 2.3632...]
    """,
)
lgamma = _unary(
    "lgamma",
    "lgamma",
    """log |gamma(x)|, infinite at 0 and the negative whole numbers; derivative digamma(x).

    Numerics: relative errors stay small at the zeros 1 and 2; at those between negative whole numbers errors are
    absolute.

    Example:
        >>> cr.lgamma(cr.asarray([1.0, 100.0])).tolist()
        [0.0, 359.1342...]
    """,
)
gammaln = lgamma
digamma = _unary(
    "digamma",
    "digamma",
    """The derivative of log gamma; NaN at negative whole numbers, -inf at 0; derivative `polygamma` of order 1.

    Example:
        >>> round(float(cr.digamma(cr.asarray(1.0))), 6)
        -0.577216
    """,
)
psi = digamma
erfc = _unary("erfc", "erfc", "1 - erf(x), the complementary error function, with its digits kept where it is small.")
erfcx = _unary("erfcx", "erfcx", "exp(x^2) erfc(x), the scaled complementary error function.")
erfinv = _unary("erfinv", "erfinv", "The number whose erf is x; infinite at -1 and 1, NaN beyond.")
erfcinv = _unary("erfcinv", "erfcinv", "The number whose erfc is x; infinite at 0 and 2, NaN beyond.")
ndtr = _unary("ndtr", "ndtr", "The standard normal distribution function, accurate in both tails.")
log_ndtr = _unary("log_ndtr", "log_ndtr", "The logarithm of `ndtr`, which does not underflow.")
ndtri = _unary("ndtri", "ndtri", "The inverse of `ndtr`: the standard normal quantile of x.")
bessel_j0 = j0 = _unary("bessel_j0", "bessel_j0", "Bessel function of the first kind of order 0.")
bessel_j1 = j1 = _unary("bessel_j1", "bessel_j1", "Bessel function of the first kind of order 1.")
bessel_y0 = y0 = _unary("bessel_y0", "bessel_y0", "Bessel function of the second kind of order 0; NaN for x < 0.")
bessel_y1 = y1 = _unary("bessel_y1", "bessel_y1", "Bessel function of the second kind of order 1; NaN for x < 0.")
i0 = modified_bessel_i0 = _unary("i0", "bessel_i0", "Modified Bessel function of the first kind of order 0.")
i1 = modified_bessel_i1 = _unary("i1", "bessel_i1", "Modified Bessel function of the first kind of order 1.")
i0e = _unary("i0e", "bessel_i0e", "exp(-|x|) i0(x), which does not overflow.")
i1e = _unary("i1e", "bessel_i1e", "exp(-|x|) i1(x), which does not overflow.")
k0 = modified_bessel_k0 = _unary("k0", "bessel_k0", "Modified Bessel function of the second kind of order 0.")
k1 = modified_bessel_k1 = _unary("k1", "bessel_k1", "Modified Bessel function of the second kind of order 1.")
k0e = scaled_modified_bessel_k0 = _unary("k0e", "bessel_k0e", "exp(x) k0(x), which does not underflow.")
k1e = scaled_modified_bessel_k1 = _unary("k1e", "bessel_k1e", "exp(x) k1(x), which does not underflow.")
sinc = _unary("sinc", "sinc", "sin(pi x) / (pi x), 1 at 0; exactly 0 at the other whole numbers.")
softplus = _unary("softplus", "softplus", "log(1 + exp(x)) without overflow; derivative sigmoid(x).")
entr = _unary("entr", "entr", "-x log(x), the entropy of an event of probability x; 0 at 0, -inf below.")
expit = sigmoid
betaln = _several(
    "betaln",
    """log |beta(a, b)|, without cancellation between large parameters; derivatives by `digamma`.

    Example:
        >>> round(float(cr.special.betaln(cr.asarray(1000.0), 2.0)), 5)
        -13.81651
    """,
    "a",
    "b",
)
gammainc = _several(
    "gammainc",
    """P(a, x): the integral of t^(a - 1) exp(-t) from 0 to x, divided by gamma(a); NaN for negative operands.

    Differentiable in x and in a (by quadrature), to all orders.

    Example:
        >>> round(float(cr.special.gammainc(2.0, cr.asarray(3.0))), 6)
        0.800852

    Reference: docs/special.md, "Incomplete functions".
    """,
    "a",
    "x",
)
gammaincc = _several(
    "gammaincc", "Q(a, x) = 1 - P(a, x) of `gammainc`, with its digits kept where it is small.", "a", "x"
)
betainc = _several(
    "betainc",
    """I(a, b; x): the integral of t^(a - 1) (1 - t)^(b - 1) from 0 to x, divided by beta(a, b).

    Differentiable in all three operands, to all orders.

    Example:
        >>> round(float(cr.special.betainc(2.0, 3.0, cr.asarray(0.4))), 4)
        0.5248
    """,
    "a",
    "b",
    "x",
)


def polygamma(n: int, x: Any, /) -> Tensor:
    """The n-th derivative of digamma: (-1)^(n + 1) n! times the sum of (x + k)^-(n + 1) over k >= 0; digamma for n = 0.

    Args:
        n: the order, from 0 to 100.
        x: floating; infinite at 0 and the negative whole numbers for n > 0.
    Raises:
        ConfigError: n is no whole number in that range.
    Example:
        >>> round(float(cr.special.polygamma(1, cr.asarray(1.0))), 6)
        1.644934
    """
    order = n.__index__() if hasattr(n, "__index__") and not isinstance(n, Tensor) else -1
    if not 0 <= order <= 100:
        raise ConfigError(message("polygamma", f"the order is a whole number from 0 to 100, not {n!r}", ()))
    if order == 0:
        return digamma(x)
    return Tensor(emit("polygamma", to_node(_number(x), "polygamma"), attributes=(order,)))


def logit(x: Any, /, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of `expit`; x is first limited to [eps, 1 - eps] if `eps` is given."""
    if eps is not None:
        x = fn.clip(x, eps, 1.0 - eps)
    return Tensor(emit("logit", to_node(_number(x), "logit")))


def log_expit(x: Any, /) -> Tensor:
    """log(expit(x)) = -log(1 + exp(-x)) without overflow."""
    return -softplus(-(x if isinstance(x, Tensor) else Tensor(to_node(_number(x), "log_expit"))))


def xlogy(x: Any, y: Any, /) -> Tensor:
    """x log(y), and 0 where x is 0 (and y not NaN).

    There both derivatives are taken as 0 where log(y) is not finite.

    Example:
        >>> cr.xlogy(cr.asarray([0.0, 2.0]), cr.asarray([0.0, 1.0])).tolist()
        [0.0, 0.0]
    """
    a, b = _tensors("xlogy", x, y)
    nothing = (a == 0) & ((b <= 0) | (b == math.inf))
    return fn.where(nothing, 0.0, a * fn.log(fn.where(nothing, 1.0, b)))


def xlog1py(x: Any, y: Any, /) -> Tensor:
    """x log1p(y), and 0 where x is 0 (and y not NaN); derivatives as of `xlogy`."""
    a, b = _tensors("xlog1py", x, y)
    nothing = (a == 0) & ((b <= -1) | (b == math.inf))
    return fn.where(nothing, 0.0, a * fn.log1p(fn.where(nothing, 0.0, b)))


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """log(p / q) of positive numbers, whose quotient may be beyond the format."""
    ratio = p / q
    inside = (ratio > 0) & (ratio < math.inf)
    near = fn.log(fn.where(inside, p, 1.0) / fn.where(inside, q, 1.0))
    return fn.where(inside, near, fn.log(fn.where(inside, 1.0, p)) - fn.log(fn.where(inside, 1.0, q)))


def rel_entr(x: Any, y: Any, /) -> Tensor:
    """x log(x / y): 0 for x = 0 and y >= 0, infinite where it is not defined."""
    a, b = _tensors("rel_entr", x, y)
    inside = (a > 0) & (b > 0)
    p, q = fn.where(inside, a, 1.0), fn.where(inside, b, 1.0)
    outside = fn.where((a == 0) & (b >= 0), 0.0, fn.where(fn.isnan(a) | fn.isnan(b), math.nan, math.inf))
    return fn.where(inside, p * _log_ratio(p, q), outside.astype(p.dtype))


def kl_div(x: Any, y: Any, /) -> Tensor:
    """x log(x / y) - x + y: y for x = 0 and y >= 0, infinite where it is not defined."""
    a, b = _tensors("kl_div", x, y)
    inside = (a > 0) & (b > 0)
    p, q = fn.where(inside, a, 1.0), fn.where(inside, b, 1.0)
    outside = fn.where((a == 0) & (b >= 0), b, fn.where(fn.isnan(a) | fn.isnan(b), math.nan, math.inf))
    return fn.where(inside, p * _log_ratio(p, q) - p + q, outside)


def exp2(x: Any, /) -> Tensor:
    """2 to the power x."""
    node = to_node(_number(x), "exp2")
    return fn.pow(fn.full_like(Tensor(node), 2.0), Tensor(node))


def beta(a: Any, b: Any, /) -> Tensor:
    """gamma(a) gamma(b) / gamma(a + b).

    Parameters beyond 12 in magnitude go through exp(betaln(a, b)) and have to be positive.

    Example:
        >>> round(float(cr.special.beta(cr.asarray(2.0), 3.0)), 6)
        0.083333
    """
    x, y = _tensors("beta", a, b)
    small = (fn.abs(x) < 12) & (fn.abs(y) < 12)
    p, q = fn.where(small, x, 1.0), fn.where(small, y, 1.0)
    large_p, large_q = fn.where(small, 1.0, x), fn.where(small, 1.0, y)
    product = gamma(p) / gamma(p + q) * gamma(q)  # the product of two may be beyond the format
    return fn.where(small, product, fn.exp(betaln(large_p, large_q)))


def multigammaln(a: Any, d: int) -> Tensor:
    """log of the multivariate gamma function: d (d - 1) / 4 log(pi) + the sum of lgamma(a - j / 2) over j < d.

    Args: a: floating, above (d - 1) / 2. d: the dimension, at least 1.
    """
    if not (isinstance(d, int) and d >= 1):
        raise ConfigError(message("multigammaln", f"the dimension is a whole number of at least 1, not {d!r}", ()))
    (x,) = _tensors("multigammaln", a)
    result = x * 0.0 + 0.25 * d * (d - 1) * math.log(math.pi)
    for j in range(d):
        result = result + lgamma(x - 0.5 * j)
    return result


def factorial(n: Any, /) -> Tensor:
    """n! = gamma(n + 1), for real n too; 0 for negative n, as SciPy's."""
    (x,) = _tensors("factorial", n)
    return fn.where(x < 0, 0.0, gamma(fn.where(x < 0, 0.0, x) + 1.0))


def binom(n: Any, k: Any, /) -> Tensor:
    """The binomial coefficient 1 / ((n + 1) beta(n - k + 1, k + 1)), for real n and k; 0 at poles of the beta."""
    first, second = _tensors("binom", n, k)
    x, y = first.astype(float64), second.astype(float64)
    rest = x - y
    nothing = ((rest < 0) & (rest == fn.floor(rest))) | ((y < 0) & (y == fn.floor(y)))
    x, y = fn.where(nothing, 0.0, x), fn.where(nothing, 0.0, y)
    return fn.where(nothing, 0.0, 1.0 / ((x + 1.0) * beta(x - y + 1.0, y + 1.0))).astype(first.dtype)


def comb(n: Any, k: Any, /) -> Tensor:
    """`binom`, and 0 where k is negative or above n."""
    x, y = _tensors("comb", n, k)
    inside = (y >= 0) & (y <= x)
    return fn.where(inside, binom(fn.where(inside, x, 1.0), fn.where(inside, y, 0.0)), 0.0)


#: B(2 j) / (2 j)! of Euler and Maclaurin's sum
_BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
)  # fmt: skip


def zeta(s: Any, q: Any = 1.0, /) -> Tensor:
    """Hurwitz' zeta function, the sum of (q + k)^-s over k >= 0; Riemann's for q = 1.

    Args:
        s: floating, above 1 (infinite at 1, NaN below).
        q: floating, positive; infinite at 0 and below (between its poles there other libraries continue it).
    Numerics: ten terms and Euler and Maclaurin's formula, in float64: ordinary operations, differentiable in both.
    Example:
        >>> round(float(cr.special.zeta(cr.asarray(2.0))), 6)
        1.644934
    """
    first, second = _tensors("zeta", s, q)
    dtype = first.dtype
    known = (first > 1) & (second > 0)
    a = fn.where(known, first, 2.0).astype(float64)
    x = fn.where(known, second, 1.0).astype(float64)
    terms = fn.pow(x[..., None] + fn.arange(10, dtype=float64), -a[..., None])
    y = x + 10.0
    inverse = fn.reciprocal(y)
    w = inverse * inverse
    order = fn.minimum(a, 1e4)  # beyond it the tail is nothing beside the first term, and its products would overflow
    tail = y / (order - 1.0) + 0.5
    rising, power = order, inverse
    for j, coefficient in enumerate(_BERNOULLI):
        if j:
            rising, power = rising * (order + (2.0 * j - 1.0)) * (order + 2.0 * j), power * w
        tail = tail + coefficient * rising * power
    value = fn.sum(terms, axis=-1) + fn.pow(y, -a) * tail
    poles = (first == 1) | ((second <= 0) & (first > 1))
    return fn.where(known, value.astype(dtype), fn.where(poles, math.inf, math.nan).astype(dtype))


def _shifted(x: Any, axis: int, dim: int | None) -> tuple[Tensor, int]:
    """x less its maximum, which is a constant to derivatives, since neither function depends on it."""
    axis = axis if dim is None else dim
    (value,) = _tensors("softmax", x)
    high = fn.max(value, axis=axis, keepdims=True).detach()
    return value - fn.where(fn.isfinite(high), high, 0.0), axis


def softmax(x: Any, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """exp(x) divided by its sum over `axis` (PyTorch: `dim`)."""
    value, axis = _shifted(x, axis, dim)
    e = fn.exp(value)
    return e / fn.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Any, /, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """x less the logarithm of the sum of exp(x) over `axis` (PyTorch: `dim`)."""
    value, axis = _shifted(x, axis, dim)
    return value - fn.log(fn.sum(fn.exp(value), axis=axis, keepdims=True))
