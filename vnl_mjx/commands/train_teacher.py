"""`vnl-mjx train-teacher`."""

from pathlib import Path

from rich.console import Console

from vnl_mjx.commands.run_folder import new_run_dir
from vnl_mjx.commands.teacher_run import TeacherRun
from vnl_mjx.config.teacher import TeacherTrainingConfig


def run(config: TeacherTrainingConfig) -> int:
    """Trains the configured teacher and returns the exit status."""
    run_dir = Path(config.run_dir or new_run_dir(config.wandb_config.exp_name)).expanduser()
    return TeacherRun(config, run_dir, Console()).execute()
