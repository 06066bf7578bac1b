"""Adam and AdamW, in the standard forms and in those of lecture 004."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..dtypes import DType
from ..tensor import Tensor, node_of
from .optimizer import Optimizer, Pair, ParamGroup, cast_scalar


class Adam(Optimizer):
    """Adaptive moments: with g the gradient and k the number of the step,

    ``m <- m + (1 - b1)(g - m)``, ``v <- v + (1 - b2)(g^2 - v)``, ``m^ = m / (1 - b1^k)``, ``v^ = v / (1 - b2^k)``,
    ``p <- p - lr m^ / (sqrt(v^) + eps)``.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        betas: (b1, b2).
        eps: keeps the quotient finite.
        weight_decay: factor of an L2 penalty, ``g + weight_decay p`` (see `AdamW` for the decoupled form).
        amsgrad: divide by the largest v so far.
        maximize: ascend.
        eps_inside_root: divide by ``sqrt(v^ + eps)``, as lecture 004 writes it.
        decoupled_weight_decay: what `AdamW` sets.
    Raises:
        ConfigError: a bad hyperparameter.
    Numerics:
        The corrections are folded into two scalars in float64, so that a parameter costs one root and one division an
        element: ``p - s m / (sqrt(v) + e)`` with ``s = lr sqrt(1 - b2^k) / (1 - b1^k)`` and ``e = eps sqrt(1 - b2^k)``.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([1.0]))
        >>> optimizer = cr.optim.Adam([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 4)
        0.9

    Reference:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015; Reddi, Kale and Kumar, On the convergence
        of Adam and beyond, ICLR 2018, for amsgrad.
    """

    state_names = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        eps_inside_root: bool = False,
        decoupled_weight_decay: bool = False,
        preconditioned_decay: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "eps_inside_root": eps_inside_root,
            "decoupled_weight_decay": decoupled_weight_decay,
            "preconditioned_decay": preconditioned_decay,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, slots: dict[str, Tensor], group) -> None:
        self._slot(param, "exp_avg")
        self._slot(param, "exp_avg_sq")
        if group["amsgrad"]:
            self._slot(param, "max_exp_avg_sq")

    def _update(self, group: ParamGroup, pairs: list[Pair], step: Tensor, dtype: DType) -> None:
        lr, eps = self._hyper(group, "lr"), self._hyper(group, "eps")
        beta1, beta2 = self._hyper(group, "betas", 0), self._hyper(group, "betas", 1)
        inside = self._flag(group, "eps_inside_root")
        amsgrad = self._flag(group, "amsgrad")
        correction1 = 1.0 - beta1**step
        correction2 = 1.0 - beta2**step
        root = fn.sqrt(correction2)
        scale = cast_scalar(lr * root / correction1, dtype)
        floor = cast_scalar(correction2 * eps if inside else root * eps, dtype)
        part1, part2 = cast_scalar(1.0 - beta1, dtype), cast_scalar(1.0 - beta2, dtype)
        penalty = shrink = preconditioned = None
        if self._flag(group, "weight_decay"):
            decay = self._hyper(group, "weight_decay")
            if self._flag(group, "preconditioned_decay"):
                preconditioned = cast_scalar(correction1 * decay, dtype)  # the scale holds 1 / correction1
            elif self._flag(group, "decoupled_weight_decay"):
                shrink = cast_scalar(1.0 - lr * decay, dtype)
            else:
                penalty = cast_scalar(decay, dtype)
        for param, gradient in pairs:
            grad = self._gradient(group, param, gradient, penalty)
            first, second = self._slot(param, "exp_avg"), self._slot(param, "exp_avg_sq")
            mean = first + (grad - first) * part1
            square = second + (fn.square(grad) - second) * part2
            first._rebind(node_of(mean))
            second._rebind(node_of(square))
            if amsgrad:
                largest = self._slot(param, "max_exp_avg_sq")
                square = fn.maximum(largest, square)
                largest._rebind(node_of(square))
            divisor = fn.sqrt(square + floor) if inside else fn.sqrt(square) + floor
            if preconditioned is not None:
                mean = mean + param * preconditioned
            kept = param if shrink is None else param * shrink
            param._rebind(node_of(kept - mean * scale / divisor))


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p <- p (1 - lr weight_decay)``, then Adam's step.

    Args:
        params, lr, betas, eps, amsgrad, maximize, eps_inside_root: as for `Adam`.
        weight_decay: fraction, times lr, by which each step shrinks the parameters.
        decoupled: False makes the decay an L2 penalty, as in `Adam`.
        preconditioned_decay: lecture 004's form, in which the decay is divided like the gradient:
            ``p <- p - lr (m^ + weight_decay p) / (sqrt(v^) + eps)``; with `eps_inside_root` exactly as written there.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([1.0]))
        >>> optimizer = cr.optim.AdamW([p], lr=0.1, weight_decay=0.5)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> round(p.item(), 4)
        0.85

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        eps_inside_root: bool = False,
        decoupled: bool = True,
        preconditioned_decay: bool = False,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            eps_inside_root=eps_inside_root,
            decoupled_weight_decay=decoupled,
            preconditioned_decay=preconditioned_decay,
        )
