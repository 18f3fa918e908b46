"""Defines a distillation for `TrainingRun`: its training, checkpoints, metrics and console output."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from vnl_mjx import devices
from vnl_mjx.checkpoints.run import CHECKPOINT_FOLDER, RunCheckpointer
from vnl_mjx.clips.container import check_some_to_train
from vnl_mjx.commands.console import Console, clip_rows, print_table, warn
from vnl_mjx.commands.train.experiment import build_experiment, build_student
from vnl_mjx.commands.train.loggers import CONSOLE_METRICS, Warn
from vnl_mjx.commands.train.processes import training_mesh
from vnl_mjx.commands.train.run_folder import METRICS_FILE, relative_source, run_metadata
from vnl_mjx.compat.track_mjx_loader import num_parameters
from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.evaluation import conformance
from vnl_mjx.evaluation.metrics import LOGGED, metric
from vnl_mjx.evaluation.protocol import (
    DETERMINISTIC,
    SAMPLED,
    STUDENT,
    TEACHER,
    EvaluatedPolicy,
    PolicyEvaluator,
    Progress,
    student_and_teacher,
)
from vnl_mjx.evaluation.student_evaluation import evaluate_student, student_row
from vnl_mjx.files import write_json
from vnl_mjx.report.table_cells import number
from vnl_mjx.training.alarms import STUDENT_RULES, Alarm, raised
from vnl_mjx.training.metrics import interval_metrics
from vnl_mjx.training.trainer import TrainState, Update
from vnl_mjx.training.vae_distillation import VaeDistillation
from vnl_mjx.utils.vae_checkpointing import open_vae_checkpointer, student_items


class Distillation:
    """Implements a distillation for `TrainingRun`; `TeacherTraining` has the same methods."""

    console_metrics = CONSOLE_METRICS
    is_ranked_by_evaluation = False
    instead = "evaluate it as it is (vnl-mjx eval {run}), or start a new run with another run_dir"

    def __init__(self, config: DistillationConfig, run_dir: Path):
        """Loads and builds everything; nothing is written yet."""
        self.config = config
        training, given = config.training_config, config.teacher_config
        mesh = training_mesh(
            config.num_devices, training.num_envs, training.batch_size, "training_config.num_envs"
        )
        self.experiment = experiment = build_experiment(config, mesh=mesh)
        check_some_to_train(experiment.clips)
        self.teacher = experiment.teacher
        policy, clips = self.teacher.policy, experiment.clips_of("train")
        self.student = build_student(experiment.env, config.vae_config, policy.config)
        self.trainer = VaeDistillation(experiment.env, self.student, policy, clips, training, mesh)
        self.metadata = run_metadata(
            config,
            experiment,
            run_dir,
            {"teacher_sha256": self.teacher.sha256},
            vae=asdict(self.student.config),
            teacher_network=asdict(self.teacher.policy.config),
            teacher_source=relative_source(given.checkpoint_path, run_dir),
            teacher_step=self.teacher.step,
            reference_source=relative_source(given.reference_data_path, run_dir),
        )
        self._eval_clips = experiment.clips_of(config.eval_config.clips)
        self._evaluator = PolicyEvaluator()
        self._losses_since_save: list[Any] = []

    def open_checkpointer(self, run_dir: Path) -> RunCheckpointer:
        """Opens the checkpoints of the run folder, which exists."""
        kept = self.config.checkpoint_config
        return open_vae_checkpointer(run_dir, kept.keep_last, kept.keep_best)

    def initial_state(self) -> TrainState:
        """Returns the state of a new run."""
        return self.trainer.init(self.config.training_config.seed)

    def introduce(self, state: TrainState, console: Console, progress: Progress) -> None:
        """Runs the teacher; shows teacher, clips and the conformance of the environment."""
        experiment, section = self.experiment, self.config.eval_config
        _, teacher = self._policies(state)
        replay = self._evaluator.run_one(
            teacher,
            self._eval_clips,
            section.num_episodes,
            seed=section.seed,
            progress=progress,
        )
        replayed, warnings = conformance.judge_replay(replay, experiment.env.task)
        print_table(console, "Teacher", self.teacher.summary | replayed)
        vae = self.student.config
        is_as_teacher = vae.begins_as(self.teacher.policy.config)
        begins = "as the teacher's encoder and decoder" if is_as_teacher else "fresh"
        size = num_parameters(state.params)
        student = {"begins": begins, "latent": str(vae.latent_dim), "parameters": f"{size:,}"}
        print_table(console, "Student", student)
        print_table(console, "Reference clips", clip_rows(experiment.clips, experiment.split))
        for warning in (*self.teacher.warnings, *warnings):
            warn(console, warning)

    def prepared(self, state: TrainState, console: Console) -> TrainState:
        """Returns the state unchanged: a distillation needs no preparation."""
        return state

    def note_update(self, update: Update, warn: Warn) -> None:
        """Stores the statistics of an update."""
        judged = "action_mse" if self.config.training_config.action_weight > 0 else "kl"
        self._losses_since_save.append(update.learning.loss[judged])

    def log_row(self, updates: list[Update]) -> tuple[dict[str, float], dict[str, Alarm]]:
        """Returns the metrics of an interval of updates, and warnings by name."""
        steps_per_update = self.trainer.steps_per_update
        groups = self.experiment.walker.actuator_groups
        row = interval_metrics(updates, groups, steps_per_update)
        sizes = {
            "latent_dim": self.student.config.latent_dim,
            "steps": len(updates) * steps_per_update,
        }
        return row, raised(STUDENT_RULES, row | sizes)

    def evaluate(
        self, state: TrainState, env_steps: int, since: int, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Compares student and teacher."""
        section, task = self.config.eval_config, self.experiment.evaluation_task
        how = DETERMINISTIC if section.deterministic else SAMPLED
        played = self._evaluator.run(
            self._policies(state),
            self._eval_clips,
            section.num_episodes,
            (how,),
            section.seed,
            progress,
        )
        rollouts = {name: ways[how] for name, ways in played.items()}
        evaluation = evaluate_student(rollouts, self._eval_clips, task.walker, task.config.reward)
        return evaluation, student_row(evaluation)

    def _policies(self, state: TrainState) -> tuple[EvaluatedPolicy, EvaluatedPolicy]:
        params = devices.on_one_device(self.trainer.learnt_student(state))
        task = self.experiment.evaluation_task
        return student_and_teacher(task, self.student, params, self.teacher.policy)

    def exported(self, state: TrainState, env_steps: int) -> None:
        """Returns nothing: no other layout is written."""

    def checkpoint(self, state: TrainState) -> dict[str, Any]:
        """Returns the items to save, and their metric: its mean since the last checkpoint."""
        losses, self._losses_since_save = self._losses_since_save, []
        items = student_items(self.trainer.learnt_student(state), self.teacher.policy)
        return {"items": items, "metric": float(np.mean([float(loss) for loss in losses]))}

    def conclude(
        self, evaluation: dict[str, Any], env_steps: int, run_dir: Path, console: Console
    ) -> Sequence[str]:
        """Shows and writes the last evaluation and the curves; returns lines that name the files."""
        # here, for Matplotlib takes a second to import
        from vnl_mjx.report.pictures.training import STUDENT_CURVES, draw_curves

        write_json(run_dir / "eval" / "metrics.json", evaluation | {"env_steps": env_steps})
        draw_curves(run_dir / METRICS_FILE, run_dir / "plots", STUDENT_CURVES)
        which = self.config.eval_config.clips.replace("_", " ")
        clips = f"{self._eval_clips.num_clips} clips ({which})"
        _print_evaluation(console, evaluation, clips)
        return (
            f"checkpoint: {run_dir.resolve() / CHECKPOINT_FOLDER / str(env_steps)}",
            f"metrics and curves: {run_dir / 'eval'}, {run_dir / 'plots'}",
            f"report with pictures and videos: vnl-mjx eval {run_dir}",
        )


def _print_evaluation(console: Console, evaluation: Mapping[str, Any], clips: str) -> None:
    """Prints student and teacher side by side, then action error and latent; `clips` names the clips."""
    where = f"{evaluation['num_episodes']} episodes, {clips}"
    table = Table(title=f"Student against teacher, {where}", title_justify="left")
    table.add_column("")
    table.add_column("student", justify="right")
    table.add_column("teacher", justify="right")
    for name in LOGGED:
        values = (evaluation[who][name] for who in (STUDENT, TEACHER))
        table.add_row(metric(name).heading, *map(number, values))
    console.print(table)
    action, latent = evaluation["action"]["on_student_states"], evaluation["latent"]
    shown = {"reward_ratio": evaluation["reward_ratio"]}
    shown |= {f"action_{name}": action[name] for name in ("mse", "mae", "r2")}
    shown |= {name: latent.get(name) for name in ("kl", "active_units")}
    rows = {metric(name).heading: number(value) for name, value in shown.items()}
    rows["MAE by part"] = ", ".join(
        f"{k} {number(v['mae'])}" for k, v in action["per_group"].items()
    )
    print_table(console, f"The student in these {where}", rows)
