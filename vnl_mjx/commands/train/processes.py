"""Runs several processes as one run: they find each other, agree, and end together.

All processes execute the same program, each with the environments of its own devices; the first one prints
and writes. They need a shared folder.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from vnl_mjx.devices import environment_mesh
from vnl_mjx.errors import USER_ERROR_EXIT_STATUS, UserError, first_line
from vnl_mjx.training.segments import num_groups

ADDRESS_VARIABLE = "JAX_COORDINATOR_ADDRESS"  # host:port of the first process
COUNT_VARIABLE = "JAX_NUM_PROCESSES"
INDEX_VARIABLE = "JAX_PROCESS_ID"
_LOCAL_DEVICES_VARIABLE = "JAX_LOCAL_DEVICE_IDS"
JOIN_TIMEOUT_S = 300
# Seconds after which a lost process is noticed and the others end.
HEARTBEAT_TIMEOUT_S = 60
# Seconds that a failing process waits for the others to end before it ends them.
SHUTDOWN_TIMEOUT_S = 20
_LONGEST_TEXT = 4096


@dataclass(frozen=True)
class Launch:
    """Holds what a launcher told this process.

    Attributes:
        count: number of processes.
        index: index of this process.
        address: host:port of the first process; None if JAX finds it in the launcher's variables.
        one_gpu_each: the processes of a machine see all its GPUs, and take one each.
    """

    count: int
    index: int
    address: str | None
    one_gpu_each: bool = False


def join() -> None:
    """Joins the other processes of the job, if any; call it before any use of JAX."""
    launch = find_launch(os.environ)
    if launch is None:
        return
    # JAX's own SIGTERM handler would replace ours.
    jax.config.update("jax_enable_preemption_service", False)
    if launch.index > 0 and launch.address is not None:
        _wait_for_first(launch, launch.address)
    by_jax = launch.one_gpu_each or _LOCAL_DEVICES_VARIABLE in os.environ
    try:
        jax.distributed.initialize(
            launch.address,
            launch.count,
            launch.index,
            # An empty list means all visible GPUs; by default JAX gives one to each process of a Slurm job.
            local_device_ids=None if by_jax else [],
            initialization_timeout=JOIN_TIMEOUT_S,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_S,
        )
    except Exception as error:  # of JAX or gRPC, of several types
        raise _cannot_join(launch, error) from error


def find_launch(environ: Mapping[str, str]) -> Launch | None:
    """Returns the launch by Slurm, Open MPI or variables set by hand; None for a single process."""
    if COUNT_VARIABLE in environ or INDEX_VARIABLE in environ:
        names, here = (COUNT_VARIABLE, INDEX_VARIABLE), 1
    elif "SLURM_STEP_ID" in environ and "SLURM_PROCID" in environ:
        # srun started this process, not sbatch alone
        names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID")
        here = _most_on_a_node(environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    elif "OMPI_COMM_WORLD_SIZE" in environ:
        names = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
        here = _number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE")
    else:
        return None
    count, index = (_number(environ, name) for name in names)
    if count <= 1:
        return None
    if index >= count:
        raise UserError(f"{names[1]}: expected 0 ... {count - 1}, found {index}")
    address = environ.get(ADDRESS_VARIABLE)
    if address is None and not ("SLURM_STEP_ID" in environ or "OMPI_MCA_orte_hnp_uri" in environ):
        raise UserError(
            f"{ADDRESS_VARIABLE}: expected host:port of the first of the {count} processes that "
            f"{names[0]} says there are, found nothing"
        )
    num_gpus = len(environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
    return Launch(count, index, address, one_gpu_each=here > 1 and num_gpus > 1)


def is_first() -> bool:
    """Returns whether this process prints and writes."""
    return jax.process_index() == 0


def highest(value: int) -> int:
    """Returns the highest of the processes' values; every process must call it."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def of_first(text: str) -> str:
    """Returns the first process's text, such as a path; every process must call it."""
    if jax.process_count() == 1:
        return text
    row = np.frombuffer(text.encode().ljust(_LONGEST_TEXT, b"\0"), np.uint8)
    return bytes(multihost_utils.broadcast_one_to_all(row)).rstrip(b"\0").decode()


def number_of_first(value: int | None) -> int | None:
    """Returns the first process's number, which may be large; every process must call it."""
    text = of_first("" if value is None else str(value))
    return int(text) if text else None


def first_does(action: Callable[[], object]) -> None:
    """Runs a function in the first process while the others wait; a failure ends all of them."""
    error: UserError | None = None
    if is_first():
        try:
            action()
        except UserError as raised:
            error = raised
    failed = highest(error is not None)
    if error is not None:
        raise error
    if failed:
        raise SystemExit(USER_ERROR_EXIT_STATUS)  # the first process prints the reason


def training_mesh(wanted: int | None, num_envs: int, minibatch_rows: int, envs_key: str) -> Mesh:
    """Returns a mesh of devices that share the environments of a run evenly.

    With `wanted` None, one process takes as many devices as can hold their share of every minibatch in
    their own memory (`training.segments.num_groups`), and several processes take all their devices.
    `envs_key` is the key of `num_envs`, for the message.
    """
    found = len(jax.devices())
    if wanted is None:
        groups = num_groups(num_envs, minibatch_rows)
        wanted = max(n for n in range(1, found + 1) if groups % n == 0)
        if jax.process_count() > 1:
            wanted = found
    mesh = environment_mesh(wanted)
    if num_envs % wanted:
        fewer = max(n for n in range(1, wanted) if num_envs % n == 0)
        or_fewer = f", or num_devices={fewer}" if jax.process_count() == 1 else ""
        raise UserError(
            f"num_devices: expected a divisor of {envs_key} = {num_envs}, found {wanted}; give "
            f"{envs_key}={-(-num_envs // wanted) * wanted}{or_fewer}"
        )
    return mesh


def _wait_for_first(launch: Launch, address: str) -> None:
    """Waits until the first process listens; otherwise JAX ends with a page of C++ and no exception."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while True:
        try:
            return socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, ValueError, OverflowError) as error:
            is_wrong = not isinstance(error, OSError) or (
                isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
            )
            if is_wrong or time.monotonic() > deadline:
                raise _cannot_join(launch, error) from error
        time.sleep(0.2)


def _cannot_join(launch: Launch, error: Exception) -> UserError:
    where = f" at {launch.address}" if launch.address else ""
    return UserError(
        f"process {launch.index} of {launch.count}: cannot join the others{where} ({first_line(error)}); "
        f"start them all within {JOIN_TIMEOUT_S} s, and let {ADDRESS_VARIABLE} name a free port of the "
        "first one's machine"
    )


def _number(environ: Mapping[str, str], name: str) -> int:
    found = environ.get(name, "nothing")
    if not found.isdecimal():
        raise UserError(f"{name}: expected a whole number, found {found}")
    return int(found)


def _most_on_a_node(tasks_per_node: str) -> int:
    """Returns the largest count in Slurm's notation: "2(x3),1" is three nodes with 2 tasks, one with 1."""
    return max(int(part.partition("(")[0]) for part in tasks_per_node.split(","))
