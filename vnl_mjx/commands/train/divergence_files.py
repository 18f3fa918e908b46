"""Writes what it takes to replay steps of a training that are not finite, to files of the run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import mujoco
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing
from vnl_mjx.physics.randomization import draw_variants
from vnl_mjx.tasks.building import ImitationTask
from vnl_mjx.training.trainer import Trainer, Update

FOLDER = "nan"
FORMAT = "vnl_mjx divergence"
FORMAT_VERSION = 1
MOST_FILES = 5


class DivergenceFiles:
    """Writes one file per update that left something out, at most `MOST_FILES` in a run folder."""

    def __init__(self, run_dir: Path, trainer: Trainer, task: ImitationTask, warn: Callable):
        """Takes the run's folder, its trainer, the imitation task of its body, and what prints a warning."""
        self._folder, self._trainer, self._task, self._warn = run_dir / FOLDER, trainer, task, warn
        self._is_full = False

    def note(self, update: Update, env_steps: int) -> None:
        """Writes `<env_steps>.npz` if the update that ended there left steps or minibatches out.

        A file that cannot be written is a warning, not the end of the training.
        """
        count, skipped = jax.device_get((update.divergence.count, update.learning.skipped))
        if not (count or skipped) or self._is_full:
            return
        path = self._folder / f"{env_steps}.npz"
        self._is_full = (
            self._folder.is_dir() and len(list(self._folder.glob("*.npz"))) >= MOST_FILES
        )
        if self._is_full:
            self._warn(f"{self._folder} holds {MOST_FILES} files; further ones are not written")
            return
        steps = "1 step was" if count == 1 else f"{count} steps were"
        found = f"{steps} not finite and kept out of learning"
        if not count:
            found = f"{skipped:.0%} of the minibatches had a gradient that was not finite: skipped"
        try:
            self._folder.mkdir(exist_ok=True)
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **self._content(update, env_steps))
        except (UserError, OSError) as error:
            self._warn(f"{found}; cannot write what they held ({error})")
            return
        self._warn(f"{found}; vnl-mjx replay-nan {path} shows the first")

    def _content(self, update: Update, env_steps: int) -> dict[str, np.ndarray]:
        divergence, learning = jax.device_get((update.divergence, update.learning))
        physics = divergence.physics if divergence.count else None
        task = getattr(self._trainer.env, "task", None)
        facts = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "mujoco": mujoco.__version__,
            "env_steps": env_steps,
            "skipped_share": float(learning.skipped),
            "grad_norm": _written(learning.grad_norm),
            "loss": {k: _written(v) for k, v in learning.loss.items() if np.ndim(v) == 0},
            "action_repeat": getattr(self._trainer.env, "times", 1),
            "backend": type(getattr(task, "physics", None)).__name__,
        }
        arrays = {} if divergence.count == 0 else _named(divergence)
        if physics is not None and task is not None:
            model, facts["num_substeps"] = task.physics.model, task.physics.config.num_substeps
            if physics.variant is not None:
                model = self._variant(int(physics.variant), model)
            arrays["model"] = np.zeros(mujoco.mj_sizeModel(model), np.uint8)
            mujoco.mj_saveModel(model, None, arrays["model"])
        return {"facts": np.array(json.dumps(facts)), **arrays}

    def _variant(self, number: int, like: mujoco.MjModel) -> mujoco.MjModel:
        """Draws the variants of the body again, which depend on the configuration alone."""
        root = self._task.walker.root_body
        variants = draw_variants(self._task.walker.model, root, self._task.config.randomization)
        model = variants.models[number].__copy__() if variants else like
        for name in (
            "timestep",
            "solver",
            "iterations",
            "ls_iterations",
            "jacobian",
            "disableflags",
        ):
            setattr(model.opt, name, getattr(like.opt, name))
        return model


def _named(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in leaves
    }


def _written(value: Any) -> float | str:
    """Returns a number as JSON can hold it: what is not finite as text."""
    return float(value) if np.isfinite(value) else str(float(value))
