"""`Parameter`: a tensor that a module registers and an optimiser changes."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..errors import DTypeError
from ..ops.base import message
from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a `Module` registers when it is assigned to an attribute.

    Args:
        data: a tensor, or anything that `chainrule.asarray` takes; its value is shared, its history is not.
        requires_grad: whether gradients are recorded; False freezes it.
    Raises:
        DTypeError: gradients are asked for a dtype that has none.
    Example:
        >>> import chainrule as cr
        >>> p = cr.nn.Parameter(cr.zeros((2,)))
        >>> p.requires_grad, p.is_leaf
        (True, True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        tensor = data if isinstance(data, Tensor) else fn.asarray(data)
        if requires_grad and tensor.dtype.kind not in "fc":
            problem = f"a parameter of dtype {tensor.dtype.name} has no gradient"
            help = "use a floating or complex dtype, or requires_grad=False"
            raise DTypeError(message("Parameter", problem, (tensor,), help))  # type: ignore[arg-type]
        super().__init__(tensor.detach()._node)
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
