"""Functions that make tensors: from data, constants, ranges and grids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import to_array, to_node
from ..dtypes import DType, as_dtype, bool_, converted, default_complex, default_float, default_int
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..interop import dlpack
from ..ops.base import emit, message
from ..recording import cast, check_device, constant, reject, scalar_value, shape_tuple
from ..recording import full as full_node
from ..tensor import Tensor


def _finish(node: Node, requires_grad: bool, device: Any = None) -> Tensor:
    check_device("device", device)
    result = Tensor(node)
    return result.requires_grad_() if requires_grad else result


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of `obj`: a tensor, NumPy array, number, or nested list.

    NumPy arrays keep their dtype (float64 stays float64); Python floats give float32, ints int64, complex numbers
    complex64. Foreign arrays are copied once, unless ``copy=False`` asks for shared memory, which nobody may write to
    from then on. A tensor is returned as it is where nothing has to change; with ``copy=True`` it gets another handle.
    Raises ValueError where ``copy=False`` cannot be had.
    """
    check_device("asarray", device)
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, Tensor):
        node = to_node(obj)
        if wanted is None or wanted is node.dtype:
            return Tensor(node) if copy else obj
        if copy is False:
            raise ValueError(message("asarray", f"{wanted.name} of {node.dtype.name} needs a copy", (node,)))
        return Tensor(cast(node, wanted))
    if copy is False:
        return Tensor(constant(_shared(obj, wanted)))
    return Tensor(_data_node(obj, wanted, "asarray"))


def _shared(obj: Any, dtype: DType | None) -> np.ndarray:
    """A read-only array over the memory of a buffer or of another library's array; ValueError where that cannot be."""
    try:
        if hasattr(obj, "__dlpack__"):
            array = dlpack.imported(obj, copy=False, name="asarray")
        else:
            array = dlpack.settled(np.asarray(memoryview(obj)), False, "asarray")
    except BufferError as error:
        raise ValueError(str(error)) from None
    except TypeError as error:
        if isinstance(error, DTypeError):
            raise
        problem = f"a {type(obj).__name__} has no memory to share, so a copy is needed"
        raise ValueError(message("asarray", problem, ())) from None
    if dtype is not None and array.dtype != dtype.numpy:
        raise ValueError(message("asarray", f"{dtype.name} of {array.dtype} needs a copy", ()))
    return array


def _data_node(obj: Any, dtype: DType | None, name: str) -> Node:
    if isinstance(obj, (list, tuple)) and _holds_tensor(obj):
        node = _stacked(obj, name)
        return node if dtype is None else cast(node, dtype)
    if hasattr(obj, "__dlpack__") and not isinstance(obj, (np.ndarray, np.generic)):
        array = dlpack.imported(obj.detach() if hasattr(obj, "detach") else obj, name=name)
        return constant(array.copy() if dtype is None or array.dtype == dtype.numpy else converted(array, dtype))
    return constant(to_array(obj, name, dtype))


def _holds_tensor(obj: Any) -> bool:
    while isinstance(obj, (list, tuple)) and obj:
        if any(isinstance(item, Tensor) for item in obj):
            return True
        obj = obj[0]
    return False


def _stacked(obj: Any, name: str) -> Node:
    nodes = [_stacked(item, name) if isinstance(item, (list, tuple)) else to_node(item, name) for item in obj]
    if any(n.shape != nodes[0].shape or n.dtype is not nodes[0].dtype for n in nodes):
        reject(name, "the tensors in a list have different types", nodes, "use stack or concat")
    rows = [emit("reshape", n, attributes=((1, *n.shape),)) for n in nodes]
    return emit("concat", *rows, attributes=(0,))


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False, *, device: Any = None) -> Tensor:
    """A new tensor of `data`, without history. See `asarray` for dtypes."""
    if isinstance(data, Tensor):
        data = data.detach()
        node = to_node(data)
        node = node if dtype is None else cast(node, as_dtype(dtype))
    else:
        node = _data_node(data, None if dtype is None else as_dtype(dtype), "tensor")
    return _finish(node, requires_grad, device)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of another library's array, which nobody may write to from then on.

    Args: x: an object with ``__dlpack__`` and ``__dlpack_device__`` (an array of NumPy, PyTorch, JAX, CuPy, ...), or a
    DLPack capsule. device: "cpu" also copies an array on another device to the host. copy: True for memory of its own,
    False to refuse where a copy is needed; None copies where the elements are not in row-major order alone.
    Raises ConfigError for an array on a device that is not there, DTypeError for elements that tensors do not hold,
    BufferError where ``copy=False`` cannot be had.

    >>> import numpy as np
    >>> source = np.arange(3.0)
    >>> x = cr.from_dlpack(source)
    >>> np.shares_memory(source, x.numpy())
    True
    """
    check_device("from_dlpack", device)
    if isinstance(x, Tensor):
        return Tensor(to_node(x))
    return Tensor(constant(dlpack.imported(x, device is not None, copy)))


def from_numpy(x: np.ndarray, /) -> Tensor:
    """A tensor with a copy of a NumPy array, in its dtype."""
    return Tensor(constant(to_array(x, "from_numpy")))


def _shape_of(name: str, shape: Any, more: tuple) -> tuple[int, ...]:
    return shape_tuple(name, (shape, *more) if more else shape)


def zeros(shape: Any, *more: int, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros; the shape is one tuple or several numbers."""
    dtype = default_float if dtype is None else as_dtype(dtype)
    node = full_node(False if dtype is bool_ else 0, _shape_of("zeros", shape, more), dtype)
    return _finish(node, requires_grad, device)


def ones(shape: Any, *more: int, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones; the shape is one tuple or several numbers."""
    dtype = default_float if dtype is None else as_dtype(dtype)
    node = full_node(True if dtype is bool_ else 1, _shape_of("ones", shape, more), dtype)
    return _finish(node, requires_grad, device)


def empty(shape: Any, *more: int, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor to be filled later: here, of zeros."""
    return zeros(shape, *more, dtype=dtype, device=device, requires_grad=requires_grad)


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
    if dtype.kind == "c":
        return complex(value)
    if dtype.kind == "f" and not isinstance(value, complex):
        return float(value)
    if isinstance(value, complex):
        return scalar_value(value, dtype)
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
    check_device("arange", device)
    if stop is None:
        start, stop = 0, start
    start, stop, step = (v.item() if isinstance(v, (Tensor, np.generic)) else v for v in (start, stop, step))
    if any(isinstance(v, complex) for v in (start, stop, step)):
        reject("arange", "complex numbers have no order, in which there is a next one", (), "", DTypeError)
    if step == 0:
        raise ConfigError(message("arange", "the step is 0", ()))
    whole = all(isinstance(v, int) for v in (start, stop, step))
    wanted = (default_int if whole else default_float) if dtype is None else as_dtype(dtype)
    if whole and start == 0 and step == 1 and stop > 0 and wanted is not bool_:
        return Tensor(emit("iota", attributes=((stop,), 0, wanted)))
    if whole and wanted.kind in "iu":
        # modulo 2**64, so that unsigned numbers of 64 bits are right; narrower types keep the low bits
        steps = np.arange(len(range(start, stop, step)), dtype=np.uint64)
        values = steps * np.uint64(step % 2**64) + np.uint64(start % 2**64)
        return Tensor(constant(converted(values.view(np.int64), wanted)))
    return Tensor(constant(converted(np.arange(start, stop, step), wanted)))


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, which is left out with ``endpoint=False``."""
    check_device("linspace", device)
    ends: list[Any] = [complex(end) if isinstance(end, complex) else float(end) for end in (start, stop)]
    found = default_complex if any(isinstance(end, complex) for end in ends) else default_float
    wanted = found if dtype is None else as_dtype(dtype)
    if found is default_complex and wanted.kind != "c":
        reject("linspace", f"complex ends do not give {wanted.name} numbers", (), "", DTypeError)
    values = np.linspace(ends[0], ends[1], num, endpoint=endpoint)
    return Tensor(constant(converted(values, wanted)))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on diagonal `k`, zeros elsewhere."""
    check_device("eye", device)
    wanted = default_float if dtype is None else as_dtype(dtype)
    shape = shape_tuple("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(cast(_diagonal(shape, k, "eq"), wanted))


def _diagonal(shape: tuple[int, ...], k: int, relation: str) -> Node:
    """Whether column - row stands in `relation` to k, over the last two axes of `shape`."""
    rank = len(shape)
    k = max(-shape[rank - 2], min(k, shape[rank - 1]))  # beyond the corners all diagonals are alike
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
