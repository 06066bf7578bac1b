"""`Tensor`, a handle on a pending or present value, and the seam through which state is read and written.

A tensor names a node of the graph. Storage is immutable: ``x[i] = v`` and ``x += 1`` make this handle name another
node and change no other handle. Methods that are also functions of the package are attached in `methods.py`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import runtime
from .dtypes import DType, bfloat16, widened
from .errors import DifferentiationError, DTypeError, GradientNotStoredError, PlaceholderError
from .graph.node import Node
from .interop import dlpack
from .ops.base import emit, message, mode, primitive
from .recording import constant, reject, size_of


class State(threading.local):
    """What stands between this thread's tensors and their nodes."""

    #: the trace that records reads and writes of state (set by `compile`), else None
    trace: Any = None
    #: index nodes of the lanes of enclosing `vmap` calls, so that their random draws differ
    lanes: tuple[Node, ...] = ()
    #: numbers of the iterations of enclosing loops, so that the random draws of iterations differ
    iterations: tuple[Node, ...] = ()
    #: tensors written while a function is called to be differentiated, else None
    writes: list[Tensor] | None = None


state = State()

_CONSTANT = primitive("constant")
_STOP_GRADIENT = primitive("stop_gradient")
_version = 0


def bump() -> None:
    """Count one change of state made from Python; compiled functions compare this number with the one they saw."""
    global _version
    _version += 1


def version() -> int:
    """How many changes of state Python has made so far (see `bump`)."""
    return _version


def node_of(tensor: Tensor) -> Node:
    """The node that `tensor` names; inside a trace, reading a tensor from outside makes it an input of the program."""
    trace = state.trace
    if trace is None or tensor._trace is trace:
        return tensor._node
    return trace.read(tensor)


def hyper(getter: Callable[[], float]) -> float | Tensor:
    """A hyperparameter: the number itself, or inside a trace a 0-d float64 tensor that is read anew at each call."""
    trace = state.trace
    return getter() if trace is None else Tensor(trace.lift(getter))


def flag(getter: Callable[[], Any]) -> Any:
    """A mode flag that decides what is recorded: inside a trace a change of it makes another program."""
    trace = state.trace
    return getter() if trace is None else trace.guard(getter)


def placeholder_below(node: Node) -> Node | None:
    """A placeholder that the pending `node` depends on, or None."""
    stack, seen = [node], {id(node)}
    while stack:
        current = stack.pop()
        if current.value is not None:
            continue
        if current.op.name == "placeholder":
            return current
        for operand in current.inputs:
            if id(operand) not in seen:
                seen.add(id(operand))
                stack.append(operand)
    return None


def evaluate_node(node: Node, what: str) -> np.ndarray:
    """The value of `node`; PlaceholderError, naming the user's line, if it stands for no value yet."""
    if node.value is None:
        try:
            runtime.evaluate([node])
        except Exception:
            if placeholder_below(node) is not None:
                problem = "a value was asked of a placeholder inside a compiled, batched or looped function"
                help = "compute with where(...) instead of if, return the tensor and read it outside"
                raise PlaceholderError(message(what, problem, (node,), help)) from None
            raise
    value = node.value
    assert value is not None
    return value


#: recorded nodes between two looks at how much work is pending, and pending nodes at which it is evaluated
LOOK_EVERY, MAXIMUM_PENDING = 1024, 4096
_next_look = LOOK_EVERY


def _bound_pending(node: Node) -> None:
    """Evaluate `node` if it stands on more than `MAXIMUM_PENDING` pending nodes, so that no graph grows without end."""
    global _next_look
    _next_look = node.serial + LOOK_EVERY
    if state.trace is not None:
        return
    stack, seen = [node], {node}
    while stack:
        current = stack.pop()
        if current.op.name == "placeholder":
            return
        for operand in current.inputs:
            if operand.value is None and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    if len(seen) > MAXIMUM_PENDING:
        runtime.evaluate([node])


class NotStored:
    """Marks a gradient that a compiled step consumed without storing it; reading it is an error."""


NOT_STORED = NotStored()


class Tensor:
    """A multidimensional array that records what is done with it.

    Made by `tensor`, `asarray`, `zeros` and the other creation functions. Attributes: `shape`, `dtype`,
    `requires_grad`, `grad`, `is_leaf`, `name` (free for the user; used in messages).
    """

    __slots__ = ("__weakref__", "_grad", "_leaf", "_node", "_trace", "name")
    __array_ufunc__ = None  # makes NumPy's operators defer to the reflected ones here

    def __init__(self, node: Node):
        self._node = node
        self._grad: Any = None
        self._trace = state.trace
        self._leaf = False
        self.name: str | None = None
        if node.serial > _next_look:
            _bound_pending(node)

    if TYPE_CHECKING:  # operators.py, indexing.py and methods.py attach these, and the functions that are also methods

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rlshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __rrshift__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...

    # -- type ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the axes."""
        return self._node.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._node.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._node.shape)

    @property
    def size(self) -> int:
        """Number of elements (a property, as the Array API has it)."""
        return _Size(size_of(self._node.shape))

    @property
    def device(self) -> str:
        """Where the value lives: always ``"cpu"`` so far."""
        return "cpu"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._node.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return size_of(self._node.shape) * self._node.dtype.itemsize

    def numel(self) -> int:
        """Number of elements."""
        return size_of(self._node.shape)

    def dim(self) -> int:
        """Number of axes."""
        return len(self._node.shape)

    # -- state --------------------------------------------------------------------------------------------------

    def _rebind(self, node: Node) -> None:
        """Make this handle name `node`; a leaf that requires grad stays one. The only way to write a tensor."""
        if self._leaf:
            node = self._leaf_node(node)
        trace = state.trace
        if trace is not None and self._trace is not trace:
            trace.write(self, node)
            return
        self._node = node
        if state.writes is not None:
            state.writes.append(self)
        bump()

    def _leaf_node(self, node: Node) -> Node:
        """A node with the value of `node`, no history, and this tensor as the owner of its gradient."""
        if node.value is not None:
            leaf = Node(_CONSTANT, (), node.shape, node.dtype, node.value, True, node.where)
        else:
            if node.requires_grad:
                node = detached(node)  # the sweep never enters a leaf
            leaf = Node(_STOP_GRADIENT, (node,), node.shape, node.dtype, None, True, node.where)
        leaf.owner = weakref.ref(self)
        return leaf

    @property
    def grad(self) -> Tensor | None:
        """Sum of the gradients that `backward` has brought here since it was last set to None."""
        trace = state.trace
        grad = self._grad if trace is None or self._trace is trace else trace.read_grad(self)
        if grad is NOT_STORED:
            problem = "this gradient was consumed by a compiled step that did not store it"
            help = "compile the step with keep_grads=True, or call zero_grad() before another backward()"
            raise GradientNotStoredError(message("grad", problem, (self._node,), help))
        return grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise DTypeError(message("grad", f"a gradient is a tensor or None, not {value!r}", ()))
            if value.shape != self.shape or value.dtype is not self.dtype:
                reject("grad", "the gradient has another type than its tensor", (self._node, value._node))
        trace = state.trace
        if trace is not None and self._trace is not trace:
            trace.write_grad(self, value)
            return
        self._grad = value
        bump()

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for differentiation."""
        trace = state.trace
        if trace is not None and self._trace is not trace:
            return trace.guard(lambda: self._leaf or self._node.requires_grad)
        return self._leaf or self._node.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or, for a leaf, stop) recording operations on this tensor; returns it.

        Raises DTypeError for a dtype without derivatives, DifferentiationError when asked to stop at a result.
        """
        if bool(requires_grad) == self.requires_grad:
            return self
        node = node_of(self)
        if requires_grad:
            if node.dtype.kind not in "fc":
                help = "convert with .astype(chainrule.float32)"
                reject("requires_grad", "only floating and complex dtypes have gradients", (node,), help, DTypeError)
            self._leaf = True
            self._rebind(node)
        else:
            if not self._leaf:
                problem = "this tensor is the result of recorded operations"
                raise DifferentiationError(message("requires_grad", problem, (node,), "use .detach()"))
            self._leaf = False
            self._rebind(detached(node))
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no operation that requires grad made this tensor."""
        return self._leaf or not self._node.requires_grad

    def retain_grad(self) -> None:
        """Let `backward` store the gradient of this result, as it does for leaves."""
        node = node_of(self)
        if not node.requires_grad:
            raise DifferentiationError(message("retain_grad", "no gradient is recorded for this tensor", (node,)))
        if node.owner is None:
            node.owner = weakref.ref(self)

    def detach(self) -> Tensor:
        """This value without its history."""
        return Tensor(detached(node_of(self)))

    # -- values -------------------------------------------------------------------------------------------------

    def _value(self, what: str) -> np.ndarray:
        node = node_of(self)
        value = node.value
        return evaluate_node(node, what) if value is None else value

    def _readable(self, what: str) -> np.ndarray:
        """The value as NumPy can show it: bfloat16 as a copy in float32."""
        value = self._value(what)
        return value.view() if value.dtype != bfloat16.numpy else widened(value)

    def numpy(self) -> np.ndarray:
        """The value as a read-only NumPy array that shares its memory; of bfloat16 a copy in float32."""
        return self._readable("numpy")

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        value = self._readable("__array__")
        if copy is False and self._node.dtype is bfloat16:
            raise ValueError("NumPy has no bfloat16: converting the values to float32 needs a copy")
        if dtype is not None and np.dtype(dtype) != value.dtype:
            if copy is False:
                raise ValueError(f"converting {value.dtype} to {dtype} needs a copy")
            return value.astype(dtype)
        return value.copy() if copy else value.view()

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule over the memory of the value, which has to be left as it is; ``copy=True`` makes another.

        Consumers that ask for versioned capsules learn from a flag that the memory is read-only.
        Raises BufferError for a stream, and for a device other than the CPU.
        """
        return dlpack.exported(self._value("__dlpack__"), self._node.dtype, stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's type and number of the device: the CPU."""
        return dlpack.HOST

    def __buffer__(self, flags: int, /) -> memoryview:
        """A read-only view of the value for ``memoryview(x)``, which Python asks for from version 3.12 on."""
        if flags & 1:  # PyBUF_WRITABLE
            raise BufferError(message("__buffer__", "the memory of tensors is read-only", (self._node,)))
        if self._node.dtype is bfloat16:
            help = "convert with .astype(chainrule.float32)"
            raise BufferError(message("__buffer__", "the buffer protocol has no bfloat16", (self._node,), help))
        return self._value("__buffer__").data

    def item(self) -> bool | int | float | complex:
        """The only element as a Python number."""
        return self._scalar("item")

    def _scalar(self, what: str):
        node = node_of(self)
        if size_of(node.shape) != 1:
            problem = f"one element is needed, there are {size_of(node.shape)}"
            help = "reduce first, with any() or all() for a condition" if what == "bool" else "index or reduce first"
            reject(what, problem, (node,), help)
        return self._readable(what).item()

    def tolist(self):
        """The elements as nested lists of Python numbers."""
        return self._readable("tolist").tolist()

    def __bool__(self) -> bool:
        return bool(self._scalar("bool"))

    def __int__(self) -> int:
        return int(self._real("int"))

    def __float__(self) -> float:
        return float(self._real("float"))

    def _real(self, what: str):
        if self._node.dtype.kind == "c":
            problem = "a complex number does not become a real one"
            reject(what, problem, (self._node,), "take x.real or abs(x)", DTypeError)
        return self._scalar(what)

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            reject("index", "only integer tensors without axes stand for an index", (self._node,), "", DTypeError)
        return int(self._scalar("index"))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a tensor without axes")
        return (self[i] for i in range(self.shape[0]))

    def __repr__(self) -> str:
        node = self._node
        extra = "" if node.dtype.name in ("float32", "int64", "bool") else f", dtype={node.dtype.name}"
        if self.requires_grad:
            extra += ", requires_grad=True"
        trace = state.trace
        outside = trace is not None and self._trace is not trace
        if node.value is None and (outside or placeholder_below(node) is not None):
            return f"tensor(<placeholder>, shape={node.shape}, dtype={node.dtype.name})"
        value = widened(evaluate_node(node, "repr"))
        text = np.array2string(value, separator=", ", prefix="tensor(", suffix=")")
        if value.size == 0:
            extra = f", shape={node.shape}" + (extra or f", dtype={node.dtype.name}")
        return f"tensor({text}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __copy__(self) -> Tensor:
        """Another handle on this value and its history; of a leaf a leaf of its own, without gradient."""
        copy = type(self).__new__(type(self))
        node = node_of(self)
        Tensor.__init__(copy, detached(node) if self._leaf else node)
        copy.name = self.name
        if self._leaf:
            copy._leaf = True
            copy._node = copy._leaf_node(copy._node)
        return copy

    def __deepcopy__(self, memo: dict) -> Tensor:
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        Tensor.__init__(copy, detached(node_of(self)))
        copy.name = self.name
        if self._leaf:
            copy._leaf = True
            copy._node = copy._leaf_node(copy._node)
            if self._grad is not None and self._grad is not NOT_STORED:
                copy._grad = Tensor(detached(node_of(self._grad)))
        elif self._node.requires_grad:
            raise DifferentiationError(message("deepcopy", "only leaves are copied", (self._node,), "use .detach()"))
        return copy

    def __reduce__(self):
        return (_rebuild, (type(self), self._value("pickle"), self._leaf, self.name))

    __hash__ = object.__hash__


class _Size(int):
    """The number of elements; calling it, as PyTorch's ``x.size()``, is an error that says what to write."""

    def __call__(self, *_):
        raise TypeError(message("size", "size is a number here, not a method", (), "write x.shape or x.shape[axis]"))


def _rebuild(kind: type[Tensor], array: np.ndarray, leaf: bool, name: str | None) -> Tensor:
    tensor = object.__new__(kind)
    Tensor.__init__(tensor, constant(array.copy()))
    tensor.name = name
    if leaf:
        tensor.requires_grad_()
    return tensor


def detached(node: Node) -> Node:
    """`node` without history: itself if it has none, a constant if its value is there, else behind stop_gradient."""
    if node.value is not None:
        if not node.requires_grad:
            return node
        return Node(_CONSTANT, (), node.shape, node.dtype, node.value, False, mode.where)
    return emit("stop_gradient", node)
