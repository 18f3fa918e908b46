"""Records a network's activity along the sessions of a clip file, in parts that fit in memory."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.activity.environment import SessionEnvironment, session_task
from vnl_mjx.activity.file import GROUPS, ActivityWriter, Rows, write_activity_file
from vnl_mjx.activity.networks import OUTPUTS, RecordingPolicy
from vnl_mjx.activity.quantities import Quantities, layer_table, on_device
from vnl_mjx.activity.sessions import Piece, Plan, plan, windows
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import Policy
from vnl_mjx.training.rollout import RolloutState, Step, begin, rollout

_CHUNK_STEPS = 50  # compiled together
_MEAN_S = 5.0  # s, over which the mean of an ablated layer is taken
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RecordOptions:
    """Says how a recording runs.

    Attributes:
        loop: "closed" lets physics move the body; "open" sets it on the reference in every control step.
        pieces: pieces that run side by side; 1 runs one stretch after another.
        warm_up_s: seconds before a piece's own rows.
        settle_s: seconds after a fall whose rows are not valid.
        groups: groups of quantities to write, of `GROUPS`.
        float16: store numbers in 16 bits, but for qpos and qvel.
        seed: of all noise.
    """

    loop: Literal["closed", "open"] = "closed"
    pieces: int = 64
    warm_up_s: float = 1.0
    settle_s: float = 1.0
    groups: Sequence[str] = GROUPS
    float16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Recorded:
    """Summarises a recording.

    Attributes:
        rows: the table of rows, as written.
        falls: how often the body was set on the reference anew.
        layers: network, layer and width of each layer.
    """

    rows: Rows
    falls: int
    layers: list[dict[str, Any]]


class Recorder:
    """Runs one kind of policy on one task; compiles once for each number of environments."""

    def __init__(self, task: ImitationTask, options: RecordOptions):
        """Takes the task, and how to record."""
        self.task, self.options = session_task(task), options
        self.control_hz = 1.0 / task.config.physics.control_timestep
        settle = round(options.settle_s * self.control_hz)
        self.env = SessionEnvironment(self.task, settle, options.loop == "open")
        self._start = jax.jit(self.env.start)
        self._record = partial(on_device, walker=task.walker, groups=tuple(options.groups))
        self._advance = jax.jit(partial(_advance, self.env, self._record), static_argnums=4)

    def plan(self, clips: ReferenceClips) -> Plan:
        """Returns the rows and pieces of the clips' sessions.

        Raises:
            UserError: the clips are too short, or of another rate than the task's.
        """
        options, ahead = self.options, self.task.config.traj_length
        found = plan(clips, self.control_hz, ahead, options.pieces, options.warm_up_s)
        self.task.check_clips(found.stretches)
        return found

    def write(
        self,
        path: str | os.PathLike[str],
        policy: Policy,
        clips: ReferenceClips,
        metadata: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Recorded:
        """Writes a record file; `progress` is called with the rows done and their number.

        `policy` gives its quantities as `extra` (`networks.RecordingPolicy`, also within wrappers).

        Raises:
            UserError: the clips do not fit, or the file cannot be written.
        """
        options, laid_out = self.options, self.plan(clips)
        quantities = Quantities(self.task, laid_out.stretches, options.groups, options.float16)
        described = quantities.described(*self._shapes(policy, laid_out))
        layers = layer_table(described)
        details = {**(metadata or {}), "options": asdict(options), "layers": layers}
        rows, falls, done = laid_out.rows, 0, 0
        with write_activity_file(path, rows, self.control_hz, described, details) as writer:
            for pieces, first_step, recorded in self.parts(policy, laid_out):
                for column, piece in enumerate(pieces):
                    own = {name: values[:, column] for name, values in recorded.items()}
                    count, fell = _write(writer, quantities, laid_out, piece, first_step, own)
                    done, falls = done + count, falls + fell
                if progress is not None:
                    progress(done, rows.num_rows)
            details["falls"] = falls
        return Recorded(rows, falls, layers)

    def parts(
        self, policy: Policy, laid_out: Plan
    ) -> Iterator[tuple[Sequence[Piece], int, dict[str, np.ndarray]]]:
        """Yields pieces, a control step within them, and what about 50 control steps from there on recorded.

        The recorded values are [control step, piece, ...]; the next part is computed meanwhile.
        """
        ordered = sorted(laid_out.pieces, key=lambda piece: -piece.num_steps)
        num_batches = math.ceil(len(ordered) / self.options.pieces)
        num_envs = math.ceil(len(ordered) / num_batches)
        chunk, waiting = self._chunk_steps(laid_out), None
        for batch in range(0, len(ordered), num_envs):
            own = ordered[batch : batch + num_envs]
            filled = [*own, *[own[-1]] * (num_envs - len(own))]  # one program for all batches
            state = None
            for first_step in range(0, own[0].num_steps, chunk):
                data = self._window(laid_out, filled, first_step, chunk)
                if state is None:
                    state = self._begin(policy, data, batch)
                key = jax.random.fold_in(jax.random.PRNGKey(self.options.seed), batch)
                key = jax.random.fold_in(key, first_step)
                state, recorded = self._advance(policy, data, state, key, chunk)
                if waiting is not None:
                    yield waiting[0], waiting[1], jax.device_get(waiting[2])
                waiting = own, first_step, recorded
        if waiting is not None:
            yield waiting[0], waiting[1], jax.device_get(waiting[2])

    def recorded_names(self, policy: Policy, clips: ReferenceClips) -> tuple[str, ...]:
        """Returns the names of what a policy gives, "group/name", in any group."""
        return tuple(self._extra_shapes(policy, clips))

    def layers(self, policy: RecordingPolicy, clips: ReferenceClips) -> tuple[str, ...]:
        """Returns the names of the layers that can be ablated, "network.layer"."""
        shapes = self._extra_shapes(policy.replace(with_outputs=True), clips)
        return tuple(shapes[OUTPUTS])

    def mean_outputs(
        self, policy: RecordingPolicy, clips: ReferenceClips, layers: Sequence[str]
    ) -> dict[str, Any]:
        """Returns the mean outputs of layers for `capture`, over up to 5 s of the longest pieces."""
        policy = policy.replace(with_outputs=True)

        def record(step: Step) -> Any:
            return {name: step.acted.extra[OUTPUTS][name] for name in layers}

        laid_out = self.plan(clips)
        pieces = sorted(laid_out.pieces, key=lambda piece: -piece.num_steps)[: self.options.pieces]
        pieces = [piece for piece in pieces if 2 * piece.num_steps >= pieces[0].num_steps]
        num_steps = min(pieces[-1].num_steps, math.ceil(_MEAN_S * self.control_hz))
        data, key = self._window(laid_out, pieces, 0, num_steps), jax.random.PRNGKey(0)
        advance = jax.jit(partial(_advance, self.env, record), static_argnums=4)
        _, outputs = advance(policy, data, self._begin(policy, data, 0), key, num_steps)
        return jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), outputs)

    def _chunk_steps(self, laid_out: Plan) -> int:
        """Returns the control steps of a part: whole frames."""
        period = laid_out.frames_per_step.denominator
        return math.ceil(_CHUNK_STEPS / period) * period

    def _window(
        self, laid_out: Plan, pieces: Sequence[Piece], first_step: int, num_steps: int
    ) -> ReferenceClips:
        ratio = laid_out.frames_per_step
        num_frames = math.ceil(num_steps * ratio) + self.task.frames_needed
        return windows(laid_out.stretches, pieces, first_step, num_frames, ratio)

    def _begin(self, policy: Policy, data: ReferenceClips, batch: int) -> RolloutState:
        key = jax.random.fold_in(jax.random.PRNGKey(self.options.seed + 1), batch)
        keys = jax.random.split(key, data.num_clips)
        return begin(self._start(keys, data), policy, data.num_clips)

    def _extra_shapes(self, policy: Policy, clips: ReferenceClips) -> dict[str, Any]:
        """Returns the shapes of a policy's `extra` in one environment."""

        def extra(data: ReferenceClips) -> Any:
            state = self.env.start(jnp.zeros((1, 2), jnp.uint32), data)
            seen = self.env.observe(state, data)
            return policy.act(seen, policy.initial_memory(1), jax.random.PRNGKey(0)).extra

        laid_out = self.plan(clips)
        return jax.eval_shape(extra, self._window(laid_out, laid_out.pieces[:1], 0, 1))

    def _shapes(self, policy: Policy, laid_out: Plan) -> tuple[Any, Any]:
        """Returns the shapes of what one environment records in one step, and of its outcome."""

        def both(data: ReferenceClips) -> tuple[Any, StepOutcome]:
            state = self.env.start(jnp.zeros((1, 2), jnp.uint32), data)
            begun, key = begin(state, policy, 1), jax.random.PRNGKey(0)
            _, recorded = _advance(self.env, self._record, policy, data, begun, key, 1)
            action = jnp.zeros((1, self.env.action_size))
            return jax.tree.map(lambda x: x[0], recorded), self.env.step(state, action, data)[1]

        return jax.eval_shape(both, self._window(laid_out, laid_out.pieces[:1], 0, 1))


def _advance(
    env: SessionEnvironment,
    record: Callable[[Step], Any],
    policy: Policy,
    clips: ReferenceClips,
    state: RolloutState,
    key: jax.Array,
    num_steps: int,
) -> tuple[RolloutState, Any]:
    state = state.replace(environments=env.at_first_frame(state.environments))
    state, recorded, _ = rollout(env, policy, state, clips, key, num_steps, record)
    return state, recorded


def _write(
    writer: ActivityWriter,
    quantities: Quantities,
    laid_out: Plan,
    piece: Piece,
    first_step: int,
    recorded: Mapping[str, np.ndarray],
) -> tuple[int, int]:
    """Writes a piece's own rows of a part; returns their number, and the falls among them."""
    begin_at = max(piece.warm_up - first_step, 0)
    end_at = min(piece.num_steps - first_step, len(recorded["valid"]))
    if end_at <= begin_at:
        return 0, 0
    own = {name: values[begin_at:end_at] for name, values in recorded.items()}
    first_row = piece.first_row + first_step + begin_at - piece.warm_up
    rows = slice(first_row, first_row + end_at - begin_at)
    made = quantities.derived(own, laid_out.reference_row[rows])
    named = {name: values for name, values in own.items() if "/" in name}
    writer.write(first_row, named | made)
    laid_out.rows.valid[rows] = own["valid"]
    restarted = own["start"].copy()
    if first_step + begin_at == 0:
        restarted[0] = False  # the piece's begin, which the plan marks
    laid_out.rows.start[rows] |= restarted
    return end_at - begin_at, int(restarted.sum())
