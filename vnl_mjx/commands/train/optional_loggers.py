"""Weights & Biases and TensorBoard: where asked for and installed, never able to stop a run."""

import contextlib
import io
import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vnl_mjx.commands.train.local_loggers import MetricsLogger
from vnl_mjx.config.schema import WandbSection


class OptionalLogger:
    """A logger whose failures cost one warning and the logger, never the run.

    Args:
        name: of the service, for the warning.
        build: makes the logger; may raise anything.
        warn: takes the warning, one line of text.
    """

    def __init__(self, name: str, build: Callable[[], MetricsLogger], warn: Callable[[str], None]):
        self._name, self._warn = name, warn
        self._logger: MetricsLogger | None = None
        self._logger = self._attempt(build)

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Hands the metrics on, if the service still answers."""
        if self._logger is not None:
            self._attempt(lambda logger=self._logger: logger.log(env_steps, metrics))

    def close(self) -> None:
        """Closes the service, if it still answers."""
        if self._logger is not None:
            self._attempt(self._logger.close)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # whatever a third party's service may throw
            self._logger = None
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._warn(f"{self._name} is off for this run: {reason}")
            return None


class WandbLogger:
    """A Weights & Biases run; a resumed run folder continues its run there.

    Args:
        section: project, group, name and mode, all given explicitly so that nothing is asked.
        run_dir: folder of the run; holds the W&B files and the id of the W&B run.
        config: the run's configuration, as `config.conversion.to_dict` gives it.
    """

    def __init__(self, section: WandbSection, run_dir: Path, config: dict[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise RuntimeError(_missing("wandb")) from error
        id_file = run_dir / "wandb_run_id"
        if not id_file.exists():
            id_file.write_text(uuid.uuid4().hex[:8], encoding="ascii")
        with _nobody_at_the_keyboard():
            self._run = wandb.init(
                project=section.project,
                group=section.group_name,
                name=section.exp_name,
                mode=section.mode,
                id=id_file.read_text(encoding="ascii").strip(),
                resume="allow" if section.mode == "online" else None,
                dir=run_dir,
                config=config,
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=30, finish_timeout=60
                ),
            )

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Sends the metrics in the background."""
        self._run.log(dict(metrics), step=env_steps)

    def close(self) -> None:
        """Waits up to a minute for the upload."""
        self._run.finish()


class TensorBoardLogger:
    """TensorBoard event files.

    Args:
        log_dir: folder of the event files.
        start_steps: environment steps already done; later events of an earlier start are dropped.
    """

    def __init__(self, log_dir: Path, start_steps: int = 0):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise RuntimeError(_missing("tensorboard")) from error
        self._writer = SummaryWriter(
            str(log_dir), purge_step=start_steps + 1 if start_steps else None
        )

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Writes the finite metrics."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, float(value), env_steps)
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def _missing(extra: str) -> str:
    return f"not installed; run with `uv run --extra {extra}`, or pip install 'vnl-mjx[{extra}]'"


@contextlib.contextmanager
def _nobody_at_the_keyboard() -> Iterator[None]:
    """Standard input that is no terminal, so that a missing API key is an error and not a question."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = stdin
