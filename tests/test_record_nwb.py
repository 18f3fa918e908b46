"""NWB files of record files: complete, on the recording's clock, and as others read them."""

from pathlib import Path

import numpy as np
import pytest
from toy_run import write_toy_run

from vnl_mjx.activity.file import Quantity, Rows, write_activity_file

pynwb = pytest.importorskip("pynwb", reason="needs the extra nwb")

from vnl_mjx.activity.nwb import MODULE, check_nwb, export_nwb  # noqa: E402
from vnl_mjx.cli import main  # noqa: E402
from vnl_mjx.config.walker import RODENT_SOURCE  # noqa: E402
from vnl_mjx.errors import UserError  # noqa: E402

NUM_ROWS = 60


@pytest.fixture
def made(tmp_path) -> Path:
    """A record file of two sessions: one with a gap, one regular."""
    row, second = np.arange(NUM_ROWS), np.arange(NUM_ROWS) >= 40
    time = 5.0 + np.where(second, row - 40, row) / 50.0 + 3.0 * ((row >= 20) & ~second)
    rows = Rows(
        time=time,
        session=second.astype(np.int16),
        clip=(row // 20).astype(np.int32),
        frame=(row % 20).astype(np.int32),
        start=row % 20 == 0,
        valid=(row < 10) | (row > 14),
        sessions=("day.h5", "night.h5"),
        clip_names=("a", "b", "c"),
        clip_labels=("walk", "", "sit"),
    )
    quantities = {
        "layers/encoder.hidden_0": Quantity([str(i) for i in range(4)]),
        "kinematics/root": Quantity(["height", "vertical_x"], "m"),
    }
    path = tmp_path / "record.h5"
    metadata = {"body": {"source": RODENT_SOURCE}}
    with write_activity_file(path, rows, 50.0, quantities, metadata) as writer:
        values = np.arange(NUM_ROWS)[:, None] + np.arange(4) / 10
        writer.write(0, {"layers/encoder.hidden_0": values, "kinematics/root": values[:, :2]})
    return path


def test_each_session_is_a_file_on_its_clock(made, tmp_path):
    first, second = export_nwb(made, tmp_path / "out.nwb")
    assert (first.name, second.name) == ("out.day.h5.nwb", "out.night.h5.nwb")
    with pynwb.NWBHDF5IO(first, "r") as io:
        nwb = io.read()
        series = nwb.processing[MODULE]["layers_encoder.hidden_0"]
        np.testing.assert_allclose(series.data[:, 0], np.arange(40))
        expected = 5.0 + np.arange(40) / 50 + 3.0 * (np.arange(40) >= 20)
        np.testing.assert_allclose(series.timestamps[:], expected)
        root = nwb.processing[MODULE]["kinematics_root"]
        assert root.unit == "m" and "height" in root.comments
        np.testing.assert_allclose(root.timestamps[:], expected)
        clips = nwb.intervals["clips"].to_dataframe()
        assert list(clips.behavior) == ["walk", "unknown"]
        np.testing.assert_allclose(clips.start_time, [5.0, 8.4])
        invalid = nwb.invalid_times.to_dataframe()
        np.testing.assert_allclose(invalid[["start_time", "stop_time"]], [[5.2, 5.29]])
    with pynwb.NWBHDF5IO(second, "r") as io:
        series = io.read().processing[MODULE]["layers_encoder.hidden_0"]
        assert (series.rate, series.starting_time) == (50.0, 5.0)


def test_the_inspector_finds_no_error(made, tmp_path):
    nwbinspector = pytest.importorskip("nwbinspector", reason="needs nwbinspector")
    for path in export_nwb(made, tmp_path / "out.nwb"):
        found = list(nwbinspector.inspect_nwbfile(nwbfile_path=path))
        worst = [m for m in found if m.importance.name in ("CRITICAL", "ERROR", "PYNWB_VALIDATION")]
        assert not worst


def test_pynapple_opens_it(made, tmp_path):
    pynapple = pytest.importorskip("pynapple", reason="needs pynapple")
    first, _ = export_nwb(made, tmp_path / "out.nwb")
    data = pynapple.load_file(str(first))
    layer = data["layers_encoder.hidden_0"]
    walking = data["clips"][data["clips"]["behavior"] == "walk"]
    np.testing.assert_allclose(layer.restrict(walking).values[:, 0], np.arange(20))


def test_the_command_writes_both(tmp_path, toy_config):
    write_toy_run(tmp_path, toy_config)
    words = [str(tmp_path / name) for name in ("teacher", "clips.h5", "out.h5")]
    words += ["--nwb", str(tmp_path / "out.nwb"), "--session-start", "2024-05-01T09:30:00"]
    assert main(["record", *words, "--only", "latent", "--loop", "open"]) == 0
    written = sorted(tmp_path.glob("out.*.nwb"))
    assert len(written) == 4  # clips without a time of their own are sessions of their own
    with pynwb.NWBHDF5IO(written[0], "r") as io:
        nwb = io.read()
        assert nwb.session_start_time.strftime("%Y-%m-%dT%H:%M:%S") == "2024-05-01T09:30:00"
        assert nwb.processing[MODULE]["latent_mean"].data.shape == (70, 3)


def test_what_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected the name of an .nwb file, found"):
        check_nwb(tmp_path / "out.h5", False)
    (tmp_path / "out.nwb").touch()
    with pytest.raises(UserError, match="exists; give another name, or --overwrite"):
        check_nwb(tmp_path / "out.nwb", False)


def test_a_recording_of_the_laboratory_is_never_replaced(made, tmp_path):
    theirs = tmp_path / "session.nwb"
    theirs.write_text("spikes")
    with pytest.raises(UserError, match="vnl_mjx did not write it"):
        check_nwb(theirs, True)
    ours, _ = export_nwb(made, tmp_path / "out.nwb")
    check_nwb(ours, True)
