"""What a probe finds: what was planted, nothing in noise, and nothing that only the same clip tells."""

import json

import numpy as np
import pytest

from vnl_mjx.evaluation.latent.points import LatentPoints
from vnl_mjx.evaluation.latent.probe import probe_behaviour, probe_latent, probe_speed

NUM_CLIPS, PER_CLIP, DIM = 12, 40, 5
CLIP = np.repeat(np.arange(NUM_CLIPS), PER_CLIP)
GROUPS = list(range(NUM_CLIPS))
LABELS = ["walk", "rear", "groom"] * 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_planted_speed_is_found_and_noise_holds_none(rng):
    speed = rng.uniform(0, 0.5, len(CLIP))
    noise = rng.normal(size=(len(CLIP), DIM))
    planted = noise.copy()
    planted[:, 2] += 10.0 * speed
    found = probe_speed({"planted": planted, "noise": noise}, speed, CLIP, GROUPS)
    # the speed's variance in that column is 100 * 0.5^2 / 12, the noise's is 1
    assert found["r2"]["planted"] == pytest.approx(2.08 / 3.08, abs=0.05)
    assert abs(found["r2"]["noise"]) < 0.05
    assert found["num_clips"] == NUM_CLIPS


def test_what_only_the_clip_itself_tells_is_not_found(rng):
    """Each clip has its own speed and its own place: nothing that carries over to another clip."""
    speed = rng.uniform(0, 0.5, NUM_CLIPS)[CLIP] + 1e-3 * rng.normal(size=len(CLIP))
    place = np.eye(NUM_CLIPS)[CLIP]
    found = probe_speed({"place": place}, speed, CLIP, GROUPS)
    assert found["r2"]["place"] < 0.1


def test_planted_behaviours_are_found_and_noise_is_at_chance(rng):
    noise = rng.normal(size=(len(CLIP), DIM))
    planted = noise.copy()
    planted[:, 0] += 8.0 * np.array([LABELS[clip] == "rear" for clip in CLIP])
    planted[:, 1] += 8.0 * np.array([LABELS[clip] == "walk" for clip in CLIP])
    found = probe_behaviour({"planted": planted, "noise": noise}, CLIP, LABELS, GROUPS)
    assert found["labels"] == ["groom", "rear", "walk"]
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["balanced_accuracy"]["planted"] > 0.98
    assert found["balanced_accuracy"]["noise"] == pytest.approx(1 / 3, abs=0.1)
    assert set(found["recall"]) == set(found["labels"])
    assert min(found["recall"].values()) > 0.95


def test_accuracy_is_balanced(rng):
    """Nine clips of one label and two of the other: noise may not hide behind the frequent one."""
    labels = ["walk"] * 10 + ["rear"] * 2
    noise = rng.normal(size=(len(CLIP), DIM))
    found = probe_behaviour({"noise": noise}, CLIP, labels, GROUPS)
    assert found["balanced_accuracy"]["noise"] == pytest.approx(0.5, abs=0.12)


def test_labels_of_a_single_clip_are_left_out_and_named(rng):
    labels = ["walk"] * 5 + ["rear"] * 5 + ["groom", ""]
    features = {"noise": rng.normal(size=(len(CLIP), DIM))}
    found = probe_behaviour(features, CLIP, labels, GROUPS)
    assert found["labels"] == ["rear", "walk"]
    assert found["left_out"] == ["groom"]
    assert found["num_clips"] == 10
    # a clip and its mirror image are no two clips
    mirrored = [*range(10), 9, 9]
    assert probe_behaviour(features, CLIP, ["walk"] * 9 + ["rear"] * 3, mirrored)["why"]


def test_too_little_is_said_in_words(rng):
    features = {"noise": rng.normal(size=(len(CLIP), DIM))}
    none = probe_behaviour(features, CLIP, [""] * NUM_CLIPS, GROUPS)
    assert none["balanced_accuracy"] == {} and none["chance"] is None
    assert "two behaviours" in none["why"]
    alone = probe_speed(features, rng.uniform(size=len(CLIP)), 0 * CLIP, GROUPS)
    assert alone["r2"] == {} and "two clips" in alone["why"]
    still = probe_speed(features, np.zeros(len(CLIP)), CLIP, GROUPS)
    assert "same everywhere" in still["why"]


def test_two_clips_suffice(rng):
    two, speed = CLIP % 2, rng.uniform(0, 0.5, len(CLIP))
    found = probe_speed({"itself": speed[:, None]}, speed, two, GROUPS)
    assert found["r2"]["itself"] > 0.98


def test_points_of_a_student_go_through_both_probes(toy_clips, rng):
    num, clip = 60, np.repeat([0, 1], 30)
    points = LatentPoints(
        posterior_mean=rng.normal(size=(num, 3)),
        prior_mean=rng.normal(size=(num, 3)),
        body=rng.normal(size=(num, 8)),
        speed=rng.uniform(size=num),
        seconds=np.arange(num) / 50.0,
        clip=clip,
        episode=clip,
    )
    found = probe_latent(points, toy_clips)
    assert set(found["speed"]["r2"]) == {"posterior_mean", "prior_mean", "body"}
    assert found["behaviour"]["why"]
    assert json.loads(json.dumps(found)) == found
    assert len(points.thinned(7).clip) == 7
    assert points.thinned(7).seconds[[0, -1]].tolist() == points.seconds[[0, -1]].tolist()
