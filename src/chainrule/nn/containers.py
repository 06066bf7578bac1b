"""Modules that hold other modules: `Sequential`, `ModuleList` and `ModuleDict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import DTypeError
from ..ops.base import misuse
from .module import Module


class Sequential(Module):
    """Layers applied one after another: ``x -> f_n(... f_2(f_1(x)))``.

    Args:
        layers: modules, or one dict of named modules.
    Raises:
        DTypeError: something in `layers` is no module.
    Example:
        >>> import chainrule as cr
        >>> nn = cr.nn
        >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): ReLU()
          (2): Linear(in_features=8, out_features=3, bias=True)
        )
    """

    def __init__(self, *layers: Any):
        super().__init__()
        named = layers[0].items() if len(layers) == 1 and isinstance(layers[0], Mapping) else enumerate(layers)
        for name, layer in named:
            if not isinstance(layer, Module):
                raise DTypeError(_no_module("Sequential", name, layer))
            self.add_module(str(name), layer)

    def forward(self, input: Any) -> Any:
        """Apply the layers in order; shapes as the layers have them."""
        for layer in self._modules.values():
            input = layer(input)  # type: ignore[misc]
        return input

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))  # type: ignore[arg-type]

    def __getitem__(self, index: int | slice) -> Any:
        items = list(self._modules.items())
        if isinstance(index, slice):
            return Sequential(dict(items[index]))
        return items[index][1]

    def append(self, layer: Module) -> Sequential:
        """Add `layer` at the end; returns the module."""
        if not isinstance(layer, Module):
            raise DTypeError(_no_module("Sequential", len(self), layer))
        self.add_module(str(len(self)), layer)
        return self


class ModuleList(Module):
    """A list of modules, each registered under its index.

    Example:
        >>> import chainrule as cr
        >>> layers = cr.nn.ModuleList([cr.nn.Linear(2, 2) for _ in range(3)])
        >>> len(layers), len(list(layers.parameters()))
        (3, 6)
    """

    def __init__(self, modules: Iterable[Module] = ()):
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add `modules` at the end; returns the list."""
        for module in modules:
            self.append(module)
        return self

    def append(self, module: Module) -> ModuleList:
        """Add `module` at the end; returns the list."""
        if not isinstance(module, Module):
            raise DTypeError(_no_module("ModuleList", len(self), module))
        self.add_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))  # type: ignore[arg-type]

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self._modules.values())
        return ModuleList(modules[index]) if isinstance(index, slice) else modules[index]  # type: ignore[arg-type]

    def __setitem__(self, index: int, module: Module) -> None:
        keys = list(self._modules)
        self.add_module(keys[index], module)

    def forward(self, *inputs: Any) -> Any:
        """A list has no order of application; the error says what to use."""
        raise misuse("ModuleList holds modules and computes nothing: call its items, or use Sequential")


class ModuleDict(Module):
    """A dict of modules, each registered under its key.

    Example:
        >>> import chainrule as cr
        >>> heads = cr.nn.ModuleDict({"mean": cr.nn.Linear(4, 1), "spread": cr.nn.Linear(4, 1)})
        >>> sorted(heads.state_dict())
        ['mean.bias', 'mean.weight', 'spread.bias', 'spread.weight']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None):
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise DTypeError(_no_module("ModuleDict", name, module))
        # No attribute: keys such as "items" or "type" are allowed.
        self._modules[name] = module

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]  # type: ignore[return-value]

    def __delitem__(self, name: str) -> None:
        del self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._modules.values()  # type: ignore[return-value]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return self._modules.items()  # type: ignore[return-value]

    def forward(self, *inputs: Any) -> Any:
        """A dict has no order of application; the error says what to use."""
        raise misuse("ModuleDict holds modules and computes nothing: call its items, or use Sequential")


def _no_module(container: str, name: Any, value: Any) -> str:
    text = f"{container}: item {name} is {type(value).__name__}, which is no module"
    if callable(value):
        text += "\nhelp: wrap a function in a Module that calls it in forward, or call a class to make the layer"
    return text
