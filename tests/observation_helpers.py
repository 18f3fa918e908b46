"""States of a walker, and its observation terms there."""

from dataclasses import replace

import jax.numpy as jnp
import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vnl_mjx.clips.container import ReferenceFrames
from vnl_mjx.config.imitation import ImitationConfig, PhysicsConfig, UpstreamQuirks
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.observations import ObservationFunctions
from vnl_mjx.tasks.terms.observations import REFERENCE_TERMS, track_mjx_terms
from vnl_mjx.tasks.terms.state import Term, term_state
from vnl_mjx.walkers.walker import Walker


def state_of(model: mujoco.MjModel, qpos: np.ndarray, qvel: np.ndarray) -> PhysicsState:
    """A simulation at rest in its solver, with derived fields of this very pose."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    fields = {
        n: jnp.asarray(getattr(data, n), jnp.float32) for n in ("qpos", "qvel", "act", "xpos")
    }
    return PhysicsState(
        **fields,
        qacc_warmstart=jnp.zeros(model.nv),
        time=jnp.float32(0),
        xmat=jnp.asarray(data.xmat.reshape(-1, 3, 3), jnp.float32),
        qfrc_actuator=jnp.zeros(model.nv),
        sensordata=jnp.asarray(data.sensordata, jnp.float32),
        diverged=jnp.asarray(False),
        overflowed=jnp.asarray(False),
    )


def random_state(walker: Walker, seed: int) -> PhysicsState:
    """A pose near the rest pose, turned and moving, the same for the same seed."""
    rng = np.random.default_rng(seed)
    qpos = walker.model.qpos0 + 0.1 * rng.normal(size=walker.model.nq)
    qpos[3:7] = Rotation.random(random_state=seed).as_quat(scalar_first=True)
    return state_of(walker.model, qpos, rng.normal(size=walker.model.nv))


def reference_terms(walker: Walker) -> dict[str, Term]:
    """Every built-in term of the reference."""
    return REFERENCE_TERMS | track_mjx_terms(walker, UpstreamQuirks())


def terms_at(walker: Walker, state: PhysicsState, ahead: ReferenceFrames) -> dict[str, np.ndarray]:
    seen = term_state(state, walker, 0.02)
    return {n: np.asarray(f(seen, ahead, walker)) for n, f in reference_terms(walker).items()}


def functions_of(walker: Walker, **changes) -> ObservationFunctions:
    config = ImitationConfig(walker=walker.config, physics=PhysicsConfig(num_substeps=10))
    return ObservationFunctions(replace(config, **changes), walker, walker.model)


def moved_over_the_floor(qpos, qvel, yaw: float, shift) -> tuple[np.ndarray, np.ndarray]:
    """Poses [..., nq] and velocities [..., nv] turned about the vertical axis and shifted."""
    qpos, qvel = np.array(qpos), np.array(qvel)
    turn = Rotation.from_euler("z", yaw)
    qpos[..., :3] = turn.apply(qpos[..., :3]) + np.array([*shift, 0.0])
    own = Rotation.from_quat(qpos[..., 3:7], scalar_first=True)
    qpos[..., 3:7] = (turn * own).as_quat(scalar_first=True)
    qvel[..., :3] = turn.apply(qvel[..., :3])
    return qpos, qvel
