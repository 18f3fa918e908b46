"""From what a file holds to `ReferenceClips`: check, put in the walker's order, complete.

Readers of single layouts (`layouts.py`) fill `UnorderedClips`; everything that does not depend on the
layout happens here.
"""

from collections.abc import Sequence

import numpy as np

from vnl_mjx.clips.columns import VELOCITY, join_qpos, join_qvel, split_qpos, split_qvel
from vnl_mjx.clips.container import FEATURES, ReferenceClips, clip_starts, content_sha256
from vnl_mjx.clips.features import FeatureComputer, root_features
from vnl_mjx.clips.joint_matching import joint_order, with_nearest
from vnl_mjx.clips.kinematics import BodyPoses, static_bodies
from vnl_mjx.clips.unordered import (
    UnorderedClips,
    check_finite,
    check_root,
    check_shapes,
    unit_quaternions,
)
from vnl_mjx.clips.velocities import finite_difference_qvel
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker

_FLOOR = "floor"  # body of track-mjx's model that STAC's model does not have
_MAX_VELOCITY_RATIO = 3.0  # STAC's known mistake is a factor of ten; smoothing is far below three
_MAX_POSE_DIFFERENCE_M = 0.005  # older STAC files differ by up to 2 mm


def assemble(
    raw: UnorderedClips, walker: Walker, source: str, computer: FeatureComputer | None = None
) -> ReferenceClips:
    """Checked, reordered and complete clips; raises UserError for data that cannot be used.

    Args:
        raw: is used up: its features and notes are edited.
        walker: whose clips they are.
        source: name of the file.
        computer: of the walker, where it is at hand already.
    """
    layout = walker.layout
    check_root(raw, layout.free_root)
    check_shapes(raw, layout.num_joints)
    check_finite(raw)
    _reorder_joints(raw, walker)
    for name in ("quaternion", "body_quaternions"):
        if name in raw.features:
            raw.features[name] = unit_quaternions(raw, name)
    features = raw.features
    qpos = join_qpos(features, layout)
    lengths = raw.lengths.astype(np.int32)
    computer = computer or FeatureComputer(walker)
    poses = computer.kinematics(qpos)
    _complete_bodies(raw, walker, poses)
    if not layout.free_root:
        features |= root_features(walker, poses.positions, poses.quaternions)
    _complete_velocities(raw, qpos, layout)
    bodies = features["body_positions"], features["body_quaternions"]
    pose = features["position"], features["quaternion"], features["joints"]
    computed = computer.derived(*bodies, lengths, raw.rate_hz)
    complete = computed | {"center_of_mass": poses.center_of_mass} | features
    return ReferenceClips(
        **{name: np.ascontiguousarray(complete[name], np.float32) for name in FEATURES},
        starts=clip_starts(lengths),
        lengths=lengths,
        names=raw.clip_names,
        rate_hz=raw.rate_hz,
        source=source,
        joint_names=walker.joint_names,
        body_names=walker.body_names,
        sha256=content_sha256(*pose, lengths),
        notes=tuple(raw.notes),
        info=raw.info,
        free_root=layout.free_root,
    )


def clips_from_poses(
    walker: Walker,
    qpos: np.ndarray,
    lengths: Sequence[int],
    rate_hz: float,
    *,
    names: Sequence[str] | None = None,
    source: str = "poses",
) -> ReferenceClips:
    """Clips of poses that were made or already loaded; every other feature is computed.

    Args:
        walker: whose poses they are.
        qpos: [frame, nq] in the walker's order, clips one after another.
        lengths: [clip], frames per clip, each at least 1.
        rate_hz: frames per second.
        names: one per clip; default: "clip_0", ...
        source: where the poses are from, for tables and messages.
    """
    frames = np.asarray(lengths, np.int32)
    if frames.size == 0 or frames.min() < 1 or frames.sum() != len(qpos):
        raise ValueError(f"{lengths=} must be at least 1 and sum to {len(qpos)=}")
    features = split_qpos(np.asarray(qpos, np.float32), walker.layout)
    raw = UnorderedClips(
        path=source,
        features=features,
        datasets={name: name for name in features},
        lengths=frames,
        clip_names=tuple(names or (f"clip_{clip}" for clip in range(len(frames)))),
        joint_names=None,
        body_names=None,
        rate_hz=float(rate_hz),
        trust_velocities=True,
        free_root=walker.layout.free_root,
    )
    return assemble(raw, walker, source)


def _reorder_joints(raw: UnorderedClips, walker: Walker) -> None:
    if raw.joint_names is None:
        return
    order = joint_order(raw.path, raw.joint_names, walker.joint_names)
    if order is None:
        return
    raw.notes.append("joints reordered by name")
    for name in ("joints", "joints_velocity"):
        if name in raw.features:
            raw.features[name] = raw.features[name][:, order]


def _complete_bodies(raw: UnorderedClips, walker: Walker, poses: BodyPoses) -> None:
    """Leaves body features in the walker's rows; what the file lacks comes from its kinematics."""
    given = [name for name in ("body_positions", "body_quaternions") if name in raw.features]
    ids, rows = _match_bodies(raw, walker, raw.features[given[0]].shape[1]) if given else ([], [])
    absent = np.setdiff1d(np.arange(len(walker.body_names)), ids)
    moving = [int(body) for body in absent if not static_bodies(walker.model)[body]]
    computed = {"body_positions": poses.positions, "body_quaternions": poses.quaternions}
    for name, values in computed.items():
        if name not in given:
            raw.notes.append(f"{name} by forward kinematics")
            raw.features[name] = values
            continue
        merged = values.copy()
        merged[:, ids] = raw.features[name][:, rows]
        raw.features[name] = merged
    if given and moving:
        raw.notes.append(f"{len(moving)} bodies that the file lacks by forward kinematics")
    if "body_positions" in given:
        _compare_bodies(raw, walker, poses.positions)


def _match_bodies(
    raw: UnorderedClips, walker: Walker, num_rows: int
) -> tuple[list[int], list[int]]:
    """Body ids of the walker and the file's rows that hold them."""
    names = raw.body_names
    if names is not None and len(names) != num_rows:
        raise UserError(
            f"{raw.path}: {len(names)} body names for the {num_rows} bodies of the body poses"
        )
    if names is None:
        names = walker.body_names
        if num_rows == len(names) - 1:
            names = tuple(name for name in names if name != _FLOOR)
        if num_rows != len(names):
            raise UserError(
                f"{raw.path}: body poses of {num_rows} bodies without names, expected "
                f"{len(walker.body_names)} as the walker has; add the dataset "
                "'names_xpos' to match by name"
            )
    row_of = {name: row for row, name in enumerate(names)}
    ids = [body for body, name in enumerate(walker.body_names) if name in row_of]
    if walker.body_names[walker.root_body] not in row_of:
        raise UserError(
            f"{raw.path}: the body names do not match the walker's; not in the file: "
            f"{with_nearest([walker.body_names[walker.root_body]], names)}"
        )
    return ids, [row_of[walker.body_names[body]] for body in ids]


def _compare_bodies(raw: UnorderedClips, walker: Walker, expected: np.ndarray) -> None:
    """Notes body positions that belong to another body, as after a different rescaling."""
    errors = np.linalg.norm(raw.features["body_positions"] - expected, axis=-1)
    if errors.max() > _MAX_POSE_DIFFERENCE_M:
        body = walker.body_names[int(np.argmax(errors.max(axis=0)))]
        raw.notes.append(
            f"body_positions differ from the walker's forward kinematics by up to "
            f"{1000 * errors.max():.1f} mm ({body}): another model or scale (walker: "
            f"rescale_factor {walker.config.rescale_factor:g})?"
        )


def _complete_velocities(raw: UnorderedClips, qpos: np.ndarray, layout: Layout) -> None:
    qvel = finite_difference_qvel(qpos, layout, raw.lengths, raw.rate_hz)
    differences = split_qvel(qvel, layout)
    if not all(name in raw.features for name in VELOCITY):
        raw.notes.append("velocities by finite differences")
        raw.features.update(differences)
        return
    stored = join_qvel(raw.features, layout)
    moving = np.repeat(raw.lengths > 1, raw.lengths)  # a single frame has no difference
    if not moving.any():
        return
    # The median frame, so that a few jumps of the recording do not decide.
    typical, expected = (
        float(np.median(np.linalg.norm(values[moving], axis=-1))) for values in (stored, qvel)
    )
    floor = 1e-4  # a recording of a still animal has no ratio
    ratio = max(typical, floor) / max(expected, floor)
    if 1.0 / _MAX_VELOCITY_RATIO <= ratio <= _MAX_VELOCITY_RATIO:
        return
    found = f"velocities are {ratio:.3g} times the finite differences at {raw.rate_hz:g} Hz"
    if raw.trust_velocities:
        raw.notes.append(f"{found}: kept as stored")
    else:
        raw.notes.append(f"{found}: recomputed")
        raw.features.update(differences)
