"""Defines the base class of goals, and the state of the body that goals read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.downstream.arena import Arena
from vnl_mjx.tasks.terms.state import TermState


@flax.struct.dataclass
class Frame:
    """Holds the pose of a body.

    Attributes:
        position: [3] in the world, m.
        rotation: [3, 3] its axes in the world as columns: first forward, last up.
    """

    position: jax.Array
    rotation: jax.Array

    @classmethod
    def of(cls, physics: PhysicsState, body: int) -> "Frame":
        """Returns the frame of one body of a simulation."""
        return cls(physics.xpos[body], physics.xmat[body])

    @property
    def heading(self) -> jax.Array:
        """The horizontal unit vector [2] in which the body faces."""
        return unit(self.rotation[:2, 0])

    def sees(self, point_w: jax.Array) -> jax.Array:
        """Returns a point [3] of the world in this frame, m."""
        offset = point_w - self.position
        return jnp.matmul(offset, self.rotation, precision=jax.lax.Precision.HIGHEST)

    def beside(self, forward: jax.Array, left: jax.Array) -> jax.Array:
        """Returns the world point [3] some metres along the heading and to its left, at the same height."""
        x, y = self.heading
        offset = jnp.stack([forward * x - left * y, forward * y + left * x, jnp.float32(0)])
        return self.position + offset


@flax.struct.dataclass
class Motion:
    """Holds the state of the body that goals read.

    Attributes:
        root: frame of the root body.
        forward: [] m/s along its heading; this and the next two are averaged over a stride (`AVERAGED_S`).
        sideways: [] m/s to the left of it.
        turning: [] rad/s about the vertical, positive to the left.
        bodies: frames of the bodies that `Goal.bodies` names.
        ground: [] z of the ground below the root body, m.
        seen: all other state.
        step_s: static; seconds of a control step.
    """

    root: Frame
    forward: jax.Array
    sideways: jax.Array
    turning: jax.Array
    bodies: dict[str, Frame] = flax.struct.field(default_factory=dict)
    ground: jax.Array | float = 0.0
    seen: TermState | None = None
    step_s: float = flax.struct.field(pytree_node=False, default=0.02)

    @property
    def position(self) -> jax.Array:
        """The root body's position [3] in the world, m."""
        return self.root.position

    @property
    def heading(self) -> jax.Array:
        """The horizontal unit vector [2] in which the root body faces."""
        return self.root.heading

    @property
    def velocity(self) -> jax.Array:
        """The averaged horizontal velocity [2] in the world, m/s."""
        x, y = self.heading
        return jnp.stack(
            [self.forward * x - self.sideways * y, self.forward * y + self.sideways * x]
        )

    def onward(self, later: "Motion", times: float = 2.0) -> jax.Array:
        """Returns the place [3] of the body if it repeated its motion until `later` some times."""
        return self.position + times * (later.position - self.position)

    def approach(self, place: jax.Array) -> jax.Array:
        """Returns the horizontal speed [] at which the body approaches a place [2 or 3], m/s."""
        return jnp.dot(self.velocity, unit(place[:2] - self.position[:2]))


class Goal(ABC):
    """Defines a goal. Its functions are for one environment, and `goal` is the result of `draw`.

    In a control step the body moves, `advance` updates the goal, and `terms`, `measures` and `finished`
    read the updated goal. A reset draws a new goal, so nothing carries over between episodes.

    Attributes:
        name: name in messages and commands.
        observation_size: size of the result of `observe`, at least 1.
        episode_s: seconds of an episode.
        redraw_s: seconds after which another goal is drawn in an episode; None: never.
        bodies: names of bodies in the model, by the goal's names for them in `Motion.bodies`.
        events: those of `measures` that are momentary: 1 (or their number) in the control step in which
            they happen, else 0. They are summed over an episode; all other measures are averaged over
            steps.
        lowest_m: the body has fallen if the root body is lower than this over the ground.
        tilt_deg: the body has fallen if the root body's z axis is farther than this from the vertical.
        fall_cost: what a fall takes from the reward. A goal whose terms are negative needs it: otherwise a
            policy earns most by falling at once.
        arena: arena in place of the flat floor; None: the floor.
    """

    name: str
    observation_size: int
    episode_s: float
    redraw_s: float | None = None
    bodies: Mapping[str, str] = {}
    events: tuple[str, ...] = ()
    lowest_m: float = 0.02
    tilt_deg: float = 80.0
    fall_cost: float = 0.0
    arena: Arena | None = None

    def draw(self, key: jax.Array, motion: Motion) -> Any:
        """Draws a goal, a pytree, for a body in the state `motion`."""
        return ()

    def advance(self, motion: Motion, goal: Any, key: jax.Array) -> Any:
        """Returns the goal after a control step that ended in the state `motion`."""
        return goal

    @abstractmethod
    def observe(self, motion: Motion, goal: Any) -> jax.Array:
        """Returns the policy's observation of the goal, [observation_size]."""

    @abstractmethod
    def terms(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns named, weighted, signed terms of the reward."""

    def measures(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns measures of success, in units that people understand."""
        return {}

    def finished(self, motion: Motion, goal: Any) -> jax.Array:
        """Returns, [] bool, whether the goal is reached: the episode ends without a failure."""
        return jnp.bool_(False)

    def hindsight(self, now: Motion, later: Motion) -> Any:
        """Returns the goal that the motion from `now` to `later` serves; None: there is none."""
        return None

    @classmethod
    def has_hindsight(cls) -> bool:
        """Whether the goal defines `hindsight`, without which it cannot be cloned."""
        return cls.hindsight is not Goal.hindsight

    def marks(self, goal: Any) -> jax.Array:
        """Returns places [mark, 3] of the world to show in pictures, m; NaN: not shown."""
        return jnp.zeros((0, 3))


def unit(vector: jax.Array) -> jax.Array:
    """Scales a vector [size] to length 1; leaves 0 as it is."""
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-6)
