"""The typed configuration of an evaluation, which ends in a report.

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
    """The motion to follow; the teacher is the one that the student carries.

    Attributes:
        reference_data_path: HDF5 file of reference clips, null for that of the run.
    """

    reference_data_path: str | None = None


@dataclass(frozen=True)
class ProtocolSection:
    """The episodes that everyone plays.

    Attributes:
        clips: which side of the split.
        starts_per_clip: episodes of each clip: the first from its first frame, others from drawn ones.
        acting: at the mode (the posterior's mean), by sampling, or both.
        baselines: run also a random latent and no action at all in these episodes.
        seed: of frames, noise at the starts, what is sampled, and intervals.
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
        seconds: of an episode that does not fall, 0 for none of them.
        num_episodes: of each mode, from drawn frames of the clips, and as many from a neutral pose.
        modes: how the latent is drawn: at the prior's mean, with its learned or a fixed standard
            deviation, with the learned one and noise that is smooth in time; or, to hold these against,
            latents from N(0, I) and no action at all.
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
    """What is done with the latent space besides its statistics.

    Attributes:
        umap: embed it by UMAP too, where the extra `umap` is installed.
        num_traversals: of the most active dimensions, moved along one by one; 0 for none.
        interpolate: play latents between those of two clips.
    """

    umap: bool = True
    num_traversals: int = number(3, ge=0)
    interpolate: bool = True


@dataclass(frozen=True)
class VideoSection:
    """Videos of the report.

    Attributes:
        num_clips: clips of which one is made, student beside teacher and reference; 0 for no video.
        camera: view that they are seen from (`report.rendering.cameras.VIEWS`).
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
        compare_with: further runs or checkpoints, students or teachers, on the same clips and starts.
        device: what JAX computes on, as of `DistillationConfig`.
        matmul_precision: of products of matrices, as of `DistillationConfig`.
        teacher_config: clips, where they differ from those of the run.
        walker_config: the body, where its file is no longer where the run found it.
        reference_config: how the reference file is cut.
        physics_config: the simulation; MuJoCo C unless another is asked for, so that figures of
            different machines compare.
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
        """Raises UserError, naming the key, for the first value that no evaluation can have."""
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
