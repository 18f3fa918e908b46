"""Makes long sessions of a few clips, for benchmarks of recordings."""

import numpy as np

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ClipInfo, ReferenceClips
from vnl_mjx.walkers.walker import Walker


def stitched(
    clips: ReferenceClips,
    walker: Walker,
    seconds: float,
    gap_s: float = 0.0,
    seed: int | None = None,
) -> ReferenceClips:
    """Returns the clips one after another until the session has this length.

    Each clip is moved to where the one before it ended, and begins when that ended, or `gap_s` later. With a
    seed, every round has another order.
    """
    qpos, lengths, infos, start_s, end = [], [], [], 0.0, np.zeros(2)
    poses, rows = np.asarray(clips.qpos(), np.float64), clips.rows
    rng, order = np.random.default_rng(seed), list[int]()
    while sum(lengths) < seconds * clips.rate_hz:
        order = order or (
            list(range(clips.num_clips))
            if seed is None
            else rng.permutation(clips.num_clips).tolist()
        )
        clip = order.pop(0)
        own = poses[rows[clip]].copy()
        if walker.layout.root is not None:
            own[:, :2] += end - own[0, :2]
            end = own[-1, :2]
        qpos.append(own)
        infos.append(ClipInfo(source="stitched", start_s=start_s, label=clips.names[clip]))
        lengths.append(len(own))
        start_s += len(own) / clips.rate_hz + gap_s
    names = [f"{info.label} {i}" for i, info in enumerate(infos)]
    made = clips_from_poses(walker, np.concatenate(qpos), lengths, clips.rate_hz, names=names)
    return made.replace(info=tuple(infos), source="stitched")
