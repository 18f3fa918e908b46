"""Runs MuJoCo Warp behind the same interface, through MJX: on a GPU, or slowly on the CPU.

All simulations of a call share one pool of contacts, whose size is set while the call is traced. GPU
kernels append contacts and constraint rows in order of arrival, so two runs of one program differ in their
last bits; on the CPU they are equal.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.physics.batching import batched
from vnl_mjx.physics.contact_counts import ContactCounts, largest_possible
from vnl_mjx.physics.mjx import MjxPhysics, mjx, own_device
from vnl_mjx.physics.randomization import ModelVariants
from vnl_mjx.versions import how_to_install


class WarpPhysics(MjxPhysics):
    """Implements the MuJoCo Warp back end. See `physics.base.Physics` for the interface.

    Attributes:
        sizes: room for contacts, on average over the simulations of a call, and for rows in each. A
            simulation that needed more sets `PhysicsState.overflowed`.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        config: PhysicsConfig,
        variants: ModelVariants | None = None,
        naconmax_per_env: int | None = None,
        njmax: int | None = None,
    ):
        """Puts the configured model on the default device.

        Args:
            model: the walker's compiled model.
            config: solver, time step and substeps.
            variants: of `model`; each simulation runs on one of them.
            naconmax_per_env: room for contacts per simulation; None for the model's maximum.
            njmax: room for constraint rows of one simulation, likewise.

        Raises:
            UserError: Warp is not installed, or cannot simulate the model.
        """
        self._warp = _installed_warp()
        most = largest_possible(model) if None in (naconmax_per_env, njmax) else ContactCounts(0, 0)
        # Warp expects no empty arrays.
        self.room = ContactCounts(
            max(1, most.contacts if naconmax_per_env is None else naconmax_per_env),
            max(1, most.rows if njmax is None else njmax),
        )
        super().__init__(model, config, variants)

    def _in_fresh_data(self, function: Callable[..., PhysicsState]) -> Callable[..., PhysicsState]:
        """Calls a function with fresh data, with room for the contacts of all simulations of the call."""

        def rows(*args: Any) -> PhysicsState:
            num = len(jax.tree.leaves(args)[0])
            return jax.vmap(functools.partial(function, self._make_data(num)))(*args)

        return batched(rows)

    def _put_model(self) -> mjx.Model:
        model = self._model_for_warp()
        try:
            put = mjx.put_model(model, own_device(), impl="warp")
        except NotImplementedError as error:
            raise UserError(
                f"physics_config.backend: expected a model that MuJoCo Warp can simulate, found: {error}"
            ) from error
        self._data = mjx.make_data(
            model, own_device(), impl="warp", naconmax=1, njmax=self.room.rows
        )
        self._observe, self._substep = mjx.forward, mjx.step
        # Its kernels would print warnings, for example that CG's few iterations are not enough.
        options = put.opt._impl.replace(warn_overflow=0)
        return put.replace(opt=put.opt.replace(_impl=options))

    def _model_for_warp(self) -> mujoco.MjModel:
        model = self.model.__copy__()
        # Warp never resets a simulation by itself, and refuses the flag that switches this off.
        model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        # Warp has no dense constraint Jacobian beyond 60 degrees of freedom.
        model.opt.jacobian = mujoco.mjtJacobian.mjJAC_AUTO
        return model

    def _make_data(self, num: int = 1) -> mjx.Data:
        """Returns one simulation's data, with room for the contacts of `num`."""
        room = num * self.room.contacts
        data = self._data._impl
        contacts = {
            field.name: jnp.broadcast_to(value, (room, *value.shape[1:]))
            for field in dataclasses.fields(data)
            if field.name.startswith("contact__") and len(value := getattr(data, field.name))
        }
        return self._data.replace(_impl=data.replace(naconmax=room, naccdmax=room, **contacts))

    def _overflowed(self, data: mjx.Data) -> jax.Array:
        kinds = self._warp.OverflowType
        # With few iterations the solver stops before convergence, which is intended.
        meant = kinds.ITERATIONS | kinds.LS_ITERATIONS
        return (data._impl.overflow & int(kinds.ALL & ~meant)) != 0


def _installed_warp():
    try:
        import warp
        from mujoco.mjx.third_party import mujoco_warp
    except ImportError as error:
        raise UserError(
            "physics_config.backend: expected an installed back end, found that warp is not; "
            f"run {how_to_install('warp')}, or choose mjx"
        ) from error
    if warp.config.log_level == warp.LOG_INFO:
        # Restores Warp's default, which reports every kernel that it loads.
        warp.config.log_level = warp.LOG_WARNING
    return mujoco_warp
