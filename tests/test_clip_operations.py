"""Clips cut, joined, mirrored and resampled."""

import jax
import numpy as np
import pytest

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.conditioning.mirror import Mirror
from vnl_mjx.clips.container import FEATURES, ClipInfo, ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.clips.operations import (
    merge,
    mirror_clips,
    slice_clip,
    split_into,
)
from vnl_mjx.errors import UserError


def same_features(a: ReferenceClips, b: ReferenceClips) -> None:
    for name in FEATURES:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_slice_then_merge_is_the_identity(toy_clips):
    parts = [slice_clip(toy_clips, 0, 0, 15), slice_clip(toy_clips, 0, 15, 40)]
    parts += [slice_clip(toy_clips, 1, 0, 30)]
    merged = merge(parts)
    same_features(merged, toy_clips)
    np.testing.assert_array_equal(merged.lengths, [15, 25, 30])
    np.testing.assert_array_equal(merged.starts, [0, 15, 40])
    assert merged.names == ("sway_0[0:15]", "sway_0[15:40]", "sway_1")
    assert merged.sha256 != toy_clips.sha256
    whole = merge([toy_clips.select([0]), toy_clips.select([1])])
    assert jax.tree.structure(whole) == jax.tree.structure(toy_clips)
    assert whole.sha256 == toy_clips.sha256


def test_a_slice_knows_where_it_is_from(toy_clips):
    info = (ClipInfo(source="a.h5", start_s=2.0), ClipInfo(source="a.h5"))
    part = slice_clip(toy_clips.replace(info=info), 0, 5, 9)
    assert part.info == (ClipInfo(source="a.h5", start_s=2.1),)
    np.testing.assert_array_equal(part.velocity, toy_clips.velocity[5:9])


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (3, 3), (0, 41)])
def test_frames_that_a_clip_does_not_have_are_refused(toy_clips, start, stop):
    with pytest.raises(UserError, match=r"clip 0 \('sway_0'\).*0 \.\.\. 40"):
        slice_clip(toy_clips, 0, start, stop)


def test_split_into_equal_parts(toy_clips):
    parts = split_into(toy_clips, 12)
    left_out = toy_clips.num_frames - parts.num_frames
    np.testing.assert_array_equal(parts.lengths, [12, 12, 12, 12, 12])
    assert left_out == 4 + 6
    parts = split_into(toy_clips, 12, min_frames=5)
    left_out = toy_clips.num_frames - parts.num_frames
    np.testing.assert_array_equal(parts.lengths, [12, 12, 12, 12, 12, 6])
    assert left_out == 4
    assert parts.source == toy_clips.source
    with pytest.raises(UserError, match="the longest has 40"):
        split_into(toy_clips, 41)


def test_names_stay_unique_and_files_are_told_apart(toy_clips):
    other = toy_clips.replace(source="other.h5", notes=("assumed",))
    merged = merge([toy_clips, other, other])
    assert merged.num_clips == 6
    assert merged.names[:3] == ("poses/sway_0", "poses/sway_1", "other.h5/sway_0")
    assert merged.names[4] == "other.h5/sway_0_2"
    assert merged.source == "poses + other.h5"
    assert "assumed" in merged.notes
    held_out = toy_clips.replace(info=(ClipInfo(held_out=True), ClipInfo(source="x")))
    assert [i.held_out for i in merge([held_out, other]).info] == [True, False, False, False]
    assert merge([held_out, other]).info[2].source == "other.h5"


def test_other_walkers_and_rates_are_not_merged(toy_clips):
    with pytest.raises(UserError, match=r"100 Hz.*50 Hz.*resample"):
        merge([toy_clips, toy_clips.replace(rate_hz=100.0)])
    with pytest.raises(UserError, match="another walker"):
        merge([toy_clips, toy_clips.replace(joint_names=("a", "b", "c", "d"))])
    with pytest.raises(UserError, match="found none"):
        merge([])


def test_mirroring_twice_gives_the_clips_back(toy_clips, toy_walker):
    mirrored = mirror_clips(toy_clips, toy_walker)
    assert mirrored.names == ("sway_0_mirrored", "sway_1_mirrored")
    assert all(info.mirrored for info in mirrored.info)
    twice = mirror_clips(mirrored, toy_walker)
    same_features(twice, toy_clips)
    assert twice.names == toy_clips.names
    assert twice.sha256 == toy_clips.sha256
    assert not any(info.mirrored for info in twice.info)


def test_a_mirror_that_is_at_hand_is_the_one_used(toy_clips, toy_walker):
    mirror = Mirror(toy_walker)
    plain = mirror_clips(toy_clips, toy_walker)
    same_features(mirror_clips(toy_clips, toy_walker, mirror), plain)
    mirror.joint_signs = -mirror.joint_signs
    turned = mirror_clips(toy_clips, toy_walker, mirror)
    assert np.abs(plain.joints).max() > 0.05
    np.testing.assert_array_equal(turned.joints, -np.asarray(plain.joints))


def check_mirrored_features(clips: ReferenceClips, walker, metres: float) -> None:
    """The reflected features are those that the mirrored poses have."""
    mirrored = mirror_clips(clips, walker)
    qpos = np.asarray(mirrored.qpos(), np.float64)
    again = clips_from_poses(walker, qpos, np.asarray(mirrored.lengths).tolist(), clips.rate_hz)
    for name in FEATURES:
        tolerance = {"velocity": 1e-5, "joints_velocity": 1e-3, "angular_velocity": 1e-3}.get(name)
        found, expected = np.asarray(getattr(mirrored, name)), np.asarray(getattr(again, name))
        if name.endswith("quaternions"):
            expected = expected * np.sign(np.sum(found * expected, axis=-1, keepdims=True))
        np.testing.assert_allclose(found, expected, atol=tolerance or metres, err_msg=name)
    assert np.abs(np.asarray(mirrored.joints) - np.asarray(clips.joints)).max() > 0.01


def test_features_of_mirrored_rodent_clips(rodent):
    rng = np.random.default_rng(0)
    time = np.arange(30)[:, None] / 50.0
    low, high = rodent.model.jnt_range[1:].T
    qpos = np.tile(rodent.model.qpos0, (30, 1))
    wave = np.sin(2 * np.pi * (time + rng.random(len(low))))
    qpos[:, 7:] = 0.5 * (low + high) + 0.1 * (high - low) * wave
    qpos[:, :2] += 0.1 * time * [1.0, 0.5]
    qpos[:, 3], qpos[:, 6] = np.cos(time[:, 0]), np.sin(time[:, 0])
    check_mirrored_features(clips_from_poses(rodent, qpos, [18, 12], 50.0), rodent, 1e-3)


def test_features_of_mirrored_real_clips(rodent, shared_data):
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    twice = mirror_clips(mirror_clips(clips, rodent), rodent)
    same_features(twice, clips)
    # the file's own velocities are forward differences
    qpos = np.asarray(clips.qpos(), np.float64)
    own = clips_from_poses(rodent, qpos, [250] * 4, 50.0)
    check_mirrored_features(own, rodent, 1e-3)


def test_clips_of_another_walker_are_refused(toy_clips, rodent):
    with pytest.raises(UserError, match="joint names are not those of the walker 'rodent'"):
        mirror_clips(toy_clips, rodent)
