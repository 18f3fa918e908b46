"""Conditions recorded poses for training, one module per step."""
