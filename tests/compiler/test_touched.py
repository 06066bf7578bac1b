"""Descent on a table of which few rows are touched: the bits of the whole update, and no state after a bad index."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import IndexOutOfRangeError


def trained(how, rows=400, width=33, dtype="float32", kind="int64", **options):
    """Parameters after three steps, and the compiled step; one row is looked up in many places."""
    cr.manual_seed(0)
    table, head = nn.Embedding(rows, width, dtype=dtype, padding_idx=3), nn.Linear(width, 4, dtype=dtype)
    parameters = [*table.parameters(), *head.parameters()]
    optimizer = cr.optim.SGD(parameters, lr=0.1, **options)
    numbers = np.random.default_rng(0).integers(0, rows, size=(8, 5)).astype(kind)
    numbers[0] = 7
    numbers[1] = numbers[2]
    numbers[3, 1] = 3

    def step(numbers):
        optimizer.zero_grad()
        loss = (head(table(numbers).mean(1)) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step)
    if how == "repeat":
        compiled.repeat(3, cr.asarray(numbers))
    else:
        for _ in range(3):
            (compiled if how == "compiled" else step)(cr.asarray(numbers))
    return parameters, compiled, numbers


def walks(compiled):
    """How many kernels of the step walk over rows."""
    plan = compiled.programs[0].plan
    calls = [call for region in plan.regions for task in region.tasks for call in task.calls]
    return sum(call.kernel >= 0 and plan.kernels[call.kernel].kind == "rows" for call in calls)


@pytest.mark.parametrize("how", ["compiled", "repeat"])
@pytest.mark.parametrize(
    ("options", "walked"),
    [
        ({}, 2),
        ({"width": 16, "dtype": "float64"}, 2),
        ({"width": 70, "kind": "int32"}, 2),
        ({"width": 128}, 2),
        ({"rows": 160}, 2),
        ({"rows": 159}, 0),  # 40 numbers: not few any more
        ({"weight_decay": 0.1}, 0),
        ({"momentum": 0.9}, 0),
        ({"maximize": True}, 0),
    ],
)
def test_only_touched_rows_are_walked_with_the_same_bits(options, walked, how):
    expected, _, _ = trained("plain", **options)
    found, compiled, _ = trained(how, **options)
    assert walks(compiled) == walked
    for a, b in zip(expected, found):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_rows_that_are_not_touched_stay_and_others_move():
    parameters, compiled, numbers = trained("compiled")
    before = parameters[0].detach().numpy().copy()
    compiled(cr.asarray(numbers))
    after = parameters[0].detach().numpy()
    moved = np.flatnonzero((before != after).any(1))
    assert sorted(moved) == sorted(set(numbers.ravel()) - {3})


@pytest.mark.parametrize("bad", [400, -1])
def test_a_bad_index_changes_no_state(bad):
    parameters, compiled, numbers = trained("compiled")
    assert walks(compiled) == 2
    before = [p.detach().numpy().copy() for p in parameters]
    numbers[4, 4] = bad
    with pytest.raises(IndexOutOfRangeError, match=f"index {bad} is out of range for axis 0 of size 400"):
        compiled(cr.asarray(numbers))
    for parameter, old in zip(parameters, before):
        np.testing.assert_array_equal(parameter.detach().numpy(), old)


def test_a_gradient_that_is_returned_is_whole():
    """The zeros of other rows are needed then."""
    table = nn.Embedding(400, 8)
    optimizer = cr.optim.SGD(table.parameters(), lr=0.1)

    @cr.compile
    def step(numbers):
        optimizer.zero_grad()
        table(numbers).sum().backward()
        optimizer.step()
        return table.weight.grad * 1.0

    gradient = step(cr.asarray([3, 5])).numpy()
    assert walks(step) == 0 and gradient.sum() == 16 and set(np.flatnonzero(gradient.any(1))) == {3, 5}


@pytest.mark.parametrize("width", [64, 128, 192, 200])
def test_scatters_shared_along_columns_add_in_the_order_of_the_indices(width):
    rng = np.random.default_rng(2)
    numbers, updates = rng.integers(0, 6, size=50), rng.normal(size=(50, width)).astype(np.float32)
    table = rng.normal(size=(6, width)).astype(np.float32)
    expected = table.copy()
    np.add.at(expected, numbers, updates)
    before = cr.get_num_threads()
    try:
        for threads in (1, 2):
            cr.set_num_threads(threads)
            add = cr.compile(lambda t, i, u: cr.scatter_add(t, i, u))
            found = add(cr.asarray(table), cr.asarray(numbers), cr.asarray(updates)).numpy()
            np.testing.assert_array_equal(found, expected)
        plain = cr.scatter_add(cr.asarray(table), cr.asarray(numbers), cr.asarray(updates)).numpy()
        np.testing.assert_array_equal(plain, expected)
    finally:
        cr.set_num_threads(before)
