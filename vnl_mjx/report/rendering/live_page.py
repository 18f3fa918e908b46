"""A policy in the browser: who acts, on which clip, and how its latent is moved, while it goes on."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.report.rendering.browser import SPEEDS, add_head, place_camera
from vnl_mjx.report.rendering.browser_meshes import WalkerMesh, add_floor
from vnl_mjx.report.rendering.cameras import camera_path
from vnl_mjx.report.rendering.live import LiveEpisode, ViewedPolicy
from vnl_mjx.report.rendering.scene import Scene, top_body

NUM_SLIDERS = 8
_RANGE_STD = 3.0  # of a slider, in standard deviations of its dimension
_MIN_RANGE = 0.1
_PAUSE_S = 1.0  # after an episode's end
_MAX_BEHIND_S = 0.1  # a machine that is slower than the motion shows it slower
_FOLLOW_S = 0.25  # time constant of the camera
_SPEED_OVER_S = 0.5


class LivePage:
    """The scene and the controls of one page; `num_episodes` were begun."""

    def __init__(
        self,
        server: Any,
        scene: Scene,
        episode: LiveEpisode,
        clips: ReferenceClips,
        policies: Mapping[str, ViewedPolicy],
        activity: Mapping[str, np.ndarray],
        title: str,
        clip: int = 0,
        start_frame: int = 0,
    ):
        """Builds the page on a `viser.ViserServer` and begins at a frame of a clip; the scene has no ghosts.

        `policies` are who can act, the first of them first; `activity` has, by the same names, the standard
        deviation of each latent dimension, [latent].
        """
        self._server, self._scene, self._episode, self._clips = server, scene, episode, clips
        self._policies, self._activity = policies, activity
        self._first = clip, start_frame
        self._walker = WalkerMesh(server, scene.model)
        self._reference = WalkerMesh(server, scene.model, "reference", is_ghost=True)
        self._floor = add_floor(server, scene)
        self._sliders: dict[int, Any] = {}
        self._folder: Any = None
        self._add_controls(title, clip)
        self._places: deque[np.ndarray] = deque(maxlen=round(_SPEED_OVER_S * episode.control_hz))
        self.num_episodes = 0
        self._shown_who, self._begun = "", ("", -1)
        self._heed()
        first = np.asarray(clips.qpos(), np.float64)[int(clips.starts[clip]) + start_frame]
        place_camera(server, camera_path(scene, first[None], clips.rate_hz))

    def advance(self, seconds: float) -> None:
        """Goes on by so much time of the spectator."""
        self._heed()
        if self._pause.value:
            return
        if self._waiting > 0.0:
            self._waiting -= seconds
            if self._waiting <= 0.0:
                self._begin()
            return
        self._due += min(seconds, _MAX_BEHIND_S) * float(self._speed.value)
        period = 1.0 / self._episode.control_hz
        actor = self._policy.actor_fn(self._offset(), self._noise_scale())
        while self._due >= period and self._waiting <= 0.0:
            self._due -= period
            self._step = self._episode.step(self._policy, actor)
            position, _ = root_pose(self._step.qpos, self._scene.layout)
            self._places.append(position[:2])
            if self._step.failed or self._step.over:
                self._waiting = _PAUSE_S
        self._show(seconds)

    @property
    def _policy(self) -> ViewedPolicy:
        # not of the control's value, which another thread may change at any time
        return self._policies[self._shown_who]

    def _heed(self) -> None:
        """Does what was asked for since the last time."""
        if self._who.value != self._shown_who:
            self._shown_who = self._who.value
            self._add_sliders()
        asked = self._clip.value, self._again_count
        if asked != self._begun:
            self._begun = asked
            self._begin()

    def _begin(self) -> None:
        clip = self._clips.names.index(self._begun[0])
        start_frame = self._first[1] if clip == self._first[0] else 0
        self._step = self._episode.start(clip, start_frame)
        self.num_episodes += 1
        self._due = self._waiting = 0.0
        self._places.clear()
        self._middle = self._center(self._step.qpos)
        self._show(0.0)

    def _center(self, qpos: np.ndarray) -> np.ndarray:
        """Centre of mass [3] of the walker in a pose, which it takes."""
        self._walker.pose(qpos)
        mujoco.mj_comPos(self._scene.model, self._walker.data)
        return self._walker.data.subtree_com[top_body(self._scene.model)].copy()

    def _show(self, seconds: float) -> None:
        center = self._center(self._step.qpos)
        if self._follow.value:
            self._middle[:2] += min(1.0, seconds / _FOLLOW_S) * (center - self._middle)[:2]
        follows = self._policy.follows
        with self._server.atomic():
            self._walker.show(self._middle)
            self._reference.set_visible(follows and self._with_reference.value)
            if follows:
                self._reference.pose(self._step.reference_qpos)
                self._reference.show(self._middle)
            floor = np.array([0.0, 0.0, self._scene.floor_height])
            self._floor.position = floor - self._middle
            self._text.content = self._words()

    def _words(self) -> str:
        hz, step = self._episode.control_hz, self._step
        words = [f"**{self._shown_who}**, {self._episode.num_steps / hz:.2f} s"]
        if len(self._places) > 1:
            way = np.linalg.norm(self._places[-1] - self._places[0])
            words.append(f"{100 * way * hz / (len(self._places) - 1):.0f} cm/s")
        if self._policy.follows:
            words.append(f"reward {step.reward:.2f}")
        if step.failed:
            words.append("**failed**")
        elif step.over:
            words.append("end of the clip")
        return ", ".join(words)

    def _offset(self) -> Any:
        offset = np.zeros((1, self._policy.latent_dim), np.float32)
        for dimension, slider in self._sliders.items():
            offset[0, dimension] = slider.value
        return jnp.asarray(offset)

    def _noise_scale(self) -> float:
        return float(self._noise.value) if self._noise is not None else 0.0

    def _add_controls(self, title: str, clip: int) -> None:
        gui, names = self._server.gui, list(self._policies)
        self._text = add_head(gui, title, self._scene)
        self._who = gui.add_dropdown("Who acts", names, initial_value=names[0])
        clips = self._clips.names
        self._clip = gui.add_dropdown("Clip", clips, initial_value=clips[clip])
        self._speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1")
        self._pause = gui.add_checkbox("Pause", initial_value=False)
        self._follow = gui.add_checkbox("Follow", initial_value=True)
        self._with_reference = gui.add_checkbox("Show the reference", initial_value=False)
        self._again_count = 0
        again = gui.add_button("Start again")

        @again.on_click
        def _(_: Any) -> None:
            self._again_count += 1

    def _add_sliders(self) -> None:
        """Of the most active dimensions of who acts."""
        if self._folder is not None:
            self._folder.remove()
        gui, self._sliders, self._noise = self._server.gui, {}, None
        activity = self._activity[self._shown_who]
        self._folder = gui.add_folder("Added to the latent")
        with self._folder:
            if not self._policy.follows:
                self._noise = gui.add_slider(
                    "Noise", min=0.0, max=2.0, step=0.05, initial_value=1.0
                )
            for dimension in np.argsort(-activity)[:NUM_SLIDERS].tolist():
                most = max(_RANGE_STD * float(activity[dimension]), _MIN_RANGE)
                most = float(f"{most:.1g}")
                self._sliders[dimension] = gui.add_slider(
                    f"z[{dimension}]", min=-most, max=most, step=most / 50, initial_value=0.0
                )
            zero = gui.add_button("Zero")

        @zero.on_click
        def _(_: Any) -> None:
            for slider in self._sliders.values():
                slider.value = 0.0
