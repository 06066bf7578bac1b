"""`apply_along_axis`: a function of vectors applied along an axis of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd.batching import vmap
from ..conversion import to_node
from ..recording import normal_axis, size_of
from ..tensor import Tensor
from .shape import moveaxis, permute_dims


def apply_along_axis(function: Callable[..., Any], axis: int, x: Any, /, *arguments: Any, **options: Any) -> Tensor:
    """`function` of each vector along `axis`; what it gives takes the place of that axis.

    The function is recorded once, by `vmap`.
    """
    node = to_node(x, "apply_along_axis")
    axis = normal_axis("apply_along_axis", axis, len(node.shape), node)
    moved = moveaxis(Tensor(node), axis, -1)
    lead = moved.shape[:-1]
    rows = moved.reshape((size_of(lead), node.shape[axis]))
    found = vmap(lambda row: function(row, *arguments, **options))(rows)
    rank = found.ndim - 1
    result = found.reshape((*lead, *found.shape[1:]))
    count = len(lead)
    order = (*range(axis), *range(count, count + rank), *range(axis, count))
    return permute_dims(result, order)
