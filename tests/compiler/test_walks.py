"""How loops walk over memory: several vectors side by side, short rows written out, chunks of rows that stay near."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.backends.cpu import several_rows, toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler import lowering, schedule
from chainrule.compiler.kernel import LANES

WIDE = toolchain.host().vector_bits >= 512


def compiled(function, *arrays):
    """The results of a compiled function, and its plan."""
    step = cr.compile(function)
    given = [cr.asarray(a) for a in arrays]
    step(*given)
    return step(*given).numpy(), step.programs[0].plan


def text(plan) -> str:
    return kernel_module([(f"k{n}", kernel) for n, kernel in enumerate(plan.kernels)], toolchain.host())


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.skipif(not WIDE, reason="one vector register holds fewer than 16 numbers")
def test_exponentials_are_computed_side_by_side():
    x = normal(4096)
    got, plan = compiled(cr.exp, x)
    blocks = re.split(r"\n[\w.]+:\n", text(plan))
    assert max(block.count("scalef.ps.512(<16 x float> %") for block in blocks) == 4
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=2e-7)


@pytest.mark.parametrize("length", [17, 48, 64, 65, 127, 128, 200, 1024, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_of_exponentials_does_not_depend_on_how_many_are_computed_at_once(length, dtype):
    """Against the tree of the documentation: 16 lanes, which meet pairwise, in blocks of 4096."""
    x = normal(3, length, dtype=dtype)
    terms = cr.exp(cr.asarray(x)).numpy()
    got, _ = compiled(lambda x: cr.sum(cr.exp(x), axis=1), x)
    for row, result in zip(terms, got):
        total = dtype(0)
        for start in range(0, length, 4096):
            block = row[start : start + 4096]
            lanes = np.zeros(LANES, dtype)
            for first in range(0, len(block), LANES):
                part = block[first : first + LANES]
                lanes[: len(part)] += part
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = lanes[:half] + lanes[half:]
            total += lanes[0]
        assert result == total


@pytest.mark.parametrize("width", [1, 5, 16, 40, 64, 256, 257])
def test_short_rows_are_written_out(width):
    x, y = normal(9, width), normal(width)
    got, plan = compiled(lambda x, y: x + y, x, y)
    np.testing.assert_array_equal(got, x + y)
    loops = len(re.findall(r"phi i64", text(plan)))
    assert loops == (1 if 1 < width <= 256 else 2 if width > 256 else loops)


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("width", [5, 64, 1000])
def test_rows_of_a_chain_stay_near(rows, width):
    """A softmax walks three times over a few rows and inverts their sums; its bits are those of one row alone."""
    x = normal(rows, width)
    got, plan = compiled(lambda x: cr.functional.softmax(x, 1), x)
    tasks = [task for region in plan.regions for task in region.tasks]
    in_step = width == 1000 and rows == 300
    assert sum(len(task.calls) for task in tasks) == (1 if in_step else 4)
    if rows * width * 8 > 64 << 10 and not in_step:
        (task,) = tasks
        assert task.chunk < rows and task.chunk * width * 8 <= 48 << 10
    alone, _ = compiled(lambda x: cr.functional.softmax(x, 1), x[-1:])
    np.testing.assert_array_equal(got[-1:], alone)


@pytest.mark.parametrize("shape", [(300,), (1000, 3), (0, 4), ()])
def test_arrays_that_come_in_begin_at_a_cache_line(shape):
    for offset in range(3):
        raw = np.zeros(int(np.prod(shape)) + offset, np.float32)[offset:].reshape(shape)
        tensor = cr.asarray(raw)
        array = tensor.numpy()
        np.testing.assert_array_equal(array, raw)
        assert array.nbytes < 1024 or array.ctypes.data % 64 == 0
        assert not np.shares_memory(array, raw)


@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize("length", [17, 33, 64, 100, 255, 1000, 4100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_rows_that_are_reduced_at_once_are_reduced_like_one(name, length, dtype):
    x = normal(11, length) + 1
    x = (3 * x).astype(dtype)
    reduce = getattr(cr, name)
    alone = [compiled(lambda x: reduce(x, axis=1), x[n : n + 1])[0][0] for n in range(len(x))]
    for rows in (1, 3, 4, 5, 11):
        got, plan = compiled(lambda x: reduce(x, axis=1), x[:rows])
        np.testing.assert_array_equal(got, alone[:rows])
    blocks = re.split(r"\n[\w.]+:\n", text(plan))
    carried, met = (max(len(re.findall(part, block)) for block in blocks) for part in (r"phi <16 x", "shufflevector"))
    combined = max(len(re.findall(r"= f?(?:add|mul) <16 x", block)) for block in blocks)
    if length <= 64:  # four rows are written out, and meet pairwise
        assert met == 4 * 4 and carried < 4
    elif length <= several_rows.LONGEST.get(toolchain.host().vector_bits, 256) or length > 4096:
        assert carried == 4  # of four rows, or of four blocks of a row
    else:
        assert carried == 1 and combined >= 4  # one row, the steps of whose chain are written out


@pytest.mark.parametrize("rows", [1, 6, 300])
def test_several_rows_with_what_goes_in_and_what_follows(rows):
    """A layer norm over three axes: its sums take in a difference, store it, and have an epilogue."""
    x = normal(rows, 3, 37)
    got, _ = compiled(lambda x: cr.functional.layer_norm(x, (37,)), x)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    alone, _ = compiled(lambda x: cr.functional.layer_norm(x, (37,)), x[-1:])
    np.testing.assert_array_equal(got[-1:], alone)


def test_the_next_rows_are_fetched_by_the_pass_that_waits_least(monkeypatch):
    """That of a softmax that computes elementary functions; of a layer norm the second over what comes in."""
    monkeypatch.setattr(schedule, "in_step", lambda steps, place_of: steps)
    x = normal(300, 1000)
    _, plan = compiled(lambda x: cr.functional.softmax(x, 1), x)
    ahead = [kernel.ahead for kernel in plan.kernels]
    (kernel,) = (kernel for kernel in plan.kernels if kernel.ahead)
    assert [i[1].name for i in kernel.inner.code if i[0] == "op"] == ["sub", "exp"] and len(ahead) == 4
    assert len(kernel.ahead) == 2 and "llvm.prefetch" in text(plan)
    for rows, results in ((300, 0), (3000, 1)):  # results only if they are far away
        _, plan = compiled(lambda x: cr.functional.layer_norm(x, (1000,)), normal(rows, 1000))
        mean, variance, last = plan.kernels
        assert (len(mean.ahead), len(variance.ahead), len(last.ahead)) == (0, 1, results)
        assert [access for _, access in last.body.stores][:results] == list(last.ahead)
        assert "llvm.prefetch" in text(plan)


@pytest.mark.parametrize("rows", [2, 3, 5, 300, 301])
@pytest.mark.parametrize("width", [300, 700, 1000, 5000])
def test_long_rows_of_a_chain_are_reduced_together(rows, width, monkeypatch):
    monkeypatch.setattr(schedule, "in_step", lambda steps, place_of: steps)
    x, weight = normal(rows, width), normal(width)
    got, plan = compiled(lambda x, w: cr.functional.layer_norm(x, (width,), w), x, weight)
    (task,) = (task for region in plan.regions for task in region.tasks)
    together = {plan.kernels[call.kernel].together for call in task.calls[:2]}
    assert together == ({0} if task.chunk < 2 else {2} if task.chunk < 4 else {4})
    assert task.chunk == 1 or task.chunk % together.pop() == 0
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) * weight
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    alone, _ = compiled(lambda x, w: cr.functional.layer_norm(x, (width,), w), x[-1:], weight)
    np.testing.assert_array_equal(got[-1:], alone)


def rows_written(plan) -> list[int]:
    """How many operands as large as its rows each walk stores."""
    walks = [walk for kernel in plan.kernels for walk in kernel.stages or (kernel,)]
    stores = [(k, a) for k in walks for _, a in (*k.inner.stores, *k.body.stores)]
    return [sum(k is walk and k.accesses[a].strides[1:] == (1,) for k, a in stores) for walk in walks]


def test_centred_rows_are_computed_again_and_never_stored():
    """No pass of a layer norm but the last writes as much as a row."""
    x = normal(300, 1000)
    _, plan = compiled(lambda x: cr.functional.layer_norm(x, (1000,)), x)
    assert rows_written(plan) == [0, 0, 1]
    assert plan.arena_bytes < x.nbytes // 10
    # but not where elementary functions are computed meanwhile, nor where rows are too long to stay near
    _, plan = compiled(lambda x: cr.functional.log_softmax(x, 1), x)
    assert sum(rows_written(plan)) == 2
    _, plan = compiled(lambda x: cr.functional.layer_norm(x, (5000,)), normal(30, 5000))
    assert sum(rows_written(plan)) == 2


def test_what_a_product_reads_is_stored_once():
    """A centred matrix that is multiplied as well lies in memory: nobody computes it again."""

    def step(x, w):
        centred = x - cr.mean(x, axis=1, keepdims=True)
        scale = cr.sqrt(cr.mean(centred * centred, axis=1, keepdims=True))
        return centred @ w + cr.sum(centred / scale)

    x, w = normal(64, 48), normal(48, 32)
    got, plan = compiled(step, x, w)
    subtractions = [
        i for k in plan.kernels for i in (*k.inner.code, *k.body.code) if i[0] == "op" and i[1].name == "sub"
    ]
    assert len(subtractions) == 1
    wide = x.astype(np.float64) - x.astype(np.float64).mean(1, keepdims=True)
    expected = wide @ w + (wide / np.sqrt((wide * wide).mean(1, keepdims=True))).sum()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_what_a_backward_pass_asks_for_is_stored_once(monkeypatch):
    """Rows that are kept for it are not computed again: it would keep what follows from them as well."""

    def arena():
        model = nn.Sequential(*(nn.TransformerEncoderLayer(64, 2, 256, dropout=0.0, norm_first=True) for _ in range(3)))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            cr.sum(model(x)).backward()
            optimizer.step()

        compiled = cr.compile(step)
        compiled(cr.asarray(normal(64, 16, 64)))
        return compiled.programs[0].plan.arena_bytes

    with_copies = arena()
    monkeypatch.setattr(lowering, "recompute_across", lambda items, outputs: items)
    assert with_copies <= arena()


@pytest.mark.parametrize("name", ["sum", "prod", "max"])
@pytest.mark.parametrize("shape", [(4096, 521), (2100, 1024), (1030, 2065)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_columns_of_many_rows_are_reduced_in_strips(name, shape, dtype):
    """By the chains of single columns, of which few make no strip; in blocks of 256, or longer ones, added in order."""
    x = (3 * normal(*shape)).astype(dtype)
    if name == "prod":
        x = (1 + x / 64).astype(dtype)
    reduce = getattr(cr, name)
    got, plan = compiled(lambda x: 1 + reduce(x, axis=0), x)
    assert [kernel.strips for kernel in plan.kernels] == [True]
    for columns in (slice(0, 40), slice(shape[1] - 40, shape[1])):
        few, plan = compiled(lambda x: 1 + reduce(x, axis=0), x[:, columns].copy())
        assert not any(kernel.strips for kernel in plan.kernels)
        np.testing.assert_array_equal(got[columns], few)
    expected = 1 + getattr(np, name)(x.astype(np.float64), axis=0)
    if dtype is not np.int64 or name != "prod":
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("rows", "fetched"), [(9000, True), (70, False)])
def test_rows_of_a_large_table_are_asked_for_before_they_are_added_to(rows, fetched):
    table, updates = normal(rows, 40), normal(300, 40)
    indices = np.random.default_rng(1).integers(-rows, rows, 300)
    state = cr.asarray(table)

    def step(i, u):
        state[...] = cr.scatter_add(state, i, u)

    run = cr.compile(step)
    run(cr.asarray(indices), cr.asarray(updates))
    wide = table.astype(np.float64)
    np.add.at(wide, indices, updates)
    np.testing.assert_allclose(state.numpy(), wide, rtol=1e-5, atol=1e-5)
    (scatter,) = (kernel for kernel in run.programs[0].plan.kernels if kernel.kind == "scatter")
    assert ("llvm.prefetch" in text(run.programs[0].plan)) == bool(scatter.ahead) == fetched
