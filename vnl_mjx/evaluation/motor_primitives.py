"""The student's decoder acting without a reference: driven by its prior, or by given latents."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.evaluation.rollout import Acted
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import Gaussian, StudentVAE


@flax.struct.dataclass
class SeenPrior:
    """What the prior said of a visited state and what was decoded, [..., episode, latent] each.

    Attributes:
        latent: that was decoded.
        prior: of the student in this state.
    """

    latent: jax.Array
    prior: Gaussian


@flax.struct.dataclass
class PriorMemory:
    """Noise of the last step.

    Attributes:
        noise: [episode, latent] standard normal.
        started: [] bool, whether there was a last step.
    """

    noise: jax.Array
    started: jax.Array


@flax.struct.dataclass
class PriorActor:
    """Decodes latents around the prior mean: mean + std * noise + offset.

    Every number is traced: whatever they are, it is one compiled program. `prior_actor` fills them in.

    Attributes:
        params: the student's.
        teacher: its statistics normalise what is seen.
        std_scale: [] factor of the learned standard deviation; 0 acts at the mean.
        fixed_std: [] standard deviation of every dimension in its place; NaN for the learned one.
        correlation: [] in [0, 1) of a dimension's noise between two control steps. Noise that is drawn
            anew in each step is jitter rather than an intention.
        offset: [episode, latent] added to each latent.
        student: static; the student's functions.
    """

    params: Any
    teacher: FrozenPolicy
    std_scale: jax.Array
    fixed_std: jax.Array
    correlation: jax.Array
    offset: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_episodes: int) -> PriorMemory:
        """See `Actor`."""
        noise = jnp.zeros((num_episodes, self.student.config.latent_dim))
        return PriorMemory(noise, jnp.bool_(False))

    def act(self, observation: jax.Array, memory: PriorMemory, key: jax.Array) -> Acted:
        """See `Actor`; `seen` is `SeenPrior`."""
        proprioception = _proprioception(self.teacher, observation)
        prior = self.student.prior(self.params, proprioception)
        fresh = jax.random.normal(key, prior.mean.shape, prior.mean.dtype)
        # a stationary AR(1) process: its variance is 1 from the first step on
        kept = jnp.where(memory.started, self.correlation, 0.0)
        noise = kept * memory.noise + jnp.sqrt(1.0 - jnp.square(kept)) * fresh
        learned = self.std_scale * jnp.exp(0.5 * prior.logvar)
        std = jnp.where(jnp.isnan(self.fixed_std), learned, self.fixed_std)
        latent = prior.mean + std * noise + self.offset
        action = self.student.decode(self.params, proprioception, latent)
        return Acted(action, PriorMemory(noise, jnp.bool_(True)), SeenPrior(latent, prior))


def prior_actor(
    params: Any,
    teacher: FrozenPolicy,
    student: StudentVAE,
    num_episodes: int,
    *,
    std_scale: float = 1.0,
    fixed_std: float | None = None,
    correlation: float = 0.0,
    offset: jax.Array | None = None,
) -> PriorActor:
    """A `PriorActor`; `fixed_std` None for the learned, `offset` [episode, latent] None for zero."""
    if not 0.0 <= correlation < 1.0:
        raise ValueError(f"{correlation=} must be in [0, 1)")
    shape = num_episodes, student.config.latent_dim
    if offset is not None and jnp.shape(offset) != shape:
        raise ValueError(f"{jnp.shape(offset)=} must be {shape}, [episode, latent]")
    return PriorActor(
        params=params,
        teacher=teacher,
        std_scale=jnp.float32(std_scale),
        fixed_std=jnp.float32(jnp.nan if fixed_std is None else fixed_std),
        correlation=jnp.float32(correlation),
        offset=jnp.zeros(shape) if offset is None else jnp.asarray(offset, jnp.float32),
        student=student,
    )


@flax.struct.dataclass
class LatentActor:
    """Decodes given latents, one after another; the last one for as long as it is asked.

    Attributes:
        params: the student's.
        teacher: its statistics normalise what is seen.
        latents: [time, episode, latent], one per control step.
        student: static; the student's functions.
    """

    params: Any
    teacher: FrozenPolicy
    latents: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_episodes: int) -> jax.Array:
        """See `Actor`; the memory is the control step, [] int32.

        Raises:
            ValueError: the latents are not those of `num_episodes` episodes of this student.
        """
        expected = num_episodes, self.student.config.latent_dim
        if self.latents.ndim != 3 or self.latents.shape[1:] != expected:
            raise ValueError(f"{self.latents.shape=} must be (time, *{expected})")
        return jnp.int32(0)

    def act(self, observation: jax.Array, memory: jax.Array, key: jax.Array) -> Acted:
        """See `Actor`; `seen` is `SeenPrior`, `key` is not used."""
        proprioception = _proprioception(self.teacher, observation)
        latent = jnp.asarray(self.latents)[jnp.minimum(memory, len(self.latents) - 1)]
        action = self.student.decode(self.params, proprioception, latent)
        prior = self.student.prior(self.params, proprioception)
        return Acted(action, memory + 1, SeenPrior(latent, prior))


def _proprioception(teacher: FrozenPolicy, observation: jax.Array) -> jax.Array:
    """Normalised, [episode, proprioception], of what the task shows."""
    return teacher.split(teacher.normalize(observation))[1]
