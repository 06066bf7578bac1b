"""Where values lie changes none of them: channels last, inside padding, inside a concatenation, or made again late."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.canonical import Canonical
from chainrule.compiler.plan import Plan, make_plan
from chainrule.compiler.recompute import recompute_late
from chainrule.dtypes import float64
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

RANDOM = np.random.default_rng(3)


def floats(*shape: int) -> Node:
    return constant(RANDOM.normal(size=shape))


def full(value: float, shape: tuple[int, ...] = ()) -> Node:
    return emit("full", attributes=(value, shape, float64))


def pad(x: Node, low: tuple, high: tuple, value: float = 0.0, interior: tuple | None = None) -> Node:
    return emit("pad", x, full(value), attributes=(low, high, interior or (0,) * len(low)))


def convolve(x: Node, w: Node, padding: int = 1, stride: int = 1) -> Node:
    rank = len(x.shape) - 2
    around = (padding,) * rank
    return emit("convolution", x, w, attributes=((stride,) * rank, around, around, (1,) * rank, 1))


def check(*outputs: Node) -> None:
    """Specialised and generic programs, on these outputs at once, give what the interpreter gives."""
    expected = interpreter.run(list(outputs))
    order = topological(outputs)
    _, leaves, scalars = runtime.structure(order, outputs)
    for baked in (True, False):
        program = runtime.compile_nodes(order, outputs, baked)
        for _ in range(2):  # the second run finds the memory of the first
            for a, b in zip(program.run(leaves, scalars), expected):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.fixture
def images():
    return emit("relu", floats(2, 5, 9, 7)), floats(4, 5, 3, 3)


SPATIAL = (0, 0, 1, 1)


def test_a_pad_of_a_pad(images) -> None:
    x, w = images
    check(convolve(pad(x, SPATIAL, SPATIAL), w, 2))


def test_pads_of_several_widths(images) -> None:
    x, w = images
    check(convolve(x, w, 1), convolve(x, w, 3), pad(x, (0, 0, 2, 0), (0, 0, 0, 5)))


@pytest.mark.parametrize("value", [7.0, -0.0])
def test_a_pad_with_another_number(images, value) -> None:
    x, w = images
    check(
        convolve(x, w, 2),
        pad(x, SPATIAL, SPATIAL, value),
        emit("max", pad(x, SPATIAL, SPATIAL, 9.0), attributes=((2,),)),
    )


def test_a_pad_between_elements_and_along_the_batch(images) -> None:
    x, w = images
    between = pad(x, SPATIAL, SPATIAL, 0.0, (0, 0, 1, 2))
    check(convolve(x, w, 2), emit("neg", between), emit("neg", pad(x, (1, 0, 0, 0), (2, 0, 1, 1))))


def test_a_padded_value_that_is_reduced_and_returned(images) -> None:
    x, w = images
    y = emit("relu", convolve(x, w))
    sums = [emit("sum", y, attributes=(axes,)) for axes in ((0, 2, 3), (2, 3), (1,), (3,), (0, 1, 2, 3))]
    check(convolve(y, floats(3, 4, 3, 3)), *sums)
    check(convolve(y, floats(3, 4, 3, 3)), y)


def test_a_padded_concatenation() -> None:
    a, b = emit("relu", floats(3, 4, 6)), emit("neg", floats(3, 2, 6))
    joined = emit("concat", a, b, attributes=(1,))
    check(pad(joined, (0, 1, 1), (0, 1, 1)), emit("sum", pad(joined, (0, 0, 2), (0, 0, 2)), attributes=((2,),)))


def test_images_in_a_concatenation(images) -> None:
    x, w = images
    joined = emit("concat", emit("relu", convolve(x, w)), emit("neg", x), attributes=(1,))
    check(convolve(joined, floats(3, 9, 3, 3)), emit("max", joined, attributes=((1,),)))


@pytest.mark.parametrize("axes", [(0, 2), (1, 3), (0, 1, 3), (2,), (0, 3)])
def test_reductions_of_images_over_odd_axes(images, axes) -> None:
    x, w = images
    y = convolve(x, w, 1, 2)
    check(
        *(emit(kind, y, attributes=(axes,)) for kind in ("sum", "max", "prod")),
        convolve(emit("neg", y), floats(2, 4, 1, 1), 0),
    )


def test_what_is_needed_late_is_made_again() -> None:
    """A chain of normalised layers and its backward pass, for which cheap values are computed once more."""
    x = floats(64, 600)
    states = []
    for _ in range(5):
        product = emit("contract", x, floats(600, 600), attributes=((0, 1), (1, 2), (0, 2)))
        mean = emit("mul", emit("sum", product, attributes=((1,),)), full(1 / 600, (64,)))
        centred = emit("sub", product, emit("broadcast", mean, attributes=(product.shape, (0,))))
        x = emit("relu", emit("mul", centred, full(0.1, centred.shape)))
        states.append((centred, x))
    total = full(0.0, x.shape)
    for centred, x in reversed(states):
        step = emit(
            "mul", emit("add", total, x), emit("cast", emit("le", centred, full(0, x.shape)), attributes=(float64,))
        )
        total = emit("contract", step, floats(600, 600), attributes=((0, 1), (2, 1), (0, 2)))
    graph = Canonical(topological([total]), [total])
    assert any(item.late for item in recompute_late(graph.items, graph.outputs))
    check(total)


@pytest.mark.parametrize("kept", [False, True], ids=["needed for nothing else", "kept"])
def test_an_exponential_is_made_again_only_from_what_is_kept(kept) -> None:
    """Else an array of scores would be kept in place of one of exponentials, and the work done twice."""

    def times(x: Node) -> Node:
        product = emit("contract", x, floats(256, 256), attributes=((0, 1), (1, 2), (0, 2)))
        return emit("mul", product, full(1 / 32, product.shape))

    scores = times(floats(256, 256))
    weights = emit("exp", emit("neg", scores))
    x = emit("add", weights, full(-1.0, weights.shape))
    for _ in range(8):
        x = times(x)
    late = emit("mul", x, weights)
    if kept:
        late = emit("add", late, scores)
    graph = Canonical(topological([late]), [late])
    again = [item.kind for item in recompute_late(graph.items, graph.outputs) if item.late]
    assert ("exp" in again) is kept
    check(late)


@pytest.mark.parametrize("axis", [0, 1])
def test_what_a_sum_of_columns_reads_is_kept_for_late_users(axis) -> None:
    """It lies in memory for the sum: what it is made from need not be stored too. Rows are summed as they are made."""

    def times(x: Node) -> Node:
        product = emit("contract", x, floats(256, 256), attributes=((0, 1), (1, 2), (0, 2)))
        return emit("mul", product, full(1 / 32, product.shape))

    shifted = emit("add", times(floats(256, 256)), emit("broadcast", floats(256), attributes=((256, 256), (1,))))
    x = emit("neg", shifted)
    for _ in range(8):
        x = times(x)
    late = emit("mul", x, shifted)
    total = emit("sum", shifted, attributes=((axis,),))
    graph = Canonical(topological([late, total]), [late, total])
    again = [item.kind for item in recompute_late(graph.items, graph.outputs) if item.late]
    assert ("add" in again) is (axis == 1)
    check(late, total)


LAST, SECOND = (0, 2, 3, 1), (0, 3, 1, 2)


def turned(x: Node, axes: tuple[int, ...]) -> Node:
    return emit("permute", x, attributes=(axes,))


def plan_of(*outputs: Node) -> Plan:
    return make_plan(topological(outputs), outputs, CpuTiles(toolchain.host()), 1)


def test_results_with_channels_last_are_written_where_they_belong() -> None:
    """A convolution of an image with its channels last, whose result has them last too, copies nothing but the halo."""
    x, w = floats(2, 9, 7, 5), floats(6, 5, 3, 3)
    y = emit("tanh", convolve(turned(x, SECOND), w))
    outputs = turned(y, LAST), emit("neg", turned(y, LAST))
    check(*outputs)
    check(outputs[0], turned(y, LAST), y)  # the same result twice, and in another order
    check(turned(y, LAST), convolve(y, floats(3, 6, 3, 3)))  # it lies inside zeros too
    check(turned(y, (0, 3, 2, 1)), turned(emit("sum", y, attributes=((1,),)), (2, 0, 1)))
    kinds = [kernel.label for kernel in plan_of(turned(y, LAST)).kernels if kernel.kind == "map"]
    assert sorted(set(kinds)) == ["copy", "pack", "zeros"] and kinds.count("copy") == 1


def enlarged(x: Node, times: int) -> Node:
    """An image with each row and column repeated, as three movements."""
    n, c, h, w = x.shape
    x = emit("reshape", x, attributes=((n, c, h, 1, w, 1),))
    x = emit("broadcast", x, attributes=((n, c, h, times, w, times), tuple(range(6))))
    return emit("reshape", x, attributes=((n, c, h * times, w * times),))


def maps_of(*outputs: Node) -> list[str]:
    return [kernel.label for kernel in plan_of(*outputs).kernels if kernel.kind == "map"]


def test_an_enlarged_image_is_copied_once_into_the_zeros_around_it(images) -> None:
    x, w = images
    y = convolve(x, w)
    again = floats(3, 4, 3, 3)
    kinds = maps_of(convolve(enlarged(y, 2), again))
    assert kinds.count("reshape") == 1 and "copy" not in kinds and "channels last" not in kinds
    check(convolve(enlarged(y, 2), again), convolve(enlarged(y, 3), again, 2), convolve(enlarged(y, 2), again, 0))
    check(convolve(enlarged(x, 2), w), convolve(enlarged(floats(2, 5, 4, 3), 2), w))
    check(emit("tanh", enlarged(y, 2)), enlarged(y, 2), emit("sum", enlarged(y, 2), attributes=((2,),)))
    check(convolve(enlarged(y, 2), again), emit("exp", enlarged(y, 2)))  # what is padded is used elsewhere too


def test_reshapes_of_images_that_mix_their_axes(images) -> None:
    x, w = images
    y = convolve(x, w)  # 2, 4, 9, 7
    for shape in ((2, 4, 7, 9), (2, 2, 14, 9), (8, 1, 9, 7), (2, 9, 4, 7), (1, 8, 9, 7), (2, 4, 63, 1), (2, 12, 21)):
        reshaped = emit("reshape", y, attributes=(shape,))
        check(emit("tanh", reshaped), emit("sum", reshaped, attributes=((1,),)))
        if len(shape) == 4:
            check(convolve(reshaped, floats(3, shape[1], 3, 3)))
    flat = emit("reshape", turned(y, (0, 2, 1, 3)), attributes=((2, 36, 7),))
    check(emit("tanh", flat), emit("reshape", flat, attributes=((2, 9, 28),)))


def test_zeros_around_volumes() -> None:
    check(convolve(emit("relu", floats(2, 3, 4, 5, 6)), floats(4, 3, 3, 3, 3)))
    check(convolve(emit("relu", floats(2, 3, 5)), floats(4, 3, 3)))
    x = emit("relu", floats(3, 2, 4, 3))
    check(convolve(pad(x, (0, 0, 2, 0), (0, 0, 1, 3)), floats(3, 2, 2, 2), 0))
