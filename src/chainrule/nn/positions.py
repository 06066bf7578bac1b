"""Positions for attention, which by itself does not know the order of its keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as fn
from ..dtypes import as_dtype, default_float, float64
from ..errors import ShapeError
from ..functional._common import check_tensor, fail
from ..ops.base import misuse
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter


class _Positions(Module):
    """Base: adds row ``offset + t`` of a table to token t."""

    def __init__(self, max_length: int, num_features: int):
        super().__init__()
        for name, value in (("max_length", max_length), ("num_features", num_features)):
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"{type(self).__name__}: {name} must be a positive whole number, not {value!r}")
        self.max_length = max_length
        self.num_features = num_features

    def _rows(self, input: Tensor, table: Tensor, offset: Any) -> Tensor:
        name = type(self).__name__
        check_tensor(name, input)
        if input.ndim < 2 or input.shape[-1] != self.num_features:
            problem = f"input has shape {tuple(input.shape)}, the layer takes (..., length, {self.num_features})"
            fail(ShapeError, name, problem, (input,))
        length = input.shape[-2]
        if isinstance(offset, Tensor):
            return fn.take(table, offset + fn.arange(length), axis=0)
        if offset < 0 or offset + length > self.max_length:
            problem = f"positions {offset} to {offset + length - 1} are asked for, there are {self.max_length}"
            fail(ShapeError, name, problem, (input,), "make the layer with a larger max_length")
        return table[offset : offset + length]

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.max_length}, {self.num_features}"


class SinusoidalPositions(_Positions):
    """Adds waves of different lengths: ``sin(t / base^(2i / d))`` to feature 2i and the cosine to feature 2i + 1.

    Args:
        max_length: positions there are.
        num_features: d.
        base: longest wave over 2 pi.
        dtype: default float32.
    Shapes:
        (..., length, d) -> the same. The table is a buffer outside the state dict.
    Raises:
        ShapeError: at the call, beyond `max_length` or for other features (an `offset` that is a tensor:
            IndexOutOfRangeError, when it runs).
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.SinusoidalPositions(10, 4)
        >>> layer(cr.zeros((2, 4)))[0].tolist()
        [0.0, 1.0, 0.0, 1.0]

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.5.
    """

    table: Tensor

    def __init__(self, max_length: int, num_features: int, base: float = 10000.0, dtype: Any = None):
        super().__init__(max_length, num_features)
        dtype = default_float if dtype is None else as_dtype(dtype)
        angles = np.arange(max_length)[:, None] * base ** (-(np.arange(num_features) // 2 * 2) / num_features)
        table = np.where(np.arange(num_features) % 2, np.cos(angles), np.sin(angles))
        self.register_buffer("table", fn.asarray(table).astype(dtype), persistent=False)

    def forward(self, input: Tensor, offset: Any = 0) -> Tensor:
        """`input` plus the rows from `offset` (a number, or an integer tensor of shape ()) on."""
        return input + self._rows(input, self.table, offset)


class LearnedPositions(_Positions):
    """Adds a learned vector for each position: ``x_t + weight[offset + t]``.

    Args:
        max_length: positions there are.
        num_features: features of a token.
        std: of the normal distribution of the initial weights.
        dtype: default float32.
        generator: source of the initial values.
    Shapes:
        (..., length, num_features) -> the same; `weight` (max_length, num_features).
    Raises:
        As `SinusoidalPositions`.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.LearnedPositions(10, 4)
        >>> layer(cr.zeros((3, 2, 4))).shape
        (3, 2, 4)

    Reference:
        Gehring et al., Convolutional sequence to sequence learning, ICML 2017, section 3.1.
    """

    def __init__(self, max_length: int, num_features: int, std: float = 0.02, dtype: Any = None, generator: Any = None):
        super().__init__(max_length, num_features)
        self.std = std
        dtype = default_float if dtype is None else as_dtype(dtype)
        self.weight = Parameter(fn.empty((max_length, num_features), dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values."""
        init.normal_(self.weight, 0.0, self.std, generator)

    def forward(self, input: Tensor, offset: Any = 0) -> Tensor:
        """`input` plus the rows from `offset` (a number, or an integer tensor of shape ()) on."""
        return input + self._rows(input, self.weight, offset)


def apply_rotary(input: Tensor, offset: Any = 0, base: float = 10000.0, interleaved: bool = True) -> Tensor:
    """Turn pairs of features by angles that grow with the position, so that products of two depend on their distance.

    ``(x_2i, x_2i+1) -> (x_2i cos a - x_2i+1 sin a, x_2i sin a + x_2i+1 cos a)`` with ``a = t base^(-2i / E)``

    Args:
        input: queries or keys (..., length, E), E even, floating.
        offset: position of the first one: a number, or an integer tensor of shape ().
        base: longest wave over 2 pi.
        interleaved: pairs are neighbours, as in the paper; False pairs feature i with i + E / 2.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: E is odd, or there are fewer than two axes.
    Numerics:
        Angles are computed in float64.
    Example:
        >>> import chainrule as cr
        >>> x = cr.nn.apply_rotary(cr.asarray([[1.0, 0.0], [1.0, 0.0]]))
        >>> [round(value, 4) for value in x[1].tolist()]  # cos 1, sin 1
        [0.5403, 0.8415]

    Reference:
        Su et al., RoFormer: enhanced transformer with rotary position embedding, arXiv 2104.09864, section 3.2.
    """
    check_tensor("apply_rotary", input)
    if input.ndim < 2 or input.shape[-1] % 2:
        problem = f"input has shape {tuple(input.shape)}, it needs (..., length, an even number of features)"
        fail(ShapeError, "apply_rotary", problem, (input,))
    *lead, length, width = input.shape
    half = width // 2
    waves = base ** (-np.arange(half) / half)
    if isinstance(offset, Tensor):
        position = (offset + fn.arange(length)).astype(float64)
        angles = position[:, None] * fn.asarray(waves)
        cosine, sine = fn.cos(angles).astype(input.dtype), fn.sin(angles).astype(input.dtype)
    else:
        table = np.arange(offset, offset + length)[:, None] * waves
        cosine, sine = fn.asarray(np.cos(table)).astype(input.dtype), fn.asarray(np.sin(table)).astype(input.dtype)
    pairs = fn.reshape(input, (*lead, length, half, 2) if interleaved else (*lead, length, 2, half))
    first, second = (pairs[..., i] if interleaved else pairs[..., i, :] for i in range(2))
    turned = fn.stack([first * cosine - second * sine, first * sine + second * cosine], axis=-1 if interleaved else -2)
    return fn.reshape(turned, tuple(input.shape))
