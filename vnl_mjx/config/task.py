"""Defines the configuration of a training in a student's latent space (keys of `task_ppo.yaml`).

Every step count is in environment steps: control steps summed over environments.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.ppo import AdaptiveRateSection, PpoSection, RegressionSection, validate_ppo
from vnl_mjx.config.schedules import ScheduleSection
from vnl_mjx.config.schema import (
    Activation,
    CheckpointSection,
    LoggingSection,
    ReferenceSection,
    RunConfig,
    WalkerSection,
    WandbSection,
)
from vnl_mjx.config.validation import check_bounds, number
from vnl_mjx.errors import UserError

# Description of each task by name; `tasks.downstream.goals` has the goals.
GOAL_SUMMARIES = {
    "joystick": "follow commands of forward speed and turning rate, which change",
    "velocity": "run straight ahead at 0.3 m/s",
    "go_to_target": "walk to a place ahead, in 6 s",
    "follow_target": "keep the head at a point that wanders about",
    "rearing": "lift the head high above the trunk and hold it there, again and again",
    "walk_and_rear": "walk half a metre and hold the head at a raised point there",
    "bowl": "get out of a bowl of hilly ground",
    "forage": "eat the treats that lie around, led by their scent",
    "gaps": "run along a row of platforms and cross the gaps between them",
}


def task_ppo() -> PpoSection:
    """Returns PPO settings for a latent: actions of two control steps, larger policy steps, no guide."""
    return PpoSection(
        num_envs=64,
        unroll_length=20,
        action_repeat=2,
        num_steps=600_000,
        num_epochs=8,
        adaptive_rate=AdaptiveRateSection(target_kl=0.3),
        reward_scale=0.3,
        action_std=ScheduleSection(1.0),
        action_std_target=0.2,
        latent_kl=ScheduleSection(0.0),
        guidance=ScheduleSection(0.0),
    )


@dataclass(frozen=True)
class TaskNetworkSection:
    """The policy, which encodes the goal's observation and decodes it with proprioception; the value network.

    Attributes:
        goal_dim: size of the encoded goal.
        goal_hidden_sizes: hidden layers of that encoder.
        policy_hidden_sizes: hidden layers from the encoded goal and the proprioception to an action.
        value_hidden_sizes: hidden layers of the value network.
        activation: of every hidden layer.
        initial_action_std: standard deviation, before tanh, that a fresh policy explores with.
    """

    goal_dim: int = number(16, ge=1)
    goal_hidden_sizes: tuple[int, ...] = number((64, 64), ge=1)
    policy_hidden_sizes: tuple[int, ...] = number((256, 256), ge=1)
    value_hidden_sizes: tuple[int, ...] = number((256, 256), ge=1)
    activation: Activation = "silu"
    initial_action_std: float = number(0.2, gt=0.001)


@dataclass(frozen=True)
class CloningSection(RegressionSection):
    """Cloning before PPO: the policy imitates the student that follows its clips.

    The student follows the part of a clip that fits the goal. `Goal.hindsight` tells in hindsight which
    goal a motion serves; goals without it, and the mode "scratch", train by PPO alone.

    Attributes:
        num_steps: environment steps of policy and student; 0: PPO alone.
        num_rounds: number of rounds; from the second on, the student starts where the policy has led.
        part_s: seconds for which it follows one part.
        noise: standard deviation of the noise on its actions, so that states off the clips are visited.
    """

    num_steps: int = number(200_000, ge=0)
    num_rounds: int = number(4, ge=1)
    part_s: float = number(1.0, gt=0)
    noise: float = number(0.25, ge=0)


@dataclass(frozen=True)
class TaskEvalSection:
    """Evaluation in episodes of full length, at the policy's mode.

    Attributes:
        interval_steps: environment steps between evaluations, 0 for the end only.
        num_episodes: episodes, run together.
        seed: seed of starts and goals.
        video_at_end: make a video after the last evaluation, if rendering works.
    """

    interval_steps: int = number(0, ge=0)
    num_episodes: int = number(64, ge=1)
    seed: int = number(1, ge=0, lt=2**32)
    video_at_end: bool = True


@dataclass(frozen=True)
class TaskTrainingConfig(RunConfig):
    """A training of a policy that does a task with a student's motor primitives.

    Attributes:
        goal: name of a goal of ours (`vnl-mjx train-task --help` lists them), or the path of one of your own
            (my_lab.goals:Height).
        low_level: run folder of a distillation, or a student of track-mjx; null: the bundled student.
        clips: reference clips in whose frames episodes start; null: the student's.
        mode: "prior_decoder": the action moves the latent from the prior's mean; "decoder_only": the action
            is the latent; "fine_tuned": the action is the control, and the policy contains the student's
            decoder, which learns further; "scratch": the action is the control, without the student, as a
            baseline.
        residual: bound of the move in mode "prior_decoder": "sigma_ball", within the 95 % of the prior
            nearest to its mean; "tanh", at most 1 in each dimension; "none", unbounded.
        episode_s: seconds of an episode in training, null for the goal's own. Shorter episodes start more
            often in the clips' motion.
        network: sizes of the networks.
        cloning: imitation before PPO.
        ppo: the optimisation.
        walker_config: the body, if its file has moved since the low level's run.
        reference_config: how the file of clips is cut, if not as for the student.
        physics_config: where the simulation runs.
        eval_config: evaluation of the policy.
        checkpoint_config: checkpoints to keep; the best have the highest mean reward since the previous
            checkpoint.
        logging_config: logging.
        wandb_config: Weights & Biases.
    """

    goal: str = "joystick"
    low_level: str | None = None
    clips: str | None = None
    mode: Literal["prior_decoder", "decoder_only", "fine_tuned", "scratch"] = "prior_decoder"
    residual: Literal["sigma_ball", "tanh", "none"] = "sigma_ball"
    episode_s: float | None = number(10.0, gt=0)
    network: TaskNetworkSection = field(default_factory=TaskNetworkSection)
    cloning: CloningSection = field(default_factory=CloningSection)
    ppo: PpoSection = field(default_factory=task_ppo)
    walker_config: WalkerSection = field(default_factory=WalkerSection)
    reference_config: ReferenceSection = field(default_factory=ReferenceSection)
    physics_config: PhysicsSection = field(default_factory=PhysicsSection)
    eval_config: TaskEvalSection = field(default_factory=TaskEvalSection)
    checkpoint_config: CheckpointSection = field(
        default_factory=lambda: CheckpointSection(interval_steps=200_000)
    )
    logging_config: LoggingSection = field(default_factory=LoggingSection)
    wandb_config: WandbSection = field(default_factory=lambda: WandbSection(exp_name="task"))

    @property
    def num_steps(self) -> int:
        """Environment steps of PPO."""
        return self.ppo.num_steps

    def validate(self) -> None:
        """Raises UserError, naming the key, for the first invalid value."""
        check_bounds(self)
        validate_ppo(self.ppo)
        if self.ppo.guidance.is_ever_positive:
            raise UserError("ppo.guidance: expected 0 in a task without a guide, found more")
