"""Defines layers with track-mjx's order and names, for teachers and their value network."""

from collections.abc import Callable

import flax.linen as nn
import jax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "relu": nn.relu,
    "silu": nn.silu,
    "tanh": nn.tanh,
}
LAYER_NORM_EPSILON = 1e-6


def dense(size: int, name: str) -> nn.Dense:
    """Returns a dense layer with brax's initialisation."""
    return nn.Dense(size, kernel_init=nn.initializers.lecun_uniform(), name=name)


def hidden_layers(
    activation: str, sizes: tuple[int, ...], x: jax.Array, layer_norm: bool = True
) -> jax.Array:
    """Applies dense, activation and LayerNorm for each size; call it inside a compact method."""
    for i, size in enumerate(sizes):
        x = ACTIVATIONS[activation](dense(size, f"hidden_{i}")(x))
        if layer_norm:
            # Two-pass variance, because the fast one cancels digits in float32.
            norm = nn.LayerNorm(
                epsilon=LAYER_NORM_EPSILON, use_fast_variance=False, name=f"LayerNorm_{i}"
            )
            x = norm(x)
    return x


def as_batch(x: jax.Array) -> jax.Array:
    """Returns [time, env, *] as [env * time, *], which XLA multiplies in half the time on a CPU.

    The order is environment by environment, so arrays split over devices by environment stay in place.
    """
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def as_segment(x: jax.Array, like: jax.Array) -> jax.Array:
    """Inverts `as_batch`: returns [env * time, *] as [time, env, *], with the sizes of `like` [time, env]."""
    num_steps, num_envs = like.shape
    return x.reshape(num_envs, num_steps, *x.shape[1:]).swapaxes(0, 1)
