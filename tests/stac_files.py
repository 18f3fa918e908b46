"""Moving poses, and STAC files of them."""

from pathlib import Path

import h5py
import numpy as np
import yaml

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.walkers.walker import Walker

RATE_HZ = 50.0


CLIP_LENGTH = 12


def smooth_poses(walker: Walker, num_frames: int, seed: int = 0) -> np.ndarray:
    """Poses that drift, turn about the vertical and swing the joints, float32 [frame, nq]."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(num_frames) / RATE_HZ
    qpos = np.tile(walker.model.qpos0, (num_frames, 1))
    qpos[:, :2] += seconds[:, None] * rng.normal(0.0, 0.1, 2)
    yaw = seconds * rng.normal()
    qpos[:, 3], qpos[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    joints = len(walker.joint_names)
    phase = rng.uniform(0, 2 * np.pi, joints) + 2 * np.pi * seconds[:, None]
    qpos[:, 7:] = 0.3 * np.sin(phase)
    return qpos.astype(np.float32)


def stac_datasets(clips: ReferenceClips) -> dict[str, object]:
    """Every dataset of a STAC file with these clips; it has no floor body."""
    kept = [row for row, name in enumerate(clips.body_names) if name != "floor"]
    config = {
        "model": {"RENDER_FPS": 50, "snips_order": ["data/snips/walk_1.p", "turn.p"]},
        "stac": {"n_frames_per_clip": CLIP_LENGTH},
    }
    return {
        "qpos": np.asarray(clips.qpos()),
        "qvel": np.asarray(clips.qvel()),
        "xpos": np.asarray(clips.body_positions)[:, kept],
        "xquat": np.asarray(clips.body_quaternions)[:, kept],
        "names_qpos": np.array(["root"] * 7 + list(clips.joint_names), "S"),
        "names_xpos": np.array([clips.body_names[row] for row in kept], "S"),
        "config": yaml.safe_dump(config),
        "kp_data": np.zeros((3, 2), np.float32),
    }


def write_h5(path: Path, datasets: dict[str, object]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path
