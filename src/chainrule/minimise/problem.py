"""What is minimised, seen from the methods: parameters as one vector, and compiled evaluations of the function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import value_and_grad
from ..autograd.derivatives import hessian, jacobian
from ..capture import CompiledFunction
from ..errors import CompileError, ConfigError, DTypeError, NonFiniteError, ShapeError
from ..functions import asarray
from ..ops.base import message
from ..tensor import Tensor, node_of, state
from ..tree import tree_flatten_with_path, tree_leaves, tree_map, tree_unflatten

_NUMBERS = (Tensor, np.ndarray, np.generic, float, int, complex)


class Parameters:
    """A tree of parameters as one vector, in the order of its leaves, and back.

    Attributes:
        vector: the leaves one after the other, in the widest of their dtypes.
        definition, paths, shapes, dtypes: what makes the tree of it again.
    """

    def __init__(self, name: str, tree: Any, what: str = "x0"):
        if state.trace is not None:
            problem = "how many steps it takes depends on values, which a compiled or batched function does not have"
            raise CompileError(message(name, problem, (), "call it outside; what it evaluates is compiled anyway"))
        self.paths, leaves, self.definition = tree_flatten_with_path(tree, what)
        self.name = name
        if not leaves:
            raise ConfigError(message(name, f"{what} has no leaves: there is nothing to solve for", ()))
        arrays = []
        for path, leaf in zip(self.paths, leaves):
            if not isinstance(leaf, _NUMBERS):
                raise DTypeError(message(name, f"{path} is {type(leaf).__name__}, not a tensor", ()))
            tensor = leaf if isinstance(leaf, Tensor) else asarray(leaf)
            if tensor.dtype.name not in ("float32", "float64"):
                problem = f"{path} has dtype {tensor.dtype.name}, not float32 or float64"
                help = "convert with .astype(chainrule.float64)" if tensor.dtype.kind != "c" else ""
                raise DTypeError(message(name, problem, (node_of(tensor),), help))
            arrays.append(np.asarray(tensor.detach()))
        self.shapes = [array.shape for array in arrays]
        self.dtypes = [array.dtype for array in arrays]
        self.dtype = np.result_type(*self.dtypes)
        self.ends = np.cumsum([0, *(array.size for array in arrays)])
        self.vector = self.join(arrays)
        for path, array in zip(self.paths, arrays):
            if not np.isfinite(array).all():
                raise NonFiniteError(message(name, f"{_first_bad(path, array)}: all of {what} has to be finite", ()))

    @property
    def eps(self) -> float:
        """The rounding of the coarsest leaf."""
        return float(max(np.finfo(dtype).eps for dtype in self.dtypes))

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """The leaves that `vector` stands for."""
        return [
            vector[a:b].reshape(shape).astype(dtype, copy=False)
            for a, b, shape, dtype in zip(self.ends, self.ends[1:], self.shapes, self.dtypes)
        ]

    def join(self, leaves: Sequence[Any]) -> np.ndarray:
        """One vector of the leaves; a copy."""
        return np.concatenate([np.asarray(leaf).reshape(-1) for leaf in leaves]).astype(self.dtype, copy=False)

    def tree(self, vector: np.ndarray) -> Any:
        """The tree of tensors that `vector` stands for."""
        return tree_unflatten(self.definition, [asarray(np.array(leaf)) for leaf in self.split(vector)])

    def matching(self, tree: Any, what: str) -> np.ndarray:
        """The vector of another tree, which has to have the structure and shapes of this one."""
        leaves_paths, leaves, definition = tree_flatten_with_path(tree, what)
        if definition != self.definition:
            problem = f"{what} has structure {definition}, not {self.definition}"
            raise ConfigError(message(self.name, problem, ()))
        for path, leaf, shape in zip(leaves_paths, leaves, self.shapes):
            found = tuple(np.shape(leaf))
            if found != shape:
                raise ShapeError(message(self.name, f"{path} has shape {list(found)}, not {list(shape)}", ()))
        return self.join([leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves])

    def nonfinite(self, vector: np.ndarray, what: str) -> str:
        """Which element of a vector like the parameters is not finite, as written in code."""
        for path, leaf in zip(self.paths, self.split(vector)):
            if not np.isfinite(leaf).all():
                return _first_bad(what + path.removeprefix("x0"), leaf)
        return ""


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """``a . b``, summed in float64: products of large float32 numbers do not overflow."""
    return float(np.einsum("i,i->", a, b, dtype=np.float64) if a.dtype == np.float32 else a @ b)


def _first_bad(path: str, array: np.ndarray) -> str:
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    index = f"[{', '.join(map(str, place))}]" if place else ""
    return f"{path}{index} is {float(array[place])}"


def detached_args(args: Sequence[Any]) -> tuple[Any, ...]:
    """`args` without history: nothing is differentiated by them, and programs take such tensors only."""
    return tuple(tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, arg) for arg in args)


def compiled_or_not(function: Callable[..., Any], compile: bool) -> Callable[..., Any]:
    """`function` of a list of arrays and further arguments, compiled unless the user does not want that."""
    if compile:
        return CompiledFunction(function)
    return lambda leaves, *rest: function([asarray(np.array(leaf)) for leaf in leaves], *rest)


class Problem:
    """What is minimised: the start, the data, and how often something was computed.

    Attributes:
        parameters: the start, see `Parameters`.
        evaluations: how often the function has been computed.
        products: how many second-order quantities have been computed.
    """

    def __init__(self, name: str, x0: Any, args: Sequence[Any]):
        self.name = name
        self.parameters = Parameters(name, x0)
        self.args = detached_args(args)
        self.evaluations = 0
        self.products = 0


class Objective(Problem):
    """A scalar function of a tree as a function of one vector; each kind of evaluation is compiled once.

    Attributes:
        parameters: the start, see `Parameters`.
        scalar: the function, of a list of leaves and the further arguments.
        evaluations: how often the function and its gradient have been computed.
        products: how many Hessians, or products of it with a vector, have been computed.
    """

    def __init__(self, name: str, f: Callable[..., Any], x0: Any, args: Sequence[Any] = (), compile: bool = True):
        super().__init__(name, x0, args)
        definition = self.parameters.definition

        def scalar(leaves: list[Tensor], *rest: Any) -> Tensor:
            value = f(tree_unflatten(definition, leaves), *rest)
            if not isinstance(value, Tensor):
                raise DTypeError(message(name, f"f returned {type(value).__name__}, not a tensor", ()))
            if value.shape != ():
                problem = f"f returned shape {list(value.shape)}, not a scalar"
                raise ShapeError(message(name, problem, (node_of(value),), "reduce it with .sum() or .mean()"))
            if value.dtype.kind != "f":
                problem = f"f returned {value.dtype.name}, not a real number"
                raise DTypeError(message(name, problem, (node_of(value),)))
            return value

        self._gradient = compiled_or_not(value_and_grad(scalar), compile)
        self.scalar = scalar
        self._hessian = compiled_or_not(hessian(scalar), compile)

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient."""
        self.evaluations += 1
        value, gradient = self._gradient(self.parameters.split(vector), *self.args)
        return float(value), self.parameters.join(gradient)

    def start(self) -> tuple[np.ndarray, float, np.ndarray]:
        """The start, its value and its gradient.

        Raises NonFiniteError if one of these is not finite.
        """
        vector = self.parameters.vector
        value, gradient = self(vector)
        if not np.isfinite(value):
            raise NonFiniteError(message(self.name, f"f(x0) is {value}", (), "start where the function is finite"))
        bad = self.parameters.nonfinite(gradient, "the gradient at x0: g")
        if bad:
            raise NonFiniteError(message(self.name, bad, (), "start where the function has a derivative"))
        return vector, value, gradient

    def hessian(self, vector: np.ndarray) -> np.ndarray:
        """The Hessian as a symmetric matrix."""
        self.products += 1
        parts = self.parameters.split(vector)
        blocks = iter(tree_leaves(self._hessian(parts, *self.args)))
        rows = [[np.asarray(next(blocks)).reshape(a.size, b.size) for b in parts] for a in parts]
        matrix = np.block(rows).astype(self.parameters.dtype, copy=False)
        return (matrix + matrix.T) / 2


class Residuals(Problem):
    """A vector of residuals as a function of one vector of parameters, with its Jacobian.

    Attributes:
        parameters: the start, see `Parameters`.
        evaluations: how often the residuals have been computed.
        products: how many Jacobians have been computed.
    """

    def __init__(self, name: str, f: Callable[..., Any], x0: Any, args: Sequence[Any] = (), compile: bool = True):
        super().__init__(name, x0, args)
        definition = self.parameters.definition

        def residuals(leaves: list[Tensor], *rest: Any) -> Tensor:
            values = f(tree_unflatten(definition, leaves), *rest)
            if not isinstance(values, Tensor):
                raise DTypeError(message(name, f"the residuals are {type(values).__name__}, not a tensor", ()))
            if values.ndim != 1:
                problem = f"the residuals have shape {list(values.shape)}, not one axis"
                help = "return them before they are squared and summed, flattened with .reshape(-1)"
                raise ShapeError(message(name, problem, (node_of(values),), help))
            if values.dtype.kind != "f":
                problem = f"the residuals are {values.dtype.name}, not real numbers"
                raise DTypeError(message(name, problem, (node_of(values),)))
            return values

        def twice(leaves: list[Tensor], *rest: Any) -> tuple[Tensor, Tensor]:
            values = residuals(leaves, *rest)
            return values, values

        self._values = compiled_or_not(residuals, compile)
        self._jacobian = compiled_or_not(jacobian(twice, has_aux=True), compile)

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """The residuals."""
        self.evaluations += 1
        return np.asarray(self._values(self.parameters.split(vector), *self.args)).astype(self.parameters.dtype)

    def jacobian(self, vector: np.ndarray) -> np.ndarray:
        """The Jacobian of the residuals, (residuals, parameters)."""
        self.products += 1
        parts = self.parameters.split(vector)
        blocks, _ = self._jacobian(parts, *self.args)
        columns = [np.asarray(block).reshape(-1, part.size) for block, part in zip(tree_leaves(blocks), parts)]
        return np.concatenate(columns, 1).astype(self.parameters.dtype, copy=False)

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """The start and its residuals; NonFiniteError if one of them is not finite."""
        vector = self.parameters.vector
        values = self(vector)
        if not np.isfinite(values).all():
            bad = _first_bad("the residuals at x0: r", values)
            raise NonFiniteError(message(self.name, bad, (), "start where the function is finite"))
        return vector, values
