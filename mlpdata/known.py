"""Known: what a store holds already, and what an ingest does to it."""

from __future__ import annotations

from dataclasses import replace

from mlpdata.digest import sha256_file
from mlpdata.discover import Output
from mlpdata.readers.registry import precedence, reader_version
from mlpdata.schema.calculation import Calculation
from mlpdata.schema.sidecar import Sidecar
from mlpdata.store.commit import Repository

VANISHED = "no longer in the tree"
SUPERSEDED = "superseded by a newer reading"


class Known:
    """What the store holds already, and what this ingest does to it."""

    def __init__(self, repository: Repository | None, exact: bool) -> None:
        snapshot = repository.snapshot() if repository is not None and repository.head() is not None else None
        stored = snapshot.segment_calculations() if snapshot is not None else []
        self.exact = exact
        self.visible = {(segment, one.record): one for segment, one, hidden in stored if not hidden}
        self.hidden = {(segment, one.record): one for segment, one, hidden in stored if hidden}
        self.restored: list[tuple[str, str]] = []
        self._kept: set[tuple[str, str]] = set()
        self._superseded: set[tuple[str, str]] = set()
        self._claimed: set[str] = set()
        self._of_source: dict[str, list[tuple[str, str]]] = {}
        for key, one in [*self.visible.items(), *self.hidden.items()]:
            for digest in _outputs(one):
                self._of_source.setdefault(digest, []).append(key)

    def with_earlier_attributes(self, output: Output) -> Output:
        """An output with what was declared of the same file before, where nothing new is said of it.

        An exact sync declares everything anew: what the tree does not say no longer holds.
        """
        if self.exact:
            return output
        for key in self._of_source.get(output.sha256, []):
            if key in self.visible:
                earlier = Sidecar.from_declared(self.visible[key].declared)
                return replace(output, sidecar=output.sidecar.over(earlier))
        return output

    def shows(self, output: Output) -> bool:
        """Whether the store shows this run under these attributes, or an earlier file of this ingest is the same.

        Of identical files the first by name counts. An exact sync also takes hidden readings back into view.
        """
        if output.sha256 in self._claimed:
            return True
        digests = {file.sha256 for file in output.files}
        self._claimed |= digests
        keys = dict.fromkeys(key for digest in digests for key in self._of_source.get(digest, []))
        same = [key for key in keys if self._same(output, self.visible.get(key) or self.hidden[key])]
        shown = [key for key in same if key in self.visible]
        if shown and digests == {digest for key in shown for digest in _outputs(self.visible[key])}:
            self._kept.update(shown)
            return True
        if self.exact and same and not shown:
            last = [key for key in same if key[0] == same[-1][0]]
            self.restored += last
            self._kept.update(last)
            return True
        return self._shown_by_a_more_precise_file(output)

    def _same(self, output: Output, calculation: Calculation) -> bool:
        """Same readers and same attributes; an ingest that says nothing new of a stored file changes nothing."""
        if any(source.reader_version != reader_version(source.reader) for source in calculation.sources):
            return False
        if not _same_companions(output, calculation):
            return False
        declared = output.sidecar.declared()
        if self.exact:
            names = {file.name for file in output.files}
            return calculation.sources[0].path in names and calculation.declared == declared
        return all(calculation.declared.get(name) == value for name, value in declared.items())

    def _shown_by_a_more_precise_file(self, output: Output) -> bool:
        """Whether the run of a file that comes alone is there already, read from a file that prints more digits."""
        if self.exact or not output.run or output.others:
            return False
        return any(
            one.run == output.run and precedence(one.sources[0].reader) < output.precedence
            for one in self.visible.values()
        )

    def supersede(self, calculation: Calculation) -> bool:
        """Retract older readings of the same run or, with new attributes, of the same file; whether there were any."""
        digests = _outputs(calculation)
        older = {
            key
            for key, one in self.visible.items()
            if one.id == calculation.id
            or (key not in self._kept and (digests & _outputs(one) or (one.run and one.run == calculation.run)))
        }
        self._superseded |= older
        return bool(older)

    def retractions(self) -> list[tuple[str, Calculation, str]]:
        """What the commit hides, with the reason."""
        gone = set(self.visible) - self._kept - self._superseded if self.exact else set()
        return [
            (key[0], self.visible[key], reason)
            for keys, reason in ((self._superseded, SUPERSEDED), (gone, VANISHED))
            for key in sorted(keys)
        ]


def _outputs(calculation: Calculation) -> set[str]:
    """Digests of the files that a calculation was read from, without companions, which runs may share."""
    return {source.sha256 for source in calculation.sources if source.role == "output"}


def _same_companions(output: Output, calculation: Calculation) -> bool:
    """Whether the companions of a run are those that it was read with."""
    stored = {source.sha256 for source in calculation.sources if source.role == "companion"}
    present = {sha256_file(path) for file in output.files for path in file.companions}
    return stored == present
