"""Compares a set of motions with recorded motions, without a correspondence of frames."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import wasserstein_distance

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.bootstrap import LEVEL, Interval, draws, expanded_tail
from vnl_mjx.evaluation.per_episode import mean_or_none
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import matrix, rotation_between
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker

# Speeds are those of chords of this duration, as if smoothed by a box of that width.
CHORD_SECONDS = 0.1
_BINS = 50  # bins of a histogram, over the range of the data
_MAX_SAMPLES = 20_000  # frames of each side that distances of distributions are made of
_MAX_TRAJECTORIES = 64  # largest number that is compared pair by pair
_MIN_COMMON_SECONDS = 0.5  # shortest common time of a pair
# resamples for the interval of a distance, and grid points of its distributions
_RESAMPLES, _GRID = 500, 129
_HALVINGS = 8  # random halvings of the data whose distances are averaged
# What motions are compared by: key of `compare_motions`, and the field of `Motions` that it is of.
MOTION_FEATURES = {
    "speed": "speed",
    "turning_rate": "turning_rate",
    "torso_height": "torso_height",
    "joint_angles": "joints",
    "joint_velocities": "joint_velocities",
    "standing_feet": "standing_feet",
}


@dataclass(frozen=True)
class Motions:
    """Holds measures of trajectories: each field but the rate has one array per trajectory.

    Attributes:
        joints: [frame, joint], radians.
        joint_velocities: [frame - 1, joint], rad/s.
        speed: [chord] horizontal speed of the root, m/s.
        turning_rate: [chord] of the root about the vertical, rad/s, positive to the left.
        torso_height: [frame] of the root body over the floor, metres.
        standing_feet: [frame] how many feet stand on the floor, by the contact rule of clips.
        rate_hz: frames per second.
    """

    joints: tuple[np.ndarray, ...]
    joint_velocities: tuple[np.ndarray, ...]
    speed: tuple[np.ndarray, ...]
    turning_rate: tuple[np.ndarray, ...]
    torso_height: tuple[np.ndarray, ...]
    standing_feet: tuple[np.ndarray, ...]
    rate_hz: float

    def pooled(self, name: str) -> np.ndarray:
        """Returns a field of all trajectories, [sample, ...]."""
        return np.concatenate(getattr(self, name))

    def part(self, chosen: np.ndarray) -> "Motions":
        """Returns some of the trajectories, by index."""
        fields = {
            name: tuple(getattr(self, name)[i] for i in chosen) for name in MOTION_FEATURES.values()
        }
        return Motions(**fields, rate_hz=self.rate_hz)


class MotionReader:
    """Reads motions of one walker; holds its kinematics."""

    def __init__(self, walker: Walker):
        """Takes the walker of the motions."""
        self._features, self._layout = FeatureComputer(walker), walker.layout
        self._root_body, self._floor_height = walker.root_body, walker.floor_height

    def of_clips(self, clips: ReferenceClips) -> Motions:
        """Reads each clip as a trajectory."""
        starts = np.asarray(clips.starts)[1:]
        return self(np.split(np.asarray(clips.qpos()), starts), clips.rate_hz)

    def of_rollout(self, rollout: Rollout, rate_hz: float) -> Motions:
        """Reads each episode up to its end as a trajectory, at `rate_hz`, or at its own rate if slower."""
        skip = max(rollout.control_hz / rate_hz, 1.0)
        whole = [rollout.qpos_of(episode) for episode in range(rollout.num_episodes)]
        rows = [np.round(np.arange(0.0, len(qpos) - 0.5, skip)).astype(int) for qpos in whole]
        thinned = [qpos[own] for qpos, own in zip(whole, rows, strict=True)]
        return self(thinned, rollout.control_hz / skip)

    def __call__(self, trajectories: Sequence[np.ndarray], rate_hz: float) -> Motions:
        """Reads trajectories qpos, [frame, nq] each."""
        trajectories = [np.asarray(qpos, np.float64) for qpos in trajectories]
        speeds, turns = zip(
            *(_chords(qpos, self._layout, rate_hz) for qpos in trajectories), strict=True
        )
        lengths = [len(qpos) for qpos in trajectories]
        features = self._features(np.concatenate(trajectories), lengths, rate_hz)
        heights = features["body_positions"][:, self._root_body, 2] - self._floor_height
        feet, stops = features["contacts"].sum(axis=1), np.cumsum(lengths)[:-1]
        joints = tuple(qpos[:, self._layout.joint_qpos] for qpos in trajectories)
        return Motions(
            joints=joints,
            joint_velocities=tuple(np.diff(angles, axis=0) * rate_hz for angles in joints),
            speed=speeds,
            turning_rate=turns,
            torso_height=tuple(np.split(heights, stops)),
            standing_feet=tuple(np.split(feet, stops)),
            rate_hz=rate_hz,
        )


def _chords(qpos: np.ndarray, layout: Layout, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns horizontal speed and turning rate over chords of 0.1 s, [chord] each."""
    lag = max(1, round(CHORD_SECONDS * rate_hz))
    if len(qpos) <= lag:
        return np.empty(0), np.empty(0)
    position, quaternion = root_pose(qpos, layout)
    moved = position[lag:, :2] - position[:-lag, :2]
    speed = np.linalg.norm(moved, axis=1) * rate_hz / lag
    before, after = quaternion[:-lag], quaternion[lag:]
    up = matrix(before)[:, 2]
    # the rotation about the vertical is defined in every posture, the heading is not
    turned = np.sum(rotation_between(before, after) * up, axis=1)
    return speed, turned * rate_hz / lag


def compare_motions(
    motions: Motions,
    data: Motions,
    joint_names: Sequence[str] = (),
    halves: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """Compares distributions and diversity of motions with those of `data`; JSON-able.

    Returns:
        For `speed` (m/s), `turning_rate` (rad/s), `torso_height` (m), `joint_angles` (rad),
        `joint_velocities` (rad/s; both: means over joints) and `standing_feet` the mean of both sides, their
        1-Wasserstein distance and the overlap of their histograms in [0, 1]; `joint_variance_reached`, the
        share of the data's variance of joint angles that the motions have too; `diversity`; with `halves`
        (from `half_distances`) also `over_halves`, the distance of each feature divided by its value in
        `halves`, and `farthest`, the greatest of these. None if there is nothing to measure.
    """
    columns = {
        name: [_distances(*pair) for pair in _pairs(motions, data, field)]
        for name, field in MOTION_FEATURES.items()
    }
    found: dict[str, dict[str, Any]] = {
        name: {key: mean_or_none(np.array([c[key] for c in own], float)) for key in own[0]}
        for name, own in columns.items()
    }
    if joint_names:
        joints = zip(joint_names, columns["joint_angles"], strict=True)
        found["joint_angles"]["per_joint"] = dict(joints)
    # a joint that varies more than the data's does not compensate for a still one
    variances = [(own.var(), datas.var()) for own, datas in _pairs(motions, data, "joints")]
    wanted = sum(datas for _, datas in variances)
    reached = sum(min(pair) for pair in variances)
    own, datas = diversity(motions), diversity(data)
    more = {}
    if halves is not None:
        ratios = {
            name: _ratio(found[name]["wasserstein"], halves[name]) for name in MOTION_FEATURES
        }
        more = {"over_halves": ratios, "farthest": _farthest(motions, data, ratios, halves)}
    return {
        **found,
        "speed_ratio": _ratio(found["speed"]["mean"], found["speed"]["data_mean"]),
        "joint_variance_reached": _ratio(float(reached), float(wanted)),
        "diversity": own,
        "data_diversity": datas,
        "diversity_ratio": _ratio(own, datas),
        **more,
    }


class ClipMotions:
    """Holds the motions of clips for comparison with others; read and halved once."""

    def __init__(self, walker: Walker, clips: ReferenceClips):
        """Takes the clips and their walker."""
        self._reader = MotionReader(walker)
        self._data = self._reader.of_clips(clips)
        self._halves = half_distances(self._data)

    def compare(self, trajectories: Sequence[np.ndarray], rate_hz: float) -> dict[str, Any]:
        """Returns `compare_motions` of trajectories qpos, [frame, nq] each."""
        return compare_motions(self._reader(trajectories, rate_hz), self._data, halves=self._halves)


def half_distances(data: Motions, seed: int = 0) -> dict[str, float | None]:
    """Returns the 1-Wasserstein distance of `MOTION_FEATURES` between two halves of the trajectories.

    This is the mean over random halvings, drawn with `seed`: the distance between two sets of motions from
    one source. None if unknown: fewer than two trajectories, or no difference.
    """
    rng, count = np.random.default_rng(seed), len(data.joints)
    found: dict[str, list[float]] = {name: [] for name in MOTION_FEATURES}
    for _ in range(_HALVINGS if count > 1 else 0):
        order = rng.permutation(count)
        sides = data.part(order[: count // 2]), data.part(order[count // 2 :])
        for name, field in MOTION_FEATURES.items():
            distance = _mean_distance(*sides, field)
            found[name] += [] if distance is None else [distance]
    return {name: float(np.mean(own)) or None if own else None for name, own in found.items()}


def over_halves(
    motions: Motions, data: Motions, halves: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Returns only `over_halves` of `compare_motions`; `data` may be a part of all data."""
    found = {name: _mean_distance(motions, data, field) for name, field in MOTION_FEATURES.items()}
    return {name: _ratio(distance, halves[name]) for name, distance in found.items()}


def worst_feature(figures: Mapping[str, Any]) -> tuple[str, float] | None:
    """Returns the feature of `over_halves` farthest from the data, and its value; None: not measured."""
    measured = {name: r for name, r in figures.get("over_halves", {}).items() if r is not None}
    return max(measured.items(), key=lambda item: item[1]) if measured else None


def _farthest(
    motions: Motions,
    data: Motions,
    ratios: Mapping[str, float | None],
    halves: Mapping[str, float | None],
) -> dict[str, Any] | None:
    """Returns the worst feature with its ratio, `mean`, and a bootstrap interval over trajectories."""
    worst = worst_feature({"over_halves": ratios})
    if worst is None:
        return None
    name, ratio = worst
    half = halves[name] or np.nan
    ends = _distance_interval(motions, data, MOTION_FEATURES[name], ratio * half)
    return {"feature": name, **Interval(ratio, *(end / half for end in ends)).as_dict()}


def _distance_interval(
    motions: Motions, data: Motions, field: str, distance: float
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a field's distance over trajectories; NaN for only one.

    This is the basic interval, twice the distance minus the resamples' distances, because resamples repeat
    trajectories and so lie too far away. It contains the distance. All resamples' distances are computed at
    once, as areas between distribution functions on a common grid.
    """
    own = [np.atleast_2d(values.T) for values in getattr(motions, field) if len(values)]
    if len(own) < 2:
        return np.nan, np.nan
    drawn = draws(len(own), _RESAMPLES, 0)
    counts = drawn @ [values.shape[1] for values in own]
    distances = np.zeros(_RESAMPLES)
    datas = np.sort(np.atleast_2d(data.pooled(field).T))
    for column, wanted in enumerate(datas):
        sides = [np.sort(values[column]) for values in own]
        grid = np.quantile(np.concatenate([*sides, wanted]), np.linspace(0.0, 1.0, _GRID))
        below = np.array([np.searchsorted(side, grid, side="right") for side in sides])
        share = np.searchsorted(wanted, grid, side="right") / len(wanted)
        gaps = np.abs((drawn @ below) / counts[:, None] - share)[:, :-1]
        distances += gaps @ np.diff(grid)
    tail = expanded_tail(len(own), LEVEL)
    low, high = 2.0 * distance - np.quantile(distances / len(datas), [1.0 - tail, tail])
    return float(min(max(low, 0.0), distance)), float(max(high, distance))


def histogram_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the common mass of the histograms of samples `a` and `b`, in [0, 1].

    The bins divide the range of `b`; samples outside fall into one bin on either side.
    """
    low, high = float(b.min()), float(b.max())
    margin = 1e-6 * max(abs(low), abs(high), 1.0)  # of data that is the same everywhere
    edges = np.r_[-np.inf, np.linspace(low - margin, high + margin, _BINS + 1), np.inf]
    shares = [np.histogram(samples, edges)[0] / len(samples) for samples in (a, b)]
    return float(np.minimum(*shares).sum())


def diversity(motions: Motions) -> float | None:
    """Returns the mean over pairs of trajectories of the RMS difference of joint angles, radians.

    Each pair is compared up to the end of the shorter one; None if no pair lasts half a second.
    """
    shortest = _MIN_COMMON_SECONDS * motions.rate_hz
    lasting = [joints for joints in motions.joints if len(joints) >= shortest]
    if len(lasting) < 2:
        return None
    chosen = np.linspace(0, len(lasting) - 1, min(len(lasting), _MAX_TRAJECTORIES)).astype(int)
    pairs = itertools.combinations((lasting[i] for i in chosen), 2)
    common = ((a, b, min(len(a), len(b))) for a, b in pairs)
    return float(np.mean([np.sqrt(np.mean((a[:n] - b[:n]) ** 2)) for a, b, n in common]))


def _pairs(motions: Motions, data: Motions, field: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields samples of a field of both sides: one pair per joint, or a single pair."""
    sides = (np.atleast_2d(_thinned(side.pooled(field)).T) for side in (motions, data))
    return zip(*sides, strict=True)


def _mean_distance(motions: Motions, data: Motions, field: str) -> float | None:
    """Returns the 1-Wasserstein distance, mean over joints; None if a side has no sample."""
    pairs = [pair for pair in _pairs(motions, data, field) if all(map(len, pair))]
    return float(np.mean([wasserstein_distance(*pair) for pair in pairs])) if pairs else None


def _distances(samples: np.ndarray, data: np.ndarray) -> dict[str, float | None]:
    if not (len(samples) and len(data)):
        return dict.fromkeys(("mean", "data_mean", "wasserstein", "overlap"))
    return {
        "mean": float(samples.mean()),
        "data_mean": float(data.mean()),
        "wasserstein": float(wasserstein_distance(samples, data)),
        "overlap": histogram_overlap(samples, data),
    }


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def _thinned(samples: np.ndarray) -> np.ndarray:
    """Returns every n-th of [sample, ...], at most `_MAX_SAMPLES`."""
    return samples[:: -(-len(samples) // _MAX_SAMPLES) or 1]
