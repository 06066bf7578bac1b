"""Products in a lower precision: what `autocast` records."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..dtypes import DType, converted, float32
from ..errors import DTypeError
from ..graph.node import Node
from .base import Primitive, emit


class Product(Primitive):
    """Family base: sums of products of two operands of one dtype, which the result has.

    The last attribute, `precision`, may be left out. If it is float16 or bfloat16, the operands, of float32, are
    rounded to it; their products are added up in float32, and so is the result. Rounding counts as the identity in
    derivatives, which are products of the same precision.
    """

    family = "contraction"

    def __init__(self, *values):
        super().__init__(*values, *([None] if len(values) == len(self.attributes) - 1 else ()))

    def __repr__(self) -> str:
        shown = [a for a in self.attributes if a != "precision" or self.precision is not None]
        return f"{self.name}({', '.join(f'{a}={getattr(self, a)!r}' for a in shown)})"

    def check_precision(self, operands: tuple[Node, ...]) -> None:
        """Reject a precision on operands that are not float32."""
        if self.precision is not None and operands[0].dtype is not float32:
            problem = f"products in {self.precision.name} are for float32 operands"
            self.reject(problem, operands, "convert with .astype(chainrule.float32)", DTypeError)

    def same(self, name: str, *inputs: Node, attributes: tuple) -> Node:
        """Record another product, in the precision of this one."""
        if self.precision is not None:
            attributes = (*attributes, self.precision)
        return emit(name, *inputs, attributes=attributes)

    def evaluate(self, dtype: DType, operands: Iterable[np.ndarray]) -> np.ndarray:
        """By NumPy: float16 and bfloat16 operands, or operands rounded to them, are multiplied and added in float32."""
        if self.precision is not None:
            operands = [converted(x, self.precision) for x in operands]
        return super().evaluate(dtype, operands)
