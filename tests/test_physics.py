"""The back end of MuJoCo C: pure, contained, and in agreement with `mj_step`.

The others, against it: `test_backend_parity.py`, `test_warp.py`.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from compiling import jit_as_user
from summed_time import summed_time

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.base import configure_model

CONFIG = PhysicsConfig(num_substeps=5, solver="newton", iterations=20, ls_iterations=20)
EPISODE_STEPS = 400


@pytest.fixture(scope="module")
def toy(toy_walker):
    return make_physics(toy_walker.model, CONFIG)


def start(physics, num: int, seed: int = 0):
    key = jax.random.key(seed)
    qpos = jnp.tile(jnp.asarray(physics.model.qpos0, jnp.float32), (num, 1))
    qpos = qpos.at[:, 7:].add(0.1 * jax.random.normal(key, (num, physics.model.nq - 7)))
    return jax.vmap(physics.reset)(qpos, jnp.zeros((num, physics.model.nv)))


def roll(physics, state, num_steps: int, scale: float = 0.5, seed: int = 1):
    num = state.time.shape[0]

    def body(state, key):
        ctrl = jax.random.uniform(key, (num, physics.model.nu), minval=-scale, maxval=scale)
        state = jax.vmap(physics.step)(state, ctrl)
        return state, state.qpos

    return jax.jit(
        lambda s: jax.lax.scan(body, s, jax.random.split(jax.random.key(seed), num_steps))
    )(state)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_one_step_is_mj_step(toy):
    state = start(toy, 1)
    ctrl = jnp.full((1, toy.model.nu), 0.3)
    stepped = jax.vmap(toy.step)(state, ctrl)
    model = configure_model(toy.model, CONFIG)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = state.qpos[0], state.qvel[0]
    data.act[:], data.qacc_warmstart[:] = state.act[0], state.qacc_warmstart[0]
    data.ctrl[:] = ctrl[0]
    for _ in range(CONFIG.num_substeps):
        mujoco.mj_step(model, data)
    for name in ("qpos", "qvel", "act", "xpos", "qfrc_actuator"):
        np.testing.assert_allclose(
            getattr(stepped, name)[0], getattr(data, name), rtol=1e-6, atol=1e-6, err_msg=name
        )
    np.testing.assert_allclose(stepped.time[0], CONFIG.control_timestep, rtol=1e-6)


@pytest.mark.parametrize("timestep", [0.002, 0.001])
def test_time_is_the_float32_sum_of_the_substeps(toy_walker, timestep):
    """Bit by bit over an episode of a compiled program, as upstream's frame index needs it."""
    config = replace(CONFIG, num_substeps=10, timestep=timestep)
    physics = make_physics(toy_walker.model, config)

    def body(state, _):
        state = jax.vmap(physics.step)(state, jnp.zeros((2, physics.model.nu)))
        return state, state.time

    start_state = start(physics, 2)
    _, times = jit_as_user(lambda s: jax.lax.scan(body, s, length=EPISODE_STEPS))(start_state)
    np.testing.assert_array_equal(times, np.tile(summed_time(config, EPISODE_STEPS), (2, 1)).T)


def test_sensors_change_nothing_else(toy, toy_walker):
    seeing = make_physics(toy_walker.model, replace(CONFIG, sensors=True))
    blind, _ = roll(toy, start(toy, 4), 10)
    sensed, _ = roll(seeing, start(seeing, 4), 10)
    assert np.any(sensed.sensordata) and not np.any(blind.sensordata)
    assert_identical(sensed.replace(sensordata=blind.sensordata), blind)


def test_threads_do_not_change_a_bit(toy_walker):
    results = []
    for num_threads in (1, 2, 3):
        physics = make_physics(toy_walker.model, CONFIG, num_threads=num_threads)
        results.append(roll(physics, start(physics, 17), 20))
    assert_identical(results[0], results[1])
    assert_identical(results[0], results[2])


def test_batch_size_does_not_change_a_bit(toy):
    ctrl = 0.2 * jnp.ones((6, toy.model.nu))
    many = jax.vmap(toy.step)(start(toy, 6), ctrl)
    few = jax.vmap(toy.step)(jax.tree.map(lambda x: x[2:4], start(toy, 6)), ctrl[:2])
    assert_identical(jax.tree.map(lambda x: x[2:4], many), few)


def test_nested_vmap_and_single(toy):
    state = start(toy, 6)
    ctrl = jnp.zeros((6, toy.model.nu))
    flat = jax.vmap(toy.step)(state, ctrl)
    nested = jax.vmap(jax.vmap(toy.step))(
        jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), (state, ctrl))[0],
        ctrl.reshape(2, 3, -1),
    )
    assert_identical(flat, jax.tree.map(lambda x: x.reshape(6, *x.shape[2:]), nested))
    single = toy.step(jax.tree.map(lambda x: x[4], state), ctrl[4])
    assert_identical(jax.tree.map(lambda x: x[4], flat), single)


def test_state_in_state_out(toy):
    """Continuing from a copied state, after other work on the same back end, changes nothing."""
    state, _ = roll(toy, start(toy, 4), 5)
    saved = jax.tree.map(np.array, state)
    direct, _ = roll(toy, state, 5, seed=2)
    roll(toy, start(toy, 4, seed=9), 3)
    resumed, _ = roll(toy, jax.tree.map(jnp.asarray, saved), 5, seed=2)
    assert_identical(direct, resumed)


def test_masked_reset_pays_only_for_what_it_resets(toy, toy_walker, monkeypatch):
    forwarded = []

    class CountingBatch(mujoco.batch.Batch):
        def forward(self, ids):
            forwarded.append(len(ids))
            super().forward(ids=ids)

    state = start(toy, 8)
    monkeypatch.setattr(mujoco.batch, "Batch", CountingBatch)
    where = jnp.arange(8) % 4 == 1
    counted = make_physics(toy_walker.model, CONFIG)
    fresh = jax.vmap(counted.reset)(state.qpos, state.qvel, where)
    assert forwarded == [2]
    full = jax.vmap(toy.reset)(state.qpos, state.qvel)
    picked = jax.tree.map(lambda x: x[where], (fresh, full))
    assert_identical(*picked)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_divergence_is_contained_and_flagged(toy, tmp_path, monkeypatch, capfd, value):
    monkeypatch.chdir(tmp_path)
    state = start(toy, 5)
    clean = jax.vmap(toy.step)(state, jnp.zeros((5, toy.model.nu)))
    broken = state.replace(qvel=state.qvel.at[3, 2].set(value))
    stepped = jax.vmap(toy.step)(broken, jnp.zeros((5, toy.model.nu)))
    np.testing.assert_array_equal(stepped.diverged, [False, False, False, True, False])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(stepped))
    assert not np.any(stepped.qpos[3])
    others = jnp.array([0, 1, 2, 4])
    assert_identical(
        jax.tree.map(lambda x: x[others], (stepped, clean))[0],
        jax.tree.map(lambda x: x[others], clean),
    )
    captured = capfd.readouterr()
    assert "WARNING" not in captured.out + captured.err
    assert not list(tmp_path.iterdir())
