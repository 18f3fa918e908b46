"""How close a training comes to the time that its physics and its network arithmetic need alone.

One rollout is recorded: the physics states that the policy meets, its actions, what is learnt from. The
floor is the time of exactly these states through bare `mujoco.batch`, without JAX, plus the time of
exactly these observations through the networks, without task or physics. End to end repeats the recorded
update. Repetitions of the three alternate, so that a machine that slows down slows all of them.
What a rollout records and what its networks compute, `benchmark.distillation` and `benchmark.ppo` say.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import flax.struct
import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np

from vnl_mjx.physics.base import PhysicsState, configure_model
from vnl_mjx.physics.mujoco_batch import MujocoBatchPhysics
from vnl_mjx.physics.randomization import draw_variants
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.vae_distillation import VaeDistillation

# What an update cannot do without.
FLOOR = ("physics", "rollout networks", "update networks")
_SPREAD = {"median": np.median, "min": np.min, "max": np.max}
# What decides a step: the constraint solver's work depends on its warm start as well.
_REPLAYED_FIELDS = ("qpos", "qvel", "act", "qacc_warmstart", "time")

State = TypeVar("State")
Trainer = VaeDistillation | Ppo


class Networks(Protocol):
    """The network arithmetic of one update."""

    def seconds(self) -> dict[str, float]:
        """Seconds of "rollout networks" and "update networks"."""
        ...


@flax.struct.dataclass
class Recording:
    """What the physics did in one rollout, T actions in N environments, NumPy.

    Attributes:
        simulations: [T + 1, N, ...] before each step and after the last (resets included).
        actions: [T, N, nu] what was applied.
        finished: [T, N] bool, environments reset after the step.
    """

    simulations: PhysicsState
    actions: np.ndarray
    finished: np.ndarray


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
    trainer: Trainer,
    state: Any,
    prepare: Callable[[Any, Any], tuple[Recording, Networks]],
    warm_up_updates: int,
    repetitions: int,
) -> Measurement:
    """Measures one update after `warm_up_updates`, which bring the environments out of step.

    Args:
        trainer: on the C back end.
        state: that the training begins with; consumed.
        prepare: from trainer and state to the recording of the next update and its networks.
        warm_up_updates: updates before the measured one.
        repetitions: of every measurement.
    """
    for _ in range(warm_up_updates):
        state, _ = trainer.update(state)
    recording, networks = prepare(trainer, state)
    repeat = getattr(trainer.config, "action_repeat", 1)
    bare = BarePhysics(trainer.task.imitation, trainer.config.num_envs, repeat)
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


def play(
    control_step: Callable[[State, jax.Array], tuple[State, Any]],
    state: State,
    keys: jax.Array,
    simulation: Callable[[State], PhysicsState],
) -> tuple[State, PhysicsState, Any]:
    """Repeats `control_step` on its own, once per key.

    Returns:
        The last state; `simulation` of every state from the first on, NumPy [T + 1, N, ...]; what the
        steps gave besides, [T, N, ...].
    """
    simulations, steps = [jax.device_get(simulation(state))], []
    for key in keys:
        state, step = control_step(state, key)
        simulations.append(jax.device_get(simulation(state)))
        steps.append(step)
    return (
        state,
        jax.tree.map(lambda *x: np.stack(x), *simulations),
        jax.tree.map(lambda *x: jnp.stack(x), *steps),
    )


class BarePhysics:
    """`mujoco.batch` on its own; only the calls into it are timed, not the setting of states."""

    def __init__(self, task: ImitationTask, num_envs: int, action_repeat: int = 1):
        """Makes the batch; `action_repeat` is the control steps that each recorded action lasts."""
        physics, walker = cast(MujocoBatchPhysics, task.physics), task.walker
        self._num_substeps = physics.config.num_substeps * action_repeat
        self._batch = mujoco.batch.Batch(physics.model, num_envs, nthread=physics.num_threads)
        self._arrays = {n: self._batch.bind(n) for n in (*_REPLAYED_FIELDS, "ctrl")}
        drawn = draw_variants(walker.model, walker.root_body, task.config.randomization)
        self._bodies = [configure_model(m, physics.config) for m in drawn.models] if drawn else []

    def seconds(self, recording: Recording) -> dict[str, float]:
        """Seconds for the steps of the recording, and for the forward passes of its resets."""
        stepping = resetting = 0.0
        handler = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(lambda message: None)
        try:
            for t, actions in enumerate(recording.actions):
                self._write(recording.simulations, t)
                self._arrays["ctrl"][...] = actions
                stepping += timed(lambda: self._batch.step(nstep=self._num_substeps))
                ids = np.flatnonzero(recording.finished[t])
                if ids.size:
                    self._write(recording.simulations, t + 1)
                    resetting += timed(lambda ids=ids: self._batch.forward(ids=ids))
        finally:
            mujoco.set_mju_user_warning(handler)
        return {"physics": stepping, "reset forward": resetting}

    def _write(self, simulations: PhysicsState, t: int) -> None:
        if simulations.variant is not None:
            self._batch.set_models([self._bodies[i] for i in np.asarray(simulations.variant[t])])
        for name in _REPLAYED_FIELDS:
            array = self._arrays[name]
            array[...] = getattr(simulations, name)[t].reshape(array.shape)


class _EndToEnd:
    """The trainer's own update, again and again from the same state."""

    def __init__(self, trainer: Trainer, state: Any):
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


def timed(function: Callable[[], Any]) -> float:
    """Seconds until what `function` gives is there."""
    started = time.perf_counter()
    try:
        jax.block_until_ready(function())
    except mujoco.batch.SimulationError:
        pass  # a wild state was stepped all the same
    return time.perf_counter() - started
