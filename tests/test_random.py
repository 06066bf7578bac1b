"""Random numbers: the generator's definition, distributions, reproducibility."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError


def philox(seed, counter, blocks):
    """Philox4x32-10 by the words of its paper, one block at a time."""
    result = []
    for block in range(blocks):
        c = [block & 0xFFFFFFFF, block >> 32, counter & 0xFFFFFFFF, counter >> 32]
        k = [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            p, q = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
            c = [(q >> 32) ^ c[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ k[1], p & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        result += c
    return np.array(result, np.uint64)


def test_uniform_is_philox():
    cr.manual_seed(123456789012345)
    for counter in range(2):
        found = cr.rand(2, 5).numpy().reshape(-1)
        wanted = (philox(123456789012345, counter, 3)[:10] >> np.uint64(8)).astype(np.float32) * np.float32(2**-24)
        assert np.array_equal(found, wanted)


def test_seeds_and_generators():
    cr.manual_seed(1)
    a, b = cr.randn(5).numpy(), cr.randn(5).numpy()
    assert not np.array_equal(a, b)
    generator = cr.Generator(1)
    assert np.array_equal(cr.randn(5, generator=generator).numpy(), a)
    saved = generator.get_state()
    c = cr.randn(3, generator=generator).numpy()
    assert np.array_equal(c, b[:3]) or c.shape == (3,)
    generator.set_state(saved)
    assert np.array_equal(cr.randn(3, generator=generator).numpy(), c)
    assert generator.initial_seed() == 1
    assert not np.array_equal(cr.randn(5, generator=cr.Generator(2)).numpy(), a)
    with pytest.raises(ConfigError):
        cr.manual_seed(1.5)
    with pytest.raises(ShapeError):
        generator.set_state(cr.ones(2))


@pytest.mark.parametrize("dtype", [cr.float32, cr.float64])
def test_moments(dtype):
    cr.manual_seed(0)
    n = 20000
    u = cr.uniform(-1.0, 3.0, (n,), dtype=dtype).numpy()
    assert u.dtype == dtype.numpy and u.min() >= -1 and u.max() < 3
    assert abs(u.mean() - 1) < 0.03 and abs(u.var() - 16 / 12) < 0.03
    z = cr.normal(2.0, 0.5, (n,), dtype=dtype).numpy()
    assert abs(z.mean() - 2) < 0.015 and abs(z.std() - 0.5) < 0.01 and np.isfinite(z).all()
    standard = (z - 2) / 0.5
    assert abs((standard**3).mean()) < 0.06 and abs((standard**4).mean() - 3) < 0.2


def test_bernoulli_randint_permutation():
    cr.manual_seed(0)
    hits = cr.bernoulli(0.3, (20000,))
    assert hits.dtype is cr.bool and abs(hits.numpy().mean() - 0.3) < 0.015
    assert cr.bernoulli(cr.tensor([0.0, 1.0])).tolist() == [False, True]
    assert cr.bernoulli(0.5, (3,), dtype=cr.float32).dtype is cr.float32
    whole = cr.randint(-2, 4, (6000,)).numpy()
    assert whole.dtype == np.int64 and set(whole) == set(range(-2, 4))
    assert np.bincount(whole + 2).min() > 850
    assert sorted(cr.permutation(50).tolist()) == list(range(50))
    assert not np.array_equal(cr.permutation(50).numpy(), cr.permutation(50).numpy())
    x = cr.permutation(cr.arange(12).reshape(4, 3)).numpy()
    assert sorted(x[:, 0]) == [0, 3, 6, 9] and np.array_equal(x[:, 1], x[:, 0] + 1)
    with pytest.raises(ConfigError):
        cr.randint(3, 3)
    with pytest.raises(DTypeError):
        cr.rand(3, dtype=cr.int32)


def test_shapes_and_parameters():
    assert cr.rand((2, 3)).shape == (2, 3) and cr.randn(()).shape == () and cr.rand(0).shape == (0,)
    assert cr.rand_like(cr.ones((2, 2), dtype=cr.float64)).dtype is cr.float64
    assert cr.normal(cr.zeros(3), 1.0).shape == (3,)
    assert cr.normal(cr.zeros(3), cr.ones((2, 1)), (2, 3)).shape == (2, 3)
    assert cr.randn(2, requires_grad=True).requires_grad
    mean = cr.zeros(3, requires_grad=True)
    cr.normal(mean, 1.0).sum().backward()
    assert mean.grad.tolist() == [1, 1, 1]
    with pytest.raises(ShapeError):
        cr.normal(cr.zeros(3), 1.0, (2,))


def test_lanes_of_vmap_differ():
    cr.manual_seed(0)
    found = cr.vmap(lambda x: x + cr.rand(4))(cr.zeros(3)).numpy()
    assert len({tuple(row) for row in found}) == 3
    nested = cr.vmap(cr.vmap(lambda x: x + cr.rand()))(cr.zeros((3, 4))).numpy()
    assert len(set(nested.reshape(-1))) == 12
    cr.manual_seed(0)
    assert np.array_equal(cr.vmap(lambda x: x + cr.rand(4))(cr.zeros(3)).numpy(), found)


def test_gradients_see_one_draw():
    cr.manual_seed(0)
    x = cr.ones(100, requires_grad=True)
    mask = cr.bernoulli(0.5, (100,))
    y = cr.where(mask, x, 0.0)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), mask.numpy().astype(np.float32))
