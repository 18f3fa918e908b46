"""Defines the keys of every configuration for the simulation's back end and solver."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from vnl_mjx.config.validation import number

Device = Literal["auto", "cpu", "gpu"]
MatmulPrecision = Literal["auto", "float32", "tensorfloat32", "bfloat16"]


@dataclass(frozen=True)
class PhysicsSection:
    """Where the simulation runs.

    Attributes:
        backend: "mujoco" for MuJoCo C on threads, "mjx" for MJX-JAX and "warp" for MuJoCo Warp on JAX's
            device; "auto": MuJoCo C where JAX computes on the CPU, on a GPU Warp if the extra is
            installed, else MJX-JAX.
        num_threads: threads of the "mujoco" back end, 0 for every core.
        naconmax_per_env: contacts per environment that "warp" has room for, null for the model's maximum. A
            smaller number saves memory; contacts that did not fit are counted.
        njmax: constraint rows of one environment, likewise.
    """

    backend: Literal["auto", "mujoco", "mjx", "warp"] = "auto"
    num_threads: int = number(0, ge=0)
    naconmax_per_env: int | None = number(None, ge=1)
    njmax: int | None = number(None, ge=1)


@dataclass(frozen=True)
class SolverSection:
    """The constraint solver, if it differs from the one that the teacher was trained with (null).

    A teacher has adapted to its solver's contacts, and another solver may need new training.

    Attributes:
        solver: "cg" or "newton".
        iterations: largest number per physics step.
        ls_iterations: largest number of line-search iterations per solver iteration.
    """

    solver: Literal["cg", "newton"] | None = None
    iterations: int | None = number(None, ge=1)
    ls_iterations: int | None = number(None, ge=1)

    def changes(self) -> dict[str, Any]:
        """Returns the keys that are not null, by their names in `config.imitation.PhysicsConfig`."""
        return {name: value for name, value in asdict(self).items() if value is not None}
