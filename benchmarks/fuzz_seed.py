"""What a valid input of the fuzzer is, how often it is damaged, and the small body that inputs are of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
BODY = "{all}/body/toy.yaml"
RATE_HZ = 50.0

LENIENT = [
    f"quality_config.{name}=null"
    for name in (
        "penetration_mm",
        "joint_limit_rad",
        "joint_limit_share",
        "jump_m",
        "jump_joint_rad",
        "speed",
        "joint_speed",
    )
]
ANY = " ".join(LENIENT) + " output_config.num_threads=1 segmentation_config.min_s=0.05 "

# How often a kind of input is chosen; other kinds: 1. Reading is quick, fitting and simulating is slow.
SHARES = {"runs": 0.7, "track-mjx checkpoints": 0.5, "records": 0.3, "configurations": 2.5}
SHARES |= {"clips": 3.0, "bodies": 1.2, "units": 1.5, "upstream clips": 1.3, "reports": 1.2}
SHARES |= {"key=value": 3.0, "key points: mat": 0.25, "key points: HDF5": 0.5}
SHARES |= {"key points: NWB": 0.4, "key points: npz": 0.7, "recordings: NWB": 0.3}
SHARES |= {"recordings: mat": 0.3, "recordings: npz": 1.3, "recordings: pickle": 1.3}


@dataclass(frozen=True)
class Seed:
    """Names one valid input.

    Attributes:
        kind: of input, for the counts.
        name: unique folder under the kind, which holds the files.
        main: file or folder in it that commands get as {f}; {o} is the folder for outputs, {i} that of the
            input, {all} that of all inputs, and {args} the lines of the main file.
        commands: command lines with how often they are chosen.
    """

    kind: str
    name: str
    main: str
    commands: dict[str, float]


def seed_folder(folder: Path, kind: str, name: str) -> Path:
    made = folder / kind / name
    made.mkdir(parents=True)
    return made


def toy_body(folder: Path, body: str = "toy"):
    from vnl_mjx.config.walker import read_body
    from vnl_mjx.walkers.walker import build_walker

    return build_walker(read_body(folder / "body" / f"{body}.yaml"))


def toy_clips(folder: Path, frames: int = 12, num: int = 2):
    from stac_files import smooth_poses

    from vnl_mjx.clips.assembly import clips_from_poses

    walker = toy_body(folder)
    names = tuple(f"clip_{i}" for i in range(num))
    poses = 0.3 * smooth_poses(walker, num * frames) + 0.7 * walker.model.qpos0
    poses[:, 3:7] /= np.linalg.norm(poses[:, 3:7], axis=1, keepdims=True)
    return clips_from_poses(walker, poses, [frames] * num, RATE_HZ, names=names)
