"""Clip files that are refused, each in one line that says where and why."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from stac_files import stac_datasets, write_h5

from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker


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
        ("text.h5", b"hello", "truncated or not HDF5 at all; poses are read from stac-mjx output"),
        ("keypoints.mat", b"MATLAB 5.0 MAT-file, made on", "damaged MATLAB file"),
        ("clips.p", b"\x80\x04}.", "the pickle has no 'qpos'"),
    ):
        (tmp_path / name).write_bytes(content)
        assert expected in refusal(tmp_path / name, toy_walker)
    np.save(tmp_path / "poses.npy", np.ones((5, 11)))
    message = refusal(tmp_path / "poses.npy", toy_walker)
    assert "'qpos'" in message and "'all_clips'" in message and "vnl-mjx preprocess" in message


def test_hdf5_without_clips_says_what_it_found(toy_walker, tmp_path):
    path = write_h5(tmp_path / "other.h5", {"tracks": np.zeros(3), "kp_data": np.zeros(3)})
    message = refusal(path, toy_walker)
    assert "'kp_data', 'tracks'" in message and "'qpos'" in message
    message = refusal(write_h5(path, {"all_clips/position": np.zeros((1, 2, 3))}), toy_walker)
    assert "all_clips/quaternion, all_clips/joints missing" in message


def test_damaged_files_are_refused_and_never_crash(stac, equal_toy_clips, toy_walker, tmp_path):
    write_clips(tmp_path / "clips.h5", equal_toy_clips)
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
def test_not_a_number_is_located(stac, equal_toy_clips, toy_walker, dataset, index, value, place):
    values = stac_datasets(equal_toy_clips)[dataset].copy()
    values[index] = value
    message = refusal(stac(**{dataset: values}), toy_walker)
    assert f"'{dataset}' holds NaN or infinity (or more than 1e+10) in {place}" in message


def test_zero_quaternion_is_located(stac, equal_toy_clips, toy_walker):
    qpos = stac_datasets(equal_toy_clips)["qpos"].copy()
    qpos[13, 3:7] = 0
    message = refusal(stac(qpos=qpos), toy_walker)
    assert "quaternion of norm 0 in clip 1 ('turn'), frame 1" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"qpos": np.zeros((0, 11))}, "'qpos' is empty"),
        ({"qpos": np.zeros((24, 4))}, "'names_qpos' has 11 names"),
        ({"qpos": np.zeros(24)}, "shape (24,)"),
        ({"qpos": np.array([b"a", b"b"])}, "expected numbers"),
        (
            {"qpos": np.zeros((24, 4)), "names_qpos": None, "qvel": None},
            "4 columns of qpos, expected 11",
        ),
        ({"qvel": np.zeros((24, 9))}, "'qvel' has shape (24, 9), expected (24, 10)"),
        ({"qvel": np.zeros((23, 10))}, "'qvel' has shape (23, 10), expected (24 frames"),
        ({"xpos": np.zeros((23, 6, 3))}, "'xpos' has shape (23, 6, 3)"),
        ({"xquat": np.zeros((24, 5, 4))}, "7 body names in 'names_xpos' for the 5 of 'xquat'"),
        ({"names_xpos": np.array([b"torso"])}, "1 body names in 'names_xpos' for the 7"),
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
def test_all_clips_of_inconsistent_shapes_are_refused(equal_toy_clips, toy_walker, tmp_path, shape):
    write_clips(tmp_path / "clips.h5", equal_toy_clips)
    with h5py.File(tmp_path / "clips.h5", "a") as file:
        del file["all_clips/joints"]
        file["all_clips/joints"] = np.zeros(shape)
    message = refusal(tmp_path / "clips.h5", toy_walker)
    assert "joints" in message and str(shape[-1]) in message


@pytest.mark.parametrize("rate", [0.0, "fast", np.zeros(2)])
def test_bad_rate_attribute_is_refused(equal_toy_clips, toy_walker, tmp_path, rate):
    write_clips(tmp_path / "clips.h5", equal_toy_clips)
    with h5py.File(tmp_path / "clips.h5", "a") as file:
        file.attrs["rate_hz"] = rate
    assert "'rate_hz'" in refusal(tmp_path / "clips.h5", toy_walker)


def test_real_files_of_other_kinds_are_refused(shared_data, rodent):
    folder = shared_data / "reference"
    assert "another body" in refusal(folder / "stac_mouse_arm_1clip.h5", rodent)
    assert "`vnl-mjx fit " in refusal(folder / "rodent_keypoints_1000f.mat", rodent)
