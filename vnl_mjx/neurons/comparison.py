"""Compares the layers of records with each other: tables of distances, RSA, noise ceilings and CKA."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.activity.file import ACTION, LATENT, LAYERS, OBSERVATION, REFERENCE
from vnl_mjx.neurons.activities import Activity
from vnl_mjx.neurons.blocks import folds_of
from vnl_mjx.neurons.similarity import (
    Folded,
    cka,
    covariance_products,
    crossnobis,
    rdm_comparison,
    rdm_similarity,
)

NUM_FOLDS = 10
RANDOM = "baseline/random_layers"
_FEWEST_BEHAVIOURS = 4  # below, unrelated geometries cannot be told from related ones
_RANDOM_SIZES = (256, 256)
# Of the rows: not the length of a session among two, three or four that show the same clips.
_SHIFTS = (0.236, 0.382, 0.618)
# Their columns have one unit; the columns of others are scaled to variance 1.
_ONE_UNIT = (LAYERS, LATENT, ACTION)

Table = list[dict[str, Any]]


def add_random_layers(activity: Activity) -> None:
    """Adds what a network of random weights makes of its inputs, two layers of ReLU: a baseline.

    Inputs are the quantities of the observation and the reference, if there are some.
    """
    names = [n for n in activity.values if n.partition("/")[0] in (OBSERVATION, REFERENCE)]
    if not names:
        return
    random = np.random.default_rng(0)
    values = np.concatenate([scaled(name, activity.values[name]) for name in names], axis=1)
    for size in _RANDOM_SIZES:
        weights = random.normal(size=(values.shape[1], size)) / np.sqrt(values.shape[1])
        values = np.maximum(values @ weights, 0.0)
    activity.values[RANDOM] = values.astype(np.float32)


def scaled(quantity: str, values: np.ndarray) -> np.ndarray:
    """Returns activity [row, column], with variance 1 of each column if columns have different units."""
    if quantity.partition("/")[0] in (*_ONE_UNIT, RANDOM.partition("/")[0]):
        return values
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def compare(
    activities: Sequence[Activity], are_matched: bool, fold_by: str = "block"
) -> tuple[dict[str, Table], list[str]]:
    """Compares all quantities of all records; returns tables by name, and notes for the user.

    Tables are "rdm" (distances between behaviours), "rsa" (similarity of distances), "ceiling" (of RSA, from
    the agreement of sessions) and "cka". `are_matched`: rows are the same moments in all records. `fold_by`:
    folds of distances are blocks of time ("block") or sessions ("session").
    """
    rdms, notes = {}, []
    for activity in activities:
        labels, distances = distances_of(activity, np.ones(len(activity.block), bool), fold_by)
        if len(labels) < _FEWEST_BEHAVIOURS:
            notes.append(
                f"{activity.record}: RSA is left out: expected at least {_FEWEST_BEHAVIOURS} behaviours with "
                f"two blocks or sessions each, found {len(labels)}"
            )
            continue
        for name in activity.values:
            rdms[activity.record, name] = labels, distances(name)
    groups = [activities] if are_matched else [[activity] for activity in activities]
    tables = {
        "rdm": list(_rdm_rows(rdms)),
        "rsa": list(_rsa_rows(rdms)),
        "ceiling": [row for activity in activities for row in _ceiling_rows(activity)],
        "cka": [row for group in groups for row in _cka_rows(group, notes)],
    }
    return tables, notes


def distances_of(
    activity: Activity, rows: np.ndarray, fold_by: str
) -> tuple[list[str], Callable[[str], np.ndarray]]:
    """Returns the behaviours that can be compared in `rows`, bool [row], and their distances by quantity.

    A behaviour needs two blocks of time; with `fold_by` "session", rows in every session.
    """
    labels, condition = np.unique(activity.label, return_inverse=True)
    if fold_by == "session":
        fold = np.where(rows, np.unique(activity.session, return_inverse=True)[1], -1)
    else:
        fold = folds_of(np.where(rows, activity.block, -1), condition, NUM_FOLDS)
    present = [np.unique(fold[rows & (condition == k)]) for k in range(len(labels))]
    needed = max(2, len(np.unique(fold[rows])) if fold_by == "session" else 2)
    kept = np.array([len(own) >= needed for own in present])
    chosen, rank = rows & kept[condition], np.cumsum(kept) - 1

    def distances(quantity: str) -> np.ndarray:
        values = scaled(quantity, activity.values[quantity][chosen].astype(np.float64))
        return crossnobis(values, rank[condition[chosen]], fold[chosen], activity.step)

    return labels[kept].tolist(), distances


def _rdm_rows(rdms: Mapping[tuple[str, str], Any]) -> Iterator[dict[str, Any]]:
    for (record, quantity), (labels, distances) in rdms.items():
        for i, j in zip(*np.triu_indices(len(labels), 1), strict=True):
            yield {
                "record": record,
                "quantity": quantity,
                "behaviour": labels[i],
                "other_behaviour": labels[j],
                "distance": distances[i, j],
            }


def _rsa_rows(rdms: Mapping[tuple[str, str], Any]) -> Iterator[dict[str, Any]]:
    for first, second in _pairs(list(rdms)):
        (labels, distances), (others, other_distances) = rdms[first], rdms[second]
        common = [label for label in labels if label in others]
        own, theirs = [labels.index(n) for n in common], [others.index(n) for n in common]
        found = rdm_comparison(distances[np.ix_(own, own)], other_distances[np.ix_(theirs, theirs)])
        yield _pair(first, second) | {
            "similarity": found.value,
            "low": found.low,
            "high": found.high,
            "behaviours": len(common),
        }


def _ceiling_rows(activity: Activity) -> Iterator[dict[str, Any]]:
    """Yields bounds on the similarity that a perfect model would reach (Nili et al., 2014).

    Below: each session's distances with the mean of the others; above: with the mean of all.
    """
    sessions = [
        distances_of(activity, activity.session == k, "block") for k in np.unique(activity.session)
    ]
    common = sorted(set.intersection(*(set(labels) for labels, _ in sessions)))
    if len(sessions) < 2 or len(common) < _FEWEST_BEHAVIOURS:
        return
    for name in activity.values:
        own = []
        for labels, distances in sessions:
            at = [labels.index(label) for label in common]
            own.append(distances(name)[np.ix_(at, at)])
        rdms = np.array(own)
        others = [np.delete(rdms, k, 0).mean(axis=0) for k in range(len(rdms))]
        yield {
            "record": activity.record,
            "quantity": name,
            "low": np.mean([rdm_similarity(a, b) for a, b in zip(rdms, others, strict=True)]),
            "high": np.mean([rdm_similarity(a, rdms.mean(axis=0)) for a in rdms]),
            "sessions": len(rdms),
            "behaviours": len(common),
        }


def _cka_rows(activities: Sequence[Activity], notes: list[str]) -> Iterator[dict[str, Any]]:
    """Yields the CKA of all pairs of quantities in records of matched rows."""
    block = activities[0].block
    num = min(NUM_FOLDS, len(np.unique(block)))
    if num < 3:
        notes.append(f"{activities[0].record}: CKA is left out: expected 3 blocks, found {num}")
        return
    fold = folds_of(block, np.zeros_like(block), num)
    values = {
        (activity.record, name): scaled(name, value)
        for activity in activities
        for name, value in activity.values.items()
    }
    parts = {key: Folded.of(value, fold) for key, value in values.items()}
    own = {key: covariance_products(part, part) for key, part in parts.items()}
    for k, second in enumerate(values):
        moved = [np.roll(values[second], round(s * len(block)), axis=0) for s in _SHIFTS]
        moved = [Folded.of(value, fold) for value in moved]
        own_moved = [covariance_products(part, part) for part in moved]
        for first in list(values)[:k]:
            between = covariance_products(parts[first], parts[second])
            found = cka(between, own[first], own[second])
            shifted = [
                cka(covariance_products(parts[first], part), own[first], theirs).value
                for part, theirs in zip(moved, own_moved, strict=True)
            ]
            yield _pair(first, second) | {
                "cka": found.value,
                "low": found.low,
                "high": found.high,
                "shifted": float(np.mean(shifted)),
                "blocks": len(np.unique(block)),
            }


def _pairs(items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return ((items[i], items[j]) for j in range(len(items)) for i in range(j))


def _pair(first: tuple[str, str], second: tuple[str, str]) -> dict[str, Any]:
    names = ("record", "quantity", "other_record", "other_quantity")
    return dict(zip(names, (*first, *second), strict=True))
