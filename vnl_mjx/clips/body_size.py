"""Measures a body, and scales limits that were found for rats to its size and frame rate."""

from dataclasses import fields, replace
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
from vnl_mjx.walkers.walker import Walker

Section = TypeVar("Section", ContactSection, QualityLimits, VelocitySection)

RAT_LENGTH_M = 0.13
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


def size_ratio(walker: Walker) -> float:
    """Returns the body's length as a multiple of the rat's; 1 for the rodent at any scale."""
    length = RAT_LENGTH_M if walker.config.source == RODENT_SOURCE else body_length(walker)
    return length / RAT_LENGTH_M if length > 0.0 else 1.0


def scaled(section: Section, ratio: float, rate_hz: float = _RAT_RATE_HZ) -> Section:
    """Returns a section whose automatic values are numbers for a body and a frame rate.

    With `ratio` = the body's length / the rat's, lengths grow with the ratio and speeds with its square
    root (equal Froude numbers: animals of different size that move alike). Angular speeds grow with the
    square root of 1 / ratio, but never fall below the rat's, as large bodies are not slower at their
    joints. Movements between two frames belong to 50 Hz: at lower rates they are larger in proportion, at
    higher ones the same (the limits of speed are then the stricter ones).
    """
    slow = max(_RAT_RATE_HZ / rate_hz, 1.0)
    spin = max(ratio**-0.5, 1.0)
    factors = {"length": ratio, "speed": ratio**0.5, "angular": spin}
    factors |= {"step": ratio**0.5 * slow, "turn": spin * slow}
    values = {}
    for item in fields(section):
        if getattr(section, item.name) == AUTO:
            number, kind = item.metadata["rat"], item.metadata["scales"]
            value = number * factors[kind]
            values[item.name] = value if value == number else float(f"{value:.3g}")
    return replace(section, **values)


def for_body(section: Section, walker: Walker, rate_hz: float = _RAT_RATE_HZ) -> Section:
    """Returns a section whose automatic values are numbers for a walker, see `scaled`."""
    return scaled(section, size_ratio(walker), rate_hz)


def options_for_body(options: PreprocessConfig, walker: Walker, rate_hz: float) -> PreprocessConfig:
    """Returns options whose automatic values are numbers for clips of a walker at a rate."""
    return replace(
        options,
        velocity_config=for_body(options.velocity_config, walker, rate_hz),
        contact_config=for_body(options.contact_config, walker, rate_hz),
        quality_config=for_body(options.quality_config, walker, rate_hz),
    )
