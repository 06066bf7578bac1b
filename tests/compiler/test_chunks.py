"""How the rows of tasks are cut into chunks for threads."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.compiler import chunks


@pytest.fixture(params=[2, 3, 16])
def threads(request):
    before = cr.get_num_threads()
    cr.set_num_threads(request.param)
    yield request.param
    cr.set_num_threads(before)


def normal(*shape: int) -> cr.Tensor:
    return cr.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def gradients(x, y, z):
    """Weight gradients of two layers with different widths, and a small sum."""
    return x.T @ y, y.T @ z, cr.sum(z, axis=0)


def tasks_of(function, *args):
    function(*args)
    (program,) = function.programs
    return [task for region in program.plan.regions if region.parallel for task in region.tasks]


def test_every_row_is_in_one_chunk_and_the_longest_tasks_come_first(threads: int) -> None:
    step = cr.compile(gradients)
    args = normal(128, 784), normal(128, 500), normal(128, 500)
    tasks = tasks_of(step, *args)
    assert len(tasks) >= 3
    for task in tasks:
        assert 1 <= task.chunk <= task.extent
    products = [task for task in tasks if "bmm" in task.calls[0].label]
    assert [task.extent for task in products] and tasks[: len(products)] == products
    for got, expected in zip(step(*args), gradients(*args)):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=1e-4)


def test_no_thread_waits_long_for_another(threads: int) -> None:
    """By the estimates that chunks are cut by: the last thread ends within a tenth of the ideal time.

    Of many threads each takes few rows, and reads the right operand for these few.
    """
    found = []

    def watch(tasks, costs, claims, count):
        time = kept(tasks, costs, claims, count)
        found.append((time, sum(costs[id(task)] for task in tasks) / count))
        return time

    kept = chunks._makespan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_makespan", watch)
        patch.setattr(chunks, "DISTURBED", 0.0)
        cr.compile(gradients)(normal(128, 784), normal(128, 500), normal(128, 500))
    time, ideal = found[-1]  # the cut that was taken
    assert ideal <= time <= (1.6 if threads == 16 else 1.1) * ideal
    assert time * (1 - chunks.GAIN) <= min(time for time, _ in found)


def test_an_epilogue_is_not_counted_for_every_term() -> None:
    """A sum of many rows with an optimiser behind it takes as long as reading the rows, or a little longer."""

    def update(x, w, m, v):
        g = cr.sum(x, axis=0)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        return w - 0.1 * m / (cr.sqrt(v) + 1e-8), m, v

    costs = []
    kept = chunks.step_cost
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "step_cost", lambda step: costs.append(kept(step)) or costs[-1])
        cr.compile(update)(normal(2048, 512), normal(512), normal(512), normal(512))
    read = 2048 * 512 * 4 / chunks.WALK_RATE
    assert read <= max(costs) <= 1.1 * read


def test_a_small_product_does_not_make_chunks_of_images_larger(threads: int) -> None:
    """A product of few rows by a few features has tiles of eight rows; the images beside it are far larger."""
    first, second, affine = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1), nn.Linear(16, 32)

    def network(x, t):
        x = nn.functional.relu(first(x)) + affine(t)[:, :, None, None]
        return nn.functional.relu(second(x))

    tasks = tasks_of(cr.compile(network), normal(32, 32, 28, 28), normal(32, 16))
    found = {task.chunk for task in tasks if any(call.label.startswith("convolution") for call in task.calls)}
    assert found == {1}
