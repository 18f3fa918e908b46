"""The same short training on every back end: one that silently learns nothing would show here."""

from dataclasses import replace

import numpy as np
import pytest
from toy_trainers import SINE_PPO, sine_clips, sine_ppo

from vnl_mjx.physics.backends import BACKENDS
from vnl_mjx.walkers.walker import Walker

NUM_UPDATES = 60
CONFIG = replace(SINE_PPO, num_steps=SINE_PPO.steps_per_update * NUM_UPDATES)

pytestmark = pytest.mark.slow


def rewards(walker: Walker, backend: str) -> np.ndarray:
    """Mean reward per control step of every update."""
    clips = sine_clips(walker, [1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 1.5, 4.5])
    trainer = sine_ppo(walker, clips, backend, config=CONFIG)
    found, state = [], trainer.init(0)
    for _ in range(NUM_UPDATES):
        state, update = trainer.update(state)
        found.append(float(update.rollout.reward / update.rollout.num_steps))
    return np.array(found)


@pytest.fixture(scope="module")
def in_c(toy_walker) -> np.ndarray:
    return rewards(toy_walker, "mujoco")


def test_c_learns(in_c):
    assert in_c[-3:].mean() > in_c[:3].mean() + 0.3


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "mujoco"])
def test_every_back_end_learns_what_c_does(backend, toy_walker, in_c):
    if backend == "warp":
        pytest.importorskip("warp", reason="needs the extra `warp`, which is not installed")
    found = rewards(toy_walker, backend)
    # The same random numbers and, at first, the same states; then contacts tell them apart.
    assert found[0] == pytest.approx(in_c[0], rel=0.02)
    assert found[-3:].mean() == pytest.approx(in_c[-3:].mean(), rel=0.1)
