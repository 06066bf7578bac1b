"""Padding: constant, reflected, repeated at the edge, and going round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import functions as fn
from ..errors import ConfigError, ShapeError
from ..tensor import Tensor
from ._common import check_tensor, fail

MODES = ("constant", "reflect", "replicate", "circular")


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _padded(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    """`x` with `low` and `high` elements more along one axis."""
    extent = x.shape[axis]
    if mode == "reflect":
        most, before, after = extent - 1, _part(x, axis, 1, low + 1), _part(x, axis, extent - 1 - high, extent - 1)
    elif mode == "circular":
        most, before, after = extent, _part(x, axis, extent - low, extent), _part(x, axis, 0, high)
    else:
        most, before, after = extent, _part(x, axis, 0, 1), _part(x, axis, extent - 1, extent)
    if max(low, high) > most and (mode != "replicate" or not extent):
        fail(ShapeError, "pad", f"mode {mode!r} can add at most {max(most, 0)} elements at each end of axis {axis},"
             f" which has {extent}, not {max(low, high)}", (x,))  # fmt: skip
    if mode == "reflect":
        before, after = fn.flip(before, axis), fn.flip(after, axis)
    elif mode == "replicate":
        before, after = (
            fn.broadcast_to(p, (*x.shape[:axis], n, *x.shape[axis + 1 :])) for p, n in ((before, low), (after, high))
        )
    return fn.concat([part for part, n in ((before, low), (x, 1), (after, high)) if n], axis=axis)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """`input` with elements added around its last axes.

    Args:
        input: any shape.
        pad: numbers of elements (before, after) of the last axis, then of the last but one, and so on. Negative ones
            cut off.
        mode: "constant"; "reflect", which mirrors without repeating the edge; "replicate", which repeats the edge;
            "circular", which goes on at the other end.
        value: what a constant padding holds, default 0.
    Returns:
        The padded tensor.
    Raises:
        ConfigError: an unknown mode, `pad` that is no list of pairs, a value with another mode than "constant".
        ShapeError: more pairs than axes, or more elements than the mode can take from the input.
    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray([1.0, 2.0, 3.0])
        >>> [cr.functional.pad(x, (2, 1), mode).tolist() for mode in ("constant", "reflect")]
        [[0.0, 0.0, 1.0, 2.0, 3.0, 0.0], [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]]
        >>> [cr.functional.pad(x, (2, 1), mode).tolist() for mode in ("replicate", "circular")]
        [[1.0, 1.0, 1.0, 2.0, 3.0, 3.0], [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]]
    """
    if mode not in MODES:
        fail(ConfigError, "pad", f"mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    widths: tuple[Any, ...] = tuple(pad) if hasattr(pad, "__iter__") else (pad,)
    if len(widths) % 2 or not all(hasattr(w, "__index__") for w in widths):
        fail(ConfigError, "pad", f"pad must be pairs of whole numbers (before, after), not {pad!r}")
    check_tensor("pad", input)
    rank, count = len(input.shape), len(widths) // 2
    if count > rank:
        fail(ShapeError, "pad", f"{count} pairs are given for {rank} axes", (input,))
    for i in range(count):
        axis, cut = rank - 1 - i, -min(widths[2 * i], 0) - min(widths[2 * i + 1], 0)
        if cut > input.shape[axis]:
            fail(ShapeError, "pad", f"axis {axis} has {input.shape[axis]} elements, {cut} are cut off", (input,))
    if mode == "constant":
        pairs = [(0, 0)] * (rank - count) + [(widths[2 * i], widths[2 * i + 1]) for i in reversed(range(count))]
        return fn.pad(input, pairs, 0 if value is None else value)
    if value not in (None, 0):
        fail(ConfigError, "pad", f"a value belongs to mode 'constant', not to {mode!r}")
    for i in range(count):
        axis, low, high = rank - 1 - i, widths[2 * i], widths[2 * i + 1]
        if low < 0 or high < 0:
            input = _part(input, axis, max(-low, 0), input.shape[axis] - max(-high, 0))
        if low > 0 or high > 0:
            input = _padded(input, axis, max(low, 0), max(high, 0), mode)
    return input
