"""`vnl-mjx similarity` on made records whose answer is known: tables, pictures, the page, and mistakes."""

import csv
import json

import numpy as np
import pytest
from made_records import made_rows, slow, write_record

from vnl_mjx.activity.file import Rows, open_activity_file
from vnl_mjx.cli import main
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.activities import DEFAULT_QUANTITIES, UNITS, BlockOptions, read_activities
from vnl_mjx.neurons.comparison import compare
from vnl_mjx.neurons.tables import write_tables
from vnl_mjx.neurons.unit_activity import unit_activity
from vnl_mjx.report.neural import write_neural_report

LABELS = ("walk", "trot", "rear", "groom", "sit")
GROOM = "<b>groom</b>"  # which HTML must not believe


def table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def random():
    return np.random.default_rng(0)


def write_network(folder):
    """A network whose second layer is the first one rotated."""
    random = np.random.default_rng(0)
    rows = made_rows(("walk", "trot", "rear", GROOM, "sit"), sessions=2)
    num = rows.num_rows
    layer = random.normal(size=(5, 6))[rows.clip] + slow(random, num, 6)
    rotation = np.linalg.qr(random.normal(size=(6, 6)))[0]
    sensitivity = np.exp(random.normal(size=6) + 0.2 * slow(random, num, 6))
    return write_record(
        folder / "a.rec.h5",
        rows,
        {
            "layers/encoder.hidden_0": layer,
            "layers/encoder.hidden_1": layer @ rotation,
            "observation/proprioception": slow(random, num, 4),
            "latent/mean": slow(random, num, 6),
            "latent/std": 0.5 / sensitivity,
            "latent/sensitivity": sensitivity,
            "action/spread": np.abs(slow(random, num, 3)),
        },
        checkpoint="<script>alert(1)</script>",
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def results(record, tmp_path_factory):
    """The folder that the command wrote; drawing takes seconds."""
    out = tmp_path_factory.mktemp("results") / "out"
    assert main(["similarity", str(record), str(out)]) == 0
    return out


def test_cka_of_a_record_finds_the_rotation_and_the_baselines(results):
    by_pair = {(row["quantity"], row["other_quantity"]): row for row in table(results, "cka")}
    same = by_pair["layers/encoder.hidden_0", "layers/encoder.hidden_1"]
    assert float(same["cka"]) == pytest.approx(1.0, abs=1e-4) and float(same["shifted"]) < 0.6
    others = [row for row in by_pair.values() if "observation/proprioception" in row.values()]
    unrelated = [row for row in others if "layers/encoder.hidden_0" in row.values()]
    assert abs(float(unrelated[0]["cka"])) < 0.2
    assert any("baseline/random_layers" in row.values() for row in by_pair.values())


def test_geometry_of_a_record_has_a_noise_ceiling(results):
    geometry = {(row["quantity"], row["other_quantity"]): row for row in table(results, "rsa")}
    found = geometry["layers/encoder.hidden_0", "layers/encoder.hidden_1"]
    assert float(found["similarity"]) > 0.97 and found["behaviours"] == "5"
    ceiling = {row["quantity"]: row for row in table(results, "ceiling")}
    own = ceiling["layers/encoder.hidden_0"]
    assert 0.5 < float(own["low"]) <= float(own["high"]) <= 1.01


def test_variability_of_a_record_is_that_of_its_making(results):
    active = [row for row in table(results, "variability") if row["dimensions"] == "active"]
    posterior = [row for row in active if row["variability"] == "posterior"]
    assert len(posterior) == 12 and all(float(row["correlation"]) < -0.5 for row in posterior)
    assert sum(row["variability"] == "repetitions" for row in active) == 6
    assert float(table(results, "latent")[0]["repetition_std"]) > 0
    assert {row["quantity"] for row in table(results, "spread")} > {"action/spread"}


def test_the_page_believes_no_name(results):
    about = json.loads((results / "similarity.json").read_text())
    assert about["records"]["a"]["blocks"] == 40
    page = (results / "report.html").read_text()
    assert "<script>alert" not in page and "<b>groom" not in page and "&lt;b&gt;groom" in page
    for name in (
        "cka/cka",
        "geometry/geometry",
        "distances/distances_0",
        "variability/variability_0",
    ):
        files = [results / f"pictures/{name}.{kind}" for kind in ("svg", "png", "pdf")]
        assert all(file.stat().st_size for file in files)


def test_another_body_is_compared_by_behaviours_where_no_moment_is_common(record, tmp_path, random):
    rows = made_rows(("walk", "trot", "rear", GROOM))
    rows = Rows(**{**vars(rows), "clip_names": ("a", "b", "c", "d"), "sessions": ("mouse",)})
    other = random.normal(size=(5, 9))[rows.clip] + slow(random, rows.num_rows, 9)
    mouse = write_record(tmp_path / "mouse.rec.h5", rows, {"layers/encoder.hidden_0": other})
    activities, notes = read_activities([record, mouse], ["layers/*"], BlockOptions())
    assert notes[0].startswith("a, mouse: have no session, clip and frame in common")
    tables, _ = compare(activities, are_matched=False)
    assert {row["other_record"] for row in tables["cka"]} == {"a"}
    across = [row for row in tables["rsa"] if row["record"] != row["other_record"]]
    assert len(across) == 2 and {row["behaviours"] for row in across} == {4}


def test_folds_of_distances_may_be_sessions_that_all_show_a_behaviour(record):
    (activity,), _ = read_activities([record], ["layers/*"], BlockOptions())
    of_blocks, _ = compare([activity], are_matched=True)
    of_sessions, _ = compare([activity], are_matched=True, fold_by="session")
    found = [[row["distance"] for row in tables["rdm"]] for tables in (of_blocks, of_sessions)]
    assert len(found[1]) == len(found[0]) and np.corrcoef(found)[0, 1] > 0.9
    activity.session[activity.label == "sit"] = 0
    tables, notes = compare([activity], are_matched=True, fold_by="session")
    assert not notes and {row["behaviours"] for row in tables["rsa"]} == {4}
    activity.session[:] = 0
    tables, notes = compare([activity], are_matched=True, fold_by="session")
    assert not tables["rsa"] and "RSA is left out: expected at least 4 behaviours" in notes[0]


def test_two_checkpoints_on_one_session_are_compared_moment_by_moment(record, tmp_path):
    late = tmp_path / "late.rec.h5"
    late.write_bytes(record.read_bytes())
    activities, notes = read_activities([record, late], ["latent/mean"], BlockOptions())
    tables, _ = compare(activities, are_matched=not notes)
    (row,) = tables["cka"]
    assert (row["record"], row["other_record"]) == ("a", "late")
    assert row["cka"] == pytest.approx(1.0, abs=1e-4)


def test_units_that_read_a_layer_are_like_it(record, random):
    with open_activity_file(record) as file:
        layer, num = file.read("layers/encoder.hidden_0"), file.rows.num_rows
    units = layer @ random.normal(size=(6, 9)) + random.normal(size=(num, 9))
    units[-200:] = np.nan  # not recorded
    (activity,), _ = read_activities([record], DEFAULT_QUANTITIES, BlockOptions(), {UNITS: units})
    assert activity.row.max() < num - 200
    tables, _ = compare([activity], are_matched=True)
    rows = [row for row in tables["cka"] if UNITS in (row["quantity"], row["other_quantity"])]
    found = {row["quantity"]: row["cka"] for row in rows}
    assert found["layers/encoder.hidden_0"] > 0.5 > 0.2 > found["observation/proprioception"]


def test_the_command_reads_units_and_a_layer_that_never_changes(tmp_path, random):
    rows = made_rows(LABELS, seconds=8.0)
    layer = random.normal(size=(5, 4))[rows.clip] + slow(random, rows.num_rows, 4)
    dead = np.zeros((rows.num_rows, 3))
    values = {"layers/encoder.hidden_0": layer, "layers/encoder.hidden_1": dead}
    record = write_record(tmp_path / "a.rec.h5", rows, values)
    units = tmp_path / "units.npz"
    np.savez(units, time=rows.time, signals=layer @ random.normal(size=(4, 6)))
    out = tmp_path / "out"
    assert main(["similarity", str(record), str(out), "--units", str(units)]) == 0
    found = {
        row["quantity"]: row["cka"] for row in table(out, "cka") if row["other_quantity"] == UNITS
    }
    assert float(found["layers/encoder.hidden_0"]) > 0.5 and found["layers/encoder.hidden_1"] == ""
    assert (out / "pictures/cka/units_cka.png").exists()
    late = tmp_path / "late.npz"
    np.savez(late, time=rows.time + 1e6, signals=layer)
    with pytest.raises(UserError, match="do not overlap"):
        unit_activity(late, record, None, 0.05)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--quantities", "layers/encodr.hidden_0"], "did you mean layers/encoder.hidden_0"),
        (["--block-s", "90"], "expected a valid stretch of at least 45 s, found none"),
        (["--block-s", "-1"], "expected a number above 0, found '-1'"),
    ],
)
def test_what_cannot_be_compared_gets_one_line(record, tmp_path, capsys, more, said):
    assert main(["similarity", str(record), str(tmp_path / "out"), *more]) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1


def test_paths_that_are_mixed_up_get_one_line(record, tmp_path, capsys):
    for paths, said in (
        ([record], "found one path"),
        ([record, record], "expected a folder to write"),
        ([record, record, tmp_path / "out"], "was given twice"),
        ([tmp_path / "no.h5", tmp_path / "out"], "no such file"),
    ):
        assert main(["similarity", *map(str, paths)]) == 2
        assert said in capsys.readouterr().err


def test_a_quantity_without_numbers_is_named(tmp_path):
    rows = made_rows(LABELS)
    empty = np.full((rows.num_rows, 2), np.nan)
    path = write_record(tmp_path / "a.h5", rows, {"latent/mean": empty})
    with pytest.raises(UserError, match=r"latent/mean: expected numbers, found none"):
        read_activities([path], ["latent/mean"], BlockOptions())


ENCODING = [
    {
        "unit": f"unit {k}",
        "group": group,
        "pseudo_r2": 0.1 * (k % 3) + 0.05 * (group == "reference"),
        "llr_bits_per_spike": 0.1,
        "p_value": 0.01,
        "tuned": True,
        "best": group == "reference",
        "truth": ("reference", "nothing")[k % 2],
    }
    for k in range(8)
    for group in ("kinematics", "reference")
]
PARTITION = [
    {"unit": f"unit {k}", "group": group, "unique_r2": 0.02 * k, "full_r2": 0.2}
    for k in range(8)
    for group in ("kinematics", "reference")
]


def test_the_page_tells_what_is_in_the_folder_in_any_order(results, tmp_path):
    write_tables(tmp_path, {"encoding": ENCODING})
    page = write_neural_report(tmp_path).read_text()
    assert "Encoding models" in page and "Variance partition" not in page and "CKA" not in page
    assert (tmp_path / "pictures/encoding/attribution.png").exists()
    write_tables(tmp_path, {"encoding": [], "partition": PARTITION})
    (tmp_path / "ceiling.csv").write_bytes((results / "ceiling.csv").read_bytes())
    (tmp_path / "rsa.csv").write_bytes((results / "rsa.csv").read_bytes())
    page = write_neural_report(tmp_path).read_text()
    for title in ("Variance partition", "geometry (RSA)", "Noise ceiling", 'href="partition.csv"'):
        assert title in page
    assert 'id="encoding"' not in page


def test_a_folder_without_tables_or_with_a_broken_one_gets_one_line(tmp_path):
    with pytest.raises(UserError, match="expected tables of the neural commands, found none"):
        write_neural_report(tmp_path)
    (tmp_path / "partition.csv").write_text("unit,group,unique_r2\na,b,0.1\n")
    with pytest.raises(UserError, match=r"partition\.csv: .*no column full_r2"):
        write_neural_report(tmp_path)
    (tmp_path / "partition.csv").write_text("unit,group,unique_r2,full_r2\na,b,0.1,much\n")
    with pytest.raises(UserError, match=r"partition\.csv: .*could not convert"):
        write_neural_report(tmp_path)
