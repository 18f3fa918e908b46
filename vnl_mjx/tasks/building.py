"""From a task's configuration to the task: physics of its body, or of the bodies that it asks for."""

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
    """The imitation task of `walker`, whose episodes draw their bodies as `config.randomization` says.

    Args:
        config: of the task.
        walker: the nominal body, built from `config.walker`.
        backend: see `physics.backends.make_physics`.
        mesh: of the devices whose environments it serves; None: one.
        sizes: of the back end: `num_threads`, `naconmax_per_env` and `njmax`, see there.

    Raises:
        UserError: a back end that does not exist, or ranges that no body can have.
    """
    variants = draw_variants(walker.model, walker.root_body, config.randomization)
    physics = make_physics(walker.model, config.physics, backend, variants=variants, **sizes)
    if mesh is not None and mesh.size > 1:
        physics = ShardedPhysics(physics, mesh)
    return ImitationTask(config, walker, physics)


def for_one_device(task: ImitationTask) -> ImitationTask:
    """The same task, for batches that lie on one device."""
    if not isinstance(task.physics, ShardedPhysics):
        return task
    return ImitationTask(task.config, task.walker, task.physics.of_one_device)


def on_nominal_body(config: ImitationConfig) -> ImitationConfig:
    """The same task without domain randomisation: every episode on the walker as it is."""
    return replace(config, randomization=DomainRandomizationConfig())
