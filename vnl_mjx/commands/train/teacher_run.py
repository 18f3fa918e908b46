"""One training of a teacher on disk: what `TrainingRun` does, for PPO."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from vnl_mjx import devices
from vnl_mjx.commands import tables
from vnl_mjx.commands.train.teacher_experiment import TeacherExperiment, build_teacher_experiment
from vnl_mjx.commands.train.teacher_run_folder import check_same_teacher_run, teacher_metadata
from vnl_mjx.commands.train.teacher_tables import network_rows, task_rows
from vnl_mjx.commands.train.teacher_video import TeacherVideos
from vnl_mjx.commands.train.training_devices import training_mesh
from vnl_mjx.commands.train.training_run import METRICS_FILE, TrainingRun
from vnl_mjx.compat.teacher_checkpoints import TEACHER_FOLDER, TeacherCheckpointer
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.evaluation.teacher_evaluation import TeacherEvaluation, TeacherEvaluator
from vnl_mjx.files import write_json
from vnl_mjx.models.actor_critic import ActorCriticParams
from vnl_mjx.tasks.guidance import PoseGuide
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.ppo_metrics import ppo_alarms, ppo_metrics
from vnl_mjx.training.track_mjx_state import track_mjx_state
from vnl_mjx.training.trainer import TrainState, Update

# A checkpoint that no evaluation has judged since the one before is never among the best.
NOT_EVALUATED = -1.0


class TeacherRun(TrainingRun):
    """Holds a run's objects; `execute` does the work."""

    console_metrics = (
        ("reward", "rollout/reward_fraction"),
        ("steps", "episode/steps"),
        ("survival", "episode/survival"),
        ("kl", "loss/policy_kl"),
        ("std", "loss/action_std"),
        ("rate", "loss/learning_rate"),
    )
    trainer: Ppo

    def __init__(self, config: TeacherTrainingConfig, run_dir: Path, console: Console):
        """Loads and builds everything; nothing is written yet.

        Raises:
            UserError: an input is missing, damaged or does not fit.
        """
        self.config = config
        ppo = config.ppo
        rows = ppo.num_envs // ppo.num_minibatches
        mesh = training_mesh(config.num_devices, ppo.num_envs, rows, "ppo.num_envs")
        self.experiment: TeacherExperiment = build_teacher_experiment(config, mesh)
        trainer = Ppo(
            self.experiment.env,
            self.experiment.model,
            self.experiment.clips_of("train"),
            ppo,
            mesh,
            PoseGuide(self.experiment.env.task) if config.has_guidance else None,
        )
        metadata = teacher_metadata(self.experiment, run_dir)
        super().__init__(config, run_dir, console, trainer, metadata)
        self.eval_clips = self.experiment.clips_of(config.eval_config.clips)
        self._evaluator = TeacherEvaluator(self.experiment.evaluation_task())
        self._videos = TeacherVideos(self.experiment.walker.config, run_dir / "videos")
        self._filmed_at = 0
        self._metric_since_save = NOT_EVALUATED

    def open_checkpointer(self) -> TeacherCheckpointer:
        """See `TrainingRun`."""
        checkpoint = self.config.checkpoint_config
        return TeacherCheckpointer(
            self.run_dir,
            self.experiment.track_mjx_config(),
            checkpoint.keep_last,
            checkpoint.keep_best,
        )

    def check_same_run(self, stored: dict[str, Any]) -> None:
        """See `TrainingRun`."""
        check_same_teacher_run(stored, self.metadata, self.run_dir)

    def initial_state(self) -> TrainState:
        """Fresh networks, or those of `init_from` with its observation statistics."""
        state = self.trainer.init(self.config.ppo.seed)
        start = self.experiment.start
        if start is None:
            return state
        value = state.params.value if start.value is None else start.value
        # Copies: an update consumes what it is given.
        policy, value = jax.tree.map(jnp.array, (start.teacher.policy.params, value))
        statistics = {name: jnp.array(x) for name, x in start.statistics.items()}
        return state.replace(
            params=ActorCriticParams(policy, value),
            extra=state.extra.replace(**statistics),
        )

    def restore(self, state: TrainState, env_steps: int) -> TrainState:
        """See `TrainingRun`; the teacher in track-mjx's layout follows where it is missing."""
        state = super().restore(state, env_steps)
        self._filmed_at = env_steps
        self.checkpointer.resume_from(env_steps, track_mjx_state(state, env_steps))
        return state

    def introduce(self, state: TrainState) -> None:
        """Shows task, networks and clips."""
        experiment = self.experiment
        tables.print_table(self.console, "Task", task_rows(experiment))
        tables.print_table(self.console, "Networks", network_rows(experiment, state.params))
        rows = tables.clip_rows(experiment.clips, experiment.split)
        tables.print_table(self.console, "Reference clips", rows)
        for warning in self._start_warnings():
            tables.warn(self.console, warning)

    def _start_warnings(self) -> list[str]:
        start, config = self.experiment.start, self.config
        if start is None:
            return []
        found = list(start.teacher.warnings)
        if start.value is None:
            found.append("init_from holds no value network of these sizes; it is learnt anew")
        if config.has_guidance:
            found.append(
                "ppo.guidance pulls the teacher of init_from towards a control that knows no balance; "
                "give ppo.guidance=0 to go on from what it can do"
            )
        return found

    def log_row(self, results: list[Update]) -> tuple[dict[str, float], dict[str, str]]:
        """See `TrainingRun`."""
        row = ppo_metrics(results, self.config.task.reward)
        return row, ppo_alarms(row, len(results) * self.trainer.steps_per_update)

    def note_update(self, result: Update) -> None:
        """See `TrainingRun`; videos that were begun go on, one at a time."""
        super().note_update(result)
        self._videos.poll(self.loggers.warn)

    def new_evaluation(self, state: TrainState, env_steps: int) -> TeacherEvaluation:
        """Plays the evaluation clips."""
        section = self.config.eval_config
        evaluation = self._evaluator.run(
            devices.on_one_device(self.trainer.frozen_policy(state)),
            self.eval_clips,
            section.num_random_starts,
            section.seed,
            section.deterministic,
        )
        self.loggers.log(env_steps, evaluation.headline())
        fraction = evaluation.pooled()["completed_fraction"]
        self._metric_since_save = fraction if np.isfinite(fraction) else NOT_EVALUATED
        interval = section.video_interval_steps
        if interval > 0 and env_steps // interval > self._filmed_at // interval:
            self._film(evaluation, env_steps)
        return evaluation

    def _film(self, evaluation: TeacherEvaluation, env_steps: int) -> None:
        self._filmed_at = env_steps
        self._videos.start(evaluation, self.eval_clips, env_steps)

    def save(self, state: TrainState, env_steps: int) -> None:
        """See `TrainingRun`."""
        metric, self._metric_since_save = self._metric_since_save, NOT_EVALUATED
        self.checkpointer.save(
            env_steps,
            state=state,
            train_state=track_mjx_state(state, env_steps),
            metadata=self.metadata,
            metric=metric,
        )

    def conclude(self, state: TrainState, env_steps: int) -> None:
        """The last evaluation, with its table, curves and video."""
        from vnl_mjx.report.pictures import training as plots

        evaluation: TeacherEvaluation = self.evaluate(state, env_steps)
        self.loggers.finish()
        summary = evaluation.summary() | {"env_steps": env_steps}
        write_json(self.run_dir / "eval" / "metrics.json", summary)
        plots.teacher_curves(self.run_dir / METRICS_FILE, self.run_dir / "plots")
        self._show(evaluation)
        if self.config.eval_config.video_at_end:
            self._film(evaluation, env_steps)
            self._videos.finish(lambda text: tables.warn(self.console, text))
        teacher = self.run_dir / TEACHER_FOLDER
        for line in (
            f"teacher: {self.checkpointer.teacher_folder(env_steps)}",
            f"figures and pictures: {self.run_dir / 'eval'}, {self.run_dir / 'plots'}",
            f"evaluate: vnl-mjx eval-teacher {teacher}",
            f"distil: vnl-mjx distill teacher_config.checkpoint_path={teacher}",
        ):
            self.console.print(line, soft_wrap=True, highlight=False)

    def _show(self, evaluation: TeacherEvaluation) -> None:
        title = f"On {self.eval_clips.num_clips} clips, each from its first frame"
        rows = {name.removeprefix("eval/"): f"{v:.4g}" for name, v in evaluation.headline().items()}
        tables.print_table(self.console, title, rows)
