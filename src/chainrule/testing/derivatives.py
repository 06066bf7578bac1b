"""`check_grads`, `numerical_jvp` and `numerical_grad`: derivatives in both modes against differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import jvp, vjp
from ..conversion import to_node
from ..dtypes import DType, float64, real_dtype
from ..errors import CheckError, ConfigError, DTypeError, ShapeError
from ..functions import asarray
from ..ops.base import message
from ..tensor import Tensor
from ..tree import tree_flatten, tree_flatten_with_path, tree_unflatten
from .comparison import shown_index

__all__ = ["check_grads", "numerical_grad", "numerical_jvp"]

#: by dtype: step of a central difference, relative and absolute tolerance of a derivative against one, and relative
#: tolerance of forward against reverse mode. The step balances rounding (1 / step) against the third derivative.
_STEPS = {
    "float64": (6e-6, 1e-6, 1e-8, 1e-12),
    "float32": (5e-3, 2e-3, 1e-3, 1e-4),
    "float16": (1e-1, 1e-1, 5e-2, 5e-2),
    "bfloat16": (2e-1, 3e-1, 2e-1, 2e-1),
}
_MODES = ("fwd", "rev")


class _Function:
    """`f` as a function of its differentiable leaves alone, and those leaves."""

    def __init__(self, name: str, f: Callable[..., Any], args: Any):
        if not isinstance(args, (tuple, list)):
            args = (args,)
        self.f = f
        paths, leaves, self.definition = tree_flatten_with_path(tuple(args), "args")
        self.leaves = list(leaves)
        self.places: list[int] = []
        for place, leaf in enumerate(leaves):
            if isinstance(leaf, (bool, int)):
                continue
            if isinstance(leaf, (float, complex)):
                self.leaves[place] = asarray(leaf, dtype="complex128" if isinstance(leaf, complex) else float64)
            elif isinstance(leaf, (np.ndarray, np.generic)):
                self.leaves[place] = asarray(leaf)
            if isinstance(self.leaves[place], Tensor) and self.leaves[place].dtype.kind in "fc":
                self.places.append(place)
        if not self.places:
            problem = "no argument is floating or complex: there is nothing to differentiate by"
            raise DTypeError(message(name, problem, (), "pass tensors such as chainrule.asarray(..., dtype=float64)"))
        self.paths = [paths[place] for place in self.places]
        self.out_paths: list[str] = []

    @property
    def point(self) -> list[Tensor]:
        """The leaves that are differentiated."""
        return [self.leaves[place] for place in self.places]

    def __call__(self, *point: Tensor) -> tuple[Tensor, ...]:
        leaves = list(self.leaves)
        for place, value in zip(self.places, point):
            leaves[place] = value
        paths, outputs, _ = tree_flatten_with_path(self.f(*tree_unflatten(self.definition, leaves)), "output")
        kept = [
            (path, Tensor(to_node(output)) if not isinstance(output, Tensor) else output)
            for path, output in zip(paths, outputs)
        ]
        kept = [(path, output) for path, output in kept if output.dtype.kind in "fc"]
        self.out_paths = [path for path, _ in kept]
        return tuple(output for _, output in kept)


def _array(value: Any) -> np.ndarray:
    """The value in float64 or complex128."""
    array = np.asarray(value)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _shifted(point: Sequence[Tensor], along: Sequence[np.ndarray], step: float) -> list[Tensor]:
    return [asarray(_array(x) + step * d, dtype=x.dtype) for x, d in zip(point, along)]


def _difference(g: Callable[..., Any], point: Sequence[Tensor], along: Sequence[np.ndarray], step: float) -> list:
    """Central differences of all outputs of `g` along one direction."""
    above, below = g(*_shifted(point, along, step)), g(*_shifted(point, along, -step))
    return [(_array(a) - _array(b)) / (2 * step) for a, b in zip(above, below)]


def _directions(generator: np.random.Generator, like: Sequence[Tensor]) -> list[np.ndarray]:
    """Random numbers in the shapes of `like`, rounded to their dtypes so that every mode is given the same."""
    found = []
    for x in like:
        values = generator.standard_normal(x.shape)
        if x.dtype.kind == "c":
            values = values + 1j * generator.standard_normal(x.shape)
        found.append(_array(asarray(values, dtype=x.dtype)))
    return found


def _tensors(arrays: Sequence[np.ndarray], like: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(asarray(array, dtype=x.dtype) for array, x in zip(arrays, like))


def _inner(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> tuple[float, float]:
    """Re(sum(conj(a) b)) over all arrays, and the sum of the magnitudes of its terms."""
    terms = [np.real(np.conj(x) * y) for x, y in zip(a, b)]
    return float(sum(t.sum() for t in terms)), float(sum(np.abs(t).sum() for t in terms))


def _coarsest(tensors: Sequence[Tensor]) -> DType:
    kinds = [real_dtype(t.dtype) for t in tensors]
    return max(kinds, key=lambda dtype: _STEPS[dtype.name][0])


def check_grads(
    f: Callable[..., Any],
    args: Any,
    order: int = 1,
    modes: str | Sequence[str] = ("fwd", "rev"),
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    directions: int = 2,
) -> None:
    """Compare the derivatives of `f` with central differences along random directions, and the modes with one another.

    For directions v, and w for the outputs: forward mode's J v with (f(x + eps v) - f(x - eps v)) / (2 eps), element
    by element; reverse mode's <J^T w, v> with <w, J v>. Orders above 1 do the same with each first derivative as the
    function, so that with both modes order 2 checks forward over forward, forward over reverse and so on.

    Args:
        f: takes `args`, returns a tree of tensors. It has to be smooth near `args`, and give the same every time.
        args: tuple of trees. Floating and complex leaves are differentiated, others stay as they are; Python floats
            count as float64.
        order: highest order of derivative.
        modes: "fwd", "rev" or both.
        eps: step of the differences; by default 6e-6 in float64, 5e-3 in float32.
        atol, rtol: a derivative may differ from a difference by ``atol + rtol * largest expected magnitude``; by
            default 1e-8 and 1e-6 in float64, 1e-3 and 2e-3 in float32. The two modes have to agree to 1e-12 of the
            sum of magnitudes in float64 (1e-4 in float32) whatever is given here.
        seed, directions: of the random directions, and how many.

    Raises:
        CheckError: a derivative is wrong; the message names mode, order, direction, place, expected and found.
        DTypeError: nothing to differentiate.

    Numerics:
        Of complex arguments the derivative along v is that of a real-linear map; <a, b> is Re(sum(conj(a) b)), for
        which reverse mode, by the convention of `grad`, is the adjoint of forward mode.

    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray([0.3, 0.7], dtype=cr.float64)
        >>> cr.testing.check_grads(lambda x: cr.sin(x) * cr.exp(x), (x,), order=2)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or any(mode not in _MODES for mode in modes):
        raise ConfigError(message("check_grads", f"modes are {' and '.join(_MODES)}, not {modes!r}", ()))
    for what, value in (("order", order), ("directions", directions)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(message("check_grads", f"{what} must be a positive whole number, not {value!r}", ()))
    function = _Function("check_grads", f, args)
    _Checker(modes, eps, atol, rtol, directions, function.paths).check(function, function.point, order, seed, "")


class _Checker:
    def __init__(self, modes, eps, atol, rtol, directions, paths):
        self.modes, self.eps, self.atol, self.rtol = modes, eps, atol, rtol
        self.directions, self.paths = directions, paths

    def check(self, g: Callable[..., Any], point: Sequence[Tensor], order: int, seed: int, of: str) -> None:
        """Check the first derivatives of `g` at `point`, and with `order` above 1 those of its derivatives."""
        generator = np.random.default_rng(seed)
        outputs = g(*point)
        if not outputs:
            raise DTypeError(message("check_grads", "the function returned no floating or complex tensor", ()))
        names = getattr(g, "out_paths", None) or [f"result {n}" for n in range(len(outputs))]
        eps, rtol, atol, adjoint = _STEPS[_coarsest([*point, *outputs]).name]
        eps = eps if self.eps is None else self.eps
        rtol = rtol if self.rtol is None else self.rtol
        atol = atol if self.atol is None else self.atol
        for number in range(self.directions):
            v, w = _directions(generator, point), _directions(generator, outputs)
            expected = _difference(g, point, v, eps)
            where = f"direction {number} (seed {seed})"
            pushed = pulled = None
            if "fwd" in self.modes:
                pushed = [_array(t) for t in jvp(g, tuple(point), _tensors(v, point))[1]]
                for name, found, wanted in zip(names, pushed, expected):
                    self.compare(f"forward mode{of}", where, name, found, wanted, atol, rtol, eps)
            if "rev" in self.modes:
                pulled = [_array(t) for t in vjp(g, *point)[1](_tensors(w, outputs))]
                slope, (difference, size) = _inner(pulled, v)[0], _inner(w, expected)
                tolerance = atol + rtol * size
                if not abs(slope - difference) <= tolerance:
                    problem = f"reverse mode{of}, {where}: the slope along it should be {difference:.10g}"
                    shown = f"(central difference, eps={eps:g}), found {slope:.10g}"
                    self.fail(f"{problem} {shown}; tolerance {tolerance:.3g}", pulled, v, g, point, w, eps)
            if pushed is not None and pulled is not None:
                (forward, one), (reverse, other) = _inner(w, pushed), _inner(pulled, v)
                if not abs(forward - reverse) <= adjoint * (one + other) + np.finfo(np.float64).tiny:
                    problem = f"forward and reverse mode{of} disagree, {where}: <w, J v> is {forward:.17g}"
                    raise CheckError(message("check_grads", f"{problem}, <J^T w, v> is {reverse:.17g}", ()))
        if order > 1:
            v, w = _directions(generator, point), _directions(generator, outputs)
            if "fwd" in self.modes:
                tangents = _tensors(v, point)
                self.check(lambda *x: jvp(g, x, tangents)[1], point, order - 1, seed + 1, f"{of} of forward mode")
            if "rev" in self.modes:
                cotangents = _tensors(w, outputs)
                self.check(lambda *x: vjp(g, *x)[1](cotangents), point, order - 1, seed + 1, f"{of} of reverse mode")

    def compare(self, mode, where, name, found, wanted, atol, rtol, eps) -> None:
        """Element by element; raises CheckError at the worst one."""
        tolerance = atol + rtol * np.abs(wanted).max(initial=0.0)
        wrong = np.abs(found - wanted)
        if found.size and not (wrong <= tolerance).all():
            at = np.unravel_index(np.argmax(np.where(np.isnan(wrong), np.inf, wrong)), wrong.shape)
            place = f"{name} at {shown_index(at)}" if wrong.ndim else name
            problem = f"{mode}, {where}: the derivative of {place} should be {wanted[at]:.10g}"
            shown = f"(central difference, eps={eps:g}), found {found[at]:.10g}; tolerance {tolerance:.3g}"
            raise CheckError(message("check_grads", f"{problem} {shown}", (), _KINK))

    def fail(self, problem: str, pulled, v, g, point, w, eps) -> None:
        """Raise CheckError that also names the argument whose gradient is furthest off."""
        if len(v) > 1:
            off = []
            for number, (part, direction) in enumerate(zip(pulled, v)):
                only = [d if n == number else np.zeros_like(d) for n, d in enumerate(v)]
                wanted = _inner(w, _difference(g, point, only, eps))[0]
                off.append((abs(_inner([part], [direction])[0] - wanted), number))
            problem += f"; the gradient of {self.paths[max(off)[1]]} is furthest off"
        raise CheckError(message("check_grads", problem, (), _KINK))


_KINK = "differences need a function that is smooth near its arguments; move them away from kinks, or give another eps"


def numerical_jvp(f: Callable[..., Any], primals: Any, tangents: Any, eps: float | None = None) -> Any:
    """The derivative of `f` along `tangents` by a central difference: (f(x + eps t) - f(x - eps t)) / (2 eps).

    Args:
        f: takes the primals, returns a tree of tensors.
        primals, tangents: tuples of trees of the same structure; only floating and complex leaves are moved.
        eps: the step; by default 6e-6 in float64, 5e-3 in float32.

    Returns:
        The floating and complex outputs' derivatives: a tensor if `f` returns one, else a tuple in the order of leaves.

    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray(1.0, dtype=cr.float64)
        >>> slope = cr.testing.numerical_jvp(cr.tanh, (x,), (cr.ones_like(x),))
        >>> abs(float(slope) - (1 - float(cr.tanh(x)) ** 2)) < 1e-9
        True
    """
    function = _Function("numerical_jvp", f, primals)
    leaves, definition = tree_flatten(tuple(tangents) if isinstance(tangents, list) else tangents)
    if definition != function.definition:
        raise ConfigError(
            message("numerical_jvp", f"tangents have structure {definition}, primals {function.definition}", ())
        )
    point = function.point
    along = [_array(leaves[place]) for place in function.places]
    for x, d, path in zip(point, along, function.paths):
        if d.shape != x.shape:
            problem = f"the tangent of {path} has shape {list(d.shape)}, not {list(x.shape)}"
            raise ShapeError(message("numerical_jvp", problem, ()))
    outputs = function(*point)
    step = _STEPS[_coarsest([*point, *outputs]).name][0] if eps is None else eps
    found = [asarray(d, dtype=o.dtype) for d, o in zip(_difference(function, point, along, step), outputs)]
    return found[0] if len(found) == 1 else tuple(found)


def numerical_grad(f: Callable[..., Any], argnum: int = 0, eps: float | None = None) -> Callable[..., Tensor]:
    """A function that returns the gradient of the scalar function `f` by central differences, one element at a time.

    Args:
        f: takes tensors, returns a floating tensor of shape ``()``.
        argnum: the argument to differentiate by: a floating tensor, or a complex one (then df/dx + i df/dy, as `grad`).
        eps: the step; by default 6e-6 in float64, 5e-3 in float32.

    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray([1.0, 2.0], dtype=cr.float64)
        >>> cr.testing.assert_allclose(cr.testing.numerical_grad(lambda x: cr.sum(x**3))(x), 3 * x**2, rtol=1e-8)
    """

    def gradient(*args: Any) -> Tensor:
        x = args[argnum] if isinstance(args[argnum], Tensor) else asarray(args[argnum], dtype=float64)
        base = _array(x)
        found = np.zeros_like(base)
        step = _STEPS[real_dtype(x.dtype).name][0] if eps is None else eps

        def at(moved: np.ndarray) -> float:
            new = list(args)
            new[argnum] = asarray(moved, dtype=x.dtype)
            return float(f(*new))

        for unit in (1.0, 1j) if x.dtype.kind == "c" else (1.0,):
            for place in np.ndindex(base.shape):
                moved = base.copy()
                moved[place] = base[place] + step * unit
                above = at(moved)
                moved[place] = base[place] - step * unit
                found[place] += unit * (above - at(moved)) / (2 * step)
        return asarray(found, dtype=x.dtype)

    return gradient
