"""Units are read from the files that laboratories have, and mistakes are one clear line."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from tests.made_records import write_made_record
from vnl_mjx import cli
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.unit_files import open_units
from vnl_mjx.neurons.units import spike_units, write_spike_units

TRAINS = (np.array([0.5, 1.5, 2.25]), np.array([0.75]))
TIMES, OWNERS = np.array([1.5, 0.75, 0.5, 2.25]), np.array([3, 8, 3, 3])


def write_npz(folder):
    np.savez(folder / "a.npz", spike_times=TIMES, spike_units=OWNERS)
    return folder / "a.npz"


def write_mat(folder):
    scipy.io.savemat(folder / "a.mat", {"spike_times": TIMES, "spike_clusters": OWNERS})
    return folder / "a.mat"


def write_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["spike_times"], file["unit"] = TIMES, OWNERS
    return folder / "a.h5"


def write_nwb(folder):
    with h5py.File(folder / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["units/spike_times"] = np.concatenate(TRAINS)
        file["units/spike_times_index"] = [3, 4]
        file["units/id"] = [3, 8]
    return folder / "a.nwb"


def write_phy(folder):
    np.save(folder / "spike_times.npy", np.append(TIMES * 30000, 5).astype(np.uint64))
    np.save(folder / "spike_clusters.npy", np.append(OWNERS, 9).astype(np.int32))
    (folder / "params.py").write_text("raise SystemExit\nsample_rate = 30000.\n")
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n3\tgood\n9\tnoise\n")
    return folder


def write_csv(folder):
    lines = [f"{unit},{time}" for unit, time in zip(OWNERS, TIMES, strict=True)]
    (folder / "a.csv").write_text("\n".join(["unit,time", *lines]))
    return folder / "a.csv"


WRITERS = (write_npz, write_mat, write_hdf5, write_nwb, write_phy, write_csv)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__[6:])
def test_spikes_are_read(write, tmp_path):
    units = open_units(write(tmp_path))
    assert units.names == ("3", "8") and units.span == (0.5, 2.25)
    for found, train in zip(units.spikes, TRAINS, strict=True):
        np.testing.assert_allclose(found, train)


def test_what_pynwb_writes_is_read(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="needs the extra nwb")
    from datetime import UTC, datetime

    file = pynwb.NWBFile("a", "b", datetime(2026, 1, 1, tzinfo=UTC))
    for train in TRAINS:
        file.add_unit(spike_times=train, obs_intervals=[[0.0, 10.0]])
    with pynwb.NWBHDF5IO(tmp_path / "a.nwb", "w") as io:
        io.write(file)
    units = open_units(tmp_path / "a.nwb")
    np.testing.assert_allclose(units.spikes[0], TRAINS[0])
    assert units.names == ("0", "1") and units.span == (0.0, 10.0)


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_signals_are_read(kind, tmp_path):
    path, time, values = tmp_path / f"a.{kind}", np.arange(5) * 0.1, np.arange(10).reshape(5, 2)
    if kind == "npz":
        np.savez(path, time=time, dff=values, names=["a", "b"])
    else:
        rows = np.column_stack([time, values])
        np.savetxt(path, rows, delimiter=",", header="time,a,b", comments="")
    units = open_units(path)
    assert units.names == ("a", "b") and not units.are_spikes
    np.testing.assert_allclose(units.values, values)


def test_own_file_keeps_the_truth(tmp_path):
    units = spike_units("made", ("a", "b"), TRAINS, (0.0, 3.0), ("layers/x", "nothing"))
    write_spike_units(tmp_path / "a.npz", units)
    again = open_units(tmp_path / "a.npz")
    assert (again.names, again.truth, again.span) == (units.names, units.truth, units.span)
    np.testing.assert_array_equal(again.spikes[0], TRAINS[0])


MISTAKES = {
    "a pickle": (lambda p: p.write_bytes(b"\x80\x04abc"), "no known kind"),
    "no columns": (lambda p: p.write_text("a,b\n1,2\n"), "first line is unit,time"),
    "a word": (lambda p: p.write_text("unit,time\n1,two\n"), "line 2: time is 'two'"),
    "NaN": (lambda p: p.write_text("unit,time\n1,nan\n"), "1 spike times of unit 1 are NaN"),
    "no rows": (lambda p: p.write_text("unit,time\n"), "no rows"),
    "a clock that stops": (lambda p: p.write_text("time,a\n1,2\n1,3\n"), "must increase"),
    "a short row": (lambda p: p.write_text("unit,time\n1\n"), "line 2 has 1 cells, expected 2"),
    "none": (lambda p: None, "no such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_files_are_named(mistake, tmp_path):
    write, expected = MISTAKES[mistake]
    write(tmp_path / "units")
    with pytest.raises(UserError, match=expected):
        open_units(tmp_path / "units")


def test_a_phy_folder_needs_its_rate(tmp_path):
    write_phy(tmp_path)
    (tmp_path / "params.py").write_text("sample_rate = f()")
    with pytest.raises(UserError, match="expected a line like sample_rate"):
        open_units(tmp_path)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("record") / "made.rec.h5"
    return write_made_record(path, 1000, first_s=100.0)


REFUSED = {
    "another clock": ([], "units from 0.000 to 20.000 s do not overlap"),
    "an unknown layer": (
        ["--groups=layers/decoder.hidden_1"],
        "did you mean layers/decoder.hidden_0",
    ),
    "a bin of half a row": (["--bin=0.03"], "expected a multiple of a row's duration, 0.02 s"),
    "another session": (["--session=b"], "expected one of 'made', .* found 'b'"),
    "another unit": (["--offset=100", "--units=z"], "expected names of .* found 'z'"),
    "few spikes": (["--offset=118"], "expected a unit with 50 spikes in 2 s"),
    "a long gap": (["--offset=100", "--gap=3"], "too short for 5 folds with gaps of 3.0 s"),
    "a gap of all": (["--offset=100", "--gap=20"], "too short for 5 folds with gaps of 20.0 s"),
    "more folds than bins": (["--offset=100", "--folds=2000"], "too short for 2000 folds"),
    "one fold": (["--folds=1"], "expected a whole number from 2 on"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_the_command_says_what_does_not_fit(mistake, record, tmp_path, capsys):
    options, expected = REFUSED[mistake]
    time = np.linspace(0, 20, 401)
    np.savez(tmp_path / "a.npz", spike_times=time, spike_units=np.zeros(401, int))
    words = ["encode", str(record), str(tmp_path / "a.npz"), str(tmp_path / "out"), *options]
    assert cli.main(words) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert re.search(expected, printed), printed


@pytest.mark.parametrize("name", ["spike_times", "spike_clusters"])
def test_text_for_numbers_of_phy_is_refused(name, tmp_path):
    np.save(write_phy(tmp_path) / f"{name}.npy", np.full(5, "abc"))
    with pytest.raises(UserError, match=f"{name}.npy: expected numbers, found <U3"):
        open_units(tmp_path)


def test_a_record_without_a_rate_is_refused(record, tmp_path, capsys):
    damaged = Path(shutil.copy(record, tmp_path / "damaged.rec.h5"))
    with h5py.File(damaged, "r+") as file:
        file.attrs["rate_hz"] = 0.0
    assert cli.main(["encode", str(damaged), "synthetic", str(tmp_path / "out")]) == 2
    assert "rate_hz: expected a positive number" in capsys.readouterr().err


def test_signals_with_holes_are_refused(record, tmp_path, capsys):
    values = np.sin(np.arange(1000.0))
    values[500:510] = np.nan
    np.savez(tmp_path / "a.npz", time=100 + np.arange(1000) / 50, dff=values)
    assert cli.main(["encode", str(record), str(tmp_path / "a.npz"), str(tmp_path / "out")]) == 2
    assert "0 is NaN in" in capsys.readouterr().err
