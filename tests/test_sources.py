"""Recordings from HDF5 and pickles: STAC, ReferenceClip, our own; matching; what is refused."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.clips.file import ClipRow, write_clip_file
from vnl_mjx.clips.hdf5 import write_clips
from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.sources import SourceOptions, describe_recording, match_joints, open_recording
from vnl_mjx.errors import UserError

FRAMES, JOINTS, BODIES = 10, 3, 4
NAMES = ("hip", "knee", "ankle")
CONFIG = {
    "model": {
        "KEYPOINT_MODEL_PAIRS": {"Snout": "skull", "Foot": "foot"},
        "SCALE_FACTOR": 0.9,
        "RENDER_FPS": 30,
        "snips_order": ["data\\walk_1.p", "b/turn.p", "rear.p"],
    },
    "stac": {"n_frames_per_clip": 4},
}


def stac_fields() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"qpos": (7 + JOINTS,), "qvel": (6 + JOINTS,), "xpos": (BODIES, 3)}
    sizes |= {"xquat": (BODIES, 4), "kp_data": (6,), "marker_sites": (2, 3)}
    fields = {name: rng.normal(size=(FRAMES, *size)) for name, size in sizes.items()}
    return {
        **{name: values.astype(np.float32) for name, values in fields.items()},
        "kp_names": np.array(["Snout", "Foot"], "S"),
        "offsets": np.arange(6, dtype=np.float32),
        "names_qpos": np.array(["root"] * 7 + list(NAMES), "S"),
        "names_xpos": np.array(["world", "torso", "skull", "foot"], "S"),
    }


@pytest.fixture
def stac(tmp_path):
    """Returns a function that writes a STAC file with some datasets replaced (None: left out)."""

    def write(**changes: object) -> Path:
        with h5py.File(tmp_path / "stac.h5", "w") as file:
            for name, values in (
                {**stac_fields(), "config": yaml.safe_dump(CONFIG)} | changes
            ).items():
                if values is not None:
                    file[name] = values
        return tmp_path / "stac.h5"

    return write


def refusal(path: Path, **options) -> str:
    """The message of the UserError, which is one line and names the file."""
    with (
        pytest.raises(UserError) as caught,
        open_recording(path, SourceOptions(**options)) as recording,
    ):
        recording.qpos[:]
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


def assert_is_stac(recording: Recording, fields: dict[str, np.ndarray]) -> None:
    assert recording.rate_hz is None and recording.has_root and recording.joint_names == NAMES
    pairs = {"qpos": "qpos", "stored_qvel": "qvel", "stored_xpos": "xpos", "stored_xquat": "xquat"}
    pairs |= {"marker_sites": "marker_sites"}
    for name, field in pairs.items():
        np.testing.assert_array_equal(getattr(recording, name)[:], fields[field])
    np.testing.assert_array_equal(recording.keypoints[2:5], fields["kp_data"][2:5].reshape(3, 2, 3))
    np.testing.assert_array_equal(recording.keypoint_offsets, [[0, 1, 2], [3, 4, 5]])
    assert recording.keypoint_names == ("Snout", "Foot")
    assert recording.keypoint_bodies == ("skull", "foot")
    assert recording.body_names == ("world", "torso", "skull", "foot")
    assert recording.scale == 0.9
    np.testing.assert_array_equal(recording.take_lengths, [4, 4, 2])


@pytest.mark.parametrize("as_bytes", [True, False])
def test_stac_hdf5(stac, as_bytes):
    text = yaml.safe_dump(CONFIG)
    path = stac(config=np.bytes_(text.encode()) if as_bytes else text)
    with open_recording(path) as recording:
        assert_is_stac(recording, stac_fields())
        assert recording.take_names == ("walk_1", "turn", "rear")
        assert recording.notes == (
            "the last take has 2 frames, not 4",
            "STAC files have no frame rate (RENDER_FPS, of its videos, is 30)",
        )
    with open_recording(path, SourceOptions(rate_hz=100.0, take_length=5)) as recording:
        assert (recording.rate_hz, recording.notes) == (100.0, ())
        np.testing.assert_array_equal(recording.take_lengths, [5, 5])
    with pytest.raises(ValueError, match="is closed"):
        recording.qpos[:1]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_stac_pickle_is_the_same_recording(tmp_path, protocol):
    fields = stac_fields()
    values = {k: v.astype(str).tolist() if v.dtype.kind == "S" else v for k, v in fields.items()}
    values |= {"walker_body_sites": values.pop("marker_sites"), "N_FRAMES_PER_CLIP": 4}
    path = tmp_path / "stac.p"
    path.write_bytes(pickle.dumps(values | CONFIG["model"], protocol))
    with open_recording(path) as recording:
        assert_is_stac(recording, fields)
        assert recording.take_names == ("walk_1", "turn", "rear")


def test_old_stac_file_without_names_or_configuration(stac):
    none = dict.fromkeys(("config", "names_qpos", "xpos", "xquat", "offsets", "marker_sites"))
    with open_recording(stac(**none, qvel=np.zeros(0))) as recording:
        assert recording.joint_names is None and recording.has_root
        assert recording.stored_qvel is None and recording.keypoint_bodies == ()
        np.testing.assert_array_equal(recording.take_lengths, [FRAMES])
        assert "columns 0 to 6 are taken for the root's" in recording.notes[-1]
        assert any("which bodies" in note for note in recording.notes)


def test_body_without_a_root(stac, toy_walker):
    arm = {"qpos": np.ones((FRAMES, 9)), "qvel": np.ones((FRAMES, 9))}
    with open_recording(stac(**arm, names_qpos=None)) as recording:
        assert not recording.has_root and recording.num_joints == 9
        assert "9: joints only" in describe_recording(recording)["columns"]
        with pytest.raises(UserError, match=r"no free root.*walker_config\.mjcf_path"):
            match_joints(recording, toy_walker)
    names = np.array([f"joint_{n}" for n in range(9)], "S")
    with open_recording(stac(**arm, names_qpos=names)) as recording:
        assert recording.joint_names == tuple(names.astype(str)) and not recording.has_root


def test_frames_stay_in_the_file_until_sliced(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["frame"] = np.ones(20, np.float32)
    layout = h5py.VirtualLayout((10**9, 20), np.float32)
    layout[10**8] = h5py.VirtualSource(tmp_path / "one.h5", "frame", (20,))
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_virtual_dataset("qpos", layout, fillvalue=0.0)
    with open_recording(tmp_path / "huge.h5") as recording:
        assert recording.num_frames == 10**9
        assert recording.qpos[10**8 - 1 : 10**8 + 2].sum() == 20.0
        assert describe_recording(recording)["frames"] == "1,000,000,000"


# Clip files


def test_clip_files_of_both_layouts(tmp_path, toy_walker, toy_clips: ReferenceClips):
    clips = toy_clips.select([0])
    write_clips(tmp_path / "all_clips.h5", clips)
    features = {name: np.asarray(getattr(clips, name)) for name in FEATURES}
    info = ClipInfo(made_by="gait")
    with write_clip_file(tmp_path / "own.h5", toy_walker, clips.rate_hz, {}) as writer:
        for name, rows in (("sway_0", slice(0, 25)), ("sway_1", slice(25, 40))):
            part = {key: values[rows] for key, values in features.items()}
            writer.append(part, ClipRow(name, rows.stop - rows.start, info))
    for file, lengths, made_by in (("all_clips.h5", [40], None), ("own.h5", [25, 15], "gait")):
        with open_recording(tmp_path / file) as found:
            np.testing.assert_array_equal(found.qpos[5:31], clips.qpos()[5:31])
            np.testing.assert_array_equal(found.stored_qvel[:], clips.qvel())
            np.testing.assert_array_equal(found.stored_xquat[3:9], clips.body_quaternions[3:9])
            assert (found.rate_hz, found.made_by) == (clips.rate_hz, made_by)
            assert found.joint_names == toy_walker.joint_names
            assert found.body_names == toy_walker.body_names
            np.testing.assert_array_equal(found.take_lengths, lengths)
            assert found.take_names == ("sway_0", "sway_1")[: len(lengths)]
            assert match_joints(found, toy_walker) == (None, None)
            assert ("synthetic" in describe_recording(found).get("made by", "")) == bool(made_by)
    with open_recording(tmp_path / "own.h5", SourceOptions(take_length=20)) as found:
        assert found.take_names == ("sway_0_part_0", "sway_0_part_1", "sway_1")
        np.testing.assert_array_equal(found.take_lengths, [20, 5, 15])


def test_reading_across_clips(tmp_path):
    rng = np.random.default_rng(0)
    position, quaternion, joints = (rng.normal(size=(5, 4, n)) for n in (3, 4, 2))
    with h5py.File(tmp_path / "clips.h5", "w") as file:
        for name in ("position", "quaternion", "joints"):
            file[f"all_clips/{name}"] = locals()[name]
    whole = np.concatenate([position, quaternion, joints], -1).reshape(20, 9)
    with open_recording(tmp_path / "clips.h5") as recording:
        for rows in (slice(0, 20), slice(3, 5), slice(7, 17), slice(4, 8), slice(19, 20)):
            np.testing.assert_array_equal(recording.qpos[rows], whole[rows])
        assert recording.take_names[4] == "clip_4" and recording.rate_hz is None


# What is refused


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"qpos": np.zeros((0, 10))}, "'qpos' is empty"),
        ({"qpos": np.zeros(10)}, "'qpos' has shape (10,), expected (frames, columns)"),
        ({"qpos": np.array([[b"a"]])}, "expected numbers"),
        ({"qpos": np.zeros((4, 10), complex)}, "expected numbers"),
        ({"qpos": None}, "'kp_data'"),
        ({"qpos": h5py.Empty("f4")}, "'qpos' is empty"),
        ({"names_qpos": np.array([b"root"] * 7)}, "'names_qpos' has 7 names"),
        ({"qvel": np.zeros((9, 9))}, "'qvel' has shape (9, 9)"),
        ({"xpos": np.zeros((9, 4, 3))}, "'xpos' has shape (9, 4, 3), expected (10 frames"),
        ({"xquat": np.zeros((10, 4, 3))}, "'xquat' has shape"),
        ({"names_xpos": np.array([b"torso"])}, "1 body names in 'names_xpos' for the 4"),
        ({"kp_data": np.zeros((10, 5))}, "'kp_data' has shape (10, 5)"),
        ({"offsets": np.zeros((3, 3))}, "'offsets' has shape (3, 3), expected (2 keypoints, 3)"),
        ({"config": "a: b: c"}, "give take_length"),
        ({"config": "stac: {n_frames_per_clip: 0}"}, "n_frames_per_clip is 0"),
        ({"config": "stac: {n_frames_per_clip: [1]}"}, "n_frames_per_clip is list"),
    ],
)
def test_stac_data_that_does_not_fit_is_refused(stac, changes, expected):
    assert expected in refusal(stac(**changes))


def test_what_is_no_recording_is_refused(tmp_path):
    endless: list = ["hip"]
    endless.append(endless)
    assert "no such file" in refusal(tmp_path / "absent.h5")
    assert "is a directory" in refusal(tmp_path)
    for name, content, expected in (
        ("empty.h5", b"", "is empty"),
        ("text.h5", b"hello", "truncated or not HDF5"),
        ("notes.txt", b"hello", "not of a known kind"),
        ("poses.p.gz", b"\x1f\x8b\x08", "compressed with gzip"),
        ("poses.joblib", b"x\x9c\x00", "compressed with zlib"),
        ("poses.p", pickle.dumps({"xpos": np.zeros(3)}), "has no 'qpos'; found 'xpos'"),
        ("ragged.p", pickle.dumps({"qpos": [[1.0], [2.0, 3.0]]}), "'qpos' holds list"),
        ("words.p", pickle.dumps({"qpos": "many"}), "'qpos' holds str, expected numbers"),
        ("cyclic.p", pickle.dumps({"qpos": np.ones((2, 9)), "names_qpos": endless}), "2 names"),
        ("none.p", pickle.dumps({"qpos": []}), "'qpos' is empty"),
    ):
        (tmp_path / name).write_bytes(content)
        assert expected in refusal(tmp_path / name)


def test_options_are_checked(stac):
    for options, expected in (
        ({"rate_hz": float("nan")}, "rate_hz: expected a positive"),
        ({"rate_hz": 0.0}, "rate_hz: expected a positive"),
        ({"take_length": 0}, "take_length: expected at least 1"),
        ({"angle_unit": "turns"}, "angle_unit: expected radians or degrees, found 'turns'"),
        ({"angle_unit": "degrees"}, "whose angles are radians"),
        ({"joint_names": ["a"]}, "joint_names: 1 joint names"),
    ):
        with pytest.raises(UserError, match=expected):
            open_recording(stac(), SourceOptions(**options))


def test_damaged_files_are_refused_and_never_crash(stac, tmp_path, toy_clips):
    write_clips(tmp_path / "clips.h5", toy_clips.select([0]))
    pickled = tmp_path / "stac.p"
    pickled.write_bytes(pickle.dumps(stac_fields()))
    rng = np.random.default_rng(0)
    for path in (stac(), tmp_path / "clips.h5", pickled):
        whole = path.read_bytes()
        damaged = tmp_path / f"damaged{path.suffix}"
        for size in np.linspace(1, len(whole) - 1, 20).astype(int):
            damaged.write_bytes(whole[:size])
            refusal(damaged)
        for place in rng.integers(0, len(whole), 60):  # some bytes do not matter
            damaged.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
            try:
                with open_recording(damaged) as recording:
                    assert recording.qpos[:].shape == recording.qpos.shape
            except UserError as error:
                assert "\n" not in str(error)


def test_settings_that_make_no_sense_are_left_out(stac):
    model = {"SCALE_FACTOR": 10**400, "RENDER_FPS": [50], "KEYPOINT_MODEL_PAIRS": {"Snout": [1]}}
    config = {"model": model | {"snips_order": [1, 2, 3]}, "stac": {"n_frames_per_clip": 4}}
    with open_recording(stac(config=yaml.safe_dump(config))) as recording:
        assert recording.scale is None and recording.keypoint_bodies == ()
        assert recording.take_names == ("clip_0", "clip_1", "clip_2")
