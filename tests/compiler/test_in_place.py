"""Rows added to state are added in place, and a step with an index out of range changes nothing."""

import numpy as np
import pytest

import chainrule as cr


def table(rows=50, width=24):
    return np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_are_added_to_state(threads):
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        state, expected = cr.asarray(table()), table()

        @cr.compile
        def step(indices, updates):
            old = state[3].sum()
            state[...] = cr.scatter_add(state, indices, updates)
            return old, state.sum(axis=1)

        for seed in range(3):
            r = np.random.default_rng(seed)
            indices, updates = r.integers(-50, 50, 70), r.standard_normal((70, 24), dtype=np.float32)
            old, sums = step(indices, updates)
            np.testing.assert_allclose(float(old), expected[3].sum(), rtol=1e-5, atol=1e-5)
            np.add.at(expected, indices, updates)
            np.testing.assert_allclose(sums.numpy(), expected.sum(axis=1), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(state.numpy(), expected, rtol=1e-5, atol=1e-5)
    finally:
        cr.set_num_threads(before)


def test_an_index_out_of_range_changes_nothing():
    state, counter = cr.asarray(table()), cr.asarray(np.zeros(4, np.float32))

    @cr.compile
    def step(indices, updates):
        counter[...] = counter + 1
        state[...] = cr.scatter_add(state, indices, updates)

    ones = np.ones((6, 24), np.float32)
    with pytest.raises(cr.errors.ChainruleError, match="50"):
        step(np.array([1, 2, 3, 4, 5, 50]), ones)
    np.testing.assert_array_equal(state.numpy(), table())
    np.testing.assert_array_equal(counter.numpy(), np.zeros(4))
    step(np.array([1, 2, 3, 4, 5, 49]), ones)
    assert counter.numpy()[0] == 1 and not np.array_equal(state.numpy(), table())


def test_the_old_state_can_still_be_read():
    state = cr.asarray(table())

    @cr.compile
    def step(indices, updates):
        old = state * 2
        state[...] = cr.scatter_add(state, indices, updates)
        return old

    old = step(np.array([0, 0]), np.ones((2, 24), np.float32))
    np.testing.assert_array_equal(old.numpy(), table() * 2)
    np.testing.assert_array_equal(state.numpy()[1:], table()[1:])
    np.testing.assert_allclose(state.numpy()[0], table()[0] + 2, rtol=1e-6)


def kernels(step):
    """The instructions of the kernels that a step runs."""
    plan = step.programs[0].plan
    calls = [call for region in plan.regions for task in region.tasks for call in task.calls]
    return [[i[0] for i in plan.kernels[call.kernel].body.code] for call in calls]


def gathers(state):
    @cr.compile
    def step(rows, indices):
        state[...] = cr.take(rows, indices, axis=0)

    return step


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [1, 24, 300])
def test_rows_are_gathered_into_state(threads, width):
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        state = cr.asarray(np.zeros((70, width), np.float32))
        step = gathers(state)
        for seed in range(3):
            indices = np.random.default_rng(seed).integers(-50, 50, 70)
            step(cr.asarray(table(50, width)), indices)
            np.testing.assert_array_equal(state.numpy(), table(50, width)[indices])
        # the indices are checked first, and no copy follows
        assert kernels(step) == [["load", "check"], ["load", "take"]]
    finally:
        cr.set_num_threads(before)


def test_a_gather_with_an_index_out_of_range_leaves_state_alone():
    state = cr.asarray(np.ones((70, 24), np.float32))
    indices = np.arange(70) % 50
    indices[-1] = 50
    with pytest.raises(cr.errors.IndexOutOfRangeError, match="50"):
        gathers(state)(cr.asarray(table()), indices)
    np.testing.assert_array_equal(state.numpy(), np.ones((70, 24)))


def test_a_gather_from_the_state_that_it_replaces():
    state = cr.asarray(table())

    @cr.compile
    def step(indices):
        state[...] = state[indices]

    indices = np.random.default_rng(0).permutation(50)
    step(indices)
    np.testing.assert_array_equal(state.numpy(), table()[indices])
