"""The benchmarks' workloads and variants compute what the float64 reference computes."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

import chainrule as cr
from benchmarks import reference
from benchmarks.sides import ours
from benchmarks.workloads import VARIANTS, WORKLOADS, Workload, find
from benchmarks.workloads.perceptron import Perceptron

#: the networks beyond perceptrons in small, with every part of theirs; `resnet20` has 8 channels at least: with fewer,
#: PyTorch 2.13 on AVX2 writes past its memory (the gradient of strided 1x1 kernels, channels last)
SMALL = {
    "mnist-cnn": {"channels": (3, 5), "hidden": 7, "side": 11, "batch": 4},
    "resnet20": {"widths": (8, 10, 12), "blocks": 1, "side": 8, "batch": 5},
    "char-lstm": {"embedding": 5, "hidden": 6, "length": 7, "symbols": 11, "batch": 4},
    "char-gpt": {"layers": 2, "heads": 2, "width": 8, "length": 9, "symbols": 11, "batch": 3},
    "vae": {"inputs": 30, "hidden": (12,), "code": 4, "batch": 6},
    "unet": {"width": 8, "factors": (1, 2), "groups": 4, "side": 8, "batch": 3},
    "gcn": {"nodes": 50, "edges": 80, "words": 40, "words_each": 5, "labelled": 20, "batch": 20},
}


def _little(workload: Workload) -> Workload:
    """Little data: rows beyond the first batches are never looked at."""
    return workload if workload.full_batch else replace(workload, rows=4 * workload.batch)


def _small(workload: Workload, **changes) -> Workload:
    return _little(replace(workload, **({"rows": changes["batch"]} if workload.full_batch else {}), **changes))


PERCEPTRONS = [
    _little(workload)
    for name in WORKLOADS
    for workload in (WORKLOADS[name], *VARIANTS[name])
    if isinstance(workload, Perceptron)
]
NETWORKS = [_small(WORKLOADS[name], **changes) for name, changes in SMALL.items()]
ALL = [*PERCEPTRONS, *NETWORKS]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is the reference")


@pytest.fixture(autouse=True)
def one_thread_of_torch():
    """Its threads wait for one another on a busy machine."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _expected(workload: Workload) -> np.ndarray:
    expected = reference.first_losses(workload, 3, apart=False)
    if expected is None:
        pytest.skip("PyTorch is the reference")
    return expected


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_compiled_step_has_the_reference_losses(workload: Workload) -> None:
    step = cr.compile(ours.build(workload))
    losses = ours.python_check(workload, step, ours.tensors(workload), 3)
    reference.check(workload, losses, _expected(workload), "the compiled step")


@pytest.mark.parametrize("workload", [w for w in ALL if w.name in WORKLOADS], ids=lambda w: w.name)
def test_native_loop_equals_uncompiled_calls(workload: Workload) -> None:
    data = ours.tensors(workload)
    expected = ours.python_check(workload, ours.build(workload), data, 3).astype(np.float32)
    losses = ours.native_check(workload, cr.compile(ours.build(workload)), data, 3)
    np.testing.assert_array_equal(losses, expected)


def test_step_under_autocast_has_nearly_the_same_losses() -> None:
    (workload,) = (w for w in NETWORKS if w.name == "char-gpt")
    data = ours.tensors(workload)
    single, half = (
        ours.python_check(workload, cr.compile(ours.build(workload, precision)), data, 3)
        for precision in (None, cr.autocast("bfloat16"))
    )
    assert np.all(single != half)
    np.testing.assert_allclose(half, single, rtol=1e-2)


@pytest.mark.slow
def test_bfloat16_benchmark_prints_quotients(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import bfloat16

    threads = cr.get_num_threads()
    try:
        bfloat16.main(["--workloads", "", "--size", "64", "--rounds", "2"])
    finally:
        cr.set_num_threads(threads)
    assert "product of 64x64" in capsys.readouterr().out


@needs_torch
@pytest.mark.parametrize("workload", [w for w in ALL if w.name in WORKLOADS], ids=lambda w: w.name)
def test_torch_has_the_reference_losses(workload: Workload) -> None:
    from benchmarks.sides import torch_side
    from benchmarks.sides.torch_networks import FORMS

    expected = _expected(workload)
    for form in FORMS.get(workload.network, (None,)):
        for layout in torch_side.LAYOUTS if workload.images else (None,):
            data = torch_side.tensors(workload)
            candidate = torch_side._candidate(workload, str(form), data, form=form, layout=layout)
            reference.check(workload, candidate.check(3), expected, candidate.name)


@pytest.mark.slow
@needs_torch
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is the peer")
@pytest.mark.parametrize("workload", NETWORKS, ids=lambda w: w.name)
def test_jax_has_the_reference_losses(workload: Workload, pytestconfig: pytest.Config) -> None:
    """Every form; without ``--slow`` one form of the networks that compile fast."""
    from benchmarks.sides import jax_side
    from benchmarks.sides.jax_networks import FORMS

    full = pytestconfig.getoption("--slow")
    if not full and workload.name not in ("mnist-cnn", "vae"):
        pytest.skip("with --slow")
    expected = _expected(workload)
    workload = replace(workload, scans=(2, 3) if full else ())
    for form in FORMS.get(workload.network, ("",))[: None if full else 1]:
        for candidate in jax_side.of_form(workload, form, jax_side.laid_out(workload, form), 1):
            reference.check(workload, candidate.check(3), expected, candidate.name)


@pytest.mark.parametrize("workload", NETWORKS, ids=lambda w: w.name)
def test_draws_of_the_first_rows_do_not_depend_on_how_many_there_are(workload: Workload) -> None:
    for few, many in zip(workload.draws(4), workload.draws(9)):
        np.testing.assert_array_equal(few, many[: len(few)])


def test_reference_of_perceptrons_agrees_with_torch() -> None:
    pytest.importorskip("torch")
    for name in ("iris", "dqn", "uncertainty"):
        workload = _little(WORKLOADS[name])
        np.testing.assert_allclose(reference.first_losses(workload, 3), reference._by_torch(workload, 3), rtol=1e-6)


def test_flops_of_mnist_mlp() -> None:
    """Forward and both gradients of each layer, but no gradient of the inputs."""
    expected = 2 * 128 * (3 * (784 * 512 + 512 * 512 + 512 * 10) - 784 * 512)
    assert WORKLOADS["mnist-mlp"].flops() == expected


def test_flops_of_mnist_cnn() -> None:
    first, second = 28 * 28 * 9 * 32, 14 * 14 * 9 * 32 * 64
    linear = 64 * 7 * 7 * 128 + 128 * 10
    assert WORKLOADS["mnist-cnn"].flops() == 2 * 64 * (2 * first + 3 * (second + linear))


@needs_torch
@pytest.mark.parametrize("name", ["resnet20", "char-lstm", "char-gpt", "vae", "unet"])
def test_forward_products_are_those_that_torch_counts(name: str) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.sides.torch_networks import FORMS, network

    workload = next(w for w in NETWORKS if w.name == name)
    if name == "char-lstm":  # the counter does not see into an LSTM
        expected = 2 * workload.batch * workload.length * workload.hidden * workload.symbols
        products = list(workload.macs())
        assert 2 * products[-1][0] == expected
        return
    model = network(workload, FORMS.get(workload.network, (None,))[-1])
    batch = [torch.from_numpy(a[: workload.batch]) for a in workload.data()]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*batch)
    assert counter.get_total_flops() == 2 * sum(count for count, _ in workload.macs())


def test_every_variant_has_a_name_weights_and_products() -> None:
    for name, variants in VARIANTS.items():
        assert len({v.name for v in variants}) == len(variants)
        for variant in variants:
            assert find(variant.name) is variant
            assert variant.aim == 0.75 * WORKLOADS[name].aim
            assert variant.flops() > 0 and variant.starts()


def test_residual_networks_of_any_depth() -> None:
    assert find("resnet-20") is WORKLOADS["resnet20"]
    convolutions = [key for key in find("resnet-56").starts() if "conv" in key]
    assert len(convolutions) == 55
    with pytest.raises(ValueError, match=r"6 n \+ 2 layers, not 21"):
        find("resnet-21")


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
    assert result["losses_checked"]
