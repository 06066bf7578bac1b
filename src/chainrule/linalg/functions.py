"""Functions of square matrices: powers and exponentials."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError
from ..functions.products import matmul
from ..mixed_precision import autocast
from ..ops.base import emit
from ..ops.matrices import on_diagonal
from ..recording import reject
from ..tensor import Tensor
from .operands import matrices
from .systems import inv


def matrix_power(x: Any, n: int, /) -> Tensor:
    """x @ x @ ..., n factors, by repeated squaring; the inverse's power for negative n, unit matrices for 0.

    Args:
        x: floating or complex, of shape (..., m, m).
        n: a whole number.
    Returns: a tensor of the type of `x`.
    Raises: ShapeError for matrices that are not square, DTypeError for another n, SingularMatrixError for a singular
        matrix and negative n when it is evaluated.
    Example:
        >>> cr.linalg.matrix_power(cr.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
        tensor([[1., 5.],
                [0., 1.]])
    """
    node = matrices("matrix_power", x, square=True)
    if not hasattr(n, "__index__"):
        reject("matrix_power", f"the power is a whole number, not {n!r}", (node,), "", DTypeError)
    power = n.__index__()
    if power == 0:
        return Tensor(emit("cast", on_diagonal(node), attributes=(node.dtype,)))
    factor = inv(Tensor(node)) if power < 0 else Tensor(node)
    power = abs(power)
    result: Tensor | None = None
    with autocast(enabled=False):
        while power:
            if power & 1:
                result = factor if result is None else matmul(result, factor)
            power >>= 1
            if power:
                factor = matmul(factor, factor)
    assert result is not None
    return result


def expm(x: Any, /) -> Tensor:
    """The exponential of square matrices, 1 + x + x @ x / 2 + ...

    Args:
        x: floating or complex, of shape (..., n, n).
    Returns: a tensor of the type of `x`.
    Raises: ShapeError for matrices that are not square.
    Numerics: scaling and squaring of a Pade approximant of degree 13, in double precision. A derivative is the
        exponential of a matrix twice as large, and so has derivatives of every order.
    Example:
        >>> cr.linalg.expm(cr.tensor([[0.0, 1.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [0., 1.]])
    Reference: Higham 2005, "The scaling and squaring method for the matrix exponential revisited"; Al-Mohy & Higham
        2009, "Computing the Frechet derivative of the matrix exponential".
    """
    return Tensor(emit("expm", matrices("expm", x, square=True)))


matrix_exp = expm
