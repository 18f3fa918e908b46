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
        start_step: environment step at which the change begins; up to 1, a share of the run's steps.
        end_step: environment step from which the number is `value`; likewise.
    """

    value: float = number(0.0, ge=0)
    start: float | None = number(None, ge=0)
    start_step: float = number(0, ge=0)
    end_step: float = number(0, ge=0)

    @property
    def is_ever_positive(self) -> bool:
        """Whether the number is above 0 at some time."""
        return self.value > 0 or (self.start or 0.0) > 0

    def steps(self, num_steps: int) -> tuple[float, float]:
        """Returns the environment steps at which the change begins and ends in a run of `num_steps`."""
        first, last = (
            step * num_steps if step <= 1 else step for step in (self.start_step, self.end_step)
        )
        return first, last

    def validate(self, key: str, num_steps: int) -> None:
        """Raises UserError, naming `key`, where the change would end before it begins."""
        first, last = self.steps(num_steps)
        if self.start is not None and last <= first:
            raise UserError(
                f"{key}.end_step: expected more than start_step = {self.start_step:g}, found "
                f"{self.end_step:g}"
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
    """Validates every schedule and further loss term of a section that has `num_steps`.

    Raises:
        UserError: a change ends before it begins, or a term names no function.
    """
    for item in fields(section):
        value = getattr(section, item.name)
        if isinstance(value, ScheduleSection):
            value.validate(f"{key}.{item.name}", section.num_steps)
        if isinstance(value, dict):
            for name, term in value.items():
                if not term.function:
                    raise UserError(
                        f"{key}.{item.name}.{name}.function: expected the path of a function "
                        "(my_lab.losses:smoothness), found nothing"
                    )
                term.weight.validate(f"{key}.{item.name}.{name}.weight", section.num_steps)
