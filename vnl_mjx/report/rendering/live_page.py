"""Shows a live policy in the browser, with choice of policy and clip, and sliders for its latent."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.report.rendering.episode_page import EpisodePage
from vnl_mjx.report.rendering.live import LiveEpisode, LiveStep, ViewedPolicy
from vnl_mjx.report.rendering.scene import Scene

NUM_SLIDERS = 8
_RANGE_STD = 3.0  # range of a slider, in standard deviations of its dimension
_MIN_RANGE = 0.1


class LivePage(EpisodePage):
    """Holds the scene and the controls of one page; the policy may change within an episode."""

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
        """Builds the page on a `viser.ViserServer` and starts at a frame of a clip; the scene has no ghosts.

        `policies` are the actors, and the first one starts; `activity` has, by the same names, the standard
        deviation of each latent dimension, [latent].
        """
        self._episode, self._clips, self._policies = episode, clips, policies
        self._activity, self._first = activity, (clip, start_frame)
        self._sliders: dict[int, Any] = {}
        self._folder: Any = None
        super().__init__(
            server, scene, episode.control_hz, title, list(policies), clips.names, clip
        )
        self._heed()

    @property
    def _policy(self) -> ViewedPolicy:
        return self._policies[self._shown_who]

    def _start(self) -> LiveStep:
        clip = self._clips.names.index(self._clip.value)
        return self._episode.start(clip, self._first[1] if clip == self._first[0] else 0)

    def _act(self) -> LiveStep:
        policy = self._policy
        step = self._episode.step(policy, policy.actor_fn(self._offset(), self._noise_scale()))
        return step if policy.follows else step.alone()

    def _offset(self) -> Any:
        offset = np.zeros((1, self._policy.latent_dim), np.float32)
        for dimension, slider in self._sliders.items():
            offset[0, dimension] = slider.value
        return jnp.asarray(offset)

    def _noise_scale(self) -> float:
        return float(self._noise.value) if self._noise is not None else 0.0

    def _change(self) -> None:
        """Adds sliders for the actor's most active latent dimensions."""
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
