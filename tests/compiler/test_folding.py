"""Windows that are added up by native maps, with what is computed for each place of a window."""

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.compiler.folding import ranges
from chainrule.graph.node import topological
from chainrule.ops import large_windows, leaf
from chainrule.ops.base import emit
from chainrule.ops.windows import count_windows


def run(outputs, baked):
    order = topological(outputs)
    program = runtime.compile_nodes(order, outputs, baked)
    _, leaves, scalars = runtime.structure(order, outputs)
    labels = [c.label for r in program.plan.regions for t in r.tasks for c in t.calls]
    return program.run(leaves, scalars), labels


def leaf_of(shape, dtype="float32", seed=0):
    return leaf.constant((np.random.default_rng(seed).normal(size=shape) * 9).astype(dtype))


@pytest.mark.parametrize(
    ("extent", "windows", "size", "stride", "dilation"),
    [(7, 3, 3, 2, 1), (9, 9, 1, 1, 1), (9, 5, 3, 1, 2), (13, 3, 2, 5, 1), (11, 2, 4, 3, 2), (5, 1, 5, 7, 1)],
)
def test_ranges_are_every_position_once_with_every_place_that_reaches_it(extent, windows, size, stride, dilation):
    found = {}
    for first, count, reached in ranges(extent, windows, size, stride, dilation):
        for n in range(count):
            assert first + n * stride not in found
            found[first + n * stride] = [(k, o + n) for k, o in reached]
    expected = {
        p: [(k, o) for k in range(size) for o in range(windows) if o * stride + k * dilation == p]
        for p in range(extent)
    }
    assert found == expected


@pytest.mark.parametrize("baked", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_random_folds_have_the_bits_of_the_interpreter(seed, baked, monkeypatch):
    monkeypatch.setattr(large_windows, "LONGEST", 10**6)  # sums of sums have bits of their own
    r = np.random.default_rng(seed)
    count = int(r.integers(1, 4))
    spatial, sizes, strides, dilations = (tuple(int(n) for n in r.integers(low, high, count))
                                          for low, high in ((6, 12), (1, 4), (1, 5), (1, 3)))  # fmt: skip
    out = tuple(map(count_windows, spatial, sizes, strides, dilations))
    lead = tuple(int(n) for n in r.integers(1, 5, int(r.integers(0, 3))))
    y = leaf_of((*lead, *out, *sizes), seed=seed)
    turned = emit("permute", leaf_of(y.shape[::-1], seed=seed + 1), attributes=(tuple(reversed(range(len(y.shape)))),))
    for operand in (y, emit("mul", turned, y)):
        result = emit("fold", operand, attributes=(spatial, strides, dilations))
        (got,), labels = run([result], baked)
        assert got.tobytes() == interpreter.run([result])[0].tobytes()
        assert all("fold" in label for label in labels)


@pytest.mark.parametrize("baked", [True, False])
def test_what_feeds_a_fold_is_computed_in_it(baked):
    g, place = (
        leaf_of((3, 5, 6, 7)),
        leaf.constant(np.random.default_rng(1).integers(0, 9, (3, 5, 6, 7)).astype("uint8")),
    )
    shape = (*g.shape, 3, 3)

    def spread(x):
        return emit("broadcast", x, attributes=(shape, (0, 1, 2, 3)))

    def number(value, dtype):
        return emit("full", attributes=(value, shape, dtype))

    def along(axis):
        return emit("iota", attributes=(shape, axis, place.dtype))

    here = emit("add", emit("mul", along(4), number(3, place.dtype)), along(5))
    chosen = emit("where", emit("eq", here, spread(place)), spread(g), number(0.0, g.dtype))
    result = emit("fold", chosen, attributes=((13, 15), (2, 2), (1, 1)))
    (got,), labels = run([result], baked)
    assert got.tobytes() == interpreter.run([result])[0].tobytes()
    assert set(labels) == {"mul+add+eq+where+fold"}
    (got, both), labels = run([result, chosen], baked)
    assert got.tobytes() == interpreter.run([result])[0].tobytes() and "fold" in labels
    assert both.tobytes() == interpreter.run([chosen])[0].tobytes()


def test_a_negative_zero_becomes_positive():
    result = emit("fold", leaf.constant(np.full((2, 3), -0.0)), attributes=((6,), (3,), (1,)))
    (got,), _ = run([result], True)
    assert not np.signbit(got).any()
