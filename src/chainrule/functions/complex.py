"""Functions between real and complex numbers: parts, conjugates, angles, and complex numbers from real ones."""

from __future__ import annotations

from typing import Any

from ..conversion import nodes_of, to_node
from ..errors import DTypeError
from ..ops.base import emit, primitive
from ..recording import full, record_unary, reject
from ..tensor import Tensor
from .elementwise import atan2, cos, equal, sin, where
from .shape import matrix_transpose, stack


def real(x: Any, /) -> Tensor:
    """The real part; of a real tensor the tensor itself.

    Re(a + bi) = a

    Args:
        x: of any shape and numeric dtype.
    Returns: float32 for complex64, float64 for complex128, else the dtype of `x`; the shape of `x`.
    Example:
        >>> cr.real(cr.tensor([1 + 2j, 3 - 4j]))
        tensor([1., 3.])
    """
    node = to_node(x, "real")
    return Tensor(emit("real", node) if node.dtype.kind == "c" else node)


def imag(x: Any, /) -> Tensor:
    """The imaginary part; of a real tensor zeros.

    Im(a + bi) = b

    Args:
        x: of any shape and numeric dtype.
    Returns: float32 for complex64, float64 for complex128, else the dtype of `x`; the shape of `x`.
    Example:
        >>> cr.imag(cr.tensor([1 + 2j, 3 - 4j]))
        tensor([ 2., -4.])
    """
    node = to_node(x, "imag")
    if node.dtype.kind == "c":
        return Tensor(emit("imag", node))
    return Tensor(full(False if node.dtype.kind == "b" else 0, node.shape, node.dtype))


def conj(x: Any, /) -> Tensor:
    """The complex conjugate; of a real tensor the tensor itself.

    conj(a + bi) = a - bi

    Args:
        x: of any shape and numeric dtype.
    Returns: a tensor of the type of `x`.
    Example:
        >>> cr.conj(cr.tensor([1 + 2j, 3 - 4j]))
        tensor([1.-2.j, 3.+4.j], dtype=complex64)
    """
    node = to_node(x, "conj")
    return Tensor(record_unary(primitive("conj"), node, node.shape) if node.dtype.kind == "c" else node)


def angle(x: Any, /) -> Tensor:
    """The angle of a number in the complex plane, from -pi to pi; of real numbers 0, or pi for negative ones.

    angle(a + bi) = atan2(b, a)

    Args:
        x: of any shape and a floating or complex dtype.
    Returns: a real tensor of the shape of `x`.
    Raises: DTypeError for integers.
    Numerics: the derivative at 0 is taken as 0.
    Example:
        >>> cr.angle(cr.tensor([1j, -1 + 0j]))
        tensor([1.5707964, 3.1415927])
    """
    value = Tensor(to_node(x, "angle"))
    across, along = imag(value), real(value)
    origin = equal(value, 0)
    return where(origin, atan2(across, along).detach(), atan2(across, where(origin, 1.0, along)))


def complex(real: Any, imag: Any, /) -> Tensor:
    """The complex numbers with these real and imaginary parts.

    complex(a, b) = a + bi

    Args:
        real, imag: floating tensors or numbers, which broadcast; at least one is a tensor, or both are numbers.
    Returns: complex64 from float32, complex128 from float64, of the common shape.
    Raises: DTypeError for parts that are not floating, and for float16 and bfloat16, which no complex dtype has.
    Example:
        >>> cr.complex(cr.tensor([1.0, 2.0]), 3.0)
        tensor([1.+3.j, 2.+3.j], dtype=complex64)
    """
    nodes = nodes_of("complex", (real, imag))
    if nodes is None:
        nodes = nodes_of("complex", (Tensor(to_node(real, "complex")), Tensor(to_node(imag, "complex"))))
    assert nodes is not None
    return Tensor(emit("complex", *nodes))


def polar(abs: Any, angle: Any, /) -> Tensor:
    """The complex numbers of these absolute values and angles.

    polar(r, t) = r cos t + i r sin t

    Args:
        abs, angle: floating tensors or numbers, which broadcast.
    Returns: complex64 from float32, complex128 from float64, of the common shape.
    Raises: DTypeError for operands that are not floating.
    Example:
        >>> cr.polar(2.0, cr.tensor([0.0]))
        tensor([2.+0.j], dtype=complex64)
    """
    size, turn = (value if isinstance(value, Tensor) else Tensor(to_node(value, "polar")) for value in (abs, angle))
    return complex(size * cos(turn), size * sin(turn))


def view_as_real(x: Any, /) -> Tensor:
    """Real and imaginary parts side by side along a new last axis (a copy, as values are never reinterpreted).

    Args:
        x: a complex tensor of any shape.
    Returns: a real tensor of shape ``(*x.shape, 2)``.
    Raises: DTypeError for a tensor that is not complex.
    Example:
        >>> cr.view_as_real(cr.tensor([1 + 2j]))
        tensor([[1., 2.]])
    """
    node = to_node(x, "view_as_real")
    if node.dtype.kind != "c":
        reject("view_as_real", "a complex tensor is needed", (node,), "a real one is its own real part", DTypeError)
    value = Tensor(node)
    return stack([real(value), imag(value)], axis=-1)


def view_as_complex(x: Any, /) -> Tensor:
    """The complex numbers whose parts lie side by side along the last axis (a copy).

    Args:
        x: a floating tensor of shape ``(..., 2)``.
    Returns: a complex tensor without the last axis.
    Raises: ShapeError if the last axis does not have 2 elements, DTypeError for a dtype that no complex dtype has.
    Example:
        >>> cr.view_as_complex(cr.tensor([[1.0, 2.0]]))
        tensor([1.+2.j], dtype=complex64)
    """
    node = to_node(x, "view_as_complex")
    if not node.shape or node.shape[-1] != 2:
        extent = node.shape[-1] if node.shape else 0
        reject("view_as_complex", f"the last axis has {extent} elements, not 2", (node,))
    value = Tensor(node)
    return complex(value[..., 0], value[..., 1])


def adjoint(x: Any, /) -> Tensor:
    """The conjugate transpose of the last two axes.

    Args:
        x: a tensor of at least two axes.
    Returns: the last two axes exchanged, complex numbers conjugated.
    Raises: ShapeError for fewer axes.
    Example:
        >>> cr.adjoint(cr.tensor([[1j, 2.0]]))
        tensor([[0.-1.j],
                [2.-0.j]], dtype=complex64)
    """
    return conj(matrix_transpose(x))


__all__ = ["adjoint", "angle", "complex", "conj", "imag", "polar", "real", "view_as_complex", "view_as_real"]
