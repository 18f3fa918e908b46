"""Left and right exchanged: names, signs from the model, poses, velocities and features."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vnl_mjx.clips.columns import finite_difference_qvel
from vnl_mjx.clips.conditioning.mirror import REFLECT, Mirror, partners
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker, build_walker

# Two arms, of which the right one's frame is turned; the free joint's body is turned as well, as in
# dm_control's humanoid.
SIDED = """
<mujoco><compiler angle="radian"/><worldbody>
  <body name="floor"><geom type="plane" size="1 1 1"/></body>
  <body name="root" pos="0 0 1" quat="{root}">
    <freejoint/><geom size="0.1"/>
    <body name="torso"><geom size="0.1" pos="0 0.1 0"/>
      <joint name="waist" axis="0 1 0"/>
      <body name="larm" pos="0.2 0 0"><geom size="0.05" pos="0.02 0 0.01"/>
        <joint name="lswing" axis="1 0 0" range="-0.5 1" limited="true"/>
        <joint name="llift" axis="0 0 1"/></body>
      <body name="rarm" pos="{right} 0 0" quat="0 0 1 0">
        <geom size="0.05" pos="0.02 0 {geom}"/>
        <joint name="rswing" axis="-1 0 0" range="{range}" limited="true"/>
        <joint name="rlift" axis="{lift}"/></body>
    </body></body>
</worldbody></mujoco>
"""

UPRIGHT = "0.5 0.5 0.5 0.5"  # the arms are along the world's y


def sided(tmp_path, **changes: str) -> Walker:
    values = {
        "right": "-0.2",
        "geom": "-0.01",
        "range": "-0.5 1",
        "lift": "0 0 1",
        "root": UPRIGHT,
    } | changes
    path = tmp_path / "sided.xml"
    path.write_text(SIDED.format(**values))
    names = ("rarm", "larm")
    return build_walker(
        WalkerConfig(
            source=str(path),
            joint_names=("waist",),
            body_names=names,
            end_effector_names=names,
            torque_actuators=False,
            rescale_factor=1.0,
        )
    )


def poses(walker: Walker, count: int = 12, seed: int = 0) -> np.ndarray:
    """Random smooth poses within the joint limits, turning and travelling."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0.0, 1.0, count)[:, None]
    qpos = np.tile(walker.model.qpos0, (count, 1))
    qpos[:, :3] += phase * [0.1, 0.2, 0.05]
    turn = Rotation.from_rotvec(phase * [0.3, -0.4, 2.0]) * Rotation.from_quat(
        walker.model.qpos0[3:7], scalar_first=True
    )
    qpos[:, 3:7] = turn.as_quat(scalar_first=True)
    qpos[:, 7:] += 0.3 * np.sin(2 * np.pi * (phase + rng.random(walker.model.nq - 7)))
    return qpos


def same_rotation(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, radians, between [..., 4] orientations."""
    first, second = (Rotation.from_quat(q.reshape(-1, 4), scalar_first=True) for q in (a, b))
    return float((first.inv() * second).magnitude().max())


def check_kinematics(walker: Walker, qpos: np.ndarray, metres: float, radians: float) -> None:
    """Features of mirrored poses are the mirrored features of the poses."""
    mirror, computer = Mirror(walker), FeatureComputer(walker, num_threads=1)
    before = computer(qpos, [len(qpos)], 50.0)
    after = computer(mirror.qpos(qpos), [len(qpos)], 50.0)

    def near(found: np.ndarray, name: str) -> None:
        np.testing.assert_allclose(found, after[name], atol=metres, err_msg=name)

    near(mirror.body_positions(before["body_positions"]), "body_positions")
    near(before["center_of_mass"] * REFLECT, "center_of_mass")
    near(mirror.egocentric(before["end_effectors"], walker.end_effectors), "end_effectors")
    near(mirror.egocentric(before["appendages"], walker.appendages), "appendages")
    quaternions = mirror.body_quaternions(before["body_quaternions"])
    assert same_rotation(quaternions, after["body_quaternions"]) < radians
    qvel = finite_difference_qvel(qpos, walker.layout, np.array([len(qpos)]), 50.0)
    expected = finite_difference_qvel(mirror.qpos(qpos), walker.layout, np.array([len(qpos)]), 50.0)
    np.testing.assert_allclose(mirror.qvel(qvel), expected, atol=1e-9)


def test_names_tell_the_sides():
    names = ["hip_L_abduct", "hip_R_abduct", "LeftFoot", "RightFoot", "rfemur", "lfemur", "KneeL"]
    names += ["KneeR", "root", "lowerback", "left_ear", "right_ear", "L_hand", "R_hand", "foot_L"]
    found = partners(names)
    pairs = {names[row]: names[other] for row, other in enumerate(found)}
    for left, right in (names[0:2], names[2:4], names[4:6], names[6:8], names[10:12], names[12:14]):
        assert pairs[left] == right
        assert pairs[right] == left
    for alone in ("root", "lowerback", "foot_L"):
        assert pairs[alone] == alone


def test_the_rodent_is_symmetric_and_its_signs_are_those_of_its_axes(rodent):
    mirror = Mirror(rodent)
    names = rodent.joint_names
    partner = {names[row]: names[other] for row, other in enumerate(mirror.joints)}
    sign = dict(zip(names, mirror.joint_signs, strict=True))
    assert mirror.worst_mismatch_m < 5e-5
    # left and right axes are written mirrored in the rodent, so paired joints keep their sign
    assert partner["hip_L_abduct"] == "hip_R_abduct"
    assert sign["hip_L_abduct"] == sign["knee_R"] == sign["vertebra_1_extend"] == 1.0
    assert partner["vertebra_2_bend"] == "vertebra_2_bend"
    assert sign["vertebra_2_bend"] == sign["vertebra_3_twist"] == sign["vertebra_C5_bend"] == -1.0


@pytest.mark.parametrize("which", ["rodent", "toy_walker", "sided", "sideways"])
def test_mirrored_kinematics(which, request, tmp_path):
    if which.startswith("side"):
        walker = sided(tmp_path, **({} if which == "sided" else {"root": "0.8 0.1 0.3 0.2"}))
    else:
        walker = request.getfixturevalue(which)
    qpos = poses(walker)
    mirror = Mirror(walker)
    assert np.abs(mirror.qpos(qpos) - qpos).max() > 0.1
    # the rodent itself is off by 0.02 mm
    check_kinematics(walker, qpos, *((5e-5, 2e-3) if which == "rodent" else (1e-6, 1e-6)))
    twice = mirror.qpos(mirror.qpos(qpos))
    if which.startswith("side"):
        np.testing.assert_allclose(twice, qpos, atol=1e-15)
    else:
        np.testing.assert_array_equal(twice, qpos)


def test_real_clips_mirrored(rodent, shared_data):
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)
    qpos = np.asarray(clips.qpos(), np.float64)
    check_kinematics(rodent, qpos, 5e-5, 2e-3)
    mirror = Mirror(rodent)
    np.testing.assert_array_equal(mirror.qpos(mirror.qpos(qpos)), qpos)


def test_signs_follow_the_model(tmp_path):
    mirror = Mirror(sided(tmp_path))
    assert list(mirror.joints) == [0, 3, 4, 1, 2]
    np.testing.assert_array_equal(mirror.joint_signs, [-1.0, 1.0, 1.0, 1.0, 1.0])
    opposite = Mirror(sided(tmp_path, lift="0 0 -1"))
    np.testing.assert_array_equal(opposite.joint_signs, [-1.0, 1.0, -1.0, 1.0, -1.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"right": "-0.21"}, r"body '.arm' 0\.01 m away"),
        ({"range": "-1 1"}, r"joint '.swing' 0\.5 rad or m off its range"),
        ({"lift": "0 0.3 1"}, r"joint '.lift' 0\.29\d* off its axis"),
    ],
)
def test_what_is_not_symmetric_is_named(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        Mirror(sided(tmp_path, **changes))


def test_a_side_without_partner_is_named(tmp_path):
    path = tmp_path / "one.xml"
    text = SIDED.format(right="-0.2", geom="-0.01", range="-0.5 1", lift="0 0 1", root=UPRIGHT)
    path.write_text(text.replace('"rarm"', '"other"'))
    config = WalkerConfig(
        source=str(path),
        joint_names=(),
        body_names=("larm",),
        end_effector_names=("larm",),
        torque_actuators=False,
        rescale_factor=1.0,
    )
    with pytest.raises(UserError, match=r"'larm'.*there is no 'rarm'"):
        Mirror(build_walker(config))


def test_a_list_without_partner_is_refused(rodent):
    mirror = Mirror(rodent)
    feet = rodent.end_effectors
    np.testing.assert_array_equal(feet[mirror.rows(feet)], mirror.bodies[feet])
    with pytest.raises(UserError, match=r"'foot_L'.*partner 'foot_R'"):
        mirror.rows(feet[:1])
