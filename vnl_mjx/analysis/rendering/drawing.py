"""Pictures of a scene: a pose seen by several cameras in one picture, and a caption below it."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vnl_mjx.analysis.rendering.cameras import CameraPath
from vnl_mjx.analysis.rendering.gl import gl_context
from vnl_mjx.analysis.rendering.scene import Scene

_MAX_GEOMS = 2000
_SUN_DISTANCE = 3.0  # of the light that casts the shadow, in reaches of the walker
_LIT_AZIMUTH_DEG = 105.0  # of the camera that the scene's lights are meant for
_TEXT_RGB = (45, 52, 60)
_STRIP_RGBA = (255, 255, 255, 175)
_SEPARATOR_RGB = 255


class Drawer:
    """Draws one scene into pictures of one size; made by `open_drawer`."""

    def __init__(self, scene: Scene, width: int, height: int, num_views: int):
        """Needs a current GL context of at least this size.

        Args:
            scene: what is drawn.
            width: of the whole picture, pixels.
            height: of the whole picture, pixels.
            num_views: side by side in a wide picture, one above the other in a high one.
        """
        self._scene, self._data = scene, mujoco.MjData(scene.model)
        self._panes = pane_rects(width, height, num_views)
        self._whole = mujoco.MjrRect(0, 0, width, height)
        self._visible = mujoco.MjvScene(scene.model, _MAX_GEOMS)
        self._visible.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 1
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._option.tendongroup[:] = 0
        self._option.actuatorgroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def draw(self, qpos: np.ndarray, paths: Sequence[CameraPath], frame: int) -> np.ndarray:
        """One picture.

        Args:
            qpos: [model.nq], the walker and its ghosts.
            paths: one per view.
            frame: row of the paths.

        Returns:
            uint8 [height, width, 3].
        """
        model, data = self._scene.model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        self._place_lights(paths[0], frame)
        for rect, path in zip(self._panes, paths, strict=True):
            path.place(self._camera, frame)
            mujoco.mjv_updateScene(
                model,
                data,
                self._option,
                None,
                self._camera,
                mujoco.mjtCatBit.mjCAT_ALL,
                self._visible,
            )
            mujoco.mjr_render(rect, self._visible, self._context)
        picture = np.empty((self._whole.height, self._whole.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._whole, self._context)
        picture = np.flipud(picture).copy()
        for rect in self._panes[1:]:
            if rect.left:
                picture[:, rect.left - 1 : rect.left + 1] = _SEPARATOR_RGB
            else:
                picture[rect.height - 1 : rect.height + 1] = _SEPARATOR_RGB
        return picture

    def _place_lights(self, path: CameraPath, frame: int) -> None:
        """Turns the lights with the first camera, and keeps the shadow's source near the walker."""
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
    scene: Scene, width: int, height: int, num_views: int, backend: str
) -> Iterator[Drawer]:
    """A `Drawer` with a GL context of its own, until the block ends.

    Args:
        scene: built for pictures of at least this size.
        width: of the whole picture, pixels.
        height: of the whole picture, pixels.
        num_views: as of `Drawer`.
        backend: as from `gl.choose_backend`.
    """
    with gl_context(backend, width, height):
        drawer = Drawer(scene, width, height, num_views)
        try:
            yield drawer
        finally:
            drawer.close()


def pane_rects(width: int, height: int, num_views: int) -> list[mujoco.MjrRect]:
    """Where each view lies in the picture, the first at the left or at the top."""
    if width >= height:
        step = width // num_views
        return [mujoco.MjrRect(i * step, 0, step, height) for i in range(num_views)]
    step = height // num_views
    # GL counts rows from below
    return [mujoco.MjrRect(0, height - (i + 1) * step, width, step) for i in range(num_views)]


def write_caption(picture: np.ndarray, left: str, right: str = "") -> np.ndarray:
    """A copy of `picture`, uint8 [height, width, 3], with a strip of text along its lower edge.

    Text that does not fit is set smaller, then cut: first the left one, for the right one says what
    has to be known, as that a motion is synthetic.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    size = max(10, min(width, height) // 30)
    room = width - size * (3 if left and right else 2)
    while size > 8 and _length(left, size) + _length(right, size) > room:
        size -= 1
    while len(left) > 1 and _length(left, size) + _length(right, size) > room:
        left = left[:-2] + "…"
    while len(right) > 1 and _length(left, size) + _length(right, size) > room:
        right = right[:-2] + "…"
    top = height - round(1.9 * size)
    draw.rectangle((0, top, width, height), fill=_STRIP_RGBA)
    middle, font = (top + height) / 2, ImageFont.load_default(size)
    draw.text((size, middle), left, _TEXT_RGB, font, anchor="lm")
    draw.text((width - size, middle), right, _TEXT_RGB, font, anchor="rm")
    return np.asarray(image)


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], note: str, width: int
) -> Image.Image:
    """Pictures in two columns (four where they are high), each with its caption.

    Args:
        pictures: uint8 [height, width, 3] each, of one size.
        captions: one per picture.
        note: at the right of each caption.
        width: of the sheet, pixels.
    """
    high, wide = pictures[0].shape[:2]
    columns = min(len(pictures), 2 if wide > high else 4)
    cell = width // columns, round(width / columns * high / wide)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (width, rows * cell[1]), (255, 255, 255))
    for rank, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        small = Image.fromarray(picture).resize(cell, Image.Resampling.LANCZOS)
        place = (rank % columns * cell[0], rank // columns * cell[1])
        sheet.paste(Image.fromarray(write_caption(np.asarray(small), caption, note)), place)
    return sheet


def _length(text: str, size: int) -> float:
    return ImageFont.load_default(size).getlength(text)
