"""Time of a simulation as upstream sums it, in NumPy, where no compiler rounds it otherwise."""

import numpy as np

from vnl_mjx.config.imitation import PhysicsConfig


def summed_time(config: PhysicsConfig, num_steps: int) -> np.ndarray:
    """Time [step] after each of `num_steps` control steps, float32, one substep added at a time."""
    substeps = np.full(num_steps * config.num_substeps, config.timestep, np.float32)
    return np.cumsum(substeps, dtype=np.float32)[config.num_substeps - 1 :: config.num_substeps]
