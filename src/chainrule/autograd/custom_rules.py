"""The rules of calls of functions with derivatives written by hand, as the markers of `ops.custom` hold them."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..conversion import to_node
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import message, mode
from ..ops.custom import Rule
from ..recording import full
from ..tensor import Tensor, state
from ..tree import TreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten
from .differentiation import NUMBERS, conjugated


class Call:
    """The arguments of one call, divided into those to differentiate by and the others."""

    def __init__(self, function: Any, args: tuple, kwargs: dict):
        name = function.name
        if kwargs:
            bound = inspect.signature(function.function).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                problem = f"{name} takes {', '.join(bound.kwargs)} by keyword only, which has no place in its rules"
                raise ConfigError(message(function.kind, problem, ()))
            args = bound.args
        self.args = args
        self.fixed = function.fixed(len(args))
        self.others = [args[i] for i in self.fixed]
        self.definitions: list[TreeDef] = []
        self.paths: list[str] = []
        self.nodes: list[Node] = []
        for number, argument in enumerate(args):
            if number in self.fixed:
                continue
            paths, leaves, definition = tree_flatten_with_path(argument, f"args[{number}]")
            for path, leaf in zip(paths, leaves):
                if not isinstance(leaf, NUMBERS):
                    problem = f"{path} of {name} is {type(leaf).__name__}, not a tensor"
                    help = f"name it in nondiff_argnums=({number},)"
                    raise DTypeError(message(function.kind, problem, (), help))
            self.definitions.append(definition)
            self.paths += paths
            self.nodes += [to_node(leaf, function.kind) for leaf in leaves]

    @property
    def structure(self) -> TreeDef:
        """Of all arguments to differentiate by, as a tuple."""
        return TreeDef(tuple, children=tuple(self.definitions))

    def differentiated(self) -> bool:
        """Whether a derivative may be asked for."""
        return mode.grad_enabled and any(node.requires_grad for node in self.nodes)


def _frozen(value: Any) -> Any:
    """What tells `value` from others in the key of a rule, which keeps it alive; of numbers their types and bits."""
    if isinstance(value, tuple):
        return (type(value), tuple(map(_frozen, value)))
    if isinstance(value, (float, complex, np.inexact)):
        return (type(value), repr(value))
    if isinstance(value, Hashable) and not isinstance(value, Tensor):
        try:
            hash(value)
        except TypeError:
            return ("identity", id(value))
        return (type(value), value)
    return ("identity", id(value))


class _Rule(Rule):
    """The rule of one call: the user's, with the structure of what it takes and returns."""

    def __init__(self, custom: Any, call: Call, out: TreeDef, roots: Sequence[Node], more: tuple = ()):
        self.custom: Any = custom
        self.others = call.others
        self.structure = call.structure
        self.paths = call.paths
        self.out = out
        self.outputs = [(root.shape, root.dtype) for root in roots]
        key = (
            id(custom), tuple(map(_frozen, call.others)), self.structure, out, tuple(self.outputs),
            tuple((node.shape, node.dtype) for node in call.nodes), more,
        )  # fmt: skip
        super().__init__(custom.name, len(roots), len(call.nodes), key)

    @contextmanager
    def lane(self, number: Node) -> Iterator[None]:
        """Inside, random draws differ from example to example, whose number is given."""
        before = state.lanes
        state.lanes = (*before, number)
        try:
            yield
        finally:
            state.lanes = before

    def fitting(self, what: str, leaf: Any, path: str, shape: tuple[int, ...], dtype: Any) -> Node | None:
        """A leaf that a rule returned, which has to have this type; None for zero."""
        if leaf is None or dtype.kind not in "fc":
            return None
        kind = self.custom.kind
        if not isinstance(leaf, NUMBERS):
            raise DTypeError(message(kind, f"the {what} {path} from {self.name} is {type(leaf).__name__}", ()))
        if isinstance(leaf, (int, float, complex)) and not shape:
            return full(leaf if isinstance(leaf, complex) else float(leaf), (), dtype)
        node = to_node(leaf, kind)
        if node.shape != shape:
            problem = f"the {what} {path} from {self.name} has shape {list(node.shape)}, not {list(shape)}"
            raise ShapeError(message(kind, problem, (node,)))
        if node.dtype is not dtype:
            problem = f"the {what} {path} from {self.name} has dtype {node.dtype.name}, not {dtype.name}"
            raise DTypeError(message(kind, problem, (node,), "convert with .astype(...)"))
        return node


def _entries(tree: Any, definition: TreeDef) -> list[Any] | None:
    """The leaves of `tree`, None standing for a whole subtree; None if the structure is another."""
    if tree is None:
        return [None] * definition.num_leaves
    leaves, found = tree_flatten(tree)
    if found == definition:
        return leaves
    if found.kind is None or definition.kind is None:
        return None
    leaves, top = tree_flatten(tree, is_leaf=lambda value: value is not tree)
    if (top.kind, top.names, top.data) != (definition.kind, definition.names, definition.data):
        return None
    result: list[Any] = []
    for part, child in zip(leaves, definition.children):
        entries = _entries(part, child)
        if entries is None:
            return None
        result += entries
    return result


class ReverseRule(_Rule):
    """The rule of a call whose residuals are operands of its markers."""

    def __init__(self, custom: Any, call: Call, out: TreeDef, roots: Sequence[Node], residuals: Any):
        leaves, self.residual_definition = tree_flatten(residuals)
        self.places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (Tensor, np.ndarray))]
        self.static = [None if i in set(self.places) else leaf for i, leaf in enumerate(leaves)]
        more = (self.residual_definition, tuple(self.places), tuple(map(_frozen, self.static)))
        super().__init__(custom, call, out, roots, more)

    def pull(self, arguments, residuals, cotangents, needed):
        """What the user's bwd returns."""
        leaves = list(self.static)
        for place, node in zip(self.places, residuals):
            leaves[place] = Tensor(node)
        return self.answer(tree_unflatten(self.residual_definition, leaves), arguments, cotangents)

    def answer(self, residuals: Any, arguments: Sequence[Node], cotangents: Sequence[Node]) -> list[Node | None]:
        """The cotangents of the arguments, from what bwd returns."""
        given = tree_unflatten(self.out, [Tensor(conjugated(node)) for node in cotangents])
        returned = self.custom.bwd(*self.others, residuals, given)
        children = self.structure.children
        if not isinstance(returned, (tuple, list)) or len(returned) != len(children):
            what = f"{len(returned)} entries" if isinstance(returned, (tuple, list)) else type(returned).__name__
            problem = f"the rule of {self.name} has to return a tuple of {len(children)} cotangents, not {what}"
            raise ConfigError(message("custom_vjp", problem, (), "one for each argument, None for zero"))
        parts: list[Node | None] = []
        for entry, definition in zip(returned, children):
            entries = _entries(entry, definition)
            if entries is None:
                structure = tree_flatten(entry)[1]
                problem = f"a cotangent from the rule of {self.name} has structure {structure}, not {definition}"
                raise ConfigError(message("custom_vjp", problem, ()))
            for leaf in entries:
                number = len(parts)
                node = arguments[number]
                part = self.fitting("cotangent of", leaf, self.paths[number], node.shape, node.dtype)
                parts.append(None if part is None else conjugated(part))
        return parts


class InnerRule(ReverseRule):
    """The rule of a call of the function in its own fwd, which is called again when a derivative asks for it."""

    final = True

    def __init__(self, custom: Any, call: Call, out: TreeDef, roots: Sequence[Node]):
        super().__init__(custom, call, out, roots, ("inner",))
        self.fixed = call.fixed

    def pull(self, arguments, residuals, cotangents, needed):
        """What the user's bwd returns for the residuals of a new call of fwd."""
        args = list(tree_unflatten(self.structure, [Tensor(node) for node in arguments]))
        for place, value in zip(self.fixed, self.others):
            args.insert(place, value)
        return self.answer(self.custom.forward(tuple(args))[1], arguments, cotangents)


class ForwardRule(_Rule):
    def push(self, arguments, tangents):
        """What the user's rule returns."""
        moving = [
            full(False if x.dtype.kind == "b" else 0, x.shape, x.dtype) if t is None else t
            for x, t in zip(arguments, tangents)
        ]
        trees = [tree_unflatten(self.structure, [Tensor(node) for node in nodes]) for nodes in (arguments, moving)]
        returned = self.custom.rule(*self.others, *trees)
        if not (isinstance(returned, (tuple, list)) and len(returned) == 2):
            problem = f"the rule of {self.name} has to return a pair (output, tangent), not {type(returned).__name__}"
            raise ConfigError(message("custom_jvp", problem, ()))
        entries = _entries(returned[1], self.out)
        if entries is None:
            structure = tree_flatten(returned[1])[1]
            problem = f"the tangent from the rule of {self.name} has structure {structure}, not {self.out}"
            raise ConfigError(message("custom_jvp", problem, ()))
        return [self.fitting("tangent", leaf, f"output {i}", *self.outputs[i]) for i, leaf in enumerate(entries)]
