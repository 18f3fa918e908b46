"""Terms of observations, rewards and terminations: functions of (state, reference, walker).

`state` is a `TermState`, `reference` the `ReferenceFrames` that are followed (None in a task that follows
nothing) and `walker` the `Walker`. A configuration names terms: the built-in ones by name, a user's own by
path ("my_lab.terms:whisking").
"""
