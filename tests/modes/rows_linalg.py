"""Rows of `chainrule.linalg` and `chainrule.fft`."""

from __future__ import annotations

import chainrule as cr
from chainrule import fft, linalg

from .rows import Table, d, s, spd

LINALG, FFT = Table(linalg), Table(fft)
smooth, plain, tool = LINALG.smooth, LINALG.plain, LINALG.tool


def symmetric(function):
    """Of the symmetric part, so that every direction stays among symmetric matrices."""
    return lambda x: function((x + cr.matrix_transpose(x)) / 2)


for name in "det inv expm matrix_exp logdet matrix_norm norm vector_norm trace diagonal matrix_transpose pinv".split():
    smooth(name, spd(3))
smooth("slogdet", lambda x: linalg.slogdet(x)[1], spd(3))
smooth("cond", spd(3))
smooth("matrix_power", lambda x: linalg.matrix_power(x, 3), spd(2))
smooth("cholesky", symmetric(linalg.cholesky), spd(3))
smooth("eigh", symmetric(lambda x: linalg.eigh(x)), spd(3))
smooth("eigvalsh", symmetric(linalg.eigvalsh), spd(3))
smooth("eigvals", lambda x: linalg.eigvals(x), spd(3))
smooth("eig", lambda x: linalg.eig(x)[0], spd(3))
smooth("svd", lambda x: linalg.svd(x, full_matrices=False), d(3, 2))
smooth("svdvals", d(3, 2))
smooth("qr", d(3, 2))
smooth("lu", lambda x: tuple(linalg.lu(x))[-2:], spd(3))
smooth("solve", spd(2), s(2, 2))
smooth("solve_triangular", lambda a, y: linalg.solve_triangular(a, y, upper=False), spd(2), s(2, 2))
smooth("cho_solve", lambda x, y: linalg.cho_solve(linalg.cholesky((x + x.mT) / 2), y), spd(2), s(2, 2))
smooth("lstsq", lambda a, y: linalg.lstsq(a, y)[0], d(3, 2), s(3, 1))
smooth("tensorsolve", spd(2), s(2))
smooth("tensorinv", lambda x: linalg.tensorinv(x, ind=1), spd(2))
smooth("multi_dot", lambda a, x, y: linalg.multi_dot([a, x, y]), s(2, 3), s(3, 2, seed=1), s(2, 2, seed=2))
smooth("matmul", s(2, 3), s(3, 2, seed=1))
smooth("dot", s(3), s(3, seed=1))
smooth("outer", s(2), s(3, seed=1))
for name in "vecdot inner cross".split():
    smooth(name, s(2, 3), s(2, 3, seed=1))
smooth("tensordot", lambda x, y: linalg.tensordot(x, y, axes=1), s(2, 3), s(3, 2, seed=1))
smooth("einsum", lambda x, y: linalg.einsum("ij,jk->ik", x, y), s(2, 3), s(3, 2, seed=1))
smooth("transpose", lambda x: linalg.transpose(x, 0, 1), s(2, 3))
smooth("kron", s(2, 2), s(2, 1, seed=1))
smooth("block_diag", s(2, 2), s(1, 2, seed=1))
plain("matrix_rank", "the result is whole numbers", spd(3))
tool("einsum_path", "about types and shapes, not values")

for name in "fft ifft hfft rfft ihfft".split():
    FFT.smooth(name, s(4))
for name in "fft2 ifft2 fftn ifftn rfftn fftshift ifftshift".split():
    FFT.smooth(name, s(2, 4))
FFT.smooth("irfft", lambda x, y: fft.irfft(cr.complex(x, y)), s(3), s(3, seed=1))
FFT.smooth("irfftn", lambda x, y: fft.irfftn(cr.complex(x, y)), s(2, 3), s(2, 3, seed=1))
FFT.smooth("rfft2", s(2, 4))
FFT.smooth("irfft2", lambda x, y: fft.irfft2(cr.complex(x, y)), s(2, 3), s(2, 3, seed=1))
FFT.plain("fftfreq rfftfreq", "made without an operand", lambda: fft.fftfreq(4))
