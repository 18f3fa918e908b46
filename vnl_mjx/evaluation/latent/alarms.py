"""Raises the alarms of a report: known problems of a student, and what to change.

Training uses the same thresholds for the latent and the action error.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.training.alarms import ACTION_MSE_ALARM, LATENT_RULES, RUNAWAY_KL, Alarm, raised

# Share of the posterior mean's variance that the prior mean explains; above this, the latent ignores the
# reference. Well-trained students are at 0.93, because both means follow the body.
PRIOR_EXPLAINS_ALARM = 0.99
# Mean squared action error, relative to the teacher's own noise, which its training taught it to correct.
TEACHER_NOISE_ALARM = 1.0
TEACHER_SURVIVAL_ALARM = 0.5
TEACHER_REWARD_ALARM = 0.3  # share of the largest reward, as at the start of a distillation
PRIOR_SURVIVAL_ALARM = 0.8
# Nats between posterior and prior. Above the first, more KL weight made the prior stand more often; below
# the second, less did. Both lie half way, in logarithms, between the runs of `benchmarks/kl_sweep.csv`.
MUCH_KL, LITTLE_KL = 10.7, 5.5


def report_alarms(
    latent: Mapping[str, Any],
    action_mse: float | None = None,
    teacher_noise: float | None = None,
    teacher_survival: float | None = None,
    teacher_reward_share: float | None = None,
    prior_survival: float | None = None,
    prior_seconds: float = 10.0,
) -> list[dict[str, str]]:
    """Returns `what`, `found` and `change` of each alarm; None: not measured.

    `latent` comes from `statistics.latent_statistics` and may be empty; `action_mse` is on states that the
    student visits; `teacher_noise` comes from `action_noise`. The shares are `teacher_survival`, of the
    teacher's episodes without a failure; `teacher_reward_share`, of the largest imitation reward; and
    `prior_survival`, of the prior's rollouts at the learned variance that stand after `prior_seconds`.
    """
    if latent and latent["kl"] > RUNAWAY_KL:  # which explains the rest
        return [alarm._asdict() for alarm in _latent_alarms(latent)]
    found = [
        *_teacher_alarms(teacher_survival, teacher_reward_share),
        *_action_alarms(action_mse, teacher_noise),
        *_latent_alarms(latent),
        *_prior_alarms(latent, prior_survival, prior_seconds),
    ]
    return [alarm._asdict() for alarm in found]


def action_noise(rollout: Rollout) -> float | None:
    """Returns the mean squared difference of sampled and deterministic teacher actions; None: no steps."""
    steps, valid = rollout.steps, rollout.valid
    if not valid.any():
        return None
    return float(np.square(steps.action[valid] - steps.extra.teacher_action[valid]).mean())


def _teacher_alarms(survival: float | None, reward_share: float | None) -> Iterator[Alarm]:
    signs = []
    if survival is not None and survival < TEACHER_SURVIVAL_ALARM:
        signs.append(f"it fails in {100 * (1 - survival):.0f} % of its episodes")
    if reward_share is not None and reward_share < TEACHER_REWARD_ALARM:
        signs.append(f"it earns {100 * reward_share:.0f} % of the possible reward")
    if signs:
        yield Alarm(
            "the teacher does not track these clips",
            " and ".join(signs),
            "take another teacher (teacher=, teacher_config.step=) or clips like "
            "those it was trained on (clips=)",
        )


def _action_alarms(mse: float | None, noise: float | None) -> Iterator[Alarm]:
    limit, of_what = ACTION_MSE_ALARM, "the level of a student that has learnt its teacher"
    if noise:
        limit, of_what = TEACHER_NOISE_ALARM * noise, "the teacher's own noise"
    if mse is not None and mse > limit:
        yield Alarm(
            "action error above the teacher's noise" if noise else "large action error",
            f"the mean squared action error is {mse:.2g}, {mse / limit:.1f} times {of_what} ({limit:.2g})",
            "train longer (training_config.num_steps), lower training_config.kl_weight, or give the "
            "student larger layers (vae_config.decoder_hidden_sizes)",
        )


def _latent_alarms(latent: Mapping[str, Any]) -> Iterator[Alarm]:
    if not latent:
        return
    row = {"loss/kl": latent["kl"], "latent/active_units": latent["active_units"]}
    collapse = raised(LATENT_RULES, row | {"latent_dim": latent["latent_dim"]})
    yield from collapse.values()
    explained = latent["prior_explains"]
    # a collapsed latent has its own alarm
    if not collapse and explained is not None and explained > PRIOR_EXPLAINS_ALARM:
        yield Alarm(
            "the prior says what the posterior says",
            f"the prior mean explains {100 * explained:.0f} % of the posterior mean's variance: the "
            "latent follows the body and carries little of the reference",
            "lower training_config.kl_weight, or train on clips that continue differently from similar "
            "postures",
        )


def _prior_alarms(
    latent: Mapping[str, Any], survival: float | None, seconds: float
) -> Iterator[Alarm]:
    if survival is None or survival >= PRIOR_SURVIVAL_ALARM:
        return
    found = (
        f"{100 * survival:.0f} % of its rollouts stand after {seconds:g} s, below "
        f"{100 * PRIOR_SURVIVAL_ALARM:.0f} %"
    )
    change = "train longer (training_config.num_steps), at a rate that falls (training_config.learning_rate)"
    if latent:
        found += f"; posterior and prior are {latent['kl']:.1f} nats apart"
        change += f"; {_kl_advice(latent['kl'])}"
    yield Alarm("the prior alone does not stay up", found, change)


def _kl_advice(kl: float) -> str:
    if kl > MUCH_KL:
        return "raise training_config.kl_weight by a factor of 3: a prior this far away is uninformative"
    if kl < LITTLE_KL:
        return "lower training_config.kl_weight by a factor of 3: this near, the student cannot imitate well"
    return (
        "keep training_config.kl_weight: a third and three times the weight made more rollouts fall"
    )
