"""Shows a live simulation in the browser: scene, time, camera, and the common controls of such pages."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.report.rendering.browser import SPEEDS, add_head, as_markdown, place_camera
from vnl_mjx.report.rendering.browser_meshes import Marks, WalkerMesh, add_floor
from vnl_mjx.report.rendering.cameras import camera_path
from vnl_mjx.report.rendering.live import LiveStep
from vnl_mjx.report.rendering.scene import Scene, top_body

_PAUSE_S = 1.0  # after an episode's end
_MAX_BEHIND_S = 0.1  # a machine that is slower than the motion shows it slower
_FOLLOW_S = 0.25  # time constant of the camera
_SPEED_OVER_S = 0.5


class EpisodePage(ABC):
    """Holds one page; a subclass defines the actors, and calls `_heed` once it is ready.

    Attributes:
        num_episodes: number of started episodes.
        num_steps: control steps of this episode.
    """

    def __init__(
        self,
        server: Any,
        scene: Scene,
        control_hz: float,
        title: str,
        names: Sequence[str],
        clips: Sequence[str] = (),
        clip: int = 0,
    ):
        """Builds the page on a `viser.ViserServer`; the scene has no ghosts.

        `names` are the actors and `clips` the clips to follow; the first of each is selected, or `clip`.
        """
        self._server, self._scene, self._control_hz = server, scene, control_hz
        self._walker, self._floor = WalkerMesh(server, scene.model), add_floor(server, scene)
        self._reference = WalkerMesh(server, scene.model, "reference", is_ghost=True)
        self._marks = Marks(server, scene.reach)
        self._places: deque[np.ndarray] = deque(maxlen=round(_SPEED_OVER_S * control_hz))
        self.num_episodes = self.num_steps = self._again_count = 0
        self._shown_who, self._begun = "", ()
        self._add_controls(title, names, clips, clip)

    @abstractmethod
    def _start(self) -> LiveStep:
        """Starts an episode."""

    @abstractmethod
    def _act(self) -> LiveStep:
        """Makes one control step."""

    @abstractmethod
    def _change(self) -> None:
        """Reacts to a change of the actor."""

    def _asked(self) -> tuple[Any, ...]:
        """Returns the control values whose change starts an episode."""
        return self._again_count, self._clip and self._clip.value

    def _words(self) -> list[str]:
        """Returns further text on the last step."""
        return []

    def advance(self, seconds: float) -> None:
        """Advances by some seconds of real time."""
        self._heed()
        if self._pause.value:
            return
        if self._waiting > 0.0:
            self._waiting -= seconds
            if self._waiting <= 0.0:
                self._begin()
            return
        self._due += min(seconds, _MAX_BEHIND_S) * float(self._speed.value)
        period = 1.0 / self._control_hz
        while self._due >= period and self._waiting <= 0.0:
            self._due -= period
            self._step, self.num_steps = self._act(), self.num_steps + 1
            position, _ = root_pose(self._step.qpos, self._scene.layout)
            self._places.append(position[:2])
            if self._step.failed or self._step.over:
                self._waiting = _PAUSE_S
        self._show(seconds)

    def _heed(self) -> None:
        """Handles the requests since the last call."""
        if self._who.value != self._shown_who:
            # copied, because another thread may change the control's value at any time
            self._shown_who = self._who.value
            self._change()
        if (asked := self._asked()) != self._begun:
            self._begun = asked
            self._begin()

    def _begin(self) -> None:
        self._step = self._start()
        if not self.num_episodes:
            place_camera(self._server, camera_path(self._scene, self._step.qpos[None], 1.0))
        self.num_episodes += 1
        self.num_steps = 0
        self._due = self._waiting = 0.0
        self._places.clear()
        self._middle = self._center(self._step.qpos)
        self._show(0.0)

    def _center(self, qpos: np.ndarray) -> np.ndarray:
        """Puts the walker into a pose and returns its centre of mass [3]."""
        self._walker.pose(qpos)
        mujoco.mj_comPos(self._scene.model, self._walker.data)
        return self._walker.data.subtree_com[top_body(self._scene.model)].copy()

    def _show(self, seconds: float) -> None:
        center, reference = self._center(self._step.qpos), self._step.reference_qpos
        if self._follow.value:
            self._middle[:2] += min(1.0, seconds / _FOLLOW_S) * (center - self._middle)[:2]
        with self._server.atomic():
            self._walker.show(self._middle)
            self._reference.set_visible(reference is not None and self._with_reference.value)
            if reference is not None and self._with_reference.value:
                self._reference.pose(reference)
                self._reference.show(self._middle)
            self._marks.show(self._step.marks, self._middle)
            floor = np.array([0.0, 0.0, self._scene.floor_height])
            self._floor.position = floor - self._middle
            self._text.content = ", ".join(self._sentence())

    def _sentence(self) -> list[str]:
        hz, step = self._control_hz, self._step
        words = [f"**{as_markdown(self._shown_who)}**, {self.num_steps / hz:.2f} s"]
        if len(self._places) > 1:
            way = np.linalg.norm(self._places[-1] - self._places[0])
            words.append(f"{100 * way * hz / (len(self._places) - 1):.0f} cm/s")
        if step.reference_qpos is not None:
            words.append(f"reward {step.reward:.2f}")
        words += self._words()
        if step.failed:
            words.append("**failed**")
        elif step.over:
            words.append("end of the clip" if step.reference_qpos is not None else "end")
        return words

    def _add_controls(
        self, title: str, names: Sequence[str], clips: Sequence[str], clip: int
    ) -> None:
        gui = self._server.gui
        self._text = add_head(gui, title, self._scene)
        self._who = gui.add_dropdown("Who acts", names, initial_value=names[0])
        self._clip: Any = None
        if clips:
            self._clip = gui.add_dropdown("Clip", clips, initial_value=clips[clip])
        self._speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1")
        self._pause = gui.add_checkbox("Pause", initial_value=False)
        self._follow = gui.add_checkbox("Follow", initial_value=True)
        self._with_reference = gui.add_checkbox(
            "Show the reference", initial_value=False, visible=bool(clips)
        )
        again = gui.add_button("Start again")

        @again.on_click
        def _(_: Any) -> None:
            self._again_count += 1
