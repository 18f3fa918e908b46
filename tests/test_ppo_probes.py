"""PPO finds the known answers of small problems (`probe_tasks`)."""

from dataclasses import replace

import jax
import numpy as np
import probe_tasks as probes
import pytest

from vnl_mjx.config.ppo import AdaptiveRateSection, PpoSection
from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.tasks.environment import RepeatedAction
from vnl_mjx.training.brax_parts import normalize
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.schedules import LearningRate
from vnl_mjx.training.trainer import TrainState

NUM_ENVS, NUM_UPDATES = 64, 50
DISCOUNT = 0.8
CONFIG = PpoSection(
    num_envs=NUM_ENVS,
    unroll_length=8,
    num_steps=NUM_ENVS * 8 * NUM_UPDATES,
    num_minibatches=2,
    num_epochs=4,
    learning_rate=ScheduleSection(1e-3, start=5e-3, end_step=NUM_ENVS * 8 * NUM_UPDATES),
    adaptive_rate=AdaptiveRateSection(target_kl=None),
    value_learning_rate=5e-3,
    discount=DISCOUNT,
    gae_lambda=0.9,
    reward_scale=1.0,
    entropy=ScheduleSection(1e-3),
    action_std=ScheduleSection(),
    latent_kl=ScheduleSection(1e-4 / 2),
    guidance=ScheduleSection(),
)
MLP = IntentionConfig(
    reference_size=1,
    proprioception_size=1,
    action_size=1,
    latent_dim=2,
    encoder_hidden_sizes=(16,),
    decoder_hidden_sizes=(16,),
)
LSTM = replace(MLP, memory_sizes=(8,))


def trainer_of(policy: IntentionConfig, config: PpoSection = CONFIG) -> Ppo:
    model = ActorCritic(policy, ValueConfig(2, (32,), activation="tanh"))
    return Ppo(probes.TableTask(), model, probes.constant_reward(NUM_ENVS), config)


@pytest.fixture(scope="module")
def trainer() -> Ppo:
    """One trainer, compiled once: the problem is its data."""
    return trainer_of(MLP)


@pytest.fixture(scope="module")
def recurrent() -> Ppo:
    adaptive = AdaptiveRateSection(target_kl=0.02, highest=1e-2)
    config = replace(CONFIG, learning_rate=ScheduleSection(1e-3), adaptive_rate=adaptive)
    return trainer_of(LSTM, config)


def solved(trainer: Ppo, problem: probes.Tables, num_updates: int = NUM_UPDATES, seed: int = 0):
    """The state after training, and the updates' statistics on the host."""
    trainer.data = jax.device_put(problem)
    state, updates = trainer.init(seed), []
    for _ in range(num_updates):
        state, update = trainer.update(state)
        updates.append(jax.device_get((update.rollout, update.learning)))
    return state, updates


def values_and_modes(
    trainer: Ppo, state: TrainState, problem: probes.Tables, num_states: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the networks make of the first states: value [state] and most likely action [state]."""

    @jax.jit
    def judge(params, normalizer, observation):
        seen = normalize(normalizer, observation)
        memory = trainer.model.initial_memory((len(seen),))
        logits = trainer.model.act(params, seen, memory).logits
        return trainer.model.value(params, seen), logits[:, 0]

    value, location = judge(state.params, state.extra, problem.observation)
    return np.asarray(value)[:num_states], np.tanh(location)[:num_states]


@pytest.mark.slow
def test_the_value_of_a_constant_reward(trainer):
    problem = probes.constant_reward(NUM_ENVS)
    state, updates = solved(trainer, problem)
    values, _ = values_and_modes(trainer, state, problem, 1)
    np.testing.assert_allclose(values, [1.0], atol=0.05)
    assert updates[-1][1].loss["value"] < 1e-2 < updates[0][1].loss["value"]


def test_a_guide_is_asked_only_while_it_counts():
    """Afterwards what the policy did stands in its place, so that the logged distance is 0."""
    per_update = NUM_ENVS * 8
    fading = ScheduleSection(0.0, start=5.0, end_step=2 * per_update)
    asked = []

    def guide(environments, data):
        def note(action):
            asked.append(1)
            return action

        action = np.full((NUM_ENVS, 1), 0.5, np.float32)
        return jax.pure_callback(note, jax.ShapeDtypeStruct(action.shape, action.dtype), action)

    config = replace(CONFIG, guidance=fading, num_epochs=1, num_minibatches=1)
    model = ActorCritic(MLP, ValueConfig(2, (32,), activation="tanh"))
    trainer = Ppo(probes.TableTask(), model, probes.constant_reward(NUM_ENVS), config, None, guide)
    _, updates = solved(trainer, probes.constant_reward(NUM_ENVS), num_updates=4)
    assert len(asked) == 2 * config.unroll_length
    distances = [learning.loss["guidance"] for _, learning in updates]
    assert min(distances[:2]) > 0.01 and max(distances[2:]) < 1e-3


def test_the_first_gradient_is_taken_at_the_policy_that_acted():
    """It sees observations by the statistics that it acted with: nothing has moved yet."""
    once = trainer_of(MLP, replace(CONFIG, num_minibatches=1, num_epochs=1))
    _, updates = solved(once, probes.observed_reward(NUM_ENVS), num_updates=2)
    for _, learning in updates:
        assert abs(learning.loss["policy_kl"]) < 1e-6
        assert learning.loss["clip_fraction"] == 0.0


def test_a_value_that_is_observed(trainer):
    problem = probes.observed_reward(NUM_ENVS)
    state, updates = solved(trainer, problem)
    values, _ = values_and_modes(trainer, state, problem, 2)
    np.testing.assert_allclose(values, [1.0, -2.0], atol=0.1)
    assert updates[-1][1].loss["explained_variance"] > 0.9


def test_credit_two_steps_back(trainer):
    problem = probes.delayed_reward(NUM_ENVS)
    state, _ = solved(trainer, problem)
    values, modes = values_and_modes(trainer, state, problem, 5)
    assert modes[0] > 0.3
    expected = [DISCOUNT**2, DISCOUNT, 0.0, 1.0, 0.0]
    visited = [0, 1, 3]
    np.testing.assert_allclose(values[visited], np.take(expected, visited), atol=0.15)
    assert values[2] < 0.5 * values[1] and values[4] < 0.5 * values[3]


def test_the_best_action(trainer):
    """Over four seeds, as one seed comes to within some 0.15 by chance (by rounding alone)."""
    problem = probes.best_action(NUM_ENVS)
    modes = [
        values_and_modes(trainer, solved(trainer, problem, seed=seed)[0], problem, 1)[1]
        for seed in range(4)
    ]
    np.testing.assert_allclose(np.mean(modes), 0.5, atol=0.15)


def test_the_best_action_for_what_is_observed(trainer):
    problem = probes.observed_action(NUM_ENVS)
    state, updates = solved(trainer, problem)
    _, modes = values_and_modes(trainer, state, problem, 2)
    np.testing.assert_allclose(modes, [0.6, -0.6], atol=0.2)
    rewards = [rollout.reward / rollout.num_steps for rollout, _ in updates]
    assert np.mean(rewards[-5:]) > -0.15 > np.mean(rewards[:5])


def test_truncation_bootstraps_and_failure_does_not(trainer):
    """V = 1 + discount * V where only the recording ends; V = 1 + discount * V / 2 where half fail."""
    problem = probes.truncated_and_failed(NUM_ENVS)
    state, updates = solved(trainer, problem)
    values, _ = values_and_modes(trainer, state, problem, 2)
    expected = [1 / (1 - DISCOUNT), 1 / (1 - DISCOUNT / 2)]
    np.testing.assert_allclose(values, expected, rtol=0.1)
    rollout, _ = updates[-1]
    assert 0 < rollout.survived < rollout.episodes


def mean_reward(updates) -> float:
    """Of a third step, over the last updates."""
    return 3 * np.mean([rollout.reward / rollout.num_steps for rollout, _ in updates[-10:]])


@pytest.mark.slow
def test_only_a_memory_solves_what_must_be_remembered(trainer, recurrent):
    problem = probes.remembered_action(NUM_ENVS)
    _, updates = solved(trainer, problem)
    assert abs(mean_reward(updates)) < 0.15
    state, updates = solved(recurrent, problem, 90)
    assert mean_reward(updates) > 0.5
    # All episodes have just ended (their three steps divide 720), and what was remembered with them.
    assert state.rollout.starts.all()
    assert not any(np.any(part) for part in state.rollout.memory)
    state, _ = recurrent.update(state)
    assert not state.rollout.starts.any()
    assert all(np.any(part, axis=(1, 2)).all() for part in state.rollout.memory)


def test_the_learning_rate_is_linear_in_environment_steps(trainer):
    _, updates = solved(trainer, probes.constant_reward(NUM_ENVS), 3)
    rates = [learning.learning_rate for _, learning in updates]
    step = (5e-3 - 1e-3) / NUM_UPDATES
    np.testing.assert_allclose(rates, [5e-3, 5e-3 - step, 5e-3 - 2 * step], rtol=1e-5)


@pytest.mark.slow
def test_the_adaptive_learning_rate_follows_the_policy_kl(recurrent):
    _, updates = solved(recurrent, probes.remembered_action(NUM_ENVS), 12)
    rates = np.array([learning.learning_rate for _, learning in updates])
    assert rates[-1] > 1.5 * rates[0]  # it began with too small a step
    assert ((1e-5 <= rates) & (rates <= 1.0001e-2)).all()


@pytest.mark.slow
def test_the_value_network_may_learn_alone_at_first():
    config = replace(CONFIG, value_only_steps=2 * CONFIG.steps_per_update)
    held = trainer_of(
        MLP, replace(config, adaptive_rate=replace(CONFIG.adaptive_rate, target_kl=0.01))
    )
    problem = probes.best_action(NUM_ENVS)
    states = [jax.tree.map(np.array, solved(held, problem, n)[0].params) for n in (1, 2, 3)]
    is_same = [
        jax.tree.leaves(jax.tree.map(np.array_equal, state.policy, states[0].policy))
        for state in states
    ]
    assert all(is_same[1]) and not all(is_same[2])
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, states[0].value, states[1].value)))
    rates = [learning.learning_rate for _, learning in solved(held, problem, 2)[1]]
    np.testing.assert_allclose(rates, [CONFIG.learning_rate.value] * 2, rtol=1e-6)


def test_the_adaptive_learning_rate_by_hand():
    """More than twice the target shortens the step, less than half of it lengthens it, else it stays."""
    section = AdaptiveRateSection(target_kl=0.02, lowest=1e-5, highest=1e-2)
    rate = LearningRate(ScheduleSection(1e-3), 100, section)
    adapted = lambda now, kl: rate.adapted(now, {"policy_kl": kl})  # noqa: E731
    for kl, expected in ((0.041, 1e-3 / 1.5), (0.009, 1.5e-3), (0.02, 1e-3)):
        np.testing.assert_allclose(adapted(np.float32(1e-3), np.float32(kl)), expected, rtol=1e-5)
    np.testing.assert_allclose(adapted(np.float32(9e-3), np.float32(0)), section.highest)
    np.testing.assert_allclose(adapted(np.float32(1e-5), np.float32(1)), section.lowest)


def test_a_repeated_action_earns_until_the_episode_ends():
    """Three environments: at the first step of three, at the last, and in a step that diverges."""
    problem = probes.remembered_action(3)
    problem = problem.replace(diverged=np.array([False, False, True]))
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    state = probes.TableState(np.array([0, 5, 0], np.int32), keys)
    action = np.full((3, 1), 0.25, np.float32)
    moved, outcome = RepeatedAction(probes.TableTask(), 4).step(state, action, problem)
    np.testing.assert_array_equal(outcome.num_steps, [3, 1, 1])
    np.testing.assert_array_equal(outcome.reward, [0.25, -0.25, 0.0])
    np.testing.assert_array_equal(outcome.terminated, True)
    np.testing.assert_array_equal(outcome.failures["nan"], [False, False, True])
    np.testing.assert_array_equal(moved.at, [4, 5, 2])


@pytest.mark.parametrize("which", ["trainer", "recurrent"])
def test_nan_in_one_environment_changes_nothing_else(which, request):
    """Parameters, statistics and every other environment, bit for bit."""
    ppo: Ppo = request.getfixturevalue(which)
    runs = [
        solved(ppo, probes.broken_simulation(NUM_ENVS, noise), 3)
        for noise in (np.nan, np.inf, 0.25)
    ]
    states = [jax.device_get(state) for state, _ in runs]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states[0].params))
    others = np.arange(NUM_ENVS) != 3
    for state in states[:2]:
        for field in ("params", "opt_state", "extra"):
            jax.tree.map(
                np.testing.assert_array_equal, getattr(state, field), getattr(states[2], field)
            )
        at = [s.rollout.environments.at[others] for s in (state, states[2])]
        np.testing.assert_array_equal(*at)
    normalizer = states[0].extra
    assert normalizer.count == 3 * 8 * (NUM_ENVS - 1)
    np.testing.assert_allclose(normalizer.mean[1], 0.5, rtol=1e-6)  # what all others see
    assert all(learning.skipped == 0 for _, updates in runs for _, learning in updates)


def test_a_first_rollout_without_a_valid_step_leaves_the_statistics_fresh(trainer):
    working = probes.observed_action(NUM_ENVS)
    broken = working.replace(diverged=np.ones(NUM_ENVS, bool), noise=np.full(NUM_ENVS, np.nan))
    state, updates = solved(trainer, broken.replace(noise=broken.noise.astype(np.float32)), 1)
    assert updates[0][1].skipped == 0
    fresh, found = jax.device_get((trainer.init(0), state))
    jax.tree.map(np.testing.assert_array_equal, found.extra, fresh.extra)
    jax.tree.map(np.testing.assert_array_equal, found.params, fresh.params)
    trainer.data = jax.device_put(working)
    found = jax.device_get(trainer.update(state)[0])
    assert found.extra.count == 8 * NUM_ENVS
    for part in (found.extra, found.params):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(part))
