"""Weak scaling of distillation: as many environments on each of more and more devices.

    uv run python benchmarks/scaling.py [--devices 1,2,4,8] [--envs 128] [--json FILE] [KEY=VALUE ...]

The devices are virtual ones of this machine's CPU and share its cores, so what is measured is what the
spreading itself costs: an efficiency of 1 says that n devices do n times the work of one in n times the
time. What they exchange is read off the compiled programs. Some four minutes on two cores.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

WARM_UP_UPDATES, UPDATES = 2, 5


def measured(num_devices: int, envs_per_device: int, overrides: list[str]) -> dict:
    """The report of a process of its own, which has so many devices."""
    flag = f"--xla_force_host_platform_device_count={num_devices}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
    command = [sys.executable, __file__, f"--child={num_devices}", f"--envs={envs_per_device}"]
    environment = os.environ | {"XLA_FLAGS": flags, "VNL_MJX_CACHE": "off"}
    done = subprocess.run(
        [*command, *overrides], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def child(num_devices: int, envs_per_device: int, overrides: list[str]) -> None:
    """Prints what `num_devices` devices of this process do."""
    import jax
    from exchanges import exchanges
    from trainings import Distillation

    num_envs = num_devices * envs_per_device
    sizes = [f"training_config.num_envs={num_envs}", f"training_config.batch_size={num_envs}"]
    run = Distillation([*sizes, f"num_devices={num_devices}", "device=cpu", *overrides]).open()
    trainer, state, seconds = run.trainer, run.training.initial_state(), []
    for _ in range(WARM_UP_UPDATES + UPDATES):
        state, update = trainer.update(state)
        seconds.append(update.seconds)
    found = {name: exchanges(stage.text()) for name, stage in trainer.programs.items()}
    report = {
        "devices": num_devices,
        "env_steps": trainer.steps_per_update,
        "parameters": sum(x.size for x in jax.tree.leaves(state.params)),
        "seconds": {
            name: float(np.median([each[name] for each in seconds[WARM_UP_UPDATES:]]))
            for name in ("rollout", "update", "physics")
        },
        "compile_seconds": {n: stage.program.seconds for n, stage in trainer.programs.items()},
        "exchanges": {n: dict(each.calls) for n, each in found.items()},
        "exchanged_bytes": {n: dict(each.num_bytes) for n, each in found.items()},
    }
    print(json.dumps(report))


def show(reports: list[dict]) -> None:
    """Prints the table."""
    table = Table(title="One update of a distillation on virtual devices of one CPU")
    columns = ("devices", "steps", "rollout s", "ratio", "learning s", "ratio")
    for name in (*columns, "sums", "MB"):
        table.add_column(name, justify="right")
    alone = reports[0]
    for report in reports:
        rollout, learning = (_efficiency(report, alone, name) for name in ("rollout", "update"))
        volume = sum(sum(x.values()) for x in report["exchanged_bytes"].values())
        table.add_row(
            str(report["devices"]),
            f"{report['env_steps']:,}",
            *rollout,
            *learning,
            str(sum(sum(x.values()) for x in report["exchanges"].values())),
            f"{volume / 1e6:.1f}",
        )
    Console().print(table)
    last = reports[-1]
    kinds = {kind for each in last["exchanges"].values() for kind in each}
    print(
        f"{last['parameters']:,} parameters; exchanged by {', '.join(sorted(kinds)) or 'nothing'}"
    )


def _efficiency(report: dict, alone: dict, name: str) -> tuple[str, str]:
    """Seconds of an update's part, and steps per second over those of the first report."""
    seconds, before = report["seconds"][name], alone["seconds"][name]
    ratio = report["env_steps"] / seconds / (alone["env_steps"] / before)
    return f"{seconds:.2f}", f"{ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--devices", default="1,2,4,8")
    parser.add_argument("--envs", type=int, default=128, help="on each device")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="key=value, as of `vnl-mjx distill`")
    args = parser.parse_intermixed_args()
    if args.child:
        child(args.child, args.envs, args.overrides)
        return
    reports = []
    for num_devices in map(int, args.devices.split(",")):
        print(f"measuring {num_devices} device(s)", file=sys.stderr)
        reports.append(measured(num_devices, args.envs, args.overrides))
    show(reports)
    if args.json:
        args.json.write_text(json.dumps(reports, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
