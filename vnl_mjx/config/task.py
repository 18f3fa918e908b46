"""The typed configuration of a training in the latent space of a student (`task_ppo.yaml` has the same keys).

Every step count is in environment steps: control steps summed over environments.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.ppo import AdaptiveRateSection, PpoSection, validate_ppo
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

# What is to be done, by name; `tasks.downstream.goals` has the goals themselves.
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
    """PPO over a latent: actions of two control steps, larger steps of the policy, no guide."""
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
    """The policy, which encodes what it sees of the goal and decodes that with the body; the value network.

    Attributes:
        goal_dim: size of what the goal is encoded to.
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
class CloningSection:
    """Before PPO: the policy learns what the student does where it follows its clips.

    It follows that part of a clip which does what the goal asks for. What a part does is right for some goal,
    which is known once it is done (`Goal.hindsight`); goals that do not say which are trained by PPO alone,
    and so is the mode "scratch".

    Attributes:
        num_steps: environment steps of policy and student; 0: PPO alone.
        num_rounds: how often; from the second on the student begins where the policy so far has come.
        part_s: seconds that it then follows one part.
        noise: standard deviation of what is added to its actions, so that states beside the clips are seen.
        gradient_steps: of Adam, in each round.
        batch_size: rows of each.
        learning_rate: of the first; it falls to 0 by a cosine.
    """

    num_steps: int = number(200_000, ge=0)
    num_rounds: int = number(4, ge=1)
    part_s: float = number(1.0, gt=0)
    noise: float = number(0.25, ge=0)
    gradient_steps: int = number(2_000, ge=1)
    batch_size: int = number(512, ge=1)
    learning_rate: float = number(1e-3, gt=0)


@dataclass(frozen=True)
class TaskEvalSection:
    """Episodes of the task's whole length, at the policy's mode.

    Attributes:
        interval_steps: environment steps between evaluations, 0 for the end only.
        num_episodes: played together.
        seed: of starts and goals.
        video_at_end: one video after the last evaluation, where rendering works.
    """

    interval_steps: int = number(0, ge=0)
    num_episodes: int = number(64, ge=1)
    seed: int = number(1, ge=0, lt=2**32)
    video_at_end: bool = True


@dataclass(frozen=True)
class TaskTrainingConfig(RunConfig):
    """One training of a policy that does a task by a student's motor primitives.

    Attributes:
        goal: name of a goal of ours (`vnl-mjx train-task --help` lists them), or the path of one of your own
            (my_lab.goals:Height).
        low_level: run folder of a distillation, or a student of track-mjx; null: the bundled student.
        clips: reference clips in whose frames episodes begin; null: those of the student.
        mode: "prior_decoder": the action moves the latent from the prior's mean; "decoder_only": it is the
            latent; "fine_tuned": it is the control, and the student's decoder is part of the policy and
            learns, from where the student is; "scratch": it is the control, and the student does nothing,
            to be compared with.
        residual: how far, with prior_decoder: "sigma_ball", within the 95 % of the prior that are nearest to
            its mean; "tanh", at most 1 in each dimension; "none", without bounds.
        episode_s: seconds of an episode in training, null for the goal's own. Shorter ones begin more often
            in the clips' motion.
        network: sizes.
        cloning: what comes before PPO.
        ppo: the optimisation.
        walker_config: the body, where its file is not where the low level's run had it.
        reference_config: how the file of clips is cut, where otherwise than for the student.
        physics_config: where the simulation runs.
        eval_config: how well the task is done.
        checkpoint_config: what is kept; the best ones are those of the highest mean reward since the one
            before.
        logging_config: what is written.
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
        """Raises UserError, naming the key, for the first value that no run can have."""
        check_bounds(self)
        validate_ppo(self.ppo)
        if self.ppo.guidance.is_ever_positive:
            raise UserError("ppo.guidance: expected 0 in a task without a guide, found more")
