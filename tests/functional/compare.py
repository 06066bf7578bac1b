"""Comparison with PyTorch: values and gradients of one function on the same arrays."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

#: relative and absolute tolerance; float32 differs by the order of sums and by 4 ulp of elementary functions
TOLERANCE = {np.dtype("float64"): (1e-10, 1e-12), np.dtype("float32"): (2e-5, 2e-6)}


def close(ours, theirs, dtype=np.float64, scale: float = 1.0):
    """Assert that two arrays agree within the tolerance of `dtype`, times `scale`."""
    relative, absolute = TOLERANCE[np.dtype(dtype)]
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=relative * scale, atol=absolute * scale)


def same_as_torch(ours, theirs, arrays, dtype=np.float64, differentiate=None, scale=1.0):
    """Assert that ``ours(*tensors)`` and ``theirs(*tensors)`` agree in value and in gradient.

    `arrays` become tensors of both kinds, floating ones converted to `dtype`; gradients are compared for the
    operands numbered in `differentiate` (default: all floating ones), of the sum of the result weighted by cosines.
    """
    arrays = [np.asarray(a) for a in arrays]
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    if differentiate is None:
        differentiate = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    a_ours = [cr.asarray(a) for a in arrays]
    a_theirs = [torch.tensor(a) for a in arrays]
    for i in differentiate:
        a_ours[i].requires_grad_()
        a_theirs[i].requires_grad_()
    y_ours, y_theirs = ours(*a_ours), theirs(*a_theirs)
    assert tuple(y_ours.shape) == tuple(y_theirs.shape)
    close(y_ours.detach().numpy(), y_theirs.detach().numpy(), dtype, scale)
    assert y_ours.dtype.numpy == y_theirs.detach().numpy().dtype
    weight = np.cos(np.arange(y_theirs.numel())).reshape(tuple(y_theirs.shape)).astype(dtype)
    (y_ours * cr.asarray(weight)).sum().backward()
    (y_theirs * torch.tensor(weight)).sum().backward()
    for i in differentiate:
        assert a_ours[i].grad is not None, f"no gradient for operand {i}"
        close(a_ours[i].grad.numpy(), a_theirs[i].grad.numpy(), dtype, scale)
