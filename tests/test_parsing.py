"""JSON and YAML that are damaged or made to harm end in one line, at once and in little memory."""

import json

import numpy as np
import pytest
import yaml
from report_example import example_document

from tests.made_records import write_made_record
from vnl_mjx import cli
from vnl_mjx.commands.train.run_folder import METRICS_FILE, read_metrics
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.unit_files import open_units
from vnl_mjx.parsing import check_yaml, parse_json

LAUGHS = "b0: &b0 [x]\n" + "".join(
    f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "a: &a [*a, *a]", "a: &a {b: {c: *a}}", "a: " + "[" * 500 + "]" * 500, "a: *b"],
    ids=["aliases of aliases", "itself", "itself below", "deep", "no anchor"],
)
def test_yaml_without_end_is_refused(text):
    with pytest.raises(yaml.YAMLError):
        check_yaml(text)


def test_plain_yaml_and_aliases_pass():
    text = "a: &a [1, {b: 2}]\nc: *a\nd: &d {<<: {e: 1}}\nf: [*d, *d]\n"
    check_yaml(text)
    assert yaml.safe_load(text)["c"] == [1, {"b": 2}]


def test_deep_json_is_a_value_error():
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    for text in ("[" * 100_000, '{"a":' * 100_000, "{"):
        with pytest.raises(ValueError):
            parse_json(text)


@pytest.mark.parametrize("text", [LAUGHS, "seed: " + "[" * 5000, "seed: &a [*a]"])
def test_a_configuration_without_end_is_one_line(tmp_path, capsys, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert cli.main(["distill", "--config", str(path), "--show-config"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "settings.yaml: expected YAML, found a mistake" in line


def test_a_message_shows_the_ends_of_a_long_text(tmp_path, capsys):
    path = tmp_path / "settings.yaml"
    path.write_text("x" * 1_000_000)
    assert cli.main(["distill", "--config", str(path), "--show-config"]) == 2
    line = capsys.readouterr().err
    assert len(line) < 2_200 and "unknown key xxx" in line and "characters ...] xxx" in line


@pytest.mark.parametrize(
    "command", ["encode {record} {units} {out}", "similarity {record} {out} --units {units}"]
)
def test_a_refusal_leaves_no_folder(tmp_path, command, capsys):
    record, units = write_made_record(tmp_path / "made.rec.h5", 400), tmp_path / "units.csv"
    units.write_bytes(b"unit,time\n\xff,1\n")
    words = command.format(record=record, units=units, out=tmp_path / "new" / "out").split()
    assert cli.main(words) == 2
    assert "units.csv" in capsys.readouterr().err and not (tmp_path / "new").exists()


@pytest.mark.parametrize("make", [lambda path: path / ("x" * 5000), lambda path: path / "loop"])
def test_a_path_that_no_file_can_have_is_one_line(tmp_path, make, capsys):
    (tmp_path / "loop").symlink_to("loop")
    for words in (["inspect"], ["train-teacher"], ["distill", "--config"]):
        assert cli.main([*words, str(make(tmp_path))]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_numbers_that_mujoco_takes_for_a_failure_are_missing_frames(tmp_path, monkeypatch, rodent):
    """MuJoCo would write MUJOCO_LOG.TXT into the folder in which the command runs."""
    monkeypatch.chdir(tmp_path)
    qpos = np.tile(rodent.model.qpos0, (60, 1))
    qpos[:, 0] += np.linspace(0.0, 0.2, 60)
    qpos[30] = 1e30
    np.savez("poses.npz", qpos=qpos, rate_hz=50.0)
    assert cli.main(["preprocess", "poses.npz", "o.h5", "conditioning_config.max_gap_s=0"]) in (
        0,
        2,
    )
    assert {path.name for path in tmp_path.iterdir()} <= {
        "poses.npz", "o.h5", "o.quality.json", "o.quality.png"
    }  # fmt: skip
    report = json.loads((tmp_path / "o.quality.json").read_text())
    assert any("missing frames" in reason for one in report["pieces"] for reason in one["reasons"])


def test_a_report_with_a_value_of_another_kind_is_one_line(tmp_path, capsys):
    document = example_document(3, sampled=False)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(document))
        document["latent"]["kl"] = [1.0]
    runs = [str(tmp_path / name) for name in ("a", "b")]
    assert cli.main(["compare", *runs, "--output", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "value of another kind" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["batch_size", "learning_rate"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_beyond_all_floats_are_one_line(capsys, key, digits):
    words = [f"training_config.{key}={'9' * digits}", "--show-config"]
    assert cli.main(["distill", *words]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"training_config.{key}" in line


@pytest.mark.parametrize("text", ["task: x", "task: {walker: [1]}", "task: {walker: {source: 3}}"])
def test_a_body_s_section_of_another_kind_is_one_line(tmp_path, capsys, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert cli.main(["train-teacher", "--config", str(path), "--show-config"]) == 2
    assert "settings.yaml: task" in capsys.readouterr().err


def test_rows_of_metrics_without_steps_are_left_out(tmp_path):
    text = '{}\n[1]\n{"env_steps": "x"}\n{"env_steps": 3}\n{"env_'
    (tmp_path / METRICS_FILE).write_text(text)
    assert read_metrics(tmp_path) == [{"env_steps": 3}]


def test_clusters_of_another_number_than_spikes_are_refused(tmp_path):
    np.save(tmp_path / "spike_times.npy", np.arange(9))
    np.save(tmp_path / "spike_clusters.npy", np.uint64(3))
    (tmp_path / "params.py").write_text("sample_rate = 30000.\n")
    with pytest.raises(UserError, match=r"spike_clusters\.npy has 1 numbers"):
        open_units(tmp_path)


def test_text_that_is_no_character_is_printed(tmp_path, capsys):
    names = np.array(["Snout", "SpineM"])
    names.view(np.uint32)[0] = 0x7FFFFFFF
    names.view(np.uint32)[-1] = 0xD800
    np.savez(tmp_path / "points.npz", keypoints=np.ones((4, 2, 3)), keypoint_names=names)
    words = ["fit", str(tmp_path / "points.npz"), str(tmp_path / "o.h5"), "--rate=50"]
    assert cli.main(words) == 2
    assert "vnl-mjx: error: " in capsys.readouterr().err
