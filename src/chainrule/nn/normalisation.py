"""Normalisation layers, with PyTorch's arguments, defaults and state-dict keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float, float64, int64
from ..errors import ShapeError
from ..functional._common import check_number, check_tensor, fail, write_state
from ..functional._sliding import each_of
from ..functional.normalisation import check_batch
from ..ops.base import misuse
from ..tensor import Tensor, flag, hyper
from . import init
from .module import FUNCTION_OF, Module
from .parameter import Parameter


def _whole(layer: Module, name: str, value: Any) -> int:
    if not hasattr(value, "__index__") or value < 1:
        raise misuse(f"{type(layer).__name__}: {name} must be a positive whole number, not {value!r}")
    return int(value)


class _Affine(Module):
    """Base: `weight` of ones and `bias` of zeros, either or both left out."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_vectors(self, shape: tuple[int, ...], weight: bool, bias: bool | None, dtype: Any) -> None:
        """`bias` None: the layer knows none."""
        dtype = default_float if dtype is None else as_dtype(dtype)
        names = ("weight",) if bias is None else ("weight", "bias")
        for name, wanted in zip(names, (weight, bias)):
            self.register_parameter(name, Parameter(fn.empty(shape, dtype=dtype)) if wanted else None)

    def reset_parameters(self, generator: Any = None) -> None:
        """Weights of 1 and biases of 0; nothing is drawn."""
        if self.weight is not None:
            init.ones_(self.weight)
        bias = self._parameters.get("bias")
        if bias is not None:
            init.zeros_(bias)


class _Running(_Affine):
    """Base of batch and instance normalisation: one entry a channel, and running statistics."""

    #: axes that an input may have
    ranks: ClassVar[tuple[int, ...]] = ()

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: Any,
        bias: bool,
    ):
        super().__init__()
        self.num_features = _whole(self, "num_features", num_features)
        self.eps = check_number(type(self).__name__, "eps", eps, 0)
        if momentum is not None:
            check_number(type(self).__name__, "momentum", momentum, 0)
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_vectors((num_features,), affine, affine and bias, dtype)
        dtype = default_float if dtype is None else as_dtype(dtype)
        track = track_running_stats
        self.register_buffer("running_mean", fn.zeros((num_features,), dtype=dtype) if track else None)
        self.register_buffer("running_var", fn.ones((num_features,), dtype=dtype) if track else None)
        self.register_buffer("num_batches_tracked", fn.zeros((), dtype=int64) if track else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget what training has seen: mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean = fn.zeros_like(self.running_mean)
            self.running_var = fn.ones_like(self.running_var)
            self.num_batches_tracked = fn.zeros((), dtype=int64)

    def reset_parameters(self, generator: Any = None) -> None:
        """Weights of 1, biases of 0, and no statistics."""
        self.reset_running_stats()
        super().reset_parameters(generator)

    def _checked(self, input: Tensor, axis: int = 1) -> None:
        """ShapeError unless the rank and the channels fit."""
        name = type(self).__name__
        check_tensor(name, input)
        if len(input.shape) not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            fail(ShapeError, name, f"input has {len(input.shape)} axes, the layer takes {ranks}", (input,))
        if input.shape[axis] != self.num_features:
            fail(ShapeError, name, f"input has {input.shape[axis]} channels (axis {axis}), the layer has "
                 f"{self.num_features}", (input,))  # fmt: skip

    def _count(self) -> float | Tensor:
        """Count a batch; returns the weight of its statistics."""
        tracked = self.num_batches_tracked
        if tracked is None:
            return 0.0
        count = tracked + 1
        write_state(type(self).__name__, tracked, count)
        if flag(lambda: self.momentum is None):
            return 1.0 / count.astype(float64)
        return hyper(lambda: float(self.momentum))  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        self._checked(input)
        mean, var = self.running_mean, self.running_var
        training = flag(lambda: self.training) or mean is None
        momentum: float | Tensor = 0.0
        if training:
            check_batch(type(self).__name__, input)  # before the batch is counted: a call that raises changes no state
            momentum = self._count()
        return F.batch_norm(input, mean, var, self.weight, self.bias, training, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features, (batch, features), or sequences, (batch, channels, positions).

    While training, the statistics are the batch's, and the running ones move towards them; in evaluation the running
    ones are used. See `chainrule.functional.batch_norm`.

    Args:
        num_features: channels, axis 1.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics; None averages all batches. It may be changed later,
            also between calls of a compiled step, which is not compiled again for it.
        affine: whether there are a `weight` (1 at first) and, unless `bias` is False, a `bias` (0).
        track_running_stats: False keeps no statistics: those of the batch are used in evaluation too.
        dtype: of parameters and statistics, default float32.
    Shapes:
        That of the input. Buffers `running_mean`, `running_var` (num_features,), `num_batches_tracked` ().
    Raises:
        ShapeError: at the call, for another number of axes or channels, or training on one value a channel.
        CompileError: training inside `vmap`.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.BatchNorm1d(3)
        >>> layer(cr.ones((4, 3))).shape, list(layer.state_dict())
        ((4, 3), ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'])

    Reference:
        As `chainrule.functional.batch_norm`.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images, (batch, channels, height, width); otherwise as `BatchNorm1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.BatchNorm2d(3)(cr.ones((4, 3, 2, 2))).shape
        (4, 3, 2, 2)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes, (batch, channels, depth, height, width); otherwise as `BatchNorm1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.BatchNorm3d(3).eval()(cr.ones((1, 3, 2, 2, 2))).shape
        (1, 3, 2, 2, 2)
    """

    ranks = (5,)


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        check_tensor(type(self).__name__, input)
        single = len(input.shape) == min(self.ranks)
        self._checked(input, 0 if single else 1)
        x = fn.expand_dims(input) if single else input
        mean, var = self.running_mean, self.running_var
        own = flag(lambda: self.training) or mean is None
        momentum = hyper(lambda: 0.0 if self.momentum is None else float(self.momentum)) if own else 0.0
        result = F.instance_norm(x, mean, var, self.weight, self.bias, own, momentum, self.eps)
        return fn.squeeze(result, 0) if single else result


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each example: (batch, channels, positions) or (channels, positions).

    Args:
        num_features: channels.
        eps, momentum, dtype: as for `BatchNorm1d`.
        affine: whether there are a `weight` and, unless `bias` is False, a `bias`.
        track_running_stats: whether evaluation uses statistics kept while training, in place of the example's own.
    Raises:
        ShapeError: another number of axes or channels, or one position a channel.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.InstanceNorm1d(2)(cr.ones((4, 2, 5))).shape
        (4, 2, 5)

    Reference:
        As `chainrule.functional.instance_norm`.
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalises each channel of each image, ([batch,] channels, height, width); as `InstanceNorm1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.InstanceNorm2d(1)(cr.asarray([[[1.0, 1.0], [1.0, 1.0]]])).tolist()
        [[[0.0, 0.0], [0.0, 0.0]]]
    """

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalises each channel of each volume, ([batch,] channels, depth, height, width); as `InstanceNorm1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.InstanceNorm3d(2, affine=True)(cr.ones((4, 2, 3, 3, 3))).shape
        (4, 2, 3, 3, 3)
    """

    ranks = (4, 5)


def _shape(layer: Module, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = each_of(normalized_shape, 1)
    if not shape:
        raise misuse(f"{type(layer).__name__}: normalized_shape has no axes")
    return tuple(_whole(layer, "each extent of normalized_shape", extent) for extent in shape)


class LayerNorm(_Affine):
    """Normalises over the last axes; see `chainrule.functional.layer_norm`.

    Args:
        normalized_shape: extents of those axes, a number for one.
        eps: added to the variance.
        elementwise_affine: whether there is a `weight` (1 at first) for each place.
        bias: whether there is a `bias` (0) as well.
        dtype: of the parameters, default float32.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.LayerNorm(3)
        >>> layer(cr.ones((2, 3))).tolist(), list(layer.state_dict())
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], ['weight', 'bias'])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = _shape(self, normalized_shape)
        self.eps = check_number(type(self).__name__, "eps", eps, 0)
        self.elementwise_affine = elementwise_affine
        self._make_vectors(self.normalized_shape, elementwise_affine, elementwise_affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"


class RMSNorm(_Affine):
    """Divides by the root mean square over the last axes; see `chainrule.functional.rms_norm`.

    Args:
        normalized_shape, elementwise_affine, dtype: as for `LayerNorm`; there is no bias.
        eps: added to the mean square; None takes the dtype's distance from 1 to the next number.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.RMSNorm(2, eps=0.0)(cr.asarray([1.0, -1.0])).tolist()
        [1.0, -1.0]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        self.normalized_shape = _shape(self, normalized_shape)
        self.eps = eps if eps is None else check_number(type(self).__name__, "eps", eps, 0)
        self.elementwise_affine = elementwise_affine
        self._make_vectors(self.normalized_shape, elementwise_affine, None, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    """Normalises each example over groups of channels; see `chainrule.functional.group_norm`.

    Args:
        num_groups: number of equal groups.
        num_channels: channels, axis 1.
        eps: added to the variance.
        affine: whether there are a `weight` and, unless `bias` is False, a `bias`.
        dtype: of the parameters, default float32.
    Raises:
        ConfigError: the channels do not divide into groups.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.GroupNorm(2, 4)(cr.ones((1, 4, 5))).shape
        (1, 4, 5)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        self.num_groups = _whole(self, "num_groups", num_groups)
        self.num_channels = _whole(self, "num_channels", num_channels)
        if num_channels % num_groups:
            raise misuse(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.eps = check_number(type(self).__name__, "eps", eps, 0)
        self.affine = affine
        self._make_vectors((num_channels,), affine, affine and bias, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
        return f"{text}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """Divides by a power of neighbouring channels' mean square; see `chainrule.functional.local_response_norm`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.LocalResponseNorm(2)(cr.zeros((4, 6, 8, 8))).shape
        (4, 6, 8, 8)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size = _whole(self, "size", size)
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


FUNCTION_OF.update(
    LayerNorm="layer_norm", RMSNorm="rms_norm", GroupNorm="group_norm", LocalResponseNorm="local_response_norm",
    InstanceNorm1d="instance_norm", InstanceNorm2d="instance_norm", InstanceNorm3d="instance_norm",
    BatchNorm1d="batch_norm", BatchNorm2d="batch_norm", BatchNorm3d="batch_norm",
)  # fmt: skip
