"""Parametrisation: a parameter of a layer becomes a function of others, as in ``torch.nn.utils.parametrize``."""

from __future__ import annotations

from typing import Any

from ..ops.base import misuse
from ..tensor import Tensor
from .containers import ModuleDict
from .module import Module
from .parameter import Parameter


class ParametrizationList(Module):
    """What computes one tensor of a layer: the tensors that it is computed from, and the module that does it.

    The state dict has `original` (or `original0`, `original1`, ... for several) and the module's own state under `0`.
    """

    _tensor_arguments = 1

    def __init__(self, parametrization: Module, original: Parameter):
        super().__init__()
        inverse = getattr(parametrization, "right_inverse", None)
        value = original.detach()
        parts = inverse(value) if inverse is not None else value
        self.is_tensor = isinstance(parts, Tensor)
        if isinstance(parts, Tensor):
            parts = (parts,)
        for number, part in enumerate(parts):
            name = "original" if self.is_tensor else f"original{number}"
            self.register_parameter(name, Parameter(part, original.requires_grad))
        self.ntensors = len(parts)
        self.add_module("0", parametrization)

    def forward(self, *_: Any) -> Tensor:
        """The tensor as it is now."""
        return self._modules["0"](*self._parameters.values())  # type: ignore[misc]


def register_parametrization(module: Module, tensor_name: str, parametrization: Module) -> Module:
    """Let parameter `tensor_name` of `module` be computed by `parametrization`; returns `module`.

    Args:
        module: the layer.
        tensor_name: a parameter of it. Afterwards ``module.parametrizations[tensor_name]`` holds what it is computed
            from, and the attribute is computed at each use.
        parametrization: its `forward` gives the tensor; its `right_inverse`, if there is one, the tensors to start from
            that give the present value.
    Raises:
        ConfigError: `module` has no such parameter, or it is parametrised already.
    Example:
        >>> import chainrule as cr
        >>> class Positive(cr.nn.Module):
        ...     def forward(self, original):
        ...         return cr.exp(original)
        >>> layer = cr.nn.Linear(2, 1, bias=False)
        >>> layer = cr.nn.utils.parametrize.register_parametrization(layer, "weight", Positive())
        >>> list(layer.state_dict()), bool((layer.weight > 0).all())
        (['parametrizations.weight.original'], True)
    """
    original = module._parameters.get(tensor_name)
    if original is None:
        have = ", ".join(module._parameters) or "none"
        if is_parametrized(module, tensor_name):
            raise misuse(f"{type(module).__name__}.{tensor_name} is parametrised already")
        raise misuse(f"{type(module).__name__} has no parameter {tensor_name!r}; there are: {have}")
    listing = ParametrizationList(parametrization, original)
    delattr(module, tensor_name)
    if "parametrizations" not in module._modules:
        module.add_module("parametrizations", ModuleDict())
        kind = type(module)
        # The attribute is computed by a property, which only a class can have: the layer gets one of its own.
        module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {"__module__": kind.__module__})
    _listings(module)[tensor_name] = listing
    setattr(type(module), tensor_name, property(lambda self: _listings(self)[tensor_name]()))
    return module


def _listings(module: Module) -> ModuleDict:
    """What computes the tensors of a module that is parametrised, by name."""
    found = module._modules["parametrizations"]
    assert isinstance(found, ModuleDict)
    return found


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether `module` computes `tensor_name` (or, if None, any tensor)."""
    listing = module._modules.get("parametrizations")
    if not isinstance(listing, ModuleDict):
        return False
    return tensor_name is None or tensor_name in listing


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make `tensor_name` an ordinary parameter again, with its present value; returns `module`.

    Raises:
        ConfigError: it is not parametrised, or the value before is asked for where several tensors stand for it.
    """
    if not is_parametrized(module, tensor_name):
        raise misuse(f"{type(module).__name__}.{tensor_name} is not parametrised")
    listings = _listings(module)
    listing: Any = listings[tensor_name]
    if not leave_parametrized and not listing.is_tensor:
        raise misuse(f"{tensor_name!r} is computed from several tensors: it can only be left as it is now")
    value = getattr(module, tensor_name) if leave_parametrized else listing.original
    requires_grad = any(parameter.requires_grad for parameter in listing.parameters())
    delattr(type(module), tensor_name)
    del listings[tensor_name]
    module.register_parameter(tensor_name, Parameter(value.detach(), requires_grad))
    if not len(listings):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module
