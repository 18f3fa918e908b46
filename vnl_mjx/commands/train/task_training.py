"""Defines a training in a student's latent space for `TrainingRun`: training, checkpoints, metrics."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx import devices
from vnl_mjx.checkpoints.run import CHECKPOINT_FOLDER, RunCheckpointer
from vnl_mjx.clips.body_size import ratios
from vnl_mjx.clips.container import split_clips
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.stored import load_low_level
from vnl_mjx.commands.train.experiment import Experiment
from vnl_mjx.commands.train.fine_tuning import DecoderStart
from vnl_mjx.commands.train.loggers import Warn
from vnl_mjx.commands.train.processes import training_mesh
from vnl_mjx.commands.train.run_folder import METRICS_FILE, relative_source, run_metadata
from vnl_mjx.compat.track_mjx_loader import listed, num_parameters
from vnl_mjx.config.task import TaskNetworkSection, TaskTrainingConfig
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.evaluation.motion_statistics import ClipMotions
from vnl_mjx.evaluation.task_evaluation import TaskPlayer, evaluate_task, headline, task_policy
from vnl_mjx.files import write_json
from vnl_mjx.models.actor_critic import ActorCritic
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.models.value import ValueConfig
from vnl_mjx.tasks.building import for_one_device
from vnl_mjx.tasks.downstream.goals import GOALS, make_goal
from vnl_mjx.tasks.downstream.task import DownstreamTask
from vnl_mjx.tasks.environment import Sized, VectorEnvironment
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment
from vnl_mjx.training.alarms import TEACHER_RULES, Alarm, raised
from vnl_mjx.training.cloning import cloned
from vnl_mjx.training.metrics import task_metrics
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.trainer import TrainState, Update
from vnl_mjx.utils.task_checkpointing import open_task_checkpointer, task_items

# Latent noise would hide the encoded goal, so it is nearly zero.
_NO_NOISE = (-20.0, -20.0)
_VALUE_ONLY_UPDATES = 10  # updates after cloning in which only the new value network learns
_RULES = tuple(rule for rule in TEACHER_RULES if rule.name != "latent_kl")
# Bodies between 1 / 2 and 2 of a rat in length do the tasks as they are.
_ALIKE = 2.0


class TaskTraining:
    """A training of a task for `TrainingRun`; `Distillation` has the same methods."""

    console_metrics = (
        ("reward", "rollout/reward_per_step"),
        ("steps", "episode/steps"),
        ("survival", "episode/survival"),
        ("kl", "loss/policy_kl"),
        ("std", "loss/action_std"),
    )
    is_ranked_by_evaluation = False
    instead = (
        "evaluate it as it is (vnl-mjx eval-task {run}), or start a new run with another run_dir"
    )

    def __init__(self, config: TaskTrainingConfig, run_dir: Path):
        """Loads and builds everything; nothing is written yet."""
        goal = make_goal(config.goal, "goal")
        self._stored = stored = load_low_level(
            config.low_level,
            config.clips,
            config.reference_config,
            config.physics_config,
            config.walker_config.mjcf_path,
        )
        self.config = config = replace(config, reference_config=stored.reference)
        self.task, self.data = stored.below(goal, config.mode, config.residual, config.episode_s)
        env, ppo = VectorEnvironment(self.task), config.ppo
        self._start = None
        if config.mode == "fine_tuned":
            self._start = DecoderStart.of(self.data.low_level.student)
        self.model = build_task_policy(env, config.network, self._start)
        self._clones = (
            config.cloning.num_steps > 0 and config.mode != "scratch" and goal.has_hindsight()
        )
        if ppo.value_only_steps is None and self._clones:
            few = min(_VALUE_ONLY_UPDATES * ppo.steps_per_update, ppo.num_steps // 10)
            ppo = replace(ppo, value_only_steps=few)
        rows = ppo.num_envs // ppo.num_minibatches
        mesh = training_mesh(config.num_devices, ppo.num_envs, rows, "ppo.num_envs")
        self.trainer = Ppo(env, self.model, self.data, ppo, mesh)
        self.experiment = experiment = Experiment(
            walker=stored.task.walker,
            env=ImitationEnvironment(stored.task),
            evaluation_task=stored.task,
            clips=stored.clips,
            split=stored.split or split_clips(stored.clips.num_clips, 0.0, 0),
        )
        clips_file = None if stored.clips_file == DEMO_CLIPS else str(stored.clips_file)
        self.metadata = run_metadata(
            config,
            experiment,
            run_dir,
            {"low_level_sha256": stored.loaded.sha256, "goal": config.goal},
            policy=asdict(self.model.policy_config),
            value=asdict(self.model.value_config),
            vae=asdict(stored.loaded.student.config),
            teacher_network=asdict(stored.loaded.teacher.config),
            low_level_source=relative_source(config.low_level, run_dir),
            reference_source=relative_source(clips_file, run_dir),
        )
        whole = DownstreamTask(goal, for_one_device(stored.task), self.data.low_level)
        self._player = TaskPlayer(whole)
        self._rewards_since_save: list[Any] = []

    def open_checkpointer(self, run_dir: Path) -> RunCheckpointer:
        """Opens the checkpoints of the run folder, which exists."""
        kept = self.config.checkpoint_config
        return open_task_checkpointer(run_dir, kept.keep_last, kept.keep_best)

    def initial_state(self) -> TrainState:
        """Returns fresh networks."""
        state = self.trainer.init(self.config.ppo.seed)
        if self._start is None:
            return state
        std = self.config.network.initial_action_std
        started = self._start.begun(state.params, state.extra, self.model.policy_config, std)
        return state.replace(params=started[0], extra=started[1])

    def introduce(self, state: TrainState, console: Console, progress: Callable[..., None]) -> None:
        """Shows task, low level and networks."""
        config, goal, task = self.config, self.task.goal, self.task
        parts = " + ".join(f"{name} {size}" for name, size in task.observation_sizes.items())
        how = config.mode if config.mode != "prior_decoder" else f"{config.mode}, {config.residual}"
        repeats = config.ppo.action_repeat
        rows = {
            "goal": goal.name,
            "episode": f"{task.episode_steps * task.control_timestep:g} s, evaluated over "
            f"{goal.episode_s:g} s",
            "observation": f"{sum(task.observation_sizes.values())} = {parts}",
            "action": f"{task.action_size} ({how}), each for {repeats} control steps of "
            f"{1e3 * task.control_timestep:g} ms",
        }
        print_table(console, "Task", rows)
        longer = ratios(task.walker).length
        if goal.name in GOALS and not 1.0 / _ALIKE < longer < _ALIKE:
            warn(
                console,
                f"the lengths and speeds of {goal.name} are a rat's, and this body is {longer:.2g} times as "
                "long; a goal of your own fits it better (docs/tasks.md)",
            )
        loaded = self._stored.loaded
        what = "the bundled student" if config.low_level is None else str(loaded.path)
        kind = "teacher, with N(0, I) for a prior" if loaded.is_own_teacher else "student"
        print_table(
            console,
            "Low level, frozen" if self._start is None else "Low level, fine-tuned in the policy",
            {
                "from": f"{what} ({kind})",
                "latent": str(loaded.student.config.latent_dim),
                "clips": f"{self._stored.clips.num_clips} of {self._stored.clips.source}",
            },
        )
        policy = self.model.policy_config
        sizes = {
            "encoder of the goal": f"{listed(policy.encoder_hidden_sizes)}, to {policy.latent_dim}",
            "policy": listed(policy.decoder_hidden_sizes),
            "value": listed(self.model.value_config.hidden_sizes),
            "parameters": f"{num_parameters(state.params.policy):,} + "
            f"{num_parameters(state.params.value):,} of the value",
        }
        print_table(console, "Networks", sizes)

    def prepared(self, state: TrainState, console: Console) -> TrainState:
        """Returns the state before PPO: a policy cloned from the student if the goal allows it."""
        if not self._clones:
            return state
        with frame_progress(console, "rounds") as progress:
            state, explained = cloned(
                self.trainer,
                state,
                self.task,
                self.data,
                self.config.cloning,
                self.config.ppo.seed,
                partial(progress, "cloning the student"),
                statistics_stay=self._start is not None,
            )
        console.print(
            f"cloned from the student: the policy explains {explained:.0%} of its actions"
        )
        return state

    def note_update(self, update: Update, warn: Warn) -> None:
        """Stores the statistics of an update."""
        self._rewards_since_save.append(update.rollout.reward / update.rollout.num_steps)

    def log_row(self, updates: list[Update]) -> tuple[dict[str, float], dict[str, Alarm]]:
        """Returns the metrics of an interval of updates, and warnings by name."""
        row = task_metrics(updates)
        steps = len(updates) * self.trainer.steps_per_update
        aim = self.config.ppo.adaptive_rate.target_kl or 0.0
        return row, raised(_RULES, row | {"steps": steps, "target_kl": aim})

    def evaluate(
        self, state: TrainState, env_steps: int, since: int, progress: Callable[..., None]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Evaluates the policy at its mode."""
        section = self.config.eval_config
        frozen = devices.on_one_device(self.trainer.frozen_policy(state))
        policy = task_policy(frozen, self.config.ppo.action_repeat)
        self._played = self._player.play(
            policy, self.data, section.num_episodes, section.seed, progress
        )
        found = evaluate_task(self._played, self._player.task, self.data, self._clip_motions)
        return found, {f"eval/{name}": value for name, value in headline(found).items()}

    @cached_property
    def _clip_motions(self) -> ClipMotions:
        return ClipMotions(self._stored.task.walker, self._stored.clips)

    def exported(self, state: TrainState, env_steps: int) -> None:
        """Returns nothing: no other layout is written."""

    def checkpoint(self, state: TrainState) -> dict[str, Any]:
        """Returns the items to save, and their metric: the mean reward per step since the last checkpoint."""
        rewards, self._rewards_since_save = self._rewards_since_save, []
        items = task_items(self.trainer.frozen_policy(state), self._stored.loaded)
        return {"items": items, "metric": float(np.mean([float(reward) for reward in rewards]))}

    def conclude(
        self, evaluation: dict[str, Any], env_steps: int, run_dir: Path, console: Console
    ) -> Sequence[str]:
        """Shows and writes the last evaluation and the curves; returns lines that name the files."""
        # here, for Matplotlib takes a second to import
        from vnl_mjx.commands.evaluate.eval_task import draw_task, print_task
        from vnl_mjx.report.pictures.training import TASK_CURVES, draw_curves

        folder = run_dir / "eval"
        write_json(folder / "metrics.json", evaluation | {"env_steps": env_steps})
        draw_curves(run_dir / METRICS_FILE, run_dir / "plots", TASK_CURVES)
        print_task(console, {"policy": evaluation})
        wants_video = self.config.eval_config.video_at_end
        draw_task(self._played, self._player.task, folder, console, wants_video)
        return (
            f"checkpoint: {run_dir.resolve() / CHECKPOINT_FOLDER / str(env_steps)}",
            f"metrics, pictures and curves: {folder}, {run_dir / 'plots'}",
            f"evaluate against two baselines: vnl-mjx eval-task {run_dir}",
            f"watch: vnl-mjx view {run_dir}",
        )


def build_task_policy(
    env: Sized, network: TaskNetworkSection, start: DecoderStart | None = None
) -> ActorCritic:
    """Returns policy and value network sized for a task; with a start, the decoder is a student's."""
    goal, body = env.observation_sizes.values()
    if start is not None:
        policy = start.config(goal, network.policy_hidden_sizes, _NO_NOISE)
    else:
        policy = IntentionConfig(
            reference_size=goal,
            proprioception_size=body,
            action_size=env.action_size,
            latent_dim=network.goal_dim,
            encoder_hidden_sizes=network.goal_hidden_sizes,
            decoder_hidden_sizes=network.policy_hidden_sizes,
            activation=network.activation,
            logvar_range=_NO_NOISE,
        )
    value = ValueConfig(goal + body, network.value_hidden_sizes, network.activation)
    return ActorCritic(policy, value, network.initial_action_std)
