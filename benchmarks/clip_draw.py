"""What drawing the clip of a reset costs in a control step, with many clips.

    uv run python benchmarks/clip_draw.py [--envs 1024] [--clips 842] [--frames 62] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx train-teacher`, whose clips are drawn by how often they fail. The trainer's
compiled rollout runs with the same frames as CLIPS clips and as a few long ones, with a simulation that
stands still, repetitions alternating: what it takes longer per control step is the draw. The share is
that of a control step with the real simulation. Printed besides: two ways to draw, compiled alone.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import copied, exit_status, spread, timed
from trainings import TeacherTraining, task_of

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.walkers.walker import build_walker

FEW = 8
REPETITIONS = 7
SMALL_NETWORKS = (  # they are not what is measured
    "network.encoder_hidden_sizes=[16]",
    "network.decoder_hidden_sizes=[16]",
    "network.value_hidden_sizes=[16]",
    "ppo.guidance=0",
    "reference_config.held_out_fraction=0",
)


class StandingStill:
    """A simulation that stays where it was reset to; all else is the real one's."""

    def __init__(self, physics: Any):
        """Takes the real one."""
        self._physics = physics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._physics, name)

    def reset(self, qpos: jax.Array, qvel: jax.Array, *_: Any, **__: Any) -> Any:
        """The given position and velocity; all else zero."""
        return self._physics.zeros().replace(qpos=qpos, qvel=qvel)

    def step(self, state: Any, ctrl: jax.Array) -> Any:
        """Nothing moves."""
        del ctrl
        return state


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--clips", type=int, default=842)
    parser.add_argument("--frames", type=int, default=62, help="of each clip")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    given = [*SMALL_NETWORKS, *args.overrides, "physics_config.backend=mujoco"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clips.h5"
        found = {}
        for name, num_clips in {"many": args.clips, "few": FEW}.items():
            write(file, TeacherTraining(given), num_clips, args.clips * args.frames)
            overrides = [*given, f"reference_config.paths=[{file}]"]
            found[name] = TeacherTraining(overrides, args.envs).open()
            if name == "many":
                real = rollout(found[name].trainer, found[name].training.initial_state())
            task = task_of(found[name].trainer)
            task.physics = StandingStill(task.physics)
        step_ms = 1e3 * np.median([real() for _ in range(3)][1:])
        still = {n: rollout(run.trainer, run.training.initial_state()) for n, run in found.items()}
        rows = np.array([[each() for each in still.values()] for _ in range(1 + REPETITIONS)])[1:]
    draw_ms = 1e3 * (rows[:, 0] - rows[:, 1])
    print(f"{args.envs} environments, {args.clips} clips of {args.frames} frames")
    print(
        f"control step: {step_ms:.2f} ms; with a simulation that stands still {_text(rows[:, 0])}"
    )
    print(f"the same frames as {FEW} clips: {_text(rows[:, 1])}")
    median = float(np.median(draw_ms))
    share = 100 * median / step_ms
    print(f"draw: {_text(1e-3 * draw_ms)}, {share:.2f} % of a control step")
    for name, seconds in alone(args.envs, args.clips).items():
        print(f"alone, {name}: {_text(np.array(seconds))}")


def write(file: Path, training: TeacherTraining, num_clips: int, num_frames: int) -> None:
    """Writes `num_clips` clips of equal length, about `num_frames` frames in all."""
    walker = build_walker(training.config.task.walker)
    (source,) = training.config.reference_config.paths or (DEMO_CLIPS,)
    clips = read_clips(source, walker)
    poses, length = np.asarray(clips.qpos(), np.float64), num_frames // num_clips
    qpos = np.resize(poses, (num_clips * length, poses.shape[1]))
    write_clips(file, clips_from_poses(walker, qpos, [length] * num_clips, clips.rate_hz))


def rollout(trainer: Any, state: Any) -> Callable[[], float]:
    """A function that gives seconds per control step of the trainer's compiled rollout."""
    program = trainer.programs["rollout"]
    key, length = jax.random.PRNGKey(0), trainer.steps_per_update // trainer.num_envs

    def seconds() -> float:
        return timed(program, copied(state), trainer.data, key) / length

    return seconds


def alone(num_envs: int, num_clips: int) -> dict[str, list[float]]:
    """Seconds of drawing a clip for each environment, in two ways."""
    weights = jnp.linspace(1.0, 2.0, num_clips)

    @jax.jit
    def categorical(keys, weights):
        return jax.vmap(lambda key: jax.random.categorical(key, jnp.log(weights)))(keys)

    @jax.jit
    def cumulative(keys, weights):
        edges = jnp.cumsum(weights)
        draws = edges[-1] * jax.vmap(jax.random.uniform)(keys)
        return jnp.searchsorted(edges, draws, side="right")

    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    ways = {"categorical per environment": categorical, "cumulative weights": cumulative}
    return {
        name: [timed(draw, keys, weights) for _ in range(1 + REPETITIONS)][1:]
        for name, draw in ways.items()
    }


def _text(seconds: np.ndarray) -> str:
    """Median, smallest and largest in ms."""
    median, low, high = (1e3 * value for value in spread(seconds).values())
    return f"{median:.3f} ms ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    sys.exit(exit_status(main))
