"""Clones a task's policy from the student before PPO.

The expert is the student itself. It follows the part of a clip that fits the goal (`motion_matching`), and
the policy is regressed on its decoded control, expressed as an action of the task. Because the body does
not track the clip exactly, the policy sees the goal that the motion achieved, not the requested one (Ghosh
et al. 2021, "Learning to reach goals via iterated supervised learning"). Training proceeds in rounds (Ross
et al. 2011, "A reduction of imitation learning and structured prediction to no-regret online learning"):
from the second round on, the expert starts where the policy has led the body.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vnl_mjx import masking
from vnl_mjx.config.ppo import RegressionSection
from vnl_mjx.config.task import CloningSection
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamState, DownstreamTask
from vnl_mjx.training.brax_parts import normalize
from vnl_mjx.training.motion_matching import Anchor, MatchedClips, in_hindsight
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.trainer import TrainState

_BODIES = 64  # rolled out together
_AHEAD = 0.5  # share of a part after which what came of an action is seen
_MORE = 1.5  # times as far from the mean a goal is asked for at most: a body lags behind what it follows
_STEPS_BETWEEN = 10  # control steps after which the body is moved to where the clip is
_REDRAWN = 0.3  # share of the parts that begin with another goal
_HARDEST = 0.97  # largest action to imitate; larger ones would need ever larger weights before tanh


class Demonstrations(NamedTuple):
    """Holds observations and actions of the expert.

    Attributes:
        observation: [row, observation] of the task, flat.
        action: [row, action] in (-1, 1).
    """

    observation: np.ndarray
    action: np.ndarray


def cloned(
    trainer: Ppo,
    state: TrainState,
    task: DownstreamTask,
    data: DownstreamData,
    config: CloningSection,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    statistics_stay: bool = False,
) -> tuple[TrainState, float]:
    """Returns the state with a cloned policy, and the share of the expert's actions that it explains.

    The observation's statistics become those of the demonstrations, unless `statistics_stay`.

    Raises:
        UserError: the clips are shorter than a part, or the body falls in each.
    """
    part = max(2, round(config.part_s / task.control_timestep))
    frames = 1 + round(config.part_s * data.starts.rate_hz)
    matched = MatchedClips.of(task, data.starts, frames, frames + task.imitation.frames_needed)
    roll = jax.jit(partial(_demonstrate, task, config.noise, part), static_argnums=0)
    shown, explained, policy = [], 0.0, None
    for round_, key in enumerate(jax.random.split(jax.random.key(seed), config.num_rounds)):
        progress(round_, config.num_rounds)
        per_part = _BODIES * part * (1 if policy is None else 2)
        num_parts = max(1, round(config.num_steps / config.num_rounds / per_part))
        rows, actions, stands = map(np.asarray, roll(num_parts, data, matched, policy, key))
        shown.append(Demonstrations(rows[stands], actions[stands]))
        if not any(len(one.action) for one in shown):
            raise UserError(
                f"cloning: expected a low level that stays up for {config.part_s:g} s along its clips, found "
                "one that fell each time; give another, or cloning.num_steps=0"
            )
        both = Demonstrations(*(np.concatenate(column) for column in zip(*shown, strict=True)))
        if not statistics_stay:
            state = state.replace(extra=observed_statistics(state.extra, both.observation))
        state, explained = clone(trainer, state, both, config, seed)
        policy = trainer.frozen_policy(state)
    progress(config.num_rounds, config.num_rounds)
    return state, explained


def clone(
    trainer: Ppo, state: TrainState, shown: Demonstrations, config: RegressionSection, seed: int
) -> tuple[TrainState, float]:
    """Returns the state with the policy regressed on demonstrations, and the share that it explains."""
    rows, model = jnp.asarray(shown.observation, jnp.float32), trainer.model
    inputs = normalize(state.extra, rows, model.policy_config.observation_clip)
    targets = jnp.clip(jnp.asarray(shown.action), -_HARDEST, _HARDEST)
    rate = optax.cosine_decay_schedule(config.learning_rate, config.gradient_steps)
    optimizer = optax.adam(rate)

    def error(policy: Any, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        output = model.act(state.params.replace(policy=policy), inputs)
        middle, _ = jnp.split(output.logits, 2, axis=-1)
        return jnp.mean(jnp.square(jnp.tanh(middle) - targets))

    @jax.jit
    def learn(policy: Any, inputs: jax.Array, targets: jax.Array) -> tuple[Any, jax.Array]:
        def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            policy, memory = carry
            chosen = jax.random.randint(key, (config.batch_size,), 0, len(inputs))
            value, slope = jax.value_and_grad(error)(policy, inputs[chosen], targets[chosen])
            change, memory = optimizer.update(slope, memory)
            return (optax.apply_updates(policy, change), memory), value

        keys = jax.random.split(jax.random.key(seed), config.gradient_steps)
        (policy, _), errors = jax.lax.scan(step, (policy, optimizer.init(policy)), keys)
        return policy, jnp.mean(errors[-100:])

    policy, last = learn(state.params.policy, inputs, targets)
    explained = 1.0 - float(last) / max(float(jnp.var(targets, axis=0).mean()), 1e-12)
    return state.replace(params=state.params.replace(policy=policy)), explained


def observed_statistics(statistics: Any, observation: np.ndarray) -> Any:
    """Returns the observation's statistics of rows [row, observation]."""
    rows = observation.astype(np.float32)
    mean, std = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    return statistics.replace(
        mean=jnp.asarray(mean),
        std=jnp.asarray(std),
        count=jnp.full_like(statistics.count, len(rows)),
        summed_variance=jnp.asarray(len(rows) * std**2),
    )


def _demonstrate(
    task: DownstreamTask,
    noise: float,
    num_steps: int,
    num_parts: int,
    data: DownstreamData,
    matched: MatchedClips,
    policy: FrozenPolicy | None,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the expert's observations and actions, and whether the body stands, [body, part, time, ...].

    In each part, the policy, if any, first acts for `num_steps` steps from its last state. The expert then
    continues in a copy for as many steps. Without a policy, the expert continues from its own last state.
    """

    def lead(carry: Any, _: Any) -> tuple[Any, None]:
        state, stands = carry
        assert policy is not None
        action = policy.act(task.observe(state, data).flat()).action
        state, outcome = task.step(state, action, data)
        return (state, stands & ~outcome.terminated), None

    def part(carry: Any, key: jax.Array) -> tuple[Any, Any]:
        state, stands = carry
        reset_key, draw_key, which_key, noise_key = jax.random.split(key, 4)
        state = masking.where(stands, state, task.reset(reset_key, data, ~stands))
        is_new = jax.random.uniform(which_key) < _REDRAWN
        drawn = task.goal.draw(draw_key, task.motion(state))
        state = state.replace(goal=masking.where(is_new, drawn, state.goal))
        own = state, jnp.bool_(True)
        if policy is not None:
            own, _ = jax.lax.scan(lead, own, length=num_steps)
        after, shown = _follow(task, noise, num_steps, data, matched, own, noise_key)
        return after if policy is None else own, shown

    def body(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        first_key, key = jax.random.split(key)
        first = task.reset(first_key, data), jnp.bool_(True)
        return jax.lax.scan(part, first, jax.random.split(key, num_parts))[1]

    return jax.vmap(body)(jax.random.split(key, _BODIES))


def _follow(
    task: DownstreamTask,
    noise: float,
    num_steps: int,
    data: DownstreamData,
    matched: MatchedClips,
    start: tuple[DownstreamState, jax.Array],
    key: jax.Array,
) -> tuple[Any, tuple[jax.Array, jax.Array, jax.Array]]:
    """Runs the expert from a standing state; returns its last state, observations, actions and standing.

    The student repeatedly sees the body moved to the clip's place, so that it can follow at any speed.
    """
    low_level, clips, imitation = data.low_level, data.starts, task.imitation
    root, dt = task.walker.root, task.control_timestep
    assert root is not None
    state, _ = start
    key, times_key = jax.random.split(key)
    times = jax.random.uniform(times_key, minval=1.0, maxval=_MORE)
    clip, frame = matched.nearest(task, state, times)
    follower = imitation.reset_to(key, clips, clip, frame, key, False)

    def step(carry: Any, inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        state, stands, anchor = carry
        count, key = inputs
        follows = follower.replace(
            num_steps=count, physics=state.physics.replace(time=dt * count.astype(jnp.float32))
        )
        place = clips.at(clip, imitation.frame(follows))
        fresh = Anchor.of(state.physics, place, task.walker.root_body)
        anchor = masking.where(count % _STEPS_BETWEEN == 0, fresh, anchor)
        seems = follows.replace(physics=anchor.physics(follows.physics, root))
        if seems.previous_qpos is not None:
            seems = seems.replace(previous_qpos=anchor.pose(state.previous_qpos, root))
        body, reference = task.body(state, low_level), imitation.observe(seems, clips)["reference"]
        action = low_level.action(body, low_level.student.encode(body, reference).mode())
        shown = task.motion(state), body, action
        noisy = jnp.clip(action + noise * jax.random.normal(key, action.shape), -1.0, 1.0)
        control, _ = low_level.control(body, noisy)
        state = task.moved(state, task.physics.step(state.physics, control), control)
        stands &= ~task.fell(task.motion(state)) & ~state.physics.diverged
        return (state, stands, anchor), (*shown, stands)

    inputs = jnp.arange(num_steps), jax.random.split(key, num_steps)
    anchor = Anchor.of(state.physics, clips.at(clip, frame), task.walker.root_body)
    (*after, _), shown = jax.lax.scan(step, (*start, anchor), inputs)
    motions, body, action, stands = shown
    ahead = max(1, round(_AHEAD * num_steps))
    goal = in_hindsight(task.goal, motions, ahead)
    rows = jnp.concatenate([goal, body[:-ahead]], axis=-1)
    return tuple(after), (rows, action[:-ahead], stands[ahead:])
