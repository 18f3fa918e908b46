"""Fits a body to a recording of key points: calibration on a sample of frames, then the poses of all."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.calibration import (
    NOISE,
    OUTLIER,
    Calibration,
    calibrate,
    pose_problem,
    sample,
)
from vnl_mjx.keypoints.marked_body import MarkedBody, mark_body
from vnl_mjx.keypoints.placing import placed
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.solver import placed_markers, solve_blocks
from vnl_mjx.keypoints.swaps import exchanged, find_swaps
from vnl_mjx.keypoints.tracks import half_window, smoothed_tracks
from vnl_mjx.quaternions import continuous_signs
from vnl_mjx.walkers.walker import Walker

_COARSE = 8  # every so many frames are solved first, and the others start between them
_FEWEST = 3  # points without which a frame has no pose
_TRACK_OUTLIER = (
    5.0  # distance from a smooth track in units of the noise, from which on a point is wrong
)
_BLOCK = 4096  # frames whose tracks are smoothed at once

Progress = Callable[[str, int, int], None]  # what is done, how much of it, and of how much


@dataclass(frozen=True)
class FitOptions:
    """Says what is fitted.

    Attributes:
        smooth_s: tracks are smoothed over such windows, seconds; 0: not at all.
        fit_offsets: whether markers may move on their bodies.
        fit_scale: whether the animal may be larger or smaller than the body.
        fix_swaps: whether left and right points that look exchanged are exchanged back.
    """

    smooth_s: float = 0.14
    fit_offsets: bool = True
    fit_scale: bool = True
    fix_swaps: bool = True


@dataclass(frozen=True, eq=False)
class Fit:
    """Holds a fitted recording. Lengths are the body's: those of the animal, divided by the scale.

    Attributes:
        body: with its markers.
        calibration: places of the markers, scale and mean posture.
        qpos: [frame, nq]; NaN in frames with too few points.
        points: [frame, marker, 3], the key points, as recorded but for exchanges; NaN where not found.
        markers: [frame, marker, 3], where the fitted body has them.
        swapped: bool [frame, marker], points that looked exchanged with their partner.
        bad: bool [frame], frames in which the body does not fit most of the points.
        rate_hz: frames per second.
        exchanged: whether swapped points were exchanged back.
    """

    body: MarkedBody
    calibration: Calibration
    qpos: np.ndarray
    points: np.ndarray
    markers: np.ndarray
    swapped: np.ndarray
    bad: np.ndarray
    rate_hz: float
    exchanged: bool

    @property
    def residuals(self) -> np.ndarray:
        """Distances of points from markers, [frame, marker], metres of the animal; NaN without a point."""
        return self.calibration.scale * np.linalg.norm(self.points - self.markers, axis=-1)

    @property
    def missing(self) -> np.ndarray:
        """Frames without a pose, bool [frame]."""
        return np.isnan(self.qpos[:, 0])


def fit_key_points(
    walker: Walker,
    recording: KeyPoints,
    options: FitOptions | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Fit:
    """Fits a walker to key points.

    Raises:
        UserError: the body has no markers for the points, no frame has enough points, or the rate is unknown.
    """
    options, body = options or FitOptions(), mark_body(walker, recording.names, recording.source)
    if recording.rate_hz is None:
        raise UserError(f"{recording.source}: has no frame rate; give it (--rate HZ)")
    points = recording.positions[:, body.columns].astype(np.float64)
    found = np.isfinite(points).all(axis=-1)
    points[~found] = 0.0
    weights = np.where(found, recording.confidence[:, body.columns], 0.0).clip(0.0, 1.0)
    if not ((weights > 0).sum(axis=1) >= _FEWEST).any():
        raise UserError(
            f"{recording.source}: no frame has {_FEWEST} of the body's markers with a confidence above 0; "
            "expected key points of this body"
        )
    half = half_window(options.smooth_s, recording.rate_hz)
    with threadpool_limits(1):  # the frames are what is done in parallel
        chosen = sample(weights)
        outlier = _TRACK_OUTLIER * NOISE * body.size
        tracks = smoothed_tracks(points, weights, chosen, half, outlier)
        rounds = lambda done: progress("calibration", done, 10)  # noqa: E731
        now = calibrate(body, *tracks, options.fit_offsets, options.fit_scale, rounds)
        points /= now.scale
        return _fit_poses(body, now, points, weights, half, options, recording.rate_hz, progress)


def _fit_poses(
    body: MarkedBody,
    now: Calibration,
    points: np.ndarray,
    weights: np.ndarray,
    half: int,
    options: FitOptions,
    rate_hz: float,
    progress: Progress,
) -> Fit:
    outlier = _TRACK_OUTLIER * NOISE * body.size / now.scale

    def tracks(points: np.ndarray, weights: np.ndarray, rows: np.ndarray):
        parts = np.array_split(rows, max(len(rows) // _BLOCK, 1))
        own = [smoothed_tracks(points, weights, part, half, outlier) for part in parts]
        return tuple(np.concatenate(arrays) for arrays in zip(*own, strict=True))

    smooth, trust = tracks(points, weights, np.arange(len(points)))
    qpos = solve_frames(body, now, smooth, trust, progress)
    problem = pose_problem(body, now)
    markers = placed_markers(problem, qpos)
    swapped = find_swaps(body, points, markers, weights, NOISE * body.size / now.scale)
    if options.fix_swaps and swapped.any():
        points, weights = exchanged(body, points, swapped), exchanged(body, weights, swapped)
        near = np.convolve(swapped.any(axis=1), np.ones(2 * half + 1), "same") > 0.5
        rows = np.flatnonzero(near & np.isfinite(qpos[:, 0]))
        again = tracks(points, weights, rows)
        qpos[rows] = solve_blocks(problem, qpos[rows], *again)
        markers[rows] = placed_markers(problem, qpos[rows])
    apart = np.linalg.norm(points - markers, axis=-1)
    far = apart > OUTLIER * NOISE * body.size / now.scale
    seen = weights > 0
    bad = (far & seen).sum(axis=1) > 0.5 * seen.sum(axis=1)
    points = np.where(seen[..., None], points, np.nan)
    return Fit(body, now, qpos, points, markers, swapped, bad, rate_hz, options.fix_swaps)


def solve_frames(
    body: MarkedBody,
    now: Calibration,
    points: np.ndarray,
    weights: np.ndarray,
    progress: Progress = lambda what, done, total: None,
) -> np.ndarray:
    """Returns poses [frame, nq] for points [frame, marker, 3]; NaN in frames with too few weights above 0.

    Some of the frames are solved from the resting body, placed by the points alone; the others start between
    these.
    """
    rows = np.flatnonzero((weights > 0).sum(axis=1) >= _FEWEST)
    own, trust, robust = points[rows], weights[rows], pose_problem(body, now)
    done = 0

    def advance(frames: int) -> None:
        nonlocal done
        done += frames
        progress("poses", done, len(rows))

    coarse = np.unique(np.append(np.arange(0, len(rows), _COARSE), len(rows) - 1))
    between = np.setdiff1d(np.arange(len(rows)), coarse)
    start = placed(body, now.posture, now.offsets, own[coarse], trust[coarse])
    loose = pose_problem(body, now, robust=False)
    start = solve_blocks(loose, start, own[coarse], trust[coarse])
    solved = np.empty((len(rows), start.shape[1]))
    solved[coarse] = solve_blocks(robust, start, own[coarse], trust[coarse], progress=advance)
    start = _interpolated(body.walker, solved[coarse], coarse, between)
    solved[between] = solve_blocks(robust, start, own[between], trust[between], progress=advance)
    qpos = np.full((len(points), start.shape[1]), np.nan)
    qpos[rows] = solved
    return qpos


def _interpolated(
    walker: Walker, qpos: np.ndarray, known: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Returns poses [wanted, nq] between those of neighbouring known frames, int [known]."""
    qpos = qpos.copy()
    if root := walker.root:
        qpos[:, root.quaternion] = continuous_signs(qpos[:, root.quaternion])
    after = np.searchsorted(known, wanted).clip(1, max(len(known) - 1, 1))
    if len(known) < 2:
        return np.repeat(qpos, len(wanted), axis=0)
    before = after - 1
    share = ((wanted - known[before]) / (known[after] - known[before]))[:, None]
    result = (1.0 - share) * qpos[before] + share * qpos[after]
    if root := walker.root:
        norms = np.linalg.norm(result[:, root.quaternion], axis=1, keepdims=True)
        result[:, root.quaternion] /= np.maximum(norms, 1e-9)
    return result
