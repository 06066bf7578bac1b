"""The three sweeps on graphs of several nodes: composition, sharing, order, length, lines."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends.interpreter import run
from chainrule.dtypes import float64, int64
from chainrule.errors import IndexOutOfRangeError, PlaceholderError
from chainrule.graph import Node, topological
from chainrule.graph.verify import verify
from chainrule.ops import emit, mode
from chainrule.ops.leaf import constant, placeholder
from chainrule.transforms import batch, jvp, vjp


def leaf(values: object) -> Node:
    """A float64 constant that requires gradients."""
    return constant(np.asarray(values, "float64"), True)


def fixed(values: object) -> Node:
    """A float64 constant."""
    return constant(np.asarray(values, "float64"))


def derivative(y: Node, x: Node) -> Node:
    """dy/dx of a rank-0 y."""
    result = vjp([y], [fixed(np.ones(y.shape))], [x])[0]
    assert result is not None
    return result


def value(node: Node) -> np.ndarray:
    """The value of one node."""
    return run([node])[0]


def test_derivatives_to_fifth_order() -> None:
    x = leaf(0.7)
    y = emit("mul", emit("sin", x), emit("exp", x))
    expected = [np.exp(0.7) * 2 ** (n / 2) * np.sin(0.7 + n * np.pi / 4) for n in range(6)]
    for n in range(6):
        assert value(y) == pytest.approx(expected[n], rel=1e-12)
        y = derivative(y, x)


def test_one_node_may_be_differentiated_with_respect_to_another() -> None:
    x = leaf(3.0)
    y = emit("square", x)
    z = emit("mul", y, x)
    to_y, to_x = run(vjp([z], [fixed(1.0)], [y, x]))
    assert (to_y, to_x) == (3.0, 27.0)


def test_an_output_may_be_the_variable() -> None:
    x = leaf([1.0, 2.0])
    c = fixed([5.0, 6.0])
    assert vjp([x], [c], [x]) == [c]
    assert jvp([x], [x], [c]) == [c]


def test_unreached_variables_have_no_derivative() -> None:
    x, y = leaf(1.0), leaf(2.0)
    z = emit("exp", x)
    assert vjp([z], [fixed(1.0)], [y]) == [None]
    assert jvp([z], [y], [fixed(1.0)]) == [None]
    assert vjp([z], [None], [x]) == [None]
    assert vjp([emit("floor", x)], [fixed(1.0)], [x]) == [None]


def test_history_stops_where_gradients_are_not_required() -> None:
    x = leaf(2.0)
    mode.grad_enabled = False
    try:
        constant_part = emit("square", x)
    finally:
        mode.grad_enabled = True
    y = emit("mul", constant_part, x)
    assert value(derivative(y, x)) == 4.0
    z = emit("mul", emit("stop_gradient", x), x)
    assert value(derivative(z, x)) == 2.0


def test_contributions_add_up_in_recorded_order() -> None:
    x = leaf(1.0)
    parts = [emit("mul", x, fixed(c)) for c in (1.0, 1e16, -1e16)]
    y = emit("add", emit("add", parts[0], parts[1]), parts[2])
    texts = {str(value(derivative(y, x))) for _ in range(5)}
    assert texts == {str((-1e16 + 1e16) + 1.0)}


def test_only_what_is_needed_is_emitted() -> None:
    x, w = leaf(np.ones((3, 4))), fixed(np.ones((4, 2)))
    y = emit("contract", x, w, attributes=((0, 1), (1, 2), (0, 2)))
    before = Node(y.op, (), (), float64).serial
    gradient = vjp([y], [fixed(np.ones((3, 2)))], [x])[0]
    assert gradient is not None and gradient.op.name == "contract"
    assert gradient.serial - before == 2  # the cotangent and one contraction


def test_derivatives_carry_the_lines_of_the_forward_pass() -> None:
    x = leaf(1.0)
    y = emit("exp", x)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    gradient = derivative(y, x)
    assert gradient.location.endswith(f":{line}")
    assert mode.where is None


@pytest.mark.parametrize("length", [10_000])
def test_long_chains(length: int) -> None:
    x = leaf(0.5)
    y = x
    for _ in range(length):
        y = emit("sin", y)
    gradient = derivative(y, x)
    tangent = jvp([y], [x], [fixed(1.0)])[0]
    assert tangent is not None
    assert value(gradient) == pytest.approx(float(value(tangent)), rel=1e-9)
    p = placeholder(0, (), float64)
    z = p
    for _ in range(length):
        z = emit("sin", z)
    batched = batch([z], {p: fixed([0.5, 0.25])}, 2)[0]
    assert value(batched)[0] == value(y)


def network(x: Node, w: Node, v: Node) -> Node:
    """A small network with a softmax: every family but random."""
    hidden = emit("tanh", emit("contract", x, w, attributes=((0,), (0, 1), (1,))))
    logits = emit("contract", hidden, v, attributes=((0,), (0, 1), (1,)))
    top = emit("broadcast", emit("max", logits, attributes=((0,),)), attributes=(logits.shape, ()))
    sums = emit("sum", emit("exp", emit("sub", logits, top)), attributes=((0,),))
    picked = emit("take", logits, constant(np.array(1)), attributes=(0,))
    return emit("sub", emit("add", emit("log", sums), emit("reshape", emit("slice", top, attributes=((0,), (1,), (1,))),
                attributes=((),))), picked)  # fmt: skip


SHAPES = ((3,), (3, 4), (4, 2))


def test_batch_of_gradients_and_gradients_of_batch() -> None:
    random = np.random.default_rng(3)
    xs = random.normal(size=(5, 3))
    w, v = leaf(random.normal(size=(3, 4))), leaf(random.normal(size=(4, 2)))
    p = placeholder(0, (3,), float64, requires_grad=True)
    loss = network(p, w, v)
    gradients = vjp([loss], [fixed(1.0)], [p, w])
    batched = batch(gradients, {p: fixed(xs)}, 5)
    verify(batched)
    for i in range(5):
        one = run(gradients, {p: xs[i]})
        for whole, part in zip(run(batched), one):
            np.testing.assert_allclose(whole[i], part, rtol=1e-13)
    losses = batch([loss], {p: fixed(xs)}, 5)
    total = vjp(losses, [fixed(np.ones(5))], [w])[0]
    assert total is not None
    np.testing.assert_allclose(value(total), run(batched)[1].sum(0), rtol=1e-12)


def test_batch_of_batch() -> None:
    p, q = placeholder(0, (), float64), placeholder(1, (), float64)
    product = emit("mul", emit("exp", p), q)
    row = placeholder(2, (4,), float64)
    inner = batch([product], {p: p, q: row}, 4)
    column, rows = fixed([0.0, 1.0, 2.0]), fixed(np.arange(4.0))
    outer = batch(inner, {p: column, row: rows}, 3)
    np.testing.assert_allclose(value(outer[0]), np.outer(np.exp([0, 1, 2]), np.arange(4)))


def test_batch_leaves_what_is_not_batched() -> None:
    p = placeholder(0, (2,), float64)
    other = emit("exp", fixed([1.0, 2.0]))
    results = batch([emit("add", p, other), other], {p: fixed(np.zeros((3, 2)))}, 3)
    np.testing.assert_allclose(value(results[0]), np.tile(np.exp([1.0, 2.0]), (3, 1)))
    np.testing.assert_allclose(value(results[1]), np.tile(np.exp([1.0, 2.0]), (3, 1)))
    assert other in topological(results)


def test_hessian_vector_product_three_ways() -> None:
    random = np.random.default_rng(4)
    x, w, v = (leaf(random.normal(size=shape)) for shape in SHAPES)
    direction = fixed(random.normal(size=(3, 4)))
    gradient = vjp([network(x, w, v)], [fixed(1.0)], [w])
    forward_over_reverse = jvp(gradient, [w], [direction])
    reverse_over_reverse = vjp(gradient, [direction], [w])
    slope = jvp([network(x, w, v)], [w], [direction])
    reverse_over_forward = vjp(slope, [fixed(1.0)], [w])
    results = run([*forward_over_reverse, *reverse_over_reverse, *reverse_over_forward])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(results[0], results[2], rtol=1e-11, atol=1e-13)


def test_evaluation_keeps_history_that_gradients_need() -> None:
    x = leaf(2.0)
    y = emit("square", x)
    z = emit("exp", y)
    plain = emit("exp", fixed(1.0))
    runtime.evaluate([z, plain])
    assert y.value is not None and z.inputs == (y,)
    assert plain.inputs == () and plain.op.name == "constant"
    assert value(derivative(z, x)) == pytest.approx(4 * np.exp(4.0))
    assert not z.value.flags.writeable  # type: ignore[union-attr]


def test_reading_a_placeholder_is_refused() -> None:
    p = placeholder(0, (2,), float64)
    with pytest.raises(PlaceholderError, match=r"test_transforms.py:\d+"):
        run([emit("exp", p)])


def test_an_index_out_of_range_is_refused_at_execution() -> None:
    p = placeholder(0, (1,), int64)
    taken = emit("take", fixed(np.ones(4)), p, attributes=(0,))
    with pytest.raises(IndexOutOfRangeError, match="index 9 is out of range for axis 0 of size 4"):
        run([taken], {p: np.array([9])})
    tables = placeholder(1, (4,), float64)
    both = batch(
        [emit("take", tables, p, attributes=(0,))],
        {p: emit("neg", constant(np.array([[1], [-9]]))), tables: fixed(np.ones((2, 4)))},
        2,
    )
    line = inspect.currentframe().f_lineno - 4  # type: ignore[union-attr]
    with pytest.raises(IndexOutOfRangeError, match=f"index 9 is out of range for axis 0 of size 4.*\n.*:{line}"):
        run(both)
