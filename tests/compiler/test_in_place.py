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


def embedding_step(indices_of_the_gradient):
    """A step that updates a table and a matrix, whose gradient is there before that of the table."""
    weights, matrix = (cr.asarray(table()), cr.asarray(table(24, 24))), cr.asarray(table(24, 24))

    @cr.compile
    def step(indices):
        rows = cr.take(weights[0], indices, axis=0)
        change = cr.tanh(rows @ matrix)
        weights[1][...] = weights[1] - cr.matrix_transpose(rows) @ change * 0.1
        back = cr.tanh(cr.tanh(change @ matrix) @ matrix)
        gradient = cr.scatter_add(cr.zeros((50, 24)), indices_of_the_gradient(indices), back)
        weights[0][...] = cr.square(weights[0]) - gradient
        return change.sum()

    return step, weights


@pytest.mark.parametrize("wrong", [[1, 2, 3, 4, 5, 50], [-51, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("other", [False, True])
def test_an_index_that_two_steps_use_changes_nothing(wrong, other):
    step, weights = embedding_step((lambda indices: indices[::-1] + 1) if other else (lambda indices: indices))
    with pytest.raises(cr.errors.ChainruleError, match="50"):
        step(np.array(wrong * 8))
    if other:  # of which only the rows that are added are out of range
        with pytest.raises(cr.errors.ChainruleError, match="50"):
            step(np.array([1, 2, 3, 4, 5, 49] * 8))
    np.testing.assert_array_equal(weights[0].numpy(), table())
    np.testing.assert_array_equal(weights[1].numpy(), table(24, 24))
    step(np.array([1, 2, 3, 4, 5, 48] * 8))
    assert not np.array_equal(weights[0].numpy(), table()) and not np.array_equal(weights[1].numpy(), table(24, 24))


def test_state_does_not_wait_for_rows_whose_indices_a_gather_checks():
    """Gradients need no memory until the last of them, an embedding's, is there."""
    cr.manual_seed(0)
    layers = (layer for _ in range(4) for layer in (cr.nn.Linear(64, 64), cr.nn.BatchNorm1d(64)))
    model = cr.nn.Sequential(cr.nn.Embedding(50, 64), *layers)
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)

    @cr.compile
    def step(batch):
        optimizer.zero_grad()
        cr.square(model(batch)).mean().backward()
        optimizer.step()

    step(np.arange(512) % 50)
    plan = step.programs[0].plan
    labels = [call.label for region in plan.regions for task in region.tasks for call in task.calls]
    before = labels[: labels.index("scatter_add")]
    assert sum(label.startswith("bmm") and label.endswith("sub") for label in before) >= 3
    assert labels.count("copy") < 10  # nor do updates need memory of their own until it is there
