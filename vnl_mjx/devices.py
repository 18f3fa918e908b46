"""Spreads environments over devices: a mesh of one axis, and the placement of arrays on it.

Programs are written for one device. Arrays with an axis of environments are split along it, all others are
replicated, and the compiler adds the communication. So the number of devices changes only the order of
sums.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vnl_mjx.errors import UserError

ENVIRONMENTS = "environments"  # the mesh's axis

Tree = TypeVar("Tree")


def environment_mesh(num_devices: int | None = None) -> Mesh:
    """Returns the mesh of the first `num_devices` devices of all processes; None: of every device.

    Raises:
        UserError: there are fewer devices, or some process would have none.
    """
    found = jax.devices()
    wanted = len(found) if num_devices is None else num_devices
    if not 1 <= wanted <= len(found):
        raise UserError(
            f"num_devices: expected 1 ... {len(found)}, the devices that JAX sees "
            f"({found[0].device_kind}), found {wanted}"
        )
    if wanted < len(found) and jax.process_count() > 1:
        raise UserError(
            f"num_devices: expected {len(found)}, all devices of the {jax.process_count()} processes, "
            f"found {wanted}; leave it null, or start fewer processes"
        )
    return Mesh(np.array(found[:wanted]), (ENVIRONMENTS,))


def single_device() -> Mesh:
    """Returns the mesh of JAX's default device."""
    return Mesh(np.array(jax.local_devices()[:1]), (ENVIRONMENTS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Returns the sharding of an array that is split along `axis`."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, ENVIRONMENTS))


def by_environment(tree: Tree, mesh: Mesh, num_envs: int) -> Tree:
    """Returns shardings for `tree`: arrays whose first axis has one row per environment are split.

    An array of that length by chance is split too, which moves data but changes no result.
    """

    def placed(x: Any) -> NamedSharding:
        has_axis = x.ndim > 0 and x.shape[0] == num_envs
        return split(mesh) if has_axis else replicated(mesh)

    return jax.tree.map(placed, tree)


def on_one_device(tree: Tree) -> Tree:
    """Returns the part of every array on this process's first device: all of it, if replicated."""
    return jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)


def gathered(tree: Tree) -> Tree:
    """Returns `tree` whole in this process; exchanges data, so all processes must call it."""

    def whole(x: Any) -> Any:
        if not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated:
            return x
        return multihost_utils.process_allgather(x, tiled=True)

    return jax.tree.map(whole, tree)


def sharded(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Makes `function` of one environment, under `vmap`, compute on each device the environments it holds.

    Use it for callbacks and foreign functions, which the compiler cannot split: each device would compute
    all environments. If their number is no multiple of the number of devices, each device still does.
    """
    if mesh.size == 1:
        return function

    @partial(jax.custom_batching.custom_vmap)
    def one(*args: Any) -> Any:
        return function(*args)

    @one.def_vmap
    def many(axis_size: int, in_batched: list[Any], *args: Any) -> tuple[Any, Any]:
        axes = jax.tree.map(lambda batched: 0 if batched else None, tuple(in_batched))
        batched = jax.vmap(function, in_axes=axes, axis_size=axis_size)
        if axis_size % mesh.size == 0:
            specs = jax.tree.map(
                lambda b: PartitionSpec(ENVIRONMENTS) if b else PartitionSpec(), tuple(in_batched)
            )
            batched = jax.shard_map(
                jax.vmap(function, in_axes=axes, axis_size=axis_size // mesh.size),
                mesh=mesh,
                in_specs=specs,
                out_specs=PartitionSpec(ENVIRONMENTS),
                check_vma=False,  # callbacks and foreign functions do not declare how results vary
            )
        out = batched(*args)
        return out, jax.tree.map(lambda _: True, out)

    return one
