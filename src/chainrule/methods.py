"""The methods of `Tensor` that are functions of the package, and its PyTorch spellings."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from . import assignment, autograd, functions, indexing
from .conversion import to_node
from .dtypes import as_dtype, bfloat16, bool_, complex64, complex128, float16, float32, float64, int32, int64
from .errors import ConfigError
from .functions.products import matmul, vecdot
from .operators import in_place, replace
from .ops.base import emit, message
from .recording import broadcast, cast, check_device, full, is_dtype_like, permute, reject
from .tensor import Tensor, node_of

_FUNCTIONS = """
abs acos acosh add all amax amin angle any argmax argmin argsort asin asinh astype atan atan2 atanh broadcast_to ceil
chunk clamp clip conj cos cosh count_nonzero cumprod cumsum cumulative_prod cumulative_sum divide erf exp expand
expand_dims expm1 flatten flip floor floor_divide gather isfinite isinf isnan log log10 log1p log2 logical_and
logical_not logical_or logical_xor logsumexp max maximum mean min minimum moveaxis multiply negative nonzero pow
prod ravel reciprocal remainder repeat_interleave reshape roll round rsqrt sigmoid sign sin sinh sort split sqrt
square squeeze std subtract sum swapaxes take tan tanh tile topk transpose tril triu trunc unsqueeze unstack
var where
""".split()

#: methods that are functions loaded when they are first used (see `functions.extended`)
_LATER = """
addcdiv addcmul allclose aminmax argpartition argwhere bincount clamp_max clamp_min corrcoef cov cummax cummin deg2rad
diag diag_embed diagflat dsplit fliplr flipud float_power fmax fmin fmod frac frexp gcd heaviside hsplit index_add
index_copy index_fill index_select isclose isneginf isposinf kthvalue lcm ldexp lerp logaddexp2 logcumsumexp
masked_fill masked_select mode movedim msort nan_to_num nanmean nanquantile nansum norm partition ptp quantile rad2deg
rot90 scatter scatter_reduce sgn tensor_split true_divide unique unique_consecutive vsplit
""".split()

#: versions of the Array API standard whose functions the namespace has
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _view(self: Tensor, *shape: Any) -> Tensor:
    """`reshape` under PyTorch's name; a dtype is refused, as values are never reinterpreted."""
    if len(shape) == 1 and not isinstance(shape[0], (int, tuple, list)) and is_dtype_like(shape[0]):
        raise ConfigError(message("view", "bits are not reinterpreted", (node_of(self),), "convert with .astype(...)"))
    return functions.reshape(self, *shape)


def _to(self: Tensor, *targets: Any, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
    """This tensor in another dtype and on another device (so far "cpu" alone)."""
    for target in targets:
        if isinstance(target, Tensor):
            dtype = target.dtype
        elif isinstance(target, str) and target.split(":")[0] in ("cpu", "cuda", "gpu", "mps"):
            device = target
        else:
            dtype = target
    check_device("to", device)
    return self if dtype is None else functions.astype(self, dtype)


def _converter(dtype: Any):
    def method(self: Tensor) -> Tensor:
        return Tensor(cast(node_of(self), dtype))

    method.__doc__ = f"This tensor as {dtype.name}."
    return method


def _clone(self: Tensor) -> Tensor:
    """A handle of its own on this value, through which gradients flow."""
    return Tensor(emit("alias", node_of(self)) if node_of(self).requires_grad else node_of(self))


def _transposed(self: Tensor) -> Tensor:
    """The transpose of a matrix; for other numbers of axes it raises."""
    if self.ndim != 2:
        help = "use .mT for the last two axes, or permute_dims"
        reject("T", f"a matrix is needed, not {self.ndim} axes", (node_of(self),), help)
    return Tensor(permute(node_of(self), (1, 0)))


def _adjoint(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix; for other numbers of axes it raises."""
    return functions.conj(_transposed(self))


def _at(self: Tensor) -> Any:
    """What ``x.at[index].set(v)``, `.add`, `.multiply` and so on start from: see `chainrule.functions.at.Part`."""
    return importlib.import_module(".functions.at", __package__).At(self)


def _t(self: Tensor) -> Tensor:
    """The transpose of a matrix; a vector or scalar stays as it is."""
    return _clone(self) if self.ndim < 2 else _transposed(self)


def _permute(self: Tensor, *axes: Any) -> Tensor:
    """`permute_dims` under PyTorch's name."""
    return functions.permute_dims(self, *axes)


def _repeat(self: Tensor, *counts: Any) -> Tensor:
    """Whole copies, as PyTorch's repeat: `tile`."""
    counts = counts[0] if len(counts) == 1 and not hasattr(counts[0], "__index__") else counts
    if len(counts) < self.ndim:
        reject("repeat", f"{len(counts)} counts for {self.ndim} axes", (node_of(self),))
    return functions.tile(self, tuple(counts))


def _contiguous(self: Tensor) -> Tensor:
    """This tensor: storage is always contiguous."""
    return self


def _new_value(self: Tensor, value: Any, name: str) -> Tensor:
    node = node_of(self)
    source = to_node(value, name)
    if source.shape != node.shape:
        offset = len(node.shape) - len(source.shape)
        if offset < 0 or any(a not in (1, b) for a, b in zip(source.shape, node.shape[offset:])):
            reject(name, "the value does not fit the tensor written to", (node, source))
    return replace(self, Tensor(broadcast(cast(source, node.dtype), node.shape)), name)


def _copy_(self: Tensor, value: Any) -> Tensor:
    """Write `value`, broadcast and converted, to this handle."""
    return _new_value(self, value, "copy_")


def _fill_(self: Tensor, value: Any) -> Tensor:
    """Write one number to every element of this handle."""
    node = node_of(self)
    if isinstance(value, (bool, int, float, complex)):
        value = float(value) if node.dtype.kind in "fc" and isinstance(value, (bool, int)) else value
        return replace(self, Tensor(full(value, node.shape, node.dtype, "fill_")), "fill_")
    return _new_value(self, value, "fill_")


def _zero_(self: Tensor) -> Tensor:
    """Write zeros to this handle."""
    return _fill_(self, False if self.dtype is bool_ else 0)


def _written(name: str, operation: Any):
    def method(self: Tensor, *operands: Any, **options: Any) -> Tensor:
        return replace(self, operation(self, *operands, **options), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name[:-1]}`, the result written to this handle."
    return method


def _scaled(operation: Any):
    def function(x: Any, other: Any, alpha: float = 1) -> Tensor:
        return operation(x, other if alpha == 1 else other * alpha)

    return function


def _namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    """The module with the Array API's functions.

    Raises ConfigError for a version of the standard that it does not follow.
    """
    if api_version is not None and api_version not in _VERSIONS:
        problem = f"version {api_version!r} of the standard is not offered; there are {', '.join(_VERSIONS)}"
        raise ConfigError(message("__array_namespace__", problem, ()))
    return sys.modules[__package__]


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """This tensor on `device`, which is "cpu"; the host has no streams."""
    check_device("to_device", device)
    if stream is not None:
        raise ConfigError(message("to_device", f"the CPU has no streams, so not {stream!r}", ()))
    return self


def _new(maker: Any):
    def method(self: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
        return maker(*shape, dtype=self.dtype if dtype is None else dtype)

    return method


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the dtype of `other`."""
    return functions.astype(self, other.dtype)


def _addmatmul(name: str, swap: bool):
    def method(self: Tensor, other: Any, /) -> Any:
        if not isinstance(other, (Tensor, np.ndarray)):
            return NotImplemented
        return matmul(other, self) if swap else matmul(self, other)

    method.__name__ = name
    return method


def _later(name: str):
    def method(self: Tensor, *operands: Any, **options: Any) -> Any:
        return getattr(sys.modules[__package__], name)(self, *operands, **options)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"``chainrule.{name}(self, ...)``."
    return method


def _install() -> None:
    for name in _FUNCTIONS:
        setattr(Tensor, name, getattr(functions, name))
    for name in _LATER:
        setattr(Tensor, name, _later(name))
    methods = {
        "__getitem__": indexing.getitem, "__setitem__": assignment.setitem, "__array_namespace__": _namespace,
        "__matmul__": _addmatmul("__matmul__", False), "__rmatmul__": _addmatmul("__rmatmul__", True),
        "__imatmul__": in_place("matmul", _addmatmul("__matmul__", False)),
        "at": property(_at), "T": property(_transposed), "mT": property(functions.matrix_transpose),
        "H": property(_adjoint), "mH": property(functions.adjoint), "real": property(functions.real),
        "imag": property(functions.imag), "cfloat": _converter(complex64), "cdouble": _converter(complex128),
        "backward": autograd.backward, "clone": _clone, "contiguous": _contiguous, "copy_": _copy_, "fill_": _fill_,
        "div": functions.divide, "dot": vecdot, "matmul": matmul, "mul": functions.multiply,
        "neg": functions.negative, "permute": _permute, "repeat": _repeat,
        "sub": functions.subtract, "t": _t, "to": _to, "to_device": _to_device, "type_as": _type_as, "view": _view,
        "zero_": _zero_, "eq": functions.equal, "ne": functions.not_equal, "lt": functions.less,
        "le": functions.less_equal, "gt": functions.greater, "ge": functions.greater_equal,
        "cpu": _contiguous, "new_zeros": _new(functions.zeros), "new_ones": _new(functions.ones),
        "add_": _written("add_", _scaled(functions.add)), "sub_": _written("sub_", _scaled(functions.subtract)),
        "mul_": _written("mul_", functions.multiply), "div_": _written("div_", functions.divide),
        "clamp_": _written("clamp_", functions.clip), "clip_": _written("clip_", functions.clip),
        "unflatten": _unflatten,
    }  # fmt: skip
    for name, method in methods.items():
        setattr(Tensor, name, method)
    for name, dtype in {
        "half": float16, "bfloat16": bfloat16, "float": float32, "double": float64, "int": int32, "long": int64,
        "bool": bool_,
    }.items():  # fmt: skip
        setattr(Tensor, name, _converter(as_dtype(dtype)))


def _unflatten(self: Tensor, dim: int, sizes: Any) -> Tensor:
    """Axis `dim` taken apart into axes of `sizes`."""
    shape = self.shape
    at = dim % len(shape)
    return functions.reshape(self, shape[:at] + tuple(sizes) + shape[at + 1 :])


_install()
