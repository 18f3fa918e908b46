"""Summarises our own compile of the rodent into tests/fixtures/rodent_model_numbers.json.

Run from the repository root, after tests/test_walkers.py has passed with ../shared/data present:
    python tests/make_fixtures/rodent_model_numbers.py
"""

import json
import re
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.walkers.walker import Walker, build_walker

FIXTURE = Path(__file__).parent.parent / "fixtures" / "rodent_model_numbers.json"
# (torque_actuators, rescale_factor)
VARIANTS = ((True, 0.9), (True, 1.0), (False, 0.9), (False, 1.0))
ARRAYS = (
    "actuator_acc0 actuator_biasprm actuator_biastype actuator_ctrlrange actuator_dynprm "
    "actuator_dyntype actuator_forcelimited actuator_forcerange actuator_gainprm "
    "actuator_gear actuator_length0 actuator_trnid body_inertia body_invweight0 body_ipos "
    "body_iquat body_mass body_parentid body_pos body_quat body_subtreemass cam_mode cam_pos "
    "cam_quat dof_M0 dof_armature dof_damping dof_frictionloss dof_invweight0 "
    "exclude_signature geom_bodyid geom_conaffinity geom_condim geom_contype geom_friction "
    "geom_group geom_pos geom_priority geom_quat geom_rbound geom_rgba geom_size geom_solimp "
    "geom_solref geom_type jnt_axis jnt_bodyid jnt_limited jnt_pos jnt_qposadr jnt_range "
    "jnt_solimp jnt_solref jnt_stiffness jnt_type qpos0 qpos_spring sensor_type site_group "
    "site_pos site_rgba tendon_invweight0 tendon_length0 tendon_lengthspring tendon_range "
    "wrap_objid wrap_prm"
).split()


def variant_name(torque_actuators: bool, rescale_factor: float) -> str:
    """Returns the key of a variant in the fixture."""
    return f"torque{int(torque_actuators)}_scale{rescale_factor}"


def model_numbers(walker: Walker) -> dict[str, Any]:
    """Returns the names and, per array, size, sum of magnitudes and a sum that tells the order."""
    numbers: dict[str, Any] = {}
    for name in ARRAYS:
        values = np.asarray(getattr(walker.model, name), dtype=np.float64).ravel()
        ordered_sum = float(values @ np.cos(np.arange(values.size)))
        numbers[name] = [values.size, float(np.abs(values).sum()), ordered_sum]
    numbers["joint_names"] = list(walker.joint_names)
    numbers["body_names"] = list(walker.body_names)
    numbers["actuator_names"] = list(walker.actuator_names)
    return numbers


def main() -> None:
    """Writes the fixture; variants after the first hold what differs from the first."""
    variants: dict[str, dict[str, Any]] = {}
    for torque, scale in VARIANTS:
        config = WalkerConfig(torque_actuators=torque, rescale_factor=scale)
        numbers = model_numbers(build_walker(config))
        first = next(iter(variants.values()), {})
        variants[variant_name(torque, scale)] = {
            key: value for key, value in numbers.items() if first.get(key) != value
        }
    record = {"made_with": {"mujoco": mujoco.__version__}, "variants": variants}
    text = json.dumps(record, indent=1)
    FIXTURE.write_text(re.sub(r"\[[^\[\]]*\]", _on_one_line, text) + "\n")


def _on_one_line(match: re.Match[str]) -> str:
    return " ".join(match.group().split())


if __name__ == "__main__":
    main()
