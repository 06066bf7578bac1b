"""`Optimizer`: parameter groups, state, and the step that all optimisers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import functions as fn
from .. import runtime
from ..capture import CompiledFunction
from ..dtypes import DType, converted, float64
from ..errors import CompileError, DataError, DTypeError, ShapeError
from ..gradmode import no_grad
from ..ops.base import credit, misuse
from ..recording import constant
from ..tensor import Tensor, bump, flag, hyper, node_of, state
from .parts import RealParts

Pair = tuple[Tensor, Tensor]
Scalar = float | Tensor


class ParamGroup(dict):
    """Parameters and their hyperparameters; every change is counted, so that compiled steps see it."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        bump()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        bump()

    def update(self, *others: Any, **values: Any) -> None:
        """As `dict.update`."""
        super().update(*others, **values)
        bump()


def outside_trace(make: Callable[[], Tensor]) -> Tensor:
    """A state tensor made by `make` as outside any trace: a cell that lives on, not a value of the program."""
    trace, state.trace = state.trace, None
    try:
        return make()
    finally:
        state.trace = trace


def cast_scalar(value: Scalar, dtype: DType) -> Scalar:
    """A number computed in float64, in the dtype of the parameters that it multiplies; Python numbers adapt anyway."""
    return value.astype(dtype) if isinstance(value, Tensor) else value


class Optimizer:
    """Base of the optimisers: ``step`` changes each parameter by its gradient and its state.

    Args:
        params: tensors, (name, tensor) pairs, or dicts with ``params`` and hyperparameters of their own; None leaves
            the optimiser unbound until `bind` (as a setting for `chainrule.fit`).
        defaults: hyperparameters of groups that do not give their own.
    Attributes:
        param_groups: list of dicts; ``group["lr"] = 0.01`` changes a hyperparameter, and a compiled step reads the new
            value without being compiled again.
        state: parameter -> dict of tensors, all made when the parameter is added.
    Raises:
        ConfigError: an empty list, a tensor that is no leaf or appears twice, a bad hyperparameter.
    Numerics:
        Arithmetic on hyperparameters (bias correction and the like) is done in float64, and its result rounded to the
        parameters' dtype.
    """

    #: names of the tensors of a parameter's state that PyTorch saves, in its order
    state_names: tuple[str, ...] = ()

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self._compiled: Callable[[], None] | None = None
        #: counts changes of which cells the state consists of; compiled steps are traced anew for them
        self._layout = 0
        self._check(defaults)
        if params is not None:
            self.bind(params)

    def bind(self, params: Any) -> Optimizer:
        """Give an unbound optimiser its parameters; returns it."""
        if self.param_groups:
            raise misuse(f"{type(self).__name__} has its parameters already; use add_param_group for more")
        if isinstance(params, Tensor):
            raise misuse(f"{type(self).__name__}: params is one tensor; give a list, such as [x] or m.parameters()")
        groups = list(params)
        if not groups:
            raise misuse(f"{type(self).__name__}: there are no parameters to optimise")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        return self

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own, and make their state."""
        given = group["params"]
        tensors = [given] if isinstance(given, Tensor) else list(given)
        params = [item[1] if isinstance(item, tuple) else item for item in tensors]
        name = type(self).__name__
        for position, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise misuse(f"{name}: parameter {position} is {type(param).__name__}, not a tensor")
            if not param.is_leaf:
                raise misuse(f"{name}: parameter {position} is the result of operations; only leaves are optimised")
            if param.dtype.kind not in "fc":
                raise misuse(
                    f"{name}: parameter {position} is {param.dtype.name}; only floating and complex ones are optimised"
                )
            if param in self.state or any(param is other for other in params[:position]):
                raise misuse(f"{name}: parameter {position} appears twice")
        full = ParamGroup({**self.defaults, **group, "params": params})
        self._check(full)
        self.param_groups.append(full)
        step = self._new_cell(np.zeros((), np.float64))
        for param in params:
            # One counter serves all parameters of a group; see _advance.
            self.state[param] = {"step": step}
            self._init_state(param, self.state[param], full)
        self._changed_layout()

    # -- for subclasses -------------------------------------------------------------------------------------------

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise ConfigError for a hyperparameter out of its range."""
        for key in ("lr", "eps", "weight_decay", "momentum"):
            if key in group and not group[key] >= 0:
                raise misuse(f"{type(self).__name__}: {key} must not be negative, not {group[key]}")
        for position, beta in enumerate(group.get("betas", ())):
            if not 0 <= beta < 1:
                raise misuse(f"{type(self).__name__}: betas[{position}] must be in [0, 1), not {beta}")

    def _init_state(self, param: Tensor, slots: dict[str, Tensor], group: Mapping[str, Any]) -> None:
        """Make the tensors of a new parameter's state."""

    def _update(self, group: ParamGroup, pairs: list[Pair], step: Tensor, dtype: DType) -> None:
        """Change the parameters in `pairs`, all of one `dtype`, by their gradients; `step` counts from 1."""
        raise misuse(f"{type(self).__name__} does not define _update")

    @staticmethod
    def _new_cell(array: np.ndarray) -> Tensor:
        return outside_trace(lambda: Tensor(constant(array)))

    def _slot(self, param: Tensor, name: str, value: float = 0.0) -> Tensor:
        """The state tensor `name` of `param`; made now if a hyperparameter that needs it was switched on late."""
        if isinstance(param, RealParts):
            return RealParts(self._slot(param.whole, name, value))
        slots = self.state[param]
        if name not in slots:
            start: complex = complex(value, value) if param.dtype.kind == "c" else value
            slots[name] = self._new_cell(converted(np.full(param.shape, start), param.dtype))
        return slots[name]

    @staticmethod
    def _hyper(group: ParamGroup, key: str, position: int | None = None) -> Scalar:
        """A hyperparameter as a number, or as a float64 scalar of the program that is being traced."""
        if position is None:
            return hyper(lambda: float(group[key]))
        return hyper(lambda: float(group[key][position]))

    @staticmethod
    def _flag(group: ParamGroup, key: str) -> bool:
        """Whether a hyperparameter is on (not 0, not False): this decides what is computed."""
        return flag(lambda: bool(group[key]))

    # -- the step ---------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Change all parameters that have a gradient.

        Args:
            closure: computes the loss and its gradients anew; called first.
        Returns:
            The closure's result, or None.
        """
        loss = closure() if closure is not None else None
        if not self.param_groups:
            raise misuse(f"{type(self).__name__} has no parameters; give them with bind(model.parameters())")
        if state.trace is not None:
            self._step_body()
        else:
            if self._compiled is None:
                self._compiled = CompiledFunction(self._step_body, specialise=False)
            grads = [param.grad for group in self.param_groups for param in group["params"]]
            runtime.evaluate([node_of(grad) for grad in grads if grad is not None])  # all at once: they share work
            self._compiled()
        return loss

    def _changed_layout(self) -> None:
        """Cells of the state were exchanged: no program may go on with the old ones."""
        self._layout += 1
        bump()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}

    def _step_body(self) -> None:
        """Record the whole step."""
        with no_grad(), credit("optimiser", self):
            for group in self.param_groups:
                pairs = [(param, grad) for param in group["params"] if (grad := param.grad) is not None]
                for step, moving in self._advance(group, pairs):
                    counted = [self._parts(*pair) for pair in moving]
                    for dtype in dict.fromkeys(param.dtype for param, _ in counted):
                        self._update(group, [pair for pair in counted if pair[0].dtype is dtype], step, dtype)
            flag(lambda: self._layout)

    def _parts(self, param: Tensor, grad: Tensor) -> Pair:
        """The pair itself, or of a complex parameter what the update changes instead."""
        if param.dtype.kind != "c":
            return param, grad
        self._check_gradient(param, grad)
        return RealParts(param), fn.view_as_real(grad)

    def _advance(self, group: ParamGroup, pairs: list[Pair]) -> list[tuple[Tensor, list[Pair]]]:
        """Count the step; returns the new counts with the pairs that they belong to.

        Parameters that always moved together share one counter, so that powers of the betas are taken once a group. A
        parameter without a gradient does not count the step: those then get a counter of their own.
        """
        counters: dict[int, tuple[Tensor, list[Pair]]] = {}
        for pair in pairs:
            counter = self.state[pair[0]]["step"]
            counters.setdefault(id(counter), (counter, []))[1].append(pair)
        result = []
        for counter, counted in counters.values():
            moving = {id(param) for param, _ in counted}
            waiting = [p for p in group["params"] if self.state[p]["step"] is counter and id(p) not in moving]
            if waiting:
                own = self._copy_counter(counter)
                for param in waiting:
                    self.state[param]["step"] = own
            step = counter + 1.0
            counter._rebind(node_of(step))
            result.append((step, counted))
        return result

    def _copy_counter(self, counter: Tensor) -> Tensor:
        if state.trace is not None and node_of(counter).op.name != "placeholder":
            raise CompileError(
                "two steps of one optimiser in one compiled function move different parameters for the first time\n"
                "help: run both steps once uncompiled, or give each set of parameters its own group"
            )
        before = counter._node  # what the counter holds outside the trace
        if before.value is None:
            runtime.evaluate([before])
        self._changed_layout()
        return self._new_cell(np.array(before.value))

    def _check_gradient(self, param: Tensor, grad: Tensor) -> None:
        if grad.dtype is not param.dtype:
            raise DTypeError(f"{type(self).__name__}: a {param.dtype.name} parameter has a {grad.dtype.name} gradient")

    def _gradient(self, group: ParamGroup, param: Tensor, grad: Tensor, decay: Scalar | None) -> Tensor:
        """The gradient to descend: negated to maximise, with the L2 penalty's ``decay * param`` added."""
        self._check_gradient(param, grad)
        if self._flag(group, "maximize"):
            grad = -grad
        return grad if decay is None else grad + param * decay

    def _decay(self, group: ParamGroup, dtype: DType) -> Scalar | None:
        """The weight decay as a scalar of `dtype`, or None if it is off."""
        if not self._flag(group, "weight_decay"):
            return None
        return cast_scalar(self._hyper(group, "weight_decay"), dtype)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or set them to zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif (grad := param.grad) is not None:
                    param.grad = grad.detach() * 0.0

    # -- state dict -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Hyperparameters and state in PyTorch's layout: parameters are numbered in order of their groups."""
        numbers = {param: i for i, param in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [numbers[p] for p in g["params"]]} for g in self.param_groups]
        slots = {}
        for param, number in numbers.items():
            entry = self.state[param]
            kept = {name: entry[name].detach() for name in self.state_names if name in entry}
            if kept:
                slots[number] = kept
        return {"state": slots, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take hyperparameters and state from `state_dict`: ours, or one of PyTorch's for the same optimiser.

        Raises:
            DataError: other numbers of groups or parameters.
            ShapeError: a tensor's shape is not its parameter's. Nothing is changed then.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        sizes, wanted = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != wanted:
            raise DataError(f"{name}: the state dict has groups of {sizes} parameters, the optimiser of {wanted}")
        loads: list[tuple[Tensor, str, np.ndarray]] = []
        for group, saved in zip(self.param_groups, groups):
            for param, number in zip(group["params"], saved["params"]):
                entry = state_dict["state"].get(number, {})
                for key, value in entry.items():
                    if key not in self.state_names or value is None:
                        continue
                    array = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
                    if key != "step" and array.shape != tuple(param.shape):
                        shape = tuple(param.shape)
                        raise ShapeError(f"{name}: {key} of parameter {number} has shape {array.shape}, not {shape}")
                    loads.append((param, key, converted(array, float64 if key == "step" else param.dtype)))
                if "step" not in entry and entry:  # PyTorch's SGD keeps no count, only whether there is a buffer
                    loads.append((param, "step", np.ones((), np.float64)))
        for group, saved in zip(self.param_groups, groups):
            group.update({k: v for k, v in saved.items() if k in self.defaults})
        counts: dict[Tensor, float] = {}
        for param, key, array in loads:
            if key == "step":
                counts[param] = float(array)
            else:
                self._slot(param, key)._rebind(constant(array))
        self._load_counts(counts)
        bump()

    def _load_counts(self, counts: Mapping[Tensor, float]) -> None:
        """Set the counters; parameters with equal counts keep sharing one."""
        for group in self.param_groups:
            sharing: dict[Tensor, list[Tensor]] = {}
            for param in group["params"]:
                sharing.setdefault(self.state[param]["step"], []).append(param)
            for counter, params in sharing.items():
                own = {counts.get(param, 0.0) for param in params}
                if len(own) == 1:
                    counter._rebind(constant(np.array(own.pop())))
                    continue
                cells = {count: self._new_cell(np.array(count)) for count in sorted(own)}
                for param in params:
                    self.state[param]["step"] = cells[counts.get(param, 0.0)]
                self._changed_layout()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for index, group in enumerate(self.param_groups or [self.defaults]):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])
