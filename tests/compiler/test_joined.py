"""Parts of a concatenation are computed in its buffer, without being copied there."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr


def labels(function, *args) -> list[str]:
    plan = function.trace(*args).plan
    return [call.label for region in plan.regions for task in region.tasks for call in task.calls]


def values(*shape: int, seed: int = 0) -> cr.Tensor:
    return cr.asarray(np.random.default_rng(seed).normal(size=shape).astype("float32"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_are_computed_in_place(axis: int) -> None:
    def f(x, y):
        return cr.concat([cr.tanh(x), x * y, cr.exp(y)], axis=axis)

    x, y = values(5, 6, 7), values(5, 6, 7, seed=1)
    f_ = cr.compile(f)
    assert "copy" not in labels(f_, x, y)
    np.testing.assert_array_equal(f_(x, y).numpy(), f(x, y).numpy())
    np.testing.assert_allclose(
        f_(x, y).numpy(),
        np.concatenate([np.tanh(x.numpy()), x.numpy() * y.numpy(), np.exp(y.numpy())], axis),
        rtol=1e-5,
    )


def test_parts_that_are_used_elsewhere_too() -> None:
    def f(x, y, w):
        a, b = cr.tanh(x), x * y
        joined = cr.concat([a, x, b, a], axis=1)
        again = cr.concat([b, b + 1], axis=1)
        return joined, again, a @ w, b.sum(axis=0), a, joined @ cr.concat([w, w, w, w], axis=0)

    args = values(9, 8), values(9, 8, seed=1), values(8, 4, seed=2)
    x, y, w = (a.numpy().astype("float64") for a in args)
    a, b = np.tanh(x), x * y
    joined = np.concatenate([a, x, b, a], 1)
    expected = (
        joined, np.concatenate([b, b + 1], 1), a @ w, b.sum(0), a, joined @ np.concatenate([w, w, w, w], 0),
    )  # fmt: skip
    for one, other, exact in zip(cr.compile(f)(*args), f(*args), expected):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        np.testing.assert_allclose(one.numpy(), exact, rtol=1e-4, atol=1e-5)


def test_concatenated_state_is_written_in_place() -> None:
    state = values(4, 6)

    @cr.compile
    def step(x):
        state[...] = cr.concat([state[:, 3:] * 2.0, cr.sin(x)], axis=1)

    expected, x = state.numpy().copy(), values(4, 3, seed=1)
    for _ in range(3):
        step(x)
        expected = np.concatenate([expected[:, 3:] * 2, np.sin(x.numpy())], 1)
    np.testing.assert_allclose(state.numpy(), expected, rtol=1e-6)
