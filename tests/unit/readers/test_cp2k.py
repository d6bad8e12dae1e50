"""The CP2K reader: what a run gives, its status, its method, and what damage costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cp2k_output import (
    END,
    ENERGIES,
    FARTHER,
    FORCES,
    MOVED,
    WATER,
    cell,
    coordinates,
    dynamics,
    energy,
    forces,
    hartree,
    kinds,
    opening,
    optimisation,
    positions,
    read,
    read_file,
    settings,
    single_point,
    stress,
)

from mlpdata.errors import NotRecognised, ParseError
from mlpdata.readers.cp2k.log import READER
from mlpdata.readers.registry import open_run
from mlpdata.units import BOHR, HARTREE

DATA = Path(__file__).parents[2] / "data" / "cp2k"

# -- what a run gives


def test_a_single_point_is_its_coordinates_cell_energy_forces_and_stress(tmp_path: Path) -> None:
    frames = read(tmp_path, single_point(energy() + forces() + stress())).frames

    assert hartree(frames) == [round(ENERGIES[0], 12)]
    assert frames.atomic_numbers.tolist() == [8, 1, 1]
    assert np.allclose(frames.positions, [row[1:] for row in WATER])
    assert np.allclose(frames.forces, np.array(FORCES) * HARTREE / BOHR, rtol=1e-12)
    assert np.allclose(frames.cell[0], np.eye(3) * 6)
    assert (frames.pbc.tolist(), frames.get("charge").tolist()) == ([[1, 1, 1]], [0.0])
    assert (frames.get("multiplicity").tolist(), frames.get("scf_converged").tolist()) == ([1], [1])
    assert frames.get("step").tolist() == [0]


def test_the_source_line_is_that_of_the_energy(tmp_path: Path) -> None:
    text = single_point(energy() + forces())
    line = next(number for number, line in enumerate(text.split("\n"), 1) if "ENERGY|" in line)

    assert read(tmp_path, text).frames.get("source_line").tolist() == [line]


def test_dynamics_take_positions_from_the_companion_by_step_and_energy(tmp_path: Path) -> None:
    run = read(tmp_path, dynamics(), pos=positions())

    assert hartree(run.frames) == [round(value, 12) for value in ENERGIES]
    assert run.frames.get("step").tolist() == [0, 1, 2]
    assert np.allclose(run.frames.positions, [row[1:] for atoms in (WATER, MOVED, FARTHER) for row in atoms])
    assert run.frames.get("time").tolist()[1:] == [0.5, 1.0]
    assert run.frames.get("temperature_kinetic").tolist() == [300.0, 815.28831, 815.28831]
    assert (run.header.run_kind, run.header.forces_are, run.ending.left_out) == ("md", "physical", ())


def test_an_optimisation_gives_its_steps_and_not_the_last_energy_once_more(tmp_path: Path) -> None:
    run = read(tmp_path, optimisation(), pos=positions(time=False))

    assert hartree(run.frames) == [round(value, 12) for value in ENERGIES]
    assert run.frames.get("step").tolist() == [0, 1, 2]
    assert (run.header.run_kind, run.ending.status, run.ending.left_out) == ("relax", "complete", ())


@pytest.mark.parametrize(
    ("run_type", "kind"),
    [("ENERGY", "single_point"), ("WFN_OPT", "single_point"), ("LR", "response"), ("GEOMETRY_OPTIMIZATION", "relax")],
)
def test_the_kind_of_run_is_the_run_type(tmp_path: Path, run_type: str, kind: str) -> None:
    text = single_point(energy()).replace("ENERGY_FORCE\n", f"{run_type}\n")

    assert read(tmp_path, text).header.run_kind == kind


def test_the_set_point_of_a_thermostat_is_its_temperature_and_microcanonical_runs_have_none(tmp_path: Path) -> None:
    assert read(tmp_path, dynamics(name="NVT"), pos=positions()).header.temperature_target == 300
    assert read(tmp_path, dynamics(name="NVE"), pos=positions()).header.temperature_target is None


def test_the_identity_tells_runs_apart_and_not_folders(tmp_path: Path) -> None:
    text = single_point(energy())

    def identity(text: str) -> str:
        return read(tmp_path, text).header.identity

    assert identity(text.replace("/tmp/w", "/home")) == identity(text)
    assert identity(text.replace("2024-03-01 10:00:00", "2024-03-02 10:00:00")) != identity(text)


def test_a_log_to_which_a_job_appended_holds_several_runs(tmp_path: Path) -> None:
    again = single_point(energy(-17.2)).replace("2024-03-01", "2024-03-02")

    runs = read(tmp_path, single_point(energy()) + again).runs

    assert [hartree(run.frames) for run in runs if run.frames is not None] == [[round(ENERGIES[0], 12)], [-17.2]]
    assert runs[0].header.identity != runs[1].header.identity


def test_an_attempt_that_was_aborted_before_any_energy_gives_way_to_the_run_after_it(tmp_path: Path) -> None:
    aborted = opening() + "\n * [ABORT] The specified file cannot be opened.            *\n"

    run = read(tmp_path, aborted + single_point(energy()))

    assert (len(run.runs), run.ending.status, run.header.method.functional) == (1, "complete", "PBE")


# -- status


def test_a_run_is_complete_only_with_the_end_mark_of_the_program(tmp_path: Path) -> None:
    assert read(tmp_path, dynamics(), pos=positions()).ending.status == "complete"
    assert read(tmp_path, dynamics(end=""), pos=positions()).ending.status == "truncated"


def test_an_abort_is_a_failure_with_its_line_and_keeps_the_frames_before(tmp_path: Path) -> None:
    box = "\n *******\n * [ABORT]                       *\n *  \\___/  SCF run NOT possible.  *\n *******\n"

    run = read(tmp_path, dynamics(end=box), pos=positions())

    assert run.ending.status == "failed"
    assert "SCF run NOT possible" in run.ending.reason
    assert len(run.frames) == 3


def test_an_optimisation_that_ran_out_of_steps_is_complete_with_a_warning(tmp_path: Path) -> None:
    text = optimisation().replace(END, "\n *** MAXIMUM NUMBER OF OPTIMIZATION STEPS REACHED ***\n" + END)

    ending = read(tmp_path, text, pos=positions(time=False)).ending

    assert (ending.status, len(ending.warnings)) == ("complete", 1)


def test_a_file_without_any_heading_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.cp2k.out"
    path.write_text("nothing\n")

    with open_run(path) as opened, pytest.raises(ParseError, match="expected a log of CP2K"):
        list(opened.items())


def test_a_companion_by_itself_is_no_output(tmp_path: Path) -> None:
    """Its comment has no key=value pairs, so that it is no extended xyz file either."""
    path = tmp_path / "water-pos-1.xyz"
    path.write_text(positions())

    with pytest.raises(NotRecognised), open_run(path):
        pass


# -- damage


@pytest.mark.parametrize("damage", ["********", "NaN", "1E400", "1.0-2.0"])
def test_a_force_that_cannot_be_read_costs_its_frame_only(tmp_path: Path, damage: str) -> None:
    text = dynamics().replace("    0.06700000", damage, 1)

    run = read(tmp_path, text, pos=positions())

    assert hartree(run.frames) == [round(ENERGIES[0], 12), round(ENERGIES[2], 12)]
    (left_out,) = run.ending.left_out
    assert text.split("\n")[left_out.line - 1].startswith(" ATOMIC FORCES")


def test_a_stress_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path) -> None:
    run = read(tmp_path, single_point(energy() + forces() + stress().replace("2.50000000000E+00", "***")))

    assert "stress" not in run.frames
    assert "stress is left out" in run.ending.warnings[0]


def test_a_damaged_cell_costs_every_frame_that_has_it(tmp_path: Path) -> None:
    run = read(tmp_path, dynamics().replace("|b| =     6.000000", "|b| =     7.000000"), pos=positions())

    assert run.runs[0].frames is None
    assert len(run.ending.left_out) == 3
    assert "The cell is damaged" in run.ending.left_out[0].reason


def test_a_log_cut_at_any_line_gives_its_whole_frames_and_is_truncated(tmp_path: Path) -> None:
    lines = dynamics().split("\n")
    whole = dict(zip(ENERGIES, (WATER, MOVED, FARTHER), strict=True))
    for count in range(len(lines)):
        text = "\n".join(lines[:count])
        if "\n CP2K|" not in text:
            continue
        run = read(tmp_path, text + ("" if count % 2 else "\n"), pos=positions())
        assert run.ending.status == ("complete" if "PROGRAM ENDED AT" in text else "truncated")
        frames = run.runs[0].frames
        for index, value in enumerate([] if frames is None else hartree(frames)):
            expected = next(row for known, row in whole.items() if round(known, 12) == value)
            assert np.allclose(run.frames.select([index]).positions, [row[1:] for row in expected])
        given = 0 if frames is None else len(frames)
        assert given + len(run.ending.left_out) == text.count(" ENERGY|") - (
            lines[count - 1].startswith(" ENERGY|") and count % 2
        )


# -- method


def test_the_method_is_what_the_log_prints(tmp_path: Path) -> None:
    method = read(tmp_path, single_point(energy())).header.method

    assert (method.code, method.code_version, method.functional) == ("cp2k", "2023.1", "PBE")
    assert (method.basis, method.spin, method.dispersion) == ("DZVP-GTH", "restricted", "none")
    assert method.cutoff_density == pytest.approx(200 * HARTREE)
    assert [(row.element, row.title, row.valence) for row in method.pseudopotentials] == [
        ("H", "GTH-PBE-q1", 1.0),
        ("O", "GTH-PBE-q6", 6.0),
    ]
    assert method.kpoints is not None
    assert method.kpoints.mesh == (1, 1, 1)
    assert method.settings_as_printed["EPS_SCF"] == 1e-7


def sections(*names: str, reference: str = "{scale=1.000, spin-unpolarized}") -> str:
    return "".join(f" FUNCTIONAL| {name}:\n FUNCTIONAL| {reference}\n" for name in names)


@pytest.mark.parametrize(
    ("functional", "name"),
    [
        (" FUNCTIONAL| PBE:\n FUNCTIONAL| revPBE, Yingkay Zhang and Weitao Yang, Phys. Rev. Letter\n", "revPBE"),
        (" FUNCTIONAL| ROUTINE=NEW\n FUNCTIONAL| PBE:\n FUNCTIONAL| PBEsol, J.P. Perdew et al.\n", "PBEsol"),
        (sections("GGA_X_RPBE", "GGA_C_PBE"), "RPBE"),
        (sections("MGGA_X_R2SCAN", "MGGA_C_R2SCAN"), "R2SCAN"),
        (sections("BECKE88", "LYP", reference="A. Becke {LDA version}"), "BLYP"),
        (sections("PADE", reference="S. Goedecker"), "LDA-PADE"),
        (sections("BECKE97", reference="someone"), "BECKE97"),
    ],
)
def test_functionals_have_their_canonical_names(tmp_path: Path, functional: str, name: str) -> None:
    text = single_point(energy()).replace(settings(), settings(functional=functional))

    assert read(tmp_path, text).header.method.functional == name


def test_exact_exchange_makes_pbe_a_hybrid_only_with_its_own_fraction(tmp_path: Path) -> None:
    scaled = " FUNCTIONAL| PBE:\n FUNCTIONAL|  pp. 3865-3868, (1996)sx=0.750sc=1.000{spin unpolarized}\n"
    scaled = scaled.replace("|  pp", "| J.P.Perdew, K.Burke, M.Ernzerhof,\n FUNCTIONAL|  pp")
    exchange = "\n  HFX_INFO| FRACTION: {:>57.10f}\n  HFX_INFO| Interaction Potential:                                     TRUNCATED\n"

    def method(fraction: float) -> tuple[str | None, float | None]:
        text = single_point(energy()).replace(settings(), settings(functional=scaled) + exchange.format(fraction))
        found = read(tmp_path, text).header.method
        return found.functional, found.exact_exchange

    assert method(0.25) == ("PBE0", 0.25)
    assert method(0.2) == ("PBE scaled + 0.2 HF", 0.2)


def test_dispersion_hubbard_and_kpoints_are_named(tmp_path: Path) -> None:
    more = """
 vdW POTENTIAL|          DFT-D3 (Version 3.1)
 vdW POTENTIAL|          BJ Damping: S. Grimme et al, JCC 32: 1456 (2011)
 DFT+U| Method                                                  MULLIKEN_CHARGES
 BRILLOUIN| K-point scheme                                        Monkhorst-Pack
 BRILLOUIN| K-Point grid                                             2    3    4
 BRILLOUIN| List of Kpoints [2 Pi/Bohr]                                       12
"""
    plus_u = """
     A DFT+U correction is applied to atoms of this atomic kind:
       Angular quantum momentum number L:                                      2
       U(eff) = (U - J) value in [eV]:                                     3.600
"""
    cobalt = kinds(("Al", "DZVP", "GTH-PBE-q17")) + plus_u
    atoms = [("Co", 0.0, 0.0, 0.0)]
    text = single_point(energy(), start=opening() + cell() + settings() + more + cobalt + coordinates(atoms))

    method = read(tmp_path, text).header.method

    assert method.dispersion == "D3(BJ)"
    assert [(term.species, term.orbital, term.u) for term in method.hubbard] == [("Co", "d", 3.6)]
    assert method.kpoints is not None
    assert (method.kpoints.mesh, method.kpoints.centring, method.kpoints.count) == ((2, 3, 4), "monkhorst-pack", 12)


def test_force_fields_and_tight_binding_are_named_as_what_they_are(tmp_path: Path) -> None:
    classical = single_point(energy(environment="FIST") + forces())
    tight = single_point(energy()).replace(settings(), "\n xTB| Parameter file {:>61s}\n".format("xTB_parameters"))

    assert read(tmp_path, classical).header.method.functional == "classical force field"
    assert read(tmp_path, tight).header.method.functional == "GFN1-xTB"


def test_smearing_makes_the_energy_a_free_energy(tmp_path: Path) -> None:
    """The difference of printed energies is that of the forces: see the runs of the program below."""
    smearing = (
        "                        Smear method:                                FERMI_DIRAC\n"
        "                        Electronic temperature [K]:                       5000.0\n"
    )
    entropy = "\n  Electronic entropic energy:                                  -0.01000000000000\n"
    text = single_point(entropy + energy()).replace(settings(), settings() + smearing)

    run = read(tmp_path, text)

    assert (run.header.energy_kind, run.header.method.smearing.method) == ("free", "fermi-dirac")
    assert run.header.method.smearing.width == pytest.approx(0.430867, abs=1e-6)
    assert (run.frames.get("energy_no_entropy") - run.frames.energy) / HARTREE == pytest.approx(0.01)


def test_a_field_makes_forces_those_with_something_external(tmp_path: Path) -> None:
    field = "\n PERIODIC_EFIELD| Intensity [a.u.]:                                 1.000000E-03\n"
    header = read(tmp_path, single_point(energy() + forces()).replace(settings(), settings() + field)).header

    assert (header.forces_are, header.method.external) == ("with_external", ("electric field",))


# -- logs that the program wrote


def test_the_stress_of_the_program_is_the_change_of_its_energy_with_the_volume() -> None:
    """C2: silicon at 5.3 angstrom; the energies are those that CP2K printed at 5.298 and 5.302 angstrom."""
    frames = read_file(DATA / "silicon" / "silicon.out").frames
    by_energy = (-7.811821315852488 + 7.811516308532197) * HARTREE / (37.261401 - 37.177131)

    assert np.trace(frames.stress[0]) / 3 == pytest.approx(by_energy, rel=5e-4)
    assert by_energy < 0  # compressed
    assert np.allclose(frames.cell[0], [[0, 2.65, 2.65], [2.65, 0, 2.65], [2.65, 2.65, 0]], atol=1e-6)


def test_the_energy_of_the_program_with_smearing_is_the_one_that_its_forces_derive_from() -> None:
    """Silicon at 15,000 K; the energies are those that CP2K printed with the second atom moved by 0.02 angstrom."""
    run = read_file(DATA / "silicon" / "hot.out")
    by_energy = -(-7.842610518119706 + 7.841139245920093) * HARTREE / 0.04
    without_entropy = by_energy - (-0.08691026736202 + 0.08733828891614) * -HARTREE / 0.04

    assert run.frames.forces[1, 0] == pytest.approx(by_energy, rel=2e-3)
    assert abs(without_entropy / by_energy - 1) > 0.2
    assert run.header.energy_kind == "free"


def test_the_reader_is_in_the_table_under_its_name() -> None:
    assert (READER.name, READER.patterns[0]) == ("cp2k/out", "*.cp2k.out")
