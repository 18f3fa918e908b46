"""Defines a teacher's training by PPO for `TrainingRun`: training, checkpoints, metrics, output."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import devices
from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.clips.container import check_some_to_train
from vnl_mjx.commands.console import Console, clip_rows, frame_progress, print_table, warn
from vnl_mjx.commands.train.experiment import (
    build_actor_critic,
    build_guide,
    build_teacher_experiment,
)
from vnl_mjx.commands.train.loggers import Warn
from vnl_mjx.commands.train.processes import training_mesh
from vnl_mjx.commands.train.run_folder import METRICS_FILE, relative_source, run_metadata
from vnl_mjx.commands.train.teacher_video import TeacherVideos
from vnl_mjx.compat.teacher_start import TeacherStart, read_start
from vnl_mjx.compat.track_mjx_loader import STEP_PREFIX, listed, num_parameters, policy_rows
from vnl_mjx.compat.track_mjx_writer import (
    TEACHER_FOLDER,
    open_teacher_checkpointer,
    track_mjx_config,
)
from vnl_mjx.config.teacher import TeacherTrainingConfig
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.metrics import LOGGED, log_row, metric
from vnl_mjx.evaluation.protocol import (
    DETERMINISTIC,
    SAMPLED,
    TEACHER,
    PolicyEvaluator,
    Progress,
    evaluated_teacher,
)
from vnl_mjx.evaluation.teacher_evaluation import evaluate_tracking
from vnl_mjx.files import matching, write_json
from vnl_mjx.models.actor_critic import ActorCriticParams
from vnl_mjx.training.alarms import TEACHER_RULES, Alarm, raised
from vnl_mjx.training.guided_start import started_from_guide
from vnl_mjx.training.metrics import ppo_metrics
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.trainer import TrainState, Update
from vnl_mjx.walkers.body_files import kept_path

# Environment steps in which a new value network learns alone, while the trained policy stays.
VALUE_ONLY_STEPS = 200_000
# Updates after a guided start in which only the new value network learns.
VALUE_ONLY_UPDATES = 10
# A checkpoint without an evaluation since the previous one is never among the best.
NOT_EVALUATED = -1.0


class TeacherTraining:
    """Implements a teacher's training for `TrainingRun`; `Distillation` has the same methods."""

    console_metrics = (
        ("reward", "rollout/reward_fraction"),
        ("steps", "episode/steps"),
        ("survival", "episode/survival"),
        ("kl", "loss/policy_kl"),
        ("std", "loss/action_std"),
        ("rate", "loss/learning_rate"),
    )
    is_ranked_by_evaluation = True
    instead = (
        "evaluate the teacher as it is (vnl-mjx eval-teacher {run}), or start a new run from it "
        f"(init_from={{run}}/{TEACHER_FOLDER}) with another run_dir"
    )

    def __init__(self, config: TeacherTrainingConfig, run_dir: Path):
        """Loads and builds everything; nothing is written yet."""
        self.config, ppo = config, config.ppo
        rows = ppo.num_envs // ppo.num_minibatches
        mesh = training_mesh(config.num_devices, ppo.num_envs, rows, "ppo.num_envs")
        if config.guided_start.num_steps and mesh.size > 1:
            raise UserError(
                f"guided_start.num_steps: expected one device, found {mesh.size}; give num_devices=1"
            )
        self.experiment = experiment = build_teacher_experiment(config, mesh)
        if config.reference_config.use_held_out_marks:
            check_some_to_train(experiment.clips)
        self.model = build_actor_critic(experiment.env, config.network)
        self.start: TeacherStart | None = None
        if config.init_from is not None:
            shapes = jax.eval_shape(self.model.init, jax.random.PRNGKey(0))
            self.start = read_start(config.init_from, self.model.policy_config, shapes.value)
            if self.start.value is None and ppo.value_only_steps is None:
                steps = min(VALUE_ONLY_STEPS, ppo.num_steps // 10)
                ppo = replace(ppo, value_only_steps=steps)
        elif config.guided_start.num_steps and ppo.value_only_steps is None:
            few = min(VALUE_ONLY_UPDATES * ppo.steps_per_update, ppo.num_steps // 10)
            ppo = replace(ppo, value_only_steps=few)
        clips = experiment.clips_of("train")
        guide, guiding = build_guide(config, experiment.env, mesh)
        self._guide = guide
        self.trainer = Ppo(experiment.env, self.model, clips, ppo, mesh, guide)
        files = config.reference_config.paths
        sources = {"init_sha256": self.start.teacher.sha256 if self.start else None}
        if guiding is not None:
            sources["guide_sha256"] = guiding.sha256
        self.metadata = run_metadata(
            config,
            experiment,
            run_dir,
            sources,
            policy=asdict(self.model.policy_config),
            value=asdict(self.model.value_config),
            init_source=relative_source(config.init_from, run_dir),
            reference_sources=[relative_source(path, run_dir) for path in files],
        )
        self._eval_clips = experiment.clips_of(config.eval_config.clips)
        self._evaluator = PolicyEvaluator()
        self._videos = TeacherVideos(experiment.walker.config, run_dir / "videos")
        self._metric_since_save = NOT_EVALUATED

    def open_checkpointer(self, run_dir: Path) -> RunCheckpointer:
        """Opens the checkpoints of the run folder, which exists."""
        kept = self.config.checkpoint_config
        return open_teacher_checkpointer(
            run_dir, self.track_mjx_config(), kept.keep_last, kept.keep_best
        )

    def track_mjx_config(self) -> dict[str, Any]:
        """Returns the configuration that the teacher is stored with, in track-mjx's keys."""
        ppo, task, clips = self.config.ppo, self.config.task, self.experiment.clips
        if kept := kept_path(task.walker.source, Path("..")):
            # a checkpoint names no folder of this machine
            task = replace(task, walker=replace(task.walker, source=kept.as_posix()))
        longest = int(clips.lengths.max())
        return track_mjx_config(
            task,
            self.model.policy_config,
            clip_length=max(longest, task.traj_length + task.episode_frames),
            critic_hidden_sizes=self.model.value_config.hidden_sizes,
            # track-mjx averages over latent dimensions, we sum
            kl_weight=(ppo.latent_ar1_kl.value or ppo.latent_kl.value)
            * self.config.network.latent_dim,
            train_config={
                "num_envs": ppo.num_envs,
                "num_timesteps": ppo.num_steps,
                "batch_size": ppo.num_envs // ppo.num_minibatches,
                "num_minibatches": ppo.num_minibatches,
                "num_updates_per_batch": ppo.num_epochs,
                "learning_rate": ppo.learning_rate.value,
                "clipping_epsilon": ppo.clip_epsilon,
                "discounting": ppo.discount,
                "action_repeat": ppo.action_repeat,
                "entropy_cost": ppo.entropy.value,
                "reward_scaling": ppo.reward_scale,
                "unroll_length": ppo.unroll_length,
                "seed": ppo.seed,
            },
            reference_name=clips.source,
        )

    def initial_state(self) -> TrainState:
        """Returns fresh networks, or those of `init_from` with its observation statistics."""
        state, start = self.trainer.init(self.config.ppo.seed), self.start
        if start is None:
            return state
        value = state.params.value if start.value is None else start.value
        # Copies, because an update consumes its arguments.
        policy, value = jax.tree.map(jnp.array, (start.teacher.policy.params, value))
        statistics = {name: jnp.array(x) for name, x in start.statistics.items()}
        return state.replace(
            params=ActorCriticParams(policy, value),
            extra=state.extra.replace(**statistics),
        )

    def introduce(self, state: TrainState, console: Console, progress: Progress) -> None:
        """Shows task, networks and clips."""
        experiment = self.experiment
        print_table(console, "Task", self._task_rows())
        print_table(console, "Networks", self._network_rows(state.params))
        print_table(console, "Reference clips", clip_rows(experiment.clips, experiment.split))
        for warning in self._start_warnings():
            warn(console, warning)

    def prepared(self, state: TrainState, console: Console) -> TrainState:
        """Returns the state before PPO: a policy that imitates the guide, if `guided_start` asks for it."""
        section, guide = self.config.guided_start, self._guide
        if not section.num_steps or guide is None:
            return state
        with frame_progress(console, "parts") as progress:
            shown = partial(progress, "imitating the guide")
            seed = self.config.ppo.seed
            state, explained = started_from_guide(self.trainer, state, guide, section, seed, shown)
        console.print(f"started from the guide: the policy explains {explained:.0%} of its actions")
        return state

    def note_update(self, update: Update, warn: Warn) -> None:
        """Finishes a video that is done, and warns once if drawing failed."""
        self._videos.poll(warn)

    def log_row(self, updates: list[Update]) -> tuple[dict[str, float], dict[str, Alarm]]:
        """Returns the metrics of an interval of updates, and warnings by name."""
        row = ppo_metrics(updates, self.config.task.reward)
        steps = len(updates) * self.trainer.steps_per_update
        return row, raised(TEACHER_RULES, row | {"steps": steps})

    def evaluate(
        self, state: TrainState, env_steps: int, since: int, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Runs the policy on the evaluation clips; draws a video of one of them from time to time."""
        section, task = self.config.eval_config, self.experiment.evaluation_task
        policy = devices.on_one_device(self.trainer.frozen_policy(state))
        self._played = self._evaluator.run_one(
            evaluated_teacher(task, policy, TEACHER),
            self._eval_clips,
            self._eval_clips.num_clips + section.num_random_starts,
            DETERMINISTIC if section.deterministic else SAMPLED,
            section.seed,
            progress,
        )
        evaluation = evaluate_tracking(
            self._played, self._eval_clips, task.walker, task.config.reward
        )
        fraction = evaluation["all"]["completed_fraction"]
        self._metric_since_save = fraction if np.isfinite(fraction) else NOT_EVALUATED
        interval = section.video_interval_steps
        if interval > 0 and env_steps // interval > since // interval:
            self._videos.start(self._played, self._eval_clips, env_steps)
        return evaluation, log_row(evaluation["all"])

    def exported(self, state: TrainState, env_steps: int) -> dict[str, Any]:
        """Returns what is written in track-mjx's layout."""
        return self.trainer.track_mjx_state(state)

    def checkpoint(self, state: TrainState) -> dict[str, Any]:
        """Returns the items to save, and their metric: the reward evaluated since the last checkpoint."""
        metric, self._metric_since_save = self._metric_since_save, NOT_EVALUATED
        return {"metric": metric}

    def conclude(
        self, evaluation: dict[str, Any], env_steps: int, run_dir: Path, console: Console
    ) -> Sequence[str]:
        """Shows and writes the last evaluation and the curves; returns lines that name the files."""
        # here, for Matplotlib takes a second to import
        from vnl_mjx.report.pictures.training import TEACHER_CURVES, draw_curves

        write_json(run_dir / "eval" / "metrics.json", evaluation | {"env_steps": env_steps})
        draw_curves(run_dir / METRICS_FILE, run_dir / "plots", TEACHER_CURVES)
        title = f"On {self._eval_clips.num_clips} clips, each from its first frame"
        found = ((metric(name).heading, evaluation["all"][name]) for name in LOGGED)
        rows = {heading: f"{v:.4g}" for heading, v in found if v is not None}
        print_table(console, title, rows)
        if self.config.eval_config.video_at_end:
            self._videos.start(self._played, self._eval_clips, env_steps)
            self._videos.finish(lambda text: warn(console, text))
        teacher = run_dir / TEACHER_FOLDER
        return (
            f"teacher: {teacher.resolve() / f'{STEP_PREFIX}_{env_steps}'}",
            f"metrics and pictures: {run_dir / 'eval'}, {run_dir / 'plots'}",
            *next_commands(teacher, self.config.reference_config.paths, run_dir),
        )

    def _task_rows(self) -> dict[str, str]:
        """Returns table rows on body, simulation and episodes."""
        task, walker, env = self.config.task, self.config.task.walker, self.experiment.env
        sizes = env.observation_sizes
        parts = " + ".join(f"{name} {size}" for name, size in sizes.items())
        start = "in motion" if task.initial_velocity == "reference" else "at rest"
        return {
            "body": f"{walker.source.rpartition('/')[2]}, "
            f"{'torque' if walker.torque_actuators else 'position'} actuators",
            "simulation": f"{1e3 * task.physics.timestep:g} ms, control at "
            f"{1 / task.physics.control_timestep:g} Hz",
            "observation": f"{sum(sizes.values())} = {parts}",
            "action": str(env.action_size),
            "reward": task.reward.family.replace("_", "-"),
            "episode": f"at most {task.episode_frames} frames, starts {start}",
        }

    def _network_rows(self, params: ActorCriticParams) -> dict[str, str]:
        """Returns table rows on network sizes and the origin of the parameters."""
        value, start = self.model.value_config, self.start
        layer_norm = ", layer norm" if value.layer_norm else ""
        return policy_rows(self.model.policy_config) | {
            "value": listed(value.hidden_sizes) + layer_norm,
            "parameters": f"{num_parameters(params.policy):,} + "
            f"{num_parameters(params.value):,} of the value",
            "start": "fresh" if start is None else f"init_from, step {start.teacher.step:,}",
        }

    def _start_warnings(self) -> list[str]:
        if self.start is None:
            return []
        found = list(self.start.teacher.warnings)
        if self.start.value is None:
            found.append(
                "init_from holds no value network of these sizes; a new one learns first, for "
                f"{self.trainer.config.value_only_steps:,} steps alone (ppo.value_only_steps)"
            )
        if self.config.has_guidance and self.config.guide_from is None:
            found.append(
                "ppo.guidance pulls the teacher of init_from towards pose control, which cannot balance; "
                "give ppo.guidance=0 to keep what the teacher has learnt"
            )
        return found


def next_commands(teacher: Path, clips: Sequence[str], run_dir: Path) -> list[str]:
    """Returns the commands to run next, on the clips of the training."""
    lines, evaluation = [], ["vnl-mjx", "eval-teacher", str(teacher)]
    distillation = ["vnl-mjx", "distill", str(teacher)]
    if files := [str(path) for path in matching(clips)]:
        file = files[0]
        if len(files) > 1:
            file = str(run_dir / "clips.h5")
            merging = ["vnl-mjx", "clips", "merge", *files, file]
            lines.append(f"one file of all clips: {shlex.join(merging)}")
        evaluation += ["--clips", file]
        distillation.append(file)
    return [*lines, f"evaluate: {shlex.join(evaluation)}", f"distil: {shlex.join(distillation)}"]
