"""Reference clips out of what a simulation did: motion that physics allows and a policy can repeat."""

from dataclasses import dataclass, replace

import numpy as np

from vnl_mjx.clips.container import ClipInfo, ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.rollout import Rollout


@dataclass(frozen=True)
class RolledOutClip:
    """One clip that was played to its end: qpos, float32 [frame, nq], at the rate of what it followed."""

    name: str
    qpos: np.ndarray
    info: ClipInfo


def cut_rollout(
    rollout: Rollout,
    clips: ReferenceClips,
    played_by: str,
    *,
    settle_s: float = 0.2,
    seconds: float = 5.0,
    min_frames: int = 2,
) -> tuple[list[RolledOutClip], dict[str, str]]:
    """Poses at the clips' rate of the episodes that survived; and the reason why, of each clip left out.

    `rollout` follows each of `clips` once, from its first frame; `played_by` is for `ClipInfo.made_by`. The
    first `settle_s` seconds, where the actuators are still slack, are left out. A new clip has at most so
    many `seconds`, and at least `min_frames`.

    Raises:
        UserError: control steps do not fall on the frames of the clips.
    """
    stride = _steps_per_frame(rollout.control_hz, clips.rate_hz)
    num_frames, left_out, made = round(seconds * clips.rate_hz), {}, []
    for episode, clip in enumerate(rollout.episodes.clip.tolist()):
        lived_s = rollout.steps.alive[:, episode].sum() / rollout.control_hz
        reason = "" if rollout.survived[episode] else f"failed after {lived_s:.2f} s"
        # rounded up to a frame, so that the new clip's time in its source is known
        first = int(np.ceil(settle_s * clips.rate_hz - 1e-6))
        qpos = rollout.qpos_of(episode)[first * stride :: stride][:num_frames]
        if not reason and len(qpos) < min_frames:
            reason = f"{len(qpos)} frames are left, of at least {min_frames}"
        if reason:
            left_out[clips.names[clip]] = reason
            continue
        qpos = np.array(qpos, np.float32)
        if root := clips.layout.root:
            qpos[:, root.position][:, :2] -= qpos[0, root.position][:2].copy()
        start_s = int(np.asarray(clips.starts)[clip]) / clips.rate_hz
        info = clips.info[clip] if clips.info else ClipInfo(source=clips.source, start_s=start_s)
        info = replace(
            info,
            start_s=info.start_s + first / clips.rate_hz,
            label=info.label or clips.names[clip],
            made_by=f"rollout of {played_by} on {clips.names[clip]}"
            + (f" ({info.made_by})" if info.made_by else ""),
        )
        made.append(RolledOutClip(clips.names[clip], qpos, info))
    return made, left_out


def _steps_per_frame(control_hz: float, rate_hz: float) -> int:
    steps = round(control_hz / rate_hz)
    if steps < 1 or abs(steps * rate_hz / control_hz - 1.0) > 1e-6:
        raise UserError(
            f"the teacher acts at {control_hz:g} Hz, expected a whole multiple of the clips' "
            f"{rate_hz:g} Hz; resample the clips first (vnl-mjx preprocess)"
        )
    return steps
