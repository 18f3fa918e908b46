"""Clips as trajectories of dm_control's locomotion tasks.

The layout is what `dm_control/locomotion/mocap/loader.py: HDF5TrajectoryLoader` reads: one group per
clip, features as (dim, frames) under `walkers/walker_0`, and the groups `scaling`, `markers` and `props`,
which stay empty here. dm_control's arenas have their floor at z = 0, so the floor of every export is there.
"""

import datetime
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import mujoco
import numpy as np

from vnl_mjx.clips.columns import join_qpos
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.file import atomic_hdf5, fixed_length
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
_PREFIX = "walker/"  # that dm_control gives the names of an attached walker
_UNSPECIFIED_MODEL = 0  # of `mocap_pb2.Walker.Model`, which knows humanoids only


@dataclass(frozen=True)
class ExportedBody:
    """The body whose features are written, and how a pose of the clips' walker becomes one of it.

    Attributes:
        name: of the walker, in the file.
        model: of it.
        layout: of qpos.
        joint_names: of the joints in qpos.
        body_names: of every body.
        root: name of the body whose frame is the egocentric one.
        end_effectors: names of bodies.
        appendages: names of bodies.
        scale: factor from lengths of the clips' walker to lengths of this one.
        floor_height: of the clips' floor, metres.
    """

    name: str
    model: mujoco.MjModel
    layout: Layout
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    root: str
    end_effectors: tuple[str, ...]
    appendages: tuple[str, ...]
    scale: float
    floor_height: float

    def rows(self, names: Sequence[str]) -> list[int]:
        """Body ids of `names`."""
        return [self.body_names.index(name) for name in names]

    def tracking_bodies(self) -> tuple[str, ...]:
        """The root body and what hangs on it, in model order, less what dm_control's Rat leaves out."""
        root, inside = self.body_names.index(self.root), set[int]()
        for body in range(root, self.model.nbody):  # parents come first
            if body == root or int(self.model.body_parentid[body]) in inside:
                inside.add(body)
        names = (self.body_names[body] for body in sorted(inside))
        return tuple(name for name in names if not _UNTRACKED_BODIES.match(name))


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
    (geometric similarity, so the feet stay on the floor), and body features are computed anew.

    Args:
        path: of the file to write.
        clips: in the order of `walker`.
        walker: whose clips they are.
        keep_walker: write features of `walker` itself, at its own scale. Always so for a walker that is
            not the rodent.
        date: recorded in the file; default: today.

    Returns:
        The identifier of each clip in the file: its name, made safe and unique.

    Raises:
        UserError: the file cannot be written.
    """
    as_rat = walker.config.source == RODENT_SOURCE and not keep_walker
    body = dm_control_rat(walker) if as_rat else walker_itself(walker)
    kinematics = Kinematics(body.model)
    identifiers = clip_identifiers(clips.names)
    day = date or datetime.date.today()
    starts, lengths = np.asarray(clips.starts), np.asarray(clips.lengths)
    with atomic_hdf5(path) as file:
        for clip, identifier in enumerate(identifiers):
            start, length = starts[clip], lengths[clip]
            group = file.create_group(identifier)
            if clips.info and clips.info[clip].made_by:  # no animal moved like this
                group.attrs["made_by"] = fixed_length([clips.info[clip].made_by])[0]
            group.attrs["dt"] = 1.0 / clips.rate_hz
            group.attrs["num_steps"] = int(length)
            group.attrs["year"], group.attrs["month"] = day.year, day.month
            group.attrs["day"] = day.day
            group.create_group("props")
            pose = _features(clips, slice(start, start + length), body, kinematics)
            _write_walker(group.create_group("walkers/walker_0"), body, pose)
    return identifiers


def dm_control_rat(walker: Walker) -> ExportedBody:
    """dm_control's Rat with the free joint that an arena gives it; its masses are not track-mjx's."""
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
    return ExportedBody(
        name="rat",
        model=model,
        layout=Layout(model.njnt - 1),
        joint_names=_names(model.joint(i).name for i in range(1, model.njnt)),
        body_names=_names(model.body(i).name for i in range(model.nbody)),
        root="torso",
        end_effectors=_RAT_END_EFFECTORS,
        appendages=_RAT_APPENDAGES,
        scale=1.0 / walker.config.rescale_factor,
        floor_height=walker.floor_height,
    )


def walker_itself(walker: Walker) -> ExportedBody:
    """The walker that the clips are of."""
    is_rodent = walker.config.source == RODENT_SOURCE
    end_effectors = [walker.body_names[body] for body in walker.end_effectors]
    return ExportedBody(
        name=Path(walker.config.source).stem,
        model=walker.model,
        layout=walker.layout,
        joint_names=walker.joint_names,
        body_names=walker.body_names,
        root=walker.body_names[walker.root_body],
        end_effectors=_RAT_END_EFFECTORS if is_rodent else tuple(end_effectors),
        appendages=tuple(walker.body_names[body] for body in walker.appendages),
        scale=1.0,
        floor_height=walker.floor_height,
    )


def clip_identifiers(names: Sequence[str]) -> tuple[str, ...]:
    """Names that can be HDF5 groups: letters, digits, '_', '-' and '.', each once."""
    safe = (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "clip" for name in names)
    used: set[str] = set()
    return tuple(unique_name(name, used) for name in safe)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.removeprefix(_PREFIX) for name in names)


def _features(
    clips: ReferenceClips, rows: slice, body: ExportedBody, kinematics: Kinematics
) -> dict[str, np.ndarray]:
    """The fields of `mocap_pb2.WalkerPose`, [frame, ...] float64."""

    def of_clip(name: str) -> np.ndarray:
        return np.asarray(getattr(clips, name)[rows], np.float64)

    order = [clips.joint_names.index(name) for name in body.joint_names]
    position = (of_clip("position") - (0.0, 0.0, body.floor_height)) * body.scale
    quaternion = of_clip("quaternion")
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    joints = of_clip("joints")[:, order]
    pose = {"position": position, "quaternion": quaternion, "joints": joints}
    poses = kinematics(join_qpos(pose, body.layout))
    root = body.body_names.index(body.root)
    frame = poses.positions[:, root], poses.quaternions[:, root]
    tracked = body.rows(body.tracking_bodies())
    return {
        **pose,
        "center_of_mass": poses.center_of_mass,
        "end_effectors": points_in_frame(*frame, poses.positions[:, body.rows(body.end_effectors)]),
        "velocity": of_clip("velocity") * body.scale,
        "angular_velocity": of_clip("angular_velocity"),
        "joints_velocity": of_clip("joints_velocity")[:, order],
        "appendages": points_in_frame(*frame, poses.positions[:, body.rows(body.appendages)]),
        "body_positions": poses.positions[:, tracked],
        "body_quaternions": poses.quaternions[:, tracked],
    }


def _write_walker(group: h5py.Group, body: ExportedBody, features: dict[str, np.ndarray]) -> None:
    group.attrs["name"] = fixed_length([body.name])[0]
    group.attrs["model"] = _UNSPECIFIED_MODEL
    group.attrs["mass"] = float(body.model.body_subtreemass[body.body_names.index(body.root)])
    group.attrs["end_effector_names"] = fixed_length(body.end_effectors)
    group.attrs["appendage_names"] = fixed_length(body.appendages)
    group.create_group("scaling")
    group.create_group("markers")
    for name, values in features.items():
        columns = values.astype(np.float64).reshape(len(values), -1).T
        group.create_dataset(name, data=columns, compression="gzip")
