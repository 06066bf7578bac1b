"""Recurrent layers and cells against PyTorch: outputs, states, all gradients, state dicts, refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError
from chainrule.nn import functional as F

torch = pytest.importorskip("torch")

KINDS = ("RNN", "LSTM", "GRU")
SETTINGS = {
    "plain": {},
    "layers": {"num_layers": 3},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "batch_first": {"batch_first": True, "bias": False},
}


def data(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def pair(kind: str, **settings):
    """Our layer and PyTorch's with the same float64 weights."""
    theirs = getattr(torch.nn, kind)(5, 4, dtype=torch.float64, **settings)
    ours = getattr(nn, kind)(5, 4, dtype=cr.float64, **settings)
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def flat(result) -> list:
    """The tensors of (output, state)."""
    output, state = result
    return [output, *(state if isinstance(state, tuple) else [state])]


def compare(ours, theirs, x, states, our_options=None) -> None:
    """Values, and the gradients of all parameters, of the input and of the states."""
    a = [cr.asarray(array).requires_grad_() for array in (x, *states)]
    b = [torch.tensor(array, requires_grad=True) for array in (x, *states)]

    def state(parts):
        return None if not parts else parts[0] if len(parts) == 1 else tuple(parts)

    results = flat(ours(a[0], state(a[1:]), **(our_options or {})))
    expected = flat(theirs(b[0], state(b[1:])))
    ours.zero_grad()
    for i, (one, other) in enumerate(zip(results, expected)):
        assert tuple(one.shape) == tuple(other.shape)
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-10, atol=1e-12)
        weights = np.cos(np.arange(one.numel()) + i).reshape(one.shape)
        (one * cr.asarray(weights)).sum().backward()
        (other * torch.tensor(weights)).sum().backward(retain_graph=True)
    for one, other in zip(a, b):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-12)
    named = dict(theirs.named_parameters())
    assert list(named) == [name for name, _ in ours.named_parameters()]
    for name, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), named[name].grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_against_torch(kind: str, setting: str) -> None:
    settings = SETTINGS[setting]
    ours, theirs = pair(kind, **settings)
    count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    x = data(3, 6, 5) if settings.get("batch_first") else data(6, 3, 5)
    states = [data(count, 3, 4, seed=i + 1) for i in range(2 if kind == "LSTM" else 1)]
    compare(ours, theirs, x, states)
    compare(*pair(kind, **settings), x, [])


@pytest.mark.parametrize("setting", SETTINGS)
def test_projections(setting: str) -> None:
    """The hidden state is narrower than the cell state."""
    settings = {"proj_size": 2, **SETTINGS[setting]}
    ours, theirs = pair("LSTM", **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    x = data(3, 6, 5) if settings.get("batch_first") else data(6, 3, 5)
    compare(ours, theirs, x, [data(count, 3, 2, seed=1), data(count, 3, 4, seed=2)])
    compare(*pair("LSTM", **settings), x, [])
    assert repr(ours) == repr(theirs)


def test_projections_with_lengths_and_compiled() -> None:
    ours, theirs = pair("LSTM", proj_size=3, bidirectional=True)
    lengths = [4, 6, 1]
    x = data(6, 3, 5)
    pack = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(x), lengths, enforce_sorted=False)
    packed, state = theirs(pack)
    expected = [torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=6)[0], *state]
    for call in (ours, cr.compile(lambda x, **options: ours(x, **options))):
        for one, other in zip(flat(call(cr.asarray(x), lengths=np.array(lengths))), expected):
            np.testing.assert_allclose(one.numpy(), other.detach().numpy(), rtol=1e-10, atol=1e-12)
    unbatched = ours(cr.asarray(x[:, 0]))
    for one, other in zip(flat(unbatched), flat(theirs(torch.tensor(x[:, 0])))):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_unbatched(kind: str) -> None:
    ours, theirs = pair(kind, bidirectional=True)
    compare(ours, theirs, data(6, 5), [data(2, 4, seed=i) for i in range(2 if kind == "LSTM" else 1)])


def test_relu() -> None:
    compare(*pair("RNN", nonlinearity="relu"), data(6, 3, 5), [])


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_are_packed_sequences(kind: str) -> None:
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    lengths = [4, 6, 1]

    def packed(x, state):
        pack = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, state = theirs(pack, state)
        return torch.nn.utils.rnn.pad_packed_sequence(output, total_length=6)[0], state

    packed.named_parameters = theirs.named_parameters
    states = [data(4, 3, 4, seed=i + 1) for i in range(2 if kind == "LSTM" else 1)]
    compare(ours, packed, data(6, 3, 5), states, {"lengths": lengths})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_cells_against_torch(kind: str, bias: bool) -> None:
    theirs = getattr(torch.nn, kind + "Cell")(5, 4, bias=bias, dtype=torch.float64)
    ours = getattr(nn, kind + "Cell")(5, 4, bias=bias, dtype=cr.float64)
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.state_dict().items()})

    def both(cell):
        def call(x, state):
            result = cell(x, state)
            return result if isinstance(result, tuple) else (result, ())

        call.named_parameters, call.zero_grad = cell.named_parameters, cell.zero_grad
        return call

    count = 2 if kind == "LSTM" else 1
    for x, states in ((data(3, 5), [data(3, 4, seed=i) for i in range(count)]), (data(3, 5), []), (data(5), [])):
        theirs.zero_grad()
        compare(both(ours), both(theirs), x, states)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_its_cell_repeated(kind: str) -> None:
    layer = getattr(nn, kind)(5, 4)
    cell = getattr(nn, kind + "Cell")(5, 4)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = cr.asarray(data(6, 3, 5).astype("float32"))
    state = None
    for output, step in zip(layer(x)[0], x):
        state = cell(step, state)
        np.testing.assert_allclose(
            output.numpy(), (state[0] if kind == "LSTM" else state).numpy(), rtol=1e-5, atol=1e-6
        )


def test_activations() -> None:
    layer = nn.LSTM(5, 4, activation=F.sigmoid)
    x, zero = cr.asarray(data(1, 2, 5).astype("float32")), cr.zeros((2, 4))
    gates = F.linear(x[0], layer.weight_ih_l0, layer.bias_ih_l0 + layer.bias_hh_l0)
    i, f, g, o = (cr.sigmoid(gates[:, 4 * n : 4 * n + 4]) for n in range(4))
    c = i * g + f * zero
    output, (_, last) = layer(x)
    np.testing.assert_allclose(last[0].numpy(), c.numpy(), rtol=1e-6)
    np.testing.assert_allclose(output[0].numpy(), (o * cr.sigmoid(c)).numpy(), rtol=1e-6)
    identity = nn.RNN(5, 4, nonlinearity=lambda x: x)
    expected = F.linear(x[0], identity.weight_ih_l0, identity.bias_ih_l0 + identity.bias_hh_l0)
    np.testing.assert_allclose(identity(x)[0][0].numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_has_the_same_bits(kind: str) -> None:
    cr.manual_seed(0)
    layer = getattr(nn, kind)(5, 4, num_layers=2, bidirectional=True, dropout=0.3)
    x = cr.asarray(data(6, 3, 5).astype("float32"))

    def step(x):
        layer.zero_grad()
        (layer(x)[0] ** 2).sum().backward()
        return [p.grad for p in layer.parameters()]

    cr.manual_seed(1)
    expected = [g.numpy().copy() for g in step(x)]
    cr.manual_seed(1)
    for one, other in zip(cr.compile(step)(x), expected):
        np.testing.assert_array_equal(one.numpy(), other)


def test_dropout_is_between_layers_and_while_training() -> None:
    layer = nn.LSTM(5, 4, num_layers=2, dropout=1.0)
    x = cr.asarray(data(6, 3, 5).astype("float32"))
    trained = layer(x)[0].numpy()
    assert np.ptp(trained, axis=1).max() < 1e-6  # nothing of the input is left
    assert np.ptp(layer.eval()(x)[0].numpy(), axis=1).max() > 1e-3


def test_truncated_backpropagation() -> None:
    layer = nn.GRU(5, 4, dtype=cr.float64)
    x = cr.asarray(data(6, 2, 5)).requires_grad_()
    _, state = layer(x[:3])
    output, _ = layer(x[3:], state.detach())
    output.sum().backward()
    assert not x.grad.numpy()[:3].any() and x.grad.numpy()[3:].all()


def test_initial_values_are_torchs() -> None:
    layer = nn.LSTM(7, 100)
    values = np.concatenate([p.numpy().ravel() for p in layer.parameters()])
    assert abs(values).max() <= 0.1 and abs(values).max() > 0.099 and abs(values.mean()) < 1e-3


def test_printed_as_in_torch() -> None:
    for kind in KINDS:
        settings = {"num_layers": 2, "batch_first": True, "dropout": 0.5, "bidirectional": True}
        assert repr(getattr(nn, kind)(5, 4, **settings)) == repr(getattr(torch.nn, kind)(5, 4, **settings))
        assert repr(getattr(nn, kind + "Cell")(5, 4, False)) == repr(getattr(torch.nn, kind + "Cell")(5, 4, False))


@pytest.mark.parametrize("kind", KINDS)
def test_refusals(kind: str) -> None:
    layer = getattr(nn, kind)(5, 4)

    def refused(error, text, call) -> None:
        with pytest.raises(error, match=re.escape(text)):
            call()

    refused(ShapeError, f"{kind}: the sequence has length 0 (axis 0)", lambda: layer(cr.zeros((0, 2, 5))))
    for lengths, problem in (
        ([6, 0], "sequence 1 has length 0, the input has 6 steps (axis 0)"),
        ([7, 6], "sequence 0 has length 7, the input has 6 steps (axis 0)"),
    ):
        for given in (lengths, cr.asarray(lengths)):
            refused(ShapeError, problem, lambda given=given: layer(cr.zeros((6, 2, 5)), lengths=given))
    refused(
        ShapeError, f"{kind}: input has 3 features (last axis), input_size is 5", lambda: layer(cr.zeros((6, 2, 3)))
    )
    refused(ShapeError, f"{kind}: input must be (length, batch, features) or (length, features), it has 1 axes",
            lambda: layer(cr.zeros(5)))  # fmt: skip
    refused(DTypeError, f"{kind}: input is float64, the weights are float32",
            lambda: layer(cr.zeros((6, 2, 5), dtype=cr.float64)))  # fmt: skip
    wrong = cr.zeros((1, 3, 4))
    refused(ShapeError, f"{kind}: the hidden state has shape (1, 3, 4), it must be (1, 2, 4)",
            lambda: layer(cr.zeros((6, 2, 5)), (wrong, wrong) if kind == "LSTM" else wrong))  # fmt: skip
    refused(ShapeError, "lengths must be integers of shape (2,), one for each sequence",
            lambda: layer(cr.zeros((6, 2, 5)), lengths=[6, 6, 6]))  # fmt: skip
    refused(ConfigError, f"{kind}: hidden_size must be a positive whole number, not 0", lambda: getattr(nn, kind)(5, 0))
    cell = getattr(nn, kind + "Cell")(5, 4)
    refused(
        ShapeError, f"{kind}Cell: input has 3 features (last axis), input_size is 5", lambda: cell(cr.zeros((2, 3)))
    )
    wrong = cr.zeros((3, 4))
    refused(ShapeError, f"{kind}Cell: the hidden state has shape (3, 4), it must be (2, 4)",
            lambda: cell(cr.zeros((2, 5)), (wrong, wrong) if kind == "LSTM" else wrong))  # fmt: skip


def test_refused_states_of_lstms() -> None:
    one = cr.zeros((1, 2, 4))
    for layer, x in ((nn.LSTM(5, 4), cr.zeros((6, 2, 5))), (nn.LSTMCell(5, 4), cr.zeros((2, 5)))):
        for state, what in ((one, "Tensor"), ((one,), "tuple of 1"), ((one, one, one), "tuple of 3")):
            with pytest.raises(ConfigError, match=rf"the state is a pair \(h, c\), not {what}\nrecorded at .*\nhelp: "):
                layer(x, state)


def test_refused_settings() -> None:
    with pytest.raises(ConfigError, match="nonlinearity must be 'tanh', 'relu' or a function, not 'elu'"):
        nn.RNN(5, 4, nonlinearity="elu")
    for wrong in (4, -1, 2.0):
        with pytest.raises(ConfigError, match=f"proj_size must be a whole number below hidden_size 4, not {wrong}"):
            nn.LSTM(5, 4, proj_size=wrong)
    layer, x = nn.LSTM(5, 4, proj_size=2), cr.zeros((6, 3, 5))
    with pytest.raises(ShapeError, match=r"the hidden state has shape \(1, 3, 4\), it must be \(1, 3, 2\)") as caught:
        layer(x, (cr.zeros((1, 3, 4)), cr.zeros((1, 3, 4))))
    assert "(num_layers * num_directions, batch, proj_size)" in str(caught.value)
    with pytest.raises(ShapeError, match=r"the cell state has shape \(1, 3, 2\), it must be \(1, 3, 4\)"):
        layer(x, (cr.zeros((1, 3, 2)), cr.zeros((1, 3, 2))))
    with pytest.raises(ConfigError, match="dropout must lie between 0 and 1"):
        nn.GRU(5, 4, dropout=1.5)
    with pytest.raises(ConfigError, match=r"LSTM: the state is a pair \(h, c\), not Tensor"):
        nn.LSTM(5, 4)(cr.zeros((6, 2, 5)), cr.zeros((1, 2, 4)))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_lengths_that_are_computed_are_checked_when_they_are_used(kind, dtype):
    layer = getattr(nn, kind)(2, 3, bidirectional=True)
    x, tokens = cr.randn(4, 2, 2), cr.asarray([[1, 1, 1, 0], [1, 0, 0, 0]])

    def run(tokens, more):
        lengths = (tokens != 0).sum(1).astype(dtype) + cr.asarray(more, dtype=dtype)
        return layer(x, lengths=lengths)[0]

    expected = layer(x, lengths=[3, 1])[0].numpy()
    for function in (run, cr.compile(run)):
        assert (function(tokens, 0).numpy() == expected).all()
        with pytest.raises(IndexOutOfRangeError, match="index 4 is out of range for the last step of a sequence"):
            function(tokens, 2).numpy()
        with pytest.raises(IndexOutOfRangeError, match=r"index -1 is .* of a sequence, an axis of size 4\nrecorded at"):
            function(tokens * cr.asarray([[1], [0]]), 0).numpy()
    batched = cr.vmap(lambda x, n: layer(x, lengths=n)[0])(cr.stack([x, x]), cr.asarray([[3, 1], [4, 4]]))
    assert (batched[0].numpy() == expected).all()
