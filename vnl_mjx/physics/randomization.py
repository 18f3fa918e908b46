"""Draws variants of a body for domain randomisation: models compiled once, for every back end.

A simulation says which variant it runs on (`PhysicsState.variant`), so results stay a pure function of the
state, and a stored state resumes on the very same body.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from vnl_mjx.config.randomization import RANGE_NAMES, DomainRandomizationConfig
from vnl_mjx.errors import UserError

_SCALAR_JOINTS = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


@dataclass(frozen=True, eq=False)
class ModelVariants:
    """Holds models of one layout that differ in numbers only.

    Attributes:
        models: [variant] with all constants that MuJoCo derives (`mj_setConst`) up to date.
        parameters: drawn values, [variant, ...], by the names of `DomainRandomizationConfig`.
    """

    models: tuple[mujoco.MjModel, ...]
    parameters: dict[str, np.ndarray]


def draw_variants(
    model: mujoco.MjModel, root_body: int, config: DomainRandomizationConfig
) -> ModelVariants | None:
    """Draws `config.num_variants` bodies; returns None if nothing varies.

    Variant k does not depend on the number of variants, and no range affects the draws of another.

    Args:
        model: the nominal model, which does not change.
        root_body: id of the body whose mass and centre of mass move.
        config: the ranges.

    Raises:
        UserError: a bad range, a body that would lose its mass, or a model compiled for a fixed centre of
            mass.
    """
    config.validate()
    if not config.ranges():
        return None
    drawn = [_draw(model, config, variant) for variant in range(config.num_variants)]
    models = tuple(_varied(model, root_body, parameters) for parameters in drawn)
    return ModelVariants(models, {name: np.stack([d[name] for d in drawn]) for name in drawn[0]})


def differing_fields(
    model: mujoco.MjModel, variants: ModelVariants, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Returns the model fields among `names` that differ between models, stacked [variant, ...]."""
    stacked = {}
    for name in names:
        values = [np.asarray(getattr(variant, name)) for variant in variants.models]
        if not all(np.array_equal(getattr(model, name), value) for value in values):
            stacked[name] = np.stack(values)
    return stacked


def _draw(
    model: mujoco.MjModel, config: DomainRandomizationConfig, variant: int
) -> dict[str, np.ndarray]:
    shapes = {
        "friction": (),
        "joint_friction": (model.nv,),
        "armature": (model.nv,),
        "com_offset": (3,),
        "link_mass": (model.nbody,),
        "root_mass_offset": (),
        "joint_reference_offset": (len(_scalar_joint_rows(model)),),
    }
    return {
        name: np.asarray(
            np.random.default_rng([config.seed, variant, RANGE_NAMES.index(name)]).uniform(
                *limits, size=shapes[name]
            )
        )
        for name, limits in config.ranges().items()
    }


def _varied(
    model: mujoco.MjModel, root_body: int, parameters: dict[str, np.ndarray]
) -> mujoco.MjModel:
    varied = model.__copy__()
    friction = parameters.get("friction", 1.0)
    # A contact uses the larger friction of its two geoms, so scaling all geoms scales every contact.
    varied.geom_friction[:, 0] *= friction
    varied.pair_friction[:, :2] *= friction
    varied.dof_frictionloss[:] *= parameters.get("joint_friction", 1.0)
    varied.dof_armature[:] *= parameters.get("armature", 1.0)
    varied.body_ipos[root_body] += parameters.get("com_offset", 0.0)
    varied.qpos0[_scalar_joint_rows(model)] += parameters.get("joint_reference_offset", 0.0)
    _scale_masses(varied, root_body, parameters)
    try:
        mujoco.mj_setConst(varied, mujoco.MjData(varied))
    except mujoco.FatalError as error:
        raise UserError(
            f"randomization: expected a model whose bodies may change, found that MuJoCo refuses it: "
            f"{error}; set that in the MJCF or leave com_offset null"
        ) from error
    return varied


def _scale_masses(
    varied: mujoco.MjModel, root_body: int, parameters: dict[str, np.ndarray]
) -> None:
    factors = np.broadcast_to(parameters.get("link_mass", 1.0), (varied.nbody,)).copy()
    if "root_mass_offset" in parameters:
        nominal, offset = varied.body_mass[root_body], parameters["root_mass_offset"]
        if not nominal * factors[root_body] + offset > 0 or nominal <= 0:
            raise UserError(
                "randomization.root_mass_offset: expected the root body to keep some of its "
                f"{nominal:.4g} kg, found an offset of {offset:.4g} kg; narrow the range"
            )
        factors[root_body] += offset / nominal
    varied.body_mass[:] *= factors
    varied.body_inertia[:] *= factors[:, None]


def _scalar_joint_rows(model: mujoco.MjModel) -> np.ndarray:
    """Returns the rows of qpos that hold the angle of a hinge or the position of a slide."""
    return model.jnt_qposadr[np.isin(model.jnt_type, [int(kind) for kind in _SCALAR_JOINTS])]
