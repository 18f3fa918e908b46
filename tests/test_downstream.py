"""Tasks in the latent space of a student: what an action is, what is measured, and what does not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vnl_mjx
from vnl_mjx.tasks.downstream.goal import Frame, Motion
from vnl_mjx.tasks.downstream.joystick import Joystick
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import AVERAGED_S, DownstreamData, DownstreamTask
from vnl_mjx.tasks.environment import VectorEnvironment

NUM_ENVS = 6


@pytest.fixture(scope="module")
def loaded(distilled):
    return vnl_mjx.load(distilled[0] / "run")


def environment(loaded, mode="prior_decoder", residual="sigma_ball"):
    low_level = LowLevel.of(loaded.student, mode, residual)
    task = DownstreamTask(Joystick(), loaded.env.task, low_level)
    return VectorEnvironment(task), DownstreamData(low_level, loaded.clips)


def motion(forward=0.0, sideways=0.0, turning=0.0):
    return Motion(Frame(jnp.zeros(3), jnp.eye(3)), forward, sideways, turning)


def bodies(loaded):
    size = loaded.env.observation_sizes["proprioception"]
    return jax.random.normal(jax.random.key(0), (50, size))


def test_no_action_is_the_mean_of_the_prior(loaded):
    body, student = bodies(loaded), loaded.student
    zeros = jnp.zeros((50, student.latent_dim))
    expected = student.decode(body, student.prior(body).mode())
    for residual in ("sigma_ball", "tanh", "none"):
        control, distance = LowLevel.of(student, residual=residual).control(body, zeros)
        np.testing.assert_allclose(control, expected, atol=1e-6)
        np.testing.assert_allclose(distance, 0.0, atol=1e-5)


def test_the_ball_holds_what_the_others_do_not(loaded):
    body, student = bodies(loaded), loaded.student
    action = 0.9999 * jnp.sign(jax.random.normal(jax.random.key(1), (50, student.latent_dim)))
    ball = LowLevel.of(student)
    # 95 % of the draws of a standard normal of this size are within it
    drawn = np.linalg.norm(
        np.random.default_rng(0).normal(size=(20_000, student.latent_dim)), axis=1
    )
    assert np.mean(drawn < ball.radius) == pytest.approx(0.95, abs=0.01)
    _, distance = ball.control(body, action)
    assert np.all(distance <= ball.radius * (1 + 1e-4))
    _, free = LowLevel.of(student, residual="none").control(body, action)
    assert np.all(free > ball.radius)
    _, latent = LowLevel.of(student, "decoder_only").control(body, action)
    assert np.all(latent > ball.radius)
    control, nothing = LowLevel.of(student, "scratch").control(body, action)
    assert control is action and not nothing.any()


@pytest.mark.parametrize("mode", ["prior_decoder", "decoder_only", "scratch"])
def test_it_runs_and_the_student_stays(loaded, mode):
    env, data = environment(loaded, mode)
    before = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(data)]
    is_scratch = mode == "scratch"
    assert env.action_size == (4 if is_scratch else loaded.student.latent_dim)
    state = jax.jit(env.reset, static_argnums=1)(jax.random.key(0), NUM_ENVS, data)
    actions = jax.random.uniform(
        jax.random.key(1), (30, NUM_ENVS, env.action_size), minval=-1, maxval=1
    )

    @jax.jit
    def roll(state, actions, data):
        def step(state, action):
            state, outcome = env.step(state, action, data)
            return env.reset_finished(state, outcome, data), (outcome, env.observe(state, data))

        return jax.lax.scan(step, state, actions)

    _, (outcome, seen) = roll(state, actions, data)
    assert np.isfinite(outcome.reward).all() and np.isfinite(seen.flat()).all()
    assert {"speed_error_m_per_s", "turn_error_rad_per_s"} <= outcome.distances.keys()
    assert ("beyond_prior" in outcome.distances) is not is_scratch
    np.testing.assert_allclose(outcome.reward, sum(outcome.terms.values()), rtol=1e-5, atol=1e-6)
    assert [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(data)] == before


def test_an_episode_begins_as_a_clip_moves(loaded):
    env, data = environment(loaded)
    state = env.reset(jax.random.key(3), NUM_ENVS, data)
    rows = np.asarray(loaded.clips.qpos())
    for qpos, qvel, pace in zip(state.physics.qpos, state.physics.qvel, state.pace, strict=True):
        row = np.argmin(np.abs(rows - qpos).sum(1))
        np.testing.assert_allclose(qpos, rows[row], atol=1e-6)
        np.testing.assert_array_equal(pace[0], pace[1])
        assert np.hypot(pace[1, 0], pace[1, 1]) == pytest.approx(
            np.hypot(qvel[0], qvel[1]), abs=1e-5
        )


def test_speed_is_along_the_heading_and_averaged(loaded):
    env, data = environment(loaded)
    task = env.task
    state = jax.vmap(lambda key: task.reset(key, data))(jax.random.split(jax.random.key(0), 1))
    one = jax.tree.map(lambda leaf: leaf[0], state)
    turned = jnp.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # faces +y
    qvel = jnp.zeros_like(one.physics.qvel).at[:2].set(jnp.array([0.1, 0.3])).at[5].set(2.0)
    xmat = jnp.broadcast_to(turned, one.physics.xmat.shape)
    one = one.replace(pace=jnp.zeros((2, 3)), physics=one.physics.replace(qvel=qvel, xmat=xmat))
    share = task.control_timestep / AVERAGED_S
    once = share * np.array([0.3, -0.1, 2.0])
    np.testing.assert_allclose(task._averaged(one), [once, share * once], rtol=1e-5)


def test_the_joystick_pays_for_what_is_commanded():
    task, goal = Joystick(), jnp.array([0.3, -0.5])
    perfect = task.terms(motion(0.3, 0.0, -0.5), goal)
    assert (perfect["speed"], perfect["turn"], perfect["sideways"]) == (1.0, 1.5, 0.0)
    standing = task.terms(motion(), goal)
    assert standing["speed"] == pytest.approx(np.exp(-2.5))
    measured = task.measures(motion(0.1, 0.0, 0.1), goal)
    assert measured["speed_error_m_per_s"] == pytest.approx(0.2)
    assert measured["turn_error_rad_per_s"] == pytest.approx(0.6)
    drawn = jax.vmap(lambda key: task.draw(key, None))(jax.random.split(jax.random.key(0), 2000))
    assert np.mean(~drawn.any(1)) == pytest.approx(0.1, abs=0.03)
    assert drawn[:, 0].max() < 0.4 and np.abs(drawn[:, 1]).max() < 1.0
