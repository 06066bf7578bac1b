"""Trees: nested lists, tuples, dicts, named tuples, dataclasses and registered holders, with tensors as leaves.

None is a tree without leaves. Dict entries are taken in the order of their sorted keys where these can be sorted.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from .errors import ConfigError


class TreeDef:
    """The structure of a tree without its leaves. Two are equal if trees with them have the same shape."""

    __slots__ = ("children", "data", "kind", "num_leaves")

    def __init__(self, kind: Any, data: Any = None, children: tuple[TreeDef, ...] = ()):
        self.kind = kind  # None for a leaf, NoneType, a container type, or a registered type
        self.data = data  # keys, field names, or what a registered type gave
        self.children = children
        self.num_leaves: int = 1 if kind is None else sum(c.num_leaves for c in children)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TreeDef)
            and self.kind is other.kind
            and self.data == other.data
            and self.children == other.children
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        parts = [repr(c) for c in self.children]
        if isinstance(self.data, tuple) and len(self.data) == len(parts):
            parts = [f"{key!r}: {part}" for key, part in zip(self.data, parts)]
        return f"{self.kind.__name__}({', '.join(parts)})"


LEAF = TreeDef(None)
_EMPTY = TreeDef(type(None))
_registry: dict[type, tuple[Callable[[Any], tuple[Any, Any]], Callable[[Any, Any], Any]]] = {}


def register(
    kind: type, flatten: Callable[[Any], tuple[dict[str, Any], Any]], unflatten: Callable[[Any, dict[str, Any]], Any]
) -> None:
    """Make instances of `kind` (and of its subclasses) inner nodes of trees, as modules are.

    Args:
        flatten: gives (children by name, what else is needed to rebuild, compared with ==).
        unflatten: takes (what else is needed, children by name) and rebuilds the instance.
    """
    _registry[kind] = (flatten, unflatten)


def _registered(kind: type) -> tuple[Callable, Callable] | None:
    for base in kind.__mro__:
        found = _registry.get(base)
        if found is not None:
            return found
    return None


def _sorted_keys(tree: dict) -> tuple:
    try:
        return tuple(sorted(tree))
    except TypeError:
        return tuple(tree)


def _children(tree: Any) -> tuple[Any, Any, list[tuple[str, Any]]] | None:
    """(kind, data, children with their names as written in code), None for a leaf."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind, len(tree), [(f"[{i}]", child) for i, child in enumerate(tree)]
    if kind is dict or kind is OrderedDict or kind is defaultdict:
        keys = _sorted_keys(tree)
        return kind, keys, [(f"[{key!r}]", tree[key]) for key in keys]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return kind, tree._fields, [(f".{name}", getattr(tree, name)) for name in tree._fields]
    rules = _registered(kind)
    if rules is not None:
        children, data = rules[0](tree)
        return kind, (tuple(children), data), [(f".{name}", child) for name, child in children.items()]
    fields = getattr(kind, "__dataclass_fields__", None)  # what dataclasses.fields reads, without loading that module
    if fields is not None:
        names = tuple(name for name, field in fields.items() if field._field_type.name == "_FIELD")
        return kind, names, [(f".{name}", getattr(tree, name)) for name in names]
    return None


def _flatten(tree: Any, path: str, leaves: list[Any], paths: list[str] | None, is_leaf: Any) -> TreeDef:
    if is_leaf is not None and is_leaf(tree):
        found = None
    elif tree is None:
        return _EMPTY
    else:
        found = _children(tree)
    if found is None:
        leaves.append(tree)
        if paths is not None:
            paths.append(path)
        return LEAF
    kind, data, children = found
    return TreeDef(kind, data, tuple(_flatten(c, path + name, leaves, paths, is_leaf) for name, c in children))


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeDef]:
    """The leaves of `tree` in order, and its structure. `is_leaf` makes further values leaves."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, "", leaves, None, is_leaf)


def tree_flatten_with_path(tree: Any, root: str = "") -> tuple[list[str], list[Any], TreeDef]:
    """The paths of the leaves, as written in code after `root`, the leaves, and the structure."""
    leaves: list[Any] = []
    paths: list[str] = []
    definition = _flatten(tree, root, leaves, paths, None)
    return paths, leaves, definition


def tree_unflatten(definition: TreeDef, leaves: Any) -> Any:
    """The tree with structure `definition` and these leaves."""
    leaves = list(leaves)
    if len(leaves) != definition.num_leaves:
        raise ConfigError(f"tree_unflatten: {len(leaves)} leaves for a tree of {definition.num_leaves}")
    return _build(definition, iter(leaves))


def _build(definition: TreeDef, leaves: Iterator[Any]) -> Any:
    kind = definition.kind
    if kind is None:
        return next(leaves)
    if kind is type(None):
        return None
    children = [_build(child, leaves) for child in definition.children]
    if kind is tuple or kind is list:
        return kind(children)
    if kind is dict or kind is OrderedDict:
        return kind(zip(definition.data, children))
    if kind is defaultdict:
        return defaultdict(None, zip(definition.data, children))
    if issubclass(kind, tuple):
        return kind(*children)
    rules = _registered(kind)
    if rules is not None:
        names, data = definition.data
        return rules[1](data, dict(zip(names, children)))
    instance = object.__new__(kind)  # a dataclass: its fields, without running its checks on what may be placeholders
    for name, child in zip(definition.data, children):
        object.__setattr__(instance, name, child)
    return instance


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves of `tree` in order."""
    return tree_flatten(tree)[0]


def tree_structure(tree: Any) -> TreeDef:
    """The structure of `tree`."""
    return tree_flatten(tree)[1]


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The tree of ``f(leaf, leaves of the rest at the same place ...)``.

    Raises ConfigError if a tree of `rest` has another structure.
    """
    leaves, definition = tree_flatten(tree)
    others = []
    for number, other in enumerate(rest, 1):
        more, structure = tree_flatten(other)
        if structure != definition:
            raise ConfigError(f"tree_map: tree {number} has structure {structure}, the first has {definition}")
        others.append(more)
    return tree_unflatten(definition, [f(*parts) for parts in zip(leaves, *others)])


def tree_map_with_path(f: Callable[..., Any], tree: Any) -> Any:
    """The tree of ``f(path, leaf)``."""
    paths, leaves, definition = tree_flatten_with_path(tree)
    return tree_unflatten(definition, [f(path, leaf) for path, leaf in zip(paths, leaves)])


def broadcast_prefix(prefix: Any, definition: TreeDef, what: str) -> list[Any]:
    """One value of `prefix` for each leaf of `definition`: `prefix` is a tree that may stop above the leaves.

    None in `prefix` is a value. Raises ConfigError where its containers do not match.
    """
    if not isinstance(prefix, (list, tuple, dict)) or definition.kind is None:
        if isinstance(prefix, (list, tuple, dict)):
            raise ConfigError(f"{what}: {prefix!r} stands where there is one leaf")
        return [prefix] * definition.num_leaves
    size = len(prefix)
    if size != len(definition.children) or isinstance(prefix, dict) != (definition.kind in (dict, OrderedDict)):
        raise ConfigError(f"{what}: {prefix!r} does not match {definition}")
    if isinstance(prefix, dict):
        if set(prefix) != set(definition.data):
            raise ConfigError(f"{what}: keys {sorted(prefix)} do not match {sorted(definition.data)}")
        parts = [prefix[key] for key in definition.data]
    else:
        parts = list(prefix)
    return [v for part, child in zip(parts, definition.children) for v in broadcast_prefix(part, child, what)]
