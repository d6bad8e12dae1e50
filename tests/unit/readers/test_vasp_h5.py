"""vaspout.h5: energies by their tags, zeros that mean nothing, and files that lead elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.readers.vasp import h5 as vasp_h5

KBAR = 1602.176634
CELL = np.array([[4.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.25, 0.0, 6.0]])
SECRET = "0.123456789E+02 0.987654321E+01"
POTCAR = "".join(
    f"  PAW_PBE {symbol} 05Jan2001\n   4.0\n   VRHFIN ={symbol}: s2p2\n   LEXCH  = PE\n   TITEL  = PAW_PBE {symbol} 05Jan2001\n"
    f"   POMASS =   28.085; ZVAL   =    4.000    mass and valenz\n {SECRET}\n End of Dataset\n"
    for symbol in ("Ge", "Si")
)


def fill(file: h5py.File, n_steps: int = 2) -> None:
    """A run of Ge and two Si as VASP 6.4 stores it."""
    for name, value in (("major", 6), ("minor", 4), ("patch", 1)):
        file[f"version/{name}"] = value
    for name, value in {"IBRION": 0, "NSW": 2, "ENCUT": 300.0, "GGA": b"Pe", "ISMEAR": 0, "SIGMA": 0.05}.items():
        file[f"input/incar/{name}"] = value
    file["input/kpoints/mode"] = b"g"
    for axis, divisions in zip("xyz", (2, 3, 1), strict=True):
        file[f"input/kpoints/nkp{axis}"] = divisions
    file["input/poscar/ion_types"] = np.array([b"Ge", b"Si"])
    file["input/poscar/number_ion_types"] = [1, 2]
    file["input/potcar/content"] = POTCAR.encode()
    file["original/incar/content"] = b"IBRION = 0"
    file["results/positions/scale"] = 1.0
    file["results/electron_eigenvalues/nelectrons"] = 11.0
    group = file.create_group("intermediate/ion_dynamics")
    group["energies_tags"] = np.array([b"energy(sigma->0)", b"free energy    TOTEN  ", b"energy without entropy"])
    group["energies"] = [[-1.5 - i, -1.75 - i, -1.25 - i] for i in range(n_steps)]
    group["lattice_vectors"] = [CELL + i for i in range(n_steps)]
    group["position_ions"] = [[[0.0, 0.0, 0.0], [0.5, 0.25, 0.5], [0.1 * i, 0.5, 0.5]] for i in range(n_steps)]
    group["forces"] = [[[0.1, 0.2, 0.3 + i], [-0.1, 0.0, 0.0], [0.0, -0.2, -0.3]] for i in range(n_steps)]
    group["stress"] = [np.diag([16.0, 8.0, -4.0]) * i for i in range(n_steps)]


Reading = tuple[Header, Frames | None, Ending]
Read = Callable[[Callable[[h5py.File], None]], Reading]


@pytest.fixture
def reading(tmp_path: Path) -> Read:
    def of(change: Callable[[h5py.File], None]) -> Reading:
        path = tmp_path / "vaspout.h5"
        with h5py.File(path, "w") as file:
            fill(file)
            change(file)
        with open_input(path) as source:
            items = list(Opened(source, vasp_h5.READER).items())
        blocks = [item for item in items if isinstance(item, Frames)]
        return items[0], concatenate(blocks) if blocks else None, items[-1]

    return of


def replace(file: h5py.File, path: str, value: object) -> None:
    del file[path]
    file[path] = value


def test_v20_energies_are_found_by_their_tags_and_a_stress_of_zeros_is_absent(reading: Read) -> None:
    header, frames, ending = reading(lambda _file: None)

    assert frames.energy.tolist() == [-1.75, -2.75]
    assert frames.get("energy_sigma0").tolist() == [-1.5, -2.5]
    assert frames.get("energy_no_entropy").tolist() == [-1.25, -2.25]
    assert np.isnan(frames.stress[0]).all()
    np.testing.assert_allclose(np.diag(frames.stress[1]), [-16 / KBAR, -8 / KBAR, 4 / KBAR], rtol=1e-14)
    assert frames.positions[1].tolist() == [2.125, 1.25, 3.0]
    assert frames.atomic_numbers.tolist() == [32, 14, 14] * 2
    assert frames.get("charge").tolist() == [1.0, 1.0]
    assert frames.get("scf_converged").tolist() == [-1, -1]
    assert (header.run_kind, header.method.code_version, header.method.functional) == ("md", "6.4.1", "PBE")
    assert header.method.kpoints.mesh == (2, 3, 1)
    assert (ending.status, ending.left_out) == ("complete", ())


def test_a_file_is_known_by_its_content_and_other_hdf5_is_not(tmp_path: Path) -> None:
    path = tmp_path / "anything"
    with h5py.File(path, "w") as file:
        fill(file)
    other = io.BytesIO()
    with h5py.File(other, "w") as file:
        file["mol"] = b"{}"

    assert vasp_h5.magic(path.read_bytes()[: 1 << 16])
    assert not vasp_h5.magic(other.getvalue()[: 1 << 16])


def test_of_the_potcar_in_the_file_only_identity_is_kept(reading: Read) -> None:
    header, _, _ = reading(lambda _file: None)

    assert [(one.element, one.title, one.exchange) for one in header.method.pseudopotentials] == [
        ("Ge", "PAW_PBE Ge 05Jan2001", "PBE"),
        ("Si", "PAW_PBE Si 05Jan2001", "PBE"),
    ]
    assert all(one.digest.startswith("sha256-of-dataset:") for one in header.method.pseudopotentials)
    assert SECRET not in json.dumps(header.method.as_json())


def test_the_cell_is_scaled(reading: Read) -> None:
    _, frames, _ = reading(lambda file: replace(file, "results/positions/scale", 2.0))

    assert frames.cell[0].tolist() == (2 * CELL).tolist()


def test_v3_with_pstress_no_energy_is_taken_since_the_file_does_not_say_which_it_is(reading: Read) -> None:
    _, frames, ending = reading(lambda file: file.__setitem__("input/incar/PSTRESS", 5.0))

    assert np.isnan(frames.energy).all()
    assert any("PSTRESS" in one for one in ending.warnings)


def test_v11_a_run_with_a_learned_force_field_gives_no_frame(reading: Read) -> None:
    _, frames, ending = reading(lambda file: file.__setitem__("input/incar/ML_LMLFF", 1))

    assert frames is None
    assert [one.frames for one in ending.left_out] == [2]


@pytest.mark.parametrize("name", ["forces", "energies", "lattice_vectors", "position_ions"])
def test_v15_a_step_with_nan_is_left_out_and_the_other_kept(reading: Read, name: str) -> None:
    def spoil(file: h5py.File) -> None:
        file[f"intermediate/ion_dynamics/{name}"][0] = np.nan

    _, frames, ending = reading(spoil)

    assert frames.get("step").tolist() == [1]
    assert [one.frames for one in ending.left_out] == [1]


def test_v13_a_run_that_was_cut_gives_its_whole_steps_and_is_not_complete(reading: Read) -> None:
    def cut(file: h5py.File) -> None:
        replace(file, "intermediate/ion_dynamics/forces", file["intermediate/ion_dynamics/forces"][:1])
        del file["results/electron_eigenvalues"]

    _, frames, ending = reading(cut)

    assert len(frames) == 1
    assert (ending.status, [one.frames for one in ending.left_out]) == ("truncated", [1])


def test_moments_convergence_and_fixed_atoms_are_read_where_they_are_stored(reading: Read) -> None:
    def add(file: h5py.File) -> None:
        moments = np.zeros((2, 2, 3, 2))
        moments[:, 1] = [[0.5, 0.25], [0.0, -1.0], [0.125, 0.0]]
        file["intermediate/ion_dynamics/magnetism/spin_moments/values"] = moments
        file["intermediate/ion_dynamics/electronic_step_converged"] = [0.0, 1.0]
        file["input/poscar/selective_dynamics_ions"] = [[1, 1, 1], [0, 0, 0], [1, 1, 0]]

    _, frames, _ = reading(add)

    assert frames.get("magnetic_moments").tolist() == [0.75, -1.0, 0.125] * 2
    assert frames.get("scf_converged").tolist() == [1, 0]
    # flags are along the lattice vectors, which are not along the axes
    assert frames.get("fixed").tolist() == [[0, 0, 0], [1, 1, 1], [-1, -1, -1]] * 2


def test_a_link_that_leads_out_of_the_file_is_refused(reading: Read, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["forces"] = np.zeros((2, 3, 3))

    with pytest.raises(ParseError, match="link to elsewhere"):
        reading(lambda file: replace(file, "intermediate/ion_dynamics/forces", h5py.ExternalLink("other.h5", "forces")))


def test_numbers_that_lie_in_another_file_are_refused(reading: Read, tmp_path: Path) -> None:
    (tmp_path / "numbers").write_bytes(bytes(8 * 18))

    def outside(file: h5py.File) -> None:
        del file["intermediate/ion_dynamics/forces"]
        where = [(str(tmp_path / "numbers"), 0, 8 * 18)]
        file.create_dataset("intermediate/ion_dynamics/forces", (2, 3, 3), np.float64, external=where)

    with pytest.raises(ParseError, match="lies in another"):
        reading(outside)


def test_a_shape_that_the_file_cannot_fill_is_refused(reading: Read) -> None:
    def huge(file: h5py.File) -> None:
        del file["intermediate/ion_dynamics/forces"]
        file.create_dataset("intermediate/ion_dynamics/forces", (1 << 40, 3, 3), np.float64, chunks=(1, 3, 3))

    with pytest.raises(LimitExceeded, match="stored bytes"):
        reading(huge)


def test_more_atoms_than_the_machine_should_hold_are_refused(reading: Read) -> None:
    with pytest.raises(LimitExceeded, match="atoms"):
        reading(lambda file: replace(file, "input/poscar/number_ion_types", [1, 10**12]))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_raises_our_error(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "vaspout.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    with open_input(path) as source, pytest.raises(ParseError, match="cut or damaged"):
        list(Opened(source, vasp_h5.READER).items())
