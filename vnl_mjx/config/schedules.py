"""Defines schedules and loss terms, which several configurations contain."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from vnl_mjx.config.validation import number
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import is_path


@dataclass(frozen=True)
class ScheduleSection:
    """A schedule: constant, or linear over environment steps. In YAML a plain number is a constant.

    Attributes:
        value: the final value.
        start: the value until `start_step`; null: `value` throughout.
        start_step: environment step at which the change starts; a number up to 1 is a share of the run's
            steps.
        end_step: environment step from which `value` holds; likewise.
    """

    value: float = number(0.0, ge=0)
    start: float | None = number(None, ge=0)
    start_step: float = number(0, ge=0)
    end_step: float = number(0, ge=0)

    @property
    def is_ever_positive(self) -> bool:
        """Whether the schedule is above 0 at some step."""
        return self.value > 0 or (self.start or 0.0) > 0

    def steps(self, num_steps: int) -> tuple[float, float]:
        """Returns the environment steps at which the change starts and ends in a run of `num_steps`."""
        first, last = (
            step * num_steps if step <= 1 else step for step in (self.start_step, self.end_step)
        )
        return first, last

    def scaled(self, factor: float) -> "ScheduleSection":
        """Returns the schedule multiplied by `factor`."""
        start = None if self.start is None else factor * self.start
        return replace(self, value=factor * self.value, start=start)

    def validate(self, key: str, num_steps: int) -> None:
        """Raises UserError, naming `key`, if the change would end before it starts."""
        first, last = self.steps(num_steps)
        if self.start is not None and last <= first:
            raise UserError(
                f"{key}.end_step: expected more than start_step = {self.start_step:g}, found "
                f"{self.end_step:g}"
            )


@dataclass(frozen=True)
class LossTermSection:
    """A further term of a loss.

    Attributes:
        function: of a student, name of a built-in term (`config.losses.STUDENT_TERMS`), or the path of a
            function of the user's own, "my_lab.losses:jerk" or "folder/file.py:jerk"; empty: the term's
            own name.
        weight: of the term.
        arguments: keyword arguments of the function.
    """

    function: str = ""
    weight: ScheduleSection = field(default_factory=lambda: ScheduleSection(1.0))
    arguments: dict[str, Any] = field(default_factory=dict)


def check_schedules(section: Any, key: str, built_in: Collection[str] = ()) -> None:
    """Validates every schedule and further loss term of a section that has `num_steps`.

    Args:
        section: the section.
        key: its key, for messages.
        built_in: names of further terms that need no path.

    Raises:
        UserError: a change ends before it begins, or a term names no function.
    """
    for item in fields(section):
        value = getattr(section, item.name)
        if isinstance(value, ScheduleSection):
            value.validate(f"{key}.{item.name}", section.num_steps)
        if isinstance(value, dict):
            for name, term in value.items():
                wanted = term.function or name
                if wanted not in built_in and not is_path(wanted):
                    names = "".join(f"{known}, " for known in built_in) + "or " * bool(built_in)
                    raise UserError(
                        f"{key}.{item.name}.{name}.function: expected {names}the path of a function "
                        f"(my_lab.losses:jerk), found {term.function or 'nothing'}"
                    )
                term.weight.validate(f"{key}.{item.name}.{name}.weight", section.num_steps)
