"""`vnl-mjx record`: records what a network computes along a recording, in HDF5 and NWB."""

import argparse
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.activity.networks import RecordingPolicy, StoredValue
from vnl_mjx.activity.perturbations import Perturbations, perturbed
from vnl_mjx.activity.record import Recorded, Recorder, RecordOptions
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.commands.record_arguments import BUNDLED
from vnl_mjx.commands.runtime import prepare_jax, simulation
from vnl_mjx.commands.stored import find_stored, load_stored_student, load_stored_teacher
from vnl_mjx.compat.teacher_start import read_value
from vnl_mjx.compat.track_mjx_loader import find_step
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.demo import DEMO_CLIPS, DEMO_STUDENT, DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.building import build_task, on_nominal_body
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy
from vnl_mjx.versions import installed_versions

_BUNDLED = {BUNDLED: DEMO_TEACHER, f"{BUNDLED}-student": DEMO_STUDENT}
_PACKAGES = ("vnl-mjx", "jax", "flax", "mujoco", "numpy", "h5py")


@dataclass(frozen=True)
class Recordable:
    """Holds a network that can be recorded, with its surroundings.

    Attributes:
        policy: the teacher or the student, at its mode.
        task: its task.
        clips: clips to follow.
        kind: "teacher" or "student".
        sha256: hash of its parameters.
        warnings: one line each.
    """

    policy: RecordingPolicy
    task: ImitationTask
    clips: ReferenceClips
    kind: str
    sha256: str
    warnings: tuple[str, ...]

    def metadata(self) -> dict[str, Any]:
        """Returns what a record file says about network, body and clips, JSON-able."""
        walker = self.task.walker.fingerprint()
        return {
            "checkpoint": {"kind": self.kind, "sha256": self.sha256},
            "clips": {"file": self.clips.source, "sha256": self.clips.sha256},
            "body": {
                "source": Path(self.task.walker.config.source).name,
                "sha256": walker["sha256"],
                "joint_names": walker["joint_names"],
            },
            "versions": installed_versions(_PACKAGES),
        }


def run(args: argparse.Namespace) -> int:
    """Writes the record file and returns the exit status."""
    clips = DEMO_CLIPS if str(args.clips) == BUNDLED else args.clips.expanduser()
    check_output(args.output, [clips], args.overwrite)
    if args.nwb is not None:
        _check_nwb(args)
    if args.gain is not None and args.latent_noise is None:
        raise UserError("--gain: expected --latent-noise beside it, found none")
    prepare_jax()
    checkpoint = _BUNDLED.get(str(args.checkpoint), args.checkpoint.expanduser())
    found = load_recordable(checkpoint, clips, args.mjcf, args.backend, args.samples)
    console = Console()
    for message in found.warnings:
        warn(console, message)
    options = RecordOptions(
        loop=args.loop,
        pieces=args.pieces,
        warm_up_s=args.warm_up,
        settle_s=args.settle,
        groups=tuple(args.only),
        float16=args.float16,
        seed=args.seed,
    )
    wanted = Perturbations(
        latent_noise=args.latent_noise,
        gain=1.0 if args.gain is None else args.gain,
        ablate=tuple(args.ablate),
        delay_observation=args.delay_observation,
        delay_action=args.delay_action,
    )
    recorder = Recorder(found.task, options)
    with terminate_cleanly(), frame_progress(console, "rows") as progress:
        policy = perturbed(found.policy, wanted, recorder, found.clips)
        metadata = found.metadata() | {"perturbations": asdict(wanted), "samples": args.samples}
        shown = partial(progress, "recording")
        recorded = recorder.write(args.output, policy, found.clips, metadata, shown)
    print_table(console, found.clips.source, _rows(recorded, recorder.control_hz))
    if args.nwb is not None:
        from vnl_mjx.activity.nwb import export_nwb

        with terminate_cleanly():
            files = export_nwb(args.output, args.nwb, args.session_start)
        console.print(f"NWB: {', '.join(map(str, files))}", soft_wrap=True)
    console.print(f"record: {args.output}", soft_wrap=True)
    return 0


def load_recordable(
    checkpoint: Path,
    clips: Path,
    mjcf: str | None = None,
    backend: str = "mujoco",
    samples: int = 0,
) -> Recordable:
    """Loads a teacher or a student, and clips.

    Raises:
        UserError: something is missing, damaged or does not fit.
    """
    kind, path = find_stored(checkpoint)
    physics = PhysicsSection(backend)
    if kind == "student":
        stored = load_stored_student(str(path), clips=clips, mjcf=mjcf, physics=physics)
        own, loaded = stored.loaded.for_use(), stored.loaded
        policy = StudentPolicy(own.params, own.teacher, jnp.bool_(False), own.networks)
        recording = RecordingPolicy(policy, samples=samples)
        task = stored.task
        if task.physics.num_variants:
            nominal = on_nominal_body(task.config)
            task = build_task(nominal, task.walker, **simulation(physics))
        return Recordable(recording, task, stored.clips, kind, loaded.sha256, ())
    if kind != "teacher":
        raise UserError(f"{checkpoint}: expected a teacher or a student, found a {kind}")
    experiment = load_stored_teacher(path, clips, mjcf, physics=physics)
    teacher = experiment.teacher
    policy = TeacherPolicy(jax.tree.map(jnp.asarray, teacher.policy))
    folder, _ = find_step(path)
    value = read_value(folder / "train_state", teacher.policy.config.activation)
    recording = RecordingPolicy(policy, value and StoredValue(*value), samples=samples)
    return Recordable(
        recording, experiment.env.task, experiment.clips, kind, teacher.sha256, teacher.warnings
    )


def _rows(recorded: Recorded, control_hz: float) -> dict[str, str]:
    rows = recorded.rows
    seconds = rows.num_rows / control_hz
    return {
        "rows": f"{rows.num_rows:,} at {control_hz:g} Hz ({seconds:,.1f} s)",
        "sessions": str(len(rows.sessions)),
        "stretches": str(int(rows.start.sum()) - recorded.falls),
        "falls": f"{recorded.falls}, {1 - rows.valid.mean():.1%} of the rows not valid",
        "layers": ", ".join(f"{r['network']}.{r['layer']} {r['width']}" for r in recorded.layers)
        or "not recorded",
    }


def _check_nwb(args: argparse.Namespace) -> None:
    from vnl_mjx.activity.nwb import check_nwb

    check_nwb(args.nwb, args.overwrite)
