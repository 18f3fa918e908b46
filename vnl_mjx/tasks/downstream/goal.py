"""What is to be done in a task: the base class of goals, and what they read of the body."""

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
    """Where a body is.

    Attributes:
        position: [3] in the world, m.
        rotation: [3, 3] its axes in the world, in columns: the first forward, the last up.
    """

    position: jax.Array
    rotation: jax.Array

    @classmethod
    def of(cls, physics: PhysicsState, body: int) -> "Frame":
        """Returns the frame of one body of a simulation."""
        return cls(physics.xpos[body], physics.xmat[body])

    @property
    def heading(self) -> jax.Array:
        """[2] unit vector along the floor that it faces."""
        return unit(self.rotation[:2, 0])

    def sees(self, point_w: jax.Array) -> jax.Array:
        """Returns a point [3] of the world in this frame, m."""
        offset = point_w - self.position
        return jnp.matmul(offset, self.rotation, precision=jax.lax.Precision.HIGHEST)

    def beside(self, forward: jax.Array, left: jax.Array) -> jax.Array:
        """Returns the point [3] of the world so many metres along the heading and left of it, as high."""
        x, y = self.heading
        offset = jnp.stack([forward * x - left * y, forward * y + left * x, jnp.float32(0)])
        return self.position + offset


@flax.struct.dataclass
class Motion:
    """What goals read of the body.

    Attributes:
        root: of the root body.
        forward: [] m/s along its heading; this and the two below are averaged over a stride (`AVERAGED_S`).
        sideways: [] m/s to the left of it.
        turning: [] rad/s about the vertical, positive to the left.
        bodies: of those that `Goal.bodies` names.
        ground: [] z of the ground below the root body, m.
        seen: everything else.
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
        """[3] of the root body in the world, m."""
        return self.root.position

    @property
    def heading(self) -> jax.Array:
        """[2] unit vector along the floor that the root body faces."""
        return self.root.heading

    @property
    def velocity(self) -> jax.Array:
        """[2] along the floor of the world, m/s, averaged."""
        x, y = self.heading
        return jnp.stack(
            [self.forward * x - self.sideways * y, self.forward * y + self.sideways * x]
        )

    def onward(self, later: "Motion", times: float = 2.0) -> jax.Array:
        """Returns where [3] the body would be if it went on as until `later`, so many times as long."""
        return self.position + times * (later.position - self.position)

    def approach(self, place: jax.Array) -> jax.Array:
        """Returns at what speed [] the body gets nearer to a place [2 or 3] along the floor, m/s."""
        return jnp.dot(self.velocity, unit(place[:2] - self.position[:2]))


class Goal(ABC):
    """What is to be done. Functions are of one environment; `goal` is whatever `draw` returns.

    In a control step the body moves, `advance` makes the goal its next one, and `terms`, `measures` and
    `finished` read that. A reset draws it anew, so nothing of an episode lasts into the next.

    Attributes:
        name: for messages and commands.
        observation_size: of what `observe` returns, at least 1.
        episode_s: seconds of an episode.
        redraw_s: seconds after which another goal is drawn in an episode; None: never.
        bodies: names of bodies of the model, by what the goal calls them in `Motion.bodies`.
        events: those of `measures` that happen at a moment: 1 in the control step in which they do (or how
            often), else 0. Their sum over an episode is a count; of all others the mean over steps counts.
        lowest_m: the root body lower than this over the ground is a fall.
        tilt_deg: its z axis farther than this from the vertical is one too.
        arena: in place of the flat floor; None: the floor.
    """

    name: str
    observation_size: int
    episode_s: float
    redraw_s: float | None = None
    bodies: Mapping[str, str] = {}
    events: tuple[str, ...] = ()
    lowest_m: float = 0.02
    tilt_deg: float = 80.0
    arena: Arena | None = None

    def draw(self, key: jax.Array, motion: Motion) -> Any:
        """Draws a goal, a pytree, for a body that is where `motion` says."""
        return ()

    def advance(self, motion: Motion, goal: Any, key: jax.Array) -> Any:
        """Returns the goal after a control step that ended as `motion` says."""
        return goal

    @abstractmethod
    def observe(self, motion: Motion, goal: Any) -> jax.Array:
        """Returns what the policy sees of it, [observation_size]."""

    @abstractmethod
    def terms(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns named, weighted, signed terms of the reward."""

    def measures(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns how well it is done, in units that people understand."""
        return {}

    def finished(self, motion: Motion, goal: Any) -> jax.Array:
        """[] bool. Whether all is done: the episode ends, not as a failure."""
        return jnp.bool_(False)

    def hindsight(self, now: Motion, later: Motion) -> Any:
        """Returns the goal that the motion from `now` to `later` is right for; None: there is none."""
        return None

    @classmethod
    def has_hindsight(cls) -> bool:
        """Whether the goal says what a motion is right for, without which nothing can be cloned."""
        return cls.hindsight is not Goal.hindsight

    def marks(self, goal: Any) -> jax.Array:
        """Returns places [mark, 3] of the world to be shown in pictures, m; NaN: not to be shown."""
        return jnp.zeros((0, 3))


def unit(vector: jax.Array) -> jax.Array:
    """Returns a vector [size] of length 1, or 0 where it is 0."""
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-6)
