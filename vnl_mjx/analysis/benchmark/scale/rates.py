"""Environment steps per second of a distillation, of a PPO and of what they are made of."""

from typing import Any

from vnl_mjx.analysis.benchmark.scale.environments import Environments
from vnl_mjx.analysis.benchmark.scale.measuring import (
    WARM_UP_UPDATES,
    Effort,
    Note,
    compile_costs,
    compile_pool,
    compile_updates,
    copied,
    peak_memory,
    rates,
    repeated,
    timed_call,
    tree_bytes,
)
from vnl_mjx.tasks.vae_distillation import DistillationState
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.trainer import Trainer
from vnl_mjx.training.vae_distillation import VaeDistillation


def measure_distillation(
    trainer: VaeDistillation, effort: Effort, note: Note, compile_threads: int = 1
) -> None:
    """Notes "distillation", "teacher", "environment" and "physics", each with its rate and its programs.

    The environments of the last three go on from where those of the distillation stand after the first
    updates.

    Args:
        trainer: to measure.
        effort: of each of the four.
        note: is told.
        compile_threads: that compile at the same time; their seconds then count together.
    """
    environments = Environments(trainer)
    seconds, state = _compiled_and_warm(trainer, compile_threads, environments)
    start = copied(state.environments)
    sizes = getattr(trainer.task.imitation.physics, "sizes", None)
    note(
        "distillation",
        _measure_updates(trainer, state, effort)
        | {
            "init_seconds": seconds,
            "num_substeps": trainer.task.imitation.config.physics.num_substeps,
            "environment_bytes": tree_bytes(start) // trainer.num_envs,
            "room": vars(sizes) if sizes else None,
        },
    )
    del state
    _measure_environments(environments, trainer, start, effort, note)


def measure_ppo(trainer: Ppo, effort: Effort, note: Note, compile_threads: int = 1) -> None:
    """Notes "ppo"; as `measure_distillation`."""
    seconds, state = _compiled_and_warm(trainer, compile_threads)
    note("ppo", _measure_updates(trainer, state, effort) | {"init_seconds": seconds})


def _compiled_and_warm(
    trainer: Trainer[Any], compile_threads: int, environments: Environments | None = None
) -> tuple[float, Any]:
    """Seconds of compiling and making the first state, and the state after some updates."""
    with compile_pool(compile_threads) as pool:
        compile_updates(trainer, pool)
        if environments is not None:
            environments.compile_in(pool)
        seconds, state = timed_call(trainer.init, 0)
    for _ in range(WARM_UP_UPDATES):
        state, _ = trainer.update(state)
    return seconds, state


def _measure_updates(trainer: Trainer[Any], state: Any, effort: Effort) -> dict[str, Any]:
    """Updates one after the other; `state` is consumed."""
    last: dict[str, Any] = {}

    def update() -> float:
        nonlocal state
        seconds, (state, last["update"]) = timed_call(trainer.update, state)
        return seconds

    found = rates(trainer.steps_per_update, repeated(update, effort))
    rollout = last["update"].rollout
    return found | {
        "programs": compile_costs(trainer.programs),
        "peak": peak_memory(),
        "seconds_of_the_last": dict(last["update"].seconds),
        "reward": float(rollout.reward / rollout.num_steps),
        "resets": float(rollout.episodes),
        "diverged": float(rollout.failures["nan"]),
    }


def _measure_environments(
    environments: Environments,
    trainer: VaeDistillation,
    start: DistillationState,
    effort: Effort,
    note: Note,
) -> None:
    env_steps, data = trainer.steps_per_update, trainer.data
    teacher, environment, physics = environments.stages.values()
    _, actions, _ = teacher(copied(start), data)
    calls = {
        "teacher": lambda: timed_call(teacher, copied(start), data),
        "environment": lambda: timed_call(environment, copied(start), actions, data),
        "physics": lambda: timed_call(physics, copied(start.imitation.physics), actions),
    }
    for name, call in calls.items():
        _, result = call()  # warm
        found = rates(env_steps, repeated(lambda call=call: call()[0], effort))
        if isinstance(result, tuple):
            tally = vars(result[-1])
            found |= {name: float(tally[name]) for name in tally if name != "observation"}
            found["reward"] /= env_steps
        found["programs"] = {name: compile_costs(environments.stages)[name]}
        note(name, found | {"peak": peak_memory()})
