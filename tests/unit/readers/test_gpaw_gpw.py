"""GPAW's .gpw files: what each entry is taken for, with containers written by ASE in the layout of GPAW's versions."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import ase.io.ulm
import numpy as np
import pytest

from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import Frames
from mlpdata.readers.archive import open_input
from mlpdata.readers.gpaw import gpw as gpaw_gpw
from mlpdata.readers.registry import Ending, Header, Opened, open_run, recognise

CELL = [[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]]
FORCES = [[0.25, -0.5, 0.125], [-0.25, 0.5, -0.125]]
STRESS = [0.01, 0.02, 0.03, 0.004, 0.005, 0.006]

Entries = dict[str, Any]


def entries(**changed: Any) -> Entries:
    """Entries of a file of version 3; a dict is merged into its group, None takes an entry away."""
    content: Entries = {
        "version": 3,
        "gpaw_version": "22.8.0",
        "ha": 27.211386024367243,
        "bohr": 0.5291772105638411,
        "atoms": {
            "numbers": np.array([14, 32]),
            "positions": np.array([[0.0, 0.0, 0.0], [1.0, 1.125, 0.875]]),
            "cell": CELL,
            "pbc": [True, True, True],
        },
        "results": {
            "energy": -10.5,
            "free_energy": -10.75,
            "forces": np.array(FORCES),
            "stress": np.array(STRESS),
            "dipole": np.array([1.0, 2.0, 3.0]),
            "magmom": 0.0,
            "magmoms": np.zeros(2),
        },
        "parameters": {
            "mode": {"name": "pw", "ecut": 400.0},
            "xc": "PBE",
            "kpts": {"size": [4, 4, 4], "gamma": True},
            "occupations": {"name": "fermi-dirac", "width": 0.1},
        },
        "density": {"atomic_density_matrices": np.zeros((1, 10))},
        "hamiltonian": {"e_total_free": -10.75, "e_total_extrapolated": -10.5},
        "scf": {"converged": True},
        "wave_functions": {"fermi_levels": np.array([5.5])},
    }
    for name, value in changed.items():
        if isinstance(value, dict):
            merged = {**content.get(name, {}), **value}
            content[name] = {key: one for key, one in merged.items() if one is not None}
        else:
            content[name] = value
    return {name: value for name, value in content.items() if value is not None}


def gpw(content: Entries, tag: str = "GPAW") -> bytes:
    out = BytesIO()
    writer = ase.io.ulm.Writer(out, tag=tag)
    for name, value in content.items():
        if isinstance(value, dict):
            writer.child(name).write(**value)
        else:
            writer.write(name, value)
    writer.sync()
    return out.getvalue()


def read(tmp_path: Path, data: bytes) -> tuple[Header, Frames | None, Ending]:
    path = tmp_path / "x.gpw"
    path.write_bytes(data)
    with open_input(path) as source:
        assert recognise(source).name == "gpaw/gpw"
        header, *frames, ending = Opened(source, gpaw_gpw.READER).items()
    assert isinstance(header, Header)
    assert isinstance(ending, Ending)
    return header, frames[0] if frames else None, ending


def frame(tmp_path: Path, **changed: Any) -> Frames:
    frames = read(tmp_path, gpw(entries(**changed)))[1]
    assert frames is not None
    return frames


# -- what a file gives


def test_the_energy_is_the_one_that_forces_derive_from(tmp_path: Path) -> None:
    """GPAW's `energy` is extrapolated to zero width; readers that take it shift metals."""
    found = frame(tmp_path)

    assert found.energy.tolist() == [-10.75]
    assert found.get("energy_sigma0").tolist() == [-10.5]


def test_geometry_forces_and_stress_are_as_stored(tmp_path: Path) -> None:
    found = frame(tmp_path)

    assert found.atomic_numbers.tolist() == [14, 32]
    assert found.positions.tolist() == [[0, 0, 0], [1, 1.125, 0.875]]
    assert found.cell.tolist() == [CELL]
    assert found.forces.tolist() == FORCES
    assert found.stress.tolist() == [[[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]]]
    assert found.get("fermi_energy").tolist() == [5.5]
    assert found.get("charge").tolist() == [0.0]
    assert found.get("scf_converged").tolist() == [1]


def test_without_a_free_energy_among_the_results_the_hamiltonian_has_it(tmp_path: Path) -> None:
    assert frame(tmp_path, results={"free_energy": None}).energy.tolist() == [-10.75]


def test_the_method_is_that_of_the_parameters(tmp_path: Path) -> None:
    header, _, ending = read(tmp_path, gpw(entries()))
    method = header.method

    assert (method.code, method.code_version, method.functional) == ("gpaw", "22.8.0", "PBE")
    assert (method.basis, method.cutoff_energy, method.spin) == ("plane waves", 400.0, "restricted")
    assert method.kpoints is not None
    assert (method.kpoints.mesh, method.kpoints.centring) == ((4, 4, 4), "gamma")
    assert method.smearing is not None
    assert (method.smearing.method, method.smearing.width) == ("fermi-dirac", 0.1)
    assert method.settings_as_printed == {"ha": 27.211386024367243, "bohr": 0.5291772105638411}
    assert (header.energy_kind, header.forces_are, ending.status) == ("free", "physical", "complete")


@pytest.mark.parametrize(
    ("parameters", "known"),
    [
        ({"xc": {"name": "HSE06", "backend": "pw"}}, {"functional": "HSE06", "exact_exchange": 0.25}),
        ({"xc": "PBE0:backend=pw"}, {"functional": "PBE0", "functional_as_printed": "PBE0:backend=pw"}),
        ({"xc": "BEEF-vdW"}, {"functional": "BEEF-vdW", "dispersion": "BEEF-vdW"}),
        ({"xc": None}, {"functional": "LDA-PW"}),
        ({"xc": "EXX"}, {"functional": "HF", "exact_exchange": 1.0}),
        ({"xc": "MGGA_X_R2SCAN+MGGA_C_R2SCAN"}, {"functional": "R2SCAN", "dispersion": "none"}),
        ({"mode": "lcao", "basis": "dzp"}, {"basis": "lcao (dzp)", "cutoff_energy": None}),
        ({"mode": None, "h": 0.18}, {"basis": "fd", "grid": "h=0.18 angstrom"}),
        ({"experimental": {"soc": True}}, {"relativity": "spin-orbit"}),
        ({"extensions": [{"name": "d3", "xc": "PBE"}]}, {"dispersion": "D3", "external": ()}),
        ({"poissonsolver": {"dipolelayer": "xy"}}, {"external": ("dipole correction",)}),
    ],
)
def test_parameters_mean_what_the_manual_says(parameters: Entries, known: Entries, tmp_path: Path) -> None:
    method = read(tmp_path, gpw(entries(parameters=parameters)))[0].method

    assert {name: getattr(method, name) for name in known} == known


def test_a_hubbard_term_stands_in_the_name_of_a_setup(tmp_path: Path) -> None:
    method = read(tmp_path, gpw(entries(parameters={"setups": {"Ni": ":d,6.0", "O": "paw:p,2.5,0;s,1.0"}})))[0].method

    assert [(term.species, term.orbital, term.u) for term in method.hubbard] == [
        ("Ni", "d", 6),
        ("O", "p", 2.5),
        ("O", "s", 1),
    ]


def test_a_periodic_system_is_smeared_where_nothing_is_said(tmp_path: Path) -> None:
    header = read(tmp_path, gpw(entries(parameters={"occupations": None})))[0]

    assert header.method.smearing is not None
    assert (header.method.smearing.method, header.method.smearing.width) == ("fermi-dirac", 0.1)


def test_a_molecule_is_not_smeared_has_no_cell_and_a_dipole(tmp_path: Path) -> None:
    """X4."""
    content = entries(atoms={"pbc": [False] * 3}, parameters={"occupations": None})
    header, found, _ = read(tmp_path, gpw(content))

    assert found is not None
    assert header.energy_kind == "total"
    assert "cell" not in found
    assert found.get("dipole").tolist() == [[1, 2, 3]]


def test_the_dipole_of_crystals_and_ions_depends_on_the_origin_and_is_not_read(tmp_path: Path) -> None:
    assert "dipole" not in frame(tmp_path)
    assert "dipole" not in frame(tmp_path, atoms={"pbc": [False] * 3}, parameters={"charge": 1})


def test_moments_of_paired_spins_are_zeros_that_nobody_computed(tmp_path: Path) -> None:
    assert not {"magnetic_moments", "total_magnetization"} & frame(tmp_path).arrays.keys()


def test_moments_are_read_where_spins_are_polarised(tmp_path: Path) -> None:
    found = frame(
        tmp_path,
        density={"atomic_density_matrices": np.zeros((2, 10))},
        results={"magmom": 2.0, "magmoms": np.array([1.25, 0.5])},
        atoms={"magmoms": np.array([1.0, 1.0])},
    )

    assert found.get("magnetic_moments").tolist() == [1.25, 0.5]
    assert found.get("total_magnetization").tolist() == [2.0]
    assert found.get("initial_magnetic_moments").tolist() == [1.0, 1.0]


def test_atoms_that_were_held_are_marked(tmp_path: Path) -> None:
    found = frame(tmp_path, atoms={"constraints": '[{"name": "FixAtoms", "kwargs": {"indices": [1]}}]'})

    assert found.get("fixed").tolist() == [[0, 0, 0], [1, 1, 1]]


def test_forces_in_a_field_are_said_to_be_so(tmp_path: Path) -> None:
    header = read(tmp_path, gpw(entries(parameters={"external": {"name": "ConstantElectricField"}})))[0]

    assert header.forces_are == "with_external"


def test_the_newer_format_is_converged_where_it_has_results(tmp_path: Path) -> None:
    found = frame(tmp_path, version=6, scf=None)

    assert found.get("scf_converged").tolist() == [1]


def test_the_tag_of_the_newer_format_is_in_small_letters(tmp_path: Path) -> None:
    assert read(tmp_path, gpw(entries(version=6), tag="gpaw"))[1] is not None


# -- traps


def test_a_file_written_after_a_failed_scf_has_no_frame(tmp_path: Path) -> None:
    content = entries(scf={"converged": False})
    content["results"] = {}
    _, found, ending = read(tmp_path, gpw(content))

    assert found is None
    assert ending.status == "failed"
    assert len(ending.left_out) == 1


@pytest.mark.parametrize(
    "parameters",
    [
        {"kpts": {"path": "GXWK", "npoints": 60}},
        {"kpts": [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.2, 0.0, 0.0]]},
        {"fixdensity": True},
        {"setups": {"0": "ghost"}},
    ],
)
def test_energies_of_bands_and_ghosts_are_no_frames(parameters: Entries, tmp_path: Path) -> None:
    _, found, ending = read(tmp_path, gpw(entries(parameters=parameters)))

    assert found is None
    assert len(ending.left_out) == 1


def test_a_mesh_may_be_given_as_a_list_of_its_points(tmp_path: Path) -> None:
    points = [[x, y, 0.0] for x in (-0.25, 0.25) for y in (-1 / 3, 0.0, 1 / 3)]
    header, found, _ = read(tmp_path, gpw(entries(parameters={"kpts": points})))

    assert found is not None
    assert header.method.kpoints is not None
    assert header.method.kpoints.mesh == (2, 3, 1)


@pytest.mark.parametrize(
    "damage",
    [
        {"results": {"energy": float("nan")}},
        {"results": {"free_energy": float("inf")}},
        {"results": {"free_energy": "x"}},
        {"results": {"forces": np.full((2, 3), np.nan)}},
        {"results": {"forces": np.zeros((3, 3))}},
    ],
)
def test_damaged_energies_and_forces_cost_the_frame(damage: Entries, tmp_path: Path) -> None:
    _, found, ending = read(tmp_path, gpw(entries(**damage)))

    assert found is None
    assert len(ending.left_out) == 1


def test_a_damaged_stress_is_dropped_with_a_warning(tmp_path: Path) -> None:
    _, found, ending = read(tmp_path, gpw(entries(results={"stress": np.full(6, np.nan)})))

    assert found is not None
    assert "stress" not in found
    assert "stress" in ending.warnings[0]


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 99},
        {"version": None},
        {"atoms": None},
        {"atoms": {"positions": np.zeros((3, 3))}},
        {"atoms": {"positions": np.full((2, 3), np.inf)}},
        {"atoms": {"numbers": np.array([0, 14])}},
        {"atoms": {"numbers": np.array([14, 300])}},
        {"atoms": {"cell": [[1.0]]}},
        {"atoms": {"pbc": [True] * 4}},
    ],
)
def test_a_geometry_that_cannot_be_is_refused(damage: Entries, tmp_path: Path) -> None:
    with pytest.raises(ParseError):
        read(tmp_path, gpw(entries(**damage)))


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = gpw(entries())
    for end in range(49, len(data), 7):
        with pytest.raises(MlpdataError):
            read(tmp_path, data[:end])


def test_any_flipped_byte_gives_our_errors_only(tmp_path: Path) -> None:
    data = gpw(entries())
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data), 300):
        try:
            read(tmp_path, data[:place] + bytes([data[place] ^ 1 << int(random.integers(8))]) + data[place + 1 :])
        except (MlpdataError, AssertionError):  # the assertion: its magic was hit, so that it is recognised no more
            continue


# -- a run of GPAW 22.8: LiH, plane waves, two geometries


def test_the_gpw_and_the_text_of_one_run_agree_to_the_printed_digits() -> None:
    folder = Path(__file__).parents[2] / "data/gpaw"
    with open_run(folder / "lih.gpw") as opened:
        stored = next(item for item in opened.items() if isinstance(item, Frames))
    with open_run(folder / "lih.txt") as opened:
        header, printed, ending = opened.items()

    assert isinstance(header, Header)
    assert isinstance(printed, Frames)
    assert isinstance(ending, Ending)
    assert (header.method.functional, header.method.cutoff_energy, ending.status) == ("PBE", 150.0, "complete")
    last = printed.select([1])
    assert printed.energy.tolist() == [-9.025326, -9.017106]
    for name, decimals in (
        ("positions", 6),
        ("cell", 6),
        ("energy", 6),
        ("forces", 5),
        ("stress", 6),
        ("fermi_energy", 5),
    ):
        assert np.abs(stored.get(name) - last.get(name)).max() <= 0.51 * 10.0**-decimals, name
