"""Computes the results of an evaluation from its rollouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.evaluation import LatentSection
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.latent.playback import (
    DecodedLatents,
    contrasting_episodes,
    interpolate,
    most_active,
    traverse,
)
from vnl_mjx.evaluation.latent.points import (
    Embedding,
    LatentPoints,
    latent_points,
    principal_components,
    umap_embedding,
)
from vnl_mjx.evaluation.latent.probe import probe_latent
from vnl_mjx.evaluation.latent.statistics import seen_latent_statistics
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluator
from vnl_mjx.evaluation.rollout import Rollout

_TRAVERSAL_SECONDS = 4.0
_MOST_EMBEDDED = 6000  # neighbouring states hardly differ, and more points would only overlap
_NOT_GAUSSIAN = (
    "Left out, for the latent is not Gaussian: standard deviations, the aggregate posterior, interpolation "
    "and traversal."
)
_NO_STEPS = "Left out: every simulation of the student diverged at once."

Rollouts = Mapping[str, Mapping[str, Rollout]]


@dataclass(frozen=True)
class LatentResults:
    """Holds results on the latent space of a student.

    `statistics` is the section "latent" of `metrics.json`, empty if no step is valid; the embeddings are of
    `points`; `missing` says what could not be made.
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
    config: LatentSection,
) -> LatentResults:
    """Computes statistics, embeddings, probes, interpolations and traversals.

    `rollout` is of the student on `clips`, at the posterior's mean if that was run. Constructed latents run
    in the runner of `prior`, which detects falls.
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
    interpolation = traversal = None
    if is_gaussian and config.interpolate and rollout.num_episodes > 1:
        interpolation = interpolate(prior, rollout, *contrasting_episodes(rollout, clips.layout))
        statistics["interpolation"] = interpolation.metrics(prior.reader)
    if is_gaussian and config.num_traversals:
        traversal = traverse(
            prior,
            rollout.episodes,
            0,
            most_active(statistics["kl_per_dim"], config.num_traversals),
            np.asarray(statistics["prior_std_per_dim"]),
            round(_TRAVERSAL_SECONDS * rollout.control_hz),
        )
        statistics["traversal"] = traversal.metrics(prior.reader)
    statistics["probe"] = probe_latent(points, clips)
    return LatentResults(
        statistics, points, tuple(embeddings), interpolation, traversal, " ".join(missing)
    )
