"""Jacobians, Hessians, their products with vectors, linearisation: values, trees, composition, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.autograd import columns
from chainrule.errors import ChainruleError, ConfigError, DifferentiationError, DTypeError, ShapeError
from chainrule.graph.node import topological

random = np.random.default_rng(7)
A = random.normal(size=(3, 4))
X = random.normal(size=4)
V = random.normal(size=4)


def f(x: Any) -> Any:
    """R^4 to R^3."""
    return cr.tanh(cr.asarray(A) @ x)


def g(x: Any) -> Any:
    """R^4 to R."""
    return (f(x) ** 3).sum() + x[0] * x[1] * x[2]


def close(found: Any, wanted: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def slopes(function: Callable[[Any], Any], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central differences of an array-valued function: (*output.shape, *x.shape)."""
    columns = []
    for i in np.ndindex(x.shape):
        move = np.zeros_like(x)
        move[i] = step
        up, down = (np.asarray(function(cr.asarray(x + sign * move))) for sign in (1, -1))
        columns.append((up - down) / (2 * step))
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape)


@pytest.mark.parametrize("transform", [cr.jacfwd, cr.jacrev, cr.jacobian])
def test_jacobian(transform: Any) -> None:
    x = cr.asarray(X)
    expected = (1 - np.tanh(A @ X) ** 2)[:, None] * A
    close(transform(f)(x), expected)
    close(cr.compile(transform(f))(x), expected)
    assert not transform(f)(x).requires_grad
    close(transform(lambda x, s: s * f(x), argnums=(0, 1))(x, cr.asarray(2.0 * np.ones(())))[1], np.tanh(A @ X))
    close(transform(lambda s, x: s * f(x), argnums=-1)(2.0, x), 2 * expected)
    jacobian, aux = transform(lambda x: (f(x), {"norm": (x * x).sum()}), has_aux=True)(x)
    close(jacobian, expected)
    close(aux["norm"], X @ X)
    assert not aux["norm"].requires_grad
    close(transform(lambda x: x.sum())(x), np.ones(4))
    close(transform(lambda x: x[:1])(x), np.eye(4)[:1])
    close(transform(lambda x: x * x)(cr.asarray(X[:1])), [[2 * X[0]]])
    close(transform(lambda x: x)(x), np.eye(4))
    close(transform(lambda x: cr.ones(2, dtype=cr.float64))(x), np.zeros((2, 4)))
    assert transform(lambda x: x * 2)(cr.zeros((0,))).shape == (0, 0)
    matrix = random.normal(size=(2, 3))
    close(transform(lambda m: cr.exp(m).T)(cr.asarray(matrix)), slopes(lambda m: cr.exp(m).T, matrix), 1e-7)


@pytest.mark.parametrize("transform", [cr.jacfwd, cr.jacrev])
def test_trees_give_trees_of_trees(transform: Any) -> None:
    def h(p: Any) -> Any:
        return {"sum": p["w"].sum() * p["b"][0], "product": (p["w"] @ p["b"][0], p["b"][0] ** 2)}

    w, b = random.normal(size=(2, 3)), random.normal(size=3)
    jacobian = transform(lambda p: h({"w": p["w"], "b": [p["b"][0][:3]]}))({"w": cr.asarray(w), "b": [cr.asarray(b)]})
    close(jacobian["sum"]["w"], np.broadcast_to(b, (3, 2, 3)).transpose(0, 1, 2) * 0 + b[:, None, None])
    close(jacobian["sum"]["b"][0], w.sum() * np.eye(3))
    close(jacobian["product"][0]["b"][0], w)
    close(jacobian["product"][0]["w"], np.einsum("ij,k->ijk", np.eye(2), b))
    close(jacobian["product"][1]["w"], np.zeros((3, 2, 3)))
    close(jacobian["product"][1]["b"][0], np.diag(2 * b))


def test_jacobian_takes_the_cheaper_mode() -> None:
    def primitives(function: Any, x: Any) -> set[str]:
        return {node.op.name for node in topological([cr.jacobian(function)(x)._node], stop_at_values=False)}

    wide, tall = cr.asarray(random.normal(size=(2, 9))), cr.asarray(random.normal(size=(9, 2)))

    # forwards the basis has one row for each input, backwards one for each output
    def bases(function: Any, size: int) -> set[tuple[int, ...]]:
        x = cr.asarray(random.normal(size=size))
        order = topological([cr.jacobian(function)(x)._node], stop_at_values=False)
        return {node.shape for node in order if node.op.name == "iota"}

    assert bases(lambda x: cr.sin(wide @ x), 9) == {(2, 2)}
    assert bases(lambda x: cr.sin(tall @ x), 2) == {(2, 2)}
    assert primitives(lambda x: cr.sin(tall @ x), cr.asarray(X[:2])) >= {"cos"}


@pytest.mark.parametrize("compiled", [False, True])
def test_hessian(compiled: bool) -> None:
    wrap = cr.compile if compiled else lambda function: function
    x = cr.asarray(X)
    expected = slopes(cr.grad(g), X)
    close(wrap(cr.hessian(g))(x), expected, 1e-7)
    for outer in (cr.jacfwd, cr.jacrev):
        for inner in (cr.jacfwd, cr.jacrev):
            close(wrap(outer(inner(g)))(x), expected, 1e-7)
    close(wrap(lambda x, v: cr.hvp(g, (x,), (v,)))(x, cr.asarray(V)), expected @ V, 1e-7)
    close(wrap(cr.vmap(cr.hessian(g)))(cr.stack([x, x]))[1], expected, 1e-7)
    third = slopes(cr.hessian(g), X)
    close(wrap(cr.jacfwd(cr.hessian(g)))(x), third, 1e-6)
    close(wrap(cr.grad(lambda x: (cr.hessian(g)(x) ** 2).sum()))(x), 2 * np.einsum("ijk,ij->k", third, expected), 1e-6)


def network(p: Any, x: Any) -> Any:
    hidden = cr.tanh(x @ p["w"][0] + p["b"])
    return ((hidden @ p["w"][1]) ** 2).mean()


def test_hessian_of_trees_and_of_one_vector() -> None:
    """A vector that is only used in parts has a sweep for each part; the result is the same."""
    inputs = cr.asarray(random.normal(size=(5, 3)))
    shapes = ((3, 4), (4, 2), (4,))
    parts = [random.normal(size=shape) for shape in shapes]

    def tree(v: Any) -> Any:
        return {"w": [v[:12].reshape((3, 4)), v[12:20].reshape((4, 2))], "b": v[20:24]}

    vector = np.concatenate([part.ravel() for part in parts] + [np.ones(2)])
    whole = cr.hessian(lambda v: network(tree(v), inputs))(cr.asarray(vector))
    close(whole, slopes(cr.grad(lambda v: network(tree(v), inputs)), vector), 1e-7)
    blocks = cr.hessian(network)({"w": [cr.asarray(p) for p in parts[:2]], "b": cr.asarray(parts[2])}, inputs)
    close(blocks["w"][0]["w"][1].numpy().reshape(12, 8), whole[:12, 12:20])
    close(blocks["b"]["b"], whole[20:24, 20:24])
    close(blocks["b"]["w"][0].numpy().reshape(4, 12), whole[20:24, :12])
    assert np.all(whole.numpy()[24:] == 0) and np.all(whole.numpy()[:, 24:] == 0)
    overlapping = cr.hessian(lambda v: (v[:3] * v[1:4]).sum() ** 2)(cr.asarray(X))
    close(overlapping, slopes(cr.grad(lambda v: (v[:3] * v[1:4]).sum() ** 2), X), 1e-6)
    twice = cr.hessian(lambda v: (v[:2] * v[2:]).sum() ** 2 + (v**3).sum())(cr.asarray(X))
    close(twice, slopes(cr.grad(lambda v: (v[:2] * v[2:]).sum() ** 2 + (v**3).sum()), X), 1e-6)


def test_one_sweep_for_all_columns_of_a_large_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    p = {"w": [cr.asarray(random.normal(size=(3, 4))), cr.asarray(random.normal(size=(4, 2)))], "b": cr.asarray(X)}
    x = cr.asarray(random.normal(size=(5, 3)))
    expected = cr.hessian(network)(p, x)
    forwards = cr.jacfwd(lambda p: {"y": network(p, x), "z": cr.zeros((2,), dtype=cr.float64)})(p)
    monkeypatch.setattr(columns, "MAXIMUM_VISITS", 0)
    cr.tree_map(close, cr.hessian(network)(p, x), expected)
    cr.tree_map(close, cr.jacfwd(lambda p: {"y": network(p, x), "z": cr.zeros((2,), dtype=cr.float64)})(p), forwards)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("transform", [cr.jacfwd, cr.jacrev, cr.jacobian])
def test_chunks_have_the_same_values(transform: Any, compiled: bool, chunk: int) -> None:
    wrap = cr.compile if compiled else lambda function: function

    def h(p: Any) -> Any:
        y = cr.tanh(cr.asarray(A) @ p["x"])
        return {"y": y, "mixed": cr.outer(y[:2], p["z"]), "n": y.sum(), "same": p["x"], "none": cr.ones((2,))}

    p = {"x": cr.asarray(X), "z": cr.asarray(V[:3])}
    whole, parts = wrap(transform(h))(p), wrap(transform(h, chunk_size=chunk))(p)
    for a, b in zip(cr.tree_leaves(whole), cr.tree_leaves(parts), strict=True):
        assert a.shape == b.shape and a.dtype is b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("chunk", [1, 3, 4])
@pytest.mark.parametrize("compiled", [False, True])
def test_chunks_of_hessians_and_through_other_transformations(
    compiled: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrap = cr.compile if compiled else lambda function: function
    x = cr.asarray(X)
    close(wrap(cr.hessian(g, chunk_size=chunk))(x), slopes(cr.grad(g), X), 1e-7)
    close(wrap(cr.vmap(cr.hessian(g, chunk_size=chunk)))(cr.stack([x, 2 * x]))[1], cr.hessian(g)(2 * x))
    third = slopes(cr.hessian(g), X)
    close(wrap(cr.jacrev(cr.hessian(g, chunk_size=chunk), chunk_size=chunk))(x), third, 1e-6)
    expected = 2 * np.einsum("ijk,ij->k", third, slopes(cr.grad(g), X))
    close(wrap(cr.grad(lambda x: (cr.hessian(g, chunk_size=chunk)(x) ** 2).sum()))(x), expected, 1e-6)
    holomorphic = cr.jacrev(lambda z: z * z, holomorphic=True, chunk_size=chunk)
    close(wrap(holomorphic)(cr.asarray(X + 1j)), np.diag(2 * (X + 1j)))
    p = {"w": [cr.asarray(random.normal(size=(3, 4))), cr.asarray(random.normal(size=(4, 2)))], "b": x}
    inputs = cr.asarray(random.normal(size=(5, 3)))
    expected = cr.hessian(network)(p, inputs)
    monkeypatch.setattr(columns, "MAXIMUM_VISITS", 0)  # one sweep for all columns
    cr.tree_map(close, wrap(cr.hessian(network, chunk_size=chunk))(p, inputs), expected)


@pytest.mark.parametrize("transform", [cr.jacfwd, cr.jacrev])
def test_chunks_hold_the_values_of_one_chunk_at_a_time(transform: Any) -> None:
    x = cr.asarray(random.normal(size=24))
    up, down = cr.asarray(random.normal(size=(4000, 24))), cr.asarray(random.normal(size=(24, 4000)))

    def wide(x: Any) -> Any:
        return down @ cr.cumsum(cr.tanh(cr.cumsum(up @ x)))

    def arena(chunk: int | None) -> int:
        return cr.explain(cr.compile(transform(wide, chunk_size=chunk)), x).arena_bytes

    assert arena(4) < arena(None) / 3


def test_chunk_sizes_that_are_refused() -> None:
    for transform in (cr.jacfwd, cr.jacrev, cr.jacobian, cr.hessian):
        for wrong in (0, -1, 2.0, True, "4"):
            with pytest.raises(ConfigError, match=f"{transform.__name__}: chunk_size must be a positive whole number"):
                transform(f, chunk_size=wrong)
    assert cr.jacfwd(f, chunk_size=np.int64(2))(cr.asarray(X)).shape == (3, 4)
    assert cr.jacfwd(lambda x: x * 2, chunk_size=2)(cr.zeros((0,))).shape == (0, 0)


def test_the_function_is_called_once_on_real_values() -> None:
    calls = []

    def h(x: Any) -> Any:
        calls.append(float(x[0]))
        return (x * x * (1 if x[0] > 0 else 2)).sum()

    count = cr.zeros(())
    x = cr.asarray(np.abs(X))

    def counting(x: Any) -> Any:
        nonlocal count
        count += 1.0
        return h(x)

    close(cr.hessian(h)(x), 2 * np.eye(4))
    assert calls == [np.abs(X)[0]]
    cr.jacfwd(counting)(x), cr.jacrev(counting)(x), cr.hvp(counting, (x,), (x,)), cr.linearize(counting, x)
    assert len(calls) == 5 and float(count) == 4


def test_state_is_written_once_and_without_history() -> None:
    total = cr.zeros((4,), dtype=cr.float64)

    def accumulating(x: Any) -> Any:
        nonlocal total
        total += x * 2
        y = x * 1
        y[0] = 3 * x[1]
        return (y * total).sum()

    x = cr.asarray(X)
    expected = np.zeros(4)
    for transform in (
        cr.grad,
        cr.jacfwd,
        cr.jacrev,
        cr.hessian,
        lambda f: lambda x: cr.jvp(f, (x,), (x,)),
        lambda f: lambda x: cr.vjp(f, x),
        lambda f: lambda x: cr.grad(lambda x: cr.grad(f)(x).sum())(x),
    ):
        transform(accumulating)(x)
        expected = expected + 2 * X
        assert not total.requires_grad
        close(total, expected)
    w = cr.tensor(X, requires_grad=True)
    cr.grad(lambda x: accumulating(x * w))(x)
    assert total.requires_grad  # for the sake of w


def test_hvp_of_trees_and_several_arguments() -> None:
    p = {"w": [cr.asarray(random.normal(size=(3, 4))), cr.asarray(random.normal(size=(4, 2)))], "b": cr.asarray(X)}
    x = cr.asarray(random.normal(size=(5, 3)))
    tangent = cr.tree_map(lambda leaf: cr.asarray(random.normal(size=leaf.shape)), p)
    product = cr.hvp(lambda p: network(p, x), (p,), (tangent,))
    hessian = cr.hessian(network)(p, x)
    expected = sum(
        (np.tensordot(block.numpy(), t.numpy(), t.ndim) for block, t in zip(
            cr.tree_leaves(hessian["b"]), cr.tree_leaves(tangent))), start=np.zeros(4)
    )  # fmt: skip
    close(product["b"], expected)
    both = cr.hvp(network, (p, x), (tangent, cr.zeros((5, 3), dtype=cr.float64)))
    close(both[0]["b"], expected)
    assert both[1].shape == (5, 3)
    value, aux = cr.hvp(lambda x: ((x**3).sum(), x + 1), (cr.asarray(X),), (cr.asarray(V),), has_aux=True)
    close(value, 6 * X * V)
    close(aux, X + 1)
    per_example = cr.vmap(lambda v: cr.hvp(g, (cr.asarray(X),), (v,)))(cr.eye(4, dtype=cr.float64))
    close(per_example, cr.hessian(g)(cr.asarray(X)))


def test_linearize() -> None:
    x, v = cr.asarray(X), cr.asarray(V)
    out, push = cr.linearize(lambda x, s: {"f": f(x) * s}, x, cr.asarray(np.array(2.0)))
    close(out["f"], 2 * np.tanh(A @ X))
    jacobian = (1 - np.tanh(A @ X) ** 2)[:, None] * A
    zero = cr.asarray(np.array(0.0))
    close(push(v, zero)["f"], 2 * jacobian @ V)
    close(push(v, 1.0)["f"], 2 * jacobian @ V + np.tanh(A @ X))
    assert not out["f"].requires_grad and not push(v, zero)["f"].requires_grad
    close(cr.vmap(lambda t: push(t, zero)["f"], out_axes=1)(cr.eye(4, dtype=cr.float64)), 2 * jacobian)
    pulled = cr.vjp(lambda t: push(t, zero)["f"], v)[1](cr.ones(3, dtype=cr.float64))[0]
    close(pulled, 2 * jacobian.sum(0))
    _, pull_back = cr.vjp(f, x)
    close(cr.grad(lambda c: (pull_back(c)[0] ** 2).sum())(cr.asarray(V[:3])), 2 * jacobian @ (jacobian.T @ V[:3]))
    out, push, aux = cr.linearize(lambda x: (x * x, x + 1), x, has_aux=True)
    close(push(v), 2 * X * V)
    close(aux, X + 1)
    close(cr.grad(lambda x: cr.linearize(lambda y: y**3, x)[1](v).sum())(x), 6 * X * V)
    with cr.no_grad():
        close(cr.linearize(f, x)[1](v), jacobian @ V)


def test_random_draws_are_the_same_in_all_columns() -> None:
    def noisy(x: Any) -> Any:
        return x * cr.rand(4, dtype=cr.float64)

    for transform in (cr.jacfwd, cr.jacrev):
        cr.manual_seed(3)
        jacobian = transform(noisy)(cr.asarray(X)).numpy()
        cr.manual_seed(3)
        close(jacobian, np.diag(cr.rand(4, dtype=cr.float64).numpy()))


def test_outer_history_is_kept() -> None:
    w = cr.tensor(A, requires_grad=True)
    jacobian = cr.jacfwd(lambda x: cr.tanh(w @ x))(cr.asarray(X))
    (jacobian**2).sum().backward()
    expected = slopes(lambda w: (cr.jacrev(lambda x: cr.tanh(w @ x))(cr.asarray(X)) ** 2).sum(), A)
    close(w.grad, expected, 1e-7)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_orders(order: int) -> None:
    """Any mix of modes gives the same derivative of sin(x) exp(x)."""
    h = lambda x: cr.sin(x) * cr.exp(x)  # noqa: E731
    x = cr.tensor(0.7, dtype=cr.float64)
    expected = np.exp(0.7) * 2 ** (order / 2) * np.sin(0.7 + order * np.pi / 4)
    modes = [cr.grad, cr.jacfwd, cr.jacrev, lambda h: lambda x: cr.jvp(h, (x,), (cr.ones_like(x),))[1]]
    for number in range(4):
        found = h
        for level in range(order):
            found = modes[(number + level * (number + 1)) % 4](found)
        assert float(found(x)) == pytest.approx(expected, rel=1e-12)


I3 = "recorded at "


def first_lines(error: pytest.ExceptionInfo) -> list[str]:
    """The message without the line of the code."""
    return [line for line in str(error.value).splitlines() if not line.startswith(I3)]


COLUMN = cr.ones((3,))
MESSAGES: list[tuple[Callable[[], Any], type[ChainruleError], list[str]]] = [
    (
        lambda: cr.grad(lambda x: x)(COLUMN),
        DifferentiationError,
        [
            "grad: the function has to return one floating number (shape []); operands float32[3]",
            "help: reduce with .sum() or .mean(), or use vjp",
        ],
    ),
    (
        lambda: cr.grad(lambda x: (x, x))(COLUMN),
        DTypeError,
        [
            "grad: the function returned tuple, not one floating number (shape [])",
            "help: return further results with has_aux=True, or use vjp",
        ],
    ),
    (
        lambda: cr.grad(lambda d: d["k"][0].sum())({"k": [cr.arange(3)]}),
        DTypeError,
        [
            "grad: args[0]['k'][0] has dtype int64, which has no derivatives; operands int64[3]",
            "help: convert with .astype(chainrule.float32)",
        ],
    ),
    (
        lambda: cr.jacfwd(lambda x: x)(cr.arange(3)),
        DTypeError,
        [
            "jacfwd: args[0] has dtype int64, which has no derivatives; operands int64[3]",
            "help: convert with .astype(chainrule.float32)",
        ],
    ),
    (
        lambda: cr.jacrev(lambda x: {"k": x > 0})(COLUMN),
        DTypeError,
        [
            "jacrev: output['k'] has dtype bool, which has no derivatives; operands bool[3]",
            "help: return further results with has_aux=True",
        ],
    ),
    (
        lambda: cr.jacfwd(lambda x: x * 1j)(COLUMN),
        DTypeError,
        [
            "jacfwd: output has dtype complex64, and a Jacobian of complex numbers exists for some functions;"
            " operands complex64[3]",
            "help: holomorphic=True if this is one, else differentiate by real and imaginary parts",
        ],
    ),
    (
        lambda: cr.hessian(lambda x: x.sum(), argnums=2)(COLUMN),
        ConfigError,
        ["hessian: argnums names argument 2, there are 1 positional arguments"],
    ),
    (
        lambda: cr.grad(lambda x, y: x.sum(), argnums=(0, -2))(COLUMN, COLUMN),
        ConfigError,
        ["grad: argnums names argument 0 twice"],
    ),
    (
        lambda: cr.grad(lambda x: x.sum(), argnums="0")(COLUMN),
        ConfigError,
        ["grad: argnums is a whole number or several, not '0'"],
    ),
    (
        lambda: cr.jacfwd(lambda x: "text")(COLUMN),
        DTypeError,
        ["jacfwd: the function returned str, not tensors", "help: return further results with has_aux=True"],
    ),
    (
        lambda: cr.jvp(lambda d: d["k"], ({"k": COLUMN},), ({"k": cr.ones((4,))},)),
        ShapeError,
        ["jvp: tangents[0]['k'] has shape [4], not [3]; operands float32[3], float32[4]"],
    ),
    (
        lambda: cr.jvp(lambda x: x, (COLUMN,), (cr.ones((3,), dtype=cr.float64),)),
        DTypeError,
        [
            "jvp: tangents[0] has dtype float64, not float32; operands float32[3], float64[3]",
            "help: convert with .astype(...)",
        ],
    ),
    (
        lambda: cr.jvp(lambda x: x, (COLUMN,), ([COLUMN],)),
        ConfigError,
        ["jvp: the tangents have structure tuple(list(*)), not tuple(*)"],
    ),
    (
        lambda: cr.jvp(lambda x: x, (COLUMN,), ("text",)),
        DTypeError,
        ["jvp: tangents[0] is str, not a tensor"],
    ),
    (
        lambda: cr.jvp(lambda x: x, COLUMN, COLUMN),
        ConfigError,
        ["jvp: primals and tangents are tuples, one entry for each argument"],
    ),
    (
        lambda: cr.hvp(lambda x: x.sum(), (COLUMN,), (cr.ones((2,)),)),
        ShapeError,
        ["hvp: tangents[0] has shape [2], not [3]; operands float32[3], float32[2]"],
    ),
    (
        lambda: cr.linearize(lambda x: x, COLUMN)[1](cr.ones((2,))),
        ShapeError,
        ["linearize: tangents[0] has shape [2], not [3]; operands float32[3], float32[2]"],
    ),
    (
        lambda: cr.vjp(lambda x: {"y": x}, COLUMN)[1]({"y": cr.ones((2,))}),
        ShapeError,
        ["vjp: cotangents['y'] has shape [2], not [3]; operands float32[3], float32[2]"],
    ),
    (
        lambda: cr.vjp(lambda x: (x, x), COLUMN)[1](COLUMN),
        ConfigError,
        ["vjp: the cotangents have structure *, not tuple(*, *)"],
    ),
    (
        lambda: cr.jacrev(lambda x: x, has_aux=True)(COLUMN),
        ConfigError,
        ["jacrev: with has_aux=True the function returns a pair (output, aux)"],
    ),
]


@pytest.mark.parametrize(("call", "kind", "lines"), MESSAGES)
def test_messages(call: Callable[[], Any], kind: type[ChainruleError], lines: list[str]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert first_lines(caught) == lines
    assert "test_derivatives.py:" in str(caught.value)


def test_holomorphic() -> None:
    z = random.normal(size=3) + 1j * random.normal(size=3)
    for transform in (cr.jacfwd, cr.jacrev):
        close(transform(lambda z: cr.exp(z) * z, holomorphic=True)(cr.asarray(z)), np.diag(np.exp(z) * (1 + z)))
