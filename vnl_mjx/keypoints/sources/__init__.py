"""Opens files of 3-D key points of every kind that the package reads."""

from vnl_mjx.keypoints.sources.open import READABLE, open_key_points
from vnl_mjx.keypoints.sources.options import KeyPointOptions

__all__ = ["READABLE", "KeyPointOptions", "open_key_points"]
