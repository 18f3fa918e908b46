"""Writes clips as trajectories of dm_control's locomotion tasks.

The layout is what `dm_control/locomotion/mocap/loader.py: HDF5TrajectoryLoader` reads: one group per
clip, features as (dim, frames) under `walkers/walker_0`, and the groups `scaling`, `markers` and `props`,
which stay empty here. dm_control's arenas have their floor at z = 0, so the floor of every export is there.
"""

import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import mujoco
import numpy as np

from vnl_mjx.clips.columns import join_qpos
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.file import fixed_length
from vnl_mjx.clips.hdf5_access import atomic_hdf5
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.operations import unique_name
from vnl_mjx.config.imitation import RODENT_SOURCE
from vnl_mjx.quaternions import points_in_frame
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.rodent import rodent_xml_path
from vnl_mjx.walkers.walker import Walker

# `dm_control/locomotion/walkers/rodent.py`: mocap_tracking_bodies, end_effectors, appendages_pos
_UNTRACKED_BODIES = re.compile(r"vertebra|hand|toe")
_RAT_END_EFFECTORS = ("lower_arm_R", "lower_arm_L", "foot_R", "foot_L")
_RAT_APPENDAGES = (*_RAT_END_EFFECTORS, "skull")
_PREFIX = "walker/"  # dm_control's prefix of names of an attached walker
_UNSPECIFIED_MODEL = 0  # value of `mocap_pb2.Walker.Model`, which has humanoids only


def export_dm_control(
    path: str | os.PathLike[str],
    clips: ReferenceClips,
    walker: Walker,
    *,
    keep_walker: bool = False,
    date: datetime.date | None = None,
) -> tuple[str, ...]:
    """Writes clips as dm_control trajectories; clips may differ in length.

    The rodent's clips become those of dm_control's own `Rat`, which is not rescaled: positions and
    velocities of the root grow in proportion, relative to the floor, joint angles and velocities stay
    (geometric similarity, so the feet stay on the floor), and body features are computed anew. With
    `keep_walker`, and for other walkers, the features of `walker` itself are written, at its own scale.
    `date` is recorded; default: today.

    Returns:
        The identifier of each clip in the file: its name, made safe and unique.

    Raises:
        UserError: the file cannot be written.
    """
    is_rodent = walker.config.source == RODENT_SOURCE
    as_rat = is_rodent and not keep_walker
    body = dm_control_rat(walker) if as_rat else walker
    scale = 1.0 / walker.config.rescale_factor if as_rat else 1.0
    if is_rodent:
        rows = [body.body_names.index(name) for name in _RAT_END_EFFECTORS]
        body = replace(body, end_effectors=np.array(rows))
    name = "rat" if as_rat else Path(walker.config.source).stem
    kinematics = Kinematics(body.model)
    identifiers = clip_identifiers(clips.names)
    day = date or datetime.date.today()
    with atomic_hdf5(path) as file:
        for identifier, rows, info in zip(identifiers, clips.rows, clips.origins, strict=True):
            group = file.create_group(identifier)
            if info.made_by:  # marks synthetic motion
                group.attrs["made_by"] = fixed_length([info.made_by])[0]
            group.attrs["dt"] = 1.0 / clips.rate_hz
            group.attrs["num_steps"] = rows.stop - rows.start
            group.attrs["year"], group.attrs["month"] = day.year, day.month
            group.attrs["day"] = day.day
            group.create_group("props")
            pose = _features(clips, rows, body, scale, kinematics)
            _write_walker(group.create_group("walkers/walker_0"), name, body, pose)
    return identifiers


def dm_control_rat(walker: Walker) -> Walker:
    """Builds dm_control's Rat with the free joint that an arena gives it; its masses are not track-mjx's."""
    rat = mujoco.MjSpec.from_file(str(rodent_xml_path()))
    for skin in rat.skins:
        rat.delete(skin)
    rat.njmax = rat.nconmax = -1  # as the spec that it is attached to
    arena = mujoco.MjSpec()
    # dm_control/composer/arena.xml: the attachment body has no geoms and so gets the least mass
    arena.compiler.boundmass, arena.compiler.boundinertia = 1e-5, 1e-11
    attachment = arena.worldbody.add_body(name=_PREFIX)
    attachment.add_freejoint()
    arena.attach(rat, prefix=_PREFIX, frame=attachment.add_frame())
    model = arena.compile()
    names = tuple(model.body(i).name.removeprefix(_PREFIX) for i in range(model.nbody))
    joints = (model.joint(i).name.removeprefix(_PREFIX) for i in range(1, model.njnt))
    return replace(
        walker,
        model=model,
        layout=Layout(model.njnt - 1),
        joint_names=tuple(joints),
        body_names=names,
        appendages=np.array([names.index(name) for name in _RAT_APPENDAGES]),
        root_body=names.index("torso"),
    )


def _tracking_bodies(body: Walker) -> list[int]:
    """Returns the root body and its descendants in model order, without those that dm_control's Rat omits."""
    inside = {body.root_body}
    for row in range(body.root_body + 1, body.model.nbody):  # parents come first
        if int(body.model.body_parentid[row]) in inside:
            inside.add(row)
    return [row for row in sorted(inside) if not _UNTRACKED_BODIES.match(body.body_names[row])]


def clip_identifiers(names: Sequence[str]) -> tuple[str, ...]:
    """Returns unique names that can be HDF5 groups: letters, digits, '_', '-' and '.'."""
    safe = (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "clip" for name in names)
    used: set[str] = set()
    return tuple(unique_name(name, used) for name in safe)


def _features(
    clips: ReferenceClips, rows: slice, body: Walker, scale: float, kinematics: Kinematics
) -> dict[str, np.ndarray]:
    """Returns the fields of `mocap_pb2.WalkerPose`, [frame, ...] float64; `scale` multiplies lengths."""

    def of_clip(name: str) -> np.ndarray:
        return np.asarray(getattr(clips, name)[rows], np.float64)

    order = [clips.joint_names.index(name) for name in body.joint_names]
    position = (of_clip("position") - (0.0, 0.0, body.floor_height)) * scale
    quaternion = of_clip("quaternion")
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    joints = of_clip("joints")[:, order]
    pose = {"position": position, "quaternion": quaternion, "joints": joints}
    poses = kinematics(join_qpos(pose, body.layout))
    frame = poses.positions[:, body.root_body], poses.quaternions[:, body.root_body]
    tracked = _tracking_bodies(body)
    return {
        **pose,
        "center_of_mass": poses.center_of_mass,
        "end_effectors": points_in_frame(*frame, poses.positions[:, body.end_effectors]),
        "velocity": of_clip("velocity") * scale,
        "angular_velocity": of_clip("angular_velocity"),
        "joints_velocity": of_clip("joints_velocity")[:, order],
        "appendages": points_in_frame(*frame, poses.positions[:, body.appendages]),
        "body_positions": poses.positions[:, tracked],
        "body_quaternions": poses.quaternions[:, tracked],
    }


def _write_walker(
    group: h5py.Group, name: str, body: Walker, features: dict[str, np.ndarray]
) -> None:
    def named(bodies: np.ndarray) -> np.ndarray:
        return fixed_length([body.body_names[row] for row in bodies])

    group.attrs["name"] = fixed_length([name])[0]
    group.attrs["model"] = _UNSPECIFIED_MODEL
    group.attrs["mass"] = float(body.model.body_subtreemass[body.root_body])
    group.attrs["end_effector_names"] = named(body.end_effectors)
    group.attrs["appendage_names"] = named(body.appendages)
    group.create_group("scaling")
    group.create_group("markers")
    for name, values in features.items():
        columns = values.astype(np.float64).reshape(len(values), -1).T
        group.create_dataset(name, data=columns, compression="gzip")
