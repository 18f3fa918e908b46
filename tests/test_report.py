import copy
import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_example import METRICS, NASTY, example_document

from vnl_mjx.errors import UserError
from vnl_mjx.report import verdicts
from vnl_mjx.report.colors import INK
from vnl_mjx.report.document import (
    document_files,
    jsonable,
    read_document,
    validate,
)
from vnl_mjx.report.html import report_html, write_report, write_together
from vnl_mjx.report.illustrate import with_n
from vnl_mjx.report.inlining import inline_picture, inline_svg
from vnl_mjx.report.page_tables import behaviour_table, main_table, metric_tables
from vnl_mjx.report.pictures.errors import by_clip
from vnl_mjx.report.pictures.style import Estimates
from vnl_mjx.report.report_videos import ranked
from vnl_mjx.report.sections import NOT_MEASURED
from vnl_mjx.report.table_cells import NOTHING, number


@pytest.fixture(scope="module")
def document():
    return example_document(6)


@pytest.fixture(scope="module")
def picture():
    return by_clip({"student": Estimates(np.array([1.0, 2.0]))}, ["a", NASTY], "reward")


class Page(HTMLParser):
    """What a page refers to, and what it would run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.references, self.unnamed = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        names = ("src", "href", "xlink:href", "poster")
        self.references += [attrs[name] for name in names if name in attrs]
        named = attrs.get("alt") or attrs.get("aria-label")
        if (tag in ("img", "video") or attrs.get("role") == "img") and not named:
            self.unnamed.append(tag)


def video(path, content=b"mp4" * 100):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_document_is_plain_json_without_nan(document):
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    given = {"a": np.float32("nan"), "b": (np.int64(3), np.array([1.5, np.inf])), 4: np.True_}
    assert jsonable(given) == {"a": None, "b": [3, [1.5, None]], "4": True}


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("schema",), "vnl-mjx evaluation, version 9", "schema"),
        (("clips",), None, "clips"),
        (("clips", 0), {"set": "train"}, "clips[0]"),
        (("metrics", "survival", "better"), "bigger", "metrics.survival"),
        (("alarms", 0), {"what": "x"}, "alarms[0]"),
        (("policies", "student"), [], "policies.student"),
        (("policies", "student", "sampled", "sets"), 3, "policies.student.sampled"),
        (
            ("policies", "student", "sampled", "sets", "all", "figures", "survival"),
            {"mean": 0.5, "low": 0.6, "high": 0.4},
            "policies.student.sampled.sets.all.figures.survival",
        ),
        (
            ("policies", "teacher", "sampled", "sets", "all", "figures", "luck"),
            {"mean": 1, "low": 1, "high": 1},
            "policies.teacher.sampled.sets.all.figures.luck",
        ),
        (("policies", "teacher", "sampled", "clips", "x"), {}, "policies.teacher.sampled.clips"),
        (("policies", "teacher", "sampled", "clips"), [{}], "policies.teacher.sampled.clips"),
        (
            ("policies", "student", "sampled", "sets", "all", "figures", "survival", "low"),
            "none",
            "policies.student.sampled.sets.all.figures.survival",
        ),
    ],
)
def test_a_damaged_document_is_refused_by_its_field(document, path, value, field):
    damaged = copy.deepcopy(document)
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(UserError) as refused:
        validate(damaged, "runs/a")
    assert str(refused.value).startswith(f"runs/a: {field}: expected")
    assert "\n" not in str(refused.value)


def test_reading_what_is_no_document(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="expected the JSON"):
        read_document(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="schema: expected"):
        read_document(tmp_path / "metrics.json")


def test_a_document_of_the_version_before_is_read(document, tmp_path):
    older = {name: part for name, part in document.items() if name != "baselines"}
    older["schema"] = "vnl-mjx evaluation, version 2"
    (tmp_path / "metrics.json").write_text(json.dumps(older))
    assert read_document(tmp_path) == document | {"baselines": {}}


def test_baselines_stand_beside_the_policies(document):
    table = main_table({"": document})
    assert [row[0].text for row in table.rows] == ["student", "teacher", "zero action"]
    survival = document["baselines"]["zero_action"]["figures"]["survival"]["mean"]
    assert table.rows[2][1].sort == survival
    both = main_table({"a": document, "b": document})
    assert [row[0].text for row in both.rows][2:4] == ["a: zero action", "b: student"]


def test_tables_hold_every_figure(document):
    files = document_files(document)
    rows = {
        name: list(csv.DictReader(io.StringIO(files[name].decode())))
        for name in files
        if name.endswith(".csv")
    }
    assert len(rows["per_clip.csv"]) == 2 * 2 * 6
    row = rows["per_clip.csv"][0]
    clip = document["policies"]["student"]["deterministic"]["clips"][row["clip"]]
    assert float(row["root_error_mm"]) == clip["root_error_mm"]
    assert len(rows["figures.csv"]) == (2 * 2 * 3 + 1) * len(METRICS)
    actuators = document["action"]["on_teacher_states"]["per_actuator"]
    last = rows["per_actuator.csv"][-1]
    assert float(last["r2"]) == actuators[last["actuator"]]["r2"]


def test_a_report_is_whole_and_stands_alone(document, picture, tmp_path):
    folder = tmp_path / "new" / "report"
    pictures = {"reward/per_clip": picture, "errors/per_clip": picture}
    page = write_report(folder, document, pictures, config="a: 1")
    assert read_document(folder) == document
    parsed = Page(page.read_text())
    for reference in parsed.references:
        local = reference.startswith(("#", "data:")) or (folder / reference).is_file()
        assert local, reference
    anchors = [r[1:] for r in parsed.references if r.startswith("#")]
    assert len(anchors) > 10 and set(anchors) <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert not parsed.unnamed
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


def test_what_is_shown_is_never_run(picture):
    names = [NASTY, *"bcd"]
    document = example_document(4, names=names, sampled=False)
    document["made"]["command"] = document["alarms"][0]["found"] = NASTY
    extras = {"missing": {"prior": NASTY}, "config": NASTY}
    text = report_html(document, {"reward/a": picture}, **extras)
    assert Page(text).tags.count("script") == 1
    assert text.count("alert(") == text.count("alert(&#39;x") + text.count("alert('x')&lt;") > 4


def test_sections_say_why_they_are_empty(document, picture):
    bare = copy.deepcopy(document) | {"latent": {}, "prior": {}, "action": {}, "alarms": []}
    text = report_html(bare, {}, missing={"latent": "UMAP: install it."})
    assert "UMAP: install it." in text
    assert text.count(NOT_MEASURED) == 3  # action, prior and training
    assert "No videos were made." in text and "No alarm was raised." in text
    assert "not measured" in text
    with pytest.raises(ValueError, match="SECTION/NAME"):
        report_html(document, {"nowhere/a": picture})


def test_videos_are_inside_as_far_as_they_fit(document, tmp_path):
    folder = tmp_path / "report"
    first = video(folder / "videos" / "first one.mp4")
    videos = {
        "summary/a": first,
        "summary/b": video(folder / "videos" / "large.mp4", b"x" * 400_000),
        "latent/c": video(folder / "videos" / "last.mp4"),
    }
    room = len(report_html(document, {}, videos, folder=folder, most_bytes=0).encode()) + 5_000
    page = write_report(folder, document, {}, videos, most_bytes=room)
    text = page.read_text()
    assert len(text) <= room
    assert text.count("data:video/mp4") == 2
    assert 'src="videos/large.mp4"' in text
    linked = report_html(document, {}, {"summary/a": first}, folder=folder, most_bytes=0)
    assert 'src="videos/first%20one.mp4"' in linked


def test_the_verdict_and_videos_stand_before_all_else(document, picture, tmp_path):
    videos = {
        "summary/worst: walk": video(tmp_path / "a.mp4"),
        "latent/traversal": video(tmp_path / "b.mp4"),
    }
    pictures = {"summary/gait": picture, "latent/kl": picture}
    text = report_html(document, pictures, videos, folder=tmp_path)
    order = [
        'class="lead"',
        document["made"]["command"],
        "worst: walk",
        'class="tiles"',
        'class="alarms"',
        "pictures/summary/gait.pdf",
        "Policies and baselines",
        'id="latent"',
        "pictures/latent/kl.svg",
        "<strong>traversal",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.count('<details class="section"') == text.count("<details open") + 8
    assert "<video" not in text[text.index('id="reward"') : text.index('id="latent"')]
    with pytest.raises(ValueError, match="SECTION/NAME"):
        report_html(document, {}, {"traversal": tmp_path / "b.mp4"}, folder=tmp_path)


def test_rows_of_zeros_are_left_out(document):
    sparse = copy.deepcopy(document)
    for ways in sparse["policies"].values():
        for played in ways.values():
            for part in played["sets"].values():
                part["figures"]["term_joint_reward"] = {"mean": 0.0, "low": 0.0, "high": 0.0}
    whole = metric_tables(document, "deterministic")["reward"]
    table = metric_tables(sparse, "deterministic")["reward"]
    assert len(table.rows) == len(whole.rows) - 1
    assert "Rows of zeros are left out." in table.note and "zeros" not in whole.note


def test_shown_clips_go_from_the_best_to_the_worst():
    scores = np.array([0.5, np.nan, 0.9, 0.7, 0.8])
    assert ranked(scores, 3) == [("best", 2), ("median", 3), ("worst", 1)]
    assert ranked(scores, 1) == [("median", 3)]
    assert ranked(scores, 2) == [("best", 2), ("worst", 1)]
    assert [words for words, _ in ranked(scores, 9)] == [
        "best",
        "number 2 of 5",
        "median",
        "number 4 of 5",
        "worst",
    ]


def test_a_caption_says_of_how_many(picture):
    assert with_n({"a": picture}, "6 episodes")["a"].caption.endswith(" n = 6 episodes.")


def test_an_older_report_stays_when_the_new_one_cannot_be_written(document, tmp_path):
    write_together(tmp_path, {"report.html": b"old"})
    (tmp_path / "per_clip.csv").mkdir()
    with pytest.raises(UserError, match=r"per_clip\.csv"):
        write_report(tmp_path, document, {})
    assert (tmp_path / "report.html").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["per_clip.csv", "report.html"]
    with pytest.raises(UserError, match="choose another output_dir"):
        write_report(tmp_path / "report.html" / "inside", document, {})


def test_a_picture_is_shown_as_its_smaller_file(picture):
    assert inline_picture(picture, "p").startswith("<svg")
    small = replace(picture, png=b"\x89PNG", alt='a "picture"')
    shown = inline_picture(small, "p")
    assert shown.startswith("<img") and 'alt="a &#34;picture&#34;"' in shown


def test_inlined_pictures_follow_the_theme_and_share_no_ids(picture):
    one, two = (inline_svg(picture.svg, prefix, "x") for prefix in ("one", "two"))
    assert INK in picture.svg and INK not in one
    assert "var(--ink)" in one and "var(--blue)" in one
    first, second = Page(one).ids, Page(two).ids
    assert first and not set(first) & set(second)
    assert {r[1:] for r in Page(one).references} <= set(first)


def test_tiles_hold_figures_against_targets(document):
    found = {tile.label: tile for tile in verdicts.tiles(document)}
    verdict_of = {label: tile.verdict for label, tile in found.items()}
    assert found["reward ratio, student / teacher"].value == "0.981"
    assert verdict_of["reward ratio, student / teacher"] == verdicts.MET
    assert verdict_of["the prior alone for 10 s: motion against the clips'"] == verdicts.MISSED
    worse = example_document(6, offset=-0.1)
    assert verdicts.tiles(worse)[0].verdict == verdicts.MISSED
    nothing = example_document(6) | {"policies": {}, "differences": {}, "action": {}}
    nothing |= {"latent": {}, "prior": {}}
    assert {tile.verdict for tile in verdicts.tiles(nothing)} == {verdicts.UNMEASURED}
    assert verdicts.verdict_line(verdicts.tiles(nothing)) == "No target could be judged."
    line = verdicts.verdict_line(verdicts.tiles(worse))
    assert re.fullmatch(r"\d of 6 targets that were judged are met; missed: [^.]*\d.*\.", line)
    assert "missed: reward ratio, student / teacher (0.881) and " in line


def test_a_latent_that_no_prior_reaches_is_not_good(document):
    judged = copy.deepcopy(document)
    latent = judged["latent"] | {"kl": 15.0}
    tile = verdicts.tiles(judged | {"latent": latent})[-2]
    assert (tile.value, tile.verdict) == ("28 of 32, 15.0 nats", verdicts.MET)
    assert tile.target.startswith("at least 4 of 32; at most ")  # TRIALS T22: dimensions, not nats
    for change in ({"kl": 180.0}, {"active_units": 3}):
        assert verdicts.tiles(judged | {"latent": latent | change})[-2].verdict == verdicts.MISSED


def test_behaviours_stand_apart_where_clips_have_labels(document):
    assert behaviour_table(document) is None
    labelled = copy.deepcopy(document)
    labelled["prior"]["learned"]["clips"]["by_behaviour"] = {
        "walk": {"num_episodes": 3, "over_halves": {"speed": 1.5, "standing_feet": 2.5}}
    }
    table = behaviour_table(labelled)
    assert table and [row[0].text for row in table.rows] == ["walk"]
    (cell,) = (cell for cell in table.rows[0][1:] if cell.sort is not None)
    assert cell.text == "2.5 times" and cell.detail == "standing feet"


def test_a_short_run_is_not_judged_by_what_it_misses():
    short = example_document(6, offset=-0.1)
    before = [tile.verdict for tile in verdicts.tiles(short)]
    short["made"]["env_steps"] = 25_600
    ratio, *others = verdicts.tiles(short)
    assert ratio.verdict == verdicts.NOT_JUDGED and ratio.target.startswith("25,600 steps")
    expected = [verdicts.NOT_JUDGED if v == verdicts.MISSED else v for v in before]
    assert [tile.verdict for tile in (ratio, *others)] == expected
    assert "; not judged: reward ratio" in verdicts.verdict_line([ratio, *others])


def test_shorter_prior_rollouts_are_judged_by_their_end(document):
    shorter = copy.deepcopy(document)
    for starts in shorter["prior"].values():
        for figures in starts.values():
            del figures["survival"]["10"]
            figures["survival"]["5"] = 0.96
    tile = verdicts.tiles(shorter)[-1]
    assert tile.label.startswith("the prior alone for 5 s") and tile.verdict == verdicts.MET


def test_a_prior_has_to_stay_up_and_to_move(document):
    judged = copy.deepcopy(document)
    prior = judged["prior"]
    for figures in prior["learned"].values():
        figures["survival"]["10"] = 1.0
        figures["over_halves"] = {"speed": 1.2, "joint_angles": 0.9, "turning_rate": None}
    still = {"speed": 7.0, "joint_angles": 1.5, "turning_rate": None}
    prior["zero_action"] = copy.deepcopy(prior["learned"])
    prior["zero_action"]["clips"]["over_halves"] = still
    prior["teacher"] = {"clips": {"over_halves": {"speed": 0.4}}}
    tile = verdicts.tiles(judged)[-1]
    assert (
        tile.verdict == verdicts.MET
        and tile.value == "100\N{NO-BREAK SPACE}% up, speed 1.2 times off"
    )
    assert "no action at all: 100\N{NO-BREAK SPACE}% up, speed 7.0 times off" in tile.detail
    assert "the teacher on the clips: speed 0.40 times off" in tile.detail
    prior["learned"]["clips"]["over_halves"] = still
    assert verdicts.tiles(judged)[-1].verdict == verdicts.MISSED  # it stays up, frozen
    prior["learned"]["clips"]["over_halves"] = {"speed": 1.0}
    prior["learned"]["neutral"]["survival"]["10"] = 0.9
    assert verdicts.tiles(judged)[-1].verdict == verdicts.MISSED


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        (float("nan"), NOTHING),
        (0.0, "0"),
        (0.98123, "0.981"),
        (-12.345, "-12.3"),
        (123456.7, "123,457"),
        (2_617_344, "2,617,344"),
        (0.000012, "1.20e-05"),
    ],
)
def test_numbers_are_readable(value, text):
    assert number(value) == text
