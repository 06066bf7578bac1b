"""Movement primitives: elements change place, are dropped or repeated, but not computed with. All are linear."""

from __future__ import annotations

import numpy as np

from ..dtypes import bool_
from ..errors import DTypeError
from ..shapes import kept_axes, size, slice_extent
from .base import Primitive, apply, emit, primitive, same_dtype
from .rules import all_lead, broadcast, full, full_like, lead, permute, reshape, total, where


class Movement(Primitive):
    """Family base: one operand, linear in it."""

    family = "movement"

    def jvp(self, node, tangents):
        """The same movement of the tangent."""
        return apply(self, (tangents[0],))


class Reshape(Movement):
    """The same elements, in row-major order, in another shape."""

    name = "reshape"
    attributes = ("shape",)

    def infer(self, x):
        """The attribute's shape, which must have as many elements."""
        if size(self.shape) != size(x.shape):
            self.reject(f"{size(x.shape)} elements do not fit shape {list(self.shape)}", (x,))
        return self.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent in the operand's shape."""
        return (reshape(cotangent, node.inputs[0].shape),)

    def batch(self, inputs, batched, size):
        """The batch axis stays in front."""
        return reshape(inputs[0], (size, *self.shape))

    def numpy(self, x):
        """`numpy.reshape`."""
        return x.reshape(self.shape)


class Permute(Movement):
    """Axis i of the result is axis ``axes[i]`` of x."""

    name = "permute"
    attributes = ("axes",)

    def infer(self, x):
        """The extents in the new order."""
        axes, shape = self.axes, x.shape
        if len(axes) != len(shape) or sorted(axes) != list(range(len(shape))):
            self.reject(f"axes {axes} are not an order of the {len(shape)} axes", (x,))
        return tuple(shape[axis] for axis in axes), x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent with its axes put back."""
        inverse = [0] * len(self.axes)
        for position, axis in enumerate(self.axes):
            inverse[axis] = position
        return (permute(cotangent, tuple(inverse)),)

    def batch(self, inputs, batched, size):
        """The batch axis stays in front."""
        return permute(inputs[0], (0, *(axis + 1 for axis in self.axes)))

    def numpy(self, x):
        """`numpy.transpose`."""
        return x.transpose(self.axes)


class Broadcast(Movement):
    """x repeated: its axis i becomes axis ``axes[i]`` of the result; extents of 1 are stretched."""

    name = "broadcast"
    attributes = ("shape", "axes")

    def infer(self, x):
        """The attribute's shape, which the operand's extents have to fit."""
        axes, shape = self.axes, self.shape
        if len(axes) != len(x.shape):
            self.reject(f"{len(axes)} axes are named for an operand of rank {len(x.shape)}", (x,))
        last = -1
        for extent, axis in zip(x.shape, axes):
            if not last < axis < len(shape):
                self.reject(f"axes {axes} are not increasing axes of shape {list(shape)}", (x,))
            if extent != 1 and extent != shape[axis]:
                self.reject(f"extent {extent} does not fit extent {shape[axis]} of axis {axis}", (x,))
            last = axis
        return shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The sum over all repetitions."""
        source = node.inputs[0].shape
        same = {axis for axis, extent in zip(self.axes, source) if extent == self.shape[axis]}
        return (reshape(total(cotangent, kept_axes(same, len(self.shape))), source),)

    def batch(self, inputs, batched, size):
        """The batch axis stays in front."""
        return broadcast(inputs[0], (size, *self.shape), (0, *(axis + 1 for axis in self.axes)))

    def numpy(self, x):
        """`numpy.broadcast_to`."""
        extents = [1] * len(self.shape)
        for extent, axis in zip(x.shape, self.axes):
            extents[axis] = extent
        return np.broadcast_to(x.reshape(extents), self.shape)


class Slice(Movement):
    """Elements ``start, start + step, ...`` below ``stop`` along each axis; steps are positive."""

    name = "slice"
    attributes = ("starts", "stops", "steps")

    def infer(self, x):
        """The number of elements taken along each axis."""
        if not len(self.starts) == len(self.stops) == len(self.steps) == len(x.shape):
            self.reject(f"bounds {self.starts}, {self.stops}, {self.steps} do not have rank {len(x.shape)}", (x,))
        for axis, (start, stop, step, extent) in enumerate(zip(self.starts, self.stops, self.steps, x.shape)):
            if not 0 <= start <= stop <= extent or step < 1:
                self.reject(f"slice {start}:{stop}:{step} does not fit extent {extent} of axis {axis}", (x,))
        return tuple(map(slice_extent, self.starts, self.stops, self.steps)), x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent put back between zeros."""
        low, high, interior = [], [], []
        for start, step, count, extent in zip(self.starts, self.steps, node.shape, node.inputs[0].shape):
            low.append(start if count else 0)
            high.append(extent - start - (count - 1) * step - 1 if count else extent)
            interior.append(step - 1)
        zero = full(0.0, (), cotangent.dtype)
        return (emit("pad", cotangent, zero, attributes=(tuple(low), tuple(high), tuple(interior))),)

    def batch(self, inputs, batched, size):
        """The whole of the batch axis."""
        return emit("slice", inputs[0], attributes=((0, *self.starts), (size, *self.stops), (1, *self.steps)))

    def numpy(self, x):
        """Basic slicing."""
        return x[tuple(map(slice, self.starts, self.stops, self.steps))]


class Pad(Movement):
    """x with `low` and `high` fill values before and after it along each axis and `interior` between elements."""

    name = "pad"
    attributes = ("low", "high", "interior")

    def infer(self, x, fill):
        """Extent n becomes low + n + (n - 1) interior + high."""
        same_dtype(self, (x, fill))
        if fill.shape:
            self.reject("the fill value must have rank 0", (x, fill))
        if not len(self.low) == len(self.high) == len(self.interior) == len(x.shape):
            self.reject(f"widths {self.low}, {self.high}, {self.interior} do not have rank {len(x.shape)}", (x, fill))
        if min((0, *self.low, *self.high, *self.interior)) < 0:
            self.reject(f"widths {self.low}, {self.high}, {self.interior} must not be negative", (x, fill))
        return tuple(
            low + extent + max(extent - 1, 0) * interior + high
            for low, extent, interior, high in zip(self.low, x.shape, self.interior, self.high)
        ), x.dtype

    def _window(self, extents):
        """Starts, stops and steps at which x stands in the result."""
        stops = tuple(
            low + (extent - 1) * (interior + 1) + 1 if extent else low
            for low, extent, interior in zip(self.low, extents, self.interior)
        )
        return self.low, stops, tuple(interior + 1 for interior in self.interior)

    def _outside(self, x):
        """A bool node: where the result is fill."""
        return apply(self, (full(False, x.shape, bool_), full(True, (), bool_)))

    def vjp(self, node, cotangent, needed):
        """The cotangent at x's places; its sum at the others."""
        x = node.inputs[0]
        inner = outer = None
        if needed[0]:
            inner = emit("slice", cotangent, attributes=self._window(x.shape))
        if needed[1]:
            masked = where(self._outside(x), cotangent, full_like(cotangent, 0.0))
            outer = total(masked, tuple(range(len(node.shape))))
        return inner, outer

    def jvp(self, node, tangents):
        """The tangents padded alike."""
        x, fill = (full_like(i, 0.0) if t is None else t for i, t in zip(node.inputs, tangents))
        return apply(self, (x, fill))

    def batch(self, inputs, batched, size):
        """No padding along the batch axis; a batched fill value is selected where x is not."""
        x, fill = inputs
        x = x if batched[0] else lead(x, size)
        wider = primitive("pad", ((0, *self.low), (0, *self.high), (0, *self.interior)))
        if not batched[1]:
            return apply(wider, (x, fill))
        padded = apply(wider, (x, full(0, (), x.dtype)))
        return where(wider._outside(x), broadcast(fill, padded.shape, (0,)), padded)

    def numpy(self, x, fill):
        """Assignment to a window of an array of fill values."""
        extents = tuple(
            low + extent + max(extent - 1, 0) * interior + high
            for low, extent, interior, high in zip(self.low, x.shape, self.interior, self.high)
        )
        result = np.full(extents, fill, x.dtype)
        result[tuple(map(slice, *self._window(x.shape)))] = x
        return result


class Flip(Movement):
    """x in reverse order along `axes`."""

    name = "flip"
    attributes = ("axes",)

    def infer(self, x):
        """The operand's type."""
        check_axes(self, self.axes, x)
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent reversed."""
        return (apply(self, (cotangent,)),)

    def batch(self, inputs, batched, size):
        """The batch axis is not reversed."""
        return emit("flip", inputs[0], attributes=(tuple(axis + 1 for axis in self.axes),))

    def numpy(self, x):
        """`numpy.flip`."""
        return np.flip(x, self.axes)


class Concat(Primitive):
    """The operands one after the other along `axis`."""

    name = "concat"
    family = "movement"
    attributes = ("axis",)

    def infer(self, *operands):
        """The extents along `axis` added up; all others must agree."""
        axis = self.axis
        if not operands:
            self.reject("needs at least one operand", ())
        dtype = same_dtype(self, operands)
        first = operands[0].shape
        if not 0 <= axis < len(first):
            self.reject(f"axis {axis} is out of range for rank {len(first)}", operands)
        length = 0
        for i, operand in enumerate(operands):
            shape = operand.shape
            if len(shape) != len(first) or shape[:axis] != first[:axis] or shape[axis + 1 :] != first[axis + 1 :]:
                self.reject(f"shape {list(shape)} of operand {i} differs beside axis {axis}", operands)
            length += shape[axis]
        return (*first[:axis], length, *first[axis + 1 :]), dtype

    def vjp(self, node, cotangent, needed):
        """Each operand's part of the cotangent."""
        axis, rank = self.axis, len(node.shape)
        results = []
        start = 0
        for operand, wanted in zip(node.inputs, needed):
            stop = start + operand.shape[axis]
            if wanted:
                starts, stops = [0] * rank, list(node.shape)
                starts[axis], stops[axis] = start, stop
                part = emit("slice", cotangent, attributes=(tuple(starts), tuple(stops), (1,) * rank))
            results.append(part if wanted else None)
            start = stop
        return tuple(results)

    def jvp(self, node, tangents):
        """The tangents one after the other, zeros for those that are missing."""
        return apply(self, tuple(full_like(i, 0.0) if t is None else t for i, t in zip(node.inputs, tangents)))

    def batch(self, inputs, batched, size):
        """Unbatched operands repeated."""
        return emit("concat", *all_lead(inputs, batched, size), attributes=(self.axis + 1,))

    def numpy(self, *arrays):
        """`numpy.concatenate`."""
        return np.concatenate(arrays, self.axis)


def check_axes(op: Primitive, axes: tuple[int, ...], x) -> None:
    """Reject `axes` that are not increasing axes of x."""
    last = -1
    for axis in axes:
        if not last < axis < len(x.shape):
            op.reject(f"axes {axes} are not increasing axes of rank {len(x.shape)}", (x,))
        last = axis


def check_numeric(op: Primitive, x) -> None:
    """Reject bool operands."""
    if x.dtype.kind == "b":
        op.reject("needs numbers", (x,), "convert with .astype(...)", DTypeError)


def check_ordered(op: Primitive, x) -> None:
    """Reject complex operands, of which none is larger than another."""
    if x.dtype.kind == "c":
        op.reject("complex numbers have no order", (x,), "compare abs(x), or real(x)", DTypeError)
