"""Recordings from bare arrays (.npy, .npz, MATLAB) and from NWB."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from matlab_files import write_mat73

from vnl_mjx.clips.sources import SourceOptions, open_recording
from vnl_mjx.clips.sources.mat5 import read_mat5
from vnl_mjx.errors import UserError

NAMES = ("hip", "knee", "ankle")
QPOS = np.random.default_rng(0).normal(size=(12, 10))


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


@pytest.fixture(params=["npz", "mat", "mat 7.3"])
def write(request, tmp_path):
    """Returns a function that writes variables to a file of one of the kinds that hold several."""

    def write(**variables: object) -> Path:
        path = tmp_path / f"poses.{request.param[:3]}"
        cells = {k: np.array(v, object) for k, v in variables.items() if isinstance(v, tuple)}
        if request.param == "npz":
            np.savez(path, **variables)
        elif request.param == "mat 7.3":
            write_mat73(path, **variables)
        else:
            scipy.io.savemat(path, variables | cells)
        return path

    return write


def test_variables_are_read_by_name(write):
    path = write(qpos=QPOS, joint_names=NAMES, rate_hz=100.0, take_lengths=[5, 7], other=QPOS[:3])
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.qpos[3:6], QPOS[3:6])
        np.testing.assert_array_equal(recording.qpos[:], QPOS)
        assert (recording.rate_hz, recording.joint_names) == (100.0, NAMES)
        np.testing.assert_array_equal(recording.take_lengths, [5, 7])
        assert recording.has_root and recording.notes == ()
    with open_recording(
        path, SourceOptions(rate_hz=50.0, take_length=4, joint_names=("a", "b", "c"))
    ) as recording:
        assert (recording.rate_hz, recording.joint_names) == (50.0, ("a", "b", "c"))
        np.testing.assert_array_equal(recording.take_lengths, [4, 1, 4, 3])
        notes = " ".join(recording.notes)
        assert "50 Hz as given; the file says 100" in notes and "names as given" in notes


def test_one_frame_and_names_of_every_column(write):
    with open_recording(write(qpos=QPOS[:1], joint_names=("root",) * 7 + NAMES)) as recording:
        np.testing.assert_array_equal(recording.qpos[:], QPOS[:1])
        assert recording.joint_names == NAMES and recording.has_root


def test_the_only_table_is_taken_for_qpos(write):
    with open_recording(write(poses=QPOS.astype(np.float32), rate_hz=25)) as recording:
        np.testing.assert_array_equal(recording.qpos[:], QPOS.astype(np.float32))
        assert "variable 'poses' is taken for qpos" in recording.notes
        assert any("columns 0 to 6 are taken for the root's" in note for note in recording.notes)
    message = refusal(write(a=QPOS, b=QPOS))
    assert "several tables of numbers: 'a' (12, 10), 'b' (12, 10)" in message


def test_variables_that_cannot_be_poses_are_refused(write):
    assert "looks like key points" in refusal(write(pred=np.zeros((12, 3, 23))))
    assert "no table of numbers: 'x'" in refusal(write(x=np.zeros((1, 4))))
    assert "rate_hz" in refusal(write(qpos=QPOS, rate_hz=np.nan))
    assert "rate_hz" in refusal(write(qpos=QPOS, rate_hz=[1.0, 2.0]))
    assert "expected numbers" in refusal(write(qpos=QPOS + 1j))
    assert "3 joint names for 'qpos'" in refusal(write(qpos=QPOS[:, :8], joint_names=NAMES))
    assert "takes of 11 frames in all, expected the 12" in refusal(
        write(qpos=QPOS, take_lengths=[5, 6])
    )
    assert "whole numbers of at least 1" in refusal(write(qpos=QPOS, take_lengths=[12, 0]))
    for lengths in ([5.5, 6.5], [np.inf, 1.0], [np.nan, 1.0]):
        assert "whole numbers of at least 1" in refusal(write(qpos=QPOS, take_lengths=lengths))


def test_degrees(write):
    degrees = QPOS.copy()
    degrees[:, 7:] = np.rad2deg(QPOS[:, 7:])
    with open_recording(write(qpos=degrees), SourceOptions(angle_unit="degrees")) as recording:
        np.testing.assert_allclose(recording.qpos[:], QPOS, rtol=1e-12)
        np.testing.assert_array_equal(recording.qpos[4:9][:, :7], QPOS[4:9, :7])
        assert "joints converted from degrees" in recording.notes
    arm = {"qpos": degrees[:, 7:], "joint_names": NAMES}
    with open_recording(write(**arm), SourceOptions(angle_unit="degrees")) as recording:
        assert not recording.has_root
        np.testing.assert_allclose(recording.qpos[:], QPOS[:, 7:], rtol=1e-12)


def test_damaged_variables(write):
    path = write(qpos=QPOS, joint_names=NAMES, rate_hz=100.0)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    # MATLAB's of before 7.3 are read in a process each, which is what makes them safe
    few = whole.startswith(b"MATLAB 5")
    for size in np.linspace(1, len(whole) - 1, 5 if few else 20).astype(int):
        path.write_bytes(whole[:size])
        refusal(path)
    for place in rng.integers(0, len(whole), 10 if few else 150):  # some bytes do not matter
        changed = bytearray(whole)
        changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            with open_recording(path) as recording:
                assert recording.qpos[:].shape == recording.qpos.shape
        except UserError as error:
            assert "\n" not in str(error)


def test_npy_is_mapped_and_never_unpickled(tmp_path):
    path = tmp_path / "poses.npy"
    np.save(path, np.asfortranarray(QPOS))
    joint_names = ("root",) * 7 + NAMES
    with open_recording(path, SourceOptions(rate_hz=50.0, joint_names=joint_names)) as recording:
        assert isinstance(recording.qpos, np.memmap)
        np.testing.assert_array_equal(recording.qpos[2:4], QPOS[2:4])
        assert recording.joint_names == NAMES and recording.has_root
    np.save(path, np.array([{}], object))
    assert "Python objects" in refusal(path)
    np.savez(tmp_path / "poses.npz", qpos=np.array([{}], object))
    assert "'qpos' is no table of real numbers" in refusal(tmp_path / "poses.npz")
    np.save(path, np.zeros((5, 3, 23)))
    assert "looks like key points" in refusal(path)
    np.save(path, np.zeros((2, 0)))
    assert "empty (shape (2, 0))" in refusal(path)
    path.write_bytes(path.read_bytes()[:20])
    assert "truncated or damaged NumPy array" in refusal(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_variables_keep_their_type_and_text(tmp_path, compressed):
    path = tmp_path / "values.mat"
    dtypes = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
    stored = {dtype: np.arange(24).reshape(4, 3, 2).astype(dtype) for dtype in dtypes}
    left_out = {"struct": {"a": 1}, "cells": np.array([np.eye(2), "c"], object)}
    texts = {"names": np.array(["ab", "c", ""], object), "text": "caf\xe9 \u03bc"}
    scipy.io.savemat(path, stored | left_out | texts, do_compression=compressed)
    found = read_mat5(path)
    assert found.keys() == stored.keys() | texts.keys()
    for dtype, values in stored.items():
        np.testing.assert_array_equal(found[dtype], values, strict=True)
    assert found["names"].tolist() == ["ab", "c", ""] and found["text"].tolist() == [
        "caf\xe9 \u03bc"
    ]


def test_a_mat_file_is_read_under_a_lower_limit_of_the_system(tmp_path):
    """A cluster's limit of processor time is no damage of the file."""
    scipy.io.savemat(tmp_path / "values.mat", {"qpos": QPOS})
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (60, 60)); from pathlib import Path; "
        "from vnl_mjx.clips.sources.mat5 import read_mat5; print([*read_mat5(Path(sys.argv[1]))])"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "values.mat")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.strip() == "['qpos']", done.stderr


def test_a_file_that_crashes_scipys_reader_is_refused(tmp_path):
    path = tmp_path / "crash.mat"
    cells = np.array(NAMES, object)
    scipy.io.savemat(path, {"qpos": QPOS, "joint_names": cells, "rate_hz": 100.0})
    damaged = bytearray(path.read_bytes())
    damaged[1256] = 22
    path.write_bytes(damaged)
    assert "truncated or damaged MATLAB file" in refusal(path)


def test_the_real_keypoints_are_refused(shared_data):
    path = shared_data / "reference" / "rodent_keypoints_1000f.mat"
    message = refusal(path)
    assert "'pred' of shape (1000, 3, 23)" in message and "`vnl-mjx fit " in message
    np.testing.assert_array_equal(read_mat5(path)["pred"], scipy.io.loadmat(path)["pred"])


# NWB


def write_nwb(path: Path, *items: object) -> Path:
    from pynwb import NWBHDF5IO, NWBFile

    file = NWBFile("poses", "test", datetime(2026, 1, 1, tzinfo=UTC))
    for item in items:
        file.add_acquisition(item)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


@pytest.fixture
def nwb():
    """pynwb, where the extra is installed."""
    return pytest.importorskip("pynwb", reason="reading NWB needs the extra `nwb`")


def test_nwb_series(nwb, tmp_path):
    times = 3.0 + np.arange(12) / 40.0
    degrees = np.rad2deg(QPOS)
    degrees[:, :7] = QPOS[:, :7]
    for keys, data, rate in (
        ({"unit": "radians", "rate": 100.0}, QPOS, 100.0),
        ({"unit": "radians", "timestamps": times}, QPOS, 40.0),
        ({"unit": "degrees", "rate": 50.0}, degrees, 50.0),
        ({"unit": "radians", "rate": 50.0, "conversion": 0.5}, 2 * QPOS, 50.0),
    ):
        series = nwb.TimeSeries(name="joint_angles", data=data, **keys)
        other = nwb.TimeSeries(name="voltage", data=QPOS, unit="V", rate=1.0)
        path = write_nwb(tmp_path / "poses.nwb", series, other)
        with open_recording(path, SourceOptions(joint_names=NAMES)) as recording:
            np.testing.assert_allclose(recording.qpos[2:5], QPOS[2:5], rtol=1e-12)
            assert recording.rate_hz == pytest.approx(rate, rel=1e-9)
            assert recording.layout == "NWB" and recording.joint_names == NAMES


def test_nwb_timestamps_may_jitter(nwb, tmp_path):
    """TRIALS T17."""
    times = np.arange(12) / 40.0
    times[1:-1] += 0.001 * np.resize([1.0, -1.0, 0.5], 10)
    series = nwb.TimeSeries(name="qpos", data=QPOS, unit="radians", timestamps=times)
    with open_recording(write_nwb(tmp_path / "poses.nwb", series)) as recording:
        assert recording.rate_hz == pytest.approx(40.0)
        assert "timestamps jitter by up to 1 ms: 40 Hz taken" in recording.notes


def test_nwb_table(nwb, tmp_path):
    columns = {"timestamps": np.arange(12) / 25.0} | dict(zip(NAMES, QPOS.T, strict=False))
    vectors = [
        nwb.core.VectorData(name=name, description=name, data=values)
        for name, values in columns.items()
    ]
    table = nwb.core.DynamicTable(name="joint_angles", description="angles", columns=vectors)
    with open_recording(write_nwb(tmp_path / "poses.nwb", table)) as recording:
        np.testing.assert_array_equal(recording.qpos[:], QPOS[:, :3])
        assert recording.joint_names == NAMES and not recording.has_root
        assert recording.rate_hz == pytest.approx(25.0)


def test_nwb_that_cannot_be_used_is_refused(nwb, tmp_path):
    path = tmp_path / "poses.nwb"
    other = nwb.TimeSeries(name="voltage", data=QPOS, unit="V", rate=1.0)
    assert "named 'qpos' or 'joint_angles', found none" in refusal(write_nwb(path, other))
    jump = np.arange(12) / 40.0
    jump[7:] += 0.025
    series = nwb.TimeSeries(name="qpos", data=QPOS, unit="radians", timestamps=jump)
    assert "not regular: 0.05 s after frame 6" in refusal(write_nwb(path, series))
    path.write_bytes(path.read_bytes()[:2000])
    refusal(path)


def test_nwb_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "poses.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.9.0"
    monkeypatch.setitem(sys.modules, "pynwb", None)
    assert "`uv sync --inexact --extra nwb`" in refusal(tmp_path / "poses.nwb")
