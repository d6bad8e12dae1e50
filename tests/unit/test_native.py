"""`show --native` gives back what the file printed, character for character."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import vasprun as v
from tiny import MD

from mlpdata.discover import Output
from mlpdata.frames import Frames, from_printed
from mlpdata.native import printed
from mlpdata.runs import read_output
from mlpdata.schema.calculation import Calculation, Source
from mlpdata.schema.method import Method
from mlpdata.schema.sidecar import Sidecar
from mlpdata.units import Quantity


def read(path: Path) -> tuple[Frames, Calculation]:
    frames, calculation = read_output(Output(path, path.name, Sidecar()))
    assert isinstance(frames, Frames)
    assert isinstance(calculation, Calculation)
    return frames, calculation


def test_numbers_of_a_vasprun_come_back_as_they_stand_in_it(tmp_path: Path) -> None:
    path = tmp_path / "vasprun.xml"
    path.write_text(MD)
    frames, calculation = read(path)

    numbers = printed(frames, 0, calculation)

    step = MD[MD.index("<calculation>") :]
    for name in ("positions", "forces", "stress"):
        table = re.search(rf'<varray name="{name}" >(.*?)</varray>', step, re.S)
        assert table is not None
        assert [field for row in numbers[name].as_text() for field in row] == re.findall(r"-?\d+\.\d+", table[1])
    assert float(numbers["energy"].as_text()) == v.FREE
    assert numbers["stress"].note == "with the opposite sign"
    assert (numbers["positions"].note, numbers["positions"].unit) == ("along the lattice vectors", "1")


def one_frame(**arrays: Quantity) -> tuple[Frames, Calculation]:
    rest = {"atomic_numbers": [1], "pbc": [[0, 0, 0]]}
    frames, ledger = from_printed([1], {**rest, **arrays})
    source = Source(path="job.out", sha256="0" * 64, bytes=1, reader="a/b", reader_version=1)
    calculation = Calculation(
        path="job.out", identity="", sources=(source,), method=Method(code="a"), status="complete", ledger=tuple(ledger)
    )
    return frames, calculation


def test_a_gradient_is_shown_with_the_sign_that_the_file_gives_it() -> None:
    forces = Quantity(np.array([[0.123456789, 0.0, -1.0]]), "hartree/bohr", 9, sign=-1)
    frames, calculation = one_frame(positions=Quantity(np.zeros((1, 3)), "bohr"), forces=forces)

    assert printed(frames, 0, calculation)["forces"].as_text() == [["-0.123456789", "0.000000000", "1.000000000"]]


def test_of_several_units_in_one_file_the_one_that_gives_round_numbers_is_taken() -> None:
    frames, calculation = one_frame(positions=Quantity(np.array([[1.234567, 0.0, 2.0]]), "angstrom", 6))
    _, other = one_frame(positions=Quantity(np.array([[1.0, 0.0, 2.0]]), "bohr", 6))

    both = calculation.replace(ledger=(*other.ledger, *calculation.ledger))

    assert printed(frames, 0, both)["positions"].as_text() == [["1.234567", "0.000000", "2.000000"]]
