"""Principal components and whitening, fitted to rows, with scikit-learn's names and numbers.

All of them subtract the mean, multiply by a matrix, and can undo it. NumPy rows give NumPy arrays; tensors give
tensors, recorded like any other operation. Variances divide by the number of rows less one.

The sign of a principal direction is arbitrary. Here its entry of the greatest magnitude is positive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..functions import asarray
from ..linalg import matmul
from ..tensor import Tensor


class _Linear:
    """Family base: rows are centred and multiplied by a matrix.

    Fitted attributes: `mean_`, `components_` (directions as rows, of the greatest variance first),
    `explained_variance_`, `explained_variance_ratio_`, `singular_values_`, `n_components_`, `n_features_in_`,
    `n_samples_`.
    """

    mean_: np.ndarray
    components_: np.ndarray
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    singular_values_: np.ndarray
    n_components_: int
    n_features_in_: int
    n_samples_: int

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _decompose(self, rows: Any, wanted: int | float | None) -> None:
        """Set the fitted attributes, for `wanted` components, or as many as explain that share of the variance."""
        values = _matrix(self._name, rows)
        count, features = values.shape
        if count < 2 or not features:
            raise DataError(f"{self._name}: two rows and one feature at least are needed, not shape {values.shape}")
        mean = values.mean(0)
        _, singular, directions = np.linalg.svd(values - mean, full_matrices=False)
        largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1)
        directions = directions * np.where(largest < 0, -1.0, 1.0)
        variance = singular**2 / (count - 1)
        total = variance.sum()
        ratio = variance / total if total > 0 else np.zeros_like(variance)
        kept = self._number(wanted, len(singular), ratio, values.shape)
        self.mean_, self.components_ = mean, directions[:kept]
        self.explained_variance_, self.explained_variance_ratio_ = variance[:kept], ratio[:kept]
        self.singular_values_ = singular[:kept]
        self.n_components_, self.n_features_in_, self.n_samples_ = kept, features, count
        #: the mean variance of the directions that are left out
        self.noise_variance_ = float(variance[kept:].mean()) if kept < len(variance) else 0.0

    def _number(self, wanted: int | float | None, most: int, ratio: np.ndarray, shape: tuple) -> int:
        if wanted is None:
            return most
        if isinstance(wanted, float):
            if not 0 < wanted < 1:
                raise ConfigError(f"{self._name}: a share of the variance is between 0 and 1, not {wanted}")
            return min(int(np.searchsorted(np.cumsum(ratio), wanted, "right")) + 1, most)
        if not 1 <= wanted <= most:
            raise ConfigError(f"{self._name}: n_components is in [1, {most}] for rows of shape {shape}, not {wanted}")
        return wanted

    def _scales(self, epsilon: float) -> np.ndarray:
        """Standard deviations along the components."""
        scales = np.sqrt(self.explained_variance_ + epsilon)
        # what rounding leaves of a variance that is 0
        floor = 1e-12 * float(self.singular_values_.max(initial=0.0)) / np.sqrt(self.n_samples_ - 1)
        flat = np.flatnonzero(scales <= floor)
        if flat.size:
            raise DataError(
                f"{self._name}: there is no variance along component {flat[0]} of {self.n_components_}\n"
                "help: set epsilon above 0, or keep fewer components"
            )
        return scales

    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """What centred rows are multiplied by (features, outputs), and what undoes it (outputs, features)."""
        raise NotImplementedError

    def fit(self, rows: Any) -> Any:
        """Fit to `rows` (rows, features), a NumPy array or tensor of finite numbers; returns self.

        Raises: DataError for other rows.
        """
        raise NotImplementedError

    def transform(self, rows: Any) -> Any:
        """`rows` (rows, features) in the new coordinates: a tensor of a tensor, else a NumPy array.

        Raises: DataError before `fit`, and for another number of features.
        """
        self._check(rows, getattr(self, "n_features_in_", 0))
        return _affine(rows, -self.mean_, self._matrices()[0], None)

    def fit_transform(self, rows: Any) -> Any:
        """`fit`, then `transform` of the same rows."""
        return self.fit(rows).transform(rows)

    def inverse_transform(self, rows: Any) -> Any:
        """Rows in the new coordinates back in the old ones: the nearest ones that `transform` maps there."""
        back = self._matrices()[1] if hasattr(self, "mean_") else np.zeros((0, 0))
        self._check(rows, back.shape[0])
        return _affine(rows, None, back, self.mean_)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with all that was set and fitted, exactly; see `from_json`."""
        found = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}
        return {"kind": self._name, **found}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Any:
        """The transform that `to_json` described.

        Raises: DataError for the description of another kind of transform.
        """
        if data.get("kind") != cls.__name__:
            raise DataError(f"{cls.__name__}: this describes {data.get('kind')!r}")
        made = cls.__new__(cls)
        for name, value in data.items():
            if name != "kind":
                setattr(made, name, np.array(value, np.float64) if isinstance(value, list) else value)
        return made

    def _check(self, rows: Any, features: int) -> None:
        if not hasattr(self, "mean_"):
            raise DataError(f"{self._name}: it is not fitted yet\nhelp: call fit(rows) first")
        shape = tuple(np.shape(rows)) if not isinstance(rows, Tensor) else rows.shape
        if len(shape) != 2 or shape[1] != features:
            raise DataError(f"{self._name}: rows of shape {shape} should have {features} features")


def _matrix(name: str, rows: Any) -> np.ndarray:
    """`rows` as a float64 matrix of finite numbers."""
    values = rows.numpy() if isinstance(rows, Tensor) else np.asarray(rows)
    if values.ndim != 2:
        raise DataError(f"{name}: rows are a matrix (rows, features), not of shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name}: features are real numbers, not {values.dtype}")
    values = values.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = (int(i) for i in wrong[0])
        raise DataError(f"{name}: feature {column} of row {row} is {values[row, column]}")
    return values


def _affine(rows: Any, before: np.ndarray | None, matrix: np.ndarray, after: np.ndarray | None) -> Any:
    """(rows + before) matrix + after, in the dtype of floating rows, else in float64."""
    if isinstance(rows, Tensor):
        value = rows if rows.dtype.kind == "f" else rows.astype("float64")
        left, middle, right = (
            None if part is None else asarray(part).astype(value.dtype) for part in (before, matrix, after)
        )
        moved = value if left is None else value + left
        result = matmul(moved, middle)
        return result if right is None else result + right
    values = np.asarray(rows)
    dtype = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
    found = (values if before is None else values + before) @ matrix
    return (found if after is None else found + after).astype(dtype)


class PCA(_Linear):
    """Principal component analysis: coordinates along the directions of the greatest variance.

    z = (x - mean) V^T, with the rows of V the eigenvectors of the covariance matrix

    Args:
        n_components: how many; a float in (0, 1) for as many as explain that share of the variance; all by default.
        whiten: whether each coordinate is divided by its standard deviation.
    Example:
        >>> import numpy as np
        >>> from chainrule.data import PCA
        >>> rows = np.array([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -2.0], [1.0, 1.0], [2.0, 1.0], [3.0, 2.0]])
        >>> PCA(n_components=2).fit(rows).explained_variance_ratio_.round(4)
        array([0.9924, 0.0076])
    Reference: Tipping and Bishop, Probabilistic principal component analysis, Journal of the Royal Statistical Society
        B 61 (1999).
    """

    def __init__(self, n_components: int | float | None = None, *, whiten: bool = False):
        self.n_components = n_components
        self.whiten = whiten

    def fit(self, rows: Any) -> PCA:
        """Fit to `rows` (rows, features); returns self."""
        self._decompose(rows, self.n_components)
        return self

    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.whiten:
            return self.components_.T, self.components_
        scales = self._scales(0.0)
        return self.components_.T / scales, self.components_ * scales[:, None]


class PCAWhitening(_Linear):
    """Whitening in the coordinates of the principal components: their covariance matrix is the identity.

    z = (x - mean) V^T diag(variance + epsilon)^(-1/2)

    Args:
        n_components: as for `PCA`. epsilon: added to the variances, so that directions without variance stay small.
    """

    def __init__(self, n_components: int | float | None = None, *, epsilon: float = 0.0):
        _check_epsilon("PCAWhitening", epsilon)
        self.n_components = n_components
        self.epsilon = epsilon

    def fit(self, rows: Any) -> PCAWhitening:
        """Fit to `rows` (rows, features); returns self."""
        self._decompose(rows, self.n_components)
        self._scales(self.epsilon)
        return self

    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        scales = self._scales(self.epsilon)
        return self.components_.T / scales, self.components_ * scales[:, None]


class ZCAWhitening(_Linear):
    """Whitening turned back into the features' own coordinates: of all whitenings the nearest to the rows themselves.

    z = (x - mean) V^T diag(variance + epsilon)^(-1/2) V, a symmetric matrix

    Args:
        epsilon: added to the variances; needed where there are fewer rows than features, or dependent features.
    Reference: Bell and Sejnowski, The "independent components" of natural scenes are edge filters, Vision Research 37
        (1997); Kessy, Lewin and Strimmer, Optimal whitening and decorrelation, The American Statistician 72 (2018).
    """

    def __init__(self, *, epsilon: float = 0.0):
        _check_epsilon("ZCAWhitening", epsilon)
        self.epsilon = epsilon

    def fit(self, rows: Any) -> ZCAWhitening:
        """Fit to `rows` (rows, features); returns self."""
        self._decompose(rows, None)
        if self.n_components_ < self.n_features_in_ and not self.epsilon:
            raise DataError(
                f"ZCAWhitening: {self.n_samples_} rows span fewer than {self.n_features_in_} directions\n"
                "help: set epsilon above 0"
            )
        self._scales(self.epsilon)
        return self

    def _matrices(self) -> tuple[np.ndarray, np.ndarray]:
        scales = self._scales(self.epsilon)
        v = self.components_
        # directions without rows have no variance but epsilon
        beside = np.eye(v.shape[1]) - v.T @ v if len(v) < v.shape[1] else np.zeros((v.shape[1],) * 2)
        small = np.sqrt(self.epsilon) if self.epsilon else 1.0
        return (v.T / scales) @ v + beside / small, (v.T * scales) @ v + beside * small


def _check_epsilon(name: str, epsilon: float) -> None:
    if not epsilon >= 0:
        raise ConfigError(f"{name}: epsilon is not negative, not {epsilon}")
