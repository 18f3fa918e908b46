"""Statistics of motions that were made by hand, so that each value is known."""

from dataclasses import replace

import numpy as np
import pytest

from vnl_mjx.evaluation.motion_statistics import (
    MotionReader,
    Motions,
    compare_motions,
    diversity,
    half_distances,
    histogram_overlap,
    worst_feature,
)
from vnl_mjx.evaluation.rollout import Episodes, Rollout, Steps

RATE = 50.0


@pytest.fixture(scope="module")
def reader(toy_walker) -> MotionReader:
    return MotionReader(toy_walker)


def about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Quaternions [frame, 4] about a coordinate axis."""
    quaternion = np.zeros((len(angle), 4))
    quaternion[:, 0], quaternion[:, 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return quaternion


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of a turn `a` about z and a turn `b` about y, [frame, 4]."""
    (aw, _, _, az), (bw, _, by, _) = a.T, b.T
    return np.stack([aw * bw, -az * by, aw * by, az * bw], axis=1)


def standing(toy_walker, num_frames: int) -> np.ndarray:
    return np.tile(toy_walker.model.qpos0, (num_frames, 1))


def moving(num: int = 400, seed: int = 0) -> Motions:
    """Three trajectories of two joints, drawn."""
    rng = np.random.default_rng(seed)
    joints = tuple(rng.normal(size=(num, 2)) * [0.3, 0.1] for _ in range(3))
    return Motions(
        joints=joints,
        joint_velocities=tuple(RATE * np.diff(angles, axis=0) for angles in joints),
        speed=tuple(rng.gamma(2.0, 0.1, (3, num))),
        turning_rate=tuple(rng.normal(size=(3, num))),
        torso_height=tuple(rng.normal(0.07, 0.002, (3, num))),
        standing_feet=tuple(rng.integers(0, 5, (3, num))),
        rate_hz=RATE,
    )


@pytest.mark.parametrize("pitch", [0.0, 0.8, 1.5])
def test_speed_turning_and_height_of_a_circle(reader, toy_walker, pitch):
    radius, rate = 0.4, 0.75  # m, rad/s
    time = np.arange(100) / RATE
    qpos = standing(toy_walker, 100)
    qpos[:, 0], qpos[:, 1] = radius * np.sin(rate * time), -radius * np.cos(rate * time)
    qpos[:, 2] += 0.03
    qpos[:, 3:7] = product(about(2, rate * time), about(1, np.full(100, -pitch)))
    motions = reader([qpos], RATE)
    # a chord of 0.1 s is shorter than its arc by this factor
    chord = np.sin(rate * 0.05) / (rate * 0.05)
    np.testing.assert_allclose(motions.pooled("speed"), radius * rate * chord, rtol=1e-6)
    # however far the head is raised
    np.testing.assert_allclose(motions.pooled("turning_rate"), rate, rtol=1e-6)
    torso = 0.03 + 0.06 * np.cos(pitch)  # the toy's torso is 6 cm above its root
    np.testing.assert_allclose(motions.pooled("torso_height"), torso, atol=1e-6)
    assert len(motions.speed[0]) == 95 and motions.pooled("joints").shape == (100, 4)


def test_sway_within_the_window_is_smoothed_away(reader, toy_walker):
    qpos = standing(toy_walker, 60)
    qpos[:, 0] = 0.2 * np.arange(60) / RATE + 0.01 * np.sin(2 * np.pi * np.arange(60) / 5)
    np.testing.assert_allclose(reader([qpos], RATE).speed[0], 0.2, rtol=1e-6)


def test_clips_are_read_one_by_one(reader, toy_motion):
    motions = reader.of_clips(toy_motion)
    assert [len(joints) for joints in motions.joints] == np.asarray(toy_motion.lengths).tolist()
    # five frames of each have no chord, and none leads from one clip into the next
    assert len(motions.pooled("speed")) == toy_motion.num_frames - 5 * toy_motion.num_clips
    assert motions.pooled("speed").max() < 0.5
    np.testing.assert_array_equal(motions.pooled("joints"), np.asarray(toy_motion.joints))


def test_a_rollout_is_read_at_the_rate_of_the_clips_while_it_lives(reader, toy_walker):
    num_steps, alive = 40, np.ones((40, 2), bool)
    alive[15:, 1] = False
    qpos = np.repeat(standing(toy_walker, num_steps)[:, None], 2, axis=1)
    qpos[..., 0] = 0.003 * np.arange(1, num_steps + 1)[:, None]  # 0.3 m/s at 100 steps a second
    qpos[~alive, 0] = 7.0
    nothing = np.zeros((num_steps, 2))
    steps = Steps(
        alive=alive,
        reward=nothing,
        terms={},
        distances={},
        terminated=alive & False,
        truncated=alive & False,
        diverged=alive & False,
        frame=nothing,
        qpos=qpos,
        qvel=nothing,
        action=nothing,
        power=nothing,
        extra=(),
    )
    start = standing(toy_walker, 2)
    episodes = Episodes(np.zeros(2, int), np.zeros(2, int), None)
    rollout = Rollout(episodes, start, start[:, 1:], np.full(2, num_steps), steps, 100.0)
    motions = reader.of_rollout(rollout, RATE)
    assert motions.rate_hz == RATE
    assert [len(joints) for joints in motions.joints] == [21, 8]  # the start, then every other step
    np.testing.assert_allclose(motions.pooled("speed"), 0.3, rtol=1e-4)
    # clips of a higher rate cannot make steps
    assert len(reader.of_rollout(rollout, 400.0).joints[0]) == 41


def test_the_data_are_like_themselves():
    data = moving()
    figures = compare_motions(data, data, ("hip", "knee"))
    for name in ("speed", "turning_rate", "torso_height", "joint_angles"):
        assert figures[name]["wasserstein"] == 0.0
        assert figures[name]["overlap"] == pytest.approx(1.0)
        assert figures[name]["mean"] == figures[name]["data_mean"]
    assert figures["speed_ratio"] == figures["diversity_ratio"] == 1.0
    assert figures["joint_variance_reached"] == pytest.approx(1.0)
    assert list(figures["joint_angles"]["per_joint"]) == ["hip", "knee"]


def test_what_is_moved_is_as_far_as_it_was_moved():
    data = moving()
    moved = replace(
        data,
        joints=tuple(joints + np.array([0.2, 0.0]) for joints in data.joints),
        torso_height=tuple(heights - 0.01 for heights in data.torso_height),
        speed=tuple(3.0 * speeds for speeds in data.speed),
    )
    figures = compare_motions(moved, data, ("hip", "knee"))
    assert figures["torso_height"]["wasserstein"] == pytest.approx(0.01)
    assert figures["torso_height"]["overlap"] < 0.1
    assert figures["joint_angles"]["wasserstein"] == pytest.approx(0.1)  # mean of 0.2 and 0
    assert figures["joint_angles"]["per_joint"]["hip"]["wasserstein"] == pytest.approx(0.2)
    assert figures["joint_angles"]["per_joint"]["knee"]["overlap"] == pytest.approx(1.0)
    assert figures["speed_ratio"] == pytest.approx(3.0)
    assert figures["joint_variance_reached"] == pytest.approx(1.0)
    assert figures["diversity_ratio"] == pytest.approx(1.0)


def test_more_of_one_joint_is_no_variance_of_another():
    data = moving()
    joints = tuple(np.stack([5.0 * j[:, 0], 0.0 * j[:, 1]], axis=1) for j in data.joints)
    figures = compare_motions(replace(data, joints=joints), data)
    assert figures["joint_variance_reached"] == pytest.approx(
        0.9, abs=0.01
    )  # 0.3^2 of 0.3^2 + 0.1^2
    assert "per_joint" not in figures["joint_angles"]


def test_diversity_is_the_distance_of_the_trajectories():
    still = [np.full((100, 2), angle) for angle in (0.0, 0.1, 0.3)]
    motions = replace(moving(), joints=tuple(still))
    assert diversity(motions) == pytest.approx((0.1 + 0.3 + 0.2) / 3)
    alike = replace(motions, joints=(still[1], still[1][:60]))
    assert diversity(alike) == 0.0
    assert diversity(replace(motions, joints=(still[0], still[1][:24]))) is None


def walks(reader, toy_walker, speeds: list[float]) -> Motions:
    """One trajectory of three seconds at each speed, whose joints swing as fast."""
    time, qpos = np.arange(150) / RATE, []
    for speed in speeds:
        pose = standing(toy_walker, 150)
        pose[:, 0] += speed * time
        pose[:, 7:] += 0.2 * np.sin(20.0 * speed * time)[:, None]
        qpos.append(pose)
    return reader(qpos, RATE)


def test_what_stays_still_is_farther_away_than_half_of_the_data(reader, toy_walker):
    speeds = np.linspace(0.1, 0.4, 24)
    data = walks(reader, toy_walker, speeds.tolist())
    halves = half_distances(data)
    assert halves == half_distances(data)  # the seed decides
    # Halves of 24 evenly spaced numbers that are 0.013 m/s apart.
    half_speed = halves["speed"]
    assert half_speed and 0.003 < half_speed < 0.06
    assert halves["turning_rate"] is None  # nobody turns
    alike = walks(reader, toy_walker, (speeds[:-1] + 0.006).tolist())
    found = compare_motions(alike, data, halves=halves)["over_halves"]
    assert found["turning_rate"] is None and max(found["speed"], found["joint_velocities"]) < 1.0
    frozen = compare_motions(reader([standing(toy_walker, 150)] * 24, RATE), data, halves=halves)
    assert frozen["over_halves"]["speed"] == pytest.approx(0.25 / half_speed, rel=0.01)
    assert frozen["over_halves"]["joint_velocities"] > 4.0
    worst = worst_feature(frozen)
    assert worst and worst[1] == max(r for r in frozen["over_halves"].values() if r is not None)
    assert worst_feature(compare_motions(alike, data)) is None
    assert set(half_distances(data.part(np.array([0]))).values()) == {None}


def test_the_farthest_feature_has_an_interval_over_the_trajectories(reader, toy_walker):
    speeds = np.linspace(0.1, 0.4, 24)
    data = walks(reader, toy_walker, speeds.tolist())
    halves = half_distances(data)
    slow = walks(reader, toy_walker, (0.5 * speeds).tolist())
    found = compare_motions(slow, data, halves=halves)
    farthest, worst = found["farthest"], worst_feature(found)
    assert (farthest["feature"], farthest["mean"]) == worst
    assert 0.0 < farthest["low"] < farthest["mean"] < farthest["high"]
    # all alike: whichever of them are drawn, they are as far away
    alike = compare_motions(walks(reader, toy_walker, [0.9] * 8), data, halves=halves)["farthest"]
    assert alike["low"] == pytest.approx(alike["mean"], rel=0.02)
    assert alike["high"] == pytest.approx(alike["mean"], rel=0.02)
    one = compare_motions(slow.part(np.array([0])), data, halves=halves)["farthest"]
    assert one["low"] is None and one["mean"] > 0


def test_feet_stand_or_swing(reader, toy_walker):
    still = reader([standing(toy_walker, 30)], RATE).standing_feet[0]
    in_the_air = standing(toy_walker, 30)
    in_the_air[:, 2] += 0.5
    assert set(still) == {len(toy_walker.feet)}
    assert set(reader([in_the_air], RATE).standing_feet[0]) == {0}


def test_overlap_of_histograms():
    data = np.linspace(0.0, 1.0, 1001)
    assert histogram_overlap(data, data) == pytest.approx(1.0)
    assert histogram_overlap(data + 0.5, data) == pytest.approx(0.5, abs=0.02)
    assert histogram_overlap(data + 2.0, data) == 0.0
    assert histogram_overlap(data * 100.0, data) == pytest.approx(0.01, abs=0.01)
    constant = np.full(10, 0.3)
    assert histogram_overlap(constant, constant) == 1.0
    assert histogram_overlap(constant + 0.1, constant) == 0.0


def test_many_samples_are_thinned_evenly():
    few, many = moving(400), moving(40_000)
    assert len(many.pooled("speed")) == 120_000
    figures = compare_motions(many, few)
    assert figures["speed"]["mean"] == pytest.approx(0.2, rel=0.05)
    assert figures["speed"]["wasserstein"] < 0.02


def test_nothing_to_measure_is_none(reader, toy_walker):
    short = reader([standing(toy_walker, 3)], RATE)
    figures = compare_motions(short, reader([standing(toy_walker, 50)] * 2, RATE))
    assert set(figures["speed"].values()) == {None}
    assert figures["speed_ratio"] is None and figures["diversity_ratio"] is None
    assert figures["joint_variance_reached"] is None  # the data are still
    assert figures["torso_height"]["wasserstein"] == pytest.approx(0.0)
