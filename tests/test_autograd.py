"""Derivatives and batching of functions: values, composition, trees, errors."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.errors import ConfigError, DifferentiationError, DTypeError, PlaceholderError, ShapeError

rng = np.random.default_rng(1)
X = rng.normal(size=(3, 4))
W = rng.normal(size=(4, 2))


def close(found, wanted, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def loss(w, x):
    return (cr.tanh(x @ w) ** 2).sum()


def numeric(f, x, step=1e-6):
    """Central differences of a scalar function of a float64 array."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        result[i] = (float(f(cr.asarray(up))) - float(f(cr.asarray(down)))) / (2 * step)
    return result


def test_backward_accumulates_and_repeats():
    w = cr.tensor(W, requires_grad=True)
    value = loss(w, cr.asarray(X))
    value.backward()
    wanted = numeric(lambda w: loss(w, cr.asarray(X)), W)
    close(w.grad, wanted, 1e-7)
    value.backward()
    close(w.grad, 2 * wanted, 1e-7)
    assert not w.grad.requires_grad
    w.grad = None
    assert float(value) > 0
    value.backward()  # after the value was read
    close(w.grad, wanted, 1e-7)


def test_backward_of_vectors_and_chosen_inputs():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = cr.tensor([3.0, 4.0], requires_grad=True)
    z = x * y
    with pytest.raises(DifferentiationError, match="gradient="):
        z.backward()
    with pytest.raises(ShapeError):
        z.backward(cr.ones(3))
    z.backward(cr.tensor([1.0, 10.0]), inputs=[x])
    assert x.grad.tolist() == [3, 40] and y.grad is None
    with pytest.raises(DifferentiationError, match="no gradient is recorded"):
        (x.detach() * 2).sum().backward()
    one = cr.tensor([[2.0]], requires_grad=True)
    (one * one).backward()
    assert one.grad.tolist() == [[4]]
    one.grad = None
    one.backward()
    assert one.grad.tolist() == [[1]]


def test_create_graph_and_retain_grad():
    x = cr.tensor(2.0, requires_grad=True)
    y = x**3
    y.retain_grad()
    (y * 2).backward(create_graph=True)
    assert y.grad.item() == 2 and x.grad.item() == 24 and x.grad.requires_grad
    gradient = x.grad
    x.grad = None
    gradient.backward()
    assert x.grad.item() == 24  # d/dx 6 x^2 = 12 x
    with pytest.raises(DifferentiationError):
        x.detach().retain_grad()


def test_modes():
    x = cr.tensor(2.0, requires_grad=True)
    with cr.no_grad():
        y = x * 2
        with cr.enable_grad():
            z = x * 2
    assert not y.requires_grad and z.requires_grad and y.is_leaf and not z.is_leaf

    @cr.no_grad()
    def frozen(t):
        return t * 2

    @cr.no_grad
    def frozen_too(t):
        return t * 2

    assert not frozen(x).requires_grad and not frozen_too(x).requires_grad
    cr.set_grad_enabled(False)
    assert not cr.is_grad_enabled() and not (x * 2).requires_grad
    cr.set_grad_enabled(True)
    with cr.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad and not (x > 1).requires_grad
    with cr.no_grad():
        assert cr.grad(lambda t: t**2)(x).item() == 4


def test_a_leaf_written_in_place_keeps_its_gradients_apart():
    x = cr.tensor([1.0], requires_grad=True)
    first = (x * x).sum()
    with cr.no_grad():
        x -= 0.5 * x
    second = (x * x * x).sum()
    second.backward()
    assert x.grad.tolist() == [0.75]
    first.backward()  # the former value belongs to the same tensor
    assert x.grad.tolist() == [2.75]


def test_grad_and_value_and_grad():
    value, gradient = cr.value_and_grad(loss)(cr.asarray(W), cr.asarray(X))
    close(value, (np.tanh(X @ W) ** 2).sum())
    close(gradient, numeric(lambda w: loss(w, cr.asarray(X)), W), 1e-7)
    assert not value.requires_grad and not gradient.requires_grad
    gw, gx = cr.grad(loss, argnums=(0, 1))(cr.asarray(W), cr.asarray(X))
    close(gx, numeric(lambda x: loss(cr.asarray(W), x), X), 1e-7)
    close(gw, gradient)
    g, aux = cr.grad(lambda x: ((x * x).sum(), {"twice": x * 2}), has_aux=True)(cr.asarray(X))
    close(g, 2 * X)
    close(aux["twice"], 2 * X)
    assert not aux["twice"].requires_grad
    (v, aux), g = cr.value_and_grad(lambda x: ((x * x).sum(), 7), has_aux=True)(cr.asarray(X))
    assert aux == 7 and v.shape == ()
    close(cr.grad(lambda x, y: x.sum())(cr.asarray(X), 1), np.ones_like(X))
    close(cr.grad(lambda x, y: x.sum() * 0 + y.sum(), argnums=1)(cr.asarray(X), cr.asarray(W)), np.ones_like(W))
    close(cr.grad(lambda x: cr.tensor(1.0))(cr.asarray(X)), np.zeros_like(X))
    assert cr.grad(lambda x: x * x)(3.0).item() == 6


def test_outer_history_is_kept():
    w = cr.tensor(W, requires_grad=True)
    value, gradient = cr.value_and_grad(lambda x: loss(w, x))(cr.asarray(X))
    assert value.requires_grad and gradient.requires_grad
    value.backward()
    close(w.grad, numeric(lambda w: loss(w, cr.asarray(X)), W), 1e-7)
    w.grad = None
    (gradient * gradient).sum().backward()

    def penalty(w):
        g = cr.grad(lambda x: loss(w, x))(cr.asarray(X))
        return (g * g).sum()

    close(w.grad, numeric(penalty, W), 1e-6)


def test_python_control_flow_on_real_values():
    def f(x):
        total = x * 0
        while float(total) < 10:
            total = total + x * x
        if total > 11:
            return total
        return total * 2

    assert cr.grad(f)(cr.tensor(2.0)).item() == 4 * 3
    assert cr.jvp(f, (cr.tensor(2.0),), (cr.tensor(1.0),))[1].item() == 12


def test_higher_orders():
    f = lambda x: cr.sin(x) * x**3  # noqa: E731
    x = cr.tensor(0.7, dtype=cr.float64)
    first = np.cos(0.7) * 0.7**3 + 3 * np.sin(0.7) * 0.7**2
    second = -np.sin(0.7) * 0.7**3 + 6 * np.cos(0.7) * 0.7**2 + 6 * np.sin(0.7) * 0.7
    close(cr.grad(f)(x), first)
    close(cr.grad(cr.grad(f))(x), second)
    one = cr.tensor(1.0, dtype=cr.float64)
    close(cr.jvp(cr.grad(f), (x,), (one,))[1], second)
    close(cr.grad(lambda x: cr.jvp(f, (x,), (one,))[1])(x), second)
    close(cr.jvp(lambda x: cr.jvp(f, (x,), (one,))[1], (x,), (one,))[1], second)
    third = cr.grad(cr.grad(cr.grad(f)))(x).item()
    step = 1e-5
    up, down = (cr.grad(cr.grad(f))(cr.tensor(0.7 + s, dtype=cr.float64)).item() for s in (step, -step))
    assert abs(third - (up - down) / (2 * step)) < 1e-6


def test_vjp():
    out, pull = cr.vjp(lambda x, w: {"product": x @ w, "sum": x.sum()}, cr.asarray(X), cr.asarray(W))
    close(out["product"], X @ W)
    assert not out["product"].requires_grad
    out["product"].numpy()
    u = rng.normal(size=(3, 2))
    gx, gw = pull({"product": cr.asarray(u), "sum": 1.0})
    close(gx, u @ W.T + 1)
    close(gw, X.T @ u)
    gx, gw = pull({"product": cr.zeros((3, 2), dtype=cr.float64), "sum": cr.tensor(2.0, dtype=cr.float64)})
    close(gx, np.full_like(X, 2))
    out, pull, aux = cr.vjp(lambda x: (x * x, x + 1), cr.asarray(X), has_aux=True)
    close(aux, X + 1)
    (g,) = pull(cr.ones((3, 4), dtype=cr.float64))
    close(g, 2 * X)
    with pytest.raises(ShapeError, match="cotangents"):
        pull(cr.ones((3, 3), dtype=cr.float64))
    with pytest.raises(DTypeError, match="float32"):
        pull(cr.ones((3, 4)))
    with pytest.raises(ConfigError, match="structure"):
        pull([cr.ones((3, 4), dtype=cr.float64)])
    # the pullback is linear in the cotangent, and can be differentiated with respect to it
    h = cr.grad(lambda c: (cr.vjp(lambda x: x * x, cr.asarray(X))[1](c)[0] * 3).sum())(cr.asarray(X))
    close(h, 6 * X)


def test_jvp():
    t = rng.normal(size=X.shape)
    out, moved = cr.jvp(lambda x, w: (x @ w, x * 2), (cr.asarray(X), cr.asarray(W)), (cr.asarray(t), cr.asarray(W)))
    close(out[0], X @ W)
    close(moved[0], t @ W + X @ W)
    close(moved[1], 2 * t)
    out, moved, aux = cr.jvp(lambda x: (x * x, "aux"), (cr.asarray(X),), (cr.asarray(t),), has_aux=True)
    assert aux == "aux" and not out.requires_grad and not moved.requires_grad
    close(cr.jvp(lambda x: cr.ones(2), (cr.asarray(X),), (cr.asarray(t),))[1], [0, 0])
    with pytest.raises(ShapeError, match=r"tangents\[0\]"):
        cr.jvp(lambda x: x, (cr.asarray(X),), (cr.asarray(W),))
    with pytest.raises(DTypeError):
        cr.jvp(lambda x: x, (cr.asarray(X),), (cr.ones((3, 4)),))
    with pytest.raises(ConfigError):
        cr.jvp(lambda x: x, cr.asarray(X), cr.asarray(X))
    # directional derivative against reverse mode
    g = cr.grad(loss)(cr.asarray(W), cr.asarray(X)).numpy()
    direction = rng.normal(size=W.shape)
    moved = cr.jvp(lambda w: loss(w, cr.asarray(X)), (cr.asarray(W),), (cr.asarray(direction),))[1]
    close(moved, (g * direction).sum())


def test_detach_stops_every_mode():
    f = lambda x: (x.detach() * x).sum()  # noqa: E731
    close(cr.grad(f)(cr.asarray(X)), X)
    close(cr.jvp(f, (cr.asarray(X),), (cr.asarray(X),))[1], (X * X).sum())
    close(cr.vmap(cr.grad(lambda x: x.detach() * x))(cr.asarray(X[0])), X[0])


Point = namedtuple("Point", "x y")


@dataclass
class Parameters:
    weight: cr.Tensor
    bias: cr.Tensor


def test_trees():
    def f(tree):
        return (tree["a"][0] * 2).sum() + (tree["b"].x * tree["b"].y).sum() + tree["c"].weight * tree["c"].bias

    tree = {
        "b": Point(cr.ones(2), cr.full((2,), 3.0)),
        "a": [cr.ones(3), None],
        "c": Parameters(cr.tensor(2.0), cr.tensor(5.0)),
    }
    g = cr.grad(f)(tree)
    assert g["a"][0].tolist() == [2, 2, 2] and g["a"][1] is None
    assert g["b"].x.tolist() == [3, 3] and isinstance(g["b"], Point)
    assert g["c"].weight.item() == 5 and isinstance(g["c"], Parameters)
    leaves, definition = cr.tree_flatten(tree)
    assert [leaf.shape for leaf in leaves] == [(3,), (2,), (2,), (), ()]
    again = cr.tree_unflatten(definition, leaves)
    assert again["b"].x is tree["b"].x and again["c"].bias is tree["c"].bias
    assert cr.tree_map(lambda a, b: a + b, (1, {"k": 2}), (3, {"k": 4})) == (4, {"k": 6})
    with pytest.raises(ConfigError, match="structure"):
        cr.tree_map(lambda a, b: a, [1], (1,))
    assert cr.tree_structure({"a": 1, "b": 2}) == cr.tree_structure({"b": 5, "a": 6})


def test_vmap():
    x = cr.asarray(X)
    close(cr.vmap(lambda row: row * 2 + row.sum())(x), X * 2 + X.sum(1, keepdims=True))
    close(cr.vmap(lambda column: column.sum(), in_axes=1)(x), X.sum(0))
    close(cr.vmap(lambda row: row * 2, out_axes=1)(x), 2 * X.T)
    close(cr.vmap(lambda row, w: row @ w, in_axes=(0, None))(x, cr.asarray(W)), X @ W)
    close(cr.vmap(lambda row, scale: row * scale, in_axes=(0, None))(x, 3.0), 3 * X)
    out = cr.vmap(lambda d: {"s": d["a"] + d["b"], "c": 1.0}, in_axes=({"a": 0, "b": None},))({"a": x, "b": x[0]})
    close(out["s"], X + X[0])
    assert out["c"].tolist() == [1, 1, 1]
    outer = cr.vmap(cr.vmap(lambda a, b: a * b, in_axes=(None, 0)), in_axes=(0, None))
    close(outer(x[0], x[1]), np.outer(X[0], X[1]))
    close(cr.vmap(lambda row: cr.where(row > 0, row, -row))(x), np.abs(X))
    close(cr.vmap(lambda row: row, in_axes=-1, out_axes=-1)(x), X)
    assert cr.vmap(lambda row: (row.sum(), cr.ones(2)), out_axes=(0, None))(x)[1].shape == (2,)
    close(cr.vmap(lambda *, k: k * 2)(k=x), 2 * X)


def test_vmap_composes_with_derivatives():
    per_example = cr.vmap(cr.grad(loss), in_axes=(None, 0))(cr.asarray(W), cr.asarray(X))
    for i in range(3):
        close(per_example[i], cr.grad(loss)(cr.asarray(W), cr.asarray(X[i])))
    total = cr.grad(lambda w: cr.vmap(lambda x: loss(w, x))(cr.asarray(X)).sum())(cr.asarray(W))
    close(total, cr.grad(loss)(cr.asarray(W), cr.asarray(X)))
    _, pull = cr.vjp(lambda x: cr.tanh(x) * x.sum(), cr.asarray(X[0]))
    jacobian = cr.vmap(lambda c: pull(c)[0])(cr.eye(4, dtype=cr.float64))
    forward = cr.vmap(lambda t: cr.jvp(lambda x: cr.tanh(x) * x.sum(), (cr.asarray(X[0]),), (t,))[1], out_axes=1)(
        cr.eye(4, dtype=cr.float64)
    )
    close(jacobian, forward)
    hessian = cr.vmap(lambda v: cr.jvp(cr.grad(lambda x: (x**3).sum()), (cr.asarray(X[0]),), (v,))[1])(
        cr.eye(4, dtype=cr.float64)
    )
    close(hessian, np.diag(6 * X[0]))
    w = cr.tensor(W, requires_grad=True)
    cr.vmap(lambda x: loss(w, x))(cr.asarray(X)).sum().backward()
    close(w.grad, total)


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda: cr.grad(lambda x: x.sum())(cr.arange(3)), DTypeError, "args[0] has dtype int64"),
        (lambda: cr.grad(lambda d: d["k"].sum())({"k": cr.arange(3)}), DTypeError, "args[0]['k']"),
        (lambda: cr.grad(lambda x: x)(cr.ones(3)), DifferentiationError, "one floating number"),
        (lambda: cr.grad(lambda x: x.sum() > 0)(cr.ones(3)), DifferentiationError, "one floating number"),
        (lambda: cr.grad(lambda x: (x, 1))(cr.tensor(1.0)), DTypeError, "has_aux=True"),
        (lambda: cr.grad(lambda x: x, has_aux=True)(cr.tensor(1.0)), ConfigError, "pair"),
        (lambda: cr.grad(lambda x: x, argnums=2)(cr.tensor(1.0)), ConfigError, "argument 2"),
        (lambda: cr.vjp(lambda x: x, "text"), DTypeError, "primals[0] is str"),
        (lambda: cr.vmap(lambda a, b: a)(cr.ones(3), {"k": cr.ones(4)}), ShapeError, "args[1]['k'] has 4"),
        (lambda: cr.vmap(lambda a: a, in_axes=2)(cr.ones(3)), ShapeError, "no axis 2"),
        (lambda: cr.vmap(lambda a: a, in_axes=None)(cr.ones(3)), ConfigError, "in_axes"),
        (lambda: cr.vmap(lambda a, b: a)(cr.ones(3), 2.0), DTypeError, "None"),
        (lambda: cr.vmap(lambda a: a, in_axes=(0, 0))(cr.ones(3)), ConfigError, "2 entries for 1"),
        (lambda: cr.vmap(lambda a: a, out_axes=None)(cr.ones(3)), ConfigError, "differs"),
        (lambda: cr.vmap(lambda a: "text")(cr.ones(3)), DTypeError, "str"),
        (lambda: cr.vmap(lambda a: a * float(a))(cr.ones(3)), PlaceholderError, "placeholder"),
    ],
)  # fmt: skip
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_errors_restore_the_mode():
    def fails(x):
        raise ValueError("mine")

    with cr.no_grad():
        with pytest.raises(ValueError, match="mine"):
            cr.grad(fails)(cr.tensor(1.0))
        assert not cr.is_grad_enabled()
    with pytest.raises(ValueError, match="mine"):
        cr.vmap(fails)(cr.ones(3))
    from chainrule.tensor import state

    assert state.lanes == ()


def test_gradients_of_statistics_and_composites():
    for f in (
        lambda x: cr.var(x), lambda x: cr.std(x, 0).sum(), lambda x: cr.logsumexp(x, 1).sum(), lambda x: x.max(),
        lambda x: cr.cumulative_sum(x, axis=1)[:, 2].sum(), lambda x: cr.cumulative_prod(x, axis=0).sum(),
        lambda x: cr.linalg.norm(x), lambda x: cr.einsum("ij,kj->ik", x, x)[0].sum(),
        lambda x: cr.clip(x, -0.5, 0.5).sum(),
        lambda x: cr.concat([x, x * x], axis=1)[:, 3:6].sum(), lambda x: cr.sort(x, axis=1)[:, 0].sum(),
        lambda x: cr.tile(x, (2, 1)).prod(), lambda x: (x.T @ x).mean(), lambda x: cr.roll(x, 1, axis=0)[0].sum(),
        lambda x: cr.logaddexp(x, x * 2).sum(), lambda x: cr.stack([x, x.flip(1)])[1, :, 0].sum(),
    ):  # fmt: skip
        close(cr.grad(f)(cr.asarray(X)), numeric(f, X), 2e-6)


def test_a_value_that_is_used_on_is_computed_once():
    def f(x):
        return ((x - 3.0) ** 2).sum()

    x = cr.zeros(3)
    known = 0
    for number in range(40):
        x = x - 0.1 * cr.grad(f)(x)
        if number % 2:
            float(cr.max(cr.grad(f)(x)))  # asks for a number that depends on x, not for x
        if number == 9:
            known = len(runtime._programs)
    assert len(runtime._programs) - known <= 2  # a graph that grew would be another one each time
