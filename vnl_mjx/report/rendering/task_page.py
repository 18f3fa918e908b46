"""Shows a task's policy in the browser, driven by sliders and arrow keys, and records it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.report.rendering.browser import as_markdown
from vnl_mjx.report.rendering.episode_page import EpisodePage
from vnl_mjx.report.rendering.live import LiveStep
from vnl_mjx.report.rendering.live_task import Actor
from vnl_mjx.report.rendering.scene import Scene

# By default, arrow keys turn viser's camera and move the last slider. This script runs in the browser and
# passes such keys only to the page's own commands.
_KEYS_FOR_COMMANDS = """<img hidden src="data:," onerror="
    if (window.vnlArrows) return;
    window.vnlArrows = true;
    const root = document.documentElement;
    root.addEventListener('keydown', event => {
        if (!event.isTrusted || !event.key.startsWith('Arrow')) return;
        if (event.target.matches('input, textarea, select')) return;
        event.stopPropagation();
        event.preventDefault();
        root.dispatchEvent(new KeyboardEvent('keydown', {key: event.key, code: event.code}));
    }, true);
">"""


_UNITS = {"_m_per_s": " m/s", "_rad_per_s": " rad/s", "_m": " m"}


@dataclass(frozen=True)
class Control:
    """Describes one number of a command.

    Attributes:
        name: name with its unit.
        low: smallest value.
        high: greatest value.
        step: step of the slider; a key press changes the number by twice that.
        keys: keys that lower and raise it, by viser's names.
    """

    name: str
    low: float
    high: float
    step: float
    keys: tuple[str, str]


class TaskPage(EpisodePage):
    """Holds the scene and the controls of one page; a new actor starts a new episode."""

    def __init__(
        self,
        server: Any,
        scene: Scene,
        control_hz: float,
        actors: Mapping[str, Actor],
        title: str,
        *,
        controls: Sequence[Control] = (),
        clips: Sequence[str] = (),
        save: Callable[[np.ndarray, str], str] | None = None,
    ):
        """Builds the page on a `viser.ViserServer` and starts; the scene has no ghosts.

        Args:
            server: a `viser.ViserServer`.
            scene: scene without ghosts.
            control_hz: control rate of the actors.
            actors: the actors; the first one starts.
            title: title of the page.
            controls: controls of the command.
            clips: names of the clips to follow.
            save: function that stores poses [frame, nq] of the named actor and returns a text with their
                path; None: no recording.
        """
        self._actors, self._save, self._controls = actors, save, controls
        self._recorded: list[np.ndarray] | None = None
        self._wants_recording, self._compiled = False, set[str]()
        super().__init__(server, scene, control_hz, title, list(actors), clips)
        self._sliders = [self._add_slider(control) for control in controls]
        self._driving = [*self._sliders, *(self._add_stop() if controls else ())]
        if save is not None:
            self._add_recording()
        self._heed()

    def command(self) -> np.ndarray:
        """Returns the command, [size]."""
        return np.array([slider.value for slider in self._sliders], np.float32)

    def store_recording(self) -> str:
        """Stores the current recording, if any; returns a text with its path."""
        recorded, self._recorded = self._recorded or [], None
        if self._save is None or len(recorded) < 2:
            return ""
        return self._save(np.stack(recorded), self._recorded_who)

    def _asked(self) -> tuple[Any, ...]:
        return self._shown_who, *super()._asked()

    def _start(self) -> LiveStep:
        self._end_recording()
        clip = self._clip.options.index(self._clip.value) if self._clip is not None else 0
        actor = self._actors[self._shown_who]
        if self._shown_who not in self._compiled:
            self._text.content = f"**{as_markdown(self._shown_who)}**: compiling"
            actor.start(clip)
            actor.step(self.command())
            self._compiled.add(self._shown_who)
        return actor.start(clip)

    def _act(self) -> LiveStep:
        step = self._actors[self._shown_who].step(self.command())
        if self._recorded is not None:
            self._recorded.append(step.qpos)
        return step

    def _change(self) -> None:
        actor = self._actors[self._shown_who]
        for shown in self._driving:
            shown.visible = actor.obeys
        if self._clip is not None:
            self._clip.visible = self._with_reference.visible = actor.begins_in_clip

    def _words(self) -> list[str]:
        return [measure_words(name, float(x)) for name, x in self._step.measures.items()]

    def _heed(self) -> None:
        super()._heed()
        if self._wants_recording and self._recorded is None:
            self._recorded = [self._step.qpos]
        elif not self._wants_recording:
            self._end_recording()

    def _end_recording(self) -> None:
        """Ends the recording at an episode's end, stores it and shows its path."""
        if self._recorded is not None:
            self._wants_recording = False
            self._record.label = "Record"
            self._saved.content = as_markdown(self.store_recording())

    def _add_slider(self, control: Control) -> Any:
        gui = self._server.gui
        limits = {"min": control.low, "max": control.high, "step": control.step}
        slider = gui.add_slider(control.name, **limits, initial_value=0.0)

        def add_key(key: str, change: float) -> None:
            words = f"{control.name} {change:+g}"

            @gui.add_command(words, hotkey=key).on_trigger
            def _(_: Any) -> None:
                asked = slider.value + change
                slider.value = round(min(max(asked, control.low), control.high), 6)

        for key, sign in zip(control.keys, (-2.0, 2.0), strict=True):
            add_key(key, sign * control.step)
        return slider

    def _add_stop(self) -> tuple[Any, Any]:
        gui = self._server.gui
        gui.add_html(_KEYS_FOR_COMMANDS)
        button = gui.add_button("Stand still", hint="space bar")

        def stop(_: Any) -> None:
            for slider in self._sliders:
                slider.value = 0.0

        button.on_click(stop)
        gui.add_command("Stand still", hotkey="space").on_trigger(stop)
        words = "Arrow keys drive and the space bar stops, after a click into the scene."
        return button, gui.add_markdown(words)

    def _add_recording(self) -> None:
        gui = self._server.gui
        self._record = gui.add_button("Record")
        self._saved, self._recorded_who = gui.add_markdown(""), ""

        @self._record.on_click
        def _(_: Any) -> None:
            self._recorded_who = self._shown_who
            self._wants_recording = not self._wants_recording
            self._record.label = "End the recording" if self._wants_recording else "Record"


def measure_words(name: str, value: float) -> str:
    """Returns a measure of a goal in words, "speed_error_m_per_s" as "speed error 0.12 m/s"."""
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix).replace('_', ' ')} {value:.2f}{unit}"
    return f"{name.replace('_', ' ')} {value:.2f}"
