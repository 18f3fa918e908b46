"""Opens recordings in every kind of file that the package reads."""

from vnl_mjx.clips.recording import match_joints
from vnl_mjx.clips.sources.describe import describe_recording
from vnl_mjx.clips.sources.open import READABLE, SUFFIXES, open_recording
from vnl_mjx.clips.sources.options import SourceOptions

__all__ = [
    "READABLE",
    "SUFFIXES",
    "SourceOptions",
    "describe_recording",
    "match_joints",
    "open_recording",
]
