"""L-BFGS as an optimiser of parameters, with PyTorch's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..dtypes import converted, float32, float64, real_dtype
from ..errors import CompileError, DataError, ShapeError
from ..functions import asarray
from ..gradmode import enable_grad
from ..minimise.quasi_newton import History
from ..minimise.result import ROUNDING
from ..minimise.wolfe import Search, Trial
from ..ops.base import misuse
from ..recording import constant
from ..tensor import Tensor, state
from .optimizer import Optimizer

#: a pair of vectors with less curvature than this is not kept
LEAST_CURVATURE = 1e-10
#: a line search stops after so many evaluations, as in PyTorch
TRIALS = 25


class LBFGS(Optimizer):
    """The limited-memory BFGS method; a step calls the closure several times.

    ``p <- p - t H g``, where H, for the inverse Hessian, comes from the last `history_size` steps and gradient changes.
    For losses without noise: on all data, or the same data at every step. `chainrule.minimise.lbfgs` is the same method
    for a function.

    Args:
        params: see `Optimizer`; one group only.
        lr: step length; with a line search the first trial's.
        max_iter: most iterations a step.
        max_eval: most calls of the closure a step, 1.25 `max_iter` by default.
        tolerance_grad: a step ends when no element of the gradient is larger.
        tolerance_change: a step ends when neither the loss nor any parameter changes by more.
        history_size: how many pairs of vectors are kept.
        line_search_fn: "strong_wolfe", or None for fixed steps (shortened at the first, as in PyTorch).
    Raises:
        ConfigError: a bad argument, several groups, or no closure. CompileError: a step inside a compiled function.
    Numerics:
        Vectors have the widest real dtype of the parameters, at least float32; complex parameters count as pairs of
        real numbers. Without a line search the iterates are PyTorch's up to rounding; the line search chooses its
        trials by rules of its own, so that its iterates differ from PyTorch's and satisfy the same conditions.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([-1.0, 2.0]))
        >>> optimizer = cr.optim.LBFGS([p], line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = ((p - 1) ** 4).sum() + (p * p).sum()
        ...     loss.backward()
        ...     return loss
        >>> for _ in range(3):
        ...     loss = optimizer.step(closure)
        >>> [round(v, 3) for v in p.tolist()]
        [0.41, 0.41]

    Reference:
        Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        self._direction: np.ndarray | None = None
        self._length = 0.0
        self._former: np.ndarray | None = None
        self._loss = 0.0
        self._iterations = 0
        self._evaluations = 0
        super().__init__(params, defaults)
        self._history = History(history_size)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        for key in ("max_iter", "max_eval", "history_size"):
            if isinstance(group[key], bool) or not isinstance(group[key], int) or group[key] < 1:
                raise misuse(f"LBFGS: {key} must be a positive whole number, not {group[key]!r}")
        for key in ("tolerance_grad", "tolerance_change"):
            if not group[key] >= 0:
                raise misuse(f"LBFGS: {key} must not be negative, not {group[key]}")
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise misuse(f"LBFGS: line_search_fn is 'strong_wolfe' or None, not {group['line_search_fn']!r}")

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the parameters; ConfigError if there are some already."""
        if self.param_groups:
            raise misuse("LBFGS: there can be one group of parameters only; they share one approximation")
        super().add_param_group(group)

    # -- parameters as one vector -----------------------------------------------------------------------------------

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    @property
    def _dtype(self) -> Any:
        wide = any(real_dtype(p.dtype) is float64 for p in self._params)
        return float64 if wide else float32

    def _flat(self, param: Tensor, value: Tensor | None) -> np.ndarray:
        if value is None:
            return np.zeros(param.size * (2 if param.dtype.kind == "c" else 1), self._dtype.numpy)
        array = np.ascontiguousarray(value.detach().numpy()).reshape(-1)
        return converted(array.view(array.real.dtype) if param.dtype.kind == "c" else array, self._dtype)

    def _values(self) -> np.ndarray:
        return np.concatenate([self._flat(p, p) for p in self._params])

    def _gradients(self) -> np.ndarray:
        return np.concatenate([self._flat(p, p.grad) for p in self._params])

    def _assign(self, vector: np.ndarray) -> None:
        at = 0
        for param in self._params:
            size = param.size * (2 if param.dtype.kind == "c" else 1)
            part = converted(vector[at : at + size], real_dtype(param.dtype))
            at += size
            if param.dtype.kind == "c":
                part = part.view(param.dtype.numpy)
            param._rebind(constant(part.reshape(param.shape)))

    # -- the step ---------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Iterate until a tolerance or a limit of the step is reached.

        Args:
            closure: sets the gradients to zero, computes the loss and its gradients, and returns the loss. It may be
                compiled.
        Returns:
            The loss before the step.
        """
        if closure is None:
            raise misuse("LBFGS: step needs a closure that computes the loss and its gradients anew")
        if not self.param_groups:
            raise misuse("LBFGS has no parameters; give them with bind(model.parameters())")
        if state.trace is not None:
            raise CompileError(
                "LBFGS: how often a step calls its closure depends on values, which a compiled function does not have\n"
                "help: compile the closure, and call step outside"
            )
        group = self.param_groups[0]
        evaluations = 0

        def evaluate() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            self._evaluations += 1
            with enable_grad():
                return closure()

        def phi(length: float) -> Trial:
            """The loss at ``x + length * direction``."""
            self._assign(x + x.dtype.type(length) * direction)
            value, gradient = float(evaluate()), self._gradients()
            return Trial(length, value, float(gradient @ direction), gradient)

        first = evaluate()
        loss, gradient = float(first), self._gradients()
        for iteration in range(1, group["max_iter"] + 1):
            if np.abs(gradient).max(initial=0) <= group["tolerance_grad"]:
                break
            direction = self._next_direction(gradient)
            self._former, self._loss, before = gradient, loss, loss
            self._length = group["lr"]
            if self._iterations == 1:
                self._length *= min(1.0, 1.0 / float(np.abs(gradient).sum()))
            slope = float(gradient @ direction)
            if slope > -group["tolerance_change"]:
                break
            x = self._values()
            if group["line_search_fn"] is None:
                self._assign(x + x.dtype.type(self._length) * direction)
                if iteration == group["max_iter"]:
                    break  # the next step evaluates here first
                loss, gradient = float(evaluate()), self._gradients()
            else:
                budget = max(1, min(TRIALS, group["max_eval"] - evaluations))
                noise = ROUNDING * float(np.finfo(x.dtype).eps) * abs(loss)
                search = Search(phi, Trial(0.0, loss, slope, gradient), 1e-4, 0.9, noise, budget)
                found, _ = search.strong(self._length, 1e10)
                self._length, loss, gradient = found.step, found.value, found.extra
                self._assign(x + x.dtype.type(found.step) * direction)
            moved = float(np.abs(direction).max()) * abs(self._length)
            if evaluations >= group["max_eval"] or moved <= group["tolerance_change"]:
                break
            if abs(loss - before) < group["tolerance_change"]:
                break
        return first

    def _next_direction(self, gradient: np.ndarray) -> np.ndarray:
        """``-H g``, after the last step has been added to the history."""
        self._iterations += 1
        if self._former is not None and self._direction is not None:
            step = self._direction * gradient.dtype.type(self._length)
            self._history.add(step, gradient - self._former, LEAST_CURVATURE)
        self._direction = -self._history.times(gradient)
        return self._direction

    # -- state dict -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Hyperparameters and state in PyTorch's layout: everything belongs to parameter 0."""
        found = super().state_dict()
        if self._evaluations:
            found["state"] = {0: {"func_evals": self._evaluations, "n_iter": self._iterations}}
        if self._direction is not None and self._former is not None:
            pairs = [*zip(self._history.steps, self._history.changes)]
            found["state"][0].update(
                {
                    "d": asarray(self._direction),
                    "t": self._length,
                    "old_dirs": [asarray(y) for _, y in pairs],
                    "old_stps": [asarray(s) for s, _ in pairs],
                    "ro": [asarray(1 / (s @ y)) for s, y in pairs],
                    "H_diag": self._history.scale,
                    "prev_flat_grad": asarray(self._former),
                    "prev_loss": self._loss,
                }
            )
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take hyperparameters and state from `state_dict`: ours, or one of PyTorch's for the same parameters.

        Raises DataError, ShapeError: of other parameters. Nothing is changed then.
        """
        entry = dict(state_dict["state"].get(0, {}))
        size, dtype = self._values().size, self._dtype

        def vector(key: str, value: Any) -> np.ndarray:
            array = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
            if array.shape != (size,):
                raise ShapeError(f"LBFGS: {key} has shape {array.shape}, the parameters have {size} elements")
            return converted(array, dtype)

        if "d" in entry:
            missing = {"t", "old_dirs", "old_stps", "H_diag", "prev_flat_grad"} - entry.keys()
            if missing:
                raise DataError(f"LBFGS: the state dict lacks {', '.join(sorted(missing))}")
            changes = [vector("old_dirs", y) for y in entry["old_dirs"]]
            steps = [vector("old_stps", s) for s in entry["old_stps"]]
            direction, gradient = vector("d", entry["d"]), vector("prev_flat_grad", entry["prev_flat_grad"])
        super().load_state_dict({"state": {}, "param_groups": state_dict["param_groups"]})
        self._history = History(self.param_groups[0]["history_size"])
        self._direction = self._former = None
        self._iterations, self._evaluations = int(entry.get("n_iter", 0)), int(entry.get("func_evals", 0))
        if "d" in entry:
            self._direction, self._former = direction, gradient
            self._length, self._loss = float(entry["t"]), float(entry.get("prev_loss", 0.0))
            self._history.steps.extend(steps)
            self._history.changes.extend(changes)
            self._history.scale = float(entry["H_diag"])
