"""`scan` against the same loop in Python: values, derivatives, batching, compilation, randomness, state, refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, runtime
from chainrule.errors import CompileError, ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError
from chainrule.graph.verify import verify
from chainrule.tree import tree_leaves


def array(*shape: int, seed: int = 0, dtype: str = "float64") -> cr.Tensor:
    """Normal numbers."""
    return cr.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def in_python(f: Callable, init: Any, xs: Any, length: int | None = None, reverse: bool = False) -> tuple[Any, Any]:
    """What `scan` means; `xs` is one tensor or None, y one tensor."""
    count = len(xs) if xs is not None else length
    assert count is not None
    carry, ys = init, [None] * count
    for i in reversed(range(count)) if reverse else range(count):
        carry, ys[i] = f(carry, None if xs is None else xs[i])
    return carry, cr.stack(ys)


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


# --- bodies: (function of (parameters, carry, x), parameters, first carry, stack) --------------------------------


def rnn(p, h, x):
    new = cr.tanh(x @ p[0] + h @ p[1] + p[2])
    return new, new * 2.0


def gated(p, carry, x):
    h, c = carry
    a, b = cr.sigmoid(x @ p[0]), cr.tanh(h @ p[1])
    c = c * a + b * (1 - a)
    h = cr.tanh(c) * p[2]
    return (h, c), (h * c).sum(axis=1)


def swapping(p, carry, x):
    a, b, same = carry
    return (b, a * p[0] + x, same), a + same


def unused(p, carry, x):
    return carry * 0.0 + p[0], carry * x


def product_of_slices(p, carry, x):
    return carry + (x * 3.0) @ p[0], (x @ p[0]) @ carry


#: these run in every session, with the others marked slow for derivatives of second order and batching
QUICK = ("gated", "slices")

CASES = {
    "rnn": (rnn, (array(3, 4), array(4, 4, seed=1), array(4, seed=2)), array(2, 4, seed=3), array(5, 2, 3, seed=4)),
    "gated": (
        gated, (array(3, 4), array(4, 4, seed=1), array(4, seed=2)),
        (array(2, 4, seed=3), array(2, 4, seed=5)), array(6, 2, 3, seed=4),
    ),
    "swapping": (swapping, (array(3),), (array(3, seed=1), array(3, seed=2), array(3, seed=3)), array(7, 3, seed=4)),
    "unused": (unused, (array(3),), array(3, seed=1), array(4, 3, seed=2)),
    "slices": (product_of_slices, (array(3, 3),), array(3, 3, seed=1), array(4, 3, 3, seed=2)),
    "once": (rnn, (array(3, 4), array(4, 4, seed=1), array(4, seed=2)), array(2, 4, seed=3), array(1, 2, 3, seed=4)),
    "strided": (
        rnn, (array(3, 4), array(4, 4, seed=1), array(4, seed=2)), array(4, 2, seed=3).T,
        cr.permute_dims(array(2, 3, 5, seed=4), (2, 0, 1)),
    ),
    "flipped": (
        rnn, (array(3, 4), array(4, 4, seed=1).T, array(4, seed=2)), array(2, 4), cr.flip(array(5, 2, 3), axis=0),
    ),
}  # fmt: skip


def both(name: str, reverse: bool) -> tuple[Callable, Callable, tuple]:
    """A function of (parameters, carry, stack) by `scan`, the same in Python, and arguments."""
    f, p, carry, xs = CASES[name]

    def looped(p, carry, xs):
        return cr.scan(lambda c, x: f(p, c, x), carry, xs, reverse=reverse)

    def plain(p, carry, xs):
        return in_python(lambda c, x: f(p, c, x), carry, xs, reverse=reverse)

    return looped, plain, (p, carry, xs)


def weighted(f: Callable) -> Callable:
    """A number that depends on everything that `f` returns."""

    def number(*args):
        total = cr.asarray(0.0, dtype=cr.float64)
        for i, leaf in enumerate(tree_leaves(f(*args))):
            weights = cr.asarray(np.cos(np.arange(leaf.numel()) + i).reshape(leaf.shape))
            total = total + (leaf * leaf * weights).sum() + cr.sin(leaf).sum()
        return total

    return number


some = pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CASES])


@pytest.fixture(autouse=True)
def _full_length(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slow") and not request.config.getoption("--slow"):
        pytest.skip("runs with --slow")


each = pytest.mark.parametrize("name", CASES)
directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


@each
@directions
def test_value(name: str, reverse: bool) -> None:
    looped, plain, args = both(name, reverse)
    assert_equal(looped(*args), plain(*args))
    assert_equal(cr.compile(looped)(*args), plain(*args))


@each
@directions
def test_gradients(name: str, reverse: bool) -> None:
    looped, plain, args = both(name, reverse)
    for_loop = cr.value_and_grad(weighted(looped), argnums=(0, 1, 2))
    expected = cr.value_and_grad(weighted(plain), argnums=(0, 1, 2))(*args)
    assert_equal(for_loop(*args), expected, 1e-12)
    assert_equal(cr.compile(for_loop)(*args), for_loop(*args))


@some
def test_forward_mode(name: str) -> None:
    looped, plain, args = both(name, False)
    tangents = cr.tree_map(lambda x: array(*x.shape, seed=9), args)
    assert_equal(cr.jvp(looped, args, tangents), cr.jvp(plain, args, tangents), 1e-12)
    only = cr.jvp(lambda xs: looped(args[0], args[1], xs), (args[2],), (tangents[2],))
    assert_equal(only, cr.jvp(lambda xs: plain(args[0], args[1], xs), (args[2],), (tangents[2],)), 1e-12)


@some
@directions
def test_second_order(name: str, reverse: bool) -> None:
    looped, plain, args = both(name, reverse)

    def curvature(f):
        def number(*args):
            parts = tree_leaves(cr.grad(weighted(f), argnums=(0, 1, 2))(*args))
            return sum(((g * g).sum() for g in parts), cr.asarray(0.0, dtype=cr.float64))

        return cr.grad(number, argnums=(0, 1, 2))

    assert_equal(curvature(looped)(*args), curvature(plain)(*args), 1e-9)
    tangents = cr.tree_map(lambda x: array(*x.shape, seed=9), args)
    forward_over_reverse = cr.jvp(cr.grad(weighted(looped), argnums=(0, 1, 2)), args, tangents)
    assert_equal(forward_over_reverse, cr.jvp(cr.grad(weighted(plain), argnums=(0, 1, 2)), args, tangents), 1e-9)


@some
@pytest.mark.parametrize("mapped", [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)])
def test_batching(name: str, mapped: tuple) -> None:
    looped, plain, args = both(name, False)
    args = tuple(
        cr.tree_map(lambda x: cr.stack([x, x * 0.5, x - 1]), a) if axis == 0 else a for a, axis in zip(args, mapped)
    )
    assert_equal(cr.vmap(looped, in_axes=mapped)(*args), cr.vmap(plain, in_axes=mapped)(*args), 1e-13)
    per_example = cr.vmap(cr.grad(weighted(looped), argnums=(0, 1, 2)), in_axes=mapped)(*args)
    assert_equal(per_example, cr.vmap(cr.grad(weighted(plain), argnums=(0, 1, 2)), in_axes=mapped)(*args), 1e-12)

    def summed(f):
        return lambda *a: weighted(cr.vmap(f, in_axes=mapped))(*a)

    assert_equal(
        cr.grad(summed(looped), argnums=(0, 1, 2))(*args), cr.grad(summed(plain), argnums=(0, 1, 2))(*args), 1e-12
    )


def test_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    looped, _, args = both("gated", True)
    native = cr.value_and_grad(weighted(looped), argnums=(0, 1, 2))(*args)
    cr.tree_map(lambda x: x.numpy(), native)
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    assert_equal(cr.value_and_grad(weighted(looped), argnums=(0, 1, 2))(*args), native, 1e-12)


# --- structure ----------------------------------------------------------------------------------------------------


def test_trees_and_numbers() -> None:
    def f(carry, x):
        total = carry["total"] + x["a"].sum() + x["b"]
        return {"total": total, "count": carry["count"] + 1}, (total, None, {"twice": total * 2})

    xs = {"a": cr.ones((3, 2)), "b": cr.asarray([1.0, 2.0, 3.0])}
    carry, ys = cr.scan(f, {"total": 0.0, "count": 0}, xs)
    assert carry["total"].item() == 12 and carry["count"].item() == 3 and carry["count"].dtype is cr.int64
    assert ys[0].tolist() == [3.0, 7.0, 12.0] and ys[1] is None and ys[2]["twice"].tolist() == [6.0, 14.0, 24.0]


def test_without_stacks() -> None:
    carry, ys = cr.scan(lambda c, _: (c * 2, c), 1.0, length=10)
    assert carry.item() == 1024 and ys.tolist() == [float(2**i) for i in range(10)]
    carry, ys = cr.scan(lambda c, _: (c, None), 1.0, length=3)
    assert carry.item() == 1 and ys is None


@pytest.mark.parametrize("unroll", [1, 4, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_no_iterations(compiled: bool, unroll: Any) -> None:
    """The carry is the first one, results have no slices but their types, and no state moves."""
    state = cr.zeros(2)
    w = cr.asarray([2.0, 3.0])

    def step(carry, x):
        nonlocal state
        state += cr.randn(2)
        ys = {"y": carry["a"] * w + x.sum(), "m": x > 0, "z": cr.complex(x, x), "n": (carry["b"], None)}
        return {"a": carry["a"] * w, "b": carry["b"] + 1}, ys

    def looped(a, x):
        return cr.scan(step, {"a": a, "b": 3}, x, unroll=unroll)

    cr.manual_seed(5)
    a, x = cr.asarray([1.0, -1.0]), cr.zeros((0, 3))
    carry, ys = (cr.compile(looped) if compiled else looped)(a, x)
    assert carry["a"].tolist() == [1.0, -1.0] and carry["a"].dtype is cr.float32
    assert carry["b"].item() == 3 and carry["b"].dtype is cr.int64
    types = {"y": ((0, 2), cr.float32), "m": ((0, 3), cr.bool), "z": ((0, 3), cr.complex64)}
    for name, (shape, dtype) in types.items():
        assert ys[name].shape == shape and ys[name].dtype is dtype
        assert ys[name].numpy().shape == shape
    assert ys["n"][0].shape == (0,) and ys["n"][0].dtype is cr.int64 and ys["n"][1] is None
    assert state.tolist() == [0.0, 0.0]
    if unroll is not True and unroll < 2:  # a draw takes one tick, however many iterations there are
        drawn = cr.randn(2).tolist()
        cr.manual_seed(5)
        (cr.compile(looped) if compiled else looped)(a, cr.zeros((2, 3)))
        assert drawn == cr.randn(2).tolist()


def test_transformations_of_no_iterations() -> None:
    def looped(a, x):
        carry, ys = cr.scan(lambda c, x: (c * x, c * x), a, x)
        return carry**2 + ys.sum()

    a, x = cr.asarray(3.0), cr.zeros((0,))
    value, gradients = cr.value_and_grad(looped, (0, 1))(a, x)
    assert value.item() == 9.0 and gradients[0].item() == 6.0 and gradients[1].shape == (0,)
    assert cr.grad(cr.grad(looped))(a, x).item() == 2.0
    assert cr.jvp(looped, (a, x), (cr.ones_like(a), x))[1].item() == 6.0
    rows = cr.asarray([1.0, 2.0])
    assert cr.vmap(looped, in_axes=(0, None))(rows, x).tolist() == [1.0, 4.0]
    assert cr.vmap(looped)(rows, cr.zeros((2, 0))).tolist() == [1.0, 4.0]
    assert cr.scan(lambda c, _: (c + 1, c), 0, length=0)[1].shape == (0,)


def test_results_that_do_not_change() -> None:
    w = array(3)
    carry, ys = cr.scan(lambda c, x: (w, (w, x, c)), array(3, seed=1), array(4, 3, seed=2))
    assert_equal(carry, w)
    assert_equal(ys[0], cr.stack([w] * 4))
    assert_equal(ys[1], array(4, 3, seed=2))
    assert_equal(ys[2], cr.stack([array(3, seed=1), w, w, w]))


@pytest.mark.parametrize("unroll", [2, 3, True])
def test_unrolled(unroll: Any) -> None:
    f, p, carry, xs = CASES["gated"]
    for reverse in (False, True):
        expected = cr.scan(lambda c, x: f(p, c, x), carry, xs, reverse=reverse)
        assert_equal(cr.scan(lambda c, x: f(p, c, x), carry, xs, reverse=reverse, unroll=unroll), expected)


def test_nested() -> None:
    w = array(3, 3)

    def looped(w, init, xs):
        def outer(c, rows):
            c, inner = cr.scan(lambda d, x: (cr.tanh(d @ w + x), d * x), c, rows)
            return c * 0.5, inner.sum(axis=0)

        return cr.scan(outer, init, xs)

    def plain(w, init, xs):
        def outer(c, rows):
            c, inner = in_python(lambda d, x: (cr.tanh(d @ w + x), d * x), c, rows)
            return c * 0.5, inner.sum(axis=0)

        return in_python(outer, init, xs)

    args = (w, array(3, seed=1), array(4, 5, 3, seed=2))
    assert_equal(looped(*args), plain(*args))
    gradients = cr.grad(weighted(looped), argnums=(0, 1, 2))
    assert_equal(gradients(*args), cr.grad(weighted(plain), argnums=(0, 1, 2))(*args), 1e-12)
    assert_equal(cr.compile(gradients)(*args), gradients(*args))
    tangents = cr.tree_map(lambda x: array(*x.shape, seed=9), args)
    assert_equal(
        cr.jvp(gradients, args, tangents), cr.jvp(cr.grad(weighted(plain), argnums=(0, 1, 2)), args, tangents), 1e-11
    )
    stacks = array(3, 4, 5, 3, seed=5)
    per_example = cr.vmap(gradients, in_axes=(None, None, 0))(w, args[1], stacks)
    assert_equal(
        per_example,
        cr.vmap(cr.grad(weighted(plain), argnums=(0, 1, 2)), in_axes=(None, None, 0))(w, args[1], stacks),
        1e-12,
    )


def test_operations_on_the_host_inside() -> None:
    def f(c, x):
        order = cr.sort(c + x)
        return order[::-1] * 0.5, cr.argsort(x)

    init, xs = array(5), array(6, 5, seed=1)
    assert_equal(cr.scan(f, init, xs), in_python(f, init, xs))
    assert_equal(
        cr.compile(lambda init, xs: cr.scan(f, init, xs, reverse=True))(init, xs), in_python(f, init, xs, reverse=True)
    )


def test_convolutions_inside() -> None:
    w, init, xs = array(4, 4, 3, 3), array(2, 4, 6, 6, seed=1), array(5, 2, 4, 6, 6, seed=2)

    def looped(w, init, xs):
        return cr.scan(lambda h, x: convolved(w, h, x), init, xs)

    def plain(w, init, xs):
        return in_python(lambda h, x: convolved(w, h, x), init, xs)

    def convolved(w, h, x):
        h = cr.tanh(nn.functional.conv2d(h, w, padding=1) + x)
        return h, h.sum(axis=(2, 3))

    args = (w, init, xs)
    assert_equal(looped(*args), plain(*args))
    gradients = cr.compile(cr.grad(weighted(looped), argnums=(0, 1, 2)))
    assert_equal(gradients(*args), cr.grad(weighted(plain), argnums=(0, 1, 2))(*args), 1e-12)
    plan = cr.compile(looped).trace(*args).plan
    (loop,) = [region.loop for region in plan.regions if region.loop is not None]
    inside = [call.label for region in loop.regions for task in region.tasks for call in task.calls]
    assert "pack" not in inside  # the kernel is packed once


def test_carries_that_never_change_are_constants() -> None:
    w, init, xs = array(3, 3), array(3, seed=1), array(5, 3, seed=2)

    def through(w, init, xs):
        (h, same), ys = cr.scan(lambda c, x: ((cr.tanh(c[0] @ c[1] + x), c[1]), c[0]), (init, w), xs)
        return h, same * 1.0, ys

    def closed(w, init, xs):
        h, ys = cr.scan(lambda h, x: (cr.tanh(h @ w + x), h), init, xs)
        return h, w * 1.0, ys

    assert_equal(through(w, init, xs), closed(w, init, xs))
    gradients = [cr.grad(weighted(f), argnums=(0, 1, 2))(w, init, xs) for f in (through, closed)]
    assert_equal(gradients[0], gradients[1])
    assert_equal(cr.scan(lambda c, x: (c, x + c), 2.0, xs), (cr.asarray(2.0), xs + 2.0))
    assert cr.scan(lambda c, x: (c, None), 2.0, xs)[0].item() == 2.0


def test_forward_mode_computes_values_once_or_keeps_nothing() -> None:
    w, init, t = array(16, 16), array(4, 16, seed=1), array(16, 16, seed=2)

    def plan(length, stacks):
        def f(w):
            return cr.scan(lambda h, _: (cr.tanh(h @ w), h if stacks else None), init, length=length)

        return cr.compile(lambda w: cr.jvp(f, (w,), (t,))).trace(w).plan

    def products(plan):
        return [
            sum("bmm" in call.label for inner in region.loop.regions for task in inner.tasks for call in task.calls)
            for region in plan.regions
            if region.loop is not None
        ]

    assert products(plan(8, True)) == [1, 2]  # values, then tangents
    assert sorted(products(plan(8, False))) == [1, 3]  # the results, and tangents with the values they need
    assert plan(8, False).arena_bytes == plan(800, False).arena_bytes


def test_values_that_are_computed_again_late_in_the_body() -> None:
    """The compiler copies an item for its late users: the items' numbers move, what they are bound to must not."""
    w, init = array(128, 128, dtype="float32") * 0.1, array(256, 128, seed=1, dtype="float32")

    def f(c, _):
        early = c * 0.2
        h = cr.sin(early) @ w
        for _ in range(9):
            h = cr.tanh(h @ w)
        return (h + cr.sin(early)) * 0.5, (h - early).sum()

    assert_equal(cr.compile(lambda c: cr.scan(f, c, length=3))(init), in_python(f, init, None, 3))


def test_gathering_inside() -> None:
    table, rows = array(6, 3), cr.asarray(np.array([5, 0, 3, 3]))

    def f(c, row):
        return c * 0.5 + table[row], c.sum()

    assert_equal(cr.scan(f, cr.zeros(3, dtype=cr.float64), rows), in_python(f, cr.zeros(3, dtype=cr.float64), rows))
    bad = cr.asarray(np.array([5, 0, 6, 3]))
    with pytest.raises(IndexOutOfRangeError, match="index 6 is out of range for axis 0 of size 6"):
        cr.scan(f, cr.zeros(3, dtype=cr.float64), bad)[0].numpy()


def test_detach_stops_the_gradient() -> None:
    def loss(x, cut):
        def f(c, _):
            c = c * x
            return (c.detach() if cut else c), c

        return cr.scan(f, cr.asarray(1.0, dtype=cr.float64), length=3)[1].sum()

    x = cr.asarray(2.0, dtype=cr.float64)
    assert cr.grad(lambda x: loss(x, False))(x).item() == 1 + 2 * 2 + 3 * 4
    assert cr.grad(lambda x: loss(x, True))(x).item() == 1 + 2 + 4


def test_graph_is_one_loop() -> None:
    looped, _, args = both("gated", False)
    x = args[2].detach().requires_grad_()
    out = weighted(looped)(args[0], args[1], x)
    verify([out._node])
    out.backward()
    verify([x.grad._node])
    step = cr.compile(cr.value_and_grad(weighted(looped), argnums=(0, 1, 2)))
    plan = step.trace(*args).plan
    assert [region.loop.count for region in plan.regions if region.loop is not None] == [6, 6]


def test_memory_does_not_grow_with_what_is_not_kept() -> None:
    w = array(64, 64, dtype="float32")

    def program(length):
        f = cr.compile(lambda c: cr.scan(lambda c, _: (cr.tanh(c @ w), None), c, length=length)[0])
        return f.trace(array(32, 64, dtype="float32")).plan

    assert program(10).arena_bytes == program(1000).arena_bytes
    assert len(program(10).kernels) == len(program(1000).kernels)


# --- randomness and state -----------------------------------------------------------------------------------------


def test_draws_differ_between_iterations() -> None:
    cr.manual_seed(3)
    draws = cr.scan(lambda c, _: (c, cr.rand(4)), 0.0, length=5)[1].numpy()
    assert len(np.unique(draws)) == 20
    cr.manual_seed(3)
    assert_equal(cr.scan(lambda c, _: (c, cr.rand(4)), 0.0, length=5)[1], cr.asarray(draws))
    after = cr.rand(2).numpy()
    cr.manual_seed(3)
    compiled = cr.compile(lambda: cr.scan(lambda c, _: (c, cr.rand(4)), 0.0, length=5)[1])
    assert_equal(compiled(), cr.asarray(draws))
    assert_equal(cr.rand(2), cr.asarray(after))
    assert not np.array_equal(compiled().numpy(), draws)


def test_dropout_in_the_body_has_the_masks_of_the_forward_sweep() -> None:
    drop = nn.Dropout(0.5)
    x = array(6, 8).requires_grad_()
    _, y = cr.scan(lambda c, x: (c, drop(x) * 3.0), 0.0, x)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy() != 0, y.numpy() != 0)


def test_draws_in_nested_loops_and_lanes_differ() -> None:
    def f(x):
        return cr.scan(lambda c, r: (c, cr.scan(lambda d, s: (d, cr.rand(2) + s), 0.0, r)[1]), 0.0, x)[1]

    assert len(np.unique(f(cr.zeros((3, 4))).numpy())) == 24
    assert len(np.unique(cr.vmap(f)(cr.zeros((5, 3, 4))).numpy())) == 120


def test_batch_norm_inside() -> None:
    xs = array(6, 8, 3, dtype="float32")
    one, two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    assert_equal(cr.scan(lambda c, x: (c, one(x)), 0.0, xs)[1], cr.stack([two(x) for x in xs]))
    assert_equal(dict(one.state_dict()), dict(two.state_dict()))
    assert one.num_batches_tracked.item() == 6


def test_state_is_carried() -> None:
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", cr.zeros(3, dtype=cr.float64))
            self.register_buffer("count", cr.asarray(0))
            self.register_buffer("last", cr.zeros(3, dtype=cr.float64))

        def forward(self, x):
            self.mean[...] = self.mean * 0.9 + x * 0.1
            self.count += 1
            self.last[...] = x
            return x - self.mean

    xs = array(5, 3)
    one, two, three = Running(), Running(), Running()
    expected = cr.stack([one(x) for x in xs])
    assert_equal(cr.scan(lambda c, x: (c, two(x)), 0.0, xs)[1], expected)
    compiled = cr.compile(lambda xs: cr.scan(lambda c, x: (c, three(x)), 0.0, xs)[1])
    assert_equal(compiled(xs), expected)
    for module in (two, three):
        assert_equal(dict(module.state_dict()), dict(one.state_dict()))
    assert two.count.item() == 5
    compiled(xs)
    assert three.count.item() == 10


def training(compiled: bool, steps: int) -> tuple[list, np.ndarray]:
    cr.manual_seed(0)
    cell = nn.Linear(6, 4)
    optimizer = optim.Adam(cell.parameters(), lr=0.01)
    xs, target = array(7, 5, 2, dtype="float32"), array(5, 4, seed=1, dtype="float32")

    def step(xs):
        optimizer.zero_grad()
        h, _ = cr.scan(lambda h, x: (cr.tanh(cell(cr.concat([x, h], axis=1))), None), cr.zeros((5, 4)), xs)
        loss = ((h - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    if not compiled:
        losses = [step(xs).item() for _ in range(steps)]
    else:
        losses = cr.compile(step).repeat(steps, xs).tolist()
    return losses, cell.weight.numpy().copy()


def test_training_compiled_and_repeated() -> None:
    expected, weight = training(False, 8)
    losses, compiled_weight = training(True, 8)
    assert losses == expected and expected[-1] < expected[0]
    np.testing.assert_array_equal(weight, compiled_weight)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_bits(threads: int) -> None:
    w, init, xs = (
        array(128, 128, dtype="float32"),
        array(96, 128, seed=1, dtype="float32"),
        array(6, 96, 128, seed=2, dtype="float32"),
    )
    before = cr.get_num_threads()
    f = cr.compile(cr.value_and_grad(lambda w: weighted_sum(w, init, xs)))
    try:
        cr.set_num_threads(1)
        expected = f(w)
        cr.set_num_threads(threads)
        assert_equal(f(w), expected)
    finally:
        cr.set_num_threads(before)


def weighted_sum(w, init, xs):
    h, ys = cr.scan(lambda h, x: (cr.tanh(h @ w * 0.1 + x), (h * h).sum(axis=1)), init, xs)
    return h.sum() + ys.sum()


# --- refusals -----------------------------------------------------------------------------------------------------


def refused(error: type[Exception], pattern: str, call: Callable) -> None:
    with pytest.raises(error, match=pattern) as caught:
        call()
    if error is not PlaceholderError:
        assert re.search(r"recorded at .*test_looping\.py:\d+", str(caught.value))


def test_refusals() -> None:
    x = cr.zeros((3, 2))
    refused(ShapeError, r"scan: xs\['a'\] has 3 iterations, xs\['b'\] has 4 \(axis 0\)",
            lambda: cr.scan(lambda c, x: (c, None), 0.0, {"a": x, "b": cr.zeros(4)}))  # fmt: skip
    refused(ShapeError, r"length has 5 iterations, xs has 3", lambda: cr.scan(lambda c, x: (c, None), 0.0, x, length=5))
    refused(ShapeError, r"carry\['h'\] goes in as float32\[2\] and comes out as float32\[3, 2\]",
            lambda: cr.scan(lambda c, _: ({"h": c["h"] + x}, None), {"h": cr.zeros(2)}, length=2))  # fmt: skip
    refused(DTypeError, r"carry goes in as int64\[\] and comes out as float32\[\]",
            lambda: cr.scan(lambda c, x: (x.sum(), None), 0, x))  # fmt: skip
    refused(ConfigError, "comes out as", lambda: cr.scan(lambda c, x: ((c, c), None), 0.0, x))
    refused(ConfigError, "length is a number of iterations, not -1",
            lambda: cr.scan(lambda c, x: (c, x), 0.0, length=-1))  # fmt: skip
    refused(DTypeError, r"carry goes in as int64\[\] and comes out as float32\[\]",
            lambda: cr.scan(lambda c, x: (x.sum(), None), 0, cr.zeros((0, 2))))  # fmt: skip
    refused(ConfigError, "neither xs nor length", lambda: cr.scan(lambda c, x: (c, x), 0.0))
    refused(ConfigError, r"return a pair \(carry, y\)", lambda: cr.scan(lambda c, x: c, 0.0, x))
    refused(
        ConfigError, "unroll=2 does not divide the 3 iterations", lambda: cr.scan(lambda c, x: (c, x), 0.0, x, unroll=2)
    )
    refused(ConfigError, "unroll must be", lambda: cr.scan(lambda c, x: (c, x), 0.0, x, unroll=0))
    refused(DTypeError, "xs is float, which has no axis", lambda: cr.scan(lambda c, x: (c, x), 0.0, 1.0))
    refused(
        ShapeError, r"xs\[0\] has no axis to go along", lambda: cr.scan(lambda c, x: (c, x), 0.0, (cr.asarray(1.0),))
    )
    refused(DTypeError, "the function returned str", lambda: cr.scan(lambda c, x: (c, "y"), 0.0, x))
    refused(PlaceholderError, "placeholder", lambda: cr.scan(lambda c, x: (c * 2 if c > 0 else c, x), 0.0, x))
    w = cr.zeros(2).requires_grad_()
    refused(CompileError, r"cannot write the \.grad",
            lambda: cr.scan(lambda c, x: (c, (w * x).sum().backward()), 0.0, x))  # fmt: skip


def test_explained() -> None:
    looped, _, args = both("gated", False)
    text = str(cr.explain(cr.compile(cr.value_and_grad(weighted(looped), argnums=(0, 1, 2))), *args))
    assert "scan" in text and "loop of 6" in text


@pytest.mark.parametrize("compiled", [False, True])
def test_what_leaves_the_body_is_no_value(compiled: bool) -> None:
    kept = []

    def f(xs):
        cr.scan(lambda c, x: (c, kept.append(x)), 0.0, xs)
        return kept[-1] * 2

    with pytest.raises(PlaceholderError, match="placeholder"):
        (cr.compile(f) if compiled else f)(cr.ones((3, 2))).numpy()


def test_a_body_that_raises_leaves_no_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        cr.scan(lambda c, x: 1 // 0, 0.0, cr.zeros(3))
    assert (cr.ones(2) + 1).tolist() == [2.0, 2.0]


def test_results_of_one_loop_are_evaluated_together(monkeypatch) -> None:
    runs = []
    before = runtime.run
    monkeypatch.setattr(runtime, "run", lambda *args: runs.append(1) or before(*args))
    last, stacked = cr.scan(lambda carry, x: (carry + x, carry * 2), cr.tensor(0.0), cr.arange(5.0))
    assert float(last) == 10.0
    assert stacked.tolist() == [0.0, 0.0, 2.0, 6.0, 12.0]
    assert len(runs) == 1
