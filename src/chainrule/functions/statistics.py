"""Order statistics: quantiles by all of NumPy's methods, medians, and forms that leave out NaN; covariances.

Hyndman and Fan, Sample quantiles in statistical packages, The American Statistician 50 (1996), number the methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import float64, int64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import broadcast, cast, full, normal_axes, permute, reject, reshape, size_of
from ..tensor import Tensor
from .complex import conj
from .elementwise import clip, floor, isinf, isnan, sqrt, where
from .products import matmul
from .reduction import any, cumulative_sum, max, mean, min, sum
from .searching import check_ordered, sort, take_along_axis
from .shape import concat

#: the continuous methods: (alpha, beta) of n * q + alpha + q * (1 - alpha - beta) - 1
_CONTINUOUS = {
    "interpolated_inverted_cdf": (0.0, 1.0),
    "hazen": (0.5, 0.5),
    "weibull": (0.0, 0.0),
    "linear": (1.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
METHODS = (*_CONTINUOUS, "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "lower", "higher", "midpoint",
           "nearest")  # fmt: skip


def _place(method: str, n: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The index, a whole number, of the element below the quantile `q` of n, and how far it is to the next."""
    if method in _CONTINUOUS:
        alpha, beta = _CONTINUOUS[method]
        virtual = (n - 1.0) * q if method == "linear" else n * q + (alpha + q * (1.0 - alpha - beta)) - 1.0
        below = floor(virtual)
        return below, virtual - below
    if method in ("lower", "higher", "midpoint", "nearest"):
        virtual = (n - 1.0) * q
        below = floor(virtual)
        part = virtual - below
        if method == "lower":
            return below, part * 0.0
        if method == "higher":
            return below + (part > 0).astype(float64), part * 0.0
        if method == "midpoint":
            return below, where(part > 0, 0.5, 0.0).astype(float64)
        odd = (below - 2.0 * floor(below / 2.0)) > 0
        up = (part > 0.5) | ((part == 0.5) & odd)
        return below + up.astype(float64), part * 0.0
    if method == "closest_observation":
        virtual = n * q - 1.5
        below = floor(virtual)
        part = virtual - below
        # a half goes to the even one, counted from 1
        odd = (below - 2.0 * floor(below / 2.0)) > 0
        stay = (part == 0) & odd
        return below + where(stay, 0.0, 1.0).astype(float64), part * 0.0
    virtual = n * q - 1.0
    below = floor(virtual)
    part = virtual - below
    if method == "inverted_cdf":
        return below + (part > 0).astype(float64), part * 0.0
    return below, where(part > 0, 1.0, 0.5).astype(float64)  # averaged_inverted_cdf


def _floating(node: Node) -> Node:
    """Whole numbers as float64."""
    return node if node.dtype.kind == "f" else cast(node, float64)


def _quantiles(
    name: str, x: Any, q: Any, axis: Any, keepdims: bool, method: str, nan: bool, weights: Any, percent: bool = False
) -> Tensor:
    if method not in METHODS:
        problem = f"{method!r} is no method; there are {', '.join(sorted(METHODS))}"
        raise ConfigError(message(name, problem, ()))
    node = to_node(x, name)
    check_ordered(name, node.dtype, (node,))
    node = _floating(node)
    levels = to_node(np.asarray(q, np.float64) if not isinstance(q, Tensor) else q, name)
    most = 100 if percent else 1
    known = levels.value
    if known is not None and known.size and not (known.min() >= 0 and known.max() <= most):
        raise ConfigError(message(name, f"levels are in [0, {most}], not {known.tolist()}", (node,)))
    level = Tensor(cast(levels, float64))
    if percent:
        level = level / 100.0
    axes = normal_axes(name, axis, len(node.shape), node)
    kept = [a for a in range(len(node.shape)) if a not in axes]
    shape = tuple(node.shape[a] for a in kept)
    count = size_of(tuple(node.shape[a] for a in axes))
    if not count:
        reject(name, f"there are no elements along axes {axes}", (node,))
    rows = reshape(permute(node, (*kept, *axes)), (*shape, count))
    if weights is not None:
        found = _weighted(name, rows, weights, axes, kept, node, level, method, nan)
    else:
        found = _unweighted(rows, level, method, nan)
    result = to_node(found)
    rank = len(level.shape)  # the axes of the levels come first
    result = permute(result, (*range(len(shape), len(shape) + rank), *range(len(shape))))
    if keepdims:
        ones = tuple(1 if a in axes else e for a, e in enumerate(node.shape))
        result = reshape(result, (*level.shape, *ones))
    return Tensor(result)


def _unweighted(rows: Node, level: Tensor, method: str, nan: bool) -> Tensor:
    """The quantiles of each row (..., count): (..., *levels)."""
    ordered = sort(Tensor(rows), axis=-1)
    lead, count, dtype = rows.shape[:-1], rows.shape[-1], rows.dtype
    size = size_of(level.shape)
    flat = Tensor(reshape(to_node(level), (size,)))
    absent = Tensor(emit("isnan", rows))
    if nan:
        present = sum((~absent).astype(int64), -1, keepdims=True).astype(float64)
        n = Tensor(broadcast(to_node(where(present > 0, present, 1.0)), (*lead, size)))
        flat = Tensor(broadcast(to_node(flat), (*lead, size)))
        wrong = present == 0
    else:
        n = Tensor(full(float(count), (size,), float64))
        wrong = any(absent, -1, keepdims=True)
    below, part = _place(method, n, flat)
    at = clip(below.detach(), 0.0, count - 1.0)
    at = where(at < n - 1.0, at, n - 1.0)
    after = clip(below.detach() + 1.0, 0.0, count - 1.0)
    after = where(after < n - 1.0, after, n - 1.0)
    index = tuple(broadcast(to_node(i.astype(int64)), (*lead, size)) for i in (at, after))
    low, high = (take_along_axis(ordered, Tensor(i), axis=-1) for i in index)
    part = Tensor(broadcast(to_node(part.astype(dtype)), (*lead, size)))
    found = _between(low, high, part)
    found = where(wrong, float("nan"), found)
    return Tensor(reshape(to_node(found), (*lead, *level.shape)))


def _between(low: Tensor, high: Tensor, part: Tensor) -> Tensor:
    """low + (high - low) part, from the nearer end; an infinity that is the quantile stays."""
    step = high - low
    step = where((low == high) | (isinf(step) & ((part == 0) | (part == 1))), 0.0, step)
    return where(part < 0.5, low + step * part, high - step * (1.0 - part))


def _weighted(
    name: str, rows: Node, weights: Any, axes: tuple, kept: list, node: Node, level: Tensor, method: str, nan: bool
) -> Tensor:
    """Quantiles of the distribution with `weights`: the least element whose cumulative weight reaches the level."""
    if method != "inverted_cdf":
        raise ConfigError(message(name, f"weights go with method 'inverted_cdf', not {method!r}", (node,)))
    mass = cast(to_node(weights, name), float64)
    if mass.shape != node.shape:
        extents = tuple(node.shape[a] for a in axes)
        if mass.shape != extents:
            reject(name, f"weights of shape {mass.shape} fit neither the operand nor its axes {axes}", (node, mass))
        mass = emit("broadcast", mass, attributes=(node.shape, axes))
    mass = reshape(permute(mass, (*kept, *axes)), rows.shape)
    order = Tensor(emit("argsort", rows, attributes=(len(rows.shape) - 1,)))
    ordered = take_along_axis(Tensor(rows), order, axis=-1)
    absent = isnan(ordered)
    share = take_along_axis(Tensor(mass), order, axis=-1)
    if nan:
        share = where(absent, 0.0, share)
    running = cumulative_sum(share, axis=-1)
    total = running[..., -1:]
    size = size_of(level.shape)
    lead = rows.shape[:-1]
    flat = Tensor(reshape(to_node(level), (size,)))
    wanted = Tensor(broadcast(to_node(flat), (*lead, size))) * total
    place = Tensor(emit("searchsorted", to_node(running), to_node(wanted), attributes=("left",)))
    # with level 0 the first element that has any weight
    start = Tensor(emit("searchsorted", to_node(running), to_node(total * 0.0), attributes=("right",)))
    place = where(place < start, start, place)
    last = rows.shape[-1] - 1
    found = take_along_axis(ordered, where(place < last, place, last), axis=-1)
    wrong = total == 0 if nan else any(absent, -1, keepdims=True)
    found = where(wrong, float("nan"), found)
    return Tensor(reshape(to_node(found), (*lead, *level.shape)))


def _signature(name: str, percent: bool, nan: bool, doc: str) -> Callable[..., Tensor]:
    def function(
        x: Any,
        q: Any,
        /,
        axis: Any = None,
        *,
        method: str = "linear",
        keepdims: bool = False,
        weights: Any = None,
        dim: Any = None,
        keepdim: bool = False,
    ) -> Tensor:
        axis = dim if axis is None else axis
        return _quantiles(name, x, q, axis, keepdims or keepdim, method, nan, weights, percent)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


_DOC = """{what} over `axis` (all axes by default){nan}.

    Args:
        x: floating or whole numbers (which become float64).
        q: a number or an array in {range}; its axes come first in the result. A tensor may be differentiated.
        method: "linear" (default), "lower", "higher", "midpoint", "nearest", "inverted_cdf",
            "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
            "median_unbiased" or "normal_unbiased", with NumPy's meanings.
        weights: not negative, for "inverted_cdf" alone: the shape of x, or that of its reduced axes.
    Returns: (*q.shape, *kept axes), the dtype of x. {missing}
    Raises: ConfigError for another method and for levels outside their range; ShapeError without elements.
    Numerics: places are computed in float64. The derivative goes to the two elements beside the quantile.
    Example:
        >>> import chainrule as cr
        >>> cr.{name}(cr.tensor([1.0, 2.0, 4.0]), {q})
        tensor(3.)
    """
_WITH = {"nan": "", "missing": "NaN where an element is NaN."}
_WITHOUT = {"nan": ", NaN left out", "missing": "NaN where every element is NaN."}
_LEVELS = {"what": "Quantiles", "range": "[0, 1]", "q": "0.75"}
_PERCENT = {"what": "Percentiles", "range": "[0, 100]", "q": "75"}
quantile = _signature("quantile", False, False, _DOC.format(name="quantile", **_LEVELS, **_WITH))
nanquantile = _signature("nanquantile", False, True, _DOC.format(name="nanquantile", **_LEVELS, **_WITHOUT))
percentile = _signature("percentile", True, False, _DOC.format(name="percentile", **_PERCENT, **_WITH))
nanpercentile = _signature("nanpercentile", True, True, _DOC.format(name="nanpercentile", **_PERCENT, **_WITHOUT))


def _refuse_dim(name: str, dim: Any, node: Node) -> None:
    if dim is not None:
        help = f"write {name}(axis=...), and kthvalue(...) for PyTorch's lower median and its place"
        reject(name, "dim= would return a pair of the lower median in PyTorch", (node,), help, ConfigError)


def median(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None) -> Tensor:
    """The middle element over `axis` (all axes by default), or the mean of the two middle ones; NaN if there is one.

    Whole numbers become float64. The derivative goes to the middle elements.
    Raises: ShapeError without elements; ConfigError for `dim`, which means something else in PyTorch.
    Example:
        >>> import chainrule as cr
        >>> cr.median(cr.tensor([3.0, 1.0, 2.0, 9.0]))
        tensor(2.5)
    """
    _refuse_dim("median", dim, to_node(x, "median"))
    return _quantiles("median", x, 0.5, axis, keepdims, "linear", False, None)


def nanmedian(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None) -> Tensor:
    """The `median` of the elements that are not NaN; NaN where there are none."""
    _refuse_dim("nanmedian", dim, to_node(x, "nanmedian"))
    return _quantiles("nanmedian", x, 0.5, axis, keepdims, "linear", True, None)


def ptp(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The greatest less the least element over `axis`."""
    return max(x, axis, keepdims=keepdims) - min(x, axis, keepdims=keepdims)


def cov(
    m: Any,
    y: Any = None,
    /,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    correction: float | None = None,
) -> Tensor:
    """The covariance matrix of variables (rows of `m`, or its columns with ``rowvar=False``) over observations.

    C = sum_i w_i (x_i - mean) (x_i - mean)^H / (sum w - correction * sum(w a) / sum w)

    Args:
        m: (variables, observations) or a vector, one variable.
        y: more variables.
        bias: divide by the number of observations instead of one less.
        ddof, correction: what is taken from the number of observations (both names mean the same).
        fweights: how often each observation counts, whole numbers. aweights: their weights a.
    Returns: (variables, variables), or a number for one variable.
    """
    parts = [_variables("cov", value, rowvar) for value in (m, y) if value is not None]
    data = concat(parts, 0) if len(parts) > 1 else parts[0]
    count = data.shape[1]
    less: Any = ddof if ddof is not None else correction
    less = (0 if bias else 1) if less is None else less
    weights: Tensor | None = None
    importance: Tensor | None = None
    for name, value in (("fweights", fweights), ("aweights", aweights)):
        if value is None:
            continue
        node = to_node(value, "cov")
        if node.shape != (count,):
            reject("cov", f"{name} of shape {node.shape} for {count} observations", (to_node(data), node))
        if name == "fweights" and node.dtype.kind not in "iu":
            reject("cov", "fweights are whole numbers", (node,), "use aweights", DTypeError)
        real = data.dtype if data.dtype.kind == "f" else float64
        factor = Tensor(cast(node, real))
        weights = factor if weights is None else weights * factor
        importance = factor if name == "aweights" else importance
    if weights is None:
        centred = data - mean(data, 1, keepdims=True)
        scaled: Tensor = centred
        divisor: Any = float(np.maximum(count - less, 0.0))
    else:
        total = sum(weights)
        centred = data - sum(data * weights, 1, keepdims=True) / total
        scaled = centred * weights
        divisor = total - less * (sum(weights * importance) / total if importance is not None else 1.0)
    result = matmul(scaled, conj(centred).mT) / divisor
    return Tensor(reshape(to_node(result), ())) if result.shape == (1, 1) else result


def _variables(name: str, value: Any, rowvar: bool) -> Tensor:
    node = to_node(value, name)
    if len(node.shape) > 2:
        reject(name, f"a matrix or a vector is needed, not {len(node.shape)} axes", (node,))
    if node.dtype.kind not in "fc":
        node = cast(node, float64)
    if len(node.shape) < 2:
        return Tensor(reshape(node, (1, size_of(node.shape))))
    return Tensor(node) if rowvar or node.shape[0] == 1 else Tensor(permute(node, (1, 0)))


def corrcoef(x: Any, y: Any = None, /, rowvar: bool = True) -> Tensor:
    """Pearson's correlation coefficients: the covariance matrix over the products of the standard deviations."""
    matrix = cov(x, y, rowvar)
    if not matrix.shape:
        return matrix / matrix
    count = matrix.shape[0]
    index = Tensor(emit("iota", attributes=((count, 1), 0, int64)))
    variance = take_along_axis(matrix, index, axis=1)
    if matrix.dtype.kind == "c":
        variance = Tensor(emit("real", to_node(variance)))
    deviation = sqrt(variance)
    scaled = matrix / deviation / deviation.mT
    return clip(scaled, -1.0, 1.0) if scaled.dtype.kind == "f" else scaled
