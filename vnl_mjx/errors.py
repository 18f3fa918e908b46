"""Defines the error that users can cause, and its exit status."""

import difflib
from collections.abc import Iterable

USER_ERROR_EXIT_STATUS = 2
_LONGEST_NAME = 200  # difflib takes 50 times a text's memory


class UserError(Exception):
    """Reports a mistake in the user's input: a path, a file, a config key or a value.

    The message is one line for a person: it names the file, field or key, what was expected, what
    was found, and the fix. The command line prints it without a traceback and exits with status 2.
    """


def first_line(error: BaseException, most: int = 200) -> str:
    """Returns the first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Returns the known name that is most like a wrong one; None if none is.

    Args:
        name: of a very long one the beginning counts.
        known: the right names.
        likeness: 0 takes any, 1 only the same.
    """
    found = difflib.get_close_matches(name[:_LONGEST_NAME], list(known), 1, likeness)
    return found[0] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message about a wrong name: the nearest known one; empty if none is near."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""
