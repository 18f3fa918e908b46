"""Runs the stages of `mjx.forward` and `mjx.step` with far less code to compile and no deadlock."""

import contextlib
import io

import mujoco

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    # It prints that Warp is missing, which only `impl="warp"` needs.
    from mujoco import mjx

from vnl_mjx.physics.kinematic_tree import KinematicTree

_INTEGRATORS = {
    mujoco.mjtIntegrator.mjINT_EULER: mjx.euler,
    mujoco.mjtIntegrator.mjINT_RK4: mjx.rungekutta4,
    mujoco.mjtIntegrator.mjINT_IMPLICITFAST: mjx.implicit,
}


class MjxStages:
    """Runs the stages of MJX-JAX for one model, in the order of `mujoco/mjx/_src/forward.py`."""

    def __init__(self, model: mujoco.MjModel):
        """Looks up the model's kinematics and integrator."""
        self._kinematics = mjx.kinematics if model.nmocap else KinematicTree(model)
        self._integrate = _INTEGRATORS[mujoco.mjtIntegrator(model.opt.integrator)]
        self._has_sensors = not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_SENSOR

    def observe(self, model: mjx.Model, data: mjx.Data) -> mjx.Data:
        """Runs `mjx.forward` up to actuator forces, or all of it if sensors are read."""
        if self._has_sensors:
            return self.forward(model, data)
        for stage in (
            self._kinematics,
            mjx.com_pos,
            mjx.tendon,
            mjx.transmission,
            mjx.fwd_velocity,
            mjx.fwd_actuation,
        ):
            data = stage(model, data)
        return data

    def forward(self, model: mjx.Model, data: mjx.Data) -> mjx.Data:
        """Does what `mjx.forward` does."""
        for stage in (
            self._kinematics,
            mjx.com_pos,
            mjx.camlight,
            mjx.tendon,
            mjx.crb,
            mjx.tendon_armature,
            mjx.factor_m,
            mjx.collision,
            mjx.make_constraint,
            mjx.transmission,
            mjx.sensor_pos,
            mjx.fwd_velocity,
            mjx.sensor_vel,
            mjx.fwd_actuation,
            mjx.fwd_acceleration,
        ):
            data = stage(model, data)
        if not data._impl.efc_J.size:
            return data.replace(qacc=data.qacc_smooth)
        return mjx.sensor_acc(model, mjx.solve(model, data))

    def step(self, model: mjx.Model, data: mjx.Data) -> mjx.Data:
        """Does what `mjx.step` does."""
        data = self.forward(model, data)
        # The integrator factorises this matrix once more, and could do so at the same time as `forward`.
        # On a CPU each of JAX's batched factorisations waits for threads of the pool that it runs in: two
        # at once on two cores wait for ever (jaxlib 0.10). The product makes the second one wait its turn.
        mass_matrix = data._impl.M + 0.0 * data.qacc[0]
        return self._integrate(model, data.tree_replace({"_impl.M": mass_matrix}))
