"""How often threads have to wait for one another: what a group takes in, and short steps that follow one another."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr


@pytest.fixture(autouse=True)
def two_threads():
    before = cr.get_num_threads()
    cr.set_num_threads(2)
    yield
    cr.set_num_threads(before)


def normal(*shape: int) -> cr.Tensor:
    return cr.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def check(function, *args):
    """The regions of the compiled function, each a list of tasks, which are lists of labels; bits as on one thread."""
    step = cr.compile(function)
    results = [r.numpy() for r in step(*args)]
    cr.set_num_threads(1)
    for got, expected, wide in zip(results, cr.compile(function)(*args), function(*args)):
        np.testing.assert_array_equal(got, expected.numpy())
        np.testing.assert_allclose(got, wide.numpy(), rtol=1e-4, atol=1e-4)
    return [[[c.label for c in task.calls] for task in region.tasks] for region in step.programs[0].plan.regions]


def test_what_needs_two_sums_joins_the_one_that_waits_longer() -> None:
    """A mean over valid rows, and its derivative: which needs their number alone, and no sum of losses."""

    def loss(x, w, weights):
        total = cr.sum(cr.sum(cr.exp(x @ w), axis=1))
        count = cr.sum(weights)
        return total / count, cr.exp(x @ w) / count

    regions = check(loss, normal(512, 64), normal(64, 64), cr.abs(normal(512)))
    assert regions == [[["sum"]], [["bmm+exp+div", "sum"]], [["sum+div"]]]


def test_short_steps_that_follow_one_another_are_one_task() -> None:
    """Statistics of rows that rows of another order need: no threads meet in between."""

    def normalised(x, w, table):
        centre = cr.mean(table, axis=0)
        spread = cr.sum(cr.square(table - centre), axis=0)
        return cr.tanh(x @ w) * cr.sqrt(spread), centre

    regions = check(normalised, normal(512, 64), normal(64, 16), normal(48, 16))
    assert regions == [[["sum+div", "sub+square+sum+sqrt"]], [["bmm+tanh+mul"]]]


def test_long_steps_that_follow_one_another_are_apart() -> None:
    """Threads share each of two sums along different axes of a large matrix."""

    def summed(x):
        total = cr.sum(cr.exp(x), axis=0)
        return (cr.sum(x * total, axis=1),)

    regions = check(summed, normal(2048, 512))
    assert regions == [[["exp+sum"]], [["mul+sum"]]]
