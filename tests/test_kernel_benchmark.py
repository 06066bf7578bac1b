"""The benchmark of single kernels: its list, what it calls attainable, and a run of it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import kernel_cases, kernels
from benchmarks.roofline import Machine


def cases() -> list[kernel_cases.Case]:
    return [case for make in kernel_cases.GROUPS.values() for case in make()]


def test_there_are_many_shapes_with_different_names() -> None:
    every = cases()
    names = [(case.group, case.name) for case in every]
    assert len(set(names)) == len(names) >= 80
    products = [name for group, name in names if group == "product"]
    for shape in ("37x41x53", "127x99x65", "100x200x300", "128x784x512", "1024x1024x1024", "2048x2048x2048"):
        assert all(f"{kind} {shape}" in products for kind in ("NN", "NT", "TN", "TT"))


@pytest.mark.parametrize("lanes", [16, 8])
def test_lanes_of_narrow_results(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cases, "vector_lanes", lambda: lanes)
    share = {case.name: case.lanes for case in kernel_cases.products()}
    assert share["NN 128x512x10"] == 10 / 16
    assert share["NN 127x99x65"] == 65 / (64 + lanes)
    assert share["NN 128x784x512"] == 1


@pytest.mark.parametrize("case", [c for c in cases() if c.flops and c.flops < 2e5], ids=lambda case: case.name)
def test_small_products_are_right(case: kernel_cases.Case) -> None:
    """The compiled step against NumPy in float64."""
    run, results = kernels._prepared(case)
    run(2)
    a, b = (x.astype(np.float64) for x in case.operands())
    kind = case.name[:2]
    want = (a.T if kind[0] == "T" else a) @ (b.T if kind[1] == "T" else b)
    np.testing.assert_allclose(results()[0], want, rtol=1e-4, atol=1e-4)


class Flat(Machine):
    """A machine of 100 GFLOP/s that reads 20 and copies 10 GB/s from everywhere."""

    def __init__(self) -> None:
        self.peak = 100.0

    def copy(self, footprint: float) -> float:
        return 10.0

    def read(self, footprint: float) -> float:
        return 20.0


def test_least_time_is_that_of_arithmetic_or_of_memory() -> None:
    machine = Flat()
    assert machine.seconds(1e9, 1.0, 1, 1, 2) == pytest.approx(0.01)
    assert machine.seconds(1e9, 0.5, 1, 1, 2) == pytest.approx(0.02)
    # 2 GB copied a byte for a byte, and 4 GB more read
    assert machine.seconds(1e9, 1.0, 5e9, 1e9, 6e9) == pytest.approx(2 / 10 + 4 / 20)


def test_run_writes_json(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kernels.json"
    kernels.main(["--only", "NN 37x41x53,copy 64x1024,tanh", "--rounds", "2", "--json", str(file)])
    result = json.loads(file.read_text())
    assert [row["kernel"] for row in result["kernels"]] == ["NN 37x41x53", "copy 64x1024", "tanh"]
    product, copy, tanh = result["kernels"]
    assert product["percent"] > 0 and product["attainable"] <= result["peak_gflops"] * kernel_cases._used(53) * 1.001
    assert copy["unit"] == "GB/s" and copy["percent"] > 0
    assert tanh["unit"] == "elements/ns" and "percent" not in tanh
    assert "summary, % of attainable" in capsys.readouterr().out


def test_softmax_is_limited_by_the_slower_of_its_bytes_and_its_exponentials(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in kernel_cases.memory() if case.name == "softmax rows 64x1024")
    assert case.takes == "exp" and not any(c.takes for c in kernel_cases.memory() if "softmax" not in c.name)
    size = 8 * 64 * 1024  # bytes, of the operand and the result
    machine = SimpleNamespace(copies=lambda footprint: (size, [lambda times: None] * 2))
    for alone, least in ((1e-6, 4e-6), (10e-6, 10e-6 * 64 * 1024 / kernel_cases.BLOCK)):
        times = {"chainrule": [8e-5, 4e-5], "copy 0": [7e-6, 5e-6], "copy 1": [8e-6, 4e-6], "alone": [alone, alone]}
        monkeypatch.setattr(kernels, "in_turn", lambda sides, rounds, times=times: {s: times[s] for s in sides})
        row = kernels.measure(case, machine, None, False, 1)
        assert row["attainable"] == pytest.approx(size / least / 1e9)
        assert row["percent"] == pytest.approx(100 * least / 4e-5)
        middle = max(6e-6, alone * 64 * 1024 / kernel_cases.BLOCK)
        assert row["median_percent"] == pytest.approx(100 * middle / 6e-5)


def test_wrong_results_stop_the_benchmark() -> None:
    case = kernel_cases.products()[0]
    right = [np.ones((2, 3), np.float32)]
    kernels._check(case, right, right)
    with pytest.raises(SystemExit, match="product, NN 128x784x512: wrong by"):
        kernels._check(case, [right[0] * 1.01], right)
    with pytest.raises(SystemExit, match="wrong by nan"):
        kernels._check(case, [right[0] * np.nan], right)
