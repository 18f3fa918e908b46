"""A varied set of made motions, for training a teacher that walks."""

from dataclasses import replace

from vnl_mjx.gait.profile import GaitConfig


def gait_suite(seed: int = 0, seconds: float = 5.0, rate_hz: float = 50.0) -> dict[str, GaitConfig]:
    """Configurations by clip name; each clip has a seed of its own.

    Args:
        seed: of the set; another seed gives the same behaviours with other variations.
        seconds: of every clip, at least 4.
        rate_hz: frames per second.
    """
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
    }
    return {
        name: replace(config, seconds=seconds, rate_hz=rate_hz, seed=1000 * seed + number)
        for number, (name, config) in enumerate(configs.items())
    }
