"""Explains each unit by each group of features: held-out fits, a null of shifts, intervals, attribution.

docs/encoding.md says in words what is computed and why.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy import stats

from vnl_mjx.evaluation.bootstrap import Interval, interval
from vnl_mjx.neurons.glm import (
    HeldOut,
    choose_ridges,
    deviances,
    fit_held_out,
    log_likelihood_gain,
    shift_scores,
)
from vnl_mjx.neurons.preparation import EncodingOptions, Prepared

FULL = "full"


@dataclass(frozen=True)
class GroupScore:
    """Holds how well one group explains a unit.

    Attributes:
        pseudo_r2: held-out deviance that the model explains, of that of the constant rate.
        gain: held-out log-likelihood over the constant's, bits per spike, or per second of a signal.
        p_value: of the circular shifts.
        lag_s: by how much the unit follows the features, as the scores of small shifts tell.
        unique: what the full model's pseudo-R2 loses without the group; None without the partition.
        predicted: [bin] of each bin's model that did not see it; None unless they are kept.
    """

    pseudo_r2: Interval
    gain: Interval
    p_value: float
    lag_s: float
    predicted: HeldOut | None
    unique: Interval | None = None


@dataclass(frozen=True)
class UnitScore:
    """Holds how well the groups explain a unit.

    Attributes:
        name: of the unit.
        num_spikes: in the bins; 0 for signals.
        groups: score of each.
        p_value: of the best group's score among the best scores of the shifted units.
        best: group with the highest gain.
        lead: gain of the best group over the second best, paired bin by bin.
        full: pseudo-R2 of the model of all groups; None without the partition.
        lag_scores: [lag], scores of small shifts of the best group.
    """

    name: str
    num_spikes: int
    groups: dict[str, GroupScore]
    p_value: float
    best: str
    lead: Interval
    lag_scores: np.ndarray
    full: Interval | None = None


@dataclass(frozen=True)
class Encoding:
    """Holds the scores of all units.

    Attributes:
        units: scores.
        prepared: what they share.
        q_values: [unit] false discovery rate at which each counts as tuned (Benjamini and Hochberg).
        lag_s: at which the tuned units' summed scores are highest; NaN if none is tuned.
        options: of the run.
        truth: of synthetic units.
    """

    units: list[UnitScore]
    prepared: Prepared
    q_values: np.ndarray
    lag_s: float
    options: EncodingOptions
    truth: tuple[str, ...] = ()

    @property
    def tuned(self) -> np.ndarray:
        """Whether each unit is tuned to any group, bool [unit]."""
        return self.q_values <= self.options.level


def encode(
    prepared: Prepared,
    names: tuple[str, ...],
    counts: np.ndarray,
    are_spikes: bool,
    options: EncodingOptions,
    progress: Callable[[int, int], None] | None = None,
    truth: tuple[str, ...] = (),
) -> Encoding:
    """Scores units [bin, unit] by every group; `progress` is called with the units done and their number."""
    if not are_spikes:  # scores do not depend on the unit of a signal, but rounding does
        counts = (counts - counts.mean(axis=0)) / counts.std(axis=0)
    ridges = _choose_ridges(prepared, counts, are_spikes, options)
    units = []
    for score in _scores(prepared, names, counts, ridges, are_spikes, options):
        units.append(score)
        if progress is not None:
            progress(len(units), len(names))
    q_values = stats.false_discovery_control([unit.p_value for unit in units])
    tuned = [unit.lag_scores for unit, q in zip(units, q_values, strict=True) if q <= options.level]
    half, width = prepared.num_lags // 2, prepared.bins.width_s
    lag_s = (int(np.sum(tuned, axis=0).argmax()) - half) * width if tuned else np.nan
    return Encoding(units, prepared, q_values, lag_s, options, truth)


# By group, and of the full model: ridge strengths [fold, unit].
_Ridges = dict[str, np.ndarray]


def _choose_ridges(
    prepared: Prepared, counts: np.ndarray, are_spikes: bool, options: EncodingOptions
) -> _Ridges:
    design = prepared.design
    models = {name: (name,) for name in design.groups}
    if options.partition:
        models[FULL] = design.groups
    small = counts.astype(np.float32)
    return {
        name: np.array(
            [
                choose_ridges(design.matrix(i, groups), small, fold, are_spikes)
                for i, fold in enumerate(design.folds)
            ]
        )
        for name, groups in models.items()
    }


def _scores(
    prepared: Prepared,
    names: tuple[str, ...],
    counts: np.ndarray,
    ridges: _Ridges,
    are_spikes: bool,
    options: EncodingOptions,
) -> Iterator[UnitScore]:
    """Yields the units' scores in order, computed in parallel threads, each with one thread of BLAS."""
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    def one(unit: int) -> UnitScore:
        own = {name: strengths[:, unit] for name, strengths in ridges.items()}
        return score_unit(prepared, names[unit], counts[:, unit], own, are_spikes, options)

    with threadpool_limits(1):
        parallel = Parallel(n_jobs=options.jobs or -1, backend="threading", return_as="generator")
        yield from cast(
            Iterator[UnitScore], parallel(delayed(one)(unit) for unit in range(len(names)))
        )


def score_unit(
    prepared: Prepared,
    name: str,
    counts: np.ndarray,
    ridges: Mapping[str, np.ndarray],
    are_spikes: bool,
    options: EncodingOptions,
) -> UnitScore:
    """Scores one unit [bin]; `ridges` are [fold] for each group, and for the full model if it is wanted."""
    design, scoring = prepared.design, _Scoring(prepared, counts, are_spikes)
    shifted = {
        group: shift_scores(
            [columns[group] for columns in design.columns],
            design.folds,
            counts,
            prepared.shifts,
            are_spikes,
        )
        for group in design.groups
    }
    num, zero = prepared.num_lags, prepared.num_lags // 2
    fits = {group: scoring.fit((group,), ridges[group]) for group in design.groups}
    full, unique = None, {}
    if FULL in ridges:
        whole = scoring.fit(design.groups, ridges[FULL])
        full = scoring.pseudo_r2(whole)
        for group in design.groups if len(design.groups) > 1 else ():
            others = tuple(other for other in design.groups if other != group)
            unique[group] = scoring.pseudo_r2(whole, scoring.without(whole, others, ridges[FULL]))
    gains = {group: scoring.gain(fit) for group, fit in fits.items()}
    order = sorted(gains, key=lambda group: gains[group].value, reverse=True)
    best = order[0]
    lead = scoring.gain(fits[best], fits[order[1]]) if len(order) > 1 else gains[best]
    groups = {
        group: GroupScore(
            pseudo_r2=scoring.pseudo_r2(fit),
            gain=gains[group],
            p_value=_p_value(shifted[group][zero], shifted[group][num:]),
            lag_s=(int(shifted[group][:num].argmax()) - zero) * prepared.bins.width_s,
            predicted=fit if options.keep_predictions else None,
            unique=unique.get(group),
        )
        for group, fit in fits.items()
    }
    every = np.stack(list(shifted.values())).max(axis=0)
    return UnitScore(
        name=name,
        num_spikes=int(counts.sum()) if are_spikes else 0,
        groups=groups,
        p_value=_p_value(every[zero], every[num:]),
        best=best,
        lead=lead,
        lag_scores=shifted[best][:num],
        full=full,
    )


def _p_value(found: float, null: np.ndarray) -> float:
    return float((1 + (null >= found).sum()) / (1 + len(null)))


class _Scoring:
    """Fits models to one unit, and draws their intervals from blocks of time."""

    def __init__(self, prepared: Prepared, counts: np.ndarray, are_spikes: bool):
        self._prepared, self._counts, self._are_spikes = prepared, counts, are_spikes

    def fit(
        self,
        groups: tuple[str, ...],
        ridges: np.ndarray,
        begin: Sequence[np.ndarray] | None = None,
    ) -> HeldOut:
        design = self._prepared.design
        columns = [design.matrix(i, groups) for i in range(len(design.folds))]
        return fit_held_out(columns, design.folds, self._counts, ridges, self._are_spikes, begin)

    def without(self, whole: HeldOut, others: tuple[str, ...], ridges: np.ndarray) -> HeldOut:
        """Fits the model of some groups, from the weights that they have in the model of all groups."""
        design = self._prepared.design
        kept = np.concatenate(
            [
                np.full(columns.shape[1], group in others)
                for group, columns in design.columns[0].items()
            ]
        )
        return self.fit(others, ridges, [weights[kept] for weights in whole.weights])

    def pseudo_r2(self, fit: HeldOut, other: HeldOut | None = None) -> Interval:
        """Returns the share of deviance explained, or by how much it is above that of another model."""
        own, constant = deviances(self._counts, fit, self._are_spikes)
        if other is not None:
            base = deviances(self._counts, other, self._are_spikes)[0]
        else:
            base = constant
        return self._interval(base - own, constant)

    def gain(self, fit: HeldOut, other: HeldOut | None = None) -> Interval:
        """Returns the gain over the constant, or over another model, in bits per spike or second."""
        nats = log_likelihood_gain(self._counts, fit, self._are_spikes)
        if other is not None:
            nats = nats - log_likelihood_gain(self._counts, other, self._are_spikes)
        seconds = np.full(len(nats), self._prepared.bins.width_s)
        return self._interval(nats / np.log(2.0), self._counts if self._are_spikes else seconds)

    def _interval(self, values: np.ndarray, over: np.ndarray) -> Interval:
        blocks = self._prepared.blocks
        sums = np.bincount(blocks, weights=values)
        return interval(sums, np.arange(len(sums)), over=np.bincount(blocks, weights=over))
