"""Writes text on pictures, and combines pictures."""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.report.rendering.cameras import smooth
from vnl_mjx.report.rendering.scene import Scene

_TEXT_RGB = (45, 52, 60)
_ALARM_RGB = (176, 32, 20)
_STRIP_RGBA = (255, 255, 255, 175)
_GAP = 2  # pixels between the pictures of a row of pictures
_SPEED_SMOOTHING_S = 0.1
_SMALLEST = 13  # letters, pixels, where the words fit
_HEAD = 22  # pixels above them


def write_caption(
    picture: np.ndarray,
    left: str,
    right: str = "",
    *,
    share: int = 30,
    at_top: bool = False,
    alarm: bool = False,
    color: str = "",
) -> np.ndarray:
    """Returns a copy of `picture`, uint8 [height, width, 3], with a strip of text along an edge.

    Text that does not fit is set smaller, then cut. The left text is cut first, because the right one must
    stay readable, for example that a motion is synthetic. The letters are `share` times smaller than the
    picture; `alarm` is for text that must not be missed; `color` replaces the left text's grey.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    size = max(_SMALLEST, min(width, height) // share)
    room = width - size * (3 if left and right else 2)
    while size > 8 and _length(left, size) + _length(right, size) > room:
        size -= 1
    while len(left) > 1 and _length(left, size) + _length(right, size) > room:
        left = left[:-2] + "…"
    while len(right) > 1 and _length(left, size) + _length(right, size) > room:
        right = right[:-2] + "…"
    strip = round(1.9 * size)
    top, bottom = (0, strip) if at_top else (height - strip, height)
    draw.rectangle((0, top, width, bottom), fill=_STRIP_RGBA)
    middle, font = (top + bottom) / 2, _font(size)
    draw.text((size, middle), left, color or _TEXT_RGB, font, anchor="lm")
    draw.text((width - size, middle), right, _ALARM_RGB if alarm else _TEXT_RGB, font, anchor="rm")
    return np.asarray(image)


def tiled(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Combines pictures of one size, uint8 [height, width, 3], row by row with white lines between."""
    high, wide = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * high, columns * wide, 3), 255, np.uint8)
    for rank, picture in enumerate(pictures):
        top, left = rank // columns * high, rank % columns * wide
        whole[top : top + high, left : left + wide] = picture
    for row in range(1, rows):
        whole[row * high - 1 : row * high + 1] = 255
    for column in range(1, columns):
        whole[:, column * wide - 1 : column * wide + 1] = 255
    return whole


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], note: str, width: int
) -> Image.Image:
    """Arranges pictures of one size, uint8 [height, width, 3], in two columns (four if they are high).

    Each picture has its caption, with the note at the right; `width` is that of the sheet, pixels.
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


def picture_rows(
    rows: Sequence[Sequence[np.ndarray]], names: Sequence[str], times: Sequence[str], width: int
) -> Image.Image:
    """Arranges pictures, uint8 [height, width, 3], in a row for each motion and a column for each time.

    Names appear on the first picture of a row, and times above the columns; `width` is that of the sheet,
    pixels.
    """
    high, wide = rows[0][0].shape[:2]
    cell_width = (width + _GAP) // len(times) - _GAP
    cell = cell_width, round(cell_width * high / wide)
    sheet = Image.new("RGB", (width, len(rows) * (cell[1] + _GAP) - _GAP + _HEAD), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), _font(_HEAD - 8)
    for column, time in enumerate(times):
        left = column * (cell[0] + _GAP)
        draw.text((left + cell[0] / 2, _HEAD / 2), time, _TEXT_RGB, font, anchor="mm")
        for row, (name, pictures) in enumerate(zip(names, rows, strict=True)):
            small = Image.fromarray(pictures[column]).resize(cell, Image.Resampling.LANCZOS)
            if column == 0 and name:
                written = write_caption(np.asarray(small), name, share=12, at_top=True)
                small = Image.fromarray(written)
            sheet.paste(small, (left, _HEAD + row * (cell[1] + _GAP)))
    return sheet


def time_and_speed(qpos: np.ndarray, times: np.ndarray, rate_hz: float, scene: Scene) -> list[str]:
    """Returns texts of time, s, and the root's horizontal speed at each frame of qpos [frame, nq]."""
    position, _ = root_pose(qpos, scene.layout)
    position = smooth(position[:, :2], rate_hz, _SPEED_SMOOTHING_S)
    if len(position) > 1:
        speeds = np.linalg.norm(np.gradient(position, 1.0 / rate_hz, axis=0), axis=-1)
    else:
        speeds = np.zeros(1)
    small = scene.reach < 0.5
    return [
        f"{time:.2f} s   " + (f"{100 * speed:.0f} cm/s" if small else f"{speed:.1f} m/s")
        for time, speed in zip(times, speeds, strict=True)
    ]


def metric(length: float) -> str:
    """Returns a length in metres as a person would say it."""
    if length >= 1.0:
        return f"{length:g} m"
    return f"{100 * length:g} cm" if length >= 0.01 else f"{1000 * length:g} mm"


def squares(scene: Scene) -> str:
    """Returns the text that gives a picture its scale."""
    return f"floor squares {metric(scene.square)}"


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _length(text: str, size: int) -> float:
    return _font(size).getlength(text)
