"""Defines the task "follow_target": keep the head at a point that wanders about.

As in vnl-playground's task of this name, the point stays near the head's initial position. There the point
is a random walk, smoothed in advance; here it glides from one random place to the next.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vnl_mjx.tasks.downstream.goal import Frame, Goal, Motion


class Wandering(NamedTuple):
    """Holds a moving point.

    Attributes:
        place: [3] its place in the world, m; so are the two below.
        pull: [3] point to which it glides.
        aim: [3] point to which `pull` glides.
        home: the head's initial position, with the root body's initial axes.
    """

    place: jax.Array
    pull: jax.Array
    aim: jax.Array
    home: Frame


class FollowTarget(Goal):
    """Keep the head at a point that glides about where the head was at the start."""

    name, observation_size, episode_s = "follow_target", 3, 10.0
    bodies: Mapping[str, str] = {"head": "skull"}
    tilt_deg = 100.0  # a body that rears is no fallen one
    REACH_M = 0.1  # along the floor, forward and back, left and right
    LOWEST_M, HIGHEST_M = -0.03, 0.05  # over the head's height at the start
    GLIDE_S, STAY_S = 0.3, 1.0

    def draw(self, key: jax.Array, motion: Motion) -> Wandering:
        """See `Goal`; the point starts at the head."""
        home = Frame(motion.bodies["head"].position, motion.root.rotation)
        return Wandering(home.position, home.position, self._place(key, home, motion), home)

    def advance(self, motion: Motion, goal: Wandering, key: jax.Array) -> Wandering:
        """See `Goal`; the next place comes after `STAY_S` on average."""
        aim_key, place_key = jax.random.split(key)
        leaves = jax.random.uniform(aim_key) < motion.step_s / self.STAY_S
        share = motion.step_s / self.GLIDE_S
        return goal._replace(
            place=goal.place + share * (goal.pull - goal.place),
            pull=goal.pull + share * (goal.aim - goal.pull),
            aim=jnp.where(leaves, self._place(place_key, goal.home, motion), goal.aim),
        )

    def hindsight(self, now: Motion, later: Motion) -> Wandering:
        """See `Goal`; the point is the head's later position."""
        head = later.bodies["head"]
        return Wandering(head.position, head.position, head.position, now.root)

    def observe(self, motion: Motion, goal: Wandering) -> jax.Array:
        """See `Goal`; the point in the root body's frame."""
        return motion.root.sees(goal.place)

    def terms(self, motion: Motion, goal: Wandering) -> dict[str, jax.Array]:
        """See `Goal`; narrower than upstream's, where standing still earns nearly the whole reward."""
        return {"closeness": jnp.exp(-self._distance(motion, goal) / 0.05)}

    def measures(self, motion: Motion, goal: Wandering) -> dict[str, jax.Array]:
        """See `Goal`."""
        distance = self._distance(motion, goal)
        return {"distance_m": distance, "within_5_cm": distance < 0.05}

    def marks(self, goal: Wandering) -> jax.Array:
        """See `Goal`."""
        return goal.place[None]

    def _distance(self, motion: Motion, goal: Wandering) -> jax.Array:
        return jnp.linalg.norm(motion.bodies["head"].position - goal.place)

    def _place(self, key: jax.Array, home: Frame, motion: Motion) -> jax.Array:
        low = jnp.array([-self.REACH_M, -self.REACH_M, self.LOWEST_M])
        high = jnp.array([self.REACH_M, self.REACH_M, self.HIGHEST_M])
        forward, left, up = jax.random.uniform(key, (3,), minval=low, maxval=high)
        place = home.beside(forward, left).at[2].add(up)
        return place.at[2].max(motion.ground)
