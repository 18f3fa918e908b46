"""Defines the typed configuration of an evaluation.

The YAML file beside this module, `vae_evaluation.yaml`, holds the same keys and defaults.
"""

from dataclasses import dataclass, field
from typing import Literal

from vnl_mjx.config.computing import Device, MatmulPrecision, PhysicsSection
from vnl_mjx.config.schema import ReferenceSection, WalkerSection
from vnl_mjx.config.validation import check_bounds, number
from vnl_mjx.errors import UserError


@dataclass(frozen=True)
class ClipsSection:
    """The reference clips; the teacher is stored with the student.

    Attributes:
        reference_data_path: HDF5 file of reference clips, null for the run's file.
    """

    reference_data_path: str | None = None


@dataclass(frozen=True)
class ProtocolSection:
    """The episodes, the same for all policies.

    Attributes:
        clips: side of the split.
        starts_per_clip: episodes of each clip: one from its first frame, the others from random frames.
        acting: at the mode (the posterior's mean), by sampling, or both.
        baselines: also run a random latent and zero action in these episodes.
        seed: seed of frames, noise at the starts, samples, and intervals.
    """

    clips: Literal["all", "held_out", "train"] = "all"
    starts_per_clip: int = number(2, ge=1)
    acting: Literal["both", "deterministic", "sampled"] = "both"
    baselines: bool = True
    seed: int = number(0, ge=0, lt=2**32)


@dataclass(frozen=True)
class PriorSection:
    """Rollouts of the decoder driven by the prior alone.

    Attributes:
        seconds: length of an episode without a fall, 0 for no rollouts.
        num_episodes: episodes of each mode from random frames of the clips, and as many from a neutral pose.
        modes: how the latent is drawn: at the prior's mean, with its learned or a fixed standard deviation,
            or with the learned one and noise that is smooth in time. Baselines are latents from N(0, I) and
            zero action.
        fixed_std: standard deviation of the latent in the mode "fixed".
        correlation_s: time constant of the noise in the mode "smooth", seconds.
    """

    seconds: float = number(10.0, ge=0.0)
    num_episodes: int = number(24, ge=1)
    modes: tuple[
        Literal["mean", "learned", "fixed", "smooth", "random_latent", "zero_action"], ...
    ] = ("mean", "learned", "random_latent", "zero_action")
    fixed_std: float = number(0.37, gt=0.0)
    correlation_s: float = number(0.2, gt=0.0)


@dataclass(frozen=True)
class LatentSection:
    """Analyses of the latent space besides its statistics.

    Attributes:
        umap: also embed the latents by UMAP, if the extra `umap` is installed.
        num_traversals: number of the most active dimensions to traverse one by one; 0 for none.
        interpolate: run latents between those of two clips.
    """

    umap: bool = True
    num_traversals: int = number(3, ge=0)
    interpolate: bool = True


@dataclass(frozen=True)
class VideoSection:
    """Videos of the report.

    Attributes:
        num_clips: clips with a video of student, teacher and reference; 0 for no video.
        camera: view of the camera (`report.rendering.cameras.VIEWS`).
        width: pixels of a pane, even.
        height: pixels of a pane, even.
        fps: pictures per second.
    """

    num_clips: int = number(3, ge=0)
    camera: Literal["side", "top", "front"] = "side"
    width: int = number(400, ge=64)
    height: int = number(200, ge=64)
    fps: float = number(25.0, gt=0.0)


@dataclass(frozen=True)
class EvaluationConfig:
    """An evaluation of a trained student.

    Attributes:
        checkpoint_path: run folder of a distillation, or its folder of checkpoints.
        step: step of the checkpoint, null for the latest.
        output_dir: folder of the report, null for report/ in the run folder.
        compare_with: further runs or checkpoints of students or teachers, run on the same clips and starts.
        device: device of JAX, see `DistillationConfig`.
        matmul_precision: precision of matrix products, see `DistillationConfig`.
        teacher_config: clips, if they differ from the run's.
        walker_config: the body, if its file has moved since the run.
        reference_config: how the reference file is cut.
        physics_config: the simulation; MuJoCo C by default, so that results of different machines compare.
        eval_config: the episodes.
        prior_config: rollouts of the prior.
        latent_config: the latent space.
        video_config: videos.
    """

    checkpoint_path: str | None = None
    step: int | None = number(None, ge=0)
    output_dir: str | None = None
    compare_with: tuple[str, ...] = ()
    device: Device = "auto"
    matmul_precision: MatmulPrecision = "auto"
    teacher_config: ClipsSection = field(default_factory=ClipsSection)
    walker_config: WalkerSection = field(default_factory=WalkerSection)
    reference_config: ReferenceSection = field(default_factory=ReferenceSection)
    physics_config: PhysicsSection = field(default_factory=lambda: PhysicsSection("mujoco"))
    eval_config: ProtocolSection = field(default_factory=ProtocolSection)
    prior_config: PriorSection = field(default_factory=PriorSection)
    latent_config: LatentSection = field(default_factory=LatentSection)
    video_config: VideoSection = field(default_factory=VideoSection)

    def validate(self) -> None:
        """Raises UserError, naming the key, for the first invalid value."""
        check_bounds(self)
        if self.checkpoint_path is None:
            raise UserError(
                "run: expected the folder of a distillation run, found none; give vnl-mjx eval runs/NAME"
            )
        if not self.prior_config.modes:
            raise UserError(
                "prior_config.modes: expected at least one, found none; "
                "prior_config.seconds=0 leaves the rollouts out"
            )
        for name in ("width", "height"):
            value = getattr(self.video_config, name)
            if value % 2:
                raise UserError(f"video_config.{name}: expected an even number, found {value}")
