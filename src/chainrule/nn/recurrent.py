"""Recurrent layers and cells, with PyTorch's arguments, order of gates, initial values and state-dict keys."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float
from ..errors import ConfigError, DTypeError, ShapeError
from ..functional._common import check_tensor, fail
from ..functional.recurrence import NONLINEARITIES, Activation, gru_layer, lstm_layer, rnn_layer
from ..ops.base import misuse
from ..tensor import Tensor, flag, hyper
from . import init
from .module import Module
from .parameter import Parameter

#: what messages call the second part of an LSTM's state
CELL_STATE = "the cell state"


class _Recurrent(Module):
    """What cells and layers share: sizes, weights and their initial values."""

    _gates = 1
    hidden_size: int
    proj_size = 0

    def _check_sizes(self, **sizes: Any) -> None:
        for name, value in sizes.items():
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"{type(self).__name__}: {name} must be a positive whole number, not {value!r}")

    def _add(self, suffix: str, features: int, bias: bool, dtype: Any) -> None:
        """Register the weights of one cell."""
        rows = self._gates * self.hidden_size
        for name, columns in (("ih", features), ("hh", self._width)):
            setattr(self, f"weight_{name}{suffix}", Parameter(fn.empty((rows, columns), dtype=dtype)))
        for name in ("ih", "hh"):
            if bias:
                setattr(self, f"bias_{name}{suffix}", Parameter(fn.empty((rows,), dtype=dtype)))
            elif not suffix:
                self.register_parameter(f"bias_{name}", None)
        if self.proj_size:
            setattr(self, f"weight_hr{suffix}", Parameter(fn.empty((self.proj_size, self.hidden_size), dtype=dtype)))

    @property
    def _width(self) -> int:
        """Features of the hidden state."""
        return self.proj_size or self.hidden_size

    def _weights(self, suffix: str) -> tuple[Any, Any, Any, Any]:
        own = self._parameters
        weights = own[f"weight_ih{suffix}"], own[f"weight_hh{suffix}"]
        return (*weights, own.get(f"bias_ih{suffix}"), own.get(f"bias_hh{suffix}"))

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values, uniform in ``[-1/sqrt(hidden_size), 1/sqrt(hidden_size)]``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound, generator=generator)


class _Layers(_Recurrent):
    """Base of `RNN`, `LSTM` and `GRU`: layers, directions, dropout between layers, lengths."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
        bidirectional: bool, proj_size: int, dtype: Any, generator: Any,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        self._check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        if not hasattr(proj_size, "__index__") or not 0 <= proj_size < hidden_size:
            problem = f"proj_size must be a whole number below hidden_size {hidden_size}, not {proj_size!r}"
            raise misuse(f"{name}: {problem}")
        F.check_probability(name, dropout, "dropout")
        self.input_size = input_size
        self.hidden_size = hidden_size
        if proj_size:
            self.proj_size = proj_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        dtype = default_float if dtype is None else as_dtype(dtype)
        for layer in range(num_layers):
            features = input_size if layer == 0 else self._width * self._directions
            for suffix in self._suffixes(layer):
                self._add(suffix, features, bias, dtype)
        self.reset_parameters(generator)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no other layout of the weights. For code that was written for PyTorch."""

    def _layer(self, input: Tensor, state: tuple[Tensor, ...], suffix: str, **options: Any) -> tuple[Tensor, Any]:
        """One layer in one direction: (outputs, last state)."""
        raise NotImplementedError

    def _sequence(self, input: Tensor) -> Tensor:
        """The input as (length, batch, features), checked."""
        name = type(self).__name__
        check_tensor(name, input)
        rank = len(input.shape)
        if rank not in (2, 3):
            order = "(batch, length, features)" if self.batch_first else "(length, batch, features)"
            fail(ShapeError, name, f"input must be {order} or (length, features), it has {rank} axes", (input,))
        if input.shape[-1] != self.input_size:
            problem = f"input has {input.shape[-1]} features (last axis), input_size is {self.input_size}"
            fail(ShapeError, name, problem, (input,))
        weight = self._weights("_l0")[1]
        if input.dtype is not weight.dtype:
            problem = f"input is {input.dtype.name}, the weights are {weight.dtype.name}"
            help = f"convert the input with .astype(chainrule.{weight.dtype.name}), or the module with .to(...)"
            fail(DTypeError, name, problem, (input,), help)
        x = input[:, None] if rank == 2 else fn.permute_dims(input, (1, 0, 2)) if self.batch_first else input
        if not x.shape[0]:
            axis = int(self.batch_first and rank == 3)
            fail(ShapeError, name, f"the sequence has length 0 (axis {axis})", (input,), "give at least one time step")
        return x

    def _initial(self, given: Tensor | None, what: str, batch: int, unbatched: bool) -> Tensor:
        """First states of all layers and directions: (num_layers * directions, batch, features)."""
        hidden = what != CELL_STATE
        shape = (self.num_layers * self._directions, batch, self._width if hidden else self.hidden_size)
        dtype = self._weights("_l0")[1].dtype
        if given is None:
            return fn.zeros(shape, dtype=dtype)
        check_tensor(type(self).__name__, given, what)
        expected = (shape[0], shape[2]) if unbatched else shape
        if given.shape != expected:
            problem = f"{what} has shape {given.shape}, it must be {expected}"
            size = "proj_size" if self.proj_size and hidden else "hidden_size"
            rest = size if unbatched else f"batch, {size}"
            help = f"its axes are (num_layers * num_directions, {rest})"
            fail(ShapeError, type(self).__name__, problem, (given,), help)
        if given.dtype is not dtype:
            problem = f"{what} is {given.dtype.name}, the weights are {dtype.name}"
            fail(DTypeError, type(self).__name__, problem, (given,), "convert one with .astype(...)")
        return given[:, None] if unbatched else given

    def _run(self, input: Tensor, states: list[Tensor], lengths: Any) -> tuple[Tensor, list[Tensor]]:
        """All layers; `states` has one tensor for each part of the state. Returns the outputs and last states."""
        count = self._directions
        if lengths is not None and not isinstance(lengths, Tensor):
            lengths = fn.asarray(lengths)
        x = input
        final: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            if layer and flag(lambda: self.training) and not flag(lambda: self.dropout == 0):
                x = F.dropout(x, hyper(lambda: self.dropout))
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                first = tuple([part[layer * count + direction] for part in states])
                output, last = self._layer(x, first, suffix, lengths=lengths, reverse=bool(direction))
                outputs.append(output)
                for parts, part in zip(final, last):
                    parts.append(part)
            x = outputs[0] if count == 1 else fn.concat(outputs, axis=-1)
        return x, [fn.stack(parts) for parts in final]

    def _apply_all(self, input: Tensor, given: list[tuple[str, Tensor | None]], lengths: Any) -> tuple[Tensor, list]:
        x = self._sequence(input)
        unbatched = len(input.shape) == 2
        states = [self._initial(part, what, x.shape[1], unbatched) for what, part in given]
        output, last = self._run(x, states, lengths)
        if unbatched:
            return output[:, 0], [part[:, 0] for part in last]
        return fn.permute_dims(output, (1, 0, 2)) if self.batch_first else output, last

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False),
                              ("dropout", 0.0), ("bidirectional", False)):  # fmt: skip
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text


class RNN(_Layers):
    """Simple recurrent network: ``h_t = activation(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`` in every layer.

    Args:
        input_size, hidden_size: features of the input and of the hidden state.
        num_layers: each layer after the first takes the hidden states of the one before.
        nonlinearity: 'tanh', 'relu', or any elementwise function.
        bias: whether b_ih and b_hh are there.
        batch_first: whether inputs and outputs are (batch, length, features) instead of (length, batch, features).
        dropout: probability of dropping, while training, an element of the outputs of all layers but the last.
        bidirectional: whether every layer has a second cell that runs from the end; outputs are joined.
    Shapes:
        input (length, batch, input_size) or (length, input_size); output with
        ``num_directions * hidden_size`` features; states (num_layers * num_directions, batch, hidden_size).
        `weight_ih_l0` is (hidden_size, input_size), `weight_hh_l0` (hidden_size, hidden_size); further layers have
        ``_l1``, ..., the reverse direction ``_reverse``.
    Raises:
        ConfigError: a size that is not a positive whole number. ShapeError, DTypeError: at the call, for a wrong
        feature size, a hidden state of another shape, a sequence of length 0, or one of lengths that does not lie
        between 1 and the number of steps (of lengths that are computed: IndexOutOfRangeError, when they are used).
    Numerics:
        Parameters start uniform in ``[-1/sqrt(hidden_size), 1/sqrt(hidden_size)]``, which is PyTorch's rule.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.RNN(4, 3)
        >>> output, last = layer(cr.zeros((5, 2, 4)))
        >>> output.shape, last.shape
        ((5, 2, 3), (1, 2, 3))

    Reference:
        Elman, Finding structure in time, Cognitive Science 14, 1990.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str | Activation = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        dtype: Any = None, generator: Any = None,
    ):  # fmt: skip
        self._activation = _nonlinearity("RNN", nonlinearity)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype, generator
        )
        self.nonlinearity = nonlinearity

    def _layer(self, input: Tensor, state: tuple[Tensor, ...], suffix: str, **options: Any) -> tuple[Tensor, Any]:
        output, last = rnn_layer(input, state[0], *self._weights(suffix), activation=self._activation, **options)
        return output, (last,)

    def forward(self, input: Tensor, hx: Tensor | None = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """(outputs, last hidden states); of each sequence, `lengths` (batch,) steps count, and outputs are 0 beyond."""
        output, (last,) = self._apply_all(input, [("the hidden state", hx)], lengths)
        return output, last


class LSTM(_Layers):
    """Long short-term memory: ``c_t = gate(f) c_(t-1) + gate(i) act(g)``, ``h_t = gate(o) act(c_t)`` in every layer.

    The gates i, f, g, o are, in this order, the parts of ``W_ih x_t + b_ih + W_hh h_(t-1) + b_hh``.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as for `RNN`.
        proj_size: features of h if it is to have fewer than c: ``h_t = W_hr (gate(o) act(c_t))`` with a matrix
            `weight_hr_l0` (proj_size, hidden_size); 0 for no such product.
        activation: act, elementwise, default tanh. The textbook variant with the sigmoid throughout is
            ``LSTM(..., activation=cr.nn.functional.sigmoid)``.
        gate_activation: gate, default the sigmoid.
    Shapes:
        As `RNN`, with weights of ``4 hidden_size`` rows; the state is the pair (h, c). With `proj_size`, outputs, h and
        the columns of `weight_hh_l0` have `proj_size` features instead of `hidden_size`.
    Raises:
        As `RNN`; ConfigError for a `proj_size` that is not below `hidden_size`.
    Numerics:
        Parameters start uniform in ``[-1/sqrt(hidden_size), 1/sqrt(hidden_size)]``, which is PyTorch's rule.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.LSTM(4, 3, num_layers=2)
        >>> output, (h, c) = layer(cr.zeros((5, 2, 4)))
        >>> output.shape, h.shape, c.shape
        ((5, 2, 3), (2, 2, 3), (2, 2, 3))
        >>> output, (h, c) = cr.nn.LSTM(4, 3, proj_size=2)(cr.zeros((5, 2, 4)))
        >>> output.shape, h.shape, c.shape
        ((5, 2, 2), (1, 2, 2), (1, 2, 3))

    Reference:
        As `chainrule.functional.lstm_cell`; projections: Sak, Senior, Beaufays, Long short-term memory recurrent neural
        network architectures for large scale acoustic modeling, 2014.
    """

    _gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, dtype: Any = None,
        generator: Any = None, activation: Activation = F.tanh, gate_activation: Activation = F.sigmoid,
    ):  # fmt: skip
        self.activation = _function(self, "activation", activation)
        self.gate_activation = _function(self, "gate_activation", gate_activation)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, dtype, generator
        )

    def _layer(self, input: Tensor, state: tuple[Tensor, ...], suffix: str, **options: Any) -> tuple[Tensor, Any]:
        pair = (state[0], state[1])
        functions: dict[str, Any] = {"activation": self.activation, "gate_activation": self.gate_activation}
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        w_hr = self._parameters.get(f"weight_hr{suffix}")
        return lstm_layer(input, pair, w_ih, w_hh, b_ih, b_hh, weight_hr=w_hr, **functions, **options)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None, lengths: Any = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(outputs, last (h, c)); of each sequence, `lengths` (batch,) steps count, and outputs are 0 beyond."""
        h, c = _pair("LSTM", hx)
        output, (hidden, cell) = self._apply_all(input, [("the hidden state", h), (CELL_STATE, c)], lengths)
        return output, (hidden, cell)


class GRU(_Layers):
    """Gated recurrent unit: ``h_t = (1 - z) n + z h_(t-1)`` in every layer.

    With ``a = W_ih x_t + b_ih`` and ``b = W_hh h_(t-1) + b_hh``, whose parts are those of r, z, n in this order:
    ``r = gate(a_r + b_r)``, ``z = gate(a_z + b_z)``, ``n = act(a_n + r b_n)``.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as for `RNN`.
        activation, gate_activation: act and gate, default tanh and the sigmoid.
    Shapes:
        As `RNN`, with weights of ``3 hidden_size`` rows.
    Raises:
        As `RNN`.
    Numerics:
        Parameters start uniform in ``[-1/sqrt(hidden_size), 1/sqrt(hidden_size)]``, which is PyTorch's rule.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.GRU(4, 3, bidirectional=True, batch_first=True)
        >>> output, last = layer(cr.zeros((2, 5, 4)), lengths=[5, 3])
        >>> output.shape, last.shape
        ((2, 5, 6), (2, 2, 3))

    Reference:
        As `chainrule.functional.gru_cell`.
    """

    _gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, dtype: Any = None, generator: Any = None,
        activation: Activation = F.tanh, gate_activation: Activation = F.sigmoid,
    ):  # fmt: skip
        self.activation = _function(self, "activation", activation)
        self.gate_activation = _function(self, "gate_activation", gate_activation)
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, dtype, generator
        )

    def _layer(self, input: Tensor, state: tuple[Tensor, ...], suffix: str, **options: Any) -> tuple[Tensor, Any]:
        functions: dict[str, Any] = {"activation": self.activation, "gate_activation": self.gate_activation}
        w_ih, w_hh, b_ih, b_hh = self._weights(suffix)
        output, last = gru_layer(input, state[0], w_ih, w_hh, b_ih, b_hh, **functions, **options)
        return output, (last,)

    def forward(self, input: Tensor, hx: Tensor | None = None, lengths: Any = None) -> tuple[Tensor, Tensor]:
        """(outputs, last hidden states); of each sequence, `lengths` (batch,) steps count, and outputs are 0 beyond."""
        output, (last,) = self._apply_all(input, [("the hidden state", hx)], lengths)
        return output, last


class _Cell(_Recurrent):
    """Base of `RNNCell`, `LSTMCell` and `GRUCell`: one step."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: Any, generator: Any):
        super().__init__()
        self._check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self._add("", input_size, bias, default_float if dtype is None else as_dtype(dtype))
        self.reset_parameters(generator)

    def _step(self, input: Tensor, given: list[Tensor | None]) -> tuple[Tensor, list[Tensor]]:
        """The input and the state with a batch axis."""
        name = type(self).__name__
        check_tensor(name, input)
        if len(input.shape) not in (1, 2):
            problem = f"input must be (batch, features) or (features,), it has {len(input.shape)} axes"
            fail(ShapeError, name, problem, (input,))
        if input.shape[-1] != self.input_size:
            problem = f"input has {input.shape[-1]} features (last axis), input_size is {self.input_size}"
            fail(ShapeError, name, problem, (input,))
        shape = (*input.shape[:-1], self.hidden_size)
        states = []
        for part in given:
            if part is None:
                part = fn.zeros(shape, dtype=self._weights("")[1].dtype)
            check_tensor(name, part, "the hidden state")
            if part.shape != shape:
                fail(ShapeError, name, f"the hidden state has shape {part.shape}, it must be {shape}", (input, part))
            states.append(part)
        if len(input.shape) == 1:
            return input[None], [part[None] for part in states]
        return input, states

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of `RNN`: (batch, input_size) and a hidden state (batch, hidden_size) -> the next hidden state.

    Args:
        input_size, hidden_size, bias, nonlinearity: as for `RNN`.
    Example:
        >>> import chainrule as cr
        >>> cell = cr.nn.RNNCell(4, 3)
        >>> cell(cr.zeros((2, 4))).shape
        (2, 3)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str | Activation = "tanh",
        dtype: Any = None, generator: Any = None,
    ):  # fmt: skip
        self._activation = _nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype, generator)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state."""
        x, (h,) = self._step(input, [hx])
        h = F.rnn_cell(x, h, *self._weights(""), activation=self._activation)
        return h if len(input.shape) == 2 else h[0]


class LSTMCell(_Cell):
    """One step of `LSTM`: an input (batch, input_size) and a state (h, c) -> the next state.

    Args:
        input_size, hidden_size, bias, activation, gate_activation: as for `LSTM`.
    Example:
        >>> import chainrule as cr
        >>> h, c = cr.nn.LSTMCell(4, 3)(cr.zeros((2, 4)))
        >>> h.shape, c.shape
        ((2, 3), (2, 3))
    """

    _gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None, generator: Any = None,
        activation: Activation = F.tanh, gate_activation: Activation = F.sigmoid,
    ):  # fmt: skip
        self.activation = _function(self, "activation", activation)
        self.gate_activation = _function(self, "gate_activation", gate_activation)
        super().__init__(input_size, hidden_size, bias, dtype, generator)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c)."""
        x, (h, c) = self._step(input, _pair("LSTMCell", hx))
        functions: dict[str, Any] = {"activation": self.activation, "gate_activation": self.gate_activation}
        h, c = F.lstm_cell(x, (h, c), *self._weights(""), **functions)
        return (h, c) if len(input.shape) == 2 else (h[0], c[0])


class GRUCell(_Cell):
    """One step of `GRU`: (batch, input_size) and a hidden state (batch, hidden_size) -> the next hidden state.

    Args:
        input_size, hidden_size, bias, activation, gate_activation: as for `GRU`.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.GRUCell(4, 3)(cr.zeros((2, 4))).shape
        (2, 3)
    """

    _gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = None, generator: Any = None,
        activation: Activation = F.tanh, gate_activation: Activation = F.sigmoid,
    ):  # fmt: skip
        self.activation = _function(self, "activation", activation)
        self.gate_activation = _function(self, "gate_activation", gate_activation)
        super().__init__(input_size, hidden_size, bias, dtype, generator)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next hidden state."""
        x, (h,) = self._step(input, [hx])
        functions: dict[str, Any] = {"activation": self.activation, "gate_activation": self.gate_activation}
        h = F.gru_cell(x, h, *self._weights(""), **functions)
        return h if len(input.shape) == 2 else h[0]


def _pair(name: str, state: Any) -> list[Any]:
    """The two parts of the state of an LSTM."""
    if state is None:
        return [None, None]
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        count = f" of {len(state)}" if isinstance(state, (tuple, list)) else ""
        problem = f"the state is a pair (h, c), not {type(state).__name__}{count}"
        fail(ConfigError, name, problem, (), "pass (h, c), or None to start from zeros")
    return list(state)


def _function(layer: Module, argument: str, value: Any) -> Activation:
    if not callable(value):
        help = f"pass a function, for instance {argument}=chainrule.nn.functional.tanh"
        raise misuse(f"{type(layer).__name__}: {argument} must be an elementwise function, not {value!r}\nhelp: {help}")
    return value


def _nonlinearity(name: str, value: Any) -> Activation:
    if callable(value):
        return value
    if value not in NONLINEARITIES:
        known = ", ".join(repr(word) for word in NONLINEARITIES)
        raise misuse(f"{name}: nonlinearity must be {known} or a function, not {value!r}")
    return NONLINEARITIES[value]
