"""Discrete Fourier transforms: linear, so that their derivatives are transforms too. Computed by NumPy's FFT."""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import complex_dtype, real_dtype
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import size
from .base import Primitive, emit
from .leaf import constant
from .matrices import conj
from .movement import check_axes
from .rules import broadcast, mul


class Fourier(Primitive):
    """Family base: one operand, linear in it."""

    family = "matrix"
    host = True

    def jvp(self, node, tangents):
        """The transform of the tangent."""
        return emit(self.name, tangents[0], attributes=self.key[1:])

    def check_transformed(self, x: Node, axes: tuple[int, ...], kinds: tuple[str, ...]) -> None:
        """Reject another kind of numbers, axes that x lacks, and empty ones."""
        if x.dtype.name not in kinds:
            self.reject(f"needs {' or '.join(kinds)}", (x,), "convert with .astype(...)", DTypeError)
        check_axes(self, axes, x)
        for axis in axes:
            if x.shape[axis] == 0:
                self.reject(f"axis {axis} has 0 elements, there is nothing to transform", (x,))

    def lengths(self, node: Node) -> int:
        """Product of the lengths of the transforms."""
        raise NotImplementedError

    def cost(self, node):
        """5 n log2 n for a transform of n complex numbers."""
        _, moved = super().cost(node)
        n = self.lengths(node)
        return int(5 * max(size(node.shape), size(node.inputs[0].shape)) * math.log2(max(n, 2))), moved


class DiscreteFourier(Fourier):
    """Over `axes` of complex x: y[k] = scale sum over n of x[n] exp(-2 pi i k n / N), of the other sign if `inverse`.

    The matrix is symmetric: the transform is its own transpose.
    """

    name = "fft"
    attributes = ("axes", "inverse", "scale")

    def infer(self, x):
        """The operand's type."""
        self.check_transformed(x, self.axes, ("complex64", "complex128"))
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The same transform of the cotangent."""
        return (emit("fft", cotangent, attributes=self.key[1:]),)

    def batch(self, inputs, batched, size):
        """The batch axis is not transformed."""
        axes = tuple(axis + 1 for axis in self.axes)
        return emit("fft", inputs[0], attributes=(axes, self.inverse, self.scale))

    def numpy(self, x):
        """`numpy.fft.fftn`, or `numpy.fft.ifftn` without its factor."""
        if self.inverse:
            return _finished(np.fft.ifftn(x, axes=self.axes, norm="forward"), self.scale, x.dtype)
        return _finished(np.fft.fftn(x, axes=self.axes), self.scale, x.dtype)

    def lengths(self, node):
        """Of all axes."""
        return size(node.shape[axis] for axis in self.axes)


class RealFourier(Fourier):
    """The first half, N // 2 + 1 numbers, of the transform of N real numbers along `axis`, times `scale`.

    The other half is its mirror image, conjugated.
    """

    name = "rfft"
    attributes = ("axis", "scale")

    def infer(self, x):
        """N // 2 + 1 complex numbers for N real ones."""
        self.check_transformed(x, (self.axis,), ("float32", "float64"))
        shape = list(x.shape)
        shape[self.axis] = shape[self.axis] // 2 + 1
        return tuple(shape), complex_dtype(x.dtype)

    def vjp(self, node, cotangent, needed):
        """`irfft`, without what it adds for the mirror image, of the conjugate cotangent."""
        n = node.inputs[0].shape[self.axis]
        halved = mul(conj(cotangent), _weights(node, self.axis, n, 0.5))
        return (emit("irfft", halved, attributes=(self.axis, n, self.scale)),)

    def batch(self, inputs, batched, size):
        """The batch axis is not transformed."""
        return emit("rfft", inputs[0], attributes=(self.axis + 1, self.scale))

    def numpy(self, x):
        """`numpy.fft.rfft`."""
        return _finished(np.fft.rfft(x, axis=self.axis), self.scale, np.result_type(x.dtype, np.complex64))

    def lengths(self, node):
        """Of the one axis."""
        return node.inputs[0].shape[self.axis]


class InverseRealFourier(Fourier):
    """The `n` real numbers whose transform along `axis` has x as its first half, times n and `scale`.

    The imaginary parts of the first number, and for even n of the last, do not count.
    """

    name = "irfft"
    attributes = ("axis", "n", "scale")

    def infer(self, x):
        """n real numbers for n // 2 + 1 complex ones."""
        self.check_transformed(x, (self.axis,), ("complex64", "complex128"))
        shape = list(x.shape)
        if self.n < 1 or shape[self.axis] != self.n // 2 + 1:
            problem = f"{self.n} numbers need {max(self.n, 0) // 2 + 1} on axis {self.axis}, not {shape[self.axis]}"
            self.reject(problem, (x,))
        shape[self.axis] = self.n
        return tuple(shape), real_dtype(x.dtype)

    def vjp(self, node, cotangent, needed):
        """The conjugate `rfft` of the cotangent, what has a mirror image counted twice."""
        moved = conj(emit("rfft", cotangent, attributes=(self.axis, self.scale)))
        return (mul(moved, _weights(moved, self.axis, self.n, 2.0)),)

    def batch(self, inputs, batched, size):
        """The batch axis is not transformed."""
        return emit("irfft", inputs[0], attributes=(self.axis + 1, self.n, self.scale))

    def numpy(self, x):
        """`numpy.fft.irfft` without its factor."""
        result = np.fft.irfft(x, self.n, self.axis, norm="forward")
        return _finished(result, self.scale, np.float32 if x.dtype == np.complex64 else np.float64)

    def lengths(self, node):
        """Of the one axis."""
        return self.n


def _finished(result: np.ndarray, scale: float, dtype) -> np.ndarray:
    result = result.astype(dtype, copy=False)
    return result if scale == 1.0 else result * result.real.dtype.type(scale)


def _weights(half: Node, axis: int, n: int, middle: float) -> Node:
    """Like the half spectrum `half` of `n` numbers: `middle` where there is a mirror image, else 1."""
    weights = np.full(half.shape[axis], middle, half.dtype.numpy)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return broadcast(constant(weights), half.shape, (axis,))
