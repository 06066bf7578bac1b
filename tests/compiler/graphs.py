"""Random graphs of primitives, for tests that ask whether two ways to evaluate one graph agree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.dtypes import DType, bool_, float32, float64, int32, int64
from chainrule.graph.node import Node
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

EXTENTS = (1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 48, 64, 70)
FLOATS = (float32, float64)
LARGEST = 20_000

FLOAT_UNARY = (
    "neg abs sign square reciprocal floor ceil trunc round exp expm1 log log1p sqrt rsqrt sin cos tan asin acos atan"
    " sinh cosh tanh asinh acosh atanh erf sigmoid"
).split()
FLOAT_BINARY = "add sub mul div add sub mul maximum minimum pow remainder atan2".split()
INT_BINARY = "add sub mul maximum minimum bitwise_and bitwise_or bitwise_xor floor_divide remainder".split()
BOOL_BINARY = "logical_and logical_or logical_xor".split()
COMPARISONS = "eq ne lt le gt ge".split()
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1.0, 1.0, 3e38, 2.0**31)


class Generator:
    """Grows a graph of `count` operations; `nodes` are all its nodes, operands first.

    Shapes come from a few extents of `EXTENTS`, so that many operands fit each other. With `special`, leaves hold
    zeros of both signs, infinities, NaN and subnormal numbers too.
    """

    def __init__(self, seed: int, count: int = 30, special: bool = False, scale: int = 1):
        self.random = np.random.default_rng(seed)
        self.special = special
        self.extents = [int(n) for n in self.random.choice(EXTENTS, 3, replace=False)]
        if scale > 1:
            self.extents[0] *= scale
        self.nodes: list[Node] = []
        for dtype in (float32, float32, float64, int64, bool_):
            self.leaf(self.shape(), dtype)
        while len(self.nodes) < count:
            self.grow()
        used = {id(operand) for node in self.nodes for operand in node.inputs}
        self.results = [n for n in self.nodes if id(n) not in used and n.op.name != "constant"]
        computed = [n for n in self.nodes if n.op.name not in ("constant", "full", "iota")]
        extra = self.random.choice(len(computed), min(3, len(computed)), replace=False)
        self.results += [computed[i] for i in extra if not any(computed[i] is r for r in self.results)]

    # --- choices ----------------------------------------------------------------------------------

    def pick(self, things):
        return things[int(self.random.integers(len(things)))]

    def shape(self) -> tuple[int, ...]:
        rank = int(self.random.choice([0, 1, 2, 2, 3, 3, 4], p=[0.05, 0.2, 0.2, 0.2, 0.15, 0.15, 0.05]))
        while True:
            shape = tuple(int(self.pick([*self.extents, 1])) for _ in range(rank))
            if np.prod(shape, dtype=np.int64) <= LARGEST:
                return shape

    def some(self, test: Callable[[Node], bool]) -> Node | None:
        """A node that passes `test`, later ones more often."""
        fitting = [node for node in self.nodes if test(node)]
        if not fitting:
            return None
        weights = np.arange(1, len(fitting) + 1, dtype=float) ** 2
        return fitting[int(self.random.choice(len(fitting), p=weights / weights.sum()))]

    def add(self, name: str, *inputs: Node, attributes: tuple = ()) -> Node:
        node = emit(name, *inputs, attributes=attributes)
        self.nodes.append(node)
        return node

    def array(self, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
        if dtype.kind == "b":
            return self.random.random(shape) < 0.5
        if dtype.kind in "iu":
            return self.random.integers(-5 if dtype.kind == "i" else 0, 9, shape).astype(dtype.numpy)
        values = self.random.normal(size=shape)
        if self.special:
            where = self.random.random(shape) < 0.1
            values = np.where(where, self.random.choice(SPECIAL, shape), values)
        with np.errstate(over="ignore"):
            return np.asarray(values, dtype.numpy)

    def leaf(self, shape: tuple[int, ...], dtype: DType) -> Node:
        node = constant(np.array(self.array(shape, dtype)))
        self.nodes.append(node)
        return node

    def number(self, shape: tuple[int, ...], dtype: DType) -> Node:
        """A `full` node: a structural number, or one that becomes an argument of the program."""
        value: bool | int | float
        if dtype.kind == "b":
            value = bool(self.random.integers(2))
        elif dtype.kind == "f":
            value = float(self.pick([0.0, 1.0, -1.0, 2.0, 0.5, -0.0, 0.1, 3.75, float(self.random.normal())]))
        else:
            value = int(self.random.integers(0, 7))
        return self.add("full", attributes=(value, shape, dtype))

    def match(self, shape: tuple[int, ...], dtype: DType) -> Node:
        """An operand of this type: a node that is there, one that is broadcast, a number or a new leaf."""
        chance = self.random.random()
        if chance < 0.5:
            found = self.some(lambda n: n.shape == shape and n.dtype is dtype)
            if found is not None:
                return found
        if chance < 0.85:
            found = self.some(lambda n: n.dtype is dtype and n.shape != shape and embed(n.shape, shape) is not None)
            if found is not None:
                return self.add("broadcast", found, attributes=(shape, embed(found.shape, shape)))
        if chance < 0.95:
            return self.number(shape, dtype)
        return self.leaf(shape, dtype)

    # --- operations -------------------------------------------------------------------------------

    def grow(self) -> None:
        kinds = [self.unary, self.binary, self.binary, self.compare, self.select, self.cast, self.movement]
        kinds += [self.movement, self.reduction, self.reduction, self.contraction, self.indexing, self.assemble]
        kinds.append(self.leaves)
        self.pick(kinds)()

    def unary(self) -> None:
        x = self.some(lambda n: n.dtype.kind in "fb")
        assert x is not None
        self.add(self.pick(FLOAT_UNARY) if x.dtype.kind == "f" else "logical_not", x)

    def binary(self) -> None:
        x = self.some(lambda n: True)
        assert x is not None
        names = FLOAT_BINARY if x.dtype.kind == "f" else BOOL_BINARY if x.dtype.kind == "b" else INT_BINARY
        y = self.match(x.shape, x.dtype)
        self.add(self.pick(names), *((x, y) if self.random.random() < 0.5 else (y, x)))

    def compare(self) -> None:
        x = self.some(lambda n: n.dtype.kind != "b")
        assert x is not None
        self.add(self.pick(COMPARISONS), x, self.match(x.shape, x.dtype))

    def select(self) -> None:
        x = self.some(lambda n: True)
        assert x is not None
        self.add("where", self.match(x.shape, bool_), x, self.match(x.shape, x.dtype))

    def cast(self) -> None:
        x = self.some(lambda n: True)
        assert x is not None
        wanted = self.pick([float32, float64] if x.dtype.kind == "f" else [float32, float64, int32, int64, bool_])
        self.add("cast", x, attributes=(wanted,))

    def leaves(self) -> None:
        shape = self.shape()
        if shape and self.random.random() < 0.4:
            self.add("iota", attributes=(shape, int(self.random.integers(len(shape))), self.pick([int64, float32])))
        elif self.random.random() < 0.3:
            key = constant(np.array([self.random.integers(99), self.random.integers(99)], np.uint64))
            self.nodes.append(key)
            bits = self.add("random_bits", key, attributes=(shape,))
            self.add("cast", bits, attributes=(float32,))
        else:
            self.leaf(shape, self.pick([float32, float64, int64, bool_]))

    def movement(self) -> None:
        x = self.some(lambda n: bool(n.shape))
        if x is None:
            return
        kind, rank = int(self.random.integers(6)), len(x.shape)
        if kind == 0:
            self.add("permute", x, attributes=(tuple(int(a) for a in self.random.permutation(rank)),))
        elif kind == 1:
            self.add("reshape", x, attributes=(self.regroup(x.shape),))
        elif kind == 2:
            starts, stops, steps = [], [], []
            for extent in x.shape:
                start = int(self.random.integers(0, extent))
                starts.append(start if self.random.random() < 0.5 else 0)
                stops.append(extent)
                steps.append(self.pick([1, 1, 2, 3]))
            self.add("slice", x, attributes=(tuple(starts), tuple(stops), tuple(steps)))
        elif kind == 3:
            axes = tuple(a for a in range(rank) if self.random.random() < 0.5)
            self.add("flip", x, attributes=(axes,))
        elif kind == 4:
            shape = list(x.shape)
            place = int(self.random.integers(rank + 1))
            shape.insert(place, self.pick(self.extents))
            if np.prod(shape) <= LARGEST:
                axes = tuple(a for a in range(rank + 1) if a != place)
                self.add("broadcast", x, attributes=(tuple(shape), axes))
        else:
            self.add("reshape", x, attributes=((int(np.prod(x.shape)),),))

    def regroup(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Another shape with as many elements."""
        left, result = int(np.prod(shape)), []
        while left > 1 and len(result) < 3:
            factor = self.pick([n for n in range(1, left + 1) if left % n == 0])
            result.append(factor)
            left //= factor
        result.append(left)
        return tuple(int(n) for n in result)

    def reduction(self) -> None:
        x = self.some(lambda n: bool(n.shape))
        if x is None:
            return
        rank = len(x.shape)
        if x.dtype.kind != "b" and self.random.random() < 0.2:
            self.add(self.pick(["argmax", "argmin"]), x, attributes=(int(self.random.integers(rank)),))
            return
        axes = tuple(a for a in range(rank) if self.random.random() < 0.6) or (rank - 1,)
        names = ["any", "all"] if x.dtype.kind == "b" else ["sum", "sum", "sum", "max", "min", "prod"]
        self.add(self.pick(names), x, attributes=(axes,))

    def contraction(self) -> None:
        """A matrix product of any layout, with or without a batch."""
        x = self.some(lambda n: n.dtype.kind == "f" and len(n.shape) in (2, 3))
        if x is None:
            return
        rank = len(x.shape)
        labels = tuple(range(rank))
        summed = int(self.random.integers(rank))
        batch = [n for n in labels if n != summed and rank == 3 and self.random.random() < 0.5]
        rows = [n for n in labels if n != summed and n not in batch]
        extents = dict(zip(labels, x.shape)) | {9: self.pick(self.extents)}
        other = [*batch, summed, 9]
        self.random.shuffle(other)
        out = [*batch, *rows, 9]
        if self.random.random() < 0.6:
            self.random.shuffle(out)
        if np.prod([extents[n] for n in out]) > LARGEST:
            return
        y = self.match(tuple(int(extents[n]) for n in other), x.dtype)
        la, lb, lo = labels, tuple(int(n) for n in other), tuple(int(n) for n in out)
        if self.random.random() < 0.5:
            self.add("contract", x, y, attributes=(la, lb, lo))
        else:
            self.add("contract", y, x, attributes=(lb, la, lo))

    def indexing(self) -> None:
        x = self.some(lambda n: bool(n.shape))
        if x is None:
            return
        axis = int(self.random.integers(len(x.shape)))
        size = x.shape[axis]
        before, behind = x.shape[:axis], x.shape[axis + 1 :]
        kind = int(self.random.integers(4))
        shape = self.pick([(), (self.pick(self.extents),), (2, 3)])
        along = (*before, self.pick(self.extents), *behind)
        wanted = (*before, *shape, *behind) if kind in (0, 2) else along
        if np.prod(wanted) > LARGEST:
            return
        indices = self.random.integers(-size, size, shape if kind in (0, 2) else along)
        index = constant(np.array(indices, self.pick([np.int64, np.int32])))
        self.nodes.append(index)
        if self.random.random() < 0.3:
            index = self.add("permute", index, attributes=(tuple(range(len(index.shape))),))
        if kind == 0:
            self.add("take", x, index, attributes=(axis,))
        elif kind == 1:
            self.add("take_along", x, index, attributes=(axis,))
        elif x.dtype.kind != "b":
            updates = self.match(wanted, x.dtype)
            self.add("scatter_add" if kind == 2 else "scatter_add_along", x, index, updates, attributes=(axis,))

    def assemble(self) -> None:
        x = self.some(lambda n: bool(n.shape))
        if x is None:
            return
        rank = len(x.shape)
        if self.random.random() < 0.5:
            widths = self.random.integers(0, 3, (3, rank)).tolist()
            shape = [w + n + (n - 1) * i + h for w, h, i, n in zip(*widths, x.shape)]
            if np.prod(shape) <= LARGEST:
                self.add("pad", x, self.match((), x.dtype), attributes=tuple(map(tuple, widths)))
            return
        axis = int(self.random.integers(rank))
        parts = [x]
        for _ in range(int(self.random.integers(1, 3))):
            shape = (*x.shape[:axis], self.pick(self.extents), *x.shape[axis + 1 :])
            parts.append(self.match(shape, x.dtype))
        if sum(np.prod(p.shape) for p in parts) <= LARGEST:
            self.add("concat", *parts, attributes=(axis,))


def embed(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[int, ...] | None:
    """Axes of `large` that the axes of `small` become in a broadcast, or None."""
    axes, last = [], -1
    for extent in small:
        last = next((a for a in range(last + 1, len(large)) if extent in (1, large[a])), -2)
        if last < 0:
            return None
        axes.append(last)
    return tuple(axes)


def tolerance(node: Node, operands: list[np.ndarray], expected: np.ndarray) -> np.ndarray | float:
    """How far one primitive may lie from NumPy's: some units in the last place, of the sums' absolute terms."""
    unit = float(np.finfo(expected.dtype).eps)
    name = node.op.name
    if name in ("sum", "contract", "scatter_add", "scatter_add_along"):
        sizes = [a if a.dtype.kind in "iu" else np.abs(a) for a in operands]
        return np.asarray(node.op.numpy(*sizes)) * unit * 64
    if name == "remainder":  # exact up to these quotients, 0 beyond
        return np.where(np.abs(operands[0]) < 2.0**100 * np.abs(operands[1]), np.abs(expected) * unit * 16, np.inf)
    if name == "prod":
        size = np.abs(np.log(np.abs(operands[0]))).sum(axis=node.op.axes)
        safe = size < 0.8 * np.log(np.finfo(expected.dtype).max)  # else another order may overflow on the way
        return np.where(safe, np.abs(expected) * unit * max(operands[0].size, 1), np.inf)
    return np.abs(expected) * unit * 16
