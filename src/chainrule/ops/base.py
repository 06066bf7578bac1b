"""`Primitive`: the base of all operations, their registry, and `emit`, which records one."""

from __future__ import annotations

import importlib.util
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ..dtypes import DType, converted, widened
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node, recorded
from ..lines import describe_line, user_line

REGISTRY: dict[str, type[Primitive]] = {}
FAMILIES = ("leaf", "elementwise", "movement", "reduction", "contraction", "indexing", "matrix", "random", "control")


class Mode(threading.local):
    """What recording does in this thread."""

    grad_enabled = True
    #: line to give to emitted nodes while a transformation rewrites a graph, else None
    where: Any = None
    #: the dtype in which products of float32 operands are recorded (see `autocast`), else None
    precision: DType | None = None
    #: while a function is traced, what recorded which nodes (see `credit`), else None
    trail: list[Credit] | None = None


mode = Mode()


class JointRules(NamedTuple):
    """The rules of an operation with several results, which are sibling nodes that differ in ``op.index`` alone.

    Attributes:
        vjp: ``(nodes, cotangents, needed, sweep)``, siblings with cotangents, to the cotangents of their operands.
        jvp: ``(node, tangents, push)``, one sibling and the tangents of its operands, to those of all results.
        batch: ``(joined, operands, batched, size, spread)`` to all results, each with a leading batch axis.

    `sweep`, `push` and `spread` are the transformations `reverse.vjp`, `forward.jvp` and `batch.batch` themselves.
    """

    vjp: Callable[..., Sequence[Node | None]]
    jvp: Callable[..., Sequence[Node | None]]
    batch: Callable[..., Sequence[Node]]


class Credit(NamedTuple):
    """Nodes with serials in ``(first, last]`` were recorded by `kind` ("module", "optimiser" or "reverse")."""

    kind: str
    owner: weakref.ref | None
    first: int
    last: int


@contextmanager
def credit(kind: str, owner: Any = None) -> Iterator[None]:
    """Note in the trail, if there is one, that what is recorded inside comes from `owner`."""
    trail = mode.trail
    if trail is None:
        yield
        return
    first = recorded()
    try:
        yield
    finally:
        trail.append(Credit(kind, None if owner is None else weakref.ref(owner), first, recorded()))


class Primitive:
    """One operation: its attributes, type rule, derivatives, batching rule and meaning.

    A concrete class has a docstring, `name`, `family`, `attributes` (names of constructor
    arguments, hashable values), and the methods below. Rules build nodes with `emit`, by name, so
    that no family imports another. Primitives never broadcast or promote.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    attributes: ClassVar[tuple[str, ...]] = ()
    differentiable: ClassVar[bool] = True
    #: whether one instance per set of attributes is kept and shared
    shared: ClassVar[bool] = True
    #: whether nodes with the same operands are results of one operation, which transformations treat together
    joint: ClassVar[bool] = False
    #: the rules for all those results; the primitive's own are then never asked. `joined` says which belong together
    rules: ClassVar[JointRules | None] = None
    #: whether compiled programs run it by its `numpy` method too, between their native parts, for every dtype
    host: ClassVar[bool] = False
    #: the value by NumPy, the meaning that every backend is compared with: a method from arrays to an array, or a ufunc
    numpy: ClassVar[Any] = None

    if TYPE_CHECKING:  # the attributes

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *values: Any):
        if len(values) != len(self.attributes):
            raise TypeError(f"{self.name} takes attributes {self.attributes}, got {values}")
        for attribute, value in zip(self.attributes, values):
            setattr(self, attribute, value)
        self.key = (self.name, *values)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if not cls.name:
            return  # the base class of a family
        if cls.name in REGISTRY:
            raise TypeError(f"two primitives are named {cls.name!r}")
        if cls.family not in FAMILIES or not cls.__doc__:
            raise TypeError(f"primitive {cls.name!r} needs a family and a docstring")
        for rule in ("infer", "numpy", "batch") + (("vjp", "jvp") if cls.differentiable else ()):
            if getattr(cls, rule) is getattr(Primitive, rule) and cls.family != "leaf":
                raise TypeError(f"primitive {cls.name!r} lacks its rule {rule!r}")
        REGISTRY[cls.name] = cls

    def __repr__(self) -> str:
        arguments = ", ".join(f"{a}={getattr(self, a)!r}" for a in self.attributes)
        return f"{self.name}({arguments})" if arguments else self.name

    def infer(self, *operands: Node) -> tuple[tuple[int, ...], DType]:
        """Shape and dtype of the result; raises ShapeError or DTypeError through `reject`."""
        raise NotImplementedError

    def vjp(self, node: Node, cotangent: Node, needed: tuple[bool, ...]) -> tuple[Node | None, ...]:
        """Cotangents of ``node.inputs``; None where not `needed`, and for integers and indices."""
        raise NotImplementedError

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        """Tangent of `node`, given those of its inputs (None means zero)."""
        raise NotImplementedError

    def batch(self, inputs: tuple[Node, ...], batched: tuple[bool, ...], size: int) -> Node:
        """The same operation with a leading batch axis of `size` on the inputs marked `batched`.

        The result always has the batch axis in front.
        """
        raise NotImplementedError

    def evaluate(self, dtype: DType, operands: Iterable[np.ndarray]) -> np.ndarray:
        """The result, of `dtype`, by NumPy: float16 and bfloat16 are computed in float32 and rounded once."""
        result = self.numpy(*map(widened, operands))
        return converted(result, dtype) if dtype.is_half and result.dtype != dtype.numpy else result

    def cost(self, node: Node) -> tuple[int, int]:
        """Floating-point operations, and bytes read and written if nothing is fused."""
        size = int(np.prod(node.shape, dtype=np.int64))
        moved = sum(int(np.prod(i.shape, dtype=np.int64)) * i.dtype.itemsize for i in node.inputs)
        return size, moved + size * node.dtype.itemsize

    def reject(self, problem: str, operands: tuple[Node, ...], help: str = "", kind: type = ShapeError):
        """Raise `kind` in the house form: operation, problem, operand types, user's line, cure."""
        raise kind(message(self.name, problem, operands, help))


class Sibling(Primitive):
    """Family base: one of several results of an operation, for all of which `rules` speak; these are never asked."""

    def vjp(self, node, cotangent, needed):
        """Given by `rules` for all siblings together."""
        raise AssertionError(f"the results of {self.name} are differentiated together")

    def jvp(self, node, tangents):
        """Given by `rules` for all siblings together."""
        raise AssertionError(f"the results of {self.name} are differentiated together")

    def batch(self, inputs, batched, size):
        """Given by `rules` for all siblings together."""
        raise AssertionError(f"the results of {self.name} are batched together")


def message(name: str, problem: str, operands: tuple[Node, ...], help: str = "") -> str:
    """The text of an error about operation `name` on `operands`."""
    from_where = user_location()
    types = ", ".join(f"{n.dtype.name}{list(n.shape)}" for n in operands)
    lines = [f"{name}: {problem}" + (f"; operands {types}" if operands else ""), f"recorded at {from_where}"]
    if help:
        lines.append(f"help: {help}")
    return "\n".join(lines)


def function_given(name: str, label: str, function: Any) -> None:
    """Raise ConfigError unless the argument called `label` is a function."""
    if not callable(function):
        raise ConfigError(message(name, f"{label} is no function but {type(function).__name__}", ()))


def misuse(text: str) -> ConfigError:
    """The error of a call outside of operations, of a layer's constructor say: `text` with the user's line."""
    problem, cure, help = text.partition("\nhelp: ")
    return ConfigError(f"{problem}\nrecorded at {user_location()}{cure}{help}")


def user_location() -> str:
    """``file:line`` of the user's code that is being recorded now."""
    return describe_line(mode.where or user_line())


_instances: dict[Any, Primitive] = {}
_MAXIMUM_INSTANCES = 8192


def primitive(name: str, attributes: tuple = ()) -> Primitive:
    """The primitive called `name` with these attributes; instances are shared, up to a bound."""
    key = (name, attributes) if attributes else name
    found = _instances.get(key)
    if found is None:
        if name not in REGISTRY:
            _register(name)
        kind = REGISTRY[name]
        found = kind(*attributes)
        if kind.shared:
            if len(_instances) >= _MAXIMUM_INSTANCES:
                _instances.clear()
            _instances[key] = found
    return found


def _register(name: str) -> None:
    """Import the file that is named as the primitive is, or else all that few programs have."""
    if importlib.util.find_spec(f"{__package__}.{name}") is not None:
        importlib.import_module(f".{name}", __package__)
    if name not in REGISTRY:
        importlib.import_module(".rare", __package__)


def emit(name: str, *inputs: Node, attributes: tuple = ()) -> Node:
    """Record primitive `name` applied to `inputs`; checks shapes and dtypes now."""
    return apply(primitive(name, attributes), inputs)


def apply(op: Primitive, inputs: tuple[Node, ...]) -> Node:
    """Record `op` applied to `inputs`; checks shapes and dtypes now."""
    shape, dtype = op.infer(*inputs)
    requires_grad = False
    if dtype.kind in "fc" and mode.grad_enabled and op.differentiable:
        for operand in inputs:
            if operand.requires_grad:
                requires_grad = True
                break
    return Node(op, inputs, shape, dtype, None, requires_grad, mode.where)


def same_dtype(op: Primitive, operands: tuple[Node, ...]) -> DType:
    """The one dtype of `operands`, or DTypeError."""
    dtype = operands[0].dtype
    for operand in operands[1:]:
        if operand.dtype is not dtype:
            op.reject("operands have different dtypes", operands, "convert with .astype(...)", DTypeError)
    return dtype
