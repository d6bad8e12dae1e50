"""Retracting by hand: what is hidden stays hidden, whatever an ingest or a sync finds, until it is undone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import DONE, OTHER, put, rows, text

from mlpdata import ahead
from mlpdata.api import Store
from mlpdata.digest import sha256, sha256_json
from mlpdata.discover import Output
from mlpdata.errors import NotFound, UsageError
from mlpdata.intake import ingest, sync
from mlpdata.known import Known
from mlpdata.retract import Which, retract, tombstones
from mlpdata.runs import Event, read_output
from mlpdata.schema.records import Retraction, Snapshot
from mlpdata.standing import status
from mlpdata.store.commit import Repository
from mlpdata.store.verify import verify
from mlpdata.testing.samples import calculation
from mlpdata.testing.samples import ingest as brought
from mlpdata.testing.springs import Run

STORE, TREE = Path("store"), Path("runs")
A = Which("a/OUTCAR")


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs in the current folder, in the store."""
    monkeypatch.chdir(tmp_path)
    put(TREE / "a", DONE)
    put(TREE / "b", OTHER)
    sync(TREE)
    return TREE


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of outputs that are read, as they are."""
    names: list[str] = []

    def counting(output: Output) -> Iterator[Event]:
        names.append(output.name)
        return read_output(output)

    monkeypatch.setattr(ahead, "read_output", counting)
    return names


def shown(at: str | None = None) -> list[object]:
    """Paths that a snapshot shows."""
    answer = Store(STORE).snapshot(at).sql("SELECT path FROM calculations ORDER BY path")
    return list(answer["path"].to_pylist())


def states() -> dict[str, str]:
    return {one.name: one.state for one in status(TREE).runs}


def test_what_is_retracted_is_hidden_from_then_on_and_earlier_snapshots_show_it() -> None:
    before = Store(STORE).snapshot().record

    report = retract(STORE, A, "wrong pseudopotential", by="ann")

    assert (report.paths, report.n_configurations) == (["a/OUTCAR"], 3)
    assert shown() == ["b/OUTCAR"]
    assert shown(before.id) == ["a/OUTCAR", "b/OUTCAR"]
    assert len(Store(STORE).snapshot(before.id).read()) == 6
    (one,) = tombstones(Repository.open(STORE).snapshot())
    assert (one.path, one.n_configurations, one.reason, one.by) == ("a/OUTCAR", 3, "wrong pseudopotential", "ann")
    assert verify(STORE).ok


@pytest.mark.parametrize("exact", [False, True])
def test_no_sync_takes_it_again_and_its_file_is_not_even_read(read: list[str], exact: bool) -> None:
    after = retract(STORE, A, "wrong").snapshot

    report = sync(TREE, exact=exact)

    assert report.snapshot == after
    assert read == []
    assert [(one.path, one.code) for one in report.withheld] == [("a/OUTCAR", "retracted")]
    assert report.withheld[0].reason.startswith("wrong (by a user, ")
    assert states() == {"a/OUTCAR": "retracted", "b/OUTCAR": "done"}


def test_an_ingest_of_the_very_file_does_not_bring_it_back() -> None:
    retract(STORE, A, "wrong")
    report = ingest(TREE / "a/OUTCAR", license="CC0-1.0", kind="defect")
    assert (report.entered, report.exit_code, len(report.withheld)) == ([], 0, 1)
    assert shown() == ["b/OUTCAR"]


def test_the_same_bytes_elsewhere_are_not_taken_either() -> None:
    retract(STORE, A, "wrong")
    shutil.move(TREE / "a", TREE / "elsewhere")
    sync(TREE)
    sync(TREE, exact=True)
    assert shown() == ["b/OUTCAR"]
    assert states()["elsewhere/OUTCAR"] == "retracted"


def test_other_bytes_of_that_run_are_new() -> None:
    retract(STORE, A, "wrong")
    put(TREE / "a", replace(DONE, n_steps=5))
    assert states()["a/OUTCAR"] == "new"
    sync(TREE)
    assert rows(STORE, "path, n_configurations") == [("a/OUTCAR", 5), ("b/OUTCAR", 3)]


@pytest.mark.parametrize("exact", [False, True])
def test_it_stays_retracted_while_its_file_is_away_and_when_it_is_back(exact: bool) -> None:
    retract(STORE, A, "wrong")
    shutil.move(TREE / "a", "away")
    sync(TREE, exact=exact)
    shutil.move("away", TREE / "a")
    sync(TREE, exact=exact)
    assert shown() == ["b/OUTCAR"]
    assert [one.reason for one in tombstones(Repository.open(STORE).snapshot())] == ["wrong"]


def test_of_two_runs_in_a_file_one_can_be_retracted(read: list[str]) -> None:
    first = Run("pwscf", seed=7).ended("finished")
    put(TREE / "c", first)
    (TREE / "c/pw.out").write_bytes(text(first) + text(replace(first, seed=8, started=3600)))
    sync(TREE)
    assert shown()[2:] == ["c/pw.out", "c/pw.out#2"]
    (name,) = Store(STORE).snapshot().sql("SELECT calculation_id FROM calculations WHERE path = 'c/pw.out'")[0]
    retract(STORE, Which(name.as_py()), "wrong")

    sync(TREE)
    sync(TREE, exact=True)
    (TREE / "c/mlpdata.yaml").write_text("kind: defect\n")
    report = sync(TREE)

    assert read[-1] == "c/pw.out"
    assert [one.path for one in report.withheld] == ["c/pw.out"]
    assert shown() == ["a/OUTCAR", "b/OUTCAR", "c/pw.out#2"]


def test_undo_shows_it_again_with_the_same_content() -> None:
    before = Store(STORE).snapshot()
    retract(STORE, A, "wrong")

    report = retract(STORE, A, "it was right", undo=True)

    assert report.content == before.content
    assert shown() == ["a/OUTCAR", "b/OUTCAR"]
    assert states() == {"a/OUTCAR": "done", "b/OUTCAR": "done"}
    assert tombstones(Repository.open(STORE).snapshot()) == []
    assert [one.message for one in Store(STORE).log()][:2] == [
        "1 calculations shown again: it was right",
        "1 calculations retracted: wrong",
    ]


def test_a_run_that_was_computed_anew_stands_in_the_way_of_undo() -> None:
    retract(STORE, A, "wrong")
    put(TREE / "a", replace(DONE, n_steps=5))
    sync(TREE)
    with pytest.raises(UsageError, match="took its place"):
        retract(STORE, A, "", undo=True)
    assert rows(STORE, "path, n_configurations")[0] == ("a/OUTCAR", 5)


def test_the_frame_that_a_restart_shares_with_a_retracted_run_is_shown_by_the_restart() -> None:
    first = replace(DONE, seed=11)
    put(TREE / "d/1", first)
    put(TREE / "d/2", first.continued(started=7200, overlap=True).grown(2).ended("finished"))
    sync(TREE)
    assert rows(STORE, "path, n_configurations")[2:] == [("d/1/OUTCAR", 3), ("d/2/OUTCAR", 2)]

    retract(STORE, Which("d/1/OUTCAR"), "wrong")
    assert rows(STORE, "path, n_configurations, continues")[2:] == [("d/2/OUTCAR", 3, "")]

    retract(STORE, Which("d/1/OUTCAR"), "", undo=True)
    assert rows(STORE, "path, n_configurations")[2:] == [("d/1/OUTCAR", 3), ("d/2/OUTCAR", 2)]


@pytest.mark.parametrize("how", ["id", "sha256", "code", "query"])
def test_what_is_meant_can_be_said_in_several_ways(how: str) -> None:
    (name,) = Store(STORE).snapshot().sql("SELECT calculation_id FROM calculations WHERE path = 'a/OUTCAR'")[0]
    version = Store(STORE).snapshot().methods()[0]
    which = {
        "id": Which(name.as_py()[:10]),
        "sha256": Which(sha256(text(DONE))[:12]),
        "code": Which(code_version=f"{version.code} {version.code_version}".upper()),
        "query": Which(query="SELECT calculation_id FROM calculations WHERE path LIKE 'a/%'"),
    }[how]
    report = retract(STORE, which, "wrong", dry_run=True)
    assert report.paths == (["a/OUTCAR", "b/OUTCAR"] if how == "code" else ["a/OUTCAR"])
    assert len(shown()) == 2


@pytest.mark.parametrize(
    ("which", "reason", "undo", "said"),
    [
        (Which(), "x", False, "found none or several"),
        (Which("a/OUTCAR", "vasp 6"), "x", False, "found none or several"),
        (A, " ", False, "--reason"),
        (Which(query="SELECT calculation_id FROM calculations"), "", True, "--sql"),
        (Which(query="SELECT path FROM calculations"), "x", False, "calculation_id"),
    ],
)
def test_an_unclear_wish_is_refused(which: Which, reason: str, undo: bool, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        retract(STORE, which, reason, undo=undo)
    assert len(shown()) == 2


def test_what_is_not_there_or_is_retracted_already_is_told_apart() -> None:
    with pytest.raises(NotFound, match="found none"):
        retract(STORE, Which("nowhere"), "x")
    with pytest.raises(NotFound, match="only what is shown"):
        retract(STORE, A, "", undo=True)
    retract(STORE, A, "x")
    with pytest.raises(NotFound, match="retracted already"):
        retract(STORE, A, "x")


def test_a_writer_that_read_it_before_it_was_retracted_does_not_show_it(tmp_path: Path) -> None:
    """The same calculation is staged, then retracted by another, then committed."""
    store = tmp_path / "race"
    first = brought(store, [1, 2])
    repository = Repository.open(store)
    key = first.segments[0], calculation(1).record
    with repository.stage() as writer:
        writer.begin()
        writer.end(calculation(3))
        staged = repository.adopt(writer)
    assert staged is not None
    repository.commit(retract=[(*key, "wrong")], user="ann")

    again = staged._replace(
        wanted={
            **staged.wanted,
            repository.index_of(key[0]).get(key[1]).content: key[1],  # type: ignore[union-attr]
        }
    )
    repository.commit(staged=[again], restore=[key])

    paths = [one.path for one in repository.snapshot().calculations()]
    assert paths == [calculation(2).path, calculation(3).path]


def test_automatic_retractions_are_written_as_they_always_were() -> None:
    """So that snapshots of old stores keep their ids."""
    digest = "0" * 64
    automatic = Retraction(segment=digest, calculation=digest, reason="no longer in the tree")
    written = {"segment": digest, "calculation": digest, "reason": "no longer in the tree"}
    snapshot = Snapshot(retracted=(automatic,), content=digest, n_configurations=0, n_calculations=0, time="")
    assert automatic.as_json() == written
    assert snapshot.as_json()["retracted"] == [written]
    assert snapshot.id == sha256_json(
        {
            "schema_version": snapshot.schema_version, "parents": [], "segments": [], "retracted": [written], "content": digest,
            "n_configurations": 0, "n_calculations": 0, "time": "", "message": "",
        }
    )  # fmt: skip
    by_hand = automatic.replace(by="ann", time="2026-01-31T00:00:00+00:00")
    assert Retraction.model_validate(by_hand.as_json()) == by_hand
    assert not automatic.by_hand
    assert by_hand.by_hand


def test_what_an_exact_sync_restores_is_never_what_a_user_retracted() -> None:
    retract(STORE, A, "wrong")
    known = Known(Repository.open(STORE), exact=True)
    assert set(known.retracted) <= set(known.hidden)
    sync(TREE, exact=True)
    assert shown() == ["b/OUTCAR"]
