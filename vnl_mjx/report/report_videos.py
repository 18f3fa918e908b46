"""Defines the videos of a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.evaluation import VideoSection
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluation
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.report.colors import policy_color
from vnl_mjx.report.rendering.episode_panes import following, grid
from vnl_mjx.report.rendering.side_by_side import SideBySide
from vnl_mjx.report.results import LatentResults
from vnl_mjx.report.verdicts import PRIOR_MODE

_GRID = 8  # episodes of the prior
_COLUMNS = 2
_SMALL = 0.5  # share of a pane's edge, if there are many panes
_GRID_SECONDS = 5.0

NamedVideos = Iterator[tuple[str, SideBySide]]  # by SECTION/NAME, as pictures are


def clip_videos(
    rollouts: Mapping[str, Rollout],
    clips: ReferenceClips,
    scores: np.ndarray,
    config: VideoSection,
) -> NamedVideos:
    """Shows some clips from their first frame, with the policies that tracked them, one below the other.

    The first episodes of each rollout follow the clips in order; `scores` [clip] select the best, the worst
    and those between.
    """
    for words, clip in ranked(scores, config.num_clips):
        look = {"pane_size": (config.width, config.height), "fps": config.fps}
        shown = following(rollouts, clips, clip, views=(config.camera,), **look)
        yield f"summary/{words}: {clips.names[clip]}", replace(shown, columns=1)


def prior_videos(prior: PriorEvaluation, config: VideoSection) -> NamedVideos:
    """Shows episodes of the prior from frames of the clips, preferably at the learned deviation."""
    shown = PRIOR_MODE if PRIOR_MODE in prior.rollouts else next(iter(prior.rollouts))
    rollout = prior.rollouts[shown]["clips"]
    names = [prior.clips.names[clip] for clip in rollout.episodes.clip[:_GRID]]
    tint = policy_color("prior")
    yield "summary/the prior alone", _all(rollout, names, _COLUMNS, config, "", tint)


def latent_videos(latent: LatentResults, config: VideoSection) -> NamedVideos:
    """Shows latents between those of two clips, and traversals of single dimensions."""
    if (found := latent.interpolation) is not None:
        names = [f"{100 * (1 - w):.0f} : {100 * w:.0f}" for w in found.inputs["weights"]]
        title = f"latents from {found.inputs['first']} to {found.inputs['second']}"
        yield "latent/interpolation", _all(found.rollout, names, len(names), config, title)
    if (found := latent.traversal) is not None:
        dimension, sigma = found.inputs["dimension"], found.inputs["sigma"]
        names = [f"z{d} {s:+g} sd" for d, s in zip(dimension, sigma, strict=True)]
        title = "the prior mean, one dimension moved"
        yield "latent/traversal", _all(found.rollout, names, len(set(sigma)), config, title)


def ranked(scores: np.ndarray, num: int) -> list[tuple[str, int]]:
    """Selects `num` rows of `scores` [row], evenly from best to worst, each with a label.

    A single row is the median; rows without a score are the worst.
    """
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    last = len(order) - 1
    places = np.linspace(0, last, num) if num > 1 else np.array([last / 2])
    words = {0: "best", last // 2: "median", last: "worst"}
    return [
        (words.get(place, f"number {place + 1} of {last + 1}"), int(order[place]))
        for place in dict.fromkeys(np.floor(places[:num]).astype(int).tolist())
    ]


def _all(
    rollout: Rollout,
    names: Sequence[str],
    columns: int,
    config: VideoSection,
    title: str,
    tint: str = policy_color("student"),
) -> SideBySide:
    """Shows as many episodes as there are names, in small panes; by default the student's decoder acts."""
    width, height = (2 * round(_SMALL * size / 2) for size in (config.width, config.height))  # even
    return grid(
        rollout,
        range(len(names)),
        names,
        columns=columns,
        num_steps=round(_GRID_SECONDS * rollout.control_hz),
        tint=tint,
        pane_size=(width, height),
        fps=config.fps,
        title=title,
    )
