"""Plays the bundled teacher on the bundled clips and prints how well it tracks.

python -m vnl_mjx.demo.replay [--episodes 60] [--seed 0] [--blind]
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.analysis.evaluate import Episodes, draw_episodes
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.tasks.building import build_task
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.vae_distillation import VaeDistillationTask
from vnl_mjx.utils.track_mjx_loader import load_teacher
from vnl_mjx.walkers.walker import build_walker


def replay(
    policy: FrozenPolicy,
    task: ImitationTask,
    clips: ReferenceClips,
    episodes: Episodes,
    blind: bool = False,
) -> dict[str, np.ndarray]:
    """Plays every episode once, the policy deterministic.

    Args:
        policy: who acts.
        task: where.
        clips: what is to be followed.
        episodes: where the episodes start.
        blind: show the policy the mean of the reference part in place of the reference.

    Returns:
        [episode] each: "clip", "steps", "reward" per step, "survived".
    """

    @jax.jit
    def run(policy: FrozenPolicy, clips: ReferenceClips, episodes: Episodes):
        start = jax.vmap(lambda e: task.reset_to(e.key, clips, e.clip, e.start_frame, e.key))

        def control_step(carry, _):
            state, alive = carry
            observation = jax.vmap(lambda s: task.observe(s, clips))(state).flat()
            action = policy.act(jnp.where(hidden, policy.obs_mean, observation)).action
            state, outcome = jax.vmap(lambda s, a: task.step(s, a, clips))(state, action)
            step = (alive, outcome.reward * alive, outcome.terminated & alive)
            return (state, alive & ~(outcome.terminated | outcome.truncated)), step

        carry = (start(episodes), jnp.ones(episodes.clip.shape, bool))
        _, (alive, reward, failed) = jax.lax.scan(
            control_step, carry, None, length=task.max_episode_steps
        )
        steps = jnp.sum(alive, axis=0)
        return {
            "clip": episodes.clip,
            "steps": steps,
            "reward": jnp.sum(reward, axis=0) / steps,
            "survived": ~jnp.any(failed, axis=0),
        }

    hidden = blind & (np.arange(policy.config.observation_size) < policy.config.reference_size)
    played = run(policy, jax.tree.map(jnp.asarray, clips), episodes)
    return {name: np.asarray(values) for name, values in played.items()}


def table(played: dict[str, np.ndarray], names: tuple[str, ...], max_steps: int) -> str:
    """One line per clip and one for all."""
    lines = [f"{'clip':<28} episodes  reward/step  steps of {max_steps}  survival"]
    groups = {name: played["clip"] == index for index, name in enumerate(names)}
    groups["all"] = np.ones(len(played["clip"]), bool)
    for name, rows in groups.items():
        steps = played["steps"][rows]
        reward = np.average(played["reward"][rows], weights=steps)
        survived = 100 * played["survived"][rows].mean()
        lines.append(
            f"{name:<28} {rows.sum():>8}  {reward:>11.3f}  {steps.mean():>12.1f}  {survived:>6.0f} %"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--teacher", type=Path, default=DEMO_TEACHER)
    parser.add_argument("--clips", type=Path, default=DEMO_CLIPS)
    parser.add_argument("--blind", action="store_true", help="hide the reference: a baseline")
    args = parser.parse_args()
    teacher = load_teacher(args.teacher)
    walker = build_walker(teacher.task.walker)
    clips = read_clips(args.clips, walker)
    task = build_task(teacher.task, walker)
    episodes = draw_episodes(VaeDistillationTask(task), clips, args.episodes, args.seed)
    played = replay(teacher.policy, task, clips, episodes, args.blind)
    print(table(played, clips.names, task.max_episode_steps))


if __name__ == "__main__":
    main()
