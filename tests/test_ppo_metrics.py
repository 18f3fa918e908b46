"""Rows of metrics of PPO against numbers worked by hand, and the warnings they raise."""

from typing import Any

import jax.numpy as jnp
import pytest

from vnl_mjx.config.imitation import RewardConfig
from vnl_mjx.training.alarms import TEACHER_RULES, raised
from vnl_mjx.training.learner import LearningStatistics
from vnl_mjx.training.metrics import ppo_metrics
from vnl_mjx.training.rollout import RolloutStatistics
from vnl_mjx.training.trainer import Update

HEALTHY = {
    "steps": 1000,
    "nan/count": 0.0,
    "loss/skipped_minibatches": 0.0,
    "loss/policy_kl": 0.02,
    "loss/action_std": 0.2,
    "loss/latent_kl": 3.0,
    "loss/explained_variance": 0.8,
}


def update(reward: float, policy_kl: float) -> Update:
    """100 control steps in 2 + 3 seconds."""
    terms = {"pos_reward": 80.0, "quat_reward": reward, "joint_reward": 60.0, "endeff_reward": 40.0}
    rollout = RolloutStatistics(
        num_steps=jnp.float32(100),
        reward=jnp.float32(250.0),
        terms={name: jnp.float32(x) for name, x in {**terms, "ctrl_cost": -20.0}.items()},
        distances={"joint_distance": jnp.float32(10.0)},
        failures={"fall": jnp.float32(3), "nan": jnp.float32(1)},
        episodes=jnp.float32(8),
        survived=jnp.float32(6),
        episode_reward=jnp.float32(400.0),
        episode_steps=jnp.float32(160.0),
        overflowed=jnp.float32(2),
    )
    loss = {
        "total": 1.0,
        "policy": -0.1,
        "value": 0.5,
        "entropy": 4.0,
        "latent_kl": 2.0,
        "latent_kl_per_dim": [0.5, 1.5],
        "latent_ar1_kl": 5.0,
        "guidance": 0.0,
        "policy_kl": policy_kl,
        "clip_fraction": 0.1,
        "explained_variance": 0.7,
        "action_std": 0.3,
    }
    weights = {"entropy": 1e-4, "latent_kl": 1e-3, "latent_ar1_kl": 0.0, "guidance": 0.5}
    learning = LearningStatistics(
        loss={name: jnp.asarray(x) for name, x in loss.items()},
        weights={name: jnp.float32(x) for name, x in weights.items()},
        grad_norm=jnp.float32(2.0),
        skipped=jnp.float32(0.0),
        learning_rate=jnp.float32(3e-4),
    )
    none: Any = None  # of divergences
    return Update(rollout, learning, none, {"rollout": 2.0, "update": 3.0, "physics": 1.0})


def test_a_row_by_hand():
    row = ppo_metrics([update(60.0, 0.01), update(100.0, 0.03)], RewardConfig())
    # (80 + (60 + 100) / 2 + 60 + 40) / 100 of a maximum of 4; costs do not count
    assert row["rollout/reward_fraction"] == pytest.approx(2.6 / 4)
    assert row["rollout/ctrl_cost"] == pytest.approx(-0.2)
    assert row["rollout/reward_per_step"] == pytest.approx(2.5)
    assert row["episode/survival"] == pytest.approx(0.75)
    assert row["episode/steps"] == pytest.approx(20.0)
    assert row["loss/policy_kl"] == pytest.approx(0.02)
    assert row["loss/latent_kl"] == pytest.approx(2.0)
    assert row["latent_kl/01"] == pytest.approx(1.5)
    assert row["loss/guidance_weight"] == pytest.approx(0.5)
    assert row["time/env_steps_per_second"] == pytest.approx(200 / 10)
    assert row["time/share_physics"] == pytest.approx(0.2)
    assert row["nan/count"] == 2
    assert row["overflow/count"] == 4


def test_the_fraction_is_of_the_terms_that_have_a_weight():
    reward = RewardConfig(pos_weight=1.0, quat_weight=0.0, joint_weight=0.0, endeff_weight=2.0)
    row = ppo_metrics([update(60.0, 0.01)], reward)
    assert row["rollout/reward_fraction"] == pytest.approx((0.8 + 0.4) / 3)


def test_a_healthy_row_raises_no_alarm():
    assert raised(TEACHER_RULES, HEALTHY) == {}
    assert raised(TEACHER_RULES, HEALTHY | {"nan/count": 10.0, "overflow/count": 0.0}) == {}
    assert raised(TEACHER_RULES, HEALTHY | {"episode/count": 0, "episode/steps": 0.0}) == {}


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("nan", {"nan/count": 11.0}, "11 simulations diverged in 1000 steps"),
        ("skipped", {"loss/skipped_minibatches": 0.01}, "1.0% of the minibatches"),
        ("policy_kl", {"loss/policy_kl": 0.9}, "ppo.learning_rate"),
        ("action_std", {"loss/action_std": 0.001}, "ppo.entropy"),
        ("latent_kl", {"loss/latent_kl": 0.01}, "ppo.latent_kl"),
        ("value", {"loss/explained_variance": -0.5}, "-0.50"),
        ("overflow", {"overflow/count": 3.0}, "3 of 1000 steps"),
        ("short_episodes", {"episode/count": 900.0, "episode/steps": 1.1}, "vnl-mjx body"),
    ],
)
def test_an_alarm_says_what_to_change(name, changes, word):
    """TRIALS T10 (short episodes)."""
    found = raised(TEACHER_RULES, HEALTHY | changes)
    assert list(found) == [name]
    line = str(found[name])
    assert word in line and "\n" not in line
