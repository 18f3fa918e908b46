"""Holds reference motion in memory: clips as one pytree, frame look-up, train/held-out split.

Frames of all clips lie one after another on the first axis: a look-up is one gather, clamped into the clip.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.columns import POSE, VELOCITY, columns_of
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.layout import Layout


@flax.struct.dataclass
class ReferenceFrames:
    """Poses and velocities of a walker; `...` is any leading shape (none: a single frame).

    Joint and body rows are the walker's own, in its order; bodies include the world and the floor.

    Attributes:
        position: float32 [..., 3], root position in the world, metres.
        quaternion: float32 [..., 4], root orientation in the world, unit, w x y z.
        joints: float32 [..., num_joints], in the walker's order, radians or metres.
        body_positions: float32 [..., nbody, 3], in the world, metres.
        velocity: float32 [..., 3], of the root in the world, m/s.
        angular_velocity: float32 [..., 3], of the root, **in the root's own frame** (as in the
            qvel of a MuJoCo free joint), rad/s.
        joints_velocity: float32 [..., num_joints], rad/s or m/s.
        body_quaternions: float32 [..., nbody, 4], in the world, unit, w x y z.
        center_of_mass: float32 [..., 3], of the whole walker, in the world, metres.
        end_effectors: float32 [..., num_end_effectors, 3], positions of `Walker.end_effectors`
            relative to the root body, in its frame, metres.
        appendages: float32 [..., num_appendages, 3], the same for `Walker.appendages`.
        contacts: float32 [..., num_feet], 1 where a foot of `Walker.feet` stands on the floor.
        free_root: whether a free joint moves the root. Without one, `position` and `quaternion` are
            those of the root body, `velocity` and `angular_velocity` are zero, and none of them
            stands in qpos or qvel.
    """

    position: jax.Array
    quaternion: jax.Array
    joints: jax.Array
    body_positions: jax.Array
    velocity: jax.Array
    angular_velocity: jax.Array
    joints_velocity: jax.Array
    body_quaternions: jax.Array
    center_of_mass: jax.Array
    end_effectors: jax.Array
    appendages: jax.Array
    contacts: jax.Array
    free_root: bool = flax.struct.field(pytree_node=False, default=True, kw_only=True)

    def qpos(self) -> jax.Array:
        """Returns the pose as MuJoCo's qpos, [..., nq]."""
        names = columns_of(POSE, self.free_root)
        return jnp.concatenate([getattr(self, name) for name in names], axis=-1)

    def qvel(self) -> jax.Array:
        """Returns the velocity as MuJoCo's qvel, [..., nv]."""
        names = columns_of(VELOCITY, self.free_root)
        return jnp.concatenate([getattr(self, name) for name in names], axis=-1)


FEATURES = tuple(field.name for field in fields(ReferenceFrames) if field.name != "free_root")
# Fields of track-mjx's ReferenceClip; reading a file of that layout computes the others.
REFERENCE_CLIP_FEATURES = FEATURES[:8]


@dataclass(frozen=True)
class ClipInfo:
    """Describes the origin of one clip."""

    source: str = ""  # name of the file that it was cut from, without its folder
    start_s: float = 0.0  # its first frame's time in that file, seconds
    label: str = ""  # behaviour, where known
    made_by: str = ""  # how the motion was made; empty where an animal was recorded
    mirrored: bool = False  # left and right are exchanged
    held_out: bool = False  # not to be trained on

    def group(self, by: str) -> Hashable:
        """Returns the key by which clips are held out together: by "recording", or by shared frames."""
        return self.source if by == "recording" else (self.source, self.start_s)


@flax.struct.dataclass
class ReferenceClips(ReferenceFrames):
    """Clips of one walker, at one frame rate; features are [frame, ...] over all clips.

    Attributes:
        starts: int32 [clip], first row of each clip.
        lengths: int32 [clip], frames of each clip, at least 1.
        names: one name per clip.
        rate_hz: frames per second.
        source: name of the file that was read, without its folder.
        joint_names: of the columns of `joints`.
        body_names: of the rows of `body_positions`.
        sha256: hash of the poses and lengths (`content_sha256`); the file's name does not enter.
        notes: what the reader assumed, completed or replaced, for tables and logs.
        info: one per clip; empty if the file records none.
    """

    starts: jax.Array
    lengths: jax.Array
    names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    rate_hz: float = flax.struct.field(pytree_node=False)
    source: str = flax.struct.field(pytree_node=False)
    joint_names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    body_names: tuple[str, ...] = flax.struct.field(pytree_node=False)
    sha256: str = flax.struct.field(pytree_node=False)
    notes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=())
    info: tuple[ClipInfo, ...] = flax.struct.field(pytree_node=False, default=())

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        return self.starts.shape[0]

    @property
    def num_frames(self) -> int:
        """Frames of all clips together."""
        return self.position.shape[0]

    @property
    def origins(self) -> tuple[ClipInfo, ...]:
        """`info`; if the file records none, entries with the file's name."""
        return self.info or (ClipInfo(source=self.source),) * self.num_clips

    @property
    def rows(self) -> list[slice]:
        """Rows of each clip's frames. Not for tracing."""
        starts, lengths = np.asarray(self.starts).tolist(), np.asarray(self.lengths).tolist()
        return [slice(a, a + n) for a, n in zip(starts, lengths, strict=True)]

    @property
    def layout(self) -> Layout:
        """Columns of `qpos()` and `qvel()`."""
        return Layout(len(self.joint_names), self.free_root)

    def at(self, clip: jax.Array | int, frame: jax.Array | int) -> ReferenceFrames:
        """Returns one frame of one clip; both may be traced. The frame is clamped to the clip."""
        last = jnp.asarray(self.lengths)[clip] - 1
        return self._rows(jnp.asarray(self.starts)[clip] + jnp.clip(frame, 0, last))

    def window(self, clip: jax.Array | int, frame: jax.Array | int, length: int) -> ReferenceFrames:
        """Returns frames `frame ... frame + length - 1` of a clip, [length, ...], each clamped as in `at`."""
        return self.at(clip, jnp.asarray(frame) + jnp.arange(length))

    def select(self, indices: Sequence[int]) -> "ReferenceClips":
        """Returns the clips at `indices`, in that order, with their own hash. Not for tracing."""
        indices, every = checked_indices(self.source, indices, self.num_clips), self.rows
        rows = np.concatenate([np.r_[every[index]] for index in indices])
        return self.with_frames(
            {name: np.asarray(getattr(self, name))[rows] for name in FEATURES},
            np.asarray(self.lengths)[indices],
            [self.names[index] for index in indices],
            [self.info[index] for index in indices] if self.info else (),
        )

    def with_frames(
        self,
        features: Mapping[str, np.ndarray],
        lengths: Sequence[int] | np.ndarray,
        names: Sequence[str],
        info: Sequence[ClipInfo],
    ) -> "ReferenceClips":
        """Returns clips of the same walker with other frames; computes starts and hash. Not for tracing."""
        frames = np.asarray(lengths, np.int32)
        rows = {name: np.ascontiguousarray(features[name], np.float32) for name in FEATURES}
        return self.replace(
            **rows,
            starts=clip_starts(frames),
            lengths=frames,
            names=tuple(names),
            info=tuple(info),
            sha256=content_sha256(rows["position"], rows["quaternion"], rows["joints"], frames),
        )

    def _rows(self, rows: jax.Array) -> ReferenceFrames:
        # asarray: the reader leaves NumPy arrays here, which a tracer cannot index
        frames = {name: jnp.asarray(getattr(self, name))[rows] for name in FEATURES}
        return ReferenceFrames(**frames, free_root=self.free_root)


def checked_indices(source: str, indices: Sequence[int], num_clips: int) -> list[int]:
    """Returns the indices as Python integers; raises UserError if there are none or no such clip."""
    indices = [int(index) for index in indices]
    outside = [index for index in indices if not 0 <= index < num_clips]
    if outside or not indices:
        found = f"clip {outside[0]}" if outside else "no clip"
        raise UserError(
            f"{source}: {found} was selected, expected clips out of 0 ... {num_clips - 1}"
        )
    return indices


def clip_starts(lengths: np.ndarray) -> np.ndarray:
    """Returns the first row of each clip, int32 [clip], from the clips' lengths [clip]."""
    return (np.cumsum(lengths) - lengths).astype(np.int32)


def content_sha256(
    position: np.ndarray, quaternion: np.ndarray, joints: np.ndarray, lengths: np.ndarray
) -> str:
    """Returns a hash of the poses and clip lengths.

    Features that follow from the poses stay out: they may be recomputed, and forward kinematics is
    not bit-identical on every machine.
    """
    digest = hashlib.sha256()
    for array, dtype in ((lengths, "<i4"), (position, "<f4"), (quaternion, "<f4"), (joints, "<f4")):
        array = np.ascontiguousarray(array, dtype=dtype)
        digest.update(str(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_clips_cover(clips: ReferenceClips, frames_needed: int) -> None:
    """Raises UserError for the first clip that has fewer than `frames_needed` frames."""
    lengths = np.asarray(clips.lengths)
    if lengths.min() < frames_needed:
        index = int(np.argmax(lengths < frames_needed))
        raise UserError(
            f"{clips.source}: clip {index} ({clips.names[index]!r}) has {lengths[index]} frames, but "
            f"the task needs {frames_needed}; give longer clips (clip_length) or leave this clip out"
        )


@dataclass(frozen=True)
class ClipSplit:
    """Lists training clips and held-out clips (indices, ascending)."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    seed: int

    def to_dict(self) -> dict[str, object]:
        """Returns a JSON-able form."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClipSplit":
        """Inverts `to_dict`; raises UserError if a key is missing or unknown."""
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise UserError(f"clip split: expected keys {sorted(expected)}, found {sorted(values)}")
        train, held_out = (tuple(int(i) for i in values[key]) for key in ("train", "held_out"))
        return cls(train=train, held_out=held_out, seed=int(values["seed"]))


def clips_of_split(clips: ReferenceClips, split: ClipSplit, which: str) -> ReferenceClips:
    """Selects the "train", "held_out" (the training clips if none is held out) or "all" clips."""
    if which == "all":
        return clips
    return clips.select(split.held_out if which == "held_out" and split.held_out else split.train)


def marked_split(clips: ReferenceClips, seed: int) -> ClipSplit | None:
    """Returns the split that the file marks; None if it marks no clip or every clip as held out."""
    held_out = tuple(clip for clip, info in enumerate(clips.info) if info.held_out)
    if not held_out or len(held_out) == clips.num_clips:
        return None
    train = tuple(clip for clip in range(clips.num_clips) if clip not in set(held_out))
    return ClipSplit(train, held_out, seed)


def check_some_to_train(clips: ReferenceClips) -> None:
    """Raises UserError if the file marks every clip as held out."""
    if clips.info and all(info.held_out for info in clips.info):
        raise UserError(
            f"{clips.source}: all of its {clips.num_clips} clips are marked as held out, so that none is "
            "left to train on; mark fewer (vnl-mjx clips hold-out)"
        )


def split_clips(num_clips: int, held_out_fraction: float, seed: int) -> ClipSplit:
    """Draws the held-out clips, a fraction in [0, 1); the same arguments always give the same split.

    At least one clip is held out where `held_out_fraction` > 0 and there are two or more clips;
    at least one is always left to train on.
    """
    if num_clips < 1:
        raise ValueError(f"{num_clips=} must be at least 1")
    if not 0.0 <= held_out_fraction < 1.0:
        raise UserError(f"held_out_fraction: expected 0 <= value < 1, found {held_out_fraction}")
    count = round(num_clips * held_out_fraction)
    if held_out_fraction > 0.0:
        count = max(count, 1)
    count = min(count, num_clips - 1)
    order = np.random.default_rng(seed).permutation(num_clips).tolist()
    return ClipSplit(tuple(sorted(order[count:])), tuple(sorted(order[:count])), seed)


def draw_held_out(groups: Sequence[Hashable], fraction: float, seed: int) -> list[bool]:
    """Draws the held-out clips; clips of one group (a clip and its mirror image) stay together.

    `groups` has one entry per clip; `fraction` and `seed` are those of `split_clips`.
    """
    unique = list(dict.fromkeys(groups))
    held_out = {unique[index] for index in split_clips(len(unique), fraction, seed).held_out}
    return [group in held_out for group in groups]


def describe_clips(clips: ReferenceClips) -> dict[str, str]:
    """Returns rows of a table for a person; speed and travel are the root's, in the horizontal plane."""
    lengths = np.asarray(clips.lengths)
    position, velocity = np.asarray(clips.position)[:, :2], np.asarray(clips.velocity)[:, :2]
    speeds, travels = [], []  # cm/s, cm: one per clip
    for rows in clips.rows:
        speeds.append(100.0 * np.linalg.norm(velocity[rows], axis=-1).mean())
        away = np.linalg.norm(position[rows] - position[rows.start], axis=-1)
        travels.append(100.0 * away.max())
    return {
        "file": clips.source,
        "clips": str(clips.num_clips),
        "frames": f"{clips.num_frames} ({span(lengths, 'd')} per clip)",
        "seconds": f"{clips.num_frames / clips.rate_hz:.1f}",
        "rate": f"{clips.rate_hz:g} Hz",
        "joints": str(len(clips.joint_names)),
        "bodies": str(len(clips.body_names)),
        "mean root speed": f"{span(speeds, '.1f')} cm/s per clip",
        "farthest from start": f"{span(travels, '.1f')} cm per clip",
        "notes": "; ".join(clips.notes) or "none",
        "sha256": clips.sha256,
    }


def span(values: Sequence[float] | np.ndarray, spec: str) -> str:
    """Returns "low to high" of values, or the one value, for a table."""
    low, high = format(min(values), spec), format(max(values), spec)
    return low if low == high else f"{low} to {high}"
