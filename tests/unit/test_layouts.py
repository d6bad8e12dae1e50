"""Layouts: names of workflow tools and codes tell what is a copy, scratch, a stage, and where a run comes from."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from mlpdata.layouts import MAX_MARK_BYTES, MAX_TAG, Stage, is_mark, not_entered, origin, passed_over, stage

UUID = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("error.1.tar.gz", "custodian"),
        ("error.12.tar", "custodian"),
        ("OUTCAR.orig", "before the first correction"),
        ("vasprun.xml.orig.gz", "before the first correction"),
        ("OUTCAR~", "editor"),
        ("#run.out#", "editor"),
        (".OUTCAR.swp", "editor"),
        ("run-pos-1.xyz.bak-3", "a later run"),
        ("water-RESTART.wfn.bak-1", "a later run"),
        ("OUTCAR.bak.gz", "a later run"),
        ("job.tmp", "temporary"),
        ("job.proc0.tmp", "temporary"),
        ("job.H.tmp.3", "temporary"),
        ("export.aiida", "AiiDA"),
    ],
)
def test_copies_and_scratch_are_passed_over_with_a_reason(name: str, why: str) -> None:
    assert why in (passed_over(name, {name}) or "")


@pytest.mark.parametrize(
    "name",
    [
        "OUTCAR", "OUTCAR.gz", "vasprun.xml.relax1.gz", "OUTCAR.static.gz", "run-pos-1.xyz", "job.out", "aiida.out",
        "data-file-schema.xml", "relax.gpw", "results.tar.gz", "origin.out", "tmp.out", "bak.log", "my.errors.out",
    ],
)  # fmt: skip
def test_outputs_are_not_passed_over(name: str) -> None:
    assert passed_over(name, {name}) is None


def test_orcas_guesses_from_atoms_are_passed_over_beside_their_job_only() -> None:
    assert "single atom" in (passed_over("job_atom83.out", {"job_atom83.out", "job.inp"}) or "")
    assert passed_over("carbon_atom6.out", {"carbon_atom6.out", "hydrogen_atom1.out"}) is None


def test_images_of_orcas_band_are_passed_over_beside_their_job_only() -> None:
    names = {"neb.inp", "neb.out", "neb_im3.engrad"}

    assert "elastic band" in (passed_over("neb_im3.engrad", names) or "")
    assert passed_over("neb.out", names) is None
    assert passed_over("water_im3.engrad", {"water_im3.engrad"}) is None


def test_sets_that_dpgen_made_of_its_tasks_are_not_entered() -> None:
    names = {"task.000.000000", "task.000.000001", "data.000", "data.001"}

    assert "DP-GEN" in (not_entered("data.000", names) or "")
    assert not_entered("task.000.000000", names) is None
    assert not_entered("data.000", {"data.000"}) is None


def test_the_folder_in_which_pw_repeats_its_xml_is_not_entered() -> None:
    assert "same XML" in (not_entered("si.save", {"si.save", "si.xml", "si.out"}) or "")
    assert not_entered("si.save", {"si.save", "si.out"}) is None


def test_object_stores_of_aiida_are_not_entered() -> None:
    names = {"config.json", "duplicates", "loose", "packs", "packs.idx", "sandbox"}

    assert all("digests" in (not_entered(name, names) or "") for name in ("loose", "packs"))
    assert not_entered("packs", {"packs", "runs"}) is None


@pytest.mark.parametrize(
    "name",
    ["launcher_2024-01-02-03-04-05-678901", "block_2024-01-02-03-04-05-678901", "iter.000003", "02.fp", "0b", "00",
     f"{UUID}_1", "path", "raw_input", "out", "aiida.save"],
)  # fmt: skip
def test_folders_that_hold_runs_are_entered(name: str) -> None:
    assert not_entered(name, {name, "aiida.out"}) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vasprun.xml.relax1.gz", Stage("vasprun.xml", 1, "relax1")),
        ("OUTCAR.relax2.gz", Stage("OUTCAR", 2, "relax2")),
        ("OUTCAR.static.gz", Stage("OUTCAR", None, "static")),
        ("vasprun.relax1.xml.gz", Stage("vasprun.xml", 1, "relax1")),
        ("relax1.OUTCAR", Stage("OUTCAR", 1, "relax1")),
        ("OUTCAR.1", Stage("OUTCAR", 1, "1")),
        ("OUTCAR_02", Stage("OUTCAR", 2, "02")),
        ("md-2.out", Stage("md.out", 2, "2")),
        ("run.out.3", Stage("run.out", 3, "3")),
        ("run.out.012", Stage("run.out", 12, "012")),
        ("job.restart2.log", Stage("job.log", 2, "restart2")),
        ("vasprun.xml", Stage("vasprun.xml", None, "")),
        ("relax.out", Stage("relax.out", None, "")),
    ],
)
def test_a_stage_is_told_from_what_it_is_a_stage_of(name: str, expected: Stage) -> None:
    assert stage(name) == expected


@pytest.mark.parametrize("name", ["CO2.out", "Si-0.05.out", "Si_0.05.out", "Cu_300.out", "md-300K.out", "mp-149.json"])
def test_numbers_of_another_meaning_are_no_stage(name: str) -> None:
    assert stage(name) == Stage(name, None, "")


def test_files_of_one_stage_sort_as_the_run_went() -> None:
    names = ["OUTCAR.relax10.gz", "OUTCAR.relax2.gz", "OUTCAR.relax1.gz"]

    assert sorted(names, key=lambda name: stage(name).number or 0) == names[::-1]


# -- origin


def marks(**contents: Any) -> dict[str, bytes]:
    return {name.replace("_json", ".json"): json.dumps(content).encode() for name, content in contents.items()}


def test_a_firework_is_named_by_its_own_file() -> None:
    folders = ("block_2024-01-02-03-04-05-678901", "launcher_2024-01-02-03-04-05-678902")
    firework = {"fw_id": 17, "name": "Si-structure optimization", "spec": {"_tasks": [{"job": {"uuid": UUID}}]}}

    assert origin(folders, (), marks(FW_json=firework)) == {
        "workflow": "fireworks", "fw_id": "17", "fw_name": "Si-structure optimization", "job_uuid": UUID,
    }  # fmt: skip


def test_a_launcher_without_its_file_is_of_fireworks_still() -> None:
    assert origin(("runs", "launcher_2024-01-02-03-04-05-678902"), (), {}) == {"workflow": "fireworks"}


def test_corrections_of_custodian_are_counted() -> None:
    jobs = [{"job": {}, "corrections": [{}, {}]}, {"job": {}, "corrections": []}, {"job": {}, "corrections": [{}]}]

    assert origin((), (), marks(custodian_json=jobs)) == {"custodian_corrections": "3"}


def test_a_folder_of_jobflow_remote_is_named_by_its_job() -> None:
    tags = origin(
        ("0b", "1c", "2d", f"{UUID}_2"), (), marks(jfremote_in_json={"job": {"name": "static", "uuid": UUID}})
    )

    assert tags == {"workflow": "jobflow", "job_uuid": UUID, "job_index": "2", "job_name": "static"}


def test_an_iteration_of_dpgen_is_named_by_its_folders() -> None:
    assert origin(("run", "iter.000012", "02.fp", "task.000.000003"), (), {}) == {
        "workflow": "dpgen", "dpgen_iteration": "000012", "dpgen_stage": "fp", "dpgen_task": "000.000003",
    }  # fmt: skip


def test_a_task_folder_elsewhere_is_not_of_dpgen() -> None:
    assert origin(("campaign", "task.000.000003"), (), {}) == {}


def test_a_calculation_of_aiida_is_named_by_its_folders() -> None:
    names = {"_aiidasubmit.sh", "aiida.in", "aiida.out"}

    assert origin(("work", UUID[:2], UUID[2:4], UUID[4:]), names, {}) == {"workflow": "aiida", "aiida_uuid": UUID}
    assert origin(("runs", "si"), names, {}) == {"workflow": "aiida"}


def test_compressed_marks_are_read_too() -> None:
    content = gzip.compress(json.dumps({"fw_id": 3, "name": "static"}).encode())

    assert is_mark("FW.json.gz")
    assert origin((), (), {"FW.json.gz": content})["fw_id"] == "3"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[" * 100_000, b"17", b"null", b'["a"]', b'{"fw_id": [1], "name": {"a": 1}, "spec": 3}', b"\xff\xfe\x00",
        b"\x1f\x8b damaged", gzip.compress(b"[" + b" " * (2 * MAX_MARK_BYTES) + b"]"), b'{"job": {"uuid": true}}',
        b'[{"corrections": 5}, 3, null]', b'{"uuid": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["FW.json", "custodian.json", "jfremote_in.json", "jobflow_job.json"])
def test_a_mark_that_is_damaged_or_hostile_says_nothing(name: str, content: bytes) -> None:
    assert set(origin((), (), {name: content}).values()) <= {"fireworks"}


def test_tags_are_bounded() -> None:
    assert len(origin((), (), marks(FW_json={"name": "x" * 10_000}))["fw_name"]) == MAX_TAG


def test_other_json_is_no_mark() -> None:
    assert not any(map(is_mark, ("task.json", "record.dpgen", "FW.json.txt", "transformations.json")))
