"""Principal components and whitening against their formulas by NumPy, and scikit-learn where it is installed."""

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import PCA, PCAWhitening, ZCAWhitening
from chainrule.errors import ConfigError, DataError

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5)


def test_pca_is_the_eigenvectors_of_the_covariance():
    found = PCA().fit(ROWS)
    variance, vectors = np.linalg.eigh(np.cov(ROWS, rowvar=False))
    np.testing.assert_allclose(found.explained_variance_, variance[::-1])
    np.testing.assert_allclose(found.explained_variance_ratio_, variance[::-1] / variance.sum())
    np.testing.assert_allclose(found.singular_values_**2 / 39, variance[::-1])
    np.testing.assert_allclose(np.abs((found.components_ * vectors.T[::-1]).sum(1)), 1)
    largest = np.take_along_axis(found.components_, np.abs(found.components_).argmax(1)[:, None], 1)
    assert (largest > 0).all()
    z = found.transform(ROWS)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.diag(variance[::-1]), atol=1e-12)
    np.testing.assert_allclose(found.inverse_transform(z), ROWS)
    np.testing.assert_array_equal(PCA().fit_transform(ROWS), z)


@pytest.mark.parametrize("wanted", [1, 3, 0.5, 0.9, 0.999999, None])
def test_pca_has_scikit_learns_formulas(wanted):
    found = PCA(wanted, whiten=True).fit(ROWS)
    u, s, v = np.linalg.svd(ROWS - ROWS.mean(0), full_matrices=False)
    ratio = s**2 / (s**2).sum()
    kept = wanted if isinstance(wanted, int) else 5 if wanted is None else int((np.cumsum(ratio) <= wanted).sum()) + 1
    assert found.n_components_ == kept and found.n_features_in_ == 5 and found.n_samples_ == 40
    signs = np.sign(np.take_along_axis(v, np.abs(v).argmax(1)[:, None], 1))
    z = found.transform(ROWS)
    np.testing.assert_allclose(z, (u * signs[:, 0] * np.sqrt(39))[:, :kept], atol=1e-12)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(kept) if kept > 1 else 1.0, atol=1e-12)
    np.testing.assert_allclose(found.noise_variance_, (s**2 / 39)[kept:].mean() if kept < 5 else 0)
    nearest = (ROWS - ROWS.mean(0)) @ v[:kept].T @ v[:kept] + ROWS.mean(0)
    np.testing.assert_allclose(found.inverse_transform(z), nearest)


@pytest.mark.parametrize("wanted", [1, 3, 0.5, 0.9, None])
def test_pca_against_scikit_learn(wanted):
    decomposition = pytest.importorskip("sklearn.decomposition")
    found = PCA(wanted, whiten=True).fit(ROWS)
    theirs = decomposition.PCA(wanted, whiten=True, svd_solver="full").fit(ROWS)
    np.testing.assert_allclose(found.components_, theirs.components_)
    np.testing.assert_allclose(found.explained_variance_ratio_, theirs.explained_variance_ratio_)
    np.testing.assert_allclose(found.transform(ROWS), theirs.transform(ROWS), atol=1e-12)


@pytest.mark.parametrize("kind", [PCAWhitening, ZCAWhitening])
def test_whitening(kind):
    found = kind().fit(ROWS)
    z = found.transform(ROWS)
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(5), atol=1e-12)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.inverse_transform(z), ROWS)
    if kind is ZCAWhitening:  # the symmetric inverse root of the covariance
        variance, vectors = np.linalg.eigh(np.cov(ROWS, rowvar=False))
        root = (vectors / np.sqrt(variance)) @ vectors.T
        np.testing.assert_allclose(z, (ROWS - ROWS.mean(0)) @ root)


def test_epsilon():
    variance, vectors = np.linalg.eigh(np.cov(ROWS, rowvar=False))
    root = (vectors / np.sqrt(variance + 0.3)) @ vectors.T
    found = ZCAWhitening(epsilon=0.3).fit(ROWS)
    np.testing.assert_allclose(found.transform(ROWS), (ROWS - ROWS.mean(0)) @ root)
    few = ROWS[:3]
    found = ZCAWhitening(epsilon=0.3).fit(few)
    variance, vectors = np.linalg.eigh(np.cov(few, rowvar=False))
    root = (vectors / np.sqrt(np.maximum(variance, 0) + 0.3)) @ vectors.T
    np.testing.assert_allclose(found.transform(ROWS), (ROWS - few.mean(0)) @ root, rtol=1e-6)
    np.testing.assert_allclose(found.inverse_transform(found.transform(ROWS)), ROWS)


@pytest.mark.parametrize("kind", [PCA, PCAWhitening, ZCAWhitening])
def test_tensors(kind):
    found = kind().fit(cr.asarray(ROWS))
    single = cr.asarray(ROWS.astype(np.float32))
    z = found.transform(single)
    assert z.dtype is cr.float32 and found.transform(ROWS.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(z.numpy(), found.transform(ROWS), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.inverse_transform(z).numpy(), ROWS, rtol=1e-3, atol=1e-4)
    compiled = cr.compile(found.transform)(cr.asarray(ROWS))
    np.testing.assert_allclose(compiled.numpy(), found.transform(ROWS), atol=1e-12)
    cr.testing.check_grads(found.transform, (cr.asarray(ROWS[:2]),))
    whole = (ROWS * 10).astype(int)
    np.testing.assert_allclose(found.transform(cr.asarray(whole)).numpy(), found.transform(whole))


@pytest.mark.parametrize("kind", [PCA, PCAWhitening, ZCAWhitening])
def test_json(kind):
    """What is written and read again is the same to the last bit."""
    found = kind().fit(ROWS)
    again = kind.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.transform(ROWS), found.transform(ROWS))
    z = found.transform(ROWS)
    np.testing.assert_array_equal(again.inverse_transform(z), found.inverse_transform(z))
    assert vars(again).keys() == vars(found).keys()
    assert message(DataError, kind.from_json, {"kind": "Scaler"}) == f"{kind.__name__}: this describes 'Scaler'"
    unfitted = kind.from_json(kind().to_json())
    assert message(DataError, unfitted.transform, ROWS).startswith(f"{kind.__name__}: it is not fitted yet")


def message(error, function, *args):
    with pytest.raises(error) as caught:
        function(*args)
    return str(caught.value)


def test_refusals():
    assert message(DataError, PCA().transform, ROWS) == "PCA: it is not fitted yet\nhelp: call fit(rows) first"
    fitted = PCA(2).fit(ROWS)
    assert message(DataError, fitted.transform, ROWS[:, :3]) == "PCA: rows of shape (40, 3) should have 5 features"
    assert message(DataError, fitted.inverse_transform, ROWS) == "PCA: rows of shape (40, 5) should have 2 features"
    holes = ROWS.copy()
    holes[3, 1] = np.nan
    assert message(DataError, PCA().fit, holes) == "PCA: feature 1 of row 3 is nan"
    assert message(DataError, PCA().fit, ROWS[0]) == "PCA: rows are a matrix (rows, features), not of shape (5,)"
    assert message(DataError, PCA().fit, ROWS[:1]) == (
        "PCA: two rows and one feature at least are needed, not shape (1, 5)"
    )
    assert message(DataError, PCA().fit, ROWS.astype(complex)) == "PCA: features are real numbers, not complex128"
    assert message(ConfigError, PCA(6).fit, ROWS) == ("PCA: n_components is in [1, 5] for rows of shape (40, 5), not 6")
    assert message(ConfigError, PCA(1.5).fit, ROWS) == "PCA: a share of the variance is between 0 and 1, not 1.5"
    flat = np.concatenate([ROWS, ROWS[:, :1]], 1)
    assert message(DataError, PCAWhitening().fit, flat) == (
        "PCAWhitening: there is no variance along component 5 of 6\nhelp: set epsilon above 0, or keep fewer components"
    )
    assert message(DataError, ZCAWhitening().fit, ROWS[:3]) == (
        "ZCAWhitening: 3 rows span fewer than 5 directions\nhelp: set epsilon above 0"
    )
    assert message(ConfigError, lambda: ZCAWhitening(epsilon=-1)) == "ZCAWhitening: epsilon is not negative, not -1"
