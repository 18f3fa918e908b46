"""Walkers: the bodies that imitate, as compiled MuJoCo models with named rows."""
