"""Finds the part of a clip that fits a goal; a student that follows it is an expert for the task.

This is motion matching (Clavet 2016, "Motion matching and the road to next-gen animation"): among all
frames of the clips it selects the one whose continuation is most similar to the goal and whose pose is most
similar to the current one.
"""

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import quaternions
from vnl_mjx.clips.container import ReferenceClips, ReferenceFrames
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.downstream.goal import Frame, Goal, Motion
from vnl_mjx.tasks.downstream.task import DownstreamState, DownstreamTask
from vnl_mjx.walkers.layout import FreeRoot

PACES = ("forward", "sideways", "turning")  # of a `Motion`
# weight of the pose relative to the goal, both in standard deviations over all frames
_POSE_WEIGHT = 0.3


@flax.struct.dataclass
class MatchedClips:
    """Holds start and achieved goal of each part of the clips: [part, ...].

    Attributes:
        clip: int32.
        frame: int32, its first.
        goal: observation of the goal that the part achieves.
        joints: pose at its first frame, rad.
        goal_std: [goal] over the parts.
        joints_std: [joint] over the parts.
    """

    clip: jax.Array
    frame: jax.Array
    goal: jax.Array
    joints: jax.Array
    goal_std: jax.Array
    joints_std: jax.Array

    @classmethod
    def of(
        cls, task: DownstreamTask, clips: ReferenceClips, num_ahead: int, num_needed: int
    ) -> "MatchedClips":
        """Reads all parts of the clips from which `num_needed` frames follow.

        A part's goal is read `num_ahead` frames later. Shorter clips are left out.

        Raises:
            UserError: no clip is long enough.
        """
        last = jnp.asarray(clips.lengths) - num_needed
        starts = [(i, f) for i, n in enumerate(last.tolist()) for f in range(n)]
        if not starts:
            longest = int(jnp.asarray(clips.lengths).max())
            raise UserError(
                f"cloning.part_s: expected clips of more than {num_needed} frames in {clips.source}, found "
                f"{longest} at most; give less, or cloning.num_steps=0"
            )
        clip, frame = jnp.array(starts, jnp.int32).reshape(-1, 2).T

        def goal(clip: jax.Array, frame: jax.Array) -> jax.Array:
            motions = _motions(task, clips.window(clip, frame, num_ahead + 1))
            now = jax.tree.map(lambda x: x[0], motions)
            later = jax.tree.map(lambda x: x[-1], motions)
            later = later.replace(**{name: getattr(motions, name).mean() for name in PACES})
            return task.goal.observe(now, task.goal.hindsight(now, later))

        goals = jax.lax.map(lambda pair: goal(*pair), (clip, frame), batch_size=256)
        joints = jax.vmap(lambda c, f: clips.at(c, f).joints)(clip, frame)
        return cls(clip, frame, goals, joints, _std(goals), _std(joints))

    def nearest(
        self, task: DownstreamTask, state: DownstreamState, times: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Returns clip [] and frame [] of the part that best fits goal and pose of an environment.

        The goal's distance from the parts' mean is multiplied by `times` first.
        """
        asked = task.goal.observe(task.motion(state), state.goal)
        mean = self.goal.mean(axis=0)
        asked = mean + times * (asked - mean)
        joints = state.physics.qpos[task.walker.layout.joint_qpos]
        cost = jnp.sum(jnp.square((self.goal - asked) / self.goal_std), axis=-1)
        pose = jnp.mean(jnp.square((self.joints - joints) / self.joints_std), axis=-1)
        best = jnp.argmin(cost + _POSE_WEIGHT * pose)
        return self.clip[best], self.frame[best]


def in_hindsight(goal: Goal, motions: Motion, num_ahead: int) -> jax.Array:
    """Returns the observation of the goal that a body achieved, [time - num_ahead, size].

    Args:
        goal: the task's goal.
        motions: [time, ...] motion of the body at each control step.
        num_ahead: steps after which an action's result is read. Speeds are averaged over the second half of
            them.
    """

    def later(paces: jax.Array) -> jax.Array:
        last = num_ahead - num_ahead // 2
        sums = jnp.cumsum(jnp.append(0.0, paces))[num_ahead // 2 + 1 :]
        return (sums[last:] - sums[:-last]) / last

    now = jax.tree.map(lambda x: x[:-num_ahead], motions)
    then = jax.tree.map(lambda x: x[num_ahead:], motions)
    then = then.replace(**{name: later(getattr(motions, name)) for name in PACES})
    return jax.vmap(lambda now, then: goal.observe(now, goal.hindsight(now, then)))(now, then)


@flax.struct.dataclass
class Anchor:
    """Holds a shift along the floor and a turn about the vertical that move a body to a clip's frame.

    Attributes:
        turn: [4] unit quaternion.
        center: [3] centre of the turn, m.
        aim: [3] place to which the centre moves, m.
    """

    turn: jax.Array
    center: jax.Array
    aim: jax.Array

    @classmethod
    def of(cls, physics: PhysicsState, place: ReferenceFrames, body: int) -> "Anchor":
        """Returns the anchor that moves a body to the place and heading of `place`."""
        x, y = Frame.of(physics, body).heading
        to_x, to_y, _ = quaternions.rotate(jnp.array([1.0, 0.0, 0.0]), place.body_quaternions[body])
        half = jnp.arctan2(x * to_y - y * to_x, x * to_x + y * to_y) / 2
        turn = jnp.stack([jnp.cos(half), 0.0 * half, 0.0 * half, jnp.sin(half)])
        center, aim = (p.at[2].set(0.0) for p in (physics.xpos[body], place.body_positions[body]))
        return cls(turn, center, aim)

    def pose(self, qpos: jax.Array, root: FreeRoot) -> jax.Array:
        """Returns the moved pose [nq]."""
        position = self._place(qpos[root.position])
        turned = quaternions.multiply(self.turn, qpos[root.quaternion])
        return qpos.at[root.position].set(position).at[root.quaternion].set(turned)

    def physics(self, physics: PhysicsState, root: FreeRoot) -> PhysicsState:
        """Returns the moved simulation, for observations only; do not step it."""
        velocity = quaternions.rotate(physics.qvel[root.velocity], self.turn)
        return physics.replace(
            qpos=self.pose(physics.qpos, root),
            qvel=physics.qvel.at[root.velocity].set(velocity),
            xpos=self._place(physics.xpos),
            xmat=quaternions.matrix(self.turn) @ physics.xmat,
        )

    def _place(self, point_w: jax.Array) -> jax.Array:
        return quaternions.rotate(point_w - self.center, self.turn) + self.aim


def _motions(task: DownstreamTask, frames: ReferenceFrames) -> Motion:
    """Returns motions of frames [time], with their own speeds."""

    def motion(frame: ReferenceFrames) -> Motion:
        rotations = quaternions.matrix(frame.body_quaternions)
        at = {name: Frame(frame.body_positions[i], rotations[i]) for name, i in task.bodies.items()}
        root = Frame(frame.body_positions[task.walker.root_body], rotations[task.walker.root_body])
        (x, y), velocity = root.heading, frame.velocity
        spin = quaternions.rotate(frame.angular_velocity, frame.quaternion)
        return Motion(
            root=root,
            forward=velocity[0] * x + velocity[1] * y,
            sideways=velocity[1] * x - velocity[0] * y,
            turning=spin[2],
            bodies=at,
            ground=jnp.float32(task.walker.floor_height),
            step_s=task.control_timestep,
        )

    return jax.vmap(motion)(frames)


def _std(values: jax.Array) -> jax.Array:
    return jnp.std(values, axis=0) + 1e-3
