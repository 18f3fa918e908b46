"""Small batches for the PPO objective."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.intention import IntentionOutput
from vnl_mjx.training.ppo_losses import LossWeights, PpoLoss, Segment, Steps, ppo_loss

TIME, ENVS, ACTIONS, LATENT = 6, 5, 3, 4
KEY = jax.random.PRNGKey(7)
CONFIG = PpoSection(discount=0.9, gae_lambda=0.8, reward_scale=0.5, clip_epsilon=0.2)
WEIGHTS = LossWeights(
    entropy=jnp.float32(0.02),
    latent_kl=jnp.float32(0.0),
    latent_ar1_kl=jnp.float32(0.3),
    guidance=jnp.float32(0.0),
    action_std=jnp.float32(0.0),
)


class Table:
    """A model whose parameters are its outputs: the loss alone is tested."""

    def unroll(self, params, obs, memory, starts, noise) -> IntentionOutput:
        return IntentionOutput(
            params["logits"], params["mean"], params["mean"], params["logvar"], memory
        )

    def value(self, params, obs) -> jax.Array:
        return params["last_value"] if obs.ndim == 2 else params["values"]


TABLE = Table()


def flags(*where: tuple[Any, ...]) -> np.ndarray:
    """Bool [time, env], true at `where`."""
    result = np.zeros((TIME, ENVS), bool)
    for index in where:
        result[index] = True
    return result


def log_prob(logits: np.ndarray, raw_action: np.ndarray) -> np.ndarray:
    """Log-density [...] of tanh(raw_action), in float64 within."""
    loc, raw_scale = np.split(np.asarray(logits, np.float64), 2, axis=-1)
    scale = np.logaddexp(raw_scale, 0.0) + 1e-3
    normal = -0.5 * ((raw_action - loc) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    squash = np.log1p(-(np.tanh(raw_action.astype(np.float64)) ** 2))
    return (normal - squash).sum(-1).astype(np.float32)


@cache
def random_batch(seed: int = 0) -> tuple[dict[str, Any], Segment]:
    """Outputs of a model and a segment, with a failure, a truncation, ratios on both sides of the clip."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=1.0):
        return rng.normal(0, scale, shape).astype(np.float32)

    grid = (TIME, ENVS)
    logits = normal(*grid, 2 * ACTIONS, scale=0.5)
    params = {
        "logits": logits,
        "mean": normal(*grid, LATENT),
        "logvar": normal(*grid, LATENT, scale=0.5),
        "values": normal(*grid),
        "last_value": normal(ENVS),
    }
    raw_action = normal(*grid, ACTIONS)
    steps = Steps(
        observation=np.zeros((*grid, 2), np.float32),
        latent_noise=np.zeros((*grid, LATENT), np.float32),
        raw_action=raw_action,
        logits=logits + normal(*grid, 2 * ACTIONS, scale=0.1),
        log_prob=log_prob(logits, raw_action) + normal(*grid, scale=0.4),
        starts=flags((0, slice(None))),
        reward=normal(*grid),
        terminated=flags((2, 1)),
        truncated=flags((3, 2)),
        valid=~flags(),
        guide=None,
    )
    return params, Segment(steps, (), np.zeros((ENVS, 2), np.float32))


# Compiling is most of what these tests do.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@partial(quick_jit, static_argnames=("config", "model"))
def loss_and_grads(
    params, segment, weights=WEIGHTS, config=CONFIG, model: Any = TABLE
) -> tuple[PpoLoss, Any]:
    """The loss of observations that are not normalised, and the gradient of its total."""

    def total(params):
        parts = ppo_loss(params, model, segment, lambda obs: obs, KEY, weights, config)
        return parts.total, parts

    grads, parts = jax.grad(total, has_aux=True)(params)
    return parts, grads
