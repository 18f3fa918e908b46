"""Shows a motion in the browser: a page with play, speed and a slider of frames, through viser.

viser draws, and mjviser turns MuJoCo's geoms into meshes. Both come with the extra `viewer`.
"""

import contextlib
import importlib.util
import logging
import math
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering.browser_meshes import WalkerMesh, add_floor
from vnl_mjx.report.rendering.cameras import FOV_DEG, VIEWS, CameraPath, camera_path
from vnl_mjx.report.rendering.captions import metric, squares, time_and_speed
from vnl_mjx.report.rendering.ground_lines import SQUARES
from vnl_mjx.report.rendering.scene import Scene
from vnl_mjx.versions import how_to_install

HOST = "127.0.0.1"  # the page has no password
_MAX_FPS = 30.0  # largest rate of sent poses
_LET_OTHERS_S = 0.002  # shortest pause for the thread that sends them
SPEEDS = ("0.1", "0.25", "0.5", "1", "2")


def check_installed() -> None:
    """Raises UserError if viser or mjviser is missing."""
    missing = [name for name in ("viser", "mjviser") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--browser: needs the extra 'viewer', found no {' and no '.join(missing)}; run "
            + how_to_install("viewer")
        )


def serve_page(
    open_page: Callable[[Any], Callable[[float], None]],
    title: str,
    port: int,
    seconds: float | None = None,
) -> int:
    """Serves a page on this machine until Ctrl-C, or for some seconds; returns the exit status.

    `open_page` builds the page on a `viser.ViserServer` and returns a function that advances it by real time.

    Raises:
        UserError: the extra `viewer` is not installed, or the port is taken.
    """
    check_installed()
    import viser

    check_port(port)
    # viser logs an error if a browser opens a connection and does not use it.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    server = viser.ViserServer(host=HOST, port=port, label=title, verbose=False)
    try:
        advance = open_page(server)
        print(f"http://{HOST}:{server.get_port()} shows {title}; Ctrl-C ends it", flush=True)
        last = began = time.monotonic()
        while seconds is None or last - began < seconds:
            time.sleep(max(_LET_OTHERS_S, last + 1.0 / _MAX_FPS - time.monotonic()))
            now = time.monotonic()
            advance(now - last)
            last = now
    except KeyboardInterrupt:
        pass  # the user leaves the page this way
    finally:
        server.stop()
    return 0


class MotionPage:
    """Holds the scene and the controls of one page; shows `frame` of the motion, rounded down."""

    def __init__(
        self, server: Any, scene: Scene, qpos: np.ndarray, rate_hz: float, title: str, note: str
    ):
        """Builds the page of qpos [frame, nq] on a `viser.ViserServer`; the scene has no ghosts."""
        self._server, self._scene, self._qpos, self._rate_hz = server, scene, qpos, rate_hz
        self._texts = time_and_speed(qpos, np.arange(len(qpos)) / rate_hz, rate_hz, scene)
        self._path = camera_path(scene, qpos, rate_hz)
        self._walker = WalkerMesh(server, scene.model)
        self._floor = add_floor(server, scene)
        self._time = 0.0
        self.frame, self.playing = 0, True
        self._add_controls(title, note)
        place_camera(server, self._path)
        self.show(0)

    def advance(self, seconds: float) -> None:
        """Advances by some seconds of real time; loops at the end."""
        if not self.playing:
            return
        self._time = (self._time + seconds * float(self._speed.value)) % (
            len(self._qpos) / self._rate_hz
        )
        frame = min(int(self._time * self._rate_hz), len(self._qpos) - 1)
        if frame != self.frame:
            self._slider.value = frame
            self.show(frame)

    def show(self, frame: int) -> None:
        """Shows one frame; the followed point lies at the page's origin."""
        self.frame = frame
        self._walker.pose(self._qpos[frame])
        middle = self._path.lookat[frame if self._follow.value else 0]
        with self._server.atomic():
            self._walker.show(middle)
            self._floor.position = np.array([0.0, 0.0, self._scene.floor_height]) - middle
            self._text.content = self._texts[frame]

    def _add_controls(self, title: str, note: str) -> None:
        gui = self._server.gui
        self._text = add_head(gui, title, self._scene, note)
        self._slider = gui.add_slider(
            "Frame", min=0, max=max(1, len(self._qpos) - 1), step=1, initial_value=0
        )
        self._speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1")
        self._follow = gui.add_checkbox("Follow", initial_value=True)
        button = gui.add_button("Pause")

        @button.on_click
        def _(_: Any) -> None:
            self.playing = not self.playing
            button.label = "Pause" if self.playing else "Play"

        @self._slider.on_update
        def _(event: Any) -> None:
            if event.client is None:  # moved by `advance`, not by hand
                return
            frame = min(int(self._slider.value), len(self._qpos) - 1)
            self._time = frame / self._rate_hz
            self.show(frame)


def add_head(gui: Any, title: str, scene: Scene, note: str = "") -> Any:
    """Writes a title above a page's controls; returns an empty text below it."""
    gui.configure_theme(show_logo=False, show_share_button=False)  # sharing would publish the page
    apart = squares(scene) if scene.is_flat else f"lines {metric(SQUARES * scene.square)} apart"
    words = ", ".join(filter(None, [as_markdown(note), apart]))
    gui.add_markdown(f"**{as_markdown(title)}**\n\n{words}")
    return gui.add_markdown("")


def as_markdown(text: str) -> str:
    """Returns Markdown that shows a text as it is; the page would render HTML in it."""
    return re.sub(r"[^\w\s.,:;/-]", lambda found: f"&#{ord(found[0])};", text)


def check_port(port: int) -> None:
    """Raises UserError for a taken port; viser would silently take another one."""
    with contextlib.closing(socket.socket()) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"--port: {port} cannot be used ({error}); give another one") from error


def place_camera(server: Any, path: CameraPath) -> None:
    """Places the page's camera like that of `path`; the followed point lies at the origin."""
    azimuth, elevation = math.radians(path.azimuth), math.radians(VIEWS["side"][1])
    direction = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    camera = server.initial_camera
    camera.position, camera.look_at = -path.distance * direction, np.zeros(3)
    camera.fov, camera.near = math.radians(FOV_DEG), 0.02 * path.distance
