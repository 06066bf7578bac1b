"""Draws of categories and of entries: categorical, multinomial, choice, integers."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..conversion import to_node
from ..dtypes import DType, as_dtype, float32, float64, int64
from ..errors import ConfigError, DTypeError, ShapeError
from ..ops.base import emit, message
from ..recording import broadcast_shapes, full, normal_axis, shape_tuple
from ..tensor import Tensor, node_of
from .counts import probabilities, whole
from .keys import Generator, source
from .parameters import open_unit
from .uniforms import randint, unit, words64


def _shape_of(name: str, shape: Any, batch: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a draw, to which `batch` has to broadcast; `batch` itself unless given."""
    if shape is None:
        return batch
    extents = shape_tuple(name, shape)
    nodes = [full(0.0, batch, float32), full(0.0, extents, float32)]
    if tuple(broadcast_shapes(name, nodes)) != extents:
        problem = f"parameters of shape {batch} do not broadcast to shape {extents}"
        raise ShapeError(message(name, problem, ()))
    return extents


def categorical(
    logits: Any, axis: int = -1, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers of categories, each drawn with probability softmax(logits), by the largest of logits plus Gumbel noise.

    Args:
        logits: floating; log-probabilities up to a constant along `axis`, -inf for what is never drawn.
        axis: the axis of the categories.
        shape: of the draw, to which the other axes broadcast; those axes unless given.
        dtype: of the result, int64 unless given.
        generator, key: see `exponential`.
    Returns: integers from 0 up to but without the number of categories.
    Example:
        >>> int(cr.random.categorical(cr.asarray([-float("inf"), 0.0]), key=cr.random.key(0)))
        1

    Reference: Gumbel, Statistical theory of extreme values, 1954 (the largest of perturbed logits).
    """
    node = to_node(logits, "categorical")
    if not node.shape or node.dtype.kind != "f":
        raise ShapeError(message("categorical", "logits are floating numbers along an axis", (node,)))
    if node.shape[normal_axis("categorical", axis, len(node.shape), node)] == 0:
        raise ShapeError(message("categorical", "there are no categories to draw from", (node,)))
    last = fn.moveaxis(Tensor(node).detach(), axis, -1)
    extents = _shape_of("categorical", shape, tuple(last.shape[:-1]))
    inner: DType = float32 if node.dtype.is_half else node.dtype
    u = open_unit(source("categorical", generator, key), (*extents, last.shape[-1]), inner)
    noise = -fn.log(-fn.log1p(-Tensor(u)))
    if dtype is not None and as_dtype(dtype).kind not in "iu":
        raise DTypeError(message("categorical", f"categories are integers, not {as_dtype(dtype).name}", (node,)))
    return whole("categorical", fn.argmax(last.astype(inner) + noise, axis=-1), dtype)


def multinomial(
    n: int, pvals: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """How often each category comes up in `n` draws; the work is n times the number of categories.

    Args:
        n: a whole number.
        pvals: probabilities along the last axis, of sum 1.
        shape: of the draw without its last axis; that of the probabilities unless given.
        dtype: of the result, int64 unless given. generator, key: see `exponential`.
    Returns: counts of sum `n`, [*shape, categories].
    Raises:
        ConfigError: n is negative, or probabilities that are present are negative or do not sum to 1.
    """
    trials = n.__index__()
    if trials < 0:
        raise ConfigError(message("multinomial", f"the number of draws must not be negative, not {trials}", ()))
    p = probabilities("multinomial", pvals)
    extents = _shape_of("multinomial", shape, tuple(p.shape[:-1]))
    count = p.shape[-1]
    u = Tensor(unit(source("multinomial", generator, key), (*extents, trials), float64))
    limits = fn.broadcast_to(fn.cumulative_sum(p, axis=-1)[..., :-1], (*extents, count - 1))
    below = fn.sum((u[..., None, :] < limits[..., :, None]).astype(int64), axis=-1)
    start, stop = fn.zeros((*extents, 1), dtype=int64), fn.full((*extents, 1), trials, dtype=int64)
    total = fn.concat((below, stop), axis=-1)
    counts = total - fn.concat((start, below), axis=-1)
    given = pvals if isinstance(pvals, Tensor) else fn.asarray(pvals)
    return whole("multinomial", counts, dtype, pvals=fn.broadcast_to(given, tuple(counts.shape)))


def choice(
    a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0, *, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Entries of `a` (or of 0 to a - 1) along `axis`, drawn with or without replacement.

    Args:
        a: a number of entries, or a tensor.
        shape: of the draw, in place of `axis`.
        replace: whether an entry may come up again.
        p: probabilities of the entries, of sum 1; equal unless given.
        axis: the axis of `a` along which entries lie.
        generator, key: see `exponential`.
    Raises:
        ConfigError: more entries than there are are asked for without replacement; wrong probabilities.
        ShapeError: the number of probabilities is not that of the entries.
    Numerics: without replacement and with `p` the entries of the largest log(p) plus Gumbel noise, in that order.
    """
    population = None
    if hasattr(a, "__index__") and not (isinstance(a, Tensor) and a.ndim):
        count = a.__index__()
    else:
        population = a if isinstance(a, Tensor) else Tensor(to_node(a, "choice"))
        axis = normal_axis("choice", axis, population.ndim, node_of(population))
        count = population.shape[axis]
    extents = shape_tuple("choice", shape)
    wanted = 1
    for extent in extents:
        wanted *= extent
    if count < 1 and wanted:
        raise ConfigError(message("choice", f"there is nothing to draw from {count} entries", ()))
    if not replace and wanted > count:
        problem = f"{wanted} entries cannot be drawn from {count} without replacement"
        raise ConfigError(message("choice", problem, ()))
    weights = None if p is None else probabilities("choice", p)
    if weights is not None and tuple(weights.shape) != (count,):
        raise ShapeError(message("choice", f"{count} entries have {tuple(weights.shape)} probabilities", ()))
    bits = source("choice", generator, key)
    if not replace:
        if weights is None:
            order = Tensor(emit("argsort", words64(bits, (count,)), attributes=(0,)))
        else:
            u = Tensor(open_unit(bits, (count,), float64))
            order = fn.argsort(fn.log(-fn.log1p(-u)) - fn.log(weights))
        indices = order[:wanted].reshape(extents)
    elif weights is None:
        words = words64(bits, extents)
        indices = Tensor(emit("cast", emit("remainder", words, full(count, extents, words.dtype)), attributes=(int64,)))
    else:
        u = Tensor(unit(bits, extents, float64))
        cumulative = fn.cumulative_sum(weights, axis=0)
        indices = fn.sum((u[..., None] * cumulative[-1] >= cumulative[:-1]).astype(int64), axis=-1)
    if population is None:
        return indices
    taken = fn.take(population, indices.reshape((wanted,)), axis=axis)
    return taken.reshape((*population.shape[:axis], *extents, *population.shape[axis + 1 :]))


def integers(
    low: int, high: int | None = None, shape: Any = (), *, dtype: Any = None, endpoint: bool = False,
    generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """`randint` under NumPy's name; with `endpoint` up to and with `high`."""
    if high is None:
        low, high = 0, low
    return randint(low, high + 1 if endpoint else high, shape, dtype=dtype, generator=generator, key=key)
