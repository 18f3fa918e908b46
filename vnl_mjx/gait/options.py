"""Made motion from a command line: its options, and the motions they ask for."""

import argparse

from vnl_mjx.errors import UserError
from vnl_mjx.gait.profile import BEHAVIOURS, GaitConfig
from vnl_mjx.gait.suite import gait_suite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `configs_from` reads; defaults are those of `GaitConfig`."""
    default = GaitConfig()
    add = parser.add_argument
    add("--behaviour", choices=BEHAVIOURS, default=default.behaviour, help="what the animal does")
    add("--speed", type=float, default=default.speed, metavar="M/S", help="0 to 0.7 m/s")
    add(
        "--turn",
        type=float,
        default=default.turn,
        metavar="RAD/S",
        help="heading rate, positive to the left; the path's curvature is turn / speed",
    )
    add("--seconds", type=float, default=default.seconds, help="of each clip")
    add("--rate", type=float, default=default.rate_hz, metavar="HZ", help="frames per second")
    add("--start-ramp", type=float, default=0.0, metavar="S", help="from rest to speed")
    add("--stop-ramp", type=float, default=0.0, metavar="S", help="from speed to rest at the end")
    add(
        "--profile",
        default="",
        metavar="T:SPEED:TURN,...",
        help="speed and turn at given times, instead of --speed, --turn and the ramps",
    )
    add("--clips", type=int, default=1, metavar="N", help="variations, with consecutive seeds")
    add("--seed", type=int, default=default.seed, help="of the first clip")
    add("--variation", type=float, default=default.variation, help="size of what seeds vary")
    add("--suite", action="store_true", help="a varied set of 23 clips instead of one behaviour")


def configs_from(options: argparse.Namespace) -> dict[str, GaitConfig]:
    """Configurations by clip name that the options ask for.

    Raises:
        UserError: if an option cannot be read.
    """
    if options.clips < 1:
        raise UserError(f"--clips: expected 1 or more, found {options.clips}")
    numbers = range(options.seed, options.seed + options.clips)
    if options.suite:
        suites = {seed: gait_suite(seed, options.seconds, options.rate) for seed in numbers}
        return {
            name if options.clips == 1 else f"{name}_{seed}": config
            for seed, suite in suites.items()
            for name, config in suite.items()
        }
    return {
        f"{options.behaviour}_{seed}": GaitConfig(
            behaviour=options.behaviour,
            speed=options.speed,
            turn=options.turn,
            seconds=options.seconds,
            rate_hz=options.rate,
            seed=seed,
            start_ramp=options.start_ramp,
            stop_ramp=options.stop_ramp,
            profile=_profile(options.profile),
            variation=options.variation,
        )
        for seed in numbers
    }


def _profile(text: str) -> tuple[tuple[float, float, float], ...]:
    try:
        knots = [tuple(float(part) for part in knot.split(":")) for knot in text.split(",") if knot]
        if all(len(knot) == 3 for knot in knots):
            return tuple((time, speed, turn) for time, speed, turn in knots)
    except ValueError:
        pass
    raise UserError(
        f"--profile: expected TIME:SPEED:TURN,... such as 0:0:0,1:0.2:0,5:0.2:0.5, found {text!r}"
    )
