"""Derivatives of functions of complex numbers: against PyTorch, central differences, and each other."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DifferentiationError, DTypeError

random = np.random.default_rng(3)


def numbers(*shape):
    """Complex numbers from a normal distribution."""
    return np.asarray(random.normal(size=shape) + 1j * random.normal(size=shape))


Z, W = numbers(3, 4), numbers(3, 4)
REAL = random.normal(size=(3, 4))


def close(found, wanted, tolerance=1e-10):
    if hasattr(wanted, "resolve_conj"):
        wanted = wanted.detach().resolve_conj()
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


# each takes the array package and operands, real ones where the name says so
FUNCTIONS = {
    **{
        name: (lambda m, z, name=name: getattr(m, name)(z))
        for name in (
            "exp expm1 log log1p log2 log10 sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh "
            "square reciprocal sigmoid abs real imag conj angle sum mean"
        ).split()
    },
    "sign": lambda m, z: (m.sgn if hasattr(m, "sgn") else m.sign)(z),
    "prod": lambda m, z: m.prod(z),
    "var": lambda m, z: m.var(z, correction=0),
    "cumsum": lambda m, z: m.cumsum(z, 1),
    "cumprod": lambda m, z: m.cumprod(z, 1),
    "negative": lambda m, z: -z,
    "square_power": lambda m, z: z**2,
    "power": lambda m, z: z ** (1.5 - 0.5j),
    "real_power": lambda m, z: z**-2.5,
    "exponent": lambda m, z: m.asarray(2.0 + 0j) ** z,
    "polynomial": lambda m, z: 3j * z * z + (1 - 1j) * z / 2 - 4,
    "mixed": lambda m, z: z.real * z + z.imag / z,
    "parts": lambda m, z: m.complex(z.imag * z.real, abs(z)),
    "polar": lambda m, z: m.polar(abs(z), m.angle(z) * 2),
    "view_as_real": lambda m, z: m.view_as_real(z) ** 2,
    "view_as_complex": lambda m, z: m.view_as_complex(m.view_as_real(z) * 2),
    "reshape": lambda m, z: z.reshape(2, 6) * 1j,
    "transpose": lambda m, z: z.mH @ z,
    "flip": lambda m, z: m.flip(z, (0,)) * z,
    "index": lambda m, z: z[1:, ::2] * z[0, 1],
    "gaps": lambda m, z: m.concat([z[:1] * 2j, z[2:] * z[2:]], 0),
    "where": lambda m, z: m.where(z.real > 0, z * z, 1j * z.conj()),
    "concat": lambda m, z: m.concat([z, z.conj() * z], 1),
    "stack": lambda m, z: m.stack([z, z.real + 0j]),
    "broadcast": lambda m, z: z * z[0] + z[:, :1],
}
PAIRS = {
    "add": lambda m, a, b: a + b,
    "sub": lambda m, a, b: a - b,
    "mul": lambda m, a, b: a * b,
    "div": lambda m, a, b: a / b,
    "pow": lambda m, a, b: a**b,
    "matmul": lambda m, a, b: a @ b.mT,
    "matrix_vector": lambda m, a, b: a @ b[0],
    "vecdot": lambda m, a, b: m.linalg.vecdot(a, b),
    "tensordot": lambda m, a, b: m.tensordot(a, b.conj(), **{"axes" if m is cr else "dims": 2}),
    "einsum": lambda m, a, b: m.einsum("ij,kj->ki", a, b),
    "norm": lambda m, a, b: m.linalg.vector_norm(a - b),
    "real_factor": lambda m, a, b: a.real * b,
    "real_quotient": lambda m, a, b: a / (b.imag**2 + 1),
    "real_matmul": lambda m, a, b: a.real.to(m.complex128) @ b.mT,
    "complex": lambda m, a, b: m.complex(a.real * b.real, b.imag) * a,
}


def weighted(m, y, weight):
    """A real number: the real part of the sum of conj(weight) * y."""
    total = (y * m.asarray(np.conj(weight)) if m is cr else y * m.tensor(np.conj(weight))).sum()
    return total.real


def weight_for(y):
    return numbers(*y.shape) if y.dtype.kind == "c" else random.normal(size=y.shape)


@pytest.mark.parametrize("name", [*FUNCTIONS, *PAIRS])
def test_gradient_is_that_of_pytorch(name):
    torch = pytest.importorskip("torch")
    f, arrays = (FUNCTIONS[name], [Z]) if name in FUNCTIONS else (PAIRS[name], [Z, W])
    weight = weight_for(f(cr, *map(cr.asarray, arrays)))
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    weighted(torch, f(torch, *theirs), weight).backward()
    numbers_ = tuple(range(len(arrays)))
    found = cr.grad(lambda *zs: weighted(cr, f(cr, *zs), weight), numbers_)(*map(cr.asarray, arrays))
    ours = [cr.tensor(array, requires_grad=True) for array in arrays]
    weighted(cr, f(cr, *ours), weight).backward()
    for gradient, tensor, other in zip(found, ours, theirs):
        assert gradient.dtype is cr.complex128
        close(gradient, other.grad)
        close(tensor.grad, other.grad)


@pytest.mark.parametrize("name", [*FUNCTIONS, *PAIRS])
def test_forward_and_reverse_are_adjoint(name):
    """Re(conj(w) . J t) == Re(conj(J^H w) . t), and J t is a central difference."""
    f, arrays = (FUNCTIONS[name], [Z]) if name in FUNCTIONS else (PAIRS[name], [Z, W])
    tangents = [numbers(*array.shape) for array in arrays]
    y, pushed = cr.jvp(lambda *zs: f(cr, *zs), tuple(map(cr.asarray, arrays)), tuple(map(cr.asarray, tangents)))
    weight = weight_for(y)
    _, pull = cr.vjp(lambda *zs: f(cr, *zs), *map(cr.asarray, arrays))
    pulled = pull(cr.asarray(weight))
    ahead = np.real(np.sum(np.conj(weight) * pushed.numpy()))
    behind = sum(np.real(np.sum(np.conj(g.numpy()) * t)) for g, t in zip(pulled, tangents))
    assert ahead == pytest.approx(behind, rel=1e-11, abs=1e-11)
    step = 1e-6
    ends = [f(cr, *(cr.asarray(a + s * t) for a, t in zip(arrays, tangents))).numpy() for s in (step, -step)]
    np.testing.assert_allclose(pushed.numpy(), (ends[0] - ends[1]) / (2 * step), rtol=2e-6, atol=2e-6)


LINEAR = "real imag conj sum mean negative cumsum view_as_complex reshape stack add sub".split()


@pytest.mark.parametrize("name", [name for name in (*FUNCTIONS, *PAIRS) if name not in LINEAR])
def test_second_derivative(name):
    """Reverse over reverse and forward over reverse against central differences, and reverse against PyTorch."""
    torch = pytest.importorskip("torch")
    f, arrays = (FUNCTIONS[name], [Z]) if name in FUNCTIONS else (PAIRS[name], [Z, W])
    operands = list(map(cr.asarray, arrays))
    weight = weight_for(f(cr, *operands))
    along = [numbers(*array.shape) for array in arrays]
    places = tuple(range(len(arrays)))
    gradient = cr.grad(lambda *zs: weighted(cr, f(cr, *zs), weight), places)

    def slope(*zs):
        return sum(weighted(cr, g, a) for g, a in zip(gradient(*zs), along))

    found = cr.grad(slope, places)(*operands)
    _, pushed = cr.jvp(gradient, tuple(operands), tuple(map(cr.asarray, along)))
    step = 1e-5
    ends = [gradient(*(cr.asarray(a + s * t) for a, t in zip(arrays, along))) for s in (step, -step)]
    for reverse, forward, up, down in zip(found, pushed, *ends):
        scale = 1 + np.abs(forward.numpy()).max()
        np.testing.assert_allclose(
            forward.numpy(), (up.numpy() - down.numpy()) / (2 * step), rtol=1e-5, atol=1e-6 * scale
        )
        close(reverse, forward, 1e-9 * scale)  # the Hessian of a real function is symmetric
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    first = torch.autograd.grad(weighted(torch, f(torch, *theirs), weight), theirs, create_graph=True)
    total = sum(weighted(torch, g, a) for g, a in zip(first, along))
    for reverse, other in zip(found, torch.autograd.grad(total, theirs, allow_unused=True)):
        close(reverse, np.zeros(reverse.shape) if other is None else other, 1e-9 * (1 + np.abs(reverse.numpy()).max()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_precision_stays_single(name):
    f, single, double = FUNCTIONS[name], cr.asarray(Z.astype("complex64")), cr.asarray(Z)
    y, wanted = f(cr, single), f(cr, double)
    assert (y.dtype, wanted.dtype) in ((cr.complex64, cr.complex128), (cr.float32, cr.float64))
    weight = weight_for(wanted)
    found = cr.grad(lambda z: weighted(cr, f(cr, z), weight.astype(y.numpy().dtype)))(single)
    _, tangent = cr.jvp(lambda z: f(cr, z), (single,), (cr.asarray(W.astype("complex64")),))
    assert found.dtype is cr.complex64 and tangent.dtype is y.dtype
    close(found, cr.grad(lambda z: weighted(cr, f(cr, z), weight))(double), 2e-4)
    close(tangent, cr.jvp(lambda z: f(cr, z), (double,), (cr.asarray(W),))[1], 2e-4)


def test_nothing_passes_a_detached_tensor():
    gradient = cr.grad(lambda z: (z.clone() * z.detach()).real.sum())(cr.asarray(Z))
    close(gradient, np.conj(Z))


def test_real_operands_get_real_gradients():
    torch = pytest.importorskip("torch")

    def f(m, x, z):
        return abs(x * z + m.exp(1j * x)).sum() + (x.to(m.complex128) * z).imag.sum()

    theirs = [torch.tensor(array, requires_grad=True) for array in (REAL, Z)]
    f(torch, *theirs).backward()
    for found, other in zip(cr.grad(lambda x, z: f(cr, x, z), (0, 1))(cr.asarray(REAL), cr.asarray(Z)), theirs):
        assert found.dtype.name == str(other.dtype).removeprefix("torch.")
        close(found, other.grad)


def test_steepest_descent_descends():
    """The gradient of a real function is dL/dx + i dL/dy."""
    target = 2 - 3j
    z = cr.tensor(1j, requires_grad=True)
    for _ in range(50):
        z.grad = None
        (abs(z - target) ** 2).backward()
        with cr.no_grad():
            z -= 0.1 * z.grad
    assert abs(z.item() - target) < 1e-3
    (gradient,) = cr.vjp(lambda z: z.real**2 + 3 * z.imag, cr.tensor(2 + 1j))[1](cr.tensor(1.0))
    assert gradient.item() == 4 + 3j


@pytest.mark.parametrize("f", [lambda m, z: m.exp(z) * z, lambda m, z: 1 / (z * z + 2), lambda m, z: m.sin(z) ** 2])
def test_holomorphic_functions(f):
    """The tangent is f'(z) t, the gradient of Re f is conj(f'(z))."""
    step = 1e-6
    z = cr.asarray(Z)
    wanted = (f(np, Z + step) - f(np, Z - step)) / (2 * step)
    _, tangent = cr.jvp(lambda z: f(cr, z), (z,), (cr.asarray(W),))
    np.testing.assert_allclose(tangent.numpy(), wanted * W, rtol=1e-7, atol=1e-8)
    gradient = cr.grad(lambda z: f(cr, z).real.sum())(z)
    np.testing.assert_allclose(gradient.numpy(), np.conj(wanted), rtol=1e-7, atol=1e-8)


def test_jax_has_the_conjugate():
    jax = pytest.importorskip("jax")

    def f(m, z):
        return m.sum(m.abs(m.exp(z) * z - 1j))

    with jax.enable_x64() if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        other = jax.grad(lambda z: f(jax.numpy, z))(jax.numpy.asarray(Z))
        close(cr.grad(lambda z: f(cr, z))(cr.asarray(Z)), np.conj(other))
        pushed = jax.jvp(lambda z: jax.numpy.exp(z) * z.real, (jax.numpy.asarray(Z),), (jax.numpy.asarray(W),))[1]
        close(cr.jvp(lambda z: cr.exp(z) * z.real, (cr.asarray(Z),), (cr.asarray(W),))[1], pushed)


@pytest.mark.parametrize("name", ["abs", "angle", "sign"])
def test_at_zero_the_derivative_is_zero(name):
    z = cr.tensor(np.array([0j, complex(-0.0, 0.0)]))
    function = getattr(cr, name)
    (gradient,) = cr.vjp(function, z)[1](cr.ones_like(function(z)))
    assert gradient.tolist() == [0, 0]
    _, tangent = cr.jvp(function, (z,), (cr.ones_like(z),))
    assert tangent.tolist() == [0, 0]
    for _ in range(3):  # and so are those of higher order

        def function(z, before=function):
            return cr.jvp(before, (z,), (cr.ones_like(z),))[1]

        assert function(z).tolist() == [0, 0]
        (gradient,) = cr.vjp(function, z)[1](cr.ones_like(function(z)))
        assert gradient.tolist() == [0, 0]


# -- faces ------------------------------------------------------------------------------------------------------------

HELP = r"\nhelp: return its \.real or abs\(\.\.\.\), or "


def test_complex_numbers_have_no_gradient():
    z = cr.tensor(1 + 1j, requires_grad=True)
    text = "backward: a complex number is neither large nor small, so it has no gradient; operands complex64"
    with pytest.raises(DifferentiationError, match=rf"{text}\[\]\nrecorded at .*{HELP}pass gradient="):
        (z * z).backward()
    text = "grad: the function returned a complex number, which is neither large nor small; operands complex64"
    with pytest.raises(DifferentiationError, match=rf"{text}\[\]\nrecorded at .*{HELP}use vjp"):
        cr.grad(lambda z: z * z)(cr.tensor(1j))
    with pytest.raises(DTypeError, match="which has no derivatives"):
        cr.grad(lambda x: abs(x * 1j))(cr.tensor(3))


def test_gradient_of_a_complex_tensor_may_be_given():
    torch = pytest.importorskip("torch")
    ours, theirs = cr.tensor(Z, requires_grad=True), torch.tensor(Z, requires_grad=True)
    (ours * ours * 1j + ours.conj()).backward(gradient=cr.asarray(W))
    (theirs * theirs * 1j + theirs.conj()).backward(gradient=torch.tensor(W))
    close(ours.grad, theirs.grad)
    (ours.real * 2).backward(gradient=cr.asarray(REAL))  # it adds up
    (theirs.real * 2).backward(gradient=torch.tensor(REAL))
    close(ours.grad, theirs.grad)


@pytest.mark.filterwarnings("ignore:Using backward")
def test_create_graph_and_retain_grad():
    torch = pytest.importorskip("torch")
    gradients = []
    for m, tensor in ((cr, cr.tensor), (torch, torch.tensor)):
        z = tensor(Z, requires_grad=True)
        y = m.exp(z)
        y.retain_grad()
        (abs(y) ** 2).sum().backward(create_graph=True)
        between, first = np.asarray(y.grad.detach()), z.grad
        y.grad = z.grad = None
        (first * first).imag.sum().backward()
        gradients.append((between, np.asarray(z.grad.detach())))
    close(gradients[0][0], gradients[1][0])
    close(gradients[0][1], gradients[1][1], 1e-8)


def test_vjp_and_jvp_check_types_and_take_numbers():
    y, pull = cr.vjp(lambda z: z * z, cr.tensor(1 + 1j))
    assert pull(1j)[0].item() == 1j * np.conj(2 * (1 + 1j)) == (2 + 2j)
    assert pull(cr.tensor(2j))[0].item() == 2 * (2 + 2j)
    with pytest.raises(DTypeError, match="has dtype float32, not complex64"):
        pull(cr.tensor(1.0))
    assert cr.jvp(lambda z: z * z, (2j,), (1.0,))[1].item() == 4j
    assert y.item() == 2j
