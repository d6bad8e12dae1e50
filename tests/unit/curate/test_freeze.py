"""Views: packed, shuffled inside each part, named by what a reader gets, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mlpdata import durable
from mlpdata.curate.freeze import OpenView, freeze, open_view, refuse_unstable
from mlpdata.errors import CorruptError, NewerSchema, NotFound, UsageError
from mlpdata.frames import I64, Frames
from mlpdata.schema.records import View

CONTENT = "c" * 64
PARTS = {"train": np.arange(0, 30), "test": np.arange(30, 40)}


class InMemory:
    """Frames that are read by row, as the store is."""

    def __init__(self, frames: Frames) -> None:
        self.whole = frames

    @property
    def n_atoms(self) -> I64:
        return self.whole.n_atoms

    def frames(self, rows: ArrayLike) -> Frames:
        return self.whole.select(rows)


def block(n: int = 40, seed: int = 0) -> Frames:
    rng = np.random.default_rng(seed)
    n_atoms = rng.integers(1, 6, n)
    atoms = int(n_atoms.sum())
    return Frames(
        n_atoms,
        {
            "atomic_numbers": rng.integers(1, 9, atoms),
            "positions": rng.normal(size=(atoms, 3)),
            "forces": rng.normal(size=(atoms, 3)),
            "energy": rng.normal(size=n, scale=1e5),
            "cell": rng.normal(size=(n, 3, 3)) + 9 * np.eye(3),
            "pbc": np.ones((n, 3)),
            "step": np.arange(n),
        },
    )


FRAMES = block()


def make(out: Path, frames: Frames = FRAMES, **changes: Any) -> View:
    n = len(frames)
    arguments: dict[str, Any] = {
        "ids": frames.ids(),
        "parts": PARTS,
        "content": CONTENT,
        "kinds": [f"kind{i % 3}" for i in range(n)],
        "groups": [f"group{i % 7}" for i in range(n)],
    }
    return freeze(InMemory(frames), out=out, **{**arguments, **changes})


def energies(view: OpenView, part: str) -> list[float]:
    found: list[float] = view.mapped.gather("energy", view.rows(part)).tolist()
    return found


def test_a_view_holds_each_part_whole_contiguous_and_shuffled(tmp_path: Path) -> None:
    record = make(tmp_path / "view")
    view = open_view(tmp_path / "view")

    assert view.record == record
    assert record.parts == {"train": (0, 30), "test": (30, 40)}
    assert sorted(energies(view, "train")) == sorted(FRAMES.energy[:30].tolist())
    assert energies(view, "train") != FRAMES.energy[:30].tolist()
    assert sorted(energies(view, "test")) == sorted(FRAMES.energy[30:].tolist())


def test_every_row_keeps_its_id_labels_kind_and_group(tmp_path: Path) -> None:
    make(tmp_path / "view")
    view = open_view(tmp_path / "view")
    place = {one.tobytes(): row for row, one in enumerate(FRAMES.ids())}
    origin = [place[one.tobytes()] for one in view.ids]

    read, expected = view.mapped.frames(np.arange(40)), FRAMES.select(origin)

    np.testing.assert_array_equal(read.energy, expected.energy)
    np.testing.assert_array_equal(read.cell, expected.cell)
    np.testing.assert_array_equal(read.positions, expected.positions.astype(np.float32))
    np.testing.assert_array_equal(read.forces, expected.forces.astype(np.float32))
    assert view.kinds.tolist() == [f"kind{row % 3}" for row in origin]
    assert view.groups.tolist() == [f"group{row % 7}" for row in origin]


def test_energies_stay_in_double_precision_and_the_rest_is_packed(tmp_path: Path) -> None:
    arrays = make(tmp_path / "view").arrays

    assert {name: one["dtype"] for name, one in arrays.items()} == {
        "atomic_numbers": "uint8",
        "cell": "float64",
        "energy": "float64",
        "forces": "float32",
        "pbc": "int8",
        "positions": "float32",
    }
    assert arrays["forces"]["unit"] == "eV/angstrom"


def test_the_same_selection_in_another_order_is_the_same_view(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(40)
    back = np.argsort(order)
    parts = {name: back[rows] for name, rows in PARTS.items()}
    shuffled: dict[str, Any] = {
        "kinds": [f"kind{i % 3}" for i in order],
        "groups": [f"group{i % 7}" for i in order],
        "parts": parts,
    }

    first = make(tmp_path / "first")
    second = make(tmp_path / "second", FRAMES.select(order), **shuffled)

    assert first.id == second.id
    assert first.id == make(tmp_path / "third", query="SELECT id FROM configurations").id


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"parts": {"train": np.arange(39)}}, {"frames": FRAMES.with_arrays(energy=FRAMES.energy + 1)}],
)
def test_another_order_selection_or_label_is_another_view(tmp_path: Path, change: dict[str, Any]) -> None:
    assert make(tmp_path / "first").id != make(tmp_path / "second", **change).id


def test_a_configuration_that_the_store_holds_twice_is_packed_once(tmp_path: Path) -> None:
    doubled = FRAMES.select([*range(40), 3])

    record = make(tmp_path / "view", doubled, parts={"train": np.arange(41)})

    assert record.n_configurations == 40
    assert record.id == make(tmp_path / "once", parts={"train": np.arange(40)}).id


def test_a_configuration_in_two_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in one part"):
        make(tmp_path / "view", parts={"train": np.arange(5), "test": np.arange(4, 9)})


def test_an_empty_selection_is_refused_and_an_empty_part_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected configurations to freeze"):
        make(tmp_path / "view", parts={"train": np.empty(0, int)})

    record = make(tmp_path / "view", parts={"train": np.arange(5), "test": np.empty(0, int)})
    assert record.parts == {"train": (0, 5), "test": (5, 5)}


def test_rows_of_an_unknown_part_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "view")

    with pytest.raises(NotFound, match="one of the parts test, train, found 'valid'"):
        open_view(tmp_path / "view").rows("valid")


def test_a_view_replaces_an_older_one(tmp_path: Path) -> None:
    make(tmp_path / "view")
    newer = make(tmp_path / "view", seed=1)

    assert open_view(tmp_path / "view").record == newer
    assert [one.name for one in tmp_path.iterdir()] == ["view"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # who is killed closes no file
def test_a_freeze_that_is_killed_leaves_the_old_view_or_the_new_and_a_retry_completes(tmp_path: Path) -> None:
    out = tmp_path / "view"
    small: dict[str, Any] = {"frames": block(4), "parts": {"train": np.arange(4)}}
    old, new = make(out, **small), make(tmp_path / "other", seed=1, **small)
    operations: list[str] = []
    durable.set_hook(lambda name, _: operations.append(name))
    make(out, seed=1, **small)
    durable.set_hook(None)

    for nth in (*range(8), len(operations) // 2, len(operations) - 1):  # counted from the last
        make(out, **small)
        left = [len(operations) - nth]

        def kill(_: str, __: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        durable.set_hook(kill)
        try:
            with pytest.raises(Killed):
                make(out, seed=1, **small)
        finally:
            durable.set_hook(None)
        if out.exists():
            assert open_view(out).record in (old, new)
        assert make(out, seed=1, **small) == open_view(out).record == new
        assert sorted(one.name for one in tmp_path.iterdir()) == ["other", "view"]


def test_a_missing_view_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mlpdata freeze"):
        open_view(tmp_path)


@pytest.mark.parametrize("name", ["ids", "rows.parquet", "manifest.json"])
@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_damaged_file_is_reported(tmp_path: Path, name: str, how: str) -> None:
    make(tmp_path / "view")
    path = tmp_path / "view" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "flip":
        path.write_bytes(content)
    elif how == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()

    with pytest.raises(CorruptError):
        open_view(tmp_path / "view")


def test_a_view_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "view")
    path = tmp_path / "view" / "view.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99, "novelty": 1}))

    with pytest.raises(NewerSchema, match="Update mlpdata"):
        open_view(tmp_path / "view")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM configurations ORDER BY random()",
        "SELECT id FROM configurations LIMIT 10",
        "SELECT id FROM configurations OFFSET 10",
        "SELECT id FROM (SELECT id FROM configurations LIMIT 5) ORDER BY id",
        "SELECT id FROM configurations USING SAMPLE 10",
        "SELECT id FROM configurations TABLESAMPLE 10%",
        "SELECT id FROM configurations WHERE energy < RANDOM ( )",
        "SELECT id, row_number() OVER (ORDER BY id) FROM configurations LIMIT 3",
        "SELECT any_value(id) FROM configurations GROUP BY kind",
        "SELECT id FROM configurations WHERE now() > '2026-01-01'",
        "SELECT id FROM configurations -- ORDER BY id\nLIMIT 10",
        "SELECT id FROM configurations /* ORDER BY id */ LIMIT 10",
    ],
)
def test_a_query_without_one_answer_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        refuse_unstable(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM configurations",
        "SELECT id FROM configurations ORDER BY energy, id LIMIT 10",
        "SELECT id FROM (SELECT id FROM configurations ORDER BY id LIMIT 5)",
        "SELECT id FROM configurations WHERE kind = 'random' AND path LIKE '%random()% LIMIT %'",
        "SELECT id FROM configurations WHERE path = 'it''s random() LIMIT 3'",
        'SELECT id AS "limit" FROM configurations',
        "SELECT id FROM configurations WHERE config_type = $$ LIMIT $$",
    ],
)
def test_a_query_with_one_answer_passes(query: str) -> None:
    refuse_unstable(query)
