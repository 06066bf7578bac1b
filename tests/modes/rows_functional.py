"""Rows of `chainrule.functional`."""

from __future__ import annotations

import chainrule as cr
from chainrule import functional as F

from .rows import Table, d, i, s, u

FUNCTIONAL = Table(F)
smooth, plain, tool = FUNCTIONAL.smooth, FUNCTIONAL.plain, FUNCTIONAL.tool

LABELS = i(4, low=0, high=3)

for name in "relu elu leaky_relu selu silu gelu sigmoid tanh softplus hardtanh".split():
    smooth(name, s(2, 3))
smooth("softmax", lambda x: F.softmax(x, -1), s(2, 3))
smooth("log_softmax", lambda x: F.log_softmax(x, -1), s(2, 3))
smooth("softmin", lambda x: F.softmin(x, -1), s(2, 3))
smooth("dropout", lambda x: F.dropout(x, 0.5, False), s(2, 3))
smooth("normalize", s(2, 3))
smooth("linear", s(2, 3), s(4, 3, seed=1), s(4, seed=2))
smooth("layer_norm", lambda x, w, c: F.layer_norm(x, 3, w, c), d(2, 3), s(3), s(3, seed=1))
smooth("rms_norm", lambda x, w: F.rms_norm(x, 3, w), s(2, 3), s(3))
smooth("group_norm", lambda x, w, c: F.group_norm(x, 2, w, c), d(2, 4, 2), s(4), s(4, seed=1))
smooth("instance_norm", lambda x, w: F.instance_norm(x, weight=w), d(2, 2, 3), s(2))
smooth("batch_norm", lambda x, w, c: F.batch_norm(x, None, None, w, c, training=True), d(4, 2), s(2), s(2, seed=1))
smooth("local_response_norm", lambda x: F.local_response_norm(x, 3), s(1, 4, 2))

smooth("mse_loss", s(2, 3), s(2, 3, seed=1))
smooth("l1_loss", d(2, 3), d(2, 3, seed=3) + 0.05)
smooth("smooth_l1_loss", s(2, 3), s(2, 3, seed=1))
smooth("huber_loss", s(2, 3), s(2, 3, seed=1))
smooth("gaussian_nll_loss", s(2, 3), s(2, 3, seed=1), u(2, 3))
smooth("poisson_nll_loss", s(2, 3), u(2, 3))
smooth("kl_div", s(2, 3), u(2, 3))
smooth("binary_cross_entropy", u(2, 3), u(2, 3, seed=1))
smooth("binary_cross_entropy_with_logits", s(2, 3), u(2, 3, seed=1))
smooth("cross_entropy", lambda x: F.cross_entropy(x, cr.asarray(LABELS)), s(4, 3))
smooth("nll_loss", lambda x: F.nll_loss(x, cr.asarray(LABELS)), s(4, 3))

smooth("conv1d", s(1, 2, 5), s(2, 2, 3, seed=1), s(2))
smooth("conv2d", lambda x, w, c: F.conv2d(x, w, c, padding=1), s(1, 2, 4, 3), s(2, 2, 3, 2, seed=1), s(2))
smooth("conv3d", s(1, 1, 3, 3, 2), s(2, 1, 2, 2, 2, seed=1), s(2))
smooth("conv_transpose1d", s(1, 2, 3), s(2, 2, 2, seed=1), s(2))
smooth("conv_transpose2d", s(1, 2, 2, 3), s(2, 1, 2, 2, seed=1), s(1))
smooth("conv_transpose3d", s(1, 1, 2, 2, 2), s(1, 1, 2, 2, 2, seed=1), s(1))
for rank, shape in ((1, (1, 2, 4)), (2, (1, 1, 4, 4)), (3, (1, 1, 2, 4, 4))):
    smooth(f"max_pool{rank}d", lambda x, n=f"max_pool{rank}d": getattr(F, n)(x, 2), d(*shape))
    smooth(f"avg_pool{rank}d", lambda x, n=f"avg_pool{rank}d": getattr(F, n)(x, 2), s(*shape))
    smooth(f"adaptive_max_pool{rank}d", lambda x, n=f"adaptive_max_pool{rank}d": getattr(F, n)(x, 2), d(*shape))
    smooth(f"adaptive_avg_pool{rank}d", lambda x, n=f"adaptive_avg_pool{rank}d": getattr(F, n)(x, 2), s(*shape))
smooth("lp_pool1d", lambda x: F.lp_pool1d(x, 2.0, 2), u(1, 2, 4))
smooth("lp_pool2d", lambda x: F.lp_pool2d(x, 2.0, 2), u(1, 1, 4, 4))
smooth("unfold", lambda x: F.unfold(x, 2), s(1, 2, 3, 3))
smooth("fold", lambda x: F.fold(x, (3, 3), 2), s(1, 8, 4))
smooth("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), s(1, 4, 2, 2))
smooth("pixel_unshuffle", lambda x: F.pixel_unshuffle(x, 2), s(1, 1, 4, 4))
smooth("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), s(1, 1, 2, 3))
smooth("pad", lambda x: F.pad(x, (1, 2)), s(2, 3))

smooth("embedding", lambda w: F.embedding(cr.asarray(LABELS), w), s(3, 2))
smooth("embedding_bag", lambda w: F.embedding_bag(cr.asarray(LABELS.reshape(2, 2)), w), s(3, 2))
smooth("scaled_dot_product_attention", s(1, 2, 3, 4), s(1, 2, 3, 4, seed=1), s(1, 2, 3, 4, seed=2))

CELL = (s(2, 3), s(2, 2, seed=1))
LAYER = (s(3, 2, 3), s(2, 2, seed=1))
for kind, gates in (("rnn", 1), ("gru", 3)):
    weights = (s(2 * gates, 3, seed=2), s(2 * gates, 2, seed=3), s(2 * gates, seed=4), s(2 * gates, seed=5))
    smooth(f"{kind}_cell", *CELL, *weights)
    smooth(f"{kind}_layer", *LAYER, *weights)
weights = (s(8, 3, seed=2), s(8, 2, seed=3), s(8, seed=4), s(8, seed=5))
smooth("lstm_cell", lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w), *CELL, s(2, 2, seed=6), *weights)
smooth("lstm_layer", lambda x, h, c, *w: F.lstm_layer(x, (h, c), *w), *LAYER, s(2, 2, seed=6), *weights)

plain("one_hot", "the result is whole numbers", lambda x: F.one_hot(x, 4), LABELS)
tool("check_probability check_reduction same_shape", "checks an argument")
