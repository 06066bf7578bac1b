"""Code that stands once: what a reduction does to its results, the rest of its lanes, and kernels of many shapes."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.reductions import TOGETHER

RANDOM = np.random.default_rng(5)


@pytest.fixture
def compiled(monkeypatch):
    """Lists the modules that are compiled from here on; the disk cache is off."""
    from chainrule.compiler import cache, code

    calls: list[str] = []
    before = toolchain.compile_ir
    monkeypatch.setattr(toolchain, "compile_ir", lambda *a, **k: calls.append(a[0]) or before(*a, **k))
    monkeypatch.setattr(cache, "folder", lambda: None)
    monkeypatch.setattr(code, "_addresses", {})
    return calls


def array(*shape: int, dtype=np.float32) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(dtype)


def finished(total, scale):
    """More than a few operations on the result of a reduction."""
    return (cr.sqrt(total * total / 7.0 + 0.3) - scale) * 3.0 + total / (scale * scale + 1.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [16, 64, 256, 256 + 64 + 16 + 5, 2 * 256 + 3])
def test_what_follows_a_long_sum_stands_once_for_a_group_of_vectors(compiled, columns, dtype):
    x, scale = array(40, columns, dtype=dtype), np.array(1.25, dtype)
    got = cr.compile(lambda x, scale: finished(x.sum(axis=0), scale))(x, scale).numpy()
    total = x.astype(np.float64).sum(axis=0)
    expected = (np.sqrt(total * total / 7.0 + 0.3) - 1.25) * 3.0 + total / (1.25 * 1.25 + 1.5)
    np.testing.assert_allclose(got, expected, rtol=2e-5 if dtype is np.float32 else 1e-12, atol=1e-5)
    (text,) = [text for text in compiled if "llvm.sqrt" in text]
    groups = TOGETHER.get(toolchain.host().vector_bits, (4,))
    # for each size of groups, for one vector and for the masked last one
    assert len(re.findall("= call .*@llvm.sqrt", text)) == len(groups) + 2


@pytest.mark.parametrize("places", [(1, 17), (5, 5), (7, 7), (16, 16), (17, 19)])
@pytest.mark.parametrize("channels", [3, 16, 37])
def test_the_rest_of_the_lanes_of_a_sum_over_positions(compiled, places, channels):
    x, mean = array(3, *places, channels), array(channels, 1, 1)

    def rule(x, mean):
        images = cr.permute_dims(x, (0, 3, 1, 2))  # which lie with their channels last
        return cr.maximum((images - mean) * 2.0 + 1.0, images * 0.5).sum(axis=(2, 3)) + 1.0

    got = cr.compile(rule)(x, mean).numpy()
    assert any("%stack" in text for text in compiled)
    wide = x.astype(np.float64).transpose(0, 3, 1, 2)
    expected = np.maximum((wide - mean) * 2.0 + 1.0, wide * 0.5).sum(axis=(2, 3)) + 1.0
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)
    assert got.tobytes() == rule(cr.asarray(x), cr.asarray(mean)).numpy().tobytes()


@pytest.mark.parametrize("name", ["any", "all", "max"])
def test_the_rest_of_the_lanes_of_other_reductions(name):
    x = array(4, 37, 21)
    flags = x > (2.0 if name == "any" else -2.0)
    operand = x if name == "max" else flags
    got = cr.compile(lambda x: getattr(cr, name)(x, axis=1))(operand).numpy()
    np.testing.assert_array_equal(got, getattr(operand, name)(axis=1))


def test_sums_of_other_widths_share_their_code(compiled):
    f = cr.compile(lambda x: x.sum(axis=0) * 0.5)
    f(array(300, 64))
    modules = len(compiled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for columns in (16, 32, 48, 128, 1000, 33):
            x = array(280, columns)
            np.testing.assert_allclose(f(x).numpy(), x.astype(np.float64).sum(axis=0) * 0.5, rtol=1e-4, atol=1e-4)
    assert len(compiled) == modules


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(4, 6), (16, 16), (33, 21), (100, 37), (5, 300)])
def test_generic_transposes_have_one_network_of_shuffles(compiled, shape, dtype):
    x = RANDOM.integers(0, 2 if dtype is np.bool_ else 100, shape).astype(dtype)
    np.testing.assert_array_equal(cr.permute_dims(cr.asarray(x), (1, 0)).numpy(), x.T)
    if toolchain.host().vector_bits >= 512 and dtype is np.float32:
        assert 64 <= compiled[-1].count("shufflevector <16 x float>") < 80
        assert "llvm.masked.gather" in compiled[-1]
