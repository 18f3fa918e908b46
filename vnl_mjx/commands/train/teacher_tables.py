"""What a training is about, as tables."""

from typing import Any

import jax

from vnl_mjx.commands.train.teacher_experiment import TeacherExperiment


def task_rows(experiment: TeacherExperiment) -> dict[str, str]:
    """Body, simulation and episodes."""
    config, walker = experiment.config, experiment.walker
    task, physics = config.task, config.task.physics
    layout = experiment.env.task.layout
    size = layout.reference_size + layout.proprioception_size
    return {
        "body": f"{walker.config.source.rpartition('/')[2]}, "
        f"{'torque' if walker.config.torque_actuators else 'position'} actuators",
        "simulation": f"{1e3 * physics.timestep:g} ms, control at {1 / physics.control_timestep:g} Hz",
        "observation": f"{size} = reference {layout.reference_size} + proprioception "
        f"{layout.proprioception_size}",
        "action": str(experiment.env.action_size),
        "reward": task.reward.family.replace("_", "-"),
        "episode": f"at most {task.episode_frames} frames, starts "
        + ("in motion" if task.initial_velocity == "reference" else "at rest"),
    }


def network_rows(experiment: TeacherExperiment, params: Any) -> dict[str, str]:
    """Sizes, and where the parameters come from."""
    policy, value = experiment.model.policy_config, experiment.model.value_config
    decoder = _sizes(policy.decoder_hidden_sizes)
    if policy.is_recurrent:
        decoder = f"LSTM {policy.lstm_num_layers} x {policy.lstm_hidden_size}"
    start = experiment.start
    return {
        "encoder": _sizes(policy.encoder_hidden_sizes),
        "latent": str(policy.latent_dim),
        "decoder": decoder,
        "value": _sizes(value.hidden_sizes) + (", layer norm" if value.layer_norm else ""),
        "activation": policy.activation,
        "parameters": f"{_count(params.policy):,} + {_count(params.value):,} of the value",
        "start": "fresh" if start is None else f"init_from, step {start.teacher.step:,}",
    }


def _sizes(sizes: tuple[int, ...]) -> str:
    return " ".join(map(str, sizes))


def _count(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
