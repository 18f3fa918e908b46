"""The parts of brax that PPO is built from: its estimator, its distribution, its running statistics."""

import contextlib
import io

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    # brax imports MJX, which prints that Warp is missing.
    from brax.training.acme import running_statistics
    from brax.training.agents.ppo.losses import compute_gae
    from brax.training.distribution import NormalTanhDistribution

__all__ = ["NormalTanhDistribution", "compute_gae", "running_statistics"]
