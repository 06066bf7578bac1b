"""`autocast`: products of float32 operands in bfloat16 or float16."""

from __future__ import annotations

import functools
from typing import Any

from .dtypes import DType, as_dtype
from .ops.base import misuse, mode


class autocast:
    """Record contractions and convolutions of float32 operands in a lower precision; as context manager or decorator.

    out = sum over k of low(a[k]) low(b[k]), added up in float32

    Inside, matrix products, `einsum` and convolutions round their float32 operands to `dtype` and give float32 results.
    Everything else, parameters, optimisers and losses among it, stays as it is. Gradients of such a product are
    products of the same precision, wherever `backward` is called. Contexts nest; the innermost counts.

    Args:
        dtype: ``"bfloat16"`` (the range of float32, 8 binary digits) or ``"float16"`` (11 digits, but gradients
            below 6e-8 vanish and numbers above 65504 overflow: see `chainrule.optim.GradScaler`).
        enabled: False records in full precision again.

    Raises:
        ConfigError: another dtype.

    Numerics:
        Products with a vector are recorded as multiplication and sum, in float32. Operands of float64, float16 and
        bfloat16 are left alone. Where the host multiplies bfloat16 pairs (AVX512-BF16), subnormal operands count as 0.

    Example:
        >>> import chainrule as cr
        >>> a = cr.full((2, 2), 1.001)
        >>> with cr.autocast("bfloat16"):
        ...     b = a @ a
        >>> b
        tensor([[2., 2.],
                [2., 2.]])

    Reference:
        Micikevicius et al., Mixed precision training, ICLR 2018.
    """

    __slots__ = ("_before", "_precision")

    def __init__(self, dtype: Any = "bfloat16", enabled: bool = True):
        if dtype == "cpu":
            raise misuse("autocast: the first argument is the dtype\nhelp: write autocast('bfloat16')")
        wanted = as_dtype(dtype)
        if not wanted.is_half:
            raise misuse(f"autocast: the dtype is bfloat16 or float16, not {wanted.name}")
        self._precision: DType | None = wanted if enabled else None
        self._before: list[DType | None] = []

    def __enter__(self) -> None:
        self._before.append(mode.precision)
        mode.precision = self._precision

    def __exit__(self, *exception: Any) -> None:
        mode.precision = self._before.pop()

    def __call__(self, function: Any) -> Any:
        precision = self._precision

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before = mode.precision
            mode.precision = precision
            try:
                return function(*args, **kwargs)
            finally:
                mode.precision = before

        return wrapped
