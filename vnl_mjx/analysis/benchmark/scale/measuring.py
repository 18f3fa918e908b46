"""Repeated timing, compile cost and memory, as the jobs of `benchmark.scale` note them."""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.analysis.benchmark.subjects import spread
from vnl_mjx.training.programs import Stage
from vnl_mjx.training.trainer import Trainer

# Told of each figure as soon as it is there: its name and what was found, JSON-able.
Note = Callable[[str, dict[str, Any]], None]

# Environments start in step with each other and students know nothing; some updates change both.
WARM_UP_UPDATES = 3
_BYTES_PER_KB = 1024


@dataclass(frozen=True)
class Effort:
    """How often one thing is timed.

    Attributes:
        min_seconds: in all; more repetitions until then.
        min_repetitions: likewise.
        max_seconds: no repetition begins after so many, but the second.
    """

    min_seconds: float = 3.0
    min_repetitions: int = 5
    max_seconds: float = 20.0


def repeated(seconds: Callable[[], float], effort: Effort) -> list[float]:
    """What `seconds` gives, again and again: seconds of one repetition each time."""
    found: list[float] = []
    while len(found) < effort.min_repetitions or sum(found) < effort.min_seconds:
        if len(found) > 1 and sum(found) > effort.max_seconds:
            break
        found.append(seconds())
    return found


def rates(env_steps: int, seconds: Sequence[float]) -> dict[str, Any]:
    """Environment steps per second and seconds of repetitions of `env_steps` each."""
    return {
        "env_steps": env_steps,
        "repetitions": len(seconds),
        "seconds": spread(seconds),
        "steps_per_second": spread([env_steps / each for each in seconds]),
    }


def timed_call(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds until all that `function` gives is there, and what it gives."""
    started = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return time.perf_counter() - started, result


def copied(tree: Any) -> Any:
    """The same arrays in buffers of their own, for a program that consumes its arguments."""
    return jax.block_until_ready(jax.tree.map(jnp.copy, tree))


@contextmanager
def compile_pool(num_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads to compile in; all is compiled when the block ends."""
    with ThreadPoolExecutor(num_threads, thread_name_prefix="compile") as pool:
        yield pool


def compile_updates(trainer: Trainer[Any], pool: Executor) -> None:
    """Begins to compile what an update of `trainer` consists of, if it is not there yet."""
    rollout, learn = trainer.programs.values()
    if rollout.program and learn.program:
        return
    key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
    state = jax.eval_shape(trainer.initial_state, key, trainer.data)
    _, visited, _ = rollout.compile_in(pool, state, trainer.data, key)
    learn.compile_in(pool, state, visited, key)


def compile_costs(stages: dict[str, Stage]) -> dict[str, dict[str, Any]]:
    """Of each compiled program its seconds and its bytes on a device."""
    found = {name: stage.program for name, stage in stages.items()}
    return {
        name: asdict(program) | {"total_bytes": program.total_bytes}
        for name, program in found.items()
        if program is not None
    }


def tree_bytes(tree: Any) -> int:
    """What the arrays of `tree` hold."""
    return sum(np.dtype(x.dtype).itemsize * x.size for x in jax.tree.leaves(tree))


def peak_memory() -> dict[str, int]:
    """The most that this process has held so far: on JAX's first device, where it counts, and on the host."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"host_bytes": peak * (1 if sys.platform == "darwin" else _BYTES_PER_KB)}
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        found["device_bytes"] = int(statistics["peak_bytes_in_use"])
    return found
