"""The embedded teacher and clips that the commands use where the user gives none; see MODEL_CARD.md."""

from pathlib import Path

DEMO_TEACHER = Path(__file__).parent / "teacher"
DEMO_CLIPS = Path(__file__).parent / "clips.h5"
