"""Simulates with MJX-JAX, behind the same interface as the MuJoCo C back end."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.physics.base import (
    DERIVED_FIELDS,
    MAX_VALUE,
    STATE_FIELDS,
    PhysicsState,
    checked_variant,
    configure_model,
    contain,
    excitation,
)
from vnl_mjx.physics.mjx_stages import MjxStages, mjx
from vnl_mjx.physics.randomization import ModelVariants, differing_fields


def own_device():
    """Returns the device for arrays; by default MJX takes the first device of all processes."""
    return jax.local_devices()[0]


class MjxPhysics:
    """Implements the MJX-JAX back end. See `physics.base.Physics` for the interface.

    `physics.warp` runs MuJoCo Warp through the same functions on the same state.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        config: PhysicsConfig,
        variants: ModelVariants | None = None,
    ):
        """Puts the configured model, and the fields in which `variants` differ, on the default device."""
        self.model = configure_model(model, config)
        self.config = config
        self.num_variants = len(variants.models) if variants else 0
        self._mjx_model = self._put_model()
        self._variant_fields = self._stack_variants(model, variants) if variants else {}

    def zeros(self) -> PhysicsState:
        """See `physics.base.Physics.zeros`."""
        variant = jnp.int32(0) if self.num_variants else None
        return jax.tree.map(jnp.zeros_like, self._state(self._make_data(), variant))

    def reset(
        self,
        qpos: jax.Array,
        qvel: jax.Array,
        where: jax.Array | bool = True,
        variant: jax.Array | None = None,
        act: jax.Array | None = None,
    ) -> PhysicsState:
        """See `physics.base.Physics.reset`. Vectorised arithmetic: `where` saves nothing here."""
        del where
        variant = checked_variant(variant, self.num_variants)
        act = jnp.zeros(self.model.na) if act is None else act
        values = (jnp.float32(value) for value in (qpos, qvel, act))
        return self._in_fresh_data(self._reset)(*values, variant)

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """See `physics.base.Physics.step`."""
        return self._in_fresh_data(self._step)(state, excitation(self.model, jnp.float32(ctrl)))

    def _in_fresh_data(self, function: Callable[..., PhysicsState]) -> Callable[..., PhysicsState]:
        """Calls `function` with fresh data of one simulation and the further arguments."""
        return functools.partial(function, self._make_data())

    def _reset(
        self,
        data: mjx.Data,
        qpos: jax.Array,
        qvel: jax.Array,
        act: jax.Array,
        variant: jax.Array | None,
    ) -> PhysicsState:
        """One simulation in fresh `data`."""
        data = data.replace(qpos=qpos, qvel=qvel, act=act)
        return contain(self._state(self._observe(self._model_of(variant), data), variant))

    def _step(self, data: mjx.Data, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """One simulation in fresh `data`."""
        inputs = {name: getattr(state, name) for name in (*STATE_FIELDS, "time")}
        data = data.replace(**inputs, ctrl=ctrl)
        model = self._model_of(state.variant)
        data, _ = jax.lax.scan(
            lambda data, _: (self._substep(model, data), None),
            data,
            length=self.config.num_substeps,
        )
        return contain(self._state(data, state.variant))

    def _stack_variants(
        self, model: mujoco.MjModel, variants: ModelVariants
    ) -> dict[str, jax.Array]:
        # MJX keeps structure on the host. Variants differ there at most in `geom_sameframe` and similar
        # shortcuts, which MJX does not use.
        fields = {field.name: getattr(self._mjx_model, field.name) for field in mjx.Model.fields()}
        fields = {name: base for name, base in fields.items() if isinstance(base, jax.Array)}
        return {
            name: jnp.asarray(values, fields[name].dtype).reshape(-1, *fields[name].shape)
            for name, values in differing_fields(model, variants, tuple(fields)).items()
        }

    def _model_of(self, variant: jax.Array | None) -> mjx.Model:
        if variant is None:
            return self._mjx_model
        own = {name: values[variant] for name, values in self._variant_fields.items()}
        return self._mjx_model.replace(**own)

    def _put_model(self) -> mjx.Model:
        model = mjx.put_model(self.model, own_device(), impl="jax")
        stages = MjxStages(self.model)
        # Functions for a state's fields besides positions and velocities, and for one physics step.
        self._observe, self._substep = stages.observe, stages.step
        return model

    def _make_data(self) -> mjx.Data:
        return mjx.make_data(self.model, own_device(), impl="jax")

    def _overflowed(self, data: mjx.Data) -> jax.Array:
        del data
        return jnp.bool_(False)  # there is room for every contact that the model can have

    def _state(self, data: mjx.Data, variant: jax.Array | None) -> PhysicsState:
        names = (*STATE_FIELDS, *DERIVED_FIELDS)
        fields = {name: getattr(data, name).astype(jnp.float32) for name in names}
        # A NaN control may be clamped to a number, so it is checked itself.
        checked = (*fields.values(), data.ctrl)
        finite = [jnp.all(jnp.abs(value) < MAX_VALUE) for value in checked]
        return PhysicsState(
            time=jnp.float32(data.time),
            diverged=~jnp.all(jnp.stack(finite)),
            variant=variant,
            overflowed=self._overflowed(data),
            **fields,
        )
