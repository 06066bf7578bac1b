"""`explain`: what the system made of a function, from the recorded graph to machine code, as text and as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import memory, runtime
from ..alignment import ALIGNMENT
from ..backends.cpu import toolchain
from ..backends.cpu.codegen import kernel_module
from ..capture import CompiledFunction
from ..capture.compiled import Compiled
from ..compiler.code import optimisation
from ..graph.node import Node, topological
from ..layers import PHASES
from ..lines import PACKAGE
from ..ops.base import misuse
from ..ops.control import with_bodies
from ..tensor import Tensor
from ..threads import get_num_threads
from . import sections
from .facts import BufferFact, KernelFact, Update, buffer_facts, kernel_facts, updates
from .fusion import Link, links
from .kernels import kernel_text
from .names import Names, leaf_names, named_arguments
from .text import num_bytes


class Explanation:
    """What a function was compiled to; ``str()`` is the full text.

    Attributes:
        name: of the function.
        arguments, results: (name, dtype, shape) of each array argument, (dtype, shape) of each result.
        nodes: all recorded nodes that the results and the new state need, in recorded order.
        phases: "forward", "reverse", "optimiser" -> the nodes that each recorded.
        layers: serial of a node -> the module that it belongs to.
        inputs: (kind, name, node) of each input; kind is "arg", "cell", "lifted" or "constant".
        written: (name, dtype, shape, what) of state that the function fills or empties, but not in place.
        lifted, guards: (name, value) of hyperparameters that are read at each call, and of flags it was recorded under.
        plan: the compiler's plan.
        kernels: a `KernelFact` for each kernel, in the order of execution; equal calls are counted.
        buffers: a `BufferFact` for each piece of memory; `arena` those of intermediates.
        links: a `Link` for each value that goes from one kernel to another through memory, with the reason.
        updates: an `Update` for each piece of state whose storage the new value takes over.
        retained: what the forward pass keeps for the backward pass, and what `checkpoint` would save.
        arena_bytes, intermediate_bytes: of the arena, and the sum of what its buffers take (whole cache lines).
        unfused_bytes: the sum over every node of the graph that computes something.
        flops, bytes_read, bytes_written: of a whole step.
        threads: for how many threads the work was divided.
        has_places: whether source lines say something: not for a function of this package, whose lines nobody records.
    """

    def __init__(self, name: str, order: Sequence[Node], plan: Any, names: Names):
        self.name = name
        self.plan = plan
        self.nodes = sorted(order, key=lambda node: node.serial)
        self.node_names = {node.serial: f"%{n}" for n, node in enumerate(self.nodes)}
        self.arguments: list[tuple[str, Any, tuple[int, ...]]] = []
        self.results: list[tuple[Any, tuple[int, ...]]] = []
        self.inputs: list[tuple[str, str, Node]] = []
        self.written: list[tuple[str, Any, tuple[int, ...], str]] = []
        self.lifted: list[tuple[str, Any]] = []
        self.guards: list[tuple[str, Any]] = []
        self.threads = get_num_threads()
        self.has_places = True
        self.phases: dict[str, list[Node]] = {phase: [] for phase in PHASES}
        self.layers: dict[int, str] = {}
        for node in self.nodes:
            if node.value is None and node.op.name not in ("placeholder", "constant"):
                self.phases[names.phase(node)].append(node)
                self.layers[node.serial] = names.layer(node)
        self._by_serial = {node.serial: node for node in with_bodies(self.nodes)}
        self.kernels: list[KernelFact] = kernel_facts(plan, self._by_serial, names)
        self.buffers: list[BufferFact] = []
        self.updates: list[Update] = []
        self.links: list[Link] = []
        self.retained = memory.retained(plan, names, self._by_serial)
        self.arena_bytes: int = plan.arena_bytes
        self.intermediate_bytes = sum(-(-b.bytes // ALIGNMENT) * ALIGNMENT for b in plan.buffers if b.offset >= 0)
        computed = [node for nodes in self.phases.values() for node in nodes if node.op.name != "full"]
        self.unfused_bytes = sum(num_bytes(node) for node in computed)
        self.flops = sum(fact.calls * fact.flops for fact in self.kernels)
        self.bytes_read = sum(fact.calls * fact.read for fact in self.kernels)
        self.bytes_written = sum(fact.calls * fact.written for fact in self.kernels)

    def _bind(self, leaves: Sequence[str]) -> None:
        self.buffers = buffer_facts(self.plan, self._by_serial, self.node_names, leaves)
        self.updates = updates(self.plan, self.buffers)
        self.links = links(self.plan, self.buffers)

    @property
    def arena(self) -> list[BufferFact]:
        """The buffers of intermediates."""
        return [buffer for buffer in self.buffers if buffer.offset >= 0]

    # --- text -------------------------------------------------------------------------------------

    def text(self, *only: str, all: bool = False) -> str:
        """The sections named (without names, all of them); long lists are cut, or summed up by layer, unless `all`.

        Sections: summary, state, graph, gradient, optimiser, kernels, fusion, regions, memory. Raises ConfigError for
        another.
        """
        for name in only:
            if name not in sections.SECTIONS:
                raise misuse(f"explain: there is no section {name!r}; there are {', '.join(sections.SECTIONS)}")
        return sections.full_text(self, None if all else sections.ROWS, only)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Explanation of {self.name}: {len(self.nodes)} nodes, {len(self.plan.kernels)} kernels>"

    # --- code -------------------------------------------------------------------------------------

    def kernel(self, number: int) -> str:
        """Everything about kernel `number` (as in ``k3``): sizes, operands and the code of one element."""
        self._check(number)
        fact = next(fact for fact in self.kernels if fact.number == number)
        return kernel_text(fact, {b.number: b for b in self.buffers}, self.plan.keys[number])

    def llvm(self, number: int) -> str:
        """The LLVM IR of kernel `number`, as it is handed to LLVM."""
        self._check(number)
        return kernel_module([(f"k{self.plan.keys[number]}", self.plan.kernels[number])], toolchain.host())

    def assembly(self, number: int) -> str:
        """The machine code of kernel `number` for this computer, as assembly."""
        text = self.llvm(number)
        level = optimisation(list(zip(self.plan.keys, self.plan.kernels)))
        return toolchain.assembly(text, opt=level)

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self.plan.kernels):
            raise misuse(f"explain: there is no kernel {number}; there are {len(self.plan.kernels)}, from 0")


def explain(function: Callable[..., Any] | Tensor, *args: Any, **kwargs: Any) -> Explanation:
    """Explain what `function` is compiled to for these arguments; nothing is run.

    Args:
        function: a function on tensors and state, one that `compile` has returned, a module, or a tensor whose value is
            still pending (the expression that gives it is explained).
        args, kwargs: as for a call.

    Returns:
        An `Explanation`: print it.

    Raises:
        ConfigError: a tensor that has its value already: there is nothing left to compile; or nothing of these.

    Example:
        >>> import chainrule as cr
        >>> e = cr.explain(lambda x: (2 * x).sum(), cr.ones((3, 4)))
        >>> len(e.kernels), e.kernels[0].flops
        (1, 24)
    """
    if isinstance(function, Tensor):
        return _explain_tensor(function)
    if not callable(function):
        raise misuse(f"explain: a function, a module or a pending tensor is needed, not {function!r}")
    if not isinstance(function, CompiledFunction):
        plain = function
        # A callable object may have attributes of its own, which wrapping would copy.
        function = CompiledFunction(plain if hasattr(plain, "__code__") else lambda *a, **k: plain(*a, **k))
        inner = plain
    else:
        inner = function._function
    with memory.unenforced():
        entry = function.trace(*args, **kwargs)
    return _explain_entry(entry, inner, named_arguments(inner, args, kwargs))


def _explain_entry(entry: Compiled, function: Callable[..., Any], arguments: list[tuple[str, Any]]) -> Explanation:
    names = Names(entry.trail, with_bodies(entry.order), function)
    for text, value in arguments:
        names.add(text, value)
    name = getattr(function, "__name__", type(function).__name__)
    result = Explanation(name.replace("<lambda>", "lambda"), entry.order, entry.plan, names)
    leaves = leaf_names(entry, names, [text for text, _ in arguments])
    inputs = [node for node in entry.order if node.value is not None or node.op.name in ("placeholder", "constant")]
    result.inputs = [(leaf.kind, text, node) for leaf, text, node in zip(entry.leaves, leaves, inputs)]
    given = {leaf.number: (text, node) for leaf, text, node in zip(entry.leaves, leaves, inputs) if leaf.kind == "arg"}
    result.arguments = [(given[n][0], given[n][1].dtype, given[n][1].shape) for n in sorted(given)]
    result.results = [(node.dtype, node.shape) for node in entry.nodes[: entry.num_returned]]
    for cell, number in entry.fresh:
        node = entry.nodes[number]
        what = f"grad of {names.tensor(cell.tensor)}" if cell.is_grad else names.tensor(cell.tensor)
        result.written.append((what, node.dtype, node.shape, "state, written as a new array"))
    for tensor, slot in entry.dropped:
        node = tensor._node
        what = "gradients, emptied" if slot is None else "gradients, consumed by the step and never stored"
        result.written.append((names.tensor(tensor), node.dtype, node.shape, what))
    result.lifted = [(leaves[number], getter()) for number, getter in entry.lifted]
    result.guards = list(dict.fromkeys((names.getter(getter), value) for getter, value in entry.guards))
    code = getattr(function, "__code__", None)
    result.has_places = code is None or not code.co_filename.startswith(PACKAGE)
    result._bind(leaves)
    return result


def _explain_tensor(tensor: Tensor) -> Explanation:
    node = tensor._node
    if node.value is not None:
        raise misuse(
            "explain: this tensor has its value already\nhelp: pass a function and its arguments, "
            "or a tensor whose value was not asked for yet"
        )
    order = topological([node])
    with memory.unenforced():
        plan = runtime.compile_nodes(order, [node], True).plan
    inputs = [n for n in order if n.value is not None]
    names = Names((), with_bodies(order), None)
    result = Explanation(tensor.name or "expression", order, plan, names)
    leaves = [f"input {n}" for n in range(len(inputs))]
    result.inputs = [("constant", text, n) for text, n in zip(leaves, inputs)]
    result.results = [(node.dtype, node.shape)]
    result._bind(leaves)
    return result


__all__ = ["Explanation", "explain"]
