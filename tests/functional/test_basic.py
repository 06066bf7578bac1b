"""Linear map, dropout and one-hot coding."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule import nn
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError

from .compare import same_as_torch, torch

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3)])
def test_linear(batch, dtype):
    arrays = [RNG.normal(size=(*batch, 5)), RNG.normal(size=(4, 5)), RNG.normal(size=4)]
    same_as_torch(F.linear, torch.nn.functional.linear, arrays, dtype)
    same_as_torch(F.linear, torch.nn.functional.linear, arrays[:2], dtype)


def test_linear_errors():
    w = cr.zeros((4, 5))
    with pytest.raises(ShapeError, match=r"input has 4 features .* weight takes 5"):
        F.linear(cr.zeros((2, 4)), w)
    with pytest.raises(ShapeError, match="looks transposed"):
        F.linear(cr.zeros((2, 4)), w)
    with pytest.raises(DTypeError, match="float64"):
        F.linear(cr.zeros((2, 5), dtype="float64"), w)


def test_dropout_statistics_and_scale():
    cr.manual_seed(0)
    x = cr.ones((200, 500))
    for p in (0.1, 0.5, 0.9):
        y = F.dropout(x, p).numpy()
        assert abs((y == 0).mean() - p) < 0.01
        kept = y[y != 0]
        np.testing.assert_allclose(kept, 1 / (1 - p), rtol=1e-6)


def test_dropout_gradient_uses_the_same_mask():
    cr.manual_seed(1)
    x = cr.ones((50,)).requires_grad_()
    y = F.dropout(x, 0.4)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_dropout_is_reproducible_and_draws_differ():
    x = cr.ones((64,))
    cr.manual_seed(7)
    a, b = F.dropout(x).numpy(), F.dropout(x).numpy()
    cr.manual_seed(7)
    again = F.dropout(x).numpy()
    assert (a == again).all() and (a != b).any()


def test_dropout_limits():
    x = cr.ones((8,)).requires_grad_()
    assert F.dropout(x, training=False) is x
    assert F.dropout(x, 0.0) is x
    y = F.dropout(x, 1.0)
    y.sum().backward()
    assert y.tolist() == [0.0] * 8 and x.grad.tolist() == [0.0] * 8
    for p in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            F.dropout(x, p)


def test_one_hot():
    labels = np.array([[0, 2], [1, 3]])
    expected = torch.nn.functional.one_hot(torch.tensor(labels)).numpy()
    np.testing.assert_array_equal(F.one_hot(cr.asarray(labels)).numpy(), expected)
    np.testing.assert_array_equal(F.one_hot(cr.asarray(labels), 4).numpy(), expected)
    for pending in (False, True):
        x = cr.asarray([0, 4])
        with pytest.raises(IndexOutOfRangeError, match="4"):
            F.one_hot(x + 0 if pending else x, 4).numpy()
    with pytest.raises(DTypeError, match="integer"):
        F.one_hot(cr.asarray([0.0]), 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: nn.Linear(3, 2)(x),
        lambda x: nn.Conv1d(2, 4, 1)(x),
        lambda x: F.conv1d(x, np.ones((4, 2, 1), np.float32)),
        lambda x: nn.BatchNorm1d(2)(x),
        lambda x: nn.LSTM(3, 2)(x),
        lambda x: nn.MultiheadAttention(3, 1)(x, x, x),
    ],
)
def test_numpy_arrays_are_refused_by_name(call):
    with pytest.raises(DTypeError, match=r"an operand is a NumPy array, not a Tensor; operands float32\[2, 2, 3\].*\n"
                       r"recorded at .*test_basic.py:\d+\nhelp: convert it with chainrule.asarray"):  # fmt: skip
        call(np.ones((2, 2, 3), np.float32))
