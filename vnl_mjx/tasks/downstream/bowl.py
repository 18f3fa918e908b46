"""Defines the task "bowl": get out of a bowl of hilly ground.

The ground is that of vnl-playground's "bowl escape", Perlin noise on a Gaussian bowl with a flat place in
the middle, but with 32 samples along an edge in place of 128. MuJoCo collides the triangles of a height
field one by one, and pushes a paw that sinks in near a triangle's edge sideways: on a flat field of 128
samples 6 of 16 rodents fell within 5 s, on one of 32 samples one, on the floor none. One ground per seed
serves all episodes.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.tasks.downstream.goal import Goal, Motion


class BowlGround(Arena):
    """Defines a square height field with a bowl around its middle, where the body starts.

    Attributes:
        seed: of the hills.
    """

    HALF_M, RISE_M, BASE_M = 2.0, 0.2, 0.1
    ROWS, HILLS = 32, 8  # samples, and cells of the noise, along an edge
    NOISE, DEPTH = 2.0, 10.0  # before the heights are scaled to `RISE_M`
    SIGMA, FLAT = 1.25, (0.05, 0.25)  # radii in units of `HALF_M`

    def __init__(self, seed: int = 0):
        """Takes the seed of the hills."""
        self.seed = seed

    @cached_property
    def heights(self) -> np.ndarray:
        """Returns heights, float32 [row, column] along y and x, scaled to 0 ... 1."""
        line = np.linspace(-1.0, 1.0, self.ROWS)
        radius = np.hypot(*np.meshgrid(line, line))
        noise = perlin(self.ROWS, self.HILLS, np.random.default_rng(self.seed))
        ground = self.NOISE * (noise - noise.min()) / np.ptp(noise)
        ground -= self.DEPTH * np.exp(-0.5 * np.square(radius / self.SIGMA))
        inner, outer = self.FLAT
        share = np.clip((radius - inner) / (outer - inner), 0.0, 1.0)
        share = share * share * (3.0 - 2.0 * share)
        middle = ground[radius < outer].mean()
        ground = middle + share * (ground - middle)
        return ((ground - ground.min()) / np.ptp(ground)).astype(np.float32)

    def build(
        self, spec: mujoco.MjSpec, add_geom: Callable[..., mujoco.MjsGeom], height: float
    ) -> None:
        """See `Arena`."""
        field = spec.add_hfield(
            name="bowl",
            size=(self.HALF_M, self.HALF_M, self.RISE_M, self.BASE_M),
            nrow=self.ROWS,
            ncol=self.ROWS,
            userdata=self.heights.ravel().tolist(),
        )
        add_geom(
            name="bowl",
            type=mujoco.mjtGeom.mjGEOM_HFIELD,
            hfieldname=field.name,
            pos=(0.0, 0.0, height - self._middle),
        )

    def ground(self, place: jax.Array) -> jax.Array:
        """See `Arena`; interpolates in the two triangles of a cell, as MuJoCo cuts it."""
        spot = jnp.clip((place / self.HALF_M + 1.0) * 0.5, 0.0, 1.0) * (self.ROWS - 1)
        cell = jnp.minimum(spot.astype(int), self.ROWS - 2)
        (right, up), (column, row) = spot - cell, cell
        heights = jnp.asarray(self.heights)
        near, far = heights[row, column], heights[row + 1, column + 1]
        between = jnp.where(right > up, heights[row, column + 1], heights[row + 1, column])
        first, second = jnp.maximum(right, up), jnp.minimum(right, up)
        found = near + first * (between - near) + second * (far - between)
        return self.RISE_M * found - self._middle

    @property
    def _middle(self) -> float:
        """Returns the height of the flat place over the lowest point, m."""
        half = self.ROWS // 2
        return self.RISE_M * float(self.heights[half, half])


class Bowl(Goal):
    """Get `OUT_M` away from the middle of the bowl, upright; then all is done."""

    name, observation_size, episode_s, events = "bowl", 3, 20.0, ("escaped",)
    bodies: Mapping[str, str] = {"head": "skull"}
    lowest_m = 0.03
    OUT_M = 1.8

    def __init__(self, seed: int = 0):
        """Takes the seed of the hills."""
        self.arena = self.bowl = BowlGround(seed)

    def draw(self, key: jax.Array, motion: Motion) -> jax.Array:
        """See `Goal`; the middle [2]."""
        return jnp.zeros(2)

    def hindsight(self, now: Motion, later: Motion) -> jax.Array:
        """See `Goal`; the middle is behind the body, which moves away from it."""
        return now.onward(later, -2.0)[:2]

    def observe(self, motion: Motion, goal: jax.Array) -> jax.Array:
        """See `Goal`; the middle in the root body's frame."""
        return motion.root.sees(jnp.append(goal, motion.ground))

    def terms(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """See `Goal`; "out" is upstream's whole reward. The end is worth more than staying just inside."""
        upright = jnp.minimum(motion.root.rotation[2, 2], motion.bodies["head"].rotation[2, 2])
        share = jnp.minimum(self._distance(motion) / self.bowl.HALF_M, 1.0)
        return {
            "out": share * 0.5 * (1.0 + upright),
            "outward": -3.0 * motion.approach(jnp.zeros(2)),
            "escaped": 100.0 * self.finished(motion, goal),
        }

    def measures(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """See `Goal`."""
        return {
            "from_middle_m": self._distance(motion),
            "escaped": self.finished(motion, goal),
        }

    def finished(self, motion: Motion, goal: Any) -> jax.Array:
        """See `Goal`."""
        return self._distance(motion) > self.OUT_M

    def _distance(self, motion: Motion) -> jax.Array:
        return jnp.linalg.norm(motion.position[:2])


def perlin(size: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Returns noise [size, size] with `cells` cells along an edge (Perlin 2002, "Improving noise")."""
    angle = rng.uniform(0.0, 2.0 * np.pi, (cells + 1, cells + 1))
    gradients = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    line = np.linspace(0.0, cells, size)
    cell = np.minimum(line.astype(int), cells - 1)
    inside = line - cell
    weight = inside**3 * (inside * (6.0 * inside - 15.0) + 10.0)

    def corner(down: int, right: int) -> np.ndarray:
        slope = gradients[np.ix_(cell + down, cell + right)]
        y, x = np.meshgrid(inside - down, inside - right, indexing="ij")
        return slope[..., 0] * x + slope[..., 1] * y

    across = weight[None, :]
    upper = corner(0, 0) + across * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + across * (corner(1, 1) - corner(1, 0))
    return upper + weight[:, None] * (lower - upper)
