"""What the tests of choices and loops share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.tree import tree_leaves


def array(*shape: int, seed: int = 0, dtype: str = "float64") -> cr.Tensor:
    """Normal numbers."""
    return cr.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def number(value: float) -> cr.Tensor:
    return cr.asarray(value, dtype=cr.float64)


def assert_equal(actual: Any, expected: Any, tolerance: float = 0.0) -> None:
    """Equal trees of tensors; the same bits unless a tolerance is given."""
    a, b = tree_leaves(actual), tree_leaves(expected)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.shape == y.shape and x.dtype is y.dtype
        if tolerance:
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(x.numpy(), y.numpy())


def assert_slope(f: Callable, args: tuple, step: float = 1e-6, tolerance: float = 1e-7) -> None:
    """The gradient of a number, reverse and (where it exists) forward, against central differences."""
    along = [array(*x.shape, seed=90 + i) for i, x in enumerate(args)]
    high, low = (f(*(x + sign * step * d for x, d in zip(args, along))).item() for sign in (1, -1))
    slope = (high - low) / (2 * step)
    gradients = cr.grad(f, argnums=tuple(range(len(args))))(*args)
    reverse = sum((g * d).sum().item() for g, d in zip(gradients, along))
    forward = cr.jvp(f, args, tuple(along))[1].item()
    assert forward == pytest.approx(reverse, rel=1e-12, abs=1e-13)
    assert reverse == pytest.approx(slope, rel=tolerance, abs=tolerance)


def compiled_equals(f: Callable, *args: Any) -> Any:
    """What `f` returns; the same bits compiled."""
    expected = f(*args)
    assert_equal(cr.compile(f)(*args), expected)
    return expected


def weighted(f: Callable) -> Callable:
    """A number that depends on everything that `f` returns."""

    def total(*args):
        found = number(0.0)
        for i, leaf in enumerate(tree_leaves(f(*args))):
            weights = cr.asarray(np.cos(np.arange(leaf.numel()) + i).reshape(leaf.shape))
            found = found + (leaf * leaf * weights).sum() + cr.sin(leaf).sum()
        return found

    return total


def refused(error: type[Exception], text: str, call: Callable) -> None:
    """`call` raises `error` with exactly this text, but for the place."""
    with pytest.raises(error) as caught:
        call()
    found = re.sub(r"recorded at .*test_\w+\.py:\d+", "recorded at HERE", str(caught.value))
    assert found == text


class Counter(nn.Module):
    """Two pieces of state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", cr.zeros(3, dtype=cr.float64))
        self.register_buffer("calls", cr.asarray(0))

    def add(self, x):
        self.total[...] = self.total + x
        self.calls += 1
        return self.total * 2

    def clear(self, x):
        self.total[...] = self.total * 0
        return x


def growing(value):
    x, w, steps = value
    return (x * w + cr.sin(x), w, steps + 1)


def small(value):
    return (value[0] ** 2).sum() < 50.0


def grown(x, w, max_steps=None):
    return cr.while_loop(small, growing, (x, w, 0), max_steps)


def grown_in_python(x, w):
    value = (x, w, cr.asarray(0))
    while small(value).item():
        value = growing(value)
    return value


def real(f: Callable) -> Callable:
    """The first result of `f`, weighted."""
    return weighted(lambda *args: f(*args)[0])


def up(x, w):
    return {"a": cr.sin(x @ w), "b": (x * x).sum(axis=0)}


def down(x, w):
    return {"a": x * 0.5 + w[0], "b": x[0] * w[1]}


def chosen(p, x, w):
    return cr.cond(p > 0, up, down, x, w)


def in_python(p, x, w):
    return up(x, w) if p.item() > 0 else down(x, w)
