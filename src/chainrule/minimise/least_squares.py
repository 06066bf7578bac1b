"""Nonlinear least squares: Gauss-Newton, and Levenberg-Marquardt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .problem import Residuals
from .result import Callback, Result, Stopping, check_positive, quiet

#: most halvings of a Gauss-Newton step
HALVINGS = 40
#: damping above which no step can be told from none
MOST_DAMPING = 1e20


@quiet
def gauss_newton(
    residuals: Callable[..., Any], x0: Any, *, args: Sequence[Any] = (), maxiter: int = 200, gtol: float | None = None,
    ftol: float | None = None, callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise ``1/2 |r(x)|^2`` by the steps p that minimise ``|J p + r|``, halved until the value decreases.

    The Hessian ``J^T J + sum of r_i H_i`` without its second term, which is small near a solution with small residuals:
    there the convergence is nearly quadratic.

    Args:
        residuals: ``residuals(x, *args)`` is a tensor with one axis. It and its Jacobian are compiled once.
        x0: a tree of float32 and float64 tensors to start from.
        args: further arguments (the data), inputs of the compiled program.
        maxiter: most steps.
        gtol: stop when no element of the gradient ``J^T r`` is larger; None for 1e-6 in float64, 1e-4 in float32.
        ftol: stop when a step changes the value relatively by less; None for four units of rounding.
        callback: called with the parameters and the value after each step; stops the run by returning True.
        compile: False runs the residuals operation by operation.

    Returns:
        A `Result`; `value` is half the sum of squares, `evaluations` counts residuals and `products` Jacobians.

    Raises:
        DTypeError: `x0` is not floating. ShapeError: the residuals do not have one axis. NonFiniteError: `x0` or its
        residuals are not finite. ConfigError: an option out of range.

    Numerics:
        Steps are least-squares solutions of least norm, by the SVD in float64; a Jacobian needs no full rank.

    Example:
        >>> import chainrule as cr
        >>> t = cr.linspace(0.0, 2.0, 9, dtype=cr.float64)
        >>> data = 2.5 * cr.exp(-1.3 * t)
        >>> def residuals(p, t, data):
        ...     return p["size"] * cr.exp(-p["rate"] * t) - data
        >>> start = {"size": cr.tensor(1.0, dtype=cr.float64), "rate": cr.tensor(1.0, dtype=cr.float64)}
        >>> found = cr.minimise.gauss_newton(residuals, start, args=(t, data))
        >>> round(float(found.x["size"]), 6), round(float(found.x["rate"]), 6)
        (2.5, 1.3)

    Reference:
        Nocedal and Wright, Numerical Optimization, 2006, section 10.3.
    """
    name = "gauss_newton"
    problem = Residuals(name, residuals, x0, args, compile)
    stopping = Stopping(name, problem, maxiter, gtol, ftol, callback)
    x, r = problem.start()
    value = half_square(r)
    while True:
        matrix = problem.jacobian(x)
        gradient = matrix.T @ r
        if stopping.broken(matrix, "Jacobian") or stopping.at(gradient):
            break
        step = np.linalg.lstsq(matrix.astype(np.float64), -r.astype(np.float64), rcond=None)[0].astype(x.dtype)
        slope = float(gradient @ step)
        factor, found = 1.0, None
        for _ in range(HALVINGS):
            moved = x + x.dtype.type(factor) * step
            there = problem(moved)
            lowered = half_square(there)
            if lowered <= value + 1e-4 * factor * slope:
                found = (moved, there, lowered)
                break
            factor /= 2
        if found is None:
            stopping.stuck(-slope / 2, value)
            break
        before, (x, r, value) = value, found
        if stopping.after(x, before, value):
            gradient = problem.jacobian(x).T @ r
            break
    return stopping.result(x, value, gradient)


@quiet
def levenberg_marquardt(
    residuals: Callable[..., Any], x0: Any, *, args: Sequence[Any] = (), damping: float = 1e-3, maxiter: int = 500,
    gtol: float | None = None, ftol: float | None = None, callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise ``1/2 |r(x)|^2`` by damped Gauss-Newton steps, ``(J^T J + m D^2) p = -J^T r``.

    D holds the largest norms so far of the Jacobian's columns, so that units of parameters do not matter. After each
    trial the damping m follows the gain ratio, the decrease divided by what the linear model promised: it falls to a
    third of it where the model is good, and rises faster and faster where the value does not decrease.

    Args:
        residuals, x0, args, gtol, ftol, callback, compile: see `gauss_newton`.
        damping: m to start with, relative to the scaled Jacobian; larger for a start far from the solution.
        maxiter: most trials, those that did not decrease the value included.

    Returns:
        A `Result`, as `gauss_newton` gives it.

    Raises:
        As `gauss_newton`.

    Numerics:
        One SVD of the scaled Jacobian in float64 serves all trials at a point.

    Example:
        >>> import chainrule as cr
        >>> def beale(p):
        ...     x, y = p[0], p[1]
        ...     return cr.stack([1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3])
        >>> found = cr.minimise.levenberg_marquardt(beale, cr.tensor([1.0, 1.0], dtype=cr.float64))
        >>> found.converged, [round(v, 6) for v in found.x.tolist()]
        (True, [3.0, 0.5])

    Reference:
        Moré, "The Levenberg-Marquardt algorithm: implementation and theory", 1978, for D; Nielsen, "Damping parameter
        in Marquardt's method", 1999, for the damping; Nocedal and Wright, Numerical Optimization, 2006, section 10.3.
    """
    name = "levenberg_marquardt"
    check_positive(name, damping=damping)
    problem = Residuals(name, residuals, x0, args, compile)
    stopping = Stopping(name, problem, maxiter, gtol, ftol, callback)
    x, r = problem.start()
    value = half_square(r)
    scale = np.zeros(x.size)
    growth, trials = 2.0, 0
    while True:
        matrix = problem.jacobian(x)
        gradient = matrix.T @ r
        if stopping.broken(matrix, "Jacobian") or stopping.at(gradient):
            break
        scale = np.maximum(scale, np.linalg.norm(matrix.astype(np.float64), axis=0))
        units = np.where(scale > 0, scale, 1.0)
        left, singular, right = np.linalg.svd(matrix / units, full_matrices=False)
        aim = -(left.T @ r.astype(np.float64))
        found = None
        while trials < maxiter:
            trials += 1
            part = aim * singular / (singular**2 + damping)
            promised = 0.5 * float(part @ (damping * part + singular * aim))
            moved = x + (right.T @ part / units).astype(x.dtype)
            there = problem(moved)
            lowered = half_square(there)
            if promised > 0 and lowered < value:
                ratio = (value - lowered) / promised
                damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
                growth = 2.0
                found = (moved, there, lowered)
                break
            damping *= growth
            growth *= 2
            if damping > MOST_DAMPING or promised <= stopping.noise * abs(value):
                break
        if found is None:
            if trials >= maxiter:
                stopping.stop(False, f"maxiter={maxiter} trials are done")
            else:
                stopping.stuck(promised, value)
            break
        before, (x, r, value) = value, found
        if stopping.after(x, before, value):
            gradient = problem.jacobian(x).T @ r
            break
    return stopping.result(x, value, gradient)


def half_square(residuals: np.ndarray) -> float:
    """``1/2 |r|^2`` in float64; infinite if that is not a number."""
    wide = residuals.astype(np.float64)
    total = float(wide @ wide) / 2
    return total if total == total else float("inf")
