"""Arithmetic on shapes: sizes, axes, broadcasting, slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import ShapeError

Shape = tuple[int, ...]


def size(shape: Iterable[int]) -> int:
    """Number of elements of `shape`."""
    count = 1
    for extent in shape:
        count *= extent
    return count


def strides(shape: Sequence[int]) -> Shape:
    """Row-major strides of `shape`, in elements."""
    result = []
    step = 1
    for extent in reversed(shape):
        result.append(step)
        step *= extent
    return tuple(reversed(result))


def normalize_axis(axis: int, rank: int, name: str = "axis") -> int:
    """`axis` as a number in [0, rank); negative ones count from the end."""
    index = axis.__index__()
    if not -rank <= index < rank:
        raise ShapeError(f"{name}: axis {index} is out of range for rank {rank}")
    return index + rank if index < 0 else index


def normalize_axes(axes: int | Iterable[int] | None, rank: int, name: str = "axes") -> Shape:
    """`axes` as a sorted tuple without repetition; None means all of them."""
    if axes is None:
        return tuple(range(rank))
    if not isinstance(axes, Iterable):
        return (normalize_axis(axes, rank, name),)
    result = tuple(sorted(normalize_axis(axis, rank, name) for axis in axes))
    if len(set(result)) != len(result):
        raise ShapeError(f"{name}: axes {tuple(axes)} name one axis twice")
    return result


def kept_axes(axes: Iterable[int], rank: int) -> Shape:
    """The axes in [0, rank) that are not in `axes`, in order."""
    dropped = set(axes)
    return tuple(axis for axis in range(rank) if axis not in dropped)


def reduced(shape: Sequence[int], axes: Iterable[int], keepdims: bool = False) -> Shape:
    """`shape` after a reduction over `axes`."""
    dropped = set(axes)
    if keepdims:
        return tuple(1 if axis in dropped else extent for axis, extent in enumerate(shape))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in dropped)


def broadcast_shapes(*shapes: Shape, name: str = "broadcast") -> Shape:
    """The common shape of `shapes` by the rule of NumPy and the Array API standard."""
    first = shapes[0] if shapes else ()
    if all(shape == first for shape in shapes):
        return first
    rank = max(len(shape) for shape in shapes)
    result = [1] * rank
    for shape in shapes:
        offset = rank - len(shape)
        for axis, extent in enumerate(shape, offset):
            if extent == 1 or extent == result[axis]:
                continue
            if result[axis] != 1:
                raise ShapeError(
                    f"{name}: extents {result[axis]} and {extent} of axis {axis - rank} do not fit together;"
                    f" shapes {', '.join(str(list(s)) for s in shapes)}"
                )
            result[axis] = extent
    return tuple(result)


def fill_unknown(shape: Iterable[int], count: int, name: str = "reshape") -> Shape:
    """`shape` with at most one -1 replaced so that it has `count` elements."""
    wanted = tuple(extent.__index__() for extent in shape)
    if wanted.count(-1) > 1:
        raise ShapeError(f"{name}: only one extent may be -1, got {wanted}")
    if any(extent < -1 for extent in wanted):
        raise ShapeError(f"{name}: extents must not be negative, got {wanted}")
    if -1 in wanted:
        known = size(extent for extent in wanted if extent != -1)
        if known == 0 or count % known:
            raise ShapeError(f"{name}: {count} elements do not fit shape {wanted}")
        wanted = tuple(count // known if extent == -1 else extent for extent in wanted)
    if size(wanted) != count:
        raise ShapeError(f"{name}: {count} elements do not fit shape {wanted} of {size(wanted)} elements")
    return wanted


def slice_extent(start: int, stop: int, step: int) -> int:
    """Number of elements of ``range(start, stop, step)`` for a positive step."""
    return max(0, (stop - start + step - 1) // step)
