"""Sums along a line: convolution, interpolation, integrals, differences, unwrapped phases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import float64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, full, normal_axis, product, promoted, reject, reshape, size_of
from ..tensor import Tensor
from .complex import conj
from .elementwise import abs, floor, remainder, where
from .products import matmul
from .reduction import cumulative_sum, diff, sum
from .searching import argsort, check_ordered, take
from .shape import concat

MODES = ("full", "same", "valid")


def _vectors(name: str, a: Any, v: Any, mode: str) -> tuple[Node, Node]:
    if mode not in MODES:
        raise ConfigError(message(name, f"mode is 'full', 'same' or 'valid', not {mode!r}", ()))
    nodes = [to_node(x, name) for x in (a, v)]
    nodes = [reshape(n, (1,)) if not n.shape else n for n in nodes]
    for node in nodes:
        if len(node.shape) != 1:
            reject(name, "vectors are needed", nodes)
        if not node.shape[0]:
            reject(name, "an operand has no elements", nodes)
    dtype = promoted(name, nodes)
    return cast(nodes[0], dtype), cast(nodes[1], dtype)


def _correlated(x: Node, w: Node, low: int, high: int) -> Tensor:
    """out[k] = sum over j of x[k + j - low] w[j], x being 0 outside."""
    n, m = x.shape[0], w.shape[0]
    if x.dtype.kind == "f":
        image, kernel = reshape(x, (1, 1, n)), reshape(w, (1, 1, m))
        result = product("convolution", image, kernel, ((1,), (low,), (high,), (1,), 1))
        return Tensor(reshape(result, (n + low + high - m + 1,)))
    padded = emit("pad", x, full(0, (), x.dtype), attributes=((low,), (high,), (0,)))
    rows = emit("windows", padded, attributes=((m,), (1,), (1,)))
    return matmul(Tensor(rows), Tensor(w))


def _by_mode(longer: int, shorter: int, mode: str) -> tuple[int, int]:
    """How many zeros stand before and after the longer vector."""
    if mode == "full":
        return shorter - 1, shorter - 1
    if mode == "valid":
        return 0, 0
    low = shorter // 2
    return low, shorter - 1 - low


def convolve(a: Any, v: Any, /, mode: str = "full") -> Tensor:
    """The convolution of two vectors: out[k] = sum over j of a[j] v[k - j].

    Args: mode: "full" gives n + m - 1 elements; "same" the middle max(n, m) of them; "valid" those to which the whole
        of the shorter vector contributes.
    Raises: ShapeError for other ranks and for vectors without elements; ConfigError for another mode.
    Numerics: floating vectors by the native convolution, in the order of the shorter vector reversed.
    Example:
        >>> import chainrule as cr
        >>> cr.convolve(cr.tensor([1.0, 2.0, 3.0]), cr.tensor([0.0, 1.0, 0.5]))
        tensor([0. , 1. , 2.5, 4. , 1.5])
    """
    x, w = _vectors("convolve", a, v, mode)
    if x.shape[0] < w.shape[0]:
        x, w = w, x
    low, high = _by_mode(x.shape[0], w.shape[0], mode)
    return _correlated(x, emit("flip", w, attributes=((0,),)), low, high)


def correlate(a: Any, v: Any, /, mode: str = "valid") -> Tensor:
    """The cross-correlation of two vectors: out[k] = sum over n of a[n + k] conj(v[n]).

    Args and Raises: as `convolve`; the lags k go from 1 - m to n - 1 in "full".
    """
    x, w = _vectors("correlate", a, v, mode)
    n, m = x.shape[0], w.shape[0]
    if w.dtype.kind == "c":
        w = to_node(conj(Tensor(w)))
    if n >= m:
        return _correlated(x, w, *_by_mode(n, m, mode))
    # the operands change places, which turns the lags round
    low, high = _by_mode(m, n, mode)
    return Tensor(emit("flip", to_node(_correlated(w, x, low, high)), attributes=((0,),)))


def interp(x: Any, xp: Any, fp: Any, /, left: Any = None, right: Any = None, period: float | None = None) -> Tensor:
    """Linear interpolation of the points (xp, fp) at `x`.

    Args:
        x: where, any shape. xp: ascending places (n,), any order with `period`. fp: values (n,), complex ones too.
        left, right: the values below xp[0] and above xp[-1]; fp[0] and fp[-1] by default.
        period: of the places; left and right are not looked at then.
    Returns: the shape of x, the common floating (or complex) dtype.
    Raises: ShapeError where the points do not fit; ConfigError for a period of 0.
    Numerics: the interval is found by binary search; differentiable by x, xp and fp, by the slope of the interval to
        the right at a point.
    Example:
        >>> import chainrule as cr
        >>> cr.interp(cr.tensor([0.5, 1.5, 9.0]), cr.tensor([0.0, 1.0, 2.0]), cr.tensor([0.0, 10.0, 30.0]))
        tensor([ 5., 20., 30.])
    """
    wanted, places = _floating("interp", x, xp)
    (values,) = _floating("interp", fp)
    if "c" in wanted.dtype.kind + places.dtype.kind:
        reject("interp", "places are real numbers", (to_node(wanted), to_node(places)), "", DTypeError)
    if values.dtype.kind == "f":
        wide = promoted("interp", [to_node(wanted), to_node(values)])
        wanted, places, values = (v.astype(wide) for v in (wanted, places, values))
    if places.ndim != 1 or values.ndim != 1 or places.shape != values.shape or not places.shape[0]:
        nodes = (to_node(wanted), to_node(places), to_node(values))
        reject("interp", "the points are two vectors of equal length, one point at least", nodes)
    if period is not None:
        if period == 0:
            raise ConfigError(message("interp", "the period is 0", ()))
        period = math.fabs(period)
        wanted, places = remainder(wanted, period), remainder(places, period)
        order = argsort(places)
        places, values = take(places, order), take(values, order)
        places = concat([places[-1:] - period, places, places[:1] + period])
        values = concat([values[-1:], values, values[:1]])
        left = right = None
    count = places.shape[0]
    if count == 1:
        result = (wanted * 0.0).astype(values.dtype) + values[0]
    else:
        flat = reshape(to_node(wanted), (size_of(wanted.shape),))
        at = emit("searchsorted", to_node(places), flat, attributes=("right",))
        one = full(1, at.shape, at.dtype)
        at = emit("sub", emit("minimum", emit("maximum", at, one), full(count - 1, at.shape, at.dtype)), one)
        index = Tensor(reshape(at, wanted.shape))
        x0, f0 = take(places, index), take(values, index)
        width, rise = take(diff(places), index), take(diff(values), index)
        flat_place = width == 0
        safe = where(flat_place, 1.0, width).astype(values.dtype)
        result = where(flat_place, f0, f0 + (wanted - x0).astype(values.dtype) * (rise / safe))
    below, above = wanted < places[0], wanted > places[-1]
    result = where(below, values[0] if left is None else left, result)
    return where(above, values[-1] if right is None else right, result)


def _floating(name: str, *values: Any) -> list[Tensor]:
    """Tensors of one dtype, float64 for whole numbers."""
    nodes = [to_node(v, name) for v in values]
    nodes = [n if n.dtype.kind in "fc" else cast(n, float64) for n in nodes]
    weak = [isinstance(v, (int, float)) for v in values]
    strong = [n for n, w in zip(nodes, weak) if not w] or nodes
    dtype = promoted(name, strong)
    return [Tensor(cast(n, dtype)) for n in nodes]


def _steps(name: str, y: Tensor, x: Any, dx: Any, axis: int) -> Tensor | Any:
    """The widths between neighbours along `axis` (the last axis if x is a vector is moved there)."""
    if x is None:
        return dx
    places = Tensor(to_node(x, name))
    if places.dtype.kind in "iu":
        places = places.astype(y.dtype)
    if places.ndim == 1:
        widths = diff(places)
        return widths.reshape(tuple(-1 if a == axis else 1 for a in np.arange(y.ndim)))
    return diff(places, axis=axis)


def _sides(y: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    key = (slice(None),) * axis
    return y[(*key, slice(None, -1))], y[(*key, slice(1, None))]


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """The integral of `y` along `axis` by the trapezium rule: sum of (y[i] + y[i+1]) / 2 times the step.

    Args: x: the places of the samples, a vector or the shape of y; else they are `dx` apart.
    """
    value = _floating("trapezoid", y)[0]
    axis = normal_axis("trapezoid", axis, value.ndim, to_node(value))
    first, second = _sides(value, axis)
    return sum((first + second) * _steps("trapezoid", value, x, dx, axis) / 2.0, axis)


def cumulative_trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1, initial: Any = None) -> Tensor:
    """The running `trapezoid` integral along `axis`: one element less than `y`, or as many with `initial` in front."""
    value = _floating("cumulative_trapezoid", y)[0]
    axis = normal_axis("cumulative_trapezoid", axis, value.ndim, to_node(value))
    first, second = _sides(value, axis)
    result = cumulative_sum((first + second) * _steps("cumulative_trapezoid", value, x, dx, axis) / 2.0, axis)
    if initial is None:
        return result
    shape = tuple(1 if a == axis else e for a, e in enumerate(result.shape))
    return concat([Tensor(full(float(initial), shape, result.dtype)), result], axis)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Derivatives of samples by central differences, one-sided at the ends.

    Args:
        varargs: nothing (step 1), one step for all axes, or a step or a vector of places for each axis.
        axis: the axes (all by default). edge_order: 1 or 2, the order of accuracy at the ends.
    Returns: a tensor for one axis, else a list with one for each.
    Raises: ConfigError where steps and axes do not fit; ShapeError for an axis with too few elements.
    """
    value = _floating("gradient", f)[0]
    node = to_node(value)
    if edge_order not in (1, 2):
        raise ConfigError(message("gradient", f"edge_order is 1 or 2, not {edge_order}", (node,)))
    axes = range(value.ndim) if axis is None else (axis,) if hasattr(axis, "__index__") else axis
    numbers = [normal_axis("gradient", a, value.ndim, node) for a in axes]
    spacings: list[Any] = list(varargs) if varargs else [1.0]
    if len(spacings) == 1:
        spacings = spacings * len(numbers)
    if len(spacings) != len(numbers):
        raise ConfigError(message("gradient", f"{len(spacings)} steps for {len(numbers)} axes", (node,)))
    results = []
    for a, spacing in zip(numbers, spacings):
        if value.shape[a] < edge_order + 1:
            reject("gradient", f"axis {a} has {value.shape[a]} elements, {edge_order + 1} are needed", (node,))
        results.append(_slope(value, spacing, a, edge_order))
    return results[0] if len(results) == 1 and (hasattr(axis, "__index__") or value.ndim == 1) else results


def _slope(y: Tensor, spacing: Any, axis: int, order: int) -> Tensor:
    steps = _spacing(y, spacing, axis)  # (n - 1,) steps, spread over the other axes
    count = y.shape[axis]
    key = (slice(None),) * axis

    def at(x: Tensor, start: int, stop: int | None) -> Tensor:
        return x[(*key, slice(start, stop))]

    rises = diff(y, axis=axis)
    slopes = rises / steps
    if order == 1:
        first, last = at(slopes, 0, 1), at(slopes, -1, None)
    else:
        h1, h2 = at(steps, 0, 1), at(steps, 1, 2)
        first = at(slopes, 0, 1) * ((2.0 * h1 + h2) / (h1 + h2)) - at(slopes, 1, 2) * (h1 / (h1 + h2))
        h1, h2 = at(steps, -2, -1), at(steps, -1, None)
        last = at(slopes, -1, None) * ((2.0 * h2 + h1) / (h1 + h2)) - at(slopes, -2, -1) * (h2 / (h1 + h2))
    if count == 2:
        return concat([first, last], axis)
    if not getattr(spacing, "ndim", 0) and not isinstance(spacing, (list, tuple)):  # the middle value has no part in it
        inner = (at(y, 2, None) - at(y, 0, -2)) / (2.0 * at(steps, 0, 1))
        return concat([first, inner, last], axis)
    h1, h2 = at(steps, 0, -1), at(steps, 1, None)
    inner = (at(slopes, 0, -1) * h2 + at(slopes, 1, None) * h1) / (h1 + h2)
    return concat([first, inner, last], axis)


def _spacing(y: Tensor, spacing: Any, axis: int) -> Tensor:
    count = y.shape[axis]
    shape = tuple(count - 1 if a == axis else 1 for a in range(y.ndim))
    if isinstance(spacing, (int, float)):
        return Tensor(full(float(spacing), shape, y.dtype))
    places = Tensor(cast(to_node(spacing, "gradient"), y.dtype))
    if places.ndim == 0:
        return places + Tensor(full(0.0, shape, y.dtype))
    if places.shape != (count,):
        reject("gradient", f"places of shape {places.shape} for axis {axis} with {count} elements", (to_node(y),))
    return diff(places).reshape(shape)


def unwrap(p: Any, /, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Tensor:
    """`p` with multiples of `period` added along `axis` so that neighbours differ by at most half of it.

    Steps of at most `discont` (half the period by default, and at least) are left alone.
    """
    value = _floating("unwrap", p)[0]
    check_ordered("unwrap", value.dtype, (to_node(value),))
    axis = normal_axis("unwrap", axis, value.ndim, to_node(value))
    if value.shape[axis] < 2:
        return value
    half = period / 2
    limit = half if discont is None else discont
    steps = diff(value, axis=axis).detach()
    wrapped = steps + half
    wrapped = wrapped - floor(wrapped / period) * period - half
    wrapped = where((wrapped == -half) & (steps > 0), half, wrapped)
    correction = where(abs(steps) < limit, 0.0, wrapped - steps)
    shape = tuple(1 if a == axis else e for a, e in enumerate(value.shape))
    zeros = Tensor(full(0.0, shape, value.dtype))
    return value + concat([zeros, cumulative_sum(correction, axis)], axis)


def ediff1d(ary: Any, /, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """Differences of neighbours of the flattened array, with `to_begin` before and `to_end` behind them."""
    node = to_node(ary, "ediff1d")
    found = diff(Tensor(reshape(node, (size_of(node.shape),))))
    parts = []
    for extra, first in ((to_begin, True), (to_end, False)):
        if extra is not None:
            part = to_node(extra, "ediff1d")
            part = cast(reshape(part, (size_of(part.shape),)), found.dtype)
            parts.append((first, Tensor(part)))
    before = [p for first, p in parts if first]
    after = [p for first, p in parts if not first]
    return concat([*before, found, *after])
