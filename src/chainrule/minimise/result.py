"""What the minimisers return, and when they stop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import ConfigError
from ..ops.base import message
from .problem import Parameters, Problem

#: takes the parameters and the value after each step; returns True to stop
Callback = Callable[[Any, float], Any]
Method = TypeVar("Method", bound=Callable[..., Any])

#: largest element of the gradient at which a minimiser stops, by the parameters' dtype
GRADIENT_TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
#: changes of the value below so many units of rounding say nothing
ROUNDING = 4


@dataclass(frozen=True, eq=False)
class Result:
    """Where a minimiser stopped.

    Attributes:
        x: the parameters, a tree like the start.
        value: the function there; for least squares half the sum of the squared residuals.
        gradient: its gradient, a tree like the start.
        gradient_norm: the largest magnitude in it.
        iterations: steps that were taken.
        evaluations: how often the function (and its gradient, for least squares the residuals) was computed.
        products: how many Hessians, Hessian-vector products or Jacobians were computed.
        converged: whether a tolerance was reached.
        message: which one, or why not.
        method: the method's name.
    """

    x: Any
    value: float
    gradient: Any
    gradient_norm: float
    iterations: int
    evaluations: int
    products: int
    converged: bool
    message: str
    method: str

    def __repr__(self) -> str:
        state = "converged" if self.converged else "not converged"
        return (
            f"{self.method}: {state} after {self.iterations} iterations, {self.evaluations} evaluations: "
            f"value {self.value:.6g}, gradient {self.gradient_norm:.2g} ({self.message})"
        )


def quiet(method: Method) -> Method:
    """`method` without NumPy's warnings: it looks at numbers that are not finite itself."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return method(*args, **kwargs)

    return cast(Method, run)


def check_positive(name: str, **values: Any) -> None:
    """Raise ConfigError for an argument that is no positive number."""
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ConfigError(message(name, f"{key} has to be a positive number, not {value!r}", ()))


class Stopping:
    """The tolerances of a run, and the count of its steps.

    Args:
        gtol: largest gradient element to stop at; None for 1e-6 in float64 and 1e-4 in float32.
        ftol: relative decrease of the value to stop at; None for four units of rounding.
        maxiter: most steps.
        callback: called with the parameters' tree and the value after each step; what it returns as True stops.
    """

    def __init__(
        self,
        name: str,
        problem: Problem,
        maxiter: int,
        gtol: float | None,
        ftol: float | None,
        callback: Callback | None,
    ):
        self.name = name
        self.problem = problem
        parameters: Parameters = problem.parameters
        if isinstance(maxiter, bool) or not isinstance(maxiter, int) or maxiter < 0:
            raise ConfigError(message(name, f"maxiter has to be a whole number from 0 on, not {maxiter!r}", ()))
        for key, value in (("gtol", gtol), ("ftol", ftol)):
            if value is not None and not 0 <= value < float("inf"):
                raise ConfigError(message(name, f"{key} has to be a number from 0 on, not {value!r}", ()))
        self.maxiter = maxiter
        coarsest = "float32" if np.float32 in parameters.dtypes else "float64"
        self.gtol = GRADIENT_TOLERANCE[coarsest] if gtol is None else float(gtol)
        self.ftol = ROUNDING * parameters.eps if ftol is None else float(ftol)
        self.patient = ftol is None
        self.norm = float("inf")
        self.noise = ROUNDING * parameters.eps
        self.callback = callback
        self.iterations = 0
        self.message = ""
        self.converged = False

    def at(self, gradient: np.ndarray) -> bool:
        """Whether to stop before the next step, at a point with this gradient."""
        self.norm = norm = float(np.abs(gradient).max(initial=0))
        if norm <= self.gtol:
            return self.stop(True, f"the largest gradient element is {norm:.2g}, gtol is {self.gtol:.2g}")
        if self.iterations >= self.maxiter:
            return self.stop(False, f"maxiter={self.maxiter} steps are done, the gradient is still {norm:.2g}")
        return False

    def broken(self, matrix: np.ndarray, what: str) -> bool:
        """Whether to stop because a matrix of derivatives is not finite."""
        return not np.isfinite(matrix).all() and self.stop(False, f"the {what} is not finite")

    def after(self, vector: np.ndarray, before: float, value: float, gradient: np.ndarray | None = None) -> bool:
        """Count a step from the value `before` to `value` at `vector`; whether to stop.

        Where rounding hides the progress of the value, a gradient that shrinks is progress too (without an ftol).
        """
        self.iterations += 1
        if self.callback is not None and self.callback(self.problem.parameters.tree(vector), value) is True:
            return self.stop(False, "the callback said so")
        if value == -np.inf:
            return self.stop(False, "the value is -inf: there is no minimum this way")
        shrinks = self.patient and gradient is not None and np.abs(gradient).max(initial=0) < self.norm
        if not shrinks and abs(before - value) <= self.ftol * max(abs(before), abs(value)):
            return self.stop(True, f"the value changed by {abs(before - value):.2g}, relative ftol is {self.ftol:.2g}")
        return False

    def stop(self, converged: bool, message: str) -> bool:
        """Note why the run ends."""
        self.converged, self.message = converged, message
        return True

    def stuck(self, expected: float, value: float) -> None:
        """Note that no step lowers the value, though the model promised a decrease by `expected` (inf: no model)."""
        if expected <= self.noise * abs(value):
            self.stop(True, f"what could still be gained, {expected:.2g}, is below the rounding of the value")
        else:
            self.stop(False, "no lower value was found along a direction of descent")

    def result(self, vector: np.ndarray, value: float, gradient: np.ndarray) -> Result:
        """The run's result."""
        parameters = self.problem.parameters
        return Result(
            parameters.tree(vector),
            value,
            parameters.tree(gradient),
            float(np.abs(gradient).max(initial=0)),
            self.iterations,
            self.problem.evaluations,
            self.problem.products,
            self.converged,
            self.message,
            self.name,
        )
