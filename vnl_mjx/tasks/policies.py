"""Defines policies, which act in environments; all are pytrees with one interface."""

from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.latents import Gaussian
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.environment import Observation


class Acted(NamedTuple):
    """Holds a policy's output in one step of all environments.

    Attributes:
        action: [num_envs, action_size] in [-1, 1].
        memory: memory for its next step.
        extra: a pytree of [num_envs, ...] arrays that a rollout may record.
    """

    action: jax.Array
    memory: Any
    extra: Any


class Policy(Protocol):
    """Defines a policy: a pytree, so that other parameters of equal sizes need no compilation."""

    def initial_memory(self, num_envs: int) -> Any:
        """Returns the memory at the start of an episode: arrays of [num_envs, ...], or ()."""
        ...

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """Makes one step from raw observations, parts of [num_envs, size]."""
        ...


@flax.struct.dataclass
class GivenAction:
    """Takes the observation for the action, within [-1, 1]: of a guide, for example."""

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return ()

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        return Acted(jnp.clip(observation.flat(), -1.0, 1.0), (), ())


@flax.struct.dataclass
class TeacherPolicy:
    """Acts as a teacher.

    Attributes:
        policy: its network and observation statistics.
        sampled: static; draw latents and actions, otherwise act at the modes.
        offset: [num_envs, latent] added to the latent mean, which is then decoded; None: no offset.
    """

    policy: FrozenPolicy
    sampled: bool = flax.struct.field(pytree_node=False, default=False)
    offset: jax.Array | None = None

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return self.policy.initial_memory((num_envs,))

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`; `extra` is the latent mean [num_envs, latent]."""
        flat = observation.flat()
        output = self.policy.act(flat, memory, key=key if self.sampled else None)
        mean = output.latent_mean
        if self.offset is not None:
            output = self.policy.act(flat, memory, latent=mean + self.offset)
        return Acted(output.action, output.memory, mean)


@flax.struct.dataclass
class PriorRecord:
    """Records the prior and the decoded latent of a visited state, [..., num_envs, latent] each.

    Attributes:
        latent: the decoded latent.
        prior: the student's prior in this state, a `Latent`.
    """

    latent: jax.Array
    prior: Any


@flax.struct.dataclass
class PriorMemory:
    """Holds the noise of the last step.

    Attributes:
        noise: [num_envs, latent] standard normal.
        started: [num_envs] bool, whether there was a last step.
        student: the student's own memory; () of a feed-forward one.
    """

    noise: jax.Array
    started: jax.Array
    student: Any


@flax.struct.dataclass
class PriorPolicy:
    """Decodes latents around the prior mean: mean_scale * mean + std * noise + offset.

    With a prior that is not Gaussian: a sample (the mode at `std_scale` 0) + offset.

    Every number is traced, so all values share one compiled program. `prior_policy` fills them in.

    Attributes:
        params: the student's.
        teacher: its statistics normalise the observations.
        std_scale: [] factor of the learned standard deviation; 0 acts at the mean.
        fixed_std: [] fixed standard deviation of every dimension; NaN for the learned one.
        correlation: [] in [0, 1), correlation of a dimension's noise between two control steps. Independent
            noise in each step is jitter rather than an intention.
        mean_scale: [] factor of the prior mean; 0 draws latents independent of the body.
        action_scale: [] factor of the action; 0 does nothing for any latent.
        offset: [num_envs, latent] added to each latent.
        student: static; the student's functions.
    """

    params: Any
    teacher: FrozenPolicy
    std_scale: jax.Array
    fixed_std: jax.Array
    correlation: jax.Array
    mean_scale: jax.Array
    action_scale: jax.Array
    offset: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs: int) -> PriorMemory:
        """See `Policy`."""
        noise = jnp.zeros((num_envs, self.student.config.latent_dim))
        started = jnp.zeros(num_envs, bool)
        return PriorMemory(noise, started, self.student.initial_memory((num_envs,)))

    def act(self, observation: Observation, memory: PriorMemory, key: jax.Array) -> Acted:
        """See `Policy`; `extra` is `PriorRecord`."""
        context, student_memory = _context(self, observation, memory.student)
        prior = self.student.prior(self.params, context)
        if isinstance(prior, Gaussian):
            fresh = jax.random.normal(key, prior.mean.shape, prior.mean.dtype)
            # a stationary AR(1) process: its variance is 1 from the first step on
            kept = jnp.where(memory.started, self.correlation, 0.0)[:, None]
            noise = kept * memory.noise + jnp.sqrt(1.0 - jnp.square(kept)) * fresh
            learned = self.std_scale * jnp.exp(0.5 * prior.logvar)
            std = jnp.where(jnp.isnan(self.fixed_std), learned, self.fixed_std)
            latent = self.mean_scale * prior.mean + std * noise + self.offset
        else:
            noise = memory.noise
            latent = jnp.where(self.std_scale > 0, prior.sample(key), prior.mode()) + self.offset
        action = self.action_scale * self.student.decode(self.params, context, latent)
        started = jnp.ones_like(memory.started)
        return Acted(
            action, PriorMemory(noise, started, student_memory), PriorRecord(latent, prior)
        )


def prior_policy(
    params: Any,
    teacher: FrozenPolicy,
    student: StudentVAE,
    num_envs: int,
    *,
    std_scale: float = 1.0,
    fixed_std: float | None = None,
    correlation: float = 0.0,
    mean_scale: float = 1.0,
    action_scale: float = 1.0,
    offset: jax.Array | None = None,
) -> PriorPolicy:
    """Returns a `PriorPolicy`; `fixed_std` None: the learned one; `offset` [num_envs, latent] None: 0."""
    if not 0.0 <= correlation < 1.0:
        raise ValueError(f"{correlation=} must be in [0, 1)")
    if (fixed_std is not None or correlation) and not student.is_gaussian:
        raise ValueError(f"{fixed_std=} and {correlation=} need a Gaussian prior")
    shape = num_envs, student.config.latent_dim
    if offset is not None and jnp.shape(offset) != shape:
        raise ValueError(f"{jnp.shape(offset)=} must be {shape}, [num_envs, latent]")
    return PriorPolicy(
        params=params,
        teacher=teacher,
        std_scale=jnp.float32(std_scale),
        fixed_std=jnp.float32(jnp.nan if fixed_std is None else fixed_std),
        correlation=jnp.float32(correlation),
        mean_scale=jnp.float32(mean_scale),
        action_scale=jnp.float32(action_scale),
        offset=jnp.zeros(shape) if offset is None else jnp.asarray(offset, jnp.float32),
        student=student,
    )


@flax.struct.dataclass
class LatentPolicy:
    """Decodes given latents one after another, and then repeats the last one.

    Attributes:
        params: the student's.
        teacher: its statistics normalise the observations.
        latents: [time, num_envs, latent], one per control step.
        student: static; the student's functions.
    """

    params: Any
    teacher: FrozenPolicy
    latents: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs: int) -> tuple[jax.Array, Any]:
        """See `Policy`; the memory is the control step, [num_envs] int32, and the student's own.

        Raises:
            ValueError: the latents are not those of `num_envs` environments of this student.
        """
        expected = num_envs, self.student.config.latent_dim
        if self.latents.ndim != 3 or self.latents.shape[1:] != expected:
            raise ValueError(f"{self.latents.shape=} must be (time, *{expected})")
        return jnp.zeros(num_envs, jnp.int32), self.student.initial_memory((num_envs,))

    def act(self, observation: Observation, memory: tuple[jax.Array, Any], key: jax.Array) -> Acted:
        """See `Policy`; `extra` is `PriorRecord`, `key` is not used."""
        step, student_memory = memory
        context, student_memory = _context(self, observation, student_memory)
        rows = jnp.minimum(step, len(self.latents) - 1)
        latent = jnp.asarray(self.latents)[rows, jnp.arange(len(rows))]
        action = self.student.decode(self.params, context, latent)
        prior = self.student.prior(self.params, context)
        return Acted(action, (step + 1, student_memory), PriorRecord(latent, prior))


def _context(
    policy: PriorPolicy | LatentPolicy, observation: Observation, memory: Any
) -> tuple[jax.Array, Any]:
    """Returns the context that the student's networks read, and the next memory."""
    teacher = policy.teacher
    proprioception = teacher.split(teacher.normalize(observation.flat()))[1]
    return policy.student.context(policy.params, proprioception, memory)
