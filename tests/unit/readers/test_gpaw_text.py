"""GPAW's text output in both of its forms: one test a trap, numbers as the fixtures print them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.gpaw import text as gpaw_text
from mlpdata.readers.gpaw.gpw import READER as GPW
from mlpdata.readers.registry import Ending, Header, Opened, recognise

DATA = Path(__file__).parents[2] / "data/gpaw"
RELAX, MOLECULE = (DATA / name for name in ("relax.txt", "molecule.txt"))

Run = tuple[Header, Frames | None, Ending]
Reading = Callable[[str], list[Run]]


def runs(path: Path) -> list[Run]:
    found: list[Run] = []
    with open_input(path) as source:
        header, blocks = None, []
        for item in Opened(source, gpaw_text.READER).items():
            if isinstance(item, Header):
                header, blocks = item, []
            elif isinstance(item, Frames):
                blocks.append(item)
            elif isinstance(item, Ending):
                assert header is not None
                found.append((header, concatenate(blocks) if blocks else None, item))
    return found


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    def of(text: str) -> list[Run]:
        path = tmp_path / "out.txt"
        path.write_bytes(text.encode())
        return runs(path)

    return of


def relax() -> str:
    return RELAX.read_text()


def line_of(text: str, words: str, which: int = 0) -> int:
    return [number for number, line in enumerate(text.splitlines(), 1) if line.startswith(words)][which]


def one(found: list[Run]) -> tuple[Header, Frames, Ending]:
    [(header, frames, ending)] = found
    assert frames is not None
    return header, frames, ending


# -- what a run gives


def test_each_geometry_is_a_frame_with_the_labels_below_it() -> None:
    _, frames, ending = one(runs(RELAX))

    assert frames.atomic_numbers.tolist() == [26, 8, 26, 8]
    assert frames.positions.tolist() == [[0, 0, 0], [2.1, 0.05, 0], [0.01, 0.02, 0], [2.09, 0.03, 0]]
    assert frames.forces.tolist()[:2] == [[0.25, 0.75, -0.125], [-0.25, -0.75, 0.125]]
    assert frames.forces.tolist()[2:] == [[0.125, 0.375, 0], [-0.125, -0.375, 0]]
    assert frames.cell.tolist() == [[[0, 2.15, 2.15], [2.15, 0, 2.15], [2.15, 2.15, 0]]] * 2
    assert frames.pbc.tolist() == [[1, 1, 1]] * 2
    assert frames.get("step").tolist() == [0, 1]
    assert frames.get("scf_converged").tolist() == [1, 1]
    assert frames.get("charge").tolist() == [0, 0]
    assert (ending.status, ending.left_out, ending.warnings) == ("complete", (), ())


def test_the_energy_is_the_free_energy_and_the_extrapolated_one_stands_beside_it() -> None:
    header, frames, _ = one(runs(RELAX))

    assert frames.energy.tolist() == [-12.355, -12.37]
    assert frames.get("energy_sigma0").tolist() == [-12.345, -12.36]
    assert header.energy_kind == "free"


def test_stress_is_positive_in_tension_as_printed() -> None:
    frames = one(runs(RELAX))[1]

    assert frames.stress[0].tolist() == [[0.0125, 0.001, -0.002], [0.001, 0.025, 0.003], [-0.002, 0.003, -0.05]]


def test_moments_levels_and_gap_are_read() -> None:
    frames = one(runs(RELAX))[1]

    assert frames.get("magnetic_moments").tolist() == [3.6, 0.2, 3.5, 0.25]
    assert frames.get("initial_magnetic_moments").tolist() == [4.0, 0.0, 3.6, 0.2]
    assert frames.get("total_magnetization").tolist() == [3.9, 3.8]
    assert frames.get("fermi_energy").tolist() == [7.125, 7.25]
    assert frames.get("band_gap").tolist() == [0.0, 0.0]


def test_the_dipole_of_a_periodic_system_is_not_read() -> None:
    assert "dipole" not in one(runs(RELAX))[1]


def test_the_source_line_is_that_of_the_free_energy() -> None:
    frames = one(runs(RELAX))[1]

    assert frames.get("source_line").tolist() == [line_of(relax(), "Free energy", which) for which in (0, 1)]


def test_the_method_is_what_the_tables_say() -> None:
    method = one(runs(RELAX))[0].method

    assert (method.code, method.code_version, method.functional) == ("gpaw", "22.8.0", "PBE")
    assert (method.basis, method.cutoff_energy, method.spin) == ("plane waves", 300.0, "unrestricted")
    assert method.smearing is not None
    assert (method.smearing.method, method.smearing.width) == ("fermi-dirac", 0.2)
    assert method.kpoints is not None
    assert (method.kpoints.mesh, method.kpoints.count) == ((2, 2, 2), 4)
    assert [(term.species, term.orbital, term.u) for term in method.hubbard] == [("Fe", "d", 4.0)]
    assert [(p.element, p.title, p.valence) for p in method.pseudopotentials] == [
        ("Fe", "Fe.PBE", 8),
        ("O", "O.PBE", 6),
    ]
    assert method.pseudopotentials[0].digest == "md5:0123456789abcdef0123456789abcdef"
    assert method.convergence.electronic == pytest.approx(14 * 0.0005)
    assert method.convergence.max_electronic_steps == 333


def test_the_identity_names_no_user_and_no_host() -> None:
    identity = one(runs(RELAX))[0].identity

    assert identity == "gpaw 22.8.0 Mon Jan  2 03:04:05 2023 4242 0"


def test_the_form_with_bars_gives_the_same_things() -> None:
    header, frames, ending = one(runs(MOLECULE))

    assert frames.atomic_numbers.tolist() == [1, 9]
    assert frames.positions.tolist() == [[3, 3, 3.75], [3, 3, 2.8]]
    assert frames.energy.tolist() == [-7.5]
    assert frames.forces.tolist() == [[0, -0.0125, 1.25], [0, 0.0125, -1.25]]
    assert frames.get("charge").tolist() == [1.0]
    assert frames.get("fermi_energy").tolist() == [-9.25]
    assert (header.method.code_version, header.method.functional, header.method.basis) == ("25.7.0", "RPBE", "fd")
    assert header.method.smearing is None
    assert header.energy_kind == "total"
    assert ending.status == "complete"


def test_a_molecule_has_no_cell_whatever_box_it_is_in() -> None:
    """X4."""
    frames = one(runs(MOLECULE))[1]

    assert "cell" not in frames
    assert frames.pbc.tolist() == [[0, 0, 0]]


def test_the_dipole_of_an_ion_is_not_read_since_it_depends_on_the_origin() -> None:
    assert "dipole" not in one(runs(MOLECULE))[1]


def test_the_dipole_of_a_neutral_molecule_is_read(reading: Reading) -> None:
    frames = one(reading(MOLECULE.read_text().replace("Charge: 1.0", "Charge: 0.0")))[1]

    assert frames.get("dipole").tolist() == [[0, 0, 0.4]]


def test_moments_of_paired_spins_are_zeros_that_nobody_computed(reading: Reading) -> None:
    frames = one(reading(relax().replace("Spin-polarized calculation.", "Spin-paired calculation")))[1]

    assert not {"magnetic_moments", "initial_magnetic_moments", "total_magnetization"} & frames.arrays.keys()


def test_moments_that_are_not_collinear_are_vectors(reading: Reading) -> None:
    frames = one(reading(relax().replace("Spin-polarized calculation.", "Non-collinear calculation.")))[1]

    assert frames.get("magnetic_moment_vectors")[0].tolist() == [0, 0, 3.6]
    assert "magnetic_moments" not in frames


def test_lines_may_end_as_on_windows(reading: Reading) -> None:
    expected, found = (one(reading(text))[1] for text in (relax(), relax().replace("\n", "\r\n")))

    assert (found.ids() == expected.ids()).all()


# -- traps


def test_a_correction_added_by_another_program_is_not_taken_for_a_result(reading: Reading) -> None:
    """Energy and forces below a van der Waals correction of ASE are of another level of theory."""
    added = "\nvdWTkatchenko09prl\nvdW correction: -1.5\nEnergy:         -13.855\n\nForces in eV/Ang:\n  0 Fe    9.00000    0.00000    0.00000\n  1 O    -9.00000    0.00000    0.00000\n"
    _, frames, ending = one(reading(relax().replace("\nTiming:", added + "\nTiming:", 1)))

    assert frames.energy.tolist() == [-12.355, -12.37]
    assert frames.forces[2].tolist() == [0.125, 0.375, 0]
    assert "van der Waals" in ending.warnings[0]


def test_an_scf_that_did_not_converge_has_no_frame_and_fails_the_run(reading: Reading) -> None:
    text = relax()
    cut = text.rindex("Converged after")
    _, frames, ending = reading(text[:cut] + "\nDid not converge!\n\nDate: Mon Jan  2 03:04:10 2023\n")[0]

    assert frames is not None
    assert frames.energy.tolist() == [-12.355]
    assert ending.status == "failed"
    assert [one.line for one in ending.left_out] == [line_of(text, "Positions:", 1)]


def test_a_run_that_was_killed_is_truncated_and_its_unfinished_step_is_reported(reading: Reading) -> None:
    text = relax()
    _, frames, ending = one(reading(text[: text.rindex("Converged after")]))

    assert len(frames) == 1
    assert ending.status == "truncated"
    assert len(ending.left_out) == 1


def test_a_second_banner_begins_another_run(reading: Reading) -> None:
    first, second = reading(relax() + MOLECULE.read_text())

    assert first[0].method.functional == "PBE"
    assert second[0].method.functional == "RPBE"
    assert second[1] is not None
    assert second[1].energy.tolist() == [-7.5]


def test_changed_parameters_begin_another_run_with_the_others_kept(reading: Reading) -> None:
    """calc.set prints only what changed; labels of both levels must not share one method."""
    text = relax().replace(
        "System changes: positions \n",
        "Input parameters:\n  xc: RPBE\n\n  Using the RPBE Exchange-Correlation functional\n",
        1,
    )
    first, second = reading(text)

    assert [run[0].method.functional for run in (first, second)] == ["PBE", "RPBE"]
    assert second[0].method.cutoff_energy == 300.0
    assert [run[1].energy.tolist() for run in (first, second) if run[1]] == [[-12.355], [-12.37]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("8 k-points: 2 x 2 x 2 Monkhorst-Pack grid", "60 k-points"),
        ("kpts: [2 2 2]", "kpts: {npoints: 60,\n         path: GXWK}"),
        ("  xc: PBE\n", "  fixdensity: True\n  xc: PBE\n"),
        ("setups: {Fe: :d,4.0}", "setups: {0: ghost}"),
    ],
)
def test_energies_of_bands_and_ghosts_are_no_frames(old: str, new: str, reading: Reading) -> None:
    [(_, frames, ending)] = reading(relax().replace(old, new))

    assert frames is None
    assert len(ending.left_out) == 2


def test_forces_in_a_field_are_said_to_be_so(reading: Reading) -> None:
    header = reading(
        relax().replace(
            "  xc: PBE\n", "  external: {name: ConstantElectricField,\n             strength: 1}\n  xc: PBE\n"
        )
    )[0][0]

    assert header.forces_are == "with_external"
    assert header.method.external == ("ConstantElectricField",)


def test_a_dipole_correction_leaves_forces_physical(reading: Reading) -> None:
    header = reading(relax().replace("  setups:", "  poissonsolver: {dipolelayer: xy}\n  setups:"))[0][0]

    assert header.forces_are == "physical"
    assert header.method.external == ("dipole correction",)


def test_a_core_hole_is_an_excited_state(reading: Reading) -> None:
    method = reading(relax().replace("  O:\n", "  O:  # (1.0 core hole)\n"))[0][0].method

    assert (method.state, method.excited) == ("core hole", True)


@pytest.mark.parametrize("number", ["  -12.355000", "   0.25000", "   2.100000", "    2.150000"])
@pytest.mark.parametrize("damage", ["************", "nan", "1E400", "1.0-2.0", "1.0 2.0"])
def test_a_damaged_number_costs_its_frame_and_no_other(number: str, damage: str, reading: Reading) -> None:
    _, frames, ending = one(reading(relax().replace(number, f" {damage}", 1)))

    assert frames.energy.tolist() == [-12.37]
    assert len(ending.left_out) == 1
    assert line_of(relax(), "Positions:") <= ending.left_out[0].line <= line_of(relax(), "Stress tensor")


@pytest.mark.parametrize("damage", ["********", "nan"])
def test_a_damaged_stress_is_dropped_with_a_warning(damage: str, reading: Reading) -> None:
    _, frames, ending = one(reading(relax().replace("0.012500", damage)))

    assert frames.energy.tolist() == [-12.355, -12.37]
    assert np.isnan(frames.stress[0]).all()
    assert frames.stress[1][0, 0] == 0.011
    assert "stress" in ending.warnings[0]


def test_forces_of_other_atoms_are_not_paired(reading: Reading) -> None:
    """A line of the force table is missing, and the next table's first row follows."""
    text = relax().replace("  0 Fe    0.25000    0.75000   -0.12500\n", "")
    _, frames, ending = one(reading(text))

    assert frames.energy.tolist() == [-12.37]
    assert len(ending.left_out) == 1


@pytest.mark.parametrize("path", [RELAX, MOLECULE])
def test_a_file_cut_at_any_line_gives_the_same_frames_or_fewer_and_says_so(path: Path, reading: Reading) -> None:
    lines = path.read_text().splitlines(keepends=True)
    whole = concatenate([run[1] for run in runs(path) if run[1] is not None])
    known = {row.tobytes() for row in whole.ids()}
    for end in range(len(lines)):
        try:
            found = reading("".join(lines[:end]) or "\n")
        except MlpdataError:
            continue
        blocks = [run[1] for run in found if run[1] is not None]
        assert all(row.tobytes() in known for block in blocks for row in block.ids())
        lost = len(whole) - sum(map(len, blocks))
        assert lost == 0 or found[-1][2].status != "complete"


# -- recognition


def test_files_of_one_stem_are_one_run_and_the_text_with_all_steps_goes_first() -> None:
    assert gpaw_text.READER.run_of("relax.txt", b"") == GPW.run_of("relax.gpw", b"") == "relax"
    assert gpaw_text.READER.precedence < GPW.precedence


@pytest.mark.parametrize("path", [RELAX, MOLECULE])
def test_it_is_recognised_by_its_banner(path: Path) -> None:
    with open_input(path) as source:
        assert recognise(source).name == "gpaw/txt"


def test_a_file_without_a_banner_is_refused(reading: Reading) -> None:
    with pytest.raises(ParseError, match="no banner"):
        reading("Positions:\n   0 H  0 0 0\n")
