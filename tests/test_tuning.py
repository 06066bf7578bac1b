"""`compile(tune=...)`: every variant has the same bits, the fastest is taken and kept, and no state is touched."""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional, nn, optim
from chainrule.backends.cpu import toolchain
from chainrule.compiler.program import Program
from chainrule.compiler.variants import kernel_variants, rebuilt, region_variants, tile_of, walk_regions
from chainrule.errors import ConfigError
from chainrule.profiling import tuning


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning.cache, "folder", lambda: tmp_path)
    return tmp_path


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def network():
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(33, 50), nn.ReLU(), nn.Linear(50, 20))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


CASES = {
    "odd": (lambda a, b: cr.tanh(a @ b) + 1.0, (37, 45), (45, 70)),
    "transposed": (lambda a, b: a.T @ b, (600, 33), (600, 17)),
    "batched": (lambda a, b: a @ b, (3, 9, 20), (3, 20, 100)),
    "chain": (lambda a, b: cr.exp((a @ b) * 0.01) @ b.T, (64, 40), (40, 48)),
    "convolution": (lambda a, b: functional.conv2d(a, b, padding=1), (2, 5, 9, 11), (7, 5, 3, 3)),
    "weight gradient": (
        lambda a, b: cr.grad(lambda b: (functional.conv2d(a, b) ** 2).sum())(b), (2, 5, 9, 11), (7, 5, 3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_all_variants_have_the_same_bits(name):
    function, *shapes = CASES[name]
    arguments = [values(*shape, seed=n) for n, shape in enumerate(shapes)]
    compiled = cr.compile(function)
    expected = compiled(*arguments).numpy()
    plan = compiled.programs[0].plan
    entry = compiled.programs[0]
    leaves = [arguments[leaf.number] if leaf.kind == "arg" else np.asarray(leaf.array) for leaf in entry.leaves]
    registers = toolchain.host().num_vector_registers
    tried = 0
    for number in range(8):

        def variant(call, number=number):
            kernel = plan.kernels[call.kernel]
            found = kernel_variants(kernel.with_arguments(call.arguments), registers)
            return found[number] if number < len(found) else None

        def region(old, number=number):
            found = region_variants(old)
            return found[number % len(found)]

        made, origin = rebuilt(plan, variant, region)
        assert len(origin) == sum(len(task.calls) for r in walk_regions(plan.regions) for task in r.tasks)
        (actual,) = Program(made).run(leaves, entry.scalar_values)
        assert np.array_equal(actual, expected)
        tried += made.keys != plan.keys
    assert tried >= 3


def test_tuned_training_has_the_same_bits_and_touches_no_state():
    x, y = values(64, 33), np.arange(64) % 20
    results = []
    for tune in (False, 1.5):
        model, step = network()
        compiled = cr.compile(step, tune=tune)
        losses = [float(compiled(x, y)), *compiled.repeat(2, x, y).numpy()]
        losses += list(compiled.epochs((x, y), batch_size=24, num_epochs=1).numpy())
        results.append([np.asarray(losses), *(p.numpy() for p in model.parameters())])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def faked(monkeypatch, kernel_time, region_time=lambda region: 100.0):
    """Replace the measuring by functions of kernels and regions; gives the list of plans that were measured."""
    seen = []

    def time(self, plan, deadline):
        seen.append(plan)
        calls = {
            id(call): kernel_time(plan.kernels[call.kernel])
            for region in walk_regions(plan.regions) for task in region.tasks for call in task.calls
        }  # fmt: skip
        return calls, {id(region): region_time(region) for region in plan.regions}

    monkeypatch.setattr(tuning._Bench, "time", time)
    return seen


def test_the_fastest_tile_is_taken_and_kept(store, monkeypatch):
    a, b = values(64, 40), values(40, 100)
    wanted = []

    def kernel_time(kernel):
        if kernel.kind != "contract":
            return 5.0
        variants = kernel_variants(kernel, toolchain.host().num_vector_registers)
        wanted[:] = wanted or [tile_of(variants[3])]
        return 50.0 if tile_of(kernel) == wanted[0] else 100.0

    seen = faked(monkeypatch, kernel_time)
    compiled = cr.compile(lambda a, b: a @ b, tune=True)
    plain = cr.compile(lambda a, b: a @ b)
    assert np.array_equal(compiled(a, b).numpy(), plain(a, b).numpy())
    (kernel,) = [k for k in compiled.programs[0].plan.kernels if k.kind == "contract"]
    assert tile_of(kernel) == wanted[0]
    assert len(seen) >= tuning.PASSES * 4
    (path,) = [path for path in store.glob("tuned-*.json") if json.loads(path.read_text()) == wanted[0]]

    monkeypatch.setattr(tuning._Bench, "time", lambda *_: pytest.fail("measured again"))
    again = cr.compile(lambda a, b: a @ b, tune=True)
    again(a, b)
    (kernel,) = [k for k in again.programs[0].plan.kernels if k.kind == "contract"]
    assert tile_of(kernel) == wanted[0]
    for damaged in ("{", '"x"', "[[99], [99]]"):  # read as no decision, or as one that does not exist
        path.write_text(damaged)
        seen = faked(monkeypatch, lambda kernel: 100.0)
        once_more = cr.compile(lambda a, b: a @ b, tune=True)
        assert np.array_equal(once_more(a, b).numpy(), plain(a, b).numpy())
        assert once_more.programs[0].plan.keys == plain.programs[0].plan.keys


def test_little_gains_change_nothing(monkeypatch):
    numbers = iter(range(10**6))
    faked(monkeypatch, lambda kernel: 100.0 - 1e-3 * (next(numbers) % 1000))
    compiled, plain = cr.compile(lambda a, b: a @ b, tune=True), cr.compile(lambda a, b: a @ b)
    a, b = values(64, 40), values(40, 100)
    compiled(a, b), plain(a, b)
    assert compiled.programs[0].plan.keys == plain.programs[0].plan.keys


def test_chunks_of_regions(monkeypatch):
    threads = cr.get_num_threads()
    cr.set_num_threads(2)
    try:
        faked(monkeypatch, lambda kernel: 100.0, lambda region: 10.0 if not region.parallel else 100.0)
        a, b = values(256, 256), values(256, 256)
        plain, compiled = cr.compile(lambda a, b: a @ b), cr.compile(lambda a, b: a @ b, tune=True)
        expected = plain(a, b).numpy()
        assert any(region.parallel for region in plain.programs[0].plan.regions)
        assert np.array_equal(compiled(a, b).numpy(), expected)
        assert not any(region.parallel for region in compiled.programs[0].plan.regions)
    finally:
        cr.set_num_threads(threads)


def test_no_time_no_change(store):
    a, b = values(64, 40), values(40, 100)
    compiled, plain = cr.compile(lambda a, b: a @ b, tune=1e-9), cr.compile(lambda a, b: a @ b)
    assert np.array_equal(compiled(a, b).numpy(), plain(a, b).numpy())
    assert compiled.programs[0].plan.keys == plain.programs[0].plan.keys
    assert list(store.glob("tuned-*")) == []


def test_loops_and_host_operations():
    w = values(16, 16) * 0.1

    def scanned(xs):
        def body(c, x):
            c = cr.tanh(c @ cr.asarray(w) + x)
            return c, c

        return cr.sort(cr.scan(body, cr.zeros((4, 16)), xs)[1], axis=0)

    xs = values(5, 4, 16)
    assert np.array_equal(cr.compile(scanned, tune=0.7)(xs).numpy(), cr.compile(scanned)(xs).numpy())


@pytest.mark.parametrize("wrong", [0, -1.0, "long", float("inf"), None])
def test_wrong_time(wrong):
    with pytest.raises(ConfigError) as caught:
        cr.compile(lambda x: x, tune=wrong)
    what, where = str(caught.value).splitlines()
    assert what == f"compile: tune is True, False or a positive number of seconds, not {wrong!r}"
    assert where.startswith("recorded at ") and "test_tuning.py:" in where
