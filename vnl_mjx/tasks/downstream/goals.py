"""Makes the goals of this package by name."""

from vnl_mjx.errors import UserError, first_line, nearest
from vnl_mjx.extensions import is_path, load_object
from vnl_mjx.tasks.downstream.bowl import Bowl
from vnl_mjx.tasks.downstream.follow_target import FollowTarget
from vnl_mjx.tasks.downstream.forage import Forage
from vnl_mjx.tasks.downstream.gaps import Gaps
from vnl_mjx.tasks.downstream.go_to_target import GoToTarget
from vnl_mjx.tasks.downstream.goal import Goal
from vnl_mjx.tasks.downstream.joystick import Joystick
from vnl_mjx.tasks.downstream.rearing import Rearing
from vnl_mjx.tasks.downstream.velocity import Velocity
from vnl_mjx.tasks.downstream.walk_and_rear import WalkAndRear

# Each takes no arguments.
GOALS: dict[str, type[Goal]] = {
    goal.name: goal
    for goal in (
        *(Joystick, Velocity, GoToTarget, FollowTarget, Rearing, WalkAndRear),
        *(Bowl, Forage, Gaps),
    )
}


def make_goal(name: str, key: str) -> Goal:
    """Makes a goal of ours by its name, or a user's own by its path.

    Args:
        name: one of `GOALS`, or a path (`extensions.load_object`) of a class or function that makes a goal.
        key: key of the configuration, for messages.

    Raises:
        UserError: there is no such goal, or the object does not make a goal.
    """
    if is_path(name):
        return _own_goal(name, key)
    if name not in GOALS:
        raise UserError(
            f"{key}: unknown goal {name!r}; the nearest name is {nearest(name, GOALS, 0.0)!r}, known are "
            f"{sorted(GOALS)}"
        )
    return GOALS[name]()


def _own_goal(name: str, key: str) -> Goal:
    try:
        goal = load_object(name, key)()
    except TypeError as error:  # a method is missing, or arguments are required
        raise UserError(f"{key}: cannot make a goal from {name!r}: {first_line(error)}") from error
    if not isinstance(goal, Goal):
        raise UserError(f"{key}: expected {name!r} to make a Goal, found {type(goal).__name__}")
    return goal
