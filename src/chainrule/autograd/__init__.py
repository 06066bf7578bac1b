"""Derivatives and batching as users call them: gradients here, the rest loaded by ``chainrule`` on first use."""

from .gradients import (
    backward,
    enable_grad,
    grad,
    is_grad_enabled,
    jvp,
    no_grad,
    set_grad_enabled,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)

__all__ = [
    "backward", "enable_grad", "grad", "is_grad_enabled", "jvp", "no_grad", "set_grad_enabled", "stop_gradient",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip
