"""Reductions down columns: with what feeds them in one kernel, and in chunks of whole vectors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr


@pytest.fixture(autouse=True)
def threads_as_before():
    before = cr.get_num_threads()
    yield
    cr.set_num_threads(before)


def array(*shape: int) -> cr.Tensor:
    return cr.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def planned(function, *given):
    """The plan of a compiled function, whose results have the bits of operations that run one by one."""
    step = cr.compile(function)
    got = step(*given).numpy()
    step(*given)
    expected = function(*given).numpy()
    assert got.tobytes() == expected.tobytes()
    return step.programs[0].plan


def labels(plan) -> list[str]:
    return [call.label for region in plan.regions for task in region.tasks for call in task.calls]


def apart(operation):
    """`operation` and a sum down the columns, with the values between them in memory."""

    def function(x):
        between = operation(x)
        between.numpy()
        return cr.sum(between, axis=0)

    return function


OPERATIONS = {
    "square": lambda x: x * x,
    "chain": lambda x: cr.maximum(x, 0.5) * x - 1,
    "exp": cr.exp,
    "rows": lambda x: x * cr.asarray(np.arange(x.shape[0], dtype=np.float32))[:, None],
    "columns": lambda x: x - cr.asarray(np.arange(x.shape[1], dtype=np.float32)),
    "transposed": lambda x: x + 2.0 * cr.asarray(np.ones(x.shape[::-1], np.float32)).T,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", [(64, 1024), (300, 517), (1000, 37), (700, 130), (5, 6), (2500, 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_take_in_what_nothing_else_needs(operation, shape, threads):
    cr.set_num_threads(threads)
    x, function = array(*shape), OPERATIONS[operation]
    plan = planned(lambda x: cr.sum(function(x), axis=0), x)
    np.testing.assert_array_equal(cr.sum(function(x), axis=0).numpy(), apart(function)(x).numpy())
    few = operation == "exp" and shape[1] < 128  # for threads to share elementary functions
    across = operation == "transposed"  # is transposed in blocks by a kernel of its own
    assert len(plan.kernels) == 1 + (few or across)


@pytest.mark.parametrize("shape", [(5, 0), (0, 5), (0, 0), (3, 0, 4), (3, 4, 0)])
def test_no_elements(shape):
    planned(lambda x: cr.sum(x * x + 1, axis=0), array(*shape))
    planned(lambda x: cr.sum(x * x + 1, axis=1), array(*shape))


@pytest.mark.parametrize(
    "operation, columns, kernels",
    [
        (lambda x: x * x, 3, 1),
        (lambda x: x / (1 + x * x), 3, 2),
        (lambda x: x / (1 + x * x), 15, 1),
        (lambda x: cr.exp(x[:, None] + cr.asarray(np.zeros((1, 200, 1), np.float32))), 3, 2),
        (lambda x: cr.exp(x[:, None] + cr.asarray(np.zeros((1, 200, 1), np.float32))), 64, 1),
    ],
)
def test_lanes_that_columns_leave_idle_count(operation, columns, kernels):
    plan = planned(lambda x: cr.sum(operation(x), axis=0), array(100, columns))
    assert len(plan.kernels) == kernels


def test_what_others_need_is_stored_once():
    plan = planned(lambda x: cr.concat([cr.sum(x * x, axis=0), (x * x)[0]]), array(300, 517))
    assert labels(plan)[:2] == ["mul", "sum"]


@pytest.mark.parametrize("name", ["max", "min", "prod", "any", "var", "std"])
def test_other_reductions(name):
    x, reduce = array(300, 517), getattr(cr, name)
    given = {"any": lambda x: x > 2.5, "var": lambda x: x, "std": lambda x: x}.get(name, lambda x: x * 0.5 + 1)
    plan = planned(lambda x: reduce(given(x), axis=0), x)
    expected = getattr(np, name)(given(x.numpy().astype(np.float64)), axis=0)
    np.testing.assert_allclose(reduce(given(x), axis=0).numpy(), expected, rtol=1e-4)
    elements = [math.prod(kernel.sizes) for kernel in plan.kernels if kernel.kind == "map"]
    assert elements == ([517] if name in ("var", "std") else [])


def test_bags_of_rows_of_a_table_are_added_up_where_they_are_gathered():
    table, index = array(1000, 64), cr.asarray(np.random.default_rng(1).integers(0, 1000, (40, 20)))
    plan = planned(lambda t, i: cr.sum(cr.take(t, i, axis=0), axis=1), table, index)
    assert len(plan.kernels) == 1
    with pytest.raises(IndexError, match="1000"):
        cr.compile(lambda t, i: cr.sum(cr.take(t, i, axis=0), axis=1))(table, index + 1).numpy()


@pytest.mark.parametrize("columns, chunk", [(6, 6), (40, 32), (64, 16)])
def test_chunks_are_of_whole_vectors(columns, chunk):
    """A thread with a column of its own would walk past all rows as well."""
    cr.set_num_threads(2)
    plan = planned(lambda x: cr.sum(x, axis=0), array(20000, columns))
    ((task,),) = (region.tasks for region in plan.regions)
    assert task.chunk == chunk
