"""Windows that slide over an array's last axes, their transpose, which adds them up, and the largest in a window."""

from __future__ import annotations

import itertools

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import kept_axes, reduced
from ..shapes import size as size_of
from .base import Primitive, emit
from .large_windows import smaller_windows
from .movement import Movement, check_axes, check_numeric, check_ordered
from .rules import add, all_lead, broadcast, full, full_like, mul, reshape, total, where


def reach(size: int, dilation: int) -> int:
    """How many elements a window of `size` taps that are `dilation` apart spans."""
    return (size - 1) * dilation + 1


def count_windows(extent: int, size: int, stride: int, dilation: int) -> int:
    """How many windows fit into `extent` elements; 0 or less if not one does."""
    return (extent - reach(size, dilation)) // stride + 1


def taps(extents: tuple[int, ...], offsets: tuple[int, ...], strides: tuple[int, ...]) -> tuple[slice, ...]:
    """Along each axis the places ``offset + o * stride`` for o below the extent."""
    return tuple(
        slice(offset, offset + (extent - 1) * stride + 1 if extent else offset, stride)
        for extent, offset, stride in zip(extents, offsets, strides)
    )


def check_steps(op: Primitive, operands: tuple[Node, ...], **steps: tuple[int, ...]) -> int:
    """Reject attributes of different lengths and steps below 1; their common length."""
    lengths = {name: len(values) for name, values in steps.items()}
    if len(set(lengths.values())) != 1:
        op.reject(f"attributes have different lengths: {lengths}", operands)
    for name, values in steps.items():
        if min(values, default=1) < 1:
            op.reject(f"{name} {values} must be at least 1", operands)
    return next(iter(lengths.values()))


class Windows(Movement):
    """All windows over the last axes: ``y[..., o, k] = x[..., o * stride + k * dilation]``, for each of these axes.

    The shape (..., *spatial) becomes (..., *out, *sizes). There is no padding, and elements behind the last whole
    window are dropped.
    """

    name = "windows"
    attributes = ("sizes", "strides", "dilations")

    def infer(self, x):
        """The other axes, then the number of windows, then their sizes."""
        count = check_steps(self, (x,), sizes=self.sizes, strides=self.strides, dilations=self.dilations)
        if count > len(x.shape):
            self.reject(f"{count} window axes for an operand of rank {len(x.shape)}", (x,))
        first = len(x.shape) - count
        out = []
        for axis, size, stride, dilation in zip(range(first, len(x.shape)), self.sizes, self.strides, self.dilations):
            extent = x.shape[axis]
            windows = count_windows(extent, size, stride, dilation)
            if windows < 1:
                span = reach(size, dilation)
                self.reject(f"a window that spans {span} elements does not fit extent {extent} of axis {axis}", (x,))
            out.append(windows)
        return (*x.shape[:first], *out, *self.sizes), x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent's windows added up."""
        shape = node.inputs[0].shape
        spatial = shape[len(shape) - len(self.sizes) :]
        return (emit("fold", cotangent, attributes=(spatial, self.strides, self.dilations)),)

    def batch(self, inputs, batched, size):
        """The batch axis stays in front."""
        return emit("windows", inputs[0], attributes=(self.sizes, self.strides, self.dilations))

    def numpy(self, x):
        """A strided view."""
        first = x.ndim - len(self.sizes)
        out = map(count_windows, x.shape[first:], self.sizes, self.strides, self.dilations)
        across = [step * stride for step, stride in zip(x.strides[first:], self.strides)]
        within = [step * dilation for step, dilation in zip(x.strides[first:], self.dilations)]
        return np.lib.stride_tricks.as_strided(
            x, (*x.shape[:first], *out, *self.sizes), (*x.strides[:first], *across, *within), writeable=False
        )


class Fold(Movement):
    """The transpose of `windows`: (..., *out, *sizes) to (..., *spatial), each element the sum of those that lie on it.

    The sum starts from 0 and runs over the places in the window, in row-major order; compiled, that of many places is
    one of sums (`large_windows.py`). What no window covers is 0.
    """

    name = "fold"
    attributes = ("spatial", "strides", "dilations")

    def infer(self, y):
        """The other axes, then `spatial`, into which exactly as many windows fit as there are."""
        count = check_steps(self, (y,), strides=self.strides, dilations=self.dilations)
        if len(self.spatial) != count or 2 * count > len(y.shape):
            self.reject(f"{len(self.spatial)} extents and {count} steps for an operand of rank {len(y.shape)}", (y,))
        check_numeric(self, y)
        first = len(y.shape) - 2 * count
        for i in range(count):
            windows, size = y.shape[first + i], y.shape[first + count + i]
            fitting = count_windows(self.spatial[i], size, self.strides[i], self.dilations[i]) if size else 0
            if fitting < 1 or fitting != windows:
                self.reject(
                    f"{windows} windows of {size} elements along axis {first + i}, but {max(fitting, 0)} fit into"
                    f" extent {self.spatial[i]}",
                    (y,),
                )
        return (*y.shape[:first], *self.spatial), y.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent's windows."""
        sizes = node.inputs[0].shape[len(node.inputs[0].shape) - len(self.spatial) :]
        return (emit("windows", cotangent, attributes=(sizes, self.strides, self.dilations)),)

    def batch(self, inputs, batched, size):
        """The batch axis stays in front."""
        return emit("fold", inputs[0], attributes=(self.spatial, self.strides, self.dilations))

    def expand(self, y):
        """What a compiler makes of it, unless windows are small."""
        return smaller_windows(y, self.spatial, self.strides, self.dilations)

    def numpy(self, y):
        """One addition for each place in the window."""
        count = len(self.spatial)
        first = y.ndim - 2 * count
        out, sizes = y.shape[first : first + count], y.shape[first + count :]
        result = np.zeros((*y.shape[:first], *self.spatial), y.dtype)
        for place in itertools.product(*map(range, sizes)):
            offsets = tuple(k * dilation for k, dilation in zip(place, self.dilations))
            result[(..., *taps(out, offsets, self.strides))] += y[(..., *place)]
        return result

    def cost(self, node):
        """One addition for each element of the operand."""
        _, moved = super().cost(node)
        return int(np.prod(node.inputs[0].shape, dtype=np.int64)), moved


def positions(shape: tuple[int, ...], axes: tuple[int, ...], dtype: DType) -> Node:
    """The row-major place of each element of `shape` among those of `axes`."""
    result, step = None, 1
    for axis in reversed(axes):
        count = emit("iota", attributes=(shape, axis, dtype))
        part = count if step == 1 else mul(count, full_like(count, step))
        result = part if result is None else add(part, result)
        step *= shape[axis]
    return full(0, shape, dtype) if result is None else result


class MaxAt(Primitive):
    """The largest element over `axes`, NaN if one is NaN, which is the one at `place`.

    `place` is the row-major place among `axes`, which `first_place` finds. The value is that of `max`; the derivative
    belongs to that place alone, however many elements are as large, and needs the place, a small integer, but not the
    elements: that is what makes it a primitive. Kernels see it as `max`.
    """

    name = "max_at"
    family = "reduction"
    attributes = ("axes",)

    def infer(self, x, place):
        """The operand's shape without `axes`, which is the shape of `place`."""
        check_axes(self, self.axes, x)
        check_numeric(self, x)
        check_ordered(self, x)
        if place.dtype.kind not in "iu":
            self.reject("the place must be integer", (x, place), "", DTypeError)
        shape = reduced(x.shape, self.axes)
        if place.shape != shape:
            self.reject(f"the place has shape {list(place.shape)}, not {list(shape)}", (x, place))
        if size_of(x.shape[axis] for axis in self.axes) == 0:
            self.reject(f"no elements along axes {self.axes}", (x, place))
        return shape, x.dtype

    def _chosen(self, x: Node, place: Node) -> Node:
        """A bool node: whether an element is the one at the place."""
        spread = broadcast(place, x.shape, kept_axes(self.axes, len(x.shape)))
        return emit("eq", positions(x.shape, self.axes, place.dtype), spread)

    def vjp(self, node, cotangent, needed):
        """The cotangent at the place, 0 beside it."""
        x, place = node.inputs
        spread = broadcast(cotangent, x.shape, kept_axes(self.axes, len(x.shape)))
        return where(self._chosen(x, place), spread, full_like(spread, 0.0)), None

    def jvp(self, node, tangents):
        """The tangent at the place."""
        x, place = node.inputs
        taken = where(self._chosen(x, place), tangents[0], full_like(tangents[0], 0.0))
        return total(taken, self.axes)

    def batch(self, inputs, batched, size):
        """The batch axis is kept."""
        return emit(self.name, *all_lead(inputs, batched, size), attributes=(tuple(axis + 1 for axis in self.axes),))

    def numpy(self, x, place):
        """`numpy.max`."""
        return np.max(x, self.axes)

    def expand(self, x, place):
        """What a compiler makes of it."""
        if size_of(x.shape[axis] for axis in self.axes) <= WRITTEN_OUT:
            return _compared(x, self.axes, place.dtype)[0]
        return emit("max", x, attributes=(self.axes,))


#: elements of a window up to which they are compared one by one instead of reduced
WRITTEN_OUT = 32


class FirstPlace(Primitive):
    """The row-major place among `axes` of the first element that is largest, or of the first NaN, as `dtype`."""

    name = "first_place"
    family = "reduction"
    attributes = ("axes", "dtype")
    differentiable = False

    def infer(self, x):
        """The operand's shape without `axes`."""
        check_axes(self, self.axes, x)
        check_numeric(self, x)
        check_ordered(self, x)
        if size_of(x.shape[axis] for axis in self.axes) == 0:
            self.reject(f"no elements along axes {self.axes}", (x,))
        return reduced(x.shape, self.axes), self.dtype

    def batch(self, inputs, batched, size):
        """The batch axis is kept."""
        return emit(self.name, inputs[0], attributes=(tuple(axis + 1 for axis in self.axes), self.dtype))

    def numpy(self, x):
        """`numpy.argmax` over the axes as one."""
        kept = kept_axes(self.axes, x.ndim)
        count = size_of(x.shape[axis] for axis in self.axes)
        ordered = x.transpose(*kept, *self.axes).reshape(*(x.shape[axis] for axis in kept), count)
        return np.argmax(ordered, -1).astype(self.dtype.numpy)

    def expand(self, x):
        """What a compiler makes of it."""
        if size_of(x.shape[axis] for axis in self.axes) <= WRITTEN_OUT:
            return _compared(x, self.axes, self.dtype)[1]
        return first_valid_place(x, self.axes, self.dtype)


def _compared(x: Node, axes: tuple[int, ...], dtype: DType) -> tuple[Node, Node]:
    """The largest element over `axes` and its place, by comparing one after another: elementwise on slices."""
    shape = reduced(x.shape, axes)
    best = place = None
    for number, at in enumerate(itertools.product(*(range(x.shape[axis]) for axis in axes))):
        chosen = dict(zip(axes, at))
        starts = tuple(chosen.get(axis, 0) for axis in range(len(x.shape)))
        stops = tuple(chosen[axis] + 1 if axis in chosen else extent for axis, extent in enumerate(x.shape))
        element = reshape(emit("slice", x, attributes=(starts, stops, (1,) * len(x.shape))), shape)
        here = full(number, shape, dtype)
        if best is None or place is None:
            best, place = element, here
            continue
        better = emit("logical_not", emit("le", element, best))
        if x.dtype.kind == "f":  # not above what is NaN already, but where it becomes NaN
            better = emit("bitwise_and", better, emit("eq", best, best))
        best, place = where(better, element, best), where(better, here, place)
    assert best is not None and place is not None
    return best, place


def first_valid_place(x: Node, axes: tuple[int, ...], dtype: DType, valid: Node | None = None) -> Node:
    """`FirstPlace`, only of the elements that are `valid`."""
    largest = broadcast(emit("max", x, attributes=(axes,)), x.shape, kept_axes(axes, len(x.shape)))
    found = emit("bitwise_or", emit("eq", x, largest), emit("ne", x, x))
    if valid is not None:
        found = emit("bitwise_and", found, valid)
    place = positions(x.shape, axes, dtype)
    behind = full_like(place, size_of(x.shape[axis] for axis in axes) - 1)
    return emit("min", where(found, place, behind), attributes=(axes,))
