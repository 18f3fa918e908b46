"""Turns groups of a record's quantities into the columns of encoding models: principal components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vnl_mjx.activity.file import DYNAMICS, GROUPS, KINEMATICS, LAYERS, REFERENCE, ActivityFile
from vnl_mjx.errors import UserError, did_you_mean
from vnl_mjx.neurons.bins import Bins
from vnl_mjx.neurons.folds import Fold

DEFAULT_GROUPS = (KINEMATICS, DYNAMICS, REFERENCE)
_PART_BINS = 4096
_MOST_LAG_S = 60.0
_UNCORRELATED = 0.1


def groups_of(record: ActivityFile, wanted: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Returns the quantities of each group of features.

    `wanted` are groups of quantities ("kinematics") or single ones ("layers/encoder.hidden_0"); None:
    kinematics, dynamics and reference, as far as the record has them, and each layer.

    Raises:
        UserError: the record has no such group or quantity, or fewer than two groups by default.
    """
    if wanted is None:
        own = [name for name in DEFAULT_GROUPS if record.in_group(name)]
        wanted = [*own, *record.in_group(LAYERS)]
    found = {}
    for name in wanted:
        quantities = record.in_group(name) if name in GROUPS else (name,) * (name in record.names)
        if not quantities:
            known = [*(g for g in GROUPS if record.in_group(g)), *record.names]
            hint = did_you_mean(name, known)
            raise UserError(
                f"--groups: expected some of {', '.join(known)} of {record.path}, found {name!r}{hint}"
            )
        found[name] = quantities
    if not found:
        raise UserError(
            f"{record.path}: has no kinematics, dynamics, reference or layers; give --groups"
        )
    return found


def usable_rows(record: ActivityFile, groups: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Returns the rows where every quantity is finite, bool [row]."""
    usable = np.ones(record.rows.num_rows, bool)
    for name in {name for names in groups.values() for name in names}:
        for first in range(0, len(usable), _PART_BINS):
            part = slice(first, min(first + _PART_BINS, len(usable)))
            usable[part] &= np.isfinite(record.read(name, part)).all(axis=1)
    return usable


def bin_means(record: ActivityFile, names: Sequence[str], bins: Bins) -> np.ndarray:
    """Returns the means over each bin's rows of quantities side by side, float32 [bin, column]."""
    parts = []
    for a in range(0, bins.count, _PART_BINS):
        rows = bins.rows[a : a + _PART_BINS]
        first = rows[0, 0]
        span = slice(int(first), int(rows[-1, -1]) + 1)
        values = [record.read(name, span)[rows - first].mean(axis=1) for name in names]
        parts.append(np.concatenate(values, axis=1))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Components:
    """Holds the leading principal components of a group's standardised columns.

    Attributes:
        mean: [column] of the rows that they were fitted on.
        matrix: [column, component], from centred columns to components of total variance 1.
        explained: share of the variance that the components hold.
    """

    mean: np.ndarray
    matrix: np.ndarray
    explained: float

    def of(self, values: np.ndarray) -> np.ndarray:
        """Returns the components [bin, component] of columns [bin, column]."""
        return (values - self.mean) @ self.matrix


def fit_components(values: np.ndarray, num: int) -> Components:
    """Fits at most `num` components to rows [bin, column]; columns that do not vary count for nothing."""
    from sklearn.decomposition import PCA

    mean, std = (
        values.mean(axis=0, dtype=np.float64),
        np.asarray(values.std(axis=0, dtype=np.float64)),
    )
    varies = std > 1e-6 * max(std.max(), 1e-30)
    scale = np.where(varies, 1.0 / np.where(varies, std, 1.0), 0.0)
    scaled = (values - mean) * scale
    pca = PCA(min(num, int(varies.sum()), len(values) - 1), svd_solver="covariance_eigh").fit(
        scaled
    )
    total = np.sqrt(pca.explained_variance_.sum())
    matrix = scale[:, None] * np.asarray(pca.components_).T / total
    return Components(mean, matrix, float(pca.explained_variance_ratio_.sum()))


def with_lags(values: np.ndarray, bins: Bins, lags_s: Sequence[float]) -> np.ndarray:
    """Returns columns of several lags side by side, [bin, lag * column].

    A lag of 0.1 s takes a feature from 0.1 s before the bin. Outside of the stretch, values are zeros.
    """
    places = [bins.lagged(lag) for lag in lags_s]
    columns = [np.where((place >= 0)[:, None], values[place], 0.0) for place in places]
    return np.concatenate(columns, axis=1)


@dataclass(frozen=True)
class Design:
    """Holds the columns of every group in every fold, whose components its training bins gave.

    Attributes:
        columns: [fold][group] float32 [bin, column], of total variance about 1 for each lag.
        folds: of the cross-validation.
        explained: by group, the share of variance that the components hold in the first fold.
    """

    columns: tuple[dict[str, np.ndarray], ...]
    folds: tuple[Fold, ...]
    explained: dict[str, float]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(self.columns[0])

    def matrix(self, fold: int, groups: Sequence[str]) -> np.ndarray:
        """Returns the columns of some groups side by side, [bin, column]."""
        own = self.columns[fold]
        return own[groups[0]] if len(groups) == 1 else np.hstack([own[g] for g in groups])


def autocorrelation_time(values: np.ndarray, bins: Bins, num: int) -> float:
    """Returns after how many seconds a group's activity no longer resembles itself.

    The autocorrelation is that of the leading `num` components, weighted by their variance. The time is that
    of the first lag from which on, for as long again, it stays within ±0.1; at most a minute. Periodic motion
    such as a gait may return to high values later: it is the first lull that counts.
    """
    components = fit_components(values, num).of(values)
    most = min(round(_MOST_LAG_S / bins.width_s), bins.count // 4)
    size = 2 ** int(np.ceil(np.log2(2 * bins.count)))
    power = np.zeros(size // 2 + 1)
    for column in components.T:
        power += np.abs(np.fft.rfft(column - column.mean(), size)) ** 2
    correlation = np.abs(np.fft.irfft(power)[: most + 1])
    correlation /= correlation[0]
    low = correlation < _UNCORRELATED
    for lag in range(1, most + 1):
        if low[lag : 2 * lag].all():
            return lag * bins.width_s
    return most * bins.width_s
