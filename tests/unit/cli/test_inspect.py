"""`mlpdata inspect` and `convert`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import vasprun as v
from tiny import Verb, refused


@pytest.mark.usefixtures("raw")
def test_a_file_is_described_for_a_person(verb: Verb) -> None:
    answer = verb("inspect", "raw/md/vasprun.xml")
    assert (answer.code, answer.err) == (0, "")
    lines = {line[2:16].strip(): line[16:] for line in answer.out.splitlines()[1:]}
    assert lines["reader"] == "vasp/xml"
    assert lines["frames"] == "3, 3 with forces, 0 unconverged"
    assert lines["run"] == "md, complete"
    assert lines["energy"] == f"{v.FREE} eV (free), last frame"


@pytest.mark.usefixtures("raw")
def test_json_is_one_object_a_line_for_good_and_bad_files(verb: Verb) -> None:
    answer = verb("inspect", "raw", "raw/notes.txt", "--json")
    found = [json.loads(line, parse_constant=pytest.fail) for line in answer.out.splitlines()]
    assert answer.code == 0
    assert [one["error"] is None for one in found] == [True] * 5 + [False]
    assert found[-1]["error"]["code"] == "not-recognised"


@pytest.mark.usefixtures("raw")
def test_a_file_that_cannot_be_read_is_a_line_on_stderr(verb: Verb) -> None:
    Path("empty").touch()
    for name in ("raw/notes.txt", "empty"):
        refused(verb("inspect", name), 3, f"{name}: expected an output")
    refused(verb("inspect", "nowhere"), 2, "nowhere: expected a file or folder")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1", "hartree", "eV"], "1 hartree = 27.211386245981 eV\n"),  # CODATA 2022
        (["-1", "hartree", "eV"], "-1 hartree = -27.211386245981 eV\n"),
        (["1", "bohr", "angstrom"], "1 bohr = 0.529177210544 angstrom\n"),
    ],
)
def test_numbers_are_converted(verb: Verb, arguments: list[str], said: str) -> None:
    assert verb("convert", *arguments).out == said


def test_a_conversion_in_json_names_its_constants(verb: Verb) -> None:
    found = json.loads(verb("convert", "1", "hartree", "eV", "--json").out)
    assert found == {"value": 27.211386245981, "unit": "eV", "constants": "CODATA 2022"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1", "hartree", "blorgs"], "expected a unit that is known, found 'blorgs'"),
        (["1", "hartree", "angstrom"], "expected a unit of the dimension of angstrom"),
        (["one", "hartree", "eV"], "unable to parse string as a number. See mlpdata --help."),
        (["nan", "eV", "eV"], "expected a finite number, found nan."),
        (["1e999", "eV", "eV"], "expected a finite number"),
        (["1", "eV"], "Missing argument 'target'."),
    ],
)
def test_a_wrong_unit_or_number_is_a_line(verb: Verb, arguments: list[str], said: str) -> None:
    refused(verb("convert", *arguments), 2, said)
