"""Smoothing, the velocity limit and the floor."""

import numpy as np
import pytest

from vnl_mjx.clips.conditioning.smoothing import (
    limit_velocity,
    smooth,
    smooth_poses,
    window_frames,
)
from vnl_mjx.clips.feet import FloorHistogram
from vnl_mjx.walkers.layout import Layout


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"),
    [(0.1, 50.0, 5), (0.11, 50.0, 5), (0.06, 50.0, 3), (0.0, 50.0, 1)],
)
def test_windows_are_odd(seconds, rate, frames):
    assert window_frames(seconds, rate) == frames


def test_a_parabola_is_left_as_it_is_and_noise_is_not():
    time = np.arange(50)[:, None] / 50.0
    parabola = np.concatenate([1.0 + time - 3 * time**2, 2 * time], axis=1)
    np.testing.assert_allclose(smooth(parabola, [20, 30], 0.18, 50.0), parabola, atol=1e-12)
    noise = np.random.default_rng(0).normal(size=(200, 2))
    assert smooth(noise, [200], 0.3, 50.0).std() < 0.6 * noise.std()


def test_no_window_reaches_into_another_stretch():
    values = np.zeros((40, 1))
    values[20:] = 1.0
    np.testing.assert_allclose(smooth(values, [20, 20], 0.18, 50.0), values, atol=1e-12)
    assert np.abs(smooth(values, [40], 0.18, 50.0) - values).max() > 0.1


def test_short_stretches_shrink_the_window_or_stay():
    values = np.random.default_rng(1).normal(size=(10, 1))
    found = smooth(values, [4, 6], 1.0, 50.0)
    np.testing.assert_array_equal(found[:4], values[:4])
    np.testing.assert_allclose(found[4:], smooth(values[4:], [6], 0.1, 50.0))
    with pytest.raises(ValueError, match="must sum"):
        smooth(values, [4, 4], 1.0, 50.0)


def test_smoothed_poses_have_unit_quaternions_whatever_their_signs():
    angle = 0.02 * np.arange(40)
    qpos = np.zeros((40, 9))
    qpos[:, 3], qpos[:, 6] = np.cos(angle / 2), np.sin(angle / 2)
    qpos[10:20, 3:7] *= -1.0
    found = smooth_poses(qpos, Layout(2), [40], 0.18, 50.0)
    np.testing.assert_allclose(np.linalg.norm(found[:, 3:7], axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(2 * np.arctan2(found[:, 6], found[:, 3]), angle, atol=1e-5)


def test_limited_velocities_are_counted_per_frame():
    velocity = np.array([[1.0, -30.0], [25.0, 21.0], [20.0, -20.0]])
    values, clamped = limit_velocity(velocity, 20.0)
    np.testing.assert_array_equal(values, [[1.0, -20.0], [20.0, 20.0], [20.0, -20.0]])
    np.testing.assert_array_equal(clamped, [1, 2, 0])


def lift(heights: np.ndarray, percentile: float) -> float:
    histogram = FloorHistogram()
    histogram.add(heights)
    return histogram.shift(percentile)


def test_the_lowest_foot_decides_and_jumps_and_rearing_do_not():
    heights = np.full((100, 4), 0.012)
    heights[:, 2:] += 0.05  # rears: only two feet ever stand
    heights[:40] += 0.3  # and jumps for almost half of the time
    heights[50] = -1.0  # one bad frame
    heights[51] = np.nan
    assert lift(heights, 5.0) == pytest.approx(-0.012, abs=5e-5)
    assert lift(np.full((3, 4), np.nan), 5.0) == 0.0


@pytest.mark.parametrize("percentile", [0.0, 5.0, 50.0, 97.5])
def test_the_floor_found_in_blocks_is_that_of_the_whole(percentile):
    rng = np.random.default_rng(2)
    heights = rng.normal(0.01, 0.02, size=(1003, 4))
    heights[::50] = np.nan
    histogram = FloorHistogram()
    assert histogram.shift(percentile) == 0.0
    for part in np.array_split(heights, 7):
        histogram.add(part)
    # between two frames the whole array interpolates: one bin for each
    assert histogram.shift(percentile) == pytest.approx(
        -np.nanpercentile(heights.min(axis=1), percentile), abs=1e-4
    )
    backwards = FloorHistogram()
    backwards.add(heights[::-1])
    assert backwards.shift(percentile) == histogram.shift(percentile)
