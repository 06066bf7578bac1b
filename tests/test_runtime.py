"""What an evaluation computes for others: what something still refers to, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime


@pytest.fixture
def results(monkeypatch):
    """The names of the operations whose values each program that runs returns."""
    found = []
    before = runtime.run
    monkeypatch.setattr(runtime, "run", lambda order, wanted: found.append(names(wanted)) or before(order, wanted))
    return found


def names(nodes):
    return [node.op.name for node in nodes]


X = cr.asarray(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4))


@pytest.mark.parametrize(
    "expression",
    [
        lambda: cr.exp(X * 2.0),
        lambda: cr.sum(cr.exp(X) - 1.0),
        lambda: X @ X.T,
        lambda: (X + 1.0) * (X - 1.0),
        lambda: cr.square(X * 3.0) / cr.square(X * 3.0),
    ],
)
def test_what_nothing_refers_to_is_not_returned(results, expression):
    root = expression()
    name = root._node.op.name
    root.numpy()
    assert results == [[name]]


@pytest.mark.parametrize("last", [True, False])
def test_what_a_tensor_refers_to_is_returned(results, last):
    y = X * 2.0
    (X - y if last else y - X).numpy()
    assert results == [["sub", "mul"]]
    np.testing.assert_array_equal(y.numpy(), 2 * X.numpy())
    assert len(results) == 1


@pytest.mark.parametrize("last", [True, False])
def test_what_other_work_needs_is_returned(results, last):
    y = X * 2.0
    waiting = cr.exp(y)
    other = X - y if last else y - X
    del y
    other.numpy()
    waiting.numpy()
    assert results == [["sub", "mul"], ["exp"]]


def test_a_node_that_is_used_twice_is_referred_to_by_its_users_alone(results):
    y = X * 2.0
    root = cr.exp(y * y)
    del y
    root.numpy()
    assert results == [["exp"]]


def test_gradients_and_the_loss_evaluated_along_with_them_are_all(results):
    w = cr.tensor(np.ones((4, 2), np.float32), requires_grad=True)
    w.numpy()
    results.clear()
    loss = cr.nn.functional.cross_entropy(X @ w, cr.asarray([0, 1, 0]))
    loss.backward()
    w.grad.numpy()
    assert [len(found) for found in results] == [2]
    assert loss._node.value is not None
