"""Overrides of an evaluation of the toy student that takes seconds."""

QUICK_EVAL = (
    "eval_config.starts_per_clip=1",
    "eval_config.acting=deterministic",
    "eval_config.baselines=false",
    "prior_config.seconds=0.2",
    "prior_config.num_episodes=4",
    "prior_config.modes=[learned]",
    "latent_config.umap=false",
    "latent_config.num_traversals=0",
    "latent_config.interpolate=false",
    "video_config.num_clips=0",
)
