"""RMSprop and Adagrad."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..dtypes import DType
from ..ops.base import misuse
from ..tensor import Tensor, node_of
from .optimizer import Optimizer, Pair, ParamGroup, cast_scalar


class RMSprop(Optimizer):
    """Gradients divided by a running root mean square: ``v <- alpha v + (1 - alpha) g^2``,
    ``p <- p - lr g / (sqrt(v) + eps)``.

    Args:
        params: see `Optimizer`.
        lr, alpha, eps: as above.
        weight_decay: factor of an L2 penalty.
        momentum: with it ``b <- momentum b + g / (sqrt(v) + eps)`` and ``p <- p - lr b``.
        centered: subtract the square of the running mean of g from v.
        maximize: ascend.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([1.0]))
        >>> optimizer = cr.optim.RMSprop([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 4)
        0.0

    Reference:
        Tieleman and Hinton, lecture 6.5 of Neural networks for machine learning, 2012.
    """

    state_names = ("step", "square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group) -> None:
        super()._check(group)
        if not 0 <= group["alpha"] <= 1:
            raise misuse(f"RMSprop: alpha must lie between 0 and 1, not {group['alpha']}")

    def _init_state(self, param: Tensor, slots: dict[str, Tensor], group) -> None:
        self._slot(param, "square_avg")
        if group["momentum"]:
            self._slot(param, "momentum_buffer")
        if group["centered"]:
            self._slot(param, "grad_avg")

    def _update(self, group: ParamGroup, pairs: list[Pair], step: Tensor, dtype: DType) -> None:
        lr, eps = (cast_scalar(self._hyper(group, key), dtype) for key in ("lr", "eps"))
        part = cast_scalar(1.0 - self._hyper(group, "alpha"), dtype)
        decay = self._decay(group, dtype)
        with_momentum, centered = self._flag(group, "momentum"), self._flag(group, "centered")
        momentum = cast_scalar(self._hyper(group, "momentum"), dtype) if with_momentum else 0.0
        for param, gradient in pairs:
            grad = self._gradient(group, param, gradient, decay)
            average = self._slot(param, "square_avg")
            square = average + (fn.square(grad) - average) * part
            average._rebind(node_of(square))
            if centered:
                mean_cell = self._slot(param, "grad_avg")
                mean = mean_cell + (grad - mean_cell) * part
                mean_cell._rebind(node_of(mean))
                square = square - fn.square(mean)
            change = grad / (fn.sqrt(square) + eps)
            if with_momentum:
                buffer = self._slot(param, "momentum_buffer")
                change = buffer * momentum + change
                buffer._rebind(node_of(change))
            param._rebind(node_of(param - change * lr))


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares: ``s <- s + g^2``,
    ``p <- p - lr_k g / (sqrt(s) + eps)`` with ``lr_k = lr / (1 + (k - 1) lr_decay)``.

    Since s only grows, the steps shrink without end, which is the weakness that RMSprop and Adam mend.

    Args:
        params: see `Optimizer`.
        lr, lr_decay, eps: as above.
        weight_decay: factor of an L2 penalty.
        initial_accumulator_value: s at the start.
        maximize: ascend.
        eps_inside_root: divide by ``sqrt(s + eps)``, as lecture 004 writes it.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([1.0]))
        >>> optimizer = cr.optim.Adagrad([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 4)
        0.9

    Reference:
        Duchi, Hazan and Singer, Adaptive subgradient methods, JMLR 12, 2011.
    """

    state_names = ("step", "sum")

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        eps_inside_root: bool = False,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
            "eps_inside_root": eps_inside_root,
        }
        super().__init__(params, defaults)

    def _check(self, group) -> None:
        super()._check(group)
        for key in ("lr_decay", "initial_accumulator_value"):
            if not group[key] >= 0:
                raise misuse(f"Adagrad: {key} must not be negative, not {group[key]}")

    def _init_state(self, param: Tensor, slots: dict[str, Tensor], group) -> None:
        self._slot(param, "sum", group["initial_accumulator_value"])

    def _update(self, group: ParamGroup, pairs: list[Pair], step: Tensor, dtype: DType) -> None:
        rate = cast_scalar(self._hyper(group, "lr") / ((step - 1.0) * self._hyper(group, "lr_decay") + 1.0), dtype)
        eps = cast_scalar(self._hyper(group, "eps"), dtype)
        decay = self._decay(group, dtype)
        inside = self._flag(group, "eps_inside_root")
        for param, gradient in pairs:
            grad = self._gradient(group, param, gradient, decay)
            total_cell = self._slot(param, "sum")
            total = total_cell + fn.square(grad)
            total_cell._rebind(node_of(total))
            divisor = fn.sqrt(total + eps) if inside else fn.sqrt(total) + eps
            param._rebind(node_of(param - grad * rate / divisor))
