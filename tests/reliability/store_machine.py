"""Verbs in any order on a store that is killed, starved and opened again, beside a model of it in memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_commits import frames
from store_model import FORMS, RUNS, VERBS, Model, Order, World

from mlpdata.errors import CommitUncertain, StoreError
from mlpdata.frames import concatenate
from mlpdata.query import run_sql
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.faults import DISK_ERRORS, failing_at, kill_at

orders = st.builds(
    Order,
    runs=st.frozensets(st.sampled_from(RUNS), min_size=1, max_size=3),
    form=st.sampled_from(FORMS),
    tag=st.sampled_from("ab"),
)
verbs = st.sampled_from(sorted(VERBS))
operations = st.one_of(st.integers(1, 15), st.integers(1, 130))
"""Durable operations: most verbs have a few, an ingest has more than a hundred."""
LOOKS = (*["read", "verify"] * 3, "query")
"""A query takes ten times as long as the others."""


class StoreMachine(RuleBasedStateMachine):
    """A store and its model; the invariant compares what is cheap, the rules that read compare the rest."""

    @initialize()
    def make(self) -> None:
        """An empty store."""
        self.folder = Path(tempfile.mkdtemp())
        self.repository = Repository.create(self.folder / "store")
        self.world = World()
        self.history: list[tuple[str, Model]] = []
        """Each snapshot with what it shows."""
        self.others = [self.repository]
        """Repositories that were opened before, and know nothing of what came since."""

    def teardown(self) -> None:
        """Remove the store."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(verb=verbs, order=orders)
    def do(self, verb: str, order: Order) -> None:
        """Nothing goes wrong."""
        VERBS[verb].act(self.repository, self.world, order)
        self.expect(self.after(verb, order))

    @rule(verb=verbs, order=orders, nth=operations)
    def kill(self, verb: str, order: Order, nth: int) -> None:
        """The process is killed: the old world or the new one."""
        world = self.after(verb, order)
        kill_at(nth, lambda: VERBS[verb].act(self.repository, self.world, order))
        self.expect(self.world, world)

    @rule(verb=verbs, order=orders, nth=operations, error=st.sampled_from(DISK_ERRORS), lasting=st.booleans())
    def starve(self, verb: str, order: Order, nth: int, error: int, lasting: bool) -> None:
        """The disk fails: the old world with an error, or the new one, though that may be uncertain."""
        world = self.after(verb, order)
        try:
            with failing_at(nth, error, lasting=lasting):
                VERBS[verb].act(self.repository, self.world, order)
        except CommitUncertain:
            self.expect(world)
        except StoreError:
            self.expect(self.world)
        else:
            self.expect(world)

    @rule(other=st.integers(0, 3))
    def open_again(self, other: int) -> None:
        """Go on with a repository that was opened now, or with one that is old."""
        self.others.append(Repository.open(self.folder / "store"))
        self.repository = self.others[-1 - min(other, len(self.others) - 1)]

    @precondition(lambda self: self.history)
    @rule(how=st.sampled_from(LOOKS), number=st.integers(0, 99))
    def look(self, how: str, number: int) -> None:
        """Read in one of three ways."""
        if how == "verify":
            assert verify(self.folder / "store").faults == []
        elif how == "query":
            self.query()
        else:
            self.read(number)

    def read(self, number: int) -> None:
        """Any snapshot shows the calculations, ids and numbers that it showed when it was made."""
        name, model = self.history[number % len(self.history)]
        snapshot = self.repository.snapshot(name)
        found = {one.path: one for one in snapshot.calculations()}
        assert found == {one.path: one for one in model.calculations.values()}
        whole = np.concatenate([np.empty((0, 16), np.uint8), *model.ids.values()])
        assert sorted(map(bytes, snapshot.ids())) == sorted(map(bytes, whole))
        if model.shown:
            expected = concatenate([frames(run).select(range(model.form(run).skip, 2)) for run in sorted(model.shown)])
            assert np.array_equal(snapshot.read(whole).arrays["forces"], expected.arrays["forces"])
        snapshot.close()

    def query(self) -> None:
        """The tables of the current snapshot say the same."""
        snapshot, model = self.repository.snapshot(), self.world.now
        table = run_sql(snapshot, "SELECT license, kind, count(*) AS n FROM configurations GROUP BY ALL ORDER BY ALL")
        expected: dict[tuple[str | None, str], int] = {}
        for run, one in model.calculations.items():
            expected[one.license, one.kind] = expected.get((one.license, one.kind), 0) + len(model.ids[run])
        found = {(row["license"], row["kind"]): row["n"] for row in table.to_pylist()}
        assert found == {key: n for key, n in expected.items() if n}
        snapshot.close()

    def after(self, verb: str, order: Order) -> World:
        """The world after a verb."""
        return VERBS[verb].after(self.world, order, len(self.history) - 1)

    def expect(self, *worlds: World) -> None:
        """The store shows one of these worlds; that one is the world from now on."""
        head = self.repository.head()
        tags = {tag: self.number(name) for tag, name in self.repository.tags().items()}
        content = head.content if head is not None else Model().content
        matching = [world for world in worlds if (world.now.content, world.tags) == (content, tags)]
        assert matching, f"shows {content} and the tags {tags}, not one of {worlds}"
        self.world = matching[0]
        if head is not None and (not self.history or head.id != self.history[-1][0]):
            self.history.append((head.id, self.world.now))

    def number(self, snapshot: str) -> int:
        """Which one of the history a snapshot is."""
        return [name for name, _ in self.history].index(snapshot)

    @invariant()
    def counts(self) -> None:
        """The current snapshot says how much it shows."""
        head = self.repository.head()
        if head is not None:
            ids = self.world.now.ids
            assert head.n_calculations == len(ids)
            assert head.n_configurations == sum(map(len, ids.values()))
