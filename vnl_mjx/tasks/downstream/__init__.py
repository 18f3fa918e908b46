"""Defines tasks without clips, whose action is a latent of a frozen student: motor primitives in use."""
