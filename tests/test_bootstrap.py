"""Intervals: what they cover, and what they say where there is little to say."""

import numpy as np
import pytest

from vnl_mjx.evaluation import bootstrap
from vnl_mjx.evaluation.bootstrap import (
    Interval,
    difference,
    interval,
    ratio_of_means,
)


def clip_effects(rng: np.random.Generator, num_clips: int, per_clip: int = 4):
    """Episodes that differ by their clip (1) more than within it (0.3); the true mean is 2."""
    clip = np.repeat(np.arange(num_clips), per_clip)
    effect = rng.normal(size=num_clips)[clip]
    return 2.0 + effect + 0.3 * rng.normal(size=len(clip)), clip


@pytest.mark.parametrize("num_clips", [7, 40])
def test_intervals_cover_the_truth_as_often_as_they_say(num_clips):
    rng, num_trials = np.random.default_rng(0), 150
    covered = naive = 0
    for trial in range(num_trials):
        values, clip = clip_effects(rng, num_clips)
        found = interval(values, clip, num=300, seed=trial)
        covered += found.low <= 2.0 <= found.high
        alone = interval(values, np.arange(len(values)), num=60, seed=trial)
        naive += alone.low <= 2.0 <= alone.high
    assert 0.87 <= covered / num_trials <= 0.99
    # episodes as the unit would claim far too much
    assert naive / num_trials < 0.8


def test_the_width_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(1).normal(size=200)
    found = interval(values, np.arange(200))
    assert found.value == pytest.approx(values.mean())
    error = values.std() / np.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    narrower = interval(values, np.arange(200), level=0.5)
    assert narrower.high - narrower.low == pytest.approx(2 * 0.674 * error, rel=0.1)


def test_many_clips_have_the_plain_percentiles():
    assert bootstrap.expanded_tail(10_000, 0.95) == pytest.approx(0.025, rel=1e-2)
    # n = 2: Student's t with one degree of freedom is 12.7
    assert bootstrap.expanded_tail(2, 0.95) < 1e-60


def test_resamples_hold_whole_clips_as_often_as_they_were_drawn():
    """Against a loop that writes every resample out."""
    rng = np.random.default_rng(2)
    clip = np.array([0, 0, 0, 1, 2, 2, 5, 5])
    values = rng.normal(size=8)
    drawn = bootstrap.draws(4, 50, 3)
    np.testing.assert_array_equal(drawn.sum(axis=1), 4)
    clips = [values[clip == c] for c in (0, 1, 2, 5)]
    written_out = [
        np.mean(np.concatenate([np.tile(own, n) for own, n in zip(clips, row, strict=True)]))
        for row in drawn
    ]
    found = interval(values, clip, num=50, seed=3)
    assert found.value == pytest.approx(values.mean())
    tail = bootstrap.expanded_tail(4, 0.95)
    assert tail < 0.001  # of four clips
    low, high = np.quantile(written_out, [tail, 1.0 - tail])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_seeds_repeat_and_differ():
    values, clip = clip_effects(np.random.default_rng(3), 10)
    assert interval(values, clip) == interval(values, clip)
    assert interval(values, clip, seed=1) != interval(values, clip, seed=2)
    assert interval(values, clip, seed=1).value == interval(values, clip, seed=2).value


def test_order_of_episodes_does_not_matter():
    values, clip = clip_effects(np.random.default_rng(3), 10)
    order = np.random.default_rng(4).permutation(len(values))
    one, other = (interval(v, c) for v, c in ((values, clip), (values[order], clip[order])))
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))


def test_one_clip_has_a_value_and_no_interval():
    found = interval(np.array([1.0, 3.0]), np.array([4, 4]))
    assert found.value == 2.0 and np.isnan(found.low) and np.isnan(found.high)
    assert found.as_dict() == {"mean": 2.0, "low": None, "high": None}


def test_what_was_not_measured_is_left_out():
    values = np.array([1.0, np.nan, 3.0, 5.0, np.nan])
    clip = np.array([0, 0, 1, 2, 3])
    kept = np.isfinite(values)
    assert interval(values, clip) == interval(values[kept], clip[kept])
    nothing = interval(values[~kept], clip[~kept])
    assert nothing.as_dict() == {"mean": None, "low": None, "high": None}
    # all but one clip without a value: as one clip
    assert np.isnan(interval(np.array([1.0, np.nan]), np.array([0, 1])).low)
    assert interval(np.array([]), np.array([])).as_dict()["mean"] is None


def test_equal_values_have_an_interval_without_width():
    assert interval(np.full(6, 2.0), np.arange(6) // 2) == Interval(2.0, 2.0, 2.0)


def test_pairs_are_compared_pair_by_pair():
    """A small difference between figures that vary much from clip to clip."""
    rng = np.random.default_rng(5)
    clip = np.repeat(np.arange(20), 2)
    teacher = 100.0 * rng.normal(size=20)[clip]
    student = teacher - 1.0 + 0.1 * rng.normal(size=40)
    found = difference(student, teacher, clip)
    assert -1.2 < found.low < found.value < found.high < -0.8
    teacher[3] = np.nan
    student[0] = np.inf
    assert difference(student, teacher, clip).value == pytest.approx(-1.0, abs=0.05)


def test_a_ratio_of_means_is_one_number_with_an_interval():
    rng = np.random.default_rng(6)
    clip = np.repeat(np.arange(12), 2)
    teacher = rng.uniform(50.0, 300.0, 12)[clip]
    student = teacher * rng.normal(0.98, 0.02, 12)[clip]
    found = ratio_of_means(student, teacher, clip)
    assert found.value == pytest.approx(student.sum() / teacher.sum())
    assert 0.95 < found.low < found.value < found.high < 1.01
    drawn = bootstrap.draws(12, bootstrap.NUM_RESAMPLES, 0)[:, clip]
    written_out = [row @ student / (row @ teacher) for row in drawn]
    tail = bootstrap.expanded_tail(12, 0.95)
    assert found.low == pytest.approx(np.quantile(written_out, tail))
    student[5] = np.nan
    assert np.isnan(ratio_of_means(student, teacher, clip).value)


def test_a_ratio_over_nothing_is_unknown():
    clip, one = np.array([0, 1]), np.ones(2)
    assert np.isnan(ratio_of_means(one, np.array([1.0, -2.0]), clip).value)
    found = ratio_of_means(one, np.array([3.0, -1.0]), clip)  # a resample may hold the second alone
    assert found.value == 1.0 and np.isnan(found.low)


def test_mistakes_of_a_programmer():
    with pytest.raises(ValueError, match="one number per episode"):
        interval(np.zeros(3), np.zeros(2))
