"""Taking: the runs of outputs go into a writer, one calculation after the other; a damaged file costs itself only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlpdata.discover import Output
from mlpdata.errors import InputError, MlpdataError, Unavailable
from mlpdata.frames import Frames
from mlpdata.known import NO_IDS, Key, Known, reading_of
from mlpdata.outcome import Entered, Refused, refusal, withheld
from mlpdata.portions import Taken
from mlpdata.runs import CONFLICT, Event, Unread
from mlpdata.scan import Cache
from mlpdata.schema.calculation import Calculation
from mlpdata.store.index import Ids
from mlpdata.store.segment import Writer

CHANGED = "expected the run that was read before, with more steps; found another one under its name."
STAYS = f"{CHANGED} What is stored stays. Move one of them, or name the file: mlpdata ingest FILE."
REPLACED = f"{CHANGED} It takes the place of the one before."


class Taker:
    """Takes outputs one by one.

    Args:
        known: what the store holds.
        cache: keeps what cannot be read, so that it is not tried again.
        writer: where it goes; None to read only.
    """

    def __init__(self, known: Known, cache: Cache, writer: Writer | None) -> None:
        self.known, self.cache, self.writer = known, cache, writer
        self.taken = Taken()
        self._begun = False
        self._unproven: list[Key] = []
        """Calculations that the output at hand may be another state of, as long as that is not known."""
        self._ids: list[Ids] = []
        self._geometry_ids: list[Ids] = []
        self._n_configurations = 0

    def take(self, output: Output, events: Iterable[Event]) -> None:
        """Read the runs of one output; the one in which reading ends in an error is abandoned, those before it stay."""
        earlier, before = self.known.earlier(output), len(self.taken.entered)
        known = self.known
        self._unproven = [] if known.holds_none_of(earlier) or known.has_grown(output, earlier) else earlier
        try:
            for event in events:
                if isinstance(event, Unread):
                    self.refuse(event.output.name, event.error)
                elif isinstance(event, Frames):
                    self._append(event)
                elif self._unproven and not self._proven(event, output):
                    return
                else:
                    self._end(event)
        except InputError as error:
            self._abandon()
            self.refuse(output.name, error)
            if len(self.taken.entered) == before and not isinstance(error, Unavailable):
                self.cache.remember_refusal(output.key, self.taken.refused[-1])

    def knows(self, output: Output) -> bool:
        """Whether an output was tried before in vain: it cannot be read, or is another run than the stored one."""
        refused = self.cache.refusal(output.name, output.key)
        if refused and refused.code != InputError.code:  # an error without a code of its own may be of the machine
            self.taken.refused.append(refused)
            return True
        earlier = [] if self.known.replaces else self.known.earlier(output)
        if earlier and (changed := self.cache.refusal(output.name, self.known.changed_key(output, earlier))):
            self.taken.changed.append(changed)
            self.known.keep(earlier)
            return True
        return False

    def refuse(self, name: str, error: MlpdataError) -> None:
        """Note what could not be read."""
        self.taken.refused.append(refusal(name, error))

    def _append(self, frames: Frames) -> None:
        self._n_configurations += len(frames)
        if self._unproven:
            self._ids.append(frames.ids())
            self._geometry_ids.append(frames.geometry_ids())
        if self.writer is not None:
            self._begin()
            self.writer.append(frames)

    def _begin(self) -> None:
        if self.writer is not None and not self._begun:
            self.writer.begin()
            self._begun = True

    def _proven(self, calculation: Calculation, output: Output) -> bool:
        """Whether a file whose bytes are others is the same run, further on; if not, an exact sync alone takes it."""
        earlier, self._unproven = self._unproven, []
        ids, geometry_ids = (np.concatenate([NO_IDS, *some]) for some in (self._ids, self._geometry_ids))
        if self.known.continues(calculation, ids, geometry_ids, earlier):
            return True
        if self.known.replaces:
            self.taken.changed.append(Refused(output.name, None, "changed", REPLACED))
            return True
        self.taken.changed.append(Refused(output.name, None, "changed", STAYS))
        self.cache.remember_refusal(self.known.changed_key(output, earlier), self.taken.changed[-1])
        self.known.keep(earlier)
        self._abandon()
        return False

    def _end(self, calculation: Calculation) -> None:
        """Close a calculation; one that a user retracted is read in vain."""
        reading = reading_of(calculation)
        if (retraction := self.known.withheld(reading)) is not None:
            self.taken.withheld.append(withheld(calculation.path, retraction))
            self._abandon()
            return
        self._begin()
        if self.writer is not None:
            self.writer.end(calculation)
        taken = self.taken
        taken.entered.append(
            Entered(
                calculation.path,
                calculation.id,
                self._n_configurations,
                calculation.status,
                calculation.sources[0].reader,
            )
        )
        taken.readings.append(reading)
        taken.unknown_license += calculation.license is None
        taken.conflicts += [f"{calculation.path}: {one}" for one in calculation.warnings if one.startswith(CONFLICT)]
        taken.left_out += [
            Refused(calculation.path, lost.line or None, "left-out", lost.reason, lost.frames)
            for lost in calculation.left_out
        ]
        self._forget()

    def _abandon(self) -> None:
        if self.writer is not None and self._begun:
            self.writer.abandon()
        self._forget()

    def _forget(self) -> None:
        self._begun, self._ids, self._geometry_ids, self._n_configurations = False, [], [], 0
