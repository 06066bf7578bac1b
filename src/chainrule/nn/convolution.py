"""Convolutions as layers, with PyTorch's arguments, initial values and state-dict keys."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float
from ..functional._sliding import per_axis, with_batch
from ..functional.convolution import check_output_padding, paddings
from ..ops.base import misuse
from ..tensor import Tensor
from . import init
from .module import FUNCTION_OF, Module
from .parameter import Parameter

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What all convolutions share: settings, parameters and their initial values."""

    _count = 0
    _transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        output_padding: Any, groups: int, bias: bool, padding_mode: str, dtype: Any, generator: Any,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        for word, number in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            if not hasattr(number, "__index__") or number < 1:
                raise misuse(f"{name}: {word} must be a positive whole number, not {number!r}")
        for word, number in (("in_channels", in_channels), ("out_channels", out_channels)):
            if number % groups:
                raise misuse(f"{name}: {word} {number} does not divide into {groups} groups")
        if padding_mode not in PADDING_MODES or (self._transposed and padding_mode != "zeros"):
            modes = PADDING_MODES[:1] if self._transposed else PADDING_MODES
            raise misuse(f"{name}: padding_mode must be one of {modes}, not {padding_mode!r}")
        count = self._count
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_axis(name, kernel_size, count, "kernel_size", 1)
        self.stride = per_axis(name, stride, count, "stride", 1)
        self.dilation = per_axis(name, dilation, count, "dilation", 1)
        self.groups = groups
        self.padding_mode = padding_mode
        self.output_padding = per_axis(name, output_padding, count, "output_padding", 0)
        if self._transposed:
            check_output_padding(name, self.output_padding, self.stride, self.dilation)
        self._around = paddings(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding: Any = padding if isinstance(padding, str) else per_axis(name, padding, count, "padding", 0)
        dtype = default_float if dtype is None else as_dtype(dtype)
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        self.weight = Parameter(fn.empty((first, second // groups, *self.kernel_size), dtype=dtype))
        if bias:
            self.bias = Parameter(fn.empty((out_channels,), dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        none = (0,) * self._count
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != none:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self._count:
            text += f", dilation={self.dilation}"
        if self.output_padding != none:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Forward(_Convolution):
    """Base of the convolutions."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", dtype: Any = None,
        generator: Any = None,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, dtype,
            generator,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """(N, C_in, *spatial) or (C_in, *spatial) -> the same with C_out and the output's extents."""
        function = (F.conv1d, F.conv2d, F.conv3d)[self._count - 1]
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            with_batch(type(self).__name__, input, self._count)  # checks the axes before they are padded
            pairs = [pair for both in reversed([*zip(*self._around)]) for pair in both]
            input, padding = F.pad(input, pairs, self.padding_mode), 0
        return function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _Transposed(_Convolution):
    """Base of the transposed convolutions."""

    _transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        dtype: Any = None, generator: Any = None,
    ):  # fmt: skip
        if isinstance(padding, str):
            raise misuse(f"{type(self).__name__}: padding must be numbers, not {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, dtype, generator,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """(N, C_in, *spatial) or (C_in, *spatial) -> the same with C_out and the output's extents.

        `output_size` gives the spatial extents in place of `output_padding`.
        """
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._count - 1]
        more = self.output_padding if output_size is None else self._missing(input, output_size)
        return function(input, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation)

    def _missing(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        name, count = type(self).__name__, self._count
        with_batch(name, input, count)
        wanted = tuple(output_size)[-count:]
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                input.shape[-count:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]  # fmt: skip
        most = [n + max(s, d) - 1 for n, s, d in zip(least, self.stride, self.dilation)]
        if len(wanted) != count or any(not a <= n <= b for n, a, b in zip(wanted, least, most)):
            raise misuse(f"{name}: output_size {tuple(output_size)} must lie between {least} and {most}")
        return tuple(n - a for n, a in zip(wanted, least))


class Conv1d(_Forward):
    """Convolution over one axis; as `Conv2d`, of (N, C_in, L) or (C_in, L). See `chainrule.functional.conv1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Conv1d(3, 8, 5, padding="same")(cr.zeros((2, 3, 20))).shape
        (2, 8, 20)
    """

    _count = 1


class Conv2d(_Forward):
    """Convolution over two axes; see `chainrule.functional.conv2d`.

    Args:
        in_channels, out_channels: channels of the input and of the output, multiples of `groups`.
        kernel_size, stride, dilation: a number or one for each axis.
        padding: a number, one for each axis, "valid" or "same".
        groups: the channels are in so many groups, each convolved on its own.
        bias: whether a number is added to each output channel.
        padding_mode: what the padding holds: "zeros", "reflect", "replicate" or "circular".
        dtype: of the parameters, default float32; inputs have to have it too.
        generator: source of the initial values, default the global one.
    Shapes:
        (N, C_in, H, W) -> (N, C_out, H_out, W_out), also without N. `weight` is (C_out, C_in / groups, K_h, K_w),
        `bias` (C_out,).
    Raises:
        ConfigError: a setting that is none, channels that do not divide into the groups.
        ShapeError, DTypeError: at the call, for an input that does not fit.
    Numerics:
        Both parameters start uniform in ``[-1/sqrt(n), 1/sqrt(n)]`` for n inputs to an output, which is PyTorch's rule.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        >>> layer(cr.zeros((5, 3, 32, 32))).shape, list(layer.state_dict())
        ((5, 8, 16, 16), ['weight', 'bias'])
    """

    _count = 2


class Conv3d(_Forward):
    """Convolution over three axes; as `Conv2d`, of (N, C_in, D, H, W) or (C_in, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Conv3d(1, 4, 3, stride=2)(cr.zeros((2, 1, 7, 7, 9))).shape
        (2, 4, 3, 3, 4)
    """

    _count = 3


class ConvTranspose1d(_Transposed):
    """Transposed convolution over one axis; as `ConvTranspose2d`, of (N, C_in, L) or (C_in, L).

    Example:
        >>> import chainrule as cr
        >>> cr.nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1)(cr.zeros((5, 3, 10))).shape
        (5, 2, 20)
    """

    _count = 1


class ConvTranspose2d(_Transposed):
    """Transposed convolution over two axes; see `chainrule.functional.conv_transpose2d`.

    Args:
        in_channels, out_channels: channels of the input and of the output, multiples of `groups`.
        kernel_size, stride, padding, output_padding, dilation: a number or one for each axis.
        groups, bias, dtype, generator: as `Conv2d`.
        padding_mode: "zeros" alone.
    Shapes:
        (N, C_in, H, W) -> (N, C_out, H_out, W_out), also without N. `weight` is (C_in, C_out / groups, K_h, K_w),
        `bias` (C_out,).
    Raises:
        ConfigError: a setting that is none, channels that do not divide into the groups.
        ShapeError, DTypeError: at the call, for an input that does not fit.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
        >>> layer(cr.zeros((5, 8, 16, 16))).shape
        (5, 3, 32, 32)
    """

    _count = 2


class ConvTranspose3d(_Transposed):
    """Transposed convolution over three axes; as `ConvTranspose2d`, of (N, C_in, D, H, W) or (C_in, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.nn.ConvTranspose3d(3, 2, 2, stride=2)(cr.zeros((5, 3, 4, 4, 4))).shape
        (5, 2, 8, 8, 8)
    """

    _count = 3


FUNCTION_OF.update(
    {f"Conv{t}{n}d": f"conv{u}{n}d" for t, u in (("", ""), ("Transpose", "_transpose")) for n in (1, 2, 3)}
)
