"""How close a training comes to the time that its physics and its networks need alone.

One update of the trainer is recorded after three that bring the environments out of step with each other.
The floor of that update is the sum of three parts, each computed from the recording:

1. physics: the control steps of the rollout. In MuJoCo C every call of `mujoco.batch.Batch.step` that the
   rollout made, in order, in a plain batch with as many threads: each on the recorded state (positions,
   velocities, activations, warm starts, time) under the recorded controls, without JAX, resets and
   derived arrays; only the call is timed, not the setting of the state. On the other back ends one
   compiled scan of `physics.step` from the recorded state under the visited controls, without resets.
2. rollout networks: what acts and what labels, on the recorded observations, step by step in one compiled
   scan, without task, resets and statistics.
3. update: the trainer's own compiled update (`Trainer.programs["update"]`) on the recorded rollout.

End to end is `Trainer.update` from the recorded state. What it adds to the floor is thus all that a
rollout does besides physics and networks: observations, rewards, resets, copies, statistics.
Repetitions of all of them alternate, so that a machine that slows down slows all.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import mujoco
import mujoco.batch
import numpy as np
from rich.console import Console
from start import PROCESS_WIDTHS, first_updates
from timing import copied, machine, peak_memory_mb, spread, table, timed
from trainings import Training, simulations, task_of

WARM_UP_UPDATES = 3
REPETITIONS, QUICK_REPETITIONS = 5, 3
FLOOR = ("physics", "rollout networks", "update")
# What decides a step: the constraint solver's work depends on its warm start too.
INPUTS = ("qpos", "qvel", "act", "qacc_warmstart", "time", "ctrl")
DISTURBED = 1.15  # repetitions of the same work that differ more tell of other work on the machine

Batch = mujoco.batch.Batch


@dataclass(frozen=True)
class Call:
    """One call into MuJoCo: which batch, what it ran, on which rows, and all inputs [row, ...]."""

    batch: Batch
    function: str
    ids: np.ndarray | None
    arguments: dict[str, Any]
    models: list[mujoco.MjModel] | None
    inputs: dict[str, np.ndarray]


class RecordingBatch(Batch):
    """A batch that notes its calls while `recorded` asks for it."""

    calls: list[Call] | None = None
    _own_models: list[mujoco.MjModel] | None = None

    def set_models(self, models: Any) -> None:
        """See `Batch`."""
        self._own_models = models
        super().set_models(models)

    def step(self, ids: Any = None, **arguments: Any) -> None:
        """See `Batch`."""
        self._note("step", ids, arguments)
        super().step(ids, **arguments)

    def forward(self, ids: Any = None, **arguments: Any) -> None:
        """See `Batch`."""
        self._note("forward", ids, arguments)
        super().forward(ids, **arguments)

    def _note(self, function: str, ids: Any, arguments: dict[str, Any]) -> None:
        if RecordingBatch.calls is not None:
            inputs = {name: self.bind(name).copy() for name in INPUTS}
            models = self._own_models
            RecordingBatch.calls.append(Call(self, function, ids, arguments, models, inputs))


# In place before any simulation is made.
mujoco.batch.Batch = RecordingBatch


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """The calls into `mujoco.batch` in the context."""
    RecordingBatch.calls = calls = []
    try:
        yield calls
    finally:
        RecordingBatch.calls = None


class BatchReplay:
    """The recorded calls again, in a plain batch."""

    def __init__(self, calls: list[Call]):
        """Makes the batch."""
        self._calls, batch = calls, calls[0].batch
        self._batch = Batch(batch.model, batch.nsim, nthread=batch.nthread)
        self._inputs = {name: self._batch.bind(name) for name in INPUTS}

    def seconds(self) -> dict[str, float]:
        """Seconds of the control steps, and of the forward passes of resets."""
        found = {"step": 0.0, "forward": 0.0}
        handler = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(lambda message: None)
        try:
            for call in self._calls:
                if call.models is not None:
                    self._batch.set_models(call.models)
                for name, value in call.inputs.items():
                    self._inputs[name][...] = value
                run = getattr(self._batch, call.function)
                found[call.function] += timed(lambda run=run, c=call: run(c.ids, **c.arguments))
        finally:
            mujoco.set_mju_user_warning(handler)
        return {"physics": found["step"], "reset forward": found["forward"]}


class ScanReplay:
    """The control steps alone, where JAX simulates."""

    def __init__(self, physics: Any, start: Any, controls: jax.Array):
        """Compiles at the first use.

        Args:
            physics: of one environment.
            start: [env, ...] physics states.
            controls: [time, env, nu].
        """
        step = jax.vmap(physics.step)
        self._run = jax.jit(lambda s, c: jax.lax.scan(lambda s, c: (step(s, c), None), s, c)[0])
        self._arguments = start, controls

    def seconds(self) -> dict[str, float]:
        """Seconds of the control steps."""
        return {"physics": timed(self._run, *self._arguments)}


class Tap:
    """One of a trainer's programs; keeps the arguments of its last call."""

    def __init__(self, program: Callable[..., Any]):
        """Takes the program."""
        self.program, self.arguments = program, ()

    def __call__(self, *arguments: Any) -> Any:
        """As the program."""
        self.arguments = copied(arguments)
        return self.program(*arguments)


def measure(training: Training, repetitions: int) -> dict[str, Any]:
    """Measures one update; JSON-able: seconds, rates and the ratio of end to end over the floor."""
    run = training.open()
    trainer = run.trainer
    trainer.start_compiling()
    state = run.training.initial_state()
    for _ in range(WARM_UP_UPDATES):
        state, _ = trainer.update(state)
    program = trainer.programs["update"]
    trainer.programs["update"] = tap = Tap(program)
    with recorded() as calls:
        _, result = trainer.update(copied(state))
    trainer.programs["update"] = program
    moved, visited, *rest = tap.arguments

    if training.backend == "mujoco":
        physics = BatchReplay(calls)
    else:
        controls = training.controls(visited)
        physics = ScanReplay(task_of(trainer).physics, simulations(state), controls)
    networks = training.networks(trainer, state, visited)

    def end_to_end() -> dict[str, float]:
        fresh = copied(state)
        started = time.perf_counter()
        _, update = trainer.update(fresh)
        parts = {name: update.seconds[name] for name in ("rollout", "physics")}
        return {
            "end to end": time.perf_counter() - started,
            "rollout": parts["rollout"],
            "physics calls": parts["physics"],
        }

    candidates = (
        physics.seconds,
        lambda: {"rollout networks": timed(networks)},
        lambda: {"update": timed(program, copied(moved), visited, *rest)},
        end_to_end,
    )
    seconds: dict[str, list[float]] = {}
    for repetition in range(repetitions + 1):  # the first compiles and warms caches
        for candidate in candidates:
            for name, value in candidate().items():
                if repetition:
                    seconds.setdefault(name, []).append(value)
    costs = {name: stage.program for name, stage in trainer.programs.items()}
    return {
        "measured": training.command,
        "backend": training.backend,
        "threads": training.config.physics_config.num_threads or "all",
        **training.numbers,
        "resets": int(result.rollout.episodes),
        "reward": float(result.rollout.reward / result.rollout.num_steps),
        "diverged": float(result.rollout.failures["nan"]),
        "overflowed": float(result.rollout.overflowed),
        "peak_memory_mb": peak_memory_mb(),
        "programs": {n: vars(p) | {"total_bytes": p.total_bytes} for n, p in costs.items()},
        **rates(seconds, trainer.steps_per_update),
    }


def rates(seconds: dict[str, list[float]], env_steps: int) -> dict[str, Any]:
    """Median, smallest and largest of all that follows from seconds per update, by repetition."""
    values = {name: np.array(each) for name, each in seconds.items()}
    parts = [values[name] for name in FLOOR]
    floor, whole = np.sum(parts, axis=0), values["end to end"]
    per_second = {"physics": values["physics"], "floor": floor, "end to end": whole}
    return {
        "env_steps": env_steps,
        "seconds": {name: spread(each) for name, each in values.items()},
        "steps_per_second": {name: spread(env_steps / each) for name, each in per_second.items()},
        "ratio": spread(floor / whole),
        # Least disturbed by other work on the machine.
        "ratio_of_fastest": float(sum(part.min() for part in parts) / whole.min()),
        "rollout_ratio": spread((parts[0] + parts[1]) / values["rollout"]),
    }


def run(kind: type[Training], target: float, description: str) -> None:
    """The command line of `distillation.py` and `ppo.py`."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="neither start nor memory")
    parser.add_argument("--envs", type=int, help="environments, with as many minibatches")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML under the overrides")
    parser.add_argument("overrides", nargs="*", help=f"key=value of vnl-mjx {kind.command}")
    args = parser.parse_intermixed_args()
    training = kind(args.overrides, args.envs, args.config)
    console, report = Console(), {"target": target}
    if not args.quick:
        report["start"] = first_updates(training, 1)["seconds"]
        report["process_mb"] = {
            n: first_updates(kind(args.overrides, n, args.config), 2)["peak_memory_mb"]
            for n in PROCESS_WIDTHS
        }
    default = QUICK_REPETITIONS if args.quick else REPETITIONS
    report |= measure(training, args.repetitions or default)
    report["machine"] = machine()
    show(console, report, training)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2), encoding="utf-8")


def show(console: Console, report: dict[str, Any], training: Training) -> None:
    """Prints a report."""
    sizes = ", ".join(f"{name} {value}" for name, value in training.numbers.items())
    versions = (f"{name} {report['machine']['versions'][name]}" for name in ("mujoco", "jax"))
    console.print(f"{training.name} on {report['backend']}: {sizes}; {', '.join(versions)}")
    labels = {
        "physics": "physics alone",
        "floor": "floor: physics, then networks",
        "end to end": f"{training.name} end to end",
    }
    spreads = ("median", "min", "max")
    rows = table("Control steps per second", *spreads)
    for name, label in labels.items():
        rows.add_row(label, *shown_spread(report["steps_per_second"][name], ",.0f"))
    ratio = f"end to end / floor (target {report['target']:g})"
    rows.add_row(ratio, *shown_spread(report["ratio"], ".3f"))
    rows.add_row("  of the fastest repetitions", f"{report['ratio_of_fastest']:.3f}")
    rows.add_row("rollout / its floor", *shown_spread(report["rollout_ratio"], ".3f"))
    console.print(rows)
    rows = table(f"Seconds per update of {report['env_steps']:,} control steps", *spreads)
    for name, values in report["seconds"].items():
        rows.add_row(name, *shown_spread(values, ".3f"))
    console.print(rows)
    physics = report["seconds"]["physics"]
    if physics["max"] > DISTURBED * physics["min"]:
        console.print("warning: the repetitions differ; was something else running?")
    console.print(
        f"{report['resets']} resets; {report['diverged']:.0f} steps diverged, "
        f"{report['overflowed']:.0f} overflowed; compiled in "
        + ", ".join(f"{p['seconds']:.1f} s ({n})" for n, p in report["programs"].items())
    )
    if "start" in report:
        rows = table("A new process to the end of its first update", "seconds")
        for name, value in report["start"].items():
            rows.add_row(name, f"{value:.1f}")
        console.print(rows)
        rows = table("Peak memory of two updates", "MB")
        for num_envs, value in report["process_mb"].items():
            rows.add_row(f"{num_envs} environments", f"{value:.0f}")
        console.print(rows)


def shown_spread(values: dict[str, float], spec: str) -> list[str]:
    """The cells of a row."""
    return [format(value, spec) for value in values.values()]
