"""Writes clips in the layouts that other packages read."""
