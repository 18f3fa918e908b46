"""Reward and termination error of the MIMIC/CoMic line, against dm_control's own functions."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from compiling import jit_as_user
from dm_control_tasks import locomotion
from hypothesis import given, settings
from hypothesis import strategies as st
from observation_helpers import random_state, state_of
from scipy.spatial.transform import Rotation

from vnl_mjx.clips.container import ReferenceFrames
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.config.imitation import UpstreamQuirks
from vnl_mjx.config.rewards import MimicReward, MimicTermination, RewardConfig, TerminationConfig
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.terms.errors import tracking_errors
from vnl_mjx.tasks.terms.rewards import imitation_terms, reward_terms
from vnl_mjx.tasks.terms.state import term_state
from vnl_mjx.tasks.terms.terminations import distances, termination_terms
from vnl_mjx.walkers.walker import Walker

# dm_control's name of the reward: termination_weight, pose_weight
MIXES = {
    "comic": (0.5, 0.5),
    "termination_reward": (1.0, 0.0),
    "multi_term_pose_reward": (0.0, 1.0),
}


@pytest.fixture(scope="module")
def dm():
    modules = locomotion()
    from dm_control.locomotion.tasks.reference_pose import rewards

    modules.rewards = rewards
    return modules


def features_of(walker: Walker, qpos: np.ndarray, qvel: np.ndarray) -> dict[str, np.ndarray]:
    """dm_control's features of a pose, float64, by MuJoCo (`reference_pose/utils.py: get_features`)."""
    model = walker.model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    root, at = walker.root_body, walker.tracked_bodies
    return {
        "center_of_mass": data.subtree_com[model.jnt_bodyid[0]].copy(),
        "joints": data.qpos[7:].copy(),
        "joints_velocity": data.qvel[6:].copy(),
        "appendages": (data.xpos[walker.appendages] - data.xpos[root])
        @ data.xmat[root].reshape(3, 3),
        "body_positions": data.xpos[at].copy(),
        "body_quaternions": data.xquat[at].copy(),
    }


def frame_of(walker: Walker, qpos: np.ndarray, qvel: np.ndarray) -> ReferenceFrames:
    """The same as one frame of a clip."""
    features = features_of(walker, qpos, qvel)
    bodies = mujoco.MjData(walker.model)
    bodies.qpos[:] = qpos
    mujoco.mj_kinematics(walker.model, bodies)
    arrays = {
        "position": qpos[:3],
        "quaternion": qpos[3:7],
        "velocity": qvel[:3],
        "angular_velocity": qvel[3:6],
        "body_positions": bodies.xpos,
        "body_quaternions": bodies.xquat,
        "end_effectors": np.zeros((len(walker.end_effectors), 3)),
        "contacts": np.zeros(len(walker.feet)),
        **{k: features[k] for k in ("center_of_mass", "joints", "joints_velocity", "appendages")},
    }
    return ReferenceFrames(**{name: jnp.asarray(v, jnp.float32) for name, v in arrays.items()})


def of_dm_control(dm: SimpleNamespace, kind: str, own, reference, multiplier=1.0, threshold=0.3):
    """Reward terms and termination error, by the installed package."""
    task = SimpleNamespace(
        _clip_reference_features={k: v[None] for k, v in reference.items()},
        _time_step=0,
        _walker_joints=own["joints"],
        _walker_features=own,
        _body_idxs=np.arange(len(own["body_positions"])),
        _body_error_multiplier=multiplier,
        _props=[],
    )
    dm.tracking.ReferencePosesTask._compute_termination_error(task)
    found = dm.rewards.get_reward(kind)(
        termination_error=task._termination_error,
        termination_error_threshold=threshold,
        walker_features={k: v.copy() for k, v in own.items()},
        reference_features={k: v.copy() for k, v in reference.items()},
    )
    return found, task._termination_error


def ours(walker: Walker, state: PhysicsState, frame: ReferenceFrames, kind: str, limits=None):
    limits = limits or MimicTermination()
    termination = TerminationConfig(family="mimic", mimic=limits)
    return *compiled(walker, kind, limits)(state, frame), termination


@cache
def compiled(walker: Walker, kind: str, limits: MimicTermination):
    """Terms and distances of a state and a frame, as one program."""
    quirks = UpstreamQuirks()
    termination = TerminationConfig(family="mimic", mimic=limits)
    reward = RewardConfig(family="mimic", mimic=MimicReward(*MIXES[kind]))
    terms_of = reward_terms(reward, termination)

    @jit_as_user
    def look(state, frame):
        seen = term_state(state, walker, 0.02)
        seen = seen.replace(errors=tracking_errors(seen, frame, walker, quirks))
        return terms_of(seen, frame, walker), distances(seen.errors, termination)

    return look


def compare(dm, walker: Walker, qpos, qvel, reference_qpos, reference_qvel, kind: str) -> None:
    state = state_of(walker.model, qpos, qvel)
    terms, distance, _ = ours(walker, state, frame_of(walker, reference_qpos, reference_qvel), kind)
    # the same features: what float32 leaves of the poses
    poses = [np.asarray(x, np.float32) for x in (qpos, qvel, reference_qpos, reference_qvel)]
    own, reference = features_of(walker, *poses[:2]), features_of(walker, *poses[2:])
    expected, error = of_dm_control(dm, kind, own, reference)
    for name, term in expected.reward_terms.items():
        assert float(terms[name]) == pytest.approx(term, abs=1e-6), name
    assert {name for name, term in terms.items() if float(term) != 0} <= set(expected.reward_terms)
    assert float(sum(terms.values())) == pytest.approx(expected.reward, abs=1e-6)
    assert float(distance["termination_error"]) == pytest.approx(error, abs=1e-6)


def random_poses(walker: Walker, seed: int, size: float):
    """A pose, and another that is off by about `size` in everything."""
    state, rng = random_state(walker, seed), np.random.default_rng(seed)
    qpos, qvel = np.asarray(state.qpos, np.float64), np.asarray(state.qvel, np.float64)
    other = qpos + size * rng.normal(size=len(qpos))
    turn = Rotation.from_rotvec(size * rng.normal(size=3))
    other[3:7] = (turn * Rotation.from_quat(qpos[3:7], scalar_first=True)).as_quat(
        scalar_first=True
    )
    return qpos, qvel, other, qvel + size * rng.normal(size=len(qvel))


@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([0.0, 1e-3, 0.02, 0.1, 1.0]),
    kind=st.sampled_from(sorted(MIXES)),
)
@settings(max_examples=25, deadline=None)
def test_terms_are_dm_controls_at_random_poses(dm, toy_walker, seed, size, kind):
    compare(dm, toy_walker, *random_poses(toy_walker, seed, size), kind)


@pytest.mark.parametrize("size", [1e-3, 0.03, 0.2])
def test_terms_are_dm_controls_on_the_rodent(dm, rodent, size):
    compare(dm, rodent, *random_poses(rodent, 7, size), "comic")


@pytest.mark.parity
@pytest.mark.parametrize("kind", sorted(MIXES))
def test_terms_are_dm_controls_at_recorded_poses(dm, rodent, shared_data, kind):
    record = np.load(shared_data / "env" / "torque_steps.npz")
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    qpos, qvel = record["after_qpos"], record["after_qvel"]
    clip, frame = record["after_info_clip_idx"], record["cur_frame"]
    for row in np.linspace(0, len(qpos) - 1, 12).astype(int):
        target = clips.at(int(clip[row]), int(frame[row]))
        reference = np.asarray(target.qpos()), np.asarray(target.qvel())
        compare(dm, rodent, qpos[row], qvel[row], *reference, kind)


def test_threshold_and_multiplier_are_the_terminations(dm, toy_walker):
    qpos, qvel, other, other_qvel = random_poses(toy_walker, 3, 0.05)
    limits = MimicTermination(max_error=0.04, body_error_multiplier=10.0)
    state, frame = state_of(toy_walker.model, qpos, qvel), frame_of(toy_walker, other, other_qvel)
    terms, distance, config = ours(toy_walker, state, frame, "termination_reward", limits)
    own, reference = (
        features_of(toy_walker, qpos, qvel),
        features_of(toy_walker, other, other_qvel),
    )
    expected, error = of_dm_control(dm, "termination_reward", own, reference, 10.0, 0.04)
    assert float(terms["termination"]) == pytest.approx(expected.reward, abs=1e-5)
    for max_error, fails in ((error * 1.01, False), (error * 0.99, True)):
        config = replace(config, mimic=replace(limits, max_error=max_error))
        seen = term_state(state, toy_walker, 0.02).replace(distances=distance)
        failed = {n: f(seen, frame, toy_walker) for n, f in termination_terms(config).items()}
        assert {name: bool(flag) for name, flag in failed.items()} == {"termination_error": fails}


def test_a_mix_names_only_what_it_weighs():
    def named(kind: str) -> set[str]:
        mimic = MimicReward(*MIXES[kind])
        return set(imitation_terms(RewardConfig(family="mimic", mimic=mimic)))

    assert named("termination_reward") == {"termination"}
    assert named("comic") == named("multi_term_pose_reward") | {"termination"}


def test_names_are_those_of_dm_controls_channels(dm):
    for kind in MIXES:
        mimic = MimicReward(*MIXES[kind])
        found = imitation_terms(RewardConfig(family="mimic", mimic=mimic))
        assert set(found) == set(dm.rewards.get_reward_channels(kind))
