"""Complex parameters as optimisers see them: real tensors with the parts side by side."""

from __future__ import annotations

from .. import functions as fn
from ..graph.node import Node
from ..tensor import Tensor, node_of


class RealParts(Tensor):
    """A handle on a complex tensor that reads and is written as ``view_as_real`` of it.

    A step on the parts is a step on two real numbers for each complex one, with a second moment for each, as PyTorch
    has it.
    """

    __slots__ = ("whole",)

    def __init__(self, whole: Tensor):
        super().__init__(node_of(fn.view_as_real(whole)))
        self.whole = whole

    def _rebind(self, node: Node) -> None:
        self._node = node
        self.whole._rebind(node_of(fn.view_as_complex(Tensor(node))))
