"""One distillation on disk: run folder, checkpoints, logs, evaluation, signals."""

import signal
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vnl_mjx.analysis import conformance, metrics
from vnl_mjx.analysis.evaluate import Comparison, Evaluator
from vnl_mjx.commands import tables
from vnl_mjx.commands.experiment import build_experiment
from vnl_mjx.commands.loggers import Loggers
from vnl_mjx.commands.run_folder import check_same_run, make_run_dir, run_metadata
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.training.alarms import alarms
from vnl_mjx.training.metrics import interval_metrics
from vnl_mjx.training.vae_distillation import TrainState, UpdateResult, VaeDistillation
from vnl_mjx.utils.vae_checkpointing import VaeCheckpointer
from vnl_mjx.walkers.groups import actuator_groups

METRICS_FILE = "metrics.jsonl"


class DistillationRun:
    """Holds a run's objects; `execute` does the work."""

    def __init__(self, config: DistillationConfig, run_dir: Path, console: Console):
        """Loads and builds everything; nothing is written yet.

        Raises:
            UserError: an input is missing, damaged or does not fit.
        """
        self.config, self.run_dir, self.console = config, run_dir, console
        self.experiment = build_experiment(config)
        self.student = self.experiment.student(config.vae_config)
        self.trainer = VaeDistillation(
            self.experiment.task,
            self.student,
            self.experiment.teacher.policy,
            self.experiment.clips_of("train"),
            config.training_config,
        )
        self.metadata = run_metadata(config, self.experiment, self.student.config, run_dir)
        self.groups = actuator_groups(self.experiment.walker.actuator_names)
        self.eval_clips = self.experiment.clips_of(config.eval_config.clips)
        self._evaluator = Evaluator(
            self.experiment.task, self.student, config.eval_config.deterministic
        )
        self._stop_signal: int | None = None
        self._log_window: list[UpdateResult] = []
        self._losses_since_save: list[Any] = []
        self._raised_alarms: set[str] = set()
        self._evaluated_at, self._evaluation = -1, None

    def execute(self) -> int:
        """Trains to the end or to a signal, saving on the way. Returns the exit status."""
        make_run_dir(self.run_dir)
        checkpoint = self.config.checkpoint_config
        self.checkpointer = VaeCheckpointer(
            self.run_dir, checkpoint.keep_last, checkpoint.keep_best
        )
        latest = self.checkpointer.latest_step()
        self._check_resume(latest)
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.trainer.start_compiling()
            state = self.trainer.init(self.config.training_config.seed)
            self._introduce(latest, state)
            if latest is not None:
                state = self.checkpointer.restore(state, latest)
            self.loggers = Loggers(self.config, self.run_dir, self.console, resume_from=latest)
            try:
                num_steps = self.config.training_config.num_steps
                if self._stop_signal is None:
                    state = self.trainer.train(state, num_steps, self._on_update)
                return self._finish(state)
            finally:
                self.loggers.close()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.checkpointer.close()

    # The steps of `execute`, in order.

    def _check_resume(self, latest: int | None) -> None:
        resume = self.config.resume
        if latest is None:
            if resume == "always":
                raise UserError(f"run_dir: {self.run_dir} holds no checkpoint to resume from")
            metrics.write_json(self.run_dir / "config.json", self.metadata)
            return
        if resume == "never":
            raise UserError(
                f"run_dir: {self.run_dir} already holds a run at {latest} environment steps and resume is "
                "'never'; choose another run_dir, or give resume=auto to go on with it"
            )
        check_same_run(self.checkpointer.metadata(latest), self.metadata, self.run_dir)

    def _introduce(self, latest: int | None, state: TrainState) -> None:
        experiment = self.experiment
        self.console.print(f"run folder: {self.run_dir}", soft_wrap=True)
        if latest is not None:
            self.console.print(f"resuming at {latest:,} environment steps")
            return
        replay = self._evaluator.rollout(
            state.params,
            experiment.teacher.policy,
            self.eval_clips,
            self.config.eval_config.num_episodes,
            self.config.eval_config.seed,
            student_acts=False,
        )
        replayed, warnings = conformance.judge_replay(replay, experiment.task.imitation)
        tables.print_table(self.console, "Teacher", experiment.teacher.summary | replayed)
        tables.print_table(self.console, "Reference clips", tables.clip_rows(experiment))
        for warning in (*experiment.teacher.warnings, *warnings):
            tables.warn(self.console, warning)

    def _on_signal(self, number: int, _frame: Any) -> None:
        if self._stop_signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self._stop_signal = number

    def _on_update(self, state: TrainState, env_steps: int, result: UpdateResult) -> bool:
        self._log_window.append(result)
        self._losses_since_save.append(result.learning.action_mse)
        config = self.config
        if self._crossed(config.logging_config.interval_steps, env_steps):
            self._log(env_steps)
        if self._crossed(config.eval_config.interval_steps, env_steps):
            self._evaluate(state, env_steps)
        if self._crossed(config.checkpoint_config.interval_steps, env_steps):
            self._save(state, env_steps)
        return self._stop_signal is not None

    def _crossed(self, interval: int, env_steps: int) -> bool:
        before = env_steps - self.trainer.steps_per_update
        return interval > 0 and env_steps // interval > before // interval

    def _log(self, env_steps: int) -> None:
        window, self._log_window = self._log_window, []
        steps_per_update = self.trainer.steps_per_update
        row = interval_metrics(window, self.groups, steps_per_update)
        self.loggers.log(env_steps, row)
        if env_steps == steps_per_update:
            return  # the rollout of a student that has learnt nothing yet alarms nobody
        found = alarms(row, self.student.config.latent_dim, len(window) * steps_per_update)
        for name in sorted(found.keys() - self._raised_alarms):
            self.loggers.warn(found[name])
        self._raised_alarms = set(found)

    def _evaluate(self, state: TrainState, env_steps: int) -> tuple[Comparison, dict[str, Any]]:
        if self._evaluation is not None and self._evaluated_at == env_steps:
            return self._evaluation
        comparison = self._evaluator.compare(
            state.params,
            self.experiment.teacher.policy,
            self.eval_clips,
            self.config.eval_config.num_episodes,
            self.config.eval_config.seed,
        )
        names = self.experiment.walker.actuator_names
        summary = metrics.summarize(comparison, names, self.groups)
        figures = metrics.headline(summary)
        self.loggers.log(env_steps, {f"eval/{name}": value for name, value in figures.items()})
        self._evaluated_at, self._evaluation = env_steps, (comparison, summary)
        return comparison, summary

    def _save(self, state: TrainState, env_steps: int) -> None:
        losses, self._losses_since_save = self._losses_since_save, []
        self.checkpointer.save(
            env_steps,
            state=state,
            params=state.params,
            teacher=self.experiment.teacher.policy,
            metadata=self.metadata,
            metric=float(np.mean([float(loss) for loss in losses])),
        )

    def _finish(self, state: TrainState) -> int:
        env_steps = self.trainer.env_steps(state)
        if self._log_window:
            self._log(env_steps)
        if self._losses_since_save:
            self._save(state, env_steps)
        self.checkpointer.wait()
        if self._stop_signal is not None:
            return self._say_stopped(self._stop_signal, env_steps)
        from vnl_mjx.analysis import plots  # here, for Matplotlib takes a second to import

        comparison, summary = self._evaluate(state, env_steps)
        self.loggers.finish()
        metrics.write_json(
            self.run_dir / "eval" / "metrics.json", summary | {"env_steps": env_steps}
        )
        plots.training_curves(self.run_dir / METRICS_FILE, self.run_dir / "plots")
        plots.latent_plots(comparison, self.eval_clips, self.run_dir / "eval")
        tables.print_evaluation(self.console, summary)
        for line in (
            f"checkpoint: {self.checkpointer.folder / str(env_steps)}",
            f"figures and pictures: {self.run_dir / 'eval'}, {self.run_dir / 'plots'}",
            f"evaluate again: vnl-mjx eval checkpoint_path={self.run_dir}",
        ):
            self.console.print(line, soft_wrap=True, highlight=False)
        return 0

    def _say_stopped(self, number: int, env_steps: int) -> int:
        self.loggers.finish()
        name = signal.Signals(number).name
        if env_steps == 0:
            self.console.print(f"stopped by {name} before the first update: nothing to save")
        else:
            self.console.print(f"stopped by {name}, saved at {env_steps:,} environment steps")
            line = f"the same command with run_dir={self.run_dir} goes on from there"
            self.console.print(line, soft_wrap=True)
        return 0 if number == signal.SIGTERM else 128 + number
