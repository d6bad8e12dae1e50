"""Theory: what may be one training target, with reasons."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mlpdata.checks.theory import differences, divide, one_theory
from mlpdata.schema.method import Hubbard, Kpoints, Method, Pseudopotential, Smearing

PBE = Method(code="vasp", code_version="6.3.2", functional="PBE", cutoff_energy=500.0, spin="restricted")
GAUSSIAN = Smearing(method="gaussian", width=0.1)
NARROW = Smearing(method="gaussian", width=0.05)


def potentials(**titles: str) -> tuple[Pseudopotential, ...]:
    return tuple(Pseudopotential(element=element, title=title) for element, title in sorted(titles.items()))


def fields(first: Method, second: Method, entropy: tuple[float | None, float | None] = (None, None)) -> list[str]:
    return [one.field for one in differences(first, second, entropy)]


@pytest.mark.parametrize(
    "change",
    [
        {"cutoff_energy": 400.0},
        {"kpoints": Kpoints(mesh=(4, 4, 1))},
        {"code_version": "5.4.4"},
        {"spin": "unrestricted"},
        {"dispersion": "none"},
        {"grid": "Accurate"},
    ],
)
def test_settings_and_spin_treatment_leave_the_theory_as_it_is(change: dict[str, Any]) -> None:
    assert differences(PBE, PBE.replace(**change)) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"functional": "PBEsol"}, "functional"),
        ({"functional": None}, "functional"),
        ({"exact_exchange": 0.25}, "exact_exchange"),
        ({"dispersion": "D3(BJ)"}, "dispersion"),
        ({"correlation": "MP2"}, "correlation"),
        ({"relativity": "spin-orbit"}, "relativity"),
        ({"solvent": "CPCM(water)"}, "solvent"),
        ({"external": ("dipole correction along z",)}, "external"),
        ({"state": "S1"}, "state"),
        ({"excited": True}, "excited"),
        ({"auxiliary_basis": "def2/J"}, "auxiliary_basis"),
        ({"hubbard": (Hubbard(species="Fe", orbital="3d", u=4.0),)}, "hubbard"),
        ({"cutoff_energy": None, "basis": "def2-TZVP"}, "basis"),
    ],
)
def test_what_names_the_surface_parts_theories(change: dict[str, Any], field: str) -> None:
    assert fields(PBE, PBE.replace(**change)) == [field]


def test_a_reason_says_what_the_two_state() -> None:
    (reason,) = differences(PBE, PBE.replace(functional="PBEsol"))

    assert str(reason) == "functional: PBE against PBEsol; another functional is another surface."


def test_two_basis_sets_are_two_theories() -> None:
    small = Method(code="orca", functional="B3LYP", basis="def2-SVP")

    assert fields(small, small.replace(basis="def2-TZVP")) == ["basis"]


def test_potentials_are_compared_on_the_elements_that_both_have() -> None:
    bulk = PBE.replace(pseudopotentials=potentials(Cu="PAW_PBE Cu 22Jun2005", O="PAW_PBE O 08Apr2002"))
    atom = PBE.replace(pseudopotentials=potentials(O="PAW_PBE O 08Apr2002"))
    soft = PBE.replace(pseudopotentials=potentials(O="PAW_PBE O_s 07Sep2000"))

    assert differences(bulk, atom) == []
    assert fields(bulk, soft) == ["pseudopotentials"]


def test_a_u_counts_only_where_the_element_is_there() -> None:
    u = (Hubbard(species="Fe1", orbital="3d", u=4.0, scheme="dudarev"),)
    oxide = PBE.replace(pseudopotentials=potentials(Fe="Fe_pv", O="O"), hubbard=u)
    oxygen = PBE.replace(pseudopotentials=potentials(O="O"))
    iron = PBE.replace(pseudopotentials=potentials(Fe="Fe_pv"))

    assert differences(oxide, oxygen) == []
    assert fields(oxide, iron) == ["hubbard"]


def test_a_u_of_zero_is_none() -> None:
    assert differences(PBE, PBE.replace(hubbard=(Hubbard(species="Fe", orbital="3d", u=0.0),))) == []


def test_smearing_that_agrees_is_a_setting() -> None:
    wide = PBE.replace(smearing=GAUSSIAN)

    assert differences(wide, wide.replace(kpoints=Kpoints(mesh=(2, 2, 2))), (0.05, 0.05)) == []


@pytest.mark.parametrize(
    ("entropy", "parted"),
    [((0.0009, 0.0002), False), ((0.0011, 0.0002), True), ((None, 0.0002), True), ((None, None), True)],
)
def test_smearing_that_differs_is_a_setting_below_one_mev_per_atom(
    entropy: tuple[float | None, float | None], parted: bool
) -> None:
    found = fields(PBE.replace(smearing=GAUSSIAN), PBE.replace(smearing=NARROW), entropy)

    assert (found == ["smearing"]) == parted


def test_occupations_without_entropy_need_no_proof() -> None:
    fixed = PBE.replace(smearing=Smearing(method="fixed"))
    blochl = PBE.replace(smearing=Smearing(method="tetrahedron"))

    assert differences(fixed, blochl) == []
    assert differences(fixed, PBE) == []


def test_an_electronic_temperature_is_always_theory() -> None:
    hot = PBE.replace(smearing=Smearing(method="fermi-dirac", width=0.0259))

    assert fields(hot, PBE.replace(smearing=GAUSSIAN), (0.0, 0.0)) == ["smearing"]
    assert fields(hot, PBE.replace(smearing=Smearing(method="fermi-dirac", width=0.5)), (0.0, 0.0)) == ["smearing"]


def test_methods_divide_into_theories_the_largest_first() -> None:
    methods = [PBE, PBE.replace(functional="PBEsol"), PBE.replace(cutoff_energy=400.0)]

    assert divide(methods, [10, 25, 30]) == [[2, 0], [1]]


def test_the_order_of_methods_does_not_matter() -> None:
    methods = [
        PBE.replace(pseudopotentials=potentials(**titles))
        for titles in ({"Cu": "a"}, {"O": "x"}, {"Cu": "b"}, {"Cu": "a", "O": "x"}, {"Cu": "b", "O": "y"})
    ]
    counts = [5, 5, 5, 9, 5]
    expected = {frozenset(methods[i].id for i in group) for group in divide(methods, counts)}

    for seed in range(5):
        order = random.Random(seed).sample(range(5), 5)
        found = divide([methods[i] for i in order], [counts[i] for i in order])
        assert {frozenset(methods[order[i]].id for i in group) for group in found} == expected


def test_two_potentials_that_share_an_element_with_a_third_stay_apart() -> None:
    methods = [PBE.replace(pseudopotentials=potentials(Cu=title)) for title in ("a", "b")]
    oxygen = PBE.replace(pseudopotentials=potentials(O="x"))

    groups = divide([*methods, oxygen], [5, 4, 9])

    assert groups == [[2, 0], [1]]


def test_one_theory_has_nothing_to_say_of_one_theory() -> None:
    assert one_theory([PBE, PBE.replace(cutoff_energy=400.0)], [10, 5]) == []


def test_mixed_theories_are_an_error_with_counts_and_reasons() -> None:
    (finding,) = one_theory([PBE, PBE.replace(functional="PBEsol", dispersion="D3")], [10, 5])

    assert (finding.level, finding.code) == ("error", "theories-mixed")
    assert finding.message.startswith("5 configurations are of another theory")
    assert "functional: PBE against PBEsol" in finding.message
    assert "dispersion: not stated against D3" in finding.message


def test_restricted_beside_unrestricted_is_a_note() -> None:
    (finding,) = one_theory([PBE, PBE.replace(spin="unrestricted")], [10, 5])

    assert (finding.level, finding.code) == ("note", "spin-unchecked")


def test_an_unknown_functional_is_a_note() -> None:
    assert [one.code for one in one_theory([PBE.replace(functional=None)], [1])] == ["functional-unknown"]


def test_smearing_that_was_let_through_is_a_note() -> None:
    methods = [PBE.replace(smearing=GAUSSIAN), PBE.replace(smearing=NARROW)]

    (finding,) = one_theory(methods, [10, 5], [0.0004, 0.0001])

    assert finding.code == "smearing-differs"
    assert "gaussian 0.05 eV, gaussian 0.1 eV" in finding.message


def test_an_empty_store_has_no_theory() -> None:
    assert divide([]) == []
    assert one_theory([], []) == []
