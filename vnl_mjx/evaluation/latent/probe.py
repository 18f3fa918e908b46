"""Reads the behaviour of a clip and the speed from a latent by linear probes.

Cross-validation keeps clips apart: predictions for a clip come from other clips. Probes of other features,
such as the prior mean, tell whether the latent adds anything to the state of the body.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.latent.points import LatentPoints, clip_groups

_MAX_FOLDS = 5
_MAX_POINTS = 1500  # neighbouring frames hardly differ
_MAX_ITERATIONS = 1000
# Each probe selects its own regularisation; otherwise the feature with most columns would overfit most.
_LOGISTIC_C = (1.0, 0.03, 0.001)
_RIDGE_ALPHA = (1.0, 30.0, 1000.0)


def probe_latent(points: LatentPoints, clips: ReferenceClips) -> dict[str, Any]:
    """Returns `probe_behaviour` and `probe_speed` of posterior mean, prior mean and the body, JSON-able."""
    points = points.thinned(_MAX_POINTS)
    features = {
        "posterior_mean": points.posterior_mean,
        "prior_mean": points.prior_mean,
        "body": points.body,
    }
    groups = clip_groups(clips)
    labels = [info.label for info in clips.info] or [""] * clips.num_clips
    return {
        "behaviour": probe_behaviour(features, points.clip, labels, groups),
        "speed": probe_speed(features, points.speed, points.clip, groups),
    }


def probe_behaviour(
    features: Mapping[str, np.ndarray],
    clip: np.ndarray,
    labels: Sequence[str],
    groups: Sequence[Hashable],
) -> dict[str, Any]:
    """Fits a logistic regression of each clip's label.

    `features` are named, [point, feature] each, `clip` [point] is an index into the clips, `labels` [clip]
    are empty where none is known, `groups` [clip] are kept together in cross-validation.

    Returns:
        `labels` in the probe, `left_out` labels with fewer than two groups, `balanced_accuracy` of each
        feature (mean over labels of the share of their points that is recognised), `recall` of each label
        from the first feature; or `why` nothing can be measured, in words.
    """
    visited = set(np.unique(clip).tolist())
    names, left_out = _repeated_labels(labels, groups, visited)
    document: dict[str, Any] = {
        "labels": names,
        "left_out": left_out,
        "num_clips": sum(labels[i] in names for i in visited),
        "chance": None,
        "balanced_accuracy": {},
        "recall": {},
        "why": None,
    }
    if len(names) < 2:
        document["why"] = "needs two behaviours with at least two clips each (labels of the clips)"
        return document
    of_point = np.asarray(labels)[clip]
    rows = np.isin(of_point, names)
    folds = _folds(clip[rows], labels, groups)
    for name, values in features.items():
        recall = _recalls(values[rows], of_point[rows], folds, names)
        document["balanced_accuracy"][name] = float(np.mean(list(recall.values())))
        document["recall"] = document["recall"] or recall
    document["chance"] = 1.0 / len(names)
    return document


def probe_speed(
    features: Mapping[str, np.ndarray],
    speed: np.ndarray,
    clip: np.ndarray,
    groups: Sequence[Hashable],
) -> dict[str, Any]:
    """Fits a ridge regression of the speed, [point] m/s; see `probe_behaviour`.

    Returns:
        `r2` of each feature: the share of the speed's variance over all points that is predicted, below 0
        if one speed for all predicts better; or `why` nothing can be measured, in words.
    """
    num_clips = len(np.unique(clip))
    document: dict[str, Any] = {"r2": {}, "num_clips": num_clips, "why": None}
    if len({groups[i] for i in np.unique(clip)}) < 2:
        document["why"] = "needs at least two clips"
    elif not np.ptp(speed) > 0.0:
        document["why"] = "the speed is the same everywhere"
    else:
        from sklearn.linear_model import Ridge

        folds = _folds(clip, [""] * len(groups), groups)
        for name, values in features.items():
            missed = speed - _predict(Ridge(), {"alpha": _RIDGE_ALPHA}, values, speed, folds)
            document["r2"][name] = float(1.0 - np.square(missed).mean() / speed.var())
    return document


def _repeated_labels(
    labels: Sequence[str], groups: Sequence[Hashable], visited: set[int]
) -> tuple[list[str], list[str]]:
    """Returns the labels of two or more groups of the visited clips, and the labels of fewer."""
    having: dict[str, set[Hashable]] = {}
    for clip in sorted(visited):
        if labels[clip]:
            having.setdefault(labels[clip], set()).add(groups[clip])
    repeated = sorted(label for label, found in having.items() if len(found) > 1)
    return repeated, sorted(having.keys() - set(repeated))


def _folds(clip: np.ndarray, labels: Sequence[str], groups: Sequence[Hashable]) -> np.ndarray:
    """Returns the fold of each point; spreads the groups of a label over the folds."""
    visited = sorted(np.unique(clip).tolist(), key=lambda i: (labels[i], i))
    ordered = list(dict.fromkeys(groups[i] for i in visited))
    num_folds = min(_MAX_FOLDS, len(ordered))
    fold_of = {group: rank % num_folds for rank, group in enumerate(ordered)}
    return np.array([fold_of[groups[i]] for i in clip])


def _recalls(
    values: np.ndarray, labels: np.ndarray, folds: np.ndarray, names: Sequence[str]
) -> dict[str, float]:
    """Returns the share of recognised points of each label."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    # weighted, because otherwise the most frequent label would be favoured
    model = LogisticRegression(class_weight="balanced", max_iter=_MAX_ITERATIONS)
    predicted = _predict(model, {"C": _LOGISTIC_C}, values, labels, folds)
    return {name: float(np.mean(predicted[labels == name] == name)) for name in names}


def _predict(
    model: Any,
    choices: Mapping[str, Sequence[float]],
    values: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
) -> np.ndarray:
    """Predicts each fold with a model of standardised features, fitted on the other folds.

    Cross-validation on those other folds chooses the regularisation.
    """
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    values = np.asarray(values, np.float64)
    steps = [("scale", StandardScaler()), ("model", model)]
    grid = {f"model__{name}": list(some) for name, some in choices.items()}
    predicted = np.empty_like(target)
    # one thread: a small problem would only wait for threads on a busy machine
    with threadpool_limits(1):
        for fold in np.unique(folds):
            test = folds == fold
            known = target[~test]
            splits = PredefinedSplit(folds[~test]).split()
            inner = [(rows, rest) for rows, rest in splits if _differ(known[rows])]
            if inner:
                probe: Any = GridSearchCV(Pipeline(steps), grid, cv=inner)
            else:
                probe = Pipeline(steps).set_params(**{k: some[1] for k, some in grid.items()})
            if _differ(known):
                predicted[test] = probe.fit(values[~test], known).predict(values[test])
            else:
                predicted[test] = known[0]
    return predicted


def _differ(values: np.ndarray) -> bool:
    return bool((values != values[:1]).any())
