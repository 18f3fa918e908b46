"""How many contacts and constraint rows a body has: what MuJoCo Warp must have room for.

    uv run python benchmarks/contacts.py [--teacher CHECKPOINT] [--envs 64] [--updates 8] [KEY=VALUE ...]

KEY=VALUE are settings of `vnl-mjx train-teacher`. Counted in the clips and in rollouts of that training: of
a fresh policy with a large standard deviation (nearly random controls) and of the teacher, sampled.
A simulation that has more than `physics_config.njmax` rows, or all of them together more than
`naconmax_per_env` contacts each, leaves some out; with both null there is room for the bound.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np
from floor import recorded
from rich.console import Console
from timing import exit_status, table
from trainings import TeacherTraining, clips_of, task_of

from vnl_mjx.demo import DEMO_TEACHER
from vnl_mjx.physics.contact_counts import counted, largest_possible

RANDOM = ("network.initial_action_std=null",)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=DEMO_TEACHER)
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--updates", type=int, default=8, help="rollouts of each")
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_intermixed_args()
    given = [*args.overrides, "physics_config.backend=mujoco", "ppo.guidance=0"]
    fresh = TeacherTraining([*given, *RANDOM], args.envs).open()
    teacher = TeacherTraining([*given, f"init_from={args.teacher}"], args.envs).open()
    model = task_of(fresh.trainer).physics.model
    poses = {
        "frames of the clips": np.asarray(clips_of(fresh.trainer).qpos()),
        "fresh policy": visited(fresh, args.updates),
        "teacher, sampled": visited(teacher, args.updates),
    }
    columns = ("poses", "contacts, most", "mean", "rows, most", "mean")
    rows = table("Contacts and constraint rows of one environment", *columns)
    for name, qpos in poses.items():
        sizes = counted(model, qpos)
        cells = [f"{f}" for n in (sizes.contacts, sizes.rows) for f in (n.max(), f"{n.mean():.1f}")]
        rows.add_row(name, f"{len(qpos):,}", *cells)
    bound = largest_possible(model)
    rows.add_row("bound of the model", "", str(bound.contacts), "", str(bound.rows), "")
    Console().print(rows)


def visited(run, num_updates: int) -> np.ndarray:
    """Poses [pose, nq] before each control step of as many rollouts of the first policy."""
    state, poses = run.training.initial_state(), []
    rollout = run.trainer.programs["rollout"]
    for i in range(num_updates):
        key = jax.random.PRNGKey(i)
        with recorded() as calls:
            state, *_ = rollout(state, run.trainer.data, key)
        poses += [call.inputs["qpos"] for call in calls if call.function == "step"]
    return np.concatenate(poses)


if __name__ == "__main__":
    sys.exit(exit_status(main))
