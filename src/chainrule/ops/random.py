"""Random bits that depend only on a key and on the position, never on threads or batches.

Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, 2011).
"""

from __future__ import annotations

import numpy as np

from ..dtypes import int64, uint32, uint64
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import size
from .base import Primitive, emit
from .rules import broadcast, full, reshape

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def philox(b, counter, key):
    """Four uint32 words from four counter words and two key words, in the vocabulary of ScalarBuilder `b`."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    shift = b.const(32, uint64)
    for round_ in range(ROUNDS):
        if round_:
            k0, k1 = b.add(k0, b.const(WEYL[0], uint32)), b.add(k1, b.const(WEYL[1], uint32))
        p0 = b.mul(b.cast(c0, uint64), b.const(MULTIPLIERS[0], uint64))
        p1 = b.mul(b.cast(c2, uint64), b.const(MULTIPLIERS[1], uint64))
        high0, low0 = b.cast(b.lshr(p0, shift), uint32), b.cast(p0, uint32)
        high1, low1 = b.cast(b.lshr(p1, shift), uint32), b.cast(p1, uint32)
        c0, c1, c2, c3 = b.xor(b.xor(high1, c1), k0), low1, b.xor(b.xor(high0, c3), k1), low0
    return c0, c1, c2, c3


class RandomBits(Primitive):
    """Uniform uint32 of `shape` from a key, uint64[2] = (seed, counter).

    Element i in row-major order is word i mod 4 of Philox4x32-10 with the counter words
    (i // 4 low and high, counter low and high) and the key words (seed low and high).
    """

    name = "random_bits"
    family = "random"
    attributes = ("shape",)
    differentiable = False

    def infer(self, key):
        """The attribute's shape, uint32."""
        if key.dtype is not uint64:
            self.reject("the key must be uint64", (key,), kind=DTypeError)
        if key.shape != (2,):
            self.reject("the key must have shape [2]", (key,))
        return self.shape, uint32

    def scalar_at(self, b, seed, counter, index):
        """The bits at flat position `index` (int64) for `seed` and `counter` (uint64)."""
        index = b.cast(index, uint64)
        block = b.lshr(index, b.const(2, uint64))
        shift = b.const(32, uint64)
        words = philox(
            b,
            (
                b.cast(block, uint32),
                b.cast(b.lshr(block, shift), uint32),
                b.cast(counter, uint32),
                b.cast(b.lshr(counter, shift), uint32),
            ),
            (b.cast(seed, uint32), b.cast(b.lshr(seed, shift), uint32)),
        )
        place = b.cast(b.and_(index, b.const(3, uint64)), uint32)
        result = words[3]
        for i in (2, 1, 0):
            result = b.select(b.eq(place, b.const(i, uint32)), words[i], result)
        return result

    def batch(self, inputs, batched, size_):
        """One key a lane: the same arithmetic, as nodes."""
        count = size(self.shape)
        keys = inputs[0]
        shape = (size_, count)

        def column(i):
            part = emit("slice", keys, attributes=((0, i), (size_, i + 1), (1, 1)))
            return broadcast(part, shape, (0, 1))

        index = emit("iota", attributes=(shape, 1, int64))
        bits = self.scalar_at(NodeBuilder(shape), column(0), column(1), index)
        return reshape(bits, (size_, *self.shape))

    def numpy(self, key):
        """Philox on arrays of blocks."""
        count = size(self.shape)
        blocks = np.arange((count + 3) // 4, dtype=np.uint64)
        seed, counter = int(key[0]), int(key[1])
        c = [blocks & 0xFFFFFFFF, blocks >> 32, counter & 0xFFFFFFFF, counter >> 32]
        c = [np.broadcast_to(np.asarray(word, np.uint64), blocks.shape) for word in c]
        k = [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(ROUNDS):
            p0, p1 = c[0] * np.uint64(MULTIPLIERS[0]), c[2] * np.uint64(MULTIPLIERS[1])
            low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
            c = [(p1 >> shift) ^ c[1] ^ np.uint64(k[0]), p1 & low, (p0 >> shift) ^ c[3] ^ np.uint64(k[1]), p0 & low]
            k = [(word + step) & 0xFFFFFFFF for word, step in zip(k, WEYL)]
        return np.stack(c, axis=1).astype(np.uint32).ravel()[:count].reshape(self.shape)


class NodeBuilder:
    """The part of the ScalarBuilder vocabulary that `scalar_at` uses, emitting nodes of one shape."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def const(self, value, dtype) -> Node:
        """`value` everywhere."""
        return full(value, self.shape, dtype)

    def cast(self, x: Node, dtype) -> Node:
        """x in another integer dtype, wrapping."""
        return emit("cast", x, attributes=(dtype,))

    def add(self, a: Node, b: Node) -> Node:
        """a + b."""
        return emit("add", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        """a * b."""
        return emit("mul", a, b)

    def lshr(self, a: Node, b: Node) -> Node:
        """a shifted right; a is unsigned."""
        return emit("shift_right", a, b)

    def and_(self, a: Node, b: Node) -> Node:
        """Bits in both."""
        return emit("bitwise_and", a, b)

    def xor(self, a: Node, b: Node) -> Node:
        """Bits that differ."""
        return emit("bitwise_xor", a, b)

    def eq(self, a: Node, b: Node) -> Node:
        """a == b."""
        return emit("eq", a, b)

    def select(self, condition: Node, a: Node, b: Node) -> Node:
        """a where `condition`, else b."""
        return emit("where", condition, a, b)
