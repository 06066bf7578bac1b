"""Convolutions in canonical form: operands that lie inside their padding, and how the sums are divided.

Padding becomes an item of its own, so that what computes the operand can write it into the middle of zeros.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..dtypes import DType, bfloat16, float32
from ..ops.base import primitive
from .windows import reads_windows

if TYPE_CHECKING:
    from .canonical import Canonical, Item

#: elements of the partial gradients of a kernel, and how many there are, at most
PARTIAL_ELEMENTS, MOST_PARTS = 1 << 16, 8
#: the same where the gradient is made by fewer multiplications
MINIMAL_ELEMENTS = 1 << 18
#: products an element from which on it pays to put the elements of two images side by side
INTERLEAVED = 8
#: channels from which on fewer multiplications outweigh the transformations, and products of both numbers of
#: channels up to which the transformed kernel stays near
LEAST_CHANNELS, MOST_KERNELS = 16, 1 << 14
#: outputs along an axis, and images, from which on
LEAST_OUTPUTS, LEAST_IMAGES = 4, 4


def canonical_convolution(
    graph: Canonical, name: str, op: Any, inputs: tuple[Item, ...], shape: tuple[int, ...], dtype: DType
) -> Item:
    """A convolution or one of its gradients.

    The value of a "convolution_input_grad" is how many zeros lie before its cotangent along every axis. The
    gradient of a kernel is a sum over parts of the batch, whose number depends on shapes only.
    """
    a, b = inputs
    if 0 in shape or 0 in a.shape or 0 in b.shape:
        return graph.number(0, shape, dtype)
    kernel = {"convolution": b.shape[2:], "convolution_input_grad": b.shape[2:]}.get(name, shape[2:])
    whole = reads_windows(name, op, a.shape, b.shape, kernel)
    if whole and name != "convolution_weight_grad":
        item = graph.apply(name, op, (a, b), shape, dtype)
        item.value = (0,) * len(kernel)
        return item
    if name == "convolution_input_grad":
        low, high = _reach_of_gradient(op, a.shape[2:], b.shape[2:], shape[2:])
        item = graph.apply(name, op, (padded(graph, a, low, high), b), shape, dtype)
        item.value = low
        return item
    x = a if whole else padded(graph, a, op.low, op.high)
    if name == "convolution":
        return graph.apply(name, op, (x, b), shape, dtype)
    batch, elements = x.shape[0] // (2 if x.dtype.is_half else 1), math.prod(shape)
    few = minimal(name, op, shape, b.shape, x.dtype)
    parts = parts_of(batch, elements) if few else number_of_parts(batch, elements)
    split = graph.apply(name, op, (x, b), (parts, *shape), dtype)
    if parts == 1:
        return graph.reshape(split, shape)
    return graph.apply("sum", primitive("sum", ((0,),)), (split,), shape, dtype)


def in_pairs(name: str, op: Any, inputs: tuple[Item, ...]) -> bool:
    """Whether a convolution of bfloat16 operands adds up pairs: of channels, for the gradient of a kernel of images."""
    a, b = inputs
    if a.dtype is not bfloat16:
        return False
    if name == "convolution_weight_grad":
        channels, outputs = a.shape[1], b.shape[1]
        products = math.prod(op.kernel) * channels // op.groups * outputs  # at every position
        return a.shape[0] % 2 == 0 and products >= INTERLEAVED * (channels + outputs)
    summed = b.shape[1] if name == "convolution" else b.shape[0] // op.groups
    return summed % 2 == 0


def padded(graph: Canonical, x: Item, low: tuple[int, ...], high: tuple[int, ...]) -> Item:
    """`x` with zeros before and behind its elements along the spatial axes; a leaf is copied into their middle."""
    if not any(low) and not any(high):
        return x
    x = graph.stored(x)
    widths = ((0, 0, *low), (0, 0, *high), (0,) * len(x.shape))
    shape = tuple(a + n + b for a, n, b in zip(widths[0], x.shape, widths[1]))
    zero = graph.number(0, (), x.dtype)
    return graph.apply("pad", primitive("pad", widths), (x, zero), shape, x.dtype)


def number_of_parts(batch: int, elements: int) -> int:
    """Into how many parts of the batch the gradient of a kernel of `elements` is divided: small kernels into more."""
    most = max(1, min(MOST_PARTS, PARTIAL_ELEMENTS // max(elements, 1)))
    return next(parts for parts in range(most, 0, -1) if batch % parts == 0)


def minimal(name: str, op: Any, kernel: tuple[int, ...], images: tuple[int, ...], dtype: DType) -> bool:
    """Whether a convolution or one of its gradients is computed by `winograd`: decided by shapes alone.

    Args:
        name: of the primitive.
        op: the primitive.
        kernel: shape of the kernel or of its gradient.
        images: shape of the result, or for the gradient of a kernel of the cotangent.
        dtype: of the operands.
    """
    if dtype is not float32 or tuple(kernel[2:]) != (3, 3) or op.groups != 1 or {*op.strides, *op.dilations} != {1}:
        return False
    if min(kernel[:2]) < LEAST_CHANNELS or kernel[0] * kernel[1] > MOST_KERNELS or min(images[2:]) < LEAST_OUTPUTS:
        return False
    return name != "convolution_weight_grad" or images[0] >= LEAST_IMAGES


def parts_of(batch: int, elements: int) -> int:
    """Into how many parts of the batch, as even as they can be, the gradient of a kernel of `elements` is divided.

    A power of two if there are images enough, since threads take whole parts.
    """
    parts = 1 << round(math.log2(max(1, MINIMAL_ELEMENTS / elements)))
    return min(MOST_PARTS, parts, batch)


def classes(
    stride: int, low: int, dilation: int, kernel: int, extent: int
) -> list[tuple[int, int, int, int, int, int, int]]:
    """Along one axis: which places of the kernel meet input positions ``first, first + stride, ...``.

    For every remainder `first` with positions: (first, how many positions, first place of the kernel, step
    of places, how many places, output position of the first place at the first position, step of output positions).
    Places run backwards, so that the output is read forwards, as the memory's prefetching likes it.
    """
    step = stride // math.gcd(stride, dilation)
    result = []
    for first in range(min(stride, extent)):
        count = -(-(extent - first) // stride)
        places = [k for k in range(kernel) if (first + low - k * dilation) % stride == 0]
        start = places[-1] if places else 0
        meets = (first + low - start * dilation) // stride
        result.append((first, count, start, -step, len(places), meets, step * dilation // stride))
    return result


def _reach_of_gradient(op: Any, out: tuple[int, ...], kernel: tuple[int, ...], spatial: tuple[int, ...]):
    """How far the input positions look beyond the cotangent, before and behind."""
    lows, highs = [], []
    for axis, extent in enumerate(spatial):
        low = high = 0
        for _, count, _, _, places, meets, step in classes(
            op.strides[axis], op.low[axis], op.dilations[axis], kernel[axis], extent
        ):
            if places:
                far = meets + step * (places - 1)
                low = max(low, -meets)
                high = max(high, far + count - 1 - (out[axis] - 1))
        lows.append(low)
        highs.append(high)
    return tuple(lows), tuple(highs)
