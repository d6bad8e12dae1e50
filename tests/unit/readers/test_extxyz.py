"""Extended XYZ: what a comment and its columns say, and what damage costs."""

from __future__ import annotations

import bz2
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from mlpdata.errors import InputError, MlpdataError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input
from mlpdata.readers.extxyz.frames import READER
from mlpdata.readers.registry import Ending, Header, Opened, Undeclared, open_run
from mlpdata.schema.sidecar import Declared

DATA = Path(__file__).parents[2] / "data" / "extxyz"
UNITS = {"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3"}
LATTICE = 'Lattice="4.0 0.0 0.0 0.1 4.2 0.0 0.0 0.2 4.4"'
COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"
ROWS = "Cu 0.1 0.2 0.3 0.01 -0.02 0.03\nO 2.1 2.2 2.3 -0.01 0.02 -0.03\n"
FRAME = f"2\n{LATTICE} {COLUMNS} energy=-10.5\n{ROWS}"


class Read(NamedTuple):
    """What came out of a text."""

    header: Header
    blocks: list[Frames]
    ending: Ending

    @property
    def frames(self) -> Frames:
        return concatenate(self.blocks)

    @property
    def reasons(self) -> list[tuple[int, str]]:
        return [(lost.line, lost.reason) for lost in self.ending.left_out]


def items(text: str | bytes, declared: Declared | None) -> list[Any]:
    content = text.encode() if isinstance(text, str) else text
    return list(Opened(Input(Path("some.xyz"), content, "0" * 64, len(content), declared=declared), READER).items())


def read(text: str | bytes, **said: Any) -> Read:
    header, *blocks, ending = items(text, Declared(**{"units": UNITS, **said}))
    return Read(header, blocks, ending)


def comment(**pairs: str) -> str:
    """The first frame with other pairs; an empty value takes a pair away."""
    default = {"Lattice": LATTICE[8:], "Properties": COLUMNS[11:], "energy": "-10.5"}
    return f"2\n{' '.join(f'{key}={value}' for key, value in {**default, **pairs}.items() if value)}\n{ROWS}"


# -- what a frame gives


def test_a_frame_is_its_comment_and_its_rows() -> None:
    frames = read(FRAME).frames

    assert frames.atomic_numbers.tolist() == [29, 8]
    assert frames.positions.tolist() == [[0.1, 0.2, 0.3], [2.1, 2.2, 2.3]]
    assert frames.forces.tolist() == [[0.01, -0.02, 0.03], [-0.01, 0.02, -0.03]]
    assert frames.energy.tolist() == [-10.5]
    assert frames.get("source_line").tolist() == [2]
    assert frames.get("step").tolist() == [-1]


def test_the_nine_numbers_of_the_lattice_are_its_three_vectors() -> None:
    assert read(FRAME).frames.cell.tolist() == [[[4, 0, 0], [0.1, 4.2, 0], [0, 0.2, 4.4]]]


def test_both_ways_to_convert_rows_give_the_same_numbers() -> None:
    """Fields of 17 characters are converted at once, all others are split."""
    fixed = "Cu" + "".join(f" {value:16.8f}" for value in (0.1, -22.25, 3.5, 0.0, 1e-8, -1234567.87654321)) + "\n"
    split = " ".join(fixed.split()) + "\n"
    texts = [f"1\n{LATTICE} {COLUMNS} energy=1\n{row}" for row in (fixed, split)]

    one, other = (read(text).frames for text in texts)

    assert one.positions.tobytes() == other.positions.tobytes() == np.array([0.1, -22.25, 3.5]).tobytes()
    assert one.forces.tobytes() == other.forces.tobytes()
    assert one.forces.tolist() == [[0.0, 1e-8, -1234567.87654321]]


def test_nothing_declared_shows_numbers_without_units() -> None:
    _, block, _ = items(FRAME, None)

    assert isinstance(block, Undeclared)
    assert block.keys == {"energy": "energy", "forces": "forces"}


def test_the_method_and_the_kind_of_energy_are_those_declared() -> None:
    assert read(FRAME).header.method.code == "unknown"
    assert read(FRAME).header.energy_kind == "unknown"
    assert read(FRAME, energy_kind="free").header.energy_kind == "free"


@pytest.mark.parametrize(
    ("pbc", "flags"),
    [('"T T F"', [1, 1, 0]), ("[True, False, True]", [1, 0, 1]), ("{1 0 0}", [1, 0, 0]), ("", [1, 1, 1])],
)
def test_periodic_directions_are_read_in_every_form(pbc: str, flags: list[int]) -> None:
    assert read(comment(pbc=pbc)).frames.pbc.tolist() == [flags]


@pytest.mark.parametrize("pairs", [{"pbc": '"F F F"'}, {"Lattice": ""}, {"Lattice": '"0 0 0 0 0 0 0 0 0"'}])
def test_what_is_not_periodic_has_no_cell(pairs: dict[str, str]) -> None:
    """X4."""
    frames = read(comment(**pairs)).frames

    assert "cell" not in frames
    assert not frames.pbc.any()


@pytest.mark.parametrize("lattice", ["[[4, 0, 0], [0.1, 4.2, 0], [0, 0.2, 4.4]]", "{4 0 0 0.1 4.2 0 0 0.2 4.4}"])
def test_arrays_in_brackets_and_braces_are_read(lattice: str) -> None:
    assert read(comment(Lattice=lattice)).frames.cell[0, 1].tolist() == [0.1, 4.2, 0]


@pytest.mark.parametrize(
    "pairs",
    [
        {"note": '"energy=5 and \\"more\\" pbc=F"'},
        {"note": "'a b'"},
        {'"a key"': "1"},
        {"flag another": "x"},
        {"weights": "[1.0, 2.0]"},
    ],
)
def test_what_else_a_comment_says_costs_nothing(pairs: dict[str, str]) -> None:
    assert read(comment(**pairs)).frames.energy.tolist() == [-10.5]


def test_columns_may_be_of_any_order_and_kind() -> None:
    rows = "7 x T 0.1 0.2 0.3 29 0.0 0.0 1.5 9\n1 yy F 2.1 2.2 2.3 8 0.0 0.0 -1.5 9\n"
    columns = "tag:I:1:label:S:1:on:L:1:force:R:3:Z:I:1:pos:R:3:other:R:1"
    frames = read(f"2\nProperties={columns} energy=-1\n{rows}").frames

    assert frames.atomic_numbers.tolist() == [29, 8]
    assert frames.positions.tolist() == [[0, 0, 1.5], [0, 0, -1.5]]
    assert frames.forces[1].tolist() == [2.1, 2.2, 2.3]
    assert frames.get("tags").tolist() == [7, 1]


def test_numbered_kinds_and_numbers_for_symbols_are_elements() -> None:
    assert read(FRAME.replace("Cu ", "Cu2 ").replace("O ", "8 ")).frames.atomic_numbers.tolist() == [29, 8]


def test_a_plain_xyz_between_others_is_a_geometry_only() -> None:
    frames = read(FRAME + "2\njust a comment\nH 0 0 0 0.3 more\nH 0 0 0.74 0.3 more\n").frames

    assert frames.energy[0] == -10.5
    assert np.isnan(frames.energy[1])
    assert frames.atomic_numbers[2:].tolist() == [1, 1]


def test_frames_with_and_without_forces_are_told_apart() -> None:
    bare = "1\nProperties=species:S:1:pos:R:3 energy=-1.0\nH 0 0 0\n"
    forces = read(FRAME + bare + FRAME).frames.forces

    assert np.isnan(forces[:, 0]).tolist() == [False, False, True, False, False]


def test_units_that_the_file_states_must_be_those_declared() -> None:
    text = comment(**{"energy-unit": "hartree"})

    with pytest.raises(InputError, match=r"some\.xyz:2: expected energy in eV, as declared, found the unit 'hartree'"):
        read(text)
    assert read(text, units={"energy": "Eh", "length": "angstrom"}).frames.energy[0] == pytest.approx(-285.7195555)


def test_windows_line_ends_and_blank_lines_at_the_end_change_nothing() -> None:
    assert read(FRAME.replace("\n", "\r\n") + "\r\n \n").ending.status == "complete"
    assert read(FRAME.replace("\n", "\r\n")).frames.ids().tobytes() == read(FRAME).frames.ids().tobytes()


# -- recognition


@pytest.mark.parametrize("text", [FRAME, "1\nenergy=-1.0 foo=2\nH 0 0 0\n", '1\npbc="F F F"\nH 0 0 0\n'])
def test_a_count_and_a_comment_with_pairs_are_extended_xyz(text: str) -> None:
    assert READER.magic(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "3\n i =        0, time =        0.000, E =       -17.1643447508\n  O  0.1 0.2 0.3\n",  # CP2K
        "3\nwater\nO 0 0 0\n",
        "Properties=species:S:1:pos:R:3 energy=1\n",
        "",
    ],
)
def test_trajectories_of_cp2k_and_plain_xyz_are_not(text: str) -> None:
    """C3: they are parts of a run, or no labels at all."""
    assert not READER.magic(text.encode())


# -- damage


@pytest.mark.parametrize(
    ("was", "becomes", "line"),
    [
        ("0.02 -0.03", "0.02 ****", 4),
        ("2.1 2.2 2.3", "2.1 2.22.3", 4),
        ("0.1 0.2 0.3", "0.1 nan 0.3", 3),
        ("0.1 0.2 0.3", "1e400 0.2 0.3", 3),
        ("energy=-10.5", "energy=-10.5 energy=-11", 2),
        ("energy=-10.5", "energy=*****", 2),
        ("energy=-10.5", "energy=nan", 2),
        ("4.0 0.0", "4.00.0", 2),
        ("pos:R:3", "pos:R:2", 2),
        ("Cu ", "Xq ", 3),
    ],
)
def test_damage_costs_its_frame_with_line_and_reason(was: str, becomes: str, line: int) -> None:
    damaged = FRAME.replace(was, becomes, 1)
    found = read(FRAME + damaged + FRAME)

    assert len(found.frames) == 2
    assert [place for place, _ in found.reasons] == [line + 4]
    assert found.ending.status == "complete"


def test_a_stress_that_is_damaged_is_left_out_alone_and_named() -> None:
    found = read(FRAME + comment(stress='"1 2 3 * 5 6"') + comment(stress='"1 2 3 4 5 6"'))

    assert np.isnan(found.frames.stress[:, 0, 0]).tolist() == [True, True, False]
    assert found.ending.warnings[0].startswith("line 6: 'stress' was not read")


def test_a_row_that_names_two_elements_is_left_out() -> None:
    text = "1\nProperties=species:S:1:Z:I:1:pos:R:3 energy=1\nC 5 0 0 0\n"

    assert read(FRAME + text).reasons == [
        (7, "expected the atomic number of the species, found 5. The row names two elements.")
    ]


@pytest.mark.parametrize("rows", [ROWS + "H 0 0 0 0 0 0\n", ROWS[: ROWS.index("\n") + 1]])
def test_a_wrong_number_of_rows_costs_that_frame_only(rows: str) -> None:
    found = read(FRAME + FRAME.replace(ROWS, rows) + FRAME)

    assert len(found.frames) == 2
    assert found.ending.left_out[0].line == 5


def test_a_count_that_is_damaged_costs_that_frame_only() -> None:
    found = read(FRAME + "**" + FRAME[1:] + FRAME)

    assert (len(found.frames), [line for line, _ in found.reasons]) == (2, [5])


def test_a_file_that_ends_within_a_frame_is_truncated() -> None:
    found = read(FRAME + FRAME[:-10])

    assert len(found.frames) == 1
    assert found.ending.status == "truncated"
    assert found.ending.left_out[0].line in (5, 8)


def test_a_last_number_without_line_end_is_believed_only_in_a_fixed_format() -> None:
    """A cut number is another number: -0.03 of -0.0312."""
    fixed = FRAME.replace(ROWS, "H 0.1000 0.2000 0.3000 0.0100 -0.0200 0.0300\n" * 2)

    assert len(read(fixed[:-1]).frames) == 1
    assert read(fixed[:-2]).ending.status == "truncated"
    assert read(FRAME[:-1]).ending.status == "truncated"


def test_a_compressed_file_that_is_cut_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "x.extxyz.bz2"
    random = np.random.default_rng(0)
    frames = [FRAME.replace("0.01", f"{random.random():.12f}") for _ in range(20_000)]
    path.write_bytes(bz2.compress("".join(frames).encode())[:-100])

    with open_run(path, declared=Declared(units=UNITS)) as opened:
        *blocks, ending = opened.items()

    assert isinstance(ending, Ending)
    assert (ending.status, len(blocks) > 1) == ("truncated", True)


@pytest.mark.parametrize(
    "text",
    [
        b"1\nenergy=1 " + b"a" * (32 << 20),
        b'1\nenergy=1 "' + b'\\"' * (1 << 20) + b"\nH 0 0 0\n",
        b"1\nenergy=1 " + b"[" * (1 << 19) + b"\nH 0 0\n",
        b"9999999\nenergy=1\nH 0 0 0\n" * 50_000,
        b"999999999\nenergy=1\nH 0 0 0\n",
        b"1\nenergy=1\nH 0 0 " + b"0" * (32 << 20) + b"\n",
    ],
)
def test_hostile_files_are_refused_at_once(text: bytes) -> None:
    begin = time.process_time()
    try:
        found = read(text)
    except MlpdataError:
        pass
    else:
        assert not found.blocks
        assert found.ending.left_out
    assert time.process_time() - begin < 5  # generous: a machine under load; a square would take hours


def test_the_fixtures_are_a_crystal_and_a_molecule() -> None:
    text = b"".join((DATA / f"{name}.extxyz").read_bytes() for name in ("crystal", "molecule"))
    frames = read(text, units={**UNITS, "magnetic_moment": "muB"}).frames

    assert frames.n_atoms.tolist() == [2, 3]
    assert frames.stress[0].tolist() == [[0.01, 0.001, 0.002], [0.001, 0.02, 0.003], [0.002, 0.003, 0.03]]
    assert frames.get("magnetic_moments")[2:].tolist() == [0.25, 0.01, -0.02]
