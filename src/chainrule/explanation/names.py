"""Names for what a program is made of: layers, parameters, optimiser state, arguments, hyperparameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..capture import captured_names
from ..capture.arguments import argument_array
from ..capture.compiled import Compiled
from ..dtypes import uint64
from ..graph.node import Node
from ..layers import Layers
from ..ops.base import Credit
from ..tensor import Tensor
from ..tree import tree_flatten_with_path


class Names(Layers):
    """Which phase and layer each node belongs to, and what the tensors outside are called."""

    def __init__(self, trail: Sequence[Credit], order: Sequence[Node], function: Callable[..., Any] | None):
        super().__init__(trail, order)
        self._tensors: dict[int, str] = {}
        for root, prefix in self.prefixes:
            self._name_tensors(root, prefix)
        optimisers = {id(c.owner()): c.owner() for c in trail if c.kind == "optimiser" and c.owner is not None}
        for value in list(_captured(function)) + [(None, o) for o in optimisers.values()]:
            self._name_captured(*value)

    def add(self, name: str, value: Any) -> None:
        """Call an argument `name`."""
        self._tensors.setdefault(id(value), name)

    def tensor(self, tensor: Tensor) -> str:
        """What a tensor outside is called."""
        state = "state of a generator" if tensor.dtype is uint64 and tensor.shape == (2,) else "(unnamed)"
        return self._tensors.get(id(tensor)) or tensor.name or state

    def _name_tensors(self, root: Any, prefix: str) -> None:
        for path, module in root.named_modules():
            label = type(module).__name__
            self._layers.setdefault(id(module), f"{label} {prefix}{path}" if path else label)
        for path, tensor in [*root.named_parameters(), *root.named_buffers()]:
            self._tensors.setdefault(id(tensor), prefix + path)

    def _name_captured(self, name: str | None, value: Any) -> None:
        """Names of the tensors in something that the function refers to."""
        if isinstance(value, Tensor):
            self._tensors.setdefault(id(value), name or "")
        elif hasattr(value, "named_parameters"):
            self._name_tensors(value, f"{name}." if name else "")
        elif hasattr(value, "param_groups"):
            for param, slots in value.state.items():
                for slot, tensor in slots.items():
                    if slot == "step":
                        self._tensors.setdefault(id(tensor), f"step of {type(value).__name__}")
                    else:
                        self._tensors.setdefault(id(tensor), f"{slot} of {self.tensor(param)}")
        elif isinstance(value, (list, tuple, dict)) and len(value) <= 10000:
            for path, leaf in zip(*tree_flatten_with_path(value, name or "")[:2]):
                if isinstance(leaf, Tensor):
                    self._tensors.setdefault(id(leaf), path)

    def getter(self, getter: Callable[[], Any]) -> str:
        """What a lifted hyperparameter or a guarded flag is called, read off the function that looks it up."""
        found = nonlocals(getter)
        names = getattr(getter, "__code__", None)
        attribute = names.co_names[-1] if names is not None and names.co_names else ""
        if "key" in found:
            position = found.get("position")
            return f"{found['key']}" if position is None else f"{found['key']}[{position}]"
        if "self" in found:
            this = found["self"]
            owner = self.tensor(this) if isinstance(this, Tensor) else self._layers.get(id(this), type(this).__name__)
            return f"{attribute.lstrip('_')} of {owner}"
        return attribute or getattr(getter, "__qualname__", "value")


def nonlocals(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function's own names from enclosing functions stand for."""
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):
        return {}


def _captured(function: Callable[..., Any] | None) -> list[tuple[str, Any]]:
    """The names that a function takes from around it, modules before optimisers."""
    if function is None:
        return []
    values = []
    for is_global, place, name in captured_names(function):
        values.append((name, place[name] if is_global else place.cell_contents))
    owner = getattr(function, "__self__", None)
    if owner is not None:
        values += [(key, value) for key, value in getattr(owner, "__dict__", {}).items()]
    modules = [value for _, value in values if hasattr(value, "named_parameters")]
    named = [("" if len(modules) == 1 and hasattr(v, "named_parameters") else n, v) for n, v in values]
    return sorted(named, key=lambda pair: hasattr(pair[1], "param_groups"))


def named_arguments(function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    """The array leaves of a call's arguments with their names, in the order in which a program numbers them."""
    try:
        called = getattr(function, "forward", function)
        parameters = list(inspect.signature(called).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    pairs = [(plain[n] if n < len(plain) else f"argument {n}", value) for n, value in enumerate(args)]
    pairs += [(key, kwargs[key]) for key in sorted(kwargs)]
    found = []
    for name, value in pairs:
        paths, leaves, _ = tree_flatten_with_path(value, name)
        found += [(path, leaf) for path, leaf in zip(paths, leaves) if argument_array(leaf) is not None]
    return found


def leaf_names(entry: Compiled, names: Names, arguments: Sequence[str]) -> list[str]:
    """What each input of a program is called."""
    result = []
    for leaf in entry.leaves:
        if leaf.kind == "arg":
            result.append(arguments[leaf.number] if leaf.number < len(arguments) else f"argument {leaf.number}")
        elif leaf.kind == "cell":
            name = names.tensor(leaf.cell.tensor)
            result.append(f"grad of {name}" if leaf.cell.is_grad else name)
        elif leaf.kind == "lifted":
            result.append(names.getter(leaf.getter))
        else:
            result.append("constant")
    return result
