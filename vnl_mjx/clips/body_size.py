"""Measures a body, and scales limits that were found for rats to its size and frame rate."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import mujoco
import numpy as np

from vnl_mjx.config.preprocessing import (
    ContactSection,
    PreprocessConfig,
    QualityLimits,
    VelocitySection,
)
from vnl_mjx.config.validation import AUTO
from vnl_mjx.config.walker import RODENT_SOURCE
from vnl_mjx.walkers.scaling import GRAVITY, RODENT_LENGTH_M
from vnl_mjx.walkers.walker import Walker

Section = TypeVar("Section", ContactSection, QualityLimits, VelocitySection)

_RAT_RATE_HZ = 50.0
_HEAD, _TAIL_BASE = "skull", "vertebra_C1"  # of the rodent


def body_length(walker: Walker) -> float:
    """Returns the body's length in the model's default pose, metres; 0.13 for the rodent.

    It is measured from the head's joint to the base of the tail; without those bodies, it is the greatest
    distance between two tracked bodies, or between any two that move if fewer than two are tracked.
    """
    data = mujoco.MjData(walker.model)
    mujoco.mj_kinematics(walker.model, data)
    bodies = walker.tracked_bodies
    if len(bodies) < 2:
        bodies = np.flatnonzero(walker.model.body_weldid)
    if {_HEAD, _TAIL_BASE} <= set(walker.body_names):
        bodies = [walker.body_names.index(name) for name in (_HEAD, _TAIL_BASE)]
    points = data.xpos[bodies]
    return float(np.linalg.norm(points[:, None] - points, axis=-1).max())


@dataclass(frozen=True)
class Ratios:
    """Compares a body with a rat.

    Attributes:
        length: of the body, in rats.
        gravity: of the model, in 9.81 m/s^2; 1000 for a model in millimetres.
    """

    length: float = 1.0
    gravity: float = 1.0

    @property
    def speed(self) -> float:
        """Ratio of speeds at the same Froude number, speed^2 / (gravity length)."""
        return (self.gravity * self.length) ** 0.5

    @property
    def angular_speed(self) -> float:
        """Ratio of angular speeds at the same Froude number."""
        return (self.gravity / self.length) ** 0.5


def ratios(walker: Walker) -> Ratios:
    """Returns how a walker compares with a rat; the rodent is one at any scale."""
    if walker.config.source == RODENT_SOURCE:
        return Ratios()
    length = body_length(walker) / RODENT_LENGTH_M
    gravity = float(np.linalg.norm(walker.model.opt.gravity)) / GRAVITY
    return Ratios(length or 1.0, gravity or 1.0)


def steps_at(rate_hz: float) -> float:
    """Returns the factor of limits on movements between two frames, which belong to 50 Hz, at another rate.

    At lower rates the movements are larger in proportion; at higher ones the limits stay, as noise does not
    shrink with the time between frames, and the limits of speed are the stricter ones.
    """
    return max(_RAT_RATE_HZ / rate_hz, 1.0)


def scaled(section: Section, body: Ratios, rate_hz: float = _RAT_RATE_HZ) -> Section:
    """Returns a section whose automatic values are numbers for a body and a frame rate.

    Lengths grow with the body's length, speeds as those of animals that move alike at another size (equal
    Froude numbers). Angular speeds of small bodies grow so too, but those of large ones do not fall below
    the rat's, as large bodies are not slower at their joints. Movements between two frames also depend on
    the rate, see `steps_at`.
    """
    slow = steps_at(rate_hz)
    spin = max(body.angular_speed, 1.0)
    factors = {"length": body.length, "speed": body.speed, "angular": spin}
    factors |= {"step": body.speed * slow, "turn": spin * slow}
    values = {}
    for item in fields(section):
        if getattr(section, item.name) == AUTO:
            number, kind = item.metadata["rat"], item.metadata["scales"]
            value = number * factors[kind]
            values[item.name] = value if value == number else float(f"{value:.3g}")
    return replace(section, **values)


def for_body(section: Section, walker: Walker, rate_hz: float = _RAT_RATE_HZ) -> Section:
    """Returns a section whose automatic values are numbers for a walker, see `scaled`."""
    return scaled(section, ratios(walker), rate_hz)


def options_for_body(options: PreprocessConfig, walker: Walker, rate_hz: float) -> PreprocessConfig:
    """Returns options whose automatic values are numbers for clips of a walker at a rate."""
    return replace(
        options,
        velocity_config=for_body(options.velocity_config, walker, rate_hz),
        contact_config=for_body(options.contact_config, walker, rate_hz),
        quality_config=for_body(options.quality_config, walker, rate_hz),
    )
