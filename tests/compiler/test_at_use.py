"""Cheap values of a product's result: computed where reductions read them, with the bits of those that are stored."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional, nn


def array(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def kernels(function, *args) -> list:
    """(kernel, what it is called) of a compiled function's program."""
    plan = cr.compile(function).trace(*args).plan
    calls = [call for region in plan.regions for task in region.tasks for call in task.calls]
    return [(plan.kernels[call.kernel].with_arguments(call.arguments), call.label) for call in calls]


def normalised(x, weight, bias, matrix, target):
    """The gradients of a layer norm before a product."""

    def loss(x, weight, bias, matrix):
        y = functional.layer_norm(x, x.shape[-1], weight, bias) @ matrix
        return cr.square(y - target).sum()

    return cr.grad(loss, argnums=(0, 1, 2, 3))(x, weight, bias, matrix)


def operands(lead, width, columns, dtype="float32"):
    shapes = ((*lead, width), (width,), (width,), (width, columns), (*lead, columns))
    return [array(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]


@pytest.mark.parametrize("lead", [(8, 64), (512,), (3, 7, 37)])
def test_the_product_before_a_normalisation_stores_only_itself(lead):
    found = kernels(normalised, *operands(lead, 48, 40))
    back = [kernel for kernel, label in found if kernel.kind == "contract" and kernel.sizes[-1] == 48]
    stores = [len(kernel.body.stores) for kernel in back if kernel.sizes[0] == np.prod(lead)]
    assert stores == [1]
    sums = [kernel for kernel, label in found if kernel.kind == "reduce" and kernel.sizes[-1] == np.prod(lead)]
    assert any(
        i[0] == "op" for kernel in sums for i in kernel.inner.code
    )  # the weight's gradient: products that are summed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "lead, width, columns", [((8, 64), 48, 40), ((512,), 65, 33), ((3, 7, 37), 130, 17), ((2, 300), 31, 300)]
)
def test_values(lead, width, columns, dtype):
    given = operands(lead, width, columns, dtype)
    compiled, plain = cr.compile(normalised)(*given), normalised(*map(cr.asarray, given))
    torch = pytest.importorskip("torch")
    exact = [torch.tensor(a.astype("float64"), requires_grad=n < 4) for n, a in enumerate(given)]
    x, weight, bias, matrix, target = exact
    y = torch.nn.functional.layer_norm(x, (width,), weight, bias) @ matrix
    ((y - target) ** 2).sum().backward()
    for one, again, leaf in zip(compiled, plain, exact):
        np.testing.assert_array_equal(one.numpy(), again.numpy())
        scale = float(leaf.grad.abs().max())
        np.testing.assert_allclose(
            one.numpy(), leaf.grad.numpy(), rtol=0, atol=scale * (2e-5 if dtype == "float32" else 1e-12)
        )


def test_a_value_that_something_else_needs_is_stored():
    """Then there is nothing to gain by computing it again."""

    def both(x, matrix, scale):
        y = (x @ matrix) * scale
        return y, y.sum(axis=1), (x @ matrix).sum(axis=0)

    given = array(512, 40), array(40, 64, seed=1), array(64, seed=2)
    stored = [kernel for kernel, _ in kernels(both, *given) if kernel.kind == "contract"]
    assert [len(kernel.body.stores) for kernel in stored] == [2]
    for one, again in zip(cr.compile(both)(*given), both(*map(cr.asarray, given)), strict=True):
        np.testing.assert_array_equal(one.numpy(), again.numpy())


def test_transcendental_functions_are_computed_once():
    def summed(x, matrix):
        y = x @ matrix
        return cr.exp(y).sum(axis=1), cr.exp(y).sum(axis=0), y.sum(axis=1)

    given = array(512, 40), array(40, 64, seed=1)
    codes = [i for kernel, _ in kernels(summed, *given) for i in (*kernel.body.code, *kernel.inner.code)]
    assert sum(i[0] == "op" and i[1].name == "exp" for i in codes) == 1
    for one, again in zip(cr.compile(summed)(*given), summed(*map(cr.asarray, given)), strict=True):
        np.testing.assert_array_equal(one.numpy(), again.numpy())


@pytest.mark.parametrize("threads", [1, 2])
def test_late_users_share_what_is_computed_again(threads):
    """A perceptron's GELU is needed by its own backward pass and by the gradient of the weights behind it."""
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        cr.manual_seed(0)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.LayerNorm(64), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)]
        model = nn.Sequential(*layers)
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = cr.square(model(x)).mean()
            loss.backward()
            optimizer.step()
            return loss

        x = array(1024, 64)
        codes = [i for kernel, _ in kernels(step, x) for i in (*kernel.body.code, *kernel.inner.code)]
        assert sum(i[0] == "op" and i[1].name == "erf" for i in codes) == 5  # the last is not made again
    finally:
        cr.set_num_threads(before)


def images(x, w1, w2, weight, bias):
    """A normalisation between two convolutions, around which a connection leads."""

    def loss(w1, w2, weight, bias):
        h = functional.conv2d(x, w1, padding=1)
        n = functional.silu(functional.group_norm(h, 4, weight, bias))
        return cr.square(functional.conv2d(n, w2, padding=1) + h).sum()

    return cr.grad(loss, argnums=(0, 1, 2, 3))(w1, w2, weight, bias)


def batches(x, w1, w2, weight, bias):
    def loss(w1, w2, weight, bias):
        h = functional.conv2d(x, w1, padding=1)
        n = functional.relu(functional.batch_norm(h, None, None, weight, bias, training=True))
        return cr.square(functional.conv2d(n, w2, padding=1)).sum()

    return cr.grad(loss, argnums=(0, 1, 2, 3))(w1, w2, weight, bias)


def image_operands(dtype="float32"):
    shapes = ((4, 8, 26, 26), (16, 8, 3, 3), (16, 16, 3, 3), (16,), (16,))
    return [array(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]


@pytest.mark.parametrize("function, stores", [(images, 2), (batches, 1)])
def test_a_convolution_before_a_normalisation_stores_little_but_the_gradient(function, stores):
    """The activation for the gradient of the kernel behind it, and what sums and the input's gradient follow from."""
    found = kernels(function, *image_operands())
    back = [k for k, label in found if k.kind == "contract" and label.startswith("convolution_input_grad")]
    assert back and max(len(kernel.body.stores) for kernel in back) <= stores
    sums = [k for k, _ in found if k.kind == "reduce" and any(i[0] == "op" for i in k.inner.code)]
    assert sums  # those of the product with what was normalised


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [images, batches])
def test_values_of_images(function, dtype):
    torch = pytest.importorskip("torch")
    given = image_operands(dtype)
    compiled, plain = cr.compile(function)(*given), function(*map(cr.asarray, given))
    x, w1, w2, weight, bias = (torch.tensor(a.astype("float64"), requires_grad=n > 0) for n, a in enumerate(given))
    h = torch.nn.functional.conv2d(x, w1, padding=1)
    if function is images:
        n = torch.nn.functional.silu(torch.nn.functional.group_norm(h, 4, weight, bias))
        loss = ((torch.nn.functional.conv2d(n, w2, padding=1) + h) ** 2).sum()
    else:
        n = torch.nn.functional.relu(torch.nn.functional.batch_norm(h, None, None, weight, bias, training=True))
        loss = (torch.nn.functional.conv2d(n, w2, padding=1) ** 2).sum()
    loss.backward()
    for one, again, leaf in zip(compiled, plain, (w1, w2, weight, bias)):
        np.testing.assert_array_equal(one.numpy(), again.numpy())
        scale = float(leaf.grad.abs().max())
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(one.numpy(), leaf.grad.numpy(), rtol=0, atol=scale * tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_normalisation_between_a_convolution_and_a_product(dtype):
    """Patches of images as words: what is copied for the product is copied again for what the convolution gives."""

    def gradients(x, kernel, weight, bias, matrix, target):
        def loss(x, kernel, weight, bias, matrix):
            words = functional.conv2d(x, kernel, stride=4).reshape(8, 48, 64).permute(0, 2, 1)
            words = words + cr.tanh(words)
            return cr.square(functional.layer_norm(words, 48, weight, bias) @ matrix - target).sum()

        return cr.grad(loss, argnums=(0, 1, 2, 3, 4))(x, kernel, weight, bias, matrix)

    shapes = ((8, 3, 32, 32), (48, 3, 4, 4), (48,), (48,), (48, 40), (8, 64, 40))
    given = [cr.asarray(array(*shape, seed=n, dtype=dtype)) for n, shape in enumerate(shapes)]
    for one, again in zip(cr.compile(gradients)(*given), gradients(*given)):
        np.testing.assert_array_equal(one.numpy(), again.numpy())


@pytest.mark.parametrize("activation", [functional.elu, functional.relu])
def test_products_read_the_activation_itself_for_its_derivative(activation):
    """Where it is stored at any rate: neither a mask nor a slope is stored beside it."""

    def gradients(x, first, second):
        return cr.grad(lambda a, b: cr.square(activation(x @ a) @ b).sum(), argnums=(0, 1))(first, second)

    given = [array(*shape, seed=n) for n, shape in enumerate(((3000, 40), (40, 64), (64, 8)))]
    forward = [k for k, label in kernels(gradients, *given) if k.kind == "contract" and k.sizes == (3000, 64)]
    assert [len(kernel.body.stores) for kernel in forward] == [1, 1]
    for one, again in zip(cr.compile(gradients)(*given), gradients(*map(cr.asarray, given))):
        np.testing.assert_array_equal(one.numpy(), again.numpy())
