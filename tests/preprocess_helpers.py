"""Recordings of a toy body, and preprocess with few words."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from vnl_mjx.clips.preprocess import Preprocessor
from vnl_mjx.config.preprocessing import PreprocessConfig

RATE_HZ = 50.0


def options(**sections: dict) -> PreprocessConfig:
    """The defaults with some keys of some sections (without their _config) replaced."""
    config = PreprocessConfig()
    for name, values in sections.items():
        key = f"{name}_config"
        config = replace(config, **{key: replace(getattr(config, key), **values)})
    config.validate()
    return config


def motion(walker, frames: int, seed: int = 0) -> np.ndarray:
    """A smooth recording [frame, nq] of the toy walker moving and turning above the floor."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(frames) / RATE_HZ
    qpos = np.tile(walker.model.qpos0, (frames, 1))
    phases = rng.uniform(0, 6, len(walker.joint_names))
    qpos[:, 7:] += 0.2 * np.sin(2 * np.pi * seconds[:, None] + phases)
    qpos[:, 0] += 0.1 * seconds
    yaw = 0.3 * np.sin(seconds)
    qpos[:, 3], qpos[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    return qpos


def save(path: Path, qpos: np.ndarray) -> Path:
    np.savez(path, qpos=qpos.astype(np.float32), rate_hz=RATE_HZ)
    return path


def run(walker, paths, target, **sections):
    sections.setdefault("quality", {}).setdefault("penetration_mm", None)
    return Preprocessor(walker, options(**sections)).run(paths, target)
