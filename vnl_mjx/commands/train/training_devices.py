"""On how many devices a run trains."""

import jax
from jax.sharding import Mesh

from vnl_mjx.devices import environment_mesh
from vnl_mjx.errors import UserError
from vnl_mjx.training.segments import num_groups


def training_mesh(wanted: int | None, num_envs: int, minibatch_rows: int, envs_key: str) -> Mesh:
    """The devices that share the environments of a run evenly.

    Args:
        wanted: `num_devices` of the configuration; None: of those that JAX sees as many as find their
            share of every minibatch in their own memory. Several processes take all their devices.
        num_envs: environments of the run.
        minibatch_rows: that a gradient step learns from, see `training.segments.num_groups`.
        envs_key: of `num_envs` in the configuration, for the message.
    """
    found = len(jax.devices())
    if wanted is None:
        groups = num_groups(num_envs, minibatch_rows)
        wanted = max(n for n in range(1, found + 1) if groups % n == 0)
        if jax.process_count() > 1:
            wanted = found
    mesh = environment_mesh(wanted)
    if num_envs % wanted:
        fewer = max(n for n in range(1, wanted) if num_envs % n == 0)
        or_fewer = f", or num_devices={fewer}" if jax.process_count() == 1 else ""
        raise UserError(
            f"num_devices: expected a divisor of {envs_key} = {num_envs}, found {wanted}; give "
            f"{envs_key}={-(-num_envs // wanted) * wanted}{or_fewer}"
        )
    return mesh
