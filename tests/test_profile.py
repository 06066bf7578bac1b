"""`profile`: counts, work and places are right, results do not change, and nothing stays behind."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional, nn, optim, runtime
from chainrule.capture.compiled import Compiled
from chainrule.compiler import cache
from chainrule.compiler.program import Instance, Program
from chainrule.errors import ConfigError, RunError
from chainrule.profiling import recorder
from chainrule.profiling.peak import peak

ROWS, INPUTS, HIDDEN, CLASSES = 32, 48, 40, 10


def training():
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((ROWS, INPUTS), dtype=np.float32), rng.integers(0, CLASSES, ROWS)


@pytest.mark.parametrize("compiled", [True, False])
def test_counts_work_and_places(compiled):
    _, step = training()
    run = cr.compile(step) if compiled else step
    x, y = (cr.asarray(a) for a in data())
    plain = [float(run(x, y)) for _ in range(6)]
    _, step = training()
    run = cr.compile(step) if compiled else step
    losses = [float(run(x, y)) for _ in range(2)]
    with cr.profile() as profile:
        losses += [float(run(x, y)) for _ in range(3)]
    losses.append(float(run(x, y)))
    assert losses == plain
    products = [call for call in profile.calls if call.kind == "contract"]
    first, second = 2 * ROWS * INPUTS * HIDDEN, 2 * ROWS * HIDDEN * CLASSES
    assert sum(call.calls for call in products) == 3 * 5
    # what is fused into a product counts too: at most some tens of operations for each result
    for call in products:
        assert any(work <= call.flops <= 2 * work for work in (first, second))
    assert {(call.layer, call.phase) for call in products} == {
        ("Linear 0", "forward"), ("Linear 0", "reverse"), ("Linear 2", "forward"), ("Linear 2", "reverse"),
    }  # fmt: skip
    assert all(call.line.split(":")[0].endswith("test_profile.py") for call in products)
    assert any(call.layer == "Adam" and call.phase == "optimiser" for call in profile.calls)
    assert all(call.calls % 3 == 0 and call.chunks >= call.calls and call.seconds >= 0 for call in profile.calls)
    assert sum(call.seconds for call in profile.calls) > 0 and 0 < profile.running <= profile.seconds
    assert profile.runs >= 3


def test_rows_and_text():
    _, step = training()
    compiled = cr.compile(step)
    x, y = data()
    compiled(x, y)
    with cr.profile() as profile:
        compiled.repeat(4, x, y)
    total = sum(call.seconds for call in profile.calls)
    work = sum(call.calls * call.flops for call in profile.calls)
    for by in ("kernel", "layer", "line", "phase", "call"):
        rows = profile.rows(by)
        assert sum(row.seconds for row in rows) == pytest.approx(total)
        assert sum(row.flops for row in rows) == work
        assert [row.seconds for row in rows] == sorted((row.seconds for row in rows), reverse=True)
        assert max(map(len, profile.text(by).splitlines())) <= 120
    assert sum(row.calls for row in profile.rows("phase")) == sum(call.calls for call in profile.calls)
    assert [row.name for row in profile.rows("layer") if row.name.startswith("Linear 0")]
    for sort, value in (("calls", lambda r: r.calls), ("flops", lambda r: r.flops), ("bytes", lambda r: r.moved)):
        numbers = [value(row) for row in profile.rows(sort=sort)]
        assert numbers == sorted(numbers, reverse=True)
    worst = [row.roofline for row in profile.rows(sort="roofline")]
    assert worst == sorted(worst)
    row = profile.rows(sort="flops")[0]
    assert row.gflops == pytest.approx(row.flops / row.seconds / 1e9)
    assert row.gbytes == pytest.approx(row.moved / row.seconds / 1e9)
    assert len(profile.text(limit=2).splitlines()) == 4 and "not shown" in profile.text(limit=2)
    text = str(profile)
    for part in ("in 1 run of programs", "roofline of one thread", "GFLOP/s", "roof %", "contract + add", "Linear 0"):
        assert part in text


def test_every_step_of_a_loop_counts():
    step = cr.compile(lambda x: cr.exp(x).sum())
    x = np.ones((64,), np.float32)
    with cr.profile() as profile:
        step.repeat(7, x)
        step(x)
    (call,) = profile.calls
    assert call.calls == 8 and call.flops == 2 * 64 and call.moved == 64 * 4 + 4


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_of_several_threads_add_up(threads):
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        step = cr.compile(lambda x, w: cr.tanh(x @ w))
        x, w = np.ones((512, 120), np.float32), np.ones((120, 256), np.float32)
        expected = step(x, w).numpy()
        with cr.profile() as profile:
            for _ in range(4):
                assert np.array_equal(step(x, w).numpy(), expected)
        plan = cr.explain(step, x, w).plan
    finally:
        cr.set_num_threads(before)
    (call,) = [call for call in profile.calls if call.kind == "contract"]
    region = plan.regions[-1]  # the last task of which multiplies; operands may be copied before
    task = region.tasks[-1]
    assert plan.kernels[task.calls[-1].kernel].kind == "contract"
    assert call.calls == 4 and call.chunks == 4 * -(-task.extent // task.chunk)
    assert region.parallel == (threads == 2)


def test_host_operations_and_empty_profiles():
    with cr.profile() as profile:
        cr.sort(cr.asarray([3.0, 1.0, 2.0])).numpy()
    (call,) = [call for call in profile.calls if call.kind == "host"]
    assert call.calls == 1 and call.label == "sort" and call.seconds > 0 and call.moved > 0
    with cr.profile() as nothing:
        pass
    assert str(nothing).endswith("no program has run") and nothing.rows() == []
    assert nothing.text().split() == nothing.text(by="layer").replace("layer", "kernel loops").split()


def test_trace_file(tmp_path):
    step = cr.compile(lambda x: cr.exp(x) @ x)
    x = np.ones((32, 32), np.float32)
    with cr.profile() as profile:
        step(x)
        step(x)
    path = tmp_path / "trace.json"
    profile.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["trace.json"]
    events = json.loads(path.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert all(event["dur"] >= 0 and event["ts"] >= 0 and event["pid"] == 1 for event in spans)
    assert [event["name"] for event in spans][:3] == ["compile", "run", "run"]
    kernels = [event for event in spans if "args" in event]
    assert len(kernels) == sum(call.chunks for call in profile.calls)
    assert {event["args"]["line"].rsplit("/")[-1].split(":")[0] for event in kernels} == {"test_profile.py"}
    last = max(event["ts"] + event["dur"] for event in spans)
    assert last <= 1e6 * profile.seconds + 1000
    threads = {event["tid"] for event in events if event["ph"] == "M"}
    assert threads == {event["tid"] for event in spans}
    with pytest.raises(RunError):
        profile.save(tmp_path / "nowhere" / "trace.json")


def test_more_chunks_than_are_listed(monkeypatch, tmp_path):
    monkeypatch.setattr(recorder, "LISTED", 8)
    step = cr.compile(lambda x: cr.exp(x).sum())
    with cr.profile() as profile:
        step.repeat(50, np.ones((64,), np.float32))
    assert [call.calls for call in profile.calls] == [50]
    profile.save(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum("args" in event and event["ph"] == "X" for event in events) == 8


def test_a_loss_that_is_read_costs_no_second_forward_pass():
    _, step = training()
    x, y = (cr.asarray(a) for a in data())
    float(step(x, y))
    with cr.profile() as profile:
        float(step(x, y))
    assert sum(call.calls for call in profile.calls if call.kind == "contract") == 5


def test_nothing_stays_behind():
    hooked = [(owner, name) for owner, name, _, _ in recorder._HOOKS]
    assert (runtime, "run") in hooked and (Compiled, "execute") in hooked
    before = [getattr(owner, name) for owner, name in hooked]
    step = cr.compile(lambda x: x * 3)
    x = np.ones(4, np.float32)
    step(x)
    with cr.profile():
        assert [getattr(owner, name) for owner, name in hooked] != before
        step(x)
    assert [getattr(owner, name) for owner, name in hooked] == before
    entry = step.programs[0]
    assert all(type(instance) is Instance for instance in entry.program().idle)
    with pytest.raises(ZeroDivisionError), cr.profile() as profile:
        step(x)
        raise ZeroDivisionError
    assert [getattr(owner, name) for owner, name in hooked] == before
    assert profile.calls  # what ran until then is there


def test_a_run_that_ends_after_the_profile():
    """A timed instance that another thread gives back later is not used again, and the method goes back."""
    step = cr.compile(lambda x: x * 3)
    x = np.ones(4, np.float32)
    step(x)
    program = step.programs[0].program()
    with cr.profile():
        instance = program.acquire()
    assert Program.release is not recorder._RELEASE
    step(x)
    program.release(instance)
    assert all(type(other) is Instance for other in program.idle)
    assert Program.release is recorder._RELEASE


def test_other_threads_are_measured():
    step = cr.compile(lambda x: x * 3)
    x = np.ones(4, np.float32)
    step(x)
    with cr.profile() as profile:
        threads = [threading.Thread(target=step, args=(x,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [call.calls for call in profile.calls] == [3]


def test_misuse():
    with cr.profile() as profile:
        with pytest.raises(ConfigError, match="profile: another profile is open; close it first, or read that one"):
            cr.profile().__enter__()
        for use in (profile.rows, profile.text, lambda: profile.save("x")):
            with pytest.raises(ConfigError, match="before the block is left"):
                use()
        assert str(profile) == "<profile that is still open>"
    with pytest.raises(ConfigError, match="profile: this profile was used already; make another one"):
        profile.__enter__()
    with pytest.raises(
        ConfigError, match="profile: there is no group 'node'; there are kernel, layer, line, phase, call"
    ):
        profile.rows(by="node")
    with pytest.raises(ConfigError, match="profile: there is no order 'name'"):
        profile.rows(sort="name")


def test_peak_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    peak.cache_clear()
    try:
        first = peak()
        (path,) = tmp_path.glob("peak-*.json")
        assert first.source == "measured now" and first.flops > 1e8 and len(first.copies) == 4
        peak.cache_clear()
        again = peak()
        assert again.flops == first.flops and again.copies == first.copies
        assert again.source.startswith("measured on 20") and again.source.endswith("kept in the cache folder")
        path.write_text("{damaged")
        peak.cache_clear()
        assert peak().source == "measured now"
    finally:
        peak.cache_clear()
    assert again.bandwidth(1) == again.copies[0][1] and again.bandwidth(1 << 40) == again.copies[-1][1]
    seconds = again.attainable(again.flops, 0, 4, 1)
    assert seconds == pytest.approx(1.0) and again.attainable(again.flops, 0, 8, 1) == pytest.approx(2.0)
