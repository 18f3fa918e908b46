"""Implements the sub-commands of `vnl-mjx`; each module has a `run` that returns the exit status.

Functions that load and build raise UserError for anything that the user can fix: a file that is missing,
damaged or does not fit, an impossible value, a folder that cannot be written.
"""
