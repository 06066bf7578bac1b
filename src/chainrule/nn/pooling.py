"""Pooling as layers: each calls the function of `chainrule.functional` that its docstring names."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..functional.adaptive import check_output_size
from ..functional.pooling import check_norm_type, check_windows
from ..tensor import Tensor
from .module import FUNCTION_OF, Module


def _axes(layer: Any) -> int:
    """Number of spatial axes of a layer, by its function."""
    return int(layer.function.__name__[-2])


class _MaxPool(Module):
    """Base: the settings of max pooling."""

    function: Any = None

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode
        check_windows(type(self).__name__, _axes(self), kernel_size, stride, padding, dilation)

    def forward(self, input: Tensor) -> Any:
        """(N, C, *spatial) or (C, *spatial) -> the same with the output's extents; a pair with `return_indices`."""
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest element of each window along one axis; see `chainrule.functional.max_pool1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.MaxPool1d(2)(cr.asarray([[1.0, 3.0, 2.0, 5.0]])).tolist()
        [[3.0, 5.0]]
    """

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window; see `chainrule.functional.max_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.MaxPool2d(3, stride=2, padding=1)(cr.zeros((2, 4, 8, 8))).shape
        (2, 4, 4, 4)
    """

    function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest element of each window over three axes; see `chainrule.functional.max_pool3d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.MaxPool3d(2)(cr.zeros((2, 4, 8, 8, 6))).shape
        (2, 4, 4, 4, 3)
    """

    function = staticmethod(F.max_pool3d)


class AvgPool1d(Module):
    """The mean of each window along one axis; see `chainrule.functional.avg_pool1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AvgPool1d(2)(cr.asarray([[1.0, 3.0, 2.0, 5.0]])).tolist()
        [[2.0, 3.5]]
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):  # fmt: skip
        super().__init__()
        check_windows(type(self).__name__, 1, kernel_size, stride, padding, 1)
        # PyTorch keeps these as tuples here, and as given in the other two
        self.kernel_size, self.stride, self.padding = (
            value if isinstance(value, tuple) else (value,)
            for value in (kernel_size, kernel_size if stride is None else stride, padding)
        )
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, L) or (C, L) -> the same with the output's extent."""
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """Base: the settings of average pooling over two and three axes."""

    function: Any = None

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override
        check_windows(type(self).__name__, _axes(self), kernel_size, stride, padding, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, *spatial) or (C, *spatial) -> the same with the output's extents."""
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """The mean of each window; see `chainrule.functional.avg_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AvgPool2d(2)(cr.zeros((2, 4, 8, 6))).shape
        (2, 4, 4, 3)
    """

    function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window over three axes; see `chainrule.functional.avg_pool3d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AvgPool3d(2)(cr.zeros((2, 4, 8, 8, 6))).shape
        (2, 4, 4, 4, 3)
    """

    function = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """Base: the settings of pooling by a norm."""

    function: Any = None

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False):
        super().__init__()
        check_norm_type(type(self).__name__, norm_type)
        check_windows(type(self).__name__, _axes(self), kernel_size, stride, 0, 1)
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, *spatial) or (C, *spatial) -> the same with the output's extents."""
        return type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The norm of each window along one axis; see `chainrule.functional.lp_pool1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.LPPool1d(2, 2)(cr.asarray([[3.0, 4.0, 0.0, 1.0]])).tolist()
        [[5.0, 1.0]]
    """

    function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The norm of each window; see `chainrule.functional.lp_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.LPPool2d(2, 2)(cr.asarray([[[3.0, 0.0], [4.0, 0.0]]])).tolist()
        [[[5.0]]]
    """

    function = staticmethod(F.lp_pool2d)


class _Adaptive(Module):
    """Base: the setting of adaptive pooling."""

    function: Any = None

    def __init__(self, output_size: Any):
        super().__init__()
        check_output_size(type(self).__name__, output_size, _axes(self))
        self.output_size = output_size

    def forward(self, input: Tensor) -> Any:
        """(N, C, *spatial) or (C, *spatial) -> the same with extents `output_size`."""
        return type(self).function(input, self.output_size)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means of a given number of windows along one axis; see `chainrule.functional.adaptive_avg_pool1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveAvgPool1d(2)(cr.asarray([[1.0, 3.0, 5.0]])).tolist()
        [[2.0, 4.0]]
    """

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_Adaptive):
    """Means of a given number of windows; see `chainrule.functional.adaptive_avg_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveAvgPool2d(1)(cr.zeros((2, 4, 8, 6))).shape
        (2, 4, 1, 1)
    """

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_Adaptive):
    """Means of a given number of windows over three axes; see `chainrule.functional.adaptive_avg_pool3d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveAvgPool3d((1, 2, None))(cr.zeros((2, 4, 8, 8, 6))).shape
        (2, 4, 1, 2, 6)
    """

    function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(_Adaptive):
    """Base: the settings of adaptive max pooling."""

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """(N, C, *spatial) or (C, *spatial) -> the same with extents `output_size`; a pair with `return_indices`."""
        return type(self).function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Maxima of a given number of windows along one axis; see `chainrule.functional.adaptive_max_pool1d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveMaxPool1d(2)(cr.asarray([[1.0, 3.0, 5.0]])).tolist()
        [[3.0, 5.0]]
    """

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Maxima of a given number of windows; see `chainrule.functional.adaptive_max_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveMaxPool2d(1)(cr.zeros((2, 4, 8, 6))).shape
        (2, 4, 1, 1)
    """

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Maxima of a given number of windows over three axes; see `chainrule.functional.adaptive_max_pool3d`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.AdaptiveMaxPool3d(2)(cr.zeros((2, 4, 8, 8, 6))).shape
        (2, 4, 2, 2, 2)
    """

    function = staticmethod(F.adaptive_max_pool3d)


for _kind, _name in (("MaxPool", "max_pool"), ("AvgPool", "avg_pool"), ("LPPool", "lp_pool"),
                     ("AdaptiveAvgPool", "adaptive_avg_pool"), ("AdaptiveMaxPool", "adaptive_max_pool")):  # fmt: skip
    FUNCTION_OF.update({f"{_kind}{n}d": f"{_name}{n}d" for n in (1, 2, 3) if (_kind, n) != ("LPPool", 3)})
