"""Draws the pictures of a report, by section."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.clips.columns import root_pose, split_qpos
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
from vnl_mjx.report.pictures import curves, errors, latent, motion
from vnl_mjx.report.pictures.style import Estimates, Picture, quantity
from vnl_mjx.report.rendering.episode_panes import reference_qpos
from vnl_mjx.report.results import LatentResults, Rollouts
from vnl_mjx.report.verdicts import (
    PRIOR_SECONDS,
    START_WORDS,
    TARGET_PRIOR_SURVIVAL,
    TARGET_REWARD_RATIO,
)
from vnl_mjx.walkers.walker import Walker

Figures = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]

_SUCCESS_POINTS = 61
_SUCCESS_SHARE = 0.99  # share of the episodes' greatest errors that the axis shows
_NUM_PATHS = 3
_NUM_JOINTS = 4
# What tells a joint from its mirror image.
_SIDE = re.compile(r"(?i)(?:^|_)(?:l|r|left|right)(?=_|$)")


@dataclass(frozen=True)
class Illustrator:
    """Draws the results of one evaluation.

    `document` has "policies" and "differences"; `figures` has values [episode] by policy, way of acting and
    metric; `how` is the way of acting to draw.
    """

    document: Mapping[str, Any]
    figures: Figures
    sets: ClipSets
    how: str = DETERMINISTIC

    def motion(
        self, rollouts: Rollouts, clips: ReferenceClips, walker: Walker
    ) -> dict[str, Picture]:
        """Draws paths, joints and gait along the clips that go farthest, each from its first frame."""
        shown = {name: rollouts[name][self.how] for name in self.figures}
        hz = next(iter(shown.values())).control_hz

        def poses(clip: int) -> dict[str, np.ndarray]:
            own = {name: rollout.qpos_of(clip) for name, rollout in shown.items()}
            longest = max(map(len, own.values()))
            return {"reference": reference_qpos(clips, clip, 0, hz, longest), **own}

        steps = np.linalg.norm(np.diff(root_pose(clips.qpos(), walker.layout)[0], axis=0), axis=-1)
        ends = np.asarray(clips.starts) + np.asarray(clips.lengths) - 1
        went = np.array([steps[a:b].sum() for a, b in zip(clips.starts, ends, strict=True)])
        drawn, farthest = {}, np.argsort(-went, kind="stable")
        if walker.layout.root is not None:
            drawn["summary/paths"] = motion.paths_from_above(
                {
                    clips.names[clip]: {
                        name: root_pose(qpos, walker.layout)[0][:, :2]
                        for name, qpos in poses(clip).items()
                    }
                    for clip in farthest[:_NUM_PATHS]
                }
            )
        clip = int(farthest[0])
        name, moving = clips.names[clip], poses(clip)
        angles = {who: split_qpos(qpos, walker.layout)["joints"] for who, qpos in moving.items()}
        if rows := _most_moved(angles["reference"], walker):
            drawn["summary/joints"] = motion.joint_traces(
                name,
                {who: own[:, rows] for who, own in angles.items()},
                [walker.joint_names[row] for row in rows],
                hz,
            )
        if len(walker.feet):
            computer = FeatureComputer(walker)
            contacts = {
                who: computer(qpos, [len(qpos)], hz)["contacts"] > 0.5
                for who, qpos in moving.items()
            }
            feet = [walker.model.body(foot).name for foot in walker.feet]
            drawn["summary/gait"] = motion.gait_diagram(name, contacts, feet, hz)
        return drawn

    def reward(self) -> dict[str, Picture]:
        """Draws reward, its ratio and terms, survival and success; leaves out survival if all are equal."""
        drawn = {
            "reward/fraction": self._by_clip("reward_fraction"),
            "reward/terms": self._terms(),
            **self._success(),
            "reward/ratio": errors.by_clip(
                self._ratios(),
                self.sets.names,
                METRICS["reward_ratio"].heading,
                self.sets.set_of_clip,
                target=TARGET_REWARD_RATIO,
            ),
        }
        survived = np.stack([ways[self.how]["survival"] for ways in self.figures.values()])
        if survived.min() < 1.0:
            drawn["reward/survival"] = self._by_clip("survival")
        return drawn

    def errors(
        self, rollouts: Rollouts, clips: ReferenceClips, walker: Walker
    ) -> dict[str, Picture]:
        """Draws errors by clip, and along the episodes."""
        computer = FeatureComputer(walker)
        along = {
            name: all_step_errors(rollouts[name][self.how], clips, computer)
            for name in self.figures
        }
        hz = next(iter(rollouts.values()))[self.how].control_hz
        drawn, names = {}, ("mpjpe_root_relative_mm", "joint_error_rad")
        if walker.layout.root is not None:
            drawn["errors/root_by_clip"] = self._by_clip("root_error_mm")
            names = ("root_error_mm", *names)
        for name in names:
            values = {policy: found[name] for policy, found in along.items()}
            label = metric_label(self.document, name)
            drawn[f"errors/{name}_over_time"] = curves.over_time(values, hz, label)
        return drawn

    def action(
        self, groups: Mapping[str, Sequence[int]], names: Sequence[str]
    ) -> dict[str, Picture]:
        """Draws action errors by part of the body, and R2 by actuator."""
        found = self.document["action"]
        states = {"student's states": "on_student_states", "teacher's states": "on_teacher_states"}

        def of(part: str, error: str) -> dict[str, Estimates]:
            return {k: Estimates(_column(found[v][part], error)) for k, v in states.items()}

        r2 = of("per_actuator", "r2")
        finite = np.concatenate([own.value[np.isfinite(own.value)] for own in r2.values()])
        lowest = np.floor(10.0 * max(0.0, finite.min(initial=0.9))) / 10.0
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
                r2,
                list(names),
                "R² of the action",
                groups=[of_actuator.get(name, "other") for name in names],
                bounds=(lowest, 1.0),
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
        """Draws the reward's terms minus the teacher's, which are close; without a teacher, as they are."""
        rows = {
            pair.partition(" vs ")[0]: ways[self.how]["all"]
            for pair, ways in self.document["differences"].items()
        }
        label = "reward per step, less the teacher's"
        if not rows:
            label = "reward per step"
            rows = {
                policy: ways[self.how]["sets"]["all"]["figures"]
                for policy, ways in self.document["policies"].items()
            }
        names = [
            name
            for name in next(iter(rows.values()))
            if name.startswith("term_")
            and any(own.get(name, {}).get("mean") for own in rows.values())
        ]
        values = {}
        for policy, figures in rows.items():
            terms = {name: figures.get(name, {}) for name in names}
            values[policy] = Estimates(*(_column(terms, key) for key in ("mean", "low", "high")))
        shown = [name.removeprefix("term_").removesuffix("_reward") for name in names]
        caption = f"{label[0].upper()}{label[1:]}. Terms that are zero are left out."
        return errors.by_name(values, shown, label, sort=False, caption=caption, zero=True)

    def _success(self) -> dict[str, Picture]:
        """Draws success against the root's error; nothing for a root that does not move."""
        farthest = {
            policy: np.where(
                ways[self.how]["survival"] > 0, ways[self.how]["root_error_max_mm"], np.inf
            )
            for policy, ways in self.figures.items()
        }
        finite = np.concatenate([own[np.isfinite(own)] for own in farthest.values()])
        if not finite.any():
            return {}
        thresholds = np.linspace(0.0, np.quantile(finite, _SUCCESS_SHARE), _SUCCESS_POINTS)
        shares = {}
        for policy, own in farthest.items():
            rows = [
                interval((own <= mm).astype(float), self.sets.clip, seed=self.sets.seed)
                for mm in thresholds
            ]
            shares[policy] = Estimates(*np.array([(r.value, r.low, r.high) for r in rows]).T)
        label = "greatest root error of an episode, mm"
        return {"reward/success": curves.success_curve(thresholds, shares, label)}


def with_n(pictures: Mapping[str, Picture], num: str) -> dict[str, Picture]:
    """Adds a number, such as "12 episodes", to the end of each caption."""
    return {
        name: replace(picture, caption=f"{picture.caption} n = {num}.")
        for name, picture in pictures.items()
    }


def _most_moved(joints: np.ndarray, walker: Walker) -> list[int]:
    """Returns the hinges that move most in `joints` [frame, joint], one of each pair, in body order."""
    is_hinge = walker.model.jnt_type[walker.layout.joint_ids] == mujoco.mjtJoint.mjJNT_HINGE
    stems: dict[str, int] = {}
    for row in np.argsort(-joints.std(axis=0), kind="stable").tolist():
        if is_hinge[row]:
            stems.setdefault(_SIDE.sub("", walker.joint_names[row]), row)
    return sorted(list(stems.values())[:_NUM_JOINTS])


def latent_pictures(found: LatentResults, clips: ReferenceClips) -> dict[str, Picture]:
    """Draws the latent space of a student; nothing if no step is valid."""
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
    """Draws survival of prior rollouts, and their motion beside the data."""
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
    """Returns one value of every row, NaN for None."""
    return np.array([row.get(name) for row in rows.values()], np.float64)
