"""One distillation on disk: what `TrainingRun` does, for a student and its teacher."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vnl_mjx import devices
from vnl_mjx.commands import tables
from vnl_mjx.commands.train.experiment import build_experiment
from vnl_mjx.commands.train.run_folder import check_same_run, run_metadata
from vnl_mjx.commands.train.training_devices import training_mesh
from vnl_mjx.commands.train.training_run import METRICS_FILE, TrainingRun
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.evaluation import conformance, metrics
from vnl_mjx.evaluation.comparison import Evaluator
from vnl_mjx.files import write_json
from vnl_mjx.training.alarms import alarms
from vnl_mjx.training.metrics import interval_metrics
from vnl_mjx.training.trainer import TrainState, Update
from vnl_mjx.training.vae_distillation import VaeDistillation
from vnl_mjx.utils.vae_checkpointing import VaeCheckpointer


class DistillationRun(TrainingRun):
    """Holds a run's objects; `execute` does the work."""

    def __init__(self, config: DistillationConfig, run_dir: Path, console: Console):
        """Loads and builds everything; nothing is written yet.

        Raises:
            UserError: an input is missing, damaged or does not fit.
        """
        self.config = config
        training = config.training_config
        mesh = training_mesh(
            config.num_devices, training.num_envs, training.batch_size, "training_config.num_envs"
        )
        self.experiment = build_experiment(config, mesh=mesh)
        self.student = self.experiment.student(config.vae_config)
        trainer = VaeDistillation(
            self.experiment.env,
            self.student,
            self.experiment.teacher.policy,
            self.experiment.clips_of("train"),
            training,
            mesh,
        )
        metadata = run_metadata(config, self.experiment, self.student.config, run_dir)
        super().__init__(config, run_dir, console, trainer, metadata)
        self.groups = self.experiment.walker.actuator_groups
        self.eval_clips = self.experiment.clips_of(config.eval_config.clips)
        self._evaluator = Evaluator(self.experiment.evaluation_task(), self.student)
        self._losses_since_save: list[Any] = []

    def open_checkpointer(self) -> VaeCheckpointer:
        """See `TrainingRun`."""
        checkpoint = self.config.checkpoint_config
        return VaeCheckpointer(self.run_dir, checkpoint.keep_last, checkpoint.keep_best)

    def check_same_run(self, stored: dict[str, Any]) -> None:
        """See `TrainingRun`."""
        check_same_run(stored, self.metadata, self.run_dir)

    def initial_state(self) -> TrainState:
        """See `TrainingRun`."""
        return self.trainer.init(self.config.training_config.seed)

    def introduce(self, state: TrainState) -> None:
        """Plays the teacher, and shows it, the clips and what does not conform."""
        experiment = self.experiment
        replay = self._evaluator.rollout(
            devices.on_one_device(state.params),
            experiment.teacher.policy,
            self.eval_clips,
            self.config.eval_config.num_episodes,
            self.config.eval_config.seed,
            teacher_acts=True,
        )
        replayed, warnings = conformance.judge_replay(replay, experiment.env.task)
        tables.print_table(self.console, "Teacher", experiment.teacher.summary | replayed)
        rows = tables.clip_rows(experiment.clips, experiment.split)
        tables.print_table(self.console, "Reference clips", rows)
        for warning in (*experiment.teacher.warnings, *warnings):
            tables.warn(self.console, warning)

    def note_update(self, result: Update) -> None:
        """See `TrainingRun`."""
        super().note_update(result)
        self._losses_since_save.append(result.learning.loss["action_mse"])

    def log_row(self, results: list[Update]) -> tuple[dict[str, float], dict[str, str]]:
        """See `TrainingRun`."""
        steps_per_update = self.trainer.steps_per_update
        row = interval_metrics(results, self.groups, steps_per_update)
        found = alarms(row, self.student.config.latent_dim, len(results) * steps_per_update)
        return row, found

    def new_evaluation(self, state: TrainState, env_steps: int) -> dict[str, Any]:
        """Student against teacher, in figures."""
        comparison = self._evaluator.compare(
            devices.on_one_device(state.params),
            self.experiment.teacher.policy,
            self.eval_clips,
            self.config.eval_config.num_episodes,
            self.config.eval_config.seed,
            self.config.eval_config.deterministic,
        )
        names = self.experiment.walker.actuator_names
        summary = metrics.summarize(comparison, names, self.groups)
        figures = metrics.headline(summary)
        self.loggers.log(env_steps, {f"eval/{name}": value for name, value in figures.items()})
        return summary

    def save(self, state: TrainState, env_steps: int) -> None:
        """See `TrainingRun`."""
        losses, self._losses_since_save = self._losses_since_save, []
        self.checkpointer.save(
            env_steps,
            state=state,
            params=state.params,
            teacher=self.experiment.teacher.policy,
            metadata=self.metadata,
            metric=float(np.mean([float(loss) for loss in losses])),
        )

    def conclude(self, state: TrainState, env_steps: int) -> None:
        """The last evaluation, with its tables, and the curves of the training."""
        # here, for Matplotlib takes a second to import
        from vnl_mjx.report.pictures.training import training_curves

        summary = self.evaluate(state, env_steps)
        self.loggers.finish()
        write_json(self.run_dir / "eval" / "metrics.json", summary | {"env_steps": env_steps})
        training_curves(self.run_dir / METRICS_FILE, self.run_dir / "plots")
        tables.print_evaluation(self.console, summary)
        for line in (
            f"checkpoint: {self.checkpointer.folder / str(env_steps)}",
            f"figures and curves: {self.run_dir / 'eval'}, {self.run_dir / 'plots'}",
            f"report with pictures and videos: vnl-mjx eval {self.run_dir}",
        ):
            self.console.print(line, soft_wrap=True, highlight=False)
