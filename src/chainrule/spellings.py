"""Further methods of `Tensor` under the names that NumPy and PyTorch give them."""

from __future__ import annotations

from typing import Any

from . import functions
from .errors import ConfigError
from .functions.products import matmul
from .graph.node import Node
from .recording import normal_axis, reject
from .tensor import Tensor, node_of


def _copy(self: Tensor) -> Tensor:
    """A handle of its own on this value (NumPy's `copy`); values are never shared anyway."""
    return self.clone()


def _tobytes(self: Tensor) -> bytes:
    """The elements' bytes in row-major order; two a number for bfloat16."""
    return self._value("tobytes").tobytes()


def _axis(name: str, x: Tensor, dim: int) -> tuple[Node, int]:
    node = node_of(x)
    return node, normal_axis(name, dim, len(node.shape), node)


def _select(self: Tensor, dim: int, index: int) -> Tensor:
    """The slice at `index` along `dim`, without that axis."""
    _, axis = _axis("select", self, dim)
    return self[(*(slice(None),) * axis, index)]


def _narrow(self: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` slices from `start` on along `dim`."""
    node, axis = _axis("narrow", self, dim)
    first = start + node.shape[axis] if start < 0 else start
    if not 0 <= first <= first + length <= node.shape[axis]:
        reject("narrow", f"{length} elements from {start} on, of {node.shape[axis]} along axis {axis}", (node,))
    return self[(*(slice(None),) * axis, slice(first, first + length))]


def _unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, without that axis: `unstack`."""
    return functions.unstack(self, axis=dim)


def _product(name: str, first: int, second: int):
    def method(self: Tensor, other: Any) -> Tensor:
        a, b = node_of(self), node_of(functions.asarray(other))
        if len(a.shape) != first or len(b.shape) != second:
            reject(name, f"operands with {first} and {second} axes are needed", (a, b), "use matmul")
        return matmul(self, other)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`matmul` of operands with {first} and {second} axes."
    return method


def _as(name: str, operation: Any):
    def method(self: Tensor, other: Any) -> Tensor:
        return operation(self, functions.asarray(other).shape)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor in the shape of `other`: `{operation.__name__}`."
    return method


def _new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """`fill_value` everywhere in a shape of `size`, in this tensor's dtype unless one is given."""
    return functions.full(size, fill_value, dtype=self.dtype if dtype is None else dtype)


def _new_tensor(self: Tensor, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """`data` as a tensor in this tensor's dtype unless one is given."""
    return functions.tensor(data, self.dtype if dtype is None else dtype, requires_grad)


def _new_empty(self: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """A tensor to be filled later, in this tensor's dtype unless one is given."""
    return functions.empty(*size, dtype=self.dtype if dtype is None else dtype)


def _is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is a real floating one."""
    return self.dtype.kind == "f"


def _is_complex(self: Tensor) -> bool:
    """Whether the dtype is complex."""
    return self.dtype.kind == "c"


def _element_size(self: Tensor) -> int:
    """Bytes of one element."""
    return self.itemsize


def _is_contiguous(self: Tensor) -> bool:
    """True: storage is always contiguous, in row-major order."""
    return True


def _numpy_only(name: str, help: str):
    def method(self: Tensor, *_: Any, **__: Any):
        reject(name, "memory of tensors is not written", (node_of(self),), help, ConfigError)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Refused: {help}."
    return method


def _contains(self: Tensor, value: Any) -> bool:
    """``value in x``: whether an element equals `value`."""
    return bool(functions.any(functions.equal(self, value)))


def _divmod(self: Tensor, other: Any) -> tuple[Tensor, Tensor]:
    """``divmod(x, y)``: x // y and x % y."""
    return self // other, self % other


def _rdivmod(self: Tensor, other: Any) -> tuple[Tensor, Tensor]:
    """``divmod(y, x)`` of a number y."""
    return other // self, other % self


def _install() -> None:
    methods = {
        "__contains__": _contains, "__divmod__": _divmod, "__rdivmod__": _rdivmod, "copy": _copy,
        "tobytes": _tobytes, "select": _select, "narrow": _narrow,
        "unbind": _unbind, "mm": _product("mm", 2, 2), "bmm": _product("bmm", 3, 3),
        "mv": _product("mv", 2, 1), "view_as": _as("view_as", functions.reshape),
        "reshape_as": _as("reshape_as", functions.reshape), "expand_as": _as("expand_as", functions.broadcast_to),
        "new_full": _new_full, "new_tensor": _new_tensor, "new_empty": _new_empty,
        "is_floating_point": _is_floating_point, "is_complex": _is_complex, "element_size": _element_size,
        "nelement": Tensor.numel, "ndimension": Tensor.dim, "is_contiguous": _is_contiguous,
        "resize_": _numpy_only("resize_", "write x = x.reshape(...)"),
        "bitwise_not": functions.bitwise_invert,
    }  # fmt: skip
    names = """
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift copysign diff greater greater_equal
    hypot less less_equal logaddexp nextafter not_equal positive signbit
    """
    methods.update({name: getattr(functions, name) for name in names.split()})
    for name, method in methods.items():
        setattr(Tensor, name, method)


_install()
