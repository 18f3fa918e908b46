"""Defines a task in the latent space of a student, with a goal."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import masking, quaternions
from vnl_mjx.clips.container import ReferenceClips, ReferenceFrames
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.downstream.arena import in_arena, physics_like
from vnl_mjx.tasks.downstream.goal import Frame, Goal, Motion
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.environment import Observation, StepOutcome
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.tasks.terms.state import term_state
from vnl_mjx.tasks.terms.terminations import fallen
from vnl_mjx.walkers.walker import Walker

# Measures of the latent, besides those of the goal: its distance from the prior's mean in the prior's
# deviations, and whether that exceeds 95 % of the prior.
LATENT_MEASURES = DISTANCE, BEYOND = "latent_distance", "beyond_prior"
# Time constant of two running averages in series. They leave less than a twentieth of the changes of speed
# and the sway within a stride (2 rad/s of a walking rat's trunk, three times a second).
AVERAGED_S = 0.25


@flax.struct.dataclass
class DownstreamState:
    """Holds the state of one environment.

    Attributes:
        physics: the simulation.
        goal: current goal.
        controls: [2, nu] last two controls, oldest first.
        previous_qpos: [nq] pose one control step ago.
        pace: [2, 3] running averages of `Motion.forward`, `sideways` and `turning`, and of these averages.
        num_steps: [] int32 since the reset.
        key: [2] uint32, this environment's random key.
    """

    physics: PhysicsState
    goal: Any
    controls: jax.Array
    previous_qpos: jax.Array
    pace: jax.Array
    num_steps: jax.Array
    key: jax.Array

    @property
    def control(self) -> jax.Array:
        """Control of the last step, [..., nu]."""
        return self.controls[..., 1, :]


@flax.struct.dataclass
class DownstreamData:
    """Holds a task's data besides its state: the low level, and clips in whose frames episodes start."""

    low_level: LowLevel
    starts: ReferenceClips

    @classmethod
    def of(
        cls, low_level: LowLevel, clips: ReferenceClips, imitation: ImitationTask
    ) -> "DownstreamData":
        """Returns a task's data; clips the low level's joint angles to the range of the clips."""
        layout = imitation.layout
        found = layout.slices().get("joint_angles")
        if found is not None:
            columns = slice(*(column - layout.reference_size for column in found))
            low_level = low_level.within(jnp.asarray(clips.joints), columns)
        return cls(low_level, jax.tree.map(jnp.asarray, clips))


class DownstreamTask:
    """Implements a `Task` whose data is a `DownstreamData`.

    An episode starts at a random frame of a clip, with the clip's velocities, from which a low level
    trained on the clips can continue. In an arena the frame is moved to the arena's start.

    Attributes:
        goal: the goal.
        imitation: the low level's task.
        walker: the body; in an arena its model includes the arena.
        physics: back end of that model.
        bodies: rows of the goal's bodies, by the goal's names.
    """

    def __init__(
        self,
        goal: Goal,
        imitation: ImitationTask,
        low_level: LowLevel,
        episode_s: float | None = None,
    ):
        """Takes a goal and the task of the low level.

        Args:
            goal: the goal.
            imitation: the low level's task: its body, physics, control period and proprioception.
            low_level: the low level, for its sizes.
            episode_s: seconds of an episode; None: the goal's.

        Raises:
            UserError: the body has no free root or lacks a body that the goal names, the back end cannot
                simulate the goal's arena, or the student has a memory.
        """
        self.walker: Walker = imitation.walker
        root = self.walker.root
        if root is None:
            raise UserError(
                f"task {goal.name}: expected a body with a free root, found a fixed one"
            )
        if low_level.student.networks.is_recurrent:
            raise UserError(f"task {goal.name}: expected a student without a memory")
        self.goal, self.imitation = goal, imitation
        self.bodies = _rows(goal, self.walker)
        self.physics = imitation.physics
        if goal.arena is not None:
            self.walker = in_arena(self.walker, goal.arena)
            self.physics = physics_like(imitation.physics, self.walker.model)
        self.control_timestep = imitation.config.physics.control_timestep
        model = self.physics.model
        self._root = root
        self._free_body = int(model.jnt_bodyid[0])
        self._activated = np.flatnonzero(model.actuator_actnum)
        self._pose_control = None
        if len(self._activated) and not imitation.config.walker.torque_actuators:
            self._pose_control = PoseControl(model)
        body = imitation.observation_sizes["proprioception"]
        self.observation_sizes = {"goal": goal.observation_size, "body": body}
        is_scratch = low_level.mode == "scratch"
        self.action_size = model.nu if is_scratch else low_level.student.latent_dim
        seconds = goal.episode_s if episode_s is None else episode_s
        self.episode_steps = round(seconds / self.control_timestep)
        self._redraw = None
        if goal.redraw_s is not None:
            self._redraw = round(goal.redraw_s / self.control_timestep)

    def reset(
        self, key: jax.Array, data: DownstreamData, where: jax.Array | bool = True
    ) -> DownstreamState:
        """See `Task`."""
        key, clip_key, frame_key = jax.random.split(key, 3)
        clips = data.starts
        clip = jax.random.randint(clip_key, (), 0, clips.num_clips)
        first = clips.at(
            clip, jax.random.randint(frame_key, (), 0, jnp.asarray(clips.lengths)[clip])
        )
        act = None
        if self._pose_control is not None:
            act = jnp.clip(self._pose_control.hold(first.joints), -1.0, 1.0)[self._activated]
        first = self._at_start(first)
        physics = self.physics.reset(first.qpos(), first.qvel(), where, None, act)
        return self.started(physics, key)

    def started(self, physics: PhysicsState, key: jax.Array) -> DownstreamState:
        """Returns an environment at the start of an episode, from any state of the simulation."""
        key, goal_key = jax.random.split(key)
        state = DownstreamState(
            physics=physics,
            goal=None,
            controls=jnp.zeros((2, self.physics.model.nu)),
            previous_qpos=physics.qpos,
            pace=jnp.zeros((2, 3)),
            num_steps=jnp.int32(0),
            key=key,
        )
        state = state.replace(pace=jnp.stack(2 * [self._pace(state)]))
        return state.replace(goal=self.goal.draw(goal_key, self.motion(state)))

    def observe(self, state: DownstreamState, data: DownstreamData) -> Observation:
        """See `Task`."""
        goal = self.goal.observe(self.motion(state), state.goal)
        return Observation.of(goal=goal, body=self.body(state, data.low_level))

    def step(
        self, state: DownstreamState, action: jax.Array, data: DownstreamData
    ) -> tuple[DownstreamState, StepOutcome]:
        """See `Task`."""
        low_level = data.low_level
        control, distance = low_level.control(self.body(state, low_level), action)
        moved = self.moved(state, self.physics.step(state.physics, control), control)
        key, goal_key, draw_key = jax.random.split(state.key, 3)
        motion, aim = self.motion(moved), self.goal
        goal = aim.advance(motion, state.goal, goal_key)
        measures = {name: 1.0 * value for name, value in aim.measures(motion, goal).items()}
        if low_level.mode != "scratch":
            measures |= {
                DISTANCE: distance,
                BEYOND: 1.0 * (distance > low_level.radius),
            }
        fell, terms = self.fell(motion), aim.terms(motion, goal)
        if aim.fall_cost:
            terms["fall"] = -aim.fall_cost * fell
        outcome = StepOutcome.of(
            moved.physics,
            terms=terms,
            failures={"fall": fell},
            truncated=(moved.num_steps >= self.episode_steps) | aim.finished(motion, goal),
            distances=measures,
        )
        if self._redraw is not None:
            is_time = moved.num_steps % self._redraw == 0
            goal = masking.where(is_time, aim.draw(draw_key, motion), goal)
        return moved.replace(goal=goal, key=key), outcome

    def fell(self, motion: Motion) -> jax.Array:
        """Returns, [] bool, whether the body fell by the goal's limits."""
        lowest, tilt = motion.ground + self.goal.lowest_m, self.goal.tilt_deg
        return fallen(motion.seen, None, self.walker, lowest=lowest, tilt_deg=tilt)

    def moved(
        self, state: DownstreamState, physics: PhysicsState, control: jax.Array
    ) -> DownstreamState:
        """Returns the environment after a control step with `control` [nu], with an unchanged goal."""
        moved = state.replace(
            physics=physics,
            previous_qpos=state.physics.qpos,
            controls=jnp.stack([state.controls[1], control]),
            num_steps=state.num_steps + 1,
        )
        return moved.replace(pace=self._averaged(moved))

    def body(self, state: DownstreamState, low_level: LowLevel) -> jax.Array:
        """Returns the proprioception [size] that the low level reads; heights are over the ground."""
        physics, previous = state.physics, state.previous_qpos
        if self.goal.arena is not None:
            rise = self.goal.arena.ground(physics.xpos[self.walker.root_body, :2])
            previous = previous.at[2].add(-rise)
            physics = physics.replace(
                qpos=physics.qpos.at[2].add(-rise), xpos=physics.xpos.at[:, 2].add(-rise)
            )
        return low_level.reads(self.imitation.proprioception(physics, previous, state.controls))

    def motion(self, state: DownstreamState) -> Motion:
        """Returns the state of the body that goals read."""
        physics, (forward, sideways, turning) = state.physics, state.pace[1]
        root = Frame.of(physics, self.walker.root_body)
        ground = jnp.float32(self.walker.floor_height)
        if self.goal.arena is not None:
            ground += self.goal.arena.ground(root.position[:2])
        seen = term_state(
            physics,
            self.walker,
            self.control_timestep,
            previous_qpos=state.previous_qpos,
            action=state.controls[1],
            previous_action=state.controls[0],
        )
        return Motion(
            root=root,
            forward=forward,
            sideways=sideways,
            turning=turning,
            bodies={name: Frame.of(physics, row) for name, row in self.bodies.items()},
            ground=ground,
            seen=seen,
            step_s=self.control_timestep,
        )

    def _at_start(self, first: ReferenceFrames) -> ReferenceFrames:
        """Moves a frame, and turns it about the vertical, to the start of the arena."""
        arena, root = self.goal.arena, self.walker.root_body
        if arena is None:
            return first
        turn = jnp.float32(0)
        if arena.heading is not None:
            facing = quaternions.rotate(jnp.array([1.0, 0.0, 0.0]), first.body_quaternions[root])
            turn = arena.heading - jnp.arctan2(facing[1], facing[0])
        turned = jnp.stack([jnp.cos(turn / 2), 0.0 * turn, 0.0 * turn, jnp.sin(turn / 2)])
        center = first.body_positions[root].at[2].set(0.0)
        offset = quaternions.rotate(first.position - center, turned)
        return first.replace(
            position=offset + jnp.array([*arena.start, 0.0]),
            quaternion=quaternions.multiply(turned, first.quaternion),
            velocity=quaternions.rotate(first.velocity, turned),
        )

    def _averaged(self, state: DownstreamState) -> jax.Array:
        """Updates the running averages with the motion of the last control step."""
        share = min(self.control_timestep / AVERAGED_S, 1.0)
        once = state.pace[0] + share * (self._pace(state) - state.pace[0])
        return jnp.stack([once, state.pace[1] + share * (once - state.pace[1])])

    def _pace(self, state: DownstreamState) -> jax.Array:
        """Returns current forward and sideways speed, and turning rate [3]."""
        physics = state.physics
        x, y = Frame.of(physics, self.walker.root_body).heading
        velocity = physics.qvel[self._root.velocity]
        spin = physics.xmat[self._free_body] @ physics.qvel[self._root.angular_velocity]
        forward = velocity[0] * x + velocity[1] * y
        return jnp.stack([forward, velocity[1] * x - velocity[0] * y, spin[2]])


def _rows(goal: Goal, walker: Walker) -> dict[str, int]:
    """Returns the ids of the bodies that a goal names."""
    for name in goal.bodies.values():
        if name not in walker.body_names:
            raise UserError(
                f"task {goal.name}: expected a body {name!r} in model {walker.config.source!r}, found "
                f"none; say in `bodies` of the goal which one it is"
            )
    return {called: walker.body_names.index(name) for called, name in goal.bodies.items()}
