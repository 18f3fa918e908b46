"""Policies that can be viewed, with a latent that is moved by hand, and an episode that goes step by step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.prior_rollouts import fallen, prior_modes
from vnl_mjx.evaluation.rollout import EndFunction, EpisodeRunner, Episodes
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import Acted, Policy, PriorRecord, TeacherPolicy, prior_policy
from vnl_mjx.training.rollout import begin
from vnl_mjx.utils.vae_checkpointing import LoadedStudent

_ACTIVITY_CLIPS = 4
_ACTIVITY_S = 1.5


@flax.struct.dataclass
class SteeredStudent:
    """A student that decodes its posterior mean and an offset [episode, latent]; `extra` is the mean."""

    params: Any
    teacher: FrozenPolicy
    offset: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_episodes: int) -> Any:
        """See `Policy`."""
        return self.student.initial_memory((num_episodes,))

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        reference, body = self.teacher.split(self.teacher.normalize(observation.flat()))
        context, memory = self.student.context(self.params, body, memory)
        mean = self.student.encode(self.params, context, reference).mode()
        action = self.student.decode(self.params, context, mean + self.offset)
        return Acted(action, memory, mean)


@dataclass(frozen=True)
class ViewedPolicy:
    """A policy to view.

    Attributes:
        latent_dim: of what it decodes.
        actor_fn: of an offset [episode, latent] to the latent, and of how much noise there is, where 1
            is as much as was learnt; those who follow have none.
        ending: when an episode is over; None: as the task says.
        follows: a clip; else it starts from one and goes where it likes.
    """

    latent_dim: int
    actor_fn: Callable[[jax.Array, float], Policy]
    ending: EndFunction | None
    follows: bool = True

    def actor(self, num_episodes: int = 1, noise: float = 1.0) -> Policy:
        """As it acts by itself."""
        return self.actor_fn(jnp.zeros((num_episodes, self.latent_dim)), noise)


def viewed_teacher(policy: FrozenPolicy) -> ViewedPolicy:
    """A teacher."""
    return ViewedPolicy(
        policy.config.latent_dim, lambda offset, noise: TeacherPolicy(policy, offset=offset), None
    )


def viewed_student_policies(
    task: ImitationTask, clips: ReferenceClips, loaded: LoadedStudent
) -> dict[str, ViewedPolicy]:
    """A student, its teacher, and the student's prior, which falls as `clips` say what standing is."""
    params, teacher, student = loaded.params, loaded.teacher, loaded.student
    size = student.config.latent_dim
    control_hz = 1.0 / task.config.physics.control_timestep
    correlation = prior_modes()["smooth"].correlation(control_hz) if student.is_gaussian else 0.0

    def prior(offset: jax.Array, noise: float) -> Policy:
        return prior_policy(
            params,
            teacher,
            student,
            len(offset),
            std_scale=noise,
            correlation=correlation,
            offset=offset,
        )

    return {
        "student": ViewedPolicy(
            size, lambda offset, noise: SteeredStudent(params, teacher, offset, student), None
        ),
        "teacher": viewed_teacher(teacher),
        "prior": ViewedPolicy(size, prior, fallen(task.walker, clips), follows=False),
    }


@dataclass(frozen=True)
class LiveStep:
    """What a control step led to: poses [nq] of simulation and reference, and whether it ended the episode.

    `reference_qpos` is of the frame that the reward read, the clip's last once it is over, and None where
    nothing is followed; `extra` is what the policy gave of the step, [1, ...] each (`Acted.extra`). Of a
    task `marks` are places [mark, 3] to be shown, NaN for none, and `measures` say how well it is done.
    """

    qpos: np.ndarray
    reference_qpos: np.ndarray | None
    reward: float
    failed: bool
    over: bool
    extra: Any = None
    marks: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def alone(self) -> "LiveStep":
        """Returns it without a reference, as of those who follow nothing."""
        return replace(self, reference_qpos=None)


class LiveEpisode:
    """One environment of a task; the policy, with one episode, may change from step to step."""

    def __init__(self, task: ImitationTask, clips: ReferenceClips, seed: int = 0):
        """Compiles nothing yet: that comes with the first step of each kind of actor.

        Raises:
            UserError: a clip is too short, or of another rate than the task's.
        """
        task.check_clips(clips)
        self.control_hz = 1.0 / task.config.physics.control_timestep
        self.num_clips, self.num_steps = clips.num_clips, 0
        self._clips, self._qpos = jax.tree.map(jnp.asarray, clips), np.asarray(clips.qpos())
        self._first = np.asarray(clips.starts)
        self._last = self._first + np.asarray(clips.lengths) - 1
        self._task, self._key = task, jax.random.PRNGKey(seed)
        self._runners: dict[EndFunction | None, EpisodeRunner] = {}
        self._policy: ViewedPolicy | None = None

    def start(self, clip: int, start_frame: int = 0) -> LiveStep:
        """Begins at a frame of a clip."""
        self._key, key = jax.random.split(self._key)
        where = np.array([clip], np.int32), np.array([start_frame], np.int32)
        self._environments = self._runner(None).start(self._clips, Episodes(*where, key[None]))
        self._policy, self.num_steps, self._clip = None, 0, clip
        qpos = np.asarray(self._environments.physics.qpos)[0]
        return LiveStep(qpos, self._reference(start_frame), 0.0, False, False)

    def step(self, policy: ViewedPolicy, actor: Policy) -> LiveStep:
        """Goes on by one control step; `actor` is one of `policy`, whose ending counts."""
        if self._policy is not policy:  # whose memory begins here
            self._policy = policy
            self._state = begin(self._environments, actor, 1)
        self._key, key = jax.random.split(self._key)
        advance = self._runner(policy.ending).advance
        self._state, steps = advance(actor, self._clips, self._state, key, 1)
        self._environments = self._state.environments
        self.num_steps += 1
        step = jax.tree.map(lambda x: np.asarray(x)[0], steps)
        return LiveStep(
            qpos=step.qpos[0],
            reference_qpos=self._reference(step.frame.item()),
            reward=step.reward.item(),
            failed=step.terminated.item(),
            over=step.truncated.item(),
            extra=step.extra,
        )

    def _runner(self, ending: EndFunction | None) -> EpisodeRunner:
        if ending not in self._runners:
            self._runners[ending] = EpisodeRunner(self._task, ending)
        return self._runners[ending]

    def _reference(self, frame: int) -> np.ndarray:
        return self._qpos[min(self._first[self._clip] + frame, self._last[self._clip])]


def latent_activity(episode: LiveEpisode, policy: ViewedPolicy) -> np.ndarray:
    """Standard deviation [latent] of the mean that a policy decodes, over parts of some clips."""
    actor, means = policy.actor(noise=0.0), []
    for clip in range(min(episode.num_clips, _ACTIVITY_CLIPS)):
        episode.start(clip)
        for _ in range(round(_ACTIVITY_S * episode.control_hz)):
            step = episode.step(policy, actor)
            seen = step.extra.prior.mode() if isinstance(step.extra, PriorRecord) else step.extra
            means.append(np.asarray(seen)[0])
            if step.failed or step.over:
                break
    return np.std(means, axis=0)
