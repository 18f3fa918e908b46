"""One module per sub-command of `vnl-mjx`, each with a `run` that returns the exit status.

A mistake of the user raises a UserError; so does what `run` calls to load and to build.
"""
