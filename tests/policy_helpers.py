"""An untrained policy, and a physics back end that is told where to be."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.models.intention import FrozenPolicy, IntentionConfig, IntentionNetwork
from vnl_mjx.physics.base import Physics, PhysicsState, advance_time
from vnl_mjx.tasks.imitation import ImitationTask


def untrained_policy(task: ImitationTask, seed: int = 0, lstm_num_layers: int = 0) -> FrozenPolicy:
    """Acts on whatever it sees, by drawn parameters."""
    config = IntentionConfig(
        reference_size=task.layout.reference_size,
        proprioception_size=task.layout.proprioception_size,
        action_size=task.action_size,
        latent_dim=3,
        encoder_hidden_sizes=(16,),
        decoder_hidden_sizes=(16,),
        memory_sizes=(8,) * lstm_num_layers,
    )
    obs = jnp.zeros((1, config.observation_size))
    memory = config.initial_memory((1,))
    params = IntentionNetwork(config).init(jax.random.key(seed), obs, memory)
    return FrozenPolicy(params, jnp.zeros(obs.shape[1]), jnp.ones(obs.shape[1]), config)


@dataclass
class OnTheReference:
    """Physics that puts a simulation on the frame of its only clip that the time asks for.

    Attributes:
        physics: what starts a simulation.
        clips: one clip.
        late: frames that it is behind.
        displaced: m along x, from the frame `event` on.
        diverges: at the frame `event`.
        event: frame.
    """

    physics: Physics
    clips: ReferenceClips
    late: int = 0
    displaced: float = 0.0
    diverges: bool = False
    event: int = 10**6
    model: object = field(init=False)
    config: object = field(init=False)

    def __post_init__(self):
        self.model, self.config = self.physics.model, self.physics.config
        self._clip = jax.tree.map(jnp.asarray, self.clips)

    def __getattr__(self, name: str):
        return getattr(self.physics, name)

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """Ignores `ctrl`."""
        time = advance_time(state.time, self.config)
        frame = jnp.floor(time * jnp.float32(self.clips.rate_hz)).astype(jnp.int32)
        target = self._clip.at(0, frame - self.late)
        away = jnp.zeros(3).at[0].set(jnp.where(frame >= self.event, self.displaced, 0.0))
        diverged = jnp.bool_(self.diverges) & (frame >= self.event)
        moved = state.replace(
            qpos=target.qpos().at[:3].add(away),
            qvel=target.qvel(),
            xpos=target.body_positions + away,
            time=time,
        )
        zeroed = jax.tree.map(lambda x: jnp.where(diverged, jnp.zeros_like(x), x), moved)
        return zeroed.replace(diverged=diverged)
