"""The pictures of a report, by the section that they stand in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.bootstrap import interval
from vnl_mjx.evaluation.episode_metrics import reward_ratio_by_clip
from vnl_mjx.evaluation.metrics import METRICS
from vnl_mjx.evaluation.prior_rollouts import STARTS, PriorEvaluation
from vnl_mjx.evaluation.protocol import DETERMINISTIC
from vnl_mjx.evaluation.summary import ClipSets
from vnl_mjx.evaluation.tracking import all_step_errors
from vnl_mjx.report.document import metric_label
from vnl_mjx.report.pictures import curves, errors, latent
from vnl_mjx.report.pictures.style import Estimates, Picture, quantity
from vnl_mjx.report.results import LatentResults, Rollouts
from vnl_mjx.report.verdicts import (
    PRIOR_SECONDS,
    START_WORDS,
    TARGET_PRIOR_SURVIVAL,
    TARGET_REWARD_RATIO,
)
from vnl_mjx.walkers.walker import Walker

Figures = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]

_SUCCESS_MM = np.linspace(0.0, 60.0, 61)


@dataclass(frozen=True)
class Illustrator:
    """Draws what was found of one evaluation.

    `document` has "policies" and "differences", `figures` are [episode] by policy, way of acting and metric;
    of the ways of acting, `how` is drawn.
    """

    document: Mapping[str, Any]
    figures: Figures
    sets: ClipSets
    how: str = DETERMINISTIC

    def reward(self) -> dict[str, Picture]:
        """Reward, its ratio and terms, survival and success."""
        return {
            "reward/fraction": self._by_clip("reward_fraction"),
            "reward/survival": self._by_clip("survival"),
            "reward/terms": self._terms(),
            "reward/success": self._success(),
            "reward/ratio": errors.by_clip(
                self._ratios(),
                self.sets.names,
                METRICS["reward_ratio"].heading,
                self.sets.set_of_clip,
                target=TARGET_REWARD_RATIO,
            ),
        }

    def errors(
        self, rollouts: Rollouts, clips: ReferenceClips, walker: Walker
    ) -> dict[str, Picture]:
        """Errors by clip, and along the episodes."""
        computer = FeatureComputer(walker)
        along = {
            name: all_step_errors(rollouts[name][self.how], clips, computer)
            for name in self.figures
        }
        hz = next(iter(rollouts.values()))[self.how].control_hz
        drawn = {"errors/root_by_clip": self._by_clip("root_error_mm")}
        for name in ("root_error_mm", "mpjpe_root_relative_mm", "joint_error_rad"):
            values = {policy: found[name] for policy, found in along.items()}
            label = metric_label(self.document, name)
            drawn[f"errors/{name}_over_time"] = curves.over_time(values, hz, label)
        return drawn

    def action(
        self, groups: Mapping[str, Sequence[int]], names: Sequence[str]
    ) -> dict[str, Picture]:
        """Action errors by part of the body, and R2 by actuator."""
        found = self.document["action"]
        states = {"student's states": "on_student_states", "teacher's states": "on_teacher_states"}

        def of(part: str, error: str) -> dict[str, Estimates]:
            return {k: Estimates(_column(found[v][part], error)) for k, v in states.items()}

        of_actuator = {names[row]: group for group, rows in groups.items() for row in rows}
        return {
            "action/groups": errors.by_name(
                of("per_group", "mae"),
                list(groups),
                "mean absolute action error, tanh units",
                bounds=(0.0, None),
                caption="Action error by part of the body, mean over its actuators.",
                of_what="parts",
            ),
            "action/r2": errors.by_name(
                of("per_actuator", "r2"),
                list(names),
                "R² of the action",
                groups=[of_actuator.get(name, "other") for name in names],
                bounds=(0.0, 1.0),
                caption="Share of the variance of the teacher's action that the student explains.",
            ),
        }

    def _by_clip(self, name: str) -> Picture:
        values = {
            policy: Estimates(_column(ways[self.how]["clips"], name))
            for policy, ways in self.document["policies"].items()
        }
        label = metric_label(self.document, name)
        return errors.by_clip(values, self.sets.names, label, self.sets.set_of_clip)

    def _ratios(self) -> dict[str, Estimates]:
        found = {}
        for pair in self.document["differences"]:
            policy, _, teacher = pair.partition(" vs ")
            own, other = (self.figures[p][self.how]["episode_reward"] for p in (policy, teacher))
            ratio = reward_ratio_by_clip(own, other, self.sets.clip)
            clips = range(len(self.sets.names))
            found[policy] = Estimates(np.array([ratio.get(clip) for clip in clips], np.float64))
        return found

    def _terms(self) -> Picture:
        played = {
            policy: ways[self.how]["sets"]["all"]["figures"]
            for policy, ways in self.document["policies"].items()
        }
        names = [name for name in next(iter(played.values())) if name.startswith("term_")]
        values = {}
        for policy, figures in played.items():
            rows = {name: figures.get(name, {}) for name in names}
            values[policy] = Estimates(*(_column(rows, key) for key in ("mean", "low", "high")))
        shown = [name.removeprefix("term_").removesuffix("_reward") for name in names]
        return errors.by_name(values, shown, "reward per step", sort=False)

    def _success(self) -> Picture:
        shares = {}
        for policy, ways in self.figures.items():
            found = ways[self.how]
            farthest = np.where(found["survival"] > 0, found["root_error_max_mm"], np.inf)
            rows = [
                interval((farthest <= mm).astype(float), self.sets.clip, seed=self.sets.seed)
                for mm in _SUCCESS_MM
            ]
            shares[policy] = Estimates(*np.array([(r.value, r.low, r.high) for r in rows]).T)
        return curves.success_curve(
            _SUCCESS_MM, shares, "greatest root position error of an episode, mm"
        )


def latent_pictures(found: LatentResults, clips: ReferenceClips) -> dict[str, Picture]:
    """The latent space of a student; none where no step is valid."""
    statistics, points = found.statistics, found.points
    if not statistics:
        return {}
    labels = np.array([info.label or "?" for info in clips.info] or ["?"] * clips.num_clips)
    groups = {"clip": np.array(clips.names)[points.clip]}
    if len(set(labels)) > 1:
        groups["behaviour"] = labels[points.clip]
    numbers = {"speed, m/s": points.speed, "time in clip, s": points.seconds}
    drawn = {}
    for found_plane in found.embeddings:
        plane, axes, method = found_plane.points, found_plane.axes, found_plane.method
        where = f"latent/{method.lower()}"
        for what, of_point in groups.items():
            drawn[f"{where}_{what}"] = latent.latent_by_group(plane, of_point, axes, what, method)
        for what, values in numbers.items():
            name = f"{where}_{quantity(what).replace(' ', '_')}"
            drawn[name] = latent.latent_by_value(plane, values, axes, what, method)
    drawn["latent/kl"] = latent.kl_per_dimension(
        np.array(statistics["kl_per_dim"]), statistics["active_unit_kl"]
    )
    correlation = statistics["autocorrelation"]
    if len(correlation["lag_s"]):
        drawn["latent/autocorrelation"] = latent.autocorrelation(
            np.array(correlation["lag_s"]),
            Estimates(*(np.array(correlation[key]) for key in ("mean", "lower", "upper"))),
            correlation["time_constant_s"],
        )
    if "aggregate" in statistics:
        posterior, around = (
            {name: np.array(values) for name, values in statistics["aggregate"][key].items()}
            for key in ("posterior", "prior")
        )
        drawn["latent/aggregate"] = latent.aggregate_posterior(posterior, around)
    return drawn


def prior_pictures(found: PriorEvaluation) -> dict[str, Picture]:
    """Survival of prior rollouts, and how they move beside the data."""
    drawn = {}
    for start in STARTS:
        found_curves = {mode: found.survival_curve(mode, start) for mode in found.rollouts}
        alive = {m: Estimates(c.share, c.low, c.high) for m, c in found_curves.items()}
        seconds = next(iter(found_curves.values())).seconds
        target = (PRIOR_SECONDS, TARGET_PRIOR_SURVIVAL) if seconds[-1] >= PRIOR_SECONDS else None
        words = START_WORDS[start]
        drawn[f"prior/survival_{start}"] = curves.survival_curves(seconds, alive, words, target)
    for name, label, factor in (
        ("speed", "horizontal speed, m/s", 1.0),
        ("torso_height", "height of the torso, mm", 1000.0),
    ):
        values = {
            mode: factor * motions["clips"].pooled(name) for mode, motions in found.motions.items()
        }
        data = factor * found.data.pooled(name)
        if np.nanstd(np.concatenate([data, *values.values()])) > 0:  # 0 without a free root
            drawn[f"prior/{name}"] = curves.against_data(values, data, label)
    return drawn


def _column(rows: Mapping[str, Mapping[str, float | None]], name: str) -> np.ndarray:
    """One figure of every row, NaN for None."""
    return np.array([row.get(name) for row in rows.values()], np.float64)
