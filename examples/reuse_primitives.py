"""Motor primitives, step by step: drive a rat by them, search among them, and train a task of your own.

    python examples/reuse_primitives.py [RUN] [--quick] [--work FOLDER]

RUN is a distillation's run folder; without one the bundled student is taken. About 5 minutes on two cores, a
minute and a half with --quick, after which the trained policy can do nothing yet.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import vnl_mjx
from vnl_mjx.cli import main as command
from vnl_mjx.demo import DEMO_STUDENT
from vnl_mjx.evaluation.task_evaluation import ConstantAction, TaskPlayer
from vnl_mjx.tasks.downstream.goal import Goal
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.tasks.policies import Acted

SECONDS = 2.0


class Sprint(Goal):
    """A task of your own: run, in whatever direction, as fast as you can."""

    name, observation_size, episode_s = "sprint", 1, 5.0

    def observe(self, motion, goal):
        """What the policy sees besides the body: how fast it is, which the body does not tell."""
        return motion.forward[None]

    def terms(self, motion, goal):
        """What is paid, by name."""
        return {"speed": 5.0 * motion.forward, "sideways": -2.0 * jnp.square(motion.sideways)}

    def measures(self, motion, goal):
        """How well it is done, in units that people understand."""
        return {"speed_m_per_s": motion.forward}


class DrawnFromPrior:
    """A policy that needs no training: actions that are drawn as the prior draws latents."""

    def __init__(self, latent_dim):
        self.latent_dim = latent_dim

    def initial_memory(self, num_envs):
        return ()

    def act(self, observation, memory, key):
        num_envs = observation["body"].shape[0]
        # LowLevel takes an action of 1 for two deviations of the prior
        return Acted(0.5 * jax.random.normal(key, (num_envs, self.latent_dim)), memory, ())


jax.tree_util.register_static(DrawnFromPrior)


def speed(played):
    """Mean forward speed of each episode."""
    measured = np.where(played.alive, played.measures["speed_m_per_s"], 0.0)
    return measured.sum(axis=0) / played.alive.sum(axis=0)


def search(player, data, num_rounds, num_tried, rng):
    """Cross-entropy method: the constant action from whose latents the rat runs fastest."""
    mean, std = np.zeros(player.task.action_size), 0.3
    for round_ in range(num_rounds):
        tried = np.clip(mean + std * rng.normal(size=(num_tried, len(mean))), -1.0, 1.0)
        found = speed(player.play(ConstantAction(jnp.asarray(tried)), data, num_tried, seed=0))
        best = tried[np.argsort(-found)[: num_tried // 8]]
        mean, std = best.mean(axis=0), 0.7 * std
        print(f"  round {round_ + 1}: fastest {found.max():.2f} m/s, mean {found.mean():.2f} m/s")
    return mean


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", nargs="?", default=DEMO_STUDENT)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("runs/sprint"))
    args = parser.parse_args()

    # 1. A student, its clips, and the task that it was trained in.
    loaded = vnl_mjx.load(args.run)
    student = loaded.student
    print(f"a student with {student.latent_dim} latent dimensions, {loaded.clips.num_clips} clips")

    # 2. Below a task it is a low level: actions move its latent away from the prior's mean.
    low_level = LowLevel.of(student)
    data = DownstreamData.of(low_level, loaded.clips, loaded.env.task)
    player = TaskPlayer(DownstreamTask(Sprint(), loaded.env.task, data.low_level, SECONDS))
    num = 16 if args.quick else 64
    for name, policy in {
        "the prior's mean": ConstantAction(jnp.zeros(student.latent_dim)),
        "drawn from the prior": DrawnFromPrior(student.latent_dim),
    }.items():
        played = player.play(policy, data, num, seed=0)
        up = 1.0 - (played.fell & played.alive).any(axis=0).mean()
        print(f"{name}: {speed(played).mean():.2f} m/s, {up:.0%} up after {SECONDS:g} s")

    # 3. Search among the primitives: which constant action runs fastest?
    print("search for a constant action:")
    rng = np.random.default_rng(0)
    found = search(player, data, 2 if args.quick else 6, num, rng)
    again = player.play(ConstantAction(jnp.asarray(found)), data, num, seed=1)
    print(f"from other starts: {speed(again).mean():.2f} m/s")

    # 4. Train a policy, which chooses an action anew every 40 ms.
    steps = 2_560 if args.quick else 400_000
    settings = [f"run_dir={args.work}", f"student={args.run}", f"ppo.num_steps={steps}"]
    settings += ["ppo.num_envs=16"] if args.quick else []
    settings += (
        ["eval_config.num_episodes=4", "eval_config.video_at_end=false"] if args.quick else []
    )
    if status := command(["train-task", f"{__file__}:Sprint", *settings]):
        raise SystemExit(status)

    # 5. Look at it: a table beside what needs no policy, measures.png and a video.
    command(["eval-task", str(args.work), *(["--episodes", "4", "--no-video"] * args.quick)])


if __name__ == "__main__":
    main()
