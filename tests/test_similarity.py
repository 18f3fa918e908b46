"""`vnl-mjx similarity`: unbiased distances and CKA on made activity whose answer is known, and the page."""

import csv
import json

import numpy as np
import pytest
from labelled_records import RATE_HZ, made_rows, slow, write_record

from vnl_mjx.activity.file import Rows, open_activity_file
from vnl_mjx.cli import main
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.activities import (
    DEFAULT_QUANTITIES,
    UNITS,
    BlockOptions,
    matching_rows,
    read_activities,
)
from vnl_mjx.neurons.blocks import blocks_of, folds_of
from vnl_mjx.neurons.comparison import compare
from vnl_mjx.neurons.similarity import (
    Folded,
    cka,
    covariance_products,
    crossnobis,
    rdm_comparison,
    rdm_similarity,
)
from vnl_mjx.neurons.tables import write_tables
from vnl_mjx.neurons.variability import across_dimensions, across_time, repetition_variance
from vnl_mjx.report.neural import write_neural_report

LABELS = ("walk", "trot", "rear", "groom", "sit")


def cka_of(x, y, fold):
    first, second = Folded.of(x, fold), Folded.of(y, fold)
    pairs = ((first, second), (first, first), (second, second))
    return cka(*(covariance_products(*pair) for pair in pairs))


def table(folder, name):
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_cka_knows_itself_whatever_the_rotation_and_scale(random):
    x, fold = random.normal(size=(60, 200)), np.arange(60) % 6
    rotation = np.linalg.qr(random.normal(size=(200, 200)))[0]
    assert cka_of(x, x, fold).value == pytest.approx(1.0)
    assert cka_of(x, 3.0 * x @ rotation + 1.0, fold).value == pytest.approx(1.0)


def test_cka_of_unrelated_noise_is_zero_on_average_with_few_rows_and_many_columns(random):
    fold = np.arange(60) % 6
    found = [
        cka_of(random.normal(size=(60, 200)), random.normal(size=(60, 200)), fold).value
        for _ in range(50)
    ]
    assert abs(np.mean(found)) < 3.0 * np.std(found) / np.sqrt(50)
    assert abs(np.mean(found)) < 0.02  # 0.77 by the plain estimate


def unbiased_hsic(x, y):
    """Song et al., "Feature selection via dependence maximization", 2012, equation 5."""
    k, el = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(el, 0.0)
    n = len(x)
    total = np.sum(k * el) + k.sum() * el.sum() / ((n - 1) * (n - 2))
    return (total - 2.0 * (k.sum(axis=0) @ el.sum(axis=0)) / (n - 2)) / (n * (n - 3))


def test_cka_agrees_with_the_unbiased_hsic_on_independent_rows(random):
    shared = random.normal(size=(1500, 3))
    x = shared @ random.normal(size=(3, 8)) + random.normal(size=(1500, 8))
    y = shared @ random.normal(size=(3, 6)) + random.normal(size=(1500, 6))
    expected = unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
    assert cka_of(x, y, np.arange(1500) % 10).value == pytest.approx(expected, abs=0.02)


def test_intervals_of_cka_hold_the_truth_at_their_rate_on_slow_activity(random):
    a, b = random.normal(size=(3, 10)), random.normal(size=(3, 12))
    cov_x, cov_y = a.T @ a + 2.0 * np.eye(10), b.T @ b + 2.0 * np.eye(12)
    truth = np.sum((a.T @ b) ** 2) / np.sqrt(np.sum(cov_x**2) * np.sum(cov_y**2))
    rows = made_rows(LABELS)
    block = blocks_of(rows, RATE_HZ, 1.0, 0.2)
    kept, num = block >= 0, rows.num_rows
    fold = folds_of(block, np.zeros_like(block), 10)[kept]
    held = 0
    for _ in range(200):
        shared = slow(random, num, 3)
        x = shared @ a + np.sqrt(2.0) * slow(random, num, 10)
        y = shared @ b + np.sqrt(2.0) * slow(random, num, 12)
        found = cka_of(x[kept], y[kept], fold)
        held += found.low <= truth <= found.high
    assert 180 <= held <= 198  # 190 expected, and three standard deviations of luck


def made_conditions(random, means, folds=6, rows=12):
    """Activity [row, column] of white noise around means [condition, column]; conditions and folds."""
    condition = np.repeat(np.arange(len(means)), folds * rows)
    fold = np.tile(np.repeat(np.arange(folds), rows), len(means))
    return means[condition] + random.normal(size=(len(condition), means.shape[1])), condition, fold


def test_distances_of_no_difference_are_zero_on_average(random):
    nothing = np.zeros((4, 15))
    found = np.array([crossnobis(*made_conditions(random, nothing))[0, 1:] for _ in range(200)])
    assert np.all(np.abs(found.mean(axis=0)) < 3.5 * found.std(axis=0) / np.sqrt(200))
    assert (found < 0).any()


def test_distances_find_a_known_geometry_whatever_the_unit_of_a_column(random):
    means = np.zeros((5, 15))
    means[:, :2] = [[0, 0], [3, 0], [0, 4], [3, 4], [6, 0]]
    values, condition, fold = made_conditions(random, means, rows=100)
    expected = np.sum((means[:, None] - means) ** 2, axis=-1) / 15
    assert crossnobis(values, condition, fold) == pytest.approx(expected, rel=0.1, abs=0.02)
    units = 10.0 ** random.uniform(-3, 3, size=15)
    found = crossnobis(values * units, condition, fold)
    assert found == pytest.approx(crossnobis(values, condition, fold))


@pytest.mark.filterwarnings("ignore")
def test_distances_agree_with_rsatoolbox(random):
    data = pytest.importorskip(
        "rsatoolbox.data", reason="needs rsatoolbox (pip install rsatoolbox)"
    )
    from rsatoolbox.rdm import calc_rdm

    values, condition, fold = made_conditions(random, random.normal(size=(5, 8)))
    cells = [values[(fold == f) & (condition == c)] for f in range(6) for c in range(5)]
    residuals = np.concatenate([cell - cell.mean(axis=0) for cell in cells]) * np.sqrt(12 / 11)
    from sklearn.covariance import ledoit_wolf

    scale = residuals.std(axis=0)
    shrunk = ledoit_wolf(residuals / scale, assume_centered=True)[0]
    precision = np.linalg.inv(shrunk * np.outer(scale, scale))
    described = {"condition": condition, "fold": fold}
    expected = calc_rdm(
        data.Dataset(values, obs_descriptors=described),
        method="crossnobis",
        descriptor="condition",
        cv_descriptor="fold",
        noise=precision,
    )
    assert crossnobis(values, condition, fold) == pytest.approx(expected.get_matrices()[0])


def squared_distances(points):
    return np.sum((points[:, None] - points) ** 2, axis=-1)


def test_similarity_of_distances_is_unbiased_and_its_intervals_hold_the_truth(random):
    truth, held, found = 0.6, 0, []
    for _ in range(300):
        first = random.normal(size=(10, 3))
        second = np.sqrt(truth) * first + np.sqrt(1.0 - truth) * random.normal(size=(10, 3))
        result = rdm_comparison(squared_distances(first), squared_distances(second))
        held += result.low <= truth <= result.high
        found.append(result.value)
    assert 0.93 <= held / 300 <= 1.0
    assert abs(np.mean(found) - truth) < 0.06
    unrelated = [
        rdm_similarity(*(squared_distances(random.normal(size=(6, 3))) for _ in range(2)))
        for _ in range(300)
    ]
    assert abs(np.mean(unrelated)) < 0.05  # 0.38 without U-centring


def test_blocks_stay_in_clips_away_from_invalid_rows_and_from_each_other():
    valid = np.ones(1000, bool)
    valid[210:300] = False
    rows = made_rows(LABELS, valid=valid)
    block = blocks_of(rows, RATE_HZ, 1.0, 0.2)
    assert (block[~valid] == -1).all()
    for k in range(block.max() + 1):
        own = np.flatnonzero(block == k)
        assert len(set(rows.clip[own])) == 1 and np.all(np.diff(own) == 1)
    edges = np.flatnonzero(np.diff(block[:200]))
    assert list(block[:50]) == [0] * 40 + [-1] * 10 and len(edges) == 6


def test_records_are_matched_by_session_clip_and_frame_and_repetition():
    first, second = made_rows(LABELS[:2], sessions=2), made_rows(LABELS[:2], sessions=2)
    order = np.r_[
        400:800, 0:400, 0:100
    ]  # the other session first; then a repetition that only it has
    parts = {
        n: getattr(second, n)[order] for n in ("time", "session", "clip", "frame", "start", "valid")
    }
    other = Rows(
        **parts, **{n: getattr(second, n) for n in ("sessions", "clip_names", "clip_labels")}
    )
    found = matching_rows([first, other], [np.arange(800), np.arange(900)])
    assert found is not None and len(found[0]) == 800
    for name in ("session", "clip", "frame"):
        assert (getattr(first, name)[found[0]] == getattr(other, name)[found[1]]).all()
    assert found[1].max() < 800


def test_variability_that_avoids_sensitive_dimensions_is_found(random):
    block = np.repeat(np.arange(20), 10)
    sensitivity = np.exp(random.normal(size=12) + 0.1 * random.normal(size=(200, 12)))
    found = across_dimensions(1.0 / sensitivity, sensitivity, block)
    assert found["correlation"] < -0.95 and found["p_value"] < 0.01
    assert found["null_low"] < 0 < found["null_high"] and found["high"] < found["null_low"]
    unrelated = across_dimensions(np.exp(random.normal(size=(200, 12))), sensitivity, block)
    assert unrelated["null_low"] < unrelated["correlation"] < unrelated["null_high"]
    # A dimension that is idle at all times says nothing about time.
    steady = np.ones(12) + 1e-3 * random.normal(size=(200, 12))
    assert (
        abs(across_time(steady / sensitivity.mean(axis=0), sensitivity, block)["correlation"]) < 0.1
    )
    assert across_time(1.0 / sensitivity, sensitivity, block)["correlation"] < -0.99


def test_spread_between_repetitions_is_that_of_the_same_moment(random):
    moment = np.tile(np.arange(500), 4)
    values = 10.0 * np.sin(moment[:, None]) + random.normal(size=(2000, 3)) * [0.5, 1.0, 2.0]
    variance, first = repetition_variance(values, moment)
    assert np.sqrt(variance.mean(axis=0)) == pytest.approx([0.5, 1.0, 2.0], rel=0.1)
    assert first.tolist() == list(range(500))
    assert len(repetition_variance(values[:500], moment[:500])[0]) == 0


GROOM = "<b>groom</b>"  # which HTML must not believe


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
    pytest.importorskip("vnl_mjx.neurons.unit_files")
    from vnl_mjx.neurons.unit_activity import unit_activity

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
