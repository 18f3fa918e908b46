"""Bodies that differ between episodes: drawn as asked, obeying Newton, the same on every back end."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from vnl_mjx.config.conversion import from_dict, to_dict
from vnl_mjx.config.imitation import ImitationConfig, PhysicsConfig
from vnl_mjx.config.randomization import PRESETS, RANGE_NAMES, DomainRandomizationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.base import configure_model
from vnl_mjx.physics.randomization import draw_variants

CONFIG = PhysicsConfig(num_substeps=5, solver="newton", iterations=20, ls_iterations=20)
VARIED = DomainRandomizationConfig(
    num_variants=5,
    friction=(0.3, 1.5),
    joint_friction=(0.9, 1.1),
    armature=(0.5, 3.0),
    com_offset=(-0.005, 0.005),
    link_mass=(0.5, 1.5),
    root_mass_offset=(-0.01, 0.01),
    joint_reference_offset=(-0.05, 0.05),
)
# Independent things whose motion is known: a motor on a cart, one with dry friction, a falling arm (the
# root body) and a sled.
BENCH = """
<mujoco>
  <option timestep="0.001" gravity="0 0 -10"/>
  <worldbody>
    <geom type="plane" size="9 9 1" friction="0.6"/>
    <body name="cart" pos="0 2 1">
      <joint name="cart" type="slide" axis="1 0 0" armature="0.5"/>
      <geom size="0.1" mass="2" contype="0" conaffinity="0"/>
    </body>
    <body name="dry" pos="0 4 1">
      <joint name="dry" type="slide" axis="1 0 0" frictionloss="4"/>
      <geom size="0.1" mass="2" contype="0" conaffinity="0"/>
    </body>
    <body name="arm" pos="0 6 1">
      <joint name="arm" axis="0 1 0"/>
      <inertial pos="0.1 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>
    </body>
    <body name="sled" pos="0 0 0.1">
      <joint type="slide" axis="1 0 0"/>
      <joint type="slide" axis="0 0 1"/>
      <geom size="0.1" mass="1" friction="0.2"/>
    </body>
  </worldbody>
  <actuator>
    <motor joint="cart"/>
    <motor joint="dry"/>
  </actuator>
</mujoco>
"""
CART, DRY, ARM, SLED = 0, 1, 2, 3  # degrees of freedom


def always(value: float) -> tuple[float, float]:
    return value, value


def toy_physics(toy_walker, backend: str = "mujoco", config=VARIED, num_threads: int = 1):
    variants = draw_variants(toy_walker.model, toy_walker.root_body, config)
    return make_physics(toy_walker.model, CONFIG, backend, num_threads, variants)


@pytest.fixture(scope="module")
def toy(toy_walker):
    return toy_physics(toy_walker)


def start(physics, variant):
    num = len(variant)
    qpos = jnp.tile(jnp.asarray(physics.model.qpos0, jnp.float32), (num, 1))
    qpos = qpos.at[:, 7:].add(0.1 * jax.random.normal(jax.random.key(0), (physics.model.nq - 7,)))
    qvel = jnp.zeros((num, physics.model.nv))
    return jax.vmap(lambda p, v, i: physics.reset(p, v, True, i))(qpos, qvel, jnp.array(variant))


def roll(physics, state, num_steps: int):
    ctrl = jnp.tile(0.3 * jnp.array([1.0, -1.0, 0.5, 1.0]), (state.time.shape[0], 1))
    body = lambda state, _: (jax.vmap(physics.step)(state, ctrl), None)  # noqa: E731
    return jax.jit(lambda s: jax.lax.scan(body, s, length=num_steps)[0])(state)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def pick(tree, rows):
    return jax.tree.map(lambda x: x[jnp.array(rows)], tree)


@pytest.mark.parametrize("backend", ["mujoco", "mjx"])
def test_motion_follows_newton(backend):
    model = mujoco.MjModel.from_xml_string(BENCH)
    drawn = DomainRandomizationConfig(
        num_variants=1,
        friction=always(0.5),
        joint_friction=always(0.5),
        armature=always(2.0),
        com_offset=always(0.05),
        link_mass=always(3.0),
        root_mass_offset=always(1.0),
        joint_reference_offset=always(0.2),
    )
    variants = draw_variants(model, mujoco_id(model, "arm"), drawn)
    config = PhysicsConfig(0.001, num_substeps=1, solver="newton", iterations=50, ls_iterations=50)
    physics = make_physics(model, config, backend, variants=variants)
    qpos = jnp.full(model.nq, 0.2)
    qvel = jnp.zeros(model.nv).at[SLED].set(1.0)
    state = jax.jit(physics.reset)(qpos, qvel, True, jnp.int32(0))
    # with a reference of 0.2, those positions are the pose of the MJCF
    np.testing.assert_allclose(state.xmat, np.tile(np.eye(3), (model.nbody, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(state.xpos, model.body_pos, atol=1e-6)

    step = jax.jit(lambda s: physics.step(s, jnp.array([14.0, 10.0])))
    state = step(state)
    mass, x, z = 3 * 1.0 + 1.0, 0.1 + 0.05, 0.05
    inertia = 4 * 0.01 + mass * (x**2 + z**2)
    np.testing.assert_allclose(state.qvel[ARM], 0.001 * mass * 10 * x / inertia, rtol=1e-4)
    for _ in range(49):
        state = step(state)
    seconds = 0.05
    np.testing.assert_allclose(state.qvel[CART], seconds * 14 / (3 * 2 + 2 * 0.5), rtol=1e-3)
    np.testing.assert_allclose(state.qvel[DRY], seconds * (10 - 0.5 * 4) / (3 * 2), rtol=1e-2)
    # of sled (0.2) and floor (0.6) the larger counts
    np.testing.assert_allclose(state.qvel[SLED], 1 - seconds * 0.5 * 0.6 * 10, rtol=2e-2)


def mujoco_id(model, body: str) -> int:
    return model.body(body).id


def test_each_row_is_mj_step_on_its_own_variant(toy, toy_walker):
    rows = [3, 0, 3, 4]
    state = start(toy, rows)
    stepped = roll(toy, state, 1)
    models = draw_variants(toy_walker.model, toy_walker.root_body, VARIED).models
    for row, variant in enumerate(rows):
        model = configure_model(models[variant], CONFIG)
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = state.qpos[row], state.qvel[row]
        data.qacc_warmstart[:] = state.qacc_warmstart[row]
        data.ctrl[:] = 0.3 * np.array([1.0, -1.0, 0.5, 1.0], np.float32)
        for _ in range(CONFIG.num_substeps):
            mujoco.mj_step(model, data)
        for name in ("qpos", "qvel", "act", "xpos", "qfrc_actuator"):
            np.testing.assert_allclose(
                getattr(stepped, name)[row], getattr(data, name), rtol=1e-6, atol=1e-6
            )
    assert_identical(pick(stepped, [0]), pick(stepped, [2]))


@pytest.mark.slow
def test_back_ends_see_the_same_bodies(toy, toy_walker):
    """Same pose and control; tolerances as in `test_physics.test_mjx_agrees_with_mujoco`."""
    other = toy_physics(toy_walker, "mjx")
    rows = list(range(VARIED.num_variants))
    state = start(toy, [*rows, 1])
    reset = jax.vmap(lambda p, v, i: other.reset(p, v, True, i))
    mjx_state = jax.jit(reset)(state.qpos, state.qvel, state.variant)
    for name in ("qpos", "xpos", "xmat"):
        np.testing.assert_allclose(getattr(state, name), getattr(mjx_state, name), atol=1e-5)
    state = state.replace(qvel=state.qvel.at[-1, 0].set(jnp.nan))
    ours, theirs = roll(toy, state, 1), roll(other, state, 1)
    for stepped in (ours, theirs):
        np.testing.assert_array_equal(stepped.diverged, [False] * len(rows) + [True])
        np.testing.assert_array_equal(stepped.variant, state.variant)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(stepped))
    ours, theirs = pick(ours, rows), pick(theirs, rows)
    spread = np.ptp(np.asarray(ours.qvel), axis=0)
    assert spread[6:].max() > 0.5  # the bodies differ by far more than the back ends may
    for name in ("qpos", "act", "xpos", "xmat", "qfrc_actuator", "time"):
        np.testing.assert_allclose(
            getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=2e-4, err_msg=name
        )
    np.testing.assert_allclose(ours.qvel, theirs.qvel, rtol=1e-2, atol=2e-2)


def test_batch_and_threads_do_not_change_a_bit(toy, toy_walker):
    rows = [4, 1, 0, 1, 2, 3, 4]
    many = roll(toy, start(toy, rows), 10)
    assert_identical(pick(many, [2, 1]), roll(toy, start(toy, [0, 1]), 10))
    threaded = toy_physics(toy_walker, num_threads=3)
    assert_identical(many, roll(threaded, start(threaded, rows), 10))


def test_state_in_state_out(toy):
    state = roll(toy, start(toy, [2, 0, 4]), 5)
    saved = jax.tree.map(np.array, state)
    direct = roll(toy, state, 5)
    roll(toy, start(toy, [1, 1, 1]), 3)  # other work on the same batch in between
    assert_identical(direct, roll(toy, jax.tree.map(jnp.asarray, saved), 5))
    assert not np.array_equal(
        direct.qpos, roll(toy, state.replace(variant=state.variant * 0), 5).qpos
    )


def test_divergence_is_contained(toy):
    state = start(toy, [0, 1, 2])
    clean = roll(toy, state, 1)
    stepped = roll(toy, state.replace(qvel=state.qvel.at[1, 2].set(jnp.nan)), 1)
    np.testing.assert_array_equal(stepped.diverged, [False, True, False])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(stepped))
    assert not np.any(stepped.qpos[1])
    np.testing.assert_array_equal(stepped.variant, [0, 1, 2])
    assert_identical(pick(stepped, [0, 2]), pick(clean, [0, 2]))


def test_ranges_of_no_width_change_nothing(toy_walker):
    """Also: MuJoCo derives the same constants again from an unchanged body."""
    nothing = DomainRandomizationConfig(
        num_variants=2,
        friction=always(1),
        armature=always(1),
        link_mass=always(1),
        com_offset=always(0),
    )
    plain = make_physics(toy_walker.model, CONFIG, num_threads=1)
    same = toy_physics(toy_walker, config=nothing)
    state = start(same, [0, 1])
    expected = roll(plain, state.replace(variant=None), 10)
    assert_identical(roll(same, state, 10).replace(variant=None), expected)


def test_off_is_what_it_was(toy_walker):
    config = ImitationConfig()
    assert config.randomization.ranges() == {}
    assert draw_variants(toy_walker.model, toy_walker.root_body, config.randomization) is None
    names = {
        jax.tree_util.keystr(keys, simple=True)
        for keys, _ in jax.tree_util.tree_leaves_with_path(
            make_physics(toy_walker.model, CONFIG).zeros()
        )
    }
    assert "qpos" in names and "variant" not in names and len(names) == 11
    stored = to_dict(config)
    del stored["randomization"]  # as written before there was one
    assert from_dict(ImitationConfig, stored) == config
    written = to_dict(replace(config, randomization=VARIED))
    assert from_dict(ImitationConfig, written).randomization == VARIED


def test_draws_are_within_their_ranges_and_reproducible(toy_walker):
    model, root = toy_walker.model, toy_walker.root_body
    first, again = (draw_variants(model, root, VARIED) for _ in range(2))
    other = draw_variants(model, root, replace(VARIED, seed=1))
    fewer = draw_variants(model, root, replace(VARIED, num_variants=2, com_offset=None))
    assert set(first.parameters) == set(RANGE_NAMES)
    for name, values in first.parameters.items():
        low, high = getattr(VARIED, name)
        assert values.min() >= low and values.max() <= high and np.ptp(values) > 0
        np.testing.assert_array_equal(values, again.parameters[name])
        assert not np.array_equal(values, other.parameters[name])
        if name in fewer.parameters:
            np.testing.assert_array_equal(values[:2], fewer.parameters[name])
    assert "com_offset" not in fewer.parameters

    mass = np.array([m.body_mass for m in first.models])
    expected = model.body_mass * first.parameters["link_mass"]
    expected[:, root] += first.parameters["root_mass_offset"]
    np.testing.assert_allclose(mass, expected)
    for varied, total in zip(first.models, mass.sum(axis=1), strict=True):
        np.testing.assert_allclose(varied.body_subtreemass[0], total)  # derived anew
        density = varied.body_inertia[root] / varied.body_mass[root]
        np.testing.assert_allclose(density, model.body_inertia[root] / model.body_mass[root])


def test_preset_fills_what_is_not_given():
    preset = DomainRandomizationConfig(preset="vnl_playground_warp", com_offset=(-0.001, 0.001))
    preset.validate()
    expected = PRESETS["vnl_playground_warp"] | {"com_offset": (-0.001, 0.001)}
    assert preset.ranges() == expected
    assert expected["link_mass"] == (0.9, 1.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"friction": (1.5, 0.5)}, r"randomization\.friction: .*low and high.*\[1\.5, 0\.5\]"),
        ({"armature": (0.0, 1.0)}, r"randomization\.armature: .*above 0"),
        ({"com_offset": (0.1,)}, r"randomization\.com_offset: .*two numbers"),
        ({"link_mass": (0.5, float("inf"))}, r"randomization\.link_mass: .*finite"),
        ({"num_variants": 0}, r"randomization\.num_variants: .*at least 1"),
        ({"root_mass_offset": (-1.0, -1.0)}, r"root_mass_offset: .*keep some of its .* kg"),
    ],
)
def test_bad_ranges_are_refused(toy_walker, changes, message):
    with pytest.raises(UserError, match=message) as error:
        draw_variants(toy_walker.model, toy_walker.root_body, replace(VARIED, **changes))
    assert "\n" not in str(error.value)


def test_a_body_compiled_for_its_centre_of_mass_is_refused():
    model = mujoco.MjModel.from_xml_string(BENCH)
    with pytest.raises(UserError, match=r"randomization: .*simple.*com_offset") as error:
        draw_variants(model, mujoco_id(model, "sled"), VARIED)
    assert "\n" not in str(error.value)


def test_back_end_and_state_must_agree(toy, toy_walker):
    plain = make_physics(toy_walker.model, CONFIG)
    qpos, qvel = jnp.asarray(plain.model.qpos0, jnp.float32), jnp.zeros(plain.model.nv)
    with pytest.raises(ValueError, match="num_variants=0"):
        plain.reset(qpos, qvel, True, jnp.int32(0))
    with pytest.raises(ValueError, match="num_variants=5"):
        toy.reset(qpos, qvel)
