"""Encoding models find which quantity of a record drives a unit, and that nothing does."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from tests.made_records import RATE_HZ, write_made_record
from vnl_mjx import cli
from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import binned, bins_of
from vnl_mjx.neurons.encoding import encode
from vnl_mjx.neurons.features import autocorrelation_time
from vnl_mjx.neurons.glm import RIDGES, quadratic_gains
from vnl_mjx.neurons.preparation import EncodingOptions, prepare
from vnl_mjx.neurons.session import read_record
from vnl_mjx.neurons.synthetic import UNDRIVEN, SyntheticOptions, simulate
from vnl_mjx.neurons.units import signal_units

OPTIONS = EncodingOptions(
    components=6, num_shifts=60, partition=False, keep_predictions=True, max_lag_s=0.2, jobs=1
)
DRAWN = SyntheticOptions(units_per_group=3, mean_rate_hz=20.0, components=6)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_made_record(tmp_path_factory.mktemp("record") / "made.rec.h5")


@pytest.fixture(scope="module")
def record(path):
    with open_activity_file(path) as file:
        return read_record(file, None)


@pytest.fixture(scope="module")
def made(record):
    return simulate(record.values, record.bins, DRAWN)


@pytest.fixture(scope="module")
def prepared(record):
    return prepare(record.values, record.bins, OPTIONS)


@pytest.fixture(scope="module")
def found(prepared, made):
    counts = binned(made.units, prepared.bins)
    return encode(prepared, made.units.names, counts, True, OPTIONS, truth=made.units.truth)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_group_that_does_not_change_drives_no_synthetic_unit(record):
    still = {name: np.zeros_like(values) for name, values in record.values.items()}
    with pytest.raises(UserError, match="kinematics does not change"):
        simulate(still, record.bins, DRAWN)


def test_each_unit_is_attributed_to_what_drives_it(found):
    driven = [i for i, truth in enumerate(found.truth) if truth not in UNDRIVEN]
    assert [found.units[i].best for i in driven] == [found.truth[i] for i in driven]
    assert found.tuned[driven].all() and found.tuned.sum() <= len(driven) + 1
    assert all(found.units[i].lead.low > 0 for i in driven)


def test_held_out_gains_are_near_their_expectation(found, made, prepared):
    """The counts are Poisson of a known rate, which gives the gain of any model that has not seen them."""
    inside = []
    for unit, rate in zip(found.units, made.rates.T * prepared.bins.width_s, strict=True):
        for score in unit.groups.values():
            fit = score.predicted
            nats = rate * np.log(fit.predicted / fit.constant) - fit.predicted + fit.constant
            expected = nats.sum() / rate.sum() / np.log(2)
            inside.append(score.gain.low <= expected <= score.gain.high)
    assert np.mean(inside) > 0.85


def test_a_shift_of_the_clock_is_found(record, made):
    late = made.units.shifted(3 / RATE_HZ)
    shared = record.during(late)
    prepared = prepare(shared.values, shared.bins, OPTIONS)
    some = late.select(range(9))
    found = encode(prepared, some.names, binned(some, prepared.bins), True, OPTIONS)
    assert found.lag_s == pytest.approx(3 / RATE_HZ)


def test_lags_explain_a_unit_that_follows(record, made):
    late = made.units.shifted(0.4).select(range(3))
    shared = record.during(late)
    best = {}
    for lags in ((0.0,), (0.0, 0.4)):
        options = replace(OPTIONS, lags_s=lags)
        prepared = prepare(shared.values, shared.bins, options)
        units = encode(prepared, late.names, binned(late, prepared.bins), True, options).units
        best[len(lags)] = np.mean([unit.groups["kinematics"].pseudo_r2.value for unit in units])
    assert best[2] > 0.1 > 0.05 > best[1]


def test_signals_get_gaussian_models(record, prepared):
    rng = np.random.default_rng(0)
    drive = record.values["reference"][:, 0]
    values = np.stack(
        [
            1e3 + 5 * drive + 5 * drive.std() * rng.normal(size=len(drive)),
            rng.normal(size=len(drive)),
        ]
    )
    units = signal_units("made", ("driven", "noise"), record.bins.start + 0.01, values.T)
    shared = record.during(units)
    ready = prepare(shared.values, shared.bins, OPTIONS)
    driven, noise = encode(ready, units.names, binned(units, ready.bins), False, OPTIONS).units
    assert driven.best == "reference"
    assert driven.groups["reference"].pseudo_r2.value == pytest.approx(0.5, abs=0.05)
    # of a signal to noise ratio of 1: half a bit per sample
    assert driven.groups["reference"].gain.value == pytest.approx(0.5 * RATE_HZ, rel=0.1)
    assert noise.p_value > 0.05 and abs(noise.groups["reference"].pseudo_r2.value) < 0.02


def test_the_expansion_is_exact_for_a_gaussian():
    rng = np.random.default_rng(0)
    columns, signal = rng.normal(size=(200, 3)), rng.normal(size=200)
    train, test = np.arange(150), np.arange(150, 200)
    gains = quadratic_gains(columns, signal[:, None], train, test, False)[:, 0]
    for ridge, gain in zip(RIDGES, gains, strict=True):
        model = Ridge(alpha=ridge * len(train)).fit(columns[train], signal[train])
        errors = signal[test] - signal[train].mean(), signal[test] - model.predict(columns[test])
        assert gain == pytest.approx(0.5 * (np.sum(errors[0] ** 2) - np.sum(errors[1] ** 2)))


def test_the_partition_tells_what_only_one_group_holds(record, made):
    options = replace(OPTIONS, partition=True)
    prepared = prepare(record.values, record.bins, options)
    units = made.units.select([0])
    unit = encode(prepared, units.names, binned(units, prepared.bins), True, options).units[0]
    own, other = unit.groups["kinematics"], unit.groups["reference"]
    assert own.unique.value == pytest.approx(own.pseudo_r2.value, abs=0.03)
    assert abs(other.unique.value) < 0.02
    assert unit.full.value == pytest.approx(own.pseudo_r2.value, abs=0.03)


def test_test_blocks_keep_their_distance(prepared, record):
    longest = max(autocorrelation_time(v, record.bins, 6) for v in record.values.values())
    assert 0.1 < longest < 1.0 and prepared.gap_s > longest
    start = prepared.bins.start
    for fold in prepared.design.folds:
        for train, test in ((fold.train, fold.test), *fold.inner):
            inside = (start[train] > start[test[0]]) & (start[train] < start[test[-1]])
            own = start[train][~inside]
            distance = np.minimum(abs(own - start[test[0]]), abs(own - start[test[-1]]))
            assert not inside.any() and distance.min() > prepared.gap_s


def test_bins_hold_no_gap(tmp_path):
    valid = np.ones(400, bool)
    valid[100:103] = False
    with open_activity_file(write_made_record(tmp_path / "a.h5", 400, valid=valid)) as file:
        rows = file.rows
        rows.time[200:] += 5.0
        rows.start[301] = True
        usable = np.arange(400) != 350
        bins = bins_of(rows, RATE_HZ, 4 / RATE_HZ, usable, None)
    firsts = bins.rows[:, 0]
    assert {0, 96, 103, 200, 301, 351} <= {*firsts.tolist()}
    assert (np.diff(bins.rows, axis=1) == 1).all() and valid[bins.rows].all()
    for border in (200, 301, 350):
        assert not ((firsts < border) & (bins.rows[:, -1] >= border)).any()
    assert bins.lagged(4 / RATE_HZ)[firsts == 200] == -1


def test_units_at_an_unrelated_rhythm_are_not_called_tuned(record):
    _assert_calibrated(record, 20, 0.2, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 20.0])
def test_p_values_of_undriven_units_are_uniform(record, seconds):
    """Also of units that drift slowly, as long as the record does not."""
    p_values = _assert_calibrated(record, 100, 0.12, seconds)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def _assert_calibrated(record, num, most, seconds):
    drawn = SyntheticOptions(units_per_group=num // 2, mean_rate_hz=20.0, unrelated_s=seconds)
    units = simulate({}, record.bins, drawn).units
    prepared = prepare(record.values, record.bins, replace(OPTIONS, num_shifts=99))
    found = encode(prepared, units.names, binned(units, prepared.bins), True, OPTIONS)
    p_values = np.array([unit.p_value for unit in found.units])
    assert (p_values <= 0.05).mean() <= most
    assert found.tuned.mean() <= 0.05
    return p_values


def test_the_command_writes_every_number(path, tmp_path, capsys):
    words = ["encode", str(path), "synthetic", str(tmp_path / "out"), "--units-per-group=2"]
    few = ["--components=4", "--shifts=60", "--mean-rate=20", "--jobs=1", "--bin=0.04"]
    assert cli.main([*words, *few]) == 0
    printed = capsys.readouterr().out
    assert "units follow the record by 0 s" in printed
    assert "6 of 6 driven units attributed to their group; 0 of 4" in printed
    with (tmp_path / "out/encoding.csv").open() as file:
        rows = list(csv.DictReader(file))
    driven = [row for row in rows if row["truth"] not in UNDRIVEN]
    assert len(rows) == 10 * 3 and len(driven) == 6 * 3
    assert all((row["best"] == "True") == (row["group"] == row["truth"]) for row in driven)
    with (tmp_path / "out/partition.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    document = json.loads((tmp_path / "out/encoding.json").read_text())
    assert document["summary"]["groups"]["kinematics"]["best"] >= 2
    # the units that it made can be read again, and give the same
    again = [
        "encode",
        str(path),
        str(tmp_path / "out/synthetic_units.npz"),
        str(tmp_path / "again"),
    ]
    assert cli.main([*again, *few]) == 0
    with (tmp_path / "again/encoding.csv").open() as file:
        assert list(csv.DictReader(file)) == rows
