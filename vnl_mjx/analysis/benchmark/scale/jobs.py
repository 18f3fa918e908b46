"""What a call of the benchmark does, in order of importance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIDDLE_ENVS = 4096
# Seconds that a job of each kind may take. Compiling MJX-JAX is the most of it.
LIMITS_S = {"rates": 420.0, "learning": 240.0, "ratio": 300.0, "ppo": 420.0, "profile": 240.0}
KINDS = tuple(LIMITS_S)


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        kind: "rates" and "ppo" measure environment steps per second, "learning" trains the toy walker,
            "ratio" distils to a share of the teacher's reward, "profile" looks into one update.
        backend: of the simulation.
        num_envs: environments; None: as many as are fastest by then ("ratio", "profile"), or as the
            problem has ("learning").
    """

    kind: str
    backend: str
    num_envs: int | None = None

    @property
    def name(self) -> str:
        """Its key in the results, for example rates/warp/4096."""
        parts = (self.kind, self.backend, self.num_envs)
        return "/".join(str(part) for part in parts if part is not None)

    @property
    def limit_s(self) -> float:
        """Seconds that it may take."""
        return LIMITS_S[self.kind]


def job_list(backends: Sequence[str], widths: Sequence[int], default_envs: int) -> list[Job]:
    """All jobs, the most important first: the first back end through, then the others.

    Args:
        backends: the fastest first.
        widths: numbers of environments.
        default_envs: those of the training as it is configured, at which "ratio" is measured as well.
    """
    middle = min(widths, key=lambda width: abs(width - MIDDLE_ENVS))
    # The largest says where the rate levels off.
    outer = sorted((width for width in widths if width != middle), reverse=True)
    first, *others = backends
    jobs = [Job("rates", first, middle), Job("learning", first)]
    jobs += [Job("rates", first, width) for width in outer[:1]]
    jobs += [Job("ratio", first), Job("profile", first), Job("ppo", first, middle)]
    for backend in others:
        jobs += [Job("rates", backend, middle), Job("learning", backend)]
    jobs += [Job("rates", first, width) for width in outer[1:]]
    jobs += [Job("ratio", first, default_envs)]
    for backend in others:
        jobs += [Job("ratio", backend), Job("ppo", backend, middle)]
    jobs += [Job("ppo", first, width) for width in outer]
    for backend in others:
        jobs += [Job("rates", backend, width) for width in outer]
    for backend in others:
        jobs += [Job("profile", backend)]
        jobs += [Job("ppo", backend, width) for width in outer]
    return jobs


def fastest_envs(results: dict[str, Any], backend: str, otherwise: int) -> int:
    """The number of environments at which the distillation of `backend` was fastest so far."""
    rates = {}
    for name, result in results.items():
        kind, found_backend, *width = name.split("/")
        distillation = result.get("found", {}).get("distillation")
        if kind == "rates" and found_backend == backend and distillation:
            rates[int(width[0])] = distillation["steps_per_second"]["median"]
    return max(rates, key=lambda width: rates[width], default=otherwise)
