"""`vnl-mjx distill`."""

from pathlib import Path

from rich.console import Console

from vnl_mjx.commands.distillation_run import DistillationRun
from vnl_mjx.commands.run_folder import new_run_dir
from vnl_mjx.config.schema import DistillationConfig


def run(config: DistillationConfig) -> int:
    """Distils the configured teacher and returns the exit status."""
    run_dir = Path(config.run_dir or new_run_dir(config.wandb_config.exp_name)).expanduser()
    return DistillationRun(config, run_dir, Console()).execute()
