"""Learning-rate schedules: each `step()` writes ``group["lr"]``; a compiled training step reads it anew.

As in PyTorch, a schedule counts its own steps, starting at 0 when it is made, and multiplies what it finds in the group
where its rule is a product, so that several schedules of one optimiser combine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..ops.base import misuse
from .optimizer import Optimizer


class LRScheduler:
    """Base of the schedules.

    Attributes:
        last_epoch: number of steps made, -1 before the first.
        base_lrs: the learning rates at the start, one a group.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise misuse(f"{type(self).__name__}: {optimizer!r} is no optimiser")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                raise misuse(f"{type(self).__name__}: to go on from step {last_epoch}, groups need 'initial_lr'")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        """The learning rates of step `last_epoch`, one a group."""
        raise misuse(f"{type(self).__name__} does not define get_lr")

    def get_last_lr(self) -> list[float]:
        """The learning rates written last."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Count a step and write the learning rates."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr

    def _current(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not _has_function(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` gave; the optimiser's own state dict holds the learning rates."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.__dict__ and k != "optimizer"})


def _has_function(value: Any) -> bool:
    return callable(value) or (isinstance(value, (list, tuple)) and any(callable(v) for v in value))


class LambdaLR(LRScheduler):
    """``lr = base * f(k)`` at step k; one function for all groups, or a list of them."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise misuse(f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        return [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas)]


class StepLR(LRScheduler):
    """Multiplies by `gamma` every `step_size` steps.

    Example:
        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.nn.Parameter(cr.zeros((1,)))], lr=1.0)
        >>> schedule = cr.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
        >>> for _ in range(4):
        ...     schedule.step()
        >>> optimizer.param_groups[0]["lr"]
        0.25
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        if step_size < 1:
            raise misuse(f"StepLR: step_size must be at least 1, not {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._current()]


class MultiStepLR(LRScheduler):
    """Multiplies by `gamma` at each of the steps in `milestones`."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1):
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        factor = self.gamma ** self.milestones.count(self.last_epoch) if self.last_epoch > 0 else 1.0
        return [lr * factor for lr in self._current()]


class ExponentialLR(LRScheduler):
    """Multiplies by `gamma` at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        return [lr if self.last_epoch == 0 else lr * self.gamma for lr in self._current()]


class LinearLR(LRScheduler):
    """A factor that goes in a straight line from `start_factor` to `end_factor` over `total_iters` steps (warm-up)."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise misuse(f"LinearLR: factors must be in (0, 1] and [0, 1], not {start_factor} and {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return (
            self.start_factor + (self.end_factor - self.start_factor) * min(step, self.total_iters) / self.total_iters
        )

    def get_lr(self) -> list[float]:
        """See the class."""
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._current()]
        if self.last_epoch > self.total_iters:
            return self._current()
        ratio = self._factor(self.last_epoch) / self._factor(self.last_epoch - 1)
        return [lr * ratio for lr in self._current()]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the base rate to `eta_min` over `T_max` steps, and back over the next, and so on:
    ``eta_min + (base - eta_min)(1 + cos(pi k / T_max)) / 2``.

    Reference: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        if T_max < 1:
            raise misuse(f"CosineAnnealingLR: T_max must be at least 1, not {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class: the ratio of two neighbouring values of the formula, as PyTorch's."""
        step, low = self.last_epoch, self.eta_min
        if step == 0:
            return self._current()
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - low) * rise for lr, base in zip(self._current(), self.base_lrs)]
        ratio = (1 + math.cos(math.pi * step / self.T_max)) / (1 + math.cos(math.pi * (step - 1) / self.T_max))
        return [ratio * (lr - low) + low for lr in self._current()]


class OneCycleLR(LRScheduler):
    """Up from ``max_lr / div_factor`` to `max_lr` over the first `pct_start` of the steps, then down to
    ``max_lr / div_factor / final_div_factor``, along cosines ('cos') or straight lines ('linear').

    Momentum (or the first beta) is left as it is; PyTorch's `cycle_momentum=False`.
    Raises:
        ConfigError: a step beyond `total_steps`, or a bad setting.
    Reference: Smith and Topin, Super-convergence, 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        last_epoch: int = -1,
    ):
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise misuse("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if anneal_strategy not in ("cos", "linear"):
            raise misuse(f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', not {anneal_strategy!r}")
        if total_steps < 1 or not 0 <= pct_start <= 1:
            raise misuse(f"OneCycleLR: bad total_steps {total_steps} or pct_start {pct_start}")
        self.max_lr = max_lr
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group["lr"] = max_lr / div_factor
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))

    def get_lr(self) -> list[float]:
        """See the class."""
        step = self.last_epoch
        if step >= self.total_steps:
            raise misuse(f"OneCycleLR: step {step} of a schedule of {self.total_steps} steps")
        first = self.max_lr / self.div_factor
        peak = self.pct_start * self.total_steps - 1
        if step <= peak:
            lr = self._between(first, self.max_lr, step / peak if peak > 0 else 1.0)
        else:
            lr = self._between(
                self.max_lr, first / self.final_div_factor, (step - peak) / (self.total_steps - 1 - peak)
            )
        return [lr for _ in self.optimizer.param_groups]
