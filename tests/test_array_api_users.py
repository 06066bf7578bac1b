"""Code that others wrote against the standard runs on tensors: SciPy's, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from scipy import fft, special, stats
import chainrule as cr

a = np.random.default_rng(0).normal(size=(4, 3))
x = cr.asarray(a)
for function in (
    lambda v: special.logsumexp(v, axis=0), lambda v: special.softmax(v, axis=1), lambda v: stats.zscore(v),
    lambda v: stats.skew(v), lambda v: fft.fft(v), lambda v: special.expit(v),
):
    found = function(x)
    assert isinstance(found, cr.Tensor), function
    np.testing.assert_allclose(found.numpy(), np.asarray(function(a)), rtol=1e-12, atol=1e-12)
gradient = cr.grad(lambda v: special.logsumexp(v))(x)
np.testing.assert_allclose(gradient.numpy(), special.softmax(a), rtol=1e-12)
np.testing.assert_allclose(cr.compile(lambda v: special.logsumexp(v, axis=1))(x).numpy(), special.logsumexp(a, axis=1))
second = cr.grad(lambda v: (stats.zscore(v, axis=0) ** 3).sum())(x)
step = 1e-6
for place in ((0, 0), (3, 2)):
    moved = [a.copy() for _ in range(2)]
    moved[0][place] += step
    moved[1][place] -= step
    slope = np.subtract(*((stats.zscore(m, axis=0) ** 3).sum() for m in moved)) / (2 * step)
    assert abs(second[place].item() - slope) < 1e-6
"""


def test_scipy():
    scipy = pytest.importorskip("scipy")
    if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15):
        pytest.skip("older versions of SciPy know fewer functions of the standard")
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
