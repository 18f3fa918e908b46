"""One module per sub-command of `vnl-mjx`, each with a `run` that returns the exit status."""
