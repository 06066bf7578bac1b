"""Every primitive against the table: type rule, value, derivatives, batching, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chainrule.backends.interpreter import run
from chainrule.dtypes import as_dtype, widened
from chainrule.graph.node import Node
from chainrule.graph.verify import verify
from chainrule.ops import REGISTRY, Primitive, emit
from chainrule.ops.leaf import constant, placeholder
from chainrule.transforms import batch, jvp, vjp

from .table import ROWS, TOLERANCE, Case, Row, Wrong, floats

CASES = [
    pytest.param(row, case, id=f"{row.name}-{i}{'-' if case.tag else ''}{case.tag}".replace(" ", "_"))
    for row in ROWS
    for i, case in enumerate(row.cases)
]
SMOOTH = [param for param in CASES if param.values[1].smooth]
REFUSED = [pytest.param(row.name, wrong, id=f"{row.name}-{i}") for row in ROWS for i, wrong in enumerate(row.wrong)]


def assert_close(actual: np.ndarray, expected: np.ndarray, loose: float = 1.0) -> None:
    """Equal type, and values within the table's tolerance; NaN equals NaN."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    relative, absolute = TOLERANCE.get(actual.dtype.name, (0.0, 0.0))
    actual, expected = widened(actual), widened(expected)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(actual, expected, rtol=relative * loose, atol=absolute * loose)


def apply_case(name: str, case: Case | Wrong) -> Node:
    """The node of a case with constants as operands."""
    return emit(name, *map(constant, case.operands), attributes=case.attributes)


def test_every_primitive_has_one_row() -> None:
    assert sorted(row.name for row in ROWS) == sorted(REGISTRY)


def test_every_primitive_states_its_meaning() -> None:
    for name, kind in REGISTRY.items():
        if kind.family == "elementwise" and not kind.host:
            assert hasattr(kind, "scalar"), name
        assert (kind.vjp is Primitive.vjp) == (kind.jvp is Primitive.jvp), name


@pytest.mark.parametrize(("row", "case"), CASES)
def test_value(row: Row, case: Case) -> None:
    node = apply_case(row.name, case)
    with np.errstate(all="ignore"):
        expected = np.asarray(row.reference(*case.attributes, *case.operands))
    assert node.shape == expected.shape
    assert node.dtype is as_dtype(expected.dtype)
    actual = run([node])[0]
    assert actual.flags.c_contiguous and not actual.flags.writeable
    assert_close(actual, expected, row.loose)
    verify([node])


@pytest.mark.parametrize(("name", "wrong"), REFUSED)
def test_refusal(name: str, wrong: Wrong) -> None:
    with pytest.raises(wrong.error) as caught:
        apply_case(name, wrong)
    text = str(caught.value)
    assert wrong.message in text
    assert text.startswith(f"{name}: ")
    assert "recorded at " in text and "test_table.py:" in text


def differentiable(case: Case) -> list[int]:
    """The operands to differentiate with respect to."""
    return [i for i, operand in enumerate(case.operands) if operand.dtype.kind in "fc"]


def direction(like: Node | np.ndarray, seed: int) -> np.ndarray:
    """Random numbers in [-1, 1), in the square about 0 where they are to be complex."""
    shape, real = tuple(like.shape), as_dtype(like.dtype).kind != "c"
    parts = [floats(*shape, low=-1.0, high=1.0, seed=seed + i) for i in (0, 50)]
    return parts[0] if real else np.asarray(parts[0] + 1j * parts[1])


def directions(case: Case, seed: int) -> list[np.ndarray]:
    """A random direction for each operand of `differentiable`."""
    return [direction(case.operands[i], seed + i) for i in differentiable(case)]


def moved(case: Case, along: list[np.ndarray], step: float) -> list[np.ndarray]:
    """The operands, those that are floating or complex moved by `step` times a direction."""
    operands = list(case.operands)
    for i, direction in zip(differentiable(case), along):
        operands[i] = operands[i] + step * direction
    return operands


def gradient_graph(row: Row, case: Case, operands: list[np.ndarray], weights: np.ndarray):
    """Operand nodes, the primitive's node, and the gradients of the weighted sum of its elements."""
    nodes = [constant(operand, operand.dtype.kind in "fc") for operand in operands]
    wrt = [nodes[i] for i in differentiable(case)]
    output = emit(row.name, *nodes, attributes=case.attributes)
    return wrt, output, vjp([output], [constant(weights)], wrt)


def values(nodes: list[Node | None], like: list[Node]) -> list[np.ndarray]:
    """Values, with zeros for None."""
    found = iter(run([node for node in nodes if node is not None]))
    return [np.zeros(other.shape) if node is None else next(found) for node, other in zip(nodes, like)]


def inner(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """The sum of all products, of complex ones the real part: under it rules transpose."""
    return float(sum(np.real((x * y).sum()) for x, y in zip(a, b)))


def assert_slope(actual: float, values_at: tuple[float, float], step: float) -> None:
    """`actual` equals the central difference of two values 2 `step` apart."""
    expected = (values_at[1] - values_at[0]) / (2 * step)
    assert actual == pytest.approx(expected, rel=2e-6, abs=2e-7)


@pytest.mark.parametrize(("row", "case"), SMOOTH)
def test_first_derivative(row: Row, case: Case) -> None:
    """Reverse against central differences, forward against reverse."""
    weights = direction(apply_case(row.name, case), 11)
    along, step = directions(case, 21), 1e-5
    wrt, output, gradients = gradient_graph(row, case, list(case.operands), weights)
    assert all(g is None or (g.shape, g.dtype) == (x.shape, x.dtype) for g, x in zip(gradients, wrt))
    slope = inner(values(gradients, wrt), along)

    def weighted(sign: int) -> float:
        operands = moved(case, along, sign * step)
        return inner([run([emit(row.name, *map(constant, operands), attributes=case.attributes)])[0]], [weights])

    assert_slope(slope, (weighted(-1), weighted(1)), step)
    tangent = jvp([output], wrt, [constant(direction) for direction in along])
    assert inner(values(tangent, [output]), [weights]) == pytest.approx(slope, rel=1e-10, abs=1e-12)
    verify([node for node in (*gradients, *tangent) if node is not None])


@pytest.mark.parametrize(("row", "case"), SMOOTH)
def test_each_operand_alone(row: Row, case: Case) -> None:
    """Derivatives with respect to one operand are those with respect to all, forward and reverse."""
    weights = direction(apply_case(row.name, case), 12)
    along = directions(case, 22)
    wrt, output, gradients = gradient_graph(row, case, list(case.operands), weights)
    together = values(gradients, wrt)
    for i, node in enumerate(wrt):
        alone = vjp([output], [constant(weights)], [node])
        np.testing.assert_array_equal(values(alone, [node])[0], together[i])
        tangent = jvp([output], [node], [constant(along[i])])
        expected = inner([together[i]], [along[i]])
        assert inner(values(tangent, [output]), [weights]) == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("row", "case"), SMOOTH)
def test_second_derivative(row: Row, case: Case) -> None:
    """Reverse and forward over reverse against central differences of the gradient."""
    weights = direction(apply_case(row.name, case), 13)
    along, across, step = directions(case, 23), directions(case, 33), 1e-5

    def gradient(sign: int) -> float:
        wrt, _, gradients = gradient_graph(row, case, moved(case, along, sign * step), weights)
        return inner(values(gradients, wrt), across)

    wrt, _, gradients = gradient_graph(row, case, list(case.operands), weights)
    present = [(g, a) for g, a in zip(gradients, across) if g is not None and g.requires_grad]
    outputs = [g for g, _ in present]
    second = vjp(outputs, [constant(a) for _, a in present], wrt)
    curvature = inner(values(second, wrt), along)
    assert_slope(curvature, (gradient(-1), gradient(1)), step)
    tangents = jvp(outputs, wrt, [constant(direction) for direction in along])
    forward = inner(values(tangents, outputs), [a for _, a in present])
    assert forward == pytest.approx(curvature, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_share_the_derivative(name: str) -> None:
    a, b = (constant(np.array([1.0, 2.0]), True) for _ in range(2))
    gradients = vjp([emit(name, a, b)], [constant(np.array([3.0, 5.0]))], [a, b])
    for gradient in run(gradients):
        np.testing.assert_array_equal(gradient, [1.5, 2.5])


@pytest.mark.parametrize("name", ["max", "min"])
def test_equal_extremes_share_the_derivative(name: str) -> None:
    x = constant(np.array([[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]), True)
    gradients = vjp([emit(name, x, attributes=((0, 1),))], [constant(np.array(3.0))], [x])
    np.testing.assert_allclose(run(gradients)[0], np.full((2, 3), 0.5))


def test_kinks() -> None:
    """At a kink the derivative is the stated one."""
    x = constant(np.array([0.0, -0.0]), True)
    one = constant(np.ones(2))
    np.testing.assert_array_equal(run(vjp([emit("abs", x)], [one], [x]))[0], [0, 0])
    zero, exponent = constant(np.zeros(3), True), constant(np.array([0.0, 1.0, 2.0]), True)
    to_base, to_exponent = run(vjp([emit("pow", zero, exponent)], [constant(np.ones(3))], [zero, exponent]))
    np.testing.assert_array_equal(to_base, [0, 1, 0])
    np.testing.assert_array_equal(to_exponent, [0, 0, 0])


def rolled(array: np.ndarray, size: int) -> np.ndarray:
    """`size` different arrays of the same elements."""
    return np.stack([np.roll(array.ravel(), i).reshape(array.shape) for i in range(size)])


def batchable(case: Case) -> list[tuple[bool, ...]]:
    """Which operands to batch: every choice but none."""
    count = len(case.operands)
    return [choice for choice in itertools.product((True, False), repeat=count) if any(choice)]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("row", "case"), [p for p in CASES if p.values[1].operands and p.values[0].batches])
def test_batch(row: Row, case: Case, size: int) -> None:
    """The batching rule against a loop, for every choice of batched operands."""
    for choice in batchable(case):
        single = [placeholder(i, a.shape, as_dtype(a.dtype)) for i, a in enumerate(case.operands)]
        arrays = [rolled(a, size) if yes else a for a, yes in zip(case.operands, choice)]
        # like the operand with which it is used, an index must stay in range: rolling keeps the set of values
        output = emit(row.name, *single, attributes=case.attributes)
        result = batch([output], dict(zip(single, map(constant, arrays))), size)
        verify(result)
        loop = [
            run([output], {p: a[i] if yes else a for p, a, yes in zip(single, arrays, choice)})[0] for i in range(size)
        ]
        assert_close(run(result)[0], np.stack(loop), row.loose)


def test_attributes_are_counted() -> None:
    with pytest.raises(TypeError, match="attributes"):
        emit("sum", constant(np.ones(3)))
