"""`fori_loop`, `map` and `associative_scan`; all of control flow against JAX."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import CompileError, ConfigError, DTypeError, ShapeError

from .control_cases import array, assert_equal, assert_slope, compiled_equals, number, refused, weighted


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 9])
def test_map(batch_size: int | None) -> None:
    xs, w = {"a": array(7, 3), "b": cr.asarray(np.arange(7.0))}, array(3, seed=1)

    def f(x):
        return (x["a"] * w).sum() * x["b"], (x["a"], None)

    expected = cr.tree_map(lambda *p: cr.stack(p), *(f({"a": a, "b": b}) for a, b in zip(xs["a"], xs["b"])))
    assert_equal(compiled_equals(lambda xs: cr.map(f, xs, batch_size=batch_size), xs), expected, 1e-15)
    assert_slope(lambda a: cr.map(lambda a: cr.sin(a) * w, a, batch_size=batch_size).sum(), (xs["a"],))
    cr.manual_seed(0)
    assert len(np.unique(cr.map(lambda x: cr.rand(2), xs["a"], batch_size=batch_size).numpy())) == 14


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13, 100])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(count: int, reverse: bool) -> None:
    x = array(3, count)
    found = compiled_equals(lambda x: cr.associative_scan(cr.add, x, reverse=reverse, axis=-1), x)
    expected = np.cumsum(x.numpy()[:, ::-1], axis=1)[:, ::-1] if reverse else np.cumsum(x.numpy(), axis=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    matrices = array(count, 2, 2, seed=1)
    found = cr.associative_scan(lambda a, b: (b if not reverse else a) @ (a if not reverse else b), matrices, reverse)
    total, products = np.eye(2), []
    for m in matrices.numpy()[::-1] if reverse else matrices.numpy():
        total = m @ total
        products.append(total)
    np.testing.assert_allclose(found.numpy(), products[::-1] if reverse else products, rtol=1e-10, atol=1e-10)


def test_a_linear_recurrence_by_associative_scan() -> None:
    a, b = 0.9 + 0.1 * array(17, 2), array(17, 2, seed=1)

    def f(a, b):
        def combine(first, then):
            return first[0] * then[0], first[1] * then[0] + then[1]

        return cr.associative_scan(combine, (a, b))[1]

    def plain(a, b):
        return cr.scan(lambda h, x: (h * x[0] + x[1],) * 2, cr.zeros(2, dtype=cr.float64), (a, b))[1]

    assert_equal(f(a, b), plain(a, b), 1e-12)
    assert_slope(weighted(f), (a, b))
    assert_equal(cr.vmap(f, in_axes=(1, 1), out_axes=1)(a, b), plain(a, b), 1e-12)


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        yield jax


def test_values_and_derivatives_of_jax(jax) -> None:
    jnp, lax = jax.numpy, jax.lax

    def ours(x, p):
        x = cr.while_loop(lambda v: (v * v).sum() < 9.0, lambda v: v * 1.3 + cr.sin(v), x)
        x = cr.cond(p > 0, lambda x: x * p, lambda x: cr.cos(x), x)
        return cr.switch(cr.asarray(7), [cr.sin, lambda x: x * x], x)

    def theirs(x, p):
        x = lax.while_loop(lambda v: (v * v).sum() < 9.0, lambda v: v * 1.3 + jnp.sin(v), x)
        x = lax.cond(p > 0, lambda x: x * p, lambda x: jnp.cos(x), x)
        return lax.switch(7, [jnp.sin, lambda x: x * x], x)

    x, t = array(3), array(3, seed=1)
    for p in (1.5, -1.5):
        one, other = number(p), jnp.asarray(p)
        found = cr.jvp(lambda x, p=one: ours(x, p), (x,), (t,))
        expected = jax.jvp(lambda x, p=other: theirs(x, p), (jnp.asarray(x.numpy()),), (jnp.asarray(t.numpy()),))
        for a, b in zip(found, expected):
            np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-12)
    xs, ps = array(4, 3, seed=2), array(4, seed=3)
    expected = jax.vmap(theirs)(jnp.asarray(xs.numpy()), jnp.asarray(ps.numpy()))
    np.testing.assert_allclose(cr.vmap(ours)(xs, ps).numpy(), np.asarray(expected), rtol=1e-12)
    elems = array(11, seed=4)
    expected = lax.associative_scan(jnp.maximum, jnp.asarray(elems.numpy()), reverse=True)
    np.testing.assert_array_equal(cr.associative_scan(cr.maximum, elems, reverse=True).numpy(), np.asarray(expected))


def test_refusals_of_associative_scan() -> None:
    x = cr.zeros((3, 2))
    refused(ConfigError, "associative_scan: fn is no function but int\nrecorded at HERE",
            lambda: cr.associative_scan(1, x))  # fmt: skip
    refused(
        ShapeError,
        "associative_scan: elems[0] has 3 elements along axis 0, elems[1] has 4; operands float32[3, 2], float32[4]\n"
        "recorded at HERE",
        lambda: cr.associative_scan(lambda a, b: a, (x, cr.zeros(4))),
    )
    refused(ShapeError, "associative_scan: fn makes float32[1] of elems, which is float32[1, 2]\nrecorded at HERE",
            lambda: cr.associative_scan(lambda a, b: a.sum(axis=1), x))  # fmt: skip
    refused(ConfigError, "associative_scan: fn takes * and returns tuple(*, *)\nrecorded at HERE",
            lambda: cr.associative_scan(lambda a, b: (a, b), x))  # fmt: skip
    refused(ConfigError, "associative_scan: elems has no tensors\nrecorded at HERE",
            lambda: cr.associative_scan(lambda a, b: a, ()))  # fmt: skip
    refused(DTypeError, "associative_scan: elems is float, which has no axis to go along\nrecorded at HERE",
            lambda: cr.associative_scan(lambda a, b: a, 1.0))  # fmt: skip


def test_fori_loop() -> None:
    def f(i, x):
        return cr.sin(x) + (i if isinstance(i, float) else i.astype(cr.float64))

    x = array(3)
    for low, high in ((0, 4), (2, 5), (-2, 1), (3, 3), (5, 2)):
        expected = x
        for i in range(low, high):
            expected = f(float(i), expected)
        assert_equal(compiled_equals(lambda x, a=low, b=high: cr.fori_loop(a, b, f, x), x), expected)
        bounds = cr.asarray(low), cr.asarray(high, dtype=cr.int32)
        assert_equal(compiled_equals(lambda x, a, b: cr.fori_loop(a, b, f, x), x, *bounds), expected)
        assert_equal(cr.fori_loop(low, bounds[1], f, x), expected)
    assert_slope(lambda x: cr.fori_loop(0, 4, f, x).sum(), (x,))
    assert cr.fori_loop(0, 0, f, {"a": 1.0})["a"].item() == 1.0


def test_bounds_of_numpy_have_reverse_mode() -> None:
    f = lambda x: cr.fori_loop(np.int64(0), np.int32(3), lambda i, y: y * x, x)  # noqa: E731
    assert cr.grad(f)(cr.asarray(2.0)).item() == 32.0
    refused(DTypeError, "fori_loop: upper must be a whole number of shape []; operands float64[]\nrecorded at HERE\n"
            "help: convert with .astype(chainrule.int64)",
            lambda: cr.fori_loop(0, np.float64(3), lambda i, y: y, 0.0))  # fmt: skip


def test_messages_name_the_function_that_was_called() -> None:
    x = cr.asarray([1.0, 2.0])
    refused(ShapeError, "fori_loop: carry goes in as float32[2] and comes out as float32[4]\nrecorded at HERE\n"
            "help: give init the type that body_fun returns",
            lambda: cr.fori_loop(0, 2, lambda i, y: cr.concat([y, y]), x))  # fmt: skip
    refused(DTypeError, "map: the function returned str, not tensors\nrecorded at HERE",
            lambda: cr.map(lambda row: "a", x))  # fmt: skip
    w = cr.tensor([1.0, 2.0], requires_grad=True)

    def write(row):
        (w * row).sum().backward()
        return row

    refused(CompileError, "map: the body of a loop cannot write the .grad of a tensor from outside\nrecorded at HERE\n"
            "help: use chainrule.grad inside, or backward() behind the loop", lambda: cr.map(write, x))  # fmt: skip


@pytest.mark.parametrize("text, call", [
    ("scan: f is no function but int", lambda: cr.scan(1, 0.0, cr.zeros(2))),
    ("while_loop: cond_fun is no function but NoneType", lambda: cr.while_loop(None, lambda v: v, 0.0)),
    ("while_loop: body_fun is no function but NoneType", lambda: cr.while_loop(lambda v: v > 0, None, 0.0)),
    ("fori_loop: body_fun is no function but NoneType", lambda: cr.fori_loop(0, 0, None, 0.0)),
    ("map: f is no function but NoneType", lambda: cr.map(None, cr.zeros(2))),
])  # fmt: skip
def test_what_is_no_function(text: str, call) -> None:
    refused(ConfigError, text + "\nrecorded at HERE", call)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_map_over_no_slices(batch_size: int | None) -> None:
    doubled, rows = cr.map(lambda row: (row * 2, row.sum() > 0), cr.zeros((0, 3)), batch_size=batch_size)
    assert doubled.shape == (0, 3) and doubled.dtype is cr.float32 and rows.shape == (0,) and rows.dtype is cr.bool
    assert cr.grad(lambda x: cr.map(cr.sin, x, batch_size=batch_size).sum())(cr.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape, axis", [((0,), 0), ((0, 3), 0), ((2, 0), 1)])
def test_associative_scan_of_nothing(shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    found = cr.associative_scan(lambda a, b: a + b, {"x": cr.zeros(shape)}, reverse=reverse, axis=axis)
    assert found["x"].shape == shape and found["x"].numpy().shape == shape
