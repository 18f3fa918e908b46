"""Defines cameras that follow a walker smoothly."""

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.ndimage import gaussian_filter1d

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.quaternions import matrix
from vnl_mjx.report.rendering.scene import FOV_DEG, Scene, center_and_reach
from vnl_mjx.walkers.layout import Layout

# Direction of each view relative to the walker's mean heading, and elevation, degrees; slightly from the
# front, so that limbs of the far side are visible.
VIEWS = {"side": (105.0, -14.0), "top": (90.0, -90.0), "front": (165.0, -14.0)}

_SMOOTHING_S = 0.25
_HEIGHT_SMOOTHING_S = 1.0
_MAX_POSES = 64  # poses that decide the camera's distance
_FILLED = 0.92  # share of the picture's half height to fill


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Holds one camera over a motion; the followed walker stays near the middle of the picture.

    Attributes:
        lookat: [frame, 3], the point in the middle of the picture, world, metres.
        distance: from there, metres.
        azimuth: of the direction that it looks in, degrees from world x towards y.
        elevation: of that direction, degrees; -90 looks straight down.
    """

    lookat: np.ndarray
    distance: float
    azimuth: float
    elevation: float

    def place(self, camera: mujoco.MjvCamera, frame: int) -> None:
        """Moves a free camera to this camera's place at `frame`."""
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.lookat = self.lookat[frame]
        camera.distance, camera.azimuth = self.distance, self.azimuth
        camera.elevation = self.elevation


def camera_path(
    scene: Scene, qpos: np.ndarray, rate_hz: float, view: str = "side", aspect: float = 1.0
) -> CameraPath:
    """Returns a camera that follows the first walker of the scene, qpos [frame, nq]; `view` is in `VIEWS`.

    Its direction is fixed over a motion, so that turns are visible; `aspect` is width over height of the
    picture.
    """
    if view not in VIEWS:
        raise ValueError(f"{view=} must be out of {', '.join(VIEWS)}")
    data, every = mujoco.MjData(scene.model), max(1, len(qpos) // _MAX_POSES)
    found = [center_and_reach(scene.model, data, pose) for pose in qpos]
    centers = np.array([center for center, _ in found])
    reach = float(np.percentile([reach for _, reach in found[::every]], 95))
    lookat = np.empty_like(centers)
    lookat[:, :2] = smooth(centers[:, :2], rate_hz, _SMOOTHING_S)
    lookat[:, 2] = smooth(centers[:, 2], rate_hz, _HEIGHT_SMOOTHING_S)
    lag = np.linalg.norm(centers - lookat, axis=-1).max(initial=0.0)
    half = (_FILLED * reach + lag) / min(1.0, aspect)
    distance = half / math.tan(math.radians(FOV_DEG / 2))
    azimuth, elevation = VIEWS[view]
    return CameraPath(lookat, distance, mean_heading_deg(qpos, scene.layout) + azimuth, elevation)


def smooth(values: np.ndarray, rate_hz: float, seconds: float) -> np.ndarray:
    """Filters `values` [frame, ...] with a Gaussian of sigma `seconds`; steady motion stays as it is."""
    sigma = seconds * rate_hz
    margin = min(math.ceil(4 * sigma), len(values) - 1)
    if margin < 1:
        return np.array(values)
    widths = [(margin, margin)] + [(0, 0)] * (values.ndim - 1)
    # extends the motion beyond each end by point reflection
    extended = np.pad(values, widths, mode="reflect", reflect_type="odd")
    return gaussian_filter1d(extended, sigma, axis=0, mode="nearest")[margin:-margin]


def mean_heading_deg(qpos: np.ndarray, layout: Layout) -> float:
    """Returns the mean horizontal direction of the root's x axis over qpos [frame, nq], degrees."""
    _, quaternion = root_pose(qpos, layout)
    forward = matrix(quaternion)[:, :, 0].mean(axis=0)
    return math.degrees(math.atan2(forward[1], forward[0]))
