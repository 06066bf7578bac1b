"""Discrete Fourier transforms with the Array API standard's names; all are linear, and so are their derivatives.

Lengths `n` and `s` cut the operand, or put zeros at its end. `norm` says where the factor 1 / N goes: "backward" (the
default) to the inverse transforms, "forward" to the others, "ortho" to both as 1 / sqrt(N). float32 and complex64 are
transformed in their own precision. `dim` is PyTorch's word for the axis or the axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .conversion import to_node
from .dtypes import as_dtype, complex_dtype, float32
from .errors import ConfigError, DTypeError
from .functions.creation import asarray
from .functions.shape import roll
from .graph.node import Node
from .ops.base import emit
from .ops.matrices import conj
from .ops.rules import full
from .recording import cast, normal_axes, normal_axis, reject
from .tensor import Tensor

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

_NORMS = ("backward", "ortho", "forward")


def _operand(name: str, x: Any, complex_needed: bool) -> Node:
    """The node of `x`, real numbers as complex ones if those are needed."""
    node = to_node(x, name)
    if node.dtype.kind not in "fc" or node.dtype.is_half:
        problem = f"float32, float64, complex64 or complex128 is needed, not {node.dtype.name}"
        reject(name, problem, (node,), "convert with .astype(chainrule.float32)", DTypeError)
    if not node.shape:
        reject(name, "at least one axis is needed", (node,))
    if complex_needed:
        return cast(node, complex_dtype(node.dtype))
    if node.dtype.kind == "c":
        help = "transform all of it with fft, or take real(x)"
        reject(name, "real numbers are needed, not complex ones", (node,), help, DTypeError)
    return node


def _either(dim: Any, axis: Any) -> Any:
    """PyTorch's `dim`, if it is given, instead of the axis."""
    return axis if dim is None else dim


def _factor(name: str, norm: str | None, length: int, inverse: bool) -> float:
    """The factor of a transform over `length` elements."""
    norm = "backward" if norm is None else norm
    if norm not in _NORMS:
        reject(name, f"norm is 'backward', 'ortho' or 'forward', not {norm!r}", (), "", ConfigError)
    if norm == "ortho":
        return 1.0 / math.sqrt(length)
    return 1.0 / length if inverse == (norm == "backward") else 1.0


def _length(name: str, n: Any, node: Node) -> int:
    if not hasattr(n, "__index__"):
        reject(name, f"a length is a whole number, not {n!r}", (node,), "", DTypeError)
    length: int = n.__index__()
    if length < 1:
        reject(name, f"a length is at least 1, not {length}", (node,))
    return length


def _fitted(node: Node, axis: int, length: int) -> Node:
    """`node` cut or filled up with zeros to `length` along `axis`."""
    extent, rank = node.shape[axis], len(node.shape)
    if extent > length:
        stops = (*node.shape[:axis], length, *node.shape[axis + 1 :])
        return emit("slice", node, attributes=((0,) * rank, stops, (1,) * rank))
    if extent < length:
        high = tuple(length - extent if i == axis else 0 for i in range(rank))
        return emit("pad", node, full(0.0, (), node.dtype), attributes=((0,) * rank, high, (0,) * rank))
    return node


def _one(name: str, node: Node, n: Any, axis: int) -> tuple[Node, int, int]:
    """The operand fitted to its length, the axis and the length of a transform over one axis."""
    place = normal_axis(name, axis, len(node.shape), node)
    length = _length(name, node.shape[place] if n is None else n, node)
    return _fitted(node, place, length), place, length


def _several(name: str, node: Node, s: Any, axes: Any) -> tuple[list[int], list[int]]:
    """The axes, as they were named, and the lengths along them."""
    rank = len(node.shape)
    if s is not None and not isinstance(s, (tuple, list)):
        reject(name, f"the lengths s are several, one for each axis, not {s!r}", (node,), "", DTypeError)
    if axes is None:
        first = 0 if s is None else rank - len(s)
        if first < 0:
            reject(name, f"{len(s)} lengths are given for {rank} axes", (node,))
        places = list(range(first, rank))
    else:
        normal_axes(name, axes if isinstance(axes, (tuple, list)) else (axes,), rank, node)
        places = [normal_axis(name, a, rank, node) for a in (axes if isinstance(axes, (tuple, list)) else (axes,))]
    if not places:
        reject(name, "at least one axis is needed", (node,))
    if s is not None and len(s) != len(places):
        reject(name, f"{len(s)} lengths are given for {len(places)} axes", (node,))
    lengths = [node.shape[a] if s is None or s[i] in (None, -1) else s[i] for i, a in enumerate(places)]
    return places, [_length(name, length, node) for length in lengths]


def _transform(name: str, x: Any, s: Any, axes: Any, norm: str | None, inverse: bool) -> Tensor:
    node = _operand(name, x, True)
    places, lengths = _several(name, node, s, axes)
    for axis, length in zip(places, lengths):
        node = _fitted(node, axis, length)
    factor = _factor(name, norm, math.prod(lengths), inverse)
    return Tensor(emit("fft", node, attributes=(tuple(sorted(places)), inverse, factor)))


def fft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The discrete Fourier transform along one axis.

    y[k] = sum over j of x[j] exp(-2 pi i j k / n)

    Args:
        x: complex or floating.
        n: the length; the operand is cut or filled up with zeros.
        axis: the axis.
        norm: where the factor 1 / n goes: "backward" not here, "forward" here, "ortho" its root here.
    Returns: complex, `n` long along `axis`.
    Raises: DTypeError for integers, ShapeError for a length below 1, ConfigError for another norm.
    Example:
        >>> cr.fft.fft(cr.tensor([1.0, 0.0, 0.0, 0.0]))
        tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j], dtype=complex64)
    Reference: Cooley & Tukey 1965, "An algorithm for the machine calculation of complex Fourier series".
    """
    return _transform("fft", x, None if n is None else (n,), (_either(dim, axis),), norm, False)


def ifft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The inverse of `fft`: the other sign in the exponent, and the factor 1 / n."""
    return _transform("ifft", x, None if n is None else (n,), (_either(dim, axis),), norm, True)


def fftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`fft` along several axes, all by default; `s` are the lengths."""
    return _transform("fftn", x, s, _either(dim, axes), norm, False)


def ifftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """The inverse of `fftn`."""
    return _transform("ifftn", x, s, _either(dim, axes), norm, True)


def fft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`fftn` along two axes."""
    return _transform("fft2", x, s, _either(dim, axes), norm, False)


def ifft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`ifftn` along two axes."""
    return _transform("ifft2", x, s, _either(dim, axes), norm, True)


def _half(name: str, x: Any, n: Any, axis: int, norm: str | None, inverse: bool) -> tuple[Node, int]:
    """The half spectrum of real numbers, with the factor of a transform or an inverse one."""
    node, place, length = _one(name, _operand(name, x, False), n, axis)
    return emit("rfft", node, attributes=(place, _factor(name, norm, length, inverse))), place


def rfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The first half of the transform of real numbers, whose other half is its mirror image, conjugated.

    Args: see `fft`; `x` is real.
    Returns: complex, ``n // 2 + 1`` long along `axis`.
    Raises: DTypeError for complex numbers and integers; see `fft`.
    Example:
        >>> cr.fft.rfft(cr.tensor([1.0, 1.0, 1.0, 1.0]))
        tensor([4.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """
    return Tensor(_half("rfft", x, n, _either(dim, axis), norm, False)[0])


def _whole(name: str, node: Node, n: Any, axis: int, norm: str | None, inverse: bool) -> Node:
    """The real numbers of a half spectrum."""
    place = normal_axis(name, axis, len(node.shape), node)
    if n is None and node.shape[place] < 2:
        problem = f"axis {place} has {node.shape[place]} elements, which say nothing about the length"
        reject(name, problem, (node,), "give it as n= (or s=)")
    length = _length(name, 2 * (node.shape[place] - 1) if n is None else n, node)
    fitted = _fitted(node, place, length // 2 + 1)
    return emit("irfft", fitted, attributes=(place, length, _factor(name, norm, length, inverse)))


def irfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The inverse of `rfft`: real numbers from the first half of their transform.

    Args: see `fft`; `n` is the length of the result, ``2 (m - 1)`` for m elements by default (odd ones are named).
    Returns: real, `n` long along `axis`.
    Numerics: the imaginary parts of the first number, and for even `n` of the last, do not count, and have no gradient.
    Example:
        >>> cr.fft.irfft(cr.fft.rfft(cr.tensor([1.0, 2.0, 3.0])), n=3)
        tensor([1., 2., 3.])
    """
    return Tensor(_whole("irfft", _operand("irfft", x, True), n, _either(dim, axis), norm, True))


def _rfftn(name: str, x: Any, s: Any, axes: Any, norm: str | None) -> Tensor:
    node = _operand(name, x, False)
    places, lengths = _several(name, node, s, axes)
    factor = _factor(name, norm, math.prod(lengths), False)
    for axis, length in zip(places, lengths):
        node = _fitted(node, axis, length)
    node = emit("rfft", node, attributes=(places[-1], factor))
    if len(places) > 1:
        node = emit("fft", node, attributes=(tuple(sorted(places[:-1])), False, 1.0))
    return Tensor(node)


def rfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`rfft` along the last of `axes`, `fft` along the others."""
    return _rfftn("rfftn", x, s, _either(dim, axes), norm)


def rfft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`rfftn` along two axes."""
    return _rfftn("rfft2", x, s, _either(dim, axes), norm)


def _irfftn(name: str, x: Any, s: Any, axes: Any, norm: str | None) -> Tensor:
    node = _operand(name, x, True)
    places, lengths = _several(name, node, s, axes)
    last = places[-1]
    if s is None or s[-1] in (None, -1):
        lengths[-1] = 2 * (node.shape[last] - 1)
        if lengths[-1] < 1:
            problem = f"axis {last} has {node.shape[last]} elements, which say nothing about the length"
            reject(name, problem, (node,), "give it as n= (or s=)")
    for axis, length in zip(places[:-1], lengths):
        node = _fitted(node, axis, length)
    if len(places) > 1:
        node = emit("fft", node, attributes=(tuple(sorted(places[:-1])), True, 1.0))
    node = _fitted(node, last, lengths[-1] // 2 + 1)
    factor = _factor(name, norm, math.prod(lengths), True)
    return Tensor(emit("irfft", node, attributes=(last, lengths[-1], factor)))


def irfftn(x: Any, /, s: Any = None, axes: Any = None, norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """The inverse of `rfftn`; the last of `s` is the length of the result along the last of `axes`."""
    return _irfftn("irfftn", x, s, _either(dim, axes), norm)


def irfft2(x: Any, /, s: Any = None, axes: Any = (-2, -1), norm: str | None = "backward", *, dim: Any = None) -> Tensor:
    """`irfftn` along two axes."""
    return _irfftn("irfft2", x, s, _either(dim, axes), norm)


def hfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The transform, which is real, of numbers whose other half is their mirror image, conjugated.

    Args: see `irfft`.
    Returns: real, `n` long along `axis`.
    Example:
        >>> cr.fft.hfft(cr.tensor([1.0, 1.0, 1.0]))
        tensor([4., 0., 0., 0.])
    """
    return Tensor(_whole("hfft", conj(_operand("hfft", x, True)), n, _either(dim, axis), norm, False))


def ihfft(
    x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = "backward", *, dim: int | None = None
) -> Tensor:
    """The inverse of `hfft`: the first half of the numbers whose transform is `x`, which is real."""
    return Tensor(conj(_half("ihfft", x, n, _either(dim, axis), norm, True)[0]))


def _frequencies(name: str, n: Any, d: float, dtype: Any, half: bool) -> Tensor:
    length = _length(name, n, to_node(0.0))
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted.kind != "f":
        reject(name, f"a floating dtype is needed, not {wanted.name}", (), "", DTypeError)
    if d == 0:
        reject(name, "samples are not 0 apart", (), "", ConfigError)
    numbers = np.fft.rfftfreq(length, d) if half else np.fft.fftfreq(length, d)
    return asarray(np.asarray(numbers), dtype=wanted)


def fftfreq(n: int, /, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the elements of a transform of length `n`, samples being `d` apart; float32 by default.

    Example:
        >>> cr.fft.fftfreq(4)
        tensor([ 0.  ,  0.25, -0.5 , -0.25])
    """
    return asarray(_frequencies("fftfreq", n, d, dtype, False), device=device)


def rfftfreq(n: int, /, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the elements of `rfft` of length `n`, samples being `d` apart; float32 by default."""
    return asarray(_frequencies("rfftfreq", n, d, dtype, True), device=device)


def _shifted(name: str, x: Any, axes: Any, back: bool) -> Tensor:
    node = to_node(x, name)
    places = normal_axes(name, axes, len(node.shape), node)
    if not places:
        return Tensor(node)
    halves = tuple(-(node.shape[a] // 2) if back else node.shape[a] // 2 for a in places)
    return roll(Tensor(node), halves, axis=places)


def fftshift(x: Any, /, axes: int | Sequence[int] | None = None) -> Tensor:
    """`x` with the frequency 0 moved to the middle of `axes` (all by default).

    Example:
        >>> cr.fft.fftshift(cr.fft.fftfreq(4))
        tensor([-0.5 , -0.25,  0.  ,  0.25])
    """
    return _shifted("fftshift", x, axes, False)


def ifftshift(x: Any, /, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`, which differs from it for odd lengths."""
    return _shifted("ifftshift", x, axes, True)
