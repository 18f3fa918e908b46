"""`vnl-mjx distill`."""

import time
from pathlib import Path

from rich.console import Console

from vnl_mjx.commands.distillation_run import DistillationRun
from vnl_mjx.config.schema import DistillationConfig


def run(config: DistillationConfig) -> int:
    """Distils the configured teacher and returns the exit status."""
    run_dir = Path(config.run_dir or _new_run_dir(config)).expanduser()
    return DistillationRun(config, run_dir, Console()).execute()


def _new_run_dir(config: DistillationConfig) -> str:
    return f"runs/{config.wandb_config.exp_name}-{time.strftime('%Y%m%d-%H%M%S')}"
