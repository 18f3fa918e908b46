"""The loop that every training is, on a problem without a simulation: a walk to the origin."""

from dataclasses import dataclass, field
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx import devices
from vnl_mjx.config.ppo import WeightSection
from vnl_mjx.config.schema import KlScheduleSection
from vnl_mjx.training import schedules
from vnl_mjx.training.segments import (
    if_finite,
    minibatch_epochs,
    num_groups,
    take_environments,
    take_steps,
)
from vnl_mjx.training.trainer import LearningStatistics, Trainer

STEPS_PER_UPDATE = 4


@flax.struct.dataclass
class WalkState:
    """Where it stands, and what every state has."""

    at: jax.Array
    key: jax.Array
    num_updates: jax.Array


class Walk(Trainer[WalkState]):
    """Visits `STEPS_PER_UPDATE` noisy places; learning goes half of the way to `data`."""

    environments = "at"

    def __init__(self, goal: float):
        data = jnp.float32(goal)
        super().__init__(None, data, num_envs=2, steps_per_update=STEPS_PER_UPDATE)
        self.num_traces = {"initial_state": 0, "rollout": 0, "learn": 0}

    def initial_state(self, key, data):
        self.num_traces["initial_state"] += 1
        return WalkState(jax.random.normal(key, (2,)), key + 0, jnp.int32(0))

    def rollout(self, state, data, key) -> Any:
        self.num_traces["rollout"] += 1
        places = state.at + jax.random.normal(key, (STEPS_PER_UPDATE, 2))
        return state, (places, data), {"num_steps": jnp.float32(STEPS_PER_UPDATE)}

    def visited_placement(self) -> Any:
        return devices.replicated(self.mesh)

    def learn(self, state, visited, key) -> Any:
        self.num_traces["learn"] += 1
        _, goal = visited
        statistics = {"steps": self.scheduled_steps(state), "noise": jax.random.normal(key)}
        return state.replace(at=(state.at + goal) / 2), statistics


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
        seen.append((env_steps, float(result.learning["steps"])))
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
    assert first.learning["noise"] != second.learning["noise"]


def test_compiled_ahead_it_is_the_same(walk):
    ahead = Walk(3.0)
    ahead.start_compiling()
    ends = []
    for trainer in (walk, ahead):
        state, _ = trainer.update(trainer.init(2))
        ends.append(jax.device_get(trainer.update(state)[0]))
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert [p.program.seconds > 0 for p in ahead.programs.values()] == [True, True]


@dataclass
class Rows:
    """Keeps the rows that it is given, and steps by their sum; not where a row is bad."""

    bad: int = -1
    seen: list = field(default_factory=list)

    def minibatch(self, learnt, rows, key):
        grads = jnp.where(jnp.any(rows == self.bad), jnp.nan, jnp.sum(rows).astype(jnp.float32))
        jax.debug.callback(lambda rows: self.extra.append(np.array(rows)), rows)
        learnt, grad_norm, skipped = if_finite(grads, learnt + grads, learnt)
        return learnt, LearningStatistics(rows[0], grad_norm, skipped, jnp.float32(0), ())


def test_an_epoch_learns_from_every_row_once_in_an_order_of_its_own():
    rows = Rows()
    learnt, statistics = minibatch_epochs(
        rows.minibatch, jnp.float32(0), jax.random.PRNGKey(0), 12, 3, 2
    )
    jax.effects_barrier()
    assert learnt == 2 * sum(range(12))
    epochs = np.reshape(rows.extra, (2, 12))
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(12)] * 2)
    assert (epochs[0] != epochs[1]).any()
    assert statistics.skipped == 0 and statistics.grad_norm == pytest.approx(66 / 3)


def test_a_gradient_that_is_not_finite_is_left_out_and_counted():
    rows = Rows(bad=7)
    learnt, statistics = minibatch_epochs(
        rows.minibatch, jnp.float32(0), jax.random.PRNGKey(0), 12, 3, 2
    )
    jax.effects_barrier()
    assert learnt == sum(batch.sum() for batch in rows.extra if 7 not in batch)
    assert statistics.skipped == pytest.approx(1 / 3)


def values(schedule: schedules.Schedule) -> list[float]:
    return [float(schedule(jnp.float32(step))) for step in (0, 100, 150, 200, 1e9)]


def test_a_weight_is_constant_or_goes_along_a_line():
    assert values(schedules.weight(0.5, WeightSection(0.5))) == [0.5] * 5
    course = KlScheduleSection(start_weight=0.0, start_step=100, end_step=200)
    assert values(schedules.weight(1.0, course)) == [0.0, 0.0, 0.5, 1.0, 1.0]
    falling = WeightSection(0.0, start_weight=4.0, start_step=100, end_step=200)
    assert values(schedules.weight(falling.weight, falling)) == [4.0, 4.0, 2.0, 0.0, 0.0]


def test_rows_are_numbered_within_groups_of_environments():
    x = 100 * jnp.arange(3)[:, None] + jnp.arange(6)  # [time, env]
    rows = jnp.array([[0, 2], [1, 1]])  # of 2 groups of 3 environments
    np.testing.assert_array_equal(take_environments(x[0], rows), [0, 2, 4, 4])
    np.testing.assert_array_equal(take_environments(x, rows, axis=1)[2], [200, 202, 204, 204])
    steps = jnp.array([[0, 5], [3, 8]])  # time * 3 + environment
    np.testing.assert_array_equal(take_steps(x, steps), [0, 102, 103, 205])


def test_groups_are_common_divisors_and_at_most_64():
    assert [num_groups(*sizes) for sizes in ((1024, 1024), (512, 128), (24, 36), (7, 5))] == [
        64,
        64,
        12,
        1,
    ]


def test_each_group_has_its_share_of_every_minibatch():
    rows = Rows()
    minibatch_epochs(rows.minibatch, jnp.float32(0), jax.random.PRNGKey(0), 12, 3, 2, groups=2)
    jax.effects_barrier()
    assert {batch.shape for batch in rows.extra} == {(2, 2)}
    epochs = np.reshape(rows.extra, (2, 3, 2, 2))
    for epoch in epochs:
        for group in range(2):  # each goes once through its own six rows, in an order of its own
            np.testing.assert_array_equal(np.sort(epoch[:, group].ravel()), np.arange(6))
    assert (epochs[:, :, 0] != epochs[:, :, 1]).any()


def test_what_a_program_takes_is_known_once_it_is_compiled(walk):
    rollout = walk.programs["rollout"]
    assert rollout.program is None
    with pytest.raises(ValueError, match="nobody has begun"):
        rollout.text()
    state, _ = walk.update(walk.init(0))
    program = rollout.program
    assert program.seconds > 0 and "HloModule" in rollout.text()
    # what goes in: two places, a key, a counter, the goal and a key; what comes out besides
    assert program.argument_bytes == 4 * (2 + 2 + 1 + 1 + 2)
    assert program.output_bytes > 0 and program.total_bytes > program.argument_bytes
    with pytest.raises(TypeError):  # never compiled again unnoticed
        walk.update(state.replace(at=jnp.zeros((3, 2))))


def test_a_state_from_the_host_is_put_in_its_place(walk):
    state, _ = walk.update(walk.init(0))
    restored = walk.place(jax.device_get(state))
    ends = [jax.device_get(walk.update(each)[0]) for each in (state, restored)]
    jax.tree.map(np.testing.assert_array_equal, *ends)
