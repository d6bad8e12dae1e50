"""`mlpdata verify` and `mlpdata repair` as a user meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_runs import DONE, OTHER, put
from tiny import Verb, refused


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Verb) -> Path:
    """Two runs that were synced, and a copy of the store."""
    monkeypatch.chdir(tmp_path)
    put(Path("raw/a"), DONE)
    put(Path("raw/b"), OTHER)
    assert verb("sync", "raw").code == 0
    shutil.copytree("store", "copy")
    return Path("store")


def positions(store: Path) -> Path:
    """The shard of positions; run a is at its beginning."""
    (path,) = store.glob("segments/*/arrays/positions/c.0.0")
    return path


def scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[:16] = bytes(255 - one for one in content[:16])
    path.write_bytes(content)


def test_a_fault_names_the_run_and_the_cure(store: Path, verb: Verb) -> None:
    scribble(positions(store))

    answer = verb("verify")

    assert answer.code == 5
    assert "a/OUTCAR" in answer.out
    assert "1 fault" in answer.out
    assert "mlpdata repair --from COPY" in answer.out
    report = json.loads(verb("verify", "--json").out)
    (fault,) = report["faults"]
    assert not report["ok"]
    assert {one["path"] for one in fault["calculations"]} == {"a/OUTCAR", "b/OUTCAR"}
    assert [len(one) for one in fault["snapshots"]] == [64]


def test_a_copy_restores_it(store: Path, verb: Verb) -> None:
    whole = positions(store).read_bytes()
    scribble(positions(store))

    answer = verb("repair", "--from", "copy")

    assert answer.code == 0
    assert "restored from the copy" in answer.out
    assert "store.work/damaged" in answer.out
    assert positions(store).read_bytes() == whole
    assert "Nothing is damaged." in verb("repair").out


def test_without_a_copy_the_run_is_named_and_sync_brings_it_back(store: Path, verb: Verb) -> None:
    before = json.loads(verb("log", "--json").out)["content"]
    scribble(positions(store))

    answer = verb("repair")
    assert answer.code == 5
    assert "--drop gives them up" in answer.out
    answer = verb("repair", "--drop")
    assert answer.code == 0
    assert "Lost: a/OUTCAR, 3 configurations" in answer.out
    assert "mlpdata sync" in answer.out
    answer = verb("verify")
    assert answer.code == 0
    assert "Given up before: 1 fault" in answer.out

    assert verb("sync").code == 0
    assert json.loads(verb("log", "--json").out.splitlines()[0])["content"] == before


def test_the_outputs_are_read_again_and_compared(store: Path, verb: Verb) -> None:
    assert "2 of 2 calculations read again with the same numbers" in verb("verify", "--rebuild").out
    shutil.rmtree("raw/b")
    answer = verb("verify", "--rebuild", "raw")
    assert answer.code == 1
    assert "b/OUTCAR: missing" in answer.out
    report = json.loads(verb("verify", "--rebuild", "--json").out)
    assert report["counts"] == {"same": 1, "missing": 1}
    assert [one["path"] for one in report["calculations"]] == ["b/OUTCAR"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["verify", "raw"], 2, "--rebuild"),
        (["verify", "--rebuild", "--quick"], 2, "found two of them"),
        (["verify", "--quick", "--subset", "1/2"], 2, "found both"),
        (["verify", "--subset", "9"], 2, "such as 2/7"),
        (["verify", "--rebuild", "nowhere"], 2, "expected a folder of outputs"),
        (["verify", "--store", "nowhere"], 4, "expected a store"),
        (["repair", "--store", "nowhere"], 4, "expected a store"),
        (["repair", "--from", "nowhere"], 4, "expected a second copy"),
        (["repair", "--head", "abc"], 2, "expected HEAD to be damaged"),
    ],
)
def test_a_mistake_is_a_line(store: Path, verb: Verb, arguments: list[str], code: int, said: str) -> None:
    refused(verb(*arguments), code, said)
