"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..dtypes import DType
from ..ops.base import misuse
from ..tensor import Tensor, node_of
from .optimizer import Optimizer, Pair, ParamGroup, cast_scalar


class SGD(Optimizer):
    """Gradient descent: ``p <- p - lr g``; with momentum m ``b <- m b + (1 - dampening) g`` and ``p <- p - lr b``.

    The first buffer is g itself; Nesterov's form steps by ``g + m b``. Whether g is the mean (lecture 003) or the sum
    (004) over the batch is the `reduction` of the loss.

    Args:
        params: see `Optimizer`.
        lr: learning rate.
        momentum, dampening, nesterov: as above; Nesterov's form needs momentum and no dampening.
        weight_decay: factor of an L2 penalty, ``g + weight_decay p``.
        maximize: ascend.
    Raises:
        ConfigError: a bad hyperparameter.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([1.0]))
        >>> optimizer = cr.optim.SGD([p], lr=0.25)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.tolist()
        [0.5]

    Reference:
        Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Any = None,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise misuse("SGD: Nesterov's form needs a momentum above 0 and no dampening")

    def _init_state(self, param: Tensor, slots: dict[str, Tensor], group) -> None:
        if group["momentum"]:
            self._slot(param, "momentum_buffer")

    def _update(self, group: ParamGroup, pairs: list[Pair], step: Tensor, dtype: DType) -> None:
        lr = cast_scalar(self._hyper(group, "lr"), dtype)
        decay = self._decay(group, dtype)
        with_momentum = self._flag(group, "momentum")
        fresh: Any = None
        if with_momentum:
            momentum = cast_scalar(self._hyper(group, "momentum"), dtype)
            if self._flag(group, "dampening"):
                # The buffer starts as the gradient, undampened: at step 1 the factor is 1, the step itself.
                fresh = fn.where(step == 1.0, step, 1.0 - self._hyper(group, "dampening")).astype(dtype)
        for param, gradient in pairs:
            grad = self._gradient(group, param, gradient, decay)
            if with_momentum:
                buffer = self._slot(param, "momentum_buffer")
                new = buffer * momentum + (grad if fresh is None else grad * fresh)
                buffer._rebind(node_of(new))
                grad = grad + new * momentum if self._flag(group, "nesterov") else new
            param._rebind(node_of(param - grad * lr))
