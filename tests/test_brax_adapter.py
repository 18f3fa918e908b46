"""The imitation task as brax and MuJoCo Playground see it, and brax's own PPO on it."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_run import toy_task
from toy_student import untrained_student

from vnl_mjx.compat.brax_env import (
    BraxImitationEnv,
    BraxTaskEnv,
    PlaygroundImitationEnv,
    PlaygroundTaskEnv,
    wrap_for_training,
)
from vnl_mjx.config.imitation import TerminationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.student import Student
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.downstream.joystick import Joystick
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.tasks.imitation import ImitationTask

NUM_ENVS = 6
# Compiling is most of what these tests do.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def keys(num: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.PRNGKey(seed), num)


@pytest.fixture(scope="module")
def task(toy_config, toy_walker) -> ImitationTask:
    # So that some episodes fail, and others meet the end of their clip.
    config = replace(
        toy_task(toy_config),
        start_frame_range=30,
        episode_frames=25,
        termination=TerminationConfig(healthy_z_range=(0.02, 0.5), max_joint_error=0.2),
    )
    return ImitationTask(
        config, toy_walker, make_physics(toy_walker.model, config.physics, num_threads=1)
    )


@pytest.fixture(scope="module")
def brax(task, toy_clips) -> SimpleNamespace:
    """brax's own modules, after the adapter has loaded brax quietly."""
    BraxImitationEnv(task, toy_clips)
    from brax import envs
    from brax.envs.wrappers import training as wrappers
    from brax.training import acting
    from brax.training.acme import running_statistics
    from brax.training.agents.ppo import losses, networks

    return SimpleNamespace(
        envs=envs,
        wrappers=wrappers,
        acting=acting,
        running_statistics=running_statistics,
        losses=losses,
        networks=networks,
    )


def unrolled(env, num_steps: int, num_envs: int = NUM_ENVS):
    """States [num_steps + 1, num_envs, ...] while every actuator pushes one way."""
    push = jax.random.choice(
        jax.random.PRNGKey(1), jnp.array([-1.0, 1.0]), (num_envs, env.action_size)
    )

    @quick_jit
    def run(keys):
        def step(state, _):
            state = env.step(state, push)
            return state, state

        state = env.reset(keys)
        _, states = jax.lax.scan(step, state, length=num_steps)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), state, states)

    return jax.tree.map(np.asarray, run(keys(num_envs)))


@pytest.fixture(scope="module")
def fresh_states(task, toy_clips, brax):
    """A run that starts again freshly, and its environment."""
    env = wrap_for_training(BraxImitationEnv(task, toy_clips))
    return unrolled(env, 70)


def test_importing_the_adapter_loads_no_brax():
    code = "import sys, vnl_mjx.compat.brax_env; print('brax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_it_is_a_brax_environment(task, toy_clips, brax):
    env = BraxImitationEnv(task, toy_clips)
    assert isinstance(env, brax.envs.Env) and env.unwrapped is env
    state = jax.eval_shape(env.reset, jax.random.PRNGKey(0))
    assert isinstance(state, brax.envs.State)
    assert state.obs.shape == (env.observation_size,)
    assert env.action_size == 4 and env.dt == pytest.approx(0.01)
    assert env.backend == "MujocoBatchPhysics"
    stepped = jax.eval_shape(env.step, state, jnp.zeros(env.action_size))
    assert jax.tree.structure(stepped) == jax.tree.structure(state)
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in (state, stepped)]
    assert shapes[0] == shapes[1]


def test_it_steps_as_the_task_does(task, toy_clips):
    env = BraxImitationEnv(task, toy_clips, auto_reset=False)
    key, action = jax.random.PRNGKey(3), jnp.full(env.action_size, 0.3)

    def both(key):
        state, own = env.reset(key), task.reset(key, toy_clips)
        for _ in range(3):
            state = env.step(state, action)
            own, outcome = task.step(own, action, toy_clips)
        return state, own, outcome, task.observe(own, toy_clips).flat()

    state, own, outcome, obs = quick_jit(both)(key)
    jax.tree.map(np.testing.assert_array_equal, state.pipeline_state, own)
    np.testing.assert_array_equal(state.obs, obs)
    assert state.reward == outcome.reward > 0
    np.testing.assert_array_equal(state.metrics["joint_reward"], outcome.terms["joint_reward"])
    assert set(state.metrics) == {*outcome.terms, *(f"failed_{name}" for name in outcome.failures)}


def test_the_end_of_a_clip_is_a_truncation_and_starts_a_fresh_episode(task, fresh_states):
    states = fresh_states
    done, truncation = states.done > 0, states.info["truncation"] > 0
    failed = np.stack([v > 0 for k, v in states.metrics.items() if k.startswith("failed_")]).any(0)
    assert truncation.any() and failed.any()
    np.testing.assert_array_equal(done, truncation | failed)
    assert not (truncation & failed).any()
    # After the end, the environment is at the first step of another episode.
    now = states.pipeline_state
    assert (now.num_steps[done] == 0).all() and (now.num_steps[1:][~done[1:]] > 0).all()
    assert (now.physics.time[done] == 0).all()
    assert len(set(zip(now.clip[done], now.start_frame[done], strict=True))) > 5
    assert states.info["steps"].max() <= task.max_episode_steps == 50


def test_sums_are_those_of_one_episode(fresh_states):
    states = fresh_states
    total, length = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS)
    sums = states.info["episode_metrics"]
    for t in range(1, len(states.reward)):
        total = total + states.reward[t]
        length = length + 1
        np.testing.assert_allclose(sums["sum_reward"][t], total, rtol=1e-5)
        np.testing.assert_array_equal(sums["length"][t], length)
        np.testing.assert_array_equal(states.info["steps"][t], length)
        ended = states.done[t] > 0
        total, length = np.where(ended, 0, total), np.where(ended, 0, length)
    np.testing.assert_array_equal(states.info["episode_done"], states.done)


def test_braxs_own_wrappers_return_to_the_first_state(task, toy_clips, brax):
    """The other convention. Their episode wrapper does not keep the environment's truncation."""
    env = brax.wrappers.wrap(BraxImitationEnv(task, toy_clips, auto_reset=False), 20)
    states = unrolled(env, 40)
    done = states.done > 0
    assert done.any(axis=0).all()
    first = states.pipeline_state.physics.qpos[0]
    for t, i in np.argwhere(done):
        np.testing.assert_array_equal(states.pipeline_state.physics.qpos[t, i], first[i])
        np.testing.assert_array_equal(states.obs[t, i], states.obs[0, i])
    steps = states.info["steps"]
    np.testing.assert_array_equal(states.info["truncation"][done], (steps >= 20)[done])
    assert ((steps < 20) & done).any()


def test_an_episode_length_truncates_earlier_and_braxs_evaluation_counts_the_first(
    task, toy_clips, brax
):
    env = brax.wrappers.EvalWrapper(wrap_for_training(BraxImitationEnv(task, toy_clips), 4))
    states = unrolled(env, 10)
    steps, done = states.info["steps"], states.done > 0
    failed = done & (states.info["truncation"] == 0)
    np.testing.assert_array_equal(states.info["truncation"] > 0, (steps == 4) & ~failed)
    assert steps.max() == 4 and done[steps == 4].all()

    last = jax.tree.map(lambda x: x[-1], states.info["eval_metrics"])
    assert (last.active_episodes == 0).all()
    first_end = done.argmax(axis=0)
    np.testing.assert_array_equal(last.episode_steps, first_end)
    for i, end in enumerate(first_end):
        expected = states.reward[1 : end + 1, i].sum()
        np.testing.assert_allclose(last.episode_metrics["reward"][i], expected, rtol=1e-5)


def test_a_diverged_simulation_fails_and_stays_alone(task, toy_clips):
    env = wrap_for_training(BraxImitationEnv(task, toy_clips))
    start = quick_jit(env.reset)(keys(3))
    good = jnp.zeros((3, env.action_size))
    step = quick_jit(env.step)
    bad, expected = step(start, good.at[1].set(jnp.nan)), step(start, good)
    np.testing.assert_array_equal(bad.metrics["failed_nan"], [0, 1, 0])
    assert bad.done[1] == 1 and bad.info["truncation"][1] == 0 and bad.reward[1] == 0
    assert jnp.isfinite(bad.obs).all()
    for row in (0, 2):
        np.testing.assert_array_equal(bad.obs[row], expected.obs[row])


@pytest.mark.slow
def test_brax_trains_its_own_networks_on_it(task, toy_clips, brax):
    """Some updates with brax's rollout, networks, statistics and loss."""
    env = wrap_for_training(BraxImitationEnv(task, toy_clips), episode_length=20)
    stats, unroll_length = brax.running_statistics, 8
    networks = brax.networks.make_ppo_networks(
        env.observation_size, env.action_size, stats.normalize, (16,), (16,)
    )
    make_policy = brax.networks.make_inference_fn(networks)
    policy_key, value_key, key = jax.random.split(jax.random.PRNGKey(0), 3)
    params = brax.losses.PPONetworkParams(
        networks.policy_network.init(policy_key), networks.value_network.init(value_key)
    )
    optimizer = optax.adam(1e-2)

    @quick_jit
    def update(params, opt_state, normalizer, state, key):
        act_key, loss_key = jax.random.split(key)
        policy = make_policy((normalizer, params.policy, params.value))
        state, data = brax.acting.generate_unroll(
            env, state, policy, act_key, unroll_length, extra_fields=("truncation",)
        )
        normalizer = stats.update(normalizer, data.observation)
        data = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), data)

        def loss(params):
            return brax.losses.compute_ppo_loss(
                params, normalizer, data, loss_key, networks, reward_scaling=0.1
            )

        grads, metrics = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        params = optax.apply_updates(params, updates)
        return params, opt_state, normalizer, state, metrics

    state = quick_jit(env.reset)(keys(16))
    normalizer, opt_state = (
        stats.init_state(jnp.zeros(env.observation_size)),
        optimizer.init(params),
    )
    before, value_losses = params, []
    for step_key in jax.random.split(key, 20):
        params, opt_state, normalizer, state, metrics = update(
            params, opt_state, normalizer, state, step_key
        )
        assert np.isfinite(metrics["total_loss"])
        value_losses.append(float(metrics["v_loss"]))
    assert np.mean(value_losses[-3:]) < 0.5 * value_losses[0]
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), before, params)
    assert min(jax.tree.leaves(moved)) > 0
    assert np.isfinite(normalizer.mean).all()


def test_it_has_the_interface_of_playground(task, toy_clips, brax):
    env = PlaygroundImitationEnv(task, toy_clips, observation="parts", auto_reset=False)
    assert (env.n_substeps, env.sim_dt) == (5, 0.002)
    assert env.mjx_model.nu == env.mj_model.nu == env.action_size
    assert env.xml_path.endswith("toy_walker.xml")
    start = quick_jit(env.reset)(jax.random.PRNGKey(0))
    assert {k: v.shape for k, v in start.obs.items()} == env.observation_size
    fields = {"data", "obs", "reward", "done", "metrics", "info"}
    assert set(start.__dataclass_fields__) == fields
    stepped = quick_jit(env.step)(start, jnp.zeros(env.action_size))
    assert stepped.data.num_steps == 1 and stepped.data.physics.qpos.shape == (env.mj_model.nq,)
    # Playground batches and limits with brax's wrappers.
    wrapped = brax.wrappers.EpisodeWrapper(brax.wrappers.VmapWrapper(env), 3, 1)
    states = unrolled(wrapped, 3, num_envs=2)
    np.testing.assert_array_equal(states.info["truncation"][-1], 1)
    assert states.obs["reference"].shape == (4, 2, *env.observation_size["reference"])


@pytest.mark.slow
def test_any_task_will_do(task, toy_clips, brax):
    """One in the latent space of a student: other parts, other actions, another state."""
    low_level = LowLevel.of(Student(*untrained_student(task)))
    joystick = DownstreamTask(Joystick(), task, low_level, episode_s=0.05)
    data = DownstreamData(low_level, toy_clips)
    env = BraxTaskEnv(joystick, data)
    assert (env.action_size, env.dt) == (3, pytest.approx(0.01))
    assert env.observation_size == sum(joystick.observation_sizes.values())
    states = unrolled(wrap_for_training(env, episode_length=4), 9)
    assert states.obs.shape == (10, NUM_ENVS, env.observation_size)
    assert {"speed", "turn", "failed_fall"} <= set(states.metrics)
    # Episodes end as their length says, and the count begins anew.
    done, steps = states.done > 0, states.info["steps"]
    np.testing.assert_array_equal(states.info["truncation"][done], 1)
    np.testing.assert_array_equal(
        steps[1:], np.resize([1, 2, 3, 4], 9)[:, None] * np.ones(NUM_ENVS)
    )
    np.testing.assert_array_equal(done[1:], steps[1:] == 4)
    np.testing.assert_array_equal(states.pipeline_state.num_steps[done], 0)
    playground = PlaygroundTaskEnv(joystick, data, observation="parts", auto_reset=False)
    assert playground.observation_size == {"goal": (4,), "body": (env.observation_size - 4,)}
    assert playground.xml_path.endswith("toy_walker.xml") and playground.n_substeps == 5


def test_what_cannot_be_is_refused(task, toy_clips, toy_motion):
    own = BraxImitationEnv(task, toy_clips)
    with pytest.raises(ValueError, match="auto_reset"):
        wrap_for_training(BraxImitationEnv(task, toy_clips, auto_reset=False))
    with pytest.raises(ValueError, match="auto_reset"):
        BraxImitationEnv(task, toy_clips, auto_reset=False, episode_length=5)
    with pytest.raises(ValueError, match="action_repeat=2"):
        wrap_for_training(own, 10, action_repeat=2)
    with pytest.raises(ValueError, match="observation"):
        BraxImitationEnv(task, toy_clips, observation="pixels")
    with pytest.raises(UserError, match="25 Hz"):
        BraxImitationEnv(task, toy_motion.replace(rate_hz=25.0))
