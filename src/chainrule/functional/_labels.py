"""Class labels: range checks and the comparison of labels with class numbers."""

from __future__ import annotations

import numpy as np

from .. import functions as fn
from ..dtypes import uint64
from ..errors import DTypeError, IndexOutOfRangeError, ShapeError
from ..ops.base import emit
from ..tensor import Tensor, node_of
from ._common import fail


def check_label_type(name: str, input: Tensor, labels: Tensor, axis: int) -> None:
    """Raise unless `labels` are integers of the shape of `input` without its class `axis`."""
    expected = tuple(input.shape[:axis]) + tuple(input.shape[axis + 1 :])
    given = tuple(labels.shape)
    if labels.dtype.kind not in "iu":
        help = "class indices are integers: convert with .astype(chainrule.int64)"
        if labels.dtype.kind == "f" and given != tuple(input.shape):
            help += f"; class probabilities would have the shape {tuple(input.shape)}"
        fail(DTypeError, name, f"labels are {labels.dtype.name}", (input, labels), help)
    if given != expected:
        help = f"the class axis of input is {axis}; labels need the shape {expected}"
        if given == expected + (1,):
            help += ", with target.squeeze(-1)"
        fail(
            ShapeError, name, f"input has shape {tuple(input.shape)}, labels have shape {given}", (input, labels), help
        )


def check_labels(name: str, labels: Tensor, num_classes: int, ignore_index: int | None) -> tuple[Tensor, bool]:
    """Range-checked labels, and whether some of them may equal `ignore_index`.

    Labels whose values are known are checked now; others (in a compiled step) when the program runs.
    """
    values = node_of(labels).value
    if values is not None:
        if not values.size:
            return labels, False
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high < num_classes:
            return labels, ignore_index is not None and low <= ignore_index <= high
        bad = (values < 0) | (values >= num_classes)
        ignored = False
        if ignore_index is not None:
            ignored = bool((values == ignore_index).any())
            bad &= values != ignore_index
        if bad.any():
            wrong = int(values[bad].ravel()[0])
            where = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
            fail(IndexOutOfRangeError, name,
                 f"label {wrong} (at index [{where}]) is out of range for {num_classes} classes", (labels,),
                 f"labels run from 0 to {num_classes - 1}; ignore_index={wrong} would leave such examples out"
                 if ignore_index is not None else f"indices run from 0 to {num_classes - 1}")  # fmt: skip
        return labels, ignored
    may_ignore = ignore_index is not None and (labels.dtype.kind == "i" or ignore_index >= 0)
    checked = fn.where(labels == ignore_index, 0, labels) if may_ignore else labels
    # As unsigned numbers, negative labels are huge: without this they would count from the end, as indices do.
    node = emit("cast", node_of(checked), attributes=(uint64,))
    return Tensor(emit("check_index", node, attributes=(num_classes, f"the classes of {name}, an axis"))), may_ignore


def class_mask(labels: Tensor, num_classes: int, axis: int) -> Tensor:
    """Bool tensor with a class axis of `num_classes` put in at `axis`: True where the class is the label.

    Recorded as three nodes (iota, broadcast, comparison), which the compiler fuses into whatever reads the mask.
    """
    node = node_of(labels)
    shape = node.shape[:axis] + (num_classes,) + node.shape[axis:]
    axes = tuple(a for a in range(len(shape)) if a != axis)
    classes = emit("iota", attributes=(shape, axis, node.dtype))
    return Tensor(emit("eq", classes, emit("broadcast", node, attributes=(shape, axes))))
