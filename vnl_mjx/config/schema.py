"""Defines the typed configuration of a distillation run.

Every step count here is in environment steps: control steps summed over environments. The YAML files
beside this module hold the same keys and defaults; `loading` composes them with overrides.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.computing import Device, MatmulPrecision, PhysicsSection, SolverSection
from vnl_mjx.config.losses import STUDENT_TERMS, ActionLossSection, KlLossSection
from vnl_mjx.config.schedules import LossTermSection, ScheduleSection, check_schedules
from vnl_mjx.config.validation import check_bounds, check_divides, number
from vnl_mjx.errors import UserError

Activation = Literal["silu", "relu", "elu", "gelu", "tanh"]


@dataclass(frozen=True)
class TeacherSection:
    """The frozen teacher and the motion it imitates.

    Attributes:
        checkpoint_path: track-mjx checkpoint folder, null for the bundled demonstration teacher.
        reference_data_path: HDF5 file of reference clips, null for the bundled clips.
        step: step of the checkpoint, null for the latest.
        activation: activation of a checkpoint too old to record its own, null to infer it.
        observation_clip: standard deviations at which normalised observations are clipped, for teacher and
            student; null: as the checkpoint says (track-mjx never clips). An entry that hardly varied in
            training (standard deviation near 0) can be thousands of deviations off its mean.
    """

    checkpoint_path: str | None = None
    reference_data_path: str | None = None
    step: int | None = number(None, ge=0)
    activation: Activation | None = None
    observation_clip: float | None = number(None, gt=0)


@dataclass(frozen=True)
class WalkerSection:
    """The body, if it differs from the teacher's checkpoint.

    Attributes:
        mjcf_path: MJCF file in place of the rodent of dm_control; its joints, bodies and actuators keep
            the names that the teacher's configuration uses. null for what the checkpoint says.
    """

    mjcf_path: str | None = None


@dataclass(frozen=True)
class ReferenceSection:
    """How the reference file is cut into clips.

    Attributes:
        clip_length: frames per clip where the file is one long recording, null for what the file says.
        rate_hz: frames per second, null for what the file says, else 50.
    """

    clip_length: int | None = number(None, ge=1)
    rate_hz: float | None = number(None, gt=0.0)


@dataclass(frozen=True)
class VaeSection:
    """The student: an encoder, a prior and a decoder around a latent.

    Attributes:
        latent_dim: size of the latent; null: the teacher's.
        encoder_hidden_sizes: hidden layers of the posterior q(z given proprioception, reference); null: the
            teacher's.
        decoder_hidden_sizes: hidden layers of the action decoder a(proprioception, z); null: the teacher's.
        prior_hidden_sizes: hidden layers of the prior p(z given proprioception).
        activation: activation of every hidden layer; null: the teacher's.
        layer_norm: layer normalisation after every hidden layer.
        logvar_min: lower clamp of both log variances.
        logvar_max: upper clamp of both log variances.
        latent: "gaussian"; "fsq", whose dimensions are quantised; or the path of a latent family of your own
            ("my_lab.latents:Laplace").
        fsq_levels: number of values of a dimension of an "fsq" latent.
        posterior: the posterior's mean is the encoder's output ("absolute"), or the prior's mean plus that
            ("residual").
        network: "mlp"; "teacher": the teacher's encoder, latent and decoder, frozen, so that only the prior
            learns; or the path of networks of your own ("my_lab.networks:Gru").
        start: "teacher": encoder and decoder start with the teacher's weights if sizes, activation and
            latent agree, else with random weights; "fresh": random weights.
    """

    latent_dim: int | None = number(None, ge=1)
    encoder_hidden_sizes: tuple[int, ...] | None = number(None, ge=1)
    decoder_hidden_sizes: tuple[int, ...] | None = number(None, ge=1)
    prior_hidden_sizes: tuple[int, ...] = number((512, 256), ge=1)
    activation: Activation | None = None
    layer_norm: bool = True
    logvar_min: float = -5.0
    logvar_max: float = 2.0
    latent: str = "gaussian"
    fsq_levels: int = number(5, ge=2)
    posterior: Literal["absolute", "residual"] = "absolute"
    network: str = "mlp"
    start: Literal["teacher", "fresh"] = "teacher"


@dataclass(frozen=True)
class TrainingSection:
    """The optimisation of one distillation.

    Attributes:
        num_envs: environments stepped together.
        unroll_length: control steps per environment between two updates.
        num_steps: environment steps of the whole run.
        batch_size: transitions per gradient step; divides num_envs * unroll_length.
        segment_length: consecutive control steps that stay together in a minibatch; 1 shuffles single
            steps. Divides unroll_length and batch_size. Recurrent students and terms of the loss that
            compare steps need more than 1.
        num_epochs: passes over each rollout.
        learning_rate: Adam's step size.
        max_grad_norm: gradients are clipped to this global norm.
        averaging: decay per gradient step of the running average of the student's parameters, which is
            evaluated and saved; 0: the last parameters are.
        action_weight: weight of the action error in the loss.
        action_loss: definition of the action error.
        kl_weight: weight of KL(posterior, prior) in the loss.
        kl_loss: definition of the KL's cost.
        loss_terms: further terms of the loss, by name.
        teacher_fraction: share of the environments in which the teacher acts (warm start).
        prior_fraction: share of the environments in which the student acts by its prior alone.
        failure_weighting: share of the starts drawn in proportion to the clips' failure rates; the rest
            is uniform over clips.
        failure_memory: decay of a clip's failure rate with each further episode.
        push_interval_s: mean seconds between pushes while training, at random times; null: none.
        push_speed: largest change of the root's velocity along each horizontal axis by a push, m/s.
        held_out_fraction: share of the clips that training never sees.
        seed: of the split, the initial parameters, the environments and the minibatches.
    """

    num_envs: int = number(128, ge=1)
    unroll_length: int = number(20, ge=1)
    num_steps: int = number(51_200, ge=1)
    batch_size: int = number(256, ge=1)
    num_epochs: int = number(8, ge=1)
    segment_length: int = number(1, ge=1)
    learning_rate: ScheduleSection = field(
        default_factory=lambda: ScheduleSection(1e-5, 1e-3, start_step=0.6, end_step=1)
    )
    max_grad_norm: float = number(10.0, gt=0)
    averaging: float = number(0.0, ge=0, lt=1)
    action_weight: float = number(1.0, ge=0)
    action_loss: ActionLossSection = field(default_factory=ActionLossSection)
    kl_weight: ScheduleSection = field(default_factory=lambda: ScheduleSection(1e-4))
    kl_loss: KlLossSection = field(default_factory=KlLossSection)
    loss_terms: dict[str, LossTermSection] = field(default_factory=dict)
    teacher_fraction: ScheduleSection = field(default_factory=ScheduleSection)
    prior_fraction: float = number(0.5, ge=0, le=1)
    failure_weighting: float = number(0.0, ge=0, le=1)
    failure_memory: float = number(0.95, ge=0, lt=1)
    push_interval_s: float | None = number(None, gt=0)
    push_speed: float = number(0.15, ge=0)
    held_out_fraction: float = number(0.2, ge=0, lt=1)
    seed: int = number(0, ge=0, lt=2**32)

    @property
    def steps_per_update(self) -> int:
        """Environment steps in one rollout."""
        return self.num_envs * self.unroll_length


@dataclass(frozen=True)
class EvalSection:
    """Episodes in which student and teacher start from the same clips and frames.

    Attributes:
        num_episodes: episodes of each.
        clips: which side of the split is evaluated.
        deterministic: the student acts on the posterior's mean, not on a sample.
        interval_steps: environment steps between evaluations during training, 0 for the end only.
        seed: of clips, frames and samples.
    """

    num_episodes: int = number(32, ge=1)
    clips: Literal["held_out", "train", "all"] = "held_out"
    deterministic: bool = True
    interval_steps: int = number(200_000, ge=0)
    seed: int = number(0, ge=0, lt=2**32)


@dataclass(frozen=True)
class CheckpointSection:
    """The checkpoints in the run folder.

    Attributes:
        interval_steps: environment steps between checkpoints, 0 for the end only.
        keep_last: latest checkpoints kept.
        keep_best: further checkpoints kept: of a student, those with the lowest action error since the
            previous checkpoint (KL, if the action has no weight); of a teacher, those with the highest
            reward evaluated since then.
    """

    interval_steps: int = number(200_000, ge=0)
    keep_last: int = number(3, ge=1)
    keep_best: int = number(1, ge=0)


@dataclass(frozen=True)
class LoggingSection:
    """Logging during training.

    Attributes:
        interval_steps: environment steps between two rows of metrics.
        progress: "bar", "plain" lines, or "auto": a bar on a terminal and lines elsewhere.
        tensorboard: also write TensorBoard events (needs the `tensorboard` extra).
    """

    interval_steps: int = number(20_000, ge=1)
    progress: Literal["auto", "bar", "plain"] = "auto"
    tensorboard: bool = False


@dataclass(frozen=True)
class WandbSection:
    """Weights & Biases (needs the `wandb` extra).

    Attributes:
        project: name of the project.
        group_name: group of the run, null for none.
        exp_name: name of the run and start of the default run folder's name.
        mode: "disabled", "offline" or "online"; "online" needs an earlier `wandb login`.
    """

    project: str = "vnl-mjx"
    group_name: str | None = None
    exp_name: str = "vae_distillation"
    mode: Literal["disabled", "offline", "online"] = "disabled"


@dataclass(frozen=True)
class RunConfig:
    """The keys of every training.

    Attributes:
        run_dir: folder of the run, null for a new one under runs/.
        resume: "auto" continues from the run folder's latest checkpoint if it has one, "never" refuses a
            folder that has one, "always" refuses a folder that has none.
        device: device of JAX; "auto" is a GPU if JAX sees one.
        num_devices: number of devices that train together, each with the same share of the environments;
            null for all, or as many as can share them.
        matmul_precision: precision of float32 matrix products on a GPU; "auto" is the variable
            JAX_DEFAULT_MATMUL_PRECISION, else "float32". Coarser precisions are faster and learn worse.
    """

    run_dir: str | None = None
    resume: Literal["auto", "never", "always"] = "auto"
    device: Device = "auto"
    num_devices: int | None = number(None, ge=1)
    matmul_precision: MatmulPrecision = "auto"


@dataclass(frozen=True)
class DistillationConfig(RunConfig):
    """A distillation run.

    Attributes:
        teacher_config: the teacher and its clips.
        walker_config: the body.
        reference_config: how the reference file is cut into clips.
        vae_config: the student.
        training_config: the optimisation.
        physics_config: the simulation.
        solver_config: changes to the teacher's constraint solver.
        eval_config: evaluation of student and teacher.
        checkpoint_config: checkpoints to keep.
        logging_config: logging.
        wandb_config: Weights & Biases.
    """

    teacher_config: TeacherSection = field(default_factory=TeacherSection)
    walker_config: WalkerSection = field(default_factory=WalkerSection)
    reference_config: ReferenceSection = field(default_factory=ReferenceSection)
    vae_config: VaeSection = field(default_factory=VaeSection)
    training_config: TrainingSection = field(default_factory=TrainingSection)
    physics_config: PhysicsSection = field(default_factory=PhysicsSection)
    solver_config: SolverSection = field(default_factory=SolverSection)
    eval_config: EvalSection = field(default_factory=EvalSection)
    checkpoint_config: CheckpointSection = field(default_factory=CheckpointSection)
    logging_config: LoggingSection = field(default_factory=LoggingSection)
    wandb_config: WandbSection = field(default_factory=WandbSection)

    @property
    def num_steps(self) -> int:
        """Environment steps of the whole run."""
        return self.training_config.num_steps

    def validate(self) -> None:
        """Raises UserError, naming the key, for the first invalid value."""
        check_bounds(self)
        _validate_vae(self.vae_config)
        _validate_training(self.training_config)


def _validate_vae(vae: VaeSection) -> None:
    if not vae.logvar_min < vae.logvar_max:
        raise UserError(
            f"vae_config.logvar_min: expected less than vae_config.logvar_max = {vae.logvar_max:g}, found "
            f"{vae.logvar_min:g}"
        )
    for setting in ("posterior=residual", "network=teacher"):
        name, _, value = setting.partition("=")
        if getattr(vae, name) == value and vae.latent != "gaussian":
            raise UserError(
                f"vae_config.latent: expected gaussian with vae_config.{setting}, found {vae.latent}"
            )
    if vae.posterior == "residual" and vae.network == "teacher":
        raise UserError(
            "vae_config.posterior: expected absolute, as the teacher's is, with vae_config.network=teacher, "
            "found residual"
        )


def _validate_training(training: TrainingSection) -> None:
    key, steps = "training_config", training.steps_per_update
    rollout = f"num_envs * unroll_length = {training.num_envs} * {training.unroll_length} = {steps}"
    check_divides(f"{key}.batch_size", training.batch_size, steps, rollout)
    if training.num_steps < steps:
        raise UserError(
            f"{key}.num_steps: expected at least one update of {rollout} environment steps, found "
            f"{training.num_steps}"
        )
    for name in ("unroll_length", "batch_size"):
        total = getattr(training, name)
        what = f"{name} = {total}"
        check_divides(f"{key}.segment_length", training.segment_length, total, what)
    check_schedules(training, key, STUDENT_TERMS)
    for name, term in training.loss_terms.items():
        if STUDENT_TERMS.get(term.function or name) and training.segment_length == 1:
            raise UserError(
                f"{key}.segment_length: expected more than 1 with {key}.loss_terms.{name}, which compares "
                "consecutive control steps, found 1"
            )
    if not 0.0 < training.learning_rate.value:
        raise UserError(f"{key}.learning_rate: expected more than 0, found 0")
    fraction = training.teacher_fraction
    largest = max(fraction.value, fraction.start or 0.0)
    if largest > 1.0:
        raise UserError(f"{key}.teacher_fraction: expected a share of at most 1, found {largest:g}")
