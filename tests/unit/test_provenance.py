"""Provenance: each result leads back to file and line, each source forward to what rests on it; broken links are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from small_runs import DONE, OTHER, put, text
from tiny import MD, Verb, refused

from mlpdata.api import Store
from mlpdata.digest import canonical_json, sha256
from mlpdata.errors import NotFound, UsageError
from mlpdata.intake import sync
from mlpdata.project import write_json
from mlpdata.provenance import Trace, trace, trace_forward
from mlpdata.retract import Which, retract
from mlpdata.schema.params import SplitParams
from mlpdata.schema.records import Split, View
from mlpdata.workflow import make_split, make_view

STORE = Path("store")
MODEL = Path("models/main/best.safetensors")
REPORT = Path("results/report.html")


def write_checkpoint(path: Path, **provenance: Any) -> str:
    """The header that a checkpoint has; what it says of training is not asked."""
    header = canonical_json({"id": "c" * 64, "record": {"provenance": provenance}}).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path, {"mlpdata": header})
    return "c" * 64


def write_report(path: Path, **names: str) -> None:
    path.parent.mkdir(exist_ok=True)
    metas = "".join(f'<meta name="mlpdata-{what}" content="{name}">\n' for what, name in names.items())
    path.write_text(f"<!doctype html>\n<html><head>{metas}</head></html>")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Split, View]:
    """Runs a and b and what was made of them: a has three configurations in train, b one in each part."""
    monkeypatch.chdir(tmp_path)
    put(Path("runs/a"), DONE)
    put(Path("runs/b"), OTHER)
    sync("runs")
    snapshot = Store(STORE).snapshot()
    ids = {path: [one.hex() for one in _ids(path)] for path in ("a/OUTCAR", "b/OUTCAR")}
    one, two, three = ids["b/OUTCAR"]
    parts = {"train": [*ids["a/OUTCAR"], one], "valid": [two], "test": [three]}
    split = Split(
        content=snapshot.content, recipe={}, parts={name: tuple(sorted(some)) for name, some in parts.items()}
    )
    write_json(Path("splits/main.json"), split.as_json())
    view = make_view(snapshot, split, Path("views/main"))
    write_checkpoint(MODEL, content=snapshot.content, view=view.id, split=split.id)
    write_report(REPORT, content=snapshot.content, view=view.id, split=split.id, model="c" * 64)
    return split, view


def _ids(path: str) -> list[bytes]:
    query = f"SELECT id FROM configurations WHERE path = '{path}' ORDER BY row"
    return list(Store(STORE).snapshot().sql(query)["id"].to_pylist())


def links(found: Trace) -> list[str]:
    return [one.what for one in found.links]


# back


@pytest.mark.parametrize("what", [str(REPORT), str(MODEL), "models/main", "views/main", "splits/main.json"])
def test_each_result_leads_back_to_its_sources(made: tuple[Split, View], what: str) -> None:
    found = trace(STORE, what)

    chain = ["report", "checkpoint", "view", "split", "snapshot"]
    expected = chain[{"results": 0, "models": 1, "views": 2, "splits": 3}[Path(what).parts[0]] :]
    assert links(found) == expected
    paths = {"report": REPORT, "checkpoint": MODEL, "view": "views/main", "split": "splits/main.json"}
    assert [one.name for one in found.links[1:-1]] == [str(paths[one]) for one in expected[1:-1]]
    assert found.links[-1].id == Store(STORE).snapshot().record.id
    assert found.broken == []
    learned = 2 if "models" in what else 3
    assert [(one.calculation, one.n_configurations, one.source) for one in found.origins] == [
        ("a/OUTCAR", 3, "a/OUTCAR"),
        ("b/OUTCAR", learned, "b/OUTCAR"),
    ]
    assert [one.sha256 for one in found.origins] == [sha256(text(DONE)), sha256(text(OTHER))]


def test_an_id_stands_for_its_file(made: tuple[Split, View]) -> None:
    split, view = made
    for name, what in ((split.id, "split"), (view.id, "view"), ("c" * 64, "checkpoint")):
        assert trace(STORE, name[:10]).links[0][::2] == (what, name)


def test_a_configuration_leads_to_its_line(made: tuple[Split, View]) -> None:
    """Each step has its own line, in the order in which the file prints them."""
    lines = []
    for one in _ids("a/OUTCAR"):
        found = trace(STORE, one.hex()[:12])
        assert links(found) == ["configuration", "snapshot"]
        (origin,) = found.origins
        assert (origin.source, origin.first_line) == ("a/OUTCAR", origin.last_line)
        lines.append(origin.first_line)
    assert lines == sorted(set(lines))
    whole = trace(STORE, "a/OUTCAR").origins[0]
    assert (whole.first_line, whole.last_line) == (lines[0], lines[-1])


def test_a_calculation_says_what_became_of_it(made: tuple[Split, View]) -> None:
    before = Store(STORE).snapshot().record
    retract(STORE, Which("a/OUTCAR"), "wrong", by="ann")

    found = trace(STORE, "a/OUTCAR")

    assert [(one.what, one.id) for one in found.links][1:] == [("snapshot", before.id)]
    assert found.links[0].note.startswith("hidden: wrong (by ann, ")
    assert [(one.source, one.n_configurations) for one in found.origins] == [("a/OUTCAR", 3)]
    (configuration,) = {one.id for one in trace(STORE, _hex(before.id)).links if one.what == "snapshot"}
    assert configuration == before.id


def _hex(snapshot: str) -> str:
    """An id of run a, which only that snapshot shows."""
    query = "SELECT id FROM configurations WHERE path = 'a/OUTCAR' LIMIT 1"
    return str(Store(STORE).snapshot(snapshot).sql(query)["id"][0].as_py().hex())


def test_results_of_an_earlier_snapshot_are_traced_in_it(made: tuple[Split, View]) -> None:
    before = Store(STORE).snapshot().record
    retract(STORE, Which("a/OUTCAR"), "wrong")
    found = trace(STORE, "models/main")
    assert found.links[-1].id == before.id
    assert found.broken == []


# broken links


def test_a_view_that_is_gone_is_named(made: tuple[Split, View]) -> None:
    shutil.rmtree("views")
    (broken,) = trace(STORE, "models/main").broken
    assert broken == f"the checkpoint {MODEL} names the view {made[1].id[:12]}, which does not lie in this project"


def test_content_that_no_snapshot_shows_is_named(made: tuple[Split, View]) -> None:
    lost = made[0].replace(content="f" * 64)
    write_json(Path("splits/lost.json"), lost.as_json())
    found = trace(STORE, "splits/lost.json")
    assert found.broken == ["the split names content ffffffffffff, which no snapshot of this store shows"]
    assert found.origins == []


def test_a_checkpoint_that_names_other_content_than_its_view_is_named(made: tuple[Split, View]) -> None:
    write_checkpoint(MODEL, content="f" * 64, view=made[1].id, split=made[0].id)
    (broken,) = trace(STORE, "models/main").broken
    assert "the checkpoint names content ffffffffffff, its view was made of" in broken


def test_configurations_that_the_content_does_not_have_are_counted(made: tuple[Split, View]) -> None:
    odd = made[0].replace(parts={**made[0].parts, "test": ("0" * 32, "1" * 32)})
    write_json(Path("splits/odd.json"), odd.as_json())
    (broken,) = trace(STORE, "splits/odd.json").broken
    assert broken == "the split names 2 configurations that its content does not have"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"parts": 1}', b"\xff" * 100])
@pytest.mark.parametrize("name", ["splits/x.json", "views/x/view.json", "models/x/best.safetensors", "results/x.html"])
def test_what_cannot_be_read_is_named_and_stops_nothing(made: tuple[Split, View], name: str, content: bytes) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)

    found = trace_forward(STORE, "a/OUTCAR")

    assert len(found.touched) == 4
    (broken,) = found.broken
    assert "cannot be read" in broken


def test_a_checkpoint_of_unknown_origin_is_named(made: tuple[Split, View]) -> None:
    write_checkpoint(Path("models/odd/best.safetensors"))
    (broken,) = trace(STORE, "models/odd").broken
    assert broken == "the checkpoint models/odd/best.safetensors names neither a view nor a split"


def test_an_output_that_is_called_as_a_split_is_no_split(made: tuple[Split, View]) -> None:
    put(Path("runs/d"), OTHER.grown(2), "run.json")
    sync("runs")
    put(Path("d"), OTHER.grown(2), "run.json")
    assert links(trace(STORE, "d/run.json")) == ["calculation", "snapshot"]


# forward


def test_a_source_leads_to_all_that_rests_on_it(made: tuple[Split, View]) -> None:
    split, view = made
    found = trace_forward(STORE, "b/OUTCAR")
    each = {"test": 1, "train": 1, "valid": 1}
    assert [(one.what, one.id, one.parts) for one in found.touched] == [
        ("split", split.id, each),
        ("view", view.id, each),
        ("checkpoint", "c" * 64, {"train": 1, "valid": 1}),
        ("report", "", each),
    ]
    assert (found.calculations, found.n_configurations, found.broken) == (["b/OUTCAR"], 3, [])


def test_a_checkpoint_that_saw_a_run_only_in_its_test_part_did_not_learn_from_it(made: tuple[Split, View]) -> None:
    snapshot, (split, _) = Store(STORE).snapshot(), made
    both = {"train": split.parts["train"][:0], "test": tuple(sorted(one.hex() for one in _ids("b/OUTCAR")))}
    both["train"] = tuple(sorted(one.hex() for one in _ids("a/OUTCAR")))
    view = make_view(snapshot, split.replace(parts=both), Path("views/main"))
    write_checkpoint(MODEL, content=snapshot.content, view=view.id)
    assert "checkpoint" not in [one.what for one in trace_forward(STORE, "b/OUTCAR").touched]
    assert "checkpoint" in [one.what for one in trace_forward(STORE, "a/OUTCAR").touched]


@pytest.mark.parametrize("how", ["sha256", "file", "path"])
def test_what_was_retracted_is_found_by_its_source(made: tuple[Split, View], how: str) -> None:
    retract(STORE, Which("a/OUTCAR"), "wrong")
    what = {"sha256": sha256(text(DONE))[:16], "file": "runs/a/OUTCAR", "path": "a/OUTCAR"}[how]
    found = trace_forward(STORE, what)
    assert found.calculations == ["a/OUTCAR"]
    assert [one.what for one in found.touched] == ["split", "view", "checkpoint", "report"]


def test_a_checkpoint_whose_view_is_gone_is_in_doubt(made: tuple[Split, View]) -> None:
    write_checkpoint(Path("models/old/best.safetensors"), view="a" * 64)
    found = trace_forward(STORE, "a/OUTCAR")
    assert [one.what for one in found.touched] == ["split", "view", "checkpoint", "report"]
    (broken,) = found.broken
    assert "names aaaaaaaaaaaa, which does not lie in this project: whether it holds any is not known" in broken


def test_what_nothing_was_made_of_touches_nothing(made: tuple[Split, View]) -> None:
    put(Path("runs/c"), OTHER.grown(1))
    sync("runs")
    shutil.rmtree("views")
    shutil.rmtree("models")
    shutil.rmtree("results")
    new = set(_ids("c/OUTCAR")) - set(_ids("b/OUTCAR"))
    assert new
    found = trace_forward(STORE, "c/OUTCAR")
    assert [one.what for one in found.touched] == ["split"]
    assert sum(found.touched[0].parts.values()) < found.n_configurations


# wrong names


@pytest.mark.parametrize("what", ["nothing", "0" * 16, "../store", "a/OUTCAR ", "", "views"])
def test_what_is_not_there_is_said(made: tuple[Split, View], what: str) -> None:
    with pytest.raises(NotFound, match="expected a"):
        trace(STORE, what)
    with pytest.raises(NotFound, match="expected a calculation or a source"):
        trace_forward(STORE, what)


def test_the_start_of_several_ids_is_too_short(made: tuple[Split, View]) -> None:
    write_checkpoint(Path("models/x/best.safetensors"))
    other = json.dumps({"id": "c" * 63 + "d", "record": {"provenance": {}}})
    Path("models/y").mkdir()
    safetensors.numpy.save_file({"w": np.zeros(1)}, "models/y/best.safetensors", {"mlpdata": other})
    with pytest.raises(UsageError, match="Give more digits"):
        trace(STORE, "c" * 20)


# the verb


def test_the_verb_walks_both_ways(project: Path, verb: Verb) -> None:
    snapshot = Store("store").snapshot()
    split = make_split(snapshot, SplitParams())
    write_json(Path("splits/main.json"), split.as_json())
    make_view(snapshot, split, Path("views/main"))
    assert MD

    answer = verb("trace", "views/main")
    assert answer.code == 0
    assert "raw/md/vasprun.xml:" in answer.out
    assert answer.err == ""
    found = json.loads(verb("trace", "raw/md/vasprun.xml", "--forward", "--json").out)
    assert [one["what"] for one in found["touched"]] == ["split", "view"]
    write_checkpoint(MODEL, view="a" * 64)
    answer = verb("trace", MODEL)
    assert answer.code == 1
    assert "broken: the checkpoint models/main/best.safetensors names the view aaaaaaaaaaaa" in answer.err
    refused(verb("trace", "nothing"), 4, "found no 'nothing'")
