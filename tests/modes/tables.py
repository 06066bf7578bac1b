"""All tables of the matrix, by the name of their module."""

from __future__ import annotations

from . import rows_more  # noqa: F401  (fills TOP)
from .rows import Table
from .rows_functional import FUNCTIONAL
from .rows_linalg import FFT, LINALG
from .rows_nn import NN
from .rows_random import RANDOM
from .rows_special import SPECIAL
from .rows_top import TOP

TABLES: dict[str, Table] = {
    "chainrule": TOP,
    "linalg": LINALG,
    "fft": FFT,
    "special": SPECIAL,
    "random": RANDOM,
    "functional": FUNCTIONAL,
    "nn": NN,
}
