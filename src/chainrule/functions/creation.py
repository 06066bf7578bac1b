"""Functions that make tensors: from data, constants, ranges and grids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import to_array, to_node
from ..dtypes import DType, as_dtype, bool_, converted, default_float, default_int
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, constant, reject, scalar_value, shape_tuple
from ..recording import full as full_node
from ..tensor import Tensor


def _check_device(device: Any) -> None:
    if device is not None and str(device) != "cpu":
        raise ConfigError(message("device", f"{device!r} is not available; there is 'cpu'", ()))


def _finish(node: Node, requires_grad: bool, device: Any = None) -> Tensor:
    _check_device(device)
    result = Tensor(node)
    return result.requires_grad_() if requires_grad else result


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of `obj`: a tensor, NumPy array, number, or nested list.

    NumPy arrays keep their dtype (float64 stays float64) and are copied once; Python floats give float32, ints int64.
    """
    _check_device(device)
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor):
        node = to_node(obj)
        return obj if wanted is None or wanted is node.dtype else Tensor(cast(node, wanted))
    if copy is False:
        raise ValueError(message("asarray", "values of tensors are their own memory, so a copy is needed", ()))
    return Tensor(_data_node(obj, wanted))


def _data_node(obj: Any, dtype: DType | None) -> Node:
    if isinstance(obj, (list, tuple)) and _holds_tensor(obj):
        node = _stacked(obj)
        return node if dtype is None else cast(node, dtype)
    if hasattr(obj, "__dlpack__") and not isinstance(obj, (np.ndarray, np.generic)):
        obj = obj.detach() if hasattr(obj, "detach") else obj
        obj = np.from_dlpack(obj)
    return constant(to_array(obj, "tensor", dtype))


def _holds_tensor(obj: Any) -> bool:
    while isinstance(obj, (list, tuple)) and obj:
        if any(isinstance(item, Tensor) for item in obj):
            return True
        obj = obj[0]
    return False


def _stacked(obj: Any) -> Node:
    nodes = [_stacked(item) if isinstance(item, (list, tuple)) else to_node(item, "tensor") for item in obj]
    if any(n.shape != nodes[0].shape or n.dtype is not nodes[0].dtype for n in nodes):
        reject("tensor", "the tensors in a list have different types", nodes, "use stack or concat")
    rows = [emit("reshape", n, attributes=((1, *n.shape),)) for n in nodes]
    return emit("concat", *rows, attributes=(0,))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, *, device: Any = None) -> Tensor:
    """A new tensor of `data`, without history. See `asarray` for dtypes."""
    if isinstance(data, Tensor):
        data = data.detach()
        node = to_node(data)
        node = node if dtype is None else cast(node, as_dtype(dtype))
    else:
        node = _data_node(data, None if dtype is None else as_dtype(dtype))
    return _finish(node, requires_grad, device)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor with a copy of the values of another library's array."""
    _check_device(device)
    return Tensor(constant(to_array(np.from_dlpack(x), "from_dlpack")))


def from_numpy(x: np.ndarray, /) -> Tensor:
    """A tensor with a copy of a NumPy array, in its dtype."""
    return Tensor(constant(to_array(x, "from_numpy")))


def _shape_of(name: str, shape: tuple) -> tuple[int, ...]:
    return shape_tuple(name, shape[0] if len(shape) == 1 else shape)


def zeros(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros; the shape is one tuple or several numbers."""
    dtype = default_float if dtype is None else as_dtype(dtype)
    node = full_node(False if dtype is bool_ else 0, _shape_of("zeros", shape), dtype)
    return _finish(node, requires_grad, device)


def ones(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones; the shape is one tuple or several numbers."""
    dtype = default_float if dtype is None else as_dtype(dtype)
    node = full_node(True if dtype is bool_ else 1, _shape_of("ones", shape), dtype)
    return _finish(node, requires_grad, device)


def empty(*shape: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be filled later: here, of zeros."""
    return zeros(*shape, dtype=dtype, device=device, requires_grad=requires_grad)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`fill_value` everywhere; its own dtype unless one is given."""
    extents = shape_tuple("full", shape)
    if isinstance(fill_value, (Tensor, np.ndarray, np.generic)):
        node = to_node(fill_value, "full")
        node = node if dtype is None else cast(node, as_dtype(dtype))
        if node.shape:
            reject("full", "the fill value has axes", (node,))
        return _finish(emit("broadcast", node, attributes=(extents, ())), requires_grad, device)
    wanted = as_dtype(type(fill_value) if dtype is None else dtype)
    return _finish(full_node(_converted(fill_value, wanted), extents, wanted), requires_grad, device)


def _converted(value: Any, dtype: DType) -> Any:
    if dtype.kind == "f":
        return float(value)
    return bool(value) if dtype is bool_ else scalar_value(int(value), dtype)


def _like(value: Any, name: str):
    def function(x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        node = to_node(x, name)
        wanted = node.dtype if dtype is None else as_dtype(dtype)
        return _finish(full_node(_converted(value, wanted), node.shape, wanted), requires_grad, device)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{value} in the shape and dtype of `x`."
    return function


zeros_like, ones_like, empty_like = _like(0, "zeros_like"), _like(1, "ones_like"), _like(0, "empty_like")


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` in the shape and dtype of `x`."""
    node = to_node(x, "full_like")
    return full(node.shape, fill_value, dtype=node.dtype if dtype is None else dtype, device=device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... up to but without `stop`; int64 for whole numbers, float32 otherwise."""
    _check_device(device)
    if stop is None:
        start, stop = 0, start
    start, stop, step = (v.item() if isinstance(v, (Tensor, np.generic)) else v for v in (start, stop, step))
    if step == 0:
        raise ConfigError(message("arange", "the step is 0", ()))
    whole = all(isinstance(v, int) for v in (start, stop, step))
    wanted = (default_int if whole else default_float) if dtype is None else as_dtype(dtype)
    if whole and start == 0 and step == 1 and stop > 0 and wanted is not bool_:
        return Tensor(emit("iota", attributes=((stop,), 0, wanted)))
    return Tensor(constant(converted(np.arange(start, stop, step), wanted)))


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, which is left out with ``endpoint=False``."""
    _check_device(device)
    wanted = default_float if dtype is None else as_dtype(dtype)
    values = np.linspace(float(start), float(stop), num, endpoint=endpoint)
    return Tensor(constant(converted(values, wanted)))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on diagonal `k`, zeros elsewhere."""
    _check_device(device)
    wanted = default_float if dtype is None else as_dtype(dtype)
    shape = shape_tuple("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(cast(_diagonal(shape, k, "eq"), wanted))


def _diagonal(shape: tuple[int, ...], k: int, relation: str) -> Node:
    """Whether column - row stands in `relation` to k, over the last two axes of `shape`."""
    rank = len(shape)
    columns = emit("iota", attributes=(shape, rank - 1, default_int))
    rows = emit("iota", attributes=(shape, rank - 2, default_int))
    return emit(relation, emit("sub", columns, rows), full_node(k, shape, default_int))


def _triangle(name: str, x: Any, k: int, relation: str) -> Tensor:
    node = to_node(x, name)
    if len(node.shape) < 2:
        reject(name, "two axes are needed", (node,))
    zero = full_node(_converted(0, node.dtype), node.shape, node.dtype)
    return Tensor(emit("where", _diagonal(node.shape, k, relation), node, zero))


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The lower triangle, up to and with diagonal `k`; zeros above."""
    return _triangle("tril", x, k, "le")


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The upper triangle, from diagonal `k` on; zeros below."""
    return _triangle("triu", x, k, "ge")


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate grids of vectors; 'xy' puts the first vector along columns, 'ij' along rows."""
    if indexing not in ("xy", "ij"):
        raise ConfigError(message("meshgrid", f"indexing is 'xy' or 'ij', not {indexing!r}", ()))
    nodes = [to_node(a, "meshgrid") for a in arrays]
    for node in nodes:
        if len(node.shape) != 1:
            reject("meshgrid", "vectors are needed", nodes)
    order = list(range(len(nodes)))
    if indexing == "xy" and len(nodes) > 1:
        order[:2] = [1, 0]
    shape = tuple(nodes[i].shape[0] for i in order)
    return [Tensor(emit("broadcast", n, attributes=(shape, (order.index(i),)))) for i, n in enumerate(nodes)]


def one_hot(x: Any, num_classes: int, *, dtype: Any = None) -> Tensor:
    """Rows with a 1 at the label and 0 elsewhere.

    Args: x: integers in [0, num_classes), any shape. Returns: ``(*x.shape, num_classes)``, float32 by default.
    Raises IndexOutOfRangeError for another label.
    """
    node = to_node(x, "one_hot")
    if node.dtype.kind not in "iu":
        reject("one_hot", "labels are integers", (node,), "convert with .astype(chainrule.int64)", DTypeError)
    node = emit("check_index", node, attributes=(num_classes, "one_hot label"))
    shape = (*node.shape, num_classes)
    labels = emit("broadcast", node, attributes=(shape, tuple(range(len(node.shape)))))
    classes = emit("iota", attributes=(shape, len(shape) - 1, node.dtype))
    return Tensor(cast(emit("eq", classes, labels), default_float if dtype is None else as_dtype(dtype)))
