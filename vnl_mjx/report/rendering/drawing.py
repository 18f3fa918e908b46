"""Pictures of a scene: one pose, or several, seen by several cameras in one picture."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from vnl_mjx.report.rendering.cameras import CameraPath
from vnl_mjx.report.rendering.gl import gl_context
from vnl_mjx.report.rendering.scene import GHOST_GROUP, Scene

_MAX_GEOMS = 2000
_SUN_DISTANCE = 3.0  # of the light that casts the shadow, in reaches of the walker
_LIT_AZIMUTH_DEG = 105.0  # of the camera that the scene's lights are meant for
_SEPARATOR_RGB = 255


class Drawer:
    """Draws one scene into pictures of one size; made by `open_drawer`."""

    def __init__(self, scene: Scene, width: int, height: int, panes: Sequence[mujoco.MjrRect]):
        """Needs a current GL context of at least this size, pixels; `panes` are of `pane_rects`."""
        self._scene, self._data = scene, mujoco.MjData(scene.model)
        self._panes = panes
        self._whole = mujoco.MjrRect(0, 0, width, height)
        self._covered = sum(rect.width * rect.height for rect in panes) == width * height
        self._visible = mujoco.MjvScene(scene.model, _MAX_GEOMS)
        self._visible.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 1
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._option.tendongroup[:] = 0
        self._option.actuatorgroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def draw(
        self,
        qpos: np.ndarray,
        paths: Sequence[CameraPath],
        frame: int,
        with_ghosts: Sequence[bool] | None = None,
    ) -> np.ndarray:
        """One picture, uint8 [height, width, 3].

        Args:
            qpos: [model.nq], the walker and its ghosts in all panes, or [pane, model.nq].
            paths: one camera per pane.
            frame: row of the paths.
            with_ghosts: panes that show the ghosts; default: all.
        """
        if not self._covered:
            mujoco.mjr_rectangle(self._whole, 1.0, 1.0, 1.0, 1.0)
        for pane, (rect, path) in enumerate(zip(self._panes, paths, strict=True)):
            if qpos.ndim == 2 or pane == 0:
                self._pose(qpos[pane] if qpos.ndim == 2 else qpos, path, frame)
            shows_ghosts = with_ghosts is None or with_ghosts[pane]
            self._option.geomgroup[GHOST_GROUP] = self._option.skingroup[GHOST_GROUP] = shows_ghosts
            self._render(rect, path, frame)
        picture = np.empty((self._whole.height, self._whole.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._whole, self._context)
        picture = np.flipud(picture).copy()
        for rect in self._panes:
            top = self._whole.height - rect.bottom - rect.height
            if rect.left:
                own = slice(top, top + rect.height)
                picture[own, rect.left - 1 : rect.left + 1] = _SEPARATOR_RGB
            if top:
                own = slice(rect.left, rect.left + rect.width)
                picture[top - 1 : top + 1, own] = _SEPARATOR_RGB
        return picture

    def _pose(self, qpos: np.ndarray, path: CameraPath, frame: int) -> None:
        """Puts walker and ghosts where they are, and the lights where `path` wants them."""
        model, data = self._scene.model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        self._place_lights(path, frame)

    def _render(self, rect: mujoco.MjrRect, path: CameraPath, frame: int) -> None:
        path.place(self._camera, frame)
        mujoco.mjv_updateScene(
            self._scene.model,
            self._data,
            self._option,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._visible,
        )
        mujoco.mjr_render(rect, self._visible, self._context)

    def _place_lights(self, path: CameraPath, frame: int) -> None:
        """Turns the lights with a camera, and keeps the shadow's source near the walker."""
        turn = math.radians(path.azimuth - _LIT_AZIMUTH_DEG)
        cosine, sine = math.cos(turn), math.sin(turn)
        turned = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        direction = self._data.light_xdir @ turned
        self._data.light_xdir[:] = direction
        away = _SUN_DISTANCE * self._scene.reach
        self._data.light_xpos[:] = path.lookat[frame] - away * direction

    def close(self) -> None:
        """Frees what lies in the GL context, which must be current still."""
        self._context.free()


@contextlib.contextmanager
def open_drawer(
    scene: Scene, width: int, height: int, panes: Sequence[mujoco.MjrRect], backend: str
) -> Iterator[Drawer]:
    """A `Drawer` for pictures of this size, with a GL context of its own, until the block ends."""
    with (
        gl_context(backend, width, height),
        contextlib.closing(Drawer(scene, width, height, panes)) as drawer,
    ):
        yield drawer


def pane_rects(
    width: int, height: int, num_panes: int, columns: int | None = None
) -> list[mujoco.MjrRect]:
    """Where each pane lies in the picture: row by row from the top left.

    By default side by side in a wide picture, one above the other in a high one.
    """
    columns = columns or (num_panes if width >= height else 1)
    wide, high = width // columns, height // -(-num_panes // columns)
    # GL counts rows from below
    return [
        mujoco.MjrRect(i % columns * wide, height - (i // columns + 1) * high, wide, high)
        for i in range(num_panes)
    ]
