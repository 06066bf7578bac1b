"""Rows of a table by their numbers: embeddings, and bags of them summed up."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as fn
from ..dtypes import int64, uint64
from ..errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError
from ..gradmode import no_grad
from ..ops.base import emit
from ..tensor import Tensor, node_of
from ._common import as_tensor, check_floating, check_number, fail, write_state

MODES = ("sum", "mean", "max")


def _check_table(name: str, weight: Tensor) -> None:
    check_floating(name, weight, "weight")
    if len(weight.shape) != 2:
        fail(ShapeError, name, f"weight has {len(weight.shape)} axes, it needs 2", (weight,),
             "the table is (num_embeddings, embedding_dim)")  # fmt: skip


def _checked(name: str, indices: Any, weight: Tensor) -> Tensor:
    """`indices` as integers in [0, rows): those that are present are checked now, others when the program runs."""
    indices = as_tensor(indices, name, "input")
    if indices.dtype.kind not in "iu":
        fail(DTypeError, name, f"indices are {indices.dtype.name}", (indices, weight),
             "convert them with .astype(chainrule.int64)")  # fmt: skip
    rows = weight.shape[0]
    values = node_of(indices).value
    if values is None:
        # As unsigned numbers negative indices are huge: without this they would count from the end.
        return Tensor(emit("cast", node_of(indices), attributes=(uint64,)))
    if values.size and (int(values.min()) < 0 or int(values.max()) >= rows):
        bad = (values < 0) | (values >= rows)
        place = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
        fail(IndexOutOfRangeError, name,
             f"index {int(values[bad].ravel()[0])} (at [{place}]) is out of range for the table, which has {rows} rows",
             (indices, weight), f"indices run from 0 to {rows - 1} (num_embeddings - 1)")  # fmt: skip
    return indices


def _looked_up(weight: Tensor, indices: Tensor) -> Tensor:
    """The rows at `indices`, which `fn.take` would make signed."""
    return Tensor(emit("take", node_of(weight), node_of(indices), attributes=(0,)))


def _row(name: str, padding_idx: int | None, weight: Tensor) -> int | None:
    """`padding_idx` counted from the front."""
    if padding_idx is None:
        return None
    rows = weight.shape[0]
    if not -rows <= padding_idx < rows:
        fail(ConfigError, name, f"padding_idx {padding_idx} is out of range for a table of {rows} rows")
    return padding_idx % rows


def _renormalise(name: str, indices: Tensor, weight: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows of `weight` that are looked up down to the norm `max_norm`, in place."""
    check_number(name, "max_norm", max_norm, 0)
    check_number(name, "norm_type", norm_type)
    with no_grad():
        table = weight.detach()
        ones = fn.ones(indices.shape, dtype=table.dtype)
        used = fn.scatter_add(fn.zeros((table.shape[0],), dtype=table.dtype), indices, ones) > 0
        powers = fn.square(table) if norm_type == 2 else fn.pow(fn.abs(table), norm_type)
        total = fn.sum(powers, 1)
        norm = fn.sqrt(total) if norm_type == 2 else fn.pow(total, 1.0 / norm_type)
        scale = fn.where(used & (norm > max_norm), max_norm / (norm + 1e-7), 1.0)
        write_state(name, weight, table * fn.expand_dims(scale, 1))


def _by_frequency(indices: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """`rows` with gradients divided by how often each index occurs; the values are the same."""
    ones = fn.ones(indices.shape, dtype=weight.dtype)
    counts = fn.scatter_add(fn.zeros((weight.shape[0],), dtype=weight.dtype), indices, ones)
    share = fn.expand_dims(1.0 / fn.take(counts, indices, axis=0), -1)
    fixed = rows.detach()
    return fixed + (rows - fixed) * share


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: ``out[...] = weight[input[...]]``.

    Args:
        input: row numbers, any integer dtype and shape (...).
        weight: the table, (num_embeddings, embedding_dim), floating.
        padding_idx: a row that gets no gradient.
        max_norm: rows that are looked up and whose norm is larger are first scaled down to it, in `weight` itself.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide gradients by how often a row is looked up in `input`.
        sparse: accepted for PyTorch's sake: whether an update walks touched rows alone is decided by the compiler.
    Returns:
        (..., embedding_dim), the dtype of `weight`.
    Raises:
        IndexOutOfRangeError: an index is negative or not below num_embeddings, naming both; when the program runs, if
            it is compiled.
        DTypeError, ShapeError: indices that are no integers, a table without two axes.
    Numerics:
        The gradient of a row adds up its uses in the order of `input`.
    Example:
        >>> import chainrule as cr
        >>> table = cr.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> cr.functional.embedding(cr.asarray([2, 0]), table).tolist()
        [[4.0, 5.0], [0.0, 1.0]]
    """
    name = "embedding"
    _check_table(name, weight)
    padding = _row(name, padding_idx, weight)
    indices = _checked(name, input, weight)
    if max_norm is not None:
        _renormalise(name, indices, weight, max_norm, norm_type)
    rows = _looked_up(weight, indices)
    if scale_grad_by_freq:
        rows = _by_frequency(indices, weight, rows)
    if padding is None:
        return rows
    return fn.where(fn.expand_dims(indices == padding, -1), rows.detach(), rows)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of the rows of a table, a bag of row numbers at a time.

    Args:
        input: (bags, length) row numbers; or (n,) with `offsets`.
        weight: (num_embeddings, embedding_dim), floating.
        offsets: (bags,) where each bag begins in `input`, ascending from 0; with `include_last_offset`, and its end.
        mode: 'sum', 'mean' or 'max'; a bag of nothing gives 0.
        per_sample_weights: factors, the shape of `input`; for 'sum'.
        padding_idx: a row that counts for nothing.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for `embedding`.
    Returns:
        (bags, embedding_dim).
    Raises:
        As `embedding`; ConfigError for an unknown mode, or weights with another mode than 'sum'.
    Example:
        >>> import chainrule as cr
        >>> table = cr.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> cr.functional.embedding_bag(cr.asarray([2, 0, 1]), table, cr.asarray([0, 2])).tolist()
        [[2.0, 3.0], [2.0, 3.0]]
    """
    name = "embedding_bag"
    _check_table(name, weight)
    if mode not in MODES:
        fail(ConfigError, name, f"mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    if per_sample_weights is not None and mode != "sum":
        fail(ConfigError, name, f"per_sample_weights go with mode='sum', not {mode!r}")
    padding = _row(name, padding_idx, weight)
    indices = _checked(name, input, weight)
    if per_sample_weights is not None and per_sample_weights.shape != indices.shape:
        fail(ShapeError, name, f"input has shape {tuple(indices.shape)}, per_sample_weights has "
             f"{tuple(per_sample_weights.shape)}", (indices, per_sample_weights))  # fmt: skip
    bags = _bags(name, indices, offsets, include_last_offset)
    if max_norm is not None:
        _renormalise(name, indices, weight, max_norm, norm_type)
    rows = _looked_up(weight, indices)
    if scale_grad_by_freq:
        rows = _by_frequency(indices, weight, rows)
    if per_sample_weights is not None:
        rows = rows * fn.expand_dims(per_sample_weights, -1)
    present = None if padding is None else indices != padding
    if bags is None:
        return _of_rows(rows, present, mode)
    return _of_bags(rows, present, mode, *bags)


def _bags(name: str, indices: Tensor, offsets: Any, include_last: bool) -> tuple[Tensor, int] | None:
    """The bag of each index, and how many bags there are; None if bags are rows of the input."""
    if len(indices.shape) == 2:
        if offsets is not None:
            fail(ConfigError, name, "input of 2 axes has a bag in each row and takes no offsets")
        return None
    if len(indices.shape) != 1 or offsets is None:
        fail(ShapeError, name, f"input has {len(indices.shape)} axes", (indices,),
             "give (bags, length), or one axis together with offsets=")  # fmt: skip
    offsets = as_tensor(offsets, name, "offsets")
    if offsets.dtype.kind not in "iu" or len(offsets.shape) != 1:
        fail(ShapeError, name, "offsets are a vector of integers", (indices, offsets))
    if include_last:
        offsets = offsets[:-1]
    count, bags = indices.shape[0], offsets.shape[0]
    values = node_of(offsets).value
    if values is not None and bags and (values[0] != 0 or (np.diff(values) < 0).any() or values[-1] > count):
        fail(ShapeError, name, f"offsets do not ascend from 0 to at most {count}", (indices, offsets))
    begins = fn.scatter_add(fn.zeros((count + 1,), dtype=int64), offsets, fn.ones((bags,), dtype=int64))
    return fn.cumsum(begins[:count]) - 1 if count else fn.zeros((0,), dtype=int64), bags


def _of_rows(rows: Tensor, present: Tensor | None, mode: str) -> Tensor:
    """(bags, length, features) to (bags, features)."""
    length = rows.shape[1]
    if present is None:
        if length == 0:
            return fn.sum(rows, 1)
        return fn.max(rows, 1) if mode == "max" else fn.sum(rows, 1) if mode == "sum" else fn.mean(rows, 1)
    mask = fn.expand_dims(present, -1)
    counts = fn.sum(mask.astype(rows.dtype), 1)
    if mode == "max":
        highest = fn.max(fn.where(mask, rows, float("-inf")), 1) if length else fn.sum(rows, 1)
        return fn.where(counts > 0, highest, 0)
    total = fn.sum(fn.where(mask, rows, 0), 1)
    return total if mode == "sum" else total / fn.maximum(counts, 1)


def _of_bags(rows: Tensor, present: Tensor | None, mode: str, bag: Tensor, bags: int) -> Tensor:
    """(n, features) to (bags, features), row i belonging to ``bag[i]``."""
    kept = fn.ones(bag.shape, dtype=rows.dtype) if present is None else present.astype(rows.dtype)
    if mode == "max":
        member = bag == fn.expand_dims(fn.arange(bags), 1)
        if present is not None:
            member = member & present
        wide = fn.where(fn.expand_dims(member, -1), rows, float("-inf"))
        highest = fn.max(wide, 1) if bag.shape[0] else fn.zeros((bags, rows.shape[1]), dtype=rows.dtype)
        return fn.where(fn.expand_dims(fn.any(member, 1), 1), highest, 0)
    if present is not None:
        rows = fn.where(fn.expand_dims(present, -1), rows, 0)
    total = fn.scatter_add(fn.zeros((bags, rows.shape[1]), dtype=rows.dtype), bag, rows)
    if mode == "sum":
        return total
    counts = fn.scatter_add(fn.zeros((bags,), dtype=rows.dtype), bag, kept)
    return total / fn.expand_dims(fn.maximum(counts, 1), 1)
