"""`GradScaler`: losses are scaled up so that gradients in float16 do not vanish."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as fn
from ..errors import ConfigError
from ..gradmode import no_grad
from ..ops.base import message, misuse
from ..recording import constant
from ..tensor import Tensor, node_of
from .optimizer import Optimizer, outside_trace


class GradScaler:
    """Scales the loss, divides its gradients again, and leaves out steps whose gradients are not finite.

    scale <- scale backoff_factor after a step that was left out, scale growth_factor after `growth_interval` others

    float16 has no numbers between 0 and 6e-8, and gradients are often smaller; bfloat16 needs none of this. The
    decision to leave out a step is a selection between old and new state, so that it works inside `chainrule.compile`.

    Args:
        init_scale: the first scale.
        growth_factor, backoff_factor: what the scale is multiplied by.
        growth_interval: steps without an infinite gradient after which the scale grows.
        enabled: False makes all methods do what they would without scaling.

    Raises:
        ConfigError: init_scale is not positive, growth_factor not above 1, backoff_factor not in (0, 1), or
            growth_interval below 1.

    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([2.0]))
        >>> optimizer, scaler = cr.optim.SGD([p], lr=0.1), cr.optim.GradScaler()
        >>> scaler.scale((p * p).sum()).backward()
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> round(p.item(), 4)
        1.6

    Reference:
        Micikevicius et al., Mixed precision training, ICLR 2018, section 3.2.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if not 0 < init_scale < float("inf"):
            raise misuse(f"GradScaler: init_scale must be positive and finite, not {init_scale}")
        if not growth_factor > 1:
            raise misuse(f"GradScaler: growth_factor must be above 1, not {growth_factor}")
        if not 0 < backoff_factor < 1:
            raise misuse(f"GradScaler: backoff_factor must lie between 0 and 1, not {backoff_factor}")
        if growth_interval < 1:
            raise misuse(f"GradScaler: growth_interval must be at least 1, not {growth_interval}")
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval, self.enabled = growth_interval, enabled
        self._scale = _cell(np.array(init_scale, np.float32))
        self._good = _cell(np.array(0, np.int64))
        self._bad: dict[Optimizer, Tensor] = {}

    def get_scale(self) -> float:
        """The present scale; 1.0 if not enabled."""
        return float(self._scale) if self.enabled else 1.0

    def scale(self, outputs: Tensor) -> Tensor:
        """`outputs` times the scale."""
        return outputs * self._scale.astype(outputs.dtype) if self.enabled else outputs

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimiser's parameters by the scale now, for instance to clip them.

        Raises ConfigError if they have been since the last `update`.
        """
        if not self.enabled:
            return
        if optimizer in self._bad:
            raise ConfigError(message("unscale_", "the gradients of this optimiser are not scaled any more", ()))
        with no_grad():
            bad = fn.zeros((), dtype="bool")
            for group in optimizer.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        bad = fn.logical_or(bad, fn.logical_not(fn.all(fn.isfinite(param.grad))))
                        param.grad = param.grad / self._scale.astype(param.dtype)
        self._bad[optimizer] = bad

    def step(self, optimizer: Optimizer) -> None:
        """The optimiser's step with unscaled gradients; parameters and state stay if a gradient is not finite."""
        if not self.enabled:
            optimizer.step()
            return
        if optimizer not in self._bad:
            self.unscale_(optimizer)
        bad = self._bad[optimizer]
        before = [(tensor, tensor.detach()) for tensor in _state_of(optimizer)]
        optimizer.step()
        with no_grad():
            for tensor, old in before:
                tensor._rebind(node_of(fn.where(bad, old, tensor.detach())))

    def update(self) -> None:
        """Adapt the scale to what the steps since the last call have met.

        Raises ConfigError if there was none.
        """
        if not self.enabled:
            return
        if not self._bad:
            raise ConfigError(message("update", "no gradients were unscaled", (), "call step(optimizer) first"))
        with no_grad():
            bad = fn.zeros((), dtype="bool")
            for found in self._bad.values():
                bad = fn.logical_or(bad, found)
            count = self._good + 1
            grows = count >= self.growth_interval
            larger = fn.where(grows, self._scale * self.growth_factor, self._scale)
            self._scale._rebind(node_of(fn.where(bad, self._scale * self.backoff_factor, larger)))
            self._good._rebind(node_of(fn.where(fn.logical_or(bad, grows), count * 0, count)))
        self._bad = {}

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's entries; empty if not enabled."""
        if not self.enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good.item(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the scaler was whose `state_dict` this is."""
        if not self.enabled:
            return
        self.growth_factor, self.backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self.growth_interval = state_dict["growth_interval"]
        self._scale._rebind(constant(np.array(state_dict["scale"], np.float32)))
        self._good._rebind(constant(np.array(state_dict["_growth_tracker"], np.int64)))


def _cell(array: np.ndarray) -> Tensor:
    return outside_trace(lambda: Tensor(constant(array)))


def _state_of(optimizer: Optimizer) -> list[Tensor]:
    """The parameters that have a gradient and their state, each tensor once."""
    found: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        for param in group["params"]:
            if param.grad is not None:
                for tensor in (param, *optimizer.state[param].values()):
                    found[id(tensor)] = tensor
    return list(found.values())
