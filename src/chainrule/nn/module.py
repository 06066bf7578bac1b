"""`Module`: a part of a network that owns parameters, buffers and other modules."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import functions as fn
from ..dtypes import as_dtype
from ..errors import DataError, DTypeError, ShapeError
from ..ops.base import credit, misuse, mode
from ..tensor import Tensor, bump, node_of
from .parameter import Parameter


class Module:
    """Base of all layers and networks: assign parameters, buffers and modules to attributes, write `forward`.

    Attributes:
        training: whether `train` mode is on; `Dropout` and the like look at it.
    Raises:
        ConfigError: a layer's constructor is called on a tensor, as in ``nn.ReLU(z)``.
    Example:
        >>> import chainrule as cr
        >>> class Affine(cr.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = cr.nn.Parameter(cr.ones((3,)))
        ...     def forward(self, x):
        ...         return x * self.weight
        >>> list(Affine().state_dict())
        ['weight']
    """

    #: how many tensors a constructor of this package may be given by position (class weights of losses)
    _tensor_arguments = 0

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]

    def __new__(cls, *args: Any, **kwargs: Any):
        if cls.__module__.startswith(__package__ + "."):
            given = sum(isinstance(a, Tensor) for a in args)
            if given > cls._tensor_arguments:
                _teach_call(cls, given)
        self = super().__new__(cls)
        # Written here, not in __init__, so that a subclass that forgets super().__init__() works all the same.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _modules={}, _non_persistent=set())
        return self

    def __init__(self) -> None:
        pass

    # -- calling --------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any) -> Any:
        """What the module computes; subclasses define it."""
        raise misuse(f"{type(self).__name__} does not define forward(self, ...)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        try:
            if mode.trail is None:
                return self.forward(*inputs, **options)
            with credit("module", self):
                return self.forward(*inputs, **options)
        except Exception as error:
            _add_path(error, self)
            raise

    # -- registration ---------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = self._parameters, self._buffers, self._modules
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
            return
        if isinstance(value, Module):
            self.add_module(name, value)
            return
        if name in parameters or name in modules:
            if value is not None:
                kind, kinds = ("parameter", Parameter) if name in parameters else ("module", Module)
                help = "change its value with load_state_dict or an init function, or delete the attribute first"
                raise DTypeError(
                    f"{type(self).__name__}.{name} is a {kind}: assign a {kinds.__name__} or None, "
                    f"not {type(value).__name__}\nhelp: {help}"
                )
            (parameters if name in parameters else modules)[name] = None
        elif name in buffers:
            old = buffers[name]
            if isinstance(old, Tensor) and isinstance(value, Tensor):
                # The buffer is a cell that compiled programs hold: it keeps its identity and takes the value.
                old._rebind(node_of(value.detach()))
                return
            if value is not None and not isinstance(value, Tensor):
                raise DTypeError(f"{type(self).__name__}.{name} is a buffer: assign a tensor, not {value!r}")
            buffers[name] = value
        object.__setattr__(self, name, value)
        bump()

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)
        self._non_persistent.discard(name)
        object.__delattr__(self, name)
        bump()

    def _claim(self, name: str, table: dict) -> None:
        if not name or "." in name:
            raise misuse(f"{name!r} cannot name a part of a module: a name has letters and no dot")
        for other in (self._parameters, self._buffers, self._modules):
            if other is not table:
                other.pop(name, None)
        if name not in table and name not in self.__dict__ and hasattr(type(self), name):
            raise misuse(f"{name!r} is an attribute of {type(self).__name__} already: choose another name")

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add `parameter` under `name`; None keeps the place, as a layer without a bias does."""
        self._claim(name, self._parameters)
        if parameter is not None and parameter.name is None:
            parameter.name = name
        self._parameters[name] = parameter
        object.__setattr__(self, name, parameter)
        bump()

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add state that is saved but not trained; `persistent=False` keeps it out of the state dict."""
        self._claim(name, self._buffers)
        self._buffers[name] = tensor
        (self._non_persistent.discard if persistent else self._non_persistent.add)(name)
        object.__setattr__(self, name, tensor)
        bump()

    def add_module(self, name: str, module: Module | None) -> None:
        """Add `module` as a child under `name`."""
        if module is not None and not isinstance(module, Module):
            raise DTypeError(f"{type(self).__name__}.{name}: {module!r} is no module")
        self._claim(name, self._modules)
        self._modules[name] = module
        object.__setattr__(self, name, module)
        bump()

    register_module = add_module

    # -- walking --------------------------------------------------------------------------------------------------

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module (under `prefix`) and all below it, each once, parents before children."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            children = [(f"{name}.{n}" if name else n, m) for n, m in module._modules.items() if m is not None]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, with their names."""
        return ((name, module) for name, module in self._modules.items() if module is not None)

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (module for _, module in self.named_children())

    def _named(self, table: str, prefix: str, recurse: bool, unique: bool = True) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk = self.named_modules(prefix) if recurse else iter([(prefix, self)])
        for path, module in walk:
            for name, tensor in getattr(module, table).items():
                if tensor is None or (unique and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their paths, such as ``0.weight``; a shared one appears once, at its first place."""
        return self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their paths."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # -- changing all -----------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Switch training behaviour on (or off) here and below; returns the module."""
        for module in self.modules():
            module.__dict__["training"] = bool(mode)
        bump()
        return self

    def eval(self) -> Module:
        """Switch training behaviour off here and below; returns the module."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Let all parameters record gradients, or freeze them; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        bump()
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else fn.zeros_like(parameter.detach())

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Call `function` on every module, children before parents; returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self, dtype: Any) -> Module:
        """Convert floating parameters and buffers to `dtype`; returns the module."""
        wanted = as_dtype(dtype)
        if wanted.kind != "f":
            raise DTypeError(f"Module.to: parameters are floating; {wanted.name} is not")
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype is not wanted:
                tensor._rebind(node_of(tensor.detach().astype(wanted)))
                tensor.grad = None  # a gradient of the former dtype fits no more
        return self

    def float(self) -> Module:
        """Convert to float32; returns the module."""
        return self.to("float32")

    def half(self) -> Module:
        """Convert to float16; returns the module. For training, see `chainrule.autocast`."""
        return self.to("float16")

    def bfloat16(self) -> Module:
        """Convert to bfloat16; returns the module. For training, see `chainrule.autocast`."""
        return self.to("bfloat16")

    def double(self) -> Module:
        """Convert to float64; returns the module."""
        return self.to("float64")

    # -- state dict -------------------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Values of all parameters and persistent buffers under PyTorch's keys, in its order.

        The values are those of now: later training does not change them.
        """
        state = {}
        for path, module in self._named_modules_with_repeats(prefix):
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and name not in module._non_persistent:
                    state[f"{path}.{name}" if path else name] = tensor.detach()
        return state

    def _named_modules_with_repeats(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Like `named_modules`, but a module that is used twice appears under each of its paths."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._named_modules_with_repeats(f"{prefix}.{name}" if prefix else name)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Take the values of `state_dict`: tensors, NumPy arrays or anything that converts to them.

        Args:
            state_dict: values under the keys of `state_dict()`.
            strict: whether missing and unexpected keys are errors.
        Returns:
            The missing and the unexpected keys.
        Raises:
            DataError, ShapeError, DTypeError: all disagreements in one message, the nearest key named. Nothing is
                changed then.
        Example:
            >>> import chainrule as cr
            >>> a, b = cr.nn.Linear(2, 1), cr.nn.Linear(2, 1)
            >>> b.load_state_dict(a.state_dict())
            <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            problem = f"the state dict is {type(state_dict).__name__}, not a mapping of names to arrays"
            raise misuse(f"load_state_dict: {problem}\nhelp: pass what state_dict() of such a module returned")
        targets: dict[str, Tensor] = {}
        for path, module in self._named_modules_with_repeats(""):
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None and name not in module._non_persistent:
                    targets[f"{path}.{name}" if path else name] = tensor
        missing = [key for key in targets if key not in state_dict]
        unexpected = [key for key in state_dict if key not in targets]
        problems: list[tuple[type[Exception], str]] = []
        if strict:
            problems += [(DataError, f"missing {key!r}{_nearest(key, unexpected)}") for key in missing]
            problems += [(DataError, f"unexpected {key!r}{_nearest(key, targets)}") for key in unexpected]
        arrays = {}
        for key, tensor in targets.items():
            if key not in state_dict:
                continue
            value = state_dict[key]
            if hasattr(value, "__dlpack__") and not isinstance(value, (Tensor, np.ndarray)):
                value = fn.from_dlpack(value)  # NumPy does not know bfloat16
            array = value._value("load_state_dict") if isinstance(value, Tensor) else np.asarray(value)
            if array.shape != tuple(tensor.shape):
                problems.append((ShapeError, f"{key!r} has shape {array.shape}, the module's {tuple(tensor.shape)}"))
            elif array.dtype != tensor.dtype.numpy:
                found = value.dtype.name if isinstance(value, Tensor) else array.dtype
                problems.append((DTypeError, f"{key!r} is {found}, the module's is {tensor.dtype.name}"))
            else:
                arrays[key] = array
        if problems:
            kinds = {kind for kind, _ in problems}
            kind = kinds.pop() if len(kinds) == 1 else DataError
            listing = "".join(f"\n  {text}" for _, text in problems)
            help = "\nhelp: convert the module with .to(dtype) first, or the arrays" if kind is DTypeError else ""
            raise kind(f"the state dict does not fit {type(self).__name__}:{listing}{help}")
        for key, array in arrays.items():
            targets[key]._rebind(fn.asarray(array.copy())._node)
        return LoadResult(missing, unexpected)

    # -- printing ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The constructor's arguments as `repr` shows them."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()]
        head = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({head})"
        return "\n  ".join([f"{type(self).__name__}({head}", *lines]) + "\n)"


class LoadResult:
    """What `load_state_dict` met: `missing_keys` and `unexpected_keys`."""

    def __init__(self, missing_keys: list[str], unexpected_keys: list[str]):
        self.missing_keys = missing_keys
        self.unexpected_keys = unexpected_keys

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def _nearest(key: str, candidates: Any) -> str:
    found = difflib.get_close_matches(key, list(candidates), 1, 0.5)
    return f" (nearest: {found[0]!r})" if found else ""


def _teach_call(cls: type, given: int) -> None:
    """Raise ConfigError for a constructor called on tensors, as in the code samples of lecture 003."""
    names = ", ".join("xyzuvw"[:given])
    function = FUNCTION_OF.get(cls.__name__)
    other = f", or call nn.functional.{function}({names})" if function else ""
    example = f"nn.{cls.__name__}()({names})" if function else f"layer = nn.{cls.__name__}(...); layer({names})"
    raise misuse(
        f"nn.{cls.__name__}({names}): {cls.__name__} is a layer and takes its settings here, not a tensor\n"
        f"help: make the layer first, then call it: {example}{other}"
    )


#: names of the functions that do the work of layers, for the message above; filled by the layers' files
FUNCTION_OF: dict[str, str] = {}

_PATH_NOTE = "in layer "


def _add_path(error: BaseException, module: Module) -> None:
    """Note on `error` the path, from `module` down, of the layer that it came from.

    Each module on the way up renews the note, because only the outermost one knows the whole path.
    """
    try:
        source = getattr(error, "_layer", None)
        if source is None:
            source = error._layer = module  # type: ignore[attr-defined]
        path = next((name for name, m in module.named_modules() if m is source), "")
        layer = f"{path} ({type(source).__name__})" if path else f"({type(source).__name__})"
        notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith(_PATH_NOTE)]
        whole = f" of {type(module).__name__}" if path else ""
        error.__notes__ = [*notes, f"{_PATH_NOTE}{layer}{whole}"]
    except AttributeError:  # an exception class without a __dict__ carries no note
        pass
