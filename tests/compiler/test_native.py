"""Every primitive in native code against the interpreter, in specialised and in generic kernels."""

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.graph.node import topological
from chainrule.ops import leaf
from chainrule.ops.base import emit
from tests.ops.table import ROWS

CASES = [
    pytest.param(row, case, id=f"{row.name}-{number}{'-' + case.tag if case.tag else ''}")
    for row in ROWS
    for number, case in enumerate(row.cases)
]


def native(outputs, baked):
    """Values of nodes by the native backend."""
    order = topological(outputs)
    program = runtime.compile_nodes(order, outputs, baked)
    _, leaves, scalars = runtime.structure(order, outputs)
    return program.run(leaves, scalars)


def same(got, expected, loose=1.0):
    """Equal up to a few roundings, NaN and infinities in the same places."""
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if got.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, expected)
        return
    tolerance = (8e-7 if got.dtype in (np.float32, np.complex64) else 2e-15) * 4 * loose
    finite = np.abs(expected[np.isfinite(expected)])
    scale = finite.max(initial=0.0)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("baked", [True, False], ids=["specialised", "generic"])
@pytest.mark.parametrize(("row", "case"), CASES)
def test_native_against_interpreter(row, case, baked):
    operands = [leaf.constant(np.asarray(x)) for x in case.operands]
    result = emit(row.name, *operands, attributes=case.attributes)
    same(native([result], baked)[0], interpreter.run([result])[0], row.loose)
