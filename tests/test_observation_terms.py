"""Every term by name, against dm_control's own tracking task, MuJoCo and SciPy."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from dm_control_tasks import locomotion, tracking_environment, walking_about
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vnl_mjx.commands.run_folder import check_same_run
from vnl_mjx.config import imitation
from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import ImitationConfig, PhysicsConfig, UpstreamQuirks, WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.reference.assembly import clips_from_poses
from vnl_mjx.reference.clips import ReferenceClips, ReferenceFrames
from vnl_mjx.reference.exporters.dm_control import export_dm_control
from vnl_mjx.tasks.observation_terms import CONTROL_TERMS, REFERENCE_TERMS
from vnl_mjx.tasks.observations import ObservationFunctions
from vnl_mjx.tasks.term_inputs import TermRows, frames_ahead, matrix_quaternion, rotation_vector
from vnl_mjx.walkers.walker import Walker, build_walker

REF_STEPS = (1, 2, 3)
DOCS = Path(__file__).parent.parent / "docs" / "observations.md"


def state_of(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray) -> PhysicsState:
    """A simulation at rest in its solver, with derived fields of this very pose."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    fields = {
        n: jnp.asarray(getattr(data, n), jnp.float32) for n in ("qpos", "qvel", "act", "xpos")
    }
    return PhysicsState(
        **fields,
        qacc_warmstart=jnp.zeros(model.nv),
        time=jnp.float32(0),
        xmat=jnp.asarray(data.xmat.reshape(-1, 3, 3), jnp.float32),
        qfrc_actuator=jnp.zeros(model.nv),
        sensordata=jnp.asarray(data.sensordata, jnp.float32),
        diverged=jnp.asarray(False),
    )


def random_state(walker: Walker, seed: int) -> PhysicsState:
    """A pose near the rest pose, turned and moving, the same for the same seed."""
    rng = np.random.default_rng(seed)
    qpos = walker.model.qpos0 + 0.1 * rng.normal(size=walker.model.nq)
    qpos[3:7] = Rotation.random(random_state=seed).as_quat(scalar_first=True)
    return state_of(walker.model, qpos, rng.normal(size=walker.model.nv))


def terms_at(walker: Walker, state: PhysicsState, ahead: ReferenceFrames) -> dict[str, np.ndarray]:
    rows = TermRows.build(walker, UpstreamQuirks())
    return {n: np.asarray(term(rows, state, ahead)) for n, term in REFERENCE_TERMS.items()}


@pytest.fixture(scope="module")
def toy_motion(toy_walker) -> ReferenceClips:
    return walking_about(toy_walker, [20, 12])


# dm_control


@pytest.fixture(scope="module")
def rat_episode(tmp_path_factory):
    """A tracking episode of dm_control's Rat: our walker and clips, and its task after three steps."""
    dm = locomotion()
    full = build_walker(WalkerConfig(rescale_factor=1.0))
    small = build_walker(WalkerConfig())
    path = tmp_path_factory.mktemp("rat") / "rat.h5"
    export_dm_control(path, walking_about(small, [20]), small)
    environment = tracking_environment(dm, path, ("clip_0",), REF_STEPS)
    environment.reset()
    task, rng = environment.task, np.random.default_rng(0)
    for _ in range(3):
        environment.step(rng.uniform(-0.3, 0.3, environment.action_spec().shape))
    rat = task._walker
    config = replace(
        full.config,
        joint_names=tuple(joint.name for joint in rat.observable_joints),
        body_names=tuple(body.name for body in rat.mocap_tracking_bodies),
    )
    yield build_walker(config), task, environment.physics
    environment.close()


def to_our_state(walker: Walker, physics) -> PhysicsState:
    """dm_control's simulation in our rows, joints and bodies by name; ours has a floor body as well."""
    theirs = physics.model.ptr
    base = state_of(walker.model, walker.model.qpos0, np.zeros(walker.model.nv))
    qpos, qvel = physics.data.qpos[:7].tolist(), physics.data.qvel[:6].tolist()
    for name in walker.joint_names:
        joint = theirs.joint(f"walker/{name}")
        qpos.append(physics.data.qpos[joint.qposadr[0]])
        qvel.append(physics.data.qvel[joint.dofadr[0]])
    xpos, xmat = np.array(base.xpos), np.array(base.xmat)
    for row, name in enumerate(walker.body_names):
        if name not in ("world", "floor", "walker"):
            body = theirs.body(f"walker/{name}").id
            xpos[row] = physics.data.xpos[body]
            xmat[row] = physics.data.xmat[body].reshape(3, 3)
    arrays = {"qpos": qpos, "qvel": qvel, "xpos": xpos, "xmat": xmat}
    return base.replace(**{n: jnp.asarray(v, jnp.float32) for n, v in arrays.items()})


def clips_of_task(walker: Walker, task) -> ReferenceClips:
    features = task._clip_reference_features
    qpos = [features[name] for name in ("position", "quaternion", "joints")]
    return clips_from_poses(walker, np.concatenate(qpos, axis=-1), [20], 50.0)


def test_reference_terms_are_those_of_dm_controls_tracking_task(rat_episode):
    walker, task, physics = rat_episode
    state = to_our_state(walker, physics)
    ahead = clips_of_task(walker, task).window(0, task._time_step + 1, len(REF_STEPS))
    found = terms_at(walker, state, ahead)
    assert task._time_step == 3
    for name in imitation.REFERENCE_DM_CONTROL:
        expected = np.asarray(getattr(task, f"get_{name}")(physics)).reshape(found[name].shape)
        if name == "reference_rel_bodies_quats":  # our sign: that of the smaller rotation
            expected = np.where(expected[..., :1] < 0, -expected, expected)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=2e-6, err_msg=name)


def test_control_terms_are_those_of_dm_controls_tracking_task(rat_episode):
    walker, task, physics = rat_episode
    before, now = (
        jnp.asarray(np.concatenate([f["position"], f["quaternion"], f["joints"]]), jnp.float32)
        for f in (task._walker_features_prev, task._walker_features)
    )
    rows = TermRows.build(walker, UpstreamQuirks())
    theirs = {
        "velocimeter_control": task.get_veloc_control,
        "gyro_control": task.get_gyro_control,
        "joints_vel_control": task.get_joints_vel_control,
    }
    assert set(theirs) == set(CONTROL_TERMS)
    for name, method in theirs.items():
        expected = method(physics)
        assert np.abs(expected).max() > 0.05
        found = CONTROL_TERMS[name](rows, before, now, 0.02)
        # float32 poses over 0.02 s
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5, err_msg=name)


def test_proprioception_is_that_of_dm_controls_rat(rat_episode):
    walker, task, physics = rat_episode
    state = to_our_state(walker, physics)
    theirs = task._walker.observables
    parts = ("appendages", "root_height", "root_z_axis")
    functions = functions_of(walker, proprioception=parts)
    found = functions.observe(state, clips_of_task(walker, task), jnp.int32(0), jnp.int32(3))
    expected = [theirs.appendages_pos, theirs.body_height, theirs.world_zaxis]
    expected = np.concatenate([np.ravel(part(physics)[...]) for part in expected])
    np.testing.assert_allclose(found.proprioception, expected, rtol=0, atol=1e-6)


# MuJoCo and SciPy


def test_velocities_and_centers_of_mass_by_another_way(toy_walker, toy_motion):
    state = random_state(toy_walker, 3)
    ahead = toy_motion.window(0, 4, 5)
    found = terms_at(toy_walker, state, ahead)
    root = Rotation.from_quat(np.asarray(state.qpos[3:7]), scalar_first=True)
    ahead_root = Rotation.from_quat(np.asarray(ahead.quaternion), scalar_first=True)
    velocity, spin = np.asarray(ahead.velocity), np.asarray(ahead.angular_velocity)
    joints = toy_walker.tracked_joints
    data = mujoco.MjData(toy_walker.model)
    data.qpos[:] = state.qpos
    mujoco.mj_forward(toy_walker.model, data)
    center = data.subtree_com[toy_walker.body_names.index("walker")]
    ahead_center = np.asarray(ahead.center_of_mass)
    own_spin_w = root.apply(np.asarray(state.qvel[3:6]))
    ends = toy_walker.end_effectors
    own_ends = root.inv().apply(data.xpos[ends] - data.xpos[toy_walker.root_body])
    expected = {
        "reference_velocity": ahead_root.inv().apply(velocity),
        "reference_angular_velocity": spin,
        "reference_joints_velocity": np.asarray(ahead.joints_velocity)[:, joints],
        "reference_rel_velocity_local": root.inv().apply(velocity - state.qvel[:3]),
        "reference_rel_angular_velocity_local": root.inv().apply(
            ahead_root.apply(spin) - own_spin_w
        ),
        "reference_rel_joints_velocity": np.asarray(ahead.joints_velocity - state.qvel[6:])[
            :, joints
        ],
        "reference_center_of_mass": ahead_root.inv().apply(ahead_center - ahead.position),
        "reference_rel_center_of_mass_local": root.inv().apply(ahead_center - center),
        "reference_end_effectors_pos": np.asarray(ahead.end_effectors),
        "reference_rel_end_effectors_pos": np.asarray(ahead.end_effectors) - own_ends,
        "reference_rel_appendages_pos": np.asarray(ahead.appendages) - own_ends,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=2e-6, err_msg=name)
    dm_controls = {*imitation.REFERENCE_DM_CONTROL}
    track_mjxs = {*imitation.REFERENCE_TRACK_MJX, *imitation.REFERENCE_VNL_PLAYGROUND}
    assert {*expected} | dm_controls | track_mjxs == {*REFERENCE_TERMS}


def test_a_body_in_the_reference_pose_is_nowhere_off(toy_walker, toy_motion):
    now = toy_motion.window(0, 7, 1)
    found = terms_at(
        toy_walker,
        state_of(toy_walker.model, np.asarray(now.qpos())[0], np.asarray(now.qvel())[0]),
        now,
    )
    for name, values in found.items():
        if "_rel_" in name:
            target = np.zeros_like(values)
            target[..., 0] = 1.0 if "quat" in name else 0.0
            np.testing.assert_allclose(values, target, rtol=0, atol=3e-6, err_msg=name)


# What stays the same when body and reference are moved and turned over the floor together. The two of
# track-mjx that rotate by the root quaternion are not: that is its quirk.
CHANGES_WITH_YAW = {
    "reference_rel_bodies_pos_global",
    "reference_root_position",
    "reference_root_quaternion",
    "reference_bodies",
    "reference_bodies_by_body",
}


@settings(deadline=None, max_examples=5)
@given(
    seed=st.integers(0, 50),
    yaw=st.floats(0.5, 3.0),
    shift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_terms_do_not_know_where_on_the_floor_they_are(toy_walker, seed, yaw, shift):
    def moved(qpos, qvel):
        qpos, qvel = np.array(qpos), np.array(qvel)
        turn = Rotation.from_euler("z", yaw)
        qpos[..., :3] = turn.apply(qpos[..., :3]) + np.array([*shift, 0.0])
        own = Rotation.from_quat(qpos[..., 3:7], scalar_first=True)
        qpos[..., 3:7] = (turn * own).as_quat(scalar_first=True)
        qvel[..., :3] = turn.apply(qvel[..., :3])
        return qpos, qvel

    here = random_state(toy_walker, seed)
    there = state_of(toy_walker.model, *moved(here.qpos, here.qvel))
    motion = walking_about(toy_walker, [6], seed)
    qpos, _ = moved(motion.qpos(), motion.qvel())
    turned = clips_from_poses(toy_walker, qpos, [6], 50.0)
    before = terms_at(toy_walker, here, motion.window(0, 2, 3))
    after = terms_at(toy_walker, there, turned.window(0, 2, 3))
    for name, values in before.items():
        # a float32 position of 1 m over the 0.04 s of a velocity
        close = np.allclose(values, after[name], rtol=0, atol=5e-5)
        flipped = name.endswith("quat") and np.allclose(values, -after[name], rtol=0, atol=5e-5)
        assert (close or flipped) == (name not in CHANGES_WITH_YAW), name


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), half_turn=st.booleans())
def test_rotations_agree_with_scipy(seed, half_turn):
    rotation = Rotation.random(5, random_state=seed)
    if half_turn:  # w = 0, where the naive formula divides by zero
        axes = rotation.apply([1.0, 0, 0])
        rotation = Rotation.from_rotvec(np.pi * axes)
    expected = rotation.as_quat(scalar_first=True)
    found = np.asarray(matrix_quaternion(jnp.asarray(rotation.as_matrix(), jnp.float32)))
    same = np.sign(np.sum(found * expected, axis=-1, keepdims=True))
    np.testing.assert_allclose(found * same, expected, rtol=0, atol=1e-6)
    for scale in (1.0, 1e-3, 0.0):
        vector = scale * rotation.as_rotvec() * (0.99 if half_turn else 1.0)
        quaternion = Rotation.from_rotvec(vector).as_quat(scalar_first=True)
        for sign in (1, -1):
            back = rotation_vector(jnp.asarray(sign * quaternion, jnp.float32))
            np.testing.assert_allclose(back, vector, rtol=0, atol=2e-5)


# By name, in a configuration


def functions_of(walker: Walker, **changes) -> ObservationFunctions:
    config = ImitationConfig(walker=walker.config, physics=PhysicsConfig(num_substeps=10))
    return ObservationFunctions(replace(config, **changes), walker, walker.model)


def test_the_default_lists_are_track_mjxs_layout(rodent):
    layout = functions_of(rodent).layout(random_state(rodent, 0))
    assert layout.reference == (
        ("reference_root_position", 15),
        ("reference_root_quaternion", 20),
        ("reference_joints", 165),
        ("reference_bodies", 270),
    )
    assert layout.slices()["joint_angles"] == (470, 537)
    playground = functions_of(rodent, reference=imitation.REFERENCE_VNL_PLAYGROUND)
    assert (
        playground.layout(random_state(rodent, 0)).reference_size == 640
    )  # TRACK_MJX.md section 6


def test_every_term_can_be_observed_by_name_and_in_a_batch(toy_walker, toy_motion):
    own = ("appendages", "velocimeter_control", "root_velocity", "joints_vel_control")
    functions = functions_of(toy_walker, reference=tuple(REFERENCE_TERMS), proprioception=own)
    states = [random_state(toy_walker, seed) for seed in (1, 2)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    previous = batch.qpos.at[:, 0].add(-0.02)
    clip, frame = jnp.array([0, 1]), jnp.array([3, 9])
    observe = jax.jit(jax.vmap(functions.observe, in_axes=(0, None, 0, 0, 0)))
    found = observe(batch, toy_motion, clip, frame, previous)
    layout = functions.layout(states[0])
    assert found.reference.shape == (2, layout.reference_size)
    assert found.proprioception.shape == (2, layout.proprioception_size)
    slices = layout.slices()
    ahead = toy_motion.window(1, 10, 5)
    for name, values in terms_at(toy_walker, states[1], ahead).items():
        start, stop = slices[name]
        np.testing.assert_allclose(
            found.reference[1, start:stop], values.ravel(), rtol=0, atol=1e-5, err_msg=name
        )
    start, stop = slices["velocimeter_control"]
    moved = np.asarray(found.flat()[1, start:stop])
    np.testing.assert_allclose(np.linalg.norm(moved), 1.0, atol=1e-4)  # 20 mm in 20 ms
    with pytest.raises(ValueError, match="previous_qpos"):
        functions.observe(states[0], toy_motion, 0, 3)


def test_order_is_that_of_the_list(toy_walker, toy_motion):
    state = random_state(toy_walker, 0)
    names = ("reference_rel_root_quat", "reference_joints", "reference_appendages_pos")
    pieces = [
        functions_of(toy_walker, reference=(name,)).observe(state, toy_motion, 0, 2).reference
        for name in names
    ]
    whole = functions_of(toy_walker, reference=names).observe(state, toy_motion, 0, 2).reference
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    empty = functions_of(toy_walker, reference=()).observe(state, toy_motion, 0, 2)
    assert empty.reference.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reference": ("reference_rel_body_quats",)},
            "reference: unknown part 'reference_rel_body_quats'; the nearest name is "
            "'reference_rel_bodies_quats'",
        ),
        ({"proprioception": ("joint_angle",)}, "the nearest name is 'joint_angles'"),
        ({"reference": ("reference_joints",) * 2}, "reference: 'reference_joints' is listed twice"),
    ],
)
def test_wrong_lists_are_refused(toy_walker, changes, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        functions_of(toy_walker, **changes)
    assert "\n" not in str(caught.value)


def test_older_configurations_have_the_default_list():
    saved = to_dict(ImitationConfig(traj_length=3))
    del saved["reference"]
    assert from_dict(ImitationConfig, saved) == ImitationConfig(traj_length=3)


def test_a_run_of_an_older_version_goes_on_unless_the_lists_differ(tmp_path):
    def document(task: ImitationConfig) -> dict:
        sections = ("teacher_config", "vae_config", "training_config", "physics_config")
        config = {name: {} for name in (*sections, "reference_config", "walker_config")}
        return {"config": config, "identity": {"task": to_dict(task), "clips_sha256": "a"}}

    older = document(ImitationConfig())
    del older["identity"]["task"]["reference"]
    check_same_run(older, document(ImitationConfig()), tmp_path)
    changed = document(ImitationConfig(reference=imitation.REFERENCE_DM_CONTROL))
    with pytest.raises(UserError, match="task.reference was"):
        check_same_run(older, changed, tmp_path)


def test_the_page_of_terms_is_complete_and_its_sizes_hold(toy_walker):
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", DOCS.read_text(), flags=re.MULTILINE)
    described = {name: shape.strip() for name, shape in rows if not name.isupper()}
    with pytest.raises(UserError) as caught:
        functions_of(toy_walker, proprioception=("none",))
    own = re.findall(r"'(\w+)'", str(caught.value).partition("known are")[2])
    described = {name: shape for name, shape in described.items() if "PROPRIO" not in name}
    assert set(described) == {*REFERENCE_TERMS, *own}
    sizes = {
        "T": 5,
        "J": len(toy_walker.tracked_joints),
        "B": len(toy_walker.tracked_bodies),
        "E": len(toy_walker.end_effectors),
        "A": len(toy_walker.appendages),
        "nq": toy_walker.model.nq,
        "nv": toy_walker.model.nv,
    }

    def size_of(shape: str) -> int:
        total = 1
        for axis in shape.split(","):
            length, _, less = axis.partition("-")
            length = length.strip()
            total *= (sizes[length] if length in sizes else int(length)) - int(less or 0)
        return total

    functions = functions_of(
        toy_walker, reference=tuple(REFERENCE_TERMS), proprioception=tuple(own)
    )
    layout = functions.layout(random_state(toy_walker, 0))
    for name, size in (*layout.reference, *layout.proprioception):
        assert size == size_of(described[name]), name


def test_shapes_of_frames_ahead_are_those_of_clips(toy_walker, toy_motion):
    expected, found = toy_motion.window(0, 1, 5), frames_ahead(toy_walker, 5)
    assert jax.tree.map(jnp.shape, expected) == jax.tree.map(jnp.shape, found)
