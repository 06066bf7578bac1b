"""Rows of `chainrule.special`."""

from __future__ import annotations

from chainrule import special

from .rows import Table, u

SPECIAL = Table(special)
smooth = SPECIAL.smooth

ONE = """bessel_j0 bessel_j1 bessel_y0 bessel_y1 digamma entr erf erfc erfcinv erfcx erfinv exp2 expit expm1 factorial
gamma gammaln i0 i0e i1 i1e j0 j1 k0 k0e k1 k1e lgamma log1p log_expit log_ndtr log_softmax logit logsumexp
modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 ndtr ndtri psi scaled_modified_bessel_k0
scaled_modified_bessel_k1 sinc softmax softplus y0 y1"""
for name in ONE.split():
    smooth(name, u(2, 3))
for name in "beta betaln binom comb kl_div rel_entr xlog1py xlogy".split():
    smooth(name, u(2, 3, low=0.6, high=0.9), u(2, 3, seed=1, low=0.2, high=0.5))
smooth("polygamma", lambda x: special.polygamma(1, x), u(2, 3))
smooth("multigammaln", lambda x: special.multigammaln(x, 2), u(2, low=1.5, high=3.0))


for name in "gammainc gammaincc".split():
    smooth(name, u(2, low=1.2, high=2.0), u(2, seed=1))
smooth("betainc", u(2, low=1.2, high=2.0), u(2, low=1.2, high=2.0, seed=1), u(2, seed=2))
smooth("zeta", u(2, low=2.2, high=3.0), u(2, low=1.1, high=2.0, seed=1))
