"""What keys of the configuration that are gone are called now."""

# Keys and sections that became a number which may change (`ScheduleSection`).
_NOW_SCHEDULES = {
    "training_config.kl_schedule": "training_config.kl_weight",
    "training_config.learning_rate_decay": "training_config.learning_rate",
    "training_config.teacher_forcing": "training_config.teacher_fraction",
    "ppo.learning_rate.initial": "ppo.learning_rate",
    "ppo.learning_rate.final": "ppo.learning_rate",
} | {
    f"ppo.{name}.{old}": f"ppo.{name}"
    for name in ("entropy", "action_std", "latent_kl", "latent_ar1_kl", "guidance")
    for old in ("weight", "start_weight")
}
_NOW = {
    "ppo.learning_rate.target_kl": "ppo.adaptive_rate.target_kl",
    "ppo.learning_rate.lowest": "ppo.adaptive_rate.lowest",
    "ppo.learning_rate.highest": "ppo.adaptive_rate.highest",
    "ppo.action_std.target": "ppo.action_std_target",
}


def renamed(key: str) -> str | None:
    """Returns one line that names the successor of a key or section that is gone; None: it never was one."""
    if key == "ppo.learning_rate.schedule":
        return (
            f"{key} is gone: the rate adapts where ppo.adaptive_rate.target_kl is a number, and follows "
            "ppo.learning_rate where it is null"
        )
    if key in _NOW:
        return f"{key} is now {_NOW[key]}"
    for old, new in _NOW_SCHEDULES.items():
        if key == old or key.startswith(f"{old}."):
            return f"{key} is now {new} = value, or {new}.value, .start, .start_step and .end_step"
    return None
