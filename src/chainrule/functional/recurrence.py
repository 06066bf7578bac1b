"""Recurrent networks as functions: one step of a cell, and one layer over a whole sequence.

A layer multiplies the inputs of all time steps by the input weights at once; the loop over time multiplies the hidden
state by the recurrent weights and does what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions as fn
from ..control.looping import scan
from ..dtypes import int64, uint64
from ..errors import DTypeError, ShapeError
from ..functions.products import matmul
from ..ops.base import emit
from ..tensor import Tensor, node_of
from ._common import as_tensor, fail
from .activations import relu, sigmoid, tanh
from .basic import linear

Activation = Callable[[Tensor], Tensor]
#: activations of simple recurrent networks by PyTorch's names
NONLINEARITIES: dict[str, Activation] = {"tanh": tanh, "relu": relu}


def rnn_cell(
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
) -> Tensor:
    """One step of a simple recurrent network: ``h' = activation(W_ih x + b_ih + W_hh h + b_hh)``.

    Args:
        input: x (batch, input_size).
        hidden: h (batch, hidden_size), of the same dtype.
        weight_ih, weight_hh: (hidden_size, input_size) and (hidden_size, hidden_size).
        bias_ih, bias_hh: (hidden_size,) or None.
        activation: elementwise, default tanh.
    Returns:
        h' (batch, hidden_size).
    Raises:
        ShapeError, DTypeError: sizes or dtypes do not fit.
    Example:
        >>> import chainrule as cr
        >>> F = cr.nn.functional
        >>> F.rnn_cell(cr.ones((1, 2)), cr.zeros((1, 3)), cr.zeros((3, 2)), cr.zeros((3, 3))).tolist()
        [[0.0, 0.0, 0.0]]

    Reference:
        Elman, Finding structure in time, Cognitive Science 14, 1990.
    """
    _check("rnn_cell", input, hidden, weight_ih, weight_hh, 1)
    return _rnn_step(linear(input, weight_ih, _sum(bias_ih, bias_hh)), hidden, weight_hh, activation)


def lstm_cell(
    input: Tensor,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
    gate_activation: Activation = sigmoid,
) -> tuple[Tensor, Tensor]:
    """One step of a long short-term memory cell.

    With gates i, f, g, o of ``W_ih x + b_ih + W_hh h + b_hh``, in this order along the rows of the weights:
    ``c' = gate(f) c + gate(i) act(g)`` and ``h' = gate(o) act(c')``.

    Args:
        input: x (batch, input_size).
        state: the pair (h, c), each (batch, hidden_size).
        weight_ih, weight_hh: (4 hidden_size, input_size) and (4 hidden_size, hidden_size).
        bias_ih, bias_hh: (4 hidden_size,) or None.
        activation: act, default tanh; the textbook variant with the sigmoid throughout passes `sigmoid`.
        gate_activation: gate, default the sigmoid.
    Returns:
        The pair (h', c').
    Raises:
        ShapeError, DTypeError: sizes or dtypes do not fit.
    Example:
        >>> import chainrule as cr
        >>> zero = cr.zeros((1, 3))
        >>> h, c = cr.nn.functional.lstm_cell(cr.ones((1, 2)), (zero, zero), cr.zeros((12, 2)), cr.zeros((12, 3)))
        >>> h.shape, c.shape
        ((1, 3), (1, 3))

    Reference:
        Hochreiter, Schmidhuber, Long short-term memory, Neural Computation 9, 1997; forget gates: Gers,
        Schmidhuber, Cummins, Learning to forget, Neural Computation 12, 2000.
    """
    hidden, cell = state
    _check("lstm_cell", input, hidden, weight_ih, weight_hh, 4)
    if cell.shape != hidden.shape:
        fail(ShapeError, "lstm_cell", f"h has shape {hidden.shape}, c has shape {cell.shape}", (hidden, cell))
    projected = linear(input, weight_ih, _sum(bias_ih, bias_hh))
    return _lstm_step(projected, hidden, cell, weight_hh, activation, gate_activation)


def gru_cell(
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
    gate_activation: Activation = sigmoid,
) -> Tensor:
    """One step of a gated recurrent unit.

    With ``a = W_ih x + b_ih`` and ``b = W_hh h + b_hh``, whose rows are those of r, z and n in this order:
    ``r = gate(a_r + b_r)``, ``z = gate(a_z + b_z)``, ``n = act(a_n + r b_n)``, ``h' = (1 - z) n + z h``.

    Args:
        input: x (batch, input_size).
        hidden: h (batch, hidden_size).
        weight_ih, weight_hh: (3 hidden_size, input_size) and (3 hidden_size, hidden_size).
        bias_ih, bias_hh: (3 hidden_size,) or None.
        activation, gate_activation: act and gate, default tanh and the sigmoid.
    Returns:
        h' (batch, hidden_size).
    Raises:
        ShapeError, DTypeError: sizes or dtypes do not fit.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.functional.gru_cell(cr.ones((1, 2)), cr.ones((1, 3)), cr.zeros((9, 2)), cr.zeros((9, 3))).tolist()
        [[0.5, 0.5, 0.5]]

    Reference:
        Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014, in the variant whose
        reset gate acts behind the product.
    """
    _check("gru_cell", input, hidden, weight_ih, weight_hh, 3)
    projected = linear(input, weight_ih, bias_ih)
    return _gru_step(projected, hidden, weight_hh, bias_hh, activation, gate_activation)


def rnn_layer(
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """`rnn_cell` over a sequence (length, batch, input_size): (hidden states (length, batch, hidden_size), the last).

    Args:
        lengths: (batch,), integer: how many steps of each sequence count. The state does not move beyond them, and
            the result is 0 there.
        reverse: from the last step to the first.
    Example:
        >>> import chainrule as cr
        >>> x, h = cr.zeros((5, 2, 4)), cr.zeros((2, 3))
        >>> outputs, last = cr.functional.rnn_layer(x, h, cr.ones((3, 4)), cr.ones((3, 3)))
        >>> outputs.shape, last.shape
        ((5, 2, 3), (2, 3))
    """
    _check_sequence("rnn_layer", input, hidden, weight_ih, weight_hh, 1)
    projected = _project(input, weight_ih, _sum(bias_ih, bias_hh))

    def step(state: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        return (_rnn_step(x, state[0], weight_hh, activation),)

    outputs, (last,) = _over_time("rnn_layer", step, (hidden,), projected, lengths, reverse)
    return outputs, last


def lstm_layer(
    input: Tensor,
    state: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
    gate_activation: Activation = sigmoid,
    lengths: Tensor | None = None,
    reverse: bool = False,
    weight_hr: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """`lstm_cell` over a sequence (length, batch, input_size): (hidden states, the last (h, c)). See `rnn_layer`.

    Args:
        weight_hr: (proj_size, hidden_size) makes ``h_t = W_hr (gate(o) act(c_t))``; then h, and the columns of
            `weight_hh`, are `proj_size` wide, c is `hidden_size` wide.
    Example:
        >>> import chainrule as cr
        >>> x, h = cr.zeros((5, 2, 4)), cr.zeros((2, 3))
        >>> outputs, (last, cell) = cr.functional.lstm_layer(x, (h, h), cr.ones((12, 4)), cr.ones((12, 3)))
        >>> outputs.shape, last.shape
        ((5, 2, 3), (2, 3))
    """
    hidden_size = weight_hh.shape[-1] if weight_hr is None else weight_hr.shape[-1]
    _check_sequence("lstm_layer", input, state[0], weight_ih, weight_hh, 4, hidden_size)
    projected = _project(input, weight_ih, _sum(bias_ih, bias_hh))

    def step(state: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        hidden, cell = _lstm_step(x, state[0], state[1], weight_hh, activation, gate_activation)
        return hidden if weight_hr is None else matmul(hidden, weight_hr.T), cell

    outputs, (hidden, cell) = _over_time("lstm_layer", step, state, projected, lengths, reverse)
    return outputs, (hidden, cell)


def gru_layer(
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    activation: Activation = tanh,
    gate_activation: Activation = sigmoid,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """`gru_cell` over a sequence (length, batch, input_size): (hidden states, the last). See `rnn_layer`.

    Example:
        >>> import chainrule as cr
        >>> x, h = cr.zeros((5, 2, 4)), cr.zeros((2, 3))
        >>> outputs, last = cr.functional.gru_layer(x, h, cr.ones((9, 4)), cr.ones((9, 3)))
        >>> outputs.shape, last.shape
        ((5, 2, 3), (2, 3))
    """
    _check_sequence("gru_layer", input, hidden, weight_ih, weight_hh, 3)
    projected = _project(input, weight_ih, bias_ih)

    def step(state: tuple[Tensor, ...], x: Tensor) -> tuple[Tensor, ...]:
        return (_gru_step(x, state[0], weight_hh, bias_hh, activation, gate_activation),)

    outputs, (last,) = _over_time("gru_layer", step, (hidden,), projected, lengths, reverse)
    return outputs, last


# --- steps, given the product of the input ------------------------------------------------------------------------


def _rnn_step(projected: Tensor, hidden: Tensor, weight: Tensor, activation: Activation) -> Tensor:
    return activation(matmul(hidden, weight.T) + projected)


def _lstm_step(
    projected: Tensor, hidden: Tensor, cell: Tensor, weight: Tensor, activation: Activation, gate: Activation
) -> tuple[Tensor, Tensor]:
    i, f, g, o = _parts(matmul(hidden, weight.T) + projected, 4)
    cell = gate(f) * cell + gate(i) * activation(g)
    return gate(o) * activation(cell), cell


def _gru_step(
    projected: Tensor, hidden: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation, gate: Activation
) -> Tensor:
    a_r, a_z, a_n = _parts(projected, 3)
    b_r, b_z, b_n = _parts(linear(hidden, weight, bias), 3)
    reset, update = gate(a_r + b_r), gate(a_z + b_z)
    new = activation(a_n + reset * b_n)
    return (1 - update) * new + update * hidden


def _project(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product of all inputs: one of matrices, so that adding the bias is part of it."""
    length, batch, features = input.shape
    rows = linear(fn.reshape(input, (length * batch, features)), weight, bias)
    return fn.reshape(rows, (length, batch, weight.shape[0]))


def _parts(x: Tensor, count: int) -> list[Tensor]:
    """Equal parts of the last axis."""
    size = x.shape[-1] // count
    return [x[..., n * size : (n + 1) * size] for n in range(count)]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _over_time(
    name: str,
    step: Callable[[tuple[Tensor, ...], Tensor], tuple[Tensor, ...]],
    state: tuple[Tensor, ...],
    projected: Tensor,
    lengths: Any,
    reverse: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loop over time; the first entry of the state is what is returned for each step."""
    if lengths is None:

        def every(state: Any, x: Tensor) -> tuple[Any, Tensor]:
            state = step(state, x)
            return state, state[0]

        last, outputs = scan(every, state, projected, reverse=reverse)
        return outputs, last
    lengths = _checked_lengths(name, lengths, *projected.shape[:2])
    inside = (fn.arange(projected.shape[0], dtype=lengths.dtype)[:, None] < lengths)[:, :, None]

    def masked(state: Any, x: Any) -> tuple[Any, Tensor]:
        x, valid = x
        state = tuple(fn.where(valid, new, old) for new, old in zip(step(state, x), state))
        return state, fn.where(valid, state[0], 0)

    last, outputs = scan(masked, state, (projected, inside), reverse=reverse)
    return outputs, last


# --- checks -------------------------------------------------------------------------------------------------------


def _check(
    name: str,
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    gates: int,
    hidden_size: int | None = None,
) -> None:
    size = weight_hh.shape[-1]
    if hidden.shape[-1:] != (size,) or hidden.shape[:-1] != input.shape[:-1]:
        expected = (*input.shape[:-1], size)
        fail(ShapeError, name, f"the hidden state has shape {hidden.shape}, it must be {expected}", (input, hidden))
    if hidden.dtype is not weight_hh.dtype:
        problem = f"the hidden state is {hidden.dtype.name}, the weights are {weight_hh.dtype.name}"
        fail(DTypeError, name, problem, (hidden, weight_hh), "convert one with .astype(...)")
    size = size if hidden_size is None else hidden_size
    for which, weight in (("weight_ih", weight_ih), ("weight_hh", weight_hh)):
        if weight.shape[0] != gates * size:
            problem = f"{which} has {weight.shape[0]} rows, {gates} times hidden_size {size} are {gates * size}"
            fail(ShapeError, name, problem, (weight,))


def _checked_lengths(name: str, lengths: Any, steps: int, batch: int) -> Tensor:
    """`lengths` as integers from 1 to `steps`: those that are present are checked now, others when they are used."""
    lengths = as_tensor(lengths, name, "lengths")
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        fail(ShapeError, name, f"lengths must be integers of shape ({batch},), one for each sequence", (lengths,))
    values = node_of(lengths).value
    if values is None:  # as unsigned numbers the last steps of empty sequences are huge, and do not count from the end
        what = "the last step of a sequence, an axis"
        last = emit("check_index", node_of((lengths.astype(int64) - 1).astype(uint64)), attributes=(steps, what))
        return Tensor(last).astype(int64) + 1
    if values is not None and values.size and not 1 <= int(values.min()) <= int(values.max()) <= steps:
        place = int(((values < 1) | (values > steps)).argmax())
        problem = f"sequence {place} has length {int(values[place])}, the input has {steps} steps (axis 0)"
        fail(ShapeError, name, problem, (lengths,), f"lengths run from 1 to {steps}: leave empty sequences out")
    return lengths


def _check_sequence(
    name: str,
    input: Tensor,
    hidden: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    gates: int,
    hidden_size: int | None = None,
) -> None:
    if len(input.shape) != 3:
        fail(ShapeError, name, f"input must be (length, batch, features), it has {len(input.shape)} axes", (input,))
    if not input.shape[0]:
        fail(ShapeError, name, "the sequence has length 0 (axis 0)", (input,), "give at least one time step")
    expected = (input.shape[1], weight_hh.shape[-1])
    if hidden.shape != expected:
        fail(ShapeError, name, f"the hidden state has shape {hidden.shape}, it must be {expected}", (input, hidden))
    _check(name, input[0], hidden, weight_ih, weight_hh, gates, hidden_size)
