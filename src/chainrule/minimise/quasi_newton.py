"""Methods that need gradients alone: gradient descent, and L-BFGS."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..ops.base import message
from .problem import Objective, inner
from .result import Callback, Result, Stopping, check_positive, quiet
from .wolfe import Search, Trial, along

#: most trials of one line search
TRIALS = 30


class History:
    """The last steps s and changes of the gradient y, as an approximation of the inverse Hessian.

    Args:
        size: how many pairs are kept.
    """

    def __init__(self, size: int):
        self.steps: deque[np.ndarray] = deque(maxlen=size)
        self.changes: deque[np.ndarray] = deque(maxlen=size)
        self.scale = 1.0

    def add(self, step: np.ndarray, change: np.ndarray, least: float) -> None:
        """Keep a pair, unless its curvature ``s . y`` is not above `least`: the approximation stays definite."""
        curvature = float(step @ change)
        if curvature > least:
            self.steps.append(step)
            self.changes.append(change)
            self.scale = curvature / float(change @ change)

    def clear(self) -> None:
        """Forget all pairs."""
        self.steps.clear()
        self.changes.clear()
        self.scale = 1.0

    def times(self, gradient: np.ndarray) -> np.ndarray:
        """The approximate inverse Hessian times `gradient`: the two-loop recursion (Nocedal and Wright, 7.4)."""
        kind = gradient.dtype.type
        found = gradient.copy()
        weights = []
        for s, y in zip(reversed(self.steps), reversed(self.changes)):
            inverse = 1 / float(s @ y)
            weight = inverse * float(s @ found)
            found -= kind(weight) * y
            weights.append((inverse, weight))
        found *= kind(self.scale)
        for s, y, (inverse, weight) in zip(self.steps, self.changes, reversed(weights)):
            found += kind(weight - inverse * float(y @ found)) * s
        return found


@quiet
def lbfgs(
    f: Callable[..., Any], x0: Any, *, args: Sequence[Any] = (), history_size: int = 10, maxiter: int = 1000,
    gtol: float | None = None, ftol: float | None = None, c1: float = 1e-4, c2: float = 0.9,
    callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise a scalar function by the limited-memory BFGS method with a strong-Wolfe line search.

    ``x <- x - a H g``, where H, for the inverse Hessian, comes from the last `history_size` steps and gradient changes.
    Needs gradients alone and memory for a few vectors: the method for many parameters and a smooth function.

    Args:
        f: ``f(x, *args)`` is a scalar tensor. It is compiled once; see `compile`.
        x0: a tree of float32 and float64 tensors to start from.
        args: further arguments of `f`, inputs of the compiled program.
        history_size: how many pairs of vectors are kept.
        maxiter: most steps.
        gtol: stop when no element of the gradient is larger; None for 1e-6 in float64, 1e-4 in float32.
        ftol: stop when a step changes the value relatively by less; None for four units of rounding.
        c1, c2: constants of the line search, see `line_search`.
        callback: called with the parameters and the value after each step; stops the run by returning True.
        compile: False runs `f` operation by operation, for functions that branch on values.

    Returns:
        A `Result`.

    Raises:
        DTypeError: `x0` is not floating, or `f` returns no real tensor. ShapeError: `f` returns no scalar.
        NonFiniteError: `x0`, f(x0) or the gradient there is not finite. ConfigError: an option out of range.

    Example:
        >>> import chainrule as cr
        >>> def rosenbrock(x):
        ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        >>> found = cr.minimise.lbfgs(rosenbrock, cr.tensor([-1.2, 1.0], dtype=cr.float64))
        >>> found.converged, [round(v, 5) for v in found.x.tolist()]
        (True, [1.0, 1.0])

    Reference:
        Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989; Nocedal and Wright,
        Numerical Optimization, 2006, algorithms 7.4 and 7.5.
    """
    name = "lbfgs"
    if not 0 < c1 < c2 < 1:
        raise ConfigError(message(name, f"0 < c1 < c2 < 1 does not hold for c1={c1}, c2={c2}", ()))
    if isinstance(history_size, bool) or not isinstance(history_size, int) or history_size < 1:
        raise ConfigError(message(name, f"history_size has to be a positive whole number, not {history_size!r}", ()))
    objective = Objective(name, f, x0, args, compile)
    stopping = Stopping(name, objective, maxiter, gtol, ftol, callback)
    history = History(history_size)
    promised = math.inf
    x, value, gradient = objective.start()
    while not stopping.at(gradient):
        direction = -history.times(gradient)
        if not -math.inf < inner(gradient, direction) < 0:
            history.clear()
            direction = -gradient
        first = 1.0 if history.steps else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        phi, start = along(objective, x, value, gradient, direction)
        search = Search(phi, start, c1, c2, stopping.noise * abs(value), TRIALS)
        found, _ = search.strong(first, 1e10)
        if found.step == 0:
            if history.steps:
                promised = -start.slope / 2
                history.clear()
                continue
            stopping.stuck(promised, value)
            break
        before = value
        step, change = found.extra[0] - x, found.extra[1] - gradient
        value, (x, gradient) = found.value, found.extra
        promised = math.inf
        history.add(step, change, objective.parameters.eps * float(change @ change) * 1e-3 * history.scale)
        if stopping.after(x, before, value, gradient):
            break
    return stopping.result(x, value, gradient)


@quiet
def gradient_descent(
    f: Callable[..., Any], x0: Any, *, step: float | None = None, args: Sequence[Any] = (), maxiter: int = 10000,
    gtol: float | None = None, ftol: float | None = None, callback: Callback | None = None, compile: bool = True,
) -> Result:  # fmt: skip
    """Minimise a scalar function by steps against its gradient, ``x <- x - step g``.

    Args:
        f, x0, args, maxiter, gtol, ftol, callback, compile: see `lbfgs`.
        step: a fixed step, or None for backtracking: from twice the last step back to where the value decreases
            sufficiently (Armijo).

    Returns:
        A `Result`. With a fixed step that is too long the value grows; a value that is not finite ends the run at the
        last finite point, not converged.

    Raises:
        As `lbfgs`.

    Example:
        >>> import chainrule as cr
        >>> found = cr.minimise.gradient_descent(lambda x: ((x - 3) ** 2).sum(), cr.tensor([0.0]), step=0.25)
        >>> found.iterations, round(float(found.x[0]), 4)
        (16, 3.0)

    Reference:
        Nocedal and Wright, Numerical Optimization, 2006, algorithm 3.1.
    """
    name = "gradient_descent"
    if step is not None:
        check_positive(name, step=step)
    objective = Objective(name, f, x0, args, compile)
    stopping = Stopping(name, objective, maxiter, gtol, ftol, callback)
    x, value, gradient = objective.start()
    length = min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-300)) / 2
    while not stopping.at(gradient):
        phi, start = along(objective, x, value, gradient, -gradient)
        if step is not None:
            found = phi(step)
            if not _all_finite(found):
                stopping.stop(False, f"the value is {found.value} after a step of {step}: it is too long")
                break
        else:
            search = Search(phi, start, 1e-4, 0.9, stopping.noise * abs(value), TRIALS)
            found, lower = search.armijo(2 * length)
            if not lower:
                stopping.stuck(math.inf, value)
                break
            length = found.step
        before, value, (x, gradient) = value, found.value, found.extra
        if stopping.after(x, before, value, gradient):
            break
    return stopping.result(x, value, gradient)


def _all_finite(trial: Trial) -> bool:
    return trial.finite and bool(np.isfinite(trial.extra[1]).all())
