"""Fits a body to a recording of key points: calibration on a sample of frames, then the poses of all."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d

from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.calibration import (
    OUTLIER,
    Calibration,
    calibrate,
    first_calibration,
    pose_problem,
    sample,
)
from vnl_mjx.keypoints.frames import FEWEST_POINTS, Progress, solve_frames
from vnl_mjx.keypoints.marked_body import MarkedBody, mark_body
from vnl_mjx.keypoints.placing import apparent_scale
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.solver import placed_markers, solve_blocks
from vnl_mjx.keypoints.swaps import exchanged, find_swaps
from vnl_mjx.keypoints.tracks import half_window, smoothed_tracks
from vnl_mjx.walkers.walker import Walker

_TRACK_OUTLIER = (
    5.0  # distance from a smooth track in units of the noise, from which on a point is wrong
)


@dataclass(frozen=True)
class FitOptions:
    """Says what is fitted.

    Attributes:
        smooth_s: tracks are smoothed over such windows, seconds; 0: not at all.
        fit_offsets: whether markers may move on their bodies.
        fit_scale: whether the animal may be larger or smaller than the body; not if the root is fixed.
        fix_swaps: whether left and right points that look exchanged are exchanged back.
    """

    smooth_s: float = 0.18
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
        UserError: the body has no markers for the points, no frame has enough points, they lie in one place,
            or the rate is unknown.
    """
    from threadpoolctl import threadpool_limits  # sets a variable of the environment

    options, body = options or FitOptions(), mark_body(walker, recording.names, recording.source)
    if recording.rate_hz is None:
        raise UserError(f"{recording.source}: has no frame rate; give it (--rate HZ)")
    points = recording.positions[:, body.columns].astype(np.float64)
    found = np.isfinite(points).all(axis=-1)
    points[~found] = 0.0
    confidence = np.nan_to_num(recording.confidence[:, body.columns]).clip(0.0, 1.0)
    weights = np.where(found, confidence, 0.0)
    if not ((weights > 0).sum(axis=1) >= FEWEST_POINTS).any():
        raise UserError(
            f"{recording.source}: no frame has {FEWEST_POINTS} of the body's markers with a confidence "
            "above 0; expected key points of this body"
        )
    half = half_window(options.smooth_s, recording.rate_hz)
    rows, fit_scale = sample(weights), options.fit_scale and walker.root is not None
    scale = apparent_scale(body, points[rows], weights[rows]) if fit_scale else 1.0
    if not scale > 0:
        raise UserError(
            f"{recording.source}: its key points lie in one place; expected different places of one body"
        )
    first = first_calibration(body, scale)
    with threadpool_limits(1):  # the frames are what is done in parallel
        tracks = smoothed_tracks(points, weights, rows, half, _TRACK_OUTLIER * first.noise)
        now = calibrate(
            body,
            *tracks,
            first,
            options.fit_offsets,
            fit_scale,
            lambda done, total: progress("calibration", done, total),
        )
        points, noise = points / now.scale, now.noise / now.scale
        every = np.arange(len(points))
        tracks = smoothed_tracks(points, weights, every, half, _TRACK_OUTLIER * noise)
        qpos = solve_frames(body, now, *tracks, progress)
        markers = placed_markers(pose_problem(body, now), qpos)
        swapped = find_swaps(body, points, markers, weights, noise)
        if options.fix_swaps and swapped.any():
            points, weights = exchanged(body, points, swapped), exchanged(body, weights, swapped)
            near = maximum_filter1d(swapped.any(axis=1), 2 * half + 1)
            rows = np.flatnonzero(near & np.isfinite(qpos[:, 0]))
            tracks = smoothed_tracks(points, weights, rows, half, _TRACK_OUTLIER * noise)
            qpos[rows] = solve_blocks(pose_problem(body, now), qpos[rows], *tracks)
            markers[rows] = placed_markers(pose_problem(body, now), qpos[rows])
    far = np.linalg.norm(points - markers, axis=-1) > OUTLIER * noise
    seen = weights > 0
    bad = (far & seen).sum(axis=1) > 0.5 * seen.sum(axis=1)
    points = np.where(seen[..., None], points, np.nan)
    return Fit(body, now, qpos, points, markers, swapped, bad, recording.rate_hz, options.fix_swaps)
