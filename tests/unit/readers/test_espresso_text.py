"""Standard output of pw.x, rule by rule, on small logs written in its layout.

The whole logs are those of two silicon atoms; their numbers are made up, so that each can be told from every other.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mlpdata.errors import MlpdataError, NotRecognised, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input, open_input
from mlpdata.readers.espresso import text as espresso_text
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.units import BOHR, F64, HARTREE, RYDBERG

SILICON = Path(__file__).parents[3] / "examples" / "silicon" / "raw"
FORCE, STRESS = RYDBERG / BOHR, RYDBERG / BOHR**3

HEAD = """
     Program PWSCF v.6.7MaX starts on 21Nov2023 at 10:14:36 

     bravais-lattice index     =            2
     lattice parameter (alat)  =      10.0000  a.u.
     number of atoms/cell      =            2
     number of electrons       =         8.00
     kinetic-energy cutoff     =      12.0000  Ry
     charge density cutoff     =      48.0000  Ry
     scf convergence threshold =      1.0E-08
     Exchange-correlation= SLA  PW   PBE  PBE
                           (   1   4   3   4   0   0   0)

     celldm(1)=  10.000001  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (  -0.500000   0.000000   0.500000 )  
               a(2) = (   0.000000   0.500000   0.500000 )  
               a(3) = (  -0.500000   0.500000   0.000000 )  

     PseudoPot. # 1 for Si read from file:
     /home/someone/pseudo/Si.pbe-rrkj.UPF
     MD5 check sum: d7f89eb60b7b396f5f4f9eaa825fcfdc
     Pseudo is Norm-conserving, Zval =  4.0

     atomic species   valence    mass     pseudopotential
        Si1            4.00    28.08550     Si( 1.00)

     site n.     atom                  positions (alat units)
         1           Si1 tau(   1) = (   0.0000000   0.0000000   0.0000000  )
         2           Si1 tau(   2) = (   0.2500000   0.2510000   0.2520000  )

     number of k points=     4  Gaussian smearing, width (Ry)=  0.0200
"""  # noqa: W291  pw.x ends lines with blanks
SCF = """
     Self-consistent Calculation

     iteration #  1     ecut=    12.00 Ry     beta= 0.70
     total energy              =     -15.99999999 Ry
     estimated scf accuracy    <       0.06400673 Ry
     total magnetization       =     9.99 Bohr mag/cell

     End of self-consistent calculation
"""
DONE = """
     Writing output data file ./si.save/

   JOB DONE.
"""
CONTRIBUTIONS = """     The non-local contrib.  to forces
     atom    1 type  1   force =     7.00000000    7.00000000    7.00000000
     atom    2 type  1   force =     7.00000000    7.00000000    7.00000000
"""


def energy(k: int, mark: str = "! ", accuracy: str = "4.3E-11") -> str:
    return f"""
{mark}   total energy              =     -15.7{k}520701 Ry
     estimated scf accuracy    <          {accuracy} Ry
     smearing contrib. (-TS)   =      -0.00000100 Ry
     internal energy E=F+TS    =     -15.7{k}520601 Ry

     total magnetization       =     0.{k}1 Bohr mag/cell
     absolute magnetization    =     0.40 Bohr mag/cell

     convergence has been achieved in   7 iterations
"""


def forces(k: int) -> str:
    return f"""
     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.0{k}505707    0.0{k}506344   -0.0{k}943369
     atom    2 type  1   force =    -0.0{k}505707   -0.0{k}506344    0.0{k}943369
{CONTRIBUTIONS}
     Total force =     0.063382     Total SCF correction =     0.000002
"""


def stress(k: int) -> str:
    return f"""
     Computing stress (Cartesian axis) and pressure

          total   stress  (Ry/bohr**3)                   (kbar)     P=      -12.73
  -0.0000{k}180  -0.0002{k}489  -0.0005{k}432          -13.50      -36.03      -78.60
  -0.0002{k}489  -0.0000{k}181  -0.0005{k}433          -36.03      -13.51      -78.60
  -0.0005{k}432  -0.0005{k}433  -0.0000{k}608          -78.60      -78.60      -11.19
"""


def positions(k: int, unit: str = "angstrom", flags: str = "") -> str:
    return f"""
ATOMIC_POSITIONS ({unit})
Si1           0.0{k}02490115        0.0{k}02491168       -0.0{k}06521482{flags}
Si1           1.3{k}97509885        1.3{k}97508832        1.3{k}06521482

"""


def dynamics(k: int) -> str:
    """What molecular dynamics prints after the forces of step `k`: the next positions, the present temperature."""
    return f"""
     Entering Dynamics:    iteration =     {k + 1}
{positions(k + 1)}
     kinetic energy (Ekin) =           0.00012300 Ry
     temperature           =          1{k}.94674657 K 
     Ekin + Etot (const)   =         -15.70520827 Ry
"""  # noqa: W291


def md(steps: int = 3) -> str:
    body = "".join(SCF + energy(k) + forces(k) + stress(k) + dynamics(k) for k in range(steps))
    return HEAD + body.replace("     Entering", "     Molecular Dynamics Calculation\n     Entering", 1) + DONE


def read(text: str) -> list[Header | Frames | Ending]:
    raw = text.encode("latin-1")
    return list(Opened(Input(Path("pw.out"), raw, "", len(raw)), espresso_text.READER).items())


def frames(text: str) -> Frames:
    return concatenate([item for item in read(text) if isinstance(item, Frames)])


def header(text: str) -> Header:
    return next(item for item in read(text) if isinstance(item, Header))


def ending(text: str) -> Ending:
    return next(item for item in read(text) if isinstance(item, Ending))


def single_point(*parts: str) -> str:
    return HEAD + SCF + "".join(parts) + DONE


# -- units and signs


def test_a_single_point_is_read_in_the_units_that_pw_prints() -> None:
    found = frames(single_point(energy(0), forces(1), stress(2)))

    assert found.energy == pytest.approx([-15.70520701 * RYDBERG])
    assert found.get("energy_no_entropy") == pytest.approx([-15.70520601 * RYDBERG])
    assert found.forces[0] == pytest.approx(np.array([0.01505707, 0.01506344, -0.01943369]) * FORCE)
    assert found.cell[0, 1] == pytest.approx(np.array([0.0, 5.0000005, 5.0000005]) * BOHR)
    assert found.positions[1] == pytest.approx(np.array([0.25, 0.251, 0.252]) * 10.000001 * BOHR)
    assert found.atomic_numbers.tolist() == [14, 14]
    assert found.pbc.all()


def test_a_printed_pressure_becomes_a_stress_that_is_positive_in_tension() -> None:
    found = frames(single_point(energy(0), forces(1), stress(2)))

    assert found.stress[0, 0] == pytest.approx(np.array([0.00002180, 0.00022489, 0.00052432]) * STRESS)


def test_an_scf_without_forces_is_a_frame_without_forces() -> None:
    text = single_point(energy(0))

    assert "forces" not in frames(text)
    assert header(text).forces_are == "absent"


def test_the_first_force_table_is_the_total() -> None:
    assert np.abs(frames(single_point(energy(0), forces(1))).forces).max() < 1


def test_forces_and_stress_whose_unit_is_not_known_are_not_taken_for_another() -> None:
    """Q1."""
    strange = single_point(energy(0), forces(1).replace("Ry/au", "eV/Ang"), stress(2))
    assert not any(isinstance(item, Frames) for item in read(strange))
    assert "Ry/au" in ending(strange).left_out[0].reason

    strange = single_point(energy(0), forces(1), stress(2).replace("Ry/bohr**3", "Ha/bohr**3"))
    assert "stress" not in frames(strange)
    assert "stress" in ending(strange).warnings[0]


def test_forces_that_pw_itself_calls_noisy_are_told() -> None:
    """Q4."""
    noisy = "     SCF correction compared to forces is large: reduce conv_thr to get better values\n"

    assert "1 steps" in ending(single_point(energy(0), forces(1), noisy)).warnings[0]
    assert ending(single_point(energy(0), forces(1))).warnings == ()


@pytest.mark.parametrize(
    ("unit", "scale"),
    [("angstrom", np.eye(3)), ("bohr", np.eye(3) * BOHR), ("alat", np.eye(3) * 10.000001 * BOHR), ("crystal", None)],
)
def test_positions_are_cartesian_whatever_unit_they_are_printed_in(unit: str, scale: F64 | None) -> None:
    text = HEAD + SCF + energy(0) + forces(1) + positions(1, unit) + SCF + energy(2) + forces(2) + DONE
    found = frames(text)
    matrix = found.cell[1] if scale is None else scale

    assert found.positions[2] == pytest.approx(np.array([0.0102490115, 0.0102491168, -0.0106521482]) @ matrix)


def test_flags_of_fixed_atoms_are_no_coordinates_and_their_forces_stay() -> None:
    text = HEAD + SCF + energy(0) + forces(1) + positions(1, flags="    0   1   0") + SCF + energy(2) + forces(2) + DONE

    assert frames(text).positions[3, 2] == pytest.approx(1.3106521482)
    assert header(text).forces_are == "physical"


# -- what belongs to what


def test_positions_after_forces_belong_to_the_next_step() -> None:
    found = frames(md())

    assert found.positions[::2, 0] == pytest.approx([0, 0.0102490115, 0.0202490115])
    assert found.energy == pytest.approx(np.array([-15.70520701, -15.71520701, -15.72520701]) * RYDBERG)
    assert found.get("step").tolist() == [0, 1, 2]


def test_the_temperature_belongs_to_the_step_above_it() -> None:
    assert frames(md()).get("temperature_kinetic") == pytest.approx([10.94674657, 11.94674657, 12.94674657])


def test_the_magnetization_is_that_of_the_converged_density() -> None:
    assert frames(md()).get("total_magnetization") == pytest.approx([0.01, 0.11, 0.21])


def test_source_lines_are_those_of_the_energies() -> None:
    lines = md().splitlines()

    assert all(lines[line - 1].startswith("!    total energy") for line in frames(md()).get("source_line"))


def test_of_several_energies_of_one_geometry_the_last_before_the_forces_counts() -> None:
    text = single_point(energy(0), SCF, energy(1), forces(1))

    assert frames(text).energy == pytest.approx([-15.71520701 * RYDBERG])
    assert "pitfall Q3" in ending(text).warnings[0]


def test_what_forces_are_is_known_where_further_scfs_precede_them() -> None:
    """Q3."""
    restarted = single_point(energy(0), SCF, energy(1), forces(1))

    assert header(restarted).forces_are == "physical"
    assert "forces" in frames(restarted)


@pytest.mark.parametrize(
    "words",
    [
        "     Using Berry phase electric field\n",
        "     Adding external electric field:\n        E field amplitude [Ha a.u.]:  1.0000E-03\n",
    ],
)
def test_forces_in_a_field_are_said_to_be_so(words: str) -> None:
    found = header(single_point(energy(0), forces(1)).replace("     celldm(1)", words + "     celldm(1)"))

    assert found.forces_are == "with_external"
    assert found.method.external == (words.strip().partition(":")[0],)


def test_forces_without_new_positions_since_the_last_forces_are_left_out() -> None:
    text = single_point(energy(0), forces(1), stress(1), SCF, energy(2), forces(2), stress(2))

    assert frames(text).energy == pytest.approx([-15.70520701 * RYDBERG])
    assert "expected new positions" in ending(text).left_out[0].reason


def test_a_hybrid_has_its_energy_after_the_last_update_of_the_exchange() -> None:
    head = HEAD.replace("     celldm(1)", "     EXX-fraction              =        0.25\n     celldm(1)")
    done = energy(1, mark="!!").replace(
        "convergence has been achieved in   7 iterations", "EXX self-consistency reached"
    )
    text = head + SCF + energy(0) + done + forces(1) + DONE

    assert frames(text).energy == pytest.approx([-15.71520701 * RYDBERG])
    assert frames(text).get("scf_converged").tolist() == [1]
    assert header(text).method.exact_exchange == 0.25
    assert "exact exchange" in ending(head + SCF + energy(0) + forces(1) + DONE).left_out[0].reason


def test_a_variable_cell_has_each_step_its_own_cell_and_the_final_scf_is_marked() -> None:
    cell = "\nCELL_PARAMETERS (angstrom)\n   5.0   0.0   0.0\n   0.0   6.0   0.1\n   0.0   0.2   7.0\n"
    final = "\n     A final scf calculation at the relaxed structure.\n"
    moved = "\n     BFGS Geometry Optimization\n" + cell + positions(1, "crystal")
    text = HEAD + SCF + energy(0) + forces(1) + stress(1) + moved + final + SCF + energy(2) + forces(2) + DONE
    found = frames(text)

    assert found.cell[1].tolist() == [[5, 0, 0], [0, 6, 0.1], [0, 0.2, 7]]
    assert found.positions[2, 0] == pytest.approx(0.0102490115 * 5)
    assert (header(text).run_kind, header(text).basis_fixed_at) == ("vc-relax", "first cell")
    assert "pitfall Q5" in ending(text).warnings[0]


def test_cells_in_units_of_alat_use_the_alat_beside_them() -> None:
    cell = "\nCELL_PARAMETERS (alat= 10.20000000)\n   0.5   0.0   0.0\n   0.0   0.5   0.0\n   0.0   0.0   0.5\n"
    moved = "\n     BFGS Geometry Optimization\n" + cell + positions(1, "alat")
    found = frames(HEAD + SCF + energy(0) + forces(1) + moved + SCF + energy(2) + forces(2) + DONE)

    assert found.cell[1, 0, 0] == pytest.approx(5.1 * BOHR)
    assert found.positions[2, 0] == pytest.approx(0.0102490115 * 10.2 * BOHR)


def test_several_runs_of_one_log_are_several_runs() -> None:
    second = single_point(energy(3), forces(3)).replace("10:14:36", "11:00:00")
    items = read(md() + second)

    assert [type(item) for item in items] == [Header, Frames, Frames, Ending, Header, Frames, Ending]
    assert [item.run_kind for item in items if isinstance(item, Header)] == ["md", "single_point"]


def test_several_runs_have_several_identities() -> None:
    second = single_point(energy(3)).replace("10:14:36", "11:00:00")
    found = [item.identity for item in read(md() + second) if isinstance(item, Header)]

    assert found == ["pw.x 6.7MaX, started 21Nov2023 at 10:14:36", "pw.x 6.7MaX, started 21Nov2023 at 11:00:00"]


# -- convergence, status


def test_convergence_is_said_or_unknown() -> None:
    silent = energy(0).replace("     convergence has been achieved in   7 iterations\n", "")

    assert frames(single_point(energy(0), forces(1))).get("scf_converged").tolist() == [1]
    assert frames(single_point(silent, forces(1))).get("scf_converged").tolist() == [-1]


def test_convergence_that_is_said_above_the_threshold_is_none() -> None:
    assert frames(single_point(energy(0, accuracy="4.9E-05"), forces(1))).get("scf_converged").tolist() == [0]


def test_a_run_is_complete_only_with_the_programs_own_end_mark() -> None:
    assert ending(md()).status == "complete"
    assert ending(md().replace("JOB DONE", "JOB")).status == "truncated"


@pytest.mark.parametrize(
    "words",
    [
        "     convergence NOT achieved after   3 iterations: stopping",
        "     Maximum CPU time exceeded",
        " " + "%" * 78 + "\n     Error in routine readpp (1):\n     file not found\n " + "%" * 78,
    ],
)
def test_a_run_that_stopped_by_itself_failed_for_the_reason_it_gives(words: str) -> None:
    text = HEAD + SCF + energy(0) + forces(1) + stress(1) + positions(1) + SCF + words + "\n" + DONE
    found = ending(text)

    assert found.status == "failed"
    assert re.search("NOT achieved after 3|CPU time|Error in routine readpp .1.: file not found", found.reason)
    assert len(frames(text)) == 1


def test_another_program_of_the_suite_is_refused_by_name() -> None:
    with pytest.raises(NotRecognised, match=r"Program CP v\.6\.6"):
        read(HEAD.replace("PWSCF v.6.7MaX", "CP v.6.6"))


def test_a_log_whose_structure_is_damaged_loses_its_frames_and_says_why() -> None:
    text = md().replace("a(2) = (   0.000000", "a(2) = (   ********")

    assert not [item for item in read(text) if isinstance(item, Frames)]
    assert ending(text).left_out[0].frames == 3


# -- method


def test_the_method_is_what_the_header_states() -> None:
    method = header(md()).method

    assert (method.code, method.code_version) == ("quantum-espresso", "6.7MaX")
    assert (method.functional, method.functional_as_printed) == ("PBE", "SLA PW PBE PBE")
    assert method.cutoff_energy == pytest.approx(12 * RYDBERG)
    assert method.cutoff_density == pytest.approx(24 * HARTREE)
    assert method.kpoints is not None
    assert method.kpoints.count == 4
    assert method.smearing is not None
    assert (method.smearing.method, method.smearing.width) == ("gaussian", pytest.approx(0.02 * RYDBERG))
    assert method.spin == "restricted"
    assert method.convergence.electronic == pytest.approx(1e-8 * RYDBERG)


def test_a_pseudopotential_is_known_by_name_and_checksum_not_by_folder() -> None:
    (found,) = header(md()).method.pseudopotentials

    assert (found.element, found.title, found.valence) == ("Si", "Si.pbe-rrkj.UPF", 4.0)
    assert found.digest == "md5:d7f89eb60b7b396f5f4f9eaa825fcfdc"


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("Exchange-correlation      = PBE ( 1  4  3  4 0 0)", "PBE"),
        ("Exchange-correlation      =  SLA  PW   PBX  PBC ( 1  4  3  4 0 0)", "PBE"),
        ("Exchange-correlation      =  SLA  PZ   NOGX NOGC ( 1  1  0  0 0 0)", "LDA"),
        ("Exchange-correlation= PBESOL", "PBEsol"),
        ("Exchange-correlation      = SCAN ( 0  0  0  0 0 4)", "SCAN"),
    ],
)
def test_functionals_have_one_name(printed: str, name: str) -> None:
    assert header(re.sub(r"Exchange-corr.*", printed, md())).method.functional == name


def test_missing_electrons_are_a_positive_charge() -> None:
    found = frames(md().replace("electrons       =         8.00", "electrons       =         7.50"))

    assert found.get("charge").tolist() == [0.5, 0.5, 0.5]


def test_smearing_makes_the_energy_a_free_energy() -> None:
    fixed = HEAD.replace("  Gaussian smearing, width (Ry)=  0.0200", "") + SCF
    plain = fixed + re.sub(r".*(-TS|E=F).*\n", "", energy(0)) + DONE

    assert header(md()).energy_kind == "free"
    assert header(plain).energy_kind == "total"


def test_a_thermostat_states_its_target() -> None:
    words = "Molecular Dynamics Calculation\n     Starting temperature  =   300.00 K\n\n     temperature is controlled by x\n"

    assert header(md().replace("Molecular Dynamics Calculation\n", words)).temperature_target == 300
    assert header(md()).temperature_target is None


# -- damage


def assert_nothing_false(text: str, true: Frames) -> list[int]:
    """Every frame that comes out is one of the true ones, number by number; which of them came out."""
    try:
        blocks = [item for item in read(text) if isinstance(item, Frames)]
    except MlpdataError:
        return []
    found = []
    for frame in (block.select([i]) for block in blocks for i in range(len(block))):
        which = int(np.flatnonzero(true.energy == frame.energy)[0])
        found.append(which)
        for name in ("energy_no_entropy", "forces", "stress", "cell", "positions", "temperature_kinetic"):
            if name in frame:
                np.testing.assert_array_equal(frame.get(name), true.select([which]).get(name), err_msg=name)
    return found


def test_a_log_cut_anywhere_gives_its_whole_frames_and_nothing_else() -> None:
    text, true = md(), frames(md())
    ends = [match.end() for match in re.finditer(r"-11\.19\n", text)]

    for cut in [*range(0, len(text), 23), *(match.end() for match in re.finditer("\n", text))]:
        steps = assert_nothing_false(text[:cut], true)

        assert steps == list(range(sum(end <= cut for end in ends))), text[max(0, cut - 80) : cut]
        if len(text[:cut].split()) > 8 and cut < len(text) - 10:
            assert ending(text[:cut]).status == "truncated"


@pytest.mark.parametrize("bad", ["********", "NaN", "1E400", "Infinity", "1.0.0", "-1.2-3.4", ""])
def test_a_damaged_number_costs_its_frame_only(bad: str) -> None:
    text, true = md(), frames(md())
    start = text.index("ATOMIC_POSITIONS")
    end = text.index("     Entering", start)

    used = r"^(?:Si1 .*|!.*|     internal.*|     atom .*-?0\.01.*|  -0\.000.*)$"
    lines = [match for match in re.finditer(used, text, re.M) if start < match.start() < end]
    for line in lines:
        for match in re.finditer(r"-?\d+\.\d{8,}", line[0]):
            first, stop = line.start() + match.start(), line.start() + match.end()
            damaged = text[:first] + bad + text[stop:]

            assert assert_nothing_false(damaged, true) == [0, 2], damaged[first - 80 : first + 20]
            assert ending(damaged).left_out[0].line > 0
    assert len(lines) == 2 + 1 + 1 + 2 + 3


def test_glued_columns_cost_their_frame_only() -> None:
    text, true = md(), frames(md())
    glued = text.replace("0.01506344   -0.01943369", "0.01506344-0.01943369").replace(
        "-0.00001180  -0", "-0.00001180-0"
    )

    assert assert_nothing_false(glued, true) == [0, 2]


def test_lost_lines_never_pair_labels_with_other_positions() -> None:
    lines, true = md().splitlines(keepends=True), frames(md())

    for lost in range(len(lines)):
        assert_nothing_false("".join(lines[:lost] + lines[lost + 1 :]), true)


# -- real runs


def silicon(pattern: str) -> list[Path]:
    return sorted(SILICON.rglob(pattern))


@pytest.mark.skipif(not silicon("*.out.xz"), reason="examples/silicon/raw has no outputs")
def test_the_silicon_runs_are_complete_with_energies_forces_and_stress() -> None:
    for path in silicon("*.out.xz"):
        with open_input(path) as source:
            items = list(Opened(source, espresso_text.READER).items())
        found = concatenate([item for item in items if isinstance(item, Frames)])

        assert next(item for item in items if isinstance(item, Ending))[:3] == ("complete", "", ()), path
        assert not np.isnan(found.energy).any()
        assert not np.isnan(found.forces).any()
        assert not np.isnan(found.stress).any()
        assert (found.get("scf_converged") == 1).all()


@pytest.mark.skipif(not silicon("aimd/**/*.out.xz"), reason="examples/silicon/raw has no molecular dynamics")
def test_energy_changes_along_the_silicon_runs_are_the_work_of_the_forces() -> None:
    for path in silicon("aimd/**/*.out.xz"):
        with open_input(path) as source:
            found = concatenate([f for f in Opened(source, espresso_text.READER).items() if isinstance(f, Frames)])
        shape = (len(found), -1)
        step, mean = np.diff(found.positions.reshape(shape), axis=0), found.forces.reshape(shape)
        work = -(0.5 * (mean[1:] + mean[:-1]) * step).sum(axis=1)

        assert work @ np.diff(found.energy) / (work @ work) == pytest.approx(1, abs=0.05), path


def test_an_error_says_what_was_expected() -> None:
    with pytest.raises(ParseError, match="expected a number, found"):
        read(md().replace("kinetic-energy cutoff     =      12.0000", "kinetic-energy cutoff     =      *******"))
