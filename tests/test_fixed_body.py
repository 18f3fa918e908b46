"""A body without a free root, from its file to clips and back: an arm on a table."""

import dataclasses
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import FEATURES, ReferenceClips
from vnl_mjx.clips.exporters.track_mjx import export_stac
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.clips.operations import mirror_clips, slice_clip
from vnl_mjx.clips.quality import assess_clips
from vnl_mjx.clips.sources import open_recording
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.walker import read_body, resolved, rodent_body
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.motion_statistics import MotionReader
from vnl_mjx.evaluation.tracking import pose_errors
from vnl_mjx.walkers.walker import Walker, build_walker

ROOT = ("position", "quaternion", "velocity", "angular_velocity")


@pytest.fixture(scope="module")
def clips(arm: Walker, arm_poses: np.ndarray) -> ReferenceClips:
    return clips_from_poses(arm, arm_poses, [60, 40], 50.0, names=("reach", "turn"))


def assert_same(found: ReferenceClips, expected: ReferenceClips, atol: float = 0.0) -> None:
    for name in FEATURES:
        values = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(*values, atol=atol, err_msg=name)
    assert not found.free_root


# --- clips --------------------------------------------------------------------------------------


def test_features_of_a_fixed_body(arm, arm_poses, clips):
    data = mujoco.MjData(arm.model)
    for frame in (0, 59, 60, 99):
        data.qpos[:] = arm_poses[frame]
        mujoco.mj_kinematics(arm.model, data)
        mujoco.mj_comPos(arm.model, data)
        np.testing.assert_allclose(clips.body_positions[frame], data.xpos, atol=1e-6)
        np.testing.assert_allclose(clips.center_of_mass[frame], data.subtree_com[1], atol=1e-6)
    np.testing.assert_array_equal(clips.position, np.float32([[0, 0, 0.4]] * 100))
    np.testing.assert_array_equal(clips.quaternion, np.float32([[1, 0, 0, 0]] * 100))
    assert not np.any(clips.velocity) and not np.any(clips.angular_velocity)
    frame = clips.at(0, 7)
    np.testing.assert_array_equal(frame.qpos(), arm_poses[7].astype(np.float32))
    speed = (arm_poses[8] - arm_poses[6]) * 25.0
    np.testing.assert_allclose(frame.qvel(), speed, atol=1e-4)


def test_clip_file_of_a_fixed_body(arm, clips, tmp_path):
    write_clips(tmp_path / "one.h5", slice_clip(clips, 0, 0, 40))
    assert_same(read_clips(tmp_path / "one.h5", arm), slice_clip(clips, 0, 0, 40))
    export_stac(tmp_path / "stac.h5", slice_clip(clips, 1, 0, 40), arm)
    stac = read_clips(tmp_path / "stac.h5", arm, rate_hz=50.0)
    assert_same(stac, slice_clip(clips, 1, 0, 40), atol=1e-6)


def test_preprocessed_recording_of_a_fixed_body(arm, arm_poses, tmp_path, capsys):
    body = f"walker_config.mjcf_path={Path(arm.config.source).with_suffix('.yaml')}"
    recording, output = tmp_path / "reach.npz", tmp_path / "clips.h5"
    np.savez(recording, qpos=arm_poses, rate_hz=50.0, joint_names=np.array(arm.joint_names))
    assert cli.main(["preprocess", str(recording), str(output), body]) == 0
    found = read_clips(output, arm)
    expected = clips_from_poses(arm, arm_poses, [100], 50.0)
    for name in FEATURES:
        values = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(*values, atol=1e-5, err_msg=name)
    with open_recording(output) as again:
        assert not again.has_root and again.num_joints == 4
        np.testing.assert_array_equal(again.qpos[:5], arm_poses[:5].astype(np.float32))
    assert cli.main(["inspect", str(output)]) == 0
    assert "4 joints" in capsys.readouterr().out


def test_operations_on_clips_of_a_fixed_body(arm, clips):
    mirrored = mirror_clips(clips, arm)
    # the arm turns about z to the other side, and bends in the same plane
    np.testing.assert_allclose(mirrored.joints, clips.joints * np.float32([1, -1, 1, 1]))
    hand = arm.end_effectors[0]
    reflected = clips.body_positions[:, hand] * np.float32([1, -1, 1])
    np.testing.assert_allclose(mirrored.body_positions[:, hand], reflected, atol=1e-6)
    assert_same(mirror_clips(mirrored, arm), clips)


def test_quality_of_a_fixed_body(arm, clips):
    quality = assess_clips(arm, clips)[0]
    assert (quality.speed, quality.jump_m, quality.jump_rad, quality.frozen_s) == (0, 0, 0, 0)
    assert quality.joint_limit_rad == 0.0 and quality.joint_speed > 0.5
    beyond = clips.replace(joints=clips.joints + np.float32([0, 0, 0, 1.0]))
    assert assess_clips(arm, beyond)[0].joint_limit_joint == "elbow"


def test_metrics_of_a_fixed_body(arm, arm_poses, clips):
    errors = pose_errors(arm_poses + 0.1, arm_poses, arm.layout)
    assert not errors["root_error_mm"].any() and not errors["root_angle_deg"].any()
    np.testing.assert_allclose(errors["joint_error_rad"], 0.1)
    motions = MotionReader(arm).of_clips(clips)
    assert not motions.pooled("speed").any() and motions.pooled("joints").shape == (100, 4)


def test_clips_of_another_kind_of_root_are_refused(arm, clips, toy_walker, tmp_path):
    path = tmp_path / "arm.h5"
    write_clips(path, slice_clip(clips, 0, 0, 40))
    with pytest.raises(
        UserError, match="4 columns of qpos and no free root, expected 7.*another body"
    ):
        read_clips(path, toy_walker)
    with h5py.File(path, "a") as file:  # as files of a body with a free root
        del file.attrs["free_root"]
    with pytest.raises(
        UserError, match="11 columns of qpos with a free root.*which has no free root"
    ):
        read_clips(path, arm)


# --- the body's file ----------------------------------------------------------------------------


def test_the_rodents_file_is_the_default():
    assert WalkerConfig() == dataclasses.replace(
        rodent_body(), appendage_names=(), foot_names=(), actuator_groups=(), tail=(), markers={}
    )
    assert resolved(WalkerConfig()) == WalkerConfig()


def test_a_body_file_stands_in_for_an_mjcf(arm):
    path = str(Path(arm.config.source).with_suffix(".yaml"))
    config = load_teacher_config([f"task.walker.source={path}"]).task.walker
    assert config == arm.config
    assert arm.actuator_groups == {"base": [0, 1], "arm": [2, 3]}
    given = resolved(WalkerConfig(source=path, body_names=("hand",), torque_actuators=False))
    assert given == dataclasses.replace(arm.config, body_names=("hand",))
    assert build_walker(given).root is None


def test_floor_and_mirror_pairs_of_a_body_file(arm, clips, tmp_path):
    config = dataclasses.replace(arm.config, floor_height=0.4, mirror_pairs=(("hand", "fist"),))
    walker = build_walker(config)
    assert walker.floor_height == 0.4
    with pytest.raises(UserError, match=r"walker\.mirror_pairs: found 'fist'"):
        mirror_clips(clips, walker)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("root_bdy: base", "unknown key root_bdy; did you mean root_body?"),
        ("end_effector_names: hand", "end_effector_names: expected a list"),
        ("actuator_groups: {arm: shoulder}", "actuator_groups: expected a list"),
        ("joint_names: null", "joint_names: expected a list"),
        ("- a\n- list", "expected YAML"),
    ],
)
def test_mistakes_in_a_body_file(arm, tmp_path, text, expected):
    given = Path(arm.config.source).with_suffix(".yaml").read_text().replace("joint_names", "#")
    path = tmp_path / "arm.yaml"
    path.write_text(f"{given}\njoint_names: [rail]\n{text}\n")
    with pytest.raises(UserError, match=expected) as error:
        read_body(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_body_file_without_a_needed_key_or_that_is_not_there(tmp_path):
    path = tmp_path / "arm.yaml"
    path.write_text("source: arm.xml\nroot_body: base\n")
    with pytest.raises(UserError, match="expected the key joint_names"):
        build_walker(WalkerConfig(source=str(path)))
    with pytest.raises(UserError, match="expected a body's YAML file"):
        read_body(tmp_path / "leg.yaml")
