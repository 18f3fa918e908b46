"""One task in the latent space of a student, of which a goal says what is to be done."""

from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.environment import Observation, StepOutcome
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.tasks.terms.state import TermState, term_state
from vnl_mjx.tasks.terms.terminations import fallen
from vnl_mjx.walkers.walker import Walker

FALLEN_M, FALLEN_DEG = 0.02, 80.0  # height of the root body over the floor, and its tilt
AVERAGED_S = 0.3  # a stride: within one, the body speeds up, slows down and swings


@flax.struct.dataclass
class Motion:
    """What goals read of the body.

    Attributes:
        position: [3] of the root body in the world, m.
        heading: [2] unit vector along the floor that it faces.
        forward: [] m/s along the heading; this and the two below are running averages over `AVERAGED_S`.
        sideways: [] m/s to the left of it.
        turning: [] rad/s about the vertical, positive to the left.
        seen: everything else.
    """

    position: jax.Array
    heading: jax.Array
    forward: jax.Array
    sideways: jax.Array
    turning: jax.Array
    seen: TermState


class Goal(Protocol):
    """What is to be done. Functions are of one environment; `goal` is whatever `draw` returns."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def observation_size(self) -> int:
        """Of what `observe` returns."""
        ...

    @property
    def episode_s(self) -> float:
        """Seconds of an episode."""
        ...

    @property
    def redraw_s(self) -> float | None:
        """Seconds after which another goal is drawn in an episode; None: never."""
        ...

    def draw(self, key: jax.Array, motion: Motion) -> Any:
        """Draws a goal for a body that is where `motion` says."""
        ...

    def observe(self, motion: Motion, goal: Any) -> jax.Array:
        """Returns what the policy sees of it, [observation_size]."""
        ...

    def terms(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns named, weighted, signed terms of the reward."""
        ...

    def measures(self, motion: Motion, goal: Any) -> dict[str, jax.Array]:
        """Returns how well it is done, in units that people understand."""
        ...


@flax.struct.dataclass
class DownstreamState:
    """One environment.

    Attributes:
        physics: the simulation.
        goal: of the episode, or of this part of it.
        controls: [2, nu] the last two, oldest first.
        previous_qpos: [nq] pose one control step ago.
        pace: [3] running averages of `Motion.forward`, `sideways` and `turning`.
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


@flax.struct.dataclass
class DownstreamData:
    """What a task reads besides its state: the low level, and clips in whose frames episodes begin."""

    low_level: LowLevel
    starts: ReferenceClips


class DownstreamTask:
    """A `Task` whose data is a `DownstreamData`.

    An episode begins in a drawn frame of a clip, moving as the clip does there: a low level that was trained
    on them can go on from each.
    """

    def __init__(self, goal: Goal, imitation: ImitationTask, low_level: LowLevel):
        """Takes a goal and what the low level was trained in.

        Args:
            goal: what is to be done.
            imitation: the low level's task: its body, physics, control period and proprioception.
            low_level: for its sizes.

        Raises:
            UserError: the body has no free root, or the student a memory.
        """
        if imitation.walker.root is None:
            raise UserError(
                f"task {goal.name}: expected a body with a free root, found a fixed one"
            )
        if low_level.student.networks.is_recurrent:
            raise UserError(f"task {goal.name}: expected a student without a memory")
        self.goal, self._imitation = goal, imitation
        self.walker: Walker = imitation.walker
        self.physics = imitation.physics
        self.control_timestep = imitation.config.physics.control_timestep
        model = self.physics.model
        self._root = imitation.walker.root
        self._free_body = int(model.jnt_bodyid[0])
        self._activated = np.flatnonzero(model.actuator_actnum)
        self._pose_control = None
        if len(self._activated) and not imitation.config.walker.torque_actuators:
            self._pose_control = PoseControl(model)
        body = imitation.observation_sizes["proprioception"]
        self.observation_sizes = {"goal": goal.observation_size, "body": body}
        is_scratch = low_level.mode == "scratch"
        self.action_size = model.nu if is_scratch else low_level.student.latent_dim
        self.episode_steps = round(goal.episode_s / self.control_timestep)
        self._redraw = None
        if goal.redraw_s is not None:
            self._redraw = round(goal.redraw_s / self.control_timestep)

    def reset(
        self, key: jax.Array, data: DownstreamData, where: jax.Array | bool = True
    ) -> DownstreamState:
        """See `Task`."""
        key, goal_key, clip_key, frame_key = jax.random.split(key, 4)
        clips = data.starts
        clip = jax.random.randint(clip_key, (), 0, clips.num_clips)
        first = clips.at(
            clip, jax.random.randint(frame_key, (), 0, jnp.asarray(clips.lengths)[clip])
        )
        act = None
        if self._pose_control is not None:
            act = jnp.clip(self._pose_control.hold(first.joints), -1.0, 1.0)[self._activated]
        qpos, qvel = first.qpos(), first.qvel()
        physics = self.physics.reset(qpos, qvel, where, None, act)
        state = DownstreamState(
            physics=physics,
            goal=None,
            controls=jnp.zeros((2, self.physics.model.nu)),
            previous_qpos=qpos,
            pace=jnp.zeros(3),
            num_steps=jnp.int32(0),
            key=key,
        )
        state = state.replace(pace=self._pace(state))
        return state.replace(goal=self.goal.draw(goal_key, self._motion(state)))

    def observe(self, state: DownstreamState, data: DownstreamData) -> Observation:
        """See `Task`."""
        goal = self.goal.observe(self._motion(state), state.goal)
        return Observation.of(goal=goal, body=self._body(state))

    def step(
        self, state: DownstreamState, action: jax.Array, data: DownstreamData
    ) -> tuple[DownstreamState, StepOutcome]:
        """See `Task`."""
        low_level = data.low_level
        control, distance = low_level.control(self._body(state), action)
        physics = self.physics.step(state.physics, control)
        moved = state.replace(
            physics=physics,
            previous_qpos=state.physics.qpos,
            controls=jnp.stack([state.controls[1], control]),
            num_steps=state.num_steps + 1,
        )
        moved = moved.replace(pace=self._averaged(moved))
        motion = self._motion(moved)
        lowest = self.walker.floor_height + FALLEN_M
        fell = fallen(motion.seen, None, self.walker, lowest=lowest, tilt_deg=FALLEN_DEG)
        measures = self.goal.measures(motion, state.goal)
        if low_level.mode != "scratch":
            measures |= {
                "latent_distance": distance,
                "beyond_prior": 1.0 * (distance > low_level.radius),
            }
        outcome = StepOutcome.of(
            physics,
            terms=self.goal.terms(motion, state.goal),
            failures={"fall": fell},
            truncated=moved.num_steps >= self.episode_steps,
            distances=measures,
        )
        return self._redrawn(moved), outcome

    def _redrawn(self, state: DownstreamState) -> DownstreamState:
        if self._redraw is None:
            return state
        key, goal_key = jax.random.split(state.key)
        is_time = state.num_steps % self._redraw == 0
        fresh = self.goal.draw(goal_key, self._motion(state))
        goal = jax.tree.map(lambda new, old: jnp.where(is_time, new, old), fresh, state.goal)
        return state.replace(goal=goal, key=jnp.where(is_time, key, state.key))

    def _body(self, state: DownstreamState) -> jax.Array:
        return self._imitation.proprioception(state.physics, state.previous_qpos, state.controls)

    def _motion(self, state: DownstreamState) -> Motion:
        seen = term_state(
            state.physics,
            self.walker,
            self.control_timestep,
            previous_qpos=state.previous_qpos,
            action=state.controls[1],
            previous_action=state.controls[0],
        )
        forward, sideways, turning = state.pace
        return Motion(
            position=state.physics.xpos[self.walker.root_body],
            heading=self._heading(state),
            forward=forward,
            sideways=sideways,
            turning=turning,
            seen=seen,
        )

    def _heading(self, state: DownstreamState) -> jax.Array:
        facing = state.physics.xmat[self.walker.root_body, :2, 0]
        return facing / jnp.maximum(jnp.linalg.norm(facing), 1e-6)

    def _averaged(self, state: DownstreamState) -> jax.Array:
        """The running averages, with the motion of the last control step in them."""
        share = min(self.control_timestep / AVERAGED_S, 1.0)
        return state.pace + share * (self._pace(state) - state.pace)

    def _pace(self, state: DownstreamState) -> jax.Array:
        """[3] Forward and sideways speed, and turning rate, now."""
        physics, (x, y) = state.physics, self._heading(state)
        velocity = physics.qvel[self._root.velocity]
        spin = physics.xmat[self._free_body] @ physics.qvel[self._root.angular_velocity]
        forward = velocity[0] * x + velocity[1] * y
        return jnp.stack([forward, velocity[1] * x - velocity[0] * y, spin[2]])
