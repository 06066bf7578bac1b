"""`while_loop` against Python and finite differences, alone and with choices and `scan`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import (
    CompileError,
    ConfigError,
    DifferentiationError,
    DTypeError,
    IndexOutOfRangeError,
    ShapeError,
)

from .control_cases import (
    Counter,
    array,
    assert_equal,
    assert_slope,
    chosen,
    compiled_equals,
    growing,
    grown,
    grown_in_python,
    number,
    real,
    refused,
    small,
    weighted,
)


@pytest.fixture(autouse=True)
def _full_length(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slow") and not request.config.getoption("--slow"):
        pytest.skip("runs with --slow")


@pytest.mark.parametrize("scale", [1.0, 0.01, 30.0])
def test_while_loop(scale: float) -> None:
    x, w = array(4) * scale, 1.0 + array(4, seed=1) ** 2
    expected = grown_in_python(x, w)
    assert (expected[2].item() == 0) == (scale == 30.0)
    assert_equal(compiled_equals(grown, x, w), expected)
    for steps in (2, 40):
        limited = compiled_equals(lambda x, w, n=steps: grown(x, w, n), x, w)
        count = min(steps, expected[2].item())
        value = (x, w, cr.asarray(0))
        for _ in range(count):
            value = growing(value)
        assert_equal(limited, value)


def test_forward_mode_of_while_loop() -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2
    tangents = (array(4, seed=2), array(4, seed=3))
    expected = cr.jvp(lambda *a: grown_in_python(*a)[:2], (x, w), tangents)
    forward = lambda x, w: cr.jvp(lambda *a: grown(*a)[:2], (x, w), tangents)  # noqa: E731
    assert_equal(compiled_equals(forward, x, w), expected, 1e-14)
    only = cr.jvp(lambda w: grown(x, w)[0], (w,), (tangents[1],))
    assert_equal(only, cr.jvp(lambda w: grown_in_python(x, w)[0], (w,), (tangents[1],)), 1e-14)
    doubled = cr.jvp(lambda x: cr.while_loop(lambda v: v.sum() < 9, lambda v: v * 2, x), (cr.abs(x),), (x,))
    assert_equal(doubled[1] / x, doubled[0] / cr.abs(x))  # tangents that need no values
    second = [cr.jvp(lambda *a, f=f: cr.jvp(lambda *b: f(*b)[0], a, tangents), (x, w), tangents)
              for f in (grown, grown_in_python)]  # fmt: skip
    assert_equal(second[0], second[1], 1e-13)


def test_reverse_mode_with_a_bound() -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2
    steps = grown_in_python(x, w)[2].item()
    assert steps > 2

    def bounded(x, w):
        return grown(x, w, steps + 3)

    assert_slope(real(bounded), (x, w))
    gradients = cr.value_and_grad(real(bounded), argnums=(0, 1))
    expected = cr.value_and_grad(real(grown_in_python), argnums=(0, 1))(x, w)
    assert_equal(compiled_equals(gradients, x, w), expected, 1e-13)
    assert_equal(gradients(x * 30, w)[1], cr.grad(real(grown_in_python), argnums=(0, 1))(x * 30, w), 1e-13)


@pytest.mark.slow
def test_reverse_mode_of_higher_order() -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2
    steps = grown_in_python(x, w)[2].item()

    def bounded(x, w):
        return grown(x, w, steps + 3)

    def curvature(x, w):
        return sum(((g * g).sum() for g in cr.grad(real(bounded), argnums=(0, 1))(x, w)), number(0.0))

    assert_slope(curvature, (x, w), tolerance=1e-5)
    xs = cr.stack([x, x * 0.1, x * 40])
    each = cr.stack([cr.grad(real(grown_in_python))(one, w) for one in xs])
    assert_equal(cr.vmap(cr.grad(real(bounded)), in_axes=(0, None))(xs, w), each, 1e-13)
    columns = cr.vmap(lambda v: cr.jvp(cr.grad(lambda x: real(bounded)(x, w)), (x,), (v,))[1])
    hessian = columns(cr.eye(4, dtype=cr.float64))
    assert_equal(hessian, hessian.T, 1e-9)


@pytest.mark.parametrize("bound", [None, pytest.param(30, marks=pytest.mark.slow)])
def test_batched_while_loop(bound: int | None) -> None:
    xs, w = cr.stack([array(4), array(4) * 0.01, array(4) * 30]), 1.0 + array(4, seed=1) ** 2
    each = cr.tree_map(lambda *parts: cr.stack(parts), *(grown_in_python(x, w) for x in xs))
    assert len(set(each[2].tolist())) == 3
    mapped = cr.vmap(lambda x, w: grown(x, w, bound), in_axes=(0, None))
    assert_equal(compiled_equals(mapped, xs, w), each, 1e-15)
    tangents = array(3, 4, seed=8)
    forward = cr.vmap(lambda x, t: cr.jvp(lambda x: grown(x, w)[0], (x,), (t,)))(xs, tangents)
    singles = [cr.jvp(lambda x: grown_in_python(x, w)[0], (x,), (t,)) for x, t in zip(xs, tangents)]
    assert_equal(forward, cr.tree_map(lambda *parts: cr.stack(parts), *singles), 1e-14)
    other = cr.jvp(lambda xs: cr.vmap(lambda x: grown(x, w)[0])(xs), (xs,), (tangents,))
    assert_equal(forward, other, 1e-14)


@pytest.mark.slow
def test_batched_while_loop_twice() -> None:
    xs, w = cr.stack([array(4), array(4) * 0.01, array(4) * 30]), 1.0 + array(4, seed=1) ** 2
    mapped = cr.vmap(grown, in_axes=(0, None))
    ws = cr.stack([w, w * 1.1])
    nested = cr.vmap(mapped, in_axes=(None, 0))
    expected = [cr.tree_map(lambda *parts: cr.stack(parts), *(grown_in_python(x, v) for x in xs)) for v in ws]
    assert_equal(nested(xs, ws), cr.tree_map(lambda *parts: cr.stack(parts), *expected), 1e-15)


def test_a_condition_that_all_examples_share() -> None:
    xs = array(5, 3)

    def f(x, n):
        return cr.while_loop(lambda v: v[1] < n, lambda v: (cr.sin(v[0]) * 1.5, v[1] + 1), (x, 0))

    found = cr.vmap(f, in_axes=(0, None))(xs, cr.asarray(4))
    expected = xs
    for _ in range(4):
        expected = cr.sin(expected) * 1.5
    assert_equal(found[0], expected)
    assert found[1].tolist() == [4] * 5
    several = cr.vmap(f)(xs, cr.asarray([0, 1, 2, 3, 4]))  # a condition that depends on what differs outside
    assert several[1].tolist() == [0, 1, 2, 3, 4]
    assert_equal(several[0][4], expected[4])
    assert_equal(several[0][0], xs[0])


def test_while_loop_inside_scan_inside_vmap() -> None:
    def body(c, x, loop):
        c = loop(lambda v: (v * v).sum() < 4.0, lambda v: v * 1.5 + 0.1, c * 0.3 + x)
        return c, c.sum()

    def python(test, step, value, **_):
        while test(value).item():
            value = step(value)
        return value

    def bounded(test, step, value):
        return cr.while_loop(test, step, value, max_steps=12)

    def looped(loop):
        return lambda init, xs: cr.scan(lambda c, x: body(c, x, loop), init, xs)

    def plain(init, xs):
        ys = []
        for x in xs:
            init, y = body(init, x, python)
            ys.append(y)
        return init, cr.stack(ys)

    init, stacks = array(2) * 0.1, array(3, 4, 2, seed=1)
    each = cr.tree_map(lambda *parts: cr.stack(parts), *(plain(init, xs) for xs in stacks))
    for loop in (cr.while_loop, bounded):
        assert_equal(compiled_equals(looped(loop), init, stacks[0]), plain(init, stacks[0]))
        assert_equal(compiled_equals(cr.vmap(looped(loop), in_axes=(None, 0)), init, stacks), each, 1e-15)
        tangents = (array(2, seed=2), array(4, 2, seed=3))
        forward = cr.jvp(looped(loop), (init, stacks[0]), tangents)
        assert_equal(forward, cr.jvp(plain, (init, stacks[0]), tangents), 1e-13)
    assert_slope(weighted(looped(bounded)), (init, stacks[0]))
    gradients = cr.vmap(cr.grad(weighted(looped(bounded)), argnums=1), in_axes=(None, 0))
    expected = cr.stack([cr.grad(weighted(plain), argnums=1)(init, xs) for xs in stacks])
    assert_equal(compiled_equals(gradients, init, stacks), expected, 1e-12)


def test_loops_and_choices_in_each_other() -> None:
    def f(x):
        def outer(v):
            x, n = v
            x = cr.while_loop(lambda y: y.sum() < n, lambda y: y + cr.abs(y) * 0.5 + 0.1, x)
            x = cr.cond(n > 3.0, lambda x: cr.scan(lambda c, _: (c * 0.9, None), x, length=3)[0], lambda x: x - 0.2, x)
            return x, n + 1.0

        return cr.while_loop(lambda v: v[1] < 6.0, outer, (x, 0.5))[0]

    def plain(x):
        n = 0.5
        while n < 6:
            while x.sum().item() < n:
                x = x + cr.abs(x) * 0.5 + 0.1
            x = x * 0.9 * 0.9 * 0.9 if n > 3 else x - 0.2
            n += 1
        return x

    x = array(3)
    assert_equal(compiled_equals(f, x), plain(x))
    assert_equal(cr.jvp(f, (x,), (x,)), cr.jvp(plain, (x,), (x,)), 1e-13)
    xs = array(4, 3, seed=3)
    assert_equal(cr.vmap(f)(xs), cr.stack([plain(x) for x in xs]), 1e-14)
    both = cr.cond(x[0] > -100, lambda x: f(x), lambda x: x, x)
    assert_equal(both, plain(x))


def test_iterates_that_are_exchanged_and_kept() -> None:
    xs = cr.permute_dims(array(3, 4), (1, 0))  # strided operands

    def f(a, b, stays):
        return cr.while_loop(
            lambda v: v[3] < 5, lambda v: (v[1], v[0] * 0.5 + v[2], v[2], v[3] + 1), (a, b, stays, cr.asarray(0))
        )

    found = compiled_equals(f, xs, xs * 2, cr.flip(xs, axis=0))
    a, b = xs, xs * 2
    for _ in range(5):
        a, b = b, a * 0.5 + cr.flip(xs, axis=0)
    assert_equal(found, (a, b, cr.flip(xs, axis=0), cr.asarray(5)))


def test_one_native_program() -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2
    step = cr.compile(cr.value_and_grad(lambda x: real(lambda x: grown(x, w, 20))(x)))
    plan = step.trace(x).plan
    assert not any(region.hosted for region in plan.regions)
    assert len(step.trace(x).program().acquire().segments) == 1
    text = str(cr.explain(cr.compile(lambda x: cr.cond(x.sum() > 0, cr.sin, cr.cos, grown(x, w)[0])), x))
    assert "while loop" in text and "branch 0 of 2" in text


def test_operations_on_the_host_inside() -> None:
    x = array(5)

    def f(x):
        y = cr.while_loop(lambda v: v[0] < 3.0, lambda v: cr.sort(v + cr.flip(v) * 0.3 + 1.0), x)
        return cr.switch(cr.asarray(1), [cr.sin, cr.sort, cr.cos], y - x)

    y = x
    while y[0].item() < 3:
        y = cr.sort(y + cr.flip(y) * 0.3 + 1.0)
    assert_equal(compiled_equals(f, x), cr.sort(y - x))


def test_an_index_check_ends_a_loop() -> None:
    table = array(4)

    def f(start, p):
        def step(v):
            return v[0] + 1, cr.cond(p, lambda: table[v[0]], lambda: cr.sort(table)[v[0]])

        return cr.while_loop(lambda v: v[0] < 9, step, (start, number(0.0)))[1]

    for p in (True, False):
        with pytest.raises(IndexOutOfRangeError, match="index 4 is out of range"):
            f(cr.asarray(2), cr.asarray(p)).numpy()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for itself")
def test_control_c_ends_an_endless_loop() -> None:
    state = cr.ones((2, 4))

    @cr.compile
    def step(x):
        state[...] = state * 2
        return cr.while_loop(lambda v: (v < 2).all(), lambda v: v * 0.5, x)

    step.trace(cr.ones(3))  # compiled before the signal is sent
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        step(cr.ones(3))
    assert time.perf_counter() - start < 3
    assert state.tolist() == [[1.0] * 4] * 2  # state is written after what may never end


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_see_the_same_decision(threads: int) -> None:
    w, x = array(128, 128, dtype="float32"), array(192, 128, seed=1, dtype="float32")

    def f(x):
        def step(v):
            x, n = v
            y = cr.cond(n % 3 == 0, lambda x: cr.tanh(x @ w), lambda x: cr.sin(x) * 1.1, x)
            return y, n + 1

        last, count = cr.while_loop(lambda v: ((v[0] * v[0]).mean() > 0.2) & (v[1] < 40), step, (x, 0), max_steps=40)
        return (last * last).sum(), count

    before = cr.get_num_threads()
    g = cr.compile(cr.value_and_grad(f, has_aux=True))
    try:
        cr.set_num_threads(1)
        expected = g(x)
        cr.set_num_threads(threads)
        for _ in range(3):
            assert_equal(g(x), expected)
    finally:
        cr.set_num_threads(before)


def test_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2

    def number(x):
        return real(lambda x: grown(x, w, 20))(x) + weighted(chosen)(x[0], array(4, 3), array(3, 3))

    def both(x):
        return grown(x, w), cr.value_and_grad(number)(x)

    native = cr.tree_map(lambda leaf: cr.asarray(leaf.numpy()), both(x))
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    assert_equal(both(x), native, 1e-12)


def test_complex_and_integer_carries() -> None:
    z = cr.asarray(np.array([0.3 + 0.4j, -0.5j]))

    def f(z):
        return cr.while_loop(lambda v: cr.abs(v[0]).max() < 9.0, lambda v: (v[0] * v[0] + z * 3, v[1] + 2), (z, 1))

    a, n = z.numpy(), 1
    while np.abs(a).max() < 9:
        a, n = a * a + z.numpy() * 3, n + 2
    found = compiled_equals(f, z)
    np.testing.assert_allclose(found[0].numpy(), a, rtol=1e-12)
    assert found[1].item() == n
    p = cr.asarray(True)
    np.testing.assert_allclose(cr.cond(p, lambda z: z * z, lambda z: z, z).numpy(), z.numpy() ** 2, rtol=1e-14)


def test_checkpoints_inside_and_outside() -> None:
    x, w = array(4), 1.0 + array(4, seed=1) ** 2

    def plain(x):
        return real(lambda x: grown(x, w, 20))(x) + cr.cond(x[0] > 0, lambda x: cr.exp(x).sum(), lambda x: x.sum(), x)

    def outside(x):
        return cr.checkpoint(plain, x)

    def inside(x):
        def step(v):
            return cr.checkpoint(growing, v)

        return weighted(lambda x: cr.while_loop(small, step, (x, w, 0), max_steps=20)[0])(x)

    expected = cr.grad(plain)(x)
    assert_equal(compiled_equals(cr.grad(outside), x), expected)
    assert_equal(cr.grad(inside)(x), cr.grad(lambda x: real(lambda x: grown(x, w, 20))(x))(x))


def test_refusals_of_loops() -> None:
    x = cr.zeros((3, 2))
    refused(
        ShapeError,
        "while_loop: init goes in as float32[3, 2] and comes out as float32[2]\nrecorded at HERE\n"
        "help: give init the type that body_fun returns",
        lambda: cr.while_loop(lambda v: v.sum() < 1, lambda v: v.sum(axis=0), x),
    )
    refused(
        DTypeError,
        "while_loop: init['n'] goes in as int64[] and comes out as float32[]\nrecorded at HERE\n"
        "help: convert with .astype(...)",
        lambda: cr.while_loop(lambda v: v["n"] < 1, lambda v: {"n": x.sum() + 1}, {"n": 0}),
    )
    refused(
        ConfigError,
        "while_loop: the carry goes in as * and comes out as tuple(*, *)\nrecorded at HERE",
        lambda: cr.while_loop(lambda v: v < 1, lambda v: (v, v), 0.0),
    )
    refused(
        DTypeError,
        "while_loop: the condition must be bool, it is float32; operands float32[]\nrecorded at HERE\n"
        "help: compare, as in x > 0",
        lambda: cr.while_loop(lambda v: v, lambda v: v, 0.0),
    )
    refused(
        ShapeError,
        "while_loop: the condition must have shape [], not [3, 2]; operands bool[3, 2]\nrecorded at HERE\n"
        "help: reduce with any() or all(), or use where() to choose element by element",
        lambda: cr.while_loop(lambda v: v > 0, lambda v: v, x),
    )
    refused(ConfigError, "while_loop: max_steps must be a positive whole number or None, not 0\nrecorded at HERE",
            lambda: cr.while_loop(lambda v: v > 0, lambda v: v, 1.0, max_steps=0))  # fmt: skip
    refused(
        DifferentiationError,
        "while_loop: reverse mode has to know how many iterations there are at most\nrecorded at HERE\n"
        "help: pass max_steps= to while_loop, use scan or fori_loop with a fixed length, or differentiate with jvp",
        lambda: cr.grad(lambda x: cr.while_loop(lambda v: v < 1, lambda v: v * 2, x))(cr.asarray(0.5)),
    )
    counter = Counter()
    refused(
        CompileError,
        "while_loop: cond_fun writes state, but what it computes is thrown away\nrecorded at HERE\n"
        "help: write it in body_fun",
        lambda: cr.while_loop(lambda v: counter.add(v).sum() < 1, lambda v: v * 2, array(3)),
    )
    refused(DTypeError, "fori_loop: upper must be a whole number, not 2.5\nrecorded at HERE",
            lambda: cr.fori_loop(0, 2.5, lambda i, v: v, 0.0))  # fmt: skip
    refused(
        DTypeError,
        "fori_loop: lower must be a whole number of shape []; operands float32[]\nrecorded at HERE\n"
        "help: convert with .astype(chainrule.int64)",
        lambda: cr.fori_loop(cr.asarray(0.0), 2, lambda i, v: v, 0.0),
    )
    refused(ConfigError, "map: batch_size must be a positive whole number, not 0\nrecorded at HERE",
            lambda: cr.map(lambda x: x, x, batch_size=0))  # fmt: skip
    refused(ShapeError, "map: xs[0] has 3 iterations, xs[1] has 4 (axis 0); operands float32[3, 2], float32[4]\n"
            "recorded at HERE", lambda: cr.map(lambda x: x, (x, cr.zeros(4)), batch_size=2))  # fmt: skip


def course(choose, repeat, along):
    """A function with a choice in a loop in a choice, by these; of a vector and a number."""

    def f(x, p):
        def outer(x):
            def step(x, s):
                x = choose(x.sum() > s, lambda x: cr.sin(x) * p, lambda x: x + s * p, x)
                return x, (x * x).sum()

            x, ys = along(step, x, x * 0.5)
            return repeat(lambda v: (v * v).sum() < 2.0, lambda v: v * 1.5 + 0.1 * cr.cos(v), x) * ys.sum()

        return choose(p > 0.5, outer, lambda x: cr.exp(x) * p, x).sum()

    return f


def choose_in_python(p, a, b, x):
    return (a if p.item() else b)(x)


def repeat_in_python(test, step, x):
    while test(x).item():
        x = step(x)
    return x


def along_in_python(f, carry, xs):
    ys = []
    for x in xs:
        carry, y = f(carry, x)
        ys.append(y)
    return carry, cr.stack(ys)


#: derivatives of a function of (x, p): ways to nest them, the innermost first
ORDERS = [("grad",), ("push", "grad"), ("grad", "push"), ("grad", "grad"), ("push", "push"), ("grad", "push", "grad")]


def derivative(f, kinds):
    """A number that depends on the derivatives of `f`."""
    for kind in kinds:
        if kind == "grad":
            f = lambda x, p, f=f: (cr.grad(f)(x, p) * cr.cos(x)).sum()  # noqa: E731
        else:
            f = lambda x, p, f=f: cr.jvp(f, (x, p), (cr.sin(x), p * 0.3))[1]  # noqa: E731
    return f


@pytest.mark.parametrize(
    "kinds", [pytest.param(k, marks=() if k == ("push", "grad") else pytest.mark.slow) for k in ORDERS],
    ids="-".join,
)  # fmt: skip
def test_derivatives_of_any_order_in_any_order(kinds: tuple[str, ...]) -> None:
    def repeat(test, step, x):
        return cr.while_loop(test, step, x, max_steps=9)

    ours = derivative(course(cr.cond, repeat, cr.scan), kinds)
    plain = derivative(course(choose_in_python, repeat_in_python, along_in_python), kinds)
    xs, ps = array(3, 3), cr.asarray(np.array([0.9, 0.2, -1.2]))
    expected = cr.stack([plain(x, p) for x, p in zip(xs, ps)])
    assert_equal(cr.stack([ours(x, p) for x, p in zip(xs, ps)]), expected, 1e-10)
    assert_equal(cr.vmap(ours)(xs, ps), expected, 1e-10)
    assert_equal(cr.compile(cr.vmap(ours, in_axes=(0, None)))(xs, ps[0])[0], expected[0], 1e-10)
