"""Numbers that change with training, and named terms; both are parts of several configurations."""

from dataclasses import dataclass, field, fields
from typing import Any

from vnl_mjx.config.validation import number
from vnl_mjx.errors import UserError


@dataclass(frozen=True)
class ScheduleSection:
    """A number: constant, or changing linearly over environment steps. A plain number may stand for it.

    Attributes:
        value: the number, in the end.
        start: the number until `start_step`; null: `value` all along.
        start_step: environment step at which the change begins.
        end_step: environment step from which the number is `value`.
    """

    value: float = number(0.0, ge=0)
    start: float | None = number(None, ge=0)
    start_step: int = number(0, ge=0)
    end_step: int = number(0, ge=0)

    @property
    def is_ever_positive(self) -> bool:
        """Whether the number is above 0 at some time."""
        return self.value > 0 or (self.start or 0.0) > 0

    def validate(self, key: str) -> None:
        """Raises UserError, naming `key`, where the change would end before it begins."""
        if self.start is not None and self.end_step <= self.start_step:
            raise UserError(
                f"{key}.end_step: expected more than start_step = {self.start_step}, found {self.end_step}"
            )


@dataclass(frozen=True)
class LossTermSection:
    """A further term of a loss, by a function of the user's own.

    Attributes:
        function: path of the function, "my_lab.losses:smoothness" or "folder/file.py:smoothness".
        weight: of the term.
        arguments: keyword arguments of the function.
    """

    function: str = ""
    weight: ScheduleSection = field(default_factory=lambda: ScheduleSection(1.0))
    arguments: dict[str, Any] = field(default_factory=dict)


def check_schedules(section: Any, key: str) -> None:
    """Validates every schedule and further loss term of a section.

    Raises:
        UserError: a change ends before it begins, or a term names no function.
    """
    for item in fields(section):
        value = getattr(section, item.name)
        if isinstance(value, ScheduleSection):
            value.validate(f"{key}.{item.name}")
        if isinstance(value, dict):
            for name, term in value.items():
                if not term.function:
                    raise UserError(
                        f"{key}.{item.name}.{name}.function: expected the path of a function "
                        "(my_lab.losses:smoothness), found nothing"
                    )
                term.weight.validate(f"{key}.{item.name}.{name}.weight")
