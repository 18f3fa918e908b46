"""Turns a fit to key points into a motion to draw, with points and markers as dots on the body."""

from dataclasses import replace

import numpy as np

from vnl_mjx.clips.feet import floor_heights
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.config.preprocessing import ConditioningSection
from vnl_mjx.keypoints.fit import Fit
from vnl_mjx.report.colors import BLUE, VERMILLION
from vnl_mjx.report.rendering.encoding import default_fps
from vnl_mjx.report.rendering.side_by_side import SideBySide, one_motion
from vnl_mjx.walkers.walker import Walker

_SIZE = (1280, 640)  # square panes, in which a rearing animal has room


def fit_motion(fit: Fit, title: str, seconds: float) -> SideBySide:
    """Returns the first seconds of a fit, lifted to the floor; frames without a pose show the last one."""
    frames, solved = min(len(fit.qpos), round(seconds * fit.rate_hz)), np.flatnonzero(~fit.missing)
    last = np.searchsorted(solved, np.arange(frames), side="right") - 1
    qpos = fit.qpos[solved[np.maximum(last, 0)]]
    marks = np.concatenate([fit.points, fit.markers], axis=1)[:frames]
    if root := fit.body.walker.root:
        lift = _lift(fit.body.walker, qpos)
        qpos[:, root.position] += lift
        marks += lift
    motion = one_motion(
        qpos,
        fit.rate_hz,
        marks=marks,
        size=_SIZE,
        fps=min(fit.rate_hz, default_fps(fit.rate_hz, 1.0)),  # no pictures between two frames
        title=title,
        note="points orange, markers blue",
    )
    dots, texts = np.repeat((VERMILLION, BLUE), len(fit.body.names)).tolist(), _texts(fit)
    panes = tuple(replace(pane, dots=dots, texts=texts) for pane in motion.panes)
    return replace(motion, panes=panes, quick=True)


def _lift(walker: Walker, qpos: np.ndarray) -> np.ndarray:
    """Returns the shift [3], metres, that brings the feet to the floor as `preprocess` does."""
    poses = Kinematics(walker.model)(qpos)
    lowest = floor_heights(walker)(poses.positions, poses.quaternions).min(axis=1)
    return np.array([0.0, 0.0, -np.percentile(lowest, ConditioningSection().floor_percentile)])


def _texts(fit: Fit) -> list[str]:
    swaps = f"left and right {'exchanged back' if fit.exchanged else 'look exchanged'}"
    kinds = {"no pose": fit.missing, "fits badly": fit.bad, swaps: fit.swapped.any(axis=1)}
    rows = zip(*kinds.values(), strict=True)
    return [
        ", ".join(kind for kind, holds in zip(kinds, row, strict=True) if holds) for row in rows
    ]
