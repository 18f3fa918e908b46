"""MJX's stages as this package puts them together, against MJX's own and MuJoCo's."""

import re

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from vnl_mjx import quaternions
from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.base import configure_model
from vnl_mjx.physics.mjx_stages import MjxStages, mjx

from vnl_mjx.physics.kinematic_tree import KinematicTree  # isort: skip

FIELDS = (
    "qpos",
    "xanchor",
    "xaxis",
    "xpos",
    "xquat",
    "xmat",
    "xipos",
    "ximat",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
)
STATE = (
    "qpos",
    "qvel",
    "act",
    "qacc_warmstart",
    "time",
    "xpos",
    "xmat",
    "qfrc_actuator",
    "sensordata",
)
# Two trees; every kind of joint, several in a body, off centre, with references; bodies without any.
ZOO = """
<mujoco>
  <worldbody>
    <body pos="0 0 1"><freejoint/><geom size="0.1" pos="0.1 0 0" euler="10 20 30"/>
      <body pos="0.1 0.2 0.3" euler="30 20 10"><joint type="ball" pos="0.1 0 0.05"/><geom size="0.1"/>
        <body pos="0 0.1 0"><geom size="0.1"/><site pos="0.1 0.1 0" euler="5 6 7"/>
          <body euler="0 40 0">
            <joint type="slide" axis="1 1 0" ref="0.2"/>
            <joint axis="0 1 1" pos="0.1 0.2 0" ref="20"/>
            <joint axis="1 0 0" pos="0 0 0.1"/><geom size="0.1"/>
            <body pos="0.2 0 0"><joint axis="0 0 1" pos="0 0.1 0"/><geom size="0.1"/></body>
          </body>
        </body>
      </body>
    </body>
    <body pos="2 0 0" euler="0 0 45"><joint axis="0 1 0"/><geom size="0.1"/>
      <body pos="0 0.1 0.1"><geom size="0.1"/></body>
    </body>
  </worldbody>
</mujoco>
"""


def posed(model: mujoco.MjModel, seed: int = 0) -> np.ndarray:
    """A pose far from the neutral one, with unit quaternions, qpos."""
    noise = 0.5 * np.random.default_rng(seed).normal(size=model.nv)
    qpos = model.qpos0.copy()
    mujoco.mj_integratePos(model, qpos, noise, 1.0)
    return qpos


def placed(model: mujoco.MjModel, qpos: np.ndarray) -> mjx.Data:
    tree, put = KinematicTree(model), mjx.put_model(model, impl="jax")
    place = jax.jit(lambda q: tree(put, mjx.make_data(model, impl="jax").replace(qpos=q)))
    return place(jnp.float32(qpos))


def assert_kinematics(model: mujoco.MjModel) -> None:
    qpos = posed(model)
    found = placed(model, qpos)
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    for name in FIELDS:
        actual = np.asarray(getattr(found, name))
        expected = getattr(data, name).reshape(actual.shape)
        np.testing.assert_allclose(actual, expected, atol=2e-6, err_msg=name)


def test_every_kind_of_joint_is_placed_as_mujoco_does():
    assert_kinematics(mujoco.MjModel.from_xml_string(ZOO))


def test_the_rodent_is_placed_as_mujoco_does(rodent):
    assert_kinematics(rodent.model)


def test_a_body_without_a_free_root_is_placed_as_mujoco_does(arm):
    assert_kinematics(arm.model)


def test_a_diverged_simulation_keeps_its_zeros(rodent):
    found = placed(rodent.model, np.zeros(rodent.model.nq))
    assert np.isfinite(found.xpos).all() and not found.qpos.any()


def test_mocap_bodies_are_left_to_mjx():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body mocap="true" pos="0 0 1"><geom size="0.1"/></body>'
        '<body><joint/><geom size="0.1"/></body></worldbody></mujoco>'
    )
    with pytest.raises(ValueError, match="nmocap=1"):
        KinematicTree(model)
    data = mjx.make_data(model, impl="jax").replace(mocap_pos=jnp.array([[1.0, 2.0, 3.0]]))
    found = jax.jit(MjxStages(model).observe)(mjx.put_model(model, impl="jax"), data)
    np.testing.assert_array_equal(found.xpos[1], [1.0, 2.0, 3.0])


def assert_same(function, original, model: mujoco.MjModel) -> None:
    """Both give the same of a state with its feet in the ground, joints beyond their limits, moving."""
    put = mjx.put_model(model, impl="jax")
    start = mjx.make_data(model, impl="jax").replace(
        qpos=jnp.float32(posed(model)).at[2].set(0.02),
        qvel=jnp.linspace(-1.0, 1.0, model.nv),
        act=jnp.linspace(-0.5, 0.5, model.na),
        ctrl=jnp.full(model.nu, 0.3),
    )

    def state(data: mjx.Data) -> dict[str, jax.Array]:
        return {name: getattr(data, name) for name in STATE}

    found, expected = jax.jit(lambda d: (state(function(put, d)), state(original(put, d))))(start)
    for name, value in expected.items():
        # The solver spreads the round-off of the largest acceleration over all.
        atol = 1e-6 * (1.0 + np.abs(value).max(initial=0.0))
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


@pytest.mark.slow
def test_a_step_is_mjx_s(toy_walker):
    model = configure_model(toy_walker.model, PhysicsConfig(sensors=True))
    assert_same(MjxStages(model).step, mjx.step, model)


def test_what_a_reset_observes_is_mjx_s(toy_walker):
    model = configure_model(toy_walker.model, PhysicsConfig())
    assert_same(MjxStages(model).observe, mjx.forward, model)


def ancestors(program: str) -> tuple[dict[str, set[str]], list[str]]:
    """What each instruction of the entry computation depends on, and which ones factorise a matrix."""
    above: dict[str, set[str]] = {}
    factorise = []
    entry = program[program.index("\nENTRY ") :]
    for name, value in re.findall(r"^ +(?:ROOT )?%?([\w.-]+) = (.*)$", entry, re.MULTILINE):
        direct = set(re.findall(r"[\w.-]+", value)) & above.keys()
        above[name] = direct.union(*(above[x] for x in direct))
        factorise += [name] * ("potrf" in value)
    return above, factorise


def test_the_second_factorisation_waits_for_the_solver(toy_walker):
    # Else a CPU of two cores may run both at once, and waits for ever.
    model = configure_model(toy_walker.model, PhysicsConfig())
    put, stages = mjx.put_model(model, impl="jax"), MjxStages(model)

    @jax.jit
    def step(qpos):
        return stages.step(put, mjx.make_data(model, impl="jax").replace(qpos=qpos)).qpos

    above, factorise = ancestors(step.lower(jnp.float32(model.qpos0)).compile().as_text())
    solved = [any(x.startswith("while") for x in above[name]) for name in factorise]
    assert solved == [False, True]


def test_a_matrix_turns_as_its_quaternion_does():
    quat, vector = jax.random.normal(jax.random.key(0), (2, 5, 4))
    quat /= jnp.linalg.norm(quat, axis=-1, keepdims=True)
    turned = jnp.einsum("nij,nj->ni", quaternions.matrix(quat), vector[:, :3])
    np.testing.assert_allclose(turned, quaternions.rotate(vector[:, :3], quat), atol=1e-6)


def test_a_reset_is_mujoco_s(toy_walker):
    physics = make_physics(toy_walker.model, PhysicsConfig(), "mjx")
    other = make_physics(toy_walker.model, PhysicsConfig(), "mujoco")
    qpos, qvel = jnp.float32(posed(physics.model)), jnp.linspace(-1.0, 1.0, physics.model.nv)
    found, expected = jax.jit(physics.reset)(qpos, qvel), jax.jit(other.reset)(qpos, qvel)
    for name in ("qpos", "qvel", "xpos", "xmat", "qfrc_actuator"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=1e-5, err_msg=name
        )
