"""The benchmarks' workloads and variants compute what the float64 reference computes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from benchmarks import reference
from benchmarks.sides import ours
from benchmarks.workloads import VARIANTS, WORKLOADS, Workload

# little data: rows beyond the first batches are never looked at
ALL = [
    workload if workload.full_batch else replace(workload, rows=3 * workload.batch)
    for name in WORKLOADS
    for workload in (WORKLOADS[name], *VARIANTS[name])
]


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_compiled_step_has_the_reference_losses(workload: Workload) -> None:
    step = cr.compile(ours.build(workload))
    losses = ours.python_check(workload, step, ours.tensors(workload), 3)
    reference.check(workload, losses, "the compiled step")


@pytest.mark.parametrize("workload", [w for w in ALL if w.name in WORKLOADS], ids=lambda w: w.name)
def test_native_loop_equals_uncompiled_calls(workload: Workload) -> None:
    data = ours.tensors(workload)
    expected = ours.python_check(workload, ours.build(workload), data, 3).astype(np.float32)
    step = cr.compile(ours.build(workload))
    if workload.full_batch:
        losses = step.repeat(3, *data)
    else:
        losses = step.epochs(data, batch_size=workload.batch, shuffle=False)
    np.testing.assert_array_equal(losses.numpy(), expected)


def test_flops_of_mnist_mlp() -> None:
    """Forward and both gradients of each layer, but no gradient of the inputs."""
    workload = WORKLOADS["mnist-mlp"]
    expected = 2 * 128 * (3 * (784 * 512 + 512 * 512 + 512 * 10) - 784 * 512)
    assert workload.flops() == expected


def test_command_lists_benchmarks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import __main__ as command

    monkeypatch.setattr("sys.argv", ["benchmarks"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "training" in capsys.readouterr().out


@pytest.mark.slow
def test_training_benchmark_writes_json(tmp_path) -> None:
    from benchmarks import training

    file = tmp_path / "results.json"
    training.main(["--workloads", "iris", "--peers", "", "--rounds", "2", "--json", str(file)])
    (result,) = json.loads(file.read_text())
    for key in ("workload", "chainrule_us", "best_peer", "best_peer_us", "ratio", "gflops", "peak_share"):
        assert key in result
    assert result["cold_compile_s"] > 0 and result["warm_compile_s"] >= 0
