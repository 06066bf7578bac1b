"""Loops that each thread runs by itself on rows of its own, and those whose iterations all threads end together."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.tree import tree_flatten


@pytest.fixture
def threads(request):
    before = cr.get_num_threads()
    yield cr.set_num_threads
    cr.set_num_threads(before)


def normal(*shape: int, dtype=np.float32) -> cr.Tensor:
    return cr.asarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def run(function, *args):
    """The results of a compiled function, and its loops."""
    step = cr.compile(function)
    results = [np.asarray(r.numpy()) for r in step(*args)]
    return results, [region.loop for region in step.programs[0].plan.regions if region.loop is not None]


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("rows, length, width", [(32, 20, 64), (7, 90, 33), (129, 3, 48)])
def test_recurrent_layers_take_rows_through_all_iterations(kind, rows, length, width, threads) -> None:
    """Forwards and backwards; bits are those of one thread, and values those of the uncompiled layer."""
    layer = kind(24, width, batch_first=True)

    def gradients(x):
        for parameter in layer.parameters():
            parameter.grad = None
        outputs = layer(x)[0]
        cr.sum(cr.square(outputs)).backward()
        return outputs, *(parameter.grad for parameter in layer.parameters())

    x = normal(rows, length, 24)
    threads(1)
    expected, loops = run(gradients, x)
    assert [loop.apart for loop in loops] == [False, False]
    for count in (2, 3, 5):
        threads(count)
        got, loops = run(gradients, x)
        assert [loop.apart for loop in loops] == [True, True]
        for a, b in zip(got, expected):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(expected, gradients(x)):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "step",
    [
        lambda state, x: state @ state * 0.01 + x,  # every row of the product needs all others
        lambda state, x: cr.tanh(cr.flip(state, axis=0) + x),  # a row needs another one
        lambda state, x: cr.tanh(state - cr.mean(state, axis=0)) + x,
        lambda state, x: cr.tanh(state.T + x),
    ],
    ids=["matrix", "turned", "centred", "transposed"],
)
def test_rows_that_need_others_wait_for_them(step, threads) -> None:
    def scanned(first, xs):
        def body(state, x):
            state = step(state, x)
            return state, state

        return cr.scan(body, first, xs)

    first, xs = normal(96, 96), normal(9, 96, 96)
    threads(1)
    expected, _ = run(scanned, first, xs)
    threads(2)
    got, loops = run(scanned, first, xs)
    assert [loop.apart for loop in loops] == [False]
    for a, b in zip(got, expected):
        np.testing.assert_array_equal(a, b)


def test_rows_apart_with_what_stays_and_what_is_handed_on(threads) -> None:
    """Carries that are kept as a history, handed on twice, or only read; slices in reverse; a loop in a loop."""

    def scanned(first, xs, w):
        def inner(state, x):
            low, high = state
            low = cr.tanh(low @ w + x)
            return (low, high * 0.5 + low), (low, high)

        def outer(state, x):
            state, (lows, highs) = cr.scan(inner, state, x, reverse=True)
            return state, (cr.sum(lows, axis=0), highs)

        return tree_flatten(cr.scan(outer, (first, first), xs))[0]

    first, xs, w = normal(64, 32), normal(3, 8, 64, 32), normal(32, 32)
    threads(1)
    expected, _ = run(scanned, first, xs, w)
    threads(2)
    got, (loop,) = run(scanned, first, xs, w)
    assert [region.loop.apart for region in loop.regions if region.loop is not None] == [True]
    for a, b in zip(got, expected):
        np.testing.assert_array_equal(a, b)
