"""Minimisers as plain functions: first and second order, least squares, conjugate gradients; on trees of parameters."""

from .conjugate import CGInfo, cg
from .front import minimize
from .least_squares import gauss_newton, levenberg_marquardt
from .quasi_newton import gradient_descent, lbfgs
from .result import Result
from .second_order import newton, newton_cg
from .wolfe import LineSearchResult, line_search

__all__ = [
    "CGInfo",
    "LineSearchResult",
    "Result",
    "cg",
    "gauss_newton",
    "gradient_descent",
    "lbfgs",
    "levenberg_marquardt",
    "line_search",
    "minimize",
    "newton",
    "newton_cg",
]
