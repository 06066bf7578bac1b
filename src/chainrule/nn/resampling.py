"""Resampling and padding as layers: each calls the function of `chainrule.functional` that its docstring names."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..functional._sliding import per_axis, with_batch
from ..functional.resampling import check_factor, check_modes
from ..ops.base import misuse
from ..tensor import Tensor
from .module import FUNCTION_OF, Module


class Upsample(Module):
    """Other spatial extents, by interpolation; see `chainrule.functional.interpolate`.

    Args:
        size, scale_factor: the extents after, or what to multiply them by: a number or one for each axis.
        mode: "nearest", "linear", "bilinear", "trilinear" or "bicubic"; `align_corners` belongs to all but the first.
        recompute_scale_factor: as in `chainrule.functional.interpolate`.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.Upsample(scale_factor=2, mode="bilinear")(cr.zeros((1, 3, 4, 5))).shape
        (1, 3, 8, 10)
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):  # fmt: skip
        super().__init__()
        check_modes(type(self).__name__, size, scale_factor, mode, align_corners)
        self.size = size
        if scale_factor is not None:
            several = isinstance(scale_factor, (tuple, list))
            scale_factor = tuple(map(float, scale_factor)) if several else float(scale_factor)
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, *spatial) -> the same with the new extents."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        what = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{what}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` with mode "nearest", for images.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.UpsamplingNearest2d(scale_factor=2)(cr.asarray([[[[1.0, 2.0]]]])).tolist()
        [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` with mode "bilinear" and aligned corners, for images.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.UpsamplingBilinear2d(size=(1, 3))(cr.asarray([[[[1.0, 2.0]]]])).tolist()
        [[[[1.0, 1.5, 2.0]]]]
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """Channels become places; see `chainrule.functional.pixel_shuffle`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.PixelShuffle(2)(cr.zeros((5, 12, 4, 4))).shape
        (5, 3, 8, 8)
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = check_factor("PixelShuffle", upscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """(..., C r^2, H, W) -> (..., C, H r, W r)."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Places become channels; see `chainrule.functional.pixel_unshuffle`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.PixelUnshuffle(2)(cr.zeros((5, 3, 8, 8))).shape
        (5, 12, 4, 4)
    """

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = check_factor("PixelUnshuffle", downscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """(..., C, H r, W r) -> (..., C r^2, H, W)."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"downscale_factor={self.downscale_factor}"


def _check_windows(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> None:
    for word, value, least in (("kernel_size", kernel_size, 1), ("dilation", dilation, 1), ("padding", padding, 0),
                               ("stride", stride, 1)):  # fmt: skip
        per_axis(name, value, 2, word, least)


class Unfold(Module):
    """Windows as columns; see `chainrule.functional.unfold`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Unfold(3, padding=1)(cr.zeros((5, 2, 4, 4))).shape
        (5, 18, 16)
    """

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        super().__init__()
        _check_windows("Unfold", kernel_size, dilation, padding, stride)
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C K_h K_w, L)."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up where their windows overlap; see `chainrule.functional.fold`.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Fold((4, 4), 3, padding=1)(cr.zeros((5, 18, 16))).shape
        (5, 2, 4, 4)
    """

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        super().__init__()
        per_axis("Fold", output_size, 2, "output_size", 1)
        _check_windows("Fold", kernel_size, dilation, padding, stride)
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        """(N, C K_h K_w, L) -> (N, C, *output_size)."""
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class _Pad(Module):
    """Base: padding around the spatial axes."""

    _count = 0
    _mode = ""

    def __init__(self, padding: Any):
        super().__init__()
        pairs = 2 * self._count
        self.padding = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * pairs
        if len(self.padding) != pairs or not all(hasattr(number, "__index__") for number in self.padding):
            raise misuse(f"{type(self).__name__}: padding must be a whole number or {pairs} of them, not {padding!r}")

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, *spatial) or (C, *spatial) -> the same with larger extents."""
        with_batch(type(self).__name__, input, self._count)  # checks the axes
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Base: padding with a number."""

    def __init__(self, padding: Any, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """(..., *spatial) -> the same with larger extents."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    """Base: padding with zeros."""

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{self.padding}"


def _family(name: str, base: type, words: str, mode: str) -> list[type]:
    """The three classes of one kind of padding."""
    axes = ("one axis", "two axes", "three axes")
    kinds = []
    for count in (1, 2, 3):
        value = ", 0.5" if name == "ConstantPad" else ""
        before, after = (2,) + (3,) * count, (2,) + (5,) * count
        text = (
            f"Padding {words} around {axes[count - 1]}; see `chainrule.functional.pad` with mode {mode!r}.\n\n"
            f"Example:\n    >>> import chainrule as cr\n"
            f"    >>> cr.nn.{name}{count}d(1{value})(cr.zeros({before})).shape\n    {after}\n"
        )
        entries = {"__doc__": text, "_count": count, "_mode": mode, "__module__": __name__}
        kinds.append(type(f"{name}{count}d", (base,), entries))
        FUNCTION_OF[f"{name}{count}d"] = "pad"
    return kinds


ConstantPad1d, ConstantPad2d, ConstantPad3d = _family("ConstantPad", _ConstantPad, "with a number", "constant")
ZeroPad1d, ZeroPad2d, ZeroPad3d = _family("ZeroPad", _ZeroPad, "with zeros", "constant")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _family("ReflectionPad", _Pad, "that mirrors", "reflect")
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _family(
    "ReplicationPad", _Pad, "that repeats the edge", "replicate"
)
CircularPad1d, CircularPad2d, CircularPad3d = _family("CircularPad", _Pad, "that goes round", "circular")

FUNCTION_OF.update(
    Upsample="interpolate", PixelShuffle="pixel_shuffle", PixelUnshuffle="pixel_unshuffle", Unfold="unfold", Fold="fold"
)
