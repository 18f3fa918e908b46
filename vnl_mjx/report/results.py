"""What an evaluation measures, part by part, from the rollouts on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.evaluation import LatentSection
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.episode_metrics import episode_metrics
from vnl_mjx.evaluation.latent.embedding import Embedding, principal_components, umap_embedding
from vnl_mjx.evaluation.latent.playback import (
    DecodedLatents,
    LatentPlayback,
    contrasting_episodes,
    most_active,
)
from vnl_mjx.evaluation.latent.points import LatentPoints, latent_points
from vnl_mjx.evaluation.latent.probe import probe_latent
from vnl_mjx.evaluation.metrics import seen_action_errors, seen_latent_statistics
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluator
from vnl_mjx.evaluation.protocol import EvaluatedPolicy
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE

_TRAVERSAL_SECONDS = 4.0
_MOST_EMBEDDED = 6000  # neighbouring states hardly differ
_NOT_GAUSSIAN = (
    "Left out, for the latent is not Gaussian: standard deviations, the aggregate posterior, interpolation "
    "and traversal."
)
_NO_STEPS = "Left out: every simulation of the student diverged at once."

Rollouts = Mapping[str, Mapping[str, Rollout]]


def all_metrics(
    rollouts: Rollouts, policies: Sequence[EvaluatedPolicy], clips: ReferenceClips
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """`episode_metrics` by policy and way of acting."""
    return {
        policy.name: {
            how: episode_metrics(rollout, clips, policy.task.walker, policy.task.config.reward)
            for how, rollout in rollouts[policy.name].items()
        }
        for policy in policies
    }


def action_section(
    student: Rollout,
    teacher: Rollout,
    actuator_names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Action errors on the states that the student visits, and on those that its teacher does."""
    return {
        f"on_{name}_states": seen_action_errors(rollout, actuator_names, groups)
        for name, rollout in (("student", student), ("teacher", teacher))
    }


@dataclass(frozen=True)
class LatentResults:
    """The latent space of a student.

    Attributes:
        statistics: the section "latent" of `metrics.json`; empty where no step is valid.
        points: visited states.
        embeddings: of `points`, two-dimensional.
        interpolation: None where it was not asked for.
        traversal: None where it was not asked for.
        missing: in words, what could not be made.
    """

    statistics: dict[str, Any]
    points: LatentPoints
    embeddings: tuple[Embedding, ...]
    interpolation: DecodedLatents | None
    traversal: DecodedLatents | None
    missing: str = ""


def measure_latent(
    rollout: Rollout,
    clips: ReferenceClips,
    prior: PriorEvaluator,
    student: StudentVAE,
    params: Any,
    teacher: FrozenPolicy,
    config: LatentSection,
) -> LatentResults:
    """Statistics, embeddings, probes, and what comes of latents that are made up.

    Args:
        rollout: of the student, at the posterior's mean where that was played.
        clips: that it followed.
        prior: whose player, that knows when a body has fallen, is used.
        student: the student's functions.
        params: its parameters.
        teacher: whose statistics normalise what it sees.
        config: what of it is wanted.
    """
    statistics = seen_latent_statistics(rollout)
    points = latent_points(rollout, clips).thinned(_MOST_EMBEDDED)
    if not statistics:
        return LatentResults(statistics, points, (), None, None, _NO_STEPS)
    embeddings, missing = [principal_components(points.posterior_mean)], []
    if config.umap:
        try:
            embeddings.append(umap_embedding(points.posterior_mean))
        except UserError as error:
            missing.append(str(error))
    is_gaussian = "prior_std" in statistics
    if not is_gaussian:
        missing.append(_NOT_GAUSSIAN)
    playback = LatentPlayback(prior.player, prior.clips, student, params, teacher)
    reader = prior.reader
    interpolation = traversal = None
    if is_gaussian and config.interpolate and rollout.num_episodes > 1:
        interpolation = playback.interpolate(rollout, *contrasting_episodes(rollout, clips.layout))
        statistics["interpolation"] = interpolation.metrics(reader)
    if is_gaussian and config.num_traversals:
        traversal = playback.traverse(
            rollout.episodes,
            0,
            most_active(statistics["kl_per_dim"], config.num_traversals),
            np.asarray(statistics["prior_std_per_dim"]),
            round(_TRAVERSAL_SECONDS * rollout.control_hz),
        )
        statistics["traversal"] = traversal.metrics(reader)
    statistics["probe"] = probe_latent(points, clips)
    return LatentResults(
        statistics, points, tuple(embeddings), interpolation, traversal, " ".join(missing)
    )


def set_mean(policies: Mapping[str, Any], policy: str, how: str, name: str) -> float | None:
    """A figure's mean over all clips, out of the section "policies"; None where it is not there."""
    played = policies.get(policy, {}).get(how)
    return None if played is None else played["sets"]["all"]["figures"][name]["mean"]
