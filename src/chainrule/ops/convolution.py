"""Convolution: one form that is linear in each of three arrays, and three primitives that are its derivatives.

For an input x (N, C, *spatial), a kernel w (O, C / groups, *kernel) and an output g (N, O, *out) the form is the sum of
``g[n, o, i] w[o, c, k] x[n, c', i * stride + k * dilation - low]`` over all of its labels, where c' is channel c of the
group to which o belongs, and x is 0 outside. Leaving out g gives `convolution`, leaving out x or w the gradients. The
derivative of each of the three is one of the other two, so that derivatives of every order are convolutions.
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np

from ..graph.node import Node
from ..shapes import size as size_of
from .base import apply, same_dtype
from .movement import check_numeric
from .precision import Product
from .rules import permute, reshape, sum_parts
from .windows import check_steps, count_windows, reach, taps

Shape = tuple[int, ...]
#: attributes that all three primitives have
FORM = ("strides", "low", "high", "dilations", "groups")


class Trilinear(Product):
    """Family base: two of the three arrays make the third.

    `low` and `high` zeros stand before and after the input along each spatial axis.
    """

    attributes: ClassVar[tuple[str, ...]] = (*FORM, "precision")

    @property
    def form(self) -> tuple:
        """The attributes that all three have."""
        return (self.strides, self.low, self.high, self.dilations, self.groups)

    def check_form(self, a: Node, b: Node) -> None:
        """Reject attributes and ranks that do not belong together."""
        operands = (a, b)
        same_dtype(self, operands)
        check_numeric(self, a)
        self.check_precision(operands)
        count = check_steps(self, operands, strides=self.strides, dilations=self.dilations)
        if len(self.low) != count or len(self.high) != count or min((0, *self.low, *self.high)) < 0:
            self.reject(f"padding {self.low}, {self.high} must be {count} numbers that are not negative", operands)
        if not 1 <= count <= 3:
            self.reject(f"there are {count} spatial axes; 1, 2 or 3 are supported", operands)
        for name, operand in zip(("left", "right"), operands):
            if len(operand.shape) != count + 2:
                self.reject(f"the {name} operand has rank {len(operand.shape)}, not {count + 2}", operands)
        if self.groups < 1:
            self.reject(f"groups {self.groups} must be at least 1", operands)

    def check_split(self, channels: int, what: str, operands: tuple[Node, Node]) -> None:
        """Reject channels that do not divide into the groups."""
        if channels % self.groups:
            self.reject(f"{channels} {what} channels do not divide into {self.groups} groups", operands)

    def check_out(self, spatial: Shape, kernel: Shape, out: Shape, operands: tuple[Node, Node]) -> None:
        """Reject an output of other extents than the input and the kernel lead to."""
        expected = self.out_extents(spatial, kernel, operands)
        for axis, (have, want) in enumerate(zip(out, expected), 2):
            if have != want:
                self.reject(f"the output has extent {have} along axis {axis}, which should be {want}", operands)

    def out_extents(self, spatial: Shape, kernel: Shape, operands: tuple[Node, Node]) -> Shape:
        """How many places the kernel has along each axis of the padded input."""
        out = []
        for axis, (extent, size) in enumerate(zip(spatial, kernel)):
            padded = extent + self.low[axis] + self.high[axis]
            if size < 1:
                self.reject(f"the kernel has extent {size} along axis {axis + 2}", operands)
            places = count_windows(padded, size, self.strides[axis], self.dilations[axis])
            if places < 1:
                span = reach(size, self.dilations[axis])
                self.reject(
                    f"the kernel spans {span} elements, the padded input has {padded} along axis {axis + 2}", operands
                )
            out.append(places)
        return tuple(out)

    def of(self, name: str, a: Node, b: Node, *extra: Shape) -> Node:
        """Another primitive of the form; `extra` is the extents that its operands do not determine."""
        return self.same(name, a, b, attributes=(*self.form, *extra))

    def jvp(self, node, tangents):
        """The product rule."""
        (a, b), (ta, tb) = node.inputs, tangents
        return sum_parts(
            None if ta is None else apply(self, (ta, b)),
            None if tb is None else apply(self, (a, tb)),
        )

    def grouped(self, groups: int, extra: tuple = ()) -> tuple:
        """The attributes with another number of groups."""
        return (self.strides, self.low, self.high, self.dilations, groups, *extra)

    def places(self, kernel: Shape, out: Shape):
        """For each place in the kernel, row-major: the place, and where in the padded input it meets the output."""
        for place in itertools.product(*map(range, kernel)):
            offsets = tuple(k * dilation for k, dilation in zip(place, self.dilations))
            yield place, taps(out, offsets, self.strides)

    def padded(self, x: np.ndarray) -> np.ndarray:
        """x between zeros, its channels split into (groups, channels of one)."""
        widths = [(0, 0), (0, 0), *zip(self.low, self.high)]
        padded = np.pad(x, widths) if any(map(any, widths)) else x
        return split(padded, 1, self.groups)

    def macs(self, g: Shape, per_group: int, kernel: Shape) -> int:
        """Multiplications of the form: those with padding count too."""
        return size_of(g) * per_group * size_of(kernel)


class Convolution(Trilinear):
    """Cross-correlation: ``y[n, o, i] = sum over k, c of x[n, c', i * stride + k * dilation - low] w[o, c, k]``.

    x is (N, C, *spatial), w (O, C / groups, *kernel), the result (N, O, *out). The sum runs over the kernel's axes in
    row-major order, then over the input channels.
    """

    name = "convolution"

    def infer(self, x, w):
        """(N, O, *out)."""
        self.check_form(x, w)
        self.check_split(x.shape[1], "input", (x, w))
        self.check_split(w.shape[0], "output", (x, w))
        if x.shape[1] != w.shape[1] * self.groups:
            taken = f"{w.shape[1]} for each of {self.groups} groups" if self.groups > 1 else f"{w.shape[1]}"
            self.reject(f"the input has {x.shape[1]} channels, the kernel takes {taken}", (x, w))
        out = self.out_extents(x.shape[2:], w.shape[2:], (x, w))
        return (x.shape[0], w.shape[0], *out), x.dtype

    def vjp(self, node, cotangent, needed):
        """The two gradients of the form."""
        x, w = node.inputs
        return (
            self.of("convolution_input_grad", cotangent, w, x.shape[2:]) if needed[0] else None,
            self.of("convolution_weight_grad", x, cotangent, w.shape[2:]) if needed[1] else None,
        )

    def batch(self, inputs, batched, size):
        """Batched inputs alone are more examples; batched kernels are more output channels, or more groups."""
        x, w = inputs
        if not batched[1]:
            return unmerge(apply(self, (merge(x, 0, 1), w)), 0, 1, size)
        if not batched[0]:
            return unmerge(apply(self, (x, merge(w, 0, self.groups))), 1, self.groups, size)
        attributes = self.grouped(self.groups * size)
        return unmerge(self.same(self.name, merge(x, 1, 1), merge(w, 0, 1), attributes=attributes), 1, 1, size)

    def numpy(self, x, w):
        """A matrix product for each place in the kernel."""
        out = tuple(
            count_windows(*numbers)
            for numbers in zip(map(sum, zip(x.shape[2:], self.low, self.high)), w.shape[2:], self.strides,
                               self.dilations)
        )  # fmt: skip
        padded, kernel = self.padded(x), split(w, 0, self.groups)
        n, groups, each = x.shape[0], self.groups, w.shape[1]
        result = np.zeros((n, groups, kernel.shape[1], size_of(out)), x.dtype)
        for place, where in self.places(w.shape[2:], out):
            seen = padded[(..., *where)].reshape(n, groups, each, size_of(out))
            result += np.matmul(kernel[(..., *place)], seen)
        return result.reshape(n, w.shape[0], *out)

    def cost(self, node):
        """Two operations for each product."""
        w = node.inputs[1]
        return 2 * self.macs(node.shape, w.shape[1], w.shape[2:]), super().cost(node)[1]


class ConvolutionInputGrad(Trilinear):
    """The form without x: what `convolution` of extents `spatial` passes back to its input, a transposed convolution.

    g is (N, O, *out), w (O, C / groups, *kernel), the result (N, C, *spatial). The sum runs over the kernel's places
    from the last to the first, then over the output channels.
    """

    name = "convolution_input_grad"
    attributes = (*FORM, "spatial", "precision")

    def infer(self, g, w):
        """(N, C, *spatial)."""
        self.check_form(g, w)
        self.check_split(w.shape[0], "output", (g, w))
        if g.shape[1] != w.shape[0]:
            self.reject(f"the output has {g.shape[1]} channels, the kernel makes {w.shape[0]}", (g, w))
        if len(self.spatial) != len(self.strides):
            self.reject(f"{len(self.spatial)} extents {self.spatial} for {len(self.strides)} spatial axes", (g, w))
        self.check_out(self.spatial, w.shape[2:], g.shape[2:], (g, w))
        return (g.shape[0], w.shape[1] * self.groups, *self.spatial), g.dtype

    def vjp(self, node, cotangent, needed):
        """The convolution of the cotangent, and the gradient of its kernel."""
        g, w = node.inputs
        return (
            self.of("convolution", cotangent, w) if needed[0] else None,
            self.of("convolution_weight_grad", cotangent, g, w.shape[2:]) if needed[1] else None,
        )

    def batch(self, inputs, batched, size):
        """Batched outputs alone are more examples; batched kernels are more input channels, or more groups."""
        g, w = inputs
        if not batched[1]:
            return unmerge(apply(self, (merge(g, 0, 1), w)), 0, 1, size)
        if not batched[0]:
            return unmerge(apply(self, (g, merge(w, 1, 1))), 1, self.groups, size)
        attributes = self.grouped(self.groups * size, (self.spatial,))
        return unmerge(self.same(self.name, merge(g, 1, 1), merge(w, 0, 1), attributes=attributes), 1, 1, size)

    def numpy(self, g, w):
        """A matrix product for each place in the kernel, added up where they overlap."""
        n, groups, each, out = g.shape[0], self.groups, w.shape[1], g.shape[2:]
        extents = tuple(map(sum, zip(self.spatial, self.low, self.high)))
        kernel = split(w, 0, groups).swapaxes(1, 2)
        given = split(g, 1, groups).reshape(n, groups, kernel.shape[2], size_of(out))
        result = np.zeros((n, groups, each, *extents), g.dtype)
        for place, where in self.places(w.shape[2:], out):
            result[(..., *where)] += np.matmul(kernel[(..., *place)], given).reshape(n, groups, each, *out)
        inner = tuple(slice(low, low + extent) for low, extent in zip(self.low, self.spatial))
        return result[(..., *inner)].reshape(n, groups * each, *self.spatial)

    def cost(self, node):
        """Two operations for each product."""
        g, w = node.inputs
        return 2 * self.macs(g.shape, w.shape[1], w.shape[2:]), super().cost(node)[1]


class ConvolutionWeightGrad(Trilinear):
    """The form without w: what `convolution` with extents `kernel` passes back to its kernel.

    x is (N, C, *spatial), g (N, O, *out), the result (O, C / groups, *kernel). The sum runs over n, then over the
    output's places in row-major order.
    """

    name = "convolution_weight_grad"
    attributes = (*FORM, "kernel", "precision")

    def infer(self, x, g):
        """(O, C / groups, *kernel)."""
        self.check_form(x, g)
        self.check_split(x.shape[1], "input", (x, g))
        self.check_split(g.shape[1], "output", (x, g))
        if x.shape[0] != g.shape[0]:
            self.reject(f"the input has {x.shape[0]} examples, the output {g.shape[0]}", (x, g))
        if len(self.kernel) != len(self.strides):
            self.reject(f"{len(self.kernel)} extents {self.kernel} for {len(self.strides)} spatial axes", (x, g))
        self.check_out(x.shape[2:], self.kernel, g.shape[2:], (x, g))
        return (g.shape[1], x.shape[1] // self.groups, *self.kernel), x.dtype

    def vjp(self, node, cotangent, needed):
        """The form with the cotangent as kernel."""
        x, g = node.inputs
        return (
            self.of("convolution_input_grad", g, cotangent, x.shape[2:]) if needed[0] else None,
            self.of("convolution", x, cotangent) if needed[1] else None,
        )

    def batch(self, inputs, batched, size):
        """Batched inputs are more input channels, batched outputs more output channels, both more groups."""
        x, g = inputs
        if not batched[1]:
            return unmerge(apply(self, (merge(x, 1, self.groups), g)), 1, 1, size)
        if not batched[0]:
            return unmerge(apply(self, (x, merge(g, 1, self.groups))), 0, self.groups, size)
        attributes = self.grouped(self.groups * size, (self.kernel,))
        return unmerge(self.same(self.name, merge(x, 1, 1), merge(g, 1, 1), attributes=attributes), 0, 1, size)

    def numpy(self, x, g):
        """A matrix product for each place in the kernel."""
        n, groups, each, out = g.shape[0], self.groups, x.shape[1] // self.groups, g.shape[2:]
        padded = self.padded(x)
        made = g.shape[1] // groups
        given = split(g, 1, groups).reshape(n, groups, made, size_of(out))
        given = given.transpose(1, 2, 0, 3).reshape(groups, made, n * size_of(out))
        result = np.zeros((groups, made, each, *self.kernel), x.dtype)
        for place, where in self.places(self.kernel, out):
            seen = padded[(..., *where)].reshape(n, groups, each, size_of(out))
            seen = seen.transpose(1, 0, 3, 2).reshape(groups, n * size_of(out), each)
            result[(..., *place)] = np.matmul(given, seen)
        return result.reshape(g.shape[1], each, *self.kernel)

    def cost(self, node):
        """Two operations for each product."""
        return 2 * self.macs(node.inputs[1].shape, node.shape[1], self.kernel), super().cost(node)[1]


def split(x: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """x with `axis` made (groups, elements of one)."""
    return x.reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def merge(x: Node, axis: int, groups: int) -> Node:
    """x, whose leading axis is the batch's, with that axis put inside of its axis `axis` (not counting the batch's).

    The axis is (groups, elements of one) before, and (groups, batch, elements of one) after.
    """
    size, rest = x.shape[0], x.shape[1:]
    apart = reshape(x, (size, *rest[:axis], groups, rest[axis] // groups, *rest[axis + 1 :]))
    order = (*range(1, axis + 2), 0, *range(axis + 2, len(apart.shape)))
    return reshape(permute(apart, order), (*rest[:axis], size * rest[axis], *rest[axis + 1 :]))


def unmerge(y: Node, axis: int, groups: int, size: int) -> Node:
    """y with the batch axis of `size` taken out of `axis`, where `merge` has put it, to the front."""
    shape = y.shape
    each = shape[axis] // (groups * size)
    apart = reshape(y, (*shape[:axis], groups, size, each, *shape[axis + 1 :]))
    order = (axis + 1, *(i for i in range(len(apart.shape)) if i != axis + 1))
    return reshape(permute(apart, order), (size, *shape[:axis], groups * each, *shape[axis + 1 :]))
