"""HDF5 files on a disk that fills up, that another process holds, and that nobody may overwrite."""

import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.made_records import write_made_record
from vnl_mjx import cli
from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.clips.file import open_clip_file
from vnl_mjx.clips.hdf5_access import atomic_hdf5
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError


def with_at_most(num_bytes: int, *words: object) -> subprocess.CompletedProcess:
    """Runs a command that can write no file larger than that: to the program, the disk is full."""
    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({num_bytes}, {num_bytes})); "
        "from vnl_mjx.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path):
    """TRIALS T8."""
    run = with_at_most(300_000, "clips", "mirror", DEMO_CLIPS, tmp_path / "o.h5")
    assert run.returncode == 2, run.stderr
    assert len(run.stderr.splitlines()) == 1 and "o.h5: cannot be written" in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_bytes", range(500, 40_000, 1_700))
def test_a_write_that_fails_anywhere_is_an_error_of_the_file(tmp_path, num_bytes):
    path, soft = tmp_path / "o.h5", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_text("what was there")
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, soft[1]))
    try:
        with pytest.raises(UserError, match="cannot be written"), atomic_hdf5(path) as file:
            for i in range(20):
                file.create_dataset(f"group_{i}/x", data=np.arange(250.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fits_is_written(tmp_path):
    with atomic_hdf5(tmp_path / "o.h5") as file:
        file["x"] = np.arange(3.0)
        file.stop_if_full()
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["x"], [0.0, 1.0, 2.0])


def test_a_file_that_others_made_is_never_overwritten(tmp_path, capsys):
    """TRIALS T9: the last of several recordings, where the file to write was forgotten."""
    recordings = [tmp_path / name for name in ("a.h5", "b.h5")]
    for path in recordings:
        with h5py.File(path, "w") as file:
            file["qpos"] = np.zeros((4, 74))
    assert cli.main(["preprocess", "--overwrite", *map(str, recordings)]) == 2
    assert "b.h5: exists, and vnl_mjx did not write it" in capsys.readouterr().err
    with h5py.File(recordings[1]) as file:
        assert file["qpos"].shape == (4, 74)


def test_a_file_that_is_open_elsewhere_is_not_called_damaged(tmp_path, capsys):
    """TRIALS T14."""
    path = tmp_path / "a.h5"
    with atomic_hdf5(path) as file:
        file["qpos"] = np.zeros((4, 74))
    hold = f"import h5py, time; f = h5py.File({str(path)!r}, 'a'); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            holder.stdout.readline()
            assert cli.main(["inspect", str(path)]) == 2
        finally:
            holder.kill()
    assert "is locked, as another process" in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_called_damaged(tmp_path):
    path = tmp_path / "a.h5"
    path.write_text("unit,time\n" * 200)
    with pytest.raises(UserError, match="expected an HDF5 file"), open_clip_file(path):
        pass


@pytest.mark.parametrize("chunks", [None, (256, 3)])
def test_a_shape_without_numbers_is_refused_and_not_filled_with_zeros(tmp_path, chunks, capsys):
    path = tmp_path / "points.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("tracks", shape=(300_000_000, 3), chunks=chunks, dtype="f4")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = ["fit", str(path), str(tmp_path / "o.h5"), "--points=Snout", "--rate=50"]
    assert cli.main(words) == 2
    assert (
        "'tracks' has shape (300000000, 3), and the file holds only a part"
        in capsys.readouterr().err
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_a_record_with_values_of_another_kind_is_damaged(tmp_path):
    path = write_made_record(tmp_path / "made.rec.h5", 400)
    with h5py.File(path, "r+") as file:
        file["values/kinematics/angles"].attrs["columns"] = np.float32([1, 2])
    with pytest.raises(UserError, match="damaged"), open_activity_file(path) as file:
        file.columns("kinematics/angles")


def test_a_text_longer_than_its_file_takes_no_memory(tmp_path, capsys):
    """HDF5 makes room for the length that stands in the file, before it looks for the text."""
    path = tmp_path / "stac.h5"
    with h5py.File(path, "w") as file:
        file["qpos"], file["config"] = np.zeros((4, 74)), "model: {}"
        place = file["config"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xf0\xff\xff\x7f"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert cli.main(["preprocess", str(path), str(tmp_path / "o.h5")]) == 2
    assert "'config' has a text longer than the file" in capsys.readouterr().err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


@pytest.mark.parametrize("column", [np.float32(0.5), np.zeros(3, "S2"), np.zeros((28, 2))])
def test_a_table_of_clips_with_another_column_is_damaged(tmp_path, column):
    path = tmp_path / "clips.h5"
    path.write_bytes(DEMO_CLIPS.read_bytes())
    with h5py.File(path, "r+") as file:
        file["clips/quality_other"] = column
    with pytest.raises(UserError, match="damaged HDF5 .column .quality_other."):
        with open_clip_file(path):
            pass


def endless_index(path) -> None:
    """Makes the index of a group name itself as the next one."""
    with h5py.File(path, "w", libver="earliest") as file:
        file["points"] = np.zeros((5, 4, 3))
    content = bytearray(path.read_bytes())
    node = content.index(b"TREE")
    content[node + 16 : node + 24] = node.to_bytes(8, "little")
    path.write_bytes(content)


def endless_text(path) -> None:
    """Makes a heap of texts hold an object of no bytes."""
    with h5py.File(path, "w", libver="earliest") as file:
        file["points"] = np.zeros((5, 4, 3))
        file["points"].attrs["unit"] = "a text of any length"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 48] = bytes(32)
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [endless_index, endless_text])
def test_a_file_that_hdf5_reads_without_end_is_refused_and_the_next_one_is_read(tmp_path, damage):
    damage(tmp_path / "bad.h5")
    with h5py.File(tmp_path / "good.h5", "w") as file:
        file["points"] = np.zeros((5, 4, 3))
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (2, 2))  # 20 s without it
from vnl_mjx.clips.hdf5_access import open_hdf5, reading
for path in sys.argv[1:]:
    try:
        with reading(path), open_hdf5(path) as file:
            print(list(file))
    except Exception as error:
        print(error)
"""
    paths = [str(tmp_path / "bad.h5"), str(tmp_path / "good.h5")]
    run = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=60
    )
    refused, read = run.stdout.splitlines()
    assert "bad.h5: is truncated or damaged HDF5 (HDF5 does not return from reading it)" in refused
    assert read == "['points']" and not run.stderr
