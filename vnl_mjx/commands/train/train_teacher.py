"""`vnl-mjx train-teacher`."""

from pathlib import Path

from rich.console import Console

from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.run_folder import new_run_dir
from vnl_mjx.commands.train.teacher_run import TeacherRun
from vnl_mjx.config.teacher import TeacherTrainingConfig


def run(config: TeacherTrainingConfig) -> int:
    """Trains the configured teacher and returns the exit status."""
    processes.join()
    prepare_jax(config.device, config.matmul_precision)
    run_dir = processes.of_first(config.run_dir or new_run_dir(config.wandb_config.exp_name))
    console = Console(quiet=not processes.is_first())
    return TeacherRun(config, Path(run_dir).expanduser(), console).execute()
