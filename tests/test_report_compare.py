import copy
import json

import pytest
from report_example import NASTY, example_document

from vnl_mjx.commands.evaluate.compare import read_reports
from vnl_mjx.errors import UserError
from vnl_mjx.report.compare import compare_html, differences, write_comparison


@pytest.fixture(scope="module")
def first():
    return example_document(6, sampled=False)


def shifted(document, metric, by):
    other = copy.deepcopy(document)
    for clip in other["policies"]["student"]["deterministic"]["clips"].values():
        clip[metric] += by
    return other


def test_a_run_does_not_differ_from_itself(first):
    found = differences(first, first)
    assert found.keys() == first["metrics"].keys()
    assert all(d.interval.value == 0.0 and d.better is None for d in found.values())


@pytest.mark.parametrize(
    ("metric", "by", "better"),
    [
        ("reward_per_step", 0.1, True),
        ("reward_per_step", -0.1, False),
        ("root_error_mm", 2.0, False),
        ("root_error_mm", -2.0, True),
        ("speed_ratio", 0.5, None),
    ],
)
def test_a_shift_of_every_clip_is_found_with_its_direction(first, metric, by, better):
    found = differences(first, shifted(first, metric, by))
    between = found[metric]
    assert between.interval.value == pytest.approx(by)
    assert between.interval.low == pytest.approx(by)
    assert between.num_clips == 6 and between.better is better
    assert found["survival"].interval.value == 0.0


def test_only_common_clips_are_compared(first):
    fewer = copy.deepcopy(shifted(first, "reward_per_step", 0.1))
    clips = fewer["policies"]["student"]["deterministic"]["clips"]
    for name in list(clips)[:4]:
        del clips[name]
    clips[next(iter(clips))]["reward_per_step"] = None
    found = differences(first, fewer)
    assert found["reward_per_step"].num_clips == 1
    assert found["reward_per_step"].better is None  # one clip says nothing of others


def test_the_page_shows_the_runs_and_warns(first, tmp_path):
    other = shifted(first, "root_error_mm", 5.0)
    other["made"] |= {"clips_sha256": "00" * 32, "seed": 7}
    page = write_comparison(tmp_path / "out", {"base": first, NASTY: other})
    text = page.read_text()
    assert "+5.00 worse" in text
    assert "another file of clips" in text and "different seeds" in text
    assert "differs" in text
    assert text.count("<script>") == 1
    assert "http://" not in text.replace("http://www.w3.org/1999/xlink", "")


def test_what_cannot_be_compared(first):
    with pytest.raises(UserError, match="two or more"):
        compare_html({"a": first})
    elsewhere = example_document(2, names=["x", "y"], sampled=False)
    with pytest.raises(UserError, match="same clips"):
        compare_html({"a": first, "b": elsewhere})
    with pytest.raises(UserError, match="b: schema"):
        compare_html({"a": first, "b": {}})


def test_runs_of_one_name_are_told_apart_by_their_folders(first, tmp_path):
    """TRIALS T18."""
    runs = [tmp_path / lab / "seed0" for lab in ("a", "b")]
    for run in runs:
        (run / "report").mkdir(parents=True)
        (run / "report" / "metrics.json").write_text(json.dumps(first))
    assert list(read_reports(runs)) == ["a/seed0", "b/seed0"]
    with pytest.raises(UserError, match="was given twice"):
        read_reports([runs[0], runs[0] / "report"])
