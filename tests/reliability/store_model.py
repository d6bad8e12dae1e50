"""What a store must show after any number of verbs, worked out in memory; and the verbs, each on both sides.

A verb is one row of `VERBS`: what it does to a store, and what it does to the model. A state machine then calls it, kills it, lets
the disk fail under it, and compares.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from store_commits import frames

from mlpdata import digest
from mlpdata.schema.calculation import Calculation
from mlpdata.store.amendments import Amended
from mlpdata.store.commit import Repository
from mlpdata.store.index import Ids, Kept
from mlpdata.store.upkeep import collect_garbage, compact, revert
from mlpdata.testing.samples import calculation

RUNS = range(1, 9)
"""Numbers of the runs that there are."""


class Form(NamedTuple):
    """How a run is shown."""

    attributes: tuple[tuple[str, Any], ...] = ()
    """Those that are not as stored."""
    skip: int = 0
    """Configurations that are hidden."""


FORMS = (Form(), Form((("kind", "random"),)), Form((("license", "CC0-1.0"),), 1), Form((), 2))
"""What amendments make of a run; the first is as it was stored."""


class Model(NamedTuple):
    """What one snapshot shows."""

    stored: frozenset[int] = frozenset()
    """Runs that can be restored."""
    shown: frozenset[int] = frozenset()
    forms: Mapping[int, Form] = {}
    """Of runs that were amended, hidden ones too."""
    withheld: frozenset[int] = frozenset()
    """Runs that were hidden by hand: no ingest shows them."""

    def form(self, run: int) -> Form:
        """How a run is or would be shown."""
        return self.forms.get(run, FORMS[0])

    @property
    def calculations(self) -> dict[int, Calculation]:
        """The records that are shown."""
        return {run: record_of(run, self.form(run)) for run in sorted(self.shown)}

    @property
    def ids(self) -> dict[int, Ids]:
        """The ids that are shown of each run."""
        return {run: ids_of(run)[self.form(run).skip :] for run in sorted(self.shown)}

    @property
    def content(self) -> str:
        """The name of what is shown."""
        return digest.content_id(sum(added_by(run, self.form(run)) for run in self.shown))


def record_of(run: int, form: Form) -> Calculation:
    """The record of a run as it is shown."""
    return calculation(run, **dict(form.attributes))


@functools.cache
def ids_of(run: int) -> Ids:
    """The ids of all configurations of a run."""
    return frames(run).ids()


@functools.cache
def added_by(run: int, form: Form) -> int:
    """What a run adds to content."""
    return digest.shown(record_of(run, form).record, ids_of(run)[form.skip :])


class Order(NamedTuple):
    """What a verb is told, drawn at random."""

    runs: frozenset[int]
    form: Form
    tag: str = "a"


class World(NamedTuple):
    """All that a store remembers."""

    now: Model = Model()
    tags: Mapping[str, int] = {}
    """Number of the snapshot in the history that each tag names."""
    tagged: Mapping[str, Model] = {}
    """What these snapshots show."""


class Verb(NamedTuple):
    """One thing that a user can do."""

    act: Callable[[Repository, World, Order], object]
    after: Callable[[World, Order, int], World]
    """The world afterwards; the number is that of the current snapshot in the history."""


def _ingest(repository: Repository, _: World, order: Order) -> None:
    with repository.stage() as writer:
        for run in sorted(order.runs):
            writer.begin()
            writer.append(frames(run))
            writer.end(calculation(run))
        repository.commit(writer)


def _ingested(world: World, order: Order, _: int) -> World:
    now = world.now
    shown = now.shown | (order.runs - now.withheld)
    return world._replace(now=now._replace(stored=now.stored | order.runs, shown=shown))


def _retract(repository: Repository, world: World, order: Order) -> None:
    wanted = _places(repository, order.runs & world.now.shown)
    repository.commit(retract=[(one.segment, one.record, "wrong") for one in wanted.values()])


def _retracted(world: World, order: Order, _: int) -> World:
    return world._replace(now=world.now._replace(shown=world.now.shown - order.runs))


def _restore(repository: Repository, world: World, order: Order) -> None:
    wanted = _places(repository, (order.runs & world.now.stored) - world.now.shown)
    repository.commit(restore=[(one.segment, one.record) for one in wanted.values()], user="ann")


def _restored(world: World, order: Order, _: int) -> World:
    now, again = world.now, order.runs & world.now.stored
    return world._replace(now=now._replace(shown=now.shown | again, withheld=now.withheld - again))


def _amend(repository: Repository, world: World, order: Order) -> None:
    wanted = _places(repository, order.runs & world.now.shown)
    repository.commit(
        amend=[
            Amended(one.segment, one.record, record_of(run, order.form), order.form.skip) for run, one in wanted.items()
        ],
        by="ann",
        why="seen",
    )


def _amended(world: World, order: Order, _: int) -> World:
    forms = {**world.now.forms, **dict.fromkeys(order.runs & world.now.shown, order.form)}
    return world._replace(now=world.now._replace(forms=forms))


def _tag(repository: Repository, _: World, order: Order) -> None:
    if repository.head() is not None:
        repository.tag(order.tag, move=True)


def _tagged(world: World, order: Order, number: int) -> World:
    if number < 0:
        return world
    return world._replace(tags={**world.tags, order.tag: number}, tagged={**world.tagged, order.tag: world.now})


def _revert(repository: Repository, world: World, order: Order) -> None:
    if order.tag in world.tags:
        revert(repository, order.tag)


def _reverted(world: World, order: Order, _: int) -> World:
    if order.tag not in world.tags:
        return world
    now, then = world.now, world.tagged[order.tag]
    forms = {**now.forms, **{run: then.form(run) for run in then.shown}}
    withheld = (now.withheld | (now.shown - then.shown)) - then.shown
    return world._replace(now=now._replace(shown=then.shown, forms=forms, withheld=withheld))


def _compact(repository: Repository, *_: object) -> None:
    head = repository.head()
    if head is not None and head.segments:
        compact(repository, head.segments)


def _collect_garbage(repository: Repository, *_: object) -> None:
    collect_garbage(repository, grace=-1.0)


def _as_before(world: World, *_: object) -> World:
    return world


VERBS: dict[str, Verb] = {
    "ingest": Verb(_ingest, _ingested),
    "retract": Verb(_retract, _retracted),
    "restore": Verb(_restore, _restored),
    "amend": Verb(_amend, _amended),
    "tag": Verb(_tag, _tagged),
    "revert": Verb(_revert, _reverted),
    "compact": Verb(_compact, _as_before),
    "gc": Verb(_collect_garbage, _as_before),
}
"""A new verb is a new row; one that changes nothing of what is shown leaves the world as it is."""


def _places(repository: Repository, runs: frozenset[int]) -> dict[int, Kept]:
    """Where runs are stored; where in two segments, the place that is shown."""
    head = repository.head()
    if head is None:
        return {}
    hidden = {(one.segment, one.calculation) for one in head.retracted}
    by_record = {calculation(run).record: run for run in runs}
    found: dict[int, Kept] = {}
    for segment in head.segments:
        for one in _kept(repository, segment):
            if one.record in by_record and (one.segment, one.record) not in hidden:
                found[by_record[one.record]] = one
            elif one.record in by_record:
                found.setdefault(by_record[one.record], one)
    return found


_SEEN: dict[str, list[Kept]] = {}


def _kept(repository: Repository, segment: str) -> list[Kept]:
    """A segment never changes, in whichever store it is."""
    if segment not in _SEEN:
        _SEEN[segment] = list(repository.index_of(segment))
    return _SEEN[segment]
