"""One pose and one control through every back end: MuJoCo C in float64, the others in float32.

Where the solver converges they agree to float32's rounding. The few iterations of CG that track-mjx
trains with do not converge, above all from a cold start (of the rodent's acceleration 5 to 30 % is still
missing), and each back end stops at a point of its own, none closer than the others; so those tolerances
are wide. What was measured stands beside them.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from summed_time import summed_time

from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.contact_counts import counted

OTHERS = ("mjx", "warp")
TRACK_MJX = PhysicsConfig()  # CG, 5 iterations of 5
CONVERGED = PhysicsConfig(solver="newton", iterations=100, ls_iterations=50)


def make_other(walker, config, name):
    if name == "warp":
        pytest.importorskip("warp", reason="needs the `warp` extra")
    return make_physics(walker.model, config, name)


@pytest.fixture(scope="module")
def toy_poses(toy_walker):
    """Standing, 2 mm deep in the floor, on the edges of its feet, beyond two joints' limits, falling."""
    poses = np.tile(toy_walker.model.qpos0, (5, 1)).astype(np.float32)
    poses[:2, 2] -= [0.0002, 0.002]
    poses[2, 2:7] = [0.006, np.cos(0.15), np.sin(0.15), 0.0, 0.0]
    poses[3, 2], poses[3, 7:9] = -0.003, [0.9, -0.85]
    poses[4, 2] += 0.05
    sizes = counted(toy_walker.model, poses)
    np.testing.assert_array_equal(sizes.contacts, [4, 4, 2, 2, 0])
    assert sizes.rows[3] == 2 * 4 + 2
    return poses


@pytest.fixture(scope="module")
def toy_start(toy_walker, toy_poses):
    """The poses at rest, as MuJoCo C resets them, and random controls."""
    num, model = len(toy_poses), toy_walker.model
    state = jax.vmap(make_physics(model, TRACK_MJX).reset)(toy_poses, jnp.zeros((num, model.nv)))
    return state, jax.random.uniform(jax.random.key(0), (num, model.nu), minval=-1.0)


@pytest.fixture(scope="module", params=OTHERS)
def converged(request, toy_walker):
    """Another back end's control step with `CONVERGED`, compiled once."""
    return jax.jit(jax.vmap(make_other(toy_walker, CONVERGED, request.param).step))


def largest_difference(ours, theirs, field):
    return float(np.abs(getattr(ours, field) - getattr(theirs, field)).max())


def assert_close(ours, theirs, tolerances):
    """Fields within `tolerances`; what no contact acts upon within float32's rounding."""
    found = {field: largest_difference(ours, theirs, field) for field in tolerances}
    assert all(found[field] <= tolerances[field] for field in found), found
    np.testing.assert_allclose(ours.act, theirs.act, atol=2e-7)
    np.testing.assert_array_equal(ours.time, theirs.time)
    assert not np.any(ours.diverged) and not np.any(theirs.diverged)


@pytest.mark.parametrize("name", OTHERS)
def test_a_reset(toy_walker, toy_poses, name):
    ours, theirs = (
        make_physics(toy_walker.model, TRACK_MJX),
        make_other(toy_walker, TRACK_MJX, name),
    )
    qvel = jax.random.normal(jax.random.key(1), (len(toy_poses), toy_walker.model.nv))
    ours = jax.vmap(ours.reset)(toy_poses, qvel)
    theirs = jax.jit(jax.vmap(theirs.reset))(toy_poses, qvel)
    for field in ("qpos", "qvel", "act", "qacc_warmstart", "time", "diverged"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)
    for field in ("xpos", "xmat", "qfrc_actuator", "sensordata"):
        np.testing.assert_allclose(
            getattr(ours, field), getattr(theirs, field), atol=1e-6, err_msg=field
        )


@pytest.mark.parametrize("name", ["mujoco", *OTHERS])
def test_a_reset_with_activations(toy_walker, toy_poses, name):
    """Everything derived, actuator forces above all, is that of a plain forward pass of MuJoCo."""
    physics = make_other(toy_walker, TRACK_MJX, name)
    model, num = physics.model, len(toy_poses)
    qvel_key, act_key = jax.random.split(jax.random.key(2))
    qvel = jax.random.normal(qvel_key, (num, model.nv))
    act = jax.random.uniform(act_key, (num, model.na), minval=-1.0)
    reset = jax.jit(jax.vmap(lambda qpos, qvel, act: physics.reset(qpos, qvel, act=act)))
    found = reset(toy_poses, qvel, act)
    np.testing.assert_array_equal(found.act, act)
    assert not found.diverged.any()
    data = mujoco.MjData(model)
    for row in range(num):
        data.qpos[:], data.qvel[:], data.act[:] = toy_poses[row], qvel[row], act[row]
        mujoco.mj_forward(model, data)
        assert np.abs(data.qfrc_actuator).max() > 0.01
        for field in ("qpos", "qvel", "xpos", "xmat", "qfrc_actuator"):
            values = getattr(found, field)[row]
            expected = getattr(data, field).reshape(values.shape)
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6, err_msg=field)


@pytest.mark.slow
def test_a_step_whose_solver_converges(toy_walker, toy_start, converged):
    """Measured: 1e-7, 3e-6 (of 21), 1e-8, 2e-7."""
    ours = jax.vmap(make_physics(toy_walker.model, CONVERGED).step)(*toy_start)
    tolerances = {"qpos": 5e-7, "qvel": 2e-5, "xpos": 1e-7, "xmat": 2e-6}
    assert_close(ours, converged(*toy_start), tolerances)


def test_time_is_the_float32_sum_of_the_substeps(toy_start, converged):
    """Bit by bit over an episode: upstream's frame index needs it."""
    (state, ctrl), times = toy_start, []
    for _ in range(195):
        state = converged(state, 0.0 * ctrl)
        times.append(state.time)
    expected = summed_time(CONVERGED, len(times))
    np.testing.assert_array_equal(times, np.tile(expected, (len(ctrl), 1)).T)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_step_of_track_mjx(toy_walker, toy_start, name):
    """Measured: MJX-JAX 3e-4, 2e-2 (of 21), 1e-5, 4e-4; Warp 6e-4, 9e-3, 2e-5, 9e-4."""
    ours = jax.vmap(make_physics(toy_walker.model, TRACK_MJX).step)(*toy_start)
    theirs = jax.jit(jax.vmap(make_other(toy_walker, TRACK_MJX, name).step))(*toy_start)
    tolerances = {"qpos": 2e-3, "qvel": 6e-2, "xpos": 1e-4, "xmat": 3e-3}
    assert_close(ours, theirs, tolerances)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_divergence_is_contained_and_flagged(toy_start, converged, value):
    state, ctrl = toy_start
    after = converged(state.replace(qvel=state.qvel.at[3, 2].set(value)), ctrl)
    assert_contained(after, converged(state, ctrl), 3)


def test_a_control_that_is_nan_diverges(toy_start, converged):
    state, ctrl = toy_start
    assert_contained(converged(state, ctrl.at[2, 0].set(jnp.nan)), converged(state, ctrl), 2)


def assert_contained(found, clean, diverged):
    """Simulation `diverged` is flagged and zero, and all others are what they are without it."""
    others = np.arange(len(found.time)) != diverged
    np.testing.assert_array_equal(found.diverged, ~others)
    assert not any(np.any(leaf) for leaf in (found.qpos[diverged], found.xpos[diverged]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[others], y[others]), found, clean)


@pytest.fixture(scope="module")
def rodent_states(rodent):
    """64 frames of the bundled clips, most with 8 to 12 contacts, at rest."""
    qpos = np.asarray(read_clips(DEMO_CLIPS, rodent).qpos())
    poses = qpos[np.linspace(0, len(qpos) - 1, 64).astype(int)]
    physics = make_physics(rodent.model, replace(CONVERGED, num_substeps=1))
    return jax.vmap(physics.reset)(poses, jnp.zeros((len(poses), rodent.model.nv)))


def missing(physics, states):
    """Relative error of each state's acceleration to the solution of the constraints, in one substep."""
    ctrl = jnp.zeros((len(states.qpos), physics.model.nu))
    exact = make_physics(physics.model, replace(CONVERGED, num_substeps=1))
    exact = np.asarray(jax.vmap(exact.step)(states, ctrl).qacc_warmstart)
    found = np.asarray(jax.jit(jax.vmap(physics.step))(states, ctrl).qacc_warmstart)
    return np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_the_rodent_accelerates_alike(rodent, rodent_states, name):
    """With as many iterations of CG as it takes. MJX, in float32: 9 of 10 states at 7e-4, one at 1.3e-3.

    The clips bundled before had one state at 3.3e-3.
    """
    config = replace(TRACK_MJX, num_substeps=1, iterations=100, ls_iterations=50)
    found = missing(make_other(rodent, config, name), rodent_states)
    assert np.quantile(found, 0.9) < 1e-3 and found.max() < 5e-3


@pytest.mark.slow
def test_five_iterations_leave_the_rodent_as_far_from_there(rodent, rodent_states):
    """Measured: 0.11 by MuJoCo C and 0.13 by Warp, in the mean."""
    config = replace(TRACK_MJX, num_substeps=1)
    theirs = missing(make_other(rodent, config, "warp"), rodent_states).mean()
    ours = missing(make_physics(rodent.model, config), rodent_states).mean()
    assert 0.02 < ours < 0.3 and 0.5 < theirs / ours < 2.0, (ours, theirs)
