"""The linear map, dropout and one-hot coding."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from .. import random
from ..dtypes import int64
from ..errors import ConfigError, DTypeError, ShapeError
from ..functions.products import matmul
from ..tensor import Tensor
from ._common import check_floating, check_tensor, fail
from ._labels import check_labels, class_mask


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Affine map of the last axis: ``y = x W^T + b``.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features), the dtype of `input`.
        bias: (out_features,) or None.
    Returns:
        (..., out_features).
    Raises:
        ShapeError: the features do not match, with both numbers.
        DTypeError: the dtypes differ; there is no silent conversion.
    Example:
        >>> import chainrule as cr
        >>> x, w, b = cr.asarray([1.0, 2.0]), cr.asarray([[3.0, 4.0]]), cr.asarray([0.5])
        >>> cr.functional.linear(x, w, b).tolist()
        [11.5]
    """
    for value, argument in ((input, "input"), (weight, "weight")):
        check_tensor("linear", value, argument)
    if input.dtype is not weight.dtype:
        fail(DTypeError, "linear", f"input is {input.dtype.name}, weight is {weight.dtype.name}", (input, weight),
             f"convert the input with .astype(chainrule.{weight.dtype.name}), "
             f"or the module with .to(chainrule.{input.dtype.name})")  # fmt: skip
    if not 1 <= len(weight.shape) <= 2:
        fail(ShapeError, "linear", f"weight has {len(weight.shape)} axes, it needs 2", (input, weight),
             "the weight is stored as (out_features, in_features)")  # fmt: skip
    if not input.shape or input.shape[-1] != weight.shape[-1]:
        features = input.shape[-1] if input.shape else 0
        help = "the weight is stored as (out_features, in_features)"
        if len(weight.shape) == 2 and features == weight.shape[0]:
            help += ", so this one looks transposed"
        fail(ShapeError, "linear", f"input has {features} features (last axis), weight takes {weight.shape[-1]}",
             (input, weight), help)  # fmt: skip
    if bias is not None:
        check_tensor("linear", bias, "bias")
        if bias.dtype is not input.dtype:
            fail(DTypeError, "linear", f"input is {input.dtype.name}, bias is {bias.dtype.name}", (input, bias),
                 f"convert the bias with .astype(chainrule.{input.dtype.name})")  # fmt: skip
        if len(weight.shape) == 2 and bias.shape and bias.shape[-1] not in (1, weight.shape[0]):
            fail(ShapeError, "linear", f"bias has shape {tuple(bias.shape)}, the output has {weight.shape[0]} features",
                 (input, weight, bias))  # fmt: skip
    output = matmul(input, weight.T if len(weight.shape) == 2 else weight)
    return output if bias is None else output + bias


def check_probability(name: str, p: Any, argument: str = "p") -> None:
    """ConfigError unless `p` is a tensor, or a number in [0, 1]."""
    if isinstance(p, Tensor):
        return
    if isinstance(p, str) or not hasattr(p, "__float__") or not 0.0 <= p <= 1.0:
        fail(ConfigError, name, f"{argument} must lie between 0 and 1, not {p!r}")


def dropout(input: Tensor, p: Any = 0.5, training: bool = True, generator: Any = None) -> Tensor:
    """Set each element to 0 with probability `p` and divide the others by ``1 - p``, which keeps the expectation.

    Args:
        input: any shape, floating.
        p: probability of dropping: a number, or a tensor of shape () and dtype float64.
        training: False returns `input` itself.
        generator: source of the random numbers; default the global one (`chainrule.manual_seed`).
    Returns:
        The shape and dtype of `input`.
    Raises:
        ConfigError: `p` is outside [0, 1].
    Numerics:
        One tick of the generator a call. The mask is a function of the key, so a backward pass can recompute it.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.dropout(cr.ones((3,)), p=0.5, training=False).tolist()
        [1.0, 1.0, 1.0]

    Reference:
        Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15, 2014.
    """
    check_probability("dropout", p)
    if not training or (isinstance(p, (int, float)) and p == 0):
        return input
    check_floating("dropout", input)
    uniform = random.uniform(shape=input.shape, dtype=input.dtype, generator=generator)
    # The floor keeps the scale finite for p = 1, where every element is dropped: 0 * inf would give NaN derivatives.
    if isinstance(p, Tensor):
        scale = (1.0 / fn.maximum(1.0 - p, 1e-30)).astype(input.dtype)
        kept = uniform >= p.astype(input.dtype)
    else:
        scale = 1.0 / max(1.0 - p, 1e-30)
        kept = uniform >= p
    return fn.where(kept, input * scale, 0)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Indicator vectors: ``out[..., k] = 1 if input[...] == k else 0``.

    Args:
        input: class indices, any integer dtype and shape (...).
        num_classes: number of classes K; -1 takes the largest index plus one, which reads the values.
    Returns:
        (..., K), int64.
    Raises:
        DTypeError: `input` is not integer.
        IndexOutOfRangeError: an index is negative or not below K.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.one_hot(cr.asarray([0, 2]), 3).tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    check_tensor("one_hot", input)
    if input.dtype.kind not in "iu":
        fail(DTypeError, "one_hot", f"indices must be integer, not {input.dtype.name}", (input,))
    if num_classes == -1:
        num_classes = int(fn.max(input)) + 1 if input.size else 0
    if not hasattr(num_classes, "__index__") or num_classes < 1:
        problem = f"num_classes must be a whole number, at least 1 (or -1 to infer it), not {num_classes}"
        fail(ConfigError, "one_hot", problem)
    labels, _ = check_labels("one_hot", input, num_classes, None)
    return class_mask(labels, num_classes, len(input.shape)).astype(int64)
