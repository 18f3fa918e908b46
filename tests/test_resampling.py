"""Resampling, gaps, quaternions over time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from vnl_mjx.clips.conditioning.gaps import bad_frames, fill_gaps
from vnl_mjx.clips.conditioning.resampling import (
    num_resampled,
    resample,
    resample_flags,
)
from vnl_mjx.quaternions import continuous_signs, slerp, unit_quaternions
from vnl_mjx.walkers.layout import Layout

LAYOUT = Layout(3)

RATES = st.sampled_from([(50.0, 50.0), (50.0, 100.0), (100.0, 50.0), (30.0, 50.0), (59.94, 50.0)])


def motion(num_frames: int, rate: float, joints: int = 3) -> np.ndarray:
    """A smooth pose [frame, 7 + joints] whose values are known at any time."""
    time = np.arange(num_frames) / rate
    qpos = np.empty((num_frames, 7 + joints))
    qpos[:, :3] = np.stack([np.sin(2 * time), np.cos(time), 0.1 * time], axis=1)
    turn = Rotation.from_euler("zyx", np.stack([time, 0.5 * np.sin(time), 0.2 * time], axis=1))
    qpos[:, 3:7] = turn.as_quat(scalar_first=True)
    qpos[:, 7:] = np.sin(3 * time[:, None] + np.arange(joints))
    return qpos


def rotation_apart(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (Rotation.from_quat(q, scalar_first=True) for q in (a, b))
    return float((first.inv() * second).magnitude().max())


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_the_same_rate_gives_the_same_bits(interpolation):
    qpos = motion(40, 50.0)
    np.testing.assert_array_equal(resample(qpos, LAYOUT, 50.0, 50.0, interpolation), qpos)


@given(RATES, st.integers(1, 90))
@settings(max_examples=40, deadline=None)
def test_output_frames_cover_the_recording_and_no_more(rates, num_frames):
    rate_in, rate_out = rates
    count = len(resample(motion(num_frames, rate_in), LAYOUT, rate_in, rate_out))
    assert count == num_resampled(num_frames, rate_in, rate_out)
    last = (num_frames - 1) / rate_in
    assert (count - 1) / rate_out <= last + 1e-9
    assert count / rate_out > last + 1e-9


@pytest.mark.parametrize(("interpolation", "tolerance"), [("linear", 4e-3), ("cubic", 2e-5)])
def test_resampled_motion_is_the_motion_at_the_new_times(interpolation, tolerance):
    found = resample(motion(61, 30.0), LAYOUT, 30.0, 50.0, interpolation)
    expected = motion(len(found), 50.0)
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=tolerance)
    np.testing.assert_allclose(found[:, 7:], expected[:, 7:], atol=tolerance)
    assert rotation_apart(found[:, 3:7], expected[:, 3:7]) < 4e-3
    np.testing.assert_allclose(np.linalg.norm(found[:, 3:7], axis=1), 1.0, atol=1e-12)


def test_frames_that_exist_are_copied():
    qpos = motion(31, 100.0)
    np.testing.assert_array_equal(resample(qpos, LAYOUT, 100.0, 50.0, "cubic"), qpos[::2])


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_a_gap_reaches_only_the_frames_beside_it(interpolation):
    qpos = motion(40, 50.0)
    qpos[20] = np.nan
    found = resample(qpos, LAYOUT, 50.0, 100.0, interpolation)
    missing = np.flatnonzero(np.isnan(found).any(axis=1))
    np.testing.assert_array_equal(missing, [39, 40, 41])
    flags = resample_flags(np.isnan(qpos).any(axis=1), 50.0, 100.0)
    np.testing.assert_array_equal(np.flatnonzero(flags), missing)


def test_slerp_is_scipys():
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(2, 20, 4))
    ends /= np.linalg.norm(ends, axis=-1, keepdims=True)
    fraction = rng.random(20)
    found = slerp(ends[0], ends[1], fraction)
    for row, share in enumerate(fraction):
        both = Rotation.from_quat(ends[:, row], scalar_first=True)
        expected = Slerp([0.0, 1.0], both)(share).as_quat(scalar_first=True)
        assert abs(abs(np.dot(found[row], expected)) - 1.0) < 1e-12
    np.testing.assert_allclose(slerp(ends[0], ends[0], fraction), ends[0], atol=1e-15)
    np.testing.assert_allclose(slerp(ends[0], -ends[0], fraction), ends[0], atol=1e-15)


def test_signs_are_continuous_over_bad_frames():
    qpos = motion(30, 50.0)
    flipped = qpos[:, 3:7] * np.where(np.arange(30) % 3 == 1, -1.0, 1.0)[:, None]
    flipped[10] = np.nan
    found = continuous_signs(flipped)
    good = np.arange(30) != 10
    np.testing.assert_array_equal(found[good], qpos[good, 3:7])
    assert np.isnan(found[10]).all()


def test_quaternions_are_normalised_and_counted_and_zero_is_a_gap():
    unit = motion(6, 50.0)[:, 3:7]
    stored = unit.copy()
    stored[1] *= 2.0
    stored[2] = 0.0
    stored[3, 0] = np.inf
    found, count = unit_quaternions(stored)
    assert count == 1
    np.testing.assert_allclose(found[[0, 1, 4, 5]], unit[[0, 1, 4, 5]], atol=1e-15)
    assert np.isnan(found[[2, 3]]).all()


def test_short_gaps_are_filled_and_long_ones_and_the_ends_stay():
    qpos = motion(40, 50.0)
    damaged = qpos.copy()
    damaged[0] = np.nan  # no good frame before
    damaged[10:13, 8] = np.nan
    damaged[20:24, 3:7] = 0.0  # one frame too long
    damaged[38:, 0] = np.inf
    found, filled, lost = fill_gaps(damaged, LAYOUT, 3)
    np.testing.assert_array_equal(np.flatnonzero(filled), [10, 11, 12])
    missing = [0, 20, 21, 22, 23, 38, 39]
    np.testing.assert_array_equal(np.flatnonzero(lost), missing)
    assert np.isnan(found[missing]).all()
    np.testing.assert_allclose(found[11, 7:], 0.5 * (qpos[9, 7:] + qpos[13, 7:]), atol=1e-12)
    assert rotation_apart(found[10:13, 3:7], qpos[10:13, 3:7]) < 2e-3


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_good_frames_are_untouched(bad, most):
    qpos = motion(len(bad), 50.0)
    qpos[np.array(bad), 2] = np.nan
    whole, filled, missing = fill_gaps(qpos, LAYOUT, most)
    good = ~bad_frames(qpos, LAYOUT)
    np.testing.assert_array_equal(good, ~np.array(bad))
    np.testing.assert_array_equal(whole[good], qpos[good])
    assert not (filled & missing).any()
    np.testing.assert_array_equal(filled | missing, ~good)
