"""Defines the command line's options for made motion, and a varied set of motions."""

import argparse
from dataclasses import replace

from vnl_mjx.errors import UserError
from vnl_mjx.gait.profile import BEHAVIOURS, GaitConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `configs_from` reads; defaults are those of `GaitConfig`."""
    default = GaitConfig()
    add = parser.add_argument
    add("--behaviour", choices=BEHAVIOURS, default=default.behaviour, help="what the animal does")
    add("--speed", type=float, default=default.speed, metavar="M/S", help="-0.15 to 0.7 m/s")
    add(
        "--sideways",
        type=float,
        default=default.sideways,
        metavar="M/S",
        help="to the left, at most 0.1",
    )
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
    add("--suite", action="store_true", help="a varied set of 26 clips instead of one behaviour")


def configs_from(options: argparse.Namespace) -> dict[str, GaitConfig]:
    """Returns configurations by clip name for the options; UserError if an option cannot be read."""
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
    config = GaitConfig(
        behaviour=options.behaviour,
        speed=options.speed,
        sideways=options.sideways,
        turn=options.turn,
        seconds=options.seconds,
        rate_hz=options.rate,
        start_ramp=options.start_ramp,
        stop_ramp=options.stop_ramp,
        profile=_profile(options.profile),
        variation=options.variation,
    )
    return {f"{options.behaviour}_{seed}": replace(config, seed=seed) for seed in numbers}


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


def gait_suite(seed: int = 0, seconds: float = 5.0, rate_hz: float = 50.0) -> dict[str, GaitConfig]:
    """Returns configurations by clip name, each with its own seed, of at least 4 `seconds`."""
    middle = 0.5 * seconds
    configs = {
        "walk_slow": GaitConfig(speed=0.10),
        "walk_medium": GaitConfig(speed=0.20),
        "walk_fast": GaitConfig(speed=0.35),
        "trot_slow": GaitConfig("trot", speed=0.40),
        "trot_medium": GaitConfig("trot", speed=0.50),
        "trot_fast": GaitConfig("trot", speed=0.60),
        # A radius of 0.25 m and one of 0.125 m, to either side, then a faster wide turn.
        "turn_left_wide": GaitConfig(speed=0.20, turn=0.8),
        "turn_right_wide": GaitConfig(speed=0.20, turn=-0.8),
        "turn_left_tight": GaitConfig(speed=0.15, turn=1.2),
        "turn_right_tight": GaitConfig(speed=0.15, turn=-1.2),
        "trot_turn_left": GaitConfig("trot", speed=0.42, turn=0.8),
        "trot_turn_right": GaitConfig("trot", speed=0.42, turn=-0.8),
        "turn_on_the_spot_left": GaitConfig(speed=0.03, turn=1.0, start_ramp=0.6, stop_ramp=0.6),
        "turn_on_the_spot_right": GaitConfig(speed=0.03, turn=-1.0, start_ramp=0.6, stop_ramp=0.6),
        "start_stop": GaitConfig(speed=0.25, start_ramp=0.8, stop_ramp=0.8, stop_rest=0.9),
        "start_walk": GaitConfig(
            profile=((0.0, 0.0, 0.0), (0.6, 0.0, 0.0), (1.6, 0.2, 0.0), (seconds, 0.2, 0.0))
        ),
        "walk_to_trot": GaitConfig(
            profile=((0.0, 0.2, 0.0), (middle - 1.0, 0.2, 0.0), (middle + 0.5, 0.5, 0.0))
        ),
        "trot_to_walk": GaitConfig(
            profile=((0.0, 0.48, 0.0), (middle - 1.0, 0.48, 0.0), (middle + 0.5, 0.15, 0.0))
        ),
        "wander": GaitConfig(
            profile=(
                (0.0, 0.12, 0.0),
                (0.25 * seconds, 0.25, 1.2),
                (0.5 * seconds, 0.12, -0.6),
                (0.75 * seconds, 0.2, -1.4),
                (seconds, 0.1, 0.0),
            )
        ),
        "stand": GaitConfig("stand"),
        "stand_again": GaitConfig("stand"),
        "rear": GaitConfig("rear"),
        "rear_low": GaitConfig("rear", rear_pitch=0.9),
        "walk_backwards": GaitConfig(speed=-0.08),
        "sidestep_left": GaitConfig(speed=0.0, sideways=0.05),
        "sidestep_right": GaitConfig(speed=0.0, sideways=-0.05),
    }
    return {
        name: replace(config, seconds=seconds, rate_hz=rate_hz, seed=1000 * seed + number)
        for number, (name, config) in enumerate(configs.items())
    }
