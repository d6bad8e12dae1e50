"""`mlpdata show`, `log`, `verify`, `doctor`: what a store holds and whether it is well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import vasprun as v
from tiny import N_CALCULATIONS, N_CONFIGURATIONS, Verb, refused

from mlpdata.api import Store
from mlpdata.digest import canonical_json, sha256_json
from mlpdata.schema.noun import STORE_VERSION

pytestmark = pytest.mark.usefixtures("project")
MD = "SELECT hex(id) FROM configurations WHERE kind = 'aimd' AND step = 0"


def test_a_snapshot_is_shown_by_formula_and_kind(verb: Verb) -> None:
    answer = verb("show")
    assert f"{N_CONFIGURATIONS} configurations of {N_CALCULATIONS} calculations" in answer.out
    assert "GeSi\taimd\t3\t1\t" in answer.out
    assert json.loads(verb("show", "--json").out)["n_configurations"] == N_CONFIGURATIONS


def test_a_configuration_is_shown_with_its_source_and_line(verb: Verb) -> None:
    name = Store().snapshot().sql(MD).column(0)[0].as_py()
    said = verb("show", name[:12]).out
    found = json.loads(verb("show", name, "--json").out)

    assert "raw/md/vasprun.xml" in said
    assert found["id"] == name.lower()
    assert (found["energy"], found["forces"]) == (v.FREE, [list(force) for force in v.FORCES])
    text = Path(found["source"]).read_text().splitlines()
    assert "<calculation>" in text[found["line"] - 1]


@pytest.mark.parametrize("prefix", ["abc", "zzzz", "", "a" * 33, "' OR 1=1 --", "%%%%"])
def test_what_is_no_id_is_refused(verb: Verb, prefix: str) -> None:
    refused(verb("show", prefix), 2, "expected 4 to 32 hexadecimal digits of an id")


def test_an_id_that_is_not_there_or_names_several_is_said(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(verb("show", "0" * 32), 4, "expected a configuration whose id starts with", "found none", "mlpdata sql")
    snapshot = Store().snapshot()

    class Twice:
        """A snapshot in which every id begins alike."""

        def sql(self, query: str) -> object:
            return snapshot.sql(query.replace("starts_with(lower(hex(c.id)), 'abcd')", "true"))

    monkeypatch.setattr("mlpdata.api.Store.snapshot", lambda *_: Twice())
    refused(verb("show", "abcd"), 2, "found several. Give more digits.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show"],
        ["sql", "SELECT 1"],
        ["log"],
        ["verify"],
        ["record"],
        ["check"],
        ["split"],
        ["freeze"],
        ["md"],
        ["report"],
    ],
)
def test_without_a_store_every_verb_says_how_to_make_one(verb: Verb, arguments: list[str]) -> None:
    shutil.rmtree("store")
    refused(verb(*arguments), 4, "store: expected a store, found none. `mlpdata ingest` makes one")


def test_the_store_of_the_environment_is_taken(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("store").rename("elsewhere")
    monkeypatch.setenv("MLPDATA_STORE", "elsewhere")
    assert verb("show").code == 0


@pytest.mark.parametrize("at", ["v1", "00000000", "1999-01-01", "../HEAD", "yesterday"])
def test_a_snapshot_that_is_not_there_is_said(verb: Verb, at: str) -> None:
    refused(verb("show", "--at", at), 4, "mlpdata log")


def test_a_store_of_a_newer_schema_is_refused(verb: Verb) -> None:
    record = Store().snapshot().record.as_json()
    record["schema_version"] = STORE_VERSION + 1
    name = sha256_json(record)
    Path("store/snapshots", f"{name}.json").write_bytes(canonical_json(record))
    Path("store/HEAD").write_text(f"{name}\n")
    for arguments in (["show"], ["sql", "SELECT 1"], ["ingest", "raw"], ["log"], ["verify"]):
        answer = verb(*arguments)
        assert answer.code == 4, answer
        assert "Update mlpdata" in answer.err


def test_a_head_that_is_broken_is_corrupt(verb: Verb) -> None:
    Path("store/HEAD").write_text("nonsense\n")
    refused(verb("show"), 5, "store/HEAD", "Restore the file")


def test_the_log_lists_snapshots_newest_first(verb: Verb) -> None:
    Path("raw/md/vasprun.xml").write_text(v.vasprun(v.calculation(shift=0.4)))
    verb("ingest", "raw")
    lines = [json.loads(line) for line in verb("log", "--json").out.splitlines()]
    assert lines[0]["parents"] == [lines[1]["id"]]
    assert [line.split("\t")[0] for line in verb("log").out.splitlines()[1:]] == [one["id"][:12] for one in lines]


def test_verify_finds_one_byte_that_changed(verb: Verb) -> None:
    assert "no fault" in verb("verify").out
    path = next(path for path in Path("store").rglob("positions/**/*") if path.is_file() and path.suffix != ".json")
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)

    answer = verb("verify")
    assert answer.code == 5
    assert path.name in answer.out
    assert json.loads(verb("verify", "--json").out)["faults"]
    path.unlink()
    assert verb("verify", "--quick").code == 5
    assert "faults" in verb("doctor").out


def test_the_doctor_says_what_is_missing(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    version = importlib.metadata.version

    def without_torch(package: str) -> str:
        if package == "torch":
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", without_torch)
    answer = verb("doctor")
    assert answer.code == 0
    assert "torch\tmissing\tpip install 'mlpdata[train]'" in answer.out
    assert "store\tstore: well" in answer.out
    assert {one["name"] for one in json.loads(verb("doctor", "--json").out)} >= {"python", "torch", "store"}
