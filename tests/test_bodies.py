"""Bodies of one's own: what is read from an MJCF, what is edited, and what the command writes and tries."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.body_size import body_length
from vnl_mjx.clips.file import write_clip_file
from vnl_mjx.clips.hdf5 import append_clips, read_clips
from vnl_mjx.commands.data.bodies import body_of_clips
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.config.walker import (
    WalkerConfig,
    package_path,
    read_body,
    resolved,
    shipped_bodies,
)
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.walkers.proposal import propose
from vnl_mjx.walkers.walker import build_walker

ARM = Path(__file__).parents[1] / "examples" / "extend" / "arm.xml"
# A trunk on two legs with feet, a tail that touches nothing, no free joint, no floor and motors.
_LEG = """
      <body name="thigh_{side}" pos="0 {y} -0.1">
        <joint name="hip_{side}" axis="0 1 0" range="-60 60"/>
        <geom type="capsule" fromto="0 0 0 0 0 -0.18" size="0.03" mass="1"/>
        <body name="foot_{side}" pos="0 0 -0.2">
          <joint name="knee_{side}" axis="0 1 0" range="-60 60"/>
          <geom type="capsule" fromto="0 0 0 0 0 -0.17" size="0.03" mass="0.5"/>
        </body>
      </body>"""
BIPED = """
<mujoco>
  <worldbody>
    <body name="trunk" pos="0 0 0.5">
      <geom type="box" size="0.1 0.1 0.1" mass="5"/>
      <body name="tail" pos="-0.1 0 0.1">
        <joint name="tail" axis="0 1 0" range="-60 60"/>
        <geom type="capsule" fromto="0 0 0 -0.3 0 0" size="0.02" mass="0.2"/>
      </body>
LEGS    </body>
  </worldbody>
  <actuator>
    <motor name="hip_L" joint="hip_L" gear="2" ctrlrange="-20 20"/>
    <motor name="knee_L" joint="knee_L" gear="1" ctrlrange="-20 20"/>
    <motor name="hip_R" joint="hip_R" gear="2" ctrlrange="-20 20"/>
    <motor name="knee_R" joint="knee_R" gear="1" ctrlrange="-20 20"/>
  </actuator>
</mujoco>
""".replace("LEGS", "".join(_LEG.format(side=side, y=y) for side, y in (("L", 0.1), ("R", -0.1))))


@pytest.fixture
def biped(tmp_path) -> Path:
    path = tmp_path / "biped.xml"
    path.write_text(BIPED)
    return path


def named(source: Path, **keys) -> WalkerConfig:
    """A body of which everything is tracked."""
    model = mujoco.MjModel.from_xml_path(str(source))
    joints = tuple(model.joint(i).name for i in range(model.njnt))
    given = {"root_body": "trunk", "body_names": ("trunk",), "end_effector_names": ()}
    return WalkerConfig(
        source=str(source),
        joint_names=joints,
        torque_actuators=False,
        rescale_factor=1.0,
        **given | keys,
    )


# --- what the model tells -----------------------------------------------------------------------


def test_root_ends_and_feet_are_read_from_the_tree(biped):
    found = propose(str(biped), "free")
    keys = found.keys
    assert keys["root_body"] == "trunk" and keys["root_joint"] == "free"
    assert sorted(keys["end_effector_names"]) == ["foot_L", "foot_R", "tail"]
    assert sorted(keys["foot_names"]) == ["foot_L", "foot_R"]  # the tail is high
    assert keys["add_floor"] and keys["floor_height"] == pytest.approx(0.0, abs=1e-6)
    assert keys["joint_names"] == ["tail", "hip_L", "knee_L", "hip_R", "knee_R"]
    assert keys["task"]["reward"].get("pos_weight") is None


def test_a_body_without_a_free_joint_stays_fixed_and_says_so(biped):
    found = propose(str(biped))
    assert "root_joint" not in found.keys and not found.keys["foot_names"]
    assert found.keys["task"]["reward"]["pos_weight"] == 0.0
    assert any("--root free" in check for check in found.checks)


def test_a_motion_tells_the_feet(biped):
    model = propose(str(biped), "free")
    poses = np.zeros((20, 7 + len(model.keys["joint_names"])))
    poses[:, :4] = 0.0, 0.0, 0.5, 1.0
    poses[:, 7] = np.linspace(-1.0, -1.04, 20)  # the tail hangs down by 60 degrees
    poses[:, 2] -= 0.02
    keys = propose(str(biped), "free", poses, 200.0).keys
    assert keys["floor_height"] == pytest.approx(-0.02, abs=1e-6)
    low, high = keys["servo_ranges"]["tail"]
    assert low < -1.04 and -1.0 < high < -0.5


def test_limbs_on_the_world_have_no_root_that_could_be_free(tmp_path):
    legs = "".join(
        f'<body name="{side}" pos="0 {y} 0"><joint name="{side}" axis="0 1 0"/>'
        '<geom type="capsule" fromto="0 0 0 0 0 -0.2" size="0.02"/></body>'
        for side, y in (("left", 0.1), ("right", -0.1))
    )
    path = tmp_path / "legs.xml"
    path.write_text(f"<mujoco><worldbody>{legs}</worldbody></mujoco>")
    assert propose(str(path)).keys["root_body"] == "world"
    assert sorted(propose(str(path)).keys["end_effector_names"]) == ["left", "right"]
    with pytest.raises(UserError, match="hang on the world one by one"):
        propose(str(path), "free")


def test_settings_follow_the_size_of_the_body(rodent):
    keys = propose(str(ARM)).keys
    task, longer = keys["task"], propose(str(ARM)).length / body_length(rodent)
    assert task["reward"]["endeff_exp_scale"] == pytest.approx(500.0 / longer**2, rel=0.05)
    assert task["termination"]["max_pos_error"] == pytest.approx(0.0025 * longer**2, rel=0.05)
    assert keys["normalize_controls"]  # its controls are angles


# --- edits --------------------------------------------------------------------------------------


def test_a_free_joint_and_a_floor_are_added(biped):
    walker = build_walker(named(biped, root_joint="free", add_floor=True, floor_height=-0.1))
    assert walker.root is not None and walker.nq == 7 + 5
    assert walker.floor_height == -0.1
    data = mujoco.MjData(walker.model)
    mujoco.mj_step(walker.model, data, 500)
    assert data.ncon > 0 and data.qpos[2] > -0.1
    fixed = build_walker(replace(walker.config, root_joint="fixed"))
    assert fixed.root is None and fixed.nq == 5


def test_servos_hold_a_pose_and_keep_the_strength_of_the_motors(biped):
    walker = build_walker(named(biped, servo_hz=4.0))
    model = walker.model
    assert walker.actuator_names == ("hip_L", "knee_L", "hip_R", "knee_R")  # the tail had no motor
    assert model.actuator_forcerange[0, 1] == pytest.approx(2 * 20.0)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-1.0, 1.0]] * 4)
    data = mujoco.MjData(model)
    pose = np.array([0.0, 0.4, -0.3, -0.4, 0.3])
    data.qpos[:] = pose
    data.ctrl[:] = PoseControl(model).hold(pose)
    mujoco.mj_step(model, data, 1000)
    np.testing.assert_allclose(data.qpos[1:], pose[1:], atol=0.15)
    data.ctrl[:] = 1.0
    mujoco.mj_step(model, data, 2000)
    np.testing.assert_allclose(data.qpos[1:], np.deg2rad(60), atol=0.2)


def test_servos_of_a_foot_carry_the_body(biped):
    legs = named(biped, servo_hz=4.0, foot_names=("foot_L", "foot_R"))
    free, standing = build_walker(named(biped, servo_hz=4.0)).model, build_walker(legs).model
    stiffer = standing.actuator_biasprm[:, 1] / free.actuator_biasprm[:, 1]
    assert np.all(stiffer > 1.5)


def test_servo_ranges_say_what_the_controls_ask_for(biped):
    walker = build_walker(named(biped, servo_hz=4.0, servo_ranges={"hip_L": (-0.2, 0.4)}))
    control = np.asarray(PoseControl(walker.model).hold(np.array([0.0, 0.4, 0.0, 0.0, 0.0])))
    assert control[0] == pytest.approx(1.0, abs=1e-5)


def test_normalized_controls_ask_for_the_same_forces():
    plain = build_walker(named(ARM, root_body="base", body_names=("hand",))).model
    scaled = build_walker(
        named(ARM, root_body="base", body_names=("hand",), normalize_controls=True)
    ).model
    np.testing.assert_array_equal(scaled.actuator_ctrlrange, [[-1.0, 1.0]] * scaled.nu)
    low, high = plain.actuator_ctrlrange.T
    for share in (-1.0, 0.3, 1.0):
        forces = []
        for model, ctrl in ((plain, low + 0.5 * (1 + share) * (high - low)), (scaled, share)):
            data = mujoco.MjData(model)
            data.ctrl[:] = ctrl
            mujoco.mj_forward(model, data)
            forces.append(data.actuator_force.copy())
        np.testing.assert_allclose(*forces, atol=1e-9)


# --- bodies of packages -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*shipped_bodies()} - {"rodent"}))
def test_a_body_of_this_package_stands_under_its_servos(name):
    config = resolved(WalkerConfig(source=name, torque_actuators=False))
    walker = build_walker(config)
    assert len(walker.tracked_joints) == len(walker.joint_names) > 50
    assert len(walker.feet) % 2 == 0 and walker.root is not None
    data = mujoco.MjData(walker.model)
    data.qpos[3] = 1.0
    walker.model.opt.timestep = config.task["physics"]["timestep"]
    joints = data.qpos[walker.layout.joint_qpos].copy()
    data.ctrl[:] = np.clip(PoseControl(walker.model).hold(joints), -1.0, 1.0)
    mujoco.mj_step(walker.model, data, 200)
    assert np.isfinite(data.qpos).all() and not data.warning.number.any()


def test_paths_in_packages(tmp_path):
    inside = package_path("package:dm_control/locomotion/walkers/assets/rodent.xml")
    assert Path(inside).is_file()
    with pytest.raises(UserError, match="no file 'nothing.xml' in it"):
        package_path("package:dm_control/nothing.xml")
    with pytest.raises(UserError, match="no such package; install no_such_thing"):
        package_path("package:no_such_thing/nothing.xml")


# --- settings of the body in a training ---------------------------------------------------------


@pytest.fixture
def body_file(biped) -> Path:
    path = biped.with_name("own.yaml")
    keys = propose(str(biped), "free").keys
    keys["task"]["reward"]["joint_exp_scale"] = 0.7
    path.write_text(yaml.safe_dump({"source": biped.name, **keys}))
    return path


def test_the_bodys_settings_lie_between_the_defaults_and_the_users(body_file):
    given = [f"task.walker.source={body_file}", "task.reward.quat_weight=0.25"]
    task = load_teacher_config(given).task
    assert task.reward.joint_exp_scale == 0.7 and task.reward.quat_weight == 0.25
    assert task.quirks.body_row_shift == 0 and task.physics.solver == "newton"
    own = load_teacher_config([*given, "task.reward.joint_exp_scale=0.1"]).task
    assert own.reward.joint_exp_scale == 0.1
    assert load_teacher_config().task.physics.solver == "cg"  # the rodent's


@pytest.fixture
def still_clips(body_file, tmp_path) -> Path:
    """Clips of the biped that stands still, 6 cm over the floor; its MJCF is gone."""
    walker = build_walker(read_body(body_file))
    poses = np.zeros((10, walker.nq))
    poses[:, 2:4] = 0.56, 1.0
    clips = clips_from_poses(walker, poses, [10], 50.0, names=("still",))
    file = tmp_path / "still.h5"
    section = to_dict(BodySection(mjcf_path=str(body_file)))
    with write_clip_file(file, walker, 50.0, {"options": {"walker_config": section}}) as writer:
        append_clips(writer, clips)
    (body_file.parent / "biped.xml").unlink()  # the file of clips needs no other
    return file


def test_a_plan_reads_the_bodys_settings_and_measures_falls_by_its_length(still_clips, tmp_path):
    planned = tmp_path / "planned.h5"
    few = ["--samples", "8", "--settle", "0", "--window", "5", "--memory", "0", "--pose-gain", "0"]
    assert cli.main(["plan", str(still_clips), str(planned), *few]) == 0
    poses = read_clips(planned, build_walker(read_body(body_of_clips([still_clips])))).qpos()
    # it comes down to the floor; 3 cm would be a rat's fall
    assert 0.04 < np.ptp(poses[:, 2]) < 0.08


def test_clips_bring_their_body_to_a_training(still_clips):
    file = still_clips
    walker = build_walker(read_body(body_of_clips([file])))
    config = load_teacher_config([f"clips={file}"], body_of=body_of_clips)
    assert config.task.reward.joint_exp_scale == 0.7
    built = build_walker(config.task.walker)
    assert built.fingerprint() == walker.fingerprint()
    other = load_teacher_config(
        [f"clips={file}", "task.walker.source=rodent"], body_of=body_of_clips
    )
    assert other.task.reward.joint_exp_scale == 0.7  # clips of a body cannot be the rodent's


def test_contacts_get_the_time_constant_of_the_bodys_file(biped):
    config = replace(named(biped), contact_time_s=0.005)
    assert (build_walker(config).model.geom_solref == (0.005, 1.0)).all()


# --- the command --------------------------------------------------------------------------------


def test_the_command_writes_draws_and_tries_a_body(biped, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    poses = np.zeros((60, 12))
    poses[:, 2:4] = 0.5, 1.0
    poses[:, 8] = 0.3 * np.sin(np.arange(60) / 10)
    np.savez(tmp_path / "walk.npz", qpos=poses, rate_hz=50.0)
    assert cli.main(["body", "biped.xml", "--motion", "walk.npz"]) == 0
    out = capsys.readouterr().out
    assert "trunk, free" in out  # the motion has a root's columns
    assert "pose control" in out and "time step" in out
    keys = yaml.safe_load((tmp_path / "biped.yaml").read_text())
    assert keys["source"] == "biped.xml" and keys["root_joint"] == "free"
    physics = keys["task"]["physics"]
    assert physics["timestep"] * physics["num_substeps"] == pytest.approx(0.02)
    assert (tmp_path / "biped.png").stat().st_size > 1000
    assert cli.main(["body", "biped.xml"]) == 2  # is there already
    assert "--overwrite" in capsys.readouterr().err


def test_a_motion_is_read_as_the_user_says(biped, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    poses = np.zeros((60, 12))
    poses[:, 2], poses[:, 6] = 0.5, 1.0  # x y z w
    np.savez(tmp_path / "walk.npz", qpos=poses)
    order = "source_config.quaternion_order=xyzw"
    assert cli.main(["body", "biped.xml", "--motion", "walk.npz", order]) == 2
    assert "source_config.rate_hz=HZ" in capsys.readouterr().err
    rate = "source_config.rate_hz=100"
    assert not (tmp_path / "biped.yaml").exists()  # nothing is written before all is read
    assert cli.main(["body", "biped.xml", "--motion", "walk.npz", order, rate]) == 0
    out = capsys.readouterr().out
    assert f"{rate}.0 {order}" in out  # of the next command
    assert cli.main(["body", "biped.xml", "quality_config.speed=1"]) == 2
    assert "expected a setting of source_config" in capsys.readouterr().err


def test_no_actuators_cannot_be_kept(biped):
    start, stop = BIPED.index("  <actuator>"), BIPED.index("</mujoco>")
    biped.write_text(BIPED[:start] + BIPED[stop:])
    with pytest.raises(UserError, match="expected actuators to keep, found none"):
        propose(str(biped), keep_actuators=True)


def test_a_motion_shorter_than_half_a_second_is_tried(biped, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("walk.npz", qpos=np.zeros((11, 5)), rate_hz=50.0)
    assert cli.main(["body", "biped.xml", "--motion", "walk.npz"]) == 0
    assert "in 0.2 s" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_ranges_that_are_tiny_in_degrees_are_read_as_radians(biped, tmp_path):
    keys = propose(str(biped)).keys
    assert "angles" not in keys
    biped.write_text(BIPED.replace('range="-60 60"', 'range="-1 1"'))
    found = propose(str(biped))
    assert found.keys["angles"] == "radians"
    assert any("radians" in check for check in found.checks)
    walker = build_walker(named(biped, angles="radians"))
    assert walker.model.jnt_range[0].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.xml"], "expected an MJCF file, found none"),
        (["own.yaml"], "found a body's YAML file"),
        (["biped.xml", "own.txt"], "expected the name of a .yaml file"),
        (["broken.xml"], "cannot parse"),
        (["broken.xml", "--motion", "walk.npz"], "cannot parse"),
        (["package:dm_control/nothing.xml"], "no file 'nothing.xml'"),
        (["no_mesh.xml"], "MuJoCo cannot"),
    ],
)
def test_what_is_no_body_is_refused_in_a_line(
    arguments, words, biped, body_file, capsys, monkeypatch
):
    monkeypatch.chdir(biped.parent)
    Path("broken.xml").write_text("<mujoco><worldbody>")
    mesh = '<asset><mesh name="m" file="gone.stl"/></asset><worldbody><body><joint name="j"/>'
    Path("no_mesh.xml").write_text(
        f'<mujoco>{mesh}<geom type="mesh" mesh="m"/></body></worldbody></mujoco>'
    )
    assert cli.main(["body", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and len(error.splitlines()) == 1
