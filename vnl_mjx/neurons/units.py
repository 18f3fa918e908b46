"""Holds recorded units: spike trains or continuous signals on one clock, and writes spike trains."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.files import replacing


@dataclass(frozen=True)
class Units:
    """Holds units of one recording; either `spikes`, or `time` and `values`.

    Attributes:
        source: file that they come from.
        names: [unit].
        spikes: increasing times of each unit, seconds.
        time: [sample] increasing, seconds.
        values: [sample, unit] of continuous signals, such as dF/F.
        span: first and last second that was recorded.
        truth: of synthetic units, the group that drives each; else empty.
        notes: what was assumed or left out.
    """

    source: str
    names: tuple[str, ...]
    spikes: tuple[np.ndarray, ...] | None = None
    time: np.ndarray | None = None
    values: np.ndarray | None = None
    span: tuple[float, float] = (0.0, 0.0)
    truth: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def are_spikes(self) -> bool:
        """Whether the units are spike trains."""
        return self.spikes is not None

    def shifted(self, offset_s: float) -> "Units":
        """Returns the units with all times later by `offset_s`."""
        span = self.span[0] + offset_s, self.span[1] + offset_s
        if self.spikes is not None:
            return replace(self, spikes=tuple(t + offset_s for t in self.spikes), span=span)
        assert self.time is not None
        return replace(self, time=self.time + offset_s, span=span)

    def select(self, kept: Sequence[int]) -> "Units":
        """Returns some units, by number."""

        def some(items: tuple) -> tuple:
            return tuple(items[i] for i in kept)

        spikes = None if self.spikes is None else some(self.spikes)
        values = None if self.values is None else self.values[:, list(kept)]
        truth = some(self.truth) if self.truth else ()
        return replace(self, names=some(self.names), spikes=spikes, values=values, truth=truth)

    def named(self, names: Sequence[str]) -> "Units":
        """Returns the units of these names; raises UserError if there is no such unit."""
        if missing := [name for name in names if name not in self.names]:
            known = ", ".join(self.names[:8]) + " ..." * (len(self.names) > 8)
            raise UserError(
                f"--units: expected names of {self.source} ({known}), found {missing[0]!r}"
            )
        return self.select([self.names.index(name) for name in names])


def spike_units(
    source: str,
    names: Sequence[str],
    trains: Sequence[np.ndarray],
    span: tuple[float, float] | None = None,
    truth: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Units:
    """Returns spike trains, sorted; `span` None: from the first spike of all units to the last.

    Raises:
        UserError: there is no spike, or a time is not finite.
    """
    if not sum(map(len, trains)):
        raise UserError(f"{source}: has no spikes; give the file of the sorted units")
    ordered = tuple(np.sort(np.asarray(train, np.float64)) for train in trains)
    for name, train in zip(names, ordered, strict=True):
        if not np.isfinite(train).all():
            bad = int((~np.isfinite(train)).sum())
            raise UserError(
                f"{source}: {bad} spike times of unit {name} are NaN or infinite, expected seconds; leave "
                "them out"
            )
    if span is None:
        filled = [train for train in ordered if len(train)]
        span = min(t[0] for t in filled), max(t[-1] for t in filled)
    return Units(source, tuple(names), ordered, span=span, truth=tuple(truth), notes=tuple(notes))


def signal_units(source: str, names: Sequence[str], time: np.ndarray, values: np.ndarray) -> Units:
    """Returns continuous signals, [sample] and [sample, unit].

    Raises:
        UserError: the sizes do not fit, or the time does not increase.
    """
    time, values = np.asarray(time, np.float64).ravel(), np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim == 2 and len(values) != len(time) == values.shape[1]:
        values = values.T
    if values.ndim != 2 or len(values) != len(time) or len(time) < 2:
        raise UserError(
            f"{source}: signals of shape {values.shape} do not fit {len(time)} times, expected "
            "[time, signal]"
        )
    if not (np.diff(time) > 0).all():
        bad = int(np.flatnonzero(~(np.diff(time) > 0))[0])
        raise UserError(
            f"{source}: the time must increase, found {time[bad]:g} before {time[bad + 1]:g} s (sample "
            f"{bad}); sort the samples or leave out those without a time"
        )
    names = tuple(names) or tuple(str(i) for i in range(values.shape[1]))
    return Units(source, names, time=time, values=values, span=(time[0], time[-1]))


def write_spike_units(path: str | os.PathLike[str], units: Units) -> None:
    """Writes spike trains as .npz in the layout of NWB's table of units; `open_units` reads it.

    Arrays: `spike_times` of all units, one after another, seconds; `spike_times_index`, the end of each
    unit there; `unit_names`; `span`; `truth` (synthetic units).

    Raises:
        UserError: the file cannot be written.
    """
    assert units.spikes is not None
    ends = np.cumsum([len(train) for train in units.spikes])
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            spike_times=np.concatenate(units.spikes),
            spike_times_index=ends,
            unit_names=np.array(units.names),
            span=np.array(units.span),
            truth=np.array(units.truth, str),
        )
