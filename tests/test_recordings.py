"""Recordings: lazy frames, matching with a walker, and the real files."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vnl_mjx.clips.recording import LazyFrames
from vnl_mjx.clips.sources import SourceOptions, describe_recording, match_joints, open_recording
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker


@given(
    start=st.integers(-12, 12) | st.none(),
    stop=st.integers(-12, 12) | st.none(),
    step=st.integers(-4, 4).filter(bool) | st.none(),
    frame=st.integers(-9, 8),
)
def test_lazy_frames_are_sliced_like_an_array(start, stop, step, frame):
    array = np.arange(18).reshape(9, 2)
    lazy = LazyFrames(array.shape, array.dtype, lambda first, end: array[first:end])
    np.testing.assert_array_equal(lazy[start:stop:step], array[start:stop:step])
    np.testing.assert_array_equal(lazy[frame], array[frame])
    np.testing.assert_array_equal(np.asarray(lazy[:]), array)
    with pytest.raises(IndexError):
        lazy[9]


def test_joints_are_matched_by_name_else_by_count(tmp_path, toy_walker):
    order = [2, 0, 3, 1]
    names = [toy_walker.joint_names[joint] for joint in order]
    np.save(tmp_path / "poses.npy", np.tile(np.arange(11.0), (5, 1)))
    with open_recording(tmp_path / "poses.npy", SourceOptions(joint_names=names)) as recording:
        columns, note = match_joints(recording, toy_walker)
        assert note == "joints reordered by name"
        assert [recording.joint_names[column] for column in columns] == [*toy_walker.joint_names]
    with open_recording(tmp_path / "poses.npy") as recording:
        columns, note = match_joints(recording, toy_walker)
        assert columns is None and "taken to be in the walker's order" in note
    np.save(tmp_path / "other.npy", np.zeros((5, 12)))
    with open_recording(tmp_path / "other.npy") as recording:
        with pytest.raises(UserError, match=r"other\.npy.* 12 columns.*expected 11.*mjcf_path"):
            match_joints(recording, toy_walker)
    np.save(tmp_path / "turned.npy", np.zeros((11, 50)))
    with open_recording(tmp_path / "turned.npy") as recording:
        with pytest.raises(UserError, match=r"50 columns.*transposed"):
            match_joints(recording, toy_walker)
    wrong = ["hip_frnt", *toy_walker.joint_names[1:]]
    with open_recording(tmp_path / "poses.npy", SourceOptions(joint_names=wrong)) as recording:
        with pytest.raises(
            UserError, match=r"'hip_front' \(nearest: 'hip_frnt'\); not in the walk"
        ):
            match_joints(recording, toy_walker)


# Real files


@pytest.mark.parametrize(
    ("name", "takes", "stored"),
    [
        ("rodent_mocap_4x250.h5", [250] * 4, {"stored_xpos", "stored_xquat", "stored_qvel"}),
        ("stac_rodent_10f.h5", [10], {"stored_xpos", "stored_xquat", "marker_sites"}),
        ("stac_rodent_50f.h5", [50], {"stored_xpos", "marker_sites"}),
        ("stac_rodent_50f.p", [50], {"stored_xpos", "marker_sites"}),
    ],
)
def test_real_rodent_files(shared_data, rodent: Walker, name, takes, stored):
    with open_recording(shared_data / "reference" / name) as recording:
        assert recording.rate_hz is None and recording.qpos.shape == (sum(takes), 74)
        np.testing.assert_array_equal(recording.take_lengths, takes)
        optional = {"stored_xpos", "stored_xquat", "stored_qvel", "marker_sites"}
        assert {field for field in optional if getattr(recording, field) is not None} == stored
        assert match_joints(recording, rodent)[0] is None
        assert recording.body_names == tuple(n for n in rodent.body_names if n != "floor")
        assert len(recording.keypoint_names) == 23 and recording.keypoints.shape[1:] == (23, 3)
        assert np.abs(recording.qpos[:]).max() < 10
        if recording.marker_sites is not None:  # fitted markers are near the recorded ones
            apart = recording.marker_sites[:] - recording.keypoints[:]
            assert np.linalg.norm(apart, axis=-1).max() < 0.02


def test_pickle_and_hdf5_of_one_fit_are_equal(shared_data):
    folder = shared_data / "reference"
    with open_recording(folder / "stac_rodent_50f.p") as old:
        with open_recording(folder / "stac_rodent_50f.h5") as new:
            for name in ("qpos", "keypoints", "marker_sites", "stored_xpos"):
                np.testing.assert_array_equal(getattr(old, name)[:], getattr(new, name)[:])
            np.testing.assert_array_equal(old.keypoint_offsets, new.keypoint_offsets)
            assert (old.joint_names, old.keypoint_names) == (new.joint_names, new.keypoint_names)
        assert old.scale == 0.9 and len(old.keypoint_bodies) == 23


def test_markers_sit_on_their_bodies_with_their_offsets(shared_data):
    with open_recording(shared_data / "reference" / "stac_rodent_10f.h5") as recording:
        rows = [recording.body_names.index(body) for body in recording.keypoint_bodies]
        expected = np.empty((23, 3))
        for marker, row in enumerate(rows):
            quaternion = recording.stored_xquat[4][row].astype(np.float64)
            mujoco.mju_rotVecQuat(expected[marker], recording.keypoint_offsets[marker], quaternion)
            expected[marker] += recording.stored_xpos[4][row]
        np.testing.assert_allclose(recording.marker_sites[4], expected, atol=1e-4)


def test_real_mouse_arm_is_described_and_not_matched(shared_data, rodent):
    with open_recording(shared_data / "reference" / "stac_mouse_arm_1clip.h5") as recording:
        rows = describe_recording(recording)
        assert rows["columns"] == "4: joints only, a body fixed to the world"
        assert rows["joints"] == "4: sh_elv, sh_extension, sh_rotation, elbow_joint"
        assert rows["frames"] == "100" and "velocities" in rows["also stored"]
        with pytest.raises(UserError, match=r"of another body; give the MJCF"):
            match_joints(recording, rodent)
