"""Defines known problems of a training: the rule on a row of metrics, and what to change."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

ACTION_MSE_ALARM = 0.05
KL_ALARM = 0.05  # nats, summed over the latent
RUNAWAY_KL = 1e4  # nats; a training that went well stays below 100
ACTIVE_UNITS_ALARM = 0.1
NAN_SHARE_ALARM = 0.01
POLICY_KL_ALARM = 0.5  # nats, summed over actuators, unless the row's "target_kl" is higher
ACTION_STD_ALARM = 0.01
EXPLAINED_VARIANCE_ALARM = 0.1
EPISODE_STEPS_ALARM = 3.0


class Alarm(NamedTuple):
    """Reports a known problem.

    Attributes:
        what: name of the problem for a person.
        found: evidence, with numbers.
        change: what to do, with the keys of the configuration.
    """

    what: str
    found: str
    change: str

    def __str__(self) -> str:
        """Returns one line for a log."""
        return f"{self.found}: {self.change}"


class Rule(NamedTuple):
    """Defines when to raise an `Alarm`; `found` has metrics of the row by name in braces."""

    name: str
    condition: Callable[[Mapping[str, float]], bool]
    found: str
    change: str
    what: str = ""


LATENT_RULES = (
    Rule(
        "kl_near_zero",
        lambda m: m["loss/kl"] < KL_ALARM,
        "KL is {loss/kl:.3f} nats, posterior and prior are all but equal (latent collapse)",
        "lower training_config.kl_weight or start it low (training_config.kl_weight.start)",
        "latent collapse",
    ),
    Rule(
        "few_active_units",
        lambda m: m["latent/active_units"] < ACTIVE_UNITS_ALARM * m["latent_dim"],
        "{latent/active_units:.0f} of {latent_dim:.0f} latent dimensions are used",
        "lower training_config.kl_weight or vae_config.latent_dim",
        "few latent dimensions in use",
    ),
    Rule(
        "runaway",
        lambda m: m["loss/kl"] > RUNAWAY_KL,
        "KL is {loss/kl:.1g} nats, the training has run away",
        "start again with a lower training_config.learning_rate; training longer does not help",
        "runaway training",
    ),
)
_OVERFLOW = Rule(
    "overflow",
    lambda m: m.get("overflow/count", 0) > 0,
    "in {overflow/count:.0f} of {steps:.0f} steps a simulation left out contacts for which there was no "
    "room",
    "raise physics_config.naconmax_per_env and physics_config.njmax, or leave them null",
)


_DIVERGED = Rule(
    "nan",
    lambda m: m["nan/count"] > NAN_SHARE_ALARM * m["steps"],
    "{nan/count:.0f} simulations diverged in {steps:.0f} steps and were reset",
    "lower network.initial_action_std or task.physics.timestep",
)
_SKIPPED = Rule(
    "skipped",
    lambda m: m["loss/skipped_minibatches"] > 0,
    "{loss/skipped_minibatches:.1%} of the minibatches had no finite gradient and were left out",
    "lower ppo.learning_rate",
)

STUDENT_RULES = (
    *LATENT_RULES,
    Rule(
        "action_error",
        lambda m: m["loss/action_mse"] > ACTION_MSE_ALARM and m["loss/kl"] <= RUNAWAY_KL,
        f"the mean squared action error is {{loss/action_mse:.3f}}, above {ACTION_MSE_ALARM:g}",
        "the student does not follow its teacher yet; if this persists, see the conformance table, train "
        "longer, or lower training_config.kl_weight",
    ),
    _DIVERGED._replace(change="give the clips and the walker that the teacher was trained with"),
    _SKIPPED._replace(change="lower training_config.learning_rate"),
    _OVERFLOW,
)
TEACHER_RULES = (
    Rule(
        "short_episodes",
        lambda m: m.get("episode/count", 0) > 0 and m["episode/steps"] < EPISODE_STEPS_ALARM,
        "episodes end after {episode/steps:.1f} steps on average, so nothing can be learned",
        "see which failures/* are many; limits of another body's length end episodes at once (vnl-mjx body "
        "scales them)",
    ),
    _DIVERGED,
    _SKIPPED,
    Rule(
        "policy_kl",
        lambda m: m["loss/policy_kl"] > max(POLICY_KL_ALARM, 2.5 * m.get("target_kl", 0.0)),
        "an update moves the policy by {loss/policy_kl:.2f} nats",
        "lower ppo.learning_rate or ppo.num_epochs, or give ppo.adaptive_rate.target_kl=0.15",
    ),
    Rule(
        "action_std",
        lambda m: m["loss/action_std"] < ACTION_STD_ALARM,
        "the standard deviation of the actions is down to {loss/action_std:.4f}, the policy no longer "
        "explores",
        "raise ppo.entropy",
    ),
    Rule(
        "latent_kl",
        lambda m: m["loss/latent_kl"] < KL_ALARM,
        "KL of the latent is {loss/latent_kl:.3f} nats, it carries almost nothing of the reference",
        "lower ppo.latent_kl or start it low (ppo.latent_kl.start)",
    ),
    Rule(
        "value",
        lambda m: m["loss/explained_variance"] < EXPLAINED_VARIANCE_ALARM,
        "the value network explains {loss/explained_variance:.2f} of the returns' variance",
        "raise ppo.value_learning_rate or ppo.reward_scale, or lower ppo.discount",
    ),
    _OVERFLOW,
)


def raised(rules: Iterable[Rule], metrics: Mapping[str, float]) -> dict[str, Alarm]:
    """Returns the alarms of a row of `training.metrics`, by the names of their rules.

    Args:
        rules: `STUDENT_RULES`, `TEACHER_RULES` or `LATENT_RULES`.
        metrics: one row, with "steps", environment steps of its interval; for a student also "latent_dim".
    """
    return {
        rule.name: Alarm(rule.what, rule.found.format_map(metrics), rule.change)
        for rule in rules
        if rule.condition(metrics)
    }
