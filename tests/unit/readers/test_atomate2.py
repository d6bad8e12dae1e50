"""Task documents of atomate2: what VASP printed comes out, whatever the version and the wrapping of the document."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import taskdocs
import vasprun
from taskdocs import CARTESIAN, FORCES, FREE, NO_ENTROPY, SIGMA0, calculation, document, job, step

from mlpdata.api import Store
from mlpdata.errors import LimitExceeded, NotRecognised, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.intake import ingest
from mlpdata.readers.archive import Input
from mlpdata.readers.atomate2 import documents, taskdoc
from mlpdata.readers.registry import Ending, Header, open_run, recognise_file
from mlpdata.schema.properties import NO, YES
from mlpdata.testing.readings import Reading, read


def reading(text: str | bytes, *, cut: bool = False) -> Reading:
    content = text if isinstance(text, bytes) else text.encode()
    return read(taskdoc.READER, Input(Path("task.json"), content, "0" * 64, len(content), cut=cut))


def frames(record: Any, run: int = 0) -> Frames:
    found = reading(json.dumps(record))
    if found.error:
        raise found.error
    return concatenate(found.runs[run].blocks)


def header(record: Any) -> Header:
    return reading(json.dumps(record)).runs[0].header


def ending(text: str, run: int = -1) -> Ending:
    found = reading(text).runs[run].ending
    assert found is not None
    return found


def test_the_energy_consistent_with_forces_is_stored_and_the_others_beside_it() -> None:
    block = frames(document(calculation([step()])))

    assert (block.energy[0], block.get("energy_sigma0")[0], block.get("energy_no_entropy")[0]) == (
        FREE, SIGMA0, NO_ENTROPY,
    )  # fmt: skip


def test_positions_are_fractional_times_the_cell() -> None:
    assert frames(document(calculation([step()]))).positions.tolist() == CARTESIAN


def test_stress_in_kb_is_turned_to_tension() -> None:
    stress = frames(document(calculation([step()]))).get("stress")[0]

    assert stress[0, 0] == pytest.approx(-0.01, rel=1e-12)  # 1 eV/angstrom^3 is 1602.176634 kB
    assert stress[1, 1] == pytest.approx(0.02, rel=1e-12)


def test_what_a_step_lacks_is_absent() -> None:
    block = frames(document(calculation([step(forces=None, stress=None), step(0.25)])))

    assert np.isnan(block.forces[:2]).all()
    assert block.forces[2:].tolist() == FORCES
    assert np.isnan(block.get("stress")[0]).all()
    assert not np.isnan(block.get("stress")[1]).any()


def test_runs_come_in_the_order_in_which_they_were_made() -> None:
    found = reading(json.dumps(document(calculation([step()], "relax1"), calculation([step(0.25)], "relax2"))))

    assert [run.header.identity.split()[-1] for run in found.runs] == ["relax1", "relax2"]
    assert [run.blocks[0].energy[0] for run in found.runs] == [FREE, FREE + 0.25]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(document(calculation([step()]))),
        json.dumps([job(document(calculation([step()])))]),
        json.dumps({"response": job(document(calculation([step()])))}, indent=2),
        json.dumps({"data": [document(calculation([step()]))]}),
        "\n" + json.dumps(document(calculation([step()]))) + "\n\n",
    ],
    ids=["bare", "store", "response", "server", "blanks"],
)
def test_a_document_is_found_in_what_jobflow_wraps_around_it(text: str) -> None:
    (run,) = reading(text).runs

    assert run.blocks[0].energy.tolist() == [FREE]


@pytest.mark.parametrize("form", ["lines", "array", "pretty"])
def test_several_documents_of_a_file_are_several_runs(form: str) -> None:
    records = [document(calculation([step(shift)])) for shift in (0.0, 0.25, 0.5)]
    text = {
        "lines": "\n".join(map(json.dumps, records)),
        "array": json.dumps(records),
        "pretty": "\n".join(json.dumps(record, indent=1) for record in records),
    }[form]

    assert [run.blocks[0].energy[0] for run in reading(text).runs] == [FREE, FREE + 0.25, FREE + 0.5]


def test_shifted_tags_of_vasp_5_are_put_right() -> None:
    """Pitfall V1: e_wo_entrp has the extrapolated energy, e_0_energy the entropy term."""
    shifted = step(e_wo_entrp=SIGMA0, e_0_energy=FREE - NO_ENTROPY)

    block = frames(document(calculation([shifted])))

    assert block.get("energy_sigma0")[0] == SIGMA0
    assert block.get("energy_no_entropy")[0] == pytest.approx(NO_ENTROPY, abs=1e-12)


def test_enthalpies_become_energies() -> None:
    """Pitfall V3: with PSTRESS the energies of a step are enthalpies, those of its iterations are not."""
    work = 16.0217733 * 120.0 / 1602.17733  # kB angstrom^3 in eV: 1.2
    under_pressure = step(**taskdocs.energies(FREE + work, NO_ENTROPY + work, SIGMA0 + work))
    record = calculation([under_pressure], parameters={**taskdocs.PARAMETERS, "PSTRESS": 16.0217733})

    assert frames(document(record)).energy[0] == pytest.approx(FREE, abs=1e-9)


def test_steps_of_a_machine_learned_force_field_are_counted_not_read() -> None:
    """Pitfall V11."""
    record = calculation(
        [step(), step(0.25, electronic_steps=[])], parameters={**taskdocs.PARAMETERS, "ML_LMLFF": True}
    )
    text = json.dumps(document(record))

    assert len(frames(document(record))) == 1
    assert [one.frames for one in ending(text).left_out] == [1]


def test_a_loop_that_ends_at_nelm_above_ediff_did_not_converge() -> None:
    record = calculation([step()], parameters={**taskdocs.PARAMETERS, "NELM": 2})

    assert frames(document(record)).get("scf_converged").tolist() == [NO]
    assert frames(document(calculation([step()]))).get("scf_converged").tolist() == [YES]


@pytest.mark.parametrize(
    ("tags", "charge"),
    [({}, 0.0), ({"NELECT": 7.0}, np.nan)],
    ids=["neutral unless NELECT is set", "valences are not in a document"],
)
def test_charge(tags: dict[str, float], charge: float) -> None:
    record = calculation([step()], incar={**taskdocs.INCAR, **tags})

    assert frames(document(record)).get("charge").tolist() == pytest.approx([charge], nan_ok=True)


def test_the_method_is_that_of_the_tags() -> None:
    hybrid = {**taskdocs.PARAMETERS, "LHFCALC": True, "AEXX": 0.25, "HFSCREEN": 0.2, "GGA": "PE"}
    plus_u = {"LDAU": True, "LDAUTYPE": 2, "LDAUL": [2, -1], "LDAUU": [4.5, 0], "LDAUJ": [0.5, 0]}
    found = header(document(calculation([step()], parameters=hybrid, incar={**taskdocs.INCAR, **plus_u})))

    assert (found.method.functional, found.method.exact_exchange, found.method.cutoff_energy) == ("HSE06", 0.25, 400.0)
    assert [(one.species, one.orbital, one.u) for one in found.method.hubbard] == [("Si", "d", 4.0)]
    assert found.method.kpoints is not None
    assert (found.method.kpoints.mesh, found.method.kpoints.centring, found.method.kpoints.count) == (
        (4, 5, 6),
        "gamma",
        24,
    )
    assert {one.title for one in found.method.pseudopotentials} == {"PAW_PBE Si 05Jan2001", "PAW_PBE Ge 05Jan2001"}
    assert (found.run_kind, found.temperature_target, found.energy_kind) == ("md", 300.0, "free")


def test_potentials_that_come_twice_in_a_row_are_found_by_element() -> None:
    listed = [{"titel": f"PAW_PBE {name}"} for name in ("Si 05Jan2001", "Ge 05Jan2001", "Ge_d 03Jul2007")]
    found = header(document(calculation([step()], potcar_spec=listed)))

    assert [one.title for one in found.method.pseudopotentials] == ["PAW_PBE Ge 05Jan2001", "PAW_PBE Si 05Jan2001"]


def test_enthalpies_are_told_of() -> None:
    text = json.dumps(document(calculation([step()], parameters={**taskdocs.PARAMETERS, "PSTRESS": 5.0})))

    assert "enthalpies" in ending(text).warnings[0]


def test_the_identity_names_no_machine() -> None:
    assert "node7" not in header(document(calculation([step()]))).identity


def test_atoms_that_selective_dynamics_holds_are_fixed() -> None:
    held = taskdocs.structure(selective_dynamics=[False, False, False])

    assert frames(document(calculation([step()], structure=held))).get("fixed").tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("said", ["failed", False])
def test_a_run_that_the_workflow_calls_failed_is_failed(said: object) -> None:
    assert ending(json.dumps(document(calculation([step()], has_vasp_completed=said)))).status == "failed"


def test_a_run_of_which_nothing_is_said_is_not_complete() -> None:
    assert ending(json.dumps(document(calculation([step()], has_vasp_completed=None)))).status == "truncated"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999", '"-10.5"', "true", "null"])
def test_an_energy_that_is_no_finite_number_costs_its_step(constant: str) -> None:
    text = json.dumps(document(calculation([step(e_fr_energy="ENERGY"), step(0.25)]))).replace('"ENERGY"', constant)
    (run,) = reading(text).runs

    assert [block.energy.tolist() for block in run.blocks] == [[FREE + 0.25]]
    assert run.blocks[0].get("step").tolist() == [1]
    assert "ionic step 0: expected e_fr_energy" in ending(text).left_out[0].reason


@pytest.mark.parametrize(
    "changed",
    [
        {"forces": FORCES[:1]},
        {"forces": [[0.0, 0.0, float("nan")], [0.0, 0.0, 0.0]]},
        {"stress": [[1.0, 0.0, 0.0]]},
        {"structure": taskdocs.structure(symbols=("Si", "Si"))},
        {"structure": {}},
        {"structure": taskdocs.structure([[0.0, 0.0, 0.0], [0.5, 0.5]])},
    ],
)
def test_a_table_of_another_shape_or_other_atoms_cost_their_step(changed: dict[str, Any]) -> None:
    text = json.dumps(document(calculation([step(**changed), step(0.25)])))
    (run,) = reading(text).runs

    assert [block.energy.tolist() for block in run.blocks] == [[FREE + 0.25]]
    assert len(ending(text).left_out) == 1


def test_a_site_of_mixed_occupation_is_refused() -> None:
    mixed = taskdocs.structure()
    mixed["sites"][0]["species"] = [{"element": "Si", "occu": 0.5}, {"element": "Ge", "occu": 0.5}]

    with pytest.raises(ParseError, match="one atom each"):
        frames(document(calculation([step()], structure=mixed)))


def test_a_trajectory_that_is_kept_elsewhere_is_missed() -> None:
    found = ending(json.dumps(document(calculation([]))))

    assert "trajectory elsewhere" in found.left_out[0].reason


def test_a_document_that_is_cut_leaves_those_before_it() -> None:
    whole, cut = (json.dumps(document(calculation([step(shift)]))) for shift in (0.0, 0.25))
    found = reading(whole + "\n" + cut[: len(cut) // 2])

    assert [block.energy.tolist() for run in found.runs for block in run.blocks] == [[FREE]]
    last = found.runs[-1].ending
    assert last is not None
    assert last.status == "truncated"
    assert last.left_out[0].line == 2


def test_a_document_that_is_damaged_costs_no_other() -> None:
    first, second = (json.dumps(document(calculation([step(shift)]))) for shift in (0.0, 0.25))
    found = reading(first.replace("-10.5", "-**.*", 1) + "\n" + second)

    assert [block.energy.tolist() for run in found.runs for block in run.blocks] == [[FREE + 0.25]]


def test_an_array_without_its_end_is_cut() -> None:
    text = json.dumps([document(calculation([step()]))])

    assert ending(text).status == "complete"
    assert ending(text[:-1]).status == "truncated"


def test_a_compressed_stream_that_is_cut_is_not_complete() -> None:
    found = reading(json.dumps(document(calculation([step()]))), cut=True).runs[0].ending

    assert found is not None
    assert found.status == "truncated"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"calcs_reversed": [1, null, "x"]}', "{}", "[]"])
def test_json_of_another_shape_is_refused(text: str) -> None:
    assert isinstance(reading(text).error, ParseError)


def test_a_file_too_large_to_parse_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LARGEST", 100)

    error = reading(json.dumps(document(calculation([step()])))).error

    assert isinstance(error, LimitExceeded)
    assert "Export fewer documents" in error.message


def test_documents_of_other_codes_are_not_claimed() -> None:
    other = {"calcs_reversed": [{"has_cp2k_completed": "successful", "output": {"ionic_steps": []}}]}

    assert not taskdoc.magic(json.dumps(other).encode())
    assert "another code" in str(reading(json.dumps(other)).error)


def test_a_compressed_document_is_known_by_content_and_is_of_the_run_beside_it(tmp_path: Path) -> None:
    (tmp_path / "remote_job_data.json.gz").write_bytes(
        gzip.compress(json.dumps([job(document(calculation([step()])))]).encode())
    )
    (tmp_path / "vasprun.xml").write_text(vasprun.vasprun(vasprun.calculation()))

    known, beside = (recognise_file(tmp_path / name) for name in ("remote_job_data.json.gz", "vasprun.xml"))

    assert known.reader is taskdoc.READER
    assert known.run == beside.run
    assert known.reader.precedence > beside.reader.precedence


def test_a_document_exported_from_a_store_is_a_run_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mp-149.json").write_text(json.dumps(document(calculation([step()]))))

    assert recognise_file(tmp_path / "mp-149.json").run is None


def test_a_document_and_the_vasprun_it_was_made_from_have_the_same_ids(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").write_text(vasprun.vasprun(vasprun.calculation()))
    (tmp_path / "task.json").write_text(json.dumps(document(calculation([step()]))))
    ids = []
    for name in ("vasprun.xml", "task.json"):
        with open_run(tmp_path / name) as opened:
            ids.append([one.ids().tobytes() for one in opened.items() if isinstance(one, Frames)])

    assert ids[0] == ids[1]


def test_a_document_beside_the_outputs_of_its_run_is_no_second_calculation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vasprun.xml").write_text(vasprun.vasprun(vasprun.calculation()))
    (tmp_path / "remote_job_data.json").write_text(json.dumps([job(document(calculation([step()])))]))
    monkeypatch.chdir(tmp_path)

    ingest(Path())

    (stored,) = Store("store").snapshot().calculations()
    assert [Path(source.path).name for source in stored.sources] == ["vasprun.xml", "remote_job_data.json"]
    assert len(Store("store").snapshot()) == 1


def test_json_that_is_no_task_document_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "FW.json").write_text(json.dumps({"fw_id": 1, "spec": {"incar": {}}}))

    with pytest.raises(NotRecognised):
        recognise_file(tmp_path / "FW.json")
