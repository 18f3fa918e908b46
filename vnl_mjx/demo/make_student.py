"""Makes the bundled student and joystick policy, with commands of `vnl-mjx` that it prints.

    python -m vnl_mjx.demo.make_student [--work runs/primitives]

A stopped run resumes.
"""

import argparse
import shutil
from pathlib import Path

from vnl_mjx.checkpoints.run import CHECKPOINT_FOLDER
from vnl_mjx.demo import DEMO_JOYSTICK, DEMO_STUDENT
from vnl_mjx.demo.make import run
from vnl_mjx.utils.task_checkpointing import POLICY
from vnl_mjx.utils.vae_checkpointing import find_checkpoints


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/primitives"))
    work = parser.parse_args().work
    run("distill", f"run_dir={work / 'student'}")
    bundle(work / "student", DEMO_STUDENT, ("student", "teacher"))
    run("train-task", "joystick", f"run_dir={work / 'joystick'}")
    bundle(work / "joystick", DEMO_JOYSTICK, (POLICY,))  # its student is the bundled one


def bundle(run_dir: Path, folder: Path, items: tuple[str, ...]) -> None:
    """Copies the used items of a run's newest checkpoint."""
    checkpoint = find_checkpoints(run_dir / CHECKPOINT_FOLDER)[0]
    shutil.rmtree(folder, ignore_errors=True)
    for item in ("metadata", *items):
        shutil.copytree(checkpoint / item, folder / item)


if __name__ == "__main__":
    main()
