"""Defines the imitation task: follow a reference clip in physics, as in track-mjx.

All methods are pure functions of one environment's state; `vmap` them for many. Two differences from
upstream are intended: a finished environment starts at a newly drawn clip and frame (upstream returns to a
cached first state and keeps the action window), and the end of a clip or of the time limit is a truncation,
not a failure.
"""

from fractions import Fraction

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import masking
from vnl_mjx.clips.container import ReferenceClips, check_clips_cover
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import Physics, PhysicsState
from vnl_mjx.tasks.environment import Observation, StepOutcome
from vnl_mjx.tasks.observations import ObservationFunctions
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.tasks.terms.errors import tracking_errors
from vnl_mjx.tasks.terms.rewards import reward_terms
from vnl_mjx.tasks.terms.state import term_state
from vnl_mjx.tasks.terms.terminations import distances, termination_terms
from vnl_mjx.walkers.walker import Walker


@flax.struct.dataclass
class ImitationState:
    """Holds the state of one environment.

    Attributes:
        physics: the simulation.
        clip: [] int32, index into the clips.
        start_frame: [] int32, frame of the clip at which the episode started.
        num_steps: [] int32, control steps since the reset.
        previous_action: [nu] control of the last step, zeros after a reset.
        action_window: [window, nu] last controls, oldest first, zeros before the episode.
        key: [2] uint32, this environment's random key.
        previous_qpos: [nq] pose one control step ago; None if no term of the observation reads it.
    """

    physics: PhysicsState
    clip: jax.Array
    start_frame: jax.Array
    num_steps: jax.Array
    previous_action: jax.Array
    action_window: jax.Array
    key: jax.Array
    previous_qpos: jax.Array | None = None


class ImitationTask:
    """Implements reset, step and observation of one environment on one physics back end.

    Attributes:
        layout: sizes of the observation.
        proprioception: `ObservationFunctions.proprioception`, which reads no clip, so that other tasks can
            use it.
    """

    def __init__(self, config: ImitationConfig, walker: Walker, physics: Physics):
        """Looks up every name once. `physics` simulates `walker`'s model.

        Raises:
            ValueError: `physics` has another number of variants than `config.randomization` asks for.
        """
        wanted = config.randomization.num_variants if config.randomization.ranges() else 0
        if physics.num_variants != wanted:
            raise ValueError(f"{physics.num_variants=}, the task's randomization asks for {wanted}")
        self.config = config
        self.walker = walker
        self.physics = physics
        self._observations = ObservationFunctions(config, walker, physics.model)
        self.proprioception = self._observations.proprioception
        self._reward = reward_terms(config.reward, config.termination)
        self._failures = termination_terms(config.termination)
        self.action_size = physics.model.nu
        self._pose_control = None
        # Of the actuators with an activation; a body's actuators may have none.
        self._activated = np.flatnonzero(physics.model.actuator_actnum)
        if config.initial_activation == "pose" and len(self._activated):
            self._pose_control = PoseControl(physics.model)
        self.layout = self._observations.layout(jax.eval_shape(physics.zeros))
        self.observation_sizes = {
            "reference": self.layout.reference_size,
            "proprioception": self.layout.proprioception_size,
        }
        self._action_window = max(
            config.reward.num_actions_read, self._observations.num_actions_read
        )
        # As integers, so that no rounding decides the frame of a step.
        self._frames_per_steps = (
            Fraction(config.mocap_hz * config.physics.control_timestep)
            .limit_denominator(1000)
            .as_integer_ratio()
        )
        self.max_episode_steps = round(
            config.episode_frames / (config.mocap_hz * config.physics.control_timestep)
        )

    @property
    def frames_needed(self) -> int:
        """The number of frames that a clip must have: the first, one step and the frames ahead."""
        return self.config.traj_length + 2

    def check_clips(self, clips: ReferenceClips) -> None:
        """Raises UserError for clips that this task cannot run on.

        Raises:
            UserError: a clip is shorter than `frames_needed`, or the frame rate differs.
        """
        check_clips_cover(clips, self.frames_needed)
        if abs(clips.rate_hz - self.config.mocap_hz) > 1e-3:
            raise UserError(
                f"{clips.source}: the clips run at {clips.rate_hz:g} Hz, the task expects "
                f"{self.config.mocap_hz:g} Hz; resample them (vnl-mjx preprocess IN OUT "
                f"resampling_config.rate_hz={self.config.mocap_hz:g}), or train a new teacher at their "
                f"rate (task.mocap_hz={clips.rate_hz:g})"
            )

    def reset(
        self,
        key: jax.Array,
        clips: ReferenceClips,
        where: jax.Array | bool = True,
        cumulative_weights: jax.Array | None = None,
    ) -> ImitationState:
        """Starts at a drawn clip and a uniformly drawn frame of it.

        Args:
            key: this environment's key.
            clips: clips to draw from.
            where: as in `Physics.reset`.
            cumulative_weights: [clip] cumulative sum of the clips' probabilities, up to a factor; None:
                uniform.
        """
        key, clip_key, frame_key, noise_key = jax.random.split(key, 4)
        if cumulative_weights is None:
            clip = jax.random.randint(clip_key, (), 0, clips.num_clips)
        else:
            drawn = jax.random.uniform(clip_key) * cumulative_weights[-1]
            clip = jnp.searchsorted(cumulative_weights, drawn, side="right")
            clip = jnp.minimum(clip, clips.num_clips - 1).astype(jnp.int32)
        last_start = jnp.asarray(clips.lengths)[clip] - self.frames_needed
        num_starts = jnp.minimum(self.config.start_frame_range, last_start + 1)
        start_frame = jax.random.randint(frame_key, (), 0, num_starts)
        return self.reset_to(key, clips, clip, start_frame, noise_key, where)

    def reset_to(
        self,
        key: jax.Array,
        clips: ReferenceClips,
        clip: jax.Array,
        start_frame: jax.Array,
        noise_key: jax.Array,
        where: jax.Array | bool = True,
    ) -> ImitationState:
        """Starts at a given clip and frame, at rest or moving (`initial_velocity`), with uniform noise.

        If the back end has variants of the body, `noise_key` also draws the variant.
        """
        variant = None
        if self.physics.num_variants:
            noise_key, variant_key = jax.random.split(noise_key)
            variant = jax.random.randint(variant_key, (), 0, self.physics.num_variants)
        frame = clips.at(clip, start_frame)
        qpos = frame.qpos()
        scale = self.config.reset_noise_scale
        qpos_key, qvel_key = jax.random.split(noise_key)
        qpos += jax.random.uniform(qpos_key, qpos.shape, minval=-scale, maxval=scale)
        qvel_shape = (self.physics.model.nv,)
        qvel = jax.random.uniform(qvel_key, qvel_shape, minval=-scale, maxval=scale)
        if self.config.initial_velocity == "reference":
            qvel += frame.qvel()
        act = None
        if self._pose_control is not None:
            act = jnp.clip(self._pose_control.hold(frame.joints), -1.0, 1.0)[self._activated]
        physics = self.physics.reset(qpos, qvel, where, variant, act)
        return ImitationState(
            physics=physics,
            previous_qpos=qpos if self._observations.needs_previous else None,
            clip=jnp.int32(clip),
            start_frame=jnp.int32(start_frame),
            num_steps=jnp.int32(0),
            previous_action=jnp.zeros(self.action_size),
            action_window=jnp.zeros((self._action_window, self.action_size)),
            key=key,
        )

    def frame(self, state: ImitationState) -> jax.Array:
        """Returns the environment's current reference frame, [] int32.

        The float32 floor of upstream (`_get_cur_frame`) falls one frame behind on most later steps of an
        episode, depending on the start frame. Its teachers were trained with it (`quirks.frame_lags`).
        """
        if not self.config.quirks.frame_lags:
            frames, steps = self._frames_per_steps
            return state.start_frame + state.num_steps * frames // steps
        # Time is never negative: the maximum keeps the compiler from fusing product and sum, which would
        # round once instead of twice.
        elapsed = jnp.maximum(state.physics.time * jnp.float32(self.config.mocap_hz), 0.0)
        return jnp.floor(elapsed + state.start_frame).astype(jnp.int32)

    def observe(self, state: ImitationState, clips: ReferenceClips) -> Observation:
        """Returns the policy's observation in `state`."""
        actions = state.action_window if self._observations.num_actions_read else None
        return self._observations.observe(
            state.physics, clips, state.clip, self.frame(state), state.previous_qpos, actions
        )

    def step(
        self, state: ImitationState, action: jax.Array, clips: ReferenceClips
    ) -> tuple[ImitationState, StepOutcome]:
        """Applies `action` [nu] for one control step. A finished environment is not reset here."""
        physics = self.physics.step(state.physics, action)
        window = jnp.concatenate([state.action_window, action[None]])[1:]
        moved = state.replace(
            physics=physics,
            num_steps=state.num_steps + 1,
            previous_action=action,
            action_window=window if self._action_window else state.action_window,
            previous_qpos=state.physics.qpos if self._observations.needs_previous else None,
        )
        return moved, self.evaluate(moved, action, state.previous_action, clips)

    def evaluate(
        self,
        moved: ImitationState,
        action: jax.Array,
        previous_action: jax.Array,
        clips: ReferenceClips,
    ) -> StepOutcome:
        """Computes reward, failures and truncation of the environment `moved`, after `action`."""
        frame = self.frame(moved)
        physics, walker = moved.physics, self.walker
        if self.config.quirks.ctrl_diff_is_zero:
            previous_action = action
        reference = clips.at(moved.clip, frame)
        state = term_state(
            physics,
            walker,
            self.config.physics.control_timestep,
            previous_qpos=moved.previous_qpos,
            action=action,
            previous_action=previous_action,
            actions=moved.action_window,
            root_lags=self.config.quirks.root_lags,
        )
        errors = tracking_errors(state, reference, walker, self.config.quirks)
        state = state.replace(errors=errors, distances=distances(errors, self.config.termination))
        last = jnp.asarray(clips.lengths)[moved.clip] - 1 - self.config.traj_length
        clip_ended = frame >= last + self.config.quirks.late_end
        time_is_up = moved.num_steps >= self.max_episode_steps
        return StepOutcome.of(
            physics,
            terms=self._reward(state, reference, walker),
            failures={n: term(state, reference, walker) for n, term in self._failures.items()},
            truncated=clip_ended | time_is_up,
            distances=state.distances,
        )

    def reset_where(
        self, done: jax.Array, state: ImitationState, clips: ReferenceClips
    ) -> ImitationState:
        """Resets the environment if `done` [] bool; on the CPU, only finished environments cost time."""
        return masking.where(done, self.reset(state.key, clips, done), state)
