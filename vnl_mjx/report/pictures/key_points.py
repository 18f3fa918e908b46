"""Draws how well a body was fitted to key points: residuals by marker, and some frames from the side."""

import mujoco
import numpy as np
from matplotlib.axes import Axes

from vnl_mjx.keypoints.fit import Fit
from vnl_mjx.keypoints.marked_body import body_and_above
from vnl_mjx.report.colors import BLUE, INK, MUTED, VERMILLION
from vnl_mjx.report.pictures.style import Picture, sheet

_FRAMES = 3
_HEIGHT_INCHES = 3.2


def fit_picture(fit: Fit) -> Picture:
    """Draws the residuals of each marker, mm, and the skeleton with points and markers in a few frames."""
    residuals = 1e3 * fit.residuals
    found = [own[np.isfinite(own)] for own in residuals.T]
    means = {
        name: np.sqrt(np.mean(own**2)) if own.size else np.nan
        for name, own in zip(fit.body.names, found, strict=True)
    }
    caption = (
        "Distances of key points from their markers on the fitted body, and frames from the side: "
        "body, points (orange), markers (blue)."
    )
    alt = ", ".join(f"{name} {mean:.1f} mm" for name, mean in means.items())
    with sheet(_HEIGHT_INCHES, caption, alt, columns=1 + _FRAMES) as drawn:
        axis, *frames = drawn.axes
        rows = np.arange(len(means))[::-1]
        axis.barh(rows, list(means.values()), color=BLUE, label="rms")
        high = [np.percentile(own, 95) if own.size else np.nan for own in found]
        axis.plot(high, rows, "|", color=INK, label="95 %")
        axis.set_yticks(rows, list(means), fontsize=5)
        axis.set_xlabel("mm")
        axis.legend(fontsize=6)
        solved = np.flatnonzero(~fit.missing)
        chosen = solved[np.linspace(0, len(solved) - 1, _FRAMES).round().astype(int)]
        for place, frame in zip(frames, chosen.tolist(), strict=True):
            _draw_frame(place, fit, frame)
    return drawn.picture


def _draw_frame(axis: Axes, fit: Fit, frame: int) -> None:
    """Draws one frame in the vertical plane through the longest extent of the points."""
    model, data = fit.body.walker.model, mujoco.MjData(fit.body.walker.model)
    data.qpos[:] = fit.qpos[frame]
    mujoco.mj_kinematics(model, data)
    markers, points = fit.markers[frame], fit.points[frame]
    middle = markers.mean(axis=0)
    along = np.linalg.svd((markers - middle)[:, :2])[2][0]

    def seen(places: np.ndarray) -> np.ndarray:
        return 1e3 * np.stack([(places - middle)[..., :2] @ along, places[..., 2]], axis=-1)

    marked = {body for marker in fit.body.bodies for body in body_and_above(model, int(marker))}
    for body in (body for body in marked if model.body_parentid[body]):
        line = seen(data.xpos[[model.body_parentid[body], body]])
        axis.plot(*line.T, color=MUTED, linewidth=0.8)
    for pair in zip(points, markers, strict=True):
        axis.plot(*seen(np.array(pair)).T, color=INK, linewidth=0.6)
    axis.plot(*seen(points).T, "o", color=VERMILLION, markersize=2.2)
    axis.plot(*seen(markers).T, "o", color=BLUE, markersize=2.2, fillstyle="none")
    axis.set_aspect("equal")
    axis.set_title(f"frame {frame}", loc="left")
    axis.set_xlabel("mm")
