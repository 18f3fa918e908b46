"""How close a distillation comes to the time that its physics and its network arithmetic need alone.

One rollout is recorded: the physics states that the student meets, its actions, the labels. The floor is
the time of exactly these states through bare `mujoco.batch`, without JAX, plus the time of exactly these
observations through the networks, without task or physics. End to end repeats the recorded update.
Repetitions of the three alternate, so that a machine that slows down slows all of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics
from vnl_mjx.tasks.vae_distillation import DistillationState, Label
from vnl_mjx.training import losses
from vnl_mjx.training.vae_distillation import TrainState, VaeDistillation

# What decides a step: the constraint solver's work depends on its warm start as well.
_REPLAYED_FIELDS = ("qpos", "qvel", "act", "qacc_warmstart", "time")


@flax.struct.dataclass
class Recording:
    """One rollout of a trainer, T control steps of N environments.

    Attributes:
        simulations: [T + 1, N, ...] before each step and after the last (resets included), NumPy.
        actions: [T, N, nu] what the student applied, NumPy.
        finished: [T, N] bool, environments reset after the step, NumPy.
        labels: [T, N, ...] what the update learns from.
        observations: [T, N, observation] raw, in the teacher's order.
        memory: the teacher's memory before the first step.
    """

    simulations: PhysicsState
    actions: np.ndarray
    finished: np.ndarray
    labels: Label
    observations: jax.Array
    memory: Any


@dataclass(frozen=True)
class Measurement:
    """Seconds per update, one entry per repetition, and what an update consists of.

    Attributes:
        seconds: "physics", "rollout networks", "update networks" (the floor); "end to end" and its
            parts "rollout" and "update"; "physics calls" (within the rollout, with copies) and
            "reset forward" (bare).
        env_steps: control steps per update, summed over environments.
        resets: environments reset in the update.
    """

    seconds: dict[str, list[float]]
    env_steps: int
    resets: int

    def floor(self) -> list[float]:
        """Seconds that physics and networks need alone, per repetition."""
        parts = (self.seconds[k] for k in ("physics", "rollout networks", "update networks"))
        return [sum(values) for values in zip(*parts, strict=True)]

    def ratio(self) -> list[float]:
        """End-to-end rate over the floor's, per repetition: 1 is perfect."""
        pairs = zip(self.floor(), self.seconds["end to end"], strict=True)
        return [floor / whole for floor, whole in pairs]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: median, smallest and largest of every quantity."""
        whole, physics = self.seconds["end to end"], self.seconds["physics"]
        return {
            "env_steps": self.env_steps,
            "resets": self.resets,
            "seconds": {name: spread(values) for name, values in self.seconds.items()},
            "steps_per_second": {
                "physics": spread([self.env_steps / s for s in physics]),
                "floor": spread([self.env_steps / s for s in self.floor()]),
                "end to end": spread([self.env_steps / s for s in whole]),
            },
            "ratio": spread(self.ratio()),
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def measure(
    trainer: VaeDistillation, seed: int, warm_up_updates: int, repetitions: int
) -> Measurement:
    """Measures one update after `warm_up_updates`, which bring the environments out of step.

    Raises:
        UserError: the physics is not the C back end.
    """
    physics = trainer.task.imitation.physics
    if not isinstance(physics, MujocoBatchPhysics):
        raise UserError("physics_config.backend: bench measures the back end mujoco only")
    state = trainer.init(seed)
    for _ in range(warm_up_updates):
        state, _ = trainer.update(state)
    recording = record(trainer, state)
    bare = BarePhysics(physics, trainer.config.num_envs)
    networks = Networks(trainer, state, recording)
    end_to_end = _EndToEnd(trainer, state)
    steps = (partial_seconds(bare.replay, recording), networks.seconds, end_to_end.seconds)
    for function in steps:
        function()  # compiles, allocates, warms caches
    seconds: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for function in steps:
            for name, value in function().items():
                seconds.setdefault(name, []).append(value)
    return Measurement(seconds, trainer.steps_per_update, int(recording.finished.sum()))


def record(trainer: VaeDistillation, state: TrainState) -> Recording:
    """The rollout that `trainer.update(state)` will make, the student acting everywhere."""
    task, student = trainer.task, trainer.student

    @jax.jit
    def control_step(params, teacher, clips, environments: DistillationState, key):
        before = environments.imitation
        observe = jax.vmap(lambda s: task.imitation.observe(s, clips))
        observation = observe(before).flat()
        environments, label = task.label(environments, teacher, clips)
        action = student.act(params, label.proprioception, label.reference, key)
        environments, outcome = task.step(environments, action, clips)
        environments, end = task.reset_finished(environments, outcome, teacher, clips)
        return environments, (observation, label, action, end.ended)

    _, rollout_key, _ = jax.random.split(state.key, 3)
    environments, steps = state.environments, []
    simulations = [jax.device_get(environments.imitation.physics)]
    for key in jax.random.split(rollout_key, trainer.config.unroll_length):
        arguments = (state.params, trainer.teacher, trainer.clips, environments, key)
        environments, step = control_step(*arguments)
        simulations.append(jax.device_get(environments.imitation.physics))
        steps.append(step)
    observations, labels, actions, finished = jax.tree.map(lambda *x: jnp.stack(x), *steps)
    return Recording(
        simulations=jax.tree.map(lambda *x: np.stack(x), *simulations),
        actions=np.asarray(actions),
        finished=np.asarray(finished),
        labels=labels,
        observations=observations,
        memory=state.environments.memory,
    )


class BarePhysics:
    """`mujoco.batch` on its own; only the calls into it are timed, not the setting of states."""

    def __init__(self, physics: MujocoBatchPhysics, num_envs: int):
        self._num_substeps = physics.config.num_substeps
        self._batch = mujoco.batch.Batch(physics.model, num_envs, nthread=physics.num_threads)
        self._arrays = {n: self._batch.bind(n) for n in (*_REPLAYED_FIELDS, "ctrl")}

    def replay(self, recording: Recording) -> dict[str, float]:
        """Seconds for the steps of the recording, and for the forward passes of its resets."""
        stepping = resetting = 0.0
        handler = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(lambda message: None)
        try:
            for t, actions in enumerate(recording.actions):
                self._write(recording.simulations, t)
                self._arrays["ctrl"][...] = actions
                stepping += _timed(lambda: self._batch.step(nstep=self._num_substeps))
                ids = np.flatnonzero(recording.finished[t])
                if ids.size:
                    self._write(recording.simulations, t + 1)
                    resetting += _timed(lambda ids=ids: self._batch.forward(ids=ids))
        finally:
            mujoco.set_mju_user_warning(handler)
        return {"physics": stepping, "reset forward": resetting}

    def _write(self, simulations: PhysicsState, t: int) -> None:
        for name in _REPLAYED_FIELDS:
            array = self._arrays[name]
            array[...] = getattr(simulations, name)[t].reshape(array.shape)


class Networks:
    """Teacher and student on recorded observations, and the gradient steps on recorded labels."""

    def __init__(self, trainer: VaeDistillation, state: TrainState, recording: Recording):
        self._recording, self._teacher = recording, trainer.teacher
        self._params, self._opt_state = jax.tree.map(jnp.copy, (state.params, state.opt_state))
        config = trainer.config
        reference_size = trainer.task.imitation.layout.reference_size
        self._key = jax.random.PRNGKey(config.seed)

        @jax.jit
        def act(params, teacher: FrozenPolicy, observations, memory, key):
            def step(memory, observation):
                output = teacher.act(observation, memory)
                reference, own = jnp.split(teacher.normalize(observation), [reference_size], -1)
                return output.memory, (output.action, trainer.student.act(params, own, reference, key))

            return jax.lax.scan(step, memory, observations)

        def loss(params, batch: Label, key):
            output = trainer.student.forward(params, batch.proprioception, batch.reference, key)
            parts = (output.action, batch.teacher_action, output.posterior, output.prior)
            return losses.distillation_loss(*parts, config.action_weight, config.kl_weight).total

        @jax.jit
        def learn(params, opt_state, labels: Label, key):
            def shape(x):
                return x.reshape(-1, config.batch_size, x.shape[-1])

            def minibatch(carry, batch):
                params, opt_state = carry
                grads = jax.grad(loss)(params, batch, key)
                updates, opt_state = trainer.optimizer.update(grads, opt_state, params)
                params = jax.tree.map(jnp.add, params, updates)
                return (params, opt_state), None

            def epoch(carry, _):
                return jax.lax.scan(minibatch, carry, jax.tree.map(shape, labels))

            return jax.lax.scan(epoch, (params, opt_state), length=config.num_epochs)[0]

        self._act, self._learn = act, learn

    def seconds(self) -> dict[str, float]:
        """Seconds of both parts for one update."""
        recording = self._recording
        acting = _timed(
            lambda: self._act(
                self._params, self._teacher, recording.observations, recording.memory, self._key
            )
        )
        learning = _timed(
            lambda: self._learn(self._params, self._opt_state, recording.labels, self._key)
        )
        return {"rollout networks": acting, "update networks": learning}


class _EndToEnd:
    """The trainer's own update, again and again from the same state."""

    def __init__(self, trainer: VaeDistillation, state: TrainState):
        self._trainer, self._state = trainer, state

    def seconds(self) -> dict[str, float]:
        state = jax.block_until_ready(jax.tree.map(jnp.copy, self._state))
        started = time.perf_counter()
        _, result = self._trainer.update(state)
        return {
            "end to end": time.perf_counter() - started,
            "rollout": result.seconds["rollout"],
            "update": result.seconds["update"],
            "physics calls": result.seconds["physics"],
        }


def partial_seconds(
    function: Callable[[Recording], Mapping[str, float]], recording: Recording
) -> Callable[[], Mapping[str, float]]:
    """Binds the recording."""
    return lambda: function(recording)


def _timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    try:
        jax.block_until_ready(function())
    except mujoco.batch.SimulationError:
        pass  # a wild state was stepped all the same
    return time.perf_counter() - started
