"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import functions as fn
from ..errors import ShapeError
from ..functional._common import as_tensor, fail
from ..ops.base import misuse
from ..tensor import Tensor


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences in one array, the shorter ones padded: with their lengths what recurrent layers take.

    Args:
        sequences: one at least, each (length, ...), the other axes and dtypes equal.
        batch_first: (batch, longest, ...) rather than (longest, batch, ...).
        padding_value: what the padding holds.
        padding_side: "right", behind each sequence, or "left".
    Returns:
        (longest, batch, ...), the dtype of the sequences.
    Raises:
        ConfigError: no sequences, another side. ShapeError: the axes after the first differ.
    Example:
        >>> import chainrule as cr
        >>> words = [cr.asarray([1.0, 2.0, 3.0]), cr.asarray([4.0])]
        >>> cr.nn.utils.pad_sequence(words, batch_first=True).tolist()
        [[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]
        >>> x = cr.nn.utils.pad_sequence([cr.ones((3, 4)), cr.ones((1, 4))])
        >>> outputs, last = cr.nn.GRU(4, 2)(x, lengths=[3, 1])
    """
    name = "pad_sequence"
    if padding_side not in ("right", "left"):
        raise misuse(f"{name}: padding_side must be 'right' or 'left', not {padding_side!r}")
    tensors = [as_tensor(value, name, f"sequence {n}") for n, value in enumerate(sequences)]
    if not tensors:
        raise misuse(f"{name}: there are no sequences")
    first = tensors[0]
    for n, x in enumerate(tensors):
        if not x.shape or x.shape[1:] != first.shape[1:]:
            problem = f"sequence {n} has shape {tuple(x.shape)}, sequence 0 {tuple(first.shape)}"
            fail(ShapeError, name, problem, (first, x), "they may differ in the first axis alone")
    longest = max(x.shape[0] for x in tensors)
    padded = []
    for x in tensors:
        more = longest - x.shape[0]
        widths = [(0, more) if padding_side == "right" else (more, 0)] + [(0, 0)] * (len(x.shape) - 1)
        padded.append(fn.pad(x, widths, padding_value))
    return fn.stack(padded, axis=0 if batch_first else 1)
