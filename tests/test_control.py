"""`cond` and `switch` against Python, finite differences and each other."""

from __future__ import annotations

import time

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import (
    CompileError,
    ConfigError,
    DTypeError,
    IndexOutOfRangeError,
    PlaceholderError,
    ShapeError,
)
from chainrule.graph.verify import verify
from chainrule.tree import tree_leaves

from .control_cases import (
    array,
    assert_equal,
    assert_slope,
    chosen,
    compiled_equals,
    in_python,
    number,
    refused,
    weighted,
)

signs = pytest.mark.parametrize("sign", [1.0, -1.0])


@signs
def test_cond(sign: float) -> None:
    args = (number(sign), array(4, 3), array(3, 3, seed=1))
    assert_equal(compiled_equals(chosen, *args), in_python(*args))


@signs
def test_gradients_of_cond(sign: float) -> None:
    p, x, w = number(sign), array(4, 3), array(3, 3, seed=1)
    assert_slope(lambda x, w: weighted(chosen)(p, x, w), (x, w))
    gradients = cr.value_and_grad(weighted(chosen), argnums=(1, 2))
    expected = cr.value_and_grad(weighted(in_python), argnums=(1, 2))(p, x, w)
    assert_equal(compiled_equals(gradients, p, x, w), expected, 1e-14)
    tangents = (array(4, 3, seed=5), array(3, 3, seed=6))
    forward = cr.jvp(lambda x, w: chosen(p, x, w), (x, w), tangents)
    assert_equal(forward, cr.jvp(lambda x, w: in_python(p, x, w), (x, w), tangents), 1e-14)
    only = cr.grad(lambda w: weighted(chosen)(p, x, w))(w)
    assert_equal(only, expected[1][1], 1e-14)


@signs
def test_second_order_of_cond(sign: float) -> None:
    p, x, w = number(sign), array(4, 3), array(3, 3, seed=1)

    def curvature(f):
        def square(x, w):
            return sum(((g * g).sum() for g in cr.grad(weighted(f), argnums=(1, 2))(p, x, w)), number(0.0))

        return square

    assert_slope(curvature(chosen), (x, w), tolerance=1e-6)
    expected = cr.grad(curvature(in_python), argnums=(0, 1))(x, w)
    assert_equal(cr.grad(curvature(chosen), argnums=(0, 1))(x, w), expected, 1e-12)
    tangents = (array(4, 3, seed=5), array(3, 3, seed=6))
    both = [cr.jvp(lambda x, w, f=f: cr.jvp(lambda x: f(p, x, w), (x,), (x,)), (x, w), tangents)
            for f in (chosen, in_python)]  # fmt: skip
    assert_equal(both[0], both[1], 1e-13)


@signs
def test_closures_have_gradients(sign: float) -> None:
    w = array(3, seed=1).requires_grad_()
    p = number(sign)

    def f(x):
        return cr.cond(p > 0, lambda: (x * w).sum(), lambda: (cr.exp(w) * x).sum())

    x = array(3).requires_grad_()
    f(x).backward()
    a, b = w.detach(), x.detach()
    assert_equal(x.grad, a if sign > 0 else cr.exp(a), 1e-15)
    assert_equal(w.grad, b if sign > 0 else cr.exp(a) * b, 1e-15)


def test_only_the_chosen_branch_runs() -> None:
    table = array(4, 3)

    def f(p, row):
        return cr.cond(p, lambda: cr.take(table, row, axis=0), lambda: cr.zeros((1, 3), dtype=cr.float64))

    bad = cr.asarray(np.array([7]))
    for function in (f, cr.compile(f)):
        assert function(cr.asarray(False), bad).sum().item() == 0
        with pytest.raises(IndexOutOfRangeError, match="index 7 is out of range for axis 0 of size 4"):
            function(cr.asarray(True), bad).numpy()
        assert_equal(function(cr.asarray(True), cr.asarray(np.array([2]))), table[2:3])


def test_a_branch_that_does_not_run_takes_no_time() -> None:
    w = array(256, 256, dtype="float32")

    @cr.compile
    def f(p, x):
        slow = lambda x: cr.scan(lambda c, _: (cr.tanh(c @ w), None), x, length=500)[0]  # noqa: E731
        return cr.cond(p, slow, lambda x: x, x)

    x, times = array(256, 256, dtype="float32"), []
    for p in (True, False):
        f(cr.asarray(p), x)
        start = time.perf_counter()
        f(cr.asarray(p), x).numpy()
        times.append(time.perf_counter() - start)
    assert times[1] < times[0] / 4


def test_numbers_take_the_dtype_of_the_other_branch() -> None:
    x = number(3.0)
    for p in (True, False):
        found = cr.cond(cr.asarray(p), lambda: (x, 1, True), lambda: (0, 2.5, False))
        assert found[0].dtype is cr.float64 and found[2].dtype is cr.bool
        assert [leaf.item() for leaf in found] == ([3.0, 1.0, True] if p else [0.0, 2.5, False])


def test_results_that_are_operands_and_none() -> None:
    x, y = array(3), array(3, seed=1)
    for p in (True, False):
        found = compiled_equals(
            lambda x, y, p=p: cr.cond(p, lambda x, y: (x, [y, None], x), lambda x, y: (y, [x, None], y + 1), x, y), x, y
        )
        assert_equal(found, (x, [y, None], x) if p else (y, [x, None], y + 1))
    kept = cr.compile(lambda p, x, y: cr.cond(p, lambda x: (x, y, x + 1), lambda x: (x, y, x), x))
    assert_equal(kept(cr.asarray(True), x, y), (x, y, x + 1))
    plan = kept.trace(cr.asarray(True), x, y).plan  # x and y need no choice
    assert [len(r.tasks[0].calls[0].writes) for r in plan.regions if r.loop] == [2, 2]  # a result, and memory inside
    assert cr.cond(True, lambda: None, lambda: None) is None
    assert cr.cond(True, lambda: (), lambda: ()) == ()


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 9])
def test_switch(index: int) -> None:
    branches = [lambda x: x * 2, cr.sin, lambda x: -x]
    x = array(3)
    expected = branches[min(max(index, 0), 2)](x)
    assert_equal(cr.switch(index, branches, x), expected)
    for dtype in (cr.int64, cr.int8):
        i = cr.asarray(index, dtype=dtype)
        assert_equal(compiled_equals(lambda i, x: cr.switch(i, branches, x), i, x), expected)
    assert_slope(lambda x: weighted(lambda x: cr.switch(cr.asarray(index), branches, x))(x), (x,))
    if index >= 0:
        huge = cr.asarray(np.uint64(index if index < 9 else 2**64 - 1))
        assert_equal(cr.switch(huge, branches, x), expected)
    assert_equal(cr.switch(cr.asarray(5), branches[:1], x), x * 2)
    many = [lambda x, k=k: x * k for k in range(300)]
    assert_equal(cr.switch(cr.asarray(287), many, x), x * 287)


def test_batched_cond() -> None:
    ps, xs, w = cr.asarray(np.array([1.0, -1.0, 2.0])), array(3, 4, 3), array(3, 3, seed=1)
    expected = cr.tree_map(lambda *parts: cr.stack(parts), *(in_python(p, x, w) for p, x in zip(ps, xs)))
    mapped = cr.vmap(chosen, in_axes=(0, 0, None))
    assert_equal(compiled_equals(mapped, ps, xs, w), expected, 1e-14)
    same = cr.vmap(chosen, in_axes=(None, 0, None))
    for p in (ps[0], ps[1]):
        expected = cr.tree_map(lambda *parts: cr.stack(parts), *(in_python(p, x, w) for x in xs))
        assert_equal(compiled_equals(same, p, xs, w), expected, 1e-14)
    plan = cr.compile(same).trace(ps[0], xs, w).plan
    assert [r.loop.when is not None for r in plan.regions if r.loop] == [True, True]  # still a choice
    assert not any(r.loop for r in cr.compile(mapped).trace(ps, xs, w).plan.regions)  # selected


def test_batched_derivatives_of_cond() -> None:
    ps, xs, w = cr.asarray(np.array([1.0, -1.0, 2.0])), array(3, 4, 3), array(3, 3, seed=1)
    each = cr.stack([cr.grad(weighted(in_python), argnums=1)(p, x, w) for p, x in zip(ps, xs)])
    gradients = cr.grad(weighted(chosen), argnums=1)
    assert_equal(compiled_equals(cr.vmap(gradients, in_axes=(0, 0, None)), ps, xs, w), each, 1e-13)

    def total(f):
        return lambda xs, w: cr.vmap(lambda p, x: weighted(f)(p, x, w))(ps, xs).sum()

    assert_slope(total(chosen), (xs, w))
    for p in (number(1.0), number(-1.0)):
        each = cr.stack([cr.grad(weighted(in_python), argnums=1)(p, x, w) for x in xs])
        assert_equal(cr.vmap(gradients, in_axes=(None, 0, None))(p, xs, w), each, 1e-13)
    nested = cr.vmap(cr.vmap(weighted(chosen), in_axes=(0, None, None)), in_axes=(None, 0, None))(ps, xs, w)
    each = cr.stack([cr.stack([weighted(in_python)(p, x, w) for p in ps]) for x in xs])
    assert_equal(nested, each, 1e-13)


def test_cond_inside_scan_and_cond() -> None:
    w, xs = array(3, 3), array(6, 3, seed=1)

    def f(c, x, choose):
        def inner(v):
            return choose(v.sum() > 0, lambda v: v * x, lambda v: v - 1.0, v)

        c = choose(x[0] > 0, lambda c: cr.tanh(c @ w) + x, inner, c)
        return c, c * 2

    def python(p, a, b, *operands):
        return (a if p.item() else b)(*operands)

    def looped(w_, init, xs):
        return cr.scan(lambda c, x: f(c, x, cr.cond), init, xs)

    def plain(w_, init, xs):
        ys = []
        for x in xs:
            init, y = f(init, x, python)
            ys.append(y)
        return init, cr.stack(ys)

    init = array(3, seed=2)
    assert_equal(compiled_equals(looped, w, init, xs), plain(w, init, xs))
    assert_slope(lambda init, xs: weighted(looped)(w, init, xs), (init, xs))
    gradients = cr.grad(weighted(looped), argnums=(1, 2))
    assert_equal(compiled_equals(gradients, w, init, xs), cr.grad(weighted(plain), argnums=(1, 2))(w, init, xs), 1e-12)
    stacks = array(4, 6, 3, seed=7)
    each = [cr.grad(weighted(plain), argnums=2)(w, init, s) for s in stacks]
    per_example = cr.vmap(cr.grad(weighted(looped), argnums=2), in_axes=(None, None, 0))(w, init, stacks)
    assert_equal(per_example, cr.stack(each), 1e-12)
    verify([tree_leaves(gradients(w, init.requires_grad_(), xs))[0]._node])


def test_refusals_of_choices() -> None:
    x = cr.zeros((3, 2))
    refused(
        ConfigError,
        "cond: the structures of the results differ: false_fun returns *, true_fun returns tuple(0: *, 1: *)"
        "\nrecorded at HERE".replace("0: *, 1: *", "*, *"),
        lambda: cr.cond(True, lambda x: (x, x), lambda x: x, x),
    )
    refused(
        ShapeError,
        "cond: the result['a'] is float32[2] in false_fun and float32[3, 2] in true_fun\nrecorded at HERE",
        lambda: cr.cond(True, lambda x: {"a": x}, lambda x: {"a": x[0]}, x),
    )
    refused(
        DTypeError,
        "switch: the result[1] is float32[3, 2] in branch 0 and int64[3, 2] in branch 2\nrecorded at HERE\n"
        "help: convert with .astype(...)",
        lambda: cr.switch(0, [lambda x: (x, x), lambda x: (x, x), lambda x: (x, x.astype(cr.int64))], x),
    )
    refused(
        DTypeError,
        "cond: the predicate must be bool, it is float32; operands float32[]\nrecorded at HERE\n"
        "help: compare, as in x > 0",
        lambda: cr.cond(x.sum(), lambda: 1, lambda: 2),
    )
    refused(
        ShapeError,
        "cond: the predicate must have shape [], not [3, 2]; operands bool[3, 2]\nrecorded at HERE\n"
        "help: reduce with any() or all(), or use where() to choose element by element",
        lambda: cr.cond(x > 0, lambda: 1, lambda: 2),
    )
    refused(DTypeError, "cond: the predicate must be a bool, it is str\nrecorded at HERE",
            lambda: cr.cond("yes", lambda: 1, lambda: 2))  # fmt: skip
    refused(ConfigError, "cond: true_fun is no function but int\nrecorded at HERE",
            lambda: cr.cond(True, 1, lambda: 2))  # fmt: skip
    refused(ConfigError, "switch: there are no branches\nrecorded at HERE", lambda: cr.switch(0, []))
    refused(ConfigError, "switch: branch 1 is no function but int\nrecorded at HERE",
            lambda: cr.switch(0, [lambda: 1, 2]))  # fmt: skip
    refused(
        DTypeError,
        "switch: the index must be a whole number, it is float32; operands float32[]\nrecorded at HERE\n"
        "help: convert with .astype(chainrule.int64), or use cond",
        lambda: cr.switch(x.sum(), [lambda: 1]),
    )
    refused(ShapeError, "switch: the index must have shape [], not [2]; operands int64[2]\nrecorded at HERE",
            lambda: cr.switch(cr.asarray([0, 1]), [lambda: 1]))  # fmt: skip
    refused(DTypeError, "cond: a branch returned str, not tensors\nrecorded at HERE",
            lambda: cr.cond(True, lambda: "a", lambda: "b"))  # fmt: skip
    with pytest.raises(PlaceholderError, match="placeholder"):
        cr.cond(True, lambda x: x if x.sum() > 0 else -x, lambda x: x, x)
    w = cr.zeros(2).requires_grad_()
    refused(
        CompileError,
        "cond: a branch cannot write the .grad of a tensor from outside\nrecorded at HERE\n"
        "help: use chainrule.grad inside, or backward() behind the choice",
        lambda: cr.cond(True, lambda: (w * 1).sum().backward(), lambda: None),
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_what_leaves_a_branch_is_no_value(compiled: bool) -> None:
    kept = []

    def f(x):
        cr.cond(x.sum() > 0, lambda x: kept.append(x), lambda x: None, x)
        return kept[-1] * 2

    with pytest.raises(PlaceholderError, match="placeholder"):
        (cr.compile(f) if compiled else f)(cr.ones(3)).numpy()


def test_a_branch_that_raises_leaves_no_trace() -> None:
    for call in (
        lambda: cr.cond(True, lambda: 1 // 0, lambda: 1),
        lambda: cr.while_loop(lambda v: v < 1, lambda v: 1 // 0, 0.0),
    ):
        with pytest.raises(ZeroDivisionError):
            call()
        assert (cr.ones(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dtype", [cr.float16, cr.bfloat16], ids=lambda d: d.name)
def test_branches_and_loops_in_16_bits(dtype):
    """Numbers that both formats hold exactly, so that every order of rounding gives the same."""
    x = cr.asarray([0.5, -1.25, 2.0], dtype=dtype)

    def chosen(x):
        return cr.sum(cr.cond(cr.sum(x) > 0, lambda x: x * x, lambda x: x, x))

    def doubled(x):
        return cr.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (cr.asarray(0), x))[1]

    for f, g in ((chosen, doubled), (cr.compile(chosen), cr.compile(doubled))):
        assert f(x).dtype is dtype and f(x).item() == 5.8125
        assert cr.grad(f)(x).dtype is dtype and cr.grad(f)(x).tolist() == [1.0, -2.5, 4.0]
        assert g(x).dtype is dtype and g(x).tolist() == [4.0, -10.0, 16.0]
        assert [part.tolist() for part in cr.jvp(g, (x,), (x,))] == [[4.0, -10.0, 16.0]] * 2
