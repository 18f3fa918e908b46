"""MJX-JAX behind the same interface as the MuJoCo C back end: the simulation as JAX arithmetic."""

import contextlib
import io

import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.physics.base import MAX_VALUE, PhysicsState, configure_model, contain

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    # It prints that Warp is missing, which only `impl="warp"` needs.
    from mujoco import mjx


class MjxPhysics:
    """The MJX-JAX back end. See `physics.base.Physics` for the interface."""

    def __init__(self, model: mujoco.MjModel, config: PhysicsConfig):
        """Puts the configured model on the default device."""
        self.model = configure_model(model, config)
        self.config = config
        self._mjx_model = mjx.put_model(self.model, impl="jax")

    def zeros(self) -> PhysicsState:
        """See `physics.base.Physics.zeros`."""
        return jax.tree.map(jnp.zeros_like, self._state(self._make_data()))

    def reset(
        self, qpos: jax.Array, qvel: jax.Array, where: jax.Array | bool = True
    ) -> PhysicsState:
        """See `physics.base.Physics.reset`. Vectorised arithmetic: `where` saves nothing here."""
        del where
        data = self._make_data().replace(qpos=qpos, qvel=qvel)
        return contain(self._state(mjx.forward(self._mjx_model, data)))

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """See `physics.base.Physics.step`."""
        data = self._make_data().replace(
            qpos=state.qpos,
            qvel=state.qvel,
            act=state.act,
            qacc_warmstart=state.qacc_warmstart,
            time=state.time,
            ctrl=ctrl,
        )
        data, _ = jax.lax.scan(
            lambda data, _: (mjx.step(self._mjx_model, data), None),
            data,
            length=self.config.num_substeps,
        )
        return contain(self._state(data))

    def _make_data(self):
        return mjx.make_data(self.model, impl="jax")

    def _state(self, data) -> PhysicsState:
        fields = {
            "qpos": data.qpos,
            "qvel": data.qvel,
            "act": data.act,
            "qacc_warmstart": data.qacc_warmstart,
            "xpos": data.xpos,
            "xmat": data.xmat,
            "qfrc_actuator": data.qfrc_actuator,
            "sensordata": data.sensordata,
        }
        fields = {name: value.astype(jnp.float32) for name, value in fields.items()}
        finite = [jnp.all(jnp.abs(value) < MAX_VALUE) for value in fields.values()]
        diverged = ~jnp.all(jnp.stack(finite))
        return PhysicsState(time=jnp.float32(data.time), diverged=diverged, **fields)
