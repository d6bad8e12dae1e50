"""PySCF: which energy belongs to which geometry and gradient, its method, its checkpoint, and what damage costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from mlpdata.errors import ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input
from mlpdata.readers.pyscf import chk as pyscf_chk
from mlpdata.readers.pyscf import output as pyscf_out
from mlpdata.readers.pyscf.method import level
from mlpdata.readers.registry import Ending, Header, Opened, open_run
from mlpdata.units import BOHR, HARTREE

DATA = Path(__file__).parents[2] / "data" / "pyscf"
WATER = (("O", 0.0, 0.0, 0.2), ("H", 0.0, 1.4, -0.9), ("H", 0.0, -1.4, -0.9))
"""[bohr]"""
GRADIENT = ((0.0, 0.0, -0.05), (0.0, -0.02, 0.025), (0.0, 0.02, 0.025))


class Run(NamedTuple):
    """One run of a text."""

    header: Header
    blocks: list[Frames]
    ending: Ending

    @property
    def frames(self) -> Frames:
        return concatenate(self.blocks)

    @property
    def hartree(self) -> list[float]:
        return [round(float(energy) / HARTREE, 9) for energy in self.frames.energy]


def runs(text: str) -> list[Run]:
    content = text.encode()
    source = Input(Path("some.out"), content, "0" * 64, len(content))
    found: list[Run] = []
    for item in Opened(source, pyscf_out.READER).items():
        if isinstance(item, Header):
            found.append(Run(item, [], Ending("failed")))
        elif isinstance(item, Frames):
            found[-1].blocks.append(item)
        elif isinstance(item, Ending):
            found[-1] = found[-1]._replace(ending=item)
    return found


def read(text: str) -> Run:
    (run,) = runs(text)
    return run


def atoms(rows: tuple[tuple[str, float, float, float], ...] = WATER, prefix: str = "[INPUT]") -> str:
    lines = []
    for number, (symbol, *place) in enumerate(rows, 1):
        angstrom = " ".join(f"{x * BOHR:16.12f}" for x in place)
        lines.append(
            f"{prefix}{number:3d} {symbol:4s} {angstrom} AA  {' '.join(f'{x:16.12f}' for x in place)} Bohr   0.0"
        )
    return "\n".join(lines) + "\n"


def molecule(rows: Any = WATER, charge: int = 0, spin: int = 0, basis: str = "def2-svp", more: str = "") -> str:
    return (
        "Date: Mon Jan  5 10:00:00 2026\nPySCF version 2.14.0\n\n[CONFIG] conf_file None\n[INPUT] verbose = 4\n"
        f"[INPUT] num. atoms = {len(rows)}\n[INPUT] num. electrons = 10\n[INPUT] charge = {charge}\n"
        f"[INPUT] spin (= nelec alpha-beta = 2S) = {spin}\n[INPUT] Mole.unit = angstrom\n"
        f"[INPUT] Symbol           X                Y                Z      unit\n{atoms(rows)}\n"
        f"nuclear repulsion = 9.1895337629349\nbasis = {basis}\necp = {{}}\n{more}\n"
    )


def field(
    name: str = "RHF", energy: float | None = -76.25, xc: str = "", flags: str = "", converged: bool = True
) -> str:
    lines = [f"\n\n******** <class 'pyscf.scf.hf.{name}'> ********", f"method = {name}", "SCF conv_tol = 1e-09"]
    lines += ["SCF max_cycles = 50", flags, *([f"XC functionals = {xc}"] if xc else []), "init E= -75.1"]
    if energy is not None:
        lines += [f"converged SCF energy = {energy}"] if converged else ["SCF not converged.", f"SCF energy = {energy}"]
    return "\n".join(filter(None, lines)) + "\n"


def gradient(name: str = "RHF", rows: Any = GRADIENT, symbols: Any = WATER, suffix: str = "") -> str:
    table = [
        f"{i} {atom[0]}  " + " ".join(f"{x:16.10f}" for x in row)
        for i, (row, atom) in enumerate(zip(rows, symbols, strict=False))
    ]
    head = f"--------------- {name} gradients{suffix} ---------------\n         x                y                z\n"
    return head + "\n".join(table) + "\n----------------------------------------------\n"


def moved(z: float) -> str:
    return "New geometry\n" + atoms((("O", 0.0, 0.0, z), *WATER[1:]), prefix="")


# -- what a run gives


def test_forces_are_minus_the_printed_gradient() -> None:
    frames = read(molecule() + field() + gradient()).frames

    assert frames.energy[0] == pytest.approx(-76.25 * HARTREE, rel=1e-15)
    assert np.allclose(frames.forces, -np.array(GRADIENT) * HARTREE / BOHR, rtol=1e-14)
    assert np.allclose(frames.positions, np.array([row[1:] for row in WATER]) * BOHR, rtol=1e-14)
    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert frames.get("scf_converged").tolist() == [1]
    assert "cell" not in frames


def test_spin_is_the_number_of_unpaired_electrons_not_the_multiplicity() -> None:
    frames = read(molecule(charge=1, spin=1) + field("UHF")).frames

    assert (frames.get("charge").tolist(), frames.get("multiplicity").tolist()) == ([1.0], [2])


def test_an_scf_that_did_not_converge_says_so() -> None:
    frames = read(molecule() + field(converged=False) + gradient()).frames

    assert frames.get("scf_converged").tolist() == [0]
    assert "forces" in frames


def test_each_step_of_an_optimisation_has_its_own_geometry() -> None:
    steps = "".join(
        f"Geometry optimization cycle {i}\n{moved(0.2 + i / 100)}{field('RHF_Scanner', -76.25 - i)}{gradient('RHF_Scanner')}"
        for i in (1, 2, 3)
    )
    run = read(molecule() + steps)

    assert run.header.run_kind == "relax"
    assert run.hartree == [-77.25, -78.25, -79.25]
    assert np.allclose(run.frames.positions[::3, 2] / BOHR, [0.21, 0.22, 0.23])
    assert run.frames.get("step").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("work", "name", "energy", "correlation"),
    [
        ("E(RMP2) = -76.5  E_corr = -0.25\nE(SCS-RMP2) = -76.6  E_corr = -0.35\n", "RMP2", -76.5, "MP2"),
        ("CCSD converged\nE(CCSD) = -76.7  E_corr = -0.45\n", "CCSD", -76.7, "CCSD"),
        ("E(UCCSD) = -76.7  E_corr = -0.45\n", "UCCSD", -76.7, "CCSD"),
        ("CASCI E = -76.3  E(CI) = -6.3\nCASSCF energy = -76.4\nCASCI E = -76.4\n", "CASSCF", -76.4, "CASSCF"),
    ],
)
def test_a_correlated_gradient_goes_with_the_energy_of_its_own_method(
    work: str, name: str, energy: float, correlation: str
) -> None:
    """G6 of another code: never the reference energy with the gradient of the method on top."""
    run = read(molecule() + field() + work + gradient(name))

    assert run.hartree == [energy]
    assert run.header.method.correlation == correlation
    assert "forces" in run.frames


def test_the_gradient_of_the_mean_field_keeps_its_energy_whatever_follows() -> None:
    run = read(molecule() + field() + gradient() + "E(RMP2) = -76.5  E_corr = -0.25\n")

    assert (run.hartree, run.header.method.correlation) == ([-76.25], None)


def test_triples_are_added_to_the_energy_they_correct() -> None:
    run = read(molecule() + field() + "E(CCSD) = -76.7  E_corr = -0.45\nCCSD(T) correction = -0.01\n")

    assert (run.hartree, run.header.method.correlation) == ([-76.71], "CCSD(T)")


def test_iterations_on_top_that_did_not_converge_are_marked() -> None:
    run = read(molecule() + field() + "CCSD not converged\nE(CCSD) = -76.7  E_corr = -0.45\n")

    assert run.frames.get("scf_converged").tolist() == [0]


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (
            "E(RMP2) = -76.5  E_corr = -0.2\nE(CCSD) = -76.7  E_corr = -0.4\n",
            "expected one correlated energy, found MP2, CCSD",
        ),
        ("******** <class 'pyscf.adc.radc.RADC'> ********\n", "expected the energy of pyscf.adc.radc"),
        (gradient("CISD"), "expected the energy of CISD, whose gradient is printed"),
        ("CASCI state   0  E = -76.4\nCASSCF energy = -76.3\n" + gradient("CASSCF"), "expected the energy of CASSCF"),
    ],
)
def test_what_cannot_be_told_for_certain_is_left_out(work: str, reason: str) -> None:
    (lost,) = read(molecule() + field() + work).ending.left_out

    assert reason in lost.reason


def test_the_gradient_of_an_excited_state_is_no_label_of_the_ground_state() -> None:
    states = "Excitation energies (eV)\n[11.4 13.7]\n" + gradient("TDA", suffix=" for state 1")
    run = read(molecule() + field("RKS", xc="pbe") + states)

    assert run.hartree == [-76.25]
    assert "forces" not in run.frames
    assert "TDA gradients for state 1" in run.ending.warnings[0]


def test_with_smearing_the_label_is_the_free_energy() -> None:
    flags = "    sigma = 0.01  Optimized mu = -0.1  entropy = 0.5\n    Total E(T) = -76.25  Free energy = -76.255  E0 = -76.2525"
    run = read(molecule() + field("SmearingRKS", xc="pbe", flags=flags))

    assert run.hartree == [-76.255]
    assert run.frames.get("energy_no_entropy")[0] == pytest.approx(-76.25 * HARTREE)
    assert run.frames.get("energy_sigma0")[0] == pytest.approx(-76.2525 * HARTREE)
    assert run.header.energy_kind == "free"
    assert run.header.method.smearing is not None
    assert run.header.method.smearing.width == pytest.approx(0.01 * HARTREE)


def test_calculations_of_two_methods_are_two_runs() -> None:
    one, other = runs(molecule() + field() + gradient() + field("RKS", -76.3, xc="pbe"))

    assert (one.header.method.functional, other.header.method.functional) == ("HF", "PBE")
    assert (one.hartree, other.hartree) == ([-76.25], [-76.3])
    assert one.header.identity != other.header.identity


def test_two_molecules_of_one_script_are_not_mixed_up() -> None:
    one, other = runs(molecule() + field() + molecule(WATER[:2], charge=-1) + field("RHF", -75.5))

    assert (one.frames.n_atoms.tolist(), other.frames.n_atoms.tolist()) == ([3], [2])
    assert (one.frames.get("charge").tolist(), other.frames.get("charge").tolist()) == ([0.0], [-1.0])


def test_two_energies_of_one_geometry_and_method_are_no_labels() -> None:
    """A copy of the molecule is moved, then both are computed: the geometry printed last is that of one only."""
    run = read(molecule() + moved(0.3) + field() + field("RHF", -76.35))

    assert not run.blocks
    assert [lost.reason[:28] for lost in run.ending.left_out] == ["expected one energy of a geo"] * 2


def test_a_geometry_between_an_energy_and_its_gradient_is_not_paired() -> None:
    (lost,) = read(molecule() + field() + moved(0.3) + gradient()).ending.left_out

    assert "one in between" in lost.reason


def test_what_the_echoed_script_says_is_no_output() -> None:
    echo = "#INFO: **** input file is run.py ****\n" + molecule(WATER[:1]) + field("RHF", -1.0)
    echo += "#INFO: ******************** input file end ********************\n\n"

    assert read(echo + molecule() + field()).hartree == [-76.25]


def test_ghosts_are_no_atoms_but_act_on_them() -> None:
    rows = (*WATER[:2], ("GHOST-O", 0.0, 0.0, 5.0))
    run = read(molecule(rows) + field() + gradient(symbols=rows))

    assert run.frames.atomic_numbers.tolist() == [8, 1]
    assert run.header.method.external == ("ghost functions",)
    assert run.header.forces_are == "with_external"


def test_a_crystal_has_its_cell() -> None:
    lattice = "\nlattice vectors  a1 [6.0, 0.0, 0.0]\n                 a2 [0.0, 7.0, 0.0]\n                 a3 [0.0, 1.0, 8.0]\n"
    frames = read(molecule(more=lattice + "dimension = 2\n") + field("KRKS", xc="pbe")).frames

    assert np.allclose(frames.cell / BOHR, [[[6, 0, 0], [0, 7, 0], [0, 1, 8]]])
    assert frames.pbc.tolist() == [[1, 1, 0]]


def test_the_dipole_is_read_of_what_is_neutral() -> None:
    dipole = "Dipole moment(X, Y, Z, Debye):  0.00000,  0.00000, -1.50000\n"

    assert read(molecule() + field() + dipole).frames.get("dipole")[0, 2] == pytest.approx(-1.5 * 0.2081943, rel=1e-6)
    assert "dipole" not in read(molecule(charge=1, spin=1) + field("UHF") + dipole).frames


# -- the method


@pytest.mark.parametrize(
    ("name", "xc", "flags", "known"),
    [
        ("RKS", "pbe", "grids dens level: 3", {"functional": "PBE", "spin": "restricted", "grid": "level 3"}),
        ("UKS", "b3lyp", "", {"functional": "B3LYP", "exact_exchange": 0.2, "spin": "unrestricted"}),
        ("RKS", "b3lyp-d3bj", "", {"functional": "B3LYP", "dispersion": "D3(BJ)"}),
        (
            "DFROKS",
            "pbe0",
            "auxbasis = def2-svp-jkfit",
            {"spin": "restricted-open", "auxiliary_basis": "def2-svp-jkfit"},
        ),
        ("RHF", "", "", {"functional": "HF", "exact_exchange": 1.0, "basis": "def2-svp", "code_version": "2.14.0"}),
        ("RKS", "some,thing", "", {"functional": None, "functional_as_printed": "some,thing"}),
        ("sfX2C1eRHF", "", "", {"relativity": "sf-X2C-1e"}),
        ("QMMMRHF", "", "** Add background charges for QMMMRHF **", {"external": ("point charges",)}),
        (
            "ddCOSMORHF",
            "",
            "******** <class 'pyscf.solvent.ddcosmo.ddCOSMO'> ********\neps = 78.3553",
            {"solvent": "ddCOSMO(eps=78.3553)"},
        ),
    ],
)
def test_the_method_is_what_the_output_says(name: str, xc: str, flags: str, known: dict[str, Any]) -> None:
    used = read(molecule() + field(name, xc=xc, flags=flags)).header.method

    assert {key: getattr(used, key) for key in known} == known


def test_b3lyp_was_another_functional_before_version_2_3() -> None:
    text = (molecule() + field("RKS", xc="b3lyp")).replace("version 2.14.0", "version 2.2.1")

    assert read(text).header.method.functional == "B3LYP5"


@pytest.mark.parametrize(("name", "known"), [("RMP2", "MP2"), ("DFUMP2", "MP2"), ("CCSD(T)", "CCSD(T)"), ("X", "X")])
def test_spin_and_density_fitting_are_no_part_of_a_level(name: str, known: str) -> None:
    assert level(name) == known


# -- status and damage


@pytest.mark.parametrize(
    "tail",
    [
        field("RHF", None),
        field() + "******** <class 'pyscf.grad.rhf.Gradients'> for <class 'pyscf.scf.hf.RHF'> ********\n",
        field() + gradient()[:-60],
        field() + "******** <class 'pyscf.mp.mp2.RMP2'> ********\n",
        field() + gradient() + "Geometry optimization cycle 2\n",
        "",
    ],
)
def test_what_begins_and_does_not_end_is_truncated(tail: str) -> None:
    assert read(molecule() + tail).ending.status == "truncated"


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("-76.25", "nan"),
        ("   -0.0200000000", "  *************"),
        ("\n1 H  ", "\n1 O  "),
        ("\n1 H  ", "\n2 H  "),
        ("1.400000000000  -0.900000000000 Bohr", "1.400000000000-0.900000000000 Bohr"),
        ("num. atoms = 3", "num. atoms = 2"),
        ("num. atoms = 3", "num. atoms = 4"),
    ],
)
def test_damage_costs_the_frame_with_line_and_reason(was: str, becomes: str) -> None:
    text = molecule() + field() + gradient()
    assert was in text
    run = read(text.replace(was, becomes, 1))

    assert not run.blocks
    assert all(lost.line and lost.reason for lost in run.ending.left_out)
    assert len(run.ending.left_out) == 1


def test_a_charge_that_cannot_be_read_is_unknown_not_zero() -> None:
    run = read((molecule() + field()).replace("charge = 0", "charge = *"))

    assert np.isnan(run.frames.get("charge")).all()
    assert "the charge was not read" in run.ending.warnings


def test_a_file_without_a_molecule_is_refused() -> None:
    with pytest.raises(ParseError, match="verbose = 4"):
        read("PySCF version 2.14.0\nconverged SCF energy = -1.0\n")


def test_the_fixture_is_the_first_step_of_an_optimisation_of_water() -> None:
    run = read((DATA / "relax.out").read_text())

    assert (run.header.run_kind, run.hartree) == ("relax", [-74.963023138])
    assert run.frames.forces[0, 2] == pytest.approx(0.0614270833 * HARTREE / BOHR)


# -- the checkpoint


def checkpoint(path: Path, **changes: Any) -> list[Any]:
    """The fixture with some entries replaced, read."""
    path.write_bytes((DATA / "cation.chk").read_bytes())
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            place = name.replace("__", "/")
            if place in file:
                del file[place]
            file[place] = value
    with open_run(path) as opened:
        assert opened.reader is pyscf_chk.READER
        return list(opened.items())


def test_a_checkpoint_gives_geometry_energy_charge_and_multiplicity(tmp_path: Path) -> None:
    header, frames, ending = checkpoint(tmp_path / "x.chk")

    assert frames.energy[0] == pytest.approx(-74.65589871362019 * HARTREE, rel=1e-15)
    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert np.allclose(frames.positions[1], [0, 0.7572, -0.4692], atol=1e-7)
    assert (frames.get("charge").tolist(), frames.get("multiplicity").tolist()) == ([1.0], [2])
    assert (header.method.spin, header.method.functional, ending.status) == ("unrestricted", None, "complete")


@pytest.mark.parametrize("changes", [{"mcscf__e_tot": -75.0}, {"scf__mo_occ": np.array([2.0, 1.5, 0.5])}])
def test_an_energy_that_may_not_be_the_label_is_absent(tmp_path: Path, changes: dict[str, Any]) -> None:
    _, frames, ending = checkpoint(tmp_path / "x.chk", **changes)

    assert np.isnan(frames.energy).all()
    assert "energy not read" in ending.warnings[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"scf__e_tot": float("nan")},
        {"scf__e_tot": [1.0, 2.0]},
        {"mol": "__import__('os').system('true')"},
        {"mol": '{"charge": 0, "spin": 0, "_atom": [["O", [0.0, 0.0, NaN]]]}'},
        {"mol": '{"charge": 0, "spin": 0, "a": [[4, 0, 0]], "_atom": [["O", [0.0, 0.0, 0.0]]]}'},
        {"mol": '{"charge": 0.5, "spin": 0, "_atom": [["O", [0.0, 0.0, 0.0]]]}'},
    ],
)
def test_a_checkpoint_that_is_not_what_it_should_be_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ParseError, match="expected"):
        checkpoint(tmp_path / "x.chk", **changes)


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_a_heap_in_which_the_library_would_circle_is_refused(tmp_path: Path, size: int) -> None:
    content = bytearray((DATA / "cation.chk").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(8) + size.to_bytes(8, "little")  # free space of that size
    path = tmp_path / "x.chk"
    path.write_bytes(content)

    with open_run(path) as opened, pytest.raises(ParseError, match="heap"):
        list(opened.items())


def test_an_output_and_the_checkpoint_that_it_names_are_one_run() -> None:
    head = b"PySCF version 2.14.0\nchkfile to save SCF result = /scratch/water.chk\n"

    assert pyscf_out.READER.run_of("any.out", head) == "water.chk" == pyscf_chk.READER.run_of("water.chk", b"")
    assert pyscf_out.READER.precedence < pyscf_chk.READER.precedence
