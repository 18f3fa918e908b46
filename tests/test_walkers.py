"""Walkers: the rodent equals track-mjx's, edits do what they say, mistakes are told in one line."""

import dataclasses
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from make_fixtures.rodent_model_numbers import ARRAYS, FIXTURE, model_numbers, variant_name

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers import rodent as rodent_source
from vnl_mjx.walkers.walker import Walker, build_walker

VARIANTS = [(torque, scale) for torque in (True, False) for scale in (0.9, 1.0)]

# Recorded with MuJoCo 3.3.2, where our edits give every array to 1e-10. Newer versions diagonalise
# inertias to a tighter tolerance: other principal axes on 8 near-symmetric bodies, and what follows
# from them. Relative tolerance per array; test_only_principal_axes_differ shows there is no more.
PRINCIPAL_AXES_RTOL = {
    "body_iquat": 5e-6,
    "actuator_acc0": 1e-6,
    "body_invweight0": 1e-6,
    "dof_M0": 1e-6,
    "dof_invweight0": 1e-6,
    "tendon_invweight0": 1e-9,
}
# No equality constraints: 3.3.2 shapes this (0, 11), newer versions (0, 12).
EMPTY_ARRAYS_OF_OTHER_WIDTH = {"eq_data"}


def build_variant(torque: bool, scale: float) -> Walker:
    return build_walker(WalkerConfig(torque_actuators=torque, rescale_factor=scale))


def load_recorded(shared_data: Path, torque: bool, scale: float) -> tuple[dict, dict[str, Any]]:
    stem = shared_data / "model" / f"model_{variant_name(torque, scale)}"
    with np.load(f"{stem}.npz") as arrays:
        return dict(arrays), json.loads(Path(f"{stem}.json").read_text())


def assert_arrays_equal(model: mujoco.MjModel, recorded: dict, rtols: dict[str, float]) -> None:
    for name, expected in recorded.items():
        found = np.asarray(getattr(model, name))
        if name in EMPTY_ARRAYS_OF_OTHER_WIDTH:
            assert found.size == expected.size == 0, name
            continue
        assert found.shape == expected.shape, name
        np.testing.assert_allclose(found, expected, rtols.get(name, 1e-10), atol=0, err_msg=name)


# --- the rodent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("torque", "scale"), VARIANTS)
def test_rodent_equals_recorded_track_mjx(shared_data, torque, scale):
    recorded, _ = load_recorded(shared_data, torque, scale)
    assert len(recorded) > 150
    assert_arrays_equal(build_variant(torque, scale).model, recorded, PRINCIPAL_AXES_RTOL)


@pytest.mark.parametrize(("torque", "scale"), VARIANTS)
def test_only_principal_axes_differ(shared_data, torque, scale):
    recorded, _ = load_recorded(shared_data, torque, scale)
    model = build_variant(torque, scale).model
    model.body_iquat[:] = recorded["body_iquat"]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    assert_arrays_equal(model, recorded, {})


@pytest.mark.parametrize(("torque", "scale"), VARIANTS)
def test_rodent_names_and_options_equal_recorded(shared_data, torque, scale):
    _, recorded = load_recorded(shared_data, torque, scale)
    walker = build_variant(torque, scale)
    model, options = walker.model, walker.model.opt
    assert ["root", *walker.joint_names] == recorded.pop("joint_names")
    assert list(walker.body_names) == recorded.pop("body_names")
    assert list(walker.actuator_names) == recorded.pop("actuator_names")
    pairs = [divmod(int(signature), 1 << 16) for signature in model.exclude_signature]
    names = [[walker.body_names[body] for body in pair] for pair in pairs]
    assert names == recorded.pop("exclude")
    assert model.body_mass.sum() == pytest.approx(recorded.pop("total_mass"), rel=1e-12)
    for key, expected in recorded.items():
        if key.endswith("_names"):
            kind = key.removesuffix("_names")
            count = model.ncam if kind == "camera" else getattr(model, f"n{kind}")
            found = [getattr(model, kind)(i).name for i in range(count)]
        else:
            found = getattr(model if hasattr(model, key) else options, key)
        np.testing.assert_array_equal(found, expected, err_msg=key)


@pytest.mark.parametrize(("torque", "scale"), VARIANTS)
def test_rodent_equals_committed_numbers(torque, scale):
    variants = json.loads(FIXTURE.read_text())["variants"]
    first = next(iter(variants.values()))
    expected = {**first, **variants[variant_name(torque, scale)]}
    found = model_numbers(build_variant(torque, scale))
    assert found.keys() == expected.keys()
    for name in ARRAYS:
        (size, *sums), (expected_size, *expected_sums) = found.pop(name), expected.pop(name)
        assert size == expected_size, name
        atol = PRINCIPAL_AXES_RTOL.get(name, 1e-10) * expected_sums[0]
        np.testing.assert_allclose(sums, expected_sums, rtol=0, atol=atol, err_msg=name)
    assert found == expected  # the names


def test_rodent_display_and_statistics(rodent):
    model = rodent.model
    assert (model.stat.extent, model.stat.meansize) == (2.0, 0.003)
    assert model.material(model.geom("floor").matid[0]).name == "grid"
    camera = model.cam("close_profile")
    assert rodent.body_names[camera.bodyid[0]] == "torso"
    np.testing.assert_allclose(camera.pos, [0.5, -0.5, 0.5])
    assert model.nskin == 0


def test_rodent_is_built_without_importing_dm_control():
    code = (
        "import sys; from vnl_mjx.walkers.walker import build_walker, WalkerConfig;"
        "build_walker(WalkerConfig()); assert not {'dm_control', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_rodent_without_dm_control_is_a_user_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="install dm_control"):
        rodent_source.rodent_xml_path()


def test_rodent_from_a_users_mjcf_is_the_same_walker(rodent, tmp_path):
    path = tmp_path / "own.xml"
    spec = rodent_source.rodent_spec()
    spec.compile()
    path.write_text(spec.to_xml())
    own = build_walker(WalkerConfig(source=str(path)))
    assert own.joint_names == rodent.joint_names and own.body_names == rodent.body_names
    np.testing.assert_array_equal(own.tracked_bodies, rodent.tracked_bodies)
    for name in ("body_pos", "body_mass", "geom_rbound", "actuator_gainprm", "actuator_gear"):
        found, expected = getattr(own.model, name), getattr(rodent.model, name)
        # MuJoCo writes six digits
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9, err_msg=name)


# --- rows and fingerprint -----------------------------------------------------------------------


def test_rows_point_at_the_configured_names(rodent):
    config = rodent.config
    joints, bodies = np.array(rodent.joint_names), np.array(rodent.body_names)
    assert tuple(joints[rodent.tracked_joints]) == config.joint_names
    assert tuple(bodies[rodent.tracked_bodies]) == config.body_names
    assert tuple(bodies[rodent.end_effectors]) == config.end_effector_names
    assert bodies[rodent.root_body] == "torso"
    assert rodent.tracked_joints.dtype == rodent.tracked_bodies.dtype == np.int32
    for row, name in enumerate(rodent.joint_names):
        assert rodent.model.joint(name).qposadr[0] == 7 + row


def test_layout_of_a_free_and_of_a_fixed_root(toy_walker, arm):
    for walker, num_root in ((toy_walker, (7, 6)), (arm, (0, 0))):
        model = walker.model
        qpos, qvel = np.arange(model.nq), np.arange(model.nv)
        ids = [model.joint(name).id for name in walker.joint_names]
        np.testing.assert_array_equal(qpos[walker.layout.joint_qpos], model.jnt_qposadr[ids])
        np.testing.assert_array_equal(qvel[walker.layout.joint_qvel], model.jnt_dofadr[ids])
        assert (model.nq - len(ids), model.nv - len(ids)) == num_root
        assert (walker.nq, walker.nv) == (model.nq, model.nv)
        hash(walker.layout)
    assert arm.root is None
    assert arm.joint_names == ("rail", "turn", "shoulder", "elbow")
    root, rows = toy_walker.root, np.arange(7)
    assert rows[root.position].tolist() == [0, 1, 2]
    assert rows[root.quaternion].tolist() == [3, 4, 5, 6]
    assert rows[root.velocity].tolist() == [0, 1, 2]
    assert rows[root.angular_velocity].tolist() == [3, 4, 5]


def test_fingerprint_is_json_and_the_same_in_every_build(rodent):
    print_ = rodent.fingerprint()
    assert json.loads(json.dumps(print_)) == print_
    assert build_walker(WalkerConfig()).fingerprint() == print_
    sha256 = print_.pop("sha256")
    assert sha256 == hashlib.sha256(json.dumps(print_, sort_keys=True).encode()).hexdigest()


def test_fingerprint_tells_walkers_apart(toy_config):
    changes: list[dict[str, Any]] = [
        {},
        {"rescale_factor": 0.9},
        {"torque_actuators": False},
        {"joint_names": ("hip_back",)},
        {"end_effector_names": ("foot_back", "foot_front")},
        {"root_body": "walker"},
    ]
    prints = [build_walker(dataclasses.replace(toy_config, **c)).fingerprint() for c in changes]
    assert len({print_["sha256"] for print_ in prints}) == len(changes)


# --- edits --------------------------------------------------------------------------------------


def test_scaling_by_half(toy_config, toy_walker):
    full = toy_walker.model
    half = build_walker(dataclasses.replace(toy_config, rescale_factor=0.5)).model
    below_floor = slice(2, None)  # after world and floor
    np.testing.assert_allclose(half.body_pos, full.body_pos * 0.5)
    np.testing.assert_allclose(half.body_mass[below_floor], full.body_mass[below_floor] * 0.125)
    np.testing.assert_array_equal(half.geom_size[0], full.geom_size[0])
    np.testing.assert_allclose(half.geom_size[1:], full.geom_size[1:] * 0.5)
    np.testing.assert_allclose(half.geom_pos, full.geom_pos * 0.5)
    np.testing.assert_allclose(half.actuator_gear, full.actuator_gear * 0.25)
    np.testing.assert_array_equal(half.jnt_pos, full.jnt_pos)
    np.testing.assert_array_equal(half.site_pos, full.site_pos)


ONE_BODY = """<mujoco><worldbody>{before}<body name="b" pos="0 0 1"><freejoint/><geom size="0.1"/>
<frame pos="0.2 0 0"><body name="c" pos="0.3 0 0"><joint name="j"{joint}/>
<geom size="0.1" pos="0.4 0 0"/></body></frame></body></worldbody>
<actuator>{actuator}</actuator>{after}</mujoco>"""


def build_one_body(
    folder: Path, before="", joint="", actuator='<motor joint="j"/>', after="", **changes: Any
) -> Walker:
    path = folder / "one.xml"
    path.write_text(ONE_BODY.format(before=before, joint=joint, actuator=actuator, after=after))
    names = {"root_body": "b", "joint_names": ("j",), "body_names": ("b", "c")}
    config = WalkerConfig(source=str(path), end_effector_names=(), **names)
    return build_walker(dataclasses.replace(config, **changes))


def test_scaling_of_the_root_body_frames_and_keyframes(tmp_path):
    key = '<keyframe><key name="k" qpos="5 6 2 1 0 0 0 0.7"/></keyframe>'
    model = build_one_body(tmp_path, after=key, rescale_factor=0.5).model
    np.testing.assert_allclose(model.body_pos, [[0, 0, 0], [0, 0, 0.5], [0.25, 0, 0]])
    np.testing.assert_allclose(model.geom_size[:, 0], [0.05, 0.05])
    np.testing.assert_allclose(model.geom_pos[1], [0.2, 0, 0])
    np.testing.assert_allclose(model.key_qpos[0], [5, 6, 1, 1, 0, 0, 0, 0.7])


def test_torque_actuators_keep_only_the_force_limit_as_gain(toy_config, toy_walker):
    torque = toy_walker.model
    position = build_walker(dataclasses.replace(toy_config, torque_actuators=False)).model
    np.testing.assert_allclose(position.actuator_gainprm[:, 0], 0.05)
    np.testing.assert_allclose(position.actuator_biasprm[:, 1], -0.05)
    np.testing.assert_allclose(torque.actuator_gainprm[:, 0], 0.03)
    assert not torque.actuator_biasprm.any()
    assert not torque.actuator_biastype.any()
    np.testing.assert_array_equal(torque.actuator_dynprm, position.actuator_dynprm)


def test_a_motor_without_force_range_is_a_torque_actuator_already(tmp_path):
    assert build_one_body(tmp_path).model.actuator_gainprm[0, 0] == 1.0


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": "nowhere.xml"}, r"no file 'nowhere\.xml'"),
        ({"joint_names": ("Hip_front",)}, r"walker\.joint_names: .*'Hip_front'.*'hip_front'"),
        ({"joint_names": ("root",)}, r"walker\.joint_names: .*'root'"),
        ({"body_names": ("torzo",)}, r"walker\.body_names: .*'torzo'.*'torso'"),
        ({"end_effector_names": ("foot_bak",)}, r"walker\.end_effector_names: .*'foot_back'"),
        ({"root_body": "Torso"}, r"walker\.root_body: .*'torso'"),
        ({"rescale_factor": 0.0}, r"walker\.rescale_factor: .*above 0, found 0\.0"),
        ({"rescale_factor": float("nan")}, r"walker\.rescale_factor: .*nan"),
    ],
)
def test_mistakes_in_the_configuration(toy_config, changes, expected):
    with pytest.raises(UserError, match=expected) as error:
        build_walker(dataclasses.replace(toy_config, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"joint": ' type="ball"'}, "'j' of type mjJNT_BALL"),
        ({"before": '<body><freejoint/><geom size="1"/></body>'}, r"found \(unnamed\), b;"),
        ({"before": '<body><joint name="p"/><geom size="1"/></body>'}, "first joint.*found 'p'"),
        ({"actuator": '<position name="servo" joint="j"/>'}, r"actuator 'servo'.*forcerange"),
        ({"actuator": '<motor joint="k"/>'}, "cannot compile"),
        ({"after": "<nonsense/>"}, "cannot parse"),
        ({"after": "<"}, "cannot parse"),
    ],
)
def test_mistakes_in_the_mjcf(tmp_path, changes, expected):
    with pytest.raises(UserError, match=expected) as error:
        build_one_body(tmp_path, **changes)
    assert "\n" not in str(error.value)


def test_a_model_without_joints_is_a_user_error(tmp_path):
    path = tmp_path / "fixed.xml"
    path.write_text(
        '<mujoco model="fixed"><worldbody><body><geom size="1"/></body></worldbody></mujoco>'
    )
    with pytest.raises(UserError, match="expected joints in .*, found none"):
        build_walker(WalkerConfig(source=str(path)))


def test_a_ball_joint_of_a_fixed_body_is_a_user_error(tmp_path, arm):
    path = tmp_path / "ball.xml"
    text = Path(arm.config.source).read_text()
    path.write_text(text.replace('name="elbow" range="-0.2', 'name="elbow" type="ball" range="0'))
    with pytest.raises(UserError, match="'elbow' of type mjJNT_BALL; replace it by hinges"):
        build_walker(dataclasses.replace(arm.config, source=str(path)))


def test_scaling_of_a_body_on_a_table_scales_the_table(arm):
    half = build_walker(dataclasses.replace(arm.config, rescale_factor=0.5)).model
    np.testing.assert_allclose(half.body_pos, 0.5 * arm.model.body_pos)
    np.testing.assert_allclose(half.geom("top").size, 0.5 * arm.model.geom("top").size)


# --- the toy walker -----------------------------------------------------------------------------


def test_toy_walker_stands_and_only_its_feet_touch_the_floor(toy_walker):
    model, data = toy_walker.model, mujoco.MjData(toy_walker.model)
    for _ in range(250):
        mujoco.mj_step(model, data)
    assert data.xpos[toy_walker.root_body, 2] == pytest.approx(0.06, abs=1e-3)
    touching = {model.geom(geom).name for contact in data.contact for geom in contact.geom}
    assert touching == {"floor", "foot_front", "foot_back"}
    assert toy_walker.model.nsensordata == 9
