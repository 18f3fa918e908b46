import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from report_example import NASTY, example_arrays, example_rows

from vnl_mjx.report import colors
from vnl_mjx.report.pictures import curves, errors, latent, motion, style, training
from vnl_mjx.report.pictures.style import Estimates

PNG = b"\x89PNG\r\n"


def texts(picture):
    tree = ElementTree.fromstring(picture.svg)
    return ["".join(node.itertext()) for node in tree.iter("{http://www.w3.org/2000/svg}text")]


def spreads(num, *names):
    values = np.linspace(0.5, 1.0, num)
    return {name: Estimates(values - 0.1 * i) for i, name in enumerate(names)}


def test_the_same_numbers_make_the_same_files():
    first, again = (errors.by_clip(spreads(3, "student"), "abc", "reward") for _ in range(2))
    assert first == again
    assert first.png.startswith(PNG) and first.pdf.startswith(b"%PDF")


def test_drawing_leaves_the_users_own_style_alone():
    before = dict(matplotlib.rcParams)
    errors.by_clip(spreads(3, "student"), "abc", "reward")
    with pytest.raises(ZeroDivisionError), style.sheet(2.0, "", ""):
        _ = 1 / 0
    assert dict(matplotlib.rcParams) == before


def test_a_users_style_changes_nothing_here():
    plain = errors.by_clip(spreads(3, "student"), "abc", "reward")
    with matplotlib.rc_context({"font.size": 30, "axes.labelsize": 30, "text.color": "red"}):
        assert errors.by_clip(spreads(3, "student"), "abc", "reward") == plain


def test_names_are_text_and_nothing_else():
    picture = errors.by_clip(spreads(2, "student"), [NASTY, "b"], "reward")
    shown = next(text for text in texts(picture) if "…" in text)
    assert shown == style.short(NASTY)  # neither markup nor a formula
    assert "<script>" not in picture.svg


def test_few_clips_are_named_and_many_are_a_distribution():
    few = errors.by_clip(
        spreads(4, "student", "teacher"), [f"walk_{i}" for i in range(4)], "reward"
    )
    assert {f"walk_{i}" for i in range(4)} < set(texts(few))
    many = errors.by_clip(
        spreads(300, "student", "teacher"), [f"walk_{i}" for i in range(300)], "reward, 1"
    )
    assert "walk_0" not in texts(many)
    assert "share of clips" in texts(many)
    assert many.caption.startswith("Reward: share of the 300 clips")
    assert "student median 0.75" in many.alt and "teacher median 0.65" in many.alt


def test_sets_of_clips_stand_apart_best_first():
    picture = errors.by_clip(
        spreads(4, "student"), ["a", "b", "c", "d"], "reward", ["train", "held_out"] * 2
    )
    rows = [text for text in texts(picture) if text in ("a", "b", "c", "d", "train", "held out")]
    assert rows == ["train", "c", "a", "held out", "d", "b"]


def test_intervals_are_drawn_and_said():
    value = np.array([1.0, 2.0])
    bare = errors.by_name({"student": Estimates(value)}, ["a", "b"], "error, mm")
    spread = Estimates(value, value - 0.1, value + 0.1)
    with_bars = errors.by_name({"student": spread}, ["a", "b"], "error, mm")
    assert "Bars" not in bare.caption and "Bars: 95 %" in with_bars.caption
    assert with_bars.svg.count("LineCollection") == bare.svg.count("LineCollection") + 1


def test_nothing_to_draw_is_drawn_as_nothing():
    picture = errors.by_name(
        {"student": Estimates(np.array([np.nan, np.nan]))}, ["a", "b"], "error"
    )
    assert "no values" in picture.alt


def test_policies_are_told_apart_everywhere():
    names = ("student", "teacher", "reference", "prior", "other", "another")
    looks = [tuple(colors.policy_style(name, names).values()) for name in names]
    assert len(set(looks)) == len(names)
    assert colors.policy_color("student", names) == colors.policy_color("student")


def test_most_frequent_groups_get_the_colours():
    groups = [f"g{i}" for i in range(12) for _ in range(20 - i)]
    found = style.group_colors(groups)
    assert next(iter(found)) == "g0"
    assert len(set(found.values())) == len(colors.PALETTE) + 1
    assert found["g11"] == colors.MUTED


def test_quartiles_end_where_too_few_episodes_go_on():
    values = np.full((10, 8), 2.0)
    values[6:, 3:] = np.nan
    low, middle, high = curves._quartiles(values)
    assert len(middle) == 6
    assert (low == 2.0).all() and (high == 2.0).all()
    assert curves._quartiles(values[:, :2]).shape == (3, 10)  # a single clip is drawn whole


def test_errors_over_time_say_what_is_drawn():
    values = example_arrays(num_steps=60, num_episodes=8)["errors"]
    picture = curves.over_time(values, 50.0, "root position error, mm")
    assert picture.caption.startswith("Root position error against time")
    assert picture.caption.endswith("drawn while at least 4 do.")
    assert {"student", "teacher", "root position error, mm"} < set(texts(picture))


def test_success_at_each_threshold():
    thresholds = np.linspace(0, 60, 21)
    shares = {
        "student": Estimates(thresholds / 60, thresholds / 70, np.minimum(thresholds / 50, 1))
    }
    plain = curves.success_curve(thresholds, shares, "root distance, mm")
    assert "student 0.50" in plain.alt
    assert "the root distance stays" in plain.caption


def test_training_curves_of_what_the_run_recorded():
    pictures = training.training_pictures(example_rows(1000))
    assert "loss/kl" in pictures and "eval/reward_ratio" not in pictures
    assert "8 at" in pictures["loss/kl"].alt  # the last row is drawn, however many there are
    assert {"0.01", "0.005", "6M"} < set(texts(pictures["loss/action_mse"]))
    assert training.training_pictures(example_rows(1)) == {}


def test_kl_counts_the_active_dimensions():
    picture = latent.kl_per_dimension(np.array([0.5, 0.02, 0.001, 0.0]), 0.01)
    assert "0.52 nats in all, 2 of 4 dimensions" in picture.caption
    assert {"0.1", "0.01", "0.001"} < set(texts(picture)) and "0.05" not in texts(picture)


def test_many_clips_in_the_latent_space_are_others():
    arrays = example_arrays()
    picture = latent.latent_by_group(arrays["latents"][:, :2], arrays["clip"], ("x", "y"), "clip")
    assert "3 others" in texts(picture)
    assert picture.svg.count("<image") == 1  # points are pixels, axes are lines
    assert len(picture.svg) < 300_000


def test_latent_by_number_has_its_unit():
    arrays = example_arrays()
    points = arrays["latents"][:200, :2]
    picture = latent.latent_by_value(points, arrays["speed"][:200], ("x", "y"), "speed, m/s")
    assert "speed, m/s" in texts(picture)
    assert picture.caption.endswith("by speed.")


def test_autocorrelation_names_the_time_constant():
    lag = np.arange(11) / 50
    curve = np.exp(-lag / 0.1)
    picture = latent.autocorrelation(lag, Estimates(curve, curve**2, np.sqrt(curve)), 0.1)
    assert "1/e at 0.10 s" in picture.caption
    assert "quartiles" not in latent.autocorrelation(lag, Estimates(curve), None).caption


def test_aggregate_posterior_keeps_the_widest():
    num = 50
    posterior = {"mean": np.zeros(num), "std": np.linspace(1, 2, num)}
    picture = latent.aggregate_posterior(posterior, {"mean": np.zeros(num), "std": np.ones(num)})
    assert "the 40 widest" in picture.caption


def test_prior_survival_and_histograms():
    seconds = np.arange(501) / 50
    alive = {mode: Estimates(np.exp(-seconds / s)) for mode, s in (("learned", 20), ("mystery", 5))}
    picture = curves.survival_curves(seconds, alive, "clip states", (10.0, 0.8))
    assert "learned 61 %" in picture.alt
    assert {"learned", "mystery", "target"} < set(texts(picture))
    rng = np.random.default_rng(0)
    values = {"learned": np.r_[rng.normal(1, 0.1, 500), np.nan], "fell at once": np.array([])}
    drawn = curves.against_data(values, rng.normal(2, 0.1, 500), "speed, m/s")
    assert "medians data 1.99, learned 0.995." in drawn.alt
    far = {
        "learned": np.linspace(0, 1, 2000),
        "two points, beyond the drawn range": np.full(2, 9.0),
    }
    assert "beyond the drawn range 9." in curves.against_data(far, rng.normal(0, 1, 500), "x").alt


def test_paths_go_to_the_right_to_one_scale(caplog):
    north = np.stack([np.zeros(50), np.linspace(0.0, 0.8, 50)], axis=1)
    beside = north + np.array([0.03, 0.0])
    picture = motion.paths_from_above({"walk": {"reference": north, "student": beside}})
    assert "walk: student ends 3 cm off" in picture.alt
    assert {"walk", "cm", "reference", "student", "80"} <= set(texts(picture))
    assert not caplog.records  # Matplotlib's complaints would be the user's to read


def test_joints_are_drawn_in_degrees():
    reference = np.radians(np.linspace(0.0, 60.0, 40))[:, None]
    shown = {"reference": reference, "student": reference[:30] + np.radians(5.0)}
    picture = motion.joint_traces("walk", shown, ["knee"], 50.0)
    assert "student 5 degrees off" in picture.alt  # which fell after 30 steps
    assert {"knee, degrees", "time in the clip, s"} <= set(texts(picture))


def test_a_gait_has_a_bar_for_each_time_that_a_foot_stands():
    stands = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 0]], bool)
    picture = motion.gait_diagram("walk", {"reference": stands}, ["paw", "hoof"], 50.0)
    assert picture.alt == "Feet stand: reference 60 % of the time."
    never = motion.gait_diagram("walk", {"reference": ~stands & stands}, ["paw", "hoof"], 50.0)
    assert picture.svg.count("<path") - never.svg.count("<path") == 3
