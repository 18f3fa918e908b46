"""Builds walkers: the simulated bodies, as compiled MuJoCo models with named rows."""
