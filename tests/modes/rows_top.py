"""Rows of `chainrule` itself."""

from __future__ import annotations

import chainrule as cr

from .rows import Table, b, d, i, s, u

TOP = Table(cr)
smooth, plain, tool = TOP.smooth, TOP.plain, TOP.tool
INTEGERS, BOOLS = "the result is whole numbers", "the result is truth values"
MADE, DRAWN = "made without an operand", "a random draw"
SHAPED = "the shape of the result depends on the data"
SHAPE_HOLE = "the shape of the result depends on the data; give size="

# -- elementwise ----------------------------------------------------------------------------------------------------

EVERYWHERE = "abs atan asinh cos cosh erf exp expm1 negative positive sigmoid sin sinh square tan tanh"
for name in EVERYWHERE.split():
    smooth(name, s(2, 3))
for name in "acos asin atanh log log10 log1p log2 reciprocal rsqrt sqrt".split():
    smooth(name, u(2, 3))
smooth("acosh", u(2, 3, low=1.3, high=2.0))
for name in "ceil floor round trunc sign".split():
    smooth(name, u(2, 3, low=0.1, high=0.4))
for name in "add subtract multiply divide atan2 logaddexp hypot copysign".split():
    smooth(name, s(2, 3), s(2, 3, seed=1))
for name in "maximum minimum".split():
    smooth(name, d(2, 3), d(2, 3, seed=1) + 0.05)
for name in "floor_divide remainder".split():
    smooth(name, u(2, 3, low=2.2, high=2.7), u(2, 3, low=0.9, high=1.0))
smooth("pow", u(2, 3), s(2, 3, seed=1))
smooth("clip", lambda x: cr.clip(x, -0.5, 0.8), d(2, 3))
smooth("clamp", lambda x: cr.clamp(x, -0.5, 0.8), d(2, 3))
smooth("where", lambda x, y: cr.where(cr.asarray(b(2, 3)), x, y), s(2, 3), s(2, 3, seed=1))
plain("isfinite isinf isnan signbit", BOOLS, s(2, 3))
plain("equal not_equal less less_equal greater greater_equal", BOOLS, s(2, 3), s(2, 3, seed=1))
plain("logical_and logical_or logical_xor", BOOLS, b(2, 3), b(2, 3, seed=1))
plain("logical_not", BOOLS, b(2, 3))
plain("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift", INTEGERS, i(2, 3), i(2, 3, seed=1))
plain("bitwise_invert", INTEGERS, i(2, 3))
smooth("nextafter", s(2, 3), s(2, 3, seed=1))

# -- complex --------------------------------------------------------------------------------------------------------

for name in "real imag conj angle".split():
    smooth(name, lambda x, y, name=name: getattr(cr, name)(cr.complex(x, y)), s(2, 3), s(2, 3, seed=1))
smooth("adjoint", lambda x, y: cr.adjoint(cr.complex(x, y)), s(2, 3), s(2, 3, seed=1))
smooth("view_as_real", lambda x, y: cr.view_as_real(cr.complex(x, y)), s(2, 3), s(2, 3, seed=1))
smooth("complex", s(2, 3), s(2, 3, seed=1))
smooth("polar", u(2, 3), s(2, 3, seed=1))
smooth("view_as_complex", s(3, 2))

# -- reductions -----------------------------------------------------------------------------------------------------

for name in "sum mean prod logsumexp var std".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1), s(2, 3))
for name in "max min amax amin median ptp nanmedian".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1), d(2, 5))
smooth("average", lambda x, w: cr.average(x, axis=-1, weights=w), s(2, 3), u(3))
smooth("quantile", lambda x: cr.quantile(x, 0.3, axis=-1), d(2, 5))
smooth("nanquantile", lambda x: cr.nanquantile(x, 0.3, axis=-1), d(2, 5))
smooth("percentile", lambda x: cr.percentile(x, 30.0, axis=-1), d(2, 5))
smooth("nanpercentile", lambda x: cr.nanpercentile(x, 30.0, axis=-1), d(2, 5))
smooth("norm", s(2, 3))
smooth("cov", lambda x: cr.cov(x), s(2, 4))
smooth("corrcoef", lambda x: cr.corrcoef(x), d(2, 4))
smooth("trapezoid", s(2, 4))
plain("all any", BOOLS, b(2, 3))
plain("argmax argmin nanargmax nanargmin count_nonzero", INTEGERS, d(2, 3))

# -- along an axis --------------------------------------------------------------------------------------------------

for name in "cumsum cumprod cumulative_sum cumulative_prod logcumsumexp nancumsum nancumprod".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1), s(2, 3))
for name in "cummax cummin".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(x, axis=-1)[0], d(2, 4))
smooth("cumulative_trapezoid", s(2, 4))
smooth("diff", s(2, 4))
smooth("ediff1d", s(4))
smooth("gradient", lambda x: cr.gradient(x), s(5))
smooth("unwrap", lambda x: cr.unwrap(x), s(4))
smooth("convolve", s(4), s(3, seed=1))
smooth("correlate", s(4), s(3, seed=1))
smooth("interp", lambda x, y: cr.interp(x, cr.asarray([0.0, 0.5, 1.0]), y), u(3), s(3))
smooth("polyval", s(3), s(2))
smooth("polyfit", lambda x, y: cr.polyfit(x, y, 2), d(5), s(5, seed=1))
smooth("sort", d(2, 4))
smooth("msort", d(4, 2))
smooth("partition", lambda x: cr.partition(x, 1), d(2, 4))
smooth("topk", lambda x: cr.topk(x, 2)[0], d(2, 4))
smooth("kthvalue", lambda x: cr.kthvalue(x, 2)[0], d(2, 4))
smooth("mode", lambda x: cr.mode(x)[0], d(2, 3))
plain("argsort", INTEGERS, d(2, 4))
plain("argpartition", INTEGERS, lambda x: cr.argpartition(x, 1), d(2, 4))
plain("lexsort", INTEGERS, lambda x: cr.lexsort((x,)), d(4))
plain("searchsorted", INTEGERS, lambda x: cr.searchsorted(cr.asarray([0.0, 0.5, 1.0]), x), u(3))
plain("bucketize", INTEGERS, lambda x: cr.bucketize(x, cr.asarray([0.0, 0.5, 1.0])), u(3))
plain("digitize", INTEGERS, lambda x: cr.digitize(x, cr.asarray([0.0, 0.5, 1.0])), u(3))
plain("isin", BOOLS, lambda x: cr.isin(x, cr.asarray([1, 2])), i(4))

# -- shapes and indices ---------------------------------------------------------------------------------------------

smooth("reshape", lambda x: cr.reshape(x, (3, 2)), s(2, 3))
smooth("broadcast_to", lambda x: cr.broadcast_to(x, (2, 3)), s(3))
smooth("broadcast_arrays", s(3), s(2, 1))
smooth("expand", lambda x: cr.expand(x, (2, 3)), s(3))
smooth("expand_dims", s(2, 3))
smooth("unsqueeze", lambda x: cr.unsqueeze(x, 1), s(2, 3))
smooth("squeeze", s(2, 1))
for name in "flatten ravel flip matrix_transpose tril triu".split():
    smooth(name, s(2, 3))
smooth("permute_dims", lambda x: cr.permute_dims(x, (1, 0, 2)), s(2, 3, 2))
smooth("transpose", lambda x: cr.transpose(x, 0, 1), s(2, 3))
smooth("swapaxes", lambda x: cr.swapaxes(x, 0, 1), s(2, 3))
smooth("moveaxis", lambda x: cr.moveaxis(x, 0, 1), s(2, 3))
smooth("diagonal", s(3, 3))
for name in "concat cat stack".split():
    smooth(name, lambda x, y, name=name: getattr(cr, name)([x, y]), s(2, 3), s(2, 3, seed=1))
smooth("split", lambda x: cr.split(x, 2), s(4, 2))
smooth("chunk", lambda x: cr.chunk(x, 2), s(4, 2))
smooth("unstack", s(2, 3))
smooth("meshgrid", s(2), s(3))
smooth("pad", lambda x: cr.pad(x, ((1, 0), (0, 2))), s(2, 3))
smooth("repeat", lambda x: cr.repeat(x, 2, axis=0), s(2, 3))
smooth("repeat_interleave", lambda x: cr.repeat_interleave(x, 2, axis=0), s(2, 3))
smooth("tile", lambda x: cr.tile(x, (2, 1)), s(2, 3))
smooth("roll", lambda x: cr.roll(x, 1, axis=0), s(3, 2))
smooth("take", lambda x: cr.take(x, cr.asarray(i(3, high=2)), axis=0), s(2, 3))
smooth("take_along_axis", lambda x: cr.take_along_axis(x, cr.asarray(i(2, 2, high=3))), s(2, 3))
smooth("gather", lambda x: cr.gather(x, 1, cr.asarray(i(2, 2, high=3))), s(2, 3))
smooth("scatter_add", lambda x, y: cr.scatter_add(x, cr.asarray(i(3, high=2)), y), s(2, 3), s(3, 3))
plain("one_hot", INTEGERS, lambda x: cr.one_hot(x, 4), i(3))

# -- products -------------------------------------------------------------------------------------------------------

smooth("matmul", s(2, 3), s(3, 2, seed=1))
smooth("dot", s(3), s(3, seed=1))
smooth("outer", s(2), s(3, seed=1))
smooth("vecdot", s(2, 3), s(2, 3, seed=1))
smooth("tensordot", lambda x, y: cr.tensordot(x, y, axes=1), s(2, 3), s(3, 2, seed=1))
smooth("einsum", lambda x, y: cr.einsum("ij,jk->ik", x, y), s(2, 3), s(3, 2, seed=1))

# -- control --------------------------------------------------------------------------------------------------------

smooth("scan", lambda c, x: cr.scan(lambda c, x: (cr.sin(c * x), c), c, x), s(2), s(3, 2, seed=1))
smooth("fori_loop", lambda x: cr.fori_loop(0, 3, lambda i, c: cr.sin(c) * 1.1, x), s(2))
smooth(
    "while_loop",
    lambda x: cr.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, cr.sin(c[1])), (cr.asarray(0), x), max_steps=4)[1],
    s(2),
)
smooth("cond", lambda x: cr.cond(x.sum() > 0, cr.sin, cr.cos, x), u(2))
smooth("switch", lambda x: cr.switch(cr.asarray(1), [cr.exp, cr.sin, cr.cos], x), u(2))
smooth("map", lambda x: cr.map(lambda row: cr.sin(row).sum(), x), s(3, 2))
smooth("associative_scan", lambda x: cr.associative_scan(cr.multiply, x), u(4, 2))
smooth("checkpoint", lambda x: cr.checkpoint(lambda x: cr.sin(cr.exp(x)), x), s(2, 3))
smooth("checkpoint_sequential", lambda x: cr.checkpoint_sequential([cr.sin, cr.exp, cr.cos], 2, x), s(2, 3))
smooth("checkpoint_name", lambda x: cr.checkpoint_name(cr.sin(x), "y"), s(2, 3))
smooth("stop_gradient", lambda x: cr.sin(x) + cr.stop_gradient(cr.asarray([1.0, 2.0])), s(2))


@cr.custom_jvp
def _cubed(x):
    return x**3


_cubed.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))


@cr.custom_vjp
def _squared(x):
    return x**2


_squared.defvjp(lambda x: (x**2, x), lambda x, ct: (2 * x * ct,))
smooth("custom_jvp", lambda x: _cubed(x), s(2))
REVERSE_ONLY = "a rule for reverse mode alone gives no tangents: one error says so"
smooth("custom_vjp", lambda x: _squared(x), s(2), forward=REVERSE_ONLY)

# -- derivatives of functions are functions too ---------------------------------------------------------------------

smooth("grad", lambda x: cr.grad(lambda x: (cr.sin(x) * x).sum())(x), s(2))
smooth("value_and_grad", lambda x: cr.value_and_grad(lambda x: (cr.sin(x) * x).sum())(x), s(2))
smooth("vjp", lambda x, w: cr.vjp(cr.sin, x)[1](w), s(2), s(2, seed=1))
smooth("jvp", lambda x, t: cr.jvp(cr.sin, (x,), (t,)), s(2), s(2, seed=1))
smooth("linearize", lambda x, t: cr.linearize(cr.sin, x)[1](t), s(2), s(2, seed=1))
smooth("hvp", lambda x, t: cr.hvp(lambda x: cr.sin(x).sum(), (x,), (t,)), s(2), s(2, seed=1))
for name in "jacfwd jacrev jacobian".split():
    smooth(name, lambda x, name=name: getattr(cr, name)(lambda x: cr.sin(x) * x.sum())(x), s(2))
smooth("hessian", lambda x: cr.hessian(lambda x: (cr.sin(x) * x.sum()).sum())(x), s(2))
smooth("vmap", lambda x: cr.vmap(lambda row: cr.sin(row) * row.sum())(x), s(2, 3))
smooth("compile", lambda x: cr.compile(cr.sin)(x), s(2))

# -- conversion -----------------------------------------------------------------------------------------------------

smooth("asarray", s(2))
smooth("astype", lambda x: cr.astype(x, cr.float64), s(2))
plain("zeros_like ones_like empty_like", MADE, lambda x: cr.zeros_like(x), s(2))
plain("full_like", MADE, lambda x: cr.full_like(x, 2.0), s(2))
plain("zeros ones empty", MADE, lambda: cr.zeros((2,)))
plain("full", MADE, lambda: cr.full((2,), 0.5))
plain("eye", MADE, lambda: cr.eye(2))
plain("arange", MADE, lambda: cr.arange(3))
plain("linspace", MADE, lambda: cr.linspace(0.0, 1.0, 3))
for name in "tensor from_numpy from_dlpack".split():
    tool(name, "takes values from outside, which have no history")

# -- sets and histograms --------------------------------------------------------------------------------------------

plain("unique_all unique_counts unique_inverse unique_values unique unique_consecutive", SHAPED, i(4),
      batched=SHAPE_HOLE, compiled=SHAPE_HOLE)  # fmt: skip
plain("nonzero", SHAPED, b(4), batched=SHAPE_HOLE, compiled=SHAPE_HOLE)
plain("union1d intersect1d setdiff1d setxor1d", SHAPED, i(4), i(4, seed=1), batched=SHAPE_HOLE, compiled=SHAPE_HOLE)
# by the weights: counts do not change with the values
UNIT = ((0.0, 1.0), (0.0, 1.0))
smooth("bincount", lambda w: cr.bincount(cr.asarray(i(5)), w, length=4), s(5))
smooth("histogram", lambda w: cr.histogram(cr.asarray(u(5)), 3, (0.0, 1.0), weights=w)[0], s(5))
smooth("histogram2d", lambda w: cr.histogram2d(u(5), u(5, seed=1), 2, UNIT, weights=w)[0], s(5))
smooth("histogramdd", lambda w: cr.histogramdd(u(5, 2), 2, UNIT, weights=w)[0], s(5))
smooth("histogram_bin_edges", lambda x: cr.histogram_bin_edges(x, 3), d(5))

# -- random draws ---------------------------------------------------------------------------------------------------

smooth("normal", lambda m, sd: cr.normal(m, sd, dtype=cr.float64, key=cr.random.key(1)), s(2), u(2))
smooth("uniform", lambda a, c: cr.uniform(a, c, dtype=cr.float64, key=cr.random.key(1)), u(2), u(2, low=1, high=2))
plain("rand randn", DRAWN, lambda: cr.rand(2, key=cr.random.key(1)))
plain("rand_like randn_like", DRAWN, lambda: cr.rand(2, key=cr.random.key(1)))
plain("randint", DRAWN, lambda: cr.randint(0, 3, (2,), key=cr.random.key(1)))
plain("randperm", DRAWN, lambda: cr.randperm(3, key=cr.random.key(1)))
plain("bernoulli", DRAWN, lambda: cr.bernoulli(0.5, (2,), key=cr.random.key(1)))
smooth("permutation", lambda x: cr.permutation(x, key=cr.random.key(1)), s(3))

# -- no arrays ------------------------------------------------------------------------------------------------------

tool("broadcast_shapes can_cast result_type isdtype finfo iinfo einsum_path", "about types and shapes, not values")
tool("tree_flatten tree_leaves tree_leaves_with_path tree_map tree_map_with_path tree_reduce tree_structure "
     "tree_unflatten tree_all", "takes trees apart and puts them together")  # fmt: skip
tool("enable_grad no_grad set_grad_enabled is_grad_enabled autocast set_detect_nonfinite", "a setting of recording")
tool("set_memory_limit get_memory_limit set_num_threads get_num_threads manual_seed", "a setting of the machine")
tool("explain profile", "describes what runs")
tool("fit", "trains a model")
tool("DType Generator Tensor", "a class, whose methods are the functions here")
