"""Newton's method, with the Hessian itself or with its products by vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd.derivatives import hvp
from ..capture import CompiledFunction
from ..functions import asarray, zeros_like
from ..gradmode import no_grad
from ..tensor import Tensor
from .conjugate import Solved, Vector, conjugate_gradients
from .problem import Objective, inner
from .quasi_newton import TRIALS
from .result import Callback, Result, Stopping, quiet
from .wolfe import Search, along

#: eigenvalues are moved this far from 0, relative to the largest
LEAST_EIGENVALUE = 1e-8


@quiet
def newton(
    f: Callable[..., Any], x0: Any, *, args: Sequence[Any] = (), maxiter: int = 200, gtol: float | None = None,
    ftol: float | None = None, callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise a scalar function by Newton's method, ``x <- x - a inv(H) g``, made safe.

    Where the Hessian is positive definite and the full step decreases the value sufficiently, this is Newton's step
    with its quadratic convergence. Elsewhere H gets the magnitudes of its eigenvalues, which turns away from saddle
    points; the step satisfies the strong Wolfe conditions. At a saddle point or a maximum, where the gradient
    vanishes, it goes on along the direction of most negative curvature.

    Args:
        f, x0, args, gtol, ftol, callback, compile: see `lbfgs`. The Hessian is kept whole: for at most some hundred
            parameters; `newton_cg` is for more.
        maxiter: most steps.

    Returns:
        A `Result`; `products` counts Hessians.

    Raises:
        As `lbfgs`.

    Example:
        >>> import chainrule as cr
        >>> def rosenbrock(x):
        ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        >>> found = cr.minimise.newton(rosenbrock, cr.tensor([-1.2, 1.0], dtype=cr.float64))
        >>> found.converged, [round(v, 6) for v in found.x.tolist()]
        (True, [1.0, 1.0])

    Reference:
        Nocedal and Wright, Numerical Optimization, 2006, section 3.4. Dauphin et al., "Identifying and attacking the
        saddle point problem in high-dimensional non-convex optimization", 2014, for the magnitudes.
    """
    name = "newton"
    objective = Objective(name, f, x0, args, compile)
    stopping = Stopping(name, objective, maxiter, gtol, ftol, callback)
    x, value, gradient = objective.start()
    while True:
        level = bool(np.abs(gradient).max(initial=0) <= stopping.gtol)
        if not level and stopping.at(gradient):
            break
        matrix = objective.hessian(x)
        if stopping.broken(matrix, "Hessian"):
            break
        direction, downwards = newton_direction(matrix, gradient)
        if level:
            escape = _escape(objective, x, value, gradient, downwards) if stopping.iterations < maxiter else None
            if escape is None:
                stopping.at(gradient)
                break
            before, (value, x, gradient) = value, escape
        else:
            phi, start = along(objective, x, value, gradient, direction)
            search = Search(phi, start, 1e-4, 0.9, stopping.noise * abs(value), TRIALS)
            found, _ = search.strong(1.0, 1e10)
            if found.step == 0:
                stopping.stuck(-start.slope / 2 if downwards is None else math.inf, value)
                break
            before, value, (x, gradient) = value, found.value, found.extra
        if stopping.after(x, before, value, gradient):
            break
    return stopping.result(x, value, gradient)


def newton_direction(matrix: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """``-inv(H) g``, H with the magnitudes of its eigenvalues if it is not positive definite.

    The second result is the direction of most negative curvature, as long as ``sqrt(-curvature)``; None if there is
    none.
    """
    size = matrix.astype(np.float64)
    try:
        lower = np.linalg.cholesky(size)
        diagonal = np.diagonal(lower)
        if diagonal.min() ** 2 > LEAST_EIGENVALUE * diagonal.max() ** 2:
            half = np.linalg.solve(lower, -gradient.astype(np.float64))
            return np.linalg.solve(lower.T, half).astype(gradient.dtype), None
    except np.linalg.LinAlgError:
        pass  # not positive definite
    values, vectors = np.linalg.eigh(size)
    magnitudes = np.abs(values)
    magnitudes = np.maximum(magnitudes, LEAST_EIGENVALUE * (magnitudes.max() or 1.0))
    direction = -vectors @ ((vectors.T @ gradient) / magnitudes)
    downwards = None
    if values[0] < -math.sqrt(np.finfo(gradient.dtype).eps) * magnitudes.max():
        downwards = (vectors[:, 0] * math.sqrt(-values[0])).astype(gradient.dtype)
    return direction.astype(gradient.dtype), downwards


def _escape(
    objective: Objective, x: np.ndarray, value: float, gradient: np.ndarray, downwards: np.ndarray | None
) -> tuple[float, np.ndarray, np.ndarray] | None:
    """A lower point along a direction of negative curvature, either way; None if there is none."""
    if downwards is None:
        return None
    length = float(np.linalg.norm(downwards))
    curvature = length * length
    unit = downwards / downwards.dtype.type(length)
    if unit @ gradient > 0:
        unit = -unit
    step = 1.0
    for _ in range(TRIALS):
        for sign in (1.0, -1.0):
            moved = x + x.dtype.type(sign * step) * unit
            there, slope = objective(moved)
            if there <= value - 0.25 * curvature * step * step * 0.5 and np.isfinite(slope).all():
                return there, moved, slope
        step /= 4
    return None


@quiet
def newton_cg(
    f: Callable[..., Any], x0: Any, *, args: Sequence[Any] = (), maxiter: int = 500, gtol: float | None = None,
    ftol: float | None = None, callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise a scalar function by Newton's method without the Hessian: its products with vectors are enough.

    Each step solves ``H d = -g`` by conjugate gradients, to a residual of ``min(1/2, sqrt(|g|)) |g|``, so that the
    convergence is superlinear. The solution ends early at a direction of negative curvature. The step along d satisfies
    the strong Wolfe conditions.

    Args:
        f, x0, args, gtol, ftol, callback, compile: see `lbfgs`.
        maxiter: most steps.

    Returns:
        A `Result`; `products` counts Hessian-vector products.

    Raises:
        As `lbfgs`.

    Example:
        >>> import chainrule as cr
        >>> scales = cr.arange(1.0, 1001.0, dtype=cr.float64)
        >>> found = cr.minimise.newton_cg(lambda x: (scales * (x - 1) ** 2).sum(), cr.zeros(1000, dtype=cr.float64))
        >>> found.converged, round(float(found.x.sum()), 4)
        (True, 1000.0)

    Reference:
        Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1.
    """
    name = "newton_cg"
    objective = Objective(name, f, x0, args, compile)
    stopping = Stopping(name, objective, maxiter, gtol, ftol, callback)
    truncated = _Truncated(objective, compile)
    x, value, gradient = objective.start()
    while not stopping.at(gradient):
        direction, definite = truncated.direction(x, gradient)
        phi, start = along(objective, x, value, gradient, direction)
        search = Search(phi, start, 1e-4, 0.9, stopping.noise * abs(value), TRIALS)
        found, _ = search.strong(1.0, 1e10)
        if found.step == 0:
            stopping.stuck(-start.slope / 2 if definite else math.inf, value)
            break
        before, value, (x, gradient) = value, found.value, found.extra
        if stopping.after(x, before, value, gradient):
            break
    return stopping.result(x, value, gradient)


class _Truncated:
    """Approximate solutions of ``H d = -g`` that are directions of descent; the inner loop is one native program."""

    def __init__(self, objective: Objective, compile: bool):
        self.objective = objective
        limit = max(20, 2 * objective.parameters.vector.size)
        vector = Vector(objective.name, objective.parameters.split(objective.parameters.vector), "x0")

        def solve(leaves: list[Tensor], right: list[Tensor], least: Tensor, *rest: Any) -> Solved:
            def product(v: Tensor) -> Tensor:
                return vector.join(hvp(lambda leaves: objective.scalar(leaves, *rest), (leaves,), (vector.tree(v),)))

            with no_grad():  # tensors that the function closes over may require grad
                start = vector.join(right)
                return conjugate_gradients(product, zeros_like(start), start, least, limit)

        self._solve = CompiledFunction(solve) if compile else solve

    def direction(self, x: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, bool]:
        """The direction from `x`, and whether no negative curvature was met."""
        objective, kind = self.objective, gradient.dtype.type
        norm = float(np.linalg.norm(gradient))
        least = asarray(np.array(min(0.5, math.sqrt(norm)) * norm, gradient.dtype))
        split = objective.parameters.split
        solved = self._solve(
            [asarray(np.array(leaf)) for leaf in split(x)],
            [asarray(np.array(leaf)) for leaf in split(-gradient)],
            least,
            *objective.args,
        )
        objective.products += int(solved.products)
        found = np.asarray(solved.x)
        if bool(solved.blocked) and int(solved.products) == 1:
            # negative curvature at once: along -g, as far as the magnitude of that curvature suggests
            curvature = abs(float(solved.curvature))
            return -gradient * kind(norm * norm / curvature if 0 < curvature < math.inf else 1 / norm), False
        downwards = -math.inf < inner(found, gradient) < 0
        return (np.array(found) if downwards else -gradient), downwards and not bool(solved.blocked)
