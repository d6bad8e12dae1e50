"""Codes that ASE, cclib and dpdata read: each row of the table on a file of its layout, and what guards them."""

from __future__ import annotations

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import InputError, LimitExceeded, MlpdataError, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input
from mlpdata.readers.foreign import adapter as foreign
from mlpdata.readers.foreign import ase as foreign_ase
from mlpdata.readers.foreign import cclib as foreign_cclib
from mlpdata.readers.foreign.frames import Reading
from mlpdata.readers.foreign.guard import TooLong, within
from mlpdata.readers.foreign.table import CODES, Code
from mlpdata.readers.registry import Ending, Header, open_run, own_readers, readers, recognise_file
from mlpdata.testing.damage import SHIFTED, cuts, cuts_inside_lines, sampled, spoiled_numbers
from mlpdata.testing.readings import Specimen, difference
from mlpdata.units import BOHR, HARTREE

DATA = Path(__file__).parents[2] / "data" / "foreign"
EV_PER_GPA = 1 / 160.2176634
H2 = [1, 1]


def read(path: Path) -> tuple[Header, Frames, Ending]:
    """The one run of a file."""
    with open_run(path) as opened:
        header, *blocks, ending = opened.items()
    assert isinstance(header, Header)
    assert isinstance(ending, Ending)
    assert blocks, ending.left_out
    return header, concatenate([block for block in blocks if isinstance(block, Frames)]), ending


def changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of a fixture with other words."""
    text = (DATA / name).read_text()
    assert old in text
    path = tmp_path / Path(name).name
    path.write_text(text.replace(old, new))
    return path


# name of the file, reader, energy [eV], force on atom and axis [eV/angstrom], z of an atom [angstrom], status
PRINTED = [
    ("nwchem.out", "nwchem/cclib", -74.963216419361 * HARTREE, (0, 2, 0.056220 * HARTREE / BOHR), (0, 0.12), "complete"),
    ("psi4.out", "psi4/cclib", -74.9632164262137763 * HARTREE, (1, 1, 0.01523751683 * HARTREE / BOHR), (1, -0.47), "complete"),
    ("qchem.out", "qchem/cclib", -1.1654321 * HARTREE, (0, 2, 0.0112 * HARTREE / BOHR), (0, -0.37), "complete"),
    ("gamess.out", "gamess/cclib", -1.1167143251 * HARTREE, None, (0, -0.7 * BOHR), "complete"),
    ("molpro.out", "molpro/cclib", -1.1167143251 * HARTREE, None, (0, -0.7 * BOHR), "complete"),
    ("dalton.out", "dalton/cclib", -1.1654321 * HARTREE, None, (0, -0.7 * BOHR), "complete"),
    ("jaguar.out", "jaguar/cclib", -1.1167143251 * HARTREE, None, (0, -0.37), "complete"),
    ("openmolcas.out", "openmolcas/cclib", -1.1167143251 * HARTREE, None, (0, -0.370424), "complete"),
    ("turbomole_dscf.out", "turbomole/cclib", -1.1167143251 * HARTREE, None, (0, -0.7 * BOHR), "complete"),
    ("turbomole_gradient", "turbomole/ase", -1.1654321 * HARTREE, (0, 2, 0.0112 * HARTREE / BOHR), (0, -0.7 * BOHR), "complete"),
    ("aims.out", "fhi-aims/ase", -31.713, (0, 2, 0.576), (0, -0.37), "complete"),
    ("h2.castep", "castep/ase", -31.713, (0, 0, 0.576), (0, 0.0), "complete"),
    ("abinit.abo", "abinit/ase", -31.71302262, (0, 2, 0.576), (1, 0.74), "complete"),
    ("qbox.r", "qbox/ase", -1.1654321 * HARTREE, (0, 2, 0.0112 * HARTREE / BOHR), (0, -0.7 * BOHR), "complete"),
    ("siesta.out", "siesta/dpdata", -31.713, (0, 2, 0.576), (1, 0.74), "complete"),
    ("abacus/OUT.h2/running_scf.log", "abacus/dpdata", -31.71302262, (0, 2, 0.576), (1, 1.4 * BOHR), "complete"),
    ("MOVEMENT", "pwmat/dpdata", -31.713, (0, 2, 0.576), (1, 0.74), "truncated"),
    ("dftb/detailed.out", "dftb+/dpdata", -0.67123456 * HARTREE, (0, 2, 0.0112 * HARTREE / BOHR), (1, 0.74), "truncated"),
]  # fmt: skip
BY_READER = {reader: DATA / name for name, reader, *_ in PRINTED}


@pytest.mark.parametrize(("name", "reader", "energy", "force", "z", "status"), PRINTED, ids=[p[1] for p in PRINTED])
def test_a_row_gives_the_numbers_that_its_file_prints(
    name: str, reader: str, energy: float, force: tuple[int, int, float] | None, z: tuple[int, float], status: str
) -> None:
    header, frames, ending = read(DATA / name)

    assert recognise_file(DATA / name).reader.name == reader
    assert frames.energy[0] == pytest.approx(energy, rel=2e-8)  # dpdata and ASE have constants of other years
    assert frames.positions[z[0], 2] == pytest.approx(z[1], abs=1e-6)
    assert ("forces" in frames) == (force is not None)
    if force is not None:
        assert frames.forces[force[0], force[1]] == pytest.approx(force[2], rel=1e-6)
    assert ending.status == status
    assert not ending.left_out
    assert header.method.code == reader.partition("/")[0]


@pytest.mark.parametrize("row", CODES, ids=[row.name for row in CODES])
def test_every_row_has_a_file_and_no_other_reader_claims_it(row: Code) -> None:
    head = BY_READER[row.name].read_bytes()

    assert [reader.name for reader in readers() if reader.magic(head)] == [row.name]


def test_our_own_readers_are_asked_before_the_libraries() -> None:
    names = [reader.name for reader in readers()]

    assert names[: len(own_readers())] == [reader.name for reader in own_readers()]
    assert {row.name for row in CODES} <= set(names[len(own_readers()) :])


def test_the_method_names_the_library_and_its_version_as_what_read_it() -> None:
    from importlib.metadata import version

    for name, reader, *_ in PRINTED:
        library = reader.partition("/")[2]
        assert read(DATA / name)[0].method.settings_as_printed == {"read by": f"{library} {version(library)}"}


def test_a_functional_is_called_by_its_canonical_name_where_the_form_is_known() -> None:
    assert read(DATA / "aims.out")[0].method.functional == "PBE"
    assert read(DATA / "qchem.out")[0].method.functional == "B3LYP"
    assert read(DATA / "dalton.out")[0].method.functional == "B3LYP5"  # DALTON's B3LYP has the fifth form of VWN
    assert read(DATA / "nwchem.out")[0].method.functional == "HF"
    assert read(DATA / "jaguar.out")[0].method.functional is None  # cclib calls every method of Jaguar Hartree-Fock


def test_a_solvent_is_told_even_where_nobody_knows_which(tmp_path: Path) -> None:
    path = changed(tmp_path, "qchem.out", " basis = sto-3g\n", " basis = sto-3g\n solvent_method = pcm\n")

    assert read(path)[0].method.solvent == "unspecified"
    assert read(DATA / "qchem.out")[0].method.solvent is None


def test_gradients_become_forces_and_the_energy_falls_along_them() -> None:
    """A sign or unit mistaken would show as another slope of the energy on the work."""
    for name in ("qchem.out", "turbomole_gradient", "aims.out", "qbox.r"):
        _, frames, _ = read(DATA / name)
        first, second = frames.positions.reshape(2, 2, 3)
        forces = frames.forces.reshape(2, 2, 3)
        work = -((second - first) * forces.mean(axis=0)).sum()
        assert frames.energy[1] - frames.energy[0] == pytest.approx(work, rel=0.01), name


def test_ase_is_asked_for_the_free_energy_of_castep_and_not_for_its_first_choice() -> None:
    header, frames, _ = read(DATA / "h2.castep")

    assert frames.energy[0] == -31.713  # Final free energy; the energy at 0 K is -31.7015
    assert header.energy_kind == "free"


def test_stress_is_positive_in_tension() -> None:
    castep, aims = read(DATA / "h2.castep")[1], read(DATA / "aims.out")[1]

    assert np.allclose(np.diagonal(castep.stress[0]), np.array([0.16, 0.08, 0.08]) * EV_PER_GPA)  # pressure < 0
    assert np.allclose(np.diagonal(aims.stress[0]), [0.001, 0.001, 0.002])  # pressure < 0


def test_the_cell_of_abinit_has_the_lengths_that_ase_leaves_away() -> None:
    _, frames, _ = read(DATA / "abinit.abo")

    assert np.allclose(frames.cell[0], 12 * BOHR * np.eye(3))


def test_numbers_of_qbox_are_atomic_whatever_ase_calls_them() -> None:
    import ase.io

    atoms = ase.io.read(DATA / "qbox.r", format="qbox", index=0)

    assert atoms.get_potential_energy() == -1.1654321  # "eV"
    assert read(DATA / "qbox.r")[1].energy[0] == pytest.approx(-1.1654321 * HARTREE)


def test_dpdata_turns_no_cell(tmp_path: Path) -> None:
    old = "        6.000000    0.000000    0.000000\n"
    path = changed(tmp_path, "siesta.out", old, "        0.000000    6.000000    0.000000\n")
    path.write_text(path.read_text().replace("    6.000000    0.000000\n        0.000000    0.000000    6", "    0.000000    6.000000\n        6.000000    0.000000    0"))  # fmt: skip

    _, frames, _ = read(path)

    assert frames.cell[0].tolist()[0] == [0.0, 6.0, 0.0]


def test_molecules_have_no_cell() -> None:
    for name in ("nwchem.out", "dftb/detailed.out", "turbomole_gradient"):
        _, frames, _ = read(DATA / name)
        assert "cell" not in frames
        assert not frames.pbc.any()


def test_a_line_of_the_file_is_known_where_the_parser_can_be_watched() -> None:
    _, frames, _ = read(DATA / "qchem.out")
    lines = (DATA / "qchem.out").read_text().splitlines()

    assert [lines[line - 1].split()[-1] for line in frames.get("source_line")] == ["-1.1654321000", "-1.1655433000"]


def test_what_follows_a_geometry_belongs_to_it_and_nothing_else(tmp_path: Path) -> None:
    """A second energy of one geometry, of which nobody knows whose gradient follows, costs the frame."""
    text = (DATA / "qchem.out").read_text()
    energy = " Total energy in the final basis set =       -1.1654321000\n"
    path = tmp_path / "twice.out"
    path.write_text(text.replace(energy, energy + energy.replace("-1.16", "-1.15")))

    _, frames, ending = read(path)

    assert frames.energy.tolist() == pytest.approx([-1.1655433 * HARTREE])
    assert "2 energies and 1 gradients" in ending.left_out[0].reason


def test_a_correlated_energy_is_left_out_since_cclib_does_not_say_whose_the_gradient_is(tmp_path: Path) -> None:
    old = " !RHF STATE 1.1 Energy                 -1.116714325100\n"
    path = changed(tmp_path, "molpro.out", old, old + "\n !MP2 total energy              -1.130000000000\n")

    with open_run(path) as opened:
        *_, ending = opened.items()

    assert isinstance(ending, Ending)
    assert "perturbation theory" in ending.left_out[0].reason


def test_without_forces_only_one_geometry_with_one_energy_is_taken(tmp_path: Path) -> None:
    energy = " FINAL RHF ENERGY IS       -1.1167143251 AFTER   5 ITERATIONS\n"
    path = changed(tmp_path, "gamess.out", energy, energy * 2)

    with open_run(path) as opened:
        items = list(opened.items())

    assert not any(isinstance(item, Frames) for item in items)
    assert items[-1].left_out[0].frames == 2


def test_a_run_without_end_mark_is_truncated_and_its_last_frame_may_be_of_two(tmp_path: Path) -> None:
    path = changed(tmp_path, "qbox.r", "</fpmd:simulation>", "")

    _, frames, ending = read(path)

    assert len(frames) == 1
    assert ending.status == "truncated"
    assert "may be of two" in ending.left_out[0].reason


def test_the_last_frame_of_dynamics_by_fhi_aims_has_the_geometry_of_another_in_ase(tmp_path: Path) -> None:
    mark = "  Advancing structure using Born-Oppenheimer Molecular Dynamics:\n"
    path = changed(tmp_path, "aims.out", "  Present geometry is converged.\n", mark)

    _, frames, ending = read(path)

    assert len(frames) == 1
    assert "mixes them up" in ending.left_out[0].reason


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("nwchem.out", "    nwchem branch", "  NWChem QMD Module\n    nwchem branch", "dynamics run"),
        ("h2.castep", "single point energy", "transition state search", "transition-state search"),
        ("aims.out", "Self-consistency cycle converged.", "SELF-CONSISTENCY CYCLE DID NOT CONVERGE", "converged"),
        ("abinit.abo", " Calculation completed.", "cartesian forces (eV/Angstrom) at end", "several"),
        ("siesta.out", "     1    0.000000    0.000000    0.57", "siesta: 1    0.000000    0.000000    0.57", "shift"),
    ],
)
def test_runs_that_a_library_reads_wrongly_are_refused(
    tmp_path: Path, name: str, old: str, new: str, words: str
) -> None:
    with pytest.raises(ParseError, match=words):
        read(changed(tmp_path, name, old, new))


def test_occupations_with_entropy_are_refused_where_the_energy_would_lack_it(tmp_path: Path) -> None:
    shutil.copytree(DATA / "dftb", tmp_path / "dftb")
    output = tmp_path / "dftb" / "detailed.out"
    output.write_text(
        output.read_text().replace("0.0000000000 H            0.0000", "0.0010000000 H            0.0272")
    )

    with pytest.raises(ParseError, match="entropy"):
        read(output)


def test_files_that_belong_to_an_output_are_its_companions_and_missed(tmp_path: Path) -> None:
    log = DATA / "abacus" / "OUT.h2" / "running_scf.log"
    assert {path.name for path in recognise_file(log).companions} == {"INPUT", "STRU"}

    (tmp_path / "OUT.h2").mkdir()
    shutil.copy(log, tmp_path / "OUT.h2")
    with pytest.raises(ParseError, match="INPUT and STRU"):
        read(tmp_path / "OUT.h2" / "running_scf.log")


def test_an_input_of_abacus_leads_nowhere_else(tmp_path: Path) -> None:
    """A structure file that the input names by a path is not opened: only the one beside it is."""
    shutil.copytree(DATA / "abacus", tmp_path / "run")
    settings = tmp_path / "run" / "INPUT"
    settings.write_text(settings.read_text().replace("stru_file   STRU", "stru_file   ../../../secret"))

    _, frames, _ = read(tmp_path / "run" / "OUT.h2" / "running_scf.log")

    assert frames.atomic_numbers.tolist() == H2


def test_a_compressed_output_reads_the_same(tmp_path: Path) -> None:
    for name in ("qchem.out", "h2.castep", "siesta.out"):
        copy = tmp_path / f"{name}.gz"
        copy.write_bytes(gzip.compress((DATA / name).read_bytes()))
        assert (read(copy)[1].ids() == read(DATA / name)[1].ids()).all()


def test_an_exception_of_a_library_becomes_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Reading:
        raise ZeroDivisionError("of all\nthings")

    monkeypatch.setattr(foreign_ase, "read", fail)

    with pytest.raises(ParseError, match="that ase can read, found ZeroDivisionError: of all things"):
        read(DATA / "h2.castep")


def test_a_library_that_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cclib", None)

    with pytest.raises(InputError, match=r"expected the package cclib.*pip install 'mlpdata\[adapters\]'"):
        read(DATA / "qchem.out")


def test_a_library_that_goes_round_in_circles_is_stopped() -> None:
    def circle() -> None:
        while True:
            pass

    with pytest.raises(TooLong):
        within(0.05, circle)
    assert within(5, lambda: 1) == 1


def test_a_library_that_goes_on_and_on_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def circle(*_: object) -> Reading:
        while True:
            pass

    monkeypatch.setattr(foreign_cclib, "read", circle)
    monkeypatch.setattr(foreign, "SECONDS", 0.01)

    with pytest.raises(LimitExceeded, match="goes on and on"):
        read(DATA / "qchem.out")


def test_a_library_is_given_no_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "endless.out"
    path.write_bytes((DATA / "qchem.out").read_bytes() + b"1" * (foreign.LONGEST_LINE + 2))

    with pytest.raises(LimitExceeded, match="longer"):
        read(path)


def test_a_library_says_nothing_on_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    for name, *_ in PRINTED:
        read(DATA / name)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name, *_ in PRINTED])
def test_damage_gives_no_wrong_number_no_silent_loss_and_no_foreign_exception(name: str) -> None:
    """Cut after each line and inside lines; each number stars, NaN, overflow.

    Columns that merge into another number, as `1` and `0.0` into `10.0`, no library tells from numbers.
    """
    path = DATA / name
    content = path.read_bytes()
    reader = recognise_file(path).reader
    specimen = Specimen(reader, path)
    numbers = [edit for edit in spoiled_numbers(content) if edit.kind not in (SHIFTED, "glued")]
    for edit in [*sampled(cuts(content), 30), *sampled(cuts_inside_lines(content), 30), *sampled(numbers, 60)]:
        copy = specimen.read(path, edit.of(content))
        found = difference(specimen.whole, copy)
        assert copy.error is None or isinstance(copy.error, MlpdataError), edit.at(content)
        assert not found.wrong, (edit.at(content), found.wrong)
        assert not found.silent, (edit.at(content), found.silent)


def test_bytes_that_are_no_text_are_read_or_refused() -> None:
    for row in CODES:
        content = BY_READER[row.name].read_bytes().replace(b"H", b"\xff\xfe")
        source = Input(BY_READER[row.name], content, "0" * 64, len(content))
        try:
            list(foreign.reader(row).read(source))
        except MlpdataError:
            continue
