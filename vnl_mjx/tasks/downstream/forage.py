"""Defines the task "forage": eat the treats that lie around, guided by their scent.

The treats and the rule of eating are those of vnl-playground's "arena forage", except that the head's
height does not matter; walking towards the scent is rewarded as well. A treat's scent falls by a factor of
e every `SCENT_M`. vnl-playground's scent is a Gaussian of 0.5 m; five of these cancel in the middle, where
a body then stays. Treats are not bodies of the simulation, so each episode draws its own.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Goal, Motion, unit


class Treats(NamedTuple):
    """Holds the treats.

    Attributes:
        places: [treat, 3] in the world, m.
        is_left: [treat] bool, not eaten.
        num_eaten: [] in this control step.
    """

    places: jax.Array
    is_left: jax.Array
    num_eaten: jax.Array


class Forage(Goal):
    """Bring the head over each of `NUM_TREATS` treats, which lie 0.3 to 1 m away; then all is done."""

    name, observation_size, episode_s, events = "forage", 4, 20.0, ("treats_eaten",)
    bodies: Mapping[str, str] = {"head": "skull"}
    NUM_TREATS, DISTANCE_M = 5, (0.3, 1.0)
    EATEN_M = 0.06  # along the floor, from the head to a treat's middle: twice its radius
    SCENT_M, NOTHING = 0.1, 20.0  # NOTHING: e-folds below a treat's own scent

    def draw(self, key: jax.Array, motion: Motion) -> Treats:
        """See `Goal`."""
        angle_key, distance_key = jax.random.split(key)
        near, far = self.DISTANCE_M
        angle = jax.random.uniform(angle_key, (self.NUM_TREATS,), maxval=2.0 * jnp.pi)
        distance = jax.random.uniform(distance_key, angle.shape, minval=near, maxval=far)
        flat = distance * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        places = jnp.stack([*(motion.position[:2, None] + flat), 0.0 * angle + motion.ground], -1)
        return Treats(places, jnp.ones(self.NUM_TREATS, bool), jnp.float32(0))

    def advance(self, motion: Motion, goal: Treats, key: jax.Array) -> Treats:
        """See `Goal`."""
        eats = goal.is_left & (self._distances(motion, goal) < self.EATEN_M)
        return goal._replace(is_left=goal.is_left & ~eats, num_eaten=jnp.sum(eats, dtype=float))

    def hindsight(self, now: Motion, later: Motion) -> Treats:
        """See `Goal`; a single treat is left, at the place that the body would reach by continuing."""
        places = jnp.tile(now.onward(later), (self.NUM_TREATS, 1))
        return Treats(places, jnp.arange(self.NUM_TREATS) == 0, jnp.float32(0))

    def observe(self, motion: Motion, goal: Treats) -> jax.Array:
        """See `Goal`; the scent's strength in e-folds, and the way to it in the root body's frame."""
        strength, way = self._scent(motion, goal)
        ahead = jnp.append(way, 0.0) @ motion.root.rotation
        return jnp.concatenate([strength[None], ahead])

    def terms(self, motion: Motion, goal: Treats) -> dict[str, jax.Array]:
        """See `Goal`."""
        _, way = self._scent(motion, goal)
        return {
            "scent": 3.0 * jnp.dot(motion.velocity, way),
            "treats_eaten": 10.0 * goal.num_eaten,
        }

    def measures(self, motion: Motion, goal: Treats) -> dict[str, jax.Array]:
        """See `Goal`; includes the distance of the nearest remaining treat."""
        nearest = jnp.min(jnp.where(goal.is_left, self._distances(motion, goal), jnp.inf))
        return {
            "distance_m": jnp.where(goal.is_left.any(), nearest, 0.0),
            "treats_eaten": goal.num_eaten,
        }

    def finished(self, motion: Motion, goal: Treats) -> jax.Array:
        """See `Goal`."""
        return ~goal.is_left.any()

    def marks(self, goal: Treats) -> jax.Array:
        """See `Goal`."""
        return jnp.where(goal.is_left[:, None], goal.places, jnp.nan)

    def _offsets(self, motion: Motion, goal: Treats) -> jax.Array:
        """Returns horizontal offsets [treat, 2] from the head to each treat."""
        return goal.places[:, :2] - motion.bodies["head"].position[:2]

    def _distances(self, motion: Motion, goal: Treats) -> jax.Array:
        return jnp.linalg.norm(self._offsets(motion, goal), axis=-1)

    def _scent(self, motion: Motion, goal: Treats) -> tuple[jax.Array, jax.Array]:
        """Returns the log scent of the remaining treats at the head [], and its direction [2] in the world.

        The direction is the mean of the directions to the treats, weighted by their shares of the scent: it
            has length 1 for a single treat, and 0 if none is left.
        """
        distances = self._distances(motion, goal)
        strengths = jnp.where(goal.is_left, -distances / self.SCENT_M, -self.NOTHING)
        shares = goal.is_left * jax.nn.softmax(strengths)
        directions = jax.vmap(unit)(self._offsets(motion, goal))
        return jax.nn.logsumexp(strengths), shares @ directions
