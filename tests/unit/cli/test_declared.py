"""Options that say what the numbers of files without units are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Verb, refused

from mlpdata.api import Store

FRAME = """2
Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:my_force:R:3 REF_energy=-1.5 free_energy=-1.4 virial="64 0 0 0 64 0 0 0 64"
Cu 0.1 0.2 0.3 0.01 -0.02 0.03
O 2.1 2.2 2.3 -0.01 0.02 -0.03
"""
UNITS = ("--units", "energy=hartree,length=bohr,stress=kbar")
KEYS = ("--energy-key", "REF_energy", "--forces-key", "my_force", "--virial-key", "virial")
HARTREE, BOHR = 27.211386245981, 0.529177210544  # CODATA 2022


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("train.extxyz")
    path.write_text(FRAME)
    return path


def test_numbers_without_units_are_shown_without_units(verb: Verb) -> None:
    answer = verb("inspect", "train.extxyz", "--json")
    found = json.loads(answer.out)

    assert found["n_labelled"] == 0  # no label has the formats' own name
    assert found["keys"] == {"energy": "REF_energy, free_energy", "virial": "virial"}
    assert "names         energy as 'REF_energy, free_energy'" in verb("inspect", "train.extxyz").out

    Path("train.extxyz").write_text(FRAME.replace("REF_energy", "energy"))
    found = json.loads(verb("inspect", "train.extxyz", "--json").out)
    assert (found["last"]["energy"], found["units"]["energy"]) == (-1.5, None)
    assert "-1.5, no unit declared, last frame" in verb("inspect", "train.extxyz").out


def test_inspect_takes_what_ingest_takes(verb: Verb) -> None:
    found = json.loads(verb("inspect", "train.extxyz", "--json", *UNITS, *KEYS, "--energy-kind", "free").out)

    assert found["units"]["energy"] == "eV"
    assert found["last"]["energy"] == pytest.approx(-1.5 * HARTREE)
    assert found["energy_kind"] == "free"


def test_numbers_without_units_are_not_ingested(verb: Verb) -> None:
    answer = verb("ingest", "train.extxyz")

    assert answer.code == 3
    for said in ("found a file that states none", "--units energy=eV,length=angstrom"):
        assert said in answer.out
        assert said in answer.err
    assert not list(Path().glob("store/segments/*"))


def test_what_is_declared_reaches_the_store_and_is_recorded(verb: Verb) -> None:
    answer = verb("ingest", "train.extxyz", *UNITS, *KEYS, "--energy-kind", "free", "--license", "MIT")
    assert (answer.code, answer.err) == (0, "")

    snapshot = Store().snapshot()
    frames = snapshot.read()
    assert frames.energy[0] == pytest.approx(-1.5 * HARTREE)
    assert frames.forces[0, 0] == pytest.approx(0.01 * HARTREE / BOHR)
    assert frames.stress[0, 0, 0] == pytest.approx(-1 * HARTREE / BOHR**3)
    (calculation,) = snapshot.calculations()
    assert calculation.energy_kind == "free"
    assert calculation.declared["units.energy"] == "hartree"
    assert calculation.declared["names.forces"] == "my_force"


def test_a_sidecar_says_the_same_as_the_options(verb: Verb) -> None:
    Path("runs").mkdir()
    Path("train.extxyz").rename("runs/train.extxyz")
    Path("runs/mlpdata.yaml").write_text(
        "license: MIT\nenergy_kind: free\nunits: {energy: hartree, length: bohr}\n"
        "names: {energy: REF_energy, forces: my_force}\n"
    )
    assert verb("sync", "runs").code == 0
    assert Store().snapshot().read().energy[0] == pytest.approx(-1.5 * HARTREE)


def test_a_positive_stress_may_mean_compression(verb: Verb) -> None:
    Path("train.extxyz").write_text(FRAME.replace("virial", "stress"))
    signs = [
        json.loads(verb("inspect", "train.extxyz", "--json", *UNITS, *KEYS[:4], "--stress-sign", sign).out)
        for sign in ("tension", "compression")
    ]
    assert [one["last"]["stress"][0][0] > 0 for one in signs] == [True, False]


def test_two_candidates_for_the_energy_refuse_the_file_with_both_names(verb: Verb) -> None:
    answer = verb("ingest", "train.extxyz", *UNITS, "--virial-key", "virial")
    assert answer.code == 3
    assert "found 'REF_energy', 'free_energy', which differ. Say which: --energy-key" in answer.out + answer.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--units", "energy"], "expected units such as energy=eV,length=angstrom"),
        (["--units", "energy=angstrom"], "expected a unit of the dimension of eV"),
        (["--units", "warmth=K"], "found the dimension 'warmth'"),
        (["--energy-kind", "potential"], "expected one of the energy kinds free, total"),
        (["--stress-sign", "plus"], "expected one of the signs tension, compression"),
    ],
)
@pytest.mark.parametrize("name", ["ingest", "inspect"])
def test_mistakes_in_what_is_said_are_named(verb: Verb, name: str, options: list[str], said: str) -> None:
    refused(verb(name, "train.extxyz", *options), 2, said)
