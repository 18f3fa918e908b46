"""Draws pictures of a scene: one pose from one camera."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from PIL import ImageColor

from vnl_mjx.report.rendering.cameras import CameraPath
from vnl_mjx.report.rendering.gl import gl_context
from vnl_mjx.report.rendering.scene import FLOOR_NAME, GHOST_GROUP, MARK_RGBA, MARK_SHARE, Scene

NO_MARKS = np.zeros((0, 3))
_MAX_GEOMS = 2000
_SUN_DISTANCE = 3.0  # distance of the light that casts the shadow, in reaches of the walker
_SHADOW_DISTANCE = 8.0  # reaches; from farther away a picture ends beyond the shadow's map
_LIT_AZIMUTH_DEG = 105.0  # azimuth of the camera for which the scene's lights are placed
_DOT_SHARE = 0.018  # radius of a dot over the walker's reach
_SEEN_THROUGH = 0.35  # opacity of a walker with dots, some of which are inside
_TINT = 0.6  # share of the tint in a tinted walker's colours


class Drawer:
    """Draws one scene in pictures of one size; `open_drawer` makes it."""

    def __init__(self, scene: Scene, width: int, height: int):
        """Needs a current GL context of at least this size, pixels."""
        self._scene, self._data = scene, mujoco.MjData(scene.model)
        model = scene.model
        floor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_MATERIAL, FLOOR_NAME)
        is_own = (model.geom_bodyid > 0) & (model.geom_group != GHOST_GROUP)
        # Views of the walker's colours, whose rows `draw` tints, and the colours without tint.
        self._colors = [
            (model.mat_rgba, np.arange(model.nmat) != floor, model.mat_rgba.copy()),
            (model.geom_rgba, is_own & (model.geom_matid < 0), model.geom_rgba.copy()),
        ]
        self._rect = mujoco.MjrRect(0, 0, width, height)
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
        path: CameraPath,
        frame: int,
        with_ghost: bool = True,
        marks: np.ndarray = NO_MARKS,
        tint: str = "",
        dots: Sequence[str] = (),
    ) -> np.ndarray:
        """Draws a picture, uint8 [height, width, 3], of qpos [model.nq] by a camera at one of its frames.

        `marks` [mark, 3] are world positions of spheres; NaN: none. `tint` is a colour such as "#0072B2"
        that tints the first walker; empty: no tint. `dots` are colours, one per mark: the marks are then
        small, and the walker is translucent.
        """
        model, data = self._scene.model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        self._place_lights(path, frame)
        self._tint(tint, _SEEN_THROUGH if dots else 1.0)
        self._option.geomgroup[GHOST_GROUP] = self._option.skingroup[GHOST_GROUP] = with_ghost
        path.place(self._camera, frame)
        is_near = path.distance < _SHADOW_DISTANCE * self._scene.reach
        self._visible.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = is_near
        parts = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, parts, self._visible)
        dotted = [(_DOT_SHARE, (*_rgb(dot), 1.0)) for dot in dots]
        for mark, look in zip(marks, dotted or [(MARK_SHARE, MARK_RGBA)] * len(marks), strict=True):
            if np.isfinite(mark).all():
                self._add_sphere(mark, *look)
        mujoco.mjr_render(self._rect, self._visible, self._context)
        picture = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._rect, self._context)
        return np.flipud(picture)

    def _tint(self, tint: str, alpha: float) -> None:
        for colors, rows, plain in self._colors:
            colors[rows] = plain[rows] * (1.0, 1.0, 1.0, alpha)
            if tint:
                colors[rows, :3] += _TINT * (_rgb(tint) - plain[rows, :3])

    def _add_sphere(self, place: np.ndarray, share: float, rgba: tuple[float, ...]) -> None:
        visible = self._visible
        if visible.ngeom < visible.maxgeom:
            size, turn = np.full(3, share * self._scene.reach), np.eye(3).ravel()
            color, sphere = np.array(rgba, np.float32), mujoco.mjtGeom.mjGEOM_SPHERE
            mujoco.mjv_initGeom(visible.geoms[visible.ngeom], sphere, size, place, turn, color)
            visible.ngeom += 1

    def _place_lights(self, path: CameraPath, frame: int) -> None:
        """Turns the lights with the camera, and keeps the shadow's source near the walker."""
        turn = math.radians(path.azimuth - _LIT_AZIMUTH_DEG)
        cosine, sine = math.cos(turn), math.sin(turn)
        turned = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        direction = self._data.light_xdir @ turned
        self._data.light_xdir[:] = direction
        away = _SUN_DISTANCE * self._scene.reach
        self._data.light_xpos[:] = path.lookat[frame] - away * direction

    def close(self) -> None:
        """Frees the resources in the GL context, which must still be current."""
        self._context.free()


def _rgb(color: str) -> np.ndarray:
    return np.divide(ImageColor.getrgb(color), 255.0)


@contextlib.contextmanager
def open_drawer(scene: Scene, width: int, height: int, backend: str) -> Iterator[Drawer]:
    """Yields a `Drawer` for pictures of this size, with its own GL context, until the block ends."""
    with (
        gl_context(backend, width, height),
        contextlib.closing(Drawer(scene, width, height)) as drawer,
    ):
        yield drawer
