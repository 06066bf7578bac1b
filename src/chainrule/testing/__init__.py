"""Checks for users' own functions and results: derivatives against differences, arrays up to a tolerance or ulp."""

from .comparison import assert_allclose, ulp_distance
from .derivatives import check_grads, numerical_grad, numerical_jvp

__all__ = ["assert_allclose", "check_grads", "numerical_grad", "numerical_jvp", "ulp_distance"]
