"""How many contacts and constraint rows a body has: what MuJoCo Warp must have room for.

    uv run python benchmarks/contacts.py [--teacher CHECKPOINT] [--clips FILE] [--episodes 64]

Bodies start as in training; with random actions most fall within some steps. A simulation that has more
than `physics_config.njmax` rows, or all of them together more than `naconmax_per_env` contacts each,
leaves some out; with both null there is room for the bound.
"""

import argparse
from pathlib import Path

import flax.struct
import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from vnl_mjx.commands.stored import load_stored_teacher
from vnl_mjx.evaluation.rollout import Acted, EpisodeRunner
from vnl_mjx.physics.sizes import largest_possible, met
from vnl_mjx.tasks.policies import TeacherPolicy


@flax.struct.dataclass
class RandomActor:
    """Draws every control anew in each step, over its whole range."""

    num_actions: int = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_episodes: int) -> None:
        del num_episodes

    def act(self, observation: jax.Array, memory: None, key: jax.Array) -> Acted:
        shape = (len(observation), self.num_actions)
        return Acted(jax.random.uniform(key, shape, minval=-1.0), memory, ())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, help="default: the bundled one")
    parser.add_argument("--clips", type=Path, help="default: the bundled ones")
    parser.add_argument("--episodes", type=int, default=64)
    args = parser.parse_args()
    experiment = load_stored_teacher(args.teacher, args.clips, None)
    task, clips = experiment.env.task, experiment.clips
    model, player = task.physics.model, EpisodeRunner(task)
    episodes = player.draw(clips, args.episodes, seed=0)

    def visited(actor: RandomActor | TeacherPolicy) -> np.ndarray:
        rollout = player.run(actor, clips, episodes, seed=0)
        return np.concatenate([rollout.qpos_of(i) for i in range(rollout.num_episodes)])

    poses = {
        "frames of the clips": np.asarray(clips.qpos()),
        "random actions": visited(RandomActor(model.nu)),
        "teacher, sampled": visited(TeacherPolicy(experiment.teacher.policy, sampled=True)),
    }
    table = Table(title="contacts and constraint rows of one environment")
    for title in ("", "poses", "contacts, most", "mean", "rows, most", "mean"):
        table.add_column(title, justify="right")
    for name, qpos in poses.items():
        sizes = met(model, qpos)
        most = [f"{count.max()}" for count in (sizes.contacts, sizes.rows)]
        mean = [f"{count.mean():.1f}" for count in (sizes.contacts, sizes.rows)]
        table.add_row(name, f"{len(qpos):,}", most[0], mean[0], most[1], mean[1])
    bound = largest_possible(model)
    table.add_row("bound of the model", "", str(bound.contacts), "", str(bound.rows), "")
    Console().print(table)


if __name__ == "__main__":
    main()
