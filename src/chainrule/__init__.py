"""Chainrule: a deep-learning system in which one graph is differentiated, compiled to native code and run.

``import chainrule as cr`` loads the array functions and needs NumPy alone; further parts load when they are used.
"""

from __future__ import annotations

import importlib
from typing import Any

from .collector import put_off as _put_off

with _put_off():  # collections would walk through all that was imported before and find nothing
    from . import functions as _functions
    from . import methods as _methods  # attaches the methods of Tensor
    from . import spellings as _spellings  # attaches further names of them
    from .autograd import (
        enable_grad,
        grad,
        is_grad_enabled,
        jvp,
        no_grad,
        set_grad_enabled,
        stop_gradient,
        value_and_grad,
        vjp,
        vmap,
    )
    from .dtypes import (
        DType,
        bfloat16,
        complex64,
        complex128,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
    )
    from .dtypes import bool_ as bool
    from .functions import *
    from .functions.extended import EXTENDED as _EXTENDED
    from .functions.inspection import array_namespace_info as __array_namespace_info__
    from .functions.products import (
        block_diag,
        cross,
        diagonal,
        dot,
        inner,
        kron,
        matmul,
        outer,
        tensordot,
        trace,
        vecdot,
    )
    from .tensor import Tensor
    from .tree import (
        tree_all,
        tree_flatten,
        tree_leaves,
        tree_leaves_with_path,
        tree_map,
        tree_map_with_path,
        tree_reduce,
        tree_structure,
        tree_unflatten,
    )

tensor = _functions.tensor  # the import system has put the module of this name here

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

e, inf, nan, newaxis, pi = 2.718281828459045, float("inf"), float("nan"), None, 3.141592653589793

_SUBMODULES = (
    "autograd", "backends", "checkpoint_policies", "cli", "compiler", "config", "data", "errors", "fft",
    "functional", "linalg", "minimise", "nn", "objectives", "optim", "random", "recipes", "sparse", "special",
    "testing", "train", "transforms", "tree",
)  # fmt: skip
#: names that live in submodules loaded on first use
_LAZY = {
    **_EXTENDED,
    "autocast": ("mixed_precision", "autocast"),
    "compile": ("capture", "compile"),
    "set_num_threads": ("threads", "set_num_threads"),
    "get_num_threads": ("threads", "get_num_threads"),
    "explain": ("explanation", "explain"),
    "set_memory_limit": ("memory", "set_memory_limit"),
    "get_memory_limit": ("memory", "get_memory_limit"),
    "fit": ("train", "fit"),
    "profile": ("profiling", "profile"),
    "set_detect_nonfinite": ("nonfinite", "set_detect_nonfinite"),
    **{
        name: ("autograd.derivatives", name)
        for name in ("hessian", "hvp", "jacfwd", "jacobian", "jacrev", "linearize")
    },
    "custom_jvp": ("autograd.custom", "custom_jvp"),
    "custom_vjp": ("autograd.custom", "custom_vjp"),
    "checkpoint": ("autograd.checkpointing", "checkpoint"),
    "checkpoint_name": ("autograd.checkpointing", "checkpoint_name"),
    "checkpoint_sequential": ("autograd.checkpointing", "checkpoint_sequential"),
    "scan": ("control.looping", "scan"),
    "associative_scan": ("control.scanning", "associative_scan"),
    **{name: ("control.choices", name) for name in ("cond", "switch")},
    **{name: ("control.loops", name) for name in ("fori_loop", "map", "while_loop")},
    **{
        name: ("special", name)
        for name in ("digamma", "erfc", "erfinv", "exp2", "i0", "lgamma", "logit", "polygamma", "sinc", "xlogy")
    },
    "norm": ("linalg.norms", "p_norm"),
    "igamma": ("special", "gammainc"),
    "igammac": ("special", "gammaincc"),
    "mvlgamma": ("special", "multigammaln"),
    **{
        name: ("random", name)
        for name in ("Generator", "bernoulli", "manual_seed", "normal", "permutation", "rand", "randint", "randn",
                     "randperm", "uniform", "randn_like", "rand_like")
    },
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        value = getattr(importlib.import_module(f".{module}", __name__), attribute)
    elif name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_SUBMODULES})
