"""Random draws, state and training in choices and loops."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

from .control_cases import Counter, array, assert_equal


def test_draws_in_branches() -> None:
    def f(p):
        return cr.cond(p, lambda: cr.rand(4), lambda: cr.rand(4)), cr.rand(2)

    def draws():
        cr.manual_seed(3)
        return cr.rand(4), cr.rand(4), cr.rand(2)

    expected = draws()
    for p in (True, False):
        cr.manual_seed(3)
        found = f(cr.asarray(p))
        assert_equal(found, (expected[0 if not p else 1], expected[2]))  # false_fun is recorded first
        cr.manual_seed(3)
        assert_equal(cr.compile(f)(cr.asarray(p)), found)


@pytest.mark.parametrize("bound", [None, 9])
def test_draws_differ_between_iterations(bound: int | None) -> None:
    def f():
        def step(v):
            return v[0] + 1, cr.concat([v[1][4:], cr.rand(4)])

        return cr.while_loop(lambda v: v[0] < 5, step, (0, cr.zeros(20)), max_steps=bound)[1], cr.rand(2)

    cr.manual_seed(3)
    found = f()
    assert len(np.unique(found[0].numpy())) == 20
    cr.manual_seed(3)
    compiled = cr.compile(f)
    assert_equal(compiled(), found)
    assert not np.array_equal(compiled()[0].numpy(), found[0].numpy())
    cr.manual_seed(3)
    scanned = cr.scan(lambda c, _: (c, cr.rand(4)), 0.0, length=5)[1]
    assert_equal(found[0], scanned.reshape((20,)))  # the draws of an iteration are those of scan
    cr.manual_seed(3)
    lanes = cr.vmap(lambda x: cr.while_loop(lambda v: v[0] < x, lambda v: (v[0] + 1, cr.rand(3)), (0.0, cr.zeros(3))))(
        cr.asarray([1.0, 2.0, 3.0])
    )
    assert len(np.unique(lanes[1].numpy())) == 9


def test_draws_in_the_condition() -> None:
    def f():
        return cr.while_loop(lambda n: cr.rand(()) < 0.9, lambda n: n + 1, 0)

    cr.manual_seed(0)
    counts = [f().item() for _ in range(8)]
    cr.manual_seed(0)
    step = cr.compile(f)
    assert [step().item() for _ in range(8)] == counts
    assert len(set(counts)) > 3


def test_dropout_in_a_branch_has_the_mask_of_the_forward_sweep() -> None:
    drop = nn.Dropout(0.5)
    x = array(64).requires_grad_()
    y = cr.cond(cr.asarray(True), lambda: drop(x) * 3.0, lambda: x)
    y.sum().backward()
    assert x.grad is not None and 0 < (y.numpy() == 0).sum() < 64
    np.testing.assert_array_equal(x.grad.numpy() != 0, y.numpy() != 0)


@pytest.mark.parametrize("compiled", [False, True])
def test_state_in_branches(compiled: bool) -> None:
    one, two = Counter(), Counter()

    def f(p, x):
        y = cr.cond(p, one.add, one.clear, x)
        return y + one.total

    step = cr.compile(f) if compiled else f
    for k, p in enumerate([True, True, False, True]):
        x = array(3, seed=k)
        expected = (two.add if p else two.clear)(x) + two.total
        assert_equal(step(cr.asarray(p), x), expected)
        assert_equal(dict(one.state_dict()), dict(two.state_dict()))
    assert one.calls.item() == 3


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bound", [None, 12])
def test_state_in_while_loops(compiled: bool, bound: int | None) -> None:
    one, two = Counter(), Counter()

    def f(x):
        def step(v):
            return one.add(v * 0.5)

        return cr.while_loop(lambda v: one.total.sum() < 5.0, step, x, max_steps=bound)

    step = cr.compile(f) if compiled else f
    for scale in (1.0, 1.0, -2.0):
        x = cr.abs(array(3)) * scale
        expected = x
        while two.total.sum().item() < 5:
            expected = two.add(expected * 0.5)
        assert_equal(step(x), expected)
        assert_equal(dict(one.state_dict()), dict(two.state_dict()))
        for counter in (one, two):
            counter.total[...] = counter.total * 0.5


def test_batch_norm_in_a_branch() -> None:
    xs = array(4, 8, 3, dtype="float32")
    one, two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    def step(x):
        loss = cr.cond(x[0, 0] > 0, lambda: (one(x) ** 3).sum(), lambda: x.sum())
        loss.backward()
        return loss

    compiled = cr.compile(step)
    for x in xs:
        loss = (two(x) ** 3).sum() if x[0, 0].item() > 0 else x.sum() + 0.0 * two.weight.sum()
        loss.backward()
        np.testing.assert_allclose(compiled(x).numpy(), loss.numpy(), rtol=1e-5)
    assert_equal(dict(one.state_dict()), dict(two.state_dict()), 1e-6)
    assert_equal(one.weight.grad, two.weight.grad, 1e-5)


def test_training_with_choices() -> None:
    def training(compiled: bool) -> tuple[list, np.ndarray]:
        cr.manual_seed(0)
        layer = nn.Linear(6, 6)
        optimizer = optim.Adam(layer.parameters(), lr=0.01)
        xs, target = array(5, 6, dtype="float32"), array(5, 6, seed=1, dtype="float32")

        def step(xs):
            optimizer.zero_grad()
            h = cr.while_loop(lambda h: (h * h).mean() > 0.1, lambda h: cr.tanh(layer(h)) * 0.9, xs, max_steps=6)
            h = cr.cond(h.sum() > 0, lambda h: layer(h), lambda h: h, h)
            loss = ((h - target) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        if compiled:
            losses = cr.compile(step).repeat(8, xs).tolist()
        else:
            losses = [step(xs).item() for _ in range(8)]
        return losses, layer.weight.numpy().copy()

    plain, compiled = training(False), training(True)
    assert plain[0] == compiled[0] and plain[0][-1] < plain[0][0]
    np.testing.assert_array_equal(plain[1], compiled[1])
