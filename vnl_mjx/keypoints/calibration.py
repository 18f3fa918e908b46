"""Finds what stays the same in all frames: places of the markers, size of the animal, mean posture.

A marker's place and a joint's mean angle can stand for each other: a knee that is always bent a little more
looks like a marker that sits a little lower. So all of it is estimated at once, with the poses of a sample of
frames eliminated (Schur complement, as in Triggs et al. 2000, "Bundle adjustment"). What the points leave
open is then decided by where the markers were supposed to be, and not by the order of the estimates; how well
the points tell each place is known too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from vnl_mjx.keypoints.marked_body import MarkedBody, MarkerState
from vnl_mjx.keypoints.placing import placed
from vnl_mjx.keypoints.solver import PoseProblem, solve_blocks

# Of the frames one in eight, but at least and at most so many.
_SAMPLE_EVERY, _SAMPLE_FRAMES = 8, (60, 240)
_STAGES = (4, 1)  # at first every so many frames of the sample, for a quick start
_NOISE = 0.02  # of a coordinate of a point, in sizes of the animal (`MarkedBody.size`)
OUTLIER = 6.0  # distance in units of the noise from which on a point counts as wrong
_OFFSET = 0.05  # standard deviation of a marker's place, in sizes of the body
_LOG_SCALE = (
    0.3  # standard deviation of the logarithm of the animal's size over what it seems to be
)
_POSTURE = (
    0.5  # standard deviation of the mean posture about the resting one, in spreads of the joints
)
# frames of the sample that count as independent: neither errors nor postures of an animal are
_INDEPENDENT = 30.0
# Of the posture in a sample. A strong pull towards the mean makes bones longer, as joints then move less.
_RIGIDITY = 0.3
_LEAST_SPREAD = 0.25  # of the angles, in spreads of the joints: a sample does not show all
_ROUNDS = 12
_POSE_STEPS = 6  # in a round, from poses that are nearly right
_CONVERGED = 1e-3  # share of the cost by which a round lowers it
_MOST_DAMPING = 1e3


@dataclass(frozen=True, eq=False)
class Calibration:
    """Holds what stays the same in all frames of a recording.

    Attributes:
        offsets: [marker, 3], places of the markers in their bodies' frames, metres of the body.
        scale: size of the animal over that of the body.
        noise: standard deviation of a point's coordinate, in the points' unit.
        posture: [joint], mean angles.
        spread: [joint], standard deviations of the angles about their means.
        offset_sd: [marker, 3], how well the points tell the places, one standard deviation, metres.
        scale_sd: the same of the logarithm of the scale.
    """

    offsets: np.ndarray
    scale: float
    noise: float
    posture: np.ndarray
    spread: np.ndarray
    offset_sd: np.ndarray
    scale_sd: float = 0.0


def pose_problem(
    body: MarkedBody, now: Calibration, robust: bool = True, rigidity: float = 1.0
) -> PoseProblem:
    """Returns the problem of poses for points that are divided by the scale."""
    spread, outlier = now.spread / np.sqrt(rigidity), OUTLIER if robust else np.inf
    return PoseProblem(body, now.offsets, now.noise / now.scale, now.posture, spread, outlier)


def first_calibration(body: MarkedBody, scale: float) -> Calibration:
    """Returns what is known before: the marker map, the resting posture, and a first scale."""
    noise, unknown = _NOISE * body.size * scale, np.zeros(body.offsets.shape)
    return Calibration(body.offsets, scale, noise, body.rest, body.spread, unknown)


def sample(weights: np.ndarray) -> np.ndarray:
    """Returns frames, int [row], spread over those with many points of weights [frame, marker]."""
    frames = np.clip(len(weights) // _SAMPLE_EVERY, *_SAMPLE_FRAMES)
    seen = (weights > 0).sum(axis=1)
    good = np.flatnonzero(seen >= min(np.median(seen), 0.9 * seen.max()))
    return good[np.unique(np.linspace(0, len(good) - 1, frames).round().astype(int))]


def calibrate(
    body: MarkedBody,
    points: np.ndarray,
    weights: np.ndarray,
    first: Calibration,
    fit_offsets: bool = True,
    fit_scale: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Estimates offsets, size and mean posture from a sample of frames.

    Args:
        body: with markers.
        points: [frame, marker, 3], world, of the sample.
        weights: [frame, marker], 0 where a point was not found.
        first: what is known before, which regularises the estimate.
        fit_offsets: whether offsets change.
        fit_scale: whether the size does.
        progress: called with the number of stages done, and how many there are.
    """
    now, qpos = first, np.empty(0)
    for stage, step in enumerate(_STAGES):
        own, trust = points[::step], weights[::step]
        qpos = placed(body, now.posture, now.offsets, own / now.scale, trust)
        loose = pose_problem(body, now, robust=False)
        qpos = solve_blocks(loose, qpos, own / now.scale, trust)
        sample = _Sample(body, own, trust, first, fit_offsets, fit_scale)
        now, qpos = _best(sample, now, qpos)
        progress(stage + 1, len(_STAGES))
    return replace(now, spread=_seen_spread(body, qpos))


def _best(sample: "_Sample", now: Calibration, qpos: np.ndarray) -> tuple[Calibration, np.ndarray]:
    """Returns the parameters and poses [frame, nq] of least cost, from those given."""
    qpos = sample.poses(now, qpos)
    cost, damping = sample.cost(now, qpos), 0.0
    for _ in range(_ROUNDS):
        step = sample.step(now, qpos, damping)
        trial = sample.stepped(now, step)
        trial_qpos = sample.poses(trial, sample.body.moved(qpos, step.poses))
        new = sample.cost(trial, trial_qpos)
        if new >= cost:
            damping = max(8.0 * damping, 1e-2)
            if damping > _MOST_DAMPING:
                break
            continue
        converged = cost - new < _CONVERGED * cost
        now, qpos, cost, damping = trial, trial_qpos, new, 0.1 * damping
        if converged:
            break
    return now, qpos


def _seen_spread(body: MarkedBody, qpos: np.ndarray) -> np.ndarray:
    """Returns how far angles were from their means in a sample, and a little more, [joint]."""
    seen = qpos[:, body.qpos_columns].std(axis=0)
    return np.minimum(np.hypot(seen, _LEAST_SPREAD * body.spread), body.spread)


class _Step(NamedTuple):
    """Holds a Gauss-Newton step."""

    shared: np.ndarray  # [parameter]: offsets, logarithm of the scale, posture
    poses: np.ndarray  # [frame, coordinate]
    sd: np.ndarray  # [parameter], standard deviations; 0 of what is not fitted


class _Sample:
    """Expands the cost of the frames of a sample in the parameters that they share."""

    def __init__(
        self,
        body: MarkedBody,
        points: np.ndarray,
        weights: np.ndarray,
        first: Calibration,
        fit_offsets: bool,
        fit_scale: bool,
    ):
        self.body, self.points, self.weights, self.first = body, points, weights, first
        places, joints = 3 * len(body.names), len(body.joints)
        self.offsets, self.log_scale = slice(0, places), places
        self.posture = places + 1 + np.arange(joints)
        sd = np.concatenate(
            [np.full(places, _OFFSET * body.size), [_LOG_SCALE], _POSTURE * body.spread]
        )
        self.precision = sd**-2.0
        is_fitted = [np.full(places, fit_offsets), [fit_scale], np.ones(joints, bool)]
        self.fitted = np.flatnonzero(np.concatenate(is_fitted))
        self.share = min(1.0, _INDEPENDENT / len(points))

    def problem(self, now: Calibration) -> PoseProblem:
        return pose_problem(self.body, now, rigidity=_RIGIDITY)

    def poses(self, now: Calibration, qpos: np.ndarray) -> np.ndarray:
        """Returns the best poses, from those given."""
        points = self.points / now.scale
        return solve_blocks(self.problem(now), qpos, points, self.weights, _POSE_STEPS)

    def away(self, now: Calibration) -> np.ndarray:
        """Returns the distance of the parameters from their means, [parameter]."""
        offsets = (now.offsets - self.first.offsets).ravel()
        scale, posture = np.log(now.scale / self.first.scale), now.posture - self.first.posture
        return np.concatenate([offsets, [scale], posture])

    def cost(self, now: Calibration, qpos: np.ndarray) -> float:
        """Returns the cost of all frames and of the parameters."""
        state = self.body.state(qpos, now.offsets)
        costs = self.problem(now).cost(state, qpos, self.points / now.scale, self.weights)
        own = 0.5 * (self.precision * self.away(now) ** 2).sum()
        return float(self.share * costs.sum() + own)

    def stepped(self, now: Calibration, step: _Step) -> Calibration:
        """Returns the parameters after a step."""
        body = self.body
        return Calibration(
            now.offsets + step.shared[self.offsets].reshape(-1, 3),
            float(now.scale * np.exp(np.clip(step.shared[self.log_scale], -0.3, 0.3))),
            now.noise,
            np.clip(now.posture + step.shared[self.posture], *body.limits),
            now.spread,
            step.sd[self.offsets].reshape(-1, 3),
            float(step.sd[self.log_scale]),
        )

    def step(self, now: Calibration, qpos: np.ndarray, damping: float) -> _Step:
        """Returns the step of parameters and poses together: poses are eliminated frame by frame."""
        body, points, problem = self.body, self.points / now.scale, self.problem(now)
        state = body.state(qpos, now.offsets)
        own = problem.linearised(state, qpos, points, self.weights)
        errors = np.where(self.weights[..., None] > 0, state.points - points, 0.0)
        kept = np.repeat(problem.robust(errors, self.weights)[1], 3, axis=1)[..., None]
        frames, coordinates = own.gradient.shape
        motion, joints = self._motion(state), body.num_root + np.arange(len(body.joints))
        weighted = kept * motion
        pull = problem.precision[joints]
        gradient = _summed(weighted, errors.reshape(frames, -1, 1))[:, 0]
        gradient[self.posture] -= (pull * problem.away(qpos)[:, joints]).sum(axis=0)
        hessian = _summed(weighted, motion)
        hessian[self.posture, self.posture] += frames * pull
        jacobian = body.jacobian(state).reshape(frames, -1, coordinates)
        cross = np.swapaxes(jacobian, 1, 2) @ weighted  # [frame, coordinate, parameter]
        cross[:, joints, self.posture] -= pull
        free = problem.free(qpos, own.gradient)
        cross, own_gradient = cross * free[..., None], (own.gradient * free)[..., None]
        system = own.hessian * free[:, :, None] * free[:, None, :]
        np.einsum("fii->fi", system)[:] += ~free
        solved = np.linalg.solve(system, np.concatenate([cross, own_gradient], axis=2))
        solved, ahead = solved[..., :-1], solved[..., -1]
        hessian = self.share * (hessian - _summed(cross, solved)) + np.diag(self.precision)
        gradient = self.share * (gradient - _summed(cross, ahead[..., None])[:, 0])
        gradient += self.precision * self.away(now)
        shared, sd = np.zeros(len(gradient)), np.zeros(len(gradient))
        part = hessian[np.ix_(self.fitted, self.fitted)]
        sd[self.fitted] = np.sqrt(np.diag(np.linalg.inv(part)))
        part = part + damping * np.diag(np.diag(part))
        shared[self.fitted] = -np.linalg.solve(part, gradient[self.fitted])
        return _Step(shared, -(ahead + solved @ shared), sd)

    def _motion(self, state: MarkerState) -> np.ndarray:
        """Returns how far the parameters move the markers, [frame, 3 * marker, parameter].

        A larger animal is, for points that are divided by its scale, a body with all markers farther from
        their middle; where the middle is, the root's translation decides. The posture moves nothing itself.
        """
        frames, markers = state.points.shape[:2]
        motion = np.zeros((frames, markers, 3, len(self.precision)))
        for marker in range(markers):
            motion[:, marker, :, 3 * marker : 3 * marker + 3] = state.rotations[:, marker]
        motion[..., self.log_scale] = state.points - state.points.mean(axis=1, keepdims=True)
        return motion.reshape(frames, 3 * markers, -1)


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the sum over frames of a^T b, for [frame, row, i] and [frame, row, j]."""
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])
