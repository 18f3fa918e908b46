"""Features of all frames at once against MuJoCo frame by frame."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnl_mjx.clips.columns import difference_qvel
from vnl_mjx.clips.container import FEATURES
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.feet import FootHeights, foot_geoms
from vnl_mjx.clips.kinematics import BLOCK_FRAMES, Kinematics
from vnl_mjx.config.preprocessing import ContactSection
from vnl_mjx.quaternions import rotation_between
from vnl_mjx.walkers.walker import build_walker

RATE_HZ = 50.0


def poses(walker, frames: int, seed: int = 0) -> np.ndarray:
    """Smooth random motion within the joint limits, [frame, nq]."""
    rng = np.random.default_rng(seed)
    model = walker.model
    steps = rng.normal(size=(frames, model.nv)) * 0.3
    qvel = np.cumsum(steps, axis=0) / np.sqrt(np.arange(1, frames + 1))[:, None]
    qpos = np.empty((frames, model.nq))
    pose = model.qpos0.copy()
    for frame in range(frames):
        mujoco.mj_integratePos(model, pose, qvel[frame], 1 / RATE_HZ)
        qpos[frame] = pose
    return qpos


def test_features_equal_mujocos_frame_by_frame(rodent):
    qpos, lengths = poses(rodent, 30), [20, 9, 1]
    found = FeatureComputer(rodent)(qpos, lengths, RATE_HZ)
    assert tuple(sorted(found)) == tuple(sorted(FEATURES))
    assert all(values.dtype == np.float32 and len(values) == 30 for values in found.values())
    model, data = rodent.model, mujoco.MjData(rodent.model)
    starts = np.repeat([0, 20, 29], lengths)
    ends = np.repeat([19, 28, 29], lengths)
    for frame in range(30):
        data.qpos[:] = qpos[frame]
        mujoco.mj_forward(model, data)
        before, after = max(frame - 1, starts[frame]), min(frame + 1, ends[frame])
        qvel = np.zeros(model.nv)
        if after > before:
            seconds = (after - before) / RATE_HZ
            mujoco.mj_differentiatePos(model, qvel, seconds, qpos[before], qpos[after])
        root, matrix = data.xpos[rodent.root_body], data.xmat[rodent.root_body].reshape(3, 3)
        expected = {
            "position": data.qpos[:3],
            "quaternion": data.qpos[3:7],
            "joints": data.qpos[7:],
            "velocity": qvel[:3],
            "angular_velocity": qvel[3:6],
            "joints_velocity": qvel[6:],
            "body_positions": data.xpos,
            "body_quaternions": data.xquat,
            "center_of_mass": data.subtree_com[model.jnt_bodyid[0]],
            "end_effectors": (data.xpos[rodent.end_effectors] - root) @ matrix,
            "appendages": (data.xpos[rodent.appendages] - root) @ matrix,
        }
        for name, values in expected.items():
            np.testing.assert_allclose(
                found[name][frame], values, atol=2e-6, rtol=1e-6, err_msg=name
            )


def test_threads_and_blocks_change_no_bit(toy_walker):
    qpos = poses(toy_walker, 2 * BLOCK_FRAMES + 77)
    lengths = [BLOCK_FRAMES - 1, 2, BLOCK_FRAMES + 76]
    one = FeatureComputer(toy_walker, num_threads=1)(qpos, lengths, RATE_HZ)
    many = FeatureComputer(toy_walker, num_threads=3)(qpos, lengths, RATE_HZ)
    for name in FEATURES:
        np.testing.assert_array_equal(one[name], many[name], err_msg=name)
    start = 0
    for length in lengths:  # each clip alone gives the same
        alone = FeatureComputer(toy_walker)(qpos[start : start + length], [length], RATE_HZ)
        for name in FEATURES:
            np.testing.assert_array_equal(alone[name], one[name][start : start + length])
        start += length


def test_given_velocities_are_kept(toy_walker):
    qpos = poses(toy_walker, 5)
    qvel = np.random.default_rng(1).normal(size=(5, toy_walker.model.nv))
    found = FeatureComputer(toy_walker)(qpos, [5], RATE_HZ, qvel)
    parts = [found[name] for name in ("velocity", "angular_velocity", "joints_velocity")]
    np.testing.assert_array_equal(np.concatenate(parts, -1), qvel.astype(np.float32))


@settings(max_examples=15, deadline=None)
@given(
    yaw=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    seed=st.integers(0, 1000),
)
def test_floor_translation_and_yaw_change_nothing_egocentric(rodent, yaw, shift, seed):
    """What is relative to the body, or a scalar of the joints, stays; the rest turns along."""
    qpos = poses(rodent, 6, seed)
    turn = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
    matrix = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    moved = qpos.copy()
    moved[:, :3] = qpos[:, :3] @ matrix.T + [*shift, 0]
    for row in moved:
        mujoco.mju_mulQuat(row[3:7], turn, row[3:7].copy())
    computer = FeatureComputer(rodent)
    a, b = (computer(q, [6], RATE_HZ) for q in (qpos, moved))
    same = ("joints", "joints_velocity", "angular_velocity", "end_effectors", "appendages")
    for name in same:
        np.testing.assert_allclose(a[name], b[name], atol=2e-5, err_msg=name)
    for name, offset in (("velocity", 0), ("body_positions", 1), ("center_of_mass", 1)):
        own = slice(rodent.body_names.index("walker"), None) if name == "body_positions" else ...
        turned = a[name] @ matrix.T + offset * np.array([*shift, 0])
        if own is not ...:
            turned, moved_values = turned[:, own], b[name][:, own]
        else:
            moved_values = b[name]
        np.testing.assert_allclose(turned, moved_values, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, 3.14159])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rotation_between_equals_mujocos(angle, sign):
    axis = np.array([0.6, 0.0, -0.8])
    a, b, turn = np.array([0.5, 0.5, -0.5, 0.5]), np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, axis, angle)
    mujoco.mju_mulQuat(b, a, turn)
    np.testing.assert_allclose(rotation_between(a, sign * b), axis * angle, atol=1e-8)


def test_difference_of_positions_equals_mujocos(rodent):
    before, after = poses(rodent, 40)[:-1], poses(rodent, 40)[1:]
    found = difference_qvel(before, after, rodent.layout, np.full(39, 0.02))
    expected = np.zeros(rodent.model.nv)
    for row in range(39):
        mujoco.mj_differentiatePos(rodent.model, expected, 0.02, before[row], after[row])
        np.testing.assert_allclose(found[row], expected, atol=1e-10)


def test_foot_heights_equal_mujocos_distance_to_the_floor(rodent):
    model, data = rodent.model, mujoco.MjData(rodent.model)
    data.qpos[:] = poses(rodent, 12)[-1]
    data.qpos[2] += 0.05
    mujoco.mj_forward(model, data)
    found = FootHeights(rodent)(data.xpos[None], data.xquat[None])[0]
    floor, ends = model.geom("floor").id, np.zeros(6)
    for foot, body in enumerate(rodent.feet):
        geoms = [g for g in foot_geoms(rodent) if g.foot == foot]
        assert len(geoms) == 4  # the paw and three toes or fingers
        own = {g.body for g in geoms}
        distances = [
            mujoco.mj_geomDistance(model, data, g, floor, 1.0, ends)
            for g in range(model.ngeom)
            if int(model.geom_bodyid[g]) in own and model.geom_contype[g]
        ]
        assert found[foot] == pytest.approx(min(distances), abs=1e-6), rodent.body_names[body]


def test_contacts_need_a_low_and_still_foot(toy_walker):
    still = np.tile(toy_walker.model.qpos0, (9, 1))
    kinematics = Kinematics(toy_walker.model)
    lowest = FootHeights(toy_walker)(*kinematics(still)[:2]).min()
    still[:, 2] -= lowest  # the lowest foot on the floor
    sliding, lifted = still.copy(), still.copy()
    sliding[:, 0] += 0.3 * np.arange(9) / RATE_HZ
    lifted[:, 2] += 0.02
    rule = ContactSection(height_m=0.005, speed=0.1)
    computer = FeatureComputer(toy_walker, contacts=rule)
    contacts = {
        name: computer(qpos, [9], RATE_HZ)["contacts"].max(axis=1)
        for name, qpos in (("still", still), ("sliding", sliding), ("lifted", lifted))
    }
    assert contacts["still"].all()
    assert not contacts["sliding"].any()
    assert not contacts["lifted"].any()


def test_kinematics_of_no_frames_is_empty(toy_walker):
    found = Kinematics(toy_walker.model)(np.zeros((0, toy_walker.model.nq)))
    assert [len(values) for values in found] == [0, 0, 0]


def test_a_walker_without_feet_has_no_contacts(toy_config):
    walker = build_walker(replace(toy_config, end_effector_names=()))
    found = FeatureComputer(walker)(poses(walker, 4), [4], RATE_HZ)
    assert {n: found[n].shape for n in ("contacts", "end_effectors", "appendages")} == {
        "contacts": (4, 0),
        "end_effectors": (4, 0, 3),
        "appendages": (4, 0, 3),
    }
