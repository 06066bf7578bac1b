"""Line searches: steps along a direction that satisfy the strong Wolfe conditions, or that of Armijo alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError
from ..ops.base import message
from .problem import Objective, inner
from .result import ROUNDING, check_positive, quiet


class Trial(NamedTuple):
    """A point on the line: step, value, slope along the direction, and whatever belongs to it (the gradient)."""

    step: float
    value: float
    slope: float
    extra: Any = None

    @property
    def finite(self) -> bool:
        """Whether value and slope are numbers to reckon with."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


Phi = Callable[[float], Trial]


class Search:
    """One search for a step: its conditions, and how many trials it has made.

    Args:
        phi: gives the trial at a step.
        start: the trial at step 0; its slope is negative.
        c1, c2: of sufficient decrease and of curvature.
        noise: how far rounding may move a value. Where values differ by less, the slopes decide instead.
        budget: most trials.
    """

    def __init__(self, phi: Phi, start: Trial, c1: float, c2: float, noise: float, budget: int):
        self.phi = phi
        self.start = start
        self.c1, self.c2 = c1, c2
        self.noise = noise
        self.budget = budget
        self.trials = 0

    def trial(self, step: float) -> Trial:
        """Evaluate at `step`."""
        self.trials += 1
        return self.phi(step)

    def decreases(self, trial: Trial) -> bool:
        """``phi(a) <= phi(0) + c1 a phi'(0)``."""
        return trial.finite and trial.value <= self.start.value + self.c1 * trial.step * self.start.slope

    def accepts(self, trial: Trial) -> bool:
        """Whether both conditions hold, by values or, where these are noise, by slopes."""
        if not trial.finite:
            return False
        slope = self.start.slope
        if self.decreases(trial) and abs(trial.slope) <= -self.c2 * slope:
            return True
        near = abs(trial.value - self.start.value) <= self.noise
        return near and self.c2 * slope <= trial.slope <= (2 * self.c1 - 1) * slope and trial.slope <= -self.c2 * slope

    def strong(self, step: float, longest: float) -> tuple[Trial, bool]:
        """The best trial, and whether it satisfies the strong Wolfe conditions (Nocedal and Wright, 3.5)."""
        previous = self.start
        step = min(step, longest)
        while self.trials < self.budget:
            trial = self.trial(step)
            if self.accepts(trial):
                return trial, True
            if not self.decreases(trial) or (self.trials > 1 and trial.value >= previous.value):
                return self._zoom(previous, trial)
            if trial.slope >= 0:
                return self._zoom(trial, previous)
            if step >= longest:
                return trial, False
            ahead = _cubic(previous, trial)
            step = min(longest, max(1.25 * trial.step, min(10 * trial.step, ahead if ahead > 0 else 2 * trial.step)))
            previous = trial
        return previous, False

    def _zoom(self, low: Trial, high: Trial) -> tuple[Trial, bool]:
        """Narrow an interval that holds a step as wanted; `low` is its end with the lower value (3.6)."""
        former = math.inf
        while self.trials < self.budget:
            width = abs(high.step - low.step)
            if width <= 1e-14 * max(low.step, high.step):
                break
            step = _cubic(low, high) if high.finite and width <= former * 2 / 3 else math.nan
            left, right = min(low.step, high.step), max(low.step, high.step)
            if not left + 0.05 * width <= step <= right - 0.05 * width:
                inside = math.isfinite(step) and left <= step <= right
                # near an end: a tenth of the way from it, else halves (or less, if that end has no value)
                nearest = left if abs(step - left) < abs(step - right) else right
                step = nearest + 0.1 * (left + right - 2 * nearest) if inside else (left + right) / 2
                if not high.finite:
                    step = low.step + (high.step - low.step) * 0.25
            former = width
            trial = self.trial(step)
            if self.accepts(trial):
                return trial, True
            same = abs(trial.value - low.value) <= self.noise or trial.value == low.value
            worse = abs(trial.slope) >= abs(low.slope) if same else trial.value > low.value
            if not self.decreases(trial) or worse:
                high = trial
            else:
                if trial.slope * (high.step - low.step) >= 0:
                    high = low
                low = trial
        return low, False

    def armijo(self, step: float) -> tuple[Trial, bool]:
        """The first trial with sufficient decrease, going back from `step` by parabolas (3.1)."""
        while self.trials < self.budget:
            trial = self.trial(step)
            if self.decreases(trial) or self.accepts(trial):
                return trial, True
            shorter = 0.1 * step
            if math.isfinite(trial.value):
                bend = trial.value - self.start.value - self.start.slope * step
                if bend > 0:
                    shorter = min(max(0.1 * step, -self.start.slope * step * step / (2 * bend)), 0.5 * step)
            step = shorter
        return self.start, False


def _cubic(a: Trial, b: Trial) -> float:
    """The minimiser of the cubic through two trials with their slopes (3.59); NaN if it has none."""
    if a.step == b.step:
        return math.nan
    mean = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    inside = mean * mean - a.slope * b.slope
    if not inside >= 0:
        return math.nan
    root = math.copysign(math.sqrt(inside), b.step - a.step)
    under = b.slope - a.slope + 2 * root
    return b.step - (b.step - a.step) * (b.slope + root - mean) / under if under else math.nan


def along(objective: Objective, vector: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray) -> tuple:
    """``(phi, start)`` of the line from `vector` along `direction`; trials carry (vector, gradient)."""

    def phi(step: float) -> Trial:
        moved = vector + vector.dtype.type(step) * direction
        value, gradient = objective(moved)
        return Trial(step, value, inner(gradient, direction), (moved, gradient))

    return phi, Trial(0.0, value, inner(gradient, direction), (vector, gradient))


@dataclass(frozen=True, eq=False)
class LineSearchResult:
    """A step along a direction.

    Attributes:
        step: the factor of the direction; 0 if no lower value was found.
        x: the point there, a tree like the start.
        value, slope: the function there, and its derivative along the direction.
        evaluations: how often the function and its gradient were computed, that at the start included.
        converged: whether the strong Wolfe conditions hold.
        message: the same in words.
    """

    step: float
    x: Any
    value: float
    slope: float
    evaluations: int
    converged: bool
    message: str


@quiet
def line_search(
    f: Callable[..., Any],
    x: Any,
    direction: Any,
    *,
    args: Sequence[Any] = (),
    step: float = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    longest: float = 1e10,
    maxiter: int = 30,
    compile: bool = True,
) -> LineSearchResult:
    """A step along a direction of descent that satisfies the strong Wolfe conditions.

    ``f(x + a d) <= f(x) + c1 a f'(x) d`` and ``|f'(x + a d) d| <= c2 |f'(x) d|``.

    Args:
        f: ``f(x, *args)`` is a scalar tensor.
        x: a tree of float32 and float64 tensors.
        direction: a tree like `x`.
        args: further arguments of `f`.
        step: the first trial.
        c1, c2: ``0 < c1 < c2 < 1``; 0.9 suits Newton directions, 0.1 conjugate gradients.
        longest: no step is longer.
        maxiter: most trials.
        compile: False runs `f` operation by operation, for functions that branch on values.

    Raises:
        ConfigError: the direction does not lead downwards, or bad constants. DTypeError: `x` is not floating.
        ShapeError: the direction does not match `x`, or `f` returns no scalar. NonFiniteError: f(x) is not finite.

    Numerics:
        Trials come from cubic interpolation within safeguards. A trial without a finite value shortens the step. Where
        the values of trials differ by rounding alone, their slopes decide (approximate Wolfe conditions).

    Example:
        >>> import chainrule as cr
        >>> found = cr.minimise.line_search(lambda x: (x * x).sum(), cr.tensor([1.0, 2.0]), cr.tensor([-1.0, -2.0]))
        >>> found.step, found.value, found.converged
        (1.0, 0.0, True)

    Reference:
        Nocedal and Wright, Numerical Optimization, 2006, algorithms 3.5 and 3.6. Hager and Zhang, "A new conjugate
        gradient method with guaranteed descent and an efficient line search", 2005, for the approximate conditions.
    """
    name = "line_search"
    check_positive(name, step=step, longest=longest, maxiter=maxiter)
    if not 0 < c1 < c2 < 1:
        raise ConfigError(message(name, f"0 < c1 < c2 < 1 does not hold for c1={c1}, c2={c2}", ()))
    objective = Objective(name, f, x, args, compile)
    towards = objective.parameters.matching(direction, "direction")
    vector, value, gradient = objective.start()
    phi, start = along(objective, vector, value, gradient, towards)
    if not start.slope < 0:
        problem = f"the direction does not lead downwards: the slope along it is {start.slope:.3g}"
        raise ConfigError(message(name, problem, (), "a direction of descent is -gradient, or -inv(H) @ gradient"))
    noise = ROUNDING * objective.parameters.eps * abs(value)
    search = Search(phi, start, c1, c2, noise, maxiter)
    found, satisfied = search.strong(step, longest)
    if satisfied:
        text = "the strong Wolfe conditions hold"
    elif found.step:
        text = f"sufficient decrease holds, the condition on the slope does not after {search.trials} trials"
    else:
        text = f"no trial of {search.trials} has a sufficiently lower value"
    x = objective.parameters.tree(found.extra[0])
    return LineSearchResult(found.step, x, found.value, found.slope, objective.evaluations, satisfied, text)
