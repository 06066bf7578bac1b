"""Random vectors and matrices: multivariate normal, points of a ball, orthogonal matrices."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from .. import linalg
from ..conversion import to_node
from ..errors import ConfigError, ShapeError
from ..ops.base import message
from ..recording import shape_tuple
from ..tensor import Tensor
from .gammas import loggamma
from .keys import Generator
from .parameters import POSITIVE, Draw, check
from .uniforms import floating


def multivariate_normal(
    mean: Any, cov: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Normal vectors of covariance `cov`: mean + L z with cov = L L^T (Cholesky); gradients flow to both.

    Args:
        mean: [..., k].
        cov: [..., k, k], symmetric and positive definite.
        shape: of the draw without its last axis; that of the parameters unless given.
        dtype, generator, key: see `exponential`.
    Raises:
        ShapeError: the matrices do not fit the vectors.
        SingularMatrixError: a matrix is not positive definite (when the draw is evaluated).
    """
    centre, matrix = to_node(mean, "multivariate_normal"), to_node(cov, "multivariate_normal")
    size = centre.shape[-1] if centre.shape else -1
    if len(matrix.shape) < 2 or matrix.shape[-2:] != (size, size):
        problem = f"the covariance {list(matrix.shape)} does not fit the mean {list(centre.shape)}"
        raise ShapeError(message("multivariate_normal", problem, (centre, matrix)))
    factor = linalg.cholesky(Tensor(matrix))
    batch = fn.broadcast_shapes(centre.shape[:-1], matrix.shape[:-2])
    extents = tuple(batch) if shape is None else shape_tuple("multivariate_normal", shape)
    draw = Draw("multivariate_normal", (*extents, size), dtype, generator, key, ("mean", Tensor(centre), None))
    z = draw.normal()
    turned = fn.sum(factor.astype(draw.inner) * z[..., None, :], axis=-1)
    return draw.result(draw.parameters[0] + turned)


def ball(
    d: int, p: float = 2.0, shape: Any = (), *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Points spread evenly over the ball of radius 1 of the p-norm in `d` dimensions, [*shape, d].

    Reference: Barthe, Guedon, Mendelson, Naor, A probabilistic approach to the geometry of the l_p^n-ball, 2005.
    """
    if not (isinstance(d, int) and d >= 1):
        raise ConfigError(message("ball", f"the dimension is a whole number of at least 1, not {d!r}", ()))
    check("ball", "p", p, POSITIVE)
    extents = shape_tuple("ball", shape)
    draw = Draw("ball", (*extents, d), dtype, generator, key)
    u = Tensor(draw.again(1).unit(1)._node)
    sign = fn.where(u[0] < 0.5, fn.full(draw.shape, -1.0, dtype=draw.inner), 1.0)
    logs = loggamma(fn.full(draw.shape, 1.0 / p, dtype=draw.inner), key=Tensor(draw.key))
    radial = draw.again(2)
    extra = -fn.log(radial.open(1)[0][..., :1])
    total = fn.sum(fn.exp(logs), axis=-1, keepdims=True) + extra
    return draw.result(sign * fn.exp((logs - fn.log(total)) / p))


def orthogonal(
    n: int, shape: Any = (), *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Orthogonal matrices [*shape, n, n], spread evenly (by Haar's measure): the Q of a normal matrix, its signs fixed.

    Reference: Mezzadri, How to generate random matrices from the classical compact groups, 2007.
    """
    extents = shape_tuple("orthogonal", shape)
    wanted = floating("orthogonal", dtype)
    draw = Draw("orthogonal", (*extents, n, n), wanted, generator, key)
    q, r = linalg.qr(draw.normal())
    diagonal = linalg.diagonal(r)
    return draw.result(q * fn.where(diagonal < 0, -1.0, fn.ones_like(diagonal))[..., None, :])
