"""Small batches for the PPO objective."""

from functools import cache, partial
from typing import Any

import jax
import numpy as np

from vnl_mjx.config.ppo import PpoSection
from vnl_mjx.models.intention import IntentionOutput
from vnl_mjx.training.learner import reduced
from vnl_mjx.training.ppo_losses import ActedSteps, ppo_loss
from vnl_mjx.training.segments import Segment

TIME, ENVS, ACTIONS, LATENT = 6, 5, 3, 4
KEY = jax.random.PRNGKey(7)
CONFIG = PpoSection(discount=0.9, gae_lambda=0.8, reward_scale=0.5, clip_epsilon=0.2)
# Upstream means over latent dimensions, and weights by 0.3.
WEIGHTS = {
    "policy": 1.0,
    "value": 0.25,
    "negative_entropy": 0.02,
    "latent_kl": 0.0,
    "latent_ar1_kl": 0.3 / LATENT,
    "guidance": 0.0,
    "action_std_distance": 0.0,
}


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
    steps = ActedSteps(
        observation=np.zeros((*grid, 2), np.float32),
        latent_noise=np.zeros((*grid, LATENT), np.float32),
        raw_action=raw_action,
        logits=logits + normal(*grid, 2 * ACTIONS, scale=0.1),
        log_prob=log_prob(logits, raw_action) + normal(*grid, scale=0.4),
        reward=normal(*grid),
        terminated=flags((2, 1)),
        truncated=flags((3, 2)),
        guide=None,
    )
    starts = flags((0, slice(None)))
    return params, Segment(steps, starts, ~flags(), (), np.zeros((ENVS, 2), np.float32))


# Compiling is most of what these tests do.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def loss_and_grads(
    params, segment, weights=WEIGHTS, config=CONFIG, model: Any = TABLE
) -> tuple[dict[str, Any], Any]:
    """Means of the loss of observations that are not normalised, and the gradient of its total."""
    return _compiled(config_key(config), model)(params, segment, weights)


_CONFIGS: dict[str, PpoSection] = {}


def config_key(config: PpoSection) -> str:
    """A key to find `config` by: it holds a dictionary, so it has no hash."""
    _CONFIGS[repr(config)] = config
    return repr(config)


@cache
def _compiled(key: str, model: Any) -> Any:
    config = _CONFIGS[key]

    @quick_jit
    def run(params, segment, weights):
        def total(params):
            terms = ppo_loss(params, model, segment, lambda obs: obs, KEY, config)
            known = {name: weight for name, weight in weights.items() if name in terms}
            means = reduced(terms, segment.contained(), known)
            return means["total"], means

        grads, means = jax.grad(total, has_aux=True)(params)
        return means, grads

    return run
