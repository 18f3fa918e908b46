"""Configures domain randomisation: how the bodies differ on which a policy is trained."""

from dataclasses import dataclass
from typing import Literal

from vnl_mjx.config.validation import check_bounds, number
from vnl_mjx.errors import UserError

Range = tuple[float, float]

# The Warp configuration of vnl-playground's imitation task (ranges in DomainRandomizationConfig's units).
_VNL_PLAYGROUND_WARP: dict[str, Range] = {
    "friction": (1.0, 1.0),
    "joint_friction": (0.9, 1.1),
    "armature": (1.0, 1.05),
    "com_offset": (-0.05, 0.05),
    "link_mass": (0.9, 1.1),
    "root_mass_offset": (-0.02, 0.02),
    "joint_reference_offset": (-0.05, 0.05),
}
PRESETS: dict[str, dict[str, Range]] = {"none": {}, "vnl_playground_warp": _VNL_PLAYGROUND_WARP}
# In the order of the random streams; only append, or stored runs would resume on other bodies.
RANGE_NAMES = tuple(_VNL_PLAYGROUND_WARP)


@dataclass(frozen=True)
class DomainRandomizationConfig:
    """Uniform ranges (low, high) from which `num_variants` bodies are drawn once per run.

    Every episode draws one of those bodies. A null range varies nothing; with all null, randomisation is
    off. A body's mass and inertia change in proportion, as if its density did.

    Attributes:
        preset: ranges for those that are null here: "none", or "vnl_playground_warp", whose centre of
            mass moves by up to 5 cm, most of the length of a rat's torso.
        num_variants: different bodies. Each is a compiled model, of the rodent 1 MB.
        seed: of the bodies; which body an episode gets is drawn from the environment's key.
        friction: factor of the sliding friction of all geoms and contact pairs, one for a variant.
        joint_friction: factor of the dry friction of each degree of freedom (MJCF `frictionloss`).
        armature: factor of the armature of each degree of freedom.
        com_offset: metres that the centre of mass of the root body moves along each of its axes.
        link_mass: factor of the mass of each body.
        root_mass_offset: kg that the root body gains after that factor.
        joint_reference_offset: rad (slide joints: m) that each hinge reads more (`qpos0`) in the same pose.
    """

    preset: Literal["none", "vnl_playground_warp"] = "none"
    num_variants: int = number(64, ge=1, le=4096)
    seed: int = number(0, ge=0, lt=2**32)
    friction: tuple[float, float] | None = number(None, gt=0)
    joint_friction: tuple[float, float] | None = number(None, gt=0)
    armature: tuple[float, float] | None = number(None, gt=0)
    com_offset: tuple[float, float] | None = number(None)
    link_mass: tuple[float, float] | None = number(None, gt=0)
    root_mass_offset: tuple[float, float] | None = number(None)
    joint_reference_offset: tuple[float, float] | None = number(None)

    def ranges(self) -> dict[str, Range]:
        """Returns the ranges in force, by name; empty if randomisation is off."""
        own = {name: getattr(self, name) for name in RANGE_NAMES}
        return PRESETS[self.preset] | {k: v for k, v in own.items() if v is not None}

    def validate(self, where: str = "randomization.") -> None:
        """Raises UserError for a number out of bounds and for a range that is no (low, high).

        Args:
            where: start of the keys in messages.
        """
        check_bounds(self, where)
        for name, values in self.ranges().items():
            if len(values) != 2 or values[0] > values[1]:
                raise UserError(
                    f"{where}{name}: expected a list of two numbers, low and high, found "
                    f"{list(values)}; write [low, high]"
                )
