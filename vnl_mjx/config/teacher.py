"""Defines the configuration of a teacher's training (keys and defaults of `teacher_ppo.yaml`).

Every step count is in environment steps: control steps summed over environments.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.imitation import (
    ImitationConfig,
    RewardConfig,
    TerminationConfig,
    UpstreamQuirks,
    WalkerConfig,
)
from vnl_mjx.config.ppo import PpoSection, RegressionSection, validate_ppo
from vnl_mjx.config.schema import (
    Activation,
    CheckpointSection,
    LoggingSection,
    ReferenceSection,
    RunConfig,
    WandbSection,
)
from vnl_mjx.config.validation import check_bounds, number
from vnl_mjx.errors import UserError


def own_task() -> ImitationConfig:
    """Returns the task of our own teachers: position actuators, starts in motion, limits of 5 cm and 1.2 rad.

    The reward is sharper in the root's distance and angle than track-mjx's (scales 400 and 4), which hardly
    penalises a policy that slides by two centimetres.
    """
    return ImitationConfig(
        walker=WalkerConfig(torque_actuators=False),
        reward=RewardConfig(pos_exp_scale=1500.0, quat_exp_scale=10.0),
        termination=TerminationConfig(
            healthy_z_range=(0.0, 0.5),
            max_pos_error=0.0025,
            pos_axis_scale=(1.0, 1.0, 1.0),
            max_quat_error=0.36,
        ),
        quirks=UpstreamQuirks(ctrl_diff_is_zero=False, frame_lags=False),
        start_frame_range=1_000_000,
        episode_frames=250,
        initial_velocity="reference",
        initial_activation="pose",
    )


@dataclass(frozen=True)
class NetworkSection:
    """The intention network and the value network.

    Attributes:
        latent_dim: size of the latent.
        encoder_hidden_sizes: hidden layers of the encoder, which reads the reference.
        decoder_hidden_sizes: hidden layers of the decoder, which reads latent and proprioception.
        value_hidden_sizes: hidden layers of the value network.
        activation: of every hidden layer.
        value_layer_norm: layer normalisation in the value network; track-mjx has none there.
        initial_action_std: standard deviation of a fresh policy's exploration, before tanh; null: as fresh
            weights give it.
        lstm_hidden_size: width of a recurrent decoder, in place of `decoder_hidden_sizes`.
        lstm_num_layers: layers of a recurrent decoder, 0 for a feed-forward one.
        observation_clip: standard deviations at which normalised observations are clipped; null: never, as
            in track-mjx.
    """

    latent_dim: int = number(32, ge=1)
    encoder_hidden_sizes: tuple[int, ...] = number((256, 256), ge=1)
    decoder_hidden_sizes: tuple[int, ...] = number((256, 256), ge=1)
    value_hidden_sizes: tuple[int, ...] = number((256, 256), ge=1)
    activation: Activation = "silu"
    value_layer_norm: bool = True
    initial_action_std: float | None = number(0.25, gt=0.001)
    lstm_hidden_size: int = number(128, ge=1)
    lstm_num_layers: int = number(0, ge=0)
    observation_clip: float | None = number(None, gt=0)


@dataclass(frozen=True)
class SamplingSection:
    """Starts and pushes of training episodes.

    Attributes:
        failure_weighting: share of the starts drawn in proportion to the clips' failure rates; the rest
            is uniform over clips.
        failure_memory: decay of a clip's failure rate with each further episode.
        push_interval_s: mean seconds between pushes, which come at random times; null: none.
        push_speed: largest change of the root's velocity along each horizontal axis by a push, m/s.
    """

    failure_weighting: float = number(0.3, ge=0, le=1)
    failure_memory: float = number(0.95, ge=0, lt=1)
    push_interval_s: float | None = number(None, gt=0)
    push_speed: float = number(0.15, ge=0)


@dataclass(frozen=True)
class GuidedStartSection(RegressionSection):
    """Regression of the fresh policy on the guide before PPO, in rounds.

    In the first round the guide acts, from the second on the policy (DAgger: Ross et al. 2011).

    Attributes:
        num_steps: environment steps of guide and policy, on top of PPO's; 0: PPO alone.
        num_rounds: number of rounds.
        noise: standard deviation of the noise on the actions, so that states off the clips are visited.
    """

    num_steps: int = number(0, ge=0)
    num_rounds: int = number(3, ge=1)
    noise: float = number(0.1, ge=0)


@dataclass(frozen=True)
class TeacherReferenceSection(ReferenceSection):
    """The reference clips.

    Attributes:
        paths: HDF5 files of reference clips of one walker at one rate; none: the bundled clips.
        held_out_fraction: share of the clips that training never sees, if no file marks held-out clips.
        use_held_out_marks: respect the files' held-out marks; false trains on marked clips too.
    """

    paths: tuple[str, ...] = ()
    held_out_fraction: float = number(0.0, ge=0, lt=1)
    use_held_out_marks: bool = True


@dataclass(frozen=True)
class TeacherEvalSection:
    """Episodes without exploration, each clip from its first frame and from random ones.

    Attributes:
        interval_steps: environment steps between evaluations, 0 for the end only.
        clips: side of the split; "held_out" means the training clips if none is held out.
        num_random_starts: episodes per clip besides the one from its first frame.
        deterministic: act on the mode, not on a sample.
        seed: of frames and samples.
        video_interval_steps: environment steps between videos of one clip, 0 for none during training.
        video_at_end: make a video after the last evaluation, if rendering works.
    """

    interval_steps: int = number(500_000, ge=0)
    clips: Literal["held_out", "train", "all"] = "held_out"
    num_random_starts: int = number(0, ge=0)
    deterministic: bool = True
    seed: int = number(0, ge=0, lt=2**32)
    video_interval_steps: int = number(0, ge=0)
    video_at_end: bool = True


@dataclass(frozen=True)
class TeacherTrainingConfig(RunConfig):
    """One training of a teacher by PPO.

    Attributes:
        init_from: track-mjx checkpoint folder with the initial networks and observation statistics; null
            for fresh ones.
        guide_from: track-mjx checkpoint folder of the teacher that guides the policy with weight
            `ppo.guidance`, and in `guided_start`; null for control towards the reference pose.
        task: body, physics, observation, reward and termination.
        network: sizes.
        guided_start: imitation of the guide before PPO.
        ppo: the optimisation.
        sampling: starts and pushes.
        reference_config: the reference clips.
        physics_config: where the simulation runs.
        eval_config: evaluation on the clips.
        checkpoint_config: checkpoints to keep; the best have the highest evaluated reward.
        logging_config: logging.
        wandb_config: Weights & Biases.
    """

    init_from: str | None = None
    guide_from: str | None = None
    task: ImitationConfig = field(default_factory=own_task)
    network: NetworkSection = field(default_factory=NetworkSection)
    guided_start: GuidedStartSection = field(default_factory=GuidedStartSection)
    ppo: PpoSection = field(default_factory=PpoSection)
    sampling: SamplingSection = field(default_factory=SamplingSection)
    reference_config: TeacherReferenceSection = field(default_factory=TeacherReferenceSection)
    physics_config: PhysicsSection = field(default_factory=PhysicsSection)
    eval_config: TeacherEvalSection = field(default_factory=TeacherEvalSection)
    checkpoint_config: CheckpointSection = field(
        default_factory=lambda: CheckpointSection(interval_steps=500_000)
    )
    logging_config: LoggingSection = field(
        default_factory=lambda: LoggingSection(interval_steps=100_000)
    )
    wandb_config: WandbSection = field(default_factory=lambda: WandbSection(exp_name="teacher"))

    @property
    def num_steps(self) -> int:
        """Environment steps of the whole run."""
        return self.ppo.num_steps

    @property
    def has_guidance(self) -> bool:
        """Whether the training ever uses the task's guide."""
        return self.ppo.guidance.is_ever_positive or self.guided_start.num_steps > 0

    def validate(self) -> None:
        """Raises UserError, naming the key, for the first invalid value."""
        check_bounds(self)
        self.task.randomization.validate("task.randomization.")
        for key, (low, high) in _height_ranges(self.task).items():
            if not low < high:
                raise UserError(
                    f"{key}: expected [lowest, highest] in m, found [{low:g}, {high:g}]"
                )
        validate_ppo(self.ppo)
        found = f"found {self.guided_start.num_steps}"
        if self.guided_start.num_steps and self.init_from is not None:
            raise UserError(
                f"guided_start.num_steps: expected 0 with init_from, whose policy it would replace, {found}"
            )
        if self.guided_start.num_steps and self.network.lstm_num_layers:
            raise UserError(
                f"guided_start.num_steps: expected 0 with a recurrent decoder, {found}; give "
                "network.lstm_num_layers=0, or ppo.guidance alone"
            )
        if self.task.initial_activation == "pose" and self.task.walker.torque_actuators:
            raise UserError(
                "task.walker.torque_actuators: expected false with task.initial_activation=pose, found true; "
                "give --preset torque, which does without it"
            )


def _height_ranges(task: ImitationConfig) -> dict[str, tuple[float, float]]:
    """Yields the ranges of the root body's height that the chosen families read, by key."""
    ranges = {}
    if task.termination.family == "track_mjx":
        ranges["task.termination.healthy_z_range"] = task.termination.healthy_z_range
    if task.reward.family == "vnl_playground":
        key = "task.reward.vnl_playground.healthy_z_range"
        ranges[key] = task.reward.vnl_playground.healthy_z_range
    return ranges
