"""Made motion: kinematics, inverse kinematics, footfalls, and the gaits that come of them."""

import argparse
from dataclasses import replace

import h5py
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gait import measure
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.gait import (
    GaitConfig,
    GaitMotion,
    add_arguments,
    configs_from,
    gait_suite,
    make_gait,
    parameters,
)
from vnl_mjx.gait.limbs import rodent_limbs
from vnl_mjx.gait.posture import REAL_POSTURE, unsided
from vnl_mjx.quaternions import matrix_quaternion, rotation_vector
from vnl_mjx.walkers.chains import Chain, Pose, euler_rotation
from vnl_mjx.walkers.inverse_kinematics import OrientationTask, PointTask, Problem
from vnl_mjx.walkers.walker import Walker, build_walker

HAND_L, HAND_R, FOOT_L, FOOT_R = range(4)
CHAINS = [
    ("pelvis", "toe_L"),
    ("torso", "finger_R"),
    ("torso", "skull"),
    ("pelvis", "vertebra_C30"),
]


@pytest.fixture(scope="module")
def walk(rodent: Walker) -> GaitMotion:
    return make_gait(rodent, GaitConfig(speed=0.2, seconds=3.0, seed=3))


def random_angles(walker: Walker, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(*walker.model.jnt_range[1:].T)


def body_pose(data: mujoco.MjData, name: str) -> Pose:
    body = data.body(name)
    return Pose(body.xpos[None].copy(), body.xmat.reshape(1, 3, 3).copy())


@pytest.mark.parametrize(("base", "tip"), CHAINS)
def test_chain_has_the_poses_and_jacobians_of_mujoco(rodent: Walker, base: str, tip: str) -> None:
    model = rodent.model
    data = mujoco.MjData(model)
    data.qpos[:3], data.qpos[3:7] = [0.1, -0.2, 0.05], [0.8, 0.2, -0.4, 0.4]
    data.qpos[7:] = random_angles(rodent, 0)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    chain = Chain(model, base, tip)
    angles = data.qpos[None, 7 + chain.columns]
    state = chain.forward(body_pose(data, base), angles)
    expected = body_pose(data, tip)
    np.testing.assert_allclose(state.poses[-1].position, expected.position, atol=1e-12)
    np.testing.assert_allclose(state.poses[-1].rotation, expected.rotation, atol=1e-12)

    local = np.array([0.003, -0.001, 0.002])
    where = expected.position[0] + expected.rotation[0] @ local
    jacobian = np.zeros((3, model.nv))
    mujoco.mj_jac(model, data, jacobian, None, where, model.body(tip).id)
    task = PointTask(len(chain.bodies) - 1, local, np.zeros((1, 3)), np.ones(3))
    np.testing.assert_allclose(
        task.linearise(state)[1][0], jacobian[:, 6 + chain.columns], atol=1e-12
    )


def test_chain_refuses_bodies_that_are_no_descendants(rodent: Walker) -> None:
    with pytest.raises(ValueError, match="no descendant"):
        Chain(rodent.model, "skull", "toe_L")


@given(st.floats(-3, 3), st.floats(-1.4, 1.4), st.floats(-3, 3))
@settings(deadline=None, max_examples=30)
def test_rotation_vector_undoes_a_rotation(yaw: float, pitch: float, roll: float) -> None:
    rotation = euler_rotation(*(np.array([angle]) for angle in (yaw, pitch, roll)))
    vector = rotation_vector(matrix_quaternion(rotation))
    angle = np.linalg.norm(vector)
    if angle > 3.1:  # near half a turn the axis is not defined by the antisymmetric part
        return
    expected = np.empty(4)
    mujoco.mju_axisAngle2Quat(expected, vector[0] / max(angle, 1e-12), angle)
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, expected)
    np.testing.assert_allclose(matrix.reshape(3, 3), rotation[0], atol=1e-7)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=8)
def test_solve_reaches_what_can_be_reached_and_keeps_the_limits(rodent: Walker, seed: int) -> None:
    limb = rodent_limbs(rodent)[seed % 4]
    chain = limb.chain
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.2, 0.8, (5, len(chain.columns)))
    reachable = chain.lower + share * (chain.upper - chain.lower)
    base = Pose(rng.normal(size=(5, 3)), np.tile(np.eye(3), (5, 1, 1)))
    goal = chain.forward(base, reachable).poses[-1]
    tip = len(chain.bodies) - 1
    tasks = [
        PointTask(tip, np.zeros(3), goal.position, np.full(3, 3000.0)),
        OrientationTask(tip, goal.rotation, np.full(3, 10.0)),
    ]
    middle = 0.5 * (chain.lower + chain.upper)
    angles = Problem(chain, base, tasks, middle, 0.01).solve(iterations=200)
    assert ((angles >= chain.lower) & (angles <= chain.upper)).all()
    reached = chain.forward(base, angles).poses[-1]
    np.testing.assert_allclose(reached.position, goal.position, atol=2e-4)


def test_solve_stays_at_the_posture_where_nothing_is_asked(rodent: Walker) -> None:
    chain = Chain(rodent.model, "torso", "skull")
    base = Pose(np.zeros((3, 3)), np.tile(np.eye(3), (3, 1, 1)))
    asked = PointTask(0, np.zeros(3), np.zeros((3, 3)), np.zeros(3))
    posture = 0.3 * chain.upper
    np.testing.assert_allclose(
        Problem(chain, base, [asked], posture, 1.0).solve(), [posture] * 3, atol=1e-9
    )


def test_smoothing_finds_the_minimum_of_a_quadratic(rodent: Walker) -> None:
    """Without tasks the problem is linear: (w^2 + s^2 D^T D) q = w^2 posture."""
    chain = Chain(rodent.model, "torso", "pelvis")
    frames, joints, weight, smoothness = 12, len(chain.columns), 0.7, 2.0
    posture = np.random.default_rng(1).uniform(-0.2, 0.2, (frames, joints))
    base = Pose(np.zeros((frames, 3)), np.tile(np.eye(3), (frames, 1, 1)))
    asked = PointTask(0, np.zeros(3), np.zeros((frames, 3)), np.zeros(3))
    angles = Problem(chain, base, [asked], posture, weight).solve_smooth(smoothness)
    difference = np.diff(np.eye(frames), n=2, axis=0)
    matrix = weight**2 * np.eye(frames) + smoothness**2 * difference.T @ difference
    expected = np.linalg.solve(matrix, weight**2 * posture)
    np.testing.assert_allclose(angles, expected, atol=1e-6)


def test_stride_parameters_are_the_published_ones() -> None:
    cycles = 1 / parameters.stride_frequency(np.array([0.10, 0.78]))
    np.testing.assert_allclose(cycles, [0.685, 0.215], rtol=0.05)
    speeds = np.linspace(0.02, parameters.FASTEST, 50)
    frequency = parameters.stride_frequency(speeds)
    assert (np.diff(frequency) > 0).all()
    assert (np.diff(speeds / frequency) > 0).all(), "stride length rises with speed"
    assert (np.diff(parameters.duty_factor(frequency)) < 0).all()
    lag = parameters.forelimb_lag(speeds)
    assert lag[0] == pytest.approx(0.33) and lag[-1] == 0.5 and (np.diff(lag) >= 0).all()


CLIPS = {
    "slow": GaitConfig(speed=0.10, seconds=2.5, seed=1),
    "medium": GaitConfig(speed=0.20, seconds=2.5, seed=2),
    "fast": GaitConfig(speed=0.35, seconds=2.5, seed=3),
    "trot": GaitConfig("trot", speed=0.50, seconds=2.5, seed=4),
    "left": GaitConfig(speed=0.15, turn=1.2, seconds=3.0, seed=5),
    "right": GaitConfig(speed=0.20, turn=-0.8, seconds=3.0, seed=6),
    "on_the_spot": GaitConfig(speed=0.0, turn=1.0, seconds=3.0, seed=7),
    "start_stop": GaitConfig(speed=0.25, start_ramp=0.6, stop_ramp=0.6, seconds=3.0, seed=8),
    "faster": GaitConfig(profile=((0, 0.2, 0), (1, 0.2, 0), (2, 0.48, 0)), seconds=3.0, seed=9),
    "stand": GaitConfig("stand", seconds=2.5, seed=10),
    "rear": GaitConfig("rear", seconds=5.0, seed=11),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.slow
def test_made_motion_keeps_what_is_promised(rodent: Walker, name: str) -> None:
    found = measure(rodent, make_gait(rodent, CLIPS[name]))
    assert found.slip_mm <= 2
    assert found.lifted_mm <= 1
    assert found.paw_below_mm <= 2 and found.body_below_mm <= 2
    assert found.limits_rad == 0
    assert found.joint_speed < 21
    assert found.joint_jump < 25
    assert found.clearance_mm > 2
    if name == "rear":
        assert found.chest_pitch_deg == pytest.approx(60, abs=2)
        assert found.balance == 1
    elif name != "stand":
        assert found.speed == pytest.approx(found.commanded_speed, rel=0.03, abs=0.008)
    assert found.turn == pytest.approx(found.commanded_turn, rel=0.03, abs=0.02)
    assert found.balance > {"slow": 0.95, "stand": 0.99, "medium": 0.85}.get(name, 0.0)


def test_measures_see_what_is_wrong(rodent: Walker, walk: GaitMotion) -> None:
    def changed(column: int, by: np.ndarray | float) -> GaitMotion:
        qpos = walk.qpos.copy()
        qpos[:, column] += by
        return replace(walk, qpos=qpos)

    frames = np.arange(len(walk.qpos))
    good = measure(rodent, walk)
    drifting = measure(rodent, changed(1, 0.0005 * frames))
    assert drifting.slip_mm > good.slip_mm + 4
    assert measure(rodent, changed(2, -0.004)).paw_below_mm == pytest.approx(
        good.paw_below_mm + 4, abs=0.01
    )
    assert measure(rodent, changed(2, 0.004)).lifted_mm == pytest.approx(
        good.lifted_mm + 4, abs=0.01
    )
    knee = 7 + rodent.joint_names.index("knee_L")
    assert measure(rodent, changed(knee, 3.0)).limits_rad > 1
    jump = measure(rodent, changed(knee, 1.0 * (frames > 50)))
    assert jump.joint_speed > good.joint_speed and jump.joint_jump > good.joint_jump + 10
    tail = 7 + rodent.joint_names.index("vertebra_C1_extend")
    assert measure(rodent, changed(tail, -1.0)).body_below_mm > 10


@pytest.mark.slow
def test_the_same_seed_makes_the_same_motion(rodent: Walker, walk: GaitMotion) -> None:
    again = make_gait(rodent, walk.config)
    np.testing.assert_array_equal(again.qpos, walk.qpos)
    other = make_gait(rodent, replace(walk.config, seed=4))
    assert np.abs(other.qpos[:, 7:] - walk.qpos[:, 7:]).max() > 0.05


@pytest.mark.parametrize("behaviour", ["walk", "stand", "rear"])
@pytest.mark.slow
def test_without_variation_all_seeds_agree(rodent: Walker, behaviour) -> None:
    config = GaitConfig(behaviour, seconds=0.6, variation=0)
    first, second = (make_gait(rodent, replace(config, seed=seed)) for seed in (1, 2))
    np.testing.assert_array_equal(first.qpos, second.qpos)


def test_frames_do_not_depend_on_the_rate(rodent: Walker) -> None:
    slow, fast = (
        make_gait(rodent, GaitConfig(speed=0.2, seconds=1.0, seed=5, rate_hz=rate))
        for rate in (50.0, 100.0)
    )
    np.testing.assert_array_equal(slow.contacts, fast.contacts[::2])
    np.testing.assert_allclose(slow.qpos[:, :3], fast.qpos[::2, :3], atol=1e-12)
    apart = np.abs(slow.qpos[:, 7:] - fast.qpos[::2, 7:])
    assert np.median(apart) < 0.01 and apart.max() < 0.3


def test_a_trot_moves_diagonal_limbs_together(rodent: Walker) -> None:
    contacts = make_gait(rodent, GaitConfig("trot", speed=0.45, seconds=2.0)).contacts
    np.testing.assert_array_equal(contacts[:, HAND_L], contacts[:, FOOT_R])
    np.testing.assert_array_equal(contacts[:, HAND_R], contacts[:, FOOT_L])
    assert (contacts[:, FOOT_L] != contacts[:, FOOT_R]).mean() > 0.7


def test_a_walk_is_a_lateral_sequence(rodent: Walker) -> None:
    contacts = make_gait(rodent, GaitConfig(speed=0.12, seconds=4.0)).contacts
    rises = {foot: np.flatnonzero(np.diff(contacts[:, foot].astype(int)) == 1) for foot in range(4)}
    first = rises[FOOT_L][0]
    order = sorted(range(4), key=lambda foot: rises[foot][rises[foot] >= first][0])
    assert order == [FOOT_L, HAND_L, FOOT_R, HAND_R]
    assert contacts.sum(axis=1).min() >= 2 and contacts.mean() > 0.7


def test_ramps_begin_and_end_at_rest(rodent: Walker) -> None:
    motion = make_gait(rodent, CLIPS["start_stop"])
    velocity = np.linalg.norm(np.diff(motion.qpos[:, :2], axis=0), axis=1) * 50
    assert velocity[0] < 0.02 and velocity[-1] < 0.02
    assert velocity[35:70].mean() == pytest.approx(0.25, rel=0.05)
    assert motion.contacts[0].all() and motion.contacts[-1].all()


def test_a_turn_is_a_circle_of_the_commanded_curvature(rodent: Walker) -> None:
    speed, turn = 0.2, 1.0
    motion = make_gait(rodent, GaitConfig(speed=speed, turn=turn, seconds=5.0, seed=2))
    x, y = motion.qpos[:, :2].T
    # Least-squares circle: x^2 + y^2 = 2 a x + 2 b y + c.
    (a, b, c), *_ = np.linalg.lstsq(
        np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None
    )
    assert np.sqrt(c + a**2 + b**2) == pytest.approx(speed / turn, rel=0.02)
    assert b > 0, "positive turns go to the left"


@pytest.mark.slow
def test_rearing_lifts_the_forepaws_and_keeps_the_hindfeet(rodent: Walker) -> None:
    motion = make_gait(rodent, CLIPS["rear"])
    assert motion.contacts[:, [FOOT_L, FOOT_R]].all()
    fore = motion.contacts[:, [HAND_L, HAND_R]]
    assert fore[0].all() and fore[-1].all() and not fore[125].any()
    assert np.abs(motion.qpos[-1] - motion.qpos[0]).max() < 0.6


def test_standing_stays_in_place_but_looks_about(rodent: Walker) -> None:
    motion = make_gait(rodent, CLIPS["stand"])
    assert motion.contacts.all()
    assert np.ptp(motion.qpos[:, :2], axis=0).max() < 0.01
    neck = 7 + rodent.joint_names.index("vertebra_cervical_1_bend")
    assert np.ptp(motion.qpos[:, neck]) > 0.02


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"behaviour": "hop"}, "gait.behaviour"),
        ({"speed": 2.0}, "gait.speed"),
        ({"speed": float("nan")}, "gait.speed"),
        ({"turn": 9.0}, "gait.turn"),
        ({"seconds": 0.0}, "gait.seconds"),
        ({"rate_hz": 5.0}, "gait.rate_hz"),
        ({"seed": -1}, "gait.seed"),
        ({"variation": -1.0}, "gait.variation"),
        ({"start_ramp": 3.0, "stop_ramp": 2.0}, "gait.seconds"),
        ({"profile": ((0.0, 0.1, 0.0), (0.0, 0.2, 0.0))}, "gait.profile"),
        ({"profile": ((0.0, 0.1, 0.0), (1.0, 3.0, 0.0))}, "gait.profile"),
    ],
)
def test_bad_values_are_refused(rodent: Walker, change: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        make_gait(rodent, replace(GaitConfig(), **change))


def test_other_walkers_are_refused(toy_walker: Walker) -> None:
    with pytest.raises(UserError, match=r"walker\.source"):
        make_gait(toy_walker, GaitConfig())


def test_the_suite_names_varied_clips_with_seeds_of_their_own() -> None:
    suite = gait_suite(2)
    assert {config.behaviour for config in suite.values()} == {"walk", "trot", "stand", "rear"}
    assert len({config.seed for config in suite.values()}) == len(suite)
    assert not {c.seed for c in suite.values()} & {c.seed for c in gait_suite(3).values()}


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_options_make_configurations() -> None:
    assert configs_from(options()) == {"walk_0": GaitConfig()}
    made = configs_from(
        options("--behaviour=trot", "--speed=0.5", "--turn=-0.4", "--clips=2", "--seed=7")
    )
    assert list(made) == ["trot_7", "trot_8"]
    assert made["trot_8"] == GaitConfig("trot", speed=0.5, turn=-0.4, seed=8)
    profile = configs_from(options("--profile=0:0:0,1.5:0.2:0.5"))["walk_0"].profile
    assert profile == ((0, 0, 0), (1.5, 0.2, 0.5))
    suite = configs_from(options("--suite", "--seconds=6", "--rate=100"))
    assert suite == gait_suite(0, 6.0, 100.0)
    assert len(configs_from(options("--suite", "--clips=3"))) == 3 * len(suite)


@pytest.mark.parametrize("words", [["--profile=1:2"], ["--profile=a:b:c"], ["--clips=0"]])
def test_bad_options_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="expected"):
        configs_from(options(*words))


def test_the_posture_is_that_of_the_real_clips(rodent: Walker, shared_data) -> None:
    with h5py.File(shared_data / "reference" / "rodent_mocap_4x250.h5") as file:
        joints = np.asarray(file["qpos"], float)[:, 7:]
    sides: dict[str, list[np.ndarray]] = {}  # left and right together
    for name, angles in zip(rodent.joint_names, joints.T, strict=True):
        if not name.endswith(("_bend", "_twist")):
            sides.setdefault(unsided(name), []).append(angles)
    medians = {name: float(np.median(np.stack(angles))) for name, angles in sides.items()}
    assert {name: round(x, 3) for name, x in medians.items() if abs(x) > 5e-4} == REAL_POSTURE


def test_another_scale_moves_as_well() -> None:
    larger = build_walker(WalkerConfig(rescale_factor=1.0))
    found = measure(larger, make_gait(larger, GaitConfig(speed=0.2, seconds=2.0)))
    assert found.slip_mm <= 2 and found.paw_below_mm <= 2 and found.limits_rad == 0
