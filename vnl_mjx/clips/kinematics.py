"""Computes body poses of many frames at once: `mujoco.batch`, one simulation per frame, on every core."""

import contextlib
import copy
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import mujoco
import mujoco.batch
import numpy as np

# Small enough that a block's results are still in the cache when they are copied out.
BLOCK_FRAMES = 512


class BodyPoses(NamedTuple):
    """Holds poses of all bodies in the world."""

    positions: np.ndarray  # float32 [frame, nbody, 3], metres
    quaternions: np.ndarray  # float32 [frame, nbody, 4], unit, w x y z
    # float32 [frame, 3], of the body below the world that has the first joint on it or on a
    # body below, and of all below it
    center_of_mass: np.ndarray


class Kinematics:
    """Computes forward kinematics of one model; keeps one set of simulations per thread."""

    def __init__(self, model: mujoco.MjModel, num_threads: int = 0):
        """Prepares a copy of the model that computes only kinematics; 0 threads: one per core."""
        self.model = kinematics_only(model)
        self.num_threads = num_threads or num_cores()
        self._root = int(model.body_rootid[model.jnt_bodyid[0]]) if model.njnt else 0
        self._idle: deque[tuple[mujoco.batch.Batch, dict[str, np.ndarray]]] = deque()

    def __call__(self, qpos: np.ndarray) -> BodyPoses:
        """Returns poses of all bodies for qpos [frame, nq]."""
        poses = self.empty(len(qpos))

        def block(rows: slice) -> None:
            with self.block(qpos[rows]) as part:
                for whole, values in zip(poses, part, strict=True):
                    whole[rows] = values

        for_blocks(block, len(qpos), self.num_threads)
        return poses

    def empty(self, num_frames: int) -> BodyPoses:
        """Allocates arrays for a number of frames."""
        shape = (num_frames, self.model.nbody)
        return BodyPoses(
            np.empty((*shape, 3), np.float32),
            np.empty((*shape, 4), np.float32),
            np.empty((num_frames, 3), np.float32),
        )

    @contextlib.contextmanager
    def block(self, qpos: np.ndarray) -> Iterator[BodyPoses]:
        """Yields float64 poses of at most `BLOCK_FRAMES` + 2 frames, in this thread; valid in the block."""
        count = len(qpos)
        with self._simulations() as (batch, arrays):
            arrays["qpos"][:count] = qpos
            ids = None if count == batch.nsim else np.arange(count)
            batch.forward(ids=ids, stage=mujoco.mjtStage.mjSTAGE_POS)
            center_of_mass = arrays["subtree_com"][:count, self._root]
            yield BodyPoses(arrays["xpos"][:count], arrays["xquat"][:count], center_of_mass)

    @contextlib.contextmanager
    def _simulations(self) -> Iterator[tuple[mujoco.batch.Batch, dict[str, np.ndarray]]]:
        # deque: its pop and append are atomic, and a Batch serves one thread at a time
        try:
            simulations = self._idle.pop()
        except IndexError:
            batch = mujoco.batch.Batch(self.model, BLOCK_FRAMES + 2, nthread=1)
            names = ("qpos", "xpos", "xquat", "subtree_com")
            simulations = batch, {name: batch.bind(name) for name in names}
        yield simulations
        self._idle.append(simulations)


def kinematics_only(model: mujoco.MjModel) -> mujoco.MjModel:
    """Returns a copy of the model whose position stage skips constraints and sensors."""
    lean = copy.copy(model)
    skipped = mujoco.mjtDisableBit
    lean.opt.disableflags |= int(
        skipped.mjDSBL_CONSTRAINT | skipped.mjDSBL_CONTACT | skipped.mjDSBL_SENSOR
    )
    return lean


def num_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_blocks(function: Callable[[slice], None], num_frames: int, num_threads: int) -> None:
    """Calls `function` for consecutive blocks of frames, from `num_threads` threads at once."""
    starts = range(0, num_frames, BLOCK_FRAMES)
    blocks = [slice(start, min(start + BLOCK_FRAMES, num_frames)) for start in starts]
    if len(blocks) < 2 or num_threads < 2:
        for rows in blocks:
            function(rows)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        for _ in pool.map(function, blocks):
            pass
