"""What a sidecar says survives being taken apart, written as text and put together again."""

from __future__ import annotations

import pytest

from mlpdata.errors import UsageError
from mlpdata.schema.method import Method
from mlpdata.schema.noun import from_user
from mlpdata.schema.sidecar import Sidecar, SidecarFile

FULL = Sidecar(
    license="MIT",
    citation="A. Author, 2026",
    kind="aimd",
    temperature=298.15,
    group="folder",
    system="CO2 on Cu(111)",
    tags={"project.part": "x", "by": ""},
    units={"energy": "eV", "length": "angstrom"},
    names={"energy": "REF_energy"},
    energy_kind="free",
    stress_sign="compression",
    method=Method(code="vasp", functional="PBE"),
)


def test_every_field_is_set_in_the_specimen() -> None:
    assert all(value not in (None, {}) for value in dict(FULL).values())


def test_a_sidecar_comes_back_from_its_fields_and_from_its_text() -> None:
    assert Sidecar.from_fields(FULL.fields()) == FULL
    assert Sidecar.from_declared(FULL.declared()) == FULL
    assert Sidecar.from_declared(Sidecar().declared()) == Sidecar()


def test_fields_of_names_and_values_are_taken_apart() -> None:
    fields = FULL.fields()
    assert (fields["temperature"], fields["tags.project.part"], fields["units.energy"]) == (298.15, "x", "eV")
    assert FULL.declared().keys() == fields.keys()


def test_what_is_declared_is_text() -> None:
    declared = FULL.declared()
    assert (declared["temperature"], declared["system"]) == ("298.15", "CO2 on Cu(111)")
    assert '"functional":"PBE"' in declared["method"]


def test_a_file_holds_rules_beside_what_it_says_of_all_runs() -> None:
    file = SidecarFile(kind="defect", from_path="{system}", map=("a.csv",), runs={"md_*": Sidecar(kind="aimd")})
    assert file.said == Sidecar(kind="defect")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"run": {}}, "run: expected one of license, .*from_path, map, runs, found another name"),
        (
            {"runs": {"a": {"from_path": "x"}}},
            r"runs\.a\.from_path: expected one of license, .*method, found another name",
        ),
        ({"runs": {"a": {"method": {"cod": "x"}}}}, r"runs\.a\.method\.co.*: "),
        ({"map": 3}, r"map\."),
    ],
)
def test_a_file_with_an_unknown_field_is_refused(written: dict[str, object], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        from_user(SidecarFile, written, "mlpdata.yaml")
