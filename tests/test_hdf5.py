"""Clip files: both layouts, what is completed, and writing."""

import shutil
import tempfile
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stac_files import CLIP_LENGTH, RATE_HZ, smooth_poses, stac_datasets, write_h5

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.columns import finite_difference_qvel
from vnl_mjx.clips.container import FEATURES, REFERENCE_CLIP_FEATURES, ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import build_walker


def assert_same_features(found: ReferenceClips, expected: ReferenceClips, atol: float = 0.0):
    for name in FEATURES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=0, atol=atol, err_msg=name
        )


# STAC layout


def test_stac_file_is_read_whole(stac, equal_toy_clips, toy_walker):
    found = read_clips(stac(), toy_walker)
    assert_same_features(found, equal_toy_clips)
    assert found.names == ("walk_1", "turn")
    assert (found.source, found.rate_hz, found.sha256) == (
        "stac.h5",
        RATE_HZ,
        equal_toy_clips.sha256,
    )
    np.testing.assert_array_equal(found.lengths, [CLIP_LENGTH] * 2)
    assert found.notes == (
        "STAC files have no frame rate (RENDER_FPS, of its videos, is 50)",
        "no frame rate in the file: 50 Hz assumed",
    )
    assert read_clips(stac(), toy_walker, rate_hz=RATE_HZ).notes == ()


def test_older_stac_file_is_completed_from_its_poses(stac, equal_toy_clips, toy_walker):
    path = stac(config=None, xpos=None, xquat=None, names_xpos=None, qvel=np.zeros(0))
    found = read_clips(path, toy_walker, clip_length=CLIP_LENGTH)
    assert_same_features(found, equal_toy_clips)
    notes = " ".join(found.notes)
    assert "body_positions by forward" in notes and "body_quaternions by forward" in notes
    assert "velocities by finite differences" in notes
    np.testing.assert_array_equal(read_clips(path, toy_walker).lengths, [2 * CLIP_LENGTH])


def test_only_missing_orientations_are_computed(stac, equal_toy_clips, toy_walker):
    shifted = stac_datasets(equal_toy_clips)["xpos"] + np.float32(0.001)
    found = read_clips(stac(xquat=None, xpos=shifted), toy_walker)
    np.testing.assert_array_equal(found.body_quaternions, equal_toy_clips.body_quaternions)
    moved = [row for row, name in enumerate(equal_toy_clips.body_names) if name != "floor"]
    np.testing.assert_array_equal(found.body_positions[:, moved], shifted)


def test_joints_and_bodies_are_matched_by_name(stac, equal_toy_clips, toy_walker):
    whole = stac_datasets(equal_toy_clips)
    joint_order = [2, 0, 3, 1]
    body_order = np.random.default_rng(0).permutation(whole["xpos"].shape[1])
    qpos_columns = [*range(7), *(7 + j for j in joint_order)]
    path = stac(
        qpos=whole["qpos"][:, qpos_columns],
        qvel=whole["qvel"][:, [*range(6), *(6 + j for j in joint_order)]],
        names_qpos=whole["names_qpos"][qpos_columns],
        xpos=whole["xpos"][:, body_order],
        xquat=whole["xquat"][:, body_order],
        names_xpos=whole["names_xpos"][body_order],
    )
    found = read_clips(path, toy_walker)
    assert_same_features(found, equal_toy_clips)
    assert found.sha256 == equal_toy_clips.sha256
    assert "joints reordered by name" in found.notes


def test_bodies_without_names_are_the_walkers_without_the_floor(stac, equal_toy_clips, toy_walker):
    assert_same_features(read_clips(stac(names_xpos=None), toy_walker), equal_toy_clips)
    floor = toy_walker.body_names.index("floor")
    found = read_clips(stac(), toy_walker)
    expected = Kinematics(toy_walker.model)(toy_walker.model.qpos0[None]).positions
    np.testing.assert_array_equal(
        found.body_positions[:, floor], np.broadcast_to(expected[0, floor], (24, 3))
    )
    few = stac(names_xpos=None, xpos=stac_datasets(equal_toy_clips)["xpos"][:, :4], xquat=None)
    with pytest.raises(UserError, match=r"4 bodies without names, expected 8.*names_xpos"):
        read_clips(few, toy_walker)


def test_body_that_the_file_lacks_is_computed(stac, equal_toy_clips, toy_walker):
    whole = stac_datasets(equal_toy_clips)
    rows = [row for row, name in enumerate(whole["names_xpos"]) if name != b"foot_back"]
    changes = {name: whole[name][:, rows] for name in ("xpos", "xquat")}
    found = read_clips(stac(**changes, names_xpos=whole["names_xpos"][rows]), toy_walker)
    assert_same_features(found, equal_toy_clips)
    assert "1 bodies that the file lacks by forward kinematics" in found.notes


def test_tenfold_velocities_are_recomputed_and_noted(stac, equal_toy_clips, toy_walker):
    tenfold = 10 * stac_datasets(equal_toy_clips)["qvel"]
    found = read_clips(stac(qvel=tenfold), toy_walker)
    assert_same_features(found, equal_toy_clips)
    assert any("10 times the finite differences at 50 Hz: recomputed" in n for n in found.notes)
    twofold = tenfold / 5
    kept = read_clips(stac(qvel=twofold), toy_walker)
    np.testing.assert_array_equal(kept.qvel(), twofold)


def test_positions_of_another_scale_are_noted(stac, equal_toy_clips, toy_walker):
    doubled = 2 * stac_datasets(equal_toy_clips)["xpos"]
    notes = read_clips(stac(xpos=doubled), toy_walker).notes
    assert any("differ from the walker's forward kinematics" in note for note in notes)


@pytest.mark.parametrize(
    "text", [b"stac: {n_frames_per_clip: 10}", "stac: {n_frames_per_clip: 10}"]
)
def test_remainder_becomes_a_shorter_last_clip(stac, toy_walker, text):
    found = read_clips(
        stac(config=np.bytes_(text) if isinstance(text, bytes) else text), toy_walker
    )
    np.testing.assert_array_equal(found.lengths, [10, 10, 4])
    np.testing.assert_array_equal(found.starts, [0, 10, 20])
    assert found.names == ("clip_0", "clip_1", "clip_2")
    np.testing.assert_array_equal(read_clips(stac(), toy_walker, clip_length=99).lengths, [24])


def test_quaternions_are_normalised(stac, equal_toy_clips, toy_walker):
    qpos = stac_datasets(equal_toy_clips)["qpos"].copy()
    qpos[5, 3:7] *= 2
    found = read_clips(stac(qpos=qpos), toy_walker)
    np.testing.assert_allclose(found.quaternion, equal_toy_clips.quaternion, atol=1e-7)
    assert "1 quaternions of qpos normalised" in found.notes


# Velocities


def test_differences_stay_inside_a_clip_and_give_known_rates(toy_walker):
    frames, rate_hz = 10, 100.0
    seconds = np.arange(frames) / rate_hz
    qpos = np.tile(toy_walker.model.qpos0, (frames, 1))
    qpos[:, 0] = 0.3 * seconds
    # A body lying on its side (its y axis points up) that turns about the vertical at 2 rad/s.
    side, turn, pose = np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0]), np.zeros(4), np.zeros(4)
    for frame in range(frames):
        mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0, 1]), 2 * seconds[frame])
        mujoco.mju_mulQuat(pose, turn, side)
        qpos[frame, 3:7] = pose * (-1) ** frame  # q and -q are one orientation
    qpos[:, 7] = 0.5 * seconds
    qpos[5:, 0] += 100.0  # the second clip starts elsewhere
    qvel = finite_difference_qvel(qpos, Layout(qpos.shape[1] - 7), np.array([5, 4, 1]), rate_hz)
    expected = [0.3, 0, 0, 0, 2, 0, 0.5, 0, 0, 0]
    np.testing.assert_allclose(qvel[:9], np.tile(expected, (9, 1)), atol=1e-4)
    np.testing.assert_array_equal(qvel[9], 0)


# all_clips layout


@settings(max_examples=25, deadline=None)
@given(
    num_clips=st.integers(1, 4),
    length=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    rate_hz=st.floats(1, 500),
    names=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=4),
)
def test_write_then_read_is_the_identity(toy_walker, num_clips, length, seed, rate_hz, names):
    rng = np.random.default_rng(seed)
    poses = smooth_poses(toy_walker, num_clips * length, seed)
    made = clips_from_poses(
        toy_walker, poses, [length] * num_clips, rate_hz, names=names[:num_clips], source="made.h5"
    )
    free = ("velocity", "angular_velocity", "joints_velocity", "body_positions")
    made = made.replace(  # stored values count, not what the poses would give
        **{n: rng.normal(size=getattr(made, n).shape).astype(np.float32) for n in free}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.h5"
        write_clips(path, made)
        found = read_clips(path, toy_walker)
        assert [entry.name for entry in path.parent.iterdir()] == ["made.h5"]
    for name in REFERENCE_CLIP_FEATURES:  # the others follow from these and from the poses
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name), err_msg=name)
    np.testing.assert_array_equal(found.starts, made.starts)
    np.testing.assert_array_equal(found.lengths, made.lengths)
    for name in ("names", "rate_hz", "source", "joint_names", "body_names", "sha256"):
        assert getattr(found, name) == getattr(made, name)


def test_plain_reference_clip_group_is_completed(equal_toy_clips, toy_walker, tmp_path):
    features = {
        n: np.asarray(getattr(equal_toy_clips, n)) for n in ("position", "quaternion", "joints")
    }
    path = write_h5(
        tmp_path / "clips.h5",
        {f"all_clips/{n}": v.reshape(2, CLIP_LENGTH, -1) for n, v in features.items()},
    )
    found = read_clips(path, toy_walker)
    assert_same_features(found, equal_toy_clips)
    assert found.names == ("clip_0", "clip_1")
    cut = read_clips(path, toy_walker, clip_length=8)
    np.testing.assert_array_equal(cut.lengths, [8, 4, 8, 4])
    assert cut.names[1] == "clip_0_part_1"
    np.testing.assert_array_equal(cut.at(2, 0).joints, equal_toy_clips.at(1, 0).joints)


def test_hash_does_not_depend_on_the_files_name(equal_toy_clips, toy_walker, tmp_path):
    write_clips(tmp_path / "a.h5", equal_toy_clips)
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    a, b = (read_clips(tmp_path / name, toy_walker) for name in ("a.h5", "b.h5"))
    assert a.sha256 == b.sha256 == equal_toy_clips.sha256
    assert (a.source, b.source) == ("a.h5", "b.h5")


def test_thousands_of_clip_names_can_be_written(toy_walker, tmp_path):
    count = 6000  # beyond the 64 KiB that an attribute could hold in old HDF5 files
    names = tuple(f"a_rather_long_clip_name_{clip}" for clip in range(count))
    poses = smooth_poses(toy_walker, count)
    write_clips(
        tmp_path / "many.h5", clips_from_poses(toy_walker, poses, [1] * count, 50, names=names)
    )
    assert read_clips(tmp_path / "many.h5", toy_walker).names == names


def test_a_failed_write_leaves_the_old_file(equal_toy_clips, toy_walker, tmp_path, monkeypatch):
    path = tmp_path / "clips.h5"
    write_clips(path, equal_toy_clips)
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(UserError, match="cannot be written.*No space"):
        write_clips(path, equal_toy_clips)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clips.h5"]


def test_clips_of_different_lengths_cannot_be_written(toy_walker, tmp_path):
    clips = clips_from_poses(toy_walker, smooth_poses(toy_walker, 7), [3, 4], RATE_HZ)
    with pytest.raises(UserError, match="3 to 4 frames"):
        write_clips(tmp_path / "clips.h5", clips)
    with pytest.raises(UserError, match="cannot be written"):
        write_clips(tmp_path / "absent" / "clips.h5", clips.select([0]))


# Real files


def test_real_recording(shared_data, rodent):
    path = shared_data / "reference" / "rodent_mocap_4x250.h5"
    clips = read_clips(path, rodent)
    # Nothing else is assumed: what the file stores is kept, not computed anew.
    assert clips.notes == (
        "STAC files have no frame rate (RENDER_FPS, of its videos, is 50)",
        "no frame rate in the file: 50 Hz assumed",
        "no joint names: the columns are taken to be in the walker's order",
    )
    np.testing.assert_array_equal(clips.lengths, [250] * 4)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(clips.qpos(), file["qpos"][:])
        np.testing.assert_array_equal(clips.qvel(), file["qvel"][:])
        skull = rodent.body_names.index("skull")
        row = list(file["names_xpos"][:]).index(b"skull")
        np.testing.assert_array_equal(clips.body_positions[:, skull], file["xpos"][:, row])
    positions = Kinematics(rodent.model)(np.asarray(clips.qpos())).positions
    np.testing.assert_allclose(clips.body_positions, positions, rtol=0, atol=1e-6)
    floor = rodent.body_names.index("floor")
    assert len(np.unique(clips.body_positions[:, floor], axis=0)) == 1


@pytest.mark.parametrize(
    ("name", "frames", "atol_m"),
    [("stac_rodent_10f.h5", 10, 5e-4), ("stac_rodent_50f.h5", 50, 3e-3)],
)
def test_real_stac_output_is_one_clip(shared_data, rodent, name, frames, atol_m):
    clips = read_clips(shared_data / "reference" / name, rodent)
    np.testing.assert_array_equal(clips.lengths, [frames])
    positions = Kinematics(rodent.model)(np.asarray(clips.qpos())).positions
    np.testing.assert_allclose(clips.body_positions, positions, rtol=0, atol=atol_m)
    assert "velocities by finite differences" in clips.notes


def test_real_stac_pickle_is_the_same_clip(shared_data, rodent):
    folder = shared_data / "reference"
    old, new = (read_clips(folder / f"stac_rodent_50f{kind}", rodent) for kind in (".p", ".h5"))
    np.testing.assert_allclose(old.qpos(), new.qpos(), atol=1e-6)


def test_real_recording_against_a_larger_rodent_is_noted(shared_data):
    rodent = build_walker(WalkerConfig(rescale_factor=1.0))
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    assert any("rescale_factor 1" in note for note in clips.notes)
