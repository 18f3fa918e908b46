"""Tracking errors of motions whose errors are known."""

from dataclasses import replace

import numpy as np
import pytest
from dm_control_tasks import walking_about
from hypothesis import given, settings
from hypothesis import strategies as st
from rollouts_on_clips import made_rollout
from scipy.spatial.transform import Rotation
from video_helpers import walking

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.tracking import (
    aligned,
    all_step_errors,
    mean_distance,
    pose_errors,
    rates_of_change,
)

STEPS = 12


@pytest.fixture(scope="module")
def computer(toy_walker):
    return FeatureComputer(toy_walker, num_threads=1)


@pytest.fixture(scope="module")
def clips(toy_walker):
    """Walks and turns."""
    return walking_about(toy_walker, [20, 20])


@pytest.fixture(scope="module")
def errors(clips, computer):
    """Of a rollout that is made as its arguments say."""
    return lambda **told: all_step_errors(made_rollout(clips, STEPS, **told), clips, computer)


def yawed(qpos: np.ndarray, angle: float) -> np.ndarray:
    """Turned about the world's z axis."""
    turn = Rotation.from_euler("z", angle)
    flat = qpos.reshape(-1, qpos.shape[-1]).copy()
    flat[:, :3] = turn.apply(flat[:, :3])
    flat[:, 3:7] = (turn * Rotation.from_quat(flat[:, 3:7], scalar_first=True)).as_quat(
        scalar_first=True
    )
    return flat.reshape(qpos.shape)


def moved(*offset: float):
    """A translation of the root, metres."""

    def move(qpos: np.ndarray) -> np.ndarray:
        qpos = qpos.copy()
        qpos[..., :3] += offset
        return qpos

    return move


def bent(joint: int, angle: float):
    def bend(qpos: np.ndarray) -> np.ndarray:
        qpos = qpos.copy()
        qpos[..., 7 + joint] += angle
        return qpos

    return bend


def test_a_simulation_on_its_reference_has_no_error(errors):
    for name, error in errors(clip=(0, 1), start_frame=(0, 4)).items():
        assert error.shape == (STEPS, 2) and error.dtype == np.float64
        tolerance = 1e-2 if name == "acceleration_error_m_per_s2" else 1e-3  # float32 clips
        assert np.nanmax(error) < tolerance, name
        known = STEPS - 1 if "per_s" in name else STEPS  # the last pose has no next one
        assert np.isfinite(error[:known]).all() and np.isnan(error[known:]).all(), name


def test_a_translated_body_is_off_in_the_world_only(errors):
    found = errors(move=moved(0.003, 0.004, 0.0))
    for name in ("root_error_mm", "mpjpe_global_mm"):
        np.testing.assert_allclose(found[name], 5.0, rtol=1e-3)
    for name in ("mpjpe_root_relative_mm", "mpjpe_procrustes_mm", "end_effector_error_mm"):
        assert found[name].max() < 1e-3, name
    assert found["root_angle_deg"].max() < 1e-3 and found["joint_error_rad"].max() == 0.0
    assert np.nanmax(found["velocity_error_m_per_s"]) < 1e-4


def test_a_turned_body_is_off_by_the_angle(toy_walker, computer):
    still = clips_from_poses(toy_walker, walking(toy_walker, 20, 0.0), [20], 50.0)
    rollout = made_rollout(still, STEPS, move=lambda qpos: yawed(qpos, np.radians(10.0)))
    found = all_step_errors(rollout, still, computer)
    np.testing.assert_allclose(found["root_angle_deg"], 10.0, rtol=1e-5)
    # each body goes along a chord about the root, which is at the origin
    bodies = np.asarray(still.body_positions)[0, toy_walker.tracked_bodies]
    chord = 2e3 * np.sin(np.radians(5.0)) * np.linalg.norm(bodies[:, :2], axis=1).mean()
    assert chord > 1.0
    np.testing.assert_allclose(found["mpjpe_global_mm"], chord, rtol=1e-4)
    assert found["mpjpe_root_relative_mm"].max() < 1e-3
    assert found["mpjpe_procrustes_mm"].max() < 1e-3
    assert found["root_error_mm"].max() == 0.0


def test_a_bent_leg_is_off_by_its_chord(errors, toy_walker):
    found = errors(move=bent(0, 0.2))  # hip_front: the foot hangs 24 mm below it
    np.testing.assert_allclose(found["joint_error_rad"], 0.2 / 4, rtol=1e-5)
    np.testing.assert_allclose(found["joint_distance_rad"], 0.2, rtol=1e-5)
    foot_mm = 24.0 * 2 * np.sin(0.1)
    # the foot is one of four tracked bodies and of two end effectors; the others stay
    for name in ("mpjpe_global_mm", "mpjpe_root_relative_mm"):
        np.testing.assert_allclose(found[name], foot_mm / 4, rtol=1e-3)
    np.testing.assert_allclose(found["end_effector_error_mm"], foot_mm / 2, rtol=1e-3)
    assert found["root_error_mm"].max() == 0.0


def test_one_frame_late_is_seen_as_one_frame(clips, computer, errors):
    """What mjlab's pull request 1008 mended: metrics that paired a state with the next frame."""
    found = errors(late=1, start_frame=(3,))
    bodies = np.asarray(clips.body_positions, np.float64)[:, computer.walker.tracked_bodies]
    step = mean_distance(bodies[4 : 4 + STEPS], bodies[3 : 3 + STEPS])
    assert step.min() > 1e-3
    np.testing.assert_allclose(found["mpjpe_global_mm"][:, 0], 1e3 * step, rtol=1e-3)
    root = np.linalg.norm(np.diff(np.asarray(clips.position, np.float64), axis=0), axis=1)
    np.testing.assert_allclose(found["root_error_mm"][:, 0], 1e3 * root[3 : 3 + STEPS], rtol=1e-4)
    velocity = (bodies[2:] - bodies[:-2]) * 25.0  # of frames 1, 2, ...
    behind = mean_distance(velocity[3:], velocity[2:-1])  # frames 4 and 3, 5 and 4, ...
    np.testing.assert_allclose(
        found["velocity_error_m_per_s"][:-1, 0], behind[: STEPS - 1], rtol=1e-2
    )


def test_velocity_and_acceleration_errors_of_a_body_that_runs_away(errors):
    seconds = np.arange(STEPS + 1)[:, None] / 50.0

    def fast(qpos):
        return np.concatenate([qpos[..., :1] + 0.3 * seconds[..., None], qpos[..., 1:]], axis=-1)

    def faster(qpos):
        run = 0.5 * 4.0 * seconds[..., None] ** 2
        return np.concatenate([qpos[..., :1] + run, qpos[..., 1:]], axis=-1)

    velocity, acceleration = "velocity_error_m_per_s", "acceleration_error_m_per_s2"
    np.testing.assert_allclose(errors(move=fast)[velocity][:-1], 0.3, rtol=1e-4)
    assert np.nanmax(errors(move=fast)[acceleration]) < 1e-2
    found = errors(move=faster)
    np.testing.assert_allclose(found[acceleration][:-1], 4.0, rtol=1e-2)
    np.testing.assert_allclose(found[velocity][:-1], 4.0 * seconds[1:-1], rtol=1e-3)


def test_control_faster_than_the_clips_sees_the_same_velocity(toy_walker, computer):
    slow = clips_from_poses(toy_walker, walking(toy_walker, 20, 0.2), [20], 50.0)
    fine = clips_from_poses(toy_walker, walking(toy_walker, 40, 0.1), [40], 50.0)  # 100 Hz
    rollout = made_rollout(fine, 24)
    steps = rollout.steps.replace(frame=rollout.steps.frame // 2)
    found = all_step_errors(rollout.replace(steps=steps, control_hz=100.0), slow, computer)
    assert np.isfinite(found["velocity_error_m_per_s"][1:-2]).all()
    assert np.nanmax(found["velocity_error_m_per_s"]) < 1e-4
    assert np.nanmax(found["acceleration_error_m_per_s2"]) < 1e-2
    # between two frames the reward reads the one before: half a frame of 4 mm
    np.testing.assert_allclose(found["root_error_mm"][::2], 2.0, rtol=1e-3)
    assert found["root_error_mm"][1::2].max() < 1e-3


def test_nothing_is_measured_after_an_end_or_where_the_simulation_diverged(clips, computer):
    diverged = np.zeros((STEPS, 2), bool)
    diverged[5, 1] = True
    rollout = made_rollout(clips, STEPS, (0, 1), (0, 0), lived=(4, 6), diverged=diverged)
    rollout.steps.qpos[5:, 1] = 0.0
    for name, error in all_step_errors(rollout, clips, computer).items():
        counted = np.isfinite(error).sum(axis=0)
        # a velocity needs the pose after it
        assert counted.tolist() == ([3, 4] if "per_s" in name else [4, 5]), name
        assert np.nanmax(error) < 1e-2, name


@settings(max_examples=10, deadline=None)
@given(x=st.floats(-1, 1), y=st.floats(-1, 1), yaw=st.floats(-3, 3), seed=st.integers(0, 2**16))
def test_errors_do_not_change_when_both_are_moved_and_turned_alike(toy_walker, x, y, yaw, seed):
    rng = np.random.default_rng(seed)
    about = np.asarray(walking_about(toy_walker, [8], seed).qpos(), np.float64)
    off = about + rng.normal(scale=0.02, size=about.shape)
    off[:, 3:7] /= np.linalg.norm(off[:, 3:7], axis=1, keepdims=True)
    computer = FeatureComputer(toy_walker, num_threads=1)

    def measured(place):
        clips = clips_from_poses(toy_walker, place(about), [8], 50.0)
        return all_step_errors(
            made_rollout(clips, 7, move=lambda _: place(off)[:, None]), clips, computer
        )

    here = measured(lambda qpos: qpos)
    there = measured(lambda qpos: moved(x, y, 0.0)(yawed(qpos, yaw)))
    assert here["mpjpe_procrustes_mm"].max() > 0.01
    for name, error in here.items():
        np.testing.assert_allclose(there[name], error, rtol=2e-3, atol=2e-3, err_msg=name)


def test_alignment_turns_and_shifts_but_neither_scales_nor_mirrors():
    rng = np.random.default_rng(0)
    points, noisy = rng.normal(size=(5, 9, 3)), rng.normal(size=(5, 9, 3))
    turn = Rotation.from_rotvec([0.5, -1.0, 2.0])
    target = turn.apply(points.reshape(-1, 3)).reshape(points.shape)
    target = target + np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(aligned(points, target), target, atol=1e-12)
    centered = target - target.mean(axis=1, keepdims=True)
    away = mean_distance(aligned(1.1 * points, target), target)
    np.testing.assert_allclose(away, 0.1 * np.linalg.norm(centered, axis=-1).mean(axis=-1))
    assert mean_distance(aligned(points * [1, 1, -1], target), target).min() > 0.1
    own, wanted = (p - p.mean(axis=1, keepdims=True) for p in (points, noisy))
    for row, moved_points in enumerate(aligned(points, noisy)):
        best, _ = Rotation.align_vectors(wanted[row], own[row])
        np.testing.assert_allclose(moved_points, best.apply(own[row]) + noisy[row].mean(axis=0))


def test_flat_and_single_points_can_be_aligned():
    flat = np.random.default_rng(0).normal(size=(3, 4, 3)) * [1.0, 1.0, 0.0]
    turned = Rotation.from_euler("x", 40, degrees=True).apply(flat.reshape(-1, 3))
    np.testing.assert_allclose(aligned(flat, turned.reshape(flat.shape)), turned.reshape(3, 4, 3))
    np.testing.assert_allclose(aligned(flat[:, :1], flat[:, 1:2]), flat[:, 1:2])


def test_rates_of_a_parabola_and_what_is_left_out_at_the_ends():
    seconds = np.arange(9)[:, None] / 10.0
    position = np.broadcast_to(seconds**2, (9, 2))[..., None]
    present = np.arange(9)[:, None] < np.array([9, 6])
    for stride in (1, 2):
        velocity, acceleration = rates_of_change(position, present, stride, 10.0)
        known = np.isfinite(velocity[..., 0])
        expected = np.zeros((9, 2), bool)
        expected[stride : 9 - stride, 0] = expected[stride : 6 - stride, 1] = True
        np.testing.assert_array_equal(known, expected)
        np.testing.assert_array_equal(np.isfinite(acceleration[..., 0]), expected)
        times = np.broadcast_to(seconds, (9, 2))[known]
        np.testing.assert_allclose(velocity[known][:, 0], 2 * times)
        np.testing.assert_allclose(acceleration[known], 2.0)
    short = rates_of_change(position[:2], present[:2], 1, 10.0)
    assert np.isnan(short).all()


def test_opposite_quaternions_are_the_same_orientation(toy_walker):
    pose = toy_walker.model.qpos0[None]
    flipped = pose.copy()
    flipped[:, 3:7] *= -1
    assert pose_errors(flipped, pose, toy_walker.layout)["root_angle_deg"][0] == pytest.approx(
        0.0, abs=1e-6
    )


def test_bodies_are_compared_as_they_are_not_as_the_physics_left_them(clips, toy_walker, computer):
    """The reference's bodies are those of the clip file, also where it says otherwise."""
    shifted = clips.replace(body_positions=np.asarray(clips.body_positions) + np.float32(0.01))
    found = all_step_errors(made_rollout(clips, STEPS), shifted, computer)
    np.testing.assert_allclose(found["mpjpe_global_mm"], 10.0 * np.sqrt(3), rtol=1e-3)
    assert found["mpjpe_root_relative_mm"].max() < 1e-2
    other = replace(toy_walker, tracked_bodies=toy_walker.tracked_bodies[:1])
    assert all_step_errors(
        made_rollout(clips, STEPS), clips, FeatureComputer(other, num_threads=1)
    )["mpjpe_global_mm"].shape == (STEPS, 1)
