"""The one error that a user can cause, and the exit status that goes with it."""

USER_ERROR_EXIT_STATUS = 2


class UserError(Exception):
    """A mistake in what the user gave: a path, a file, a config key or a value.

    The message is one line for a person: it names the file, field or key, what was expected, what
    was found, and the fix. The command line prints it without a traceback and exits with status 2.
    """


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of an error's message, its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]
