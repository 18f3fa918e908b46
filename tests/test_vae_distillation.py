"""The trainer on the toy walker: learning, freezing, containment, exact continuation."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_helpers import untrained_policy
from toy_trainers import TRAINING, toy_distillation

from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.tasks.vae_distillation import StudentPolicy
from vnl_mjx.training.metrics import interval_metrics
from vnl_mjx.training.optimizers import Adam, Averaged
from vnl_mjx.training.rollout import begin, rollout
from vnl_mjx.training.vae_distillation import VaeDistillation


@pytest.fixture(scope="module")
def toy(toy_walker, toy_clips):
    """Task, teacher and student on the toy walker."""
    return toy_distillation(toy_walker, toy_clips)


def trainer_of(toy, **changes) -> VaeDistillation:
    task, teacher, student, clips = toy
    return VaeDistillation(task, student, teacher, clips, replace(TRAINING, **changes))


@pytest.fixture(scope="module")
def trainer(toy) -> VaeDistillation:
    """One trainer, compiled once: it holds no state."""
    return trainer_of(toy)


def host(tree):
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)


def assert_identical(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_loss_falls_and_the_teacher_does_not_change_by_a_byte(toy, trainer):
    before = host(toy[1])
    state, results = trainer.init(0), []
    for _ in range(40):
        state, result = trainer.update(state)
        results.append(result)
    first, last = results[0].learning, results[-1].learning
    assert last.loss["action_mse"] < 0.3 * first.loss["action_mse"]
    assert_identical(host(trainer.teacher), before)
    row = interval_metrics(results, {"all": range(trainer.env.task.action_size)}, 128)
    assert all(np.isfinite(value) for value in row.values())
    assert row["episode/count"] > 0
    assert trainer.env_steps(state) == 40 * 128


@pytest.mark.slow
def test_the_learning_rate_falls_by_environment_steps_and_scales_what_is_learnt(toy, trainer):
    decay = ScheduleSection(1e-6, start=1e-3, start_step=128, end_step=384)
    falling = trainer_of(toy, learning_rate=decay)
    state, same = falling.init(0), trainer.init(0)
    rates, moved = [], []
    for number in range(4):
        before = host(state.params)
        state, result = falling.update(state)
        rates.append(float(result.learning.learning_rate))
        step = jax.tree.map(lambda new, old: np.abs(new - old).max(), host(state.params), before)
        moved.append(max(jax.tree.leaves(step)))
        if number == 0:  # as at the constant rate, but for rounding in another program
            same, _ = trainer.update(same)
            jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), state.params, same.params)
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 0.5 * (1e-3 + 1e-6), 1e-6], rtol=1e-5)
    assert moved[3] < 0.01 * moved[0]


@pytest.mark.slow
def test_the_average_is_kept_beside_what_is_learnt(toy):
    """By hand, with its growing decay; it is what is saved, and not what goes on learning."""
    averaged = trainer_of(toy, averaging=0.5)
    start = averaged.init(0)
    jax.tree.map(np.testing.assert_array_equal, averaged.learnt_student(start), start.params)
    adam, params, total = Averaged(Adam(1.0), 0.5), {"w": jnp.float32(0.0)}, 0.0
    state = adam.init(params)
    for n in range(1, 6):
        params, state = adam.step(params, state, {"w": jnp.float32(1.0)}, 0.1)
        decay = min(0.5, (1 + n) / (10 + n))
        total = decay * total + (1 - decay) * float(params["w"])
        np.testing.assert_allclose(state.average["w"], total, rtol=1e-6)
    moved, _ = averaged.update(start)
    student, params = host(averaged.learnt_student(moved)), host(moved.params)
    assert any(
        np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (student, params)), strict=True)
    )


@pytest.mark.slow
def test_gradient_of_the_loss_does_not_reach_the_teacher(toy):
    env, teacher, student, clips = toy
    key = jax.random.PRNGKey(0)
    state = jax.jit(env.reset, static_argnums=1)(key, 4, clips)
    params, observation = student.init(key), env.observe(state, clips)

    def total(teacher):
        policy = StudentPolicy(params, teacher, jnp.bool_(False), student)
        acted = policy.act(observation, policy.initial_memory(4), key)
        return jnp.sum(acted.extra.teacher_action) + jnp.sum(acted.extra.proprioception)

    grads = jax.grad(total, allow_int=True)(teacher)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_a_copied_state_continues_bit_for_bit(trainer):
    state, _ = trainer.update(trainer.init(3))
    saved = host(state)
    for _ in range(3):
        state, _ = trainer.update(state)
    resumed = jax.tree.map(jnp.asarray, saved)
    for _ in range(3):
        resumed, _ = trainer.update(resumed)
    assert_identical(host(state), host(resumed))


def test_a_seed_gives_the_same_run_and_another_seed_another(trainer):
    runs = [host(trainer.update(trainer.init(seed))[0].params) for seed in (1, 1, 2)]
    assert_identical(runs[0], runs[1])
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, runs[1:]), strict=True))


@pytest.mark.slow
def test_background_compilation_gives_the_same_update(toy, trainer):
    compiled = trainer_of(toy)
    compiled.start_compiling()
    a, _ = trainer.update(trainer.init(0))
    b, _ = compiled.update(compiled.init(0))
    assert_identical(host(a), host(b))


def test_teacher_acts_in_its_share_of_environments(toy):
    """With the teacher acting everywhere, what the student would do changes nothing of the rollout."""
    forcing = ScheduleSection(0.0, start=1.0, end_step=10**9)
    trainer = trainer_of(toy, teacher_fraction=forcing)
    rewards = []
    for seed in (0, 1):
        state = trainer.init(0)
        state = state.replace(params=trainer.student.init(jax.random.key(seed)))
        rewards.append(float(trainer.update(state)[1].rollout.reward))
    assert rewards[0] == rewards[1]


@pytest.mark.slow
def test_the_prior_acts_in_its_share_of_environments(toy):
    """With the prior acting everywhere, what the encoder says changes nothing of the rollout."""
    rewards = {}
    for fraction in (0.0, 1.0):
        trainer = trainer_of(toy, prior_fraction=fraction)
        for seed in (0, 1):
            state, other = trainer.init(0), trainer.student.init(jax.random.key(seed))
            params = {**state.params, "encoder": other["encoder"]}
            reward = trainer.update(state.replace(params=params))[1].rollout.reward
            rewards[fraction, seed] = float(reward)
    assert rewards[1.0, 0] == rewards[1.0, 1]
    assert rewards[0.0, 0] != rewards[0.0, 1]


def test_a_diverged_simulation_is_counted_and_reset_and_reaches_nothing_else(trainer):
    state = trainer.init(0)
    broken = state.rollout.environments.imitation.physics.qvel.at[5].set(jnp.nan)
    physics = state.rollout.environments.imitation.physics.replace(qvel=broken)
    imitation = state.rollout.environments.imitation.replace(physics=physics)
    environments = state.rollout.environments.replace(imitation=imitation)
    state = state.replace(rollout=state.rollout.replace(environments=environments))
    state, result = trainer.update(state)
    assert result.rollout.failures["nan"] == 1
    assert result.learning.skipped == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(host(state)))


def test_clip_end_is_truncation_not_failure(toy):
    task, _, _, clips = toy
    imitation = task.task
    key = jax.random.PRNGKey(0)
    last = int(clips.lengths[0]) - imitation.frames_needed
    state = imitation.reset_to(key, clips, jnp.int32(0), jnp.int32(last), key)
    outcomes = []
    for _ in range(8):
        state, outcome = imitation.step(state, jnp.zeros(imitation.action_size), clips)
        outcomes.append(outcome)
    ended = [bool(outcome.truncated) for outcome in outcomes]
    until_end = outcomes[: ended.index(True) + 1]
    assert not any(bool(outcome.terminated) for outcome in until_end)


class EndsIn:
    """Environments, of which those where `ended` [env] is true fail in every step."""

    def __init__(self, env, ended):
        self.env, self.ended = env, ended
        self.observe, self.reset_finished = env.observe, env.reset_finished

    def step(self, state, action, data):
        state, outcome = self.env.step(state, action, data)
        no = jnp.zeros_like(self.ended)
        return state, outcome.replace(terminated=self.ended, truncated=no)


def test_a_reset_forgets_what_the_teacher_remembers(toy):
    """In the environment that ended, and in no other; so does the sum of the episode's rewards."""
    env, _, student, clips = toy
    key, ended = jax.random.PRNGKey(0), np.array([False, True, False])
    teacher = untrained_policy(env.task, lstm_num_layers=1)
    policy = StudentPolicy(student.init(key), teacher, jnp.bool_(True), student)
    started = jax.jit(env.reset, static_argnums=1)(key, 3, clips)
    state = begin(started, policy, 3).replace(episode_reward=jnp.ones(3))
    after, seen, sums = jax.jit(
        lambda state: rollout(
            EndsIn(env, jnp.asarray(ended)),
            policy,
            state,
            clips,
            key,
            1,
            lambda step: (step.acted.memory[0], step.outcome.reward),
        )
    )(state)
    memory, reward = jax.tree.map(lambda x: np.asarray(x[0]), seen)
    for before, now in zip(*map(jax.tree.leaves, (memory, after.memory[0])), strict=True):
        assert np.abs(before[1]).max() > 1e-3
        np.testing.assert_array_equal(now[1], 0.0)
        np.testing.assert_array_equal(now[~ended], before[~ended])
    expected = np.where(ended, 0.0, 1.0 + reward)
    np.testing.assert_allclose(after.episode_reward, expected, rtol=1e-6)
    np.testing.assert_allclose(sums.episode_reward, 1.0 + reward[1], rtol=1e-6)
    np.testing.assert_array_equal(after.starts, ended)


def test_batch_size_must_divide(toy):
    with pytest.raises(ValueError, match="batch_size"):
        trainer_of(toy, batch_size=30)
