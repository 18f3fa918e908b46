"""What the videos of a report show."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.evaluation import VideoSection
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluation
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.report.rendering.episode_panes import following, grid
from vnl_mjx.report.rendering.side_by_side import SideBySide
from vnl_mjx.report.results import LatentResults
from vnl_mjx.report.verdicts import PRIOR_MODE

_GRID = 8  # episodes of the prior
_COLUMNS = 4
_GRID_SECONDS = 5.0

NamedVideos = Iterator[tuple[str, SideBySide]]


def clip_videos(
    rollouts: Mapping[str, Rollout], clips: ReferenceClips, config: VideoSection
) -> NamedVideos:
    """Some clips from their first frame: the policies that followed them, and the clip.

    The first episodes of each rollout are those of the clips in order.
    """
    for clip in various_clips(clips, config.num_clips):
        look = {"pane_size": (config.width, config.height), "fps": config.fps}
        yield clips.names[clip], following(rollouts, clips, clip, views=(config.camera,), **look)


def prior_videos(prior: PriorEvaluation, config: VideoSection) -> NamedVideos:
    """Episodes of the prior from frames of the clips, best at the learned deviation."""
    shown = PRIOR_MODE if PRIOR_MODE in prior.rollouts else next(iter(prior.rollouts))
    rollout = prior.rollouts[shown]["clips"]
    names = [prior.clips.names[clip] for clip in rollout.episodes.clip[:_GRID]]
    yield "prior", _all(rollout, names, _COLUMNS, config, "the prior alone")


def latent_videos(latent: LatentResults, config: VideoSection) -> NamedVideos:
    """Latents between those of two clips, and dimensions moved one by one."""
    if (found := latent.interpolation) is not None:
        names = [f"{100 * (1 - w):.0f} : {100 * w:.0f}" for w in found.inputs["weights"]]
        title = f"latents from {found.inputs['first']} to {found.inputs['second']}"
        yield "interpolation", _all(found.rollout, names, len(names), config, title)
    if (found := latent.traversal) is not None:
        dimension, sigma = found.inputs["dimension"], found.inputs["sigma"]
        names = [f"z{d} {s:+g} sd" for d, s in zip(dimension, sigma, strict=True)]
        title = "the prior mean, one dimension moved"
        yield "traversal", _all(found.rollout, names, len(set(sigma)), config, title)


def various_clips(clips: ReferenceClips, num: int) -> list[int]:
    """`num` clips, of as many behaviours as there are, in the order of the file."""
    labels = [info.label for info in clips.info] or list(clips.names)
    first_of_label = [labels.index(label) for label in dict.fromkeys(labels)]
    others = [clip for clip in range(clips.num_clips) if clip not in first_of_label]
    chosen = first_of_label
    if len(chosen) > num:  # spread over the behaviours
        rows = np.linspace(0, len(chosen) - 1, num).round().astype(int)
        chosen = [chosen[row] for row in rows]
    return sorted([*chosen, *others][:num])


def _all(
    rollout: Rollout, names: Sequence[str], columns: int, config: VideoSection, title: str
) -> SideBySide:
    """As many of the episodes as there are names, in small panes."""
    width, height = (2 * round(0.375 * size) for size in (config.width, config.height))  # even
    return grid(
        rollout,
        range(len(names)),
        names,
        columns=columns,
        num_steps=round(_GRID_SECONDS * rollout.control_hz),
        pane_size=(width, height),
        fps=config.fps,
        title=title,
    )
