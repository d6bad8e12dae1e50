"""What pw.x prints beside energies and forces, on a real run of pw.x 6.7: spin-polarised dynamics of one water molecule.

`md_magnetic.out` is that run without most of its iterations and bands. The second atom is held along y, the third along
all three axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import Input
from mlpdata.readers.espresso import xml as espresso_xml
from mlpdata.readers.espresso.text import READER
from mlpdata.readers.fixed_width import columns
from mlpdata.readers.registry import Ending, Opened
from mlpdata.readers.text import numbers
from mlpdata.units import HARTREE

FILES = Path(__file__).parents[2] / "data" / "espresso"
RUN, XML = ((FILES / name).read_bytes() for name in ("md_magnetic.out", "relax_fixed.xml"))


def read(text: bytes = RUN) -> tuple[Frames, Ending]:
    items = list(
        Opened(Input(Path("a"), text, "0" * 64, len(text)), espresso_xml.READER if b"<?xml" in text else READER).items()
    )
    ending = items[-1]
    assert isinstance(ending, Ending)
    return concatenate([item for item in items if isinstance(item, Frames)]), ending


def test_the_time_is_that_of_the_positions() -> None:
    """The iteration that is named after an energy leads on from its positions; the log says 0.9676 fs a step."""
    frames, _ = read()

    assert frames.get("time") == pytest.approx([0, 0.9676, 2 * 0.9676], abs=1e-4)


def test_the_fermi_energy_stands_above_its_total_energy() -> None:
    frames, _ = read()

    assert frames.get("fermi_energy").tolist() == [-2.6623, -2.6891, -2.7546]


def test_magnetic_moments_of_atoms_are_those_of_the_last_iteration() -> None:
    changed = RUN.replace(b"charge:    1.0779    magn:   -0.0001", b"charge:    1.0779    magn:   -0.2501")

    frames, _ = read(changed)

    assert frames.get("magnetic_moments")[:3].tolist() == [-0.2501, 0, 0]


def test_magnetic_moments_of_an_earlier_iteration_are_not_taken() -> None:
    at = RUN.index(b"     End of self-consistent")

    frames, _ = read(RUN[:at] + b"     iteration # 23     ecut=    15.00 Ry     beta= 0.70\n" + RUN[at:])

    assert np.isnan(frames.get("magnetic_moments")[:3]).all()
    assert not np.isnan(frames.get("magnetic_moments")[3:]).any()


def test_flags_of_atoms_tell_what_the_run_held() -> None:
    """Q7: 0 is held."""
    frames, _ = read()

    assert frames.get("fixed").reshape(3, 3, 3).tolist() == [[[0, 0, 0], [0, 1, 0], [1, 1, 1]]] * 3


def test_flags_that_cannot_be_read_are_told() -> None:
    frames, ending = read(RUN.replace(b"    1   0   1\n", b"    1   *   1\n", 1))

    assert "fixed" not in frames
    assert any("fixed atoms" in warning for warning in ending.warnings)


def test_the_gap_of_an_insulator_is_between_its_levels() -> None:
    edges = b"     highest occupied, lowest unoccupied level (ev):     6.2500    6.8750\n"

    frames, _ = read(RUN.replace(b"     the Fermi energy is    -2.6623 ev\n", edges))

    assert frames.get("band_gap")[0] == 0.625
    assert np.isnan(frames.get("fermi_energy")[0])


def test_the_xml_file_tells_what_the_run_held() -> None:
    frames, _ = read(XML)

    assert frames.get("fixed")[:2].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_levels_of_the_xml_file_are_in_hartree() -> None:
    levels = (
        b"<band_structure><highestOccupiedLevel>0.25</highestOccupiedLevel>"
        b"<lowestUnoccupiedLevel>0.375</lowestUnoccupiedLevel><fermi_energy>0.3</fermi_energy></band_structure></output>"
    )

    frames, _ = read((FILES / "scf.xml").read_bytes().replace(b"</output>", levels))

    assert frames.get("band_gap")[-1] == pytest.approx(0.125 * HARTREE)
    assert frames.get("fermi_energy")[-1] == pytest.approx(0.3 * HARTREE)


@pytest.mark.parametrize("width", [(14, 8), (20, 10), (14, 9), (20, 14)])
def test_columns_are_read_as_their_text_says(width: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(200, 3)) * 10.0 ** random.integers(-6, 2, size=(200, 1))
    values[0] = -0.0
    rows = "".join("Fe1 " + "".join(f"{x:{width[0]}.{width[1]}f}" for x in row) + "\n" for row in values).encode()

    found = columns(rows, 200)

    assert found is not None
    assert found.numbers.tobytes() == numbers(rows.replace(b"Fe1", b""), 600).tobytes()
    assert {bytes(label) for label in found.labels} == {b"Fe1 "}


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"0.5", b"*.*"), (b" 0.5", b"00,5"), (b"  0.5", b"1e0.5"), (b"\n", b" "), (b" 0.50000000", b"0.500000000")],
)
def test_columns_of_another_layout_are_not_read(old: bytes, new: bytes) -> None:
    rows = b"O     0.25000000    0.12500000    0.37500000\nH     0.25000000    0.50000000    0.37500000\n"
    at = rows.rindex(old)

    assert columns(rows, 2) is not None
    assert columns(rows[:at] + new + rows[at + len(old) :], 2) is None
