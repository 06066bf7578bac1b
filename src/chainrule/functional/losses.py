"""Losses for classes and for probabilities, with PyTorch's names, arguments and defaults; in nats.

A loss is the negative log-likelihood of a distribution (see `chainrule.objectives`). `reduction` is explicit:
the lectures take the mean (003) and the sum (004). No loss broadcasts its target.
"""

from __future__ import annotations

from .. import functions as fn
from ..errors import DTypeError, ShapeError
from ..ops.base import misuse
from ..tensor import Tensor
from ._common import as_tensor, check_floating, check_number, check_reduction, fail, reduce, same_shape
from ._labels import check_label_type, check_labels, class_mask


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of classes under ``softmax(input)``: ``-log p_y = log sum_c exp(z_c) - z_y``.

    With label smoothing e and C classes the target is ``(1 - e) onehot(y) + e / C``; with class weights each term of
    class c is multiplied by ``w_c``, and the mean divides by the sum of the weights of the labels.

    Args:
        input: logits z, (classes,), (batch, classes) or (batch, classes, d1, ...), floating.
        target: labels, integer, the shape of `input` without the class axis; or class probabilities, floating, the
            shape of `input`.
        weight: (classes,), the dtype of `input`.
        ignore_index: examples with this label count for nothing (labels only).
        reduction: 'mean' (over the examples that count), 'sum' or 'none'.
        label_smoothing: e in [0, 1].
    Returns:
        A scalar, or the shape of the labels for 'none'; the dtype of `input`.
    Raises:
        IndexOutOfRangeError: a label is not in [0, classes), naming both; when the step runs, if it is compiled.
        ShapeError, DTypeError: the operands do not fit.
    Numerics:
        The largest logit is subtracted first; 1000 and -1000 as logits are exact. The gradient is
        ``softmax(z) - onehot(y)``.
    Example:
        >>> import chainrule as cr
        >>> z = cr.asarray([[0.0, 0.0], [0.0, 0.0]])
        >>> round(float(cr.functional.cross_entropy(z, cr.asarray([0, 1]))), 4)
        0.6931

    Reference:
        Lectures 000 and 002 (O5); Szegedy et al., Rethinking the Inception architecture, 2016, for label smoothing.
    """
    name = "cross_entropy"
    target = as_tensor(target, name, "target")
    check_floating(name, input)
    check_reduction(name, reduction)
    if not 0.0 <= check_number(name, "label_smoothing", label_smoothing) <= 1.0:
        raise misuse(f"{name}: label_smoothing must lie between 0 and 1, not {label_smoothing}")
    axis = _class_axis(name, input)
    weight = _class_weight(name, input, weight, axis)
    if target.dtype.kind == "f" and target.shape == input.shape:
        return _soft_cross_entropy(input, same_shape(name, input, target), weight, axis, reduction, label_smoothing)
    check_label_type(name, input, target, axis)
    shifted = input - fn.max(input, axis=axis, keepdims=True).detach()
    log_sum = fn.log(fn.sum(fn.exp(shifted), axis=axis))
    labels, may_ignore = check_labels(name, target, input.shape[axis], ignore_index)
    mask = class_mask(labels, input.shape[axis], axis)
    losses = log_sum - fn.sum(fn.where(mask, shifted, 0), axis=axis)
    weights = None if weight is None else fn.sum(fn.where(mask, weight, 0), axis=axis)
    if weights is not None:
        losses = losses * weights
    if label_smoothing:
        num_classes = input.shape[axis]
        if weight is None:
            spread = log_sum - fn.sum(shifted, axis=axis) / num_classes
        else:
            spread = (log_sum * fn.sum(weight) - fn.sum(weight * shifted, axis=axis)) / num_classes
        losses = losses * (1.0 - label_smoothing) + spread * label_smoothing
    return _reduce_labelled(losses, target, weights, ignore_index if may_ignore else None, reduction)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, axis: int, reduction: str, label_smoothing: float
) -> Tensor:
    """``-sum_c w_c y_c log p_c``; the mean divides by the number of examples, as PyTorch's does."""
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / input.shape[axis]
    if weight is not None:
        target = target * weight
    shifted = input - fn.max(input, axis=axis, keepdims=True).detach()
    log_sum = fn.log(fn.sum(fn.exp(shifted), axis=axis, keepdims=True))
    return reduce(fn.sum(target * (log_sum - shifted), axis=axis), reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood from log-probabilities: ``-w_y input_y``; after `log_softmax` it is `cross_entropy`.

    Args:
        input: log-probabilities, shapes as for `cross_entropy`.
        target, weight, ignore_index, reduction: as for `cross_entropy` with labels.
    Returns, Raises: as `cross_entropy`.
    Example:
        >>> import chainrule as cr
        >>> F = cr.functional
        >>> z, y = cr.asarray([[1.0, 2.0]]), cr.asarray([1])
        >>> round(float(F.nll_loss(F.log_softmax(z, dim=1), y) - F.cross_entropy(z, y)), 6)
        0.0
    """
    name = "nll_loss"
    target = as_tensor(target, name, "target")
    check_floating(name, input)
    check_reduction(name, reduction)
    axis = _class_axis(name, input)
    weight = _class_weight(name, input, weight, axis)
    check_label_type(name, input, target, axis)
    labels, may_ignore = check_labels(name, target, input.shape[axis], ignore_index)
    mask = class_mask(labels, input.shape[axis], axis)
    losses = -fn.sum(fn.where(mask, input, 0), axis=axis)
    weights = None if weight is None else fn.sum(fn.where(mask, weight, 0), axis=axis)
    if weights is not None:
        losses = losses * weights
    return _reduce_labelled(losses, target, weights, ignore_index if may_ignore else None, reduction)


def _class_axis(name: str, input: Tensor) -> int:
    if not input.shape:
        fail(ShapeError, name, "input has no class axis", (input,), "give logits of shape (batch, classes)")
    axis = 0 if len(input.shape) == 1 else 1
    if input.shape[axis] == 0:
        fail(ShapeError, name, "input has no classes", (input,))
    return axis


def _class_weight(name: str, input: Tensor, weight: Tensor | None, axis: int) -> Tensor | None:
    """`weight` laid along the class axis of `input`, or None."""
    if weight is None:
        return None
    weight = as_tensor(weight, name, "weight")
    if tuple(weight.shape) != (input.shape[axis],):
        fail(ShapeError, name, f"weight has shape {tuple(weight.shape)}, input has {input.shape[axis]} classes",
             (input, weight), "give one weight a class")  # fmt: skip
    if weight.dtype is not input.dtype:
        fail(DTypeError, name, f"input is {input.dtype.name}, weight is {weight.dtype.name}", (input, weight),
             f"convert it with weight.astype(chainrule.{input.dtype.name})")  # fmt: skip
    return fn.reshape(weight, (-1,) + (1,) * (len(input.shape) - axis - 1))


def _reduce_labelled(
    losses: Tensor, labels: Tensor, weights: Tensor | None, ignore_index: int | None, reduction: str
) -> Tensor:
    """Reduce per-label losses; `ignore_index` is None where no label can equal it.

    The mean is a sum divided by a count in every case, so that a step whose labels are known and one whose labels are
    placeholders give the same bits.
    """
    valid = None
    if ignore_index is not None:
        valid = labels != ignore_index
        losses = fn.where(valid, losses, 0)
    if reduction == "none":
        return losses
    total = fn.sum(losses)
    if reduction == "sum":
        return total
    if weights is not None:
        return total / fn.sum(weights if valid is None else fn.where(valid, weights, 0))
    return total / (float(losses.size) if valid is None else fn.sum(valid.astype(losses.dtype)))


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Bernoulli negative log-likelihood from probabilities: ``-(y log p + (1 - y) log(1 - p))``.

    Args:
        input: probabilities p in [0, 1], any shape, floating.
        target: y in [0, 1], the shape of `input`; integers and bools are converted.
        weight: factor of each term, broadcast against `input`.
        reduction: 'mean', 'sum' or 'none'.
    Raises:
        ShapeError: the shapes differ.
    Numerics:
        Logarithms are at least -100, as PyTorch's, and have derivative 0 there. `binary_cross_entropy_with_logits`
        needs no such bound: prefer it.
    Example:
        >>> import chainrule as cr
        >>> round(float(cr.functional.binary_cross_entropy(cr.asarray([0.5]), cr.asarray([1.0]))), 4)
        0.6931
    """
    name = "binary_cross_entropy"
    check_floating(name, input)
    check_reduction(name, reduction)
    target = same_shape(name, input, as_tensor(target, name, "target"))
    impossible, certain = input == 0, input == 1
    log_p = fn.where(impossible, -100.0, fn.log(fn.where(impossible, 1, input)))
    log_q = fn.where(certain, -100.0, fn.log1p(-fn.where(certain, 0, input)))
    losses = (target - 1.0) * log_q - target * log_p
    return reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Bernoulli negative log-likelihood from logits: ``max(z, 0) - z y + log(1 + exp(-|z|))``.

    In terms of the margin ``m = (2 y - 1) z`` it is the log loss ``log(1 + exp(-m))``. (Lecture 002 takes scores
    ``s = z / 2``, so its margin is ``2 y s`` with y = -1 or 1: the same m.)

    Args:
        input: logits z, any shape, floating.
        target: y in [0, 1], the shape of `input`; integers and bools are converted.
        weight: factor of each term, broadcast against `input`.
        reduction: 'mean', 'sum' or 'none'.
        pos_weight: factor of the terms of positive examples, broadcast against `input`.
    Raises:
        ShapeError: the shapes differ.
    Numerics:
        Neither overflow nor loss of digits for any finite z; the gradient is ``sigmoid(z) - y``.
    Example:
        >>> import chainrule as cr
        >>> F = cr.functional
        >>> F.binary_cross_entropy_with_logits(cr.asarray([-1000.0]), cr.asarray([1.0])).item()
        1000.0
    """
    name = "binary_cross_entropy_with_logits"
    check_floating(name, input)
    check_reduction(name, reduction)
    target = same_shape(name, input, as_tensor(target, name, "target"))
    tail = fn.log1p(fn.exp(-fn.abs(input)))
    if pos_weight is None:
        losses = fn.maximum(input, 0) - input * target + tail
    else:
        pos_weight = as_tensor(pos_weight, name, "pos_weight")
        factor = (pos_weight - 1.0) * target + 1.0
        losses = (1.0 - target) * input + factor * (tail + fn.maximum(-input, 0))
    return reduce(losses if weight is None else losses * weight, reduction)


def kl_div(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Terms of the Kullback-Leibler divergence: ``q (log q - log p)``, with 0 log 0 = 0.

    Args:
        input: log p, floating.
        target: q (or log q if `log_target`), the shape of `input`.
        reduction: 'batchmean' divides the sum by the first extent, which is the divergence's mean over a batch;
            'mean' divides by the number of elements, as PyTorch's; 'sum'; 'none'.
        log_target: whether `target` holds log q.
    Example:
        >>> import chainrule as cr
        >>> p = cr.asarray([[0.5, 0.5]])
        >>> q = cr.asarray([[1.0, 0.0]])
        >>> round(float(cr.functional.kl_div(cr.log(p), q, reduction="batchmean")), 4)
        0.6931
    """
    name = "kl_div"
    check_floating(name, input)
    check_reduction(name, reduction, ("batchmean",))
    target = same_shape(name, input, as_tensor(target, name, "target"))
    if log_target:
        terms = fn.exp(target) * (target - input)
    else:
        present = target > 0
        log_q = fn.log(fn.where(present, target, 1))
        terms = fn.where(present, target * (log_q - input), 0)
    if reduction == "batchmean":
        return fn.sum(terms) / max(input.shape[0] if input.shape else 1, 1)
    return reduce(terms, reduction)
