"""Defines all metrics in one table for log, evaluation, report, comparison and `docs/evaluation.md`.

A metric that is measured on other states, or pooled in another way, has another name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vnl_mjx.evaluation.success import BODY_LENGTH_SHARES, DISTANCES_M

TERM = "term_"


class Group(NamedTuple):
    """Describes a group of metrics.

    Attributes:
        title: title of the group.
        pooled: how values are pooled into one number.
        states: states in which they are measured.
        compared: what must be the same to compare two values.
    """

    title: str
    pooled: str
    states: str
    compared: str


class Metric(NamedTuple):
    """Names a metric; `better` is "higher", "lower", or None if neither is."""

    label: str
    unit: str
    better: str | None
    group: str

    @property
    def heading(self) -> str:
        """The label and unit, for a heading or an axis."""
        return self.label if self.unit in ("", "share") else f"{self.label}, {self.unit}"

    def reaches(self, value: float, bound: float) -> bool:
        """Returns whether a value is at least as good as a bound."""
        return value <= bound if self.better == "lower" else value >= bound


_EPISODES = "mean over episodes", "the policy's own episodes on the clips"
_STEPS = "mean over all steps"
_LAST = "mean over the updates of an interval", "training rollouts of a policy that changes"
GROUPS = {
    "reward": Group("Reward and its terms", *_EPISODES, "task, clips, starts"),
    "success": Group("Survival and success", *_EPISODES, "terminations, clips, starts"),
    "errors": Group("Tracking errors", *_EPISODES, "body, clips, starts"),
    "smoothness": Group("Smoothness and energy", *_EPISODES, "body, clips, starts"),
    "contact": Group("Feet and contact", *_EPISODES, "body, clips, starts"),
    "ratio": Group(
        "Student against teacher",
        "student's mean over teacher's, of the same episodes",
        "each one's own episodes on the clips",
        "task, teacher, clips, starts",
    ),
    "action": Group(
        "Action errors", _STEPS, "the student's episodes on the clips", "teacher, clips"
    ),
    "action_teacher": Group(
        "Action errors on the teacher's states",
        _STEPS,
        "the teacher's episodes on the clips",
        "teacher, clips, starts",
    ),
    "latent": Group("Latent space", _STEPS, "the student's episodes on the clips", "clips"),
    "prior": Group(
        "Prior rollouts",
        "over all rollouts of a start",
        "rollouts that follow no clip",
        "body, clips, seconds",
    ),
    "training": Group("Training", *_LAST, "the same settings; not with evaluations"),
}
# Groups with one number per episode, as `episode_metrics` returns them.
EPISODE_GROUPS = ("reward", "success", "errors", "smoothness", "contact")
# Metrics of these that a training log holds of an evaluation.
LOGGED = (
    "episode_reward",
    "reward_fraction",
    "completed_fraction",
    "survival",
    "episode_seconds",
    "root_error_mm",
)


def _success() -> dict[str, tuple[str, str, str]]:
    limits = {name: name.replace("mm", " mm") for name in DISTANCES_M}
    limits |= {
        name: name.replace("_percent", " % of the body's length") for name in BODY_LENGTH_SHARES
    }
    return {
        f"success_{part}_{name}": (f"success: {what} within {text}", "share", "higher")
        for part, what in {"root": "root", "bodies": "mean of the bodies"}.items()
        for name, text in limits.items()
    }


def _action(states: str, end: str = "") -> dict[str, tuple[str, str, str]]:
    errors = {"mse": ("MSE", "lower"), "mae": ("MAE", "lower"), "r2": ("R²", "higher")}
    return {
        f"action_{name}{end}": (f"action {label}, {states}", "", better)
        for name, (label, better) in errors.items()
    }


MPJPE = {
    "mpjpe_global_mm": "MPJPE, global",
    "mpjpe_root_relative_mm": "MPJPE, root-relative",
    "mpjpe_procrustes_mm": "MPJPE, Procrustes (rotation and translation)",
}
_TABLE: Mapping[str, Mapping[str, tuple[str, str, str | None]]] = {
    "reward": {
        "episode_reward": ("reward of an episode", "", "higher"),
        "reward_per_step": ("reward per step", "", "higher"),
        "reward_fraction": ("imitation reward of its maximum", "share", "higher"),
        "completed_fraction": (
            "imitation reward of its maximum, 0 after a failure",
            "share",
            "higher",
        ),
    },
    "success": {
        "survival": ("survival to the end of the clip", "share", "higher"),
        "episode_seconds": ("length of an episode", "s", "higher"),
        "diverged": ("simulation diverged", "share", "lower"),
        **_success(),
        "success_joints": ("success: joints within 4.5 rad", "share", "higher"),
        "success_rotation": ("success: root within 60 deg", "share", "higher"),
        "success": ("success: joints, rotation and root within 100 mm", "share", "higher"),
    },
    "errors": {
        "root_error_mm": ("root position error", "mm", "lower"),
        "root_error_max_mm": ("root position error, greatest", "mm", "lower"),
        "root_angle_deg": ("root orientation error", "deg", "lower"),
        "joint_error_rad": ("joint error", "rad", "lower"),
        "joint_distance_rad": ("joint error, Euclidean norm", "rad", "lower"),
        **{name: (label, "mm", "lower") for name, label in MPJPE.items()},
        "mpjpe_global_max_mm": ("MPJPE, global, greatest", "mm", "lower"),
        **{
            f"{name}_successes": (f"{label}, successes only", "mm", "lower")
            for name, label in MPJPE.items()
        },
        "end_effector_error_mm": ("end-effector error, root-relative", "mm", "lower"),
        "root_error_share": ("root position error, of the body's length", "share", "lower"),
        "end_effector_error_share": (
            "end-effector error, root-relative, of the body's length",
            "share",
            "lower",
        ),
        "velocity_error_m_per_s": ("velocity error of the bodies", "m/s", "lower"),
        "acceleration_error_m_per_s2": ("acceleration error of the bodies", "m/s²", "lower"),
    },
    "smoothness": {
        "speed_ratio": ("speed over the clip's", "", None),
        "normalized_jerk": ("normalised jerk", "", "lower"),
        "reference_normalized_jerk": ("normalised jerk of the reference", "", None),
        "action_change": ("change of the action", "", "lower"),
        "action_second_difference": ("second difference of the action", "", "lower"),
        "power_w": ("mechanical power", "W", "lower"),
        "energy_per_metre": ("mechanical energy per metre", "J/m", "lower"),
    },
    "contact": {
        "foot_slip_mm_per_s": ("foot slip", "mm/s", "lower"),
        "contact_agreement": ("contact agreement", "share", "higher"),
        "contact_f1": ("contact F1", "", "higher"),
    },
    "ratio": {"reward_ratio": ("reward ratio, student / teacher", "", "higher")},
    "action": _action("student's states"),
    "action_teacher": _action("teacher's states", "_on_teacher_states"),
    "latent": {
        "kl": ("KL(posterior ‖ prior)", "nats", None),
        "active_units": ("active dimensions, by KL", "", None),
        "varying_units": ("varying dimensions, by variance of the posterior mean", "", None),
        "posterior_std": ("standard deviation of the posterior", "", None),
        "prior_std": ("standard deviation of the prior", "", None),
        "prior_explains": (
            "variance of the posterior mean that the prior mean explains",
            "share",
            None,
        ),
    },
    "prior": {
        "prior/survival": ("prior up", "share", "higher"),
        "prior/seconds_alive": ("time until the fall", "s", "higher"),
        "prior/over_halves": ("distance from the clips' motion", "times", "lower"),
        "prior/speed_ratio": ("speed over the clips'", "", None),
        "prior/joint_variance_reached": ("joint variance reached", "share", "higher"),
        "prior/diversity_ratio": ("diversity over the clips'", "", None),
    },
    "training": {
        "loss/action_mse": ("action MSE, training states", "", "lower"),
        "loss/kl": ("KL(posterior ‖ prior), training states", "nats", None),
        "latent/active_units": ("active dimensions, training states", "", None),
        "loss/action_std": ("standard deviation of the actions", "", None),
        "loss/explained_variance": ("returns explained by the value", "share", "higher"),
        "rollout/reward_per_step": ("reward per step, training states", "", "higher"),
        "rollout/reward_fraction": (
            "imitation reward of its maximum, training states",
            "share",
            "higher",
        ),
        "episode/reward": ("reward of an episode, training", "", "higher"),
        "episode/steps": ("length of an episode, training", "control steps", "higher"),
        "episode/survival": ("survival, training", "share", "higher"),
        "time/env_steps_per_second": ("environment steps per second", "", "higher"),
    },
}
METRICS = {
    name: Metric(*row, group) for group, rows in _TABLE.items() for name, row in rows.items()
}


def metric(name: str) -> Metric:
    """Returns the metric of a name, including the reward's terms, which tasks name, and a log's `eval/..`."""
    if name.startswith("eval/"):
        found = METRICS[name.removeprefix("eval/")]
        return found._replace(label=f"{found.label}, evaluations while training")
    if name.startswith(TERM):
        return Metric(f"reward term {name.removeprefix(TERM)}, per step", "", "higher", "reward")
    return METRICS[name]


def in_order(names: Iterable[str]) -> list[str]:
    """Returns metrics in the order of `METRICS`, followed by the reward's terms by name."""
    rank = {name: place for place, name in enumerate(METRICS)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def log_row(means: Mapping[str, Any], policy: str = "") -> dict[str, float]:
    """Returns the means of episodes that a training log holds, by their names there.

    `policy` names the policy if several were evaluated.
    """
    prefix = f"eval/{policy}_" if policy else "eval/"
    return {f"{prefix}{name}": means[name] for name in LOGGED if means[name] is not None}
