"""OUTCAR: the level of theory, from its listing, INCAR as it repeats it, and the inputs beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outcar as o
import pytest

from mlpdata.readers.registry import Header, open_run, recognise_file
from mlpdata.readers.vasp import h5 as vasp_h5
from mlpdata.readers.vasp import outcar as vasp_outcar
from mlpdata.readers.vasp import xml as vasp_xml

DIGEST = "0123456789abcdef" * 4
Headed = Callable[..., Header]


@pytest.fixture
def headed(tmp_path: Path) -> Headed:
    def of(beside: dict[str, str] | None = None, name: str = "OUTCAR", **changes: Any) -> Header:
        path = tmp_path / name
        path.write_text(o.outcar(o.step(**changes.pop("step", {})), head=o.header(**changes)))
        for other, text in (beside or {}).items():
            (tmp_path / other).write_text(text)
        with open_run(path) as opened:
            header = next(iter(opened.items()))
        assert isinstance(header, Header)
        return header

    return of


def test_the_listing_says_what_vasp_used_and_free_text_is_no_tag(headed: Headed) -> None:
    method = headed().method

    assert (method.code, method.code_version, method.functional, method.spin) == ("vasp", "6.3.0", "PBE", "restricted")
    assert (method.cutoff_energy, method.grid) == (300.0, "accurate 20x24x30")
    assert (method.smearing.method, method.smearing.width) == ("gaussian", 0.05)
    assert (method.convergence.electronic, method.convergence.max_electronic_steps) == (1e-6, 60)
    assert (method.kpoints.mesh, method.kpoints.centring, method.kpoints.count) == ((2, 3, 1), "gamma", 2)
    assert [(one.element, one.title, one.exchange, one.valence) for one in method.pseudopotentials] == [
        ("Ge", "PAW_PBE Ge 05Jan2001", "PBE", 4.0),
        ("Si", "PAW_PBE Si 05Jan2001", "PBE", 4.0),
    ]


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"GGA": "PS"}, "functional", "PBEsol"),
        ({"extra": "\n METAGGA = R2SCA    LMAXTAU =  6    LMIXTAU =  T\n"}, "functional", "R2SCAN"),
        ({"LHFCALC": "T", "AEXX": "0.2500", "HFSCREEN": "0.2000"}, "functional", "HSE06"),
        ({"LHFCALC": "T", "AEXX": "0.2500", "HFSCREEN": "0.0000"}, "exact_exchange", 0.25),
        ({"GGA": "RE", "LUSE_VDW": "T"}, "functional", "vdW-DF"),
        ({"step": {"between": "\n IVDW         = 12\n"}}, "dispersion", "D3(BJ)"),
        ({"LSORBIT": "T", "LNONCOLLINEAR": "T"}, "relativity", "spin-orbit"),
        ({"ISPIN": "2"}, "spin", "unrestricted"),
        ({"LDIPOL": "T"}, "external", ("dipole correction",)),
        ({"LSOL": "T", "EB_K": "80.0"}, "solvent", "VASPsol(eps=80.0)"),
    ],
)
def test_the_level_of_theory_is_what_the_listing_says(
    headed: Headed, changes: dict[str, Any], field: str, expected: object
) -> None:
    assert getattr(headed(**changes).method, field) == expected


def test_hubbard_terms_are_those_of_each_species(headed: Headed) -> None:
    listing = (
        " LDA+U is selected, type is set to LDAUTYPE =  2\n   angular momentum for each species LDAUL =     2    1\n"
        "   U (eV)           for each species LDAUU =   7.5  0.0\n   J (eV)           for each species LDAUJ =   0.5  0.0\n"
    )
    terms = headed(extra=listing).method.hubbard

    assert [(one.species, one.orbital, one.u, one.scheme) for one in terms] == [("Ge", "d", 7.0, "dudarev")]


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"IBRION": "-1", "NSW": "0"}, "single_point"),
        ({"IBRION": "2", "NSW": "9"}, "relax"),
        ({"IBRION": "2", "NSW": "9", "ISIF": "3"}, "vc-relax"),
        ({"IBRION": "6", "NSW": "1"}, "phonon"),
        ({"IBRION": "8", "NSW": "1"}, "response"),
        ({"ICHARG": "11"}, "bands"),
    ],
)
def test_the_kind_of_run_is_what_was_asked_for(headed: Headed, tags: dict[str, str], kind: str) -> None:
    assert headed(**tags).run_kind == kind


def test_v9_ediff_is_the_one_that_vasp_6_repeats_from_incar(headed: Headed) -> None:
    header = headed(incar="   EDIFF = 1.5E-07 ; ALGO = Fast  # comment\n", EDIFF="0.2E-06")

    assert header.method.convergence.electronic == 1.5e-7
    assert header.method.settings_as_printed == {"ALGO": "Fast"}


def test_inputs_beside_say_what_an_outcar_of_vasp_5_does_not(headed: Headed) -> None:
    beside = {
        "INCAR": "EDIFF = 1.5E-07\nMDALGO = 2\n",
        "KPOINTS": "automatic\n0\nMonkhorst-Pack\n4 4 2\n0 0 0\n",
        "POSCAR": "not asked for",
    }
    method = headed(beside, version="5.4.4", kpoints="").method

    assert (method.convergence.electronic, method.settings_as_printed) == (1.5e-7, {"MDALGO": "2"})
    assert (method.kpoints.mesh, method.kpoints.centring) == ((4, 4, 2), "monkhorst-pack")


def test_inputs_of_another_run_in_the_folder_are_not_asked(headed: Headed, tmp_path: Path) -> None:
    headed({"INCAR": "EDIFF = 1.5E-07\n"}, name="OUTCAR.relax1")

    assert recognise_file(tmp_path / "OUTCAR.relax1").companions == ()


def test_a_potential_is_known_by_the_checksum_that_is_printed(headed: Headed) -> None:
    silicon = o.potential("PAW_PBE Si 05Jan2001", "Si", 28.085, 4.0, digest=DIGEST)
    method = headed(potentials=o.GE + silicon).method

    assert [one.digest for one in method.pseudopotentials] == [None, f"sha256:{DIGEST}"]


def test_of_a_potcar_beside_only_checksums_are_kept(headed: Headed) -> None:
    secret = "0.123456789E+02"
    potcar = "".join(
        f"  {title}\n   4.0\n   TITEL  = {title}\n {secret}\n End of Dataset\n"
        for title in ("PAW_PBE Ge 05Jan2001", "PAW_PBE Si 05Jan2001")
    )
    method = headed({"POTCAR": potcar}).method

    digests = [one.digest for one in method.pseudopotentials]
    assert len(set(digests)) == 2
    assert all(one.startswith("sha256-of-dataset:") for one in digests)
    assert secret not in json.dumps(method.as_json())


def test_a_run_that_prints_little_names_its_potentials_only(headed: Headed) -> None:
    method = headed(potentials=o.NAMES + o.NAMES, NWRITE="0").method

    assert [(one.element, one.title, one.valence) for one in method.pseudopotentials] == [
        ("Ge", "PAW_PBE Ge 05Jan2001", 4.0),
        ("Si", "PAW_PBE Si 05Jan2001", 4.0),
    ]


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (("vasprun.xml", "OUTCAR", "vaspout.h5"), ""),
        (
            ("vasprun.xml.relax1", "relax1.vasprun.xml", "vasprun_relax1.xml", "OUTCAR.relax1", "relax1.OUTCAR"),
            "relax1",
        ),
        (("OUTCAR.h2o.md.10", "vasprun.h2o.md.10.xml"), "h2o.md.10"),
        (("run.xml", "log"), None),
    ],
)
def test_files_of_one_run_share_what_decorates_their_names(names: tuple[str, ...], shared: str | None) -> None:
    for reader in (vasp_h5.READER, vasp_xml.READER, vasp_outcar.READER):
        assert {reader.run_of(name, b"") for name in names} == {shared}


def test_v17_the_file_with_most_digits_gives_the_frames() -> None:
    assert vasp_h5.READER.precedence < vasp_xml.READER.precedence < vasp_outcar.READER.precedence
