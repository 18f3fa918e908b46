"""Makes the bundled torque teacher from the other teacher, with commands of `vnl-mjx` that it prints.

    python -m vnl_mjx.demo.make_torque [--work runs/torque] [--steps N,N,N]

It starts as the bundled teacher and imitates, as torques, what position actuators would do under that
teacher. Then it is fine-tuned, at last with a falling learning rate. A stopped run resumes.
"""

import argparse
from pathlib import Path

from vnl_mjx.demo import DEMO_TEACHER, TORQUE_TEACHER
from vnl_mjx.demo.make import FINE_TUNING, SETTLING, bundle_policy, run

STEPS = (307_200, 1_000_000, 800_000)
TORQUES = ("task.walker.torque_actuators=true", "task.initial_activation=zero")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/torque"))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)), help="of each stage")
    args = parser.parse_args()
    steps = iter(args.steps.split(","))
    guide = f"guide_from={DEMO_TEACHER}"
    teacher = train(
        args.work / "imitation", DEMO_TEACHER, next(steps), "--preset", "imitate", guide
    )
    teacher = train(args.work / "tuned", teacher, next(steps), *FINE_TUNING)
    teacher = train(args.work / "settled", teacher, next(steps), *FINE_TUNING, *SETTLING)
    bundle_policy(teacher, TORQUE_TEACHER)


def train(run_dir: Path, start: Path, num_steps: str, *settings: str) -> Path:
    """Trains from a teacher on the bundled clips, and returns the new one."""
    given = (f"run_dir={run_dir}", f"init_from={start}", f"ppo.num_steps={num_steps}")
    run("train-teacher", *given, *TORQUES, *settings)
    return run_dir / "teacher"


if __name__ == "__main__":
    main()
