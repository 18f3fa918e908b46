"""Defines the task "gaps": run along a row of platforms and cross the gaps between them.

Platforms, reward terms and observation are those of vnl-playground's task of this name. One row of
platforms per seed serves all episodes, because the ground is part of the simulation's model.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.tasks.downstream.goal import Goal, Motion


class Platforms(Arena):
    """Defines a long platform and shorter ones behind it, in a row along x, which the body faces.

    Attributes:
        gap_starts: float32 [gap], x of each gap's start, m.
        gap_ends: float32 [gap], x of each gap's end, m.
    """

    heading = 0.0
    NUM_GAPS, GAP_M = 10, (0.03, 0.12)
    BEHIND_M, FIRST_M, LENGTH_M, HALF_WIDTH_M, THICK_M = 0.5, 2.0, 0.6, 0.5, 0.25

    def __init__(self, seed: int = 0):
        """Takes the seed of the gaps' lengths."""
        gaps = np.random.default_rng(seed).uniform(*self.GAP_M, self.NUM_GAPS)
        first = self.FIRST_M - self.BEHIND_M
        ends = first + np.cumsum(gaps) + self.LENGTH_M * np.arange(self.NUM_GAPS)
        self.gap_starts, self.gap_ends = np.stack([ends - gaps, ends]).astype(np.float32)

    def build(
        self, spec: mujoco.MjSpec, add_geom: Callable[..., mujoco.MjsGeom], height: float
    ) -> None:
        """See `Arena`."""
        starts = [-self.BEHIND_M, *self.gap_ends]
        ends = [*self.gap_starts, self.gap_ends[-1] + self.LENGTH_M]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            add_geom(
                name=f"platform_{number}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=(0.5 * (end - start), self.HALF_WIDTH_M, 0.5 * self.THICK_M),
                pos=(0.5 * (start + end), 0.0, height - 0.5 * self.THICK_M),
            )


class Crossed(NamedTuple):
    """Holds the body's progress.

    Attributes:
        num: [] int32, number of crossed gaps.
        num_new: [] float, number crossed in this control step.
        farthest: [] greatest x of the root body, m.
        gained: [] m by which this control step increased `farthest`.
    """

    num: jax.Array
    num_new: jax.Array
    farthest: jax.Array
    gained: jax.Array


class Gaps(Goal):
    """Run along x at `SPEED` [m/s] until the root body is `OVER_M` behind the last gap."""

    name, observation_size, episode_s = "gaps", 16, 40.0
    events = ("gaps_crossed", "gained_m")
    lowest_m, tilt_deg = 0.01, 70.0
    SPEED, OVER_M, NUM_SEEN, FAR_M = 0.3, 0.1, 3, 2.0

    def __init__(self, seed: int = 0):
        """Takes the seed of the gaps' lengths."""
        self.arena = self.platforms = Platforms(seed)

    def draw(self, key: jax.Array, motion: Motion) -> Crossed:
        """See `Goal`."""
        return Crossed(jnp.int32(0), jnp.float32(0), motion.position[0], jnp.float32(0))

    def advance(self, motion: Motion, goal: Crossed, key: jax.Array) -> Crossed:
        """See `Goal`."""
        x = motion.position[0]
        num = jnp.maximum(goal.num, jnp.sum(x > self.platforms.gap_ends + self.OVER_M, dtype=int))
        farthest = jnp.maximum(goal.farthest, x)
        return Crossed(num, 1.0 * (num - goal.num), farthest, farthest - goal.farthest)

    def observe(self, motion: Motion, goal: Crossed) -> jax.Array:
        """See `Goal`; [16].

        Of each of the next three gaps how far ahead it is, its length and that of the platform behind it;
        speeds along the row and across it, heights over the platforms, place across them, heading, and how
        far the nearer side edge is.
        """
        x, y, z = motion.position
        width = self.platforms.HALF_WIDTH_M
        state = jnp.stack([*motion.velocity, z - motion.ground, y, *motion.heading])
        return jnp.concatenate([self._ahead(x).ravel(), state, width - jnp.abs(y)[None]])

    def terms(self, motion: Motion, goal: Crossed) -> dict[str, jax.Array]:
        """See `Goal`."""
        along, across = motion.velocity
        return {
            "along": jnp.clip(along / self.SPEED, 0.0, 1.0),
            "speed": 0.5 * jnp.maximum(1.0 - jnp.abs(along - self.SPEED) / self.SPEED, 0.0),
            "sideways": -0.1 * jnp.square(across),
            "alive": jnp.float32(0.1),
            "heading": 0.2 * jnp.maximum(motion.heading[0], 0.0),
            "gaps_crossed": 5.0 * goal.num_new,
        }

    def measures(self, motion: Motion, goal: Crossed) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "gaps_crossed": goal.num_new,
            "gained_m": goal.gained,
            "speed_m_per_s": motion.velocity[0],
        }

    def finished(self, motion: Motion, goal: Crossed) -> jax.Array:
        """See `Goal`."""
        return goal.num >= self.platforms.NUM_GAPS

    def _ahead(self, x: jax.Array) -> jax.Array:
        """Returns distance, length, and length of the platform behind, of the next gaps [gap, 3], m."""
        arena, more = self.platforms, (0, self.NUM_SEEN)
        starts = jnp.asarray(np.pad(arena.gap_starts, more, constant_values=np.inf))
        lengths = jnp.asarray(np.pad(arena.gap_ends - arena.gap_starts, more))
        rows = jnp.sum(x > arena.gap_ends) + jnp.arange(self.NUM_SEEN)
        distance = jnp.minimum(starts[rows] - x, self.FAR_M)
        platform = jnp.where(rows < arena.NUM_GAPS, arena.LENGTH_M, 0.0)
        return jnp.stack([distance, lengths[rows], platform], axis=-1)
