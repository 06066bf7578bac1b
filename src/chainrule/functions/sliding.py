"""The primitives of convolution and of windows on tensors; `chainrule.functional` has the forms that users call."""

from __future__ import annotations

from ..dtypes import int32, uint8
from ..ops.base import emit
from ..ops.windows import first_valid_place, positions
from ..recording import product, size_of
from ..tensor import Tensor, node_of

Shape = tuple[int, ...]


def convolution(x: Tensor, w: Tensor, strides: Shape, low: Shape, high: Shape, dilations: Shape, groups: int) -> Tensor:
    """Cross-correlation of (N, C, *spatial) and (O, C / groups, *kernel) with `low` and `high` zeros around."""
    return Tensor(product("convolution", node_of(x), node_of(w), (strides, low, high, dilations, groups)))


def convolution_input_grad(
    g: Tensor, w: Tensor, strides: Shape, low: Shape, high: Shape, dilations: Shape, groups: int, spatial: Shape
) -> Tensor:
    """The transpose of `convolution` in its input, which has extents `spatial`."""
    attributes = (strides, low, high, dilations, groups, spatial)
    return Tensor(product("convolution_input_grad", node_of(g), node_of(w), attributes))


def windows(x: Tensor, sizes: Shape, strides: Shape, dilations: Shape) -> Tensor:
    """The windows over the last axes: (..., *spatial) to (..., *out, *sizes)."""
    return Tensor(emit("windows", node_of(x), attributes=(sizes, strides, dilations)))


def fold(y: Tensor, spatial: Shape, strides: Shape, dilations: Shape) -> Tensor:
    """Windows (..., *out, *sizes) added up where they overlap: (..., *spatial)."""
    return Tensor(emit("fold", node_of(y), attributes=(spatial, strides, dilations)))


def largest(x: Tensor, axes: Shape, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The maxima over `axes` and the row-major places of the first ones, as small integers.

    The derivative goes to the first of equal maxima alone. `valid` (bool, the shape of `x`) may exclude elements from
    being the place.
    """
    node = node_of(x)
    count = size_of(tuple(node.shape[axis] for axis in axes))
    dtype = uint8 if count <= 256 else int32
    if valid is None:
        place = emit("first_place", node, attributes=(axes, dtype))
    else:
        place = first_valid_place(node, axes, dtype, node_of(valid))
    return Tensor(emit("max_at", node, place, attributes=(axes,))), Tensor(place)


def at(x: Tensor, place: Tensor, axes: Shape) -> Tensor:
    """The elements of the integers `x` at `place`, which `largest` found over `axes`."""
    node, index = node_of(x), node_of(place)
    kept = tuple(axis for axis in range(len(node.shape)) if axis not in axes)
    spread = emit("broadcast", index, attributes=(node.shape, kept))
    chosen = emit("eq", positions(node.shape, axes, index.dtype), spread)
    zeros = emit("full", attributes=(0, node.shape, node.dtype))
    return Tensor(emit("sum", emit("where", chosen, node, zeros), attributes=(axes,)))
