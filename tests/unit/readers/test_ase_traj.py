"""ASE's trajectories: written by ASE, read without it, compared with what was put in."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.io.trajectory import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from mlpdata.errors import InputError, LimitExceeded, MlpdataError, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import LIMITS, Limits, open_input
from mlpdata.readers.ase import traj as ase_traj
from mlpdata.readers.registry import Ending, Header, Opened, Undeclared, recognise
from mlpdata.schema.sidecar import Declared

UNITS = {
    "energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3", "magnetic_moment": "muB", "charge": "e",
    "dipole": "e*angstrom", "mass": "u",
}  # fmt: skip
DECLARED = Declared(units=UNITS)


def items(path: Path, declared: Declared | None = DECLARED, limits: Limits = LIMITS) -> list[Any]:
    with open_input(path, limits) as source:
        assert recognise(source).name == "ase/traj"
        source.declared = declared
        return list(Opened(source, ase_traj.READER).items())


def frames(path: Path, declared: Declared = DECLARED) -> Frames:
    return concatenate([item for item in items(path, declared) if isinstance(item, Frames)])


def water(shift: float = 0.0, **labels: Any) -> Atoms:
    """One molecule, at other places for other shifts, with results of a calculator."""
    atoms = Atoms("OHH", [[0, 0, shift], [0, 0.75, 0.5], [0, -0.75, 0.5]])
    results = {"energy": -10.0 - shift, "forces": [[0, 0, 0.5], [0, 0.25, -0.25], [0, -0.25, -0.25]], **labels}
    given = {name: np.array(value) if isinstance(value, list) else value for name, value in results.items()}
    atoms.calc = SinglePointCalculator(atoms, **given)
    return atoms


def copper(**labels: Any) -> Atoms:
    atoms = Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 0.1]], cell=[3.6, 3.6, 3.6], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-7.0, forces=np.array([[0.5, 0, 0], [-0.5, 0, 0]]), **labels)
    return atoms


def written(tmp_path: Path, images: Sequence[Atoms]) -> Path:
    path = tmp_path / "x.traj"
    with Trajectory(str(path), "w") as out:
        for atoms in images:
            out.write(atoms)
    return path


# -- what a trajectory gives


def test_what_was_put_in_comes_out(tmp_path: Path) -> None:
    images = [water(0.0), water(0.125), water(0.25)]
    found = frames(written(tmp_path, images))

    assert found.atomic_numbers.tolist() == [8, 1, 1] * 3
    assert found.positions.tolist() == np.concatenate([atoms.positions for atoms in images]).tolist()
    assert found.forces.tolist() == np.concatenate([atoms.get_forces() for atoms in images]).tolist()
    assert found.energy.tolist() == [-10.0, -10.125, -10.25]
    assert found.get("step").tolist() == [0, 1, 2]
    assert found.get("source_line").tolist() == [1, 2, 3]
    assert found.pbc.tolist() == [[0, 0, 0]] * 3
    assert "cell" not in found


def test_images_may_change_atoms_and_periodicity_on_the_way(tmp_path: Path) -> None:
    """A header is written with the first image and with each one after a change."""
    found = frames(written(tmp_path, [water(), water(0.5), copper(), water(0.25), copper()]))

    assert found.n_atoms.tolist() == [3, 3, 2, 3, 2]
    assert found.pbc.tolist() == [[0] * 3, [0] * 3, [1] * 3, [0] * 3, [1] * 3]
    assert found.energy.tolist() == [-10.0, -10.5, -7.0, -10.25, -7.0]
    assert np.isnan(found.cell[0]).all()
    assert found.cell[2].tolist() == [[3.6, 0, 0], [0, 3.6, 0], [0, 0, 3.6]]


def test_the_six_numbers_of_a_stress_are_xx_yy_zz_yz_xz_xy(tmp_path: Path) -> None:
    path = written(tmp_path, [copper(stress=np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006]))])

    assert frames(path).stress.tolist() == [[[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]]]


def test_a_stress_declared_positive_in_compression_is_turned(tmp_path: Path) -> None:
    path = written(tmp_path, [copper(stress=np.array([0.01, 0.02, 0.03, 0.0, 0.0, 0.0]))])
    declared = DECLARED.model_copy(update={"stress_sign": "compression"})

    assert np.diag(frames(path, declared).stress[0]).tolist() == [-0.01, -0.02, -0.03]


def test_moments_charges_tags_masses_and_dipole_are_read(tmp_path: Path) -> None:
    atoms = water()
    atoms.set_initial_magnetic_moments([2.0, 0.0, 0.0])
    atoms.set_tags([3, 0, 1])
    atoms.set_masses([15.5, 2.0, 1.0])
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=-10.0,
        magmoms=[1.5, 0.25, 0.25],
        magmom=2.0,
        charges=[-0.5, 0.25, 0.25],
        dipole=np.array([0, 0, 0.4]),
    )
    found = frames(written(tmp_path, [atoms]))

    assert found.get("magnetic_moments").tolist() == [1.5, 0.25, 0.25]
    assert found.get("initial_magnetic_moments").tolist() == [2.0, 0.0, 0.0]
    assert found.get("total_magnetization").tolist() == [2.0]
    assert found.get("charges_unspecified").tolist() == [-0.5, 0.25, 0.25]
    assert found.get("tags").tolist() == [3, 0, 1]
    assert found.get("masses").tolist() == [15.5, 2.0, 1.0]
    assert found.get("dipole").tolist() == [[0, 0, 0.4]]


def test_moments_that_are_not_collinear_are_vectors(tmp_path: Path) -> None:
    atoms = water(magmoms=[[0.0, 1.5, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.2]])
    found = frames(written(tmp_path, [atoms]))

    assert found.get("magnetic_moment_vectors").tolist() == [[0, 1.5, 0], [0.1, 0, 0], [0, 0, 0.2]]


def test_moments_filled_with_zeros_are_absent(tmp_path: Path) -> None:
    found = frames(written(tmp_path, [water(magmoms=[0.0, 0.0, 0.0], magmom=0.0)]))

    assert not {"magnetic_moments", "total_magnetization"} & found.arrays.keys()


@pytest.mark.parametrize("masses", [None, [15.5, 2.0, 1.0]])
def test_momenta_become_velocities_in_angstrom_per_femtosecond(masses: list[float] | None, tmp_path: Path) -> None:
    atoms = water()
    atoms.set_masses(masses or "defaults")
    velocities = np.array([[0.01, 0, 0], [0, -0.02, 0], [0, 0, 0.03]])
    atoms.set_velocities(velocities / ase.units.fs)

    assert np.allclose(frames(written(tmp_path, [atoms])).get("velocities"), velocities, rtol=1e-7)


def test_atoms_that_are_held_keep_the_forces_of_the_calculator(tmp_path: Path) -> None:
    atoms = water()
    atoms.set_constraint([FixAtoms([0]), FixCartesian(2, mask=(True, False, True))])
    header, found, _ = items(written(tmp_path, [atoms, atoms]))

    assert found.get("fixed")[:3].tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 1]]
    assert found.forces[0].tolist() == [0, 0, 0.5]
    assert found.get("force_mask").tolist() == [0, 1, 0] * 2  # 0: a component that is held is exactly zero
    assert header.forces_are == "zeroed_on_fixed"


def test_held_atoms_with_a_force_on_every_component_are_not_masked(tmp_path: Path) -> None:
    atoms = water(forces=[[0.1, 0.2, 0.3], [0.1, 0.1, 0.1], [-0.2, -0.3, -0.4]])
    atoms.set_constraint(FixAtoms([0, 2]))
    header, found, _ = items(written(tmp_path, [atoms]))

    assert found.get("force_mask").tolist() == [1, 1, 1]
    assert header.forces_are == "physical"


def test_a_constraint_of_another_kind_is_named(tmp_path: Path) -> None:
    atoms = water()
    atoms.set_constraint(FixBondLength(0, 1))
    ending = items(written(tmp_path, [atoms]))[-1]

    assert "FixBondLength" in ending.warnings[0]


@pytest.mark.parametrize(("wrap", "kind"), [(BFGS, "relax"), (VelocityVerlet, "md")])
def test_an_optimiser_and_an_integrator_say_what_they_are(wrap: Any, kind: str, tmp_path: Path) -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]], calculator=EMT())
    path = tmp_path / "run.traj"
    extra = {"timestep": ase.units.fs} if kind == "md" else {}
    wrap(atoms, trajectory=str(path), logfile=None, **extra).run(steps=3)
    header, found, _ = items(path, Declared(units=UNITS, names={"energy": "free_energy"}))

    assert header.run_kind == kind
    assert header.method.code == "emt"
    assert len(found) == 4


def test_a_trajectory_of_an_optimisation_with_gpaw_has_the_energies_of_its_log() -> None:
    """Of the optimiser's log: -6.549267, -6.600965, -6.608073, and a largest force of 1.6929, 0.5187, 0.2613."""
    header, found, _ = items(Path(__file__).parents[2] / "data/ase/h2.traj")

    assert (header.method.code, header.run_kind) == ("gpaw", "relax")
    assert found.energy.round(6).tolist() == [-6.549267, -6.600965, -6.608073]
    assert np.linalg.norm(found.forces, axis=1)[::2].round(4).tolist() == [1.6929, 0.5187, 0.2613]


# -- units and meaning are declared


def test_without_a_declaration_numbers_are_shown_as_they_are(tmp_path: Path) -> None:
    """X3."""
    _, block, _ = items(written(tmp_path, [water()]), None)

    assert isinstance(block, Undeclared)
    assert block.arrays["energy"].tolist() == [-10.0]  # type: ignore[union-attr]
    assert block.keys == {"energy": "energy", "forces": "forces"}


def test_units_are_those_declared(tmp_path: Path) -> None:
    found = frames(written(tmp_path, [water()]), Declared(units={"energy": "kcal/mol", "length": "angstrom"}))

    assert found.energy[0] == pytest.approx(-10.0 / 23.0605, rel=1e-5)


def test_two_energies_that_differ_must_be_told_apart(tmp_path: Path) -> None:
    """`energy` may be extrapolated to zero smearing, and then is not the one that forces derive from."""
    path = written(tmp_path, [water(free_energy=-10.5)])

    with pytest.raises(InputError, match="energy-key"):
        frames(path)
    chosen = frames(path, Declared(units=UNITS, names={"energy": "free_energy", "energy_sigma0": "energy"}))
    assert chosen.energy.tolist() == [-10.5]
    assert chosen.get("energy_sigma0").tolist() == [-10.0]


def test_named_numbers_beside_the_calculator_can_be_labels(tmp_path: Path) -> None:
    atoms = water()
    atoms.info["dft_total"] = -11.0
    atoms.info["dft_gradient"] = np.full((3, 3), 0.25)
    declared = Declared(units=UNITS, names={"energy": "dft_total", "forces": "dft_gradient"})
    found = frames(written(tmp_path, [atoms]), declared)

    assert found.energy.tolist() == [-11.0]
    assert found.forces.tolist() == [[0.25] * 3] * 3


# -- damage


def test_an_image_that_is_not_finite_costs_itself_only(tmp_path: Path) -> None:
    bad = water(0.5, energy=float("nan"))
    path = written(tmp_path, [water(), bad, water(0.25)])
    _, found, ending = items(path)

    assert found.energy.tolist() == [-10.0, -10.25]
    assert [(one.line, one.frames) for one in ending.left_out] == [(2, 1)]
    assert "image 2" in ending.left_out[0].reason


def test_a_dipole_that_is_not_finite_is_dropped_with_a_warning(tmp_path: Path) -> None:
    _, found, ending = items(written(tmp_path, [water(dipole=[0.0, 0.0, float("nan")])]))

    assert found.energy.tolist() == [-10.0]
    assert "dipole" not in found
    assert "dipole" in ending.warnings[0]


def test_dummy_atoms_are_no_atoms(tmp_path: Path) -> None:
    atoms = Atoms("XH", [[0, 0, 0], [0, 0, 1]])
    ending = items(written(tmp_path, [atoms]))[-1]

    assert "Dummy" in ending.left_out[0].reason


def test_a_trajectory_cut_anywhere_gives_its_first_images_and_says_so(tmp_path: Path) -> None:
    data = written(tmp_path, [water(), water(0.125), water(0.25)]).read_bytes()
    path = tmp_path / "cut.traj"
    whole = [-10.0, -10.125, -10.25]
    for end in range(48, len(data), 5):
        path.write_bytes(data[:end])
        try:
            found = items(path)
        except MlpdataError:
            continue
        energies = [energy for item in found if isinstance(item, Frames) for energy in item.energy.tolist()]
        assert energies == whole[: len(energies)]
        assert len(energies) == 3 or found[-1].status == "truncated"
        assert len(energies) + len(found[-1].left_out) == 3


def test_any_flipped_byte_gives_our_errors_only(tmp_path: Path) -> None:
    atoms = copper(stress=np.zeros(6))
    atoms.set_constraint(FixAtoms([0]))
    data = written(tmp_path, [atoms, water()]).read_bytes()
    path = tmp_path / "flipped.traj"
    random = np.random.default_rng(0)
    for place in random.integers(24, len(data), 300):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << int(random.integers(8))]) + data[place + 1 :])
        try:
            items(path)
        except MlpdataError:
            continue


def test_more_items_than_a_file_can_have_are_refused_at_once(tmp_path: Path) -> None:
    data = written(tmp_path, [water()]).read_bytes()
    path = tmp_path / "huge.traj"
    path.write_bytes(data[:32] + struct.pack("<q", 10**12) + data[40:])

    with pytest.raises(ParseError, match="table"):
        items(path)


def test_more_atoms_than_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        items(written(tmp_path, [water()]), limits=Limits(atoms=2))


def test_an_empty_trajectory_is_refused(tmp_path: Path) -> None:
    data = written(tmp_path, [water()]).read_bytes()
    path = tmp_path / "empty.traj"
    path.write_bytes(data[:32] + struct.pack("<q", 0) + data[40:])

    with pytest.raises(ParseError, match="empty"):
        items(path)


def test_header_and_ending_stand_around_the_frames(tmp_path: Path) -> None:
    found = items(written(tmp_path, [water()]))

    assert [type(item) for item in found] == [Header, Frames, Ending]
    assert found[0].method.code == "unknown"
    assert found[-1].status == "complete"
