"""Holds what the user says about a file of key points."""

from dataclasses import dataclass
from typing import Literal, get_args

from vnl_mjx.clips.sources.conventions import METRES
from vnl_mjx.config.validation import check_bounds, number
from vnl_mjx.errors import UserError

UpAxis = Literal["z", "y", "-y", "-z"]


@dataclass(frozen=True)
class KeyPointOptions:
    """Overrides or completes what a file of key points says.

    Attributes:
        rate_hz: frames per second, None for what the file says.
        length_unit: unit of the positions, None for what the file says, else found from the body's size.
        up_axis: axis of the recorded world that points up, None for the one along which the feet are below
            the trunk, by their names, else z.
        points: names of the points in the file's order, for files that have none: a scheme of the package
            (`rat23`), a file (.mat with `joint_names`; .txt, .yaml or .json list), or a list with commas.
        animal: name, or number from 0, of the animal, for files of several.
        min_confidence: points of a lower confidence, as `KeyPoints` has it, count as not found.
        body_length_m: about how long the animal is, to find the unit: its largest distance between two
            points, metres.
    """

    rate_hz: float | None = number(None, gt=0.0)
    length_unit: Literal["m", "cm", "mm"] | None = None
    up_axis: UpAxis | None = None
    points: str | None = None
    animal: str | int | None = None
    min_confidence: float = number(0.0, ge=0.0, le=1.0)
    body_length_m: float = number(0.16, gt=0.0)

    def __post_init__(self) -> None:
        check_bounds(self)
        for name, known in (("length_unit", tuple(METRES)), ("up_axis", get_args(UpAxis))):
            if (value := getattr(self, name)) is not None and value not in known:
                raise UserError(f"{name}: expected {' or '.join(known)}, found {value!r}")
