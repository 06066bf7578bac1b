"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from .. import functions as fn
from ..dtypes import DType, bool_, float32
from ..errors import ConfigError, DTypeError, ShapeError
from ..functions.products import matmul
from ..ops.base import emit, mode
from ..ops.fused_attention import fits
from ..tensor import Tensor, node_of
from ._common import as_tensor, check_floating, fail
from .basic import check_probability, dropout

#: queries times keys above which no matrix of all scores is stored, and queries in a block of such an attention
LONG = 1 << 18
ROWS = 128
#: blocks at most; longer sequences have larger ones
BLOCKS = 32


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | Tensor | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Means of values, weighted for each query by how well the keys fit: ``softmax(scale Q K^T + mask) V``.

    Args:
        query: (..., L, E), floating.
        key: (..., S, E), value: (..., S, Ev), in the dtype of `query`; leading axes broadcast.
        attn_mask: broadcasts to (..., L, S). Bool: True where a key takes part. Floating: added to the scores.
        dropout_p: probability with which a weight is dropped (whatever the mode of a module; 0 in evaluation).
        is_causal: query i sees the keys 0 to i alone; excludes `attn_mask`.
        scale: factor of the scores, a number or a tensor of shape (), which may be learned; default ``1 / sqrt(E)``.
        enable_gqa: the axis before L may have fewer heads in `key` and `value` than in `query`; each serves a group of
            consecutive heads of the query.
    Returns:
        (..., L, Ev), the dtype of `query`.
    Raises:
        ShapeError: extents that do not fit, a mask that does not broadcast, a sequence of length zero.
        DTypeError: dtypes differ, or the mask is neither bool nor of the dtype of `query`.
        ConfigError: `dropout_p` outside [0, 1], or both `attn_mask` and `is_causal`.
    Numerics:
        The largest score is subtracted before the exponential. A query whose keys are all masked gives zeros and no
        gradient, as in PyTorch. Above 2^18 scores a head (L times S), without dropout, the scores are computed in
        blocks of rows, forward and backward, and never stored together; derivatives of every order and mode exist
        there too. Under `autocast("bfloat16")` operands, weights, result and gradients are rounded, softmax is not.
    Example:
        >>> import chainrule as cr
        >>> q, k = cr.asarray([[0.0, 0.0]]), cr.asarray([[1.0, 0.0], [0.0, 1.0]])
        >>> v = cr.asarray([[2.0], [4.0]])
        >>> cr.functional.scaled_dot_product_attention(q, k, v).tolist()
        [[3.0]]

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.2.1.
    """
    query, key, value, mask = _checked(query, key, value, attn_mask, is_causal, enable_gqa)
    check_probability("scaled_dot_product_attention", dropout_p, "dropout_p")
    if isinstance(scale, Tensor):  # the scale of the kernels is a number, which has no derivative
        if scale.shape:
            fail(ShapeError, "scaled_dot_product_attention", f"scale has shape {tuple(scale.shape)}, it is one number",
                 (scale,))  # fmt: skip
        query, scale = query * scale.astype(query.dtype), 1.0
    elif scale is not None and (isinstance(scale, str) or not hasattr(scale, "__float__")):
        fail(ConfigError, "scaled_dot_product_attention", f"scale must be a number or None, not {scale!r}")
    return attend(query, key, value, mask, dropout_p, is_causal, scale)[0]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout_p: float | Tensor = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    need_weights: bool = False,
    generator: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """Attention on operands that fit, and the weights (after dropout) if they are needed.

    As `scaled_dot_product_attention`, but a mask and `is_causal` go together: a key has to pass both.
    """
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1])
    kept = not isinstance(dropout_p, Tensor) and dropout_p == 0
    if mask is None and kept and not need_weights and _has_kernel(query, key, value):
        return _fused(query, key, value, is_causal, scale), None
    lead = tuple(query.shape[:-2])
    flat = _flattened(query, key, value, mask)
    if flat is not None:
        query, key, value, mask = flat
    weights = None
    if query.shape[-2] * key.shape[-2] > LONG and kept and not need_weights:
        result = _blocked(query, key, value, mask, is_causal, scale)
    else:
        result, weights = _whole(query, key, value, mask, dropout_p, is_causal, scale, need_weights, generator)
    if flat is not None:
        result = fn.reshape(result, (*lead, *result.shape[-2:]))
        weights = None if weights is None else fn.reshape(weights, (*lead, *weights.shape[-2:]))
    return result, weights


def _flattened(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
    """The operands with one leading axis for several, or None where that is not possible or makes a mask larger.

    A product has one leading axis in the compiler, and takes in what follows it only if the shapes agree.
    """
    lead = tuple(query.shape[:-2])
    if len(lead) < 2 or tuple(key.shape[:-2]) != lead or tuple(value.shape[:-2]) != lead:
        return None
    if mask is not None and mask.ndim > 2:
        own, tail = tuple(mask.shape[:-2]), tuple(mask.shape[-2:])
        if all(extent == 1 for extent in own):
            mask = fn.reshape(mask, tail)
        elif tail[0] == 1 or own == lead:
            mask = fn.reshape(fn.broadcast_to(mask, (*lead, *tail)), (-1, *tail))
        else:
            return None
    q, k, v = (fn.reshape(x, (-1, *x.shape[-2:])) for x in (query, key, value))
    return q, k, v, mask


def _whole(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float | Tensor,
    is_causal: bool,
    scale: float,
    need_weights: bool,
    generator: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention with all scores at once.

    Divides by the sum of the exponentials after the product with the values: the exponentials are then the only matrix
    of scores that the backward pass needs.
    """
    scores = matmul(query, key.mT) * scale
    if mask is not None:
        scores = fn.where(mask, scores, -math.inf) if mask.dtype is bool_ else scores + mask
    if is_causal:
        scores = fn.where(causal_mask(scores.shape[-2], scores.shape[-1]), scores, -math.inf)
    largest = fn.max(scores, axis=-1, keepdims=True).detach()
    empty = None if mask is None else largest == -math.inf
    if empty is not None:
        largest = fn.where(empty, 0.0, largest)
    exponentials = fn.exp(scores - largest)
    count = fn.sum(exponentials, axis=-1, keepdims=True)
    if empty is not None:
        count = fn.where(empty, 1.0, count)
    exponentials = dropout(exponentials, dropout_p, True, generator)
    if need_weights:
        weights = exponentials / count
        return matmul(weights, value), weights
    return matmul(exponentials, value) / count, None


def causal_mask(num_queries: int, num_keys: int) -> Tensor:
    """Bool (num_queries, num_keys), True where query i may see key j: ``j <= i``.

    Example:
        >>> from chainrule.functional.attention import causal_mask
        >>> causal_mask(2, 3).tolist()
        [[True, False, False], [True, True, False]]
    """
    return fn.arange(num_queries)[:, None] >= fn.arange(num_keys)


def block_rows(num_queries: int) -> int:
    """Queries in a block of a long attention: a function of shapes alone, as the bits of the result depend on it."""
    return max(ROWS, -(-num_queries // (BLOCKS * 64)) * 64)


def _has_kernel(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the attention of these operands has kernels of its own."""
    return fits(tuple(query.shape), tuple(key.shape), tuple(value.shape), _precision(query))


def _precision(x: Tensor) -> DType:
    """The dtype in which products of `x` are recorded."""
    return mode.precision if mode.precision is not None and x.dtype is float32 else x.dtype


def _fused(query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float) -> Tensor:
    """The primitive with kernels of its own; its operands have equal leading axes."""
    lead = fn.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    low = _precision(query)
    operands = [fn.broadcast_to(x, (*lead, *x.shape[-2:])).astype(low) for x in (query, key, value)]
    attributes = (bool(is_causal), float(scale))
    result = Tensor(emit("fused_attention", *[node_of(x) for x in operands], attributes=attributes))
    return result.astype(query.dtype)


def _blocked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """The primitive for long sequences; its operands have equal leading axes, and a mask their rank."""
    query = query * scale
    lead = fn.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2], *_lead(mask))
    operands = [fn.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (query, key, value)]
    if mask is not None:
        operands.append(fn.reshape(mask, (*(1,) * (len(lead) + 2 - mask.ndim), *mask.shape)))
    attributes: tuple[Any, ...] = (bool(is_causal), block_rows(query.shape[-2]))
    if mode.precision is not None and query.dtype is float32:
        attributes = (*attributes, mode.precision)
    return Tensor(emit("attention", *[node_of(x) for x in operands], attributes=attributes))


def _lead(mask: Tensor | None) -> list[tuple[int, ...]]:
    return [] if mask is None else [tuple(mask.shape[:-2])]


def _checked(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, enable_gqa: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The operands as tensors that fit together; a mask has two axes or more."""
    name = "scaled_dot_product_attention"
    query, key, value = (as_tensor(x, name, a) for x, a in ((query, "query"), (key, "key"), (value, "value")))
    operands = (query, key, value)
    check_floating(name, query, "query")
    for tensor, argument in ((key, "key"), (value, "value")):
        if tensor.dtype is not query.dtype:
            fail(DTypeError, name, f"query is {query.dtype.name}, {argument} is {tensor.dtype.name}", operands,
                 f"convert it with {argument}.astype(chainrule.{query.dtype.name})")  # fmt: skip
    for tensor, argument in ((query, "query"), (key, "key"), (value, "value")):
        if tensor.ndim < 2:
            fail(ShapeError, name, f"{argument} needs axes (..., length, features), it has {tensor.ndim}", operands)
        if tensor.shape[-2] == 0:
            fail(ShapeError, name, f"{argument} is a sequence of length zero (axis -2)", operands,
                 "give at least one token")  # fmt: skip
    if query.shape[-1] != key.shape[-1]:
        problem = f"query has {query.shape[-1]} features (axis -1), key has {key.shape[-1]}"
        fail(ShapeError, name, problem, operands)
    if key.shape[-2] != value.shape[-2]:
        problem = f"there are {key.shape[-2]} keys (axis -2) and {value.shape[-2]} values"
        fail(ShapeError, name, problem, operands)
    if enable_gqa:
        key, value = (_grouped(x, a, query, operands) for x, a in ((key, "key"), (value, "value")))
    lead = _common_lead(name, (query, key, value), operands)
    if attn_mask is None:
        return query, key, value, None
    mask = as_tensor(attn_mask, name, "attn_mask")
    if is_causal:
        help = "combine them in one mask"
        fail(ConfigError, name, "attn_mask and is_causal exclude each other", (), help)
    scores = (*lead, query.shape[-2], key.shape[-2])
    check_mask(name, "attn_mask", mask, scores, query)
    while mask.ndim < 2:
        mask = fn.expand_dims(mask, axis=0)
    return query, key, value, mask


def check_mask(name: str, argument: str, mask: Tensor, scores: tuple[int, ...], query: Tensor) -> None:
    """Raise unless `mask` is bool or of the query's dtype and broadcasts to the shape of the scores."""
    if mask.dtype is not bool_ and mask.dtype is not query.dtype:
        problem = f"{argument} is {mask.dtype.name}, it has to be bool or {query.dtype.name}"
        help = f"convert it with .astype(chainrule.{query.dtype.name}), or compare it with a number"
        fail(DTypeError, name, problem, (query, mask), help)
    shape = tuple(mask.shape)
    if len(shape) > len(scores) or any(e not in (1, s) for e, s in zip(reversed(shape), reversed(scores))):
        fail(ShapeError, name, f"{argument} has shape {shape}, which does not broadcast to the scores {scores}",
             (query, mask), "the last two axes of the scores are queries and keys")  # fmt: skip


def _common_lead(name: str, tensors: tuple[Tensor, ...], operands: tuple[Tensor, ...]) -> tuple[int, ...]:
    """The common leading axes, or a ShapeError with the axis and its extents."""
    rank = max(x.ndim for x in tensors) - 2
    lead = []
    for axis in range(rank):
        extents = [x.shape[axis - rank - 2] for x in tensors if x.ndim - 2 >= rank - axis]
        found = sorted(set(extents) - {1})
        if len(found) > 1:
            text = " and ".join(map(str, found))
            heads = axis == rank - 1 and found[0] > 0 and extents[0] == found[-1] and not found[-1] % found[0]
            fail(ShapeError, name, f"leading axis {axis - rank - 2} has {text} elements", operands,
                 "enable_gqa=True lets several heads of query share one of key and value" if heads else "")  # fmt: skip
        lead.append(found[0] if found else 1)
    return tuple(lead)


def _grouped(x: Tensor, argument: str, query: Tensor, operands: tuple[Tensor, ...]) -> Tensor:
    """`x` with each head repeated for its group of the query's heads."""
    name = "scaled_dot_product_attention"
    if x.ndim < 3 or query.ndim < 3 or query.shape[-3] % x.shape[-3]:
        have = [t.shape[-3] if t.ndim > 2 else 0 for t in (query, x)]
        problem = f"{have[0]} heads of query (axis -3) are no multiple of the {have[1]} heads of {argument}"
        fail(ShapeError, name, problem, operands)
    heads, group = x.shape[-3], query.shape[-3] // x.shape[-3]
    if group == 1:
        return x
    lead, tail = tuple(x.shape[:-3]), tuple(x.shape[-2:])
    spread = fn.broadcast_to(fn.expand_dims(x, axis=-3), (*lead, heads, group, *tail))
    return fn.reshape(spread, (*lead, heads * group, *tail))
