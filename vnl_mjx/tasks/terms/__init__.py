"""Defines terms of observations, rewards and terminations: functions of (state, reference, walker).

`state` is a `TermState`, `reference` the followed `ReferenceFrames` (None in a task without clips) and
`walker` the `Walker`. A configuration names terms: the built-in ones by name, a user's own by path
("my_lab.terms:whisking").
"""
