"""ASE's databases: written by ASE, read without it, compared with what was put in; and hostile SQLite files."""

from __future__ import annotations

import gzip
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect

from mlpdata.errors import InputError, MlpdataError, ParseError
from mlpdata.frames import Frames, concatenate
from mlpdata.readers.archive import open_input
from mlpdata.readers.ase import db as ase_db
from mlpdata.readers.registry import Opened, Undeclared, recognise
from mlpdata.schema.sidecar import Declared

DECLARED = Declared(units={"energy": "eV", "length": "angstrom", "stress": "eV/angstrom^3", "magnetic_moment": "muB"})


def items(path: Path, declared: Declared | None = DECLARED) -> list[Any]:
    with open_input(path) as source:
        assert recognise(source).name == "ase/db"
        source.declared = declared
        return list(Opened(source, ase_db.READER).items())


def frames(path: Path, declared: Declared = DECLARED) -> Frames:
    return concatenate([item for item in items(path, declared) if isinstance(item, Frames)])


def water(energy: float = -10.0, **labels: Any) -> Atoms:
    atoms = Atoms("OHH", [[0, 0, energy / 100], [0, 0.75, 0.5], [0, -0.75, 0.5]])
    forces = np.array([[0, 0, 0.5], [0, 0.25, -0.25], [0, -0.25, -0.25]])
    atoms.calc = SinglePointCalculator(atoms, **{"energy": energy, "forces": forces, **labels})
    return atoms


def copper() -> Atoms:
    atoms = Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 0.1]], cell=[3.5, 3.6, 3.7], pbc=[True, True, False])
    stress = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])
    forces = np.array([[0.5, 0, 0], [-0.5, 0, 0]])
    atoms.calc = SinglePointCalculator(atoms, energy=-7.0, forces=forces, stress=stress)
    atoms.calc.name = "emt"
    return atoms


@pytest.fixture(params=["x.db", "x.json"])
def writing(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Writes a database of each kind."""

    def of(*rows: Atoms | tuple[Atoms, dict[str, Any]]) -> Path:
        path = tmp_path / str(request.param)
        with connect(path) as database:
            for row in rows:
                atoms, extra = row if isinstance(row, tuple) else (row, {})
                database.write(atoms, **extra)
        return path

    return of


Writing = Callable[..., Path]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An SQLite file of three rows."""
    path = tmp_path / "x.db"
    with connect(path) as found:
        for energy in (-10.0, -10.5, -11.0):
            found.write(water(energy))
    return path


# -- what a database gives


def test_what_was_put_in_comes_out(writing: Writing) -> None:
    path = writing(water(), copper(), water(-10.5))
    header, *_, ending = items(path)
    found = frames(path)

    assert found.n_atoms.tolist() == [3, 2, 3]
    assert found.atomic_numbers.tolist() == [8, 1, 1, 29, 29, 8, 1, 1]
    assert found.positions[3:5].tolist() == [[0, 0, 0], [1.8, 1.8, 0.1]]
    assert found.energy.tolist() == [-10.0, -7.0, -10.5]
    assert found.forces.tolist() == np.concatenate([a.get_forces() for a in (water(), copper(), water())]).tolist()
    assert found.pbc.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found.cell[1].tolist() == [[3.5, 0, 0], [0, 3.6, 0], [0, 0, 3.7]]
    assert found.stress[1].tolist() == [[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]]
    assert np.isnan(found.cell[0]).all()
    assert found.get("source_line").tolist() == [1, 2, 3]
    assert (ending.status, ending.left_out) == ("complete", ())
    assert header.method.code == "emt, unknown"
    assert "several calculators" in ending.warnings[0]


def test_moments_tags_velocities_and_held_atoms_are_read(writing: Writing) -> None:
    atoms = water()
    atoms.set_tags([3, 0, 1])
    atoms.set_initial_magnetic_moments([2.0, 0, 0])
    velocities = np.array([[0.01, 0, 0], [0, -0.02, 0], [0, 0, 0.03]])
    atoms.set_velocities(velocities / ase.units.fs)
    atoms.set_constraint(FixAtoms([1]))
    forces = np.full((3, 3), 0.25)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1.0, forces=forces, magmoms=np.array([1.5, 0.25, 0.25]), magmom=2.0
    )
    found = frames(writing(atoms))

    assert found.get("tags").tolist() == [3, 0, 1]
    assert found.get("initial_magnetic_moments").tolist() == [2.0, 0, 0]
    assert found.get("magnetic_moments").tolist() == [1.5, 0.25, 0.25]
    assert found.get("total_magnetization").tolist() == [2.0]
    assert np.allclose(found.get("velocities"), velocities, rtol=1e-7)
    assert found.get("fixed").tolist() == [[0] * 3, [1] * 3, [0] * 3]
    assert found.get("force_mask").tolist() == [1, 1, 1]
    assert found.forces.tolist() == forces.tolist()


def test_named_numbers_of_a_row_can_be_labels(writing: Writing) -> None:
    data = {"gradient": np.full((3, 3), 0.125), "note": "x"}
    path = writing((water(), {"key_value_pairs": {"ccsd": -12.5}, "data": data}))
    declared = DECLARED.model_copy(update={"names": {"energy": "ccsd", "forces": "gradient"}})

    found = frames(path, declared)

    assert found.energy.tolist() == [-12.5]
    assert found.forces.tolist() == [[0.125] * 3] * 3


def test_without_a_declaration_numbers_are_shown_as_they_are(writing: Writing) -> None:
    """X3."""
    _, block, _ = items(writing(water()), None)

    assert isinstance(block, Undeclared)
    assert np.asarray(block.arrays["energy"]).tolist() == [-10.0]
    assert block.keys == {"energy": "energy", "forces": "forces"}


def test_two_energies_that_differ_must_be_told_apart(writing: Writing) -> None:
    path = writing(water(free_energy=-10.5))

    with pytest.raises(InputError, match="energy-key"):
        frames(path)
    assert frames(path, DECLARED.model_copy(update={"names": {"energy": "free_energy"}})).energy.tolist() == [-10.5]


def test_a_row_that_is_not_finite_costs_itself_only(writing: Writing) -> None:
    path = writing(water(), water(float("nan")), water(-10.5))
    found, ending = frames(path), items(path)[-1]

    assert found.energy.tolist() == [-10.0, -10.5]
    assert [one.line for one in ending.left_out] == [2]


def test_a_compressed_database_is_read(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "y.db.gz"
    path.write_bytes(gzip.compress(database.read_bytes()))

    assert frames(path).energy.tolist() == [-10.0, -10.5, -11.0]


# -- hostile and damaged files


def altered(path: Path, *statements: str) -> Path:
    """The SQLite file after some statements."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def test_reading_changes_nothing(database: Path) -> None:
    before = {path.name: path.read_bytes() for path in database.parent.iterdir()}

    items(database)

    assert {path.name: path.read_bytes() for path in database.parent.iterdir()} == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE systems SET positions = x'00' WHERE id = 2",
        "UPDATE systems SET positions = zeroblob(24) WHERE id = 2",
        "UPDATE systems SET numbers = NULL WHERE id = 2",
        "UPDATE systems SET numbers = 'x' WHERE id = 2",
        "UPDATE systems SET forces = x'00112233445566' WHERE id = 2",
        "UPDATE systems SET numbers = x'ffffff7f0100000001000000' WHERE id = 2",
        "UPDATE systems SET constraints = '[[' WHERE id = 2",
        'UPDATE systems SET constraints = \'[{"name": "FixAtoms", "kwargs": {"indices": [99]}}]\' WHERE id = 2',
        "UPDATE systems SET key_value_pairs = '{' WHERE id = 2",
        "UPDATE systems SET data = x'ffffffffffffff7f00' WHERE id = 2",
        "UPDATE systems SET key_value_pairs = '" + "[" * 5000 + "' WHERE id = 2",
    ],
)
def test_a_damaged_row_costs_itself_only(statement: str, database: Path) -> None:
    found = items(altered(database, statement))

    assert concatenate([item for item in found if isinstance(item, Frames)]).energy.tolist() == [-10.0, -11.0]
    assert [one.line for one in found[-1].left_out] == [2]


def test_an_array_beyond_its_blob_is_refused(database: Path) -> None:
    text = b'{"x": {"__ndarray__": [[1000000], "float64", 8]}}'
    connection = sqlite3.connect(database)
    connection.execute("UPDATE systems SET data = ? WHERE id = 2", ((8).to_bytes(8, "little") + text,))
    connection.commit()
    connection.close()

    assert [one.line for one in items(database)[-1].left_out] == [2]


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE systems RENAME TO s", "CREATE VIEW systems AS SELECT * FROM s"),
        (
            "ALTER TABLE systems RENAME TO s",
            "CREATE VIEW systems AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) SELECT id FROM c",
        ),
        ("ALTER TABLE systems ADD COLUMN extra TEXT GENERATED ALWAYS AS (hex(zeroblob(100000000))) VIRTUAL",),
        ("UPDATE information SET value = '99' WHERE name = 'version'",),
        ("DELETE FROM information",),
        ("DROP TABLE information",),
        ("DROP TABLE information", "CREATE VIEW information AS SELECT 'version' AS name, '9' AS value"),
    ],
)
def test_views_computed_columns_and_unknown_versions_are_refused_at_once(
    statements: tuple[str, ...], database: Path
) -> None:
    path = altered(database, *statements)
    before = time.process_time()

    with pytest.raises(MlpdataError):
        items(path)

    assert time.process_time() - before < 1


def test_triggers_are_not_run(database: Path) -> None:
    altered(database, "CREATE TRIGGER t AFTER INSERT ON systems BEGIN DELETE FROM systems; END")

    assert frames(database).energy.tolist() == [-10.0, -10.5, -11.0]


def test_a_connection_can_do_nothing_but_read(database: Path) -> None:
    """Even a statement of our own that did more would be denied."""
    from mlpdata.readers.ase.db_rows import _connection, _sqlite_database

    with open_input(database) as source, _connection(source) as connection:
        _sqlite_database(connection)
        for statement in (
            "DELETE FROM systems", "SELECT username FROM systems", "SELECT load_extension('x')", "PRAGMA user_version = 1",
            "ATTACH 'y.db' AS y", "SELECT * FROM species", "CREATE TABLE t (x)",
        ):  # fmt: skip
            with pytest.raises(sqlite3.DatabaseError):
                connection.execute(statement)


def test_a_database_that_a_writer_left_in_the_middle_is_refused(database: Path) -> None:
    Path(f"{database}-journal").write_bytes(b"x")

    with pytest.raises(ParseError, match="journal"):
        items(database)


def test_a_database_cut_anywhere_gives_rows_that_were_there_and_says_so(database: Path, tmp_path: Path) -> None:
    data = database.read_bytes()
    path = tmp_path / "cut.db"
    for end in range(100, len(data), 1021):
        path.write_bytes(data[:end])
        try:
            found = items(path)
        except (MlpdataError, AssertionError):  # the assertion: too little is left to recognise
            continue
        energies = [energy for item in found if isinstance(item, Frames) for energy in item.energy.tolist()]
        assert set(energies) <= {-10.0, -10.5, -11.0}
        assert len(energies) == 3 or found[-1].left_out


def test_any_flipped_byte_gives_our_errors_only(database: Path, tmp_path: Path) -> None:
    data = database.read_bytes()
    path = tmp_path / "flipped.db"
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data), 200):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << int(random.integers(8))]) + data[place + 1 :])
        try:
            items(path)
        except (MlpdataError, AssertionError):
            continue


def test_a_json_database_cut_anywhere_gives_its_first_rows_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with connect(path) as database:
        for energy in (-10.0, -10.5, -11.0):
            database.write(water(energy))
    text = path.read_bytes()
    for end in range(20, len(text), 41):
        path.write_bytes(text[:end])
        try:
            found = items(path)
        except (MlpdataError, AssertionError):
            continue
        energies = [energy for item in found if isinstance(item, Frames) for energy in item.energy.tolist()]
        assert energies == [-10.0, -10.5, -11.0][: len(energies)]
        assert found[-1].status == "truncated"
        assert found[-1].left_out


def test_other_json_and_other_sqlite_files_are_not_taken_for_databases_of_ase(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()

    assert not ase_db.READER.magic((tmp_path / "other.db").read_bytes())
    assert not ase_db.READER.magic(b'{"1": {"a": 1}}')
    assert not ase_db.READER.magic(b'{"energy": -1.0, "numbers": [1]}')
