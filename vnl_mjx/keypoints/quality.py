"""Measures how well a body was fitted to key points, for tables and for the report beside the output."""

from typing import Any

import numpy as np

from vnl_mjx.keypoints.fit import Fit

_AT_LIMIT = 1e-6  # radians, or metres of a slide joint
_MOST_SPANS = 50


def fit_report(fit: Fit) -> dict[str, Any]:
    """Returns what was found and done, ready for JSON; residuals are of the animal, millimetres."""
    body, now = fit.body, fit.calibration
    residuals = 1e3 * fit.residuals
    seen, solved = np.isfinite(residuals), ~fit.missing
    limited = np.isfinite(body.limits[0]) | np.isfinite(body.limits[1])
    at_limit = at_limits(fit)
    joints = [body.walker.model.joint(int(joint)).name for joint in body.joints]
    return {
        "frames": len(fit.qpos),
        "rate_hz": fit.rate_hz,
        "rms_mm": rms(residuals),
        "scale": now.scale,
        "scale_sd": now.scale_sd * now.scale,
        "missing_frames": spans(fit.missing),
        "bad_frames": spans(fit.bad),
        "swapped_frames": spans(fit.swapped.any(axis=1)),
        "swaps_exchanged_back": fit.exchanged,
        "markers": {
            name: {
                "body": body.walker.body_names[body.bodies[row]],
                "found": float(seen[:, row].mean()),
                "rms_mm": rms(residuals[:, row]),
                "at_95_percent_mm": percentile(residuals[:, row], 95),
                "swapped": int(fit.swapped[:, row].sum()),
                "offset_mm": np.round(1e3 * now.offsets[row], 2).tolist(),
                "offset_sd_mm": np.round(1e3 * now.offset_sd[row], 2).tolist(),
                "moved_mm": 1e3 * float(np.linalg.norm(now.offsets[row] - body.offsets[row])),
            }
            for row, name in enumerate(body.names)
        },
        "at_limit": {
            name: float(share)
            for name, share, own in zip(
                joints, at_limit[solved].mean(axis=0) if solved.any() else [], limited, strict=False
            )
            if own and share > 0
        },
        "at_rest": list(body.still()),
    }


def at_limits(fit: Fit) -> np.ndarray:
    """Returns whether joints are at a limit, bool [frame, joint]."""
    angles, (lower, upper) = fit.qpos[:, fit.body.qpos_columns], fit.body.limits
    return (angles <= lower + _AT_LIMIT) | (angles >= upper - _AT_LIMIT)


def rms(values: np.ndarray) -> float | None:
    """Returns the root of the mean square of the finite values; None if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else None


def percentile(values: np.ndarray, share: float) -> float | None:
    """Returns a percentile of the finite values; None if there are none."""
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, share)) if finite.size else None


def spans(marked: np.ndarray) -> dict[str, Any]:
    """Returns how many frames are marked, and the first spans of them, first and last frame, from 0."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    found = [[int(first), int(stop) - 1] for first, stop in edges.reshape(-1, 2)]
    return {"count": int(marked.sum()), "spans": found[:_MOST_SPANS]}
