"""Every logger that a run asks for, as one."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from vnl_mjx.commands.train.local_loggers import (
    CONSOLE_METRICS,
    ConsoleLogger,
    JsonlLogger,
    MetricsLogger,
)
from vnl_mjx.commands.train.optional_loggers import OptionalLogger, TensorBoardLogger, WandbLogger
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig

Warn = Callable[[str], None]


class Loggers:
    """metrics.jsonl and the console; Weights & Biases and TensorBoard where configured.

    Args:
        config: the run's configuration.
        run_dir: folder of the run, which exists.
        console: where progress and warnings go.
        resume_from: environment steps of the checkpoint that the run continues, None for a new run.
            Metrics logged later than that are forgotten.
        console_metrics: label and name of what the console shows of a row.
        writes: anything but the console; of several processes one does.

    Raises:
        UserError: metrics.jsonl cannot be written.
    """

    def __init__(
        self,
        config: DistillationConfig | TeacherTrainingConfig,
        run_dir: Path,
        console: Console,
        resume_from: int | None = None,
        console_metrics: Sequence[tuple[str, str]] = CONSOLE_METRICS,
        writes: bool = True,
    ):
        start = resume_from or 0
        self._loggers: list[MetricsLogger] = []
        if writes:
            jsonl = JsonlLogger(run_dir / "metrics.jsonl")
            jsonl.truncate_after(start)
            self._loggers.append(jsonl)
        total, progress = config.num_steps, config.logging_config.progress
        self._console = ConsoleLogger(console, total, start, progress, console_metrics)
        self._loggers.append(self._console)
        if not writes:
            return
        section = config.wandb_config
        if section.mode != "disabled":
            wandb = partial(WandbLogger, section, run_dir, to_dict(config))
            self._loggers.append(OptionalLogger("Weights & Biases", wandb, self.warn))
        if config.logging_config.tensorboard:
            tensorboard = partial(TensorBoardLogger, run_dir / "tensorboard", start)
            self._loggers.append(OptionalLogger("TensorBoard", tensorboard, self.warn))

    def log(self, env_steps: int, metrics: Mapping[str, float | None]) -> None:
        """Hands metrics to every logger; one that is undefined (None) counts as not a number."""
        row = {k: float("nan") if value is None else float(value) for k, value in metrics.items()}
        for logger in self._loggers:
            logger.log(env_steps, row)

    def warn(self, text: str) -> None:
        """Prints one warning."""
        self._console.note(f"warning: {text}", style="yellow")

    def finish(self) -> None:
        """Ends the progress bar, so that what is printed next stands below it."""
        self._console.close()

    def close(self) -> None:
        """Closes every logger."""
        for logger in self._loggers:
            logger.close()
