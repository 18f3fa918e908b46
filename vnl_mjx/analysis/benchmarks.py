"""How close a distillation comes to the time that its physics and its network arithmetic need alone.

One rollout is recorded: the physics states that the student meets, its actions, the labels. The floor is
the time of exactly these states through bare `mujoco.batch`, without JAX, plus the time of exactly these
observations through the networks, without task or physics. End to end repeats the recorded update.
Repetitions of the three alternate, so that a machine that slows down slows all of them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np
import optax

from vnl_mjx.analysis.recording import Recording, record
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics
from vnl_mjx.tasks.vae_distillation import Label
from vnl_mjx.training import losses
from vnl_mjx.training.vae_distillation import TrainState, VaeDistillation

# What an update cannot do without.
FLOOR = ("physics", "rollout networks", "update networks")
_SPREAD = {"median": np.median, "min": np.min, "max": np.max}
# What decides a step: the constraint solver's work depends on its warm start as well.
_REPLAYED_FIELDS = ("qpos", "qvel", "act", "qacc_warmstart", "time")


@dataclass(frozen=True)
class Measurement:
    """Seconds per update, one entry per repetition, and what an update consists of.

    Attributes:
        seconds: those of `FLOOR`; "end to end" and its parts "rollout" and "update"; "physics calls"
            (within the rollout, with copies) and "reset forward" (bare).
        env_steps: control steps per update, summed over environments.
        resets: environments reset in the update.
    """

    seconds: dict[str, list[float]]
    env_steps: int
    resets: int

    def floor(self) -> list[float]:
        """Seconds that physics and networks need alone, per repetition."""
        return [sum(values) for values in zip(*self._floor_parts(), strict=True)]

    def ratio(self) -> list[float]:
        """End-to-end rate over the floor's, per repetition: 1 is perfect."""
        pairs = zip(self.floor(), self.seconds["end to end"], strict=True)
        return [floor / whole for floor, whole in pairs]

    def ratio_of_fastest(self) -> float:
        """The ratio of the fastest repetitions: least disturbed by other work on the machine."""
        return sum(map(min, self._floor_parts())) / min(self.seconds["end to end"])

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
            "ratio_of_fastest": self.ratio_of_fastest(),
        }

    def _floor_parts(self) -> list[list[float]]:
        return [self.seconds[name] for name in FLOOR]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {name: float(f(values)) for name, f in _SPREAD.items()}


def measure(
    trainer: VaeDistillation, seed: int, warm_up_updates: int, repetitions: int
) -> Measurement:
    """Measures one update after `warm_up_updates`, which bring the environments out of step.

    Args:
        trainer: on the C back end.
        seed: of the run.
        warm_up_updates: updates before the measured one.
        repetitions: of every measurement.
    """
    physics = cast(MujocoBatchPhysics, trainer.task.imitation.physics)
    state = trainer.init(seed)
    for _ in range(warm_up_updates):
        state, _ = trainer.update(state)
    recording = record(trainer, state)
    bare = BarePhysics(physics, trainer.config.num_envs)
    networks = Networks(trainer, state, recording)
    end_to_end = _EndToEnd(trainer, state)
    candidates = (partial(bare.seconds, recording), networks.seconds, end_to_end.seconds)
    for candidate in candidates:
        candidate()  # compiles, allocates, warms caches
    seconds: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for candidate in candidates:
            for name, value in candidate().items():
                seconds.setdefault(name, []).append(value)
    return Measurement(seconds, trainer.steps_per_update, int(recording.finished.sum()))


class BarePhysics:
    """`mujoco.batch` on its own; only the calls into it are timed, not the setting of states."""

    def __init__(self, physics: MujocoBatchPhysics, num_envs: int):
        self._num_substeps = physics.config.num_substeps
        self._batch = mujoco.batch.Batch(physics.model, num_envs, nthread=physics.num_threads)
        self._arrays = {n: self._batch.bind(n) for n in (*_REPLAYED_FIELDS, "ctrl")}

    def seconds(self, recording: Recording) -> dict[str, float]:
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
        self._trainer, self._recording = trainer, recording
        self._params, self._opt_state = state.params, state.opt_state
        self._act, self._learn = jax.jit(self._act_impl), jax.jit(self._learn_impl)

    def seconds(self) -> dict[str, float]:
        """Seconds of both parts for one update."""
        recording, key = self._recording, jax.random.PRNGKey(0)
        teacher = self._trainer.teacher
        observed = (teacher, recording.observations, recording.memory)
        return {
            "rollout networks": _timed(partial(self._act, self._params, *observed, key)),
            "update networks": _timed(
                partial(self._learn, self._params, self._opt_state, recording.labels, key)
            ),
        }

    def _act_impl(self, params, teacher: FrozenPolicy, observations, memory, key):
        student = self._trainer.student
        reference_size = student.config.reference_size

        def step(memory, inputs):
            observation, key = inputs
            output = teacher.act(observation, memory)
            reference, own = jnp.split(teacher.normalize(observation), [reference_size], axis=-1)
            return output.memory, (output.action, student.act(params, own, reference, key))

        keys = jax.random.split(key, len(observations))
        return jax.lax.scan(step, memory, (observations, keys))

    def _learn_impl(self, params, opt_state, labels: Label, key):
        config, optimizer = self._trainer.config, self._trainer.optimizer
        batches = jax.tree.map(lambda x: x.reshape(-1, config.batch_size, x.shape[-1]), labels)

        def minibatch(carry, inputs):
            params, opt_state = carry
            grads = jax.grad(self._loss)(params, *inputs)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        def epoch(carry, key):
            keys = jax.random.split(key, len(batches.teacher_action))
            return jax.lax.scan(minibatch, carry, (batches, keys))

        return jax.lax.scan(epoch, (params, opt_state), jax.random.split(key, config.num_epochs))[0]

    def _loss(self, params, batch: Label, key):
        output = self._trainer.student.forward(params, batch.proprioception, batch.reference, key)
        parts = (output.action, batch.teacher_action, output.posterior, output.prior)
        config = self._trainer.config
        return losses.distillation_loss(*parts, config.action_weight, config.kl_weight).total


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


def _timed(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    try:
        jax.block_until_ready(function())
    except mujoco.batch.SimulationError:
        pass  # a wild state was stepped all the same
    return time.perf_counter() - started
