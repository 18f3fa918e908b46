"""Defines the error that users can cause, and its exit status."""

import difflib
from collections.abc import Iterable

USER_ERROR_EXIT_STATUS = 2


class UserError(Exception):
    """Reports a mistake in the user's input: a path, a file, a config key or a value.

    The message is one line for a person: it names the file, field or key, what was expected, what
    was found, and the fix. The command line prints it without a traceback and exits with status 2.
    """


def first_line(error: BaseException, most: int = 200) -> str:
    """Returns the first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message about a wrong name: the nearest known one; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
