"""What operations with sliding windows share: settings an axis, examples without a batch axis, channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions as fn
from ..errors import ConfigError, DTypeError, ShapeError
from ..tensor import Tensor
from ._common import check_floating, check_tensor, fail

Shape = tuple[int, ...]
WORDS = {1: "one number", 2: "a number or two", 3: "a number or three"}


def each_of(value: Any, count: int) -> tuple[Any, ...]:
    """`value`, one for all of `count` axes or a sequence of them (a vector of NumPy too), as a tuple."""
    several = isinstance(value, (tuple, list)) or getattr(value, "ndim", 0) == 1
    return tuple(value) if several else (value,) * count


def per_axis(name: str, value: Any, count: int, argument: str, least: int) -> Shape:
    """`value`, a whole number or one for each of `count` axes, as a tuple; ConfigError if one is below `least`."""
    values = each_of(value, count)
    if len(values) == 1:
        values = values * count
    whole = all(hasattr(v, "__index__") and not isinstance(v, bool) for v in values)
    if not whole or len(values) != count or min(values) < least:
        fail(ConfigError, name, f"{argument} must be {WORDS[count]}, whole and at least {least}, not {value!r}")
    return tuple(v.__index__() for v in values)


def with_batch(name: str, input: Tensor, count: int) -> tuple[Tensor, bool]:
    """`input` as (N, C, *spatial), and whether the batch axis had to be added."""
    check_tensor(name, input)
    rank = len(input.shape)
    if rank not in (count + 1, count + 2):
        fail(ShapeError, name, f"input has {rank} axes, not {count + 2} (N, C, ...) or {count + 1} (C, ...)", (input,))
    return (input, False) if rank == count + 2 else (fn.expand_dims(input, 0), True)


def without_batch(output: Tensor, added: bool) -> Tensor:
    """`output` without the batch axis, if `with_batch` has added it."""
    return fn.squeeze(output, 0) if added else output


def check_kernel(
    name: str, input: Tensor, weight: Tensor, bias: Tensor | None, count: int, outputs: Callable[[], int], groups: Any
) -> None:
    """Errors for a weight or a bias that does not belong to `input`; `outputs` tells how many channels are made."""
    check_floating(name, input, kinds="fc")
    if not isinstance(input, Tensor):
        fail(DTypeError, name, f"input is {type(input).__name__}, not a Tensor", (input,))
    for other, word in ((weight, "weight"),) if bias is None else ((weight, "weight"), (bias, "bias")):
        check_tensor(name, other, word)
        if other.dtype is not input.dtype:
            fail(DTypeError, name, f"input is {input.dtype.name}, {word} is {other.dtype.name}", (input, other),
                 f"convert the input with .astype(chainrule.{other.dtype.name}), "
                 f"or the module with .to(chainrule.{input.dtype.name})")  # fmt: skip
    if len(weight.shape) != count + 2:
        fail(ShapeError, name, f"weight has {len(weight.shape)} axes, not {count + 2}", (input, weight))
    if not hasattr(groups, "__index__") or groups < 1:
        fail(ConfigError, name, f"groups must be a positive whole number, not {groups!r}")
    if bias is not None and tuple(bias.shape) != (outputs(),):
        fail(ShapeError, name, f"bias has shape {tuple(bias.shape)}, the output has {outputs()} channels", (bias,))


def add_bias(output: Tensor, bias: Tensor | None, count: int) -> Tensor:
    """`output` (N, C, *spatial) plus one number a channel."""
    return output if bias is None else output + fn.reshape(bias, (bias.shape[0],) + (1,) * count)
