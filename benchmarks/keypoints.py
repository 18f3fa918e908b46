"""How well and how fast a body is fitted to key points: the table of docs/keypoints.md.

    python benchmarks/keypoints.py [--data ../shared/data]

The recording is stac-mjx's public one of a rat (1000 frames, 23 points). The synthetic truth is a made gait
(`vnl_mjx.gait`) of an animal that is larger than the body, with its markers elsewhere than on the body.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vnl_mjx.config.walker import WalkerConfig, rodent_body
from vnl_mjx.gait import gait_suite, make_gait
from vnl_mjx.keypoints.fit import Fit, FitOptions, fit_key_points
from vnl_mjx.keypoints.frames import solve_frames
from vnl_mjx.keypoints.marked_body import mark_body
from vnl_mjx.keypoints.recording import KeyPoints
from vnl_mjx.keypoints.sources import KeyPointOptions, open_key_points
from vnl_mjx.walkers.walker import Walker, build_walker

_RECORDING = "reference/rodent_keypoints_1000f.mat"
_RATE_HZ = 50.0
_SCALE, _NOISE_M, _MISSING, _SWAPPED, _MOVED_M = 1.07, 0.001, 0.10, 0.01, 0.002
_LEAVE_ONE_EVERY = 5  # frames


@dataclass(frozen=True)
class Made:
    """Holds made key points and what is true of them.

    Attributes:
        points: the key points.
        qpos: [frame, nq], poses.
        offsets: [marker, 3], places of the markers in their bodies' frames, metres of the body.
        swapped: bool [frame, marker].
    """

    points: KeyPoints
    qpos: np.ndarray
    offsets: np.ndarray
    swapped: np.ndarray


def made_points(walker: Walker, seed: int, moved_m: float = _MOVED_M, seconds: float = 4.0) -> Made:
    """Makes key points of made gaits: each marker moved in a random direction, and the errors of trackers."""
    rng = np.random.default_rng(seed)
    suite = list(gait_suite(seed, seconds, _RATE_HZ).values())[::3]
    qpos = np.concatenate([make_gait(walker, config).qpos for config in suite])
    names = tuple(name for own in rodent_body().markers.values() for name in own)
    body = mark_body(walker, names, "made gait")
    away = rng.normal(size=body.offsets.shape)
    offsets = body.offsets + moved_m * away / np.linalg.norm(away, axis=1, keepdims=True)
    points = _SCALE * body.state(qpos, offsets).points
    points += rng.normal(0.0, _NOISE_M, points.shape)
    swapped = np.zeros(points.shape[:2], bool)
    partners = body.mirror()
    for marker in np.flatnonzero(partners > np.arange(len(partners))):
        pair = [marker, partners[marker]]
        rows = rng.random(len(points)) < _SWAPPED
        points[np.ix_(rows, pair)] = points[np.ix_(rows, pair[::-1])]
        swapped[:, pair] = rows[:, None]
    points[rng.random(points.shape[:2]) < _MISSING] = np.nan
    made = KeyPoints(names, points, np.ones(points.shape[:2]), _RATE_HZ, "made gait")
    return Made(made, qpos, offsets, swapped)


def rms_mm(residuals: np.ndarray) -> float:
    """Returns the root of the mean square, mm."""
    return 1e3 * float(np.sqrt(np.nanmean(np.square(residuals))))


def held_out_mm(fit: Fit) -> dict[str, float]:
    """Returns the rms error of each marker in poses that were solved without its point."""
    points, body = fit.points[::_LEAVE_ONE_EVERY], fit.body
    found = np.isfinite(points).all(axis=-1).astype(float)
    errors = {}
    for marker, name in enumerate(body.names):
        weights = found.copy()
        weights[:, marker] = 0.0
        qpos = solve_frames(body, fit.calibration, points, weights)
        placed = body.state(qpos, fit.calibration.offsets).points[:, marker]
        apart = np.linalg.norm(placed - points[:, marker], axis=-1)
        errors[name] = fit.calibration.scale * rms_mm(apart)
    return errors


def other_half_mm(walker: Walker, points: KeyPoints) -> float:
    """Returns the rms error of the second half of a recording, with all but the poses fitted to the first."""
    middle = len(points.positions) // 2
    half = replace(
        points, positions=points.positions[:middle], confidence=points.confidence[:middle]
    )
    fit = fit_key_points(walker, half)
    body, now = fit.body, fit.calibration
    rest = points.positions[middle:, body.columns] / now.scale
    qpos = solve_frames(body, now, rest, points.confidence[middle:, body.columns])
    return now.scale * rms_mm(np.linalg.norm(body.state(qpos, now.offsets).points - rest, axis=-1))


def recorded(walker: Walker, path: Path) -> None:
    """Prints what is measured on the recording."""
    points = open_key_points(path, KeyPointOptions(points="rat23", rate_hz=_RATE_HZ))
    fixed = fit_key_points(walker, points, FitOptions(fit_offsets=False))
    print(f"rms, offsets of the marker map      {rms_mm(fixed.residuals):6.2f} mm")
    fit = fit_key_points(walker, points)
    print(f"rms, offsets fitted                 {rms_mm(fit.residuals):6.2f} mm")
    print(f"scale                               {fit.calibration.scale:6.3f}")
    print(f"rms, places from the other half     {other_half_mm(walker, points):6.2f} mm")
    errors = held_out_mm(fit)
    whole = np.sqrt(np.mean(np.square(list(errors.values()))))
    worst = max(errors, key=errors.__getitem__)
    print(f"held-out markers, rms               {whole:6.2f} mm")
    print(f"held-out markers, median            {np.median(list(errors.values())):6.2f} mm")
    print(f"held-out markers, worst             {errors[worst]:6.2f} mm ({worst})")
    print("  " + ", ".join(f"{name} {error:.1f}" for name, error in errors.items()))
    long = replace(
        points,
        positions=np.tile(points.positions, (8, 1, 1)),
        confidence=np.tile(points.confidence, (8, 1)),
    )
    for what, one in (("1000 frames", points), ("8000 frames (eight times the same)", long)):
        begin, used = time.perf_counter(), time.process_time()
        fit_key_points(walker, one)
        wall, used = time.perf_counter() - begin, time.process_time() - used
        frames = len(one.positions)
        print(
            f"{what}: {frames / wall:.0f} frames/s, {used / frames * 1e3:.2f} ms of a core per frame"
        )


def joint_errors_at_truth(made: Made, fit: Fit) -> np.ndarray:
    """Returns joint errors [frame, joint] of poses solved frame by frame, with the true places and size."""
    truth = replace(fit.calibration, scale=_SCALE, offsets=made.offsets)
    points = fit.points * fit.calibration.scale / _SCALE
    weights = np.isfinite(points).all(axis=-1).astype(float)
    qpos = solve_frames(fit.body, truth, points, weights)
    return np.abs(qpos - made.qpos)[:, fit.body.qpos_columns]


def synthetic(walker: Walker, seeds: int) -> None:
    """Prints what is measured on made motion."""
    print(
        "made gait, seed: joints (median, 90 %), those of limbs; scale; offsets (median, rms); swaps"
    )
    for seed in range(seeds):
        made = made_points(walker, seed)
        fit = fit_key_points(walker, made.points)
        errors = np.abs(fit.qpos - made.qpos)[:, fit.body.qpos_columns]
        joints = [walker.model.joint(int(joint)).name for joint in fit.body.joints]
        limbs = [row for row, name in enumerate(joints) if not name.startswith(("vert", "atlas"))]
        away = 1e3 * np.linalg.norm(fit.calibration.offsets - made.offsets, axis=1)
        found = made.swapped & np.isfinite(made.points.positions).all(axis=-1)
        both = found & found[:, fit.body.mirror()]
        known = joint_errors_at_truth(made, fit)
        print(
            f"  {seed}: {np.nanmedian(errors):.4f} rad, {np.nanpercentile(errors, 90):.3f} rad, "
            f"limbs {np.nanmedian(errors[:, limbs]):.4f} rad; "
            f"true places and size, each frame alone {np.nanmedian(known):.4f} rad; "
            f"scale {fit.calibration.scale / _SCALE - 1:+.2%}; "
            f"offsets {np.median(away):.2f} mm, {np.sqrt(np.mean(away**2)):.2f} mm; "
            f"{fit.swapped[both].mean():.0%} of swaps found, "
            f"{np.sum(fit.swapped & ~made.swapped) // 2} false"
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    walker = build_walker(WalkerConfig(torque_actuators=False))
    if (args.data / _RECORDING).is_file():
        recorded(walker, args.data / _RECORDING)
    else:
        print(f"no {args.data / _RECORDING}: the recording is left out")
    synthetic(walker, args.seeds)


if __name__ == "__main__":
    main()
