"""Recordings in other conventions than they are read in are named, never kept in silence."""

from pathlib import Path

import numpy as np
import pytest

from vnl_mjx.clips.file import open_clip_file
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.preprocess import Preprocessor
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.preprocessing import PreprocessConfig
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import multiply

Z_TO_Y = np.array([np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0])


@pytest.fixture
def qpos(toy_walker) -> np.ndarray:
    """Poses of the toy walker that stands, sways and turns round once, [frame, nq]."""
    time = np.arange(150) / 50.0
    poses = np.tile(toy_walker.model.qpos0, (150, 1))
    poses[:, 7:] += 0.3 * np.sin(2 * np.pi * time)[:, None]
    poses[:, 2] += 0.002
    yaw = np.pi * time / 1.5
    poses[:, 3], poses[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    return poses


def preprocess(walker, folder: Path, poses: np.ndarray, csv: bool = False, **source):
    """Preprocesses poses with keys of `source_config`; returns the notes and the clips."""
    path, target = folder / ("take.csv" if csv else "take.npz"), folder / "clips.h5"
    if csv:
        np.savetxt(path, poses, delimiter=",", fmt="%.9g")
    else:
        np.savez(path, qpos=poses)
    config = from_dict(PreprocessConfig, {"source_config": {"rate_hz": 50.0} | source})
    report = Preprocessor(walker, config).run([path], target)
    return " ".join(report.recordings[0].notes), read_clips(target, walker)


def refusal(walker, folder: Path, poses: np.ndarray, **source) -> str:
    with pytest.raises(UserError) as caught:
        preprocess(walker, folder, poses, **source)
    message = str(caught.value)
    assert "\n" not in message and not (folder / "clips.h5").exists()
    return message


def as_xyzw(qpos: np.ndarray) -> np.ndarray:
    return qpos[:, [0, 1, 2, 4, 5, 6, 3, *range(7, qpos.shape[1])]]


def as_y_up(qpos: np.ndarray) -> np.ndarray:
    result = qpos.copy()
    result[:, :3] = np.stack([qpos[:, 0], qpos[:, 2], -qpos[:, 1]], axis=1)
    result[:, 3:7] = multiply(Z_TO_Y, qpos[:, 3:7])
    return result


def as_millimetres(qpos: np.ndarray) -> np.ndarray:
    return qpos * np.where(np.arange(qpos.shape[1]) < 3, 1000.0, 1.0)


def as_degrees(qpos: np.ndarray) -> np.ndarray:
    return qpos * np.where(np.arange(qpos.shape[1]) < 7, 1.0, 180.0 / np.pi)


@pytest.mark.parametrize(
    ("change", "key", "value", "usual"),
    [
        (as_xyzw, "quaternion_order", "xyzw", "wxyz"),
        (as_y_up, "up_axis", "y", "z"),
        (as_millimetres, "length_unit", "mm", "m"),
        (as_degrees, "angle_unit", "degrees", "radians"),
    ],
)
def test_other_conventions_are_named_and_read(
    toy_walker, tmp_path, qpos, change, key, value, usual
):
    """TRIALS T6."""
    message = refusal(toy_walker, tmp_path, change(qpos))
    assert f"source_config.{key}={value}" in message and usual in message
    notes, clips = preprocess(toy_walker, tmp_path, change(qpos), **{key: value})
    np.testing.assert_allclose(clips.qpos(), qpos, atol=1e-6)
    assert "read as x y z w" in notes or "converted from" in notes or "y up to z up" in notes


def test_several_conventions_at_once(toy_walker, tmp_path, qpos):
    """TRIALS T6, T7."""
    changed = as_degrees(as_millimetres(as_xyzw(as_y_up(qpos))))
    message = refusal(toy_walker, tmp_path, changed)
    assert "angle_unit=degrees" in message
    assert "source_config.quaternion_order=xyzw source_config.up_axis=y" in message
    given = {"angle_unit": "degrees", "quaternion_order": "xyzw", "up_axis": "y"}
    assert "length_unit=mm" in refusal(toy_walker, tmp_path, changed, **given)
    _, clips = preprocess(toy_walker, tmp_path, changed, **given, length_unit="mm")
    np.testing.assert_allclose(clips.qpos(), qpos, atol=1e-6)


def test_what_looks_wrong_is_kept_where_the_user_says_so(toy_walker, tmp_path, qpos):
    lying = qpos.copy()
    lying[:, 3:7] = multiply(lying[:, 3:7], np.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]))
    lying[:, 2] = toy_walker.floor_height + 0.04
    notes, clips = preprocess(toy_walker, tmp_path, lying, quaternion_order="wxyz", up_axis="z")
    assert "upright in 0 % of the frames only" in notes and clips.num_clips == 1


def test_a_supposed_order_needs_the_poses_consent(toy_walker, tmp_path, qpos):
    """Files without names are LAFAN1's, x y z w, if the body is upright so and not otherwise."""
    notes, clips = preprocess(toy_walker, tmp_path, as_xyzw(qpos), csv=True)
    assert "quaternion_order=xyzw agrees with the poses: upright in 100 %" in notes
    np.testing.assert_allclose(clips.qpos(), qpos, atol=1e-6)
    (tmp_path / "clips.h5").unlink()
    assert "quaternion_order=wxyz" in refusal(toy_walker, tmp_path, qpos, csv=True)
    straight = qpos.copy()
    straight[:, 3:7] = [0.0, 0.0, 0.0, 1.0]
    message = refusal(toy_walker, tmp_path, straight, csv=True)
    assert "is not clear" in message and "source_config.quaternion_order=xyzw" in message


def test_parts_of_an_unknown_order(toy_walker, tmp_path, qpos):
    """`root_quat` may be of either order, so the poses have to tell."""
    straight = qpos.copy()
    straight[:, 3:7] = [0.0, 0.0, 0.0, 1.0]
    for poses, what in ((qpos, "agrees"), (as_xyzw(qpos), "xyzw it is"), (straight, "not clear")):
        parts = {"root_pos": poses[:, :3], "root_quat": poses[:, 3:7], "joint_pos": poses[:, 7:]}
        np.savez(tmp_path / "take.npz", fps=50, **parts)
        run = Preprocessor(toy_walker, PreprocessConfig())
        if what == "agrees":
            report = run.run([tmp_path / "take.npz"], tmp_path / "clips.h5")
            assert "quaternion_order=wxyz agrees" in " ".join(report.recordings[0].notes)
        else:
            with pytest.raises(UserError, match=what):
                run.run([tmp_path / "take.npz"], tmp_path / "other.h5")


def test_a_body_that_may_face_backwards_is_noted(toy_walker, tmp_path, qpos):
    qpos[:, 3:7] = [0.0, 0.0, 0.0, 1.0]
    notes, _ = preprocess(toy_walker, tmp_path, qpos)
    assert "as upright with quaternion_order=xyzw, facing backwards" in notes


def test_nameless_joints_in_another_order_are_found(toy_walker, tmp_path, qpos):
    """mjlab's and Isaac Lab's files have no names, but the positions of all bodies."""
    phase = 2 * np.pi * np.arange(150)[:, None] / 50.0
    qpos[:, 7:] = 0.7 * np.sin(phase + np.arange(4))
    poses = Kinematics(toy_walker.model)(qpos)
    rows = slice(2, None)  # without world and floor
    bodies = {"body_pos_w": poses.positions[:, rows], "body_quat_w": poses.quaternions[:, rows]}
    names = [name for name in toy_walker.body_names[2:]]
    for order, is_kept in (([0, 1, 2, 3], True), ([0, 2, 1, 3], False)):
        path = tmp_path / f"{is_kept}.npz"
        np.savez(path, fps=50, joint_pos=qpos[:, 7:][:, order], body_names=names, **bodies)
        run = Preprocessor(toy_walker, PreprocessConfig())
        if is_kept:
            report = run.run([path], tmp_path / "clips.h5")
            assert "its body positions are the walker's" in report.recordings[0].notes
        else:
            with pytest.raises(UserError, match="its joints have no names, and in the walker's"):
                run.run([path], tmp_path / "other.h5")


def test_the_conventions_of_a_layout_are_not_options(toy_walker, shared_data):
    from vnl_mjx.clips.sources import SourceOptions, open_recording

    path = shared_data / "reference" / "stac_rodent_10f.h5"
    for key, value in {"length_unit": "mm", "up_axis": "y", "quaternion_order": "xyzw"}.items():
        with pytest.raises(UserError, match=f"read it without {key}={value}"):
            open_recording(path, SourceOptions(**{key: value}))


@pytest.mark.parametrize("key", ["quaternion_order", "length_unit", "up_axis", "missing_joints"])
def test_unknown_words_are_refused(key):
    with pytest.raises(UserError, match=rf"source_config\.{key}: expected"):
        from_dict(PreprocessConfig, {"source_config": {key: "w"}})


# --- limits of another body -------------------------------------------------------------------------


def test_limits_follow_the_body_and_are_recorded(toy_walker, arm, rodent, tmp_path, qpos):
    from vnl_mjx.clips.body_size import Ratios, for_body, ratios, scaled
    from vnl_mjx.config.preprocessing import ContactSection, QualityLimits, VelocitySection

    assert for_body(QualityLimits(), rodent) == QualityLimits(
        **{"marker_rms_mm": 6.0, "penetration_mm": 10.0, "speed": 3.0, "angular_speed": 20.0},
        **{"joint_speed": 60.0, "jump_m": 0.05, "jump_rad": 0.8, "jump_joint_rad": 1.5},
    )
    assert for_body(ContactSection(), rodent) == ContactSection(0.006, 0.1)
    assert for_body(VelocitySection(), rodent).max_qvel == 20.0
    large = scaled(QualityLimits(), Ratios(length=9.0), 25.0)
    assert (large.penetration_mm, large.speed, large.joint_speed) == (90.0, 9.0, 60.0)
    assert (large.jump_m, large.jump_rad) == (0.3, 1.6)  # at half the rate
    small = scaled(QualityLimits(penetration_mm=None, speed=1.0), Ratios(length=0.25))
    assert (small.penetration_mm, small.speed, small.joint_speed) == (None, 1.0, 120.0)
    assert ratios(arm).length > 1.0
    preprocess(toy_walker, tmp_path, qpos)
    with open_clip_file(tmp_path / "clips.h5") as file:
        options = file.metadata["options"]
    expected = for_body(QualityLimits(), toy_walker)
    assert options["quality_config"]["penetration_mm"] == expected.penetration_mm
    assert options["contact_config"]["height_m"] == for_body(ContactSection(), toy_walker).height_m
