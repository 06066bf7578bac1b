"""`minimize`: one face for all methods."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigError
from ..ops.base import message
from .least_squares import gauss_newton, levenberg_marquardt
from .quasi_newton import gradient_descent, lbfgs
from .result import Result
from .second_order import newton, newton_cg

METHODS: dict[str, Callable[..., Result]] = {
    "lbfgs": lbfgs,
    "newton": newton,
    "newton-cg": newton_cg,
    "gradient-descent": gradient_descent,
    "gauss-newton": gauss_newton,
    "levenberg-marquardt": levenberg_marquardt,
}


def minimize(
    f: Callable[..., Any], x0: Any, method: str = "lbfgs", *, args: Sequence[Any] = (), **options: Any
) -> Result:
    """Minimise a function of a tree of parameters.

    Args:
        f: ``f(x, *args)`` is a scalar tensor; for "gauss-newton" and "levenberg-marquardt" a tensor of residuals with
            one axis, half of whose squares' sum is minimised.
        x0: a tree of float32 and float64 tensors (a module is one) to start from.
        method: "lbfgs" (gradients alone), "newton" (the whole Hessian), "newton-cg" (Hessian-vector products),
            "gradient-descent", "gauss-newton" or "levenberg-marquardt".
        args: further arguments of `f`, inputs of the compiled program.
        options: those of the method, see its function: `maxiter`, `gtol`, `ftol`, `callback`, `compile` and more.

    Returns:
        A `Result`: `x`, `value`, `gradient`, `gradient_norm`, `iterations`, `evaluations`, `products`, `converged` and
        `message`.

    Raises:
        ConfigError: no such method or option; else as the method's function.

    Example:
        >>> import chainrule as cr
        >>> found = cr.minimise.minimize(lambda p: (p["a"] - 2) ** 2 + p["b"] ** 2, {"a": 0.0, "b": 1.0})
        >>> round(float(found.x["a"]), 4), round(float(found.x["b"]), 4)
        (2.0, 0.0)
    """
    run = METHODS.get(method)
    if run is None:
        near = difflib.get_close_matches(str(method), METHODS, 1)
        help = f"did you mean {near[0]!r}?" if near else "the methods are " + ", ".join(map(repr, METHODS))
        raise ConfigError(message("minimize", f"there is no method {method!r}", (), help))
    known = [key for key in inspect.signature(run).parameters if key not in ("f", "residuals", "x0", "args")]
    for option in options:
        if option not in known:
            problem = f"method {method!r} has no option {option!r}"
            raise ConfigError(message("minimize", problem, (), "its options are " + ", ".join(known)))
    return run(f, x0, args=args, **options)
