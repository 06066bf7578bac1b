"""Rows of `chainrule` beyond the array standard: NumPy's and PyTorch's functions, special functions."""

from __future__ import annotations

import chainrule as cr

from .rows import b, d, i, s, u
from .rows_top import BOOLS, INTEGERS, MADE, SHAPE_HOLE, SHAPED, TOP

smooth, plain, tool = TOP.smooth, TOP.plain, TOP.tool

# -- elementwise ----------------------------------------------------------------------------------------------------

for name in "cbrt deg2rad degrees rad2deg radians exp2 digamma lgamma erfc i0 sinc logit erfinv nan_to_num".split():
    smooth(name, u(2, 3))
for name in "fix frac rint sgn".split():
    smooth(name, u(2, 3, low=0.1, high=0.4))
smooth("clamp_max", lambda x: cr.clamp_max(x, 0.5), d(2, 3))
smooth("clamp_min", lambda x: cr.clamp_min(x, 0.5), d(2, 3))
smooth("modf", u(2, 3, low=1.1, high=1.8))
smooth("frexp", lambda x: cr.frexp(x)[0], u(2, 3, low=1.1, high=1.8))
smooth("ldexp", lambda x: cr.ldexp(x, cr.asarray(2)), s(2, 3))
for name in "fmax fmin".split():
    smooth(name, d(2, 3), d(2, 3, seed=1) + 0.05)
for name in "true_divide logaddexp2".split():
    smooth(name, s(2, 3), s(2, 3, seed=1))
for name in "float_power xlogy".split():
    smooth(name, u(2, 3), u(2, 3, seed=1))
for name in "fmod divmod".split():
    smooth(name, u(2, 3, low=2.2, high=2.7), u(2, 3, low=0.9, high=1.0))
smooth("heaviside", u(2, 3), u(2, 3, seed=1))
smooth("lerp", s(2, 3), s(2, 3, seed=1), u(2, 3, seed=2))
smooth("addcmul", s(2, 3), s(2, 3, seed=1), s(2, 3, seed=2))
smooth("addcdiv", s(2, 3), s(2, 3, seed=1), u(2, 3, seed=2))
smooth("polygamma", lambda x: cr.polygamma(1, x), u(2, 3))
smooth("mvlgamma", lambda x: cr.mvlgamma(x, 2), u(2, low=1.5, high=3.0))
for name in "igamma igammac".split():
    smooth(name, u(2, low=1.2, high=2.0), u(2, seed=1))
plain("gcd lcm", INTEGERS, i(2, 3) + 1, i(2, 3, seed=1) + 1)
plain("iscomplex isreal isneginf isposinf", BOOLS, s(2, 3))
plain("isclose allclose array_equal array_equiv", BOOLS, s(2, 3), s(2, 3, seed=1))

# -- reductions -----------------------------------------------------------------------------------------------------

for name in "nansum nanmean nanprod nanvar nanstd var_mean std_mean".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1), s(2, 3))
for name in "nanmax nanmin aminmax".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1), d(2, 3))
IDS = i(4, high=2)
for name in "segment_sum segment_prod segment_max segment_min".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, cr.asarray(IDS), 2), d(4, 2))

# -- shapes ---------------------------------------------------------------------------------------------------------

for name in "atleast_1d atleast_2d atleast_3d fliplr flipud rot90 diag_embed".split():
    smooth(name, s(2, 3))
smooth("movedim", lambda x: cr.movedim(x, 0, 1), s(2, 3))
smooth("rollaxis", lambda x: cr.rollaxis(x, 1), s(2, 3))
for name in "hstack vstack dstack row_stack column_stack block".split():
    smooth(name, lambda x, y, name=name: getattr(cr, name)([x, y]), s(2, 3), s(2, 3, seed=1))
for name in "hsplit vsplit tensor_split array_split".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, 2), s(4, 2))
smooth("dsplit", lambda x: cr.dsplit(x, 2), s(1, 2, 4))
smooth("append", lambda x, y: cr.append(x, y, axis=0), s(2, 3), s(1, 3, seed=1))
smooth("insert", lambda x, y: cr.insert(x, 1, y, axis=0), s(2, 3), s(3, seed=1))
smooth("delete", lambda x: cr.delete(x, 1, axis=0), s(3, 2))
smooth("block_diag", s(2, 2), s(1, 2, seed=1))
smooth("cartesian_prod", s(2), s(3))
smooth("combinations", lambda x: cr.combinations(x), s(3))
for name in "diag diagflat".split():
    smooth(name, s(3))
smooth("fill_diagonal", lambda x: cr.fill_diagonal(x, 2.0), s(3, 3))
smooth("trace", s(3, 3))
smooth("vander", s(3))
smooth("kron", s(2, 2), s(2, 1, seed=1))
smooth("inner", s(2, 3), s(2, 3, seed=1))
smooth("cross", s(2, 3), s(2, 3, seed=1))
smooth("cdist", s(2, 3), u(4, 3, seed=1))
smooth("pdist", d(3, 2))
smooth("apply_along_axis", lambda x: cr.apply_along_axis(lambda row: cr.sin(row) * row.sum(), 1, x), s(2, 3))

# -- indices --------------------------------------------------------------------------------------------------------

ROW = i(2, high=3)
MASK = b(2, 3, seed=2)
smooth("index_select", lambda x: cr.index_select(x, 1, cr.asarray(ROW)), s(2, 3))
smooth("index_add", lambda x, y: cr.index_add(x, 0, cr.asarray(ROW), y), s(3, 2), s(2, 2, seed=1))
smooth("index_copy", lambda x, y: cr.index_copy(x, 0, cr.asarray([2, 0]), y), s(3, 2), s(2, 2, seed=1))
smooth("index_fill", lambda x: cr.index_fill(x, 0, cr.asarray([2, 0]), 1.5), s(3, 2))
smooth("scatter", lambda x, y: cr.scatter(x, 0, cr.asarray([[0, 1], [2, 0]]), y), s(3, 2), s(2, 2, seed=1))
smooth(
    "scatter_reduce",
    lambda x, y: cr.scatter_reduce(x, 0, cr.asarray([[0, 1], [2, 0]]), y, "sum"),
    s(3, 2),
    s(2, 2, seed=1),
)
smooth("put_along_axis", lambda x, y: cr.put_along_axis(x, cr.asarray([[0, 2]]), y, 1), s(1, 3), s(1, 2, seed=1))
smooth("masked_fill", lambda x: cr.masked_fill(x, cr.asarray(MASK), 0.5), s(2, 3))
smooth("masked_select", lambda x: cr.masked_select(x, cr.asarray(MASK), size=3), s(2, 3))
smooth("extract", lambda x: cr.extract(cr.asarray(MASK), x, size=3), s(2, 3))
smooth("compress", lambda x: cr.compress(cr.asarray([True, False, True]), x, axis=1, size=2), s(2, 3))
smooth("choose", lambda x, y: cr.choose(cr.asarray([0, 1, 0]), [x, y]), s(3), s(3, seed=1))
smooth("select", lambda x, y: cr.select([cr.asarray(MASK)], [x], y), s(2, 3), s(2, 3, seed=1))
smooth("piecewise", lambda x: cr.piecewise(x, [x < 0, x >= 0], [cr.exp, cr.cos]), s(2, 3))
plain("argwhere", SHAPED, b(4), batched=SHAPE_HOLE, compiled=SHAPE_HOLE)
plain("flatnonzero", SHAPED, b(4), batched=SHAPE_HOLE, compiled=SHAPE_HOLE)
plain("trim_zeros", SHAPED, i(4), batched=SHAPE_HOLE, compiled=SHAPE_HOLE)
plain("ravel_multi_index", INTEGERS, lambda x, y: cr.ravel_multi_index((x, y), (4, 4)), i(3), i(3, seed=1))
plain("unravel_index", INTEGERS, lambda x: cr.unravel_index(x, (2, 2)), i(3))
plain("ix_", INTEGERS, lambda x: cr.ix_(x, x), i(3))
plain("diag_indices", MADE, lambda: cr.diag_indices(3))
plain("tril_indices triu_indices", MADE, lambda: cr.tril_indices(3))
plain("indices", MADE, lambda: cr.indices((2, 3)))
plain("identity tri", MADE, lambda: cr.identity(2))
plain("geomspace logspace", MADE, lambda: cr.geomspace(1.0, 8.0, 4))
