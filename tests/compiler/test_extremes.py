"""The largest and smallest elements of rows: NaN wins, -0 is below 0, whatever the length and the place."""

import numpy as np
import pytest

from chainrule import runtime
from chainrule.graph.node import topological
from chainrule.ops import leaf
from chainrule.ops.base import emit

NUMBERS = [0.0, -0.0, np.inf, -np.inf, 1.5, -1.5, 5e-324, -5e-324, 1e-45, -1e-45, 3e38, -3e38]


def native(x, name, axes, baked):
    result = emit(name, leaf.constant(x), attributes=(axes,))
    order = topological([result])
    program = runtime.compile_nodes(order, [result], baked)
    _, leaves, scalars = runtime.structure(order, [result])
    return program.run(leaves, scalars)[0]


@pytest.mark.parametrize("baked", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("length", [17, 32, 64, 100, 150, 5000])
def test_extremes_of_rows(length, name, dtype, baked):
    r = np.random.default_rng(length)
    with np.errstate(over="ignore"):
        rows = [
            r.normal(size=length),
            r.choice(NUMBERS, length),
            r.choice([0.0, -0.0], length),
            np.full(length, -np.inf),
        ]
        rows += [np.full(length, np.inf), -np.abs(r.normal(size=length)), np.full(length, -0.0), r.normal(size=length)]
        x = np.stack(rows).astype(dtype)
    x[-1, r.integers(length)] = np.nan
    x[-2, length - 1] = -np.nan
    got = native(x, name, (1,), baked)
    expected = getattr(x, name)(axis=1)
    np.testing.assert_array_equal(got, expected)
    zeros = expected == 0
    any_positive = ((x == 0) & ~np.signbit(x)).any(axis=1)
    any_negative = ((x == 0) & np.signbit(x)).any(axis=1)
    np.testing.assert_array_equal(np.signbit(got)[zeros], (~any_positive if name == "max" else any_negative)[zeros])
    np.testing.assert_array_equal(native(x, name, (0, 1), baked), np.float64(np.nan))
