"""What in a row of metrics tells of a known trouble, and what to change then."""

from collections.abc import Mapping
from typing import NamedTuple

ACTION_MSE_ALARM = 0.05
KL_ALARM = 0.05
ACTIVE_UNITS_ALARM = 0.1
NAN_SHARE_ALARM = 0.01


class Alarm(NamedTuple):
    """A known trouble.

    Attributes:
        what: its name for a person.
        found: what tells of it, with the figures.
        change: what to do, with the keys of the configuration.
    """

    what: str
    found: str
    change: str

    def __str__(self) -> str:
        """One line for a log."""
        return f"{self.found}: {self.change}"


def latent_alarms(kl: float, active_units: float, latent_dim: int) -> dict[str, Alarm]:
    """Named signs that a latent has collapsed.

    Args:
        kl: KL(posterior || prior), summed over dimensions, nats.
        active_units: dimensions that cost KL (`training.metrics.ACTIVE_UNIT_KL`).
        latent_dim: all dimensions.
    """
    found = {}
    if kl < KL_ALARM:
        found["kl_near_zero"] = Alarm(
            "latent collapse",
            f"KL is {kl:.3f} nats, posterior and prior are all but equal (latent collapse)",
            "lower training_config.kl_weight or start it low (training_config.kl_weight.start)",
        )
    if active_units < ACTIVE_UNITS_ALARM * latent_dim:
        found["few_active_units"] = Alarm(
            "few latent dimensions in use",
            f"{active_units:.0f} of {latent_dim} latent dimensions are used",
            "lower training_config.kl_weight or vae_config.latent_dim",
        )
    return found


def alarms(metrics: Mapping[str, float], latent_dim: int, steps: float) -> dict[str, str]:
    """Named warnings, one line each, for metrics of `training.metrics.interval_metrics`.

    Args:
        metrics: one row.
        latent_dim: of the student.
        steps: environment steps of the row's interval.
    """
    latent = latent_alarms(metrics["loss/kl"], metrics["latent/active_units"], latent_dim)
    found = {name: str(alarm) for name, alarm in latent.items()}
    if metrics["loss/action_mse"] > ACTION_MSE_ALARM:
        found["action_error"] = (
            f"the mean squared action error is {metrics['loss/action_mse']:.3f}, above "
            f"{ACTION_MSE_ALARM:g}: the student does not follow its teacher yet; if it stays, see the "
            "conformance table, train longer, or lower training_config.kl_weight"
        )
    if metrics["nan/count"] > NAN_SHARE_ALARM * steps:
        found["nan"] = (
            f"{metrics['nan/count']:.0f} simulations diverged in {steps:.0f} steps and were reset: the "
            "teacher's actions are too strong for these clips, or the walker is not the teacher's"
        )
    if metrics["loss/skipped_minibatches"] > 0:
        found["skipped"] = (
            f"{100 * metrics['loss/skipped_minibatches']:.1f} % of the minibatches had no finite gradient "
            "and were left out: lower training_config.learning_rate"
        )
    return found | overflow_alarm(metrics, steps)


def overflow_alarm(metrics: Mapping[str, float], steps: float) -> dict[str, str]:
    """The warning that the simulation had too little room, if it had; as `alarms`."""
    count = metrics.get("overflow/count", 0)
    if not count:
        return {}
    return {
        "overflow": (
            f"in {count:.0f} of {steps:.0f} steps a simulation left out contacts for which there was no "
            "room: raise physics_config.naconmax_per_env and physics_config.njmax, or leave them null"
        )
    }
