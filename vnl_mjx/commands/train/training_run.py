"""One training on disk, whatever is trained: run folder, checkpoints, logs, signals."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from rich.console import Console

from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.commands.runtime import runtime_rows
from vnl_mjx.commands.tables import print_table, warn
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.compiling import CompileProgress
from vnl_mjx.commands.train.local_loggers import CONSOLE_METRICS
from vnl_mjx.commands.train.loggers import Loggers
from vnl_mjx.commands.train.run_folder import make_run_dir
from vnl_mjx.commands.train.training_devices import describe_mesh
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.errors import UserError
from vnl_mjx.files import write_json
from vnl_mjx.training.trainer import Trainer

METRICS_FILE = "metrics.jsonl"


class TrainingRun(ABC):
    """Holds a run's objects; `execute` does the work. What is trained, a subclass says."""

    console_metrics = CONSOLE_METRICS  # label and name of what the console shows
    checkpointer: Any  # of `open_checkpointer`
    loggers: Loggers

    def __init__(
        self,
        config: DistillationConfig | TeacherTrainingConfig,
        run_dir: Path,
        console: Console,
        trainer: Trainer,
        metadata: dict[str, Any],
    ):
        """Takes what the subclass has built; nothing is written yet.

        Args:
            config: of the run.
            run_dir: folder of the run.
            console: where progress and warnings go.
            trainer: of the networks.
            metadata: what the run and each of its checkpoints record, JSON-able.
        """
        self.run_dir, self.console, self.trainer = run_dir, console, trainer
        self.metadata = metadata
        self._config = config
        self._leads = processes.is_first()
        self._stop_signal: int | None = None
        self._log_window: list[Any] = []
        self._saved_at, self._has_logged = 0, False
        self._evaluated_at, self._evaluation = 0, None
        self._raised_alarms: set[str] = set()

    # What a subclass says.

    @abstractmethod
    def open_checkpointer(self) -> RunCheckpointer:
        """The checkpoints of the run folder, which exists."""

    @abstractmethod
    def check_same_run(self, stored: dict[str, Any]) -> None:
        """Raises UserError where the run that recorded `stored` is not this one."""

    @abstractmethod
    def initial_state(self) -> Any:
        """The state of a new run."""

    @abstractmethod
    def introduce(self, state: Any) -> None:
        """Says what is about to be trained, before a new run."""

    @abstractmethod
    def log_row(self, results: list[Any]) -> tuple[dict[str, float], dict[str, str]]:
        """Metrics of an interval of updates, and warnings by name."""

    @abstractmethod
    def new_evaluation(self, state: Any, env_steps: int) -> Any:
        """Evaluates and logs the figures."""

    @abstractmethod
    def save(self, state: Any, env_steps: int) -> None:
        """Writes a checkpoint."""

    @abstractmethod
    def conclude(self, state: Any, env_steps: int) -> None:
        """What follows the last update of a run that was not stopped; the checkpoint is written."""

    # What a subclass may add to.

    def restore(self, state: Any, env_steps: int) -> Any:
        """The state of a checkpoint, in the structure of `state`."""
        return self.checkpointer.restore(state, env_steps)

    def note_update(self, result: Any) -> None:
        """Takes the statistics of an update."""
        self._log_window.append(result)

    # What is the same for all.

    def execute(self) -> int:
        """Trains to the end or to a signal, saving on the way. Returns the exit status."""
        make_run_dir(self.run_dir)
        self.checkpointer = self.open_checkpointer()
        try:
            latest = processes.number_of_first(self.checkpointer.latest_step())
            self._check_resume(latest)
            previous = {
                s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)
            }
            try:
                return self._train(latest)
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)
        finally:
            self.checkpointer.close()

    def _train(self, latest: int | None) -> int:
        self.console.print(f"run folder: {self.run_dir}", soft_wrap=True)
        print_table(self.console, "Computing", runtime_rows(self.metadata["runtime"]))
        if self.trainer.mesh.size > 1:
            self.console.print(describe_mesh(self.trainer.mesh, self.trainer.num_envs))
        progress = self._config.logging_config.progress
        with CompileProgress(self.trainer, self.console, progress) as self._compiling:
            self.trainer.start_compiling()
            state = self.initial_state()
            if latest is None:
                processes.first_does(lambda: self.introduce(state))
            else:
                self.console.print(f"resuming at {latest:,} environment steps")
                state, self._saved_at = self.restore(state, latest), latest
            self._compiling.wait()
            self.loggers = Loggers(
                self._config,
                self.run_dir,
                self.console,
                latest,
                self.console_metrics,
                writes=self._leads,
            )
            try:
                if not self._is_stopped():
                    state = self.trainer.train(state, self._config.num_steps, self._on_update)
                return self._finish(state)
            finally:
                self.loggers.close()

    def _check_resume(self, latest: int | None) -> None:
        resume = self._config.resume
        if latest is None:
            if resume == "always":
                raise UserError(f"run_dir: {self.run_dir} holds no checkpoint to resume from")
            if self._leads:
                write_json(self.run_dir / "config.json", self.metadata)
            return
        if resume == "never":
            raise UserError(
                f"run_dir: {self.run_dir} already holds a run at {latest} environment steps and resume is "
                "'never'; choose another run_dir, or give resume=auto to go on with it"
            )
        stored = self.checkpointer.metadata(latest)
        self.check_same_run(stored)
        for name, now in self.metadata["runtime"].items():
            before = stored.get("runtime", {}).get(name, now)
            if before != now:
                warn(
                    self.console, f"{name} was {before}, now {now}: numbers are alike, not the same"
                )

    def _on_signal(self, number: int, _frame: Any) -> None:
        if self._stop_signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self._stop_signal = number

    def _on_update(self, state: Any, env_steps: int, result: Any) -> bool:
        self.note_update(result)
        if "compiled" not in self.metadata:
            self.metadata["compiled"] = self._compiling.figures()
        config = self._config
        if self.crossed(config.logging_config.interval_steps, env_steps):
            self._log(env_steps)
        if self._leads and self.crossed(config.eval_config.interval_steps, env_steps):
            self.evaluate(state, env_steps)
        if self.crossed(config.checkpoint_config.interval_steps, env_steps):
            self._save(state, env_steps)
        return self._is_stopped()

    def _is_stopped(self) -> bool:
        """Whether any of the processes was sent a signal; all learn it after the same update."""
        number = processes.highest(self._stop_signal or 0)
        if number:  # else there may be one since
            self._stop_signal = number
        return number > 0

    def evaluate(self, state: Any, env_steps: int) -> Any:
        """The evaluation of `state`, made once per number of steps."""
        if self._evaluation is None or self._evaluated_at != env_steps:
            self._evaluation = self.new_evaluation(state, env_steps)
            self._evaluated_at = env_steps
        return self._evaluation

    def crossed(self, interval: int, env_steps: int) -> bool:
        """Whether the update that ended at `env_steps` passed a multiple of `interval`; 0: never."""
        before = env_steps - self.trainer.steps_per_update
        return interval > 0 and env_steps // interval > before // interval

    def _log(self, env_steps: int) -> None:
        window, self._log_window = self._log_window, []
        row, found = self.log_row(window)
        if not self._has_logged:
            row, self._has_logged = self.metadata["compiled"] | row, True
        self.loggers.log(env_steps, row)
        if env_steps == self.trainer.steps_per_update:
            return  # the rollout of a policy that has learnt nothing yet alarms nobody
        for name in sorted(found.keys() - self._raised_alarms):
            self.loggers.warn(found[name])
        self._raised_alarms = set(found)

    def _save(self, state: Any, env_steps: int) -> None:
        self.save(state, env_steps)
        self._saved_at = env_steps

    def _finish(self, state: Any) -> int:
        env_steps = self.trainer.env_steps(state)
        if self._log_window:
            self._log(env_steps)
        if env_steps > self._saved_at:
            self._save(state, env_steps)
        self.checkpointer.wait()
        if self._is_stopped():
            return self._say_stopped(env_steps)
        processes.first_does(lambda: self.conclude(state, env_steps))
        return 0

    def _say_stopped(self, env_steps: int) -> int:
        self.loggers.finish()
        number = self._stop_signal or 0
        name = signal.Signals(number).name
        if env_steps == 0:
            self.console.print(f"stopped by {name} before the first update: nothing to save")
        else:
            self.console.print(f"stopped by {name}, saved at {env_steps:,} environment steps")
            line = f"the same command with run_dir={self.run_dir} goes on from there"
            self.console.print(line, soft_wrap=True)
        return 0 if number == signal.SIGTERM else 128 + number
