"""Loads teachers from track-mjx checkpoints; `vnl_mjx.compat` holds the readers of its generations."""

from vnl_mjx.compat.track_mjx_loader import LoadedTeacher, find_step, load_teacher

__all__ = ["LoadedTeacher", "find_step", "load_teacher"]
