"""What the distributions share: parameters as tensors of one type, checked, and uniform numbers that avoid 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import DType, as_dtype, default_float, float32, float64, uint32
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import broadcast, broadcast_shapes, cast, constant, full, promoted, reject, shape_tuple
from ..tensor import Tensor, node_of
from .keys import Generator, folded, source
from .uniforms import row_of, standard_normal, unit

#: parameters that have a value and at most so many elements are checked when the draw is recorded
CHECKED_WHEN_RECORDED = 4096

POSITIVE = ("has to be positive", lambda v: v > 0)
NOT_NEGATIVE = ("must not be negative", lambda v: v >= 0)
PROBABILITY = ("has to lie between 0 and 1", lambda v: (v >= 0) & (v <= 1))
POSITIVE_PROBABILITY = ("has to be above 0 and at most 1", lambda v: (v > 0) & (v <= 1))
WHOLE = ("has to be whole numbers that are not negative", lambda v: (v >= 0) & (v == np.floor(v)))

Rule = tuple[str, Callable[[Any], Any]]


def check(name: str, argument: str, value: Any, rule: Rule) -> None:
    """ConfigError if a number or a small array that is present breaks `rule`; NaN breaks every rule."""
    if isinstance(value, Tensor):
        present = node_of(value).value
    elif isinstance(value, Node):
        present = value.value
    else:
        present = np.asarray(value)
    if present is None or present.size > CHECKED_WHEN_RECORDED:
        return
    wide = present.astype(np.float64)
    with np.errstate(all="ignore"):
        wrong = ~np.asarray(rule[1](wide))
    if wrong.any():
        where = "" if present.ndim == 0 else f" (element {tuple(map(int, np.argwhere(wrong)[0]))})"
        raise ConfigError(message(name, f"{argument} {rule[0]}, not {wide[wrong].flat[0]:g}{where}", ()))


def _value_of(node: Node) -> np.ndarray | None:
    """The value of a node in float64, None if it is not there."""
    if node.op.name == "full":
        return np.asarray(node.op.value, np.float64)  # type: ignore[attr-defined]
    return None if node.value is None else np.asarray(node.value, np.float64)


class Draw:
    """One draw: its name, dtype and shape, its parameters as tensors of that type, and its bits.

    `parameters` are (argument's name, value, rule or None). The dtype is the given one, else that of the parameters
    that are arrays, else the default one; float16 and bfloat16 are drawn in float32 and rounded once by `result`.
    """

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        generator: Generator | None,
        key: Any,
        *parameters: tuple[str, Any, Rule | None],
        inner: DType | None = None,
    ):
        self.name = name
        nodes: list[Node | None] = []
        self.present: list[np.ndarray | None] = []  # the parameters' values where they are there, before broadcasting
        for argument, value, rule in parameters:
            node = None if isinstance(value, (int, float)) else to_node(value, name)
            if rule is not None:
                check(name, argument, value if node is None else node, rule)
            nodes.append(node)
            self.present.append(np.asarray(value, np.float64) if node is None else _value_of(node))
        present = [node for node in nodes if node is not None]
        if dtype is not None:
            self.dtype = as_dtype(dtype)
        else:
            floats = [node for node in present if node.dtype.kind == "f"]
            self.dtype = promoted(name, floats) if floats else default_float
        if self.dtype.kind != "f":
            raise DTypeError(message(name, f"a floating dtype is needed, not {self.dtype.name}", ()))
        self.inner = inner if inner is not None else float32 if self.dtype.is_half else self.dtype
        if shape is None:
            self.shape = tuple(broadcast_shapes(name, present)) if present else ()
        else:
            self.shape = shape_tuple(name, shape)
            for node in present:
                if broadcast_shapes(name, [node, full(0.0, self.shape, float32)]) != self.shape:
                    reject(name, f"a parameter does not broadcast to shape {self.shape}", (node,))
        self.parameters = [
            Tensor(full(float(value), self.shape, self.inner))
            if node is None
            else Tensor(broadcast(cast(node, self.inner), self.shape))
            for (_, value, _), node in zip(parameters, nodes)
        ]
        self.key = source(name, generator, key)

    def unit(self, *lead: int) -> Tensor:
        """Uniform numbers in [0, 1), with further leading axes."""
        return Tensor(unit(self.key, (*lead, *self.shape), self.inner))

    def open(self, *lead: int) -> Tensor:
        """Uniform numbers in (0, 1)."""
        return Tensor(open_unit(self.key, (*lead, *self.shape), self.inner))

    def normal(self) -> Tensor:
        """Standard normal numbers."""
        return Tensor(standard_normal(self.key, self.shape, self.inner))

    def stacked(self, count: int) -> Draw:
        """The same draw of `count` numbers an element, along a new first axis."""
        return self._changed((count, *self.shape), self.key)

    def again(self, number: int = 0) -> Draw:
        """The same draw with other bits."""
        return self._changed(self.shape, folded(self.key, constant(np.array(number, np.uint64))))

    def _changed(self, shape: tuple[int, ...], key: Node) -> Draw:
        result: Draw = object.__new__(Draw)
        result.__dict__.update(self.__dict__)
        result.shape, result.key = shape, key
        return result

    def result(self, value: Tensor) -> Tensor:
        """`value` in the dtype of the draw."""
        return value if value.dtype is self.dtype else value.astype(self.dtype)


def open_unit(key: Node, shape: tuple[int, ...], dtype: DType) -> Node:
    """Uniform numbers in (0, 1): the middles of 2**23 (float32) or 2**52 (float64) equal parts."""
    if dtype is float64:
        words = emit("random_bits", key, attributes=((2, *shape),))
        high = cast(emit("shift_right", row_of(words, 0), full(6, shape, uint32)), float64)
        low = cast(emit("shift_right", row_of(words, 1), full(6, shape, uint32)), float64)
        both = emit("add", emit("mul", high, full(2.0**26, shape, float64)), low)
        return emit("mul", emit("add", both, full(0.5, shape, float64)), full(2.0**-52, shape, float64))
    whole = cast(emit("shift_right", emit("random_bits", key, attributes=(shape,)), full(9, shape, uint32)), dtype)
    return emit("mul", emit("add", whole, full(0.5, shape, dtype)), full(2.0**-23, shape, dtype))


def first_accepted(accepted: Tensor, values: Tensor, otherwise: Tensor) -> Tensor:
    """Along the first axis the first of `values` that is accepted; `otherwise` if none is."""
    yes, drawn, result = node_of(accepted), node_of(values), node_of(otherwise)
    for i in reversed(range(accepted.shape[0])):
        result = emit("where", row_of(yes, i), row_of(drawn, i), result)
    return Tensor(result)
