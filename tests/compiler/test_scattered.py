"""Gradients of kernels where vectors are short: chains in pieces, and operands that are copied, change no bit."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule import runtime
from chainrule.backends.cpu import toolchain
from chainrule.compiler import tiling
from chainrule.compiler.variants import kernel_variants

# images, channels, outputs, sides, kernel, stride, groups
IN_PIECES = [
    (9, 13, 41, (20, 17), (3, 2), 1, 1),
    (16, 46, 40, (21, 23), (1, 1), 1, 1),
    (3, 20, 33, (61, 60), (5, 5), 2, 1),
    (40, 10, 24, (19, 31), (3, 3), 2, 2),
    (2, 9, 16, (30, 35), (2, 2), 1, 1),
]
#: the last tile along axis 0 is moved back, over rows whose sums wait already
MOVED_BACK = [(1, 13, 16, (61, 43), (2, 1), 2, 1), (2, 131, 260, (33, 35), (1, 1), 1, 1)]
#: and which operands are copied
FAR_APART = [
    ((3, 128, 256, (14, 15), (1, 1), 1, 1), (True, False)),
    ((3, 130, 256, (14, 15), (2, 2), 1, 1), (False, True)),
    ((5, 128, 256, (9, 8), (3, 3), 2, 1), (True, True)),
    ((2, 128, 64, (17, 9), (1, 1), 1, 1), (False, False)),
]


def gradients(monkeypatch, case):
    """The gradient of a kernel by vectors none of which is short, and all of which are: (bits, kernels) of each."""
    images, channels, outputs, sides, kernel, stride, groups = case
    generator = np.random.default_rng(channels)
    x = generator.normal(size=(images, *sides, channels)).astype(np.float32)
    w = generator.normal(size=(outputs, channels // groups, *kernel)).astype(np.float32)

    def forward(x, w):
        return F.conv2d(x.permute(0, 3, 1, 2), w, None, stride, 1, 1, groups).permute(0, 2, 3, 1)

    g = generator.normal(size=forward(cr.asarray(x), cr.asarray(w)).shape).astype(np.float32)

    def gradient(x, w, g):
        return cr.vjp(lambda w: forward(x, w), w)[1](g)[0]

    arguments = [cr.asarray(array) for array in (x, w, g)]
    threads = cr.get_num_threads()
    found = []
    try:
        for size in (0, 1 << 20):
            monkeypatch.setattr(tiling, "SHORT_VECTOR", size)
            for count in (1, 2, 3):
                cr.set_num_threads(count)
                runtime._programs.clear()
                function = cr.compile(gradient)
                found.append((function(*arguments).numpy(), function.programs[0].plan.kernels))
    finally:
        cr.set_num_threads(threads)
        runtime._programs.clear()
    np.testing.assert_array_equal(found[0][0], gradient(*arguments).numpy())
    return found


def contractions(kernels):
    return [kernel for kernel in kernels if kernel.kind == "contract" and kernel.static.reduced[1:]]


@pytest.mark.parametrize("case", MOVED_BACK, ids=str)
def test_tiles_that_are_moved_back_leave_the_sums_of_others_alone(case, monkeypatch):
    found = gradients(monkeypatch, case)
    (kernel,) = contractions(found[-1][1])
    tiling = kernel.static
    if toolchain.host().vector_bits == 256:  # tiles of other targets differ
        assert tiling.pieces is not None and tiling.tile[0] > 1 and kernel.sizes[0] % tiling.tile[0]
    for result, _ in found:
        np.testing.assert_array_equal(result, found[0][0])


@pytest.mark.parametrize("case", IN_PIECES, ids=str)
def test_chains_in_pieces(case, monkeypatch):
    found = gradients(monkeypatch, case)
    for number, (result, kernels) in enumerate(found):
        np.testing.assert_array_equal(result, found[0][0])
        pieces = [kernel.static.pieces for kernel in contractions(kernels)]
        assert len(pieces) == 1 and (pieces[0] is not None) == (number > 2)


@pytest.mark.parametrize(("case", "copied"), FAR_APART, ids=str)
def test_operands_whose_terms_lie_far_apart(case, copied, monkeypatch):
    found = gradients(monkeypatch, case)
    for number, (result, kernels) in enumerate(found):
        np.testing.assert_array_equal(result, found[0][0])
        (kernel,) = contractions(kernels)
        near = kernel.accesses[0].strides[-1] == case[5], kernel.static.packed
        assert near == (copied if number > 2 else (False, False))


def test_batches_of_similar_sizes_share_the_products_that_copy_operands(monkeypatch):
    monkeypatch.setattr(tiling, "SHORT_VECTOR", 1 << 20)
    monkeypatch.setattr(runtime, "_programs", {})
    generator = np.random.default_rng(3)
    weight = cr.asarray(generator.normal(size=(256, 512)).astype(np.float32))

    @cr.compile
    def gradient(x, g, w):
        return cr.vjp(lambda w: x @ w, w)[1](g)[0]

    keys, kinds = [], []
    for rows in (256, 96, 33, 149):
        x, g = (generator.normal(size=(rows, n)).astype(np.float32) for n in weight.shape)
        np.testing.assert_allclose(gradient(cr.asarray(x), cr.asarray(g), weight).numpy(), x.T @ g, 1e-4, 1e-4)
        plan = gradient.programs[-1].plan
        keys.append(set(plan.keys))
        kinds.append(sorted(kernel.kind for kernel in plan.kernels))
    assert kinds[0] == ["contract", "map", "pack"]  # both operands are copied
    assert all(found == keys[0] for found in keys)


def test_tuning_leaves_room_for_sums_that_wait(monkeypatch):
    _, kernels = gradients(monkeypatch, IN_PIECES[1])[-1]
    (kernel,) = contractions(kernels)
    variants = kernel_variants(kernel, 32)
    assert len(variants) > 1
    assert all(max(v.static.panels) <= max(kernel.static.panels) for v in variants)
