"""Runs one row in one mode and compares: with central differences, between the modes, with a loop, with native code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.tree import tree_flatten, tree_unflatten

from .rows import Row

#: step of the central differences, and tolerances relative to the largest magnitude that takes part
STEP, SLOPE, ADJOINT, SAME = 6e-6, 1e-6, 1e-12, 1e-10


def outputs_of(result: Any) -> list[Any]:
    """The real floating parts of a result, as tensors."""
    found = []
    for leaf in tree_flatten(result)[0]:
        if isinstance(leaf, cr.Tensor) and leaf.dtype.kind == "c":
            found += [cr.real(leaf), cr.imag(leaf)]
        elif isinstance(leaf, cr.Tensor) and leaf.dtype.kind == "f":
            found.append(leaf)
    return found


class Subject:
    """A smooth row as a function of float64 tensors alone, with directions and weights."""

    def __init__(self, row: Row):
        generator = np.random.default_rng(7)
        leaves, definition = tree_flatten(row.operands)
        self.places = [n for n, leaf in enumerate(leaves) if np.asarray(leaf).dtype.kind == "f"]

        def function(*point: Any) -> list[Any]:
            full = list(leaves)
            for place, x in zip(self.places, point):
                full[place] = x
            return outputs_of(row.function(*tree_unflatten(definition, full)))

        self.function = function
        self.point = [np.asarray(leaves[place], np.float64) for place in self.places]
        self.along = [generator.standard_normal(x.shape) for x in self.point]
        with cr.no_grad():
            self.values = [np.asarray(y) for y in function(*self.tensors(self.point))]
        self.weights = [generator.standard_normal(y.shape) for y in self.values]
        self.numbers = tuple(range(len(self.point)))

    def tensors(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        return [cr.asarray(a, dtype=cr.float64) for a in arrays]

    def total(self, *point: Any) -> Any:
        """The weighted sum of all outputs."""
        parts = [(y * cr.asarray(w, dtype=y.dtype)).sum() for y, w in zip(self.function(*point), self.weights)]
        return sum(parts[1:], parts[0])

    def gradient(self, *point: Any) -> tuple[Any, ...]:
        return cr.grad(self.total, argnums=self.numbers)(*point)

    def difference(self, function: Callable[..., Any]) -> list[np.ndarray]:
        """Central differences of all results of `function` along the direction."""
        ends = []
        for sign in (1, -1):
            moved = [x + sign * STEP * v for x, v in zip(self.point, self.along)]
            ends.append([np.asarray(y) for y in function(*self.tensors(moved))])
        return [(a - b) / (2 * STEP) for a, b in zip(*ends)]


def inner(a: Sequence[Any], b: Sequence[Any]) -> tuple[float, float]:
    """The sum of all products, and of their magnitudes."""
    products = [np.asarray(x) * np.asarray(y) for x, y in zip(a, b)]
    return float(sum(p.sum() for p in products)), float(sum(np.abs(p).sum() for p in products))


def near(what: str, found: Sequence[Any], expected: Sequence[Any], tolerance: float, floor: float = 1.0) -> None:
    """Assert that arrays agree up to `tolerance` of the largest expected magnitude (at least `floor`)."""
    found, expected = [np.asarray(x) for x in found], [np.asarray(x) for x in expected]
    assert len(found) == len(expected), f"{what}: {len(found)} results, not {len(expected)}"
    scale = max([floor, *(np.abs(e).max(initial=0.0) for e in expected)])
    for number, (a, e) in enumerate(zip(found, expected)):
        assert a.shape == e.shape, f"{what}: result {number} has shape {a.shape}, not {e.shape}"
        off = np.abs(a - e).max(initial=0.0)
        assert off <= tolerance * scale, f"{what}: result {number} is off by {off:.3g}, allowed {tolerance * scale:.3g}"


def value(subject: Subject) -> None:
    assert subject.values, "the function returns nothing floating"
    assert all(np.isfinite(y).all() for y in subject.values), "the value is not finite"


def reverse(subject: Subject) -> None:
    slope, size = inner(subject.gradient(*subject.tensors(subject.point)), subject.along)
    (expected,) = subject.difference(lambda *x: [subject.total(*x)])
    near("reverse mode along a direction", [slope], [expected], SLOPE, max(1.0, size))


def forward(subject: Subject) -> None:
    point, along = subject.tensors(subject.point), subject.tensors(subject.along)
    _, tangents = cr.jvp(subject.function, tuple(point), tuple(along))
    near("forward mode", tangents, subject.difference(subject.function), SLOPE)
    pushed, one = inner(subject.weights, tangents)
    pulled, two = inner(subject.gradient(*point), subject.along)
    assert abs(pushed - pulled) <= ADJOINT * (1 + one + two), f"jvp and vjp disagree: {pushed!r}, {pulled!r}"


def second(subject: Subject) -> None:
    point, along = subject.tensors(subject.point), subject.tensors(subject.along)
    _, product = cr.jvp(subject.gradient, tuple(point), tuple(along))
    near("forward over reverse", product, subject.difference(subject.gradient), SLOPE)

    def slope(*x: Any) -> Any:
        parts = [(g * v).sum() for g, v in zip(subject.gradient(*x), along)]
        return sum(parts[1:], parts[0])

    near("reverse over reverse", cr.grad(slope, argnums=subject.numbers)(*point), product, SAME)


def batched(subject: Subject) -> None:
    lanes = [subject.point, [x + 1e-3 * v for x, v in zip(subject.point, subject.along)]]
    stacked = [np.stack(parts) for parts in zip(*lanes)]

    def both(*x: Any) -> list[Any]:
        return [*subject.function(*x), *subject.gradient(*x)]

    found = cr.vmap(both)(*subject.tensors(stacked))
    expected = [np.stack([np.asarray(r) for r in rows]) for rows in zip(*(both(*subject.tensors(x)) for x in lanes))]
    near("batched value and gradient", found, expected, SAME)


def compiled(subject: Subject) -> None:
    point = subject.tensors(subject.point)

    def both(*x: Any) -> list[Any]:
        return [*subject.function(*x), *subject.gradient(*x)]

    near("compiled value and gradient", cr.compile(both)(*point), both(*point), SAME)


SMOOTH = {
    "value": value,
    "reverse": reverse,
    "forward": forward,
    "second order": second,
    "batched": batched,
    "compiled": compiled,
}


def _arrays(result: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in tree_flatten(result)[0]]


def _same(what: str, found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected), f"{what}: {len(found)} results, not {len(expected)}"
    for a, e in zip(found, expected):
        assert a.shape == e.shape and a.dtype == e.dtype, f"{what}: {a.dtype}{a.shape}, not {e.dtype}{e.shape}"
        np.testing.assert_allclose(a, e, rtol=SAME, atol=SAME, err_msg=what)


def plain(row: Row, mode: str) -> None:
    """A function without a derivative: its value, batched and compiled."""
    tensors = [cr.asarray(a) for a in row.operands]
    expected = _arrays(row.function(*tensors))
    if mode == "batched":
        stacked = [cr.asarray(np.stack([a, a])) for a in row.operands]
        _same(mode, _arrays(cr.vmap(row.function)(*stacked)), [np.stack([e, e]) for e in expected])
    elif mode == "compiled":
        _same(mode, _arrays(cr.compile(row.function)(*tensors)), expected)


def plain_modes(row: Row) -> tuple[str, ...]:
    """What a function without a derivative can do; without operands there is nothing to batch."""
    return ("value", "batched", "compiled") if row.operands else ("value", "compiled")
