"""The methods of tensors that are functions beyond the standard, as PyTorch spells them."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.methods import _LATER

from .beyond import same

X = np.random.default_rng(0).normal(size=(4, 6))


def test_methods_are_the_functions():
    for name in _LATER:
        assert callable(getattr(cr, name)) and callable(getattr(cr.Tensor, name)), name
    x = cr.asarray(X)
    same(x.quantile(0.3, dim=1, keepdim=True), np.quantile(X, 0.3, 1, keepdims=True))
    same(x.cummax(1).values, np.maximum.accumulate(X, 1))
    same(x.index_add(0, cr.tensor([0, 0]), cr.ones(2, 6)), X + np.eye(4, 1) * 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.quantile(0.3, dim=1, keepdim=True),
        lambda x: x.nanquantile(0.3, dim=0),
        lambda x: x.nansum(dim=1, keepdim=True),
        lambda x: x.nanmean(dim=0),
        lambda x: x.kthvalue(2, dim=1, keepdim=True).values,
        lambda x: x.mode(dim=0).values,
        lambda x: x.aminmax(dim=1)[1],
        lambda x: x.logcumsumexp(dim=1),
        lambda x: x.unique(dim=0),
        lambda x: x.unique(return_counts=True)[1],
        lambda x: x.topk(2, dim=1, sorted=True).values,
        lambda x: x.cummin(dim=0).indices,
        lambda x: x.movedim(0, 1),
        lambda x: x.rot90(1, (0, 1)),
        lambda x: x.clamp_min(0.1),
        lambda x: x.cov(),
        lambda x: x.diag_embed(),
        lambda x: x.unique_consecutive(),
        lambda x: x.nan_to_num(0.0),
        lambda x: x.tensor_split(3, 1)[1],
    ],
)
def test_against_pytorch(call):
    torch = pytest.importorskip("torch")
    same(call(cr.asarray(X)), call(torch.tensor(X)).numpy(), 1e-10)
