"""The loop that every training is, on a problem without a simulation: a point that is pulled to a goal."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.tasks.environment import Observation, StepOutcome
from vnl_mjx.tasks.policies import Acted
from vnl_mjx.training import schedules
from vnl_mjx.training.learner import Learner, if_finite
from vnl_mjx.training.segments import Segment, num_groups, take_segments
from vnl_mjx.training.trainer import Trainer

NUM_ENVS, UNROLL = 2, 2
STEPS_PER_UPDATE = NUM_ENVS * UNROLL


class Line:
    """Environments that are places on a line; an action moves them."""

    observation_sizes: Mapping[str, int] = {"place": 1}
    action_size = 1

    def reset(self, key, num_envs, data):
        return jax.random.normal(key, (num_envs, 1))

    def observe(self, state, data):
        return Observation.of(place=state)

    def step(self, state, action, data):
        no, zeros = jnp.zeros(len(state), bool), jnp.zeros(len(state))
        ones = jnp.ones(len(state), jnp.int32)
        return state + action, StepOutcome(zeros, {}, {}, {"nan": no}, no, no, no, ones)

    def reset_finished(self, state, outcome, data):
        return state


@flax.struct.dataclass
class Wanderer:
    """Moves at random."""

    def initial_memory(self, num_envs):
        return ()

    def act(self, observation, memory, key):
        return Acted(jax.random.normal(key, observation["place"].shape), memory, ())


class Descent:
    """An optimiser whose steps can be worked out by hand."""

    def init(self, params):
        return ()

    def step(self, params, state, grads, rate):
        return params - rate * grads, state


class Walk(Trainer):
    """Learns the goal, which is the trainer's data, whatever it visits; counts its traces."""

    def __init__(self, goal: float):
        rate = schedules.LearningRate(ScheduleSection(0.25), 100)
        learner = Learner(
            {"distance": schedules.constant(1.0)}, Descent(), rate, NUM_ENVS, UNROLL, 1, 2, 1
        )
        super().__init__(Line(), jnp.float32(goal), learner, STEPS_PER_UPDATE)
        self.num_traces = {"initial_state": 0, "rollout": 0, "learn": 0}

    def initial_params(self, key, data):
        return jax.random.normal(key), ()

    def policy(self, params, extra, data, env_steps):
        return Wanderer()

    def record(self, step, data, env_steps) -> Any:
        return {"place": step.observation["place"][:, 0], "goal": jnp.full(NUM_ENVS, data)}

    def loss(self, extra):
        def terms(params, segment, key):
            distance = jnp.square(params - segment.steps["goal"])
            return {"distance": distance, "noise": jax.random.normal(key)}

        return terms

    def initial_state(self, key, data):
        self.num_traces["initial_state"] += 1
        return super().initial_state(key, data)

    def rollout(self, state, data, key):
        self.num_traces["rollout"] += 1
        return super().rollout(state, data, key)

    def learn(self, state, visited, key):
        self.num_traces["learn"] += 1
        state, statistics = super().learn(state, visited, key)
        loss = statistics.loss | {"steps": self.scheduled_steps(state)}
        return state, statistics.replace(loss=loss)


@pytest.fixture
def walk() -> Walk:
    return Walk(3.0)


def test_everything_is_traced_once_even_the_start(walk):
    for seed in (0, 1):
        state = walk.init(seed)
        for _ in range(3):
            state, _ = walk.update(state)
    assert walk.num_traces == {"initial_state": 1, "rollout": 1, "learn": 1}


def test_it_goes_on_until_the_steps_are_done_or_it_is_told_to_stop(walk):
    seen = []

    def note(state, env_steps, result) -> bool:
        seen.append((env_steps, float(result.learning.loss["steps"])))
        assert walk.env_steps(state) == env_steps
        assert set(result.seconds) == {"rollout", "update", "physics"}
        return len(seen) == 5

    state = walk.train(walk.init(0), 9, note)  # rounded up to whole updates
    assert seen == [(4, 0.0), (8, 4.0), (12, 8.0)]
    state = walk.train(state, 100, note)
    assert seen[3:] == [(16, 12.0), (20, 16.0)]
    assert walk.env_steps(walk.train(state, 20, note)) == 20 and len(seen) == 5


def test_a_rollout_and_learning_draw_from_keys_of_their_own(walk):
    state, first = walk.update(walk.init(0))
    _, second = walk.update(state)
    assert first.learning.loss["noise"] != second.learning.loss["noise"]


def test_compiled_ahead_it_is_the_same(walk):
    ahead = Walk(3.0)
    ahead.start_compiling()
    ends = []
    for trainer in (walk, ahead):
        state, _ = trainer.update(trainer.init(2))
        ends.append(jax.device_get(trainer.update(state)[0]))
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert [p.program.seconds > 0 for p in ahead.programs.values()] == [True, True]


class Rows:
    """A loss whose gradient is the sum of the rows that it is given; not a number where a row is bad."""

    def __init__(self, bad: int = -1):
        self.bad, self.seen = bad, []

    def __call__(self, params, segment, key):
        rows = segment.steps
        jax.debug.callback(lambda rows: self.seen.append(np.array(rows)), rows)
        slope = jnp.where(jnp.any(rows == self.bad), jnp.nan, jnp.sum(rows).astype(jnp.float32))
        return {"row": jnp.full(rows.shape, params * slope)}


def learn_rows(rows: Rows, num_envs: int = 12, segments: int = 4, epochs: int = 2):
    """Twelve environments of one step, the number of which is what is learnt from; gradient ascent."""
    learner = Learner(
        {"row": schedules.constant(-1.0)},
        Descent(),
        schedules.LearningRate(ScheduleSection(1.0), 100),
        num_envs,
        1,
        1,
        segments,
        epochs,
    )
    visited = Segment(
        jnp.arange(num_envs)[None], jnp.zeros((1, num_envs), bool), jnp.ones((1, num_envs), bool)
    )
    zero = jnp.float32(0)
    learnt, *_, statistics = jax.jit(
        lambda visited: learner.learn(rows, zero, (), zero, visited, zero, jax.random.PRNGKey(0))
    )(visited)
    jax.effects_barrier()
    return learnt, statistics


def test_an_epoch_learns_from_every_row_once_in_an_order_of_its_own():
    rows = Rows()
    learnt, statistics = learn_rows(rows)
    assert learnt == 2 * sum(range(12))
    epochs = np.reshape(rows.seen, (2, 12))
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(12)] * 2)
    assert (epochs[0] != epochs[1]).any()
    assert statistics.skipped == 0 and statistics.grad_norm == pytest.approx(66 / 3)


def test_a_gradient_that_is_not_finite_is_left_out_and_counted():
    rows = Rows(bad=7)
    learnt, statistics = learn_rows(rows)
    assert learnt == sum(batch.sum() for batch in rows.seen if 7 not in batch)
    assert statistics.skipped == pytest.approx(1 / 3)


def test_a_step_that_is_not_finite_leaves_what_is_learnt_as_it_was():
    kept, norm, skipped = if_finite(jnp.nan, jnp.float32(2), jnp.float32(1))
    assert kept == 1 and skipped == 1 and np.isnan(norm)


def test_a_weighted_term_has_to_be_one_number_per_step():
    def scalar(params, segment, key):
        return {"row": params * jnp.float32(1)}

    with pytest.raises(ValueError, match=r"'row'.*\(1, 4\)"):
        learn_rows(scalar)


def values(schedule: schedules.Schedule) -> list[float]:
    return [float(schedule(jnp.float32(step))) for step in (0, 100, 150, 200, 1e9)]


def test_a_weight_is_constant_or_goes_along_a_line():
    assert values(schedules.schedule(ScheduleSection(0.5), 200)) == [0.5] * 5
    rising = ScheduleSection(1.0, start=0.0, start_step=100, end_step=200)
    assert values(schedules.schedule(rising, 400)) == [0.0, 0.0, 0.5, 1.0, 1.0]
    falling = ScheduleSection(0.0, start=4.0, start_step=100, end_step=200)
    assert values(schedules.schedule(falling, 400)) == [4.0, 4.0, 2.0, 0.0, 0.0]
    # up to 1, a share of the run's steps
    shares = ScheduleSection(0.0, start=4.0, start_step=0.5, end_step=1)
    assert values(schedules.schedule(shares, 200)) == [4.0, 4.0, 2.0, 0.0, 0.0]


def numbered(num_steps: int, num_envs: int, num_segments: int) -> Segment:
    """Steps 100 * time + environment; memory and last are 1000 * segment + environment."""
    steps = 100 * jnp.arange(num_steps)[:, None] + jnp.arange(num_envs)
    each = 1000 * jnp.arange(num_segments)[:, None] + jnp.arange(num_envs)
    return Segment(steps, steps % 2 == 0, steps >= 0, each, each)


def test_single_steps_are_numbered_within_groups_of_environments():
    rows = jnp.array([[0, 5], [3, 8]])  # of 2 groups of 3 environments: time * 3 + environment
    found = take_segments(numbered(3, 6, 3), rows, 1)
    np.testing.assert_array_equal(found.steps, [[0, 102, 103, 205]])
    np.testing.assert_array_equal(found.starts, [[True, True, False, False]])
    np.testing.assert_array_equal(found.memory, [0, 1002, 1003, 2005])


def test_segments_keep_the_order_of_time():
    rows = jnp.array([[0, 5], [3, 2]])  # half * 3 + environment
    found = take_segments(numbered(4, 6, 2), rows, 2)
    np.testing.assert_array_equal(found.steps, [[0, 202, 203, 5], [100, 302, 303, 105]])
    np.testing.assert_array_equal(found.memory, [0, 1002, 1003, 5])
    whole = take_segments(numbered(4, 6, 1), jnp.array([[0, 2], [1, 1]]), 4)
    np.testing.assert_array_equal(whole.steps[3], [300, 302, 304, 304])
    np.testing.assert_array_equal(whole.last, [0, 2, 4, 4])


def test_groups_are_common_divisors_and_at_most_64():
    assert [num_groups(*sizes) for sizes in ((1024, 1024), (512, 128), (24, 36), (7, 5))] == [
        64,
        64,
        12,
        1,
    ]


def test_each_group_has_its_share_of_every_minibatch():
    rows = Rows()
    learn_rows(rows)
    assert {batch.shape for batch in rows.seen} == {(1, 4)}  # one of each of 4 groups
    epochs = np.reshape(rows.seen, (2, 3, 4))
    for epoch in epochs:
        for group in range(4):  # each goes once through its own three rows, in an order of its own
            own = 3 * group + np.arange(3)
            np.testing.assert_array_equal(np.sort(epoch[:, group]), own)
    assert len({tuple(epochs[0, :, group] - 3 * group) for group in range(4)}) > 1


def test_what_a_program_takes_is_known_once_it_is_compiled(walk):
    rollout = walk.programs["rollout"]
    assert rollout.program is None
    with pytest.raises(ValueError, match="nobody has begun"):
        rollout.text()
    state, _ = walk.update(walk.init(0))
    program = rollout.program
    assert program.seconds > 0 and "HloModule" in rollout.text()
    # what goes in: places, rewards and lengths of episodes, two flags per environment, parameter, rate, a
    # key, a counter, the goal and a key
    assert program.argument_bytes == 4 * (3 * 2 + 1 + 1 + 2 + 1 + 1 + 2) + 2 * 2
    assert program.output_bytes > 0 and program.total_bytes > program.argument_bytes
    with pytest.raises(TypeError):  # never compiled again unnoticed
        walk.update(state.replace(params=jnp.zeros(3)))


def test_a_state_from_the_host_is_put_in_its_place(walk):
    state, _ = walk.update(walk.init(0))
    restored = walk.place(jax.device_get(state))
    ends = [jax.device_get(walk.update(each)[0]) for each in (state, restored)]
    jax.tree.map(np.testing.assert_array_equal, *ends)
