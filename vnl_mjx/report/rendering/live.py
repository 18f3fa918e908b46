"""Runs viewable policies, whose latent can be moved by hand, in episodes that go step by step."""

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
    """Decodes a student's posterior mean plus an offset [episode, latent]; `extra` is the mean."""

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
    """Holds a policy to view.

    Attributes:
        latent_dim: size of the decoded latent.
        actor_fn: function of an offset [episode, latent] of the latent and of the noise scale (1: as
            learnt; policies that follow a clip have no noise).
        ending: function that ends an episode; None: the task's.
        follows: whether it follows a clip; otherwise it only starts from one.
    """

    latent_dim: int
    actor_fn: Callable[[jax.Array, float], Policy]
    ending: EndFunction | None
    follows: bool = True

    def actor(self, num_episodes: int = 1, noise: float = 1.0) -> Policy:
        """The policy without offset."""
        return self.actor_fn(jnp.zeros((num_episodes, self.latent_dim)), noise)


def viewed_teacher(policy: FrozenPolicy) -> ViewedPolicy:
    """Returns a teacher to view."""
    return ViewedPolicy(
        policy.config.latent_dim, lambda offset, noise: TeacherPolicy(policy, offset=offset), None
    )


def viewed_student_policies(
    task: ImitationTask, clips: ReferenceClips, loaded: LoadedStudent
) -> dict[str, ViewedPolicy]:
    """Returns a student, its teacher, and its prior, whose falls are judged by `clips`."""
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
    """Holds the result of a control step: poses [nq] of simulation and reference, and the end.

    `reference_qpos` is the frame that the reward read, the clip's last frame after its end, and None if no
    clip is followed. `extra` holds further outputs of the policy, [1, ...] each (`Acted.extra`). For a
    task, `marks` are places [mark, 3] to show, NaN for none, and `measures` are the goal's.
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
        """Returns the step without its reference."""
        return replace(self, reference_qpos=None)


class LiveEpisode:
    """Runs one environment of a task; the policy may change from step to step."""

    def __init__(self, task: ImitationTask, clips: ReferenceClips, seed: int = 0):
        """Compiles nothing yet; the first step of each kind of actor compiles.

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
        """Starts at a frame of a clip."""
        self._key, key = jax.random.split(self._key)
        where = np.array([clip], np.int32), np.array([start_frame], np.int32)
        self._environments = self._runner(None).start(self._clips, Episodes(*where, key[None]))
        self._policy, self.num_steps, self._clip = None, 0, clip
        qpos = np.asarray(self._environments.physics.qpos)[0]
        return LiveStep(qpos, self._reference(start_frame), 0.0, False, False)

    def step(self, policy: ViewedPolicy, actor: Policy) -> LiveStep:
        """Makes one control step; `actor` comes from `policy`, whose ending counts."""
        if self._policy is not policy:  # whose memory starts here
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
    """Returns the standard deviation [latent] of a policy's decoded mean over parts of some clips."""
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
