"""Runs MuJoCo C on a thread pool (`mujoco.batch`) as a pure function inside `jit`, `vmap` and `scan`.

Each call carries the whole state of its simulations in and out through `jax.pure_callback`. Results are
bit-identical at any thread count and batch size, because every simulation is a separate row.
"""

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np

from vnl_mjx.config.imitation import PhysicsConfig
from vnl_mjx.physics.base import (
    DERIVED_FIELDS,
    MAX_VALUE,
    STATE_FIELDS,
    PhysicsState,
    advance_time,
    checked_variant,
    configure_model,
    excitation,
)
from vnl_mjx.physics.randomization import ModelVariants

_FATAL_WARNINGS = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
    int(mujoco.mjtWarning.mjWARN_BADCTRL),
]
# Batches kept by size: a trainer and an evaluator of different widths, and one more.
_MAX_BATCHES = 3


class MujocoBatchPhysics:
    """Implements the CPU back end. See `physics.base.Physics` for the interface."""

    def __init__(
        self,
        model: mujoco.MjModel,
        config: PhysicsConfig,
        num_threads: int = 0,
        variants: ModelVariants | None = None,
    ):
        """Prepares the back end; no simulation is made before the first call.

        Args:
            model: the walker's compiled model; a configured copy is used.
            config: solver, time step and substeps.
            num_threads: threads of the pool, 0 for one per core.
            variants: of `model`; each simulation runs on one of them.
        """
        self.model = configure_model(model, config)
        self.config = config
        self._variants = [configure_model(m, config) for m in variants.models] if variants else []
        self.num_variants = len(self._variants)
        self.num_threads = num_threads
        # Seconds spent stepping and resetting, for the throughput report.
        self.busy_seconds = 0.0
        self._lock = threading.Lock()
        self._batches: OrderedDict[int, SimulationRows] = OrderedDict()
        data = mujoco.MjData(self.model)
        self._shapes = {
            name: getattr(data, name).shape for name in (*STATE_FIELDS, *DERIVED_FIELDS)
        }
        self._shapes["xmat"] = (self.model.nbody, 3, 3)

    def zeros(self) -> PhysicsState:
        """See `physics.base.Physics.zeros`."""
        fields = {name: jnp.zeros(shape, jnp.float32) for name, shape in self._shapes.items()}
        fields["variant"] = jnp.int32(0) if self.num_variants else None
        no = jnp.bool_(False)
        return PhysicsState(time=jnp.float32(0), diverged=no, overflowed=no, **fields)

    def reset(
        self,
        qpos: jax.Array,
        qvel: jax.Array,
        where: jax.Array | bool = True,
        variant: jax.Array | None = None,
        act: jax.Array | None = None,
    ) -> PhysicsState:
        """See `physics.base.Physics.reset`. Simulations with `where` false cost nothing."""
        variant = checked_variant(variant, self.num_variants)
        act = jnp.zeros(self.model.na) if act is None else act
        values = {"qpos": qpos, "qvel": qvel, "act": act}
        arrays = self._call(self._reset_rows, values, variant, jnp.asarray(where))
        return _state(arrays, jnp.float32(0), variant)

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """See `physics.base.Physics.step`."""
        values = {name: getattr(state, name) for name in (*STATE_FIELDS, "time")}
        values["ctrl"] = excitation(self.model, ctrl)
        arrays = self._call(self._step_rows, values, state.variant)
        time = jnp.where(arrays["diverged"], 0.0, advance_time(state.time, self.config))
        return _state(arrays, time, state.variant)

    def _call(self, function, *args: Any) -> dict[str, jax.Array]:
        results = {
            name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in self._shapes.items()
        }
        results["diverged"] = jax.ShapeDtypeStruct((), jnp.bool_)
        return jax.pure_callback(function, results, *args, vmap_method="broadcast_all")

    # The code below runs in XLA's callback threads: NumPy only, never JAX.

    def _reset_rows(self, values, variant, where) -> dict[str, np.ndarray]:
        where = np.asarray(where)
        ids = np.flatnonzero(where)
        # Sized for all rows, so that one cached batch serves the reset and the step.
        with self._rows(where.size, variant) as rows:
            for name, value in values.items():
                value = np.asarray(value)
                rows.write(name, ids, value.reshape(where.size, *value.shape[where.ndim :])[ids])
            for name in ("qacc_warmstart", "ctrl", "time"):
                rows.write(name, ids, 0.0)
            bad = rows.run(lambda: rows.batch.forward(ids=ids) if len(ids) else None)
            return rows.read(where.shape, ids, bad, self._shapes)

    def _step_rows(self, values, variant) -> dict[str, np.ndarray]:
        batch_shape, every = np.shape(values["time"]), slice(None)
        with self._rows(math.prod(batch_shape), variant) as rows:
            for name, value in values.items():
                rows.write(name, every, np.asarray(value))
            bad = rows.run(lambda: rows.batch.step(nstep=self.config.num_substeps))
            return rows.read(batch_shape, every, bad, self._shapes)

    @contextlib.contextmanager
    def _rows(self, num_rows: int, variant) -> Iterator["SimulationRows"]:
        """Returns a batch of at least one row, and sets its models to those of `variant`."""
        num_rows = max(num_rows, 1)
        # Several devices may call at once, and a Batch serves one thread at a time.
        with self._lock:
            started = time.perf_counter()
            try:
                if num_rows not in self._batches:
                    self._batches[num_rows] = SimulationRows(self.model, num_rows, self.num_threads)
                self._batches.move_to_end(num_rows)
                while len(self._batches) > _MAX_BATCHES:
                    self._batches.popitem(last=False)
                rows = self._batches[num_rows]
                if variant is not None:
                    rows.batch.set_models([self._variants[i] for i in np.asarray(variant).ravel()])
                yield rows
            finally:
                self.busy_seconds += time.perf_counter() - started


def _state(
    arrays: dict[str, jax.Array], time: jax.Array, variant: jax.Array | None
) -> PhysicsState:
    # MuJoCo C allocates for as many contacts as it meets.
    return PhysicsState(time=time, overflowed=jnp.bool_(False), variant=variant, **arrays)


class SimulationRows:
    """Wraps a `mujoco.batch.Batch` and its live arrays.

    Attributes:
        batch: the simulations.
        arrays: live arrays by name, [num_rows, ...]: state, control and derived fields.
    """

    def __init__(self, model: mujoco.MjModel, num_rows: int, num_threads: int):
        """Makes the simulations; 0 threads: one per core."""
        self.batch = mujoco.batch.Batch(model, num_rows, nthread=num_threads)
        inputs = (*STATE_FIELDS, "ctrl", "time")
        self.arrays = {name: self.batch.bind(name) for name in (*inputs, *DERIVED_FIELDS)}

    def write(self, name: str, ids, value) -> None:
        """Sets the rows `ids` of an array, in any shape."""
        array = self.arrays[name]
        array[ids] = np.reshape(value, array[ids].shape) if np.ndim(value) else value

    def run(self, function: Callable[[], None]) -> np.ndarray:
        """Runs a batch call without output; returns which rows MuJoCo found bad, [num_rows] bool."""
        bad = np.zeros(self.batch.nsim, bool)
        self.batch.warning[...] = 0
        with without_warnings():
            try:
                function()
            except mujoco.batch.SimulationError as error:
                bad[error.ids] = True
        return bad | (self.batch.warning[:, _FATAL_WARNINGS, 1] > 0).any(axis=1)

    def read(
        self,
        batch_shape: tuple[int, ...],
        ids: np.ndarray | slice,
        bad: np.ndarray,
        shapes: dict[str, tuple[int, ...]],
    ) -> dict[str, np.ndarray]:
        """Copies the rows out as float32, zero where diverged or not in `ids`."""
        num_rows = self.batch.nsim
        result = {}
        with np.errstate(over="ignore"):
            for name, shape in shapes.items():
                array = self.arrays[name].reshape(num_rows, *shape)
                result[name] = np.zeros((num_rows, *shape), np.float32)
                result[name][ids] = array[ids]
        for value in result.values():
            bad |= ~(np.abs(value.reshape(num_rows, -1)) < MAX_VALUE).all(axis=1)
        for name, value in result.items():
            value[bad] = 0.0
            result[name] = value.reshape(*batch_shape, *shapes[name])
        result["diverged"] = bad.reshape(batch_shape)
        return result


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps MuJoCo from printing every warning, and from writing MUJOCO_LOG.TXT into the working folder."""
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_ignore_warning)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)


def _ignore_warning(message: str) -> None:
    """Ignores a warning's message; who steps a simulation counts warnings or looks at its state."""
