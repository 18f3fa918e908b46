"""Trains the toy walker on one and on many devices of one process; prints how far the two are apart.

Usage: XLA_FLAGS=--xla_force_host_platform_device_count=8 python on_devices.py BACKEND NUM_UPDATES
The last line is JSON: for each trainer the largest differences and what an update exchanges.
"""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
from toy_trainers import TRAINING, sine_clips, sine_ppo, toy_distillation

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.devices import environment_mesh
from vnl_mjx.training.vae_distillation import VaeDistillation
from vnl_mjx.walkers.walker import build_walker

TOY = WalkerConfig(
    source=str(Path(__file__).parent / "fixtures" / "toy_walker.xml"),
    joint_names=("hip_front", "ankle_front", "hip_back"),
    body_names=("torso", "leg_front", "foot_front", "foot_back"),
    end_effector_names=("foot_front", "foot_back"),
    rescale_factor=1.0,
)


def trainers(backend: str, num_devices: int):
    """The distillation and the PPO trainer on that many devices."""
    walker, mesh = build_walker(TOY), environment_mesh(num_devices)
    clips = sine_clips(walker, [1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 1.5, 4.5])
    task, teacher, student, clips = toy_distillation(walker, clips, backend, mesh)
    return {
        "distillation": VaeDistillation(task, student, teacher, clips, TRAINING, mesh),
        "ppo": sine_ppo(walker, clips, backend, mesh),
    }


def trained(trainer, num_updates: int):
    """State and statistics after some updates, on the host, and how many arrays were split."""
    state, update = trainer.init(0), None
    for _ in range(num_updates):
        state, update = trainer.update(state)
    split = sum(not x.is_fully_replicated for x in jax.tree.leaves(state))
    return jax.device_get(state), jax.device_get(update), split


def exchanges(trainer) -> dict[str, int]:
    """How many instructions of each kind exchange data between devices, in both programs."""
    text = "".join(stage.text() for stage in trainer.programs.values())
    kinds = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    return {kind: len(re.findall(rf" {kind}(-start)?\(", text)) for kind in kinds}


def apart(a, b) -> dict[str, float]:
    """Largest difference of the arrays of two trees, over the largest value of each array."""
    found = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if np.size(x):
            x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
            found = max(found, np.abs(x - y).max() / max(np.abs(x).max(), 1e-3))
    return found


def main(backend: str, num_updates: int) -> None:
    one, many = trainers(backend, 1), trainers(backend, len(jax.devices()))
    report = {}
    for name in one:
        (state, update, _), (spread, spread_update, split) = (
            trained(each[name], num_updates) for each in (one, many)
        )
        report[name] = {
            "params": apart(state.params, spread.params),
            "state": apart(state, spread),
            "rollout": apart(update.rollout, spread_update.rollout),
            "learning": apart(update.learning, spread_update.learning),
            "split": split,
            "exchanges": exchanges(many[name]),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
