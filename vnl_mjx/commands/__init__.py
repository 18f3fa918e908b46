"""One module per sub-command of `vnl-mjx`, each with a `run` that returns the exit status.

Whatever they call to load and to build raises a UserError for what the user can mend: a file that is missing,
damaged or does not fit, a value that cannot be, a folder that cannot be written.
"""
