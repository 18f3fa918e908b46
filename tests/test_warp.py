"""MuJoCo Warp behind the physics interface, on the CPU: sizes, shapes, and what it refuses.

That it computes what MuJoCo computes, and contains what diverges: `test_backend_parity.py`.
"""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.contact_counts import counted, largest_possible
from vnl_mjx.physics.randomization import draw_variants

CONFIG = PhysicsConfig(num_substeps=2, solver="newton", iterations=20, ls_iterations=20)
NUM = 6  # simulations


def warp_physics(walker, **sizes):
    pytest.importorskip("warp", reason="needs the `warp` extra")
    return make_physics(walker.model, CONFIG, "warp", **sizes)


@pytest.fixture(scope="module")
def physics(toy_walker):
    return warp_physics(toy_walker)


@pytest.fixture(scope="module")
def qpos(toy_walker):
    """From standing 3 mm deep in the floor to falling from 5 cm above it, [NUM, nq]."""
    poses = np.tile(toy_walker.model.qpos0, (NUM, 1)).astype(np.float32)
    return jnp.asarray(poses).at[:, 2].add(np.linspace(-0.003, 0.05, NUM))


@pytest.fixture(scope="module")
def ctrl(toy_walker):
    return jax.random.uniform(jax.random.key(0), (NUM, toy_walker.model.nu), minval=-1.0)


@pytest.fixture(scope="module")
def started(physics, qpos):
    return jax.jit(jax.vmap(physics.reset))(qpos, jnp.zeros((NUM, physics.model.nv)))


@pytest.fixture(scope="module")
def step(physics):
    return jax.jit(jax.vmap(physics.step))


@pytest.fixture(scope="module")
def stepped(step, started, ctrl):
    return step(started, ctrl)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_same_call_gives_the_same_bits(step, started, ctrl, stepped):
    assert np.abs(stepped.qpos - started.qpos).max() > 1e-4
    assert_identical(step(started, ctrl), stepped)


def test_nested_vmap_one_alone_and_what_is_shared(physics, started, ctrl, stepped):
    @jax.jit
    def three_ways(state, ctrl):
        two_by_three = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), (state, ctrl))
        nested = jax.vmap(jax.vmap(physics.step))(*two_by_three)
        one = jax.tree.map(lambda x: x[4], state)
        shared = jax.vmap(physics.step, in_axes=(None, 0))(one, ctrl)
        return nested, physics.step(one, ctrl[4]), shared

    nested, one, shared = three_ways(started, ctrl)
    assert_identical(stepped, jax.tree.map(lambda x: x.reshape(NUM, *x.shape[2:]), nested))
    fifth = jax.tree.map(lambda x: x[4], stepped)
    assert_identical(one, fifth)
    assert_identical(jax.tree.map(lambda x: x[4], shared), fifth)


def test_zeros_have_the_shapes_of_a_state(physics, stepped):
    zeros = physics.zeros()
    assert jax.tree.map(jnp.shape, zeros) == jax.tree.map(lambda x: x.shape[1:], stepped)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(zeros))


def test_there_is_room_for_what_the_model_can_have(physics, toy_walker, stepped):
    assert physics.room == largest_possible(toy_walker.model)
    assert not np.any(stepped.overflowed)


@pytest.mark.parametrize("sizes", [{"naconmax_per_env": 1}, {"njmax": 8}])
def test_overflow_is_seen(toy_walker, started, ctrl, sizes):
    """Of 16 contacts among all simulations, and of 16 rows in each that stands."""
    physics = warp_physics(toy_walker, **sizes)
    state = started.replace(qpos=started.qpos.at[3:].set(started.qpos[0]))  # four of six stand
    after = jax.jit(jax.vmap(physics.step))(state, ctrl)
    standing = np.array([True, False, False, True, True, True])
    wanted = standing if "njmax" in sizes else np.ones(NUM, bool)
    np.testing.assert_array_equal(after.overflowed, wanted)
    assert not np.any(after.diverged)


def test_it_says_nothing_of_its_own(toy_walker, started, ctrl, capfd):
    config = replace(CONFIG, solver="cg", iterations=1, ls_iterations=1)
    physics = make_physics(toy_walker.model, config, "warp")
    jax.block_until_ready(jax.jit(jax.vmap(physics.step))(started, ctrl))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_every_simulation_runs_on_its_own_variant(toy_walker, qpos, ctrl):
    pytest.importorskip("warp", reason="needs the `warp` extra")
    ranges = DomainRandomizationConfig(
        num_variants=3,
        friction=(0.5, 1.5),
        armature=(0.5, 1.5),
        com_offset=(-0.001, 0.001),
        link_mass=(0.8, 1.2),
        root_mass_offset=(0.0, 0.01),
        joint_reference_offset=(-0.1, 0.1),
    )
    variants = draw_variants(toy_walker.model, toy_walker.root_body, ranges)
    variant = jnp.arange(NUM) % 3

    def after(backend):
        physics = make_physics(toy_walker.model, CONFIG, backend, variants=variants)

        def reset_and_step(qpos, ctrl, variant):
            state = physics.reset(qpos, jnp.zeros(physics.model.nv), variant=variant)
            return physics.step(state, ctrl)

        return jax.jit(jax.vmap(reset_and_step))(qpos, ctrl, variant)

    ours, theirs = after("mujoco"), after("warp")
    np.testing.assert_array_equal(theirs.variant, variant)
    np.testing.assert_allclose(theirs.qpos, ours.qpos, atol=1e-6)
    np.testing.assert_allclose(theirs.qvel, ours.qvel, atol=1e-4)
    nominal = jax.vmap(make_physics(toy_walker.model, CONFIG).reset)(
        qpos, jnp.zeros_like(ours.qvel)
    )
    nominal = jax.vmap(make_physics(toy_walker.model, CONFIG).step)(nominal, ctrl)
    assert np.all(np.abs(nominal.qvel - theirs.qvel).max(axis=1) > 1e-2)


def test_a_model_that_warp_cannot_simulate(toy_walker):
    pytest.importorskip("warp", reason="needs the `warp` extra")
    model = toy_walker.model.__copy__()
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    with pytest.raises(UserError, match=r"^physics_config.backend: .*MIDPHASE"):
        make_physics(model, CONFIG, "warp")


def test_without_the_extra_one_line_says_how_to_get_it(toy_walker, monkeypatch):
    monkeypatch.setitem(sys.modules, "warp", None)
    with pytest.raises(
        UserError, match=r"^physics_config.backend: .*`uv sync --inexact --extra warp`"
    ) as info:
        make_physics(toy_walker.model, CONFIG, "warp")
    assert "\n" not in str(info.value)


def test_sizes_met_are_those_of_mujoco(toy_walker, qpos):
    model = toy_walker.model
    sizes = counted(model, np.asarray(qpos))
    np.testing.assert_array_equal(sizes.contacts, [4, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(sizes.rows, [16, 0, 0, 0, 0, 0])
    bound = largest_possible(model)  # and four joints have limits
    assert (bound.contacts, bound.rows) == (4, 16 + 4)


def test_sizes_of_the_rodent(rodent):
    """The numbers that MJX-JAX derives from the same model: 30 points, 67 limits."""
    bound = largest_possible(rodent.model)
    assert (bound.contacts, bound.rows) == (30, 30 * 4 + 67)


PAIRS = """<mujoco><worldbody>
  <geom name="floor" type="plane" size="1 1 1"/>
  <body name="a" pos="0 0 1"><freejoint/><geom type="{a}" size="{size}" mass="1"/>
    <body name="b" pos="0 0 .3"><joint type="hinge" range="-1 1"/>
      <geom type="{b}" size="{size}" mass="1" condim="{condim}"/></body></body>
</worldbody>{more}</mujoco>"""


@pytest.mark.parametrize(
    ("a", "b", "condim", "more", "contacts", "rows"),
    [
        ("sphere", "capsule", 3, "", 1 + 2, 3 * 4 + 1),  # a and b are parent and child
        (
            "box",
            "cylinder",
            1,
            "",
            8 + 4,
            12 * 4 + 1,
        ),  # the floor's condim is 3, and the larger counts
        ("ellipsoid", "sphere", 6, "", 1 + 1, 4 + 10 + 1),
        ("ellipsoid", "sphere", 3, '<option cone="elliptic"/>', 1 + 1, 3 + 3 + 1),
        ("sphere", "box", 3, '<option><flag filterparent="disable"/></option>', 1 + 8 + 1, 41),
        (
            "sphere",
            "sphere",
            3,
            '<contact><exclude body1="a" body2="world"/></contact>'
            '<equality><weld body1="a" body2="b"/><joint joint1="j"/></equality>',
            1,
            4 + 1 + 6 + 1,
        ),
    ],
)
def test_the_bound_counts_what_may_touch(a, b, condim, more, contacts, rows):
    text = PAIRS.format(a=a, b=b, size=".1 .1 .1", condim=condim, more=more)
    text = text.replace('type="hinge"', 'name="j" type="hinge"')
    bound = largest_possible(mujoco.MjModel.from_xml_string(text))
    assert (bound.contacts, bound.rows) == (contacts, rows)
