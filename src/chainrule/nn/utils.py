"""Operations on the gradients of many parameters at once: clipping; and other tools, from their own files."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .. import functions as fn
from ..errors import DataError
from ..gradmode import no_grad
from ..ops.base import misuse
from ..tensor import Tensor
from . import parametrizations, parametrize
from .parametrizations import spectral_norm, weight_norm
from .sequences import pad_sequence

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "pad_sequence",
    "parametrizations",
    "parametrize",
    "spectral_norm",
    "weight_norm",
]


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    pairs = [(tensor, tensor.grad) for tensor in tensors]
    return [(tensor, grad) for tensor, grad in pairs if grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm is at most `max_norm`: ``g min(1, max_norm / (norm + 1e-6))``.

    Args:
        parameters: whose `.grad` is scaled; those without one are left out.
        max_norm: the largest norm of all gradients taken as one vector.
        norm_type: the p of the norm, or `math.inf` for the largest size of an element.
        error_if_nonfinite: raise if the norm is not finite; this reads its value.
    Returns:
        The norm before scaling, shape ().
    Raises:
        DataError: the norm is not finite and `error_if_nonfinite` is set.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([3.0, 4.0]))
        >>> (p * p).sum().backward()
        >>> float(cr.nn.utils.clip_grad_norm_([p], max_norm=1.0))
        10.0
        >>> [round(g, 3) for g in p.grad.tolist()]
        [0.6, 0.8]

    Reference:
        Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, ICML 2013.
    """
    if norm_type <= 0:
        raise misuse(f"clip_grad_norm_: norm_type must be positive, not {norm_type}")
    with no_grad():
        pairs = _with_gradients(parameters)
        if not pairs:
            return fn.asarray(0.0)
        grads = [fn.abs(grad) if grad.dtype.kind == "c" else grad for _, grad in pairs]
        if norm_type == math.inf:
            norm = fn.max(fn.abs(grads[0]))
            for grad in grads[1:]:
                norm = fn.maximum(norm, fn.max(fn.abs(grad)))
        else:
            powers = [fn.sum(fn.square(g) if norm_type == 2 else fn.abs(g) ** norm_type) for g in grads]
            total = powers[0]
            for power in powers[1:]:
                total = total + power
            norm = fn.sqrt(total) if norm_type == 2 else total ** (1.0 / norm_type)
        if error_if_nonfinite and not math.isfinite(float(norm)):
            raise DataError(f"clip_grad_norm_: the norm of the gradients is {float(norm)}, so they cannot be scaled")
        scale = fn.minimum(max_norm / (norm + 1e-6), 1.0)
        for tensor, grad in pairs:
            tensor.grad = grad * scale.astype(grad.dtype)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every element of every gradient to ``[-clip_value, clip_value]``.

    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.asarray([3.0]))
        >>> (p * p).sum().backward()
        >>> cr.nn.utils.clip_grad_value_([p], 1.0)
        >>> p.grad.tolist()
        [1.0]
    """
    with no_grad():
        for tensor, grad in _with_gradients(parameters):
            tensor.grad = fn.minimum(fn.maximum(grad, -float(clip_value)), float(clip_value))
