"""Runs any training on disk: run folder, checkpoints, logs, signals."""

import contextlib
import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.commands.console import Console, print_table, warn
from vnl_mjx.commands.output import as_typed
from vnl_mjx.commands.runtime import prepare_jax, runtime_rows
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.compiling import CompileProgress
from vnl_mjx.commands.train.distillation import Distillation
from vnl_mjx.commands.train.divergence_files import DivergenceFiles
from vnl_mjx.commands.train.loggers import Loggers
from vnl_mjx.commands.train.run_folder import (
    check_same_run,
    make_run_dir,
    only_writer,
    read_metrics,
)
from vnl_mjx.commands.train.task_training import TaskTraining
from vnl_mjx.commands.train.teacher_training import TeacherTraining
from vnl_mjx.config.task import TaskTrainingConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.config.training import TrainingConfig
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import allowing_options
from vnl_mjx.files import write_json
from vnl_mjx.training.trainer import TrainState, Update
from vnl_mjx.versions import how_to_install
from vnl_mjx.walkers.body_files import keep_body


def train(config: TrainingConfig) -> int:
    """Runs the configured training and returns the exit status."""
    if config.wandb_config.mode == "online" and find_spec("wandb") is None:
        raise UserError(
            "wandb_config.mode: online needs the extra 'wandb', found no wandb; run "
            f"{how_to_install('wandb')}, or give wandb_config.mode=disabled"
        )
    processes.join()
    prepare_jax(config.device, config.matmul_precision)
    # the process too, as jobs of an array begin in the same second
    new = f"runs/{config.wandb_config.exp_name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    given = processes.of_first(config.run_dir or new)
    run_dir, console = Path(given).expanduser(), Console(quiet=not processes.is_first())
    return TrainingRun(config, run_dir, console).execute()


class _Stopped(Exception):
    """A signal came while something ran that may be left unfinished."""


class TrainingRun:
    """Holds a run's objects; `execute` does the work."""

    checkpointer: RunCheckpointer
    loggers: Loggers

    def __init__(self, config: TrainingConfig, run_dir: Path, console: Console):
        """Loads and builds the training; writes nothing yet."""
        self.training: Distillation | TeacherTraining | TaskTraining
        if isinstance(config, TeacherTrainingConfig):
            self.training = TeacherTraining(config, run_dir)
        elif isinstance(config, TaskTrainingConfig):
            self.training = TaskTraining(config, run_dir)
        else:
            self.training = Distillation(config, run_dir)
        self.run_dir, self.console = run_dir, console
        self.trainer, self.metadata = self.training.trainer, self.training.metadata
        self._config = config
        self._leads = processes.is_first()
        self._stop_signal: int | None = None
        self._has_left_early = False
        self._log_window: list[Update] = []
        self._saved_at, self._has_logged = 0, False
        self._evaluated_at, self._evaluation = 0, None
        self._raised_alarms: set[str] = set()

    def execute(self) -> int:
        """Trains to the end or to a signal, saving on the way. Returns the exit status."""
        make_run_dir(self.run_dir)
        with contextlib.ExitStack() as held:
            processes.first_does(lambda: held.enter_context(only_writer(self.run_dir)))
            return self._execute()

    def _execute(self) -> int:
        self.checkpointer = self.training.open_checkpointer(self.run_dir)
        with contextlib.closing(self.checkpointer), contextlib.ExitStack() as signals:
            latest = processes.number_of_first(self.checkpointer.latest_step())
            self._check_resume(latest)
            for number in (signal.SIGTERM, signal.SIGINT):
                previous = signal.signal(number, self._on_signal)
                signals.callback(signal.signal, number, previous)
            return self._train(latest)

    def _train(self, latest: int | None) -> int:
        self.console.print(f"run folder: {self.run_dir}", soft_wrap=True)
        print_table(self.console, "Computing", runtime_rows(self.metadata["runtime"]))
        if self.trainer.mesh.size > 1:
            mesh = self.trainer.mesh
            kinds = ", ".join(sorted({device.device_kind for device in mesh.devices.flat}))
            each = self.trainer.num_envs // mesh.size
            self.console.print(f"{mesh.size} devices ({kinds}), {each} environments each")
        progress = self._config.logging_config.progress
        with CompileProgress(self.trainer, self.console, progress) as self._compiling:
            self.trainer.start_compiling()
            state = self.training.initial_state()
            if latest is None:
                processes.first_does(lambda: self._introduce(state))
                if not self._is_stopped():
                    state = self.training.prepared(state, self.console)
            else:
                self.console.print(f"resuming at {latest:,} environment steps")
                state = self.checkpointer.restore(state, latest)
                self.checkpointer.resume_export(latest, self.training.exported(state, latest))
                self._saved_at = latest
            self._compiling.wait()
            shown = self.training.console_metrics
            self.loggers = Loggers(
                self._config, self.run_dir, self.console, latest, shown, writes=self._leads
            )
            task = self.training.experiment.env.task
            self._divergences = DivergenceFiles(self.run_dir, self.trainer, task, self.loggers.warn)
            with contextlib.closing(self.loggers):
                if latest is not None and self._leads:
                    self._resume_evaluation(state, latest)
                if not self._is_stopped():
                    state = self.trainer.train(state, self._config.num_steps, self._on_update)
                return self._finish(state)

    def _check_resume(self, latest: int | None) -> None:
        resume = self._config.resume
        if latest is None:
            if resume == "always":
                raise UserError(f"run_dir: {self.run_dir} holds no checkpoint to resume from")
            if self._leads:
                keep_body(self.training.experiment.walker.config.source, self.run_dir)
                write_json(self.run_dir / "config.json", self.metadata)
            return
        if resume == "never":
            raise UserError(
                f"run_dir: {self.run_dir} already holds a run at {latest} environment steps and resume is "
                "'never'; choose another run_dir, or give resume=auto to go on with it"
            )
        stored = self.checkpointer.metadata(latest)
        instead = self.training.instead.format(run=self.run_dir)
        check_same_run(stored, self.metadata, self.run_dir, instead)
        for name, now in self.metadata["runtime"].items():
            before = stored.get("runtime", {}).get(name, now)
            if before != now:
                changed = f"{name} was {before}, now {now}"
                warn(self.console, f"{changed}: results will be close, not bit-identical")

    def _on_signal(self, number: int, _frame: Any) -> None:
        if self._stop_signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C stops at once
        self._stop_signal = number

    def _on_update(self, state: TrainState, env_steps: int, result: Update) -> bool:
        self._log_window.append(result)
        self.training.note_update(result, self.loggers.warn)
        if self._leads:
            self._divergences.note(result, env_steps)
        if "compiled" not in self.metadata:
            self.metadata["compiled"] = self._compiling.figures()
        config = self._config
        if self._crossed(config.logging_config.interval_steps, env_steps):
            self._log(env_steps)
        # saved first, for an evaluation can take long and may be killed
        if self._crossed(config.checkpoint_config.interval_steps, env_steps):
            self._save(state, env_steps)
        if self._leads and self._crossed(config.eval_config.interval_steps, env_steps):
            with contextlib.suppress(_Stopped):
                self._evaluate(state, env_steps)
        return self._is_stopped()

    def _leave_if_stopped(self, *_progress: Any) -> None:
        """Ends what calls it between two of its steps, once a signal has come."""
        if self._stop_signal is not None:
            self._has_left_early = True
            raise _Stopped

    def _introduce(self, state: TrainState) -> None:
        with contextlib.suppress(_Stopped):
            self.training.introduce(state, self.console, self._leave_if_stopped)

    def _is_stopped(self) -> bool:
        """Returns whether any process got a signal; all processes learn it after the same update."""
        number = processes.highest(self._stop_signal or 0)
        if number:  # otherwise a signal may have come since
            self._stop_signal = number
        return number > 0

    def _evaluate(self, state: TrainState, env_steps: int) -> Any:
        """Evaluates `state` and logs the result, once per number of steps."""
        if self._evaluation is None or self._evaluated_at != env_steps:
            before, stop = self._evaluated_at, self._leave_if_stopped
            self._evaluation, row = self.training.evaluate(state, env_steps, before, stop)
            if self.training.is_ranked_by_evaluation and self._saved_at == env_steps:
                self.checkpointer.rank(env_steps, self.training.checkpoint(state)["metric"])
            if before != env_steps:  # a run that was killed after its last evaluation has logged it
                self.loggers.log(env_steps, row)
            self._evaluated_at = env_steps
        return self._evaluation

    def _resume_evaluation(self, state: TrainState, latest: int) -> None:
        """Evaluates the resumed checkpoint if that was due, and the run was ended before it was logged."""
        rows = read_metrics(self.run_dir)
        evaluated = (r["env_steps"] for r in rows if any(n.startswith("eval/") for n in r))
        self._evaluated_at = max(evaluated, default=0)
        if self._evaluated_at < latest and self._crossed(
            self._config.eval_config.interval_steps, latest
        ):
            with contextlib.suppress(_Stopped):
                self._evaluate(state, latest)

    def _crossed(self, interval: int, env_steps: int) -> bool:
        """Returns whether the update that ended at `env_steps` passed a multiple of `interval`; 0: never."""
        before = env_steps - self.trainer.steps_per_update
        return interval > 0 and env_steps // interval > before // interval

    def _log(self, env_steps: int) -> None:
        window, self._log_window = self._log_window, []
        row, found = self.training.log_row(window)
        if not self._has_logged:
            row, self._has_logged = self.metadata["compiled"] | row, True
        self.loggers.log(env_steps, row)
        if env_steps == self.trainer.steps_per_update:
            return  # the first rollouts of an untrained policy raise no alarm
        for name in sorted(found.keys() - self._raised_alarms):
            self.loggers.warn(str(found[name]))
        self._raised_alarms = set(found)

    def _save(self, state: TrainState, env_steps: int) -> None:
        kept = self.training.checkpoint(state)
        exported = self.training.exported(state, env_steps)
        self.checkpointer.save(env_steps, state, self.metadata, exported=exported, **kept)
        self._saved_at = env_steps

    def _finish(self, state: TrainState) -> int:
        env_steps = self.trainer.env_steps(state)
        if self._log_window:
            self._log(env_steps)
        if env_steps > self._saved_at:
            self._save(state, env_steps)
        self.checkpointer.wait()
        if not self._is_stopped():
            processes.first_does(lambda: self._conclude(state, env_steps))
            if not processes.highest(self._has_left_early):
                return 0
            self._is_stopped()  # so that all processes know the signal
        return self._say_stopped(env_steps)

    def _conclude(self, state: TrainState, env_steps: int) -> None:
        try:
            evaluation = self._evaluate(state, env_steps)
        except _Stopped:
            return
        self.loggers.finish()
        for line in self.training.conclude(evaluation, env_steps, self.run_dir, self.console):
            if "vnl-mjx " in line and "vnl-mjx clips " not in line:
                line += allowing_options()
            self.console.print(as_typed(line), soft_wrap=True, highlight=False, markup=False)

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
