"""Student against teacher: the same clips, start frames and noise, each episode once, no auto-reset."""

from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import Gaussian, StudentVAE
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.vae_distillation import DistillationState, Label, VaeDistillationTask

# Observations this many standard deviations from the teacher's mean are rare where the layout is right.
FAR_SIGMA = 10.0
# Entries whose standard deviation is at the floor never varied: their distance says nothing.
_FLOOR_STD = 1e-5


@flax.struct.dataclass
class Episodes:
    """Where episodes start, [episode] each.

    Attributes:
        clip: int32, index into the clips.
        start_frame: int32, frame of the clip.
        key: [episode, 2] uint32, of the start's noise.
    """

    clip: jax.Array
    start_frame: jax.Array
    key: jax.Array


@flax.struct.dataclass
class Trajectories:
    """What happened, [time, episode, ...]. Entries where `alive` is false mean nothing.

    Attributes:
        alive: bool, the episode had not ended before this step.
        reward: float, of this step.
        terms: named reward terms.
        distances: named squared distances to the reference.
        terminated: bool, this step failed.
        diverged: bool, this step's simulation met NaN.
        frame: int32, reference frame before the step.
        student_action: [.., nu] at the visited state.
        teacher_action: [.., nu] at the visited state.
        posterior: of the student at the visited state.
        prior: of the student at the visited state.
        far_share: share of the observation beyond `FAR_SIGMA` of the teacher's statistics.
    """

    alive: jax.Array
    reward: jax.Array
    terms: dict[str, jax.Array]
    distances: dict[str, jax.Array]
    terminated: jax.Array
    diverged: jax.Array
    frame: jax.Array
    student_action: jax.Array
    teacher_action: jax.Array
    posterior: Gaussian
    prior: Gaussian
    far_share: jax.Array


@flax.struct.dataclass
class Comparison:
    """The two rollouts of one evaluation: the student acts in one, the teacher in the other."""

    episodes: Episodes
    student: Trajectories
    teacher: Trajectories


def draw_episodes(
    task: VaeDistillationTask, clips: ReferenceClips, num_episodes: int, seed: int
) -> Episodes:
    """Goes round the clips: first each from its first frame, then from random ones."""
    frame_key, noise_key = jax.random.split(jax.random.PRNGKey(seed))
    clip = jnp.arange(num_episodes, dtype=jnp.int32) % clips.num_clips
    imitation = task.imitation
    num_starts = jnp.asarray(clips.lengths)[clip] - imitation.frames_needed + 1
    num_starts = jnp.minimum(num_starts, imitation.config.start_frame_range)
    drawn = jax.random.randint(frame_key, (num_episodes,), 0, num_starts)
    first_round = jnp.arange(num_episodes) < clips.num_clips
    return Episodes(
        clip=clip,
        start_frame=jnp.where(first_round, 0, drawn).astype(jnp.int32),
        key=jax.random.split(noise_key, num_episodes),
    )


class Evaluator:
    """Compiles once and serves every evaluation of a run."""

    def __init__(self, task: VaeDistillationTask, student: StudentVAE, deterministic: bool = True):
        """Takes the functions; parameters, policies and clips come with each call.

        Args:
            task: the task of the teacher.
            student: the student's functions.
            deterministic: the student acts at the posterior mean, else at a sample.
        """
        self._task, self._student, self._deterministic = task, student, deterministic
        self._run = jax.jit(partial(_run, task, student, deterministic))
        self._draw = jax.jit(partial(draw_episodes, task), static_argnums=1)

    def compare(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        seed: int,
    ) -> Comparison:
        """Runs `num_episodes` with the student acting, then the same with the teacher."""
        run = partial(self.rollout, params, teacher, clips, num_episodes, seed)
        return Comparison(
            self._draw(clips, num_episodes, seed),
            student=run(student_acts=True),
            teacher=run(student_acts=False),
        )

    def rollout(
        self,
        params: Any,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        num_episodes: int,
        seed: int,
        *,
        student_acts: bool,
    ) -> Trajectories:
        """Runs the episodes that `seed` draws with one of the two acting."""
        episodes = self._draw(clips, num_episodes, seed)
        key = jax.random.PRNGKey(seed + 1)
        return self._run(params, teacher, clips, episodes, key, jnp.bool_(student_acts))


def _run(
    task: VaeDistillationTask,
    student: StudentVAE,
    deterministic: bool,
    params: Any,
    teacher: FrozenPolicy,
    clips: ReferenceClips,
    episodes: Episodes,
    key: jax.Array,
    student_acts: jax.Array,
) -> Trajectories:
    imitation = task.imitation
    num_episodes = episodes.clip.shape[0]
    start = jax.vmap(lambda e: imitation.reset_to(e.key, clips, e.clip, e.start_frame, e.key))
    state = DistillationState(
        imitation=start(episodes),
        memory=teacher.initial_memory((num_episodes,)),
        episode_reward=jnp.zeros(num_episodes),
    )

    def control_step(carry, key):
        state, alive = carry
        frame = jax.vmap(imitation.frame)(state.imitation)
        state, label = task.label(state, teacher, clips)
        posterior = student.encode(params, label.proprioception, label.reference)
        latent = posterior.mean if deterministic else posterior.sample(key)
        student_action = student.decode(params, label.proprioception, latent)
        action = jnp.where(student_acts, student_action, label.teacher_action)
        state, outcome = task.step(state, action, clips)
        step = Trajectories(
            alive=alive,
            reward=outcome.reward,
            terms=outcome.terms,
            distances=outcome.distances,
            terminated=outcome.terminated,
            diverged=outcome.failures["nan"],
            frame=frame,
            student_action=student_action,
            teacher_action=label.teacher_action,
            posterior=posterior,
            prior=student.prior(params, label.proprioception),
            far_share=_far_share(label, teacher),
        )
        return (state, alive & ~(outcome.terminated | outcome.truncated)), step

    def nothing(carry, key):
        _, shapes = jax.eval_shape(control_step, carry, key)
        return carry, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def step_while_any_lives(carry, key):
        return jax.lax.cond(jnp.any(carry[1]), control_step, nothing, carry, key)

    keys = jax.random.split(key, imitation.max_episode_steps)
    start_carry = (state, jnp.ones(num_episodes, bool))
    _, trajectories = jax.lax.scan(step_while_any_lives, start_carry, keys)
    return trajectories


def _far_share(label: Label, teacher: FrozenPolicy) -> jax.Array:
    normalized = jnp.concatenate([label.reference, label.proprioception], axis=-1)
    informative = teacher.obs_std > _FLOOR_STD
    far = jnp.sum((jnp.abs(normalized) > FAR_SIGMA) & informative, axis=-1)
    return far / jnp.maximum(jnp.sum(informative), 1)
