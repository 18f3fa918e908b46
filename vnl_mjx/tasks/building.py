"""Builds a task from its configuration, with the physics of its body or its variants."""

from dataclasses import replace

from jax.sharding import Mesh

from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.randomization import DomainRandomizationConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.randomization import draw_variants
from vnl_mjx.physics.sharded import ShardedPhysics
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.walkers.walker import Walker


def build_task(
    config: ImitationConfig,
    walker: Walker,
    backend: str = "mujoco",
    mesh: Mesh | None = None,
    **sizes: int | None,
) -> ImitationTask:
    """Builds the imitation task of `walker`; `config.randomization` says which bodies episodes draw.

    Args:
        config: configuration of the task.
        walker: the nominal body, built from `config.walker`.
        backend: see `physics.backends.make_physics`.
        mesh: mesh of the devices that hold the environments; None: one device.
        sizes: sizes of the back end: `num_threads`, `naconmax_per_env` and `njmax`, see there.

    Raises:
        UserError: the back end does not exist, or the ranges are impossible.
    """
    variants = draw_variants(walker.model, walker.root_body, config.randomization)
    physics = make_physics(walker.model, config.physics, backend, variants=variants, **sizes)
    if mesh is not None and mesh.size > 1:
        physics = ShardedPhysics(physics, mesh)
    return ImitationTask(config, walker, physics)


def for_one_device(task: ImitationTask) -> ImitationTask:
    """Returns the same task for batches on one device."""
    if not isinstance(task.physics, ShardedPhysics):
        return task
    return ImitationTask(task.config, task.walker, task.physics.of_one_device)


def on_nominal_body(config: ImitationConfig) -> ImitationConfig:
    """Returns the same task without domain randomisation, on the nominal walker."""
    return replace(config, randomization=DomainRandomizationConfig())
