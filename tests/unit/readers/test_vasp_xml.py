"""vasprun.xml: one test a pitfall, each with the trap written by hand."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import vasprun as v

from mlpdata.errors import MlpdataError, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.registry import Ending, Header, Opened
from mlpdata.readers.vasp import xml as vasp_xml

KBAR = 1602.176634


def read(path: Path) -> tuple[Header, Frames | None, Ending]:
    with open_input(path) as source:
        items = list(Opened(source, vasp_xml.READER).items())
    blocks = [item for item in items if isinstance(item, Frames)]
    return items[0], concatenate(blocks) if blocks else None, items[-1]


Reading = Callable[[str], tuple[Header, Frames | None, Ending]]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    def of(text: str) -> tuple[Header, Frames | None, Ending]:
        path = tmp_path / "vasprun.xml"
        path.write_bytes(text.encode("latin-1"))
        return read(path)

    return of


def test_a_run_is_read_as_printed_in_canonical_units(reading: Reading) -> None:
    header, frames, ending = reading(v.vasprun(v.calculation(), v.calculation(shift=0.25)))

    assert frames.atomic_numbers.tolist() == [14, 32, 14, 32]
    assert frames.cell[0].tolist() == [list(row) for row in v.CELL]
    assert frames.positions.tolist() == [*v.CARTESIAN, [0.0, 0.0, 0.0], [1.5, 2.5, -3.0]]
    assert frames.forces.reshape(2, 2, 3).tolist() == [[list(row) for row in v.FORCES]] * 2
    np.testing.assert_allclose(frames.stress[0], -np.array(v.STRESS) / KBAR, rtol=1e-14)
    assert frames.stress[0][0, 0] == pytest.approx(-0.01)
    assert frames.energy.tolist() == [v.FREE] * 2
    assert frames.pbc.tolist() == [[1, 1, 1]] * 2
    assert frames.get("step").tolist() == [0, 1]
    assert frames.get("charge").tolist() == [0.0, 0.0]
    assert frames.get("multiplicity").tolist() == [0, 0]
    assert (ending.status, ending.left_out, ending.warnings) == ("complete", (), ())
    assert (header.run_kind, header.energy_kind, header.temperature_target) == ("md", "free", 300.0)
    assert header.identity == "vasp 6.3.0 2024 01 02 03:04:05"


def test_the_source_line_is_that_of_the_calculation(reading: Reading) -> None:
    text = v.vasprun(v.calculation(), v.calculation())
    _, frames, _ = reading(text)

    lines = text.splitlines()
    assert [lines[line - 1].strip() for line in frames.get("source_line")] == ["<calculation>"] * 2


def test_x1_a_cell_is_kept_as_printed_whatever_its_orientation(reading: Reading) -> None:
    step = v.calculation()
    turned = [v.CELL[1], v.CELL[0], v.CELL[2]]  # not a lower triangle
    printed = v.table("basis", turned, 4)
    _, frames, _ = reading(v.vasprun(step.replace(v.table("basis", v.CELL, 4), printed)))

    assert frames.cell[0].tolist() == [list(row) for row in turned]
    assert frames.positions[1].tolist() == [0.25 * 0.0 + 0.5 * 4.0 - 0.5 * 1.0, 0.25 * 5.0, -0.5 * 6.0]
    assert frames.forces.tolist() == [list(row) for row in v.FORCES]


def test_v1_vasp_5_tags_shifted_by_one_are_put_right(reading: Reading) -> None:
    # VASP 5: e_wo_entrp holds E_0, e_0_energy holds -TS
    shifted = v.three(no_entropy=v.SIGMA0, sigma0=v.FREE - v.NO_ENTROPY)
    _, five, _ = reading(v.vasprun(v.calculation(shifted), version="5.4.4"))
    _, six, _ = reading(v.vasprun(v.calculation()))

    for frames in (five, six):
        assert frames.energy[0] == v.FREE
        assert frames.get("energy_sigma0")[0] == v.SIGMA0
        assert frames.get("energy_no_entropy")[0] == pytest.approx(v.NO_ENTROPY, abs=1e-12)


def test_v1_a_small_free_energy_is_not_taken_for_an_entropy(reading: Reading) -> None:
    values = v.three(free=0.3, no_entropy=-0.1, sigma0=0.1)
    _, frames, _ = reading(v.vasprun(v.calculation(values, [values])))

    assert frames.get("energy_sigma0")[0] == 0.1
    assert frames.get("energy_no_entropy")[0] == -0.1


def test_v2_the_energy_is_that_of_the_step_and_the_difference_is_told(reading: Reading) -> None:
    _, frames, ending = reading(v.vasprun(v.calculation(iterations=[v.three(free=v.FREE + 0.88)])))

    assert frames.energy[0] == v.FREE
    assert "0.88" in ending.warnings[0]


PRESSURE = {"PSTRESS": "    160.20000000"}
WORK = 160.2 * 120 / KBAR
"""PV of 120 angstrom^3 at 160.2 kB [eV]."""


def test_v3_with_pstress_the_enthalpy_loses_pv(reading: Reading) -> None:
    enthalpies = v.three(*(energy + WORK for energy in (v.FREE, v.NO_ENTROPY, v.SIGMA0)))
    _, frames, ending = reading(v.vasprun(v.calculation(enthalpies), incar=PRESSURE, parameters=PRESSURE))

    assert frames.energy[0] == pytest.approx(v.FREE, abs=1e-4)
    assert frames.get("energy_sigma0")[0] - frames.energy[0] == pytest.approx(v.SIGMA0 - v.FREE)
    assert any("PSTRESS" in warning for warning in ending.warnings)


def test_v3_with_pstress_an_energy_that_is_no_enthalpy_is_absent(reading: Reading) -> None:
    _, frames, ending = reading(v.vasprun(v.calculation(), incar=PRESSURE, parameters=PRESSURE))

    assert np.isnan(frames.energy[0])
    assert not np.isnan(frames.forces).any()
    assert any("expected an enthalpy" in warning for warning in ending.warnings)


def test_v4_response_iterations_after_the_forces_are_not_the_energy(reading: Reading) -> None:
    garbage = v.iteration(v.three(free=-0.48, no_entropy=-0.48, sigma0=-0.48))
    header, frames, _ = reading(v.vasprun(v.calculation(after=garbage), incar={"LEPSILON": " T  "}))

    assert frames.energy[0] == v.FREE
    assert frames.get("scf_converged")[0] == -1
    assert header.run_kind == "response"


def test_v5_of_an_md_step_neither_the_kinetic_nor_the_conserved_energy_is_taken(reading: Reading) -> None:
    moving = {**v.three(), "kinetic": 0.3, "lattice kinetic": 0.0, "nosepot": 0.1, "nosekinetic": 0.2, "total": -9.9}
    _, frames, _ = reading(v.vasprun(v.calculation(moving)))

    assert frames.energy.tolist() == [v.FREE]
    assert frames.get("energy_sigma0").tolist() == [v.SIGMA0]


def test_v6_a_step_without_labels_is_no_error_and_costs_no_frame(reading: Reading) -> None:
    gw = " <calculation>\n  <eigenvalues>\n  </eigenvalues>\n </calculation>\n"
    _, frames, ending = reading(v.vasprun(gw))

    assert frames is None
    assert (ending.status, [one.frames for one in ending.left_out]) == ("complete", [0])


@pytest.mark.parametrize(
    ("changes", "nelm", "flag"),
    [
        ([0.1, 1e-3], 60, 1),  # stopped before NELM
        ([0.1, 1e-3], 2, 0),  # hit NELM while the energy still moved
        ([0.1, 0.0], 2, -1),  # hit NELM, last change below EDIFF: the file does not say
    ],
)
def test_v7_v8_convergence_of_each_step_is_yes_no_or_unknown(
    reading: Reading, changes: list[float], nelm: int, flag: int
) -> None:
    iterations = [v.three(free=v.FREE + sum(changes[i:])) for i in range(1, len(changes) + 1)]
    _, frames, _ = reading(v.vasprun(v.calculation(iterations=iterations), parameters={"NELM": f"{nelm:6d}"}))

    assert frames.get("scf_converged")[0] == flag


def test_v9_ediff_is_the_incar_s_and_stars_are_unknown(reading: Reading) -> None:
    header, frames, _ = reading(
        v.vasprun(v.calculation(), incar={"EDIFF": "      0.00000005", "KINTER": "******"},
                  parameters={"EDIFF": "      0.00000000", "SIGMA": "****************"})
    )  # fmt: skip

    assert header.method.convergence.electronic == 5e-8
    assert header.method.smearing.width is None
    assert len(frames) == 1


def test_v9_a_later_nelm_of_another_section_does_not_count(reading: Reading) -> None:
    text = v.vasprun(v.calculation()).replace(
        " </parameters>",
        '  <separator name="response functions" >\n   <i name="NELM">     1</i>\n  </separator>\n </parameters>',
    )
    header, frames, _ = reading(text)

    assert header.method.convergence.max_electronic_steps == 60
    assert frames.get("scf_converged")[0] == 1


def test_v11_machine_learned_steps_are_counted_and_never_read(reading: Reading) -> None:
    learned = v.structure() + v.table("forces", [(9.0, 9.0, 9.0)] * 2, 2) + v.energies(v.three(free=-99.0), 2)
    _, frames, ending = reading(v.vasprun(learned, v.calculation(), learned, learned, v.calculation()))

    assert frames.energy.tolist() == [v.FREE] * 2
    assert abs(frames.forces).max() == 1.5
    assert [(one.frames, "machine-learned" in one.reason) for one in ending.left_out] == [(3, True)]


def test_v11_in_a_run_that_learns_a_step_without_iterations_is_no_dft(reading: Reading) -> None:
    text = v.vasprun(v.calculation(), v.calculation(iterations=[]), incar={"ML_LMLFF": " T  "})
    _, frames, ending = reading(text)

    assert frames.get("step").tolist() == [0]
    assert [one.frames for one in ending.left_out] == [1]


def test_v12_a_step_without_stress_keeps_its_other_labels(reading: Reading) -> None:
    _, frames, _ = reading(v.vasprun(v.calculation(stress=[]), v.calculation()))

    assert np.isnan(frames.stress[0]).all()
    assert not np.isnan(frames.stress[1]).any()
    assert not np.isnan(frames.forces).any()


def test_v13_a_file_cut_at_any_line_gives_its_whole_frames_and_never_a_wrong_number(tmp_path: Path) -> None:
    text = v.vasprun(v.calculation(), v.calculation(shift=0.25), v.calculation(shift=0.125))
    lines = text.splitlines(keepends=True)
    closes = [i for i, line in enumerate(lines) if "</calculation>" in line]
    whole = read_text(tmp_path, text)[1]
    for cut in range(len(lines)):
        n = sum(close < cut for close in closes)
        try:
            _, frames, ending = read_text(tmp_path, "".join(lines[:cut]))
        except MlpdataError as error:
            assert n == 0, error  # noqa: PT017  some cuts are errors, others are not
            continue
        assert ending.status == "truncated"
        assert (0 if frames is None else len(frames)) == n
        if frames is not None:
            assert (frames.ids() == whole.ids()[:n]).all()


def read_text(folder: Path, text: str) -> tuple[Header, Frames | None, Ending]:
    path = folder / "vasprun.xml"
    path.write_text(text)
    return read(path)


def test_v13_a_cut_step_is_named_with_its_line(reading: Reading) -> None:
    text = v.header() + v.calculation() + v.calculation()[:900]
    _, frames, ending = reading(text)

    assert len(frames) == 1
    assert text.splitlines()[ending.left_out[0].line - 1] == " <calculation>"


def test_v14_images_in_one_file_are_refused(reading: Reading) -> None:
    one = v.calculation()
    mixed = one.replace(" </calculation>\n", "") + one
    with pytest.raises(ParseError, match="OUTCAR"):
        reading(v.header(incar={"IMAGES": "     3"}) + mixed + one + v.FOOTER)


def test_v14_a_step_begun_inside_another_is_left_out_whole(reading: Reading) -> None:
    mixed = v.calculation().replace(" </calculation>\n", "") + v.calculation(shift=0.25)
    _, frames, ending = reading(v.vasprun(mixed, v.calculation()))

    assert frames.get("step").tolist() == [1]
    assert len(ending.left_out) == 1


def test_v14_forces_of_an_elastic_band_are_marked_as_projected(reading: Reading) -> None:
    header, _, _ = reading(v.vasprun(v.calculation(), incar={"IMAGES": "     3"}))

    assert (header.run_kind, header.forces_are) == ("neb", "projected")


def test_energies_scaled_for_a_thermodynamic_integration_are_of_unknown_kind(reading: Reading) -> None:
    header, _, _ = reading(v.vasprun(v.calculation(), incar={"SCALEE": "  0.5"}))

    assert (header.energy_kind, header.forces_are) == ("unknown", "biased")


@pytest.mark.parametrize(
    ("tags", "forces_are", "external"),
    [
        ({"EFIELD_PEAD": "  0.0  0.0  0.02"}, "with_external", ("electric field",)),
        ({"EFIELD_PEAD": "  0.0  0.0  0.02", "LCALCEPS": " T  "}, "physical", ()),  # tried after the labels
        ({"I_CONSTRAINED_M": "     1"}, "physical", ("constrained moments",)),
        ({"LBLUEOUT": " T  "}, "biased", ()),
    ],
)
def test_what_acts_from_outside_is_named(
    reading: Reading, tags: dict[str, str], forces_are: str, external: tuple[str, ...]
) -> None:
    header, _, _ = reading(v.vasprun(v.calculation(), incar=tags))

    assert (header.forces_are, header.method.external) == (forces_are, external)


def test_v15_stars_in_an_iteration_cost_nothing(reading: Reading) -> None:
    text = v.vasprun(v.calculation(), v.calculation()).replace(f"{v.FREE + 0.1:16.8f}", "*" * 16, 1)
    _, frames, ending = reading(text)

    assert len(frames) == 2
    assert ending.left_out == ()


ODD = ["****************", "NaN", "1E400", "Infinity", "-12353.08821-12353.08821", "", "1.2.3", "0x10", "1_000"]


@pytest.mark.parametrize("odd", ODD)
def test_v15_an_odd_number_anywhere_in_a_step_costs_that_step_only(tmp_path: Path, odd: str) -> None:
    before, bad, after = v.calculation(), v.calculation(shift=0.125), v.calculation(shift=0.25)
    numbers = [f"{x:17.8f}" for row in (*v.CELL, *v.FRACTIONAL, *v.FORCES, *v.STRESS) for x in row] + [
        f"{v.FREE:16.8f}"
    ]
    begin = bad.index("  <structure>")
    for printed in dict.fromkeys(numbers):
        at = bad.find(printed, begin)
        if at < 0:
            continue
        damaged = bad[:at] + " " + odd + bad[at + len(printed) :]
        _, frames, ending = read_text(tmp_path, v.vasprun(before, damaged, after))

        assert frames.get("step").tolist() == [0, 2], printed
        assert frames.positions[1::2, 0].tolist() == [0.5, 1.5]
        assert len(ending.left_out) == 1
        assert "found" in ending.left_out[0].reason


def test_a_layout_that_is_not_vasp_s_gives_the_same_numbers(reading: Reading) -> None:
    text = v.vasprun(v.calculation(), v.calculation(shift=0.25))
    _, usual, _ = reading(text)
    for old, new in (("<v> ", "<v>"), (" </v>", "</v>"), ('" >', '">'), ("\n", "\r\n"), (" <v>", "\t<v>")):
        begin = text.index(" <calculation>")
        _, other, ending = reading(text[:begin] + text[begin:].replace(old, new))
        assert ending.left_out == ()
        assert (other.ids() == usual.ids()).all(), old


def test_v19_a_half_printed_element_is_recovered_from_the_potential(reading: Reading) -> None:
    types = ((1, "r", 91.224, 4.0, "PAW_PBE Zr_sv 07Sep2000"), (1, "X", 131.294, 8.0, "PAW_PBE Z 07Sep2000"))
    _, frames, ending = reading(v.vasprun(v.calculation(), types=types))

    assert frames.atomic_numbers.tolist() == [40, 54]
    assert len(ending.warnings) == 2


def test_v19_an_element_that_nothing_names_is_refused(reading: Reading) -> None:
    with pytest.raises(ParseError, match="element"):
        reading(v.vasprun(v.calculation(), types=((2, "Q", 1234.0, 4.0, "PAW_PBE Qq"),)))


@pytest.mark.parametrize(
    ("incar", "functional"),
    [
        ({"GGA": "--"}, "PBE"),
        ({"GGA": " PE        ! PBEsol exchange-correlation"}, "PBE"),
        ({"GGA": " Ps"}, "PBEsol"),
        ({"GGA": "91"}, "PW91"),
        ({"METAGGA": "R2SCA"}, "R2SCAN"),
        ({"METAGGA": " R2scan"}, "R2SCAN"),
        ({"METAGGA": "None"}, "PBE"),
        ({"METAGGA": "--", "GGA": "RP"}, "RPBE"),
        ({"LHFCALC": " T  ", "AEXX": "0.25", "HFSCREEN": "0.207"}, "HSE06"),
        ({"LHFCALC": " T  ", "AEXX": "0.25", "HFSCREEN": "0.0"}, "PBE0"),
        ({"LHFCALC": " T  ", "AEXX": "1.0", "AGGAC": "0.0"}, "HF"),
        ({"LUSE_VDW": " T  ", "GGA": "BF"}, "BEEF-vdW"),
        ({"LUSE_VDW": " T  ", "METAGGA": "SCAN", "BPARAM": "15.7"}, "SCAN"),
    ],
)
def test_v19_the_functional_has_one_name_however_it_is_spelled(
    reading: Reading, incar: dict[str, str], functional: str
) -> None:
    header, _, _ = reading(v.vasprun(v.calculation(), incar=incar, parameters={"GGA": incar.get("GGA", "--")}))

    assert header.method.functional == functional


def test_v20_a_stress_of_zeros_is_absent(reading: Reading) -> None:
    _, frames, _ = reading(v.vasprun(v.calculation(stress=[(0.0, 0.0, 0.0)] * 3)))

    assert np.isnan(frames.stress).all()


def test_v21_content_decides_not_the_name() -> None:
    assert vasp_xml.magic(v.header().encode())
    assert not vasp_xml.magic(b'<?xml version="1.0"?>\n<qes:espresso>\n vasp </qes:espresso>')
    assert not vasp_xml.magic(b"<modeling>\n <generator>\n  <i name='program'>other</i>")


@pytest.mark.parametrize(
    ("incar", "kind", "basis"),
    [
        ({"IBRION": "     2", "ISIF": "     3"}, "vc-relax", "first cell"),
        ({"IBRION": "     1", "ISIF": "     2"}, "relax", None),
        ({"IBRION": "     0", "ISIF": "     3"}, "md", "first cell"),
        ({"IBRION": "     2", "ISIF": "     3", "NSW": "     0"}, "single_point", None),
        ({"IBRION": "     6"}, "phonon", None),
        ({"IBRION": "     8"}, "response", None),
    ],
)
def test_the_kind_of_run_follows_from_the_tags(
    reading: Reading, incar: dict[str, str], kind: str, basis: str | None
) -> None:
    header, _, _ = reading(v.vasprun(v.calculation(), incar=incar, parameters=incar))

    assert (header.run_kind, header.basis_fixed_at) == (kind, basis)


def test_a_charged_cell_carries_its_charge(reading: Reading) -> None:
    _, frames, _ = reading(v.vasprun(v.calculation(), parameters={"NELECT": "      7.00000000"}))

    assert frames.get("charge").tolist() == [1.0]


FLAGS = (
    '  <varray type="logical" name="selective" >\n   <v type="logical" > F  F  F </v>\n'
    '   <v type="logical" > T  T  {} </v>\n  </varray>\n </structure>\n'
)


@pytest.mark.parametrize(
    ("flag", "slanted", "fixed"),
    [("T", True, [[1, 1, 1], [0, 0, 0]]), ("F", True, [[1, 1, 1], [-1, -1, -1]]), ("F", False, [[1, 1, 1], [0, 0, 1]])],
)
def test_atoms_that_selective_dynamics_holds_are_known(
    reading: Reading, flag: str, slanted: bool, fixed: list[list[int]]
) -> None:
    # flags are along the lattice vectors, the third of which is not along z
    text = v.vasprun(v.calculation()).replace(" </structure>\n", FLAGS.format(flag), 1)
    if not slanted:
        text = text.replace(f"<v>{1.0:17.8f}{0.0:17.8f}{6.0:17.8f}", f"<v>{0.0:17.8f}{0.0:17.8f}{6.0:17.8f}")
    _, frames, _ = reading(text)

    assert frames.get("fixed").tolist() == fixed
    assert not np.isnan(frames.forces).any()


def test_labels_at_a_kept_density_are_not_converged(reading: Reading) -> None:
    header, frames, ending = reading(v.vasprun(v.calculation(), incar={"ICHARG": "    11"}))

    assert (header.run_kind, frames.get("scf_converged")[0]) == ("bands", 0)
    assert "ICHARG" in ending.warnings[0]


def test_hubbard_terms_are_u_minus_j_in_dudarev_s_scheme(reading: Reading) -> None:
    incar = {"LDAU": " T  ", "LDAUTYPE": "     2", "LDAUL": "    -1     2", "LDAUU": " 0.0 5.0", "LDAUJ": " 0.0 1.0"}
    header, _, _ = reading(v.vasprun(v.calculation(), incar=incar))

    assert [(one.species, one.orbital, one.u, one.j, one.scheme) for one in header.method.hubbard] == [
        ("Ge", "d", 4.0, 0.0, "dudarev")
    ]


def test_a_name_with_markup_in_the_header_does_not_stop_the_reading(reading: Reading) -> None:
    text = v.vasprun(v.calculation(), incar={"SYSTEM": " a & b < c \xe9"})
    header, frames, _ = reading(text)

    assert len(frames) == 1
    assert header.method.cutoff_energy == 400.0


def test_steps_longer_than_a_window_and_across_its_edge_are_all_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vasp_xml, "WINDOW", 1500)
    projected = "  <projected>\n" + "   <r>  0.1 </r>\n" * 400 + "  </projected>\n </calculation>\n"
    long = v.calculation(shift=0.125).replace(" </calculation>\n", projected)
    text = v.vasprun(*[v.calculation(shift=0.25), long] * 3)
    _, small, ending = reading(text)
    monkeypatch.undo()
    _, whole, _ = reading(text)

    assert ending.status == "complete"
    assert small.get("step").tolist() == list(range(6))
    assert small.get("source_line").tolist() == whole.get("source_line").tolist()
    assert (small.ids() == whole.ids()).all()


def test_a_compressed_file_cut_short_gives_its_whole_frames(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    text = v.vasprun(*[v.calculation(shift=float(x)) for x in random.random(50)]).encode()
    path = tmp_path / "vasprun.xml.gz"
    path.write_bytes(gzip.compress(text)[:-400])
    _, frames, ending = read(path)

    assert 0 < len(frames) < 50
    assert ending.status == "truncated"


def test_an_entity_bomb_in_the_header_is_refused(reading: Reading) -> None:
    bomb = '<!DOCTYPE modeling [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>\n<modeling>'
    with pytest.raises(ParseError, match="document type"):
        reading(v.vasprun(v.calculation()).replace("<modeling>", bomb))
