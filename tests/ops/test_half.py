"""float16 and bfloat16 operands: every primitive computes in float32 and rounds once."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.dtypes import as_dtype, bfloat16, converted, float16, float32, widened
from chainrule.graph.node import topological
from chainrule.ops import REGISTRY, emit
from chainrule.ops.leaf import constant
from chainrule.transforms import vjp

from .table import ROWS, floats

HALVES = (float16, bfloat16)
EPS = {float16: 2.0**-10, bfloat16: 2.0**-7}
#: primitives with attributes that name a dtype, operands whose dtype is prescribed (those of regions, which are tested
#: in tests/test_control.py), or no form in 16 bits
NOT_HERE = ("branch", "cast", "complex", "nextafter", "random_bits", "scan", "while_loop")
NOT_HERE += ("fused_attention", "fused_attention_grad", "fused_attention_kept", "fused_attention_weights")


def usable(row):
    """The first case of a row that has floating operands, elements, and nothing that overflows float16."""
    if REGISTRY[row.name].family == "matrix":
        return None  # LAPACK has no form in 16 bits
    for case in row.cases:
        given = [x for x in case.operands if x.dtype.kind == "f"]
        plain = case.tag != "special" and "float" not in repr(case.attributes)
        if plain and row.name not in NOT_HERE and given and all(x.size for x in given):
            return case
    return None


USED = [pytest.param(row, usable(row), id=row.name) for row in ROWS if usable(row) is not None]


def halved(operands, dtype):
    """Operands with floating ones in `dtype`."""
    return [converted(x, dtype) if x.dtype.kind == "f" else x for x in operands]


def native(outputs, baked):
    order = topological(outputs)
    program = runtime.compile_nodes(order, outputs, baked)
    _, leaves, scalars = runtime.structure(order, outputs)
    return program.run(leaves, scalars)


def close(got, expected, relative):
    """Values within `relative` of the largest expected one, NaN and infinities in the same places."""
    got, expected = widened(got).astype(np.float64), widened(expected).astype(np.float64)
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    np.testing.assert_allclose(got, expected, rtol=relative, atol=relative * scale * 0.1 + 1e-7)


@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
@pytest.mark.parametrize(("row", "case"), USED)
def test_value_is_that_of_float32_rounded_once(row, case, dtype):
    operands = halved(case.operands, dtype)
    node = emit(row.name, *map(constant, operands), attributes=case.attributes)
    wide = emit(row.name, *(constant(widened(x)) for x in operands), attributes=case.attributes)
    assert node.shape == wide.shape
    assert node.dtype is (dtype if wide.dtype is float32 else wide.dtype)
    expected = converted(interpreter.run([wide])[0], node.dtype)
    assert interpreter.run([node])[0].tobytes() == expected.tobytes()
    got = native([node], baked=dtype is bfloat16)[0]
    assert got.dtype == node.dtype.numpy
    close(got, expected, EPS[dtype] if node.dtype is dtype else 0.0)


SMOOTH = [param for param in USED if param.values[1].smooth and param.id not in ("prod", "attention")]


@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
@pytest.mark.parametrize(("row", "case"), SMOOTH)
def test_gradients_are_those_of_float32_up_to_rounding(row, case, dtype):
    operands = halved(case.operands, dtype)

    def gradients(arrays):
        nodes = [constant(x, as_dtype(x.dtype).kind == "f") for x in arrays]
        wrt = [n for n in nodes if n.requires_grad]
        output = emit(row.name, *nodes, attributes=case.attributes)
        weights = converted(floats(*output.shape, dtype="float32", seed=9), output.dtype)
        if weights.dtype == np.float32:
            weights = widened(converted(weights, dtype))
        found = vjp([output], [constant(weights)], wrt)
        kept = [g for g in found if g is not None]
        assert all(g.dtype is w.dtype for g, w in zip(found, wrt) if g is not None)
        return interpreter.run(kept)

    for got, expected in zip(gradients(operands), gradients([widened(x) for x in operands]), strict=True):
        close(got, expected, 12 * EPS[dtype])


@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
def test_sums_and_products_accumulate_in_float32(dtype):
    ones = constant(converted(np.full((5000,), 1.0), dtype))
    total = emit("sum", ones, attributes=((0,),))
    matrix = constant(converted(np.ones((3, 5000)), dtype))
    product = emit("contract", matrix, matrix, attributes=((0, 2), (1, 2), (0, 1)))
    table = constant(converted(np.zeros((1,)), dtype))
    counted = emit("scatter_add", table, constant(np.zeros(5000, np.int64)), ones, attributes=(0,))
    expected = widened(converted(np.array([5000.0]), dtype))[0]  # steps of 1 stop at 256 in bfloat16, 2048 in float16
    for node in (total, product, counted):
        assert node.dtype is dtype
        for values in (interpreter.run([node])[0], native([node], True)[0], native([node], False)[0]):
            assert (widened(values) == expected).all()


@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
def test_every_node_rounds(dtype):
    x = constant(converted(np.array([1.0, 3.0, 10.0]), dtype))
    tiny = emit("full", attributes=(EPS[dtype] / 2, (3,), dtype))
    node = emit("sub", emit("add", emit("add", x, tiny), tiny), x)  # each sum rounds back to x
    for values in (interpreter.run([node])[0], native([node], True)[0]):
        assert (widened(values) == 0).all()


def test_leaves_of_half_dtypes():
    for dtype in HALVES:
        full = emit("full", attributes=(0.1, (2,), dtype))
        counted = emit("iota", attributes=((300,), 0, dtype))
        for run in (interpreter.run, lambda nodes: native(nodes, True), lambda nodes: native(nodes, False)):
            a, b = run([full, counted])
            assert a.tobytes() == converted(np.full(2, 0.1), dtype).tobytes()
            assert b.tobytes() == converted(np.arange(300), dtype).tobytes()
