"""Defines short names of keys on the command line, and the successors of removed keys."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Grammar:
    """Describes a command's inputs, given as paths without a name or as name=path.

    Attributes:
        paths: inputs without a name, as the usage shows them; each is a short name in capitals.
        keys: configuration key of each short name.
    """

    paths: str
    keys: dict[str, str]

    @property
    def places(self) -> list[str]:
        """The short names of the paths, in order; the last takes all further paths if it may."""
        return re.findall(r"[a-z]+", self.paths.lower())

    @property
    def takes_several(self) -> bool:
        """Whether the last short name takes several paths."""
        return "..." in self.paths


GRAMMARS = {
    "preprocess": Grammar("IN... OUT", {}),
    "distill": Grammar(
        "[TEACHER [CLIPS]]",
        {
            "teacher": "teacher_config.checkpoint_path",
            "clips": "teacher_config.reference_data_path",
        },
    ),
    "eval": Grammar(
        "RUN", {"run": "checkpoint_path", "clips": "teacher_config.reference_data_path"}
    ),
    "train-teacher": Grammar("[CLIPS ...]", {"clips": "reference_config.paths"}),
    "train-task": Grammar(
        "[GOAL [STUDENT]]", {"goal": "goal", "student": "low_level", "clips": "clips"}
    ),
}
# A short name means the same in every command.
MEANINGS = {
    "teacher": "track-mjx checkpoint, or RUN/teacher of train-teacher",
    "clips": "HDF5 file of reference clips",
    "student": "run of distill, a teacher, or a student of track-mjx",
    "run": "run folder of distill, or a checkpoint in it",
    "goal": "one of the tasks, or one of your own: my_lab.goals:Height",
}


def shorter(command: str, overrides: Iterable[str]) -> str | None:
    """Returns a line on the short names of keys that `overrides` spell out; None if there are none."""
    names = {key: name for name, key in GRAMMARS[command].keys.items() if name != key}
    used = dict.fromkeys(text.lstrip("+").partition("=")[0] for text in overrides)
    return ", ".join(f"{key}= is now {names[key]}=" for key in used if key in names) or None


# Keys and sections that became a schedule (`ScheduleSection`).
_NOW_SCHEDULES = {
    "training_config.kl_schedule": "training_config.kl_weight",
    "training_config.learning_rate_decay": "training_config.learning_rate",
    "training_config.teacher_forcing": "training_config.teacher_fraction",
    "ppo.learning_rate.initial": "ppo.learning_rate",
    "ppo.learning_rate.final": "ppo.learning_rate",
} | {
    f"ppo.{name}.{old}": f"ppo.{name}"
    for name in ("entropy", "action_std", "latent_kl", "latent_ar1_kl", "guidance")
    for old in ("weight", "start_weight")
}
_NOW = {
    "ppo.learning_rate.target_kl": "ppo.adaptive_rate.target_kl",
    "ppo.learning_rate.lowest": "ppo.adaptive_rate.lowest",
    "ppo.learning_rate.highest": "ppo.adaptive_rate.highest",
    "ppo.action_std.target": "ppo.action_std_target",
}


def renamed(key: str) -> str | None:
    """Returns a line that names the successor of a removed key or section; None for other keys."""
    if key == "ppo.learning_rate.schedule":
        return (
            f"{key} is removed: the rate adapts where ppo.adaptive_rate.target_kl is a number, and follows "
            "ppo.learning_rate where it is null"
        )
    if key in _NOW:
        return f"{key} is now {_NOW[key]}"
    for old, new in _NOW_SCHEDULES.items():
        if key == old or key.startswith(f"{old}."):
            return f"{key} is now {new} = value, or {new}.value, .start, .start_step and .end_step"
    return None
