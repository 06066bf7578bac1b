"""Convolutions with kernels of 3 by 3 by Winograd's minimal filtering: fewer multiplications than there are products.

Tiles of 2 by 2 outputs come from tiles d of 4 by 4 inputs: with the kernel g and small constant matrices A, B, G,

    Y = A' [(G g G') * (B' d B)] A,      dg = G' [sum over tiles of (A dY A') * (B' d B)] G

where * is the product of elements. Summed over channels (or, for the gradient of a kernel, over tiles) each of the 16
elements is a matrix product, so that an output costs 4 multiplications a channel instead of 9. The transformations
are additions and halvings. `images.minimal` tells which convolutions go this way; `backends/cpu/winograd.py` and
`winograd_grad.py` have the native code.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.1; Winograd, "Arithmetic Complexity
of Computations", 1980.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..dtypes import float32
from ..ops.base import primitive
from .elements import Bodies
from .kernel import TILE_INPUTS, TILE_OUTPUTS, Body, Tiling
from .tiling import WIDTHS, split_panels
from .views import contiguous

if TYPE_CHECKING:
    from .lowering import Lowering

#: bytes of the transformed tiles of a block; tiles of one, and those of a gradient, whose sums are read and written for
#: each block, so that with few channels the nearest cache holds all of it
BLOCK_BYTES, MOST_TILES, MOST_TERMS = 192 << 10, 8, 12


def tiles_of(height: int, width: int) -> int:
    """Tiles of an image with so many outputs; where they are odd, tiles at the end overlap others."""
    return -(-height // TILE_OUTPUTS) * -(-width // TILE_OUTPUTS)


def tiles_at_once(channels: int, outputs: int, most: int) -> int:
    """Tiles that are transformed together."""
    return max(1, min(most, BLOCK_BYTES // (4 * TILE_INPUTS * TILE_INPUTS * (channels + outputs))))


@lru_cache(maxsize=1024)
def forward_tiling(registers: int, lanes: int, channels: int, outputs: int, height: int, width: int) -> Tiling:
    """The tiling of a convolution: tiles of a register tile, panels of output channels, tiles of a block."""
    tiles, vectors, most = tiles_of(height, width), -(-outputs // lanes), tiles_at_once(channels, outputs, MOST_TILES)
    best: tuple[float, int, tuple[int, ...], int] | None = None
    for wide in WIDTHS:
        if wide > vectors:
            continue
        panels = split_panels(vectors, wide)
        for rows in range(1, min((registers - panels[0] - 1) // panels[0], most, 28) + 1):
            steps = (max(rows * p / 2, (rows + p) * 0.515, 4.5) * channels + rows * p + 16 for p in panels)
            price = sum(steps)
            for groups in range(1, most // rows + 1):
                whole, rest = divmod(tiles, groups * rows)
                cost = (whole * groups + -(-rest // rows)) * price + 40 * (whole + bool(rest))
                if best is None or cost < best[0]:
                    best = cost, rows, panels, groups * rows
    assert best is not None
    _, rows, panels, block = best
    return Tiling(lanes, (rows,), panels, 1, (3, 3, channels), 0, "one", True, block=block)


def gradient_tiling(registers: int, lanes: int, channels: int, outputs: int, height: int, width: int) -> Tiling:
    """The tiling of the gradient of a kernel: input channels of a register tile, panels of output channels, tiles of a
    block, which are the terms of a chain."""
    vectors = -(-outputs // lanes)
    block = tiles_at_once(channels, outputs, MOST_TERMS)
    best: tuple[float, int, tuple[int, ...]] | None = None
    for wide in WIDTHS:
        if wide > vectors:
            continue
        panels = split_panels(vectors, wide)
        for rows in range(1, min((registers - panels[0] - 1) // panels[0], channels, 28) + 1):
            price = sum(max(rows * p / 2, (rows + p) * 0.515, 4.5) * block + 1.5 * rows * p + 16 for p in panels)
            cost = -(-channels // rows) * price
            if best is None or cost < best[0]:
                best = cost, rows, panels
    assert best is not None
    return Tiling(lanes, (best[1],), best[2], 1, (None, height, width), 0, "outside", False, block=block)


def transformed_kernel(
    lowering: Lowering, source: int, shape: tuple[int, int, int], flipped: bool
) -> tuple[int, tuple[int, ...]]:
    """The buffer of G g G' for all kernels of a packed one, and its strides of vector, element and channel.

    Args:
        lowering: where the kernel goes.
        source: the packed kernel, in the layout (vector, 3, 3, channel, lane).
        shape: its vectors, channels and lanes.
        flipped: whether the places of the kernel run backwards.
    """
    vectors, channels, lanes = shape
    packed = contiguous((vectors, 3, 3, channels, lanes))
    whole = contiguous((vectors, TILE_INPUTS * TILE_INPUTS, channels, lanes))
    key = ("transformed", flipped, source)
    if key in lowering.packed:
        return lowering.packed[key], whole[:-1]
    buffer = lowering.new_buffer("arena", float32, (vectors, TILE_INPUTS * TILE_INPUTS, channels, lanes))
    bodies = Bodies(lowering, (vectors, channels, lanes), [])
    body = Body()

    def push(*instruction: Any) -> int:
        body.code.append(instruction)
        return len(body.code) - 1

    def combine(name: str, a: int, b: int) -> int:
        return push("op", primitive(name), (a, b), float32)

    half = push("const", 0.5, float32)

    def spread(g: list[int]) -> list[int]:
        """Column by column G times three values."""
        ends = combine("add", g[0], g[2])
        both = [combine(name, ends, g[1]) for name in ("add", "sub")]
        return [g[0], *(combine("mul", value, half) for value in both), g[2]]

    places = [[(2 - i, 2 - j) if flipped else (i, j) for j in range(3)] for i in range(3)]
    steps = (packed[0], packed[3], packed[4])
    loaded = [
        [push("load", bodies.access(source, float32, i * packed[1] + j * packed[2], steps)) for i, j in row]
        for row in places
    ]
    columns = [spread([loaded[i][j] for i in range(3)]) for j in range(3)]
    for i in range(TILE_INPUTS):
        for j, value in enumerate(spread([columns[j][i] for j in range(3)])):
            place = bodies.access(
                buffer.number, float32, (TILE_INPUTS * i + j) * whole[1], (whole[0], whole[2], whole[3])
            )
            body.stores.append((value, place))
    lowering.add_map(bodies, body, (vectors, channels, lanes), "transformed kernel")
    lowering.packed[key] = buffer.number
    return buffer.number, whole[:-1]


def partial_gradient(lowering: Lowering, parts: int, channels: int, outputs: int) -> tuple[int, tuple[int, ...]]:
    """A buffer for the sums over the tiles of each part, and its strides (part, channel, 3, 3, output channel).

    Its rows are whole vectors: the processor waits for a masked write when what lies beside it is read.
    """
    lanes = lowering.tiles.lanes(float32.itemsize)
    shape = (parts, TILE_INPUTS * TILE_INPUTS, channels, -(-outputs // lanes) * lanes)
    buffer = lowering.new_buffer("arena", float32, shape)
    part, element, channel, output = contiguous(shape)
    return buffer.number, (part, channel, TILE_INPUTS * element, element, output)
