"""The loop IR: kernels over an iteration space, their memory accesses and the code of one element.

A `Kernel` is what one native function computes. Its iteration axes run outermost first; axis 0 is
the one that threads divide. Operands are `Access`es: a buffer, an offset and a stride in elements for
every iteration axis (0: the operand does not move along it). What happens at one point of the space is a
`Body`: a list of instructions in single-assignment form. A reduction has two bodies, one for each
element that goes in and one for the result; a contraction has the one for its result.

Sizes and strides are *arguments* of the native function. In a specialised kernel (`baked`) those that do not
depend on the leading axis are constants of its code as well; the others never are, so that a new
batch size finds its kernels compiled. In a generic kernel none is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from ..dtypes import DType

#: pointer-table entries that every program has: the status words and the block of lifted scalars
STATUS, SCALARS = 0, 1
FIRST_BUFFER = 2

#: a reduction at most this long is one chain of operations, and its loop may be unrolled
SHORT_REDUCTION = 16
#: terms of a chain of multiply-adds that is written out, so that small tiles follow one another without a pause
SHORT_CHAIN = 12
#: outputs and inputs, along an axis, of a tile of a convolution by fewer multiplications
TILE_OUTPUTS, TILE_INPUTS = 2, 4
#: keys that an attention kernel works on together, unless it keeps all exponentials
ATTENTION_KEYS = 256
#: bytes of a cache line; after which addresses share lines of the first-level cache, and how many it holds of them
LINE, CACHE_WAY, MOST_WAYS = 64, 4096, 8
#: virtual lanes of a reduction along the last axis
LANES = 16
#: chains that the terms of a product of few columns are dealt to
DEALT = 8
#: elements of a row up to which kernels in step would wait for what the one before has found in its row
AWAITED_ROW = 768
#: primitives that cost many instructions
TRANSCENDENTAL = frozenset(
    "exp expm1 elu log log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh erf sigmoid pow".split()
)


@dataclass(slots=True)
class Access:
    """Where an operand lies: element ``offset + sum(index[a] * strides[a])`` of `buffer`."""

    buffer: int
    dtype: DType
    offset: int
    strides: tuple[int, ...]

    def same_place(self, other: Access) -> bool:
        return (self.buffer, self.offset, self.strides) == (other.buffer, other.offset, other.strides)


@dataclass(slots=True)
class Body:
    """Instructions of one element, and what is stored.

    Instructions are tuples; a value is named by the position of its instruction:

    - ("load", access): the element of operand `access` (an index into the kernel's accesses)
    - ("scalar", slot, dtype): lifted scalar number `slot` of the program
    - ("const", value, dtype): a structural number
    - ("index", access): the flat index ``offset + sum(...)`` itself, int64 (the buffer is unused)
    - ("op", primitive, operands, dtype): an elementwise primitive
    - ("take", access, index value, size argument): the element at the access moved by index * last stride
    - ("random", primitive, access of the key, index value)
    - ("check", index value, check number)
    - ("anchor",): the result of the reduction or contraction
    """

    code: list[tuple] = field(default_factory=list)
    stores: list[tuple[int, int]] = field(default_factory=list)  # (value, access)


@dataclass(slots=True)
class Kernel:
    """One native function: kind, iteration space, accesses and bodies.

    `kind` is "map", "reduce", "contract", "scatter" or "pack". `sizes` are the extents, axis 0 first; `vector` the
    axis that runs in vector lanes. `extra` holds numbers of the kind (documented with its emitter),
    `baked` says whether sizes and strides other than axis 0's are constants of the code.
    `scale`: positions of axis 0 for each row of the task's extent. `ahead`: accesses of which the next rows are asked
    for while these are worked on. `together`: how many rows a reduction along rows takes at once because they are near,
    0 where they may come from far away. `row`: elements of these rows, 0 where their number is an argument.
    `strips`: whether a reduction down columns walks along a few rows at a time. `past`: accesses that are
    written past the caches if they begin with a cache line (see past.py). `scratch`: accesses that are a row on the
    stack, not in a buffer.
    `stages`: the kernels that run in step in one "in_step", with its accesses (see in_step.py).
    """

    kind: str
    sizes: tuple[int, ...]
    vector: int
    accesses: list[Access]
    body: Body
    inner: Body = field(default_factory=Body)
    extra: tuple = ()
    static: tuple = ()
    baked: bool = True
    scale: int = 1
    label: str = ""
    in_place: tuple[int, ...] = ()
    ahead: tuple[int, ...] = ()
    together: int = 0
    row: int = 0
    strips: bool = False
    past: tuple[int, ...] = ()
    scratch: tuple[int, ...] = ()
    stages: tuple[Kernel, ...] = ()

    def with_arguments(self, words: list[int]) -> Kernel:
        """The kernel whose arguments are `words`, in the layout of `ArgumentLayout`: same code, other numbers."""
        layout = ArgumentLayout(self.accesses, len(self.sizes))
        accesses = []
        for n, a in enumerate(self.accesses):
            strides = tuple(words[w] for w in layout.strides[n])
            accesses.append(Access(words[layout.buffer[n]], a.dtype, words[layout.offset[n]], strides))
        sizes, extra = tuple(words[w] for w in layout.sizes), tuple(words[layout.extra :])
        stages, start = [], 0
        for stage in self.stages:
            end = start + len(stage.extra)
            stages.append(replace(stage, sizes=sizes, accesses=accesses, extra=extra[start:end]))
            start = end
        changed = replace(self, sizes=sizes, accesses=accesses, extra=extra, scale=words[layout.scale])
        return replace(changed, stages=tuple(stages)) if stages else changed

    def arguments(self) -> list[int]:
        """The words that a call passes, in the layout of `ArgumentLayout`."""
        words = [self.scale]
        for access in self.accesses:
            words += (access.buffer, access.offset)
        words += self.sizes
        for access in self.accesses:
            words += access.strides
        words += self.extra
        return words

    @property
    def free_axis(self) -> int:
        """The axis along which strides that are not 0 are arguments even in specialised code: a long chain's; or -1."""
        if self.kind == "reduce" and self.static[1] > self.vector and self.static[2:4] == (1, False):
            return self.static[1]
        return -1

    @property
    def for_each_row(self) -> bool:
        """Whether this is what kernels in step compute once for each row, between two walks."""
        return self.static == ("row",)

    @property
    def rows_apart(self) -> int:
        """How many rows each of kernels in step is behind the one before; what lies on the stack is one row."""
        return 2 if self.sizes[1] <= AWAITED_ROW and not self.scratch else 1

    def key(self) -> tuple:
        """What the code depends on: equal keys, equal functions."""
        vector = self.vector
        if self.baked:
            sizes: tuple = (None, *self.sizes[1:])
            if self.kind == "reduce" and not self.static[3] and not self.row:  # the outermost reduced extent varies
                reduced = self.static[1]
                sizes = (*sizes[:reduced], None, *sizes[reduced + 1 :])
            free = self.free_axis
            strides: tuple = tuple((a.dtype.name, _known(a.strides, free)) for a in self.accesses)
        else:
            sizes = (None,) * len(self.sizes)
            strides = tuple((a.dtype.name, len(a.strides), _unit(a.strides, vector)) for a in self.accesses)
        return (
            self.kind, self.baked, sizes, vector, strides, self.static,
            _code_key(self.body), _code_key(self.inner), tuple(self.body.stores), tuple(self.inner.stores), self.ahead,
            self.together, self.row, self.strips, self.past, self.scratch, tuple(stage.key() for stage in self.stages),
        )  # fmt: skip


class ArgumentLayout:
    """Positions of the argument words of a kernel with `accesses` operands and `axes` axes."""

    def __init__(self, accesses: list[Access], axes: int):
        count = len(accesses)
        self.scale = 0
        self.buffer = [1 + 2 * i for i in range(count)]
        self.offset = [2 + 2 * i for i in range(count)]
        position = 1 + 2 * count
        self.sizes = list(range(position, position + axes))
        position += axes
        self.strides: list[list[int]] = []
        for access in accesses:
            width = len(access.strides)
            self.strides.append(list(range(position, position + width)))
            position += width
        self.extra = position


def _code_key(body: Body) -> tuple:
    parts = []
    for instruction in body.code:
        if instruction[0] == "op":
            parts.append(("op", instruction[1].key, instruction[2]))
        elif instruction[0] == "random":
            parts.append(("random", *instruction[2:]))
        elif instruction[0] in ("scalar", "const"):
            parts.append((instruction[0], repr(instruction[1]), instruction[2].name))
        else:
            parts.append(instruction)
    return tuple(parts)


def _known(strides: tuple[int, ...], free: int) -> tuple[int | None, ...]:
    """Strides, with None for that of the axis `free` unless it is 0."""
    if free < 0 or not strides[free]:
        return strides
    return (*strides[:free], None, *strides[free + 1 :])


def _unit(strides: tuple[int, ...], axis: int) -> int | None:
    """The stride of an axis if code depends on it even when generic: 0 or 1."""
    return strides[axis] if axis < len(strides) and strides[axis] in (0, 1) else None


class Window(NamedTuple):
    """Along one axis of an image without zeros around it: the positions that index i of axis `axis` and index r of the
    summed axis `summed` meet, ``start + i * step + r * jump``. Those outside of 0 ... `extent` stand for zeros."""

    axis: int
    summed: int
    step: int
    jump: int
    start: int
    extent: int

    def inside(self, count: int, terms: int) -> tuple[int, int]:
        """The first of `count` indices all of whose `terms` lie in the image, and the one behind the last."""
        first = min(max(-(self.start // self.step), 0), count)
        reach = self.extent - 1 - self.start - (terms - 1) * self.jump
        return first, max(min(reach // self.step + 1, count), first)

    def beyond(self, count: int, terms: int, tile: int) -> list[int]:
        """The first index of each of the tiles of `count` indices that is shorter or sees beyond the image."""
        first, last = self.inside(count, terms)
        return [begin for begin in range(0, count, tile) if begin < first or begin + tile > last]


class Tiling(NamedTuple):
    """How a contraction walks its space (see backends/cpu/nest.py).

    `tile`: positions of a register tile along every axis but the last; `panels`: vectors of each panel of columns;
    `outside`: how many of the first axes are walked outside of the panels; `reduced`: extents of the summed axes, None
    where it is an argument; `first`: the first summed axis of a chain. Its blocks are "one", "inside" of a tile,
    "outside" of the panels, with partial sums in memory, or "dealt": as many chains side by side. `dense`: these take
    vectors of several rows of b, which follow one another. `packed`: b lies in panels of vectors. `pairs`: an element
    of a or b is a pair of bfloat16 side by side in memory, though its access says float32, which is as large.
    `block`: tiles of an image that are transformed together (see compiler/winograd.py), 0 for the plain nest.
    `across`: b is contiguous along the last summed axis instead of n, and is transposed in registers.
    `windows`: where a depthwise convolution may look over the borders of a (backends/cpu/windows.py), for each spatial
    axis; `together`: terms of the last summed axis that are written out, or tiles of rows (backends/cpu/planes.py).
    `turned`: a and b are copied to their memory, channels last, block by block (backends/cpu/turned.py).
    `pieces`: the summed axis that a chain with blocks "outside" is interrupted along, and after how many of its
    indices: what all tiles of a panel read of them stays near, and their sums wait in memory. None if it is not.
    """

    lanes: int
    tile: tuple[int, ...]
    panels: tuple[int, ...]
    outside: int
    reduced: tuple[int | None, ...]
    first: int
    blocks: str
    packed: bool
    pairs: bool = False
    block: int = 0
    across: bool = False
    windows: tuple[Window, ...] = ()
    together: int = 1
    dense: bool = False
    turned: bool = False
    pieces: tuple[int, int] | None = None

    @property
    def walked(self) -> int:
        """The outermost summed axis that a chain, or a piece of it, walks in one go."""
        return self.first if self.pieces is None else self.pieces[0]

    @property
    def dealt(self) -> bool:
        """Whether the terms are dealt to chains, the first summed axis, which have the second one's terms each."""
        return self.reduced[1:] == (None,)


class Attention(NamedTuple):
    """The shape of an attention kernel: `static` of the kernels "attention" and "attention_grad".

    `kept`: whether the exponentials are kept for the derivatives, instead of the log-sum-exp alone. `wanted`: of the
    forward kernel, whether (the result, what is kept) are stored; of the other, which of the gradients of queries,
    keys and values are. `pairs`: the accesses count pairs of bfloat16 features (of what is kept, of queries), and what
    is kept are weights.
    """

    queries: int
    keys: int
    features: int
    values: int
    causal: bool
    scale: float
    kept: bool
    wanted: tuple[bool, ...]
    pairs: bool = False

    @property
    def block(self) -> int:
        """Keys that are worked on together."""
        return self.keys if self.kept else min(ATTENTION_KEYS, self.keys)


def summed_extents(kernel: Kernel) -> tuple[int, ...]:
    """Extents of the summed axes of a contraction."""
    static = kernel.static
    if not isinstance(static, Tiling):
        return (kernel.extra[0],)
    return tuple(kernel.extra[1] if extent is None else extent for extent in static.reduced)


def has_windows(kernel: Kernel) -> bool:
    """Whether a kernel is a contraction that looks over the borders of its operand a."""
    return isinstance(kernel.static, Tiling) and bool(kernel.static.windows)


def inside_windows(kernel: Kernel) -> tuple[int, list[int], tuple[int, ...]]:
    """Offset, extents and strides of what a contraction with windows reads of a: the image, not what lies around it."""
    access = kernel.accesses[0]
    assert isinstance(kernel.static, Tiling)
    sizes = [*kernel.sizes, *summed_extents(kernel)]
    strides, offset = list(access.strides), access.offset
    for window in kernel.static.windows:
        unit = access.strides[window.axis] // window.step
        offset -= window.start * unit
        sizes[window.axis], strides[window.axis] = window.extent, unit
        strides[len(kernel.sizes) + window.summed] = 0
    return offset, sizes, tuple(strides)


def partial_sums(kernel: Kernel) -> set[int]:
    """The accesses of a contraction that hold sums in between: of its blocks, and of the pieces of their chains."""
    static = kernel.static
    if not isinstance(static, Tiling):
        return {2}
    return set() if static.blocks != "outside" else {2} if static.pieces is None else {2, 3}


def multiplies_pairs(kernel: Kernel) -> bool:
    """Whether an element of the operands of a contraction is a pair of bfloat16."""
    return kernel.static.pairs if isinstance(kernel.static, Tiling) else kernel.static[4]


class Tiles(Protocol):
    """What the scheduler asks of a backend about contractions."""

    #: whether products of bfloat16 run on pairs of elements
    pairs: bool

    def lanes(self, itemsize: int) -> int:
        """Elements in a vector along n."""

    def registers(self) -> int:
        """Vector registers."""

    def generic(self) -> tuple[int, int]:
        """Rows of a register tile of a product of any sizes, and vectors."""
