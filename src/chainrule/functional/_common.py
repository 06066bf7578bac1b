"""What the functional operations share: error messages, checks of shapes and dtypes, reductions."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from .. import functions as fn
from .. import runtime
from ..errors import CompileError, DTypeError, ShapeError
from ..ops.base import message, misuse
from ..tensor import Tensor, node_of, state

_CONVERT = "convert it with chainrule.asarray(...); compiled functions do so with their arguments"
REDUCTIONS = ("mean", "sum", "none")


def fail(kind: type[Exception], name: str, problem: str, operands: tuple[Tensor, ...] = (), help: str = "") -> NoReturn:
    """Raise `kind` in the house form: operation, problem, operand types, the user's line, the cure."""
    if any(isinstance(operand, np.ndarray) for operand in operands):  # its dtype would look right, and is another
        problem = "an operand is a NumPy array, not a Tensor"
        raise DTypeError(message(name, problem, operands, _CONVERT))  # type: ignore[arg-type]
    raise kind(message(name, problem, operands, help))  # type: ignore[arg-type]


def check_tensor(name: str, value: Any, argument: str = "input") -> None:
    """DTypeError unless `value` is a tensor; a NumPy array passes, which some functions take and `fail` tells of."""
    if not isinstance(value, (Tensor, np.ndarray)):
        _no_tensor(name, value, argument)


def _no_tensor(name: str, value: Any, argument: str) -> NoReturn:
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."  # torch.Tensor is a Tensor as well
    what = "None" if value is None else where + kind.__qualname__
    fail(DTypeError, name, f"{argument} is {what}, which is no tensor", (), "" if value is None else _CONVERT)


def as_tensor(value: Any, name: str, argument: str) -> Tensor:
    """`value` as a tensor; a DTypeError says which argument cannot be one."""
    if isinstance(value, Tensor):
        return value
    try:
        return fn.asarray(value)
    except (TypeError, ValueError):
        _no_tensor(name, value, argument)


def check_floating(name: str, tensor: Tensor, argument: str = "input", kinds: str = "f") -> None:
    """DTypeError unless `tensor` is one and has a floating dtype, or one of other `kinds`."""
    check_tensor(name, tensor, argument)
    if tensor.dtype.kind not in kinds:
        fail(DTypeError, name, f"{argument} must be floating, not {tensor.dtype.name}", (tensor,),
             f"convert it with {argument}.astype(chainrule.float32)")  # fmt: skip


def check_number(name: str, argument: str, value: Any, least: float = -math.inf) -> Any:
    """`value`, if it is a number and at least `least`, else ConfigError; one of NumPy or a tensor is a number, too."""
    shape = tuple(getattr(value, "shape", ()))
    if shape or not hasattr(value, "__float__") or (not isinstance(value, Tensor) and value < least):
        bound = "" if least == -math.inf else f", at least {least:g}"
        given = f"one of shape {shape}" if shape else repr(value)
        raise misuse(f"{name}: {argument} must be a number{bound}, not {given}")
    return value


def check_reduction(name: str, reduction: str, extra: tuple[str, ...] = ()) -> None:
    """ConfigError unless `reduction` is one of 'mean', 'sum', 'none' and `extra`."""
    if reduction not in REDUCTIONS and reduction not in extra:
        names = ", ".join(repr(r) for r in REDUCTIONS + extra)
        raise misuse(f"{name}: reduction must be one of {names}, not {reduction!r}")


def same_shape(name: str, input: Tensor, target: Tensor, argument: str = "target") -> Tensor:
    """`target`, checked to have the shape and the dtype of `input`: losses never broadcast.

    A loss of (n, 1) against (n,) would broadcast to (n, n) and train towards the mean of the targets.
    Integer and bool targets are converted, because 0/1 labels and counts are often stored so.
    """
    if input.shape != target.shape:
        a, b = tuple(input.shape), tuple(target.shape)
        help = f"losses do not broadcast: give {argument} the shape {a}"
        if a == b + (1,):
            help += f", with {argument}.unsqueeze(-1), or take input.squeeze(-1)"
        elif b == a + (1,):
            help += f", with {argument}.squeeze(-1)"
        fail(ShapeError, name, f"input has shape {a}, {argument} has shape {b}", (input, target), help)
    if target.dtype is not input.dtype:
        if target.dtype.kind == "f":
            fail(DTypeError, name, f"input is {input.dtype.name}, {argument} is {target.dtype.name}", (input, target),
                 f"convert one, for instance {argument}.astype(chainrule.{input.dtype.name})")  # fmt: skip
        target = target.astype(input.dtype)
    return target


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or each of the `losses`."""
    if reduction == "mean":
        return fn.mean(losses)
    if reduction == "sum":
        return fn.sum(losses)
    return losses


def axis_of(name: str, tensor: Tensor, dim: int) -> int:
    """`dim` counted from the front, or ShapeError."""
    rank = len(tensor.shape)
    if not isinstance(dim, int) or not -rank <= dim < rank:
        fail(ShapeError, name, f"dim {dim} is out of range for {rank} axes", (tensor,))
    return dim + rank if dim < 0 else dim


def write_state(name: str, tensor: Tensor, value: Tensor) -> None:
    """Give `tensor`, state of a layer, a new value.

    Uncompiled, it is evaluated with whatever is evaluated next, which is the step that it belongs to: nobody may ever
    read it, and a chain of pending updates would keep every former step.
    """
    node = node_of(value.detach())
    differs = getattr(state.trace, "differs", None)  # inside vmap
    if differs is not None and differs(node):
        fail(CompileError, name, "inside vmap the state that it writes would differ from example to example", (tensor,),
             "call eval() on the layer, or let it keep no state")  # fmt: skip
    tensor._rebind(node)
    if state.trace is None:
        runtime.evaluate_with_next(node)
