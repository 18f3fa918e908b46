"""Clip files: both layouts, what is completed, what is refused, and writing."""

import shutil
import tempfile
import time
from pathlib import Path

import h5py
import mujoco
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.reference.assembly import clips_from_poses
from vnl_mjx.reference.clips import FEATURES, REFERENCE_CLIP_FEATURES, ReferenceClips
from vnl_mjx.reference.hdf5 import read_clips, write_clips
from vnl_mjx.reference.kinematics import forward_kinematics
from vnl_mjx.reference.velocities import finite_difference_qvel
from vnl_mjx.walkers.walker import Walker, build_walker

RATE_HZ = 50.0
CLIP_LENGTH = 12


def smooth_poses(walker: Walker, num_frames: int, seed: int = 0) -> np.ndarray:
    """Poses that drift, turn about the vertical and swing the joints, float32 [frame, nq]."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(num_frames) / RATE_HZ
    qpos = np.tile(walker.model.qpos0, (num_frames, 1))
    qpos[:, :2] += seconds[:, None] * rng.normal(0.0, 0.1, 2)
    yaw = seconds * rng.normal()
    qpos[:, 3], qpos[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    joints = len(walker.joint_names)
    phase = rng.uniform(0, 2 * np.pi, joints) + 2 * np.pi * seconds[:, None]
    qpos[:, 7:] = 0.3 * np.sin(phase)
    return qpos.astype(np.float32)


@pytest.fixture(scope="module")
def clips(toy_walker: Walker) -> ReferenceClips:
    """Two clips of 12 frames of the toy walker."""
    poses = smooth_poses(toy_walker, 2 * CLIP_LENGTH)
    return clips_from_poses(toy_walker, poses, [CLIP_LENGTH] * 2, RATE_HZ, names=("walk", "turn"))


def stac_datasets(clips: ReferenceClips) -> dict[str, object]:
    """Every dataset of a STAC file with these clips; it has no floor body."""
    kept = [row for row, name in enumerate(clips.body_names) if name != "floor"]
    config = {
        "model": {"RENDER_FPS": 50, "snips_order": ["data/snips/walk_1.p", "turn.p"]},
        "stac": {"n_frames_per_clip": CLIP_LENGTH},
    }
    return {
        "qpos": np.asarray(clips.qpos()),
        "qvel": np.asarray(clips.qvel()),
        "xpos": np.asarray(clips.body_positions)[:, kept],
        "xquat": np.asarray(clips.body_quaternions)[:, kept],
        "names_qpos": np.array(["root"] * 7 + list(clips.joint_names), "S"),
        "names_xpos": np.array([clips.body_names[row] for row in kept], "S"),
        "config": yaml.safe_dump(config),
        "kp_data": np.zeros((3, 2), np.float32),
    }


def write_h5(path: Path, datasets: dict[str, object]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


@pytest.fixture
def stac(clips, tmp_path):
    """Returns a function that writes a STAC file with some datasets replaced (None: left out)."""

    def write(**changes: object) -> Path:
        datasets = {k: v for k, v in (stac_datasets(clips) | changes).items() if v is not None}
        return write_h5(tmp_path / "stac.h5", datasets)

    return write


def assert_same_features(found: ReferenceClips, expected: ReferenceClips, atol: float = 0.0):
    for name in FEATURES:
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=0, atol=atol, err_msg=name
        )


# STAC layout


def test_stac_file_is_read_whole(stac, clips, toy_walker):
    found = read_clips(stac(), toy_walker)
    assert_same_features(found, clips)
    assert found.names == ("walk_1", "turn")
    assert (found.source, found.rate_hz, found.sha256) == ("stac.h5", RATE_HZ, clips.sha256)
    np.testing.assert_array_equal(found.lengths, [CLIP_LENGTH] * 2)
    assert found.notes == ("no frame rate in the file: 50 Hz assumed",)
    assert read_clips(stac(), toy_walker, rate_hz=RATE_HZ).notes == ()


def test_older_stac_file_is_completed_from_its_poses(stac, clips, toy_walker):
    path = stac(config=None, xpos=None, xquat=None, names_xpos=None, qvel=np.zeros(0))
    found = read_clips(path, toy_walker, clip_length=CLIP_LENGTH)
    assert_same_features(found, clips)
    notes = " ".join(found.notes)
    assert "body_positions by forward" in notes and "body_quaternions by forward" in notes
    assert "velocities by finite differences" in notes
    np.testing.assert_array_equal(read_clips(path, toy_walker).lengths, [2 * CLIP_LENGTH])


def test_only_missing_orientations_are_computed(stac, clips, toy_walker):
    shifted = stac_datasets(clips)["xpos"] + np.float32(0.001)
    found = read_clips(stac(xquat=None, xpos=shifted), toy_walker)
    np.testing.assert_array_equal(found.body_quaternions, clips.body_quaternions)
    moved = [row for row, name in enumerate(clips.body_names) if name != "floor"]
    np.testing.assert_array_equal(found.body_positions[:, moved], shifted)


def test_joints_and_bodies_are_matched_by_name(stac, clips, toy_walker):
    whole = stac_datasets(clips)
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
    assert_same_features(found, clips)
    assert found.sha256 == clips.sha256
    assert "joints reordered by name" in found.notes


def test_bodies_without_names_are_the_walkers_without_the_floor(stac, clips, toy_walker):
    assert_same_features(read_clips(stac(names_xpos=None), toy_walker), clips)
    floor = toy_walker.body_names.index("floor")
    found = read_clips(stac(), toy_walker)
    expected = forward_kinematics(toy_walker.model, toy_walker.model.qpos0[None]).positions
    np.testing.assert_array_equal(
        found.body_positions[:, floor], np.broadcast_to(expected[0, floor], (24, 3))
    )
    few = stac(names_xpos=None, xpos=stac_datasets(clips)["xpos"][:, :4], xquat=None)
    with pytest.raises(UserError, match=r"4 bodies without names, expected 8.*names_xpos"):
        read_clips(few, toy_walker)


def test_body_that_the_file_lacks_is_computed(stac, clips, toy_walker):
    whole = stac_datasets(clips)
    rows = [row for row, name in enumerate(whole["names_xpos"]) if name != b"foot_back"]
    changes = {name: whole[name][:, rows] for name in ("xpos", "xquat")}
    found = read_clips(stac(**changes, names_xpos=whole["names_xpos"][rows]), toy_walker)
    assert_same_features(found, clips)
    assert "1 bodies that the file lacks by forward kinematics" in found.notes


def test_tenfold_velocities_are_recomputed_and_noted(stac, clips, toy_walker):
    tenfold = 10 * stac_datasets(clips)["qvel"]
    found = read_clips(stac(qvel=tenfold), toy_walker)
    assert_same_features(found, clips)
    assert any("10 times the finite differences at 50 Hz: recomputed" in n for n in found.notes)
    twofold = tenfold / 5
    kept = read_clips(stac(qvel=twofold), toy_walker)
    np.testing.assert_array_equal(kept.qvel(), twofold)


def test_positions_of_another_scale_are_noted(stac, clips, toy_walker):
    doubled = 2 * stac_datasets(clips)["xpos"]
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


def test_quaternions_are_normalised(stac, clips, toy_walker):
    qpos = stac_datasets(clips)["qpos"].copy()
    qpos[5, 3:7] *= 2
    found = read_clips(stac(qpos=qpos), toy_walker)
    np.testing.assert_allclose(found.quaternion, clips.quaternion, atol=1e-7)
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
    qvel = finite_difference_qvel(qpos, np.array([5, 4, 1]), rate_hz)
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


def test_plain_reference_clip_group_is_completed(clips, toy_walker, tmp_path):
    features = {n: np.asarray(getattr(clips, n)) for n in ("position", "quaternion", "joints")}
    path = write_h5(
        tmp_path / "clips.h5",
        {f"all_clips/{n}": v.reshape(2, CLIP_LENGTH, -1) for n, v in features.items()},
    )
    found = read_clips(path, toy_walker)
    assert_same_features(found, clips)
    assert found.names == ("clip_0", "clip_1")
    cut = read_clips(path, toy_walker, clip_length=8)
    np.testing.assert_array_equal(cut.lengths, [8, 4, 8, 4])
    assert cut.names[1] == "clip_0_part_1"
    np.testing.assert_array_equal(cut.at(2, 0).joints, clips.at(1, 0).joints)


def test_hash_does_not_depend_on_the_files_name(clips, toy_walker, tmp_path):
    write_clips(tmp_path / "a.h5", clips)
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    a, b = (read_clips(tmp_path / name, toy_walker) for name in ("a.h5", "b.h5"))
    assert a.sha256 == b.sha256 == clips.sha256
    assert (a.source, b.source) == ("a.h5", "b.h5")


def test_thousands_of_clip_names_can_be_written(toy_walker, tmp_path):
    count = 6000  # beyond the 64 KiB that an attribute could hold in old HDF5 files
    names = tuple(f"a_rather_long_clip_name_{clip}" for clip in range(count))
    poses = smooth_poses(toy_walker, count)
    write_clips(
        tmp_path / "many.h5", clips_from_poses(toy_walker, poses, [1] * count, 50, names=names)
    )
    assert read_clips(tmp_path / "many.h5", toy_walker).names == names


def test_a_failed_write_leaves_the_old_file(clips, toy_walker, tmp_path, monkeypatch):
    path = tmp_path / "clips.h5"
    write_clips(path, clips)
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(UserError, match="cannot be written.*No space"):
        write_clips(path, clips)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clips.h5"]


def test_clips_of_different_lengths_cannot_be_written(toy_walker, tmp_path):
    clips = clips_from_poses(toy_walker, smooth_poses(toy_walker, 7), [3, 4], RATE_HZ)
    with pytest.raises(UserError, match="3 to 4 frames"):
        write_clips(tmp_path / "clips.h5", clips)
    with pytest.raises(UserError, match="cannot be written"):
        write_clips(tmp_path / "absent" / "clips.h5", clips.select([0]))


# What is refused


def refusal(path: Path, walker: Walker, **options) -> str:
    """The message of the UserError, which is one line and names the file."""
    with pytest.raises(UserError) as caught:
        read_clips(path, walker, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_what_is_not_a_clip_file_is_refused(toy_walker, tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.h5", toy_walker)
    assert "is a directory" in refusal(tmp_path, toy_walker)
    for name, content, expected in (
        ("empty.h5", b"", "is empty"),
        ("text.h5", b"hello", "not an HDF5 file"),
        ("keypoints.mat", b"MATLAB 5.0 MAT-file, made on", "MATLAB v5"),
        ("clips.p", b"\x80\x04}.", "pickle"),
    ):
        (tmp_path / name).write_bytes(content)
        message = refusal(tmp_path / name, toy_walker)
        assert expected in message and "'qpos'" in message and "'all_clips'" in message


def test_hdf5_without_clips_says_what_it_found(toy_walker, tmp_path):
    path = write_h5(tmp_path / "other.h5", {"tracks": np.zeros(3), "kp_data": np.zeros(3)})
    message = refusal(path, toy_walker)
    assert "'kp_data', 'tracks'" in message and "'qpos'" in message
    message = refusal(write_h5(path, {"all_clips/position": np.zeros((1, 2, 3))}), toy_walker)
    assert "all_clips/quaternion, all_clips/joints missing" in message


def test_damaged_files_are_refused_and_never_crash(stac, clips, toy_walker, tmp_path):
    write_clips(tmp_path / "clips.h5", clips)
    rng = np.random.default_rng(0)
    for whole in (stac().read_bytes(), (tmp_path / "clips.h5").read_bytes()):
        damaged = tmp_path / "damaged.h5"
        for size in np.linspace(1, len(whole) - 1, 25).astype(int):
            damaged.write_bytes(whole[:size])
            refusal(damaged, toy_walker)
        for place in rng.integers(0, len(whole), 60):  # some bytes do not matter
            damaged.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
            try:
                read_clips(damaged, toy_walker)
            except UserError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("dataset", "index", "value", "place"),
    [
        ("qpos", (17, 9), np.nan, "clip 1 ('turn'), frame 5"),
        ("qpos", (12, 0), np.nan, "clip 1 ('turn'), frame 0"),
        ("xpos", (11, 2, 1), np.inf, "clip 0 ('walk_1'), frame 11"),
        ("qvel", (0, 0), -np.inf, "clip 0 ('walk_1'), frame 0"),
    ],
)
def test_not_a_number_is_located(stac, clips, toy_walker, dataset, index, value, place):
    values = stac_datasets(clips)[dataset].copy()
    values[index] = value
    message = refusal(stac(**{dataset: values}), toy_walker)
    assert f"'{dataset}' holds NaN or infinity in {place}" in message


def test_zero_quaternion_is_located(stac, clips, toy_walker):
    qpos = stac_datasets(clips)["qpos"].copy()
    qpos[13, 3:7] = 0
    message = refusal(stac(qpos=qpos), toy_walker)
    assert "quaternion of norm 0 in clip 1 ('turn'), frame 1" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"qpos": np.zeros((0, 11))}, "'qpos' is empty"),
        ({"qpos": np.zeros((24, 4))}, r"shape (24, 4), expected (frames, 11)"),
        ({"qpos": np.zeros(24)}, "shape (24,)"),
        ({"qpos": np.array([b"a", b"b"])}, "expected numbers"),
        ({"qvel": np.zeros((23, 10))}, "'qvel' has shape (23, 10), expected (24, 10)"),
        ({"xpos": np.zeros((23, 6, 3))}, "'xpos' has shape (23, 6, 3)"),
        ({"xquat": np.zeros((24, 5, 4))}, "'xquat' has shape (24, 5, 4)"),
        ({"names_xpos": np.array([b"torso"])}, "1 body names for the 7 bodies"),
        ({"names_xpos": np.array([b"Torso"] * 7)}, "'torso' (nearest: 'Torso')"),
        ({"names_qpos": np.array([b"root"] * 7)}, "'names_qpos' has 7 names"),
        (
            {"names_qpos": np.array([b"root"] * 7 + [b"hip_frnt", b"a", b"b", b"c"])},
            "'hip_front' (nearest: 'hip_frnt'), 'ankle_front'",
        ),
        ({"config": "a: b: c"}, "give clip_length"),
        ({"config": "stac: {n_frames_per_clip: 0}"}, "n_frames_per_clip is 0"),
    ],
)
def test_stac_data_that_does_not_fit_is_refused(stac, toy_walker, changes, expected):
    assert expected in refusal(stac(**changes), toy_walker)


def test_options_are_checked(stac, toy_walker):
    with pytest.raises(UserError, match="clip_length: expected at least 1"):
        read_clips(stac(), toy_walker, clip_length=0)
    for rate_hz in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="rate_hz: expected a positive"):
            read_clips(stac(), toy_walker, rate_hz=rate_hz)


@pytest.mark.parametrize("shape", [(2, 11, 4), (1, 12, 4), (2, 12), (2, 12, 5)])
def test_all_clips_of_inconsistent_shapes_are_refused(clips, toy_walker, tmp_path, shape):
    write_clips(tmp_path / "clips.h5", clips)
    with h5py.File(tmp_path / "clips.h5", "a") as file:
        del file["all_clips/joints"]
        file["all_clips/joints"] = np.zeros(shape)
    message = refusal(tmp_path / "clips.h5", toy_walker)
    assert "joints" in message and str(shape[-1]) in message


@pytest.mark.parametrize("rate", [0.0, "fast", np.zeros(2)])
def test_bad_rate_attribute_is_refused(clips, toy_walker, tmp_path, rate):
    write_clips(tmp_path / "clips.h5", clips)
    with h5py.File(tmp_path / "clips.h5", "a") as file:
        file.attrs["rate_hz"] = rate
    assert "'rate_hz'" in refusal(tmp_path / "clips.h5", toy_walker)


# Real files


def test_real_recording(shared_data, rodent):
    path = shared_data / "reference" / "rodent_mocap_4x250.h5"
    began = time.perf_counter()
    clips = read_clips(path, rodent)
    assert time.perf_counter() - began < 1.0
    np.testing.assert_array_equal(clips.lengths, [250] * 4)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(clips.qpos(), file["qpos"][:])
        np.testing.assert_array_equal(clips.qvel(), file["qvel"][:])
        skull = rodent.body_names.index("skull")
        row = list(file["names_xpos"][:]).index(b"skull")
        np.testing.assert_array_equal(clips.body_positions[:, skull], file["xpos"][:, row])
    positions = forward_kinematics(rodent.model, np.asarray(clips.qpos())).positions
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
    positions = forward_kinematics(rodent.model, np.asarray(clips.qpos())).positions
    np.testing.assert_allclose(clips.body_positions, positions, rtol=0, atol=atol_m)
    assert "velocities by finite differences" in clips.notes


def test_real_recording_against_a_larger_rodent_is_noted(shared_data):
    rodent = build_walker(WalkerConfig(rescale_factor=1.0))
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    assert any("rescale_factor 1" in note for note in clips.notes)


def test_real_files_of_other_kinds_are_refused(shared_data, rodent):
    folder = shared_data / "reference"
    assert "another body" in refusal(folder / "stac_mouse_arm_1clip.h5", rodent)
    assert "MATLAB v5" in refusal(folder / "rodent_keypoints_1000f.mat", rodent)
    assert "pickle" in refusal(folder / "stac_rodent_50f.p", rodent)
