"""Defines the interface of physics back ends: one small state, a reset and a control step.

A back end keeps nothing between calls, so a checkpoint of `PhysicsState` holds the whole simulation, and
every function can be scanned and mapped (`jax.vmap`).
"""

from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.errors import UserError

# Fields of both `PhysicsState` and MuJoCo's data: the start of a step, and its derived quantities.
STATE_FIELDS = ("qpos", "qvel", "act", "qacc_warmstart")
DERIVED_FIELDS = ("xpos", "xmat", "qfrc_actuator", "sensordata")

# mjMAXVAL of mujoco/mjmodel.h: beyond it MuJoCo itself calls a value bad.
MAX_VALUE = 1e10

_SOLVERS = {
    "cg": mujoco.mjtSolver.mjSOL_CG,
    "newton": mujoco.mjtSolver.mjSOL_NEWTON,
}


@flax.struct.dataclass
class PhysicsState:
    """Holds one simulation, float32. After a step, derived fields are one physics substep older than `qpos`.

    `mj_step` and `mjx.step` have that lag, and track-mjx teachers were trained with it.

    Attributes:
        qpos: [nq] generalised position (m, unit quaternion, rad).
        qvel: [nv] generalised velocity (m/s, rad/s).
        act: [na] actuator activations.
        qacc_warmstart: [nv] warm start of the constraint solver.
        time: [] seconds since reset, summed in float32 one substep at a time as MJX does.
        xpos: [nbody, 3] body positions, world frame, m (derived).
        xmat: [nbody, 3, 3] body orientations, world frame (derived).
        qfrc_actuator: [nv] actuator forces in joint coordinates, N or N m (derived).
        sensordata: [nsensordata] sensor values, zeros unless `PhysicsConfig.sensors` (derived).
        diverged: [] bool, the last call met NaN, Inf or a value beyond `MAX_VALUE`; every other field
            but `overflowed` and `variant` is then zero.
        overflowed: [] bool, the last call had more contacts or constraint rows than the back end has room
            for, and left some out.
        variant: [] int32, index of the model variant of this simulation; None if the back end has no model
            variants, which keeps older checkpoints loadable.
    """

    qpos: jax.Array
    qvel: jax.Array
    act: jax.Array
    qacc_warmstart: jax.Array
    time: jax.Array
    xpos: jax.Array
    xmat: jax.Array
    qfrc_actuator: jax.Array
    sensordata: jax.Array
    diverged: jax.Array
    overflowed: jax.Array
    variant: jax.Array | None = None


class Physics(Protocol):
    """Defines a back end. Methods take and return one simulation; `vmap` them for many.

    Attributes:
        model: the configured nominal model.
        config: its configuration.
        num_variants: number of model variants, 0 if every simulation runs on the nominal model.
    """

    model: mujoco.MjModel
    config: PhysicsConfig
    num_variants: int

    def zeros(self) -> PhysicsState:
        """Returns a state of zeros, for shapes and as the other branch of a masked reset."""
        ...

    def reset(
        self,
        qpos: jax.Array,
        qvel: jax.Array,
        where: jax.Array | bool = True,
        variant: jax.Array | None = None,
        act: jax.Array | None = None,
    ) -> PhysicsState:
        """Starts a simulation; derives all fields from the given position, velocity and activation.

        Args:
            qpos: [nq] position.
            qvel: [nv] velocity.
            where: [] bool, whether this simulation is wanted. Where false, the result is meaningless, and a
                back end may skip the work.
            variant: [] int32 below `num_variants`; None if that is 0.
            act: [na] actuator activations, zeros if None.
        """
        ...

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """Advances one control step of `config.num_substeps` physics steps under constant `ctrl` [nu].

        Controls of muscles go from -1, relaxed, to 1, see `excitation`; all others are MuJoCo's.
        """
        ...


def configure_model(model: mujoco.MjModel, config: PhysicsConfig) -> mujoco.MjModel:
    """Returns a copy of `model` with the solver and time step of `config`.

    `mj_step` would silently reset a diverged simulation to `qpos0`; the copy switches that off, so that a
    divergence is detected.
    """
    if config.solver.lower() not in _SOLVERS:
        raise UserError(
            f"physics solver: expected one of {sorted(_SOLVERS)}, found {config.solver!r}"
        )
    configured = model.__copy__()
    configured.opt.solver = _SOLVERS[config.solver.lower()]
    configured.opt.iterations = config.iterations
    configured.opt.ls_iterations = config.ls_iterations
    configured.opt.noslip_iterations = 0  # of MuJoCo C alone
    configured.opt.timestep = config.timestep
    configured.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    configured.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if not config.sensors:
        configured.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
    return configured


def excitation(model: mujoco.MjModel, ctrl: jax.Array) -> jax.Array:
    """Returns controls [..., nu] as MuJoCo takes them: a muscle's -1 to 1 becomes its 0 to 1."""
    muscles = model.actuator_dyntype == mujoco.mjtDyn.mjDYN_MUSCLE
    return jnp.where(muscles, 0.5 * (ctrl + 1.0), ctrl) if muscles.any() else ctrl


def advance_time(time: jax.Array, config: PhysicsConfig) -> jax.Array:
    """Adds the substeps to `time` one by one in float32, because rounding decides upstream's frame index.

    Without the barrier XLA folds the sum into one addition, which rounds differently.
    """
    for _ in range(config.num_substeps):
        time = jax.lax.optimization_barrier(time + jnp.float32(config.timestep))
    return time


def contain(state: PhysicsState) -> PhysicsState:
    """Zeroes a diverged simulation, so that no reader meets NaN."""
    return jax.tree.map(lambda x: jnp.where(state.diverged, jnp.zeros_like(x), x), state).replace(
        diverged=state.diverged, overflowed=state.overflowed, variant=state.variant
    )


def checked_variant(variant: jax.Array | None, num_variants: int) -> jax.Array | None:
    """Returns `variant` as int32; raises ValueError if it is missing, or if there are no variants."""
    if (variant is None) != (num_variants == 0):
        raise ValueError(f"{num_variants=} of the back end does not go with {variant=}")
    return None if variant is None else jnp.int32(variant)
