"""Reference clips in memory: look-up, windows, selection, split, table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import (
    FEATURES,
    ClipSplit,
    ReferenceClips,
    check_clips_cover,
    content_sha256,
    describe_clips,
    split_clips,
)
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker

LENGTHS = (5, 1, 9)
RATE_HZ = 50.0


def random_poses(walker: Walker, num_frames: int, seed: int) -> np.ndarray:
    """Unrelated poses, [frame, nq], inside the joints' ranges."""
    rng = np.random.default_rng(seed)
    quaternion = rng.normal(size=(num_frames, 4))
    quaternion /= np.linalg.norm(quaternion, axis=-1, keepdims=True)
    parts = (
        rng.normal(size=(num_frames, 3)),
        quaternion,
        rng.uniform(-0.8, 0.8, size=(num_frames, len(walker.joint_names))),
    )
    return np.concatenate(parts, axis=-1).astype(np.float32)


@pytest.fixture(scope="module")
def clips(toy_walker: Walker) -> ReferenceClips:
    """Three clips of 5, 1 and 9 frames."""
    return clips_from_poses(
        toy_walker, random_poses(toy_walker, sum(LENGTHS), seed=0), LENGTHS, RATE_HZ
    )


def clip_slice(clips: ReferenceClips, clip: int, feature: str) -> np.ndarray:
    start = int(sum(LENGTHS[:clip]))
    return np.asarray(getattr(clips, feature))[start : start + LENGTHS[clip]]


def test_features_have_the_documented_shapes(clips, toy_walker):
    frames, bodies, joints = sum(LENGTHS), toy_walker.model.nbody, len(toy_walker.joint_names)
    assert {name: getattr(clips, name).shape for name in FEATURES} == {
        "position": (frames, 3),
        "quaternion": (frames, 4),
        "joints": (frames, joints),
        "body_positions": (frames, bodies, 3),
        "velocity": (frames, 3),
        "angular_velocity": (frames, 3),
        "joints_velocity": (frames, joints),
        "body_quaternions": (frames, bodies, 4),
        "center_of_mass": (frames, 3),
        "end_effectors": (frames, len(toy_walker.end_effectors), 3),
        "appendages": (frames, len(toy_walker.appendages), 3),
        "contacts": (frames, len(toy_walker.feet)),
    }
    assert all(getattr(clips, name).dtype == np.float32 for name in FEATURES)
    assert (clips.num_clips, clips.num_frames) == (3, frames)
    np.testing.assert_array_equal(clips.starts, [0, 5, 6])
    np.testing.assert_array_equal(clips.lengths, LENGTHS)


@settings(max_examples=60, deadline=None)
@given(
    clip=st.integers(0, 2), frame=st.integers(-20, 30), length=st.sampled_from([1, 4, 12])
)  # few lengths: each is compiled
def test_window_and_at_equal_numpy_slices_with_clamped_frames(clips, clip, frame, length):
    window = clips.window(clip, frame, length)
    single = clips.at(clip, frame)
    for feature in FEATURES:
        rows = clip_slice(clips, clip, feature)
        expected = rows[np.clip(np.arange(frame, frame + length), 0, len(rows) - 1)]
        np.testing.assert_array_equal(getattr(window, feature), expected)
        np.testing.assert_array_equal(getattr(single, feature), expected[0])


def test_window_under_jit_and_vmap_equals_the_eager_one(clips):
    clip, frame = jnp.array([0, 1, 2, 2, 0]), jnp.array([3, 0, 0, 8, -4])
    traces = []

    @jax.jit
    def look_up(clips, clip, frame):
        traces.append(None)
        return jax.vmap(lambda c, f: clips.window(c, f, 4))(clip, frame)

    batched = look_up(clips, clip, frame)
    look_up(clips, clip + 0, frame + 1)
    assert len(traces) == 1
    closed_over = jax.jit(lambda c, f: clips.at(c, f))(2, 3)
    np.testing.assert_array_equal(closed_over.joints, clip_slice(clips, 2, "joints")[3])
    for row in range(len(clip)):
        one = clips.window(int(clip[row]), int(frame[row]), 4)
        for feature in FEATURES:
            np.testing.assert_array_equal(getattr(batched, feature)[row], getattr(one, feature))


def test_qpos_and_qvel_are_in_mujocos_order(toy_walker):
    poses = random_poses(toy_walker, 6, seed=3)
    clips = clips_from_poses(toy_walker, poses, [6], RATE_HZ)
    np.testing.assert_array_equal(clips.qpos(), poses)
    frame = clips.at(0, 2)
    assert frame.qpos().shape == (toy_walker.model.nq,)
    assert frame.qvel().shape == (toy_walker.model.nv,)
    np.testing.assert_array_equal(frame.qvel()[6:], clips.joints_velocity[2])


def test_select_keeps_clips_and_hashes_what_is_left(clips):
    chosen = clips.select([2, 0])
    assert chosen.names == ("clip_2", "clip_0")
    for feature in FEATURES:
        expected = np.concatenate([clip_slice(clips, 2, feature), clip_slice(clips, 0, feature)])
        np.testing.assert_array_equal(getattr(chosen, feature), expected)
    np.testing.assert_array_equal(chosen.at(1, 4).joints, clip_slice(clips, 0, "joints")[4])
    assert chosen.sha256 != clips.sha256
    assert clips.select([0, 1, 2]).sha256 == clips.sha256


@pytest.mark.parametrize("indices", [[3], [-1], []])
def test_select_refuses_clips_that_are_not_there(clips, indices):
    with pytest.raises(UserError, match=r"clips out of 0 \.\.\. 2"):
        clips.select(indices)


def test_hash_follows_the_content_and_nothing_else(clips, toy_walker):
    poses = random_poses(toy_walker, sum(LENGTHS), seed=0)
    again = clips_from_poses(toy_walker, poses, LENGTHS, RATE_HZ, names=("a", "b", "c"), source="x")
    assert again.sha256 == clips.sha256
    other_cut = clips_from_poses(toy_walker, poses, (5, 2, 8), RATE_HZ)
    assert other_cut.sha256 != clips.sha256
    changed = np.array(clips.joints)
    changed[3, 0] = np.nextafter(changed[3, 0], np.float32(1))
    sha256 = content_sha256(clips.position, clips.quaternion, changed, clips.lengths)
    assert sha256 != clips.sha256


def test_clips_that_are_too_short_are_named(clips):
    check_clips_cover(clips, 1)
    with pytest.raises(UserError, match=r"clip 1 \('clip_1'\) has 1 frames.*needs 2"):
        check_clips_cover(clips, 2)


@given(
    num_clips=st.integers(1, 60),
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_split_is_disjoint_complete_deterministic_and_survives_json(num_clips, fraction, seed):
    split = split_clips(num_clips, fraction, seed)
    assert sorted(split.train + split.held_out) == list(range(num_clips))
    assert len(split.train) >= 1
    assert bool(split.held_out) == (fraction > 0 and num_clips > 1)
    assert split == split_clips(num_clips, fraction, seed)
    assert split == ClipSplit.from_dict(json.loads(json.dumps(split.to_dict())))


def test_split_depends_on_the_seed_and_has_the_asked_size():
    splits = {split_clips(100, 0.2, seed).held_out for seed in range(5)}
    assert len(splits) == 5
    assert {len(held_out) for held_out in splits} == {20}


def test_split_refuses_bad_fractions_and_records():
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(UserError, match="held_out_fraction"):
            split_clips(4, fraction, 0)
    with pytest.raises(UserError, match="expected keys"):
        ClipSplit.from_dict({"train": [0]})


def test_table_of_a_straight_walk(toy_walker):
    poses = np.tile(toy_walker.model.qpos0, (51, 1))
    poses[:, 0] = np.linspace(0.0, 0.5, 51)  # half a metre in one second
    clips = clips_from_poses(toy_walker, poses, [51], RATE_HZ, source="walk.h5")
    table = describe_clips(clips)
    assert all(isinstance(value, str) for value in table.values())
    assert table["file"] == "walk.h5"
    assert table["frames"] == "51 (51 per clip)"
    assert table["mean root speed"] == "50.0 cm/s per clip"
    assert table["farthest from start"] == "50.0 cm per clip"
    assert table["sha256"] == clips.sha256
