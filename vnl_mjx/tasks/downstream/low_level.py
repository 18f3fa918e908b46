"""The frozen student below a task: from an action in its latent space to controls."""

from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
from scipy.stats import chi

from vnl_mjx.errors import UserError
from vnl_mjx.models.student import Student

Mode = Literal["prior_decoder", "decoder_only", "scratch"]
Residual = Literal["sigma_ball", "tanh", "none"]
# Deviations of the prior that one dimension of a residual reaches, before the ball bounds all of them.
SIGMAS = 2.0
_RARE = 0.1  # share of the frames, on either side
SATURATED = 1.0 - 1e-6  # of an action that is taken for one without bounds


@flax.struct.dataclass
class LowLevel:
    """A student, frozen, and how actions become its latents.

    Attributes:
        student: not a byte of it changes.
        mode: static; "prior_decoder": the action moves the latent from the prior's mean; "decoder_only": it
            is the latent; "scratch": it is the control, and the student does nothing (what a student is
            worth).
        residual: static; of "prior_decoder": "sigma_ball", within `radius` of the prior's own deviations;
            "tanh", by at most 1; "none", by any amount.
        lowest: [proprioception] bounds of what the student reads; None: it reads what there is.
        highest: likewise.
        radius: static; 95 % of the draws of a standard normal of the latent's size are within it.
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
        """Returns a low level with the radius of its latent's size.

        Raises:
            UserError: the student's prior is no Gaussian, and the mode is another than "scratch".
        """
        if mode != "scratch" and not student.networks.is_gaussian:
            raise UserError(
                f"{mode}: expected a student with a Gaussian prior, found another latent"
            )
        return cls(student, mode, residual, float(chi(student.latent_dim).ppf(0.95)))

    def within(self, joints: jax.Array, columns: slice) -> "LowLevel":
        """Returns the low level that reads joint angles as if they were among those of clips.

        A student knows episodes of some seconds. Joints that no reward holds, such as a tail's, creep on for
        longer: the bundled one stops walking after 8 s, when its tail has left what it knows, and
        walks on with these bounds.

        Args:
            joints: [frame, joint] of the clips, rad; all but the lowest and the highest `_RARE` are known.
            columns: of the proprioception, where the student reads them.
        """
        size = self.student.teacher.config.proprioception_size
        low, high = jnp.quantile(joints, jnp.array([_RARE, 1.0 - _RARE]), axis=0)
        anything = jnp.full(size, jnp.inf)
        return self.replace(
            lowest=(-anything).at[columns].set(low), highest=anything.at[columns].set(high)
        )

    def reads(self, body: jax.Array) -> jax.Array:
        """Returns a proprioception [..., proprioception] within the bounds."""
        return body if self.lowest is None else jnp.clip(body, self.lowest, self.highest)

    def control(self, body: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns controls, and how far their latent is from the prior's mean in its deviations.

        Args:
            body: [..., proprioception] raw, as the student's teacher sees it.
            action: [..., latent] in (-1, 1); of "scratch" [..., nu].

        Returns:
            Controls [..., nu] in [-1, 1] and a distance [...], which is 0 of "scratch".
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
        """Returns the action [..., latent] in (-1, 1) whose latent is `latent`, or nearest to it.

        Of "scratch", that whose control the latent decodes to.
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
        """Mean and standard deviation [..., latent] of the prior."""
        parameters = self.student.prior(body).parameters()
        return parameters["mean"], parameters["std"]


def _unbounded(action: jax.Array) -> jax.Array:
    return jnp.arctanh(jnp.clip(action, -SATURATED, SATURATED))
