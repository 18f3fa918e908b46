"""dm_control's own walkers, loader and tracking task, for tests that compare with them."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.walkers.walker import Walker


def locomotion() -> SimpleNamespace:
    """The modules of dm_control that the tests use, imported without a display."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(os.environ, "MUJOCO_GL", "disabled")
        from dm_control import composer, mjcf
        from dm_control.locomotion.arenas import floors
        from dm_control.locomotion.mocap import loader
        from dm_control.locomotion.tasks.reference_pose import tracking, types, utils
        from dm_control.locomotion.walkers import cmu_humanoid, rodent
    _repair_loader(loader.HDF5TrajectoryLoader)
    return SimpleNamespace(
        composer=composer,
        mjcf=mjcf,
        Floor=floors.Floor,
        Loader=loader.HDF5TrajectoryLoader,
        trajectories=Path(loader.__file__).with_name("test_trajectories.h5"),
        tracking=tracking,
        types=types,
        utils=utils,
        Rat=rodent.Rat,
        Humanoid=cmu_humanoid.CMUHumanoidPositionControlled,
    )


def _repair_loader(loader_class: Any) -> None:
    """Replaces the one method of dm_control 1.0.50's loader that protobuf 7 broke.

    It reads `FieldDescriptor.label`, which protobuf 6 deprecates and protobuf 7 does not have.
    """

    def fill(self, proto, group, skip_fields=()):
        del self
        for field in proto.DESCRIPTOR.fields:
            if field.name in skip_fields or field.name not in group.attrs:
                continue
            if field.message_type is None:
                value = group.attrs[field.name]
                if field.is_repeated:
                    getattr(proto, field.name).extend(value)
                else:
                    setattr(proto, field.name, value)

    loader_class._fill_primitive_proto_fields = fill


def physics_of(dm: SimpleNamespace, walker_class: Any) -> tuple[Any, Any]:
    """dm_control's walker in its arena, and the compiled physics."""
    arena = dm.Floor()
    walker = dm.utils.add_walker(walker_class, arena)
    _ = walker.observables.end_effectors_pos  # adds its sensors, so before compiling
    return walker, dm.mjcf.Physics.from_mjcf_model(arena.mjcf_model)


def tracking_environment(
    dm: SimpleNamespace, path: Path, identifiers: Sequence[str], ref_steps: Sequence[int]
) -> Any:
    """dm_control's multi-clip tracking of its Rat, always from the start of a clip."""
    task = dm.tracking.MultiClipMocapTracking(
        walker=dm.Rat,
        arena=dm.Floor(),
        ref_path=str(path),
        ref_steps=tuple(ref_steps),
        dataset=dm.types.ClipCollection(ids=tuple(identifiers)),
        min_steps=1,
        reward_type="comic",
        always_init_at_clip_start=True,
    )
    return dm.composer.Environment(task=task, random_state=0)


def walking_about(
    walker: Walker, lengths: Sequence[int], seed: int = 0, names: Sequence[str] | None = None
) -> ReferenceClips:
    """Clips at 50 Hz that drift, turn and move every joint a little, smoothly."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(sum(lengths)) / 50.0
    qpos = np.tile(walker.model.qpos0, (len(seconds), 1))
    qpos[:, 0] += 0.1 * seconds
    qpos[:, 1] += 0.02 * np.sin(2 * seconds)
    yaw, roll = 0.4 * seconds + 0.3, 0.1 * np.sin(3 * seconds)
    cy, sy, cr, sr = np.cos(yaw / 2), np.sin(yaw / 2), np.cos(roll / 2), np.sin(roll / 2)
    qpos[:, 3:7] = np.stack([cy * cr, cy * sr, sy * sr, sy * cr], axis=-1)
    rate, phase = rng.uniform(1, 6, (2, walker.model.nq - 7))
    qpos[:, 7:] += 0.1 * np.sin(rate * seconds[:, None] + phase)
    return clips_from_poses(walker, qpos, lengths, 50.0, names=names)
