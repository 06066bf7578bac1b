"""Trees: nested lists, tuples, dicts, named tuples, dataclasses and registered holders, with tensors as leaves.

None is a tree without leaves. A field of a dataclass with ``metadata={"static": True}`` is structure. Dict entries are
taken in the order of their sorted keys, keys of several types type by type, where these can be sorted.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from .ops.base import misuse


class TreeDef:
    """The structure of a tree without its leaves. Two are equal if trees with them have the same shape."""

    __slots__ = ("children", "data", "kind", "names", "num_leaves")

    def __init__(self, kind: Any, names: tuple = (), data: Any = None, children: tuple[TreeDef, ...] = ()):
        self.kind = kind  # None for a leaf, NoneType, a container type, or a registered type
        self.names = names  # of the children: keys or field names, none of tuples and lists
        self.data = data  # what else is needed to rebuild it: static fields, what a registered type gave
        self.children = children
        self.num_leaves: int = 1 if kind is None else sum(c.num_leaves for c in children)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TreeDef)
            and self.kind is other.kind
            and self.names == other.names
            and self.children == other.children
            and _same(self.data, other.data)
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.names, self.children))  # data may have no hash

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        parts = [repr(c) for c in self.children]
        if self.names:
            parts = [f"{key!r}: {part}" for key, part in zip(self.names, parts)]
        if self.data is not None:
            parts.append(repr(self.data))
        return f"{self.kind.__name__}({', '.join(parts)})"


def _same(a: Any, b: Any) -> bool:
    """Whether two settings are equal; those that cannot be compared, as arrays, are not."""
    try:
        return a is b or bool(a == b)
    except ValueError:
        return False


_SEQUENCES = (tuple, list)
_DICTS = (dict, OrderedDict, defaultdict)
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
    with suppress(TypeError):
        return tuple(sorted(tree))
    with suppress(TypeError):
        return tuple(sorted(tree, key=lambda key: (type(key).__qualname__, key)))
    return tuple(tree)


def _children(tree: Any) -> tuple[Any, tuple, Any, list[tuple[str, Any]]] | None:
    """(kind, names, data, children with their paths as written in code), None for a leaf."""
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind, (), None, [(f"[{i}]", child) for i, child in enumerate(tree)]
    if kind in _DICTS:
        keys = _sorted_keys(tree)
        return kind, keys, getattr(tree, "default_factory", None), [(f"[{key!r}]", tree[key]) for key in keys]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return kind, tree._fields, None, [(f".{name}", getattr(tree, name)) for name in tree._fields]
    rules = _registered(kind)
    if rules is not None:
        children, data = rules[0](tree)
        return kind, tuple(children), data, [(f".{name}", child) for name, child in children.items()]
    fields = getattr(kind, "__dataclass_fields__", None)  # what dataclasses.fields reads, without loading that module
    if fields is not None:
        stored = [field for field in fields.values() if field._field_type.name == "_FIELD"]
        names = tuple(field.name for field in stored if not field.metadata.get("static"))
        fixed = tuple((field.name, getattr(tree, field.name)) for field in stored if field.metadata.get("static"))
        return kind, names, fixed or None, [(f".{name}", getattr(tree, name)) for name in names]
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
    kind, names, data, children = found
    return TreeDef(kind, names, data, tuple(_flatten(c, path + name, leaves, paths, is_leaf) for name, c in children))


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
        raise misuse(f"tree_unflatten: {len(leaves)} leaves for a tree of {definition.num_leaves}")
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
        return kind(zip(definition.names, children))
    if kind is defaultdict:
        return defaultdict(definition.data, zip(definition.names, children))
    if issubclass(kind, tuple):
        return kind(*children)
    rules = _registered(kind)
    if rules is not None:
        return rules[1](definition.data, dict(zip(definition.names, children)))
    instance = object.__new__(kind)  # a dataclass: its fields, without running its checks on what may be placeholders
    for name, child in [*zip(definition.names, children), *(definition.data or ())]:
        object.__setattr__(instance, name, child)
    return instance


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of `tree` in order. `is_leaf` makes further values leaves."""
    return tree_flatten(tree, is_leaf)[0]


def tree_leaves_with_path(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of `tree` in order, each with its path as written in code.

    Example:
        >>> import chainrule as cr
        >>> cr.tree_leaves_with_path({"a": [1, 2]})
        [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    paths, leaves, _ = tree_flatten_with_path(tree)
    return list(zip(paths, leaves))


def tree_structure(tree: Any) -> TreeDef:
    """The structure of `tree`."""
    return tree_flatten(tree)[1]


def tree_map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree of ``f(leaf, leaves of the rest at the same place ...)``.

    Args:
        f: takes one leaf of each tree.
        tree, rest: trees of one structure.
        is_leaf: makes further values leaves.

    Raises ConfigError if a tree of `rest` has another structure.

    Example:
        >>> import chainrule as cr
        >>> cr.tree_map(lambda a, b: a + b, (1, {"k": 2}), (3, {"k": 4}))
        (4, {'k': 6})
    """
    leaves, definition = tree_flatten(tree, is_leaf)
    others = []
    for number, other in enumerate(rest, 1):
        more, structure = tree_flatten(other, is_leaf)
        if structure != definition:
            raise misuse(f"tree_map: tree {number} has structure {structure}, the first has {definition}")
        others.append(more)
    return tree_unflatten(definition, [f(*parts) for parts in zip(leaves, *others)])


def tree_map_with_path(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The tree of ``f(path, leaf, leaves of the rest at the same place ...)``; paths are written as in code.

    Raises ConfigError if a tree of `rest` has another structure.

    Example:
        >>> import chainrule as cr
        >>> cr.tree_map_with_path(lambda path, leaf: f"{path} is {leaf}", {"a": [1, 2]})
        {'a': ["['a'][0] is 1", "['a'][1] is 2"]}
    """
    paths, _, definition = tree_flatten_with_path(tree)
    return tree_map(f, tree_unflatten(definition, paths), tree, *rest)


_MISSING = object()


def tree_reduce(f: Callable[[Any, Any], Any], tree: Any, initial: Any = _MISSING) -> Any:
    """``f(f(f(initial, leaf 0), leaf 1), ...)``, without `initial` from the first leaf on.

    Raises ConfigError if there is neither a leaf nor `initial`.

    Example:
        >>> import chainrule as cr
        >>> cr.tree_reduce(lambda a, b: a + b, {"a": 1, "b": [2, 3]})
        6
    """
    leaves = tree_leaves(tree)
    if initial is not _MISSING:
        leaves.insert(0, initial)
    if not leaves:
        raise misuse("tree_reduce: a tree without leaves needs an initial value")
    return functools.reduce(f, leaves)


def tree_all(tree: Any) -> bool:
    """Whether all leaves are true; True without leaves.

    Example:
        >>> import chainrule as cr
        >>> cr.tree_all({"a": True, "b": [1, 0]})
        False
    """
    return all(tree_leaves(tree))


def broadcast_prefix(prefix: Any, definition: TreeDef, what: str) -> list[Any]:
    """One value of `prefix` for each leaf of `definition`: `prefix` is a tree that may stop above the leaves.

    None in `prefix` is a value; a list stands for a tuple, any dict for any. Raises ConfigError if they do not match.
    """
    found = None if prefix is None else _children(prefix)
    if found is None:
        return [prefix] * definition.num_leaves
    if definition.kind is None:
        raise misuse(f"{what}: {prefix!r} stands where there is one leaf")
    kind, names, _, parts = found
    alike = any(kind in group and definition.kind in group for group in (_SEQUENCES, _DICTS, (kind,)))
    if not alike or len(parts) != len(definition.children):
        raise misuse(f"{what}: {prefix!r} does not match {definition}")
    if names != definition.names:
        raise misuse(f"{what}: keys {list(names)} do not match {list(definition.names)}")
    return [v for (_, part), c in zip(parts, definition.children) for v in broadcast_prefix(part, c, what)]
