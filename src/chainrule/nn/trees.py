"""Modules as trees of tensors, so that `grad`, `vmap`, `tree_map` and the like take them as arguments."""

from __future__ import annotations

from typing import Any

from ..tree import register
from .module import Module


class _Shell:
    """A module without its tensors and children, for trees: equal if class and settings are."""

    def __init__(self, module: Module):
        self.kind = type(module)
        tables = (module._parameters, module._buffers, module._modules)
        self.tables = [list(table) for table in tables]
        self.non_persistent = set(module._non_persistent)
        names = {"_parameters", "_buffers", "_modules", "_non_persistent", *(n for t in tables for n in t)}
        self.settings = {name: value for name, value in module.__dict__.items() if name not in names}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shell) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.settings)


def _flatten(module: Module) -> tuple[dict[str, Any], _Shell]:
    return {**module._parameters, **module._buffers, **module._modules}, _Shell(module)


def _unflatten(shell: _Shell, children: dict[str, Any]) -> Module:
    """A module like the one flattened, with other tensors: what `grad` and `vmap` call the function with."""
    module = Module.__new__(shell.kind)
    parameters, buffers, modules = ({name: children[name] for name in table} for table in shell.tables)
    module.__dict__.update(
        {**children, **shell.settings, "_parameters": parameters, "_buffers": buffers, "_modules": modules,
         "_non_persistent": set(shell.non_persistent)}
    )  # fmt: skip
    return module


register(Module, _flatten, _unflatten)
