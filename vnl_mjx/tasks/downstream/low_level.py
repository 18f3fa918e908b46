"""Turns actions in a student's latent space into controls, with the frozen student below a task."""

from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
from scipy.stats import chi

from vnl_mjx.errors import UserError
from vnl_mjx.models.student import Student

Mode = Literal["prior_decoder", "decoder_only", "scratch"]
Residual = Literal["sigma_ball", "tanh", "none"]
# Range of one dimension of a residual, in deviations of the prior, before the ball bounds all of them.
SIGMAS = 2.0
_RARE = 0.1  # share of the frames left out on either side
SATURATED = 1.0 - 1e-6  # largest action, so that its tanh can be inverted


@flax.struct.dataclass
class LowLevel:
    """Holds a frozen student, and the map from actions to its latents.

    Attributes:
        student: the frozen student.
        mode: static; "prior_decoder": the action moves the latent from the prior's mean; "decoder_only":
            the action is the latent; "scratch": the action is the control, without the student (a
            baseline).
        residual: static; bound of the move in "prior_decoder": "sigma_ball", within `radius` deviations of
            the prior; "tanh", at most 1; "none", unbounded.
        lowest: [proprioception] lower bounds of the student's input; None: no bounds.
        highest: upper bounds, likewise.
        radius: static; contains 95 % of the draws of a standard normal of the latent's size.
    """

    student: Student
    mode: Mode = flax.struct.field(pytree_node=False, default="prior_decoder")
    residual: Residual = flax.struct.field(pytree_node=False, default="sigma_ball")
    radius: float = flax.struct.field(pytree_node=False, default=0.0)
    lowest: jax.Array | None = None
    highest: jax.Array | None = None

    @classmethod
    def of(
        cls, student: Student, mode: Mode = "prior_decoder", residual: Residual = "sigma_ball"
    ) -> "LowLevel":
        """Returns a low level with the radius for its latent's size.

        Raises:
            UserError: the student's prior is not Gaussian, and the mode is not "scratch".
        """
        if mode != "scratch" and not student.networks.is_gaussian:
            raise UserError(
                f"{mode}: expected a student with a Gaussian prior, found another latent"
            )
        return cls(student, mode, residual, float(chi(student.latent_dim).ppf(0.95)))

    def within(self, joints: jax.Array, columns: slice) -> "LowLevel":
        """Returns the low level with joint angles clipped to the range of the clips.

        A student is trained in episodes of some seconds. In longer ones, joints without a reward, such as
        the tail's, creep away: the bundled student stops walking after 8 s, when its tail has left the
        training range, and keeps walking with these bounds.

        Args:
            joints: [frame, joint] angles of the clips, rad; the lowest and the highest `_RARE` are left out.
            columns: their columns in the proprioception.
        """
        size = self.student.teacher.config.proprioception_size
        low, high = jnp.quantile(joints, jnp.array([_RARE, 1.0 - _RARE]), axis=0)
        anything = jnp.full(size, jnp.inf)
        return self.replace(
            lowest=(-anything).at[columns].set(low), highest=anything.at[columns].set(high)
        )

    def reads(self, body: jax.Array) -> jax.Array:
        """Clips a proprioception [..., proprioception] to the bounds."""
        return body if self.lowest is None else jnp.clip(body, self.lowest, self.highest)

    def control(self, body: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns controls, and the distance of their latent from the prior's mean, in its deviations.

        Args:
            body: [..., proprioception] raw.
            action: [..., latent] in (-1, 1); for "scratch" [..., nu].

        Returns:
            Controls [..., nu] in [-1, 1] and the distance [...], 0 for "scratch".
        """
        if self.mode == "scratch":
            return action, jnp.zeros(action.shape[:-1])
        mean, std = self._prior(body)
        if self.mode == "decoder_only":
            latent = _unbounded(action)
        elif self.residual == "sigma_ball":
            steps = SIGMAS * action
            length = jnp.linalg.norm(steps, axis=-1, keepdims=True)
            latent = mean + std * steps * jnp.minimum(1.0, self.radius / jnp.maximum(length, 1e-6))
        else:
            latent = mean + (action if self.residual == "tanh" else _unbounded(action))
        distance = jnp.linalg.norm((latent - mean) / std, axis=-1)
        return self.student.decode(body, latent), distance

    def action(self, body: jax.Array, latent: jax.Array) -> jax.Array:
        """Returns the action [..., latent] in (-1, 1) that gives `latent`, or the nearest latent.

        For "scratch", returns the action that gives the decoded control.
        """
        if self.mode == "scratch":
            return self.student.decode(body, latent)
        if self.mode == "decoder_only":
            return jnp.tanh(latent)
        mean, std = self._prior(body)
        if self.residual == "sigma_ball":
            return jnp.clip((latent - mean) / (SIGMAS * std), -SATURATED, SATURATED)
        if self.residual == "tanh":
            return jnp.clip(latent - mean, -SATURATED, SATURATED)
        return jnp.tanh(latent - mean)

    def _prior(self, body: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and standard deviation [..., latent] of the prior."""
        parameters = self.student.prior(body).parameters()
        return parameters["mean"], parameters["std"]


def _unbounded(action: jax.Array) -> jax.Array:
    return jnp.arctanh(jnp.clip(action, -SATURATED, SATURATED))
