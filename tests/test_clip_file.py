"""Our clip file: what is written is read back, whole or clip by clip, or refused in one line."""

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.clips.file import ClipRow, open_clip_file, write_clip_file
from vnl_mjx.clips.hdf5 import append_clips, read_clips, stored_clips, stored_metadata
from vnl_mjx.errors import UserError

LENGTHS = (7, 1, 12)
RATE_HZ = 50.0


def made_clips(walker, lengths=LENGTHS, seed=0) -> ReferenceClips:
    rng = np.random.default_rng(seed)
    qpos = np.tile(walker.model.qpos0, (sum(lengths), 1))
    qpos[:, 7:] += rng.uniform(-0.3, 0.3, (len(qpos), len(walker.joint_names)))
    qpos[:, :3] += rng.normal(0, 0.01, (len(qpos), 3)).cumsum(axis=0)
    info = tuple(ClipInfo(source=f"day_{i}.h5", start_s=0.5 * i) for i in range(len(lengths)))
    return clips_from_poses(walker, qpos, lengths, RATE_HZ).replace(info=info)


def write(path: Path, walker, clips: ReferenceClips, **quality: float) -> Path:
    with write_clip_file(path, walker, clips.rate_hz, {"options": {"a": 1}}) as writer:
        append_clips(writer, clips, quality)
    return path


def assert_same(found: ReferenceClips, expected: ReferenceClips) -> None:
    for name in FEATURES:
        np.testing.assert_array_equal(
            np.asarray(getattr(found, name)), np.asarray(getattr(expected, name)), err_msg=name
        )
    for name in ("names", "info", "rate_hz", "sha256", "joint_names", "body_names"):
        assert getattr(found, name) == getattr(expected, name), name
    np.testing.assert_array_equal(found.lengths, expected.lengths)


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    label=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)
def test_write_then_read_is_the_identity(toy_walker, lengths, seed, label):
    clips = made_clips(toy_walker, lengths, seed)
    info = (ClipInfo(source="ü.h5", label=label, made_by="made", mirrored=True, held_out=True),)
    clips = clips.replace(info=info * len(lengths))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "clips.h5", toy_walker, clips)
        found = read_clips(path, toy_walker)
        assert [entry.name for entry in Path(folder).iterdir()] == ["clips.h5"]
    assert_same(found, clips)
    assert found.notes == ("some clips are mirrored copies of others",)


def test_same_input_gives_the_same_bytes(toy_walker, tmp_path):
    clips = made_clips(toy_walker)
    first = write(tmp_path / "a.h5", toy_walker, clips, speed=1.0).read_bytes()
    time.sleep(1.1)  # times in HDF5 are whole seconds
    assert write(tmp_path / "b.h5", toy_walker, clips, speed=1.0).read_bytes() == first


def test_clips_are_read_one_at_a_time(toy_walker, tmp_path):
    clips = made_clips(toy_walker)
    path = write(tmp_path / "clips.h5", toy_walker, clips, speed=0.25)
    with open_clip_file(path) as file:
        assert (file.num_clips, file.rate_hz) == (3, RATE_HZ)
        assert file.quality["speed"].tolist() == [0.25] * 3
        part = {name: file.feature(2, name)[3:5] for name in file.stored}
    for name in FEATURES:
        np.testing.assert_array_equal(part[name], np.asarray(getattr(clips, name))[11:13])
    assert_same(read_clips(path, toy_walker, clips=[2, 0]), clips.select([2, 0]))
    streamed = list(stored_clips(path, toy_walker))
    assert [one.names for one, _ in streamed] == [("clip_0",), ("clip_1",), ("clip_2",)]
    assert_same(streamed[1][0], clips.select([1]))
    assert streamed[0][1] == {"speed": 0.25}
    assert stored_metadata(path)["options"] == {"a": 1}


def test_clip_length_cuts_and_keeps_times(toy_walker, tmp_path):
    path = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker))
    found = read_clips(path, toy_walker, clip_length=5)
    assert found.names == (
        "clip_0_part_0",
        "clip_0_part_1",
        "clip_1",
        *(f"clip_2_part_{part}" for part in range(3)),
    )
    np.testing.assert_array_equal(found.lengths, [5, 2, 1, 5, 5, 2])
    assert [i.start_s for i in found.info] == pytest.approx([0, 0.1, 0.5, 1.0, 1.1, 1.2])


def test_each_feature_says_its_unit_and_frame(toy_walker, tmp_path):
    path = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker))
    with h5py.File(path) as file:
        for name in FEATURES:
            assert set(file[f"features/{name}"].attrs) == {"unit", "frame"}
        assert bytes(file["features/angular_velocity"].attrs["unit"]) == b"rad/s"
        assert [n.decode() for n in file.attrs["joint_names"]] == list(toy_walker.joint_names)


def test_an_error_while_writing_leaves_the_old_file(toy_walker, tmp_path):
    path = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker))
    before = path.read_bytes()
    features = {name: np.zeros((2, 3), np.float32) for name in FEATURES}
    with (
        pytest.raises(KeyboardInterrupt),
        write_clip_file(path, toy_walker, RATE_HZ, {}) as writer,
    ):
        writer.append(features, ClipRow("one", 2))
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="no clip"), write_clip_file(path, toy_walker, RATE_HZ, {}):
        pass
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clips.h5"]


def test_bad_files_are_refused_in_one_line(toy_walker, tmp_path):
    good = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker)).read_bytes()
    cases = {
        "truncated": (good[: len(good) // 2], "damaged|not an HDF5"),
        "empty": (b"", "empty"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.h5"
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_clips(path, toy_walker)

    def edited(**changes) -> Path:
        path = tmp_path / "edited.h5"
        path.write_bytes(good)
        with h5py.File(path, "r+") as file:
            for key, value in changes.items():
                if key == "version":
                    file.attrs["format_version"] = value
                elif key == "length":
                    file["clips/length"][0] = value
                elif key == "nan":
                    file["features/joints"][3] = np.nan
        return path

    with pytest.raises(UserError, match="newer vnl_mjx"):
        read_clips(edited(version=3), toy_walker)
    with pytest.raises(UserError, match="damaged"):
        read_clips(edited(version=np.inf), toy_walker)
    with pytest.raises(UserError, match="table of 3 clips"):
        read_clips(edited(length=0), toy_walker)
    with pytest.raises(UserError, match=r"'features/joints' holds NaN .* clip 0"):
        read_clips(edited(nan=True), toy_walker)
    with pytest.raises(UserError, match=r"clips out of 0 \.\.\. 2"):
        read_clips(tmp_path / "clips.h5", toy_walker, clips=[3])


def test_random_damage_is_refused_or_harmless(toy_walker, tmp_path):
    good = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker)).read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(good)
        for place in rng.integers(rng.choice([2000, len(good)]), size=rng.choice([1, 8])):
            damaged[place] = rng.integers(256)
        path = tmp_path / "damaged.h5"
        path.write_bytes(damaged)
        try:
            read_clips(path, toy_walker)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 20


def test_clips_of_another_body_are_refused(toy_walker, rodent, tmp_path):
    path = write(tmp_path / "clips.h5", toy_walker, made_clips(toy_walker))
    with pytest.raises(UserError, match="joint"):
        read_clips(path, rodent)
