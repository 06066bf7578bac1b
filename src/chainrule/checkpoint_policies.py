"""What `checkpoint` keeps of the inside of a region: predicates on operations, by JAX's names.

A policy is given an `Operation` for every node of the region and says whether its result is kept for the backward pass
instead of being computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .dtypes import DType

__all__ = [
    "Operation", "dots_saveable", "dots_with_no_batch_dims_saveable", "everything_saveable", "nothing_saveable",
    "save_any_names_but_these", "save_anything_except_these_names", "save_from_both_policies", "save_only_these_names",
]  # fmt: skip

Policy = Callable[["Operation"], bool]
_PRODUCTS = ("contract", "convolution", "convolution_input_grad", "convolution_weight_grad", "csr_matmul")


class Operation(NamedTuple):
    """A recorded operation.

    Attributes:
        primitive: the name of the primitive, as `explain` shows it.
        shape, dtype: the type of its result.
        operands: the (shape, dtype) of its operands.
        attributes: its attributes by name.
        label: the name given by `checkpoint_name`, None for any other operation.
    """

    primitive: str
    shape: tuple[int, ...]
    dtype: DType
    operands: tuple[tuple[tuple[int, ...], DType], ...]
    attributes: dict[str, Any]
    label: str | None


def everything_saveable(operation: Operation) -> bool:
    """Keep everything: the same as no checkpoint."""
    return True


def nothing_saveable(operation: Operation) -> bool:
    """Keep nothing: what `checkpoint` does without a policy."""
    return False


def dots_saveable(operation: Operation) -> bool:
    """Keep the results of matrix products and convolutions, and compute the cheap operations between them again."""
    return operation.primitive in _PRODUCTS


def dots_with_no_batch_dims_saveable(operation: Operation) -> bool:
    """Keep the results of matrix products without batch axes: those of linear layers, not the scores of attention."""
    if operation.primitive != "contract":
        return operation.primitive == "csr_matmul"
    labels = [set(operation.attributes[name]) for name in ("a_labels", "b_labels", "out_labels")]
    return not set.intersection(*labels)


def save_only_these_names(*names: str) -> Policy:
    """Keep the values that `checkpoint_name` has given one of `names`."""

    def policy(operation: Operation) -> bool:
        return operation.label in names

    return policy


def save_any_names_but_these(*names: str) -> Policy:
    """Keep the values that `checkpoint_name` has given a name, but none of `names`."""

    def policy(operation: Operation) -> bool:
        return operation.label is not None and operation.label not in names

    return policy


def save_anything_except_these_names(*names: str) -> Policy:
    """Keep everything but the values that `checkpoint_name` has given one of `names`."""

    def policy(operation: Operation) -> bool:
        return operation.label is None or operation.label not in names

    return policy


def save_from_both_policies(first: Policy, second: Policy) -> Policy:
    """Keep what either of two policies keeps."""

    def policy(operation: Operation) -> bool:
        return first(operation) or second(operation)

    return policy
