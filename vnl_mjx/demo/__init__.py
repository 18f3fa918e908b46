"""Locates the bundled teachers and clips; the first ones are the defaults. See MODEL_CARD.md."""

from pathlib import Path

DEMO_TEACHER = Path(__file__).parent / "teacher"
TORQUE_TEACHER = Path(__file__).parent / "torque_teacher"  # of torque actuators
DEMO_STUDENT = Path(__file__).parent / "student"  # of the first teacher
DEMO_JOYSTICK = Path(__file__).parent / "joystick"  # a policy in the latent space of that student
DEMO_CLIPS = Path(__file__).parent / "clips.h5"
