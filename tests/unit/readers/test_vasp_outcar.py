"""OUTCAR: one test a pitfall, each with the trap written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import outcar as o
import pytest

from mlpdata.errors import LimitExceeded, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Limits, open_input
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.readers.vasp import outcar as vasp_outcar
from mlpdata.readers.vasp import outcar_steps as steps

KBAR = 1602.176634
Reading = Callable[[str], tuple[Header, Frames | None, Ending]]


def read(path: Path) -> tuple[Header, Frames | None, Ending]:
    with open_input(path) as source:
        items = list(Opened(source, vasp_outcar.READER).items())
    blocks = [item for item in items if isinstance(item, Frames)]
    return items[0], concatenate(blocks) if blocks else None, items[-1]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    def of(text: str) -> tuple[Header, Frames | None, Ending]:
        path = tmp_path / "OUTCAR"
        path.write_text(text)
        return read(path)

    return of


def test_a_run_is_read_as_printed_in_canonical_units(reading: Reading) -> None:
    header, frames, ending = reading(o.outcar(o.step(1), o.step(2)))

    assert frames.atomic_numbers.tolist() == [32, 14, 14] * 2
    assert frames.positions.reshape(2, 3, 3).tolist() == [[list(row) for row in o.POSITIONS]] * 2
    assert frames.forces.reshape(2, 3, 3).tolist() == [[list(row) for row in o.FORCES]] * 2
    assert frames.cell[1].tolist() == [list(row) for row in o.CELL]
    assert frames.energy.tolist() == [o.FREE] * 2
    assert frames.get("energy_sigma0").tolist() == [o.SIGMA0] * 2
    assert frames.get("energy_no_entropy").tolist() == [o.NO_ENTROPY] * 2
    assert frames.pbc.tolist() == [[1, 1, 1]] * 2
    assert frames.get("step").tolist() == [0, 1]
    assert frames.get("charge").tolist() == [0.0, 0.0]
    assert frames.get("fermi_energy").tolist() == [2.5, 2.5]
    assert (ending.status, ending.left_out, ending.warnings) == ("complete", (), ())
    assert (header.run_kind, header.energy_kind, header.forces_are) == ("md", "free", "physical")
    assert header.temperature_target == 300.0
    assert header.identity == "vasp 6.3.0 2024.01.02 03:04:05"


def test_v18_the_stress_is_xx_yy_zz_xy_yz_zx_and_positive_in_tension(reading: Reading) -> None:
    _, frames, _ = reading(o.outcar(o.step()))

    xx, yy, zz, xy, yz, zx = o.KBAR
    expected = -np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]) / KBAR
    np.testing.assert_allclose(frames.stress[0], expected, rtol=1e-14)


def test_the_stress_does_not_hold_the_motion_of_the_ions(reading: Reading) -> None:
    kinetic = (
        "\n  kinetic pressure (ideal gas correction) =      5.27 kB\n  Total+kin.    99.0  99.0  99.0  9.0  9.0  9.0\n"
    )
    _, frames, _ = reading(o.outcar(o.step(on_cell=o.stress() + kinetic)))
    _, still, _ = reading(o.outcar(o.step()))

    assert frames.stress.tolist() == still.stress.tolist()


def test_the_source_line_is_that_of_the_table_of_forces(reading: Reading) -> None:
    text = o.outcar(o.step(1), o.step(2))
    _, frames, _ = reading(text)

    lines = text.splitlines()
    assert all("TOTAL-FORCE" in lines[line - 1] for line in frames.get("source_line"))


def test_v3_with_pstress_the_energy_is_not_the_enthalpy(reading: Reading) -> None:
    enthalpy = "  enthalpy is  TOTEN    =       -11.223344 eV   P V=        1.122334\n"
    _, frames, _ = reading(o.outcar(o.step(final=o.energies(more=enthalpy)), head=o.header(PSTRESS="15.0")))

    assert frames.energy.tolist() == [o.FREE]


def test_v4_iterations_of_linear_response_are_neither_steps_nor_energies(reading: Reading) -> None:
    born = "".join(
        f" ion {i:4d}\n" + "".join(f"    {r}  {i + 0.1 * r:11.5f}    0.50000   -0.25000\n" for r in (1, 2, 3))
        for i in (1, 2, 3)
    )
    table = " BORN EFFECTIVE CHARGES (including local field effects) (in |e|, cummulative output)\n ----\n" + born
    response = o.iteration(1, 1, 0.5, -0.48) + o.iteration(1, 2, 0.5, -0.48) + "\n" + table + "\n"
    head = o.header(version="5.4.4", LEPSILON="T", IBRION="-1", NSW="0", NELM="2")
    header, frames, ending = reading(o.outcar(o.step(n_iterations=1), response, head=head))

    assert header.run_kind == "response"
    assert frames.energy.tolist() == [o.FREE]
    assert frames.get("scf_converged").tolist() == [1]
    assert frames.get("born_charges")[1].tolist() == [[2.1, 0.5, -0.25], [2.2, 0.5, -0.25], [2.3, 0.5, -0.25]]
    assert ending.left_out == ()


def test_v6_a_run_without_labels_is_no_error_and_costs_no_frame(reading: Reading) -> None:
    _, frames, ending = reading(o.outcar(o.iteration(1, 1, 0.1), head=o.header(IBRION="-1", NSW="0")))

    assert frames is None
    assert (ending.status, [one.frames for one in ending.left_out]) == ("complete", [0])


@pytest.mark.parametrize(
    ("version", "nelm", "change", "aborting", "flag"),
    [
        ("5.4.4", "60", 0.1, o.REACHED, 1),  # stopped before NELM
        ("5.4.4", "2", 0.1, o.REACHED, 0),  # VASP 5 says so even where NELM was hit
        ("5.4.4", "2", 1e-9, o.REACHED, -1),  # NELM hit, last change below EDIFF: nobody knows
        ("6.3.0", "2", 0.1, o.REACHED, 1),  # VASP 6 means what it says
        ("6.3.0", "60", 1e-9, o.NOT_REACHED, 0),
        ("6.3.0", "60", 1e-9, "", -1),
        ("6.3.0", "60", 1e-9, " hard stop encountered!  aborting job\n" + o.REACHED, 0),
    ],
)
def test_v7_v8_convergence_of_each_step_is_yes_no_or_unknown(
    reading: Reading, version: str, nelm: str, change: float, aborting: str, flag: int
) -> None:
    step = o.step(change=change, aborting=aborting)
    _, frames, _ = reading(o.outcar(step, head=o.header(version=version, NELM=nelm)))

    assert frames.get("scf_converged").tolist() == [flag]


def test_v11_a_learned_force_field_labels_no_frame_and_is_counted(reading: Reading) -> None:
    after = o.learned() + o.LOOP_ENDS + o.learned()
    _, frames, ending = reading(o.outcar(o.step(1, after=after), o.step(2), head=o.header() + o.learned(0.0)))

    assert frames.energy.tolist() == [o.FREE] * 2
    assert [(one.frames, "machine-learned" in one.reason) for one in ending.left_out] == [(3, True)]


def test_v11_a_learned_stress_does_not_stand_in_for_one_that_dft_did_not_compute(reading: Reading) -> None:
    learned = o.learned().replace("0.00000", "9.00000")
    _, frames, _ = reading(o.outcar(o.step(on_cell="", after=learned)))

    assert np.isnan(frames.stress).all()


def test_v12_forces_are_paired_by_step_where_only_some_steps_print_them(reading: Reading) -> None:
    second = o.energies("  free  energy   TOTEN  =       -99.000000 eV")
    third = o.energies("  free  energy   TOTEN  =       -77.000000 eV")
    text = o.outcar(o.step(1), o.step(2, table="", final=second), o.step(3, final=third), head=o.header(NWRITE="0"))
    _, frames, ending = reading(text)

    assert frames.energy.tolist() == [o.FREE, -77.0]
    assert frames.get("step").tolist() == [0, 2]
    assert [(one.frames, "NWRITE" in one.reason) for one in ending.left_out] == [(1, True)]


def test_v12_a_single_point_without_forces_has_the_positions_of_its_header(reading: Reading) -> None:
    _, frames, _ = reading(o.outcar(o.step(table="", on_cell=""), head=o.header(IBRION="-1", NSW="0")))

    assert frames.positions.tolist() == [list(row) for row in o.POSITIONS]
    assert np.isnan(frames.forces).all()
    assert frames.energy.tolist() == [o.FREE]


def test_v13_a_step_that_was_cut_is_left_out_with_its_line(reading: Reading) -> None:
    text = o.outcar(o.step(1), o.step(2))
    _, frames, ending = reading(text[: text.rindex("  free  energy   TOTEN") - 300])

    assert len(frames) == 1
    assert ending.status == "truncated"
    assert [one.frames for one in ending.left_out] == [1]


def test_v14_an_image_of_a_band_has_the_force_of_dft(tmp_path: Path) -> None:
    springs = "\n NEB: projections on to tangent (spring, REAL)     0.500000   -1.147097\n"
    path = tmp_path / "03" / "OUTCAR"
    path.parent.mkdir()
    path.write_text(o.outcar(o.step(after=springs), head=o.header(extra="\n CHAIN: Running the NEB\n", IBRION="3")))
    header, frames, _ = read(path)

    assert (header.run_kind, header.forces_are) == ("neb", "physical")
    assert frames.get("image").tolist() == [3]
    assert frames.forces[0].tolist() == list(o.FORCES[0])


@pytest.mark.parametrize(
    ("damaged", "by"),
    [
        ("        0.012345", "  **************"[:16]),
        ("      0.10000", "*************"),
        ("     -12.34567800 eV", "     ************ eV"),
        ("   4.000000000  0.000000000", "  ************  0.000000000"),
    ],
)
def test_v15_stars_cost_their_frame_and_no_other(reading: Reading, damaged: str, by: str) -> None:
    first, second = o.step(1), o.step(2)
    assert damaged in first
    _, frames, ending = reading(o.outcar(first.replace(damaged, by), second))

    assert frames.get("step").tolist() == [1]
    assert [one.frames for one in ending.left_out] == [1]
    assert ending.left_out[0].line > 0


def test_v15_stars_in_the_stress_cost_the_stress_only_and_are_told(reading: Reading) -> None:
    text = o.outcar(o.step(on_cell=o.stress(row="   ************" + "     1.00000" * 5)))
    _, frames, ending = reading(text)

    assert np.isnan(frames.stress).all()
    assert frames.energy.tolist() == [o.FREE]
    assert any(one.startswith("line ") and "***" in one for one in ending.warnings)


def test_v16_forces_without_dispersion_beside_the_forces_are_not_read(reading: Reading) -> None:
    title = " POSITION              TOTAL-FORCE (eV/Angst),         FORCE-w/o vdW (eV/Angst)"
    final = o.energies(
        "  free  energy   TOTEN  =       -12.345678 eV    w/o vdW =       -11.000000 eV",
        "  energy  without entropy=      -12.250000 eV    w/o vdW =      -11.000000"
        "  energy(sigma->0) =      -12.500000 eV    w/o vdW =      -11.000000",
    )
    table = o.forces(title=title, further="         9.000000           NaN      9.000000")
    _, frames, ending = reading(o.outcar(o.step(table=table, final=final)))

    assert frames.forces.tolist() == [list(row) for row in o.FORCES]
    assert (frames.energy[0], frames.get("energy_sigma0")[0], frames.get("energy_no_entropy")[0]) == (
        -12.345678,
        -12.5,
        -12.25,
    )
    assert ending.left_out == ()


def test_v16_numbers_that_touch_are_told_apart_by_their_columns(reading: Reading) -> None:
    pressed = "-12353.08821-12353.08821  -100.00000     0.50000     0.25000     0.12500"
    big = ((-10.0, -99.0, 20.0), (-0.5, 50.0, 0.0), (0.25, -0.125, 60.0))
    far = ((-123456.5, -123456.25, -123456.125), *o.POSITIONS[1:])
    hard = ((-123456.5, -123456.25, -123456.125), *o.FORCES[1:])
    text = o.outcar(o.step(on_cell=o.stress(row=pressed), basis=o.cell(big), table=o.forces(far, hard)))
    _, frames, _ = reading(text)

    assert "-10.000000000-99.000000000" in text
    assert "-123456.50000-123456.25000-123456.12500" in text
    np.testing.assert_allclose(frames.stress[0][0, 0], 12353.08821 / KBAR, rtol=1e-14)
    assert frames.positions[0].tolist() == list(far[0])
    assert frames.forces[0].tolist() == list(hard[0])


def test_v16_numbers_that_touch_and_are_not_in_their_columns_are_refused(reading: Reading) -> None:
    table = o.forces().replace("1.50000      2.50000", "1.500002.50000")
    _, frames, ending = reading(o.outcar(o.step(table=table)))

    assert frames is None
    assert [one.frames for one in ending.left_out] == [1]


def test_v19_the_element_is_the_potential_s_and_a_repair_is_told(reading: Reading) -> None:
    xenon = o.potential("PAW_PBE Xe 07Sep2000", "X", 131.294, 8.0)
    header, frames, ending = reading(o.outcar(o.step(), head=o.header(potentials=xenon + o.SI)))

    assert frames.atomic_numbers.tolist() == [54, 14, 14]
    assert [one.element for one in header.method.pseudopotentials] == ["Si", "Xe"]
    assert any("Xe" in one for one in ending.warnings)


def test_counts_of_atoms_that_touch_are_split_by_column(reading: Reading) -> None:
    many = [list(row) for row in np.arange(3 * 3000).reshape(3000, 3) / 8.0]
    step = o.step(table=o.forces(many, many))
    head = o.header(counts="            10002000").replace("NIONS =      3", "NIONS =   3000")
    _, frames, _ = reading(o.outcar(step, head=head))

    assert np.bincount(frames.atomic_numbers)[[32, 14]].tolist() == [1000, 2000]


def test_more_atoms_than_the_machine_should_hold_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "OUTCAR"
    path.write_text(o.outcar(o.step()))

    with open_input(path, Limits(atoms=2)) as source, pytest.raises(LimitExceeded, match="found 3"):
        list(Opened(source, vasp_outcar.READER).items())


def test_counts_that_do_not_add_up_are_refused(reading: Reading) -> None:
    with pytest.raises(ParseError, match="NIONS = 3"):
        reading(o.outcar(o.step(), head=o.header(counts="               1   3")))


def test_vasp_4_prints_the_energies_first_and_fewer_decimals(reading: Reading) -> None:
    free = o.energies("  free  energy   TOTEN  =        -0.915070 eV", "  energy  without entropy=       -0.915070"
                      "  energy(sigma->0) =       -0.915070")  # fmt: skip
    kbar = o.stress(row="     -2.21     -2.22     -0.37      0.01      0.02      0.03").replace(
        "(eV)", "(eV/reduce length)"
    )
    step = o.iteration(1, 1, 1e-3) + o.REACHED + free + kbar + o.cell() + o.forces() + "     LOOP+:  VPU time  1.0\n"
    _, frames, _ = reading(
        o.outcar(step, step.replace("Iteration      1", "Iteration      2"), head=o.header("4.6.35"))
    )

    assert frames.energy.tolist() == [-0.91507] * 2
    assert frames.forces.reshape(2, 3, 3).tolist() == [[list(row) for row in o.FORCES]] * 2
    np.testing.assert_allclose(frames.stress[0][[0, 0, 1], [0, 1, 2]] * KBAR, [2.21, -0.01, -0.02], rtol=1e-12)


@pytest.mark.parametrize(
    ("axes", "tags", "name", "expected"),
    [
        ("x", {"ISPIN": "2"}, "magnetic_moments", [1.0, -0.5, 0.25]),
        ("xyz", {"LNONCOLLINEAR": "T"}, "magnetic_moment_vectors", [[1.0] * 3, [-0.5] * 3, [0.25] * 3]),
    ],
)
def test_moments_of_the_atoms_are_those_of_the_step(
    reading: Reading, axes: str, tags: dict[str, str], name: str, expected: list[object]
) -> None:
    tables = "".join(o.moments((1.0, -0.5, 0.25), axis) for axis in axes)
    moment = "      0.7500000" * len(axes)
    _, frames, _ = reading(o.outcar(o.step(between=tables, moment=moment), head=o.header(**tags)))

    assert frames.get(name).tolist() == expected
    total = frames.get("total_magnetization").tolist()
    assert total == [0.75] if len(axes) == 1 else np.isnan(total).all()


def test_the_temperature_of_the_ions_is_read_unless_the_cell_moves_too(reading: Reading) -> None:
    line = "  kinetic energy EKIN   =         0.077556\n  kin. lattice  EKIN_LAT=         {}  (temperature  300.50 K)\n"
    _, frames, _ = reading(o.outcar(o.step(1, after=line.format("0.000000")), o.step(2, after=line.format("0.250000"))))

    assert frames.get("temperature_kinetic")[0] == 300.5
    assert np.isnan(frames.get("temperature_kinetic")[1])


def test_a_moving_cell_is_the_one_of_its_step_and_marked(reading: Reading) -> None:
    larger = tuple(tuple(2 * x for x in row) for row in o.CELL)
    steps_ = (o.step(1), o.step(2, basis=o.cell(larger)), o.step(3, basis=""))
    header, frames, ending = reading(o.outcar(*steps_, head=o.header(ISIF="3", IBRION="2")))

    assert (header.run_kind, header.basis_fixed_at) == ("vc-relax", "first cell")
    assert frames.cell.tolist() == [[list(row) for row in o.CELL], [list(row) for row in larger]]
    assert [one.frames for one in ending.left_out] == [1]


def test_a_file_is_known_by_its_content_and_standard_output_is_not() -> None:
    text = o.outcar(o.step()).encode()

    assert vasp_outcar.magic(text)
    assert not vasp_outcar.magic(
        b" running on    4 total cores\n" + text.split(b"\n")[0] + b"\n POSCAR found :  1 types\n"
    )


def test_a_run_is_the_same_whatever_the_size_of_the_windows(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    text = o.outcar(*(o.step(i + 1, n_iterations=1 + i % 3, after=o.learned()) for i in range(9)))
    _, whole, told = reading(text)
    for size in (700, 5_000, 12_345):
        monkeypatch.setattr(steps, "WINDOW", size)
        _, frames, ending = reading(text)
        assert frames.ids().tolist() == whole.ids().tolist()
        assert frames.get("source_line").tolist() == whole.get("source_line").tolist()
        assert ending == told


def test_a_step_longer_than_memory_should_hold_is_left_out_and_the_next_is_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "WINDOW", 4_000)
    monkeypatch.setattr(steps, "LARGEST_STEP", 8_000)
    long = o.step(1, between="      1     -24.7178      2.00000\n" * 2_000)
    _, frames, ending = reading(o.outcar(long, o.step(2)))

    assert frames.energy.tolist() == [o.FREE]
    assert sum(one.frames for one in ending.left_out) >= 1


def test_a_second_run_in_the_file_does_not_get_the_atoms_of_the_first(reading: Reading) -> None:
    others = o.header(potentials=o.SI + o.GE)
    _, frames, ending = reading(o.outcar(o.step()) + o.outcar(o.step(), head=others))

    assert len(frames) == 1
    assert ["another begins here" in one.reason for one in ending.left_out] == [True]
