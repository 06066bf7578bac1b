"""`vmap`: axes of every kind of argument, sizes, chunks, state and randomness, composition, messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ChainruleError, CompileError, ConfigError, DTypeError, PlaceholderError, ShapeError
from chainrule.graph.node import topological

random = np.random.default_rng(5)
X = random.normal(size=(3, 4))
W = random.normal(size=(4, 2))


def close(found: Any, wanted: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def test_axes_of_keyword_arguments() -> None:
    x = cr.asarray(X)
    close(cr.vmap(lambda a, *, k: a * k)(x, k=x), X * X)
    close(cr.vmap(lambda a, *, k: a * k, in_axes={"k": 1})(x, k=cr.asarray(X.T)), X * X)
    close(cr.vmap(lambda a, *, k: a * k, in_axes={"k": None, 0: 1})(x, k=2.0), 2 * X.T)
    both = cr.vmap(lambda a, *, k: a * k["u"] + k["v"], in_axes={"k": {"u": 0, "v": None}})
    close(both(x, k={"u": x, "v": x[0]}), X * X + X[0])


def test_trees_of_axes() -> None:
    x = cr.asarray(X)
    f = cr.vmap(lambda p, q: p["a"] * p["b"][0] + q, in_axes=({"a": 0, "b": 1}, None), out_axes=-1)
    close(f({"a": x, "b": [cr.asarray(X.T)]}, x[0]), (X * X + X[0]).T)
    out = cr.vmap(lambda a: (a, {"m": cr.outer(a, a), "n": cr.ones(2)}), out_axes=(1, {"m": 2, "n": None}))(x)
    close(out[0], X.T)
    close(out[1]["m"], np.einsum("ni,nj->ijn", X, X))
    assert out[1]["n"].shape == (2,)
    lists = cr.vmap(lambda a, b: a + b, in_axes=[0, None])
    close(lists(x, x[0]), X + X[0])


@dataclass
class Two:
    a: Any
    b: Any


def test_axes_in_any_container() -> None:
    x, s = cr.tensor([1.0, 2.0, 3.0]), cr.tensor(2.0)
    f = cr.vmap(lambda p: p.a * p.b, in_axes=(Two(0, None),))
    assert f(Two(x, s)).tolist() == [2.0, 4.0, 6.0]
    g = cr.vmap(lambda p: p["a"] * p["b"], in_axes=({"b": None, "a": 0},))
    assert g(defaultdict(list, a=x, b=s)).tolist() == [2.0, 4.0, 6.0]
    out = cr.vmap(lambda row: Two(row, s), out_axes=Two(1, None))(cr.ones((2, 3)))
    assert out.a.shape == (3, 2) and out.b.shape == ()
    with pytest.raises(ConfigError, match=r"in_axes: keys \[1, 'a'\] do not match \[1, 'b'\]"):
        cr.vmap(lambda p: p, in_axes=({1: 0, "a": 0},))({1: x, "b": x})


def test_whole_numbers_of_numpy() -> None:
    one = np.int64(1)
    found = cr.vmap(lambda a: a, one, one, axis_size=np.int64(3), chunk_size=one)(cr.ones((2, 3)))
    assert found.shape == (2, 3) and all(type(extent) is int for extent in found.shape)
    assert cr.vmap(lambda: cr.ones(()), axis_size=np.int64(3))().shape == (3,)


def test_number_of_examples() -> None:
    close(cr.vmap(lambda: cr.ones(2), axis_size=3)(), np.ones((3, 2)))
    close(cr.vmap(lambda a: a, in_axes=None, axis_size=2)(cr.asarray(X[0])), X[[0, 0]])
    close(cr.vmap(lambda a: a.sum(), axis_size=3)(cr.asarray(X)), X.sum(1))
    assert cr.vmap(lambda a: a * 2)(cr.zeros((0, 5))).shape == (0, 5)
    assert cr.vmap(lambda a: a * 2, chunk_size=2)(cr.zeros((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_chunks(size: int) -> None:
    x = cr.asarray(X)
    calls = []

    def f(a: Any, w: Any) -> Any:
        calls.append(1)
        return {"y": cr.tanh(a @ w), "s": a.sum() + cr.rand((), dtype=cr.float64), "w": w}

    def apply(chunk_size: int | None) -> Any:
        cr.manual_seed(1)
        axes = {"y": 1, "s": 0, "w": None}
        return cr.vmap(f, in_axes=(0, None), out_axes=axes, chunk_size=chunk_size)(x, cr.asarray(W))

    whole, parts = apply(None), apply(size)
    assert len(calls) == 2  # once each
    for name in whole:
        close(parts[name], whole[name])
    close(cr.compile(cr.vmap(lambda a: a * a, chunk_size=size))(x), X * X)
    close(cr.vmap(cr.grad(lambda a: (a**3).sum()), chunk_size=size)(x), 3 * X * X)


def test_nested_and_with_derivatives() -> None:
    def f(a: Any, b: Any) -> Any:
        return cr.tanh(a * b).sum()

    a, b = cr.asarray(X), cr.asarray(random.normal(size=(5, 4)))
    table = cr.vmap(cr.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    close(table(a, b), np.tanh(X[:, None] * b.numpy()).sum(-1))
    gradients = cr.vmap(cr.vmap(cr.grad(f), in_axes=(None, 0)), in_axes=(0, None))(a, b)
    for i in range(3):
        for j in range(5):
            close(gradients[i, j], cr.grad(f)(a[i], b[j]))
    # vmap of grad of vmap
    inner = lambda a: cr.vmap(f, in_axes=(None, 0))(a, b).sum()  # noqa: E731
    close(cr.vmap(cr.grad(inner))(a), gradients.numpy().sum(1))
    close(cr.compile(cr.vmap(cr.grad(inner)))(a), gradients.numpy().sum(1))
    close(cr.grad(lambda a: cr.vmap(cr.grad(inner))(a).sum())(a), cr.vmap(lambda r: cr.hessian(inner)(r).sum(0))(a))
    hessians = cr.vmap(cr.hessian(f), in_axes=(0, 0))(a, a)
    close(hessians[1], cr.hessian(f)(a[1], a[1]))


def test_over_loops_and_branches_of_values() -> None:
    def f(x: Any, ys: Any) -> Any:
        return cr.scan(lambda c, y: (cr.sin(c) * y, c), x, ys)

    starts, ys = cr.asarray(X[:, 0]), cr.asarray(random.normal(size=6))
    for axes, wide in (((0, None), ys), ((0, 0), cr.stack([ys, ys * 2, ys * 3]))):
        last, stack = cr.vmap(f, in_axes=axes)(starts, wide)
        gradient = cr.vmap(cr.grad(lambda x, y: f(x, y)[0]), in_axes=axes)(starts, wide)
        for i in range(3):
            row = ys if axes[1] is None else wide[i]
            expected = f(starts[i], row)
            close(last[i], expected[0])
            close(stack[i], expected[1])
            close(gradient[i], cr.grad(lambda x, row=row: f(x, row)[0])(starts[i]))
    constant = cr.vmap(f, in_axes=(None, 0))(starts[0], cr.stack([ys, ys * 2]))
    close(constant[0][1], f(starts[0], ys * 2)[0])


def test_modules() -> None:
    """A stack of networks, each with its own input; layers, attention and recurrences inside."""
    layers = [
        (nn.Linear(4, 3), (4,)),
        (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5)),
        (nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 4, 4)),
        (nn.MaxPool2d(2), (2, 4, 4)),
        (nn.AvgPool2d(2), (2, 4, 4)),
        (nn.LayerNorm(4), (3, 4)),
        (nn.GroupNorm(2, 4), (1, 4, 5)),
        (nn.LSTM(4, 3), (5, 1, 4)),
        (nn.GRU(4, 3), (5, 1, 4)),
        (nn.MultiheadAttention(4, 2, batch_first=True), (1, 3, 4)),
    ]
    for layer, shape in layers:
        x = cr.asarray(random.normal(size=(3, *shape)).astype("float32"))

        def loss(layer: Any, x: Any) -> Any:
            found = layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else layer(x)
            return (cr.tree_leaves(found)[0] ** 2).sum()

        gradients = cr.vmap(cr.grad(loss, argnums=1), in_axes=(None, 0))(layer, x)
        expected = cr.stack([cr.grad(loss, argnums=1)(layer, x[i]) for i in range(3)])
        close(gradients, expected, 2e-4)
        if cr.tree_leaves(layer):
            per_example = cr.vmap(cr.grad(loss), in_axes=(None, 0))(layer, x)
            wanted = cr.tree_leaves(cr.grad(loss)(layer, x[2]))
            for found, one in zip(cr.tree_leaves(per_example), wanted):
                close(found[2], one, 5e-4)
            stacked = cr.tree_map(lambda leaf: cr.stack([leaf, leaf * 0.5, leaf * 2]), layer)
            values = cr.vmap(loss)(stacked, x)
            half = cr.tree_map(lambda leaf: leaf * 0.5, layer)
            close(values[1], loss(half, x[1]), 2e-4)


def test_state_is_written_once() -> None:
    count = cr.zeros(())
    x = cr.asarray(X)

    def f(a: Any) -> Any:
        nonlocal count
        count += 1.0
        count += 1.0
        return a * count

    for run in (cr.vmap(f), cr.compile(cr.vmap(f)), cr.vmap(f, chunk_size=2), cr.vmap(lambda a: cr.vmap(f)(a))):
        before = float(count)
        close(run(x), X * (before + 2))
        assert float(count) == before + 2
    generator = cr.Generator(4)
    cr.vmap(lambda a: a + cr.rand((), generator=generator))(x)
    assert generator.state.tolist() == [4, 1]


def test_state_that_differs() -> None:
    layer = nn.BatchNorm1d(4)
    total = cr.zeros(4, dtype=cr.float64)
    total.name = "total"

    def accumulate(a: Any) -> Any:
        nonlocal total
        total += a
        return a

    with pytest.raises(CompileError) as caught:
        cr.vmap(accumulate)(cr.asarray(X))
    assert first_lines(caught) == [
        "vmap: the state 'total' is given a value that differs from example to example; operands float64[4]",
        "help: return the value instead; a layer keeps its state after .eval()",
    ]
    assert total.tolist() == [0, 0, 0, 0]
    rows = cr.ones((2, 3, 4))
    with pytest.raises(CompileError) as caught:
        cr.vmap(layer)(rows)
    assert first_lines(caught) == [
        "batch_norm: inside vmap the state that it writes would differ from example to example; operands float32[4]",
        "help: call eval() on the layer, or let it keep no state",
    ]
    with pytest.raises(CompileError) as caught:
        cr.vmap(nn.Sequential(nn.Linear(4, 4), layer))(rows)
    assert caught.value.__notes__ == ["in layer 1 (BatchNorm1d) of Sequential"]
    assert cr.vmap(layer.eval())(rows).shape == (2, 3, 4)
    layer.train()
    # the same statistics for all examples are no problem
    cr.vmap(lambda a: a + layer(rows[0]).sum())(cr.ones(2))
    assert int(layer.num_batches_tracked) == 1
    weight = cr.tensor(1.0, requires_grad=True)
    with pytest.raises(CompileError) as caught:
        cr.vmap(lambda a: (a * weight).sum().backward())(cr.ones((2, 3)))
    assert first_lines(caught) == [
        "vmap: backward() inside vmap would write the .grad of a tensor from outside for every example",
        "help: use chainrule.grad inside, or backward() behind vmap",
    ]
    assert weight.grad is None


def test_random_draws() -> None:
    cr.manual_seed(0)
    rows = cr.vmap(lambda a: cr.rand(8))(cr.ones(4)).numpy()
    assert len({row.tobytes() for row in rows}) == 4
    pairs = cr.vmap(lambda a: cr.vmap(lambda b: cr.rand(4))(cr.ones(3)))(cr.ones(2)).numpy().reshape(6, 4)
    assert len({row.tobytes() for row in pairs}) == 6
    cr.manual_seed(0)
    assert np.array_equal(cr.compile(cr.vmap(lambda a: cr.rand(8)))(cr.ones(4)).numpy(), rows)
    dropped = cr.vmap(nn.Dropout(0.5))(cr.ones((4, 32))).numpy()
    assert len({row.tobytes() for row in dropped}) == 4
    shared = cr.vmap(lambda a: a, in_axes=None, axis_size=3)(cr.rand(4)).numpy()
    assert len({row.tobytes() for row in shared}) == 1


def test_a_compiled_function_inside() -> None:
    f = cr.compile(lambda a: cr.tanh(a) * 2)
    close(cr.vmap(f)(cr.asarray(X)), np.tanh(X) * 2)


def test_nothing_is_repeated_that_examples_share() -> None:
    """A product of shared operands stays one product, and one of a batched and a shared operand is not repeated."""
    w = cr.asarray(W)
    out = cr.vmap(lambda a, w: a @ (w @ w.T), in_axes=(0, None))(cr.asarray(X), w)
    products = [n.shape for n in topological([out._node], stop_at_values=False) if n.op.name == "contract"]
    assert products == [(4, 4), (3, 4)]


def first_lines(error: pytest.ExceptionInfo) -> list[str]:
    return [line for line in str(error.value).splitlines() if not line.startswith("recorded at ")]


ROWS = cr.ones((3, 4))
MESSAGES: list[tuple[Callable[[], Any], type[ChainruleError], list[str]]] = [
    (
        lambda: cr.vmap(lambda a, b: a, in_axes=(1, 0))(ROWS, {"k": [cr.ones(3)]}),
        ShapeError,
        [
            "vmap: args[0] has 4 examples (axis 1), args[1]['k'][0] has 3 (axis 0); operands float32[3, 4], float32[3]",
        ],
    ),
    (
        lambda: cr.vmap(lambda a, *, k: a)(ROWS, k=cr.ones(2)),
        ShapeError,
        ["vmap: args[0] has 3 examples (axis 0), kwargs['k'] has 2 (axis 0); operands float32[3, 4], float32[2]"],
    ),
    (
        lambda: cr.vmap(lambda a: a, axis_size=5)(ROWS),
        ShapeError,
        ["vmap: axis_size is 5, args[0] has 3 examples (axis 0); operands float32[3, 4]"],
    ),
    (
        lambda: cr.vmap(lambda a: a, in_axes=2)(ROWS),
        ShapeError,
        ["vmap: args[0] has no axis 2 to map over; operands float32[3, 4]"],
    ),
    (
        lambda: cr.vmap(lambda a, b: a)(ROWS, cr.tensor(1.0)),
        ShapeError,
        ["vmap: args[1] has no axis 0 to map over; operands float32[]", "help: set its entry of in_axes to None"],
    ),
    (
        lambda: cr.vmap(lambda a, b: a)(ROWS, 2.0),
        DTypeError,
        ["vmap: args[1] is float, which has no axis to map over", "help: set its entry of in_axes to None"],
    ),
    (
        lambda: cr.vmap(lambda: 1.0)(),
        ConfigError,
        [
            "vmap: no argument has an axis to map over",
            "help: give in_axes a number, or say how many examples there are with axis_size",
        ],
    ),
    (
        lambda: cr.vmap(lambda a: a, in_axes=(0, 0))(ROWS),
        ConfigError,
        ["vmap: in_axes has 2 entries for 1 arguments"],
    ),
    (
        lambda: cr.vmap(lambda a: a, in_axes=({"j": 0},))({"k": ROWS}),
        ConfigError,
        ["vmap: in_axes: keys ['j'] do not match ['k']"],
    ),
    (
        lambda: cr.vmap(lambda a: a, in_axes={"k": 0})(ROWS),
        ConfigError,
        ["vmap: in_axes names 'k', there are 1 positional arguments and no named ones"],
    ),
    (
        lambda: cr.vmap(lambda a: a, out_axes=2)(ROWS),
        ShapeError,
        ["vmap: output has no place for axis 2 of out_axes: with it there are 2 axes; operands float32[4]"],
    ),
    (
        lambda: cr.vmap(lambda a: {"k": a.sum()}, out_axes={"k": "0"})(ROWS),
        ShapeError,
        ["vmap: output['k'] has no place for axis '0' of out_axes: with it there are 1 axes; operands float32[]"],
    ),
    (
        lambda: cr.vmap(lambda a: (a, a), out_axes=(0, 0, 0))(ROWS),
        ConfigError,
        ["vmap: out_axes: (0, 0, 0) does not match tuple(*, *)"],
    ),
    (
        lambda: cr.vmap(lambda a: a, out_axes=None)(ROWS),
        ConfigError,
        ["vmap: out_axes is None for a result that differs by example; operands float32[4]"],
    ),
    (
        lambda: cr.vmap(lambda a: (a, "text"))(ROWS),
        DTypeError,
        ["vmap: the function returned str, not tensors", "help: output[1] cannot be stacked"],
    ),
    (
        lambda: cr.vmap(lambda a: a, chunk_size=0),
        ConfigError,
        ["vmap: chunk_size must be a positive whole number, not 0"],
    ),
    (
        lambda: cr.vmap(lambda a: a if a.sum() > 0 else -a)(ROWS),
        PlaceholderError,
        [
            "bool: a value was asked of a placeholder inside a compiled, batched or looped function; operands bool[]",
            "help: compute with where(...) instead of if, return the tensor and read it outside",
        ],
    ),
]


@pytest.mark.parametrize(("call", "kind", "lines"), MESSAGES)
def test_messages(call: Callable[[], Any], kind: type[ChainruleError], lines: list[str]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert first_lines(caught) == lines
    assert "test_vmap.py:" in str(caught.value)
