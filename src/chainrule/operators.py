"""The operators of `Tensor`, recorded in a few microseconds each.

The common case, two floating operands of one dtype and shape (or a Python number), goes straight to a node; everything
else goes through `conversion.nodes_of`, which inserts casts and broadcasts or raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conversion import nodes_of
from .dtypes import bool_
from .errors import DifferentiationError, DTypeError
from .graph.node import Node
from .ops.base import REGISTRY, emit, message, mode, primitive
from .recording import LIMITS, broadcast, common_shape, full, reject
from .tensor import Tensor, node_of, state

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def record(name: str, values: tuple) -> Tensor | None:
    """Record primitive `name` on `values` after promotion and broadcasting; None if one is no array."""
    if name in COMPARISONS:
        certain = _beyond(name, *values)
        if certain is not None:
            return certain
    nodes = nodes_of(name, values)
    if nodes is None:
        return None
    if nodes[0].dtype.kind not in "fc" and name == "div":
        help = "convert with .astype(chainrule.float32), or divide whole numbers with //"
        reject("div", "true division of integers has no dtype in the standard", nodes, help, DTypeError)
    return Tensor(emit(name, *nodes))


def _beyond(name: str, x: Any, y: Any) -> Tensor | None:
    """The answer of a comparison of integers with a whole number outside their range, the same for all; else None."""
    if type(x) is int and isinstance(y, Tensor):
        return _beyond(_MIRRORED.get(name, name), y, x)
    if type(y) is not int or not isinstance(x, Tensor) or x.dtype.kind not in "iu":
        return None
    low, high = LIMITS[x.dtype]
    if low <= y <= high:
        return None
    answer = name in (("ne", "lt", "le") if y > high else ("ne", "gt", "ge"))
    return Tensor(full(answer, node_of(x).shape, bool_))


def binary(name: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The method and the reflected method of the binary primitive `name`."""
    op = primitive(name)
    result_dtype = bool_ if name in COMPARISONS else None
    kinds = REGISTRY[name].kinds.replace("b", "")  # type: ignore[attr-defined]
    floating = "f" in kinds
    whole = kinds if result_dtype is None else "f"  # a number beyond an integer dtype's range can be compared with

    def forward(self: Tensor, other: Any, /) -> Any:
        trace = state.trace
        a = self._node if trace is None or self._trace is trace else trace.read(self)
        dtype = a.dtype
        if isinstance(other, Tensor):
            b = other._node if trace is None or other._trace is trace else trace.read(other)
            if dtype is b.dtype and dtype.kind in kinds:
                if a.shape != b.shape:
                    shape = common_shape(name, a, b)
                    a, b = broadcast(a, shape), broadcast(b, shape)
                if result_dtype is None:
                    requires_grad = (a.requires_grad or b.requires_grad) and mode.grad_enabled
                    return Tensor(Node(op, (a, b), a.shape, dtype, None, requires_grad, mode.where))
                return Tensor(Node(op, (a, b), a.shape, result_dtype, None, False, mode.where))
        elif (type(other) is int and dtype.kind in whole) or (type(other) is float and dtype.kind == "f" and floating):
            b = full(other, a.shape, dtype, name)
            if result_dtype is None:
                requires_grad = a.requires_grad and mode.grad_enabled
                return Tensor(Node(op, (a, b), a.shape, dtype, None, requires_grad, mode.where))
            return Tensor(Node(op, (a, b), a.shape, result_dtype, None, False, mode.where))
        result = record(name, (self, other))
        return NotImplemented if result is None else result

    def reflected(self: Tensor, other: Any, /) -> Any:
        trace = state.trace
        a = self._node if trace is None or self._trace is trace else trace.read(self)
        if floating and a.dtype.kind == "f" and (type(other) is float or type(other) is int):
            b = full(other, a.shape, a.dtype, name)
            requires_grad = a.requires_grad and mode.grad_enabled
            return Tensor(Node(op, (b, a), a.shape, a.dtype, None, requires_grad, mode.where))
        result = record(name, (other, self))
        return NotImplemented if result is None else result

    return forward, reflected


def unary(name: str) -> Callable[[Tensor], Tensor]:
    """The method of the unary primitive `name`, whose result has its operand's type."""
    op = primitive(name)

    def method(self: Tensor) -> Tensor:
        a = node_of(self)
        if a.dtype.kind == "f":
            return Tensor(Node(op, (a,), a.shape, a.dtype, None, a.requires_grad and mode.grad_enabled, mode.where))
        return Tensor(emit(name, a))

    return method


def replace(tensor: Tensor, result: Tensor, name: str) -> Tensor:
    """Make the handle `tensor` name the value of `result`: what in-place operations do."""
    old, new = node_of(tensor), node_of(result)
    if new.shape != old.shape or new.dtype is not old.dtype:
        problem = f"the result {new.dtype.name}{list(new.shape)} does not fit the tensor written to"
        reject(name, problem, (old,), "write x = x + y instead of x += y")
    if tensor._leaf and mode.grad_enabled:
        problem = "a leaf that requires grad is written in place, which would lose its gradient"
        help = "write inside `with chainrule.no_grad():`"
        raise DifferentiationError(message(name, problem, (old,), help))
    tensor._rebind(new)
    return tensor


def in_place(name: str, forward: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    """The in-place method that belongs to the binary method `forward`."""

    def method(self: Tensor, other: Any, /) -> Any:
        result = forward(self, other)
        return result if result is NotImplemented else replace(self, result, name)

    return method


_multiply = binary("mul")[0]
_power = binary("pow")[0]
_square, _square_root, _reciprocal = unary("square"), unary("sqrt"), unary("reciprocal")


def power(self: Tensor, other: Any, /) -> Any:
    """``self ** other``; the exponents -1, 1/2, 1, 2, 3 and 4 are recorded as products, roots and reciprocals."""
    if type(other) in (int, float) and self.dtype.kind in "fc":
        if other == 2:
            return _square(self)
        if other == 3:
            return _multiply(_square(self), self)
        if other == 4:
            return _square(_square(self))
        if other == 0.5:
            return _square_root(self)
        if other == -1:
            return _reciprocal(self)
        if other == 1:
            return self * 1
    return _power(self, other)


def _install() -> None:
    names = {
        "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide", "mod": "remainder",
        "pow": "pow", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "shift_left",
        "rshift": "shift_right",
    }  # fmt: skip
    for dunder, name in names.items():
        forward, reflected = binary(name)
        if name == "pow":
            forward = power
        setattr(Tensor, f"__{dunder}__", forward)
        setattr(Tensor, f"__r{dunder}__", reflected)
        setattr(Tensor, f"__i{dunder}__", in_place(name, forward))
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", binary(name)[0])
    others = {
        "__hash__": object.__hash__, "__neg__": unary("neg"), "__abs__": unary("abs"),
        "__pos__": lambda self: Tensor(node_of(self)),  # a handle of its own, so that y = +x; y += 1 leaves x alone
        "__invert__": lambda self: Tensor(emit("bitwise_not", node_of(self))),
    }  # fmt: skip
    for name, method in others.items():
        setattr(Tensor, name, method)


_install()
