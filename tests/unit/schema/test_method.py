"""Method: what names the surface is in `theory`, how finely it was computed in `settings`."""

from __future__ import annotations

from typing import Any

import pytest

from mlpdata.schema.method import Convergence, Hubbard, Kpoints, Method, Pseudopotential, Smearing

PBE = Method(code="vasp", functional="PBE", cutoff_energy=500.0)
SETTINGS: list[dict[str, Any]] = [
    {"code_version": "6.4.1"},
    {"cutoff_energy": 600.0},
    {"cutoff_density": 4000.0},
    {"kpoints": Kpoints(mesh=(2, 2, 2))},
    {"smearing": Smearing(method="gaussian", width=0.1)},
    {"convergence": Convergence(electronic=1e-7)},
    {"grid": "Accurate"},
    {"spin": "unrestricted"},
    {"settings_as_printed": {"LREAL": True}},
]
THEORY: list[dict[str, Any]] = [
    {"functional": "PBEsol"},
    {"exact_exchange": 0.25},
    {"correlation": "MP2"},
    {"dispersion": "D3"},
    {"hubbard": (Hubbard(species="Fe", u=4.0),)},
    {"relativity": "spin-orbit"},
    {"solvent": "CPCM(water)"},
    {"external": ("sawtooth field",)},
    {"state": "T1"},
    {"excited": True},
    {"auxiliary_basis": "def2/J"},
    {"cutoff_energy": None, "basis": "def2-SVP"},
    {"pseudopotentials": (Pseudopotential(element="Si", title="Si.pbe.UPF"),)},
    {"smearing": Smearing(method="fermi-dirac", width=0.0259)},
]


@pytest.mark.parametrize("change", SETTINGS)
def test_a_setting_changes_the_settings_and_not_the_theory(change: dict[str, Any]) -> None:
    other = PBE.replace(**change)

    assert other.theory == PBE.theory
    assert other.settings != PBE.settings
    assert other.id != PBE.id


@pytest.mark.parametrize("change", THEORY)
def test_what_names_the_surface_changes_the_theory(change: dict[str, Any]) -> None:
    assert PBE.replace(**change).theory != PBE.theory


def test_the_order_and_checksum_of_potentials_name_no_other_theory() -> None:
    silicon, oxygen = (Pseudopotential(element=element, title=element) for element in ("Si", "O"))

    assert (
        PBE.replace(pseudopotentials=(silicon, oxygen)).theory
        == PBE.replace(pseudopotentials=(oxygen.replace(digest="md5:0"), silicon)).theory
    )


def test_an_electronic_temperature_is_part_of_the_theory() -> None:
    cold, hot = (PBE.replace(smearing=Smearing(method="fermi-dirac", width=width)) for width in (0.01, 0.5))

    assert cold.theory != hot.theory


def test_how_the_functional_was_printed_changes_the_record_only() -> None:
    other = PBE.replace(functional_as_printed="PE")

    assert (other.theory, other.settings) == (PBE.theory, PBE.settings)
    assert other.id != PBE.id


def test_every_field_is_theory_setting_or_spelling() -> None:
    changed = {name for change in SETTINGS + THEORY for name in change}

    assert set(Method.model_fields) == changed | {"code", "functional_as_printed"}
